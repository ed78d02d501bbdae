//! log.
mod anchor;
mod compose;
mod config;
mod deks;
mod error;
mod flow;
pub mod format;
mod reader;
mod recover;
mod replay;
mod scan;
pub mod unit;
mod writer;

pub use anchor::{ANCHOR_LABEL, Anchor, anchor_name};
pub use config::{Done, FileNo, LogConfig, LogCounters, Op, OpId, Policy, Refusal, Start, Ticket};
pub use deks::Deks;
pub use error::{Fault, LogError, Proof};
pub use recover::{LogTail, Recovered, RecoveryCounters, Router, Sink, recover};
pub use replay::{Finished, ReadCounters, Replay, Tail, Unit};
pub use scan::{LogPlan, Plan, RunPlan, scan};
pub use unit::{LogEnd, Part, Tx};
pub use writer::Writer;

#[cfg(test)]
mod tests;
