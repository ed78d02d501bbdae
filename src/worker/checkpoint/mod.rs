//! Checkpoints, as the cores take them together.
//!
//! The life of a checkpoint: core 0 numbers it and tells all cores (`Order::Begin`); each rolls its log and writes its
//! part, and says so (`Order::Written`); when all have, each makes durable what its log was given
//! (`Order::Settle`, `Order::Settled`); core 0 writes the manifest, from which moment the checkpoint counts, and tells all
//! cores (`Order::Published`); each lets go of the log before it. An error anywhere ends it everywhere
//! (`Order::Abandon`); what stood before still stands.
//!
//! Why the logs settle after the last part is written: what a transaction across shards did may be in one part, and be
//! taken out of that core's log for it, while another core's log would lose it in a crash. Once every log has all that was
//! executed before, it is everywhere.
//!
//! Nothing of this happens while the core's shard is lent: the log's next number is promised to the transaction then.

mod coordinate;
mod part;

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

pub use part::Place;
use part::{Part, Progress};

use super::gather::Asker;
use super::message::Message;
use super::{Home, Worker};
use crate::checkpoint::{PartEntry, hold};
use crate::disk::Disk;
use crate::log::LogEnd;
use crate::log::format::parse_segment_name;
use crate::net::ring::Ring;
use coordinate::{Errand, UnderWay};

/// What cores tell each other of a checkpoint.
pub enum Order {
    /// To core 0: the checkpoint that was asked for is to begin; who waits for its end.
    Start(Option<Asker>),
    /// Write your part of the checkpoint of this number.
    Begin(u64),
    /// To core 0: a core's part is written, or cannot be.
    Written(u64, usize, Result<Written, String>),
    /// All parts are written: make your log durable.
    Settle(u64),
    /// To core 0: a core's log is durable, or cannot be; the segment it is needed from on.
    Settled(u64, usize, Result<u64, String>),
    /// The checkpoint counts.
    Published {
        /// Its number.
        number: u64,
        /// The run of the log it was taken in.
        run: u64,
        /// The segment this core's log is needed from on.
        begin: u64,
    },
    /// It will not be.
    Abandon(u64),
}

/// A part that is written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Where it ends.
    end: LogEnd,
    keys: u64,
    bytes: u64,
    /// Changes made, and bytes of the log written, when it was begun.
    changes: u64,
    log_bytes: u64,
}

impl Written {
    /// As the manifest has it.
    fn entry(&self, begin: u64) -> PartEntry {
        PartEntry {
            begin,
            keys: self.keys,
            end: self.end,
        }
    }
}

/// What this core has to do for the checkpoint under way.
enum Duty {
    None,
    /// Begin, when the shard is at home.
    Begin,
    Write(Box<Part>),
    /// Make the log durable as far as this ticket, which is given when the shard is at home.
    Settle(Option<u64>),
}

/// All that a core knows of checkpoints.
pub(super) struct Checkpoints {
    place: Place,
    number: u64,
    duty: Duty,
    /// Changes made since the start.
    changes: u64,
    /// The same, and bytes of the log, when the part was begun.
    at_begin: (u64, u64),
    /// Core 0's.
    under_way: Option<UnderWay>,
    ended: Rc<RefCell<Vec<Errand>>>,
    errands: usize,
}

impl Checkpoints {
    /// None so far; `place` is where they go.
    pub(super) fn new(place: Place) -> Checkpoints {
        Checkpoints {
            place,
            number: 0,
            duty: Duty::None,
            changes: 0,
            at_begin: (0, 0),
            under_way: None,
            ended: Rc::default(),
            errands: 0,
        }
    }

    /// Takes note of what has happened and is being logged.
    #[inline]
    pub(super) fn hear(&mut self, effects: &[u8], records: u32) {
        self.changes += u64::from(records);
        if let Duty::Write(part) = &mut self.duty {
            part.hear(effects);
        }
    }

