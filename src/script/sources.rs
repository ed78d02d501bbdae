//! What the engines of all cores share: the texts of the scripts, and which core is busy with one.
//!
//! Promise: nothing here is touched when a core runs a script that it knows but two relaxed loads; the lock is taken
//! when a script is new to a core. A script is ended only if it has not written: its core and whoever ends it settle
//! that in one word.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The SHA-1 of a script's text, which is its name.
pub type Sha = [u8; 20];

/// Nothing runs for too long.
const CALM: u8 = 0;
/// A script is over its time and has not written.
const OVERDUE: u8 = 1;
/// A script is over its time and has written.
const WRITTEN: u8 = 2;
/// The script is to end.
const KILLED: u8 = 3;

/// Shared by all engines of a process.
#[derive(Debug)]
pub struct Sources {
    texts: Mutex<HashMap<Sha, Arc<[u8]>>>,
    flushes: AtomicU64,
    cores: Vec<AtomicU8>,
}

/// What became of a wish to end a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// It will end.
    Done,
    /// None is over its time.
    NotBusy,
    /// It has written.
    Unkillable,
}

impl Sources {
    /// For so many cores.
    pub fn new(cores: usize) -> Sources {
        Sources {
            texts: Mutex::default(),
            flushes: AtomicU64::new(0),
            cores: (0..cores).map(|_| AtomicU8::new(CALM)).collect(),
        }
    }

    fn texts(&self) -> MutexGuard<'_, HashMap<Sha, Arc<[u8]>>> {
        self.texts.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The text of a script.
    pub fn text(&self, sha: &Sha) -> Option<Arc<[u8]>> {
        self.texts().get(sha).cloned()
    }

    /// Whether a script is known.
    pub fn knows(&self, sha: &Sha) -> bool {
        self.texts().contains_key(sha)
    }

    /// Makes a script known.
    pub fn add(&self, sha: Sha, text: &[u8]) {
        self.texts().entry(sha).or_insert_with(|| text.into());
    }

    /// Forgets all scripts.
    pub fn flush(&self) {
        let mut texts = self.texts();
        texts.clear();
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// How often they have been forgotten.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// A script on that core is over its time; tells whether it is to end.
    pub fn overdue(&self, core: usize, written: bool) -> bool {
        let Some(state) = self.cores.get(core) else {
            return false;
        };
        let now = if written { WRITTEN } else { OVERDUE };
        match state.compare_exchange(CALM, now, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => false,
            Err(state) => state == KILLED,
        }
    }

    /// The script on that core is about to write for the first time; false if it is to end instead.
    pub fn may_write(&self, core: usize) -> bool {
        let Some(state) = self.cores.get(core) else {
            return true;
        };
        match state.compare_exchange(OVERDUE, WRITTEN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state != KILLED,
        }
    }

    /// The script on that core has ended.
    pub fn calm(&self, core: usize) {
        if let Some(state) = self.cores.get(core)
            && state.load(Ordering::Relaxed) != CALM
        {
            state.store(CALM, Ordering::Release);
        }
    }

    /// Whether a script on that core is over its time.
    pub fn is_overdue(&self, core: usize) -> bool {
        let calm = |state: &AtomicU8| state.load(Ordering::Relaxed) == CALM;
        !self.cores.get(core).is_none_or(calm)
    }

    /// Ends the scripts that are over their time and have not written.
    pub fn kill(&self) -> Kill {
        let mut outcome = Kill::NotBusy;
        for state in &self.cores {
            match state.compare_exchange(OVERDUE, KILLED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) | Err(KILLED) => return Kill::Done,
                Err(WRITTEN) => outcome = Kill::Unkillable,
                Err(_) => {}
            }
        }
        outcome
    }
}
