//! HyperLogLogs: how many different things were seen, in 12 KiB.

use super::row::Command;

pub(super) const ROWS: &[Command] = &[];
