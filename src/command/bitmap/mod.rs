//! Bitmaps: strings taken bit by bit.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
