//! Core 0's share in checkpoints: when one is begun, when it counts, and what becomes of what it replaces.

use std::sync::Arc;

use super::super::Worker;
use super::super::gather::{Answer, Asker};
use super::super::saves::{Aim, Completed, Last, Policy, Request};
use super::{Order, Written};
use crate::checkpoint::{self, Manifest, PartEntry, hold};
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Work};
use crate::log::format::{parse_segment_name, segment_name};

/// A checkpoint under way.
pub(super) struct UnderWay {
    number: u64,
    begun_ms: u64,
    /// By core, once written; and the segment its log is needed from on, once that is durable.
    parts: Vec<Option<Written>>,
    begins: Vec<Option<u64>>,
    /// Cores whose answer is waited for.
    waiting: usize,
    /// Why it is not to be, if so.
    failed: Option<String>,
    /// Who waits for the end.
    asker: Option<Asker>,
}

/// How an errand ended.
pub(super) enum Errand {
    /// The manifest was written, or not.
    Published(Result<(), String>),
    /// What a checkpoint that was given up had left is removed.
    Cleaned(String),
    /// The files of the log that are not needed any more.
    Old {
        run: u64,
        begin: u64,
        files: Vec<String>,
    },
    /// Something whose outcome changes nothing.
    Done,
}

impl Worker {
    /// Begins the checkpoint that was asked for; `asker` waits for its end.
    pub(super) fn begin_checkpoint(&mut self, asker: Option<Asker>) {
        let number = self.shared.saves.number();
        let cores = self.mesh.cores();
        self.checkpoints.under_way = Some(UnderWay {
            number,
            begun_ms: self.clock.unix_ms,
            parts: vec![None; cores],
            begins: vec![None; cores],
            waiting: cores,
            failed: None,
            asker,
        });
        if self.gives_up_checkpoints() {
            return self.checkpoint_over(Err("the server is stopping".to_owned()));
        }
        tracing::info!(number, "a checkpoint begins");
        self.order_all(|_| Order::Begin(number));
    }

    /// Ten times a second: begins a checkpoint if one is due.
    pub(in crate::worker) fn begin_due_checkpoint(&mut self) {
        if self.core != 0 || self.stopping.is_some() || self.checkpoints.under_way.is_some() {
            return;
        }
        let settings = &self.settings.persistence;
        let policy = Policy {
            interval: settings.checkpoint_interval,
            percentage: match self.log.is_on() {
                true => settings.auto_aof_rewrite_percentage,
                false => 0,
            },
            least: settings.auto_aof_rewrite_min_size,
        };
        if self.shared.saves.due(&policy) {
            self.begin_checkpoint(None);
        }
    }

    /// Whether none is to be gone on with: the server is stopping, and this is not what it does last.
    pub(super) fn gives_up_checkpoints(&self) -> bool {
        self.stopping.is_some() && self.shared.saves.last() != Last::Going
    }

    /// The server is stopping, no core has anything left to do, and what it holds is to be in a checkpoint.
    pub(in crate::worker) fn begin_last_checkpoint(&mut self) {
        let free = self.core == 0 && self.checkpoints.under_way.is_none();
        if free && self.shared.saves.request(Aim::Save, false) == Request::Begin {
            self.shared.saves.set_last(Last::Going);
            self.begin_checkpoint(None);
        }
    }

    fn order_all(&mut self, order: impl Fn(usize) -> Order) {
        for core in 0..self.mesh.cores() {
            self.order(core, order(core));
        }
    }

    /// A part is written, or cannot be.
    pub(super) fn part_written(&mut self, number: u64, core: usize, part: Result<Written, String>) {
        let Some(under_way) = self.current(number) else {
            return;
        };
        under_way.waiting -= 1;
        match part {
            Ok(part) => under_way.parts[core] = Some(part),
            Err(why) => return self.checkpoint_fails(core, why),
        }
        if under_way.waiting > 0 {
            return;
        }
        if under_way.failed.is_some() {
            return self.clean_up();
        }
        under_way.waiting = under_way.parts.len();
        self.order_all(|_| Order::Settle(number));
    }

    /// A log is durable, or cannot be.
    pub(super) fn log_settled(&mut self, number: u64, core: usize, begin: Result<u64, String>) {
        let Some(under_way) = self.current(number) else {
            return;
        };
        under_way.waiting -= 1;
        match begin {
            Ok(begin) => under_way.begins[core] = Some(begin),
            Err(why) => return self.checkpoint_fails(core, why),
        }
        match (under_way.waiting, &under_way.failed) {
            (0, None) => self.publish_checkpoint(),
            (0, Some(_)) => self.clean_up(),
            _ => {}
        }
    }

    fn current(&mut self, number: u64) -> Option<&mut UnderWay> {
        let under_way = self.checkpoints.under_way.as_mut();
        under_way.filter(|under_way| under_way.number == number)
    }

    /// A core cannot go on. When the last has answered, what there is of it is removed.
    fn checkpoint_fails(&mut self, core: usize, why: String) {
        let Some(under_way) = &mut self.checkpoints.under_way else {
            return;
        };
        let number = under_way.number;
        let first = under_way.failed.is_none();
        under_way
            .failed
            .get_or_insert(format!("core {core}: {why}"));
        if under_way.waiting == 0 {
            self.clean_up();
        } else if first {
            self.order_all(|_| Order::Abandon(number));
        }
    }

