//! Long reads that are answered in steps, and who waits for them.
//!
//! Promise: a long read takes a share of each tick, and the clients beside it have theirs; its client gets the same bytes
//! as if it had been answered at once, and its replies in order; who would change what is being read waits in line, and
//! no reader that comes later goes before it.
//!
//! A walk (`shard/walk.rs`) belongs to the core that owns the key. Each tick of that core goes on with it for a while and
//! hands over what was answered: to a client of its own, which waits meanwhile, into the seat of its reply; to another
//! core's with the batches that are answered, the last of them saying that it is the last.
//!
//! Who wants to change a key that is held: a client of this core stalls as for a shard that is lent. A command that
//! another core has sent is put aside, and so is all that comes behind it from the same client; what was put aside runs,
//! in order, when a walk has ended. A key that somebody waits for is *wanted*: a long read of it that comes later does
//! not begin before that one is done. Where nobody can wait (a transaction, a script, an expiry, a shard that a
//! transaction of another core asks for while commands of that core are put aside) the shard sees to it that walks come
//! to their end before the change: that takes as long as it would have taken at once, and is as right.

use std::collections::{HashSet, VecDeque};
use std::mem;

use super::blocked::Name;
use super::client::{Client, Waiting};
use super::clock::ticks;
use super::message::{Batch, Item, Message};
use super::slab::Id;
use super::tick::Flow;
use super::{Home, Worker};
use crate::command::{Command, flag, key, keys_with_flags};
use crate::net::conn::Phase;

/// Nanoseconds of a tick that all walks of a core get together.
const SHARE_NS: u64 = 100_000;
/// Bytes handed over at a time.
const PART: usize = 64 << 10;

/// The walks that a core is on.
#[derive(Default)]
pub(super) struct Walks {
    list: VecDeque<Walking>,
    /// Whether a checkpoint holds a key.
    checkpoint: bool,
    /// Keys that somebody waits for.
    wanted: Vec<Name>,
    /// Commands of other cores that wait, a batch for each core.
    #[expect(
        clippy::vec_box,
        reason = "the boxes travel in messages; a batch is never moved"
    )]
    aside: Vec<Box<Batch>>,
    /// The clients that these are of: core, and client.
    aside_of: HashSet<(usize, (u32, u32))>,
}

/// One walk.
struct Walking {
    /// Its number in the shard.
    number: u64,
    to: To,
    row: (&'static Command, u16),
    args: Vec<Vec<u8>>,
    /// The time it has taken.
    ns: u64,
}

/// Who gets what is answered.
enum To {
    /// A client of this core, in a seat.
    Here(Id, u32),
    /// One of another core.
    There(usize, Item),
    /// Nobody any more.
    Nobody,
}

impl Walks {
    /// Whether nothing is under way.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.aside.is_empty() && !self.checkpoint
    }

    fn wants(&self, db: u16, key: &[u8]) -> bool {
        self.wanted.iter().any(|(d, k)| *d == db && **k == *key)
    }
}

fn owned(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    argv.iter().map(|arg| arg.to_vec()).collect()
}

impl Worker {
    /// Whether a command has to wait for a walk; its shard is at hand.
    #[inline]
    pub(super) fn must_wait(&mut self, row: &Command, db: u16, argv: &[&[u8]]) -> bool {
        !self.walks.is_empty() && row.has(flag::WRITE) && self.wants_held(row, db, argv)
    }

    /// Whether a command would change in place what is being read; that is wanted then. What it only takes away or puts
    /// something else in the place of does not make it wait.
    #[cold]
    fn wants_held(&mut self, row: &Command, db: u16, argv: &[&[u8]]) -> bool {
        let mut keys = Vec::new();
        keys_with_flags(row, argv, &mut keys);
        let mut held = false;
        for (at, _) in keys.iter().filter(|(_, bits)| bits & key::RW != 0) {
            let k = self.ks.key(db, argv[*at]);
            if self.ks.owner(k.slot) == self.core && self.ks.shard(self.core).is_held(&k) {
                held = true;
                if !self.walks.wants(db, argv[*at]) {
                    self.walks.wanted.push((db, argv[*at].into()));
                }
            }
        }
        held
    }

