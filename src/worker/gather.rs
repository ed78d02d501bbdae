//! Questions one core asks all of them, itself included, and what comes back.
//!
//! INFO, CLIENT LIST, CONFIG SET and their like concern every core. The core that got the command
//! asks; each answers from its own memory; the reply is made from all answers.

use std::sync::Arc;

use super::carrier::Delivery;
use super::events::Events;
use super::listing::Names;
use super::machine::CpuTime;
use super::pubsub::TrackingReport;
use super::stats::{Slow, Stats};
use crate::command::Topic;
use crate::seal::accel::Choice;
use crate::shard;

/// Who wants an answer.
#[derive(Clone)]
pub enum Asker {
    /// A core, under its own number for the question.
    Core {
        /// Which.
        core: usize,
        /// Its number.
        gather: u64,
    },
    /// Somebody who is no core; called on the thread of the core that answers.
    Outside(Arc<dyn Fn(Answer) + Send + Sync>),
}

/// A question to a core.
pub enum Question {
    /// Everything INFO and the metrics are made of.
    Report {
        /// Whether the histograms of latencies are wanted too.
        latencies: bool,
    },
    /// Its clients.
    Clients,
    /// Close clients.
    Kill(KillFilter),
    /// End what a client waits for.
    Unblock {
        /// Its number.
        client: u64,
        /// Whether its answer is an error instead of nothing.
        error: bool,
    },
    /// Take the settings in force from what all cores share.
    Configure,
    /// Take the users in force from what all cores share.
    Users {
        /// Those that are gone, though others of the same name may have come.
        removed: Vec<Vec<u8>>,
        /// The client that changed them: it waits for the answer, and closes itself if its own user is gone.
        asker: Option<u64>,
    },
    /// What is known of a key's value; the core that owns the key answers.
    Object {
        /// The database.
        db: u16,
        /// The key.
        key: Vec<u8>,
    },
    /// Whether keys that nobody asks for are removed when their time has come.
    ActiveExpiry(bool),
    /// Whether everything its log was given is durable.
    Durable {
        /// Answer when it is, and have it made so.
        wait: bool,
    },
    /// Its latency events.
    Events {
        /// Forget those of these names, or all if none is named, and tell which those were.
        reset: Option<Vec<Vec<u8>>>,
    },
    /// Forget the counters.
    ResetStats,
    /// The slow log's newest entries, this many.
    Slowlog(usize),
    /// Forget the slow log.
    ResetSlowlog,
    /// The names of a topic that its clients listen to.
    Channels {
        /// The topic.
        topic: Topic,
        /// What the names have to match.
        pattern: Option<Vec<u8>>,
    },
    /// How many of its clients listen to each of these names.
    Listeners {
        /// The topic.
        topic: Topic,
        /// The names.
        names: Vec<Vec<u8>>,
    },
    /// Whether it has the client of that number.
    Known(u64),
    /// The keys of its shard that match a pattern.
    Keys {
        /// The database.
        db: u16,
        /// The pattern.
        pattern: Vec<u8>,
    },
}

/// An answer.
pub enum Answer {
    /// To [`Question::Report`].
    Report(Box<Report>),
    /// To [`Question::Clients`].
    Clients(Vec<ClientInfo>),
    /// To [`Question::Kill`] and [`Question::Unblock`]: how many.
    Killed(u64),
    /// To [`Question::Events`].
    Events(Events),
    /// To [`Question::Slowlog`].
    Slowlog(Vec<Slow>),
    /// To [`Question::Object`], by the core that owns the key: nothing if there is none.
    Object(Option<ObjectInfo>),
    /// To [`Question::Channels`].
    Channels(Vec<Vec<u8>>),
    /// To [`Question::Listeners`], in the same order.
    Listeners(Vec<u64>),
    /// To [`Question::Known`] and [`Question::Durable`].
    Known(bool),
    /// To [`Question::Keys`].
    Keys(Names),
    /// How an errand ended.
    Ended(Result<(), String>),
    /// What became of keys that were sent to another server.
    Delivered(Delivery),
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
    pub user: Option<Vec<u8>>,
    /// CLIENT KILL TYPE.
    pub class: Option<Class>,
    /// CLIENT KILL MAXAGE, in seconds.
    pub max_age_s: Option<u64>,
    /// The client that asks, if it is to be spared.
    pub skip: Option<u64>,
}

/// The classes of clients that CLIENT LIST and CLIENT KILL tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One that gets what it asks for.
    Normal,
    /// One that listens to a channel or pattern.
    Pubsub,
    /// The server that this one follows.
    Server,
}

/// What DEBUG OBJECT tells of a value.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Which core owns the key.
    pub core: usize,
    /// How it is kept.
    pub encoding: &'static str,
    /// Its length in bytes.
    pub bytes: usize,
    /// Seconds since it was last used.
    pub idle_s: u64,
}

