//! One core's memory: the slots it owns, the keys in them, their values, expiry and effects.
//!
//! Promise: pure logic. No clock (time comes in as `now`), no I/O, no thread, no chance (random
//! numbers come in). Every change is appended to the shard's effects in the same call that makes
//! it, so a command cannot change memory and forget the log.
//!
//! Reading order: `value` (what goes in and out), `shard` (the verbs of commands), `entry` and
//! `shape` (one key in one allocation), `table`, `slots` and `db` (where entries are), `browse`
//! (scan, random), `kinds` (the types that are not strings) and `alter` (changing them), `expiry` and `agenda`, `signals` with
//! `watch` and `notice` (who is told of changes), `uses` and `evict` (making room), `walk` (long reads in steps), `grave` (freeing in steps), `wire`, `effect`, `recover` and `split`
//! (the log's form and the way back), `keyspace` (the shards at hand on a core).

mod agenda;
mod alter;
mod browse;
mod db;
mod effect;
mod entry;
mod evict;
mod expiry;
mod grave;
mod hash;
mod keyspace;
pub mod kinds;
pub mod notice;
mod object;
mod pieces;
mod prefetch;
mod recover;
mod scribe;
mod shape;
#[allow(clippy::module_inception)]
mod shard;
mod signals;
mod slots;
mod snapshot;
mod split;
mod swap;
mod table;
mod tracking;
mod uses;
mod value;
pub mod walk;
mod watch;
pub mod wire;

#[cfg(test)]
mod tests;

pub use alter::WrongType;
pub use browse::scan_slot;
pub use effect::{Broken, Effect, Effects, Records, records};
pub use evict::{Eviction, Ranking};
pub use expiry::Cycle;
pub use hash::Hasher;
pub use keyspace::Keyspace;
pub use object::{Object, View};
pub use recover::Misfit;
pub use scribe::{Pace, Scribe};
pub use shard::{Shard, Stats};
pub use snapshot::SnapshotAt;
pub use split::{pick, split};
pub use tracking::{Changes, Invalid};
pub use uses::{Frequency, Said};
pub use value::{Decimal, Dump, Expire, Key, Kind, Meta, Ms, Owned, Value, parse_int};
