//! log.
mod anchor;
mod compose;
mod config;
mod error;
mod flow;
pub mod format;
mod sealing;
pub mod unit;
mod writer;

pub use anchor::{ANCHOR_LABEL, Anchor, anchor_name};
pub use config::{Done, FileNo, LogConfig, LogCounters, Op, OpId, Policy, Refusal, Start, Ticket};
pub use error::{Fault, LogError, Proof};
pub use sealing::{Deks, NoDeks, Sealing};
pub use unit::{LogEnd, Part, Tx};
pub use writer::Writer;