    /// Whether a walk that was just begun has to be begun again later, since somebody waits for its key.
    fn takes_back(&mut self, number: u64, db: u16, argv: &[&[u8]]) -> bool {
        let wanted = !self.walks.wanted.is_empty() && self.walks.wants(db, argv[1]);
        if wanted {
            self.ks.shard(self.core).end_walk(number);
        }
        wanted
    }

    /// A command of a client of this core has begun a walk; `mark` is where its reply begins.
    #[cold]
    pub(super) fn walk_here(
        &mut self,
        client: &mut Client,
        index: u32,
        row: (&'static Command, u16),
        argv: &[&[u8]],
        (number, ns): (u64, u64),
        mark: usize,
    ) -> Flow {
        if self.takes_back(number, client.db, argv) {
            client.conn.replies.writer().truncate(mark);
            return self.stall(client, index);
        }
        let seat = client.conn.replies.leave_seat();
        client.waiting = Waiting::Walk;
        self.walks.list.push_back(Walking {
            number,
            to: To::Here(client.at(index), seat),
            row,
            args: owned(argv),
            ns,
        });
        Flow::Wait
    }

    /// A command of another core has begun a walk. Tells whether it was put aside instead.
    #[cold]
    pub(super) fn walk_there(
        &mut self,
        core: usize,
        item: &mut Item,
        row: &'static Command,
        argv: &[&[u8]],
        (number, ns): (u64, u64),
    ) -> bool {
        if self.takes_back(number, item.who.db, argv) {
            self.put_aside(core, item, argv);
            return true;
        }
        item.more = Some(self.core);
        self.walks.list.push_back(Walking {
            number,
            to: To::There(core, *item),
            row: (row, item.command),
            args: owned(argv),
            ns,
        });
        false
    }

    /// Whether a command of another core has to wait; it is put aside then.
    #[inline]
    pub(super) fn is_put_aside(
        &mut self,
        core: usize,
        item: &mut Item,
        row: &Command,
        argv: &[&[u8]],
    ) -> bool {
        if self.walks.is_empty() {
            return false;
        }
        let waits = self.walks.aside_of.contains(&(core, item.client))
            || self.must_wait(row, item.who.db, argv);
        if waits {
            self.put_aside(core, item, argv);
        }
        waits
    }

    #[cold]
    fn put_aside(&mut self, core: usize, item: &mut Item, argv: &[&[u8]]) {
        let aside = &mut self.walks.aside;
        let at = match aside.iter().position(|batch| batch.from == core) {
            Some(at) => at,
            None => {
                let mut batch = self.spare_batches.pop().unwrap_or_default();
                batch.from = core;
                aside.push(batch);
                aside.len() - 1
            }
        };
        aside[at].push(argv, *item);
        self.walks.aside_of.insert((core, item.client));
        // For its core it is answered later.
        item.blocked = true;
    }

    /// Something of another core comes whose order behind that core's commands counts: if some of those were put aside,
    /// all walks are ended, and they run.
    pub(super) fn end_for(&mut self, core: usize) {
        if self.walks.aside.iter().any(|batch| batch.from == core) {
            self.ks.shard(self.core).hurry_all();
            self.walks.wanted.clear();
            self.walks.aside_of.clear();
            for batch in mem::take(&mut self.walks.aside) {
                self.run_batch(batch);
            }
        }
    }

    /// Nobody takes what a walk answers any more.
    pub(super) fn forget_walk(&mut self, core: usize, client: (u32, u32), seat: u32) {
        for walking in &mut self.walks.list {
            if let To::There(of, item) = &walking.to
                && (*of, item.client, item.seat) == (core, client, seat)
            {
                walking.to = To::Nobody;
            }
        }
    }

    /// Whether a walk can go on.
    pub(super) fn walks_on(&self) -> bool {
        !self.walks.list.is_empty() && matches!(self.home, Home::Here)
    }

    /// Whether a checkpoint holds a key now; each time it has gone on. Who waited for one that it held before is tried
    /// again.
    pub(super) fn checkpoint_holds(&mut self, holds: bool) {
        let held = mem::replace(&mut self.walks.checkpoint, holds);
        if held && (!self.walks.wanted.is_empty() || !self.walks.aside.is_empty()) {
            self.after_walks();
        }
    }

    /// Goes on with the walks, each in its turn, for their share of a tick.
    pub(super) fn walk_on(&mut self) {
        let began = ticks();
        let mut ended = false;
        while self.walks_on()
            && self.clock.ns(ticks().wrapping_sub(began)) < SHARE_NS
            && let Some(mut walking) = self.walks.list.pop_front()
        {
            let from = ticks();
            let more = self.go_on_with(&mut walking, began);
            walking.ns += self.clock.ns(ticks().wrapping_sub(from));
            if more {
                self.walks.list.push_back(walking);
            } else {
                self.walk_ended(&walking);
                ended = true;
            }
        }
        if ended {
            self.after_walks();
        }
    }

    /// Goes on with one walk and hands over what it answers; tells whether there is more.
    fn go_on_with(&mut self, walking: &mut Walking, began: u64) -> bool {
        if let To::Here(at, _) = walking.to
            && self
                .clients
                .get(at)
                .is_none_or(|client| client.conn.phase == Phase::Shut)
        {
            walking.to = To::Nobody;
        }
        let shard = self.ks.shard(self.core);
        if let To::Nobody = walking.to {
            shard.end_walk(walking.number);
            return false;
        }
        let mut part = self.pool.take_plain();
        let mut more = true;
        while more && part.len() < PART && self.clock.ns(ticks().wrapping_sub(began)) < SHARE_NS {
            more = shard.walk(walking.number, &mut part);
        }
        match &walking.to {
            To::Here(at, seat) => {
                if let Some(client) = self.clients.get(*at) {
                    if more {
                        client.conn.replies.fill_part(*seat, &part);
                    } else {
                        client.conn.replies.fill(*seat, &part);
                        self.resume(at.index);
                    }
                    self.has_output(*at);
                }
            }
            To::There(core, item) => {
                let argv: Vec<&[u8]> = walking.args.iter().map(Vec::as_slice).collect();
                let slow = (!more && walking.ns >= self.slow_ns).then_some(walking.ns);
                let mut batch = self.spare_batches.pop().unwrap_or_default();
                batch.from = *core;
                let item = Item {
                    slow,
                    more: more.then_some(self.core),
                    reply_end: part.len() as u32,
                    ..*item
                };
                batch.push(&argv, item);
                batch.replies.extend_from_slice(&part);
                self.answered.push(batch);
            }
            To::Nobody => {}
        }
        part.clear();
        self.pool.put_plain(part);
        more
    }

    fn has_output(&mut self, at: Id) {
        if let Some(client) = self.clients.get(at) {
            super::arrivals::note(&mut self.output, at.index, &mut client.has_output);
        }
    }

    /// Counts a walk that has ended.
    fn walk_ended(&mut self, walking: &Walking) {
        let (row, number) = walking.row;
        let tracking = self.settings.latency.tracking;
        self.stats.executed(number, walking.ns, false, tracking);
        if let To::Here(at, _) = walking.to
            && walking.ns >= self.slow_ns
            && !row.has(flag::SKIP_SLOWLOG)
        {
            let argv: Vec<&[u8]> = walking.args.iter().map(Vec::as_slice).collect();
            self.note_slow_of(at, walking.ns, &argv);
        }
    }

    /// Who waited is tried again.
    fn after_walks(&mut self) {
        let shard = self.ks.shard(self.core);
        self.walks.wanted.retain(|(db, bytes)| {
            let k = shard.key(*db, bytes);
            shard.is_held(&k)
        });
        self.walks.aside_of.clear();
        for batch in mem::take(&mut self.walks.aside).into_iter().rev() {
            self.queue.push_front(Message::Exec(batch));
        }
        self.queue_stirs = true;
    }
}
