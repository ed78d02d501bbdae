//! The writer's motion: what to start now, and what follows from what was finished.

use std::io;

use super::anchor::{ANCHOR_LEN, anchor_name};
use super::config::{Done, FileNo, Op, OpId, Policy};
use super::format::segment_name;
use super::writer::{Blank, Doing, Phase, Writer};
use crate::disk::{Work, is_full};

/// How long until space is asked for again, in microseconds.
const RETRY: u64 = 1_000_000;
/// Segment files that are made ready at most.
const MOST_BLANKS: u64 = 4;
/// Old files that are kept to become segments.
const MOST_SPARES: usize = 4;

impl Writer {
    /// The operations to start now. `now` is a monotonic clock in microseconds.
    ///
    /// Call it after appending, after completions, and when [`Writer::deadline`] has come.
    pub fn poll(&mut self, now: u64, out: &mut Vec<Op>) {
        self.now = now;
        // First, for what comes may take the place of what is closed.
        out.extend(self.to_close.drain(..).map(|file| Op::Close { file }));
        if self.failed.is_none() && self.phase != Phase::Closed {
            self.prepare(out);
            self.write(out);
            self.sync(out);
            self.anchor(out);
        }
    }

    /// When `poll` has to be called at the latest, by the clock that is given to it, if nothing is
    /// appended and nothing completes. `Some(0)` is: now.
    pub fn deadline(&self) -> Option<u64> {
        if self.failed.is_some() || self.phase == Phase::Closed {
            return None;
        }
        let mut at: Option<u64> = None;
        let mut by = |t: u64| at = Some(at.map_or(t, |a| a.min(t)));
        if let (Phase::Running, Some(open)) = (self.phase, &self.composer.open) {
            let window = self.config.batch_window.as_micros() as u64;
            match (self.config.policy, open.since) {
                (Policy::Always, _) if !self.may_write() || self.blocked => {}
                (Policy::Always, _) | (_, None) => by(0),
                (_, Some(since)) => by(since + window),
            }
        }
        if self.full.is_some() && !self.preparing {
            by(self.retry_at);
        }
        if let Some(t) = self.sync_due() {
            by(t);
        }
        if let Some(t) = self.anchor_due() {
            by(t);
        }
        at
    }

    /// Takes in what came of the operation `id`.
    pub fn done(&mut self, id: OpId, result: io::Result<Done>, now: u64) {
        self.now = now;
        let Some(at) = self.under_way.iter().position(|(i, _)| *i == id) else {
            self.fail("an operation was answered that nobody started");
            return;
        };
        let (_, doing) = self.under_way.swap_remove(at);
        match (doing, result) {
            (
                Doing::Frame {
                    file,
                    number,
                    dsync,
                },
                Ok(Done::Written(buf, n)),
            ) => {
                self.writes_under_way -= 1;
                let whole = n == buf.len();
                self.composer.pool.give(buf.into_buf());
                if whole {
                    self.frame_written(file, number, dsync);
                } else {
                    self.fail(&format!("a write of frame {number} wrote only {n} bytes"));
                }
            }
            (Doing::Frame { number, .. }, Err(e)) => {
                self.writes_under_way -= 1;
                self.fail(&format!("writing frame {number} failed: {e}"));
            }
            (Doing::Sync { file, covers }, Ok(Done::Synced)) => {
                self.counters.syncs += 1;
                if let Some(s) = self.loose.iter_mut().find(|s| s.file == file) {
                    s.syncing = false;
                    s.synced = s.synced.max(covers);
                }
                self.extend(file);
                self.advance();
            }
            (Doing::Sync { .. }, Err(e)) => self.fail(&format!("fdatasync failed: {e}")),
            (Doing::Anchor { durable, last }, Ok(Done::Written(buf, n))) => {
                self.anchor_busy = false;
                if n != buf.len() {
                    return self.fail(&format!("writing the anchor wrote only {n} bytes"));
                }
                self.anchor_pool.give(buf.into_buf());
                self.anchor_written(durable, last);
            }
            (Doing::Anchor { .. }, Err(e)) => self.fail(&format!("writing the anchor failed: {e}")),
            (Doing::AnchorFile, Ok(Done::Performed)) => {
                self.preparing = false;
                self.full = None;
                self.anchor_ready = true;
            }
            (Doing::AnchorFile, Err(e)) => self.no_file(&e),
            (Doing::Blank(blank), Ok(Done::Performed)) => {
                self.preparing = false;
                self.full = None;
                if blank.recycled {
                    self.counters.recycled += 1;
                    self.spares.pop_front();
                }
                self.next_seq = blank.seq + 1;
                self.blocked = false;
                self.blanks.push_back(blank);
            }
            (Doing::Blank(blank), Err(e)) => {
                self.files &= !(1 << blank.file.0);
                if blank.recycled && !is_full(&e) {
                    // A spare that is not what it was said to be: do without it.
                    self.spares.pop_front();
                    self.preparing = false;
                } else {
                    self.no_file(&e);
                }
            }
            (Doing::Remove, _) => self.preparing = false, // a leftover costs space, nothing else
            (_, Ok(_)) => self.fail("an operation was answered with another one's result"),
        }
    }