    /// Whether there is anything to be done, now or later.
    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.errands > 0 || !matches!(self.duty, Duty::None)
    }

    /// Whether there is something to be done at once.
    pub(super) fn is_busy(&self) -> bool {
        match &self.duty {
            Duty::Write(part) => part.is_busy(),
            _ => !self.ended.borrow().is_empty(),
        }
    }

    /// Whether an errand runs on the executor.
    pub(super) fn has_errands(&self) -> bool {
        self.errands > 0 || matches!(&self.duty, Duty::Write(part) if part.has_errands())
    }

    /// When it has to be looked at without other events, in monotonic microseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.duty {
            Duty::Write(part) => part.deadline(),
            _ => None,
        }
    }

    /// Whether nothing is under way that the kernel or the executor works on.
    pub(super) fn is_quiet(&self) -> bool {
        !matches!(self.duty, Duty::Write(_)) && self.errands == 0
    }

    /// An operation ended on the ring.
    pub(super) fn completed(&mut self, index: u32, result: i32, now_us: u64, ring: &mut Ring) {
        if let Duty::Write(part) = &mut self.duty {
            part.completed(index, result, now_us, ring);
        }
    }
}

impl Worker {
    /// Does what another core, or this one, says of a checkpoint.
    pub(super) fn ordered(&mut self, order: Order) {
        match order {
            Order::Begin(number) => {
                self.checkpoints.number = number;
                self.checkpoints.duty = Duty::Begin;
            }
            Order::Settle(number) if number == self.checkpoints.number => {
                self.checkpoints.duty = Duty::Settle(None);
            }
            Order::Published { number, run, begin } => self.recycle_before(number, run, begin),
            Order::Abandon(number) if number == self.checkpoints.number => {
                self.give_up("given up");
            }
            Order::Settle(_) | Order::Abandon(_) => {}
            Order::Start(asker) => self.begin_checkpoint(asker),
            Order::Written(number, core, part) => self.part_written(number, core, part),
            Order::Settled(number, core, begin) => self.log_settled(number, core, begin),
        }
    }

    pub(super) fn order(&mut self, core: usize, order: Order) {
        if core == self.core {
            self.ordered(order);
        } else {
            self.mesh.send(core, Message::Checkpoint(order));
        }
    }

    /// This core does not go on with the checkpoint under way.
    fn give_up(&mut self, why: &str) {
        let (number, core) = (self.checkpoints.number, self.core);
        match mem::replace(&mut self.checkpoints.duty, Duty::None) {
            Duty::Write(mut part) => {
                // Its end is told when the kernel has given the buffers back.
                part.fail(why);
                self.checkpoints.duty = Duty::Write(part);
            }
            Duty::Begin => self.order(0, Order::Written(number, core, Err(why.to_owned()))),
            Duty::Settle(_) => self.order(0, Order::Settled(number, core, Err(why.to_owned()))),
            Duty::None => {}
        }
    }

    /// Goes on with the checkpoint under way, for a moment. The shard's effects have been logged.
    pub(super) fn go_on_with_checkpoint(&mut self, bell: &Rc<dyn Fn()>) {
        if self.checkpoints.errands > 0 {
            let ended = mem::take(&mut *self.checkpoints.ended.borrow_mut());
            for errand in ended {
                self.checkpoints.errands -= 1;
                self.errand_ended(errand);
            }
        }
        if self.gives_up_checkpoints() {
            self.give_up("the server is stopping");
        }
        let here = matches!(self.home, Home::Here) && self.ks.has(self.core);
        if here {
            self.append_effects();
        }
        match mem::replace(&mut self.checkpoints.duty, Duty::None) {
            Duty::None => {}
            Duty::Begin => self.begin_when_it_can(here),
            Duty::Write(part) => self.write_part(part, here, bell),
            Duty::Settle(ticket) => self.settle_log(ticket, here),
        }
    }

    fn begin_when_it_can(&mut self, here: bool) {
        if here && self.log.can_roll() {
            self.checkpoints.duty = Duty::Write(self.begin_part());
            return;
        }
        self.checkpoints.duty = Duty::Begin;
        if let Err(why) = self.log.accepts() {
            self.give_up(&why.to_string());
        }
    }

