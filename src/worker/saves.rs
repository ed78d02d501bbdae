//! What all cores know of checkpoints: whether one is under way, how the last ones ended, and when the next is due.
//!
//! It is looked at by commands about it, by INFO, and ten times a second by core 0, never on the path of another command.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What a checkpoint is taken for. It is the same checkpoint; INFO and errors tell them apart as Redis does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// SAVE, BGSAVE, or the interval: the data is to be in a file.
    Save,
    /// BGREWRITEAOF, or the log's size: the log is to become short.
    Rewrite,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Core 0 is to be told to begin.
    Begin,
    /// It begins when the one under way has ended.
    Scheduled,
    /// One is under way, for this.
    Busy(Aim),
}

/// How the checkpoints for one aim have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Those that were completed.
    pub done: u64,
    /// Those that failed since the last that was completed.
    pub failures: u64,
    /// Seconds that the last one took; `None` before the first.
    pub seconds: Option<u64>,
    /// Whether the last one was completed, or there was none.
    pub ok: bool,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            done: 0,
            failures: 0,
            seconds: None,
            ok: true,
        }
    }
}

/// The one under way.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// What for.
    pub aim: Aim,
    /// Since when.
    pub since: Instant,
}

/// What a completed checkpoint comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Its bytes.
    pub bytes: u64,
    /// Changes that the cores had made when they began, since the start.
    pub changes: u64,
    /// Bytes that their logs had by then, since the start.
    pub log_bytes: u64,
}

/// How things stand.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The one under way.
    pub under_way: Option<UnderWay>,
    /// What begins after it.
    pub scheduled: Option<Aim>,
    /// For SAVE and its like.
    pub saves: Tally,
    /// For BGREWRITEAOF and its like.
    pub rewrites: Tally,
    /// When the last one was completed, Unix seconds; the start of the process before that, if none was found.
    pub last_unix: u64,
    /// Bytes of the newest one; 0 if there is none.
    pub bytes: u64,
    /// Keys written of the one under way, or of the last.
    pub keys: u64,
    number: u64,
    begun: Instant,
    changes: u64,
    log_bytes: u64,
}

/// What all cores know of checkpoints.
pub struct Saves {
    standing: Mutex<Standing>,
    /// By core: changes made, and bytes of the log written, since the start.
    changes: Vec<AtomicU64>,
    log_bytes: Vec<AtomicU64>,
    keys: Vec<AtomicU64>,
    /// Bytes of the logs that were recovered.
    recovered: u64,
    /// Whether the server ends with a checkpoint.
    last: Mutex<Last>,
}

/// Where the checkpoint stands that a server without a log takes at its end, when nobody changes anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// There is none: SHUTDOWN NOSAVE, or nothing is to be saved by itself.
    None,
    /// It is to be taken.
    Wanted,
    /// It is being taken.
    Going,
    /// It was taken, or could not be.
    Over,
}

/// What is found at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// The highest number that a checkpoint ever had here, as far as files say.
    pub highest: u64,
    /// When the newest was completed, Unix seconds, if there is one.
    pub unix: Option<u64>,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of the logs that come after it.
    pub log_bytes: u64,
}

/// When checkpoints are taken unasked.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// After so long, if something has changed; zero is never.
    pub interval: Duration,
    /// When the log has this share of the last checkpoint's size, in per cent; 0 is never.
    pub percentage: u64,
    /// But not before it has so many bytes.
    pub least: u64,
}

/// How long after a failure none is begun unasked.
const RETRY: Duration = Duration::from_secs(30);

impl Saves {
    /// As it is at the start of `cores` cores.
    pub fn new(cores: usize, found: Found, now_unix: u64) -> Saves {
        let zeros = || (0..cores).map(|_| AtomicU64::new(0)).collect();
        Saves {
            standing: Mutex::new(Standing {
                under_way: None,
                scheduled: None,
                saves: Tally::default(),
                rewrites: Tally::default(),
                last_unix: found.unix.unwrap_or(now_unix),
                bytes: found.bytes,
                keys: 0,
                number: found.highest,
                begun: Instant::now(),
                changes: 0,
                log_bytes: 0,
            }),
            changes: zeros(),
            log_bytes: zeros(),
            keys: zeros(),
            recovered: found.log_bytes,
            last: Mutex::new(Last::None),
        }
    }