    /// All parts are written and durable, and so are the logs; so the manifest is.
    fn publish_checkpoint(&mut self) {
        let Some(under_way) = &self.checkpoints.under_way else {
            return;
        };
        let parts = under_way.parts.iter().flatten().zip(&under_way.begins);
        let manifest = Manifest {
            number: under_way.number,
            run: self.shared.log_run,
            logged: self.log.is_on(),
            begun: under_way.begun_ms,
            ended: self.clock.unix_ms,
            parts: parts
                .map(|(part, begin)| part.entry(begin.unwrap_or(0)))
                .collect(),
        };
        let name = manifest.name();
        // A part may have made a file more than it needed.
        let spare = |part: &PartEntry| segment_name(name.number, part.end.core, part.end.seq + 1);
        let spares: Vec<String> = manifest.parts.iter().map(spare).collect();
        let place = &self.checkpoints.place;
        match manifest.seal(&place.dek, place.backend, &place.node) {
            Ok(sealed) => {
                let disk = place.disk.clone();
                self.run_errand(move || {
                    for name in spares {
                        let _ = disk.perform(&Work::Remove { name });
                    }
                    let done = checkpoint::publish(&*disk, name, &sealed);
                    Errand::Published(done.map_err(|e| format!("its manifest: {e}")))
                });
            }
            Err(e) => self.checkpoint_fails(0, e.to_string()),
        }
    }

    pub(super) fn errand_ended(&mut self, errand: Errand) {
        match errand {
            Errand::Published(Err(why)) => self.checkpoint_fails(0, why),
            Errand::Published(Ok(())) => {
                let Some(under_way) = &self.checkpoints.under_way else {
                    return;
                };
                let (number, run) = (under_way.number, self.shared.log_run);
                let begins = under_way.begins.clone();
                self.checkpoint_over(Ok(()));
                self.order_all(|core| Order::Published {
                    number,
                    run,
                    begin: begins.get(core).copied().flatten().unwrap_or(0),
                });
            }
            Errand::Cleaned(why) => self.checkpoint_over(Err(why)),
            Errand::Old { run, begin, files } => self.log.release(run, begin, files),
            Errand::Done => {}
        }
    }

    /// The checkpoint counts, or there is none.
    fn checkpoint_over(&mut self, how: Result<(), String>) {
        let Some(under_way) = self.checkpoints.under_way.take() else {
            return;
        };
        let number = under_way.number;
        let parts = || under_way.parts.iter().flatten();
        let completed = Completed {
            bytes: parts().map(|p| p.bytes).sum(),
            changes: parts().map(|p| p.changes).sum(),
            log_bytes: parts().map(|p| p.log_bytes).sum(),
        };
        let ms = self.clock.unix_ms.saturating_sub(under_way.begun_ms);
        match &how {
            Ok(()) => {
                let (keys, bytes) = (parts().map(|p| p.keys).sum::<u64>(), completed.bytes);
                tracing::info!(number, keys, bytes, ms, "the checkpoint is complete");
            }
            Err(why) => tracing::error!(number, ms, "the checkpoint is given up: {why}"),
        }
        let unix = self.clock.unix_ms / 1000;
        self.shared
            .saves
            .ended(how.is_ok().then_some(completed), unix);
        if self.shared.saves.last() == Last::Going {
            self.shared.saves.set_last(Last::Over);
            if let Err(why) = &how {
                self.unclosed = Some(format!(
                    "the last checkpoint is not complete: {why}; what was changed since the one before is lost"
                ));
            }
        }
        if let Some(asker) = under_way.asker {
            self.tell(asker, Answer::Ended(how));
        }
    }

    /// Removes what a checkpoint that was given up has left: no core writes to it any more.
    fn clean_up(&mut self) {
        let Some(under_way) = &self.checkpoints.under_way else {
            return;
        };
        let (number, why) = (
            under_way.number,
            under_way.failed.clone().unwrap_or_default(),
        );
        let disk = self.checkpoints.place.disk.clone();
        self.run_errand(move || {
            checkpoint::remove(&*disk, number);
            Errand::Cleaned(why)
        });
    }

    /// Removes the checkpoints before this one, and the logs before `run` where there is no log that would recycle them.
    pub(super) fn remove_older(&mut self, number: u64, run: u64) {
        let disk = self.checkpoints.place.disk.clone();
        let unused = match self.log.is_on() {
            true => None,
            false => self.shared.unused_log.clone(),
        };
        self.run_errand(move || {
            if hold::is_held(disk.dir()) {
                return Errand::Done;
            }
            checkpoint::remove_below(&*disk, number);
            if let Some(log) = unused {
                remove_runs(&log, run);
            }
            Errand::Done
        });
    }

    pub(super) fn run_errand(&mut self, errand: impl FnOnce() -> Errand + Send + 'static) {
        self.checkpoints.errands += 1;
        let ended = self.checkpoints.ended.clone();
        let inbox = self.shared.inboxes[self.core].clone();
        glommio::spawn_local(async move {
            let done = glommio::executor().spawn_blocking(errand).await;
            ended.borrow_mut().push(done);
            super::super::mesh::pull(inbox.rope());
        })
        .detach();
        // The executor has its turn at the end of this tick.
        self.last_yield = 0;
    }
}

/// Removes the segments of runs below `run`. One that cannot be removed takes space, and nothing else.
fn remove_runs(disk: &Arc<RealDisk>, run: u64) {
    for entry in disk.list().unwrap_or_default() {
        if parse_segment_name(&entry.name).is_some_and(|(of, _, _)| of < run) {
            let _ = disk.perform(&Work::Remove { name: entry.name });
        }
    }
}
