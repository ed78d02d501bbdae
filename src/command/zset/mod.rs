//! The sorted-set family.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
