//! Places on the globe, kept in sorted sets.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
