//! What the engines of all cores share: the texts of the scripts, and which core is busy with one.
//!
//! Promise: of this a core touches one counter when it runs a script that it knows; a lock is taken when a script is
//! new to a core, or runs for long. A script is ended only if it has not written: its core and whoever ends it settle
//! that in one word.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::library::Shelf;

/// The SHA-1 of a script's text, which is its name.
pub type Sha = [u8; 20];

/// Nothing runs that others could hear of.
const CALM: u8 = 0;
/// A script has been left in the middle, and has not written.
const LONG: u8 = 1;
/// A script has been left in the middle, and has written.
const WRITTEN: u8 = 2;
/// The script is to end.
const KILLED: u8 = 3;

/// What kind of script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of EVAL.
    Eval,
    /// A function.
    Function,
}

/// Shared by all engines of a process.
#[derive(Debug)]
pub struct Sources {
    texts: Mutex<HashMap<Sha, Arc<[u8]>>>,
    flushes: AtomicU64,
    /// The libraries of functions.
    pub shelf: Shelf,
    /// Bytes of each core's Lua.
    memory: Vec<AtomicU64>,
    cores: Vec<AtomicU8>,
    /// What runs on each core that is not calm.
    running: Mutex<Vec<Option<Running>>>,
}

/// A script that others can hear of.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its kind.
    pub kind: Kind,
    /// Its SHA-1, or the name of the function.
    pub name: String,
    /// The command that runs it.
    pub command: Vec<Vec<u8>>,
    /// When it began, in monotonic nanoseconds.
    pub began: u64,
}

/// What became of a wish to end a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// It will end.
    Done,
    /// None runs.
    NotBusy,
    /// It has written.
    Unkillable,
    /// What runs is of the other kind.
    Other(Kind),
}

impl Sources {
    /// For so many cores.
    pub fn new(cores: usize) -> Sources {
        Sources {
            texts: Mutex::default(),
            flushes: AtomicU64::new(0),
            shelf: Shelf::default(),
            memory: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            cores: (0..cores).map(|_| AtomicU8::new(CALM)).collect(),
            running: Mutex::new(vec![None; cores]),
        }
    }

    fn texts(&self) -> MutexGuard<'_, HashMap<Sha, Arc<[u8]>>> {
        self.texts.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn running(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        self.running.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The text of a script.
    pub fn text(&self, sha: &Sha) -> Option<Arc<[u8]>> {
        self.texts().get(sha).cloned()
    }

    /// Whether a script is known.
    pub fn knows(&self, sha: &Sha) -> bool {
        self.texts().contains_key(sha)
    }

    /// How many are known, and how many bytes their texts are.
    pub fn size(&self) -> (u64, u64) {
        let texts = self.texts();
        let bytes = texts.values().map(|text| text.len() as u64).sum();
        (texts.len() as u64, bytes)
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

    /// A core tells how many bytes its Lua holds.
    pub fn note_memory(&self, core: usize, bytes: u64) {
        self.memory[core].store(bytes, Ordering::Relaxed);
    }

    /// Bytes that the Luas of all cores hold.
    pub fn memory(&self) -> u64 {
        let cores = self.memory.iter();
        cores.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// The script on that core is left in the middle, for the first time.
    pub fn begin(&self, core: usize, running: Running, written: bool) {
        self.running()[core] = Some(running);
        let state = if written { WRITTEN } else { LONG };
        self.cores[core].store(state, Ordering::Release);
    }

    /// Whether the script on that core is to end.
    pub fn is_killed(&self, core: usize) -> bool {
        self.cores[core].load(Ordering::Acquire) == KILLED
    }

    /// The script on that core is about to write for the first time; false if it is to end instead.
    pub fn may_write(&self, core: usize) -> bool {
        let state = &self.cores[core];
        match state.compare_exchange(LONG, WRITTEN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state != KILLED,
        }
    }

    /// The script on that core has ended.
    pub fn end(&self, core: usize) {
        self.running()[core] = None;
        self.cores[core].store(CALM, Ordering::Release);
    }

    /// What runs on any core, the one that began first, if others can hear of it.
    pub fn longest(&self) -> Option<Running> {
        let running = self.running();
        let all = running.iter().flatten();
        all.min_by_key(|running| running.began).cloned()
    }

    /// Ends the scripts of that kind that have not written.
    pub fn kill(&self, kind: Kind) -> Kill {
        let running = self.running();
        let mut outcome = Kill::NotBusy;
        for (state, running) in self.cores.iter().zip(running.iter()) {
            let Some(running) = running else { continue };
            if running.kind != kind {
                if outcome == Kill::NotBusy {
                    outcome = Kill::Other(running.kind);
                }
                continue;
            }
            match state.compare_exchange(LONG, KILLED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) | Err(KILLED) => return Kill::Done,
                Err(WRITTEN) => outcome = Kill::Unkillable,
                Err(_) => {}
            }
        }
        outcome
    }
}
