//! Questions one core asks all of them, itself included, and what comes back.
//!
//! INFO, CLIENT LIST, CONFIG SET and their like concern every core. The core that got the command
//! asks; each answers from its own memory; the reply is made from all answers.

use std::sync::Arc;

use super::stats::{Slow, Stats};
use crate::seal::accel::Choice;
use crate::settings::Settings;
use crate::shard;

/// A question to a core.
pub enum Question {
    /// Everything INFO and the metrics are made of.
    Report,
    /// Its clients.
    Clients,
    /// Close clients.
    Kill(KillFilter),
    /// Take new settings.
    Configure(Arc<Settings>),
    /// Forget the counters.
    ResetStats,
    /// The slow log's newest entries, this many.
    Slowlog(usize),
    /// Forget the slow log.
    ResetSlowlog,
}

/// An answer.
pub enum Answer {
    /// To [`Question::Report`].
    Report(Box<Report>),
    /// To [`Question::Clients`].
    Clients(Vec<ClientInfo>),
    /// To [`Question::Kill`]: how many.
    Killed(u64),
    /// To [`Question::Slowlog`].
    Slowlog(Vec<Slow>),
    /// To everything that has no answer but that it was done.
    Done,
}

/// Which clients to close: all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct KillFilter {
    /// CLIENT KILL ID.
    pub id: Option<u64>,
    /// CLIENT KILL ADDR.
    pub addr: Option<String>,
    /// CLIENT KILL LADDR.
    pub laddr: Option<String>,
    /// CLIENT KILL USER.
    pub user: Option<String>,
    /// CLIENT KILL TYPE: whether ordinary clients are meant.
    pub normal: Option<bool>,
    /// CLIENT KILL MAXAGE, in seconds.
    pub max_age_s: Option<u64>,
    /// The client that asks, if it is to be spared.
    pub skip: Option<u64>,
}

/// One client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Its number.
    pub id: u64,
    /// The whole line, without line end.
    pub line: String,
}

/// Everything one core tells of itself.
#[derive(Clone, Default)]
pub struct Report {
    /// Which core.
    pub core: usize,
    /// The processor it is pinned to.
    pub cpu: Option<usize>,
    /// Its counters.
    pub stats: Stats,
    /// Clients connected.
    pub clients: usize,
    /// Clients that wait for a transaction or the like.
    pub blocked: usize,
    /// Largest input and output of a client, in bytes.
    pub largest: (usize, usize),
    /// Keys, keys that expire, mean time to live in ms; by database.
    pub databases: Vec<(u64, u64, u64)>,
    /// The shard's own counters.
    pub shard: shard::Stats,
    /// Its log.
    pub log: LogReport,
    /// What its AEAD runs on.
    pub acceleration: Option<Choice>,
    /// `io_uring_enter` calls of the side ring.
    pub enters: u64,
    /// Whether the kernel knows a minimum wait.
    pub min_wait: bool,
}

/// What a core tells of its log.
#[derive(Clone, Debug, Default)]
pub struct LogReport {
    /// Whether there is one.
    pub on: bool,
    /// Bytes of the log's files in use.
    pub bytes: u64,
    /// Bytes appended since the start.
    pub appended: u64,
    /// Frames written.
    pub frames: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Bytes that wait to be written.
    pub pending: u64,
    /// Writes under way.
    pub in_flight: u64,
    /// Why writes are refused, if they are.
    pub refusal: Option<String>,
    /// Segments in use.
    pub segments: u64,
    /// Messages and bytes sealed.
    pub sealed: (u64, u64),
    /// Messages and bytes opened (at recovery).
    pub opened: (u64, u64),
    /// Messages that did not open.
    pub open_failures: u64,
}
