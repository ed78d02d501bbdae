//! Keyspace events: what happened to which key, for those who subscribed to hear of it.
//!
//! Source: Redis, keyspace notifications. The classes are the letters of `notify-keyspace-events`; a command names the
//! event in the call that makes the change, and the core publishes what has gathered when the command is done.

use std::cell::Cell;

pub use crate::settings::events::*;

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
    /// With each its place in the order of all that this thread noted: a command may change keys of several shards.
    pub(super) list: Vec<(u64, Notice)>,
}

thread_local! {
    /// Events noted so far. A command runs on one thread, whichever shards it has at hand.
    static NOTED: Cell<u64> = const { Cell::new(0) };
}

impl Notices {
    #[inline]
    pub(super) fn note(&mut self, class: u32, event: &'static str, db: u16, key: &[u8]) {
        if self.classes & class != 0 {
            let key = key.into();
            let place = NOTED.replace(NOTED.get() + 1);
            let notice = Notice {
                class,
                event,
                db,
                key,
            };
            self.list.push((place, notice));
        }
    }
}