    /// Where the last checkpoint stands.
    pub fn last(&self) -> Last {
        *self.last.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Moves the last checkpoint on.
    pub fn set_last(&self, last: Last) {
        *self.last.lock().unwrap_or_else(|e| e.into_inner()) = last;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn sum(list: &[AtomicU64]) -> u64 {
        list.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// A core tells how many changes it has made and how many bytes its log has written since the start, and how many keys
    /// it has written of the checkpoint under way.
    pub fn note(&self, core: usize, changes: u64, log_bytes: u64, keys: Option<u64>) {
        self.changes[core].store(changes, Ordering::Relaxed);
        self.log_bytes[core].store(log_bytes, Ordering::Relaxed);
        if let Some(keys) = keys {
            self.keys[core].store(keys, Ordering::Relaxed);
        }
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        let mut standing = self.lock().clone();
        standing.keys = Saves::sum(&self.keys);
        standing
    }

    /// Changes since the last completed checkpoint was begun.
    pub fn changes(&self) -> u64 {
        Saves::sum(&self.changes).saturating_sub(self.lock().changes)
    }

    /// Bytes of the logs that the last completed checkpoint has made needless no part of.
    pub fn log_size(&self) -> u64 {
        let written = self.recovered + Saves::sum(&self.log_bytes);
        written.saturating_sub(self.lock().log_bytes)
    }

    /// Somebody wants one; if one is under way, `schedule` says whether another is to follow it.
    pub fn request(&self, aim: Aim, schedule: bool) -> Request {
        let mut standing = self.lock();
        match standing.under_way {
            None => {
                Saves::begin(&mut standing, aim);
                Request::Begin
            }
            Some(_) if schedule => {
                standing.scheduled = Some(aim);
                Request::Scheduled
            }
            Some(under_way) => Request::Busy(under_way.aim),
        }
    }

    fn begin(standing: &mut Standing, aim: Aim) {
        standing.begun = Instant::now();
        standing.under_way = Some(UnderWay {
            aim,
            since: standing.begun,
        });
        standing.number += 1;
    }

    /// The number of the one under way, which no other had.
    pub fn number(&self) -> u64 {
        self.lock().number
    }

    /// Begins the one that was scheduled, or that is due; whether there is one.
    pub fn due(&self, policy: &Policy) -> bool {
        let (log_size, changes) = (self.log_size(), self.changes());
        let mut standing = self.lock();
        if standing.under_way.is_some() {
            return false;
        }
        let since = standing.begun.elapsed();
        let failed = !(standing.saves.ok && standing.rewrites.ok);
        let aim = if let Some(aim) = standing.scheduled.take() {
            aim
        } else if failed && since < RETRY {
            return false;
        } else if !policy.interval.is_zero() && since >= policy.interval && changes > 0 {
            Aim::Save
        } else if policy.percentage > 0
            && log_size >= policy.least.max(standing.bytes / 100 * policy.percentage)
        {
            Aim::Rewrite
        } else {
            return false;
        };
        Saves::begin(&mut standing, aim);
        true
    }

    /// The one under way has ended: was completed, or was not.
    pub fn ended(&self, completed: Option<Completed>, now_unix: u64) {
        let mut standing = self.lock();
        let Some(under_way) = standing.under_way.take() else {
            return;
        };
        if let Some(completed) = completed {
            standing.bytes = completed.bytes;
            standing.last_unix = now_unix;
            standing.changes = completed.changes;
            standing.log_bytes = self.recovered + completed.log_bytes;
        }
        let tally = match under_way.aim {
            Aim::Save => &mut standing.saves,
            Aim::Rewrite => &mut standing.rewrites,
        };
        tally.seconds = Some(under_way.since.elapsed().as_secs());
        tally.ok = completed.is_some();
        tally.done += u64::from(tally.ok);
        tally.failures = if tally.ok { 0 } else { tally.failures + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Policy = Policy {
        interval: Duration::ZERO,
        percentage: 0,
        least: 0,
    };

    #[test]
    fn one_is_under_way_at_a_time_and_one_may_be_scheduled() {
        let saves = Saves::new(2, Found::default(), 7);
        assert_eq!(saves.request(Aim::Save, false), Request::Begin);
        assert_eq!(saves.number(), 1);
        assert_eq!(saves.request(Aim::Rewrite, false), Request::Busy(Aim::Save));
        assert_eq!(saves.request(Aim::Rewrite, true), Request::Scheduled);
        assert!(!saves.due(&NEVER));
        let completed = Completed {
            bytes: 10,
            ..Completed::default()
        };
        saves.ended(Some(completed), 8);
        assert!(saves.due(&NEVER));
        assert_eq!(saves.number(), 2);
        saves.ended(None, 9);
        let standing = saves.standing();
        assert_eq!((standing.last_unix, standing.bytes), (8, 10));
        assert!(standing.saves.ok && !standing.rewrites.ok);
        assert!(!saves.due(&NEVER));
    }

    #[test]
    fn the_log_may_grow_to_its_share_of_the_last_checkpoint() {
        let found = Found {
            bytes: 1000,
            log_bytes: 300,
            ..Found::default()
        };
        let saves = Saves::new(1, found, 0);
        let policy = Policy {
            percentage: 50,
            least: 100,
            ..NEVER
        };
        saves.note(0, 3, 199, None);
        assert!(!saves.due(&policy));
        saves.note(0, 4, 200, None);
        assert_eq!((saves.log_size(), saves.changes()), (500, 4));
        assert!(saves.due(&policy));
        saves.note(0, 6, 250, None);
        let completed = Completed {
            bytes: 2000,
            changes: 4,
            log_bytes: 200,
        };
        saves.ended(Some(completed), 1);
        // What came after it was begun is not in it.
        assert_eq!((saves.log_size(), saves.changes()), (50, 2));
        assert!(!saves.due(&policy));
    }

    #[test]
    fn nothing_is_saved_by_the_clock_if_nothing_has_changed() {
        let saves = Saves::new(1, Found::default(), 0);
        let policy = Policy {
            interval: Duration::from_nanos(1),
            ..NEVER
        };
        assert!(!saves.due(&policy));
        saves.note(0, 1, 0, None);
        assert!(saves.due(&policy));
        // After a failure there is a pause.
        saves.ended(None, 1);
        assert!(!saves.due(&policy));
    }
}
