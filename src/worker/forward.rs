//! Commands whose key lives on another core: sent in one message for each core and tick, executed
//! there, answered in one message, and put into their seats.

use std::mem;

use super::client::{Client, ReplyMode, Waiting};
use super::dispatch::Seat;
use super::message::{Batch, Item, Message};
use super::script::{GoesOn, Who};
use super::slab::Id;
use super::tick::Flow;
use super::{Home, Worker};
use crate::command::{self, Run, flag};
use crate::resp::Reply;

/// Batches kept for their next use, and the bytes that one of them may keep.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 256 << 10;

impl Worker {
    /// Puts a command into the batch for the core that owns its key.
    pub(super) fn forward(
        &mut self,
        client: &mut Client,
        index: u32,
        core: usize,
        number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        let blocking = command::by_id(number).filter(|row| row.has(flag::BLOCKING));
        let waits = blocking.is_some();
        let wait = match blocking {
            Some(row) => self.await_owner(client, index, ((row, number), argv), core),
            None => 0,
        };
        let item = Item {
            client: (index, client.conn.generation()),
            seat: client.conn.replies.leave_seat(),
            silent: client.reply != ReplyMode::On,
            command: number,
            who: Seat::of(client),
            wait,
            blocked: false,
            more: None,
            slow: None,
            args: argv.len() as u32,
            reply_end: 0,
        };
        let spare = &mut self.spare_batches;
        let batch = self.forwarding[core].get_or_insert_with(|| spare.pop().unwrap_or_default());
        batch.from = self.core;
        batch.push(argv, item);
        self.stats.forwarded += 1;
        self.any_forwarding = true;
        if waits { Flow::Wait } else { Flow::Next }
    }

    /// Moves the batches into the outboxes, ahead of whatever is sent next.
    pub(super) fn send_forwarding(&mut self) {
        if !mem::take(&mut self.any_forwarding) {
            return;
        }
        for core in 0..self.forwarding.len() {
            if let Some(batch) = self.forwarding[core].take() {
                self.mesh.send(core, Message::Exec(batch));
            }
        }
    }

    /// Executes another core's commands.
    pub(super) fn run_batch(&mut self, batch: Box<Batch>) {
        self.prefetch_batch(&batch.bytes, &batch.ends, &batch.items);
        self.run_batch_from(batch, 0, 0);
    }

    /// Executes another core's commands from one of them on, whose first argument is that of number `first`.
    pub(super) fn run_batch_from(&mut self, mut batch: Box<Batch>, from: usize, mut first: usize) {
        let bytes = mem::take(&mut batch.bytes);
        let ends = mem::take(&mut batch.ends);
        let mut items = mem::take(&mut batch.items);
        let mut replies = mem::take(&mut batch.replies);
        let mut argv: Vec<&[u8]> = Vec::new();
        let mut left = None;
        for (number, item) in items.iter_mut().enumerate().skip(from) {
            argv.clear();
            for i in first..first + item.args as usize {
                argv.push(super::message::arg(&bytes, &ends, i));
            }
            first += item.args as usize;
            match command::by_id(item.command) {
                Some(row) => {
                    if self.is_put_aside(batch.from, item, row, &argv) {
                        // Its reply comes later.
                    } else if let Some(e) = self.forbids(row, item.who.applies) {
                        self.stats.refused(item.command);
                        let mark = replies.len();
                        e.write(&mut Reply {
                            buf: &mut replies,
                            proto: item.who.proto,
                        });
                        self.stats.error(&replies[mark..]);
                    } else if let Run::Data(f) = row.run {
                        let who = item.who.walking(!item.silent);
                        let mark = replies.len();
                        let ran =
                            self.run_data(f, row, item.command, who, &argv, &mut replies, None);
                        item.slow = ran.slow;
                        if let Some(walk) = ran.walk
                            && self.walk_there(batch.from, item, row, &argv, walk)
                        {
                            replies.truncate(mark);
                        }
                        if let Some(wait) = ran.wait {
                            item.blocked = true;
                            self.block_other(batch.from, item, &argv, wait);
                        }
                        self.serve_blocked();
                    } else if let Run::Script(script) = row.run {
                        let who = Who {
                            seat: item.who,
                            user: None,
                        };
                        let row = (row, item.command, script);
                        if let Some(long) = self.run_script(who, row, &argv, &mut replies) {
                            first -= item.args as usize;
                            left = Some((long, number));
                            break;
                        }
                        self.serve_blocked();
                    }
                }
                None => unreachable!("the sender took the number from the same table"),
            }
            item.reply_end = replies.len() as u32;
        }
        drop(argv);
        (batch.bytes, batch.ends, batch.items, batch.replies) = (bytes, ends, items, replies);
        match left {
            Some((left, item)) => {
                let goes_on = GoesOn::Batch { batch, item, first };
                self.leave(left, &[self.core], goes_on);
            }
            None => {
                self.stats.executed_for_others += batch.items.len() as u64;
                self.answered.push(batch);
            }
        }
    }

    /// Refuses the commands that wait for the shard, which is with a script that is over its time.
    pub(super) fn refuse_queued(&mut self) {
        let Some(e) = self.busy_text() else { return };
        for message in mem::take(&mut self.queue) {
            let mut batch = match message {
                // What another server has done is done, and waits.
                Message::Exec(batch) if batch.items.iter().all(|item| !item.who.applies) => batch,
                message => {
                    self.queue.push_back(message);
                    continue;
                }
            };
            let Batch { items, replies, .. } = &mut *batch;
            for item in items {
                self.stats.refused(item.command);
                let mark = replies.len();
                e.write(&mut Reply {
                    buf: replies,
                    proto: item.who.proto,
                });
                self.stats.error(&replies[mark..]);
                item.reply_end = replies.len() as u32;
            }
            self.answered.push(batch);
        }
    }

