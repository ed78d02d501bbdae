//! The classes of keyspace events, as bits: what `notify-keyspace-events` chooses from.
//!
//! Source: Redis, keyspace notifications.

/// `g`: commands on keys of any type.
pub const GENERIC: u32 = 1;
/// `$`
pub const STRING: u32 = 1 << 1;
/// `l`
pub const LIST: u32 = 1 << 2;
/// `s`
pub const SET: u32 = 1 << 3;
/// `h`
pub const HASH: u32 = 1 << 4;
/// `z`
pub const ZSET: u32 = 1 << 5;
/// `x`: a key was removed because its time had come.
pub const EXPIRED: u32 = 1 << 6;
/// `e`: a key was removed to make room.
pub const EVICTED: u32 = 1 << 7;
/// `t`
pub const STREAM: u32 = 1 << 8;
/// `m`: a key was read that is not there.
pub const MISSED: u32 = 1 << 9;
/// `n`: a key was made.
pub const NEW: u32 = 1 << 10;
/// `d`: of modules, which there are none of.
pub const MODULE: u32 = 1 << 11;
/// `K`: events are told by the name of the key.
pub const BY_KEY: u32 = 1 << 12;
/// `E`: events are told by the name of the event.
pub const BY_EVENT: u32 = 1 << 13;
/// `A`: all classes but those of reads that miss and of keys that are made.
pub const ALL: u32 =
    GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE;