    fn begin_part(&mut self) -> Box<Part> {
        let seat = (self.core, self.mesh.cores());
        let number = self.checkpoints.number;
        let shard = self.ks.shard(self.core);
        let part = Part::begin(number, &self.checkpoints.place, seat, shard);
        self.log.roll();
        self.checkpoints.at_begin = (self.checkpoints.changes, self.log.report().bytes);
        Box::new(part)
    }

    fn write_part(&mut self, mut part: Box<Part>, here: bool, bell: &Rc<dyn Fn()>) {
        let now_us = self.clock.now_us;
        if part.is_busy() && here {
            // Without a log, all that a later one has comes after.
            let below = self.log.next_lsn().max(1);
            let busy = (self.sends > 0).then(|| self.clock.since_read());
            let pace = (now_us, busy);
            part.write(&mut self.ks, self.core, self.clock.unix_ms, below, pace);
        }
        let (number, core) = (self.checkpoints.number, self.core);
        let progress = part.drive(now_us, &mut self.ring, bell);
        if here {
            if part.is_over() {
                part.let_go(self.ks.shard(core));
            }
            self.checkpoint_holds(part.holds());
        }
        match progress {
            // The key is held as long as the shard is away.
            _ if part.holds() => self.checkpoints.duty = Duty::Write(part),
            Progress::Going => self.checkpoints.duty = Duty::Write(part),
            Progress::Written(end, keys, bytes) => {
                part.report_usage(&self.shared);
                let (changes, log_bytes) = self.checkpoints.at_begin;
                let written = Written {
                    end,
                    keys,
                    bytes,
                    changes,
                    log_bytes,
                };
                self.order(0, Order::Written(number, core, Ok(written)));
            }
            Progress::Failed(why) => {
                part.report_usage(&self.shared);
                self.order(0, Order::Written(number, core, Err(why)));
            }
        }
    }

    fn settle_log(&mut self, ticket: Option<u64>, here: bool) {
        let (number, core) = (self.checkpoints.number, self.core);
        if !self.log.is_on() {
            return self.order(0, Order::Settled(number, core, Ok(0)));
        }
        let ticket = match ticket {
            None if here => Some(self.log.await_durable()),
            other => other,
        };
        let durable = ticket.is_some_and(|ticket| self.log.durable() >= ticket);
        match self.log.rolled() {
            Some(begin) if durable => self.order(0, Order::Settled(number, core, Ok(begin))),
            _ => match self.log.accepts() {
                Err(why) => {
                    let why = why.to_string();
                    self.order(0, Order::Settled(number, core, Err(why)));
                }
                Ok(()) => self.checkpoints.duty = Duty::Settle(ticket),
            },
        }
    }

    /// Tells all cores how much has changed since the start, for INFO and for what is done by the clock.
    pub(super) fn note_changes(&self) {
        let keys = match &self.checkpoints.duty {
            Duty::Write(part) => Some(part.keys()),
            _ => None,
        };
        let (changes, bytes) = (self.checkpoints.changes, self.log.report().bytes);
        self.shared.saves.note(self.core, changes, bytes, keys);
    }

    /// A checkpoint counts: what it replaces is not needed any more.
    fn recycle_before(&mut self, number: u64, run: u64, begin: u64) {
        if self.core == 0 {
            self.remove_older(number, run);
        }
        let Some(disk) = self.log.disk() else { return };
        let (core, cores) = (self.core as u16, self.mesh.cores() as u16);
        let checkpoints = self.checkpoints.place.disk.clone();
        self.run_errand(move || match disk.list() {
            Ok(_) if hold::is_held(checkpoints.dir()) => {
                tracing::info!(
                    "the log's files are being copied: they are recycled after the next checkpoint"
                );
                Errand::Done
            }
            Ok(entries) => {
                let old = |name: &str| {
                    parse_segment_name(name).is_some_and(|(r, c, seq)| {
                        c % cores == core && (r < run || (r == run && c == core && seq < begin))
                    })
                };
                let names = entries.into_iter().map(|entry| entry.name);
                let files = names.filter(|name| old(name)).collect();
                Errand::Old { run, begin, files }
            }
            Err(e) => {
                tracing::warn!("the log's directory cannot be listed, so nothing is recycled: {e}");
                Errand::Done
            }
        });
    }
}