    fn prefetch_batch(&mut self, bytes: &[u8], ends: &[u32], items: &[Item]) {
        if items.len() < 2 {
            return;
        }
        let mut first = 0;
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            if item.args > 1 {
                let key = &bytes[ends[first] as usize..ends[first + 1] as usize];
                keys.push(self.ks.key(item.who.db, key));
            }
            first += item.args as usize;
        }
        for key in &keys {
            if self.ks.owner(key.slot) == self.core {
                self.ks.prefetch_slot(key);
            }
        }
        for key in &keys {
            if self.ks.owner(key.slot) == self.core {
                self.ks.prefetch_bucket(key);
            }
        }
        for key in &keys {
            if self.ks.owner(key.slot) == self.core {
                self.ks.prefetch_entry(key);
            }
        }
    }

    /// Sends answered batches home; under `always`, those that wait for the log wait here.
    pub(super) fn send_answers(&mut self, hold: Option<u64>) {
        for batch in mem::take(&mut self.answered) {
            match hold {
                None => self.mesh.send(batch.from, Message::Done(batch)),
                Some(ticket) => self.held_batches.push_back((ticket, batch)),
            }
        }
    }

    /// Sends the batches home that waited for tickets up to `kept`.
    pub(super) fn release_answers(&mut self, kept: u64) {
        while self
            .held_batches
            .front()
            .is_some_and(|(ticket, _)| *ticket <= kept)
        {
            if let Some((_, batch)) = self.held_batches.pop_front() {
                self.mesh.send(batch.from, Message::Done(batch));
            }
        }
    }

    /// Puts the replies of a batch into their seats.
    pub(super) fn take_answers(&mut self, mut batch: Box<Batch>) {
        let mut start = 0;
        let mut first = 0;
        for item in &batch.items {
            let args = first..first + item.args as usize;
            first = args.end;
            if let Some(ns) = item.slow {
                self.note_forwarded_slow(&batch, args, ns, item.client);
            }
            let reply = &batch.replies[start..item.reply_end as usize];
            start = item.reply_end as usize;
            if self.note_blocked(item) {
                continue;
            }
            let (index, generation) = item.client;
            if let Some(client) = self.clients.get(Id { index, generation }) {
                let reply = if item.silent { &[] } else { reply };
                if item.more.is_some() {
                    client.far_reply_is_long();
                    client.conn.replies.fill_part(item.seat, reply);
                } else {
                    client.far_reply_came(reply.len());
                    client.conn.replies.fill(item.seat, reply);
                }
                if client.conn.at < client.conn.input.len() && !client.has_input {
                    client.has_input = true;
                    self.input.push(index);
                }
                if !client.has_output {
                    client.has_output = true;
                    self.output.push(index);
                }
            } else if let Some(core) = item.more {
                let (from, client, seat) = (self.core, item.client, item.seat);
                self.mesh.send(core, Message::Unread { from, client, seat });
            }
            if item.wait != 0 {
                self.answered_wait(item.wait);
            }
        }
        batch.clear();
        if self.spare_batches.len() < SPARE && batch.kept() <= SPARE_BYTES {
            self.spare_batches.push(batch);
        }
    }

    /// The owner of the shard measured the command; the owner of the client knows who sent it.
    #[cold]
    fn note_forwarded_slow(
        &mut self,
        batch: &Batch,
        args: std::ops::Range<usize>,
        ns: u64,
        (index, generation): (u32, u32),
    ) {
        let argv: Vec<&[u8]> = args.map(|i| batch.arg(i)).collect();
        self.note_slow_of(Id { index, generation }, ns, &argv);
    }

    /// Puts a command of a client of this core into the slow log.
    #[cold]
    pub(super) fn note_slow_of(&mut self, at: Id, ns: u64, argv: &[&[u8]]) {
        let here = self.clients.holds(at);
        let client = here.then(|| self.clients.take(at.index)).flatten();
        self.note_slow(ns, argv, client.as_deref());
        if let Some(client) = client {
            self.clients.put(at.index, client);
        }
    }

    /// Handles what waits for the shard, in order, while the shard is here and the log keeps up.
    pub(super) fn serve_queue(&mut self) {
        while matches!(self.home, Home::Here) {
            if self.log_backlogged && !matches!(self.queue.front(), Some(Message::Ask { .. })) {
                break;
            }
            match self.queue.pop_front() {
                Some(Message::Exec(batch)) => self.run_batch(batch),
                Some(Message::Take { tx, from, writes }) => {
                    self.end_for(from);
                    self.promise(tx, from, writes);
                }
                Some(Message::Ask { from, question }) => self.answer(from, &question),
                Some(Message::Inlet(parcel)) => {
                    self.take_parcel(*parcel);
                    // One is enough for a tick.
                    self.queue_stirs = !self.queue.is_empty();
                    break;
                }
                Some(Message::Leave { wait, end }) => {
                    self.end_for(wait.core);
                    self.end_wait(wait, end);
                }
                Some(_) => {
                    unreachable!("only commands, takes, questions and parcels wait for the shard")
                }
                None => break,
            }
        }
        if self.free() && !self.stalled.is_empty() {
            for index in mem::take(&mut self.stalled) {
                // The index may have a new bearer by now.
                if self
                    .clients
                    .at(index)
                    .is_some_and(|c| c.waiting == Waiting::Shard)
                {
                    self.resume(index);
                }
            }
        }
    }
}
