//! SORT and SORT_RO.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
