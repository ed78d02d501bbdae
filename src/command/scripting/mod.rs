//! The rows of scripts and functions.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