    fn no_file(&mut self, e: &io::Error) {
        self.preparing = false;
        self.full = Some(e.to_string());
        self.retry_at = self.now + RETRY;
    }

    pub(super) fn begin_op(&mut self, doing: Doing) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.under_way.push((id, doing));
        id
    }

    /// Has the files made that will be needed: the anchor's, and one segment ahead, more if
    /// the backlog is long.
    fn prepare(&mut self, out: &mut Vec<Op>) {
        if self.preparing || (self.full.is_some() && self.now < self.retry_at) {
            return;
        }
        if !self.anchor_ready {
            self.preparing = true;
            let work = Work::Obtain {
                name: anchor_name(self.config.core),
                size: ANCHOR_LEN,
            };
            let id = self.begin_op(Doing::AnchorFile);
            out.push(Op::Perform {
                id,
                file: Some(FileNo::ANCHOR),
                work,
            });
            return;
        }
        if self.spares.len() > MOST_SPARES
            && let Some(name) = self.spares.pop_back()
        {
            self.preparing = true;
            let id = self.begin_op(Doing::Remove);
            out.push(Op::Perform {
                id,
                file: None,
                work: Work::Remove { name },
            });
            return;
        }
        let size = self.config.segment_size;
        // A log is never without a file to go on in; a checkpoint's part, which ends soon, makes one when half of the last
        // is written.
        let ahead = self.config.chain.anchored() || self.room() < size / 2;
        let waiting = self.composer.waiting() as u64 / size;
        let wanted = (u64::from(ahead) + waiting).min(MOST_BLANKS);
        if self.sealed_last || self.blanks.len() as u64 >= wanted {
            return;
        }
        let Some(file) = self.free_file() else { return };
        self.preparing = true;
        let name = segment_name(self.start.run, self.config.core, self.next_seq);
        let prefill = self.config.policy == Policy::Always;
        let spare = self.spares.front().cloned();
        let blank = Blank {
            file,
            seq: self.next_seq,
            recycled: spare.is_some(),
        };
        let work = match spare {
            Some(from) => Work::Recycle {
                from,
                name,
                size,
                prefill,
            },
            None => Work::Create {
                name,
                size,
                prefill,
            },
        };
        let id = self.begin_op(Doing::Blank(blank));
        out.push(Op::Perform {
            id,
            file: Some(file),
            work,
        });
    }

    fn free_file(&mut self) -> Option<FileNo> {
        let n = (!self.files).trailing_zeros();
        (n < FileNo::COUNT as u32).then(|| {
            self.files |= 1 << n;
            FileNo(n as u8)
        })
    }

    pub(super) fn close_file(&mut self, file: FileNo) {
        self.files &= !(1 << file.0);
        self.to_close.push(file);
    }
}