/// One client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Its number.
    pub id: u64,
    /// Its class.
    pub class: Class,
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
    /// Clients that wait for keys, or for a time.
    pub blocked: usize,
    /// Bytes kept for clients: themselves, their input and what they are owed.
    pub client_bytes: usize,
    /// Largest input and output of a client, in bytes.
    pub largest: (usize, usize),
    /// Keys, keys that expire, mean time to live in ms; by database.
    pub databases: Vec<(u64, u64, u64)>,
    /// Clients that listen to something.
    pub subscribers: usize,
    /// Channels, patterns and sharded channels that they listen to.
    pub channels: [Vec<Vec<u8>>; 3],
    /// Clients that keep copies.
    pub tracking: TrackingReport,
    /// The shard's own counters.
    pub shard: shard::Stats,
    /// Bytes of the shard's keys and values.
    pub shard_bytes: u64,
    /// Processor time of its thread.
    pub cpu_time: CpuTime,
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
    /// Bytes written to the log's files since the start.
    pub bytes: u64,
    /// Bytes appended since the start.
    pub appended: u64,
    /// Records appended since the start.
    pub records: u64,
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

/// All cores' reports, and what they come to together.
pub struct Whole {
    /// By core.
    pub reports: Vec<Report>,
    /// The sum of the counters.
    pub stats: Stats,
    /// The sum of the shards' counters.
    pub shard: shard::Stats,
    /// Bytes of all keys and values.
    pub shard_bytes: u64,
    /// The sum of the logs.
    pub log: LogReport,
    /// As in [`Report::databases`], over all cores.
    pub databases: Vec<(u64, u64, u64)>,
}

impl Whole {
    /// Adds the answers up.
    pub fn of(answers: Vec<Answer>) -> Whole {
        let mut reports: Vec<Report> = answers
            .into_iter()
            .filter_map(|answer| match answer {
                Answer::Report(report) => Some(*report),
                _ => None,
            })
            .collect();
        reports.sort_unstable_by_key(|report| report.core);
        let mut whole = Whole {
            reports: Vec::new(),
            stats: Stats::default(),
            shard: shard::Stats::default(),
            shard_bytes: 0,
            log: LogReport::default(),
            databases: Vec::new(),
        };
        for report in &reports {
            whole.stats.add(&report.stats);
            whole.shard.hits += report.shard.hits;
            whole.shard.misses += report.shard.misses;
            whole.shard.expired += report.shard.expired;
            whole.shard.expired_by_cycle += report.shard.expired_by_cycle;
            whole.shard.evicted += report.shard.evicted;
            whole.shard_bytes += report.shard_bytes;
            whole.log.add(&report.log);
            whole.add_databases(&report.databases);
        }
        whole.reports = reports;
        whole
    }

    fn add_databases(&mut self, theirs: &[(u64, u64, u64)]) {
        if self.databases.len() < theirs.len() {
            self.databases.resize(theirs.len(), (0, 0, 0));
        }
        for (ours, (keys, expires, ttl)) in self.databases.iter_mut().zip(theirs) {
            let both = ours.1 + expires;
            // The mean over both, each weighted by its number of keys that expire.
            let sum =
                u128::from(ours.2) * u128::from(ours.1) + u128::from(*ttl) * u128::from(*expires);
            ours.2 = sum.checked_div(u128::from(both)).unwrap_or(0) as u64;
            ours.0 += keys;
            ours.1 = both;
        }
    }

    /// The largest input and the largest output of any client, in bytes.
    pub fn largest(&self) -> (usize, usize) {
        self.reports.iter().fold((0, 0), |most, report| {
            (most.0.max(report.largest.0), most.1.max(report.largest.1))
        })
    }

    /// Whether every core seals on the processor's own instructions.
    pub fn accelerated(&self) -> bool {
        let on = |report: &Report| {
            report
                .acceleration
                .is_some_and(|a| a.hardware_acceleration())
        };
        !self.reports.is_empty() && self.reports.iter().all(on)
    }

    /// Keys in all databases, and those of them that expire.
    pub fn keys(&self) -> (u64, u64) {
        self.databases
            .iter()
            .fold((0, 0), |sum, db| (sum.0 + db.0, sum.1 + db.1))
    }
}

impl LogReport {
    fn add(&mut self, other: &LogReport) {
        self.on |= other.on;
        self.bytes += other.bytes;
        self.appended += other.appended;
        self.records += other.records;
        self.frames += other.frames;
        self.syncs += other.syncs;
        self.pending += other.pending;
        self.in_flight += other.in_flight;
        if self.refusal.is_none() {
            self.refusal = other.refusal.clone();
        }
        self.segments += other.segments;
        self.sealed.0 += other.sealed.0;
        self.sealed.1 += other.sealed.1;
        self.opened.0 += other.opened.0;
        self.opened.1 += other.opened.1;
        self.open_failures += other.open_failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_time_to_live_counts_every_key_once() {
        let report = |core, databases| {
            Answer::Report(Box::new(Report {
                core,
                databases,
                ..Report::default()
            }))
        };
        let whole = Whole::of(vec![
            report(1, vec![(10, 1, 900), (0, 0, 0)]),
            Answer::Done,
            report(0, vec![(5, 3, 100), (7, 0, 0)]),
        ]);
        assert_eq!(whole.databases, [(15, 4, 300), (7, 0, 0)]);
        assert_eq!(whole.keys(), (22, 4));
        let cores: Vec<usize> = whole.reports.iter().map(|r| r.core).collect();
        assert_eq!(cores, [0, 1]);
    }
}
