//! The sealed log: what makes an acknowledged write survive.
//!
//! ```text
//!   append ──> Composer ──> frames ──> seal ──> Op::Write ──> the worker's ring ──> disk
//!                             ^                                   │
//!   durable() <── Writer <────┴──────────── done() <──────────────┘
//!
//!   disk ──> scan ──> Plan ──> recover ──> Replay, one per log ──> Sink, one per shard
//! ```
//!
//! Laws:
//! - **No I/O, no clock, no thread in the writer.** It is a state machine; what it wants done it says
//!   ([`Op`]), what came of it it is told ([`Writer::done`]).
//! - **Nothing leaves unsealed**, not even a frame's padding; effects are copied once, into the
//!   buffer that is sealed in place and written.
//! - **No block is written twice** in a segment's life, and no file of an earlier run is written at all:
//!   every segment has a fresh salt, so no nonce comes back after a crash, a restart, or on a restored disk.
//! - **A unit is applied whole or not at all**, over however many frames and segments it goes.
//! - **Torn is cut, anything else is refused** by name ([`LogError`]), file and offset.
//! - **Errors of writes and syncs are final.** A full disk is not: files are made before they are
//!   needed, and if one cannot be, writes are refused while there is still room for those accepted.
//! - The log does not look at effects, and never applies them.
//!
//! The bytes are specified in `FORMAT.md`. Read on in this order: `config` (the words), `writer` (its
//! state), `flow`, `frames`, `durable` (its motion), `compose` (frames being filled), `format`, `unit`,
//! `anchor` (bytes), then `scan`, `reader`, `replay` (one log), `recover`, `feed`, `parts` (all of them), `survey` (for copies). Deliberately absent: checkpoints, and re-sealing of old segments;
//! [`Writer::release`] is where they will join.

mod anchor;
mod base;
mod compose;
mod config;
mod deks;
mod durable;
mod error;
mod feed;
mod flow;
pub mod format;
mod frames;
pub mod inspect;
mod parts;
mod reader;
mod recover;
mod replay;
mod scan;
mod survey;
pub mod unit;
mod writer;

pub use anchor::{ANCHOR_LABEL, Anchor, anchor_name, is_log_file, parse_anchor_name};
pub use base::{Base, Begin, load, part};
pub use config::{
    Chain, Done, FileNo, LogConfig, LogCounters, Op, OpId, Policy, Refusal, Start, Ticket,
};
pub use deks::Deks;
pub use error::{Fault, LogError, Proof};
pub use recover::{LogTail, Recovered, RecoveryCounters, Router, Sink, recover};
pub use replay::{Finished, ReadCounters, Replay, Tail, Unit};
pub use scan::{LogPlan, Plan, RunPlan, scan};
pub use survey::{Extent, survey, survey_part};
pub use unit::{LogEnd, Part, Slots, Tx};
pub use writer::Writer;

#[cfg(test)]
mod tests;
