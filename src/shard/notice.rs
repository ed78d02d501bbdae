//! Keyspace events: what happened to which key, for those who subscribed to hear of it.
//!
//! Source: Redis, keyspace notifications. The classes are the letters of `notify-keyspace-events`; a command names the
//! event in the call that makes the change, and the core publishes what has gathered when the command is done.

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

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its class.
    pub class: u32,
    /// Its name.
    pub event: &'static str,
    /// Database number.
    pub db: u16,
    /// The key.
    pub key: Box<[u8]>,
}

/// What gathers.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) classes: u32,
    pub(super) list: Vec<Notice>,
}

impl Notices {
    #[inline]
    pub(super) fn note(&mut self, class: u32, event: &'static str, db: u16, key: &[u8]) {
        if self.classes & class != 0 {
            let key = key.into();
            self.list.push(Notice {
                class,
                event,
                db,
                key,
            });
        }
    }
}
