//! The rows of publish and subscribe.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
