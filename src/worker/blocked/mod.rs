//! Clients that wait for keys: BLPOP and its like, and how they are served.
//!
//! Promise: the clients that wait for a key are served in the order in which they came; each right after the command or
//! transaction that made it possible, whatever core that ran on; no change is missed, and no element is lost between
//! two cores.
//!
//! # The protocol
//! Every shard's owner keeps the *lines* of its keys (see [`lines`]); the shard itself only counts who waits for which
//! key, and notes which of these keys have changed (`shard::signals`), wherever it is at that time.
//!
//! A blocking command is tried like any other. If it finds nothing it says what it waits for:
//!
//! - *All its keys live on one shard.* It was tried by the owner, for a client of its own or in a batch; the client waits
//!   from the moment on in which it is sent there. The owner puts it in line with all it takes to try it again. From
//!   then on the owner alone decides how the wait ends: it serves it, or its time is up, or somebody ends it, which
//!   reaches the owner in the order of the messages (`Leave`), behind the command itself. So no wait ends twice.
//! - *Its keys live on several shards.* It was tried in a transaction, and before that gives the shards back it has the
//!   owners note the client in the lines of its keys (`Block`). No key can change in between, since the shards are at
//!   hand. When it is the turn of such a client, the owner asks its core (`Ready`) and holds the line: nobody behind is
//!   served until there is an answer. The core tries the command in a transaction, and tells the owners ahead of the
//!   shards' return: those that asked, that it waits on (`Again`); or all, that it does not wait any more (`Unwait`). A
//!   question that comes while the transaction is on its way is answered by the same try: an owner asks before it lends
//!   the shard, so the try sees what it asked for. The client's core alone decides how such a wait ends; a transaction
//!   that finds it ended does nothing.
//!
//! Lines are gone through (`serve_ready`) after each command, when a shard comes home, and after each answer, before
//! anything else is done on that shard. What serving changes may make other keys ready; that goes on until there is none.
//! It ends: whoever is served leaves. An owner waits for nobody while it holds a line, only the line stands still; and
//! the transaction that is to move it takes its shards in order like any other. So there is no deadlock.
//!
//! As in Redis, a waiter is tried only when the key holds a value of the type it waits for; one that reads for a consumer
//! group also when the key is gone, because then its group is, too. A wait of several shards differs from Redis in one
//! thing: between question and transaction other commands may run, and take what was there.
//!
//! The effects of serving are logged like those of any command. The reply of a client on another core travels with that
//! core's answered batches, and so waits for the log where those do.

mod client;
mod lines;

use std::collections::{BTreeSet, HashMap};
use std::mem;

pub use client::End;
pub use lines::{Name, WaitId};

use super::client::{Client, ReplyMode, Waiting};
use super::dispatch::Seat;
use super::message::{Item, Message};
use super::slab::Id;
use super::tick::Flow;
use super::{Home, Worker};
use crate::command::{self, Command, Group, Nil, Run, Wait};
use crate::resp::Reply;
use crate::shard::Value;
use client::Mine;
use lines::Lines;

/// All that a core knows of waiting clients.
#[derive(Default)]
pub(super) struct Blocked {
    /// The lines of this core's shard.
    lines: Lines<Waiter>,
    /// This core's clients that wait, wherever that is, by the number of the wait.
    mine: HashMap<u64, Mine>,
    next: u64,
    /// When waits end whose end this core decides, in monotonic microseconds.
    deadlines: BTreeSet<(u64, WaitId)>,
    /// Keys to be waited for from now on, or no more, once the shard is here.
    later: Vec<(Name, bool)>,
}

/// A client in line.
struct Waiter {
    row: &'static Command,
    how: How,
}

enum How {
    /// It is served here.
    Here(Box<Near>),
    /// Its core serves it.
    There,
}

/// What it takes to serve a client.
struct Near {
    number: u16,
    client: Id,
    /// The seat of its reply, where it is another core's client.
    seat: u32,
    silent: bool,
    who: Seat,
    args: Vec<Vec<u8>>,
    nil: Nil,
    deadline: Option<u64>,
}

/// A blocking command that found nothing.
pub(super) struct Unserved {
    /// Its row and number.
    pub(super) row: (&'static Command, u16),
    /// Its arguments.
    pub(super) args: Vec<Vec<u8>>,
    /// What it waits for.
    pub(super) wait: Wait,
}

/// The keys a wait names, each once.
fn names(db: u16, argv: &[&[u8]], wait: &Wait) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::with_capacity(wait.keys.len());
    for key in wait.keys.iter().filter_map(|&i| argv.get(i)) {
        if !names.iter().any(|(_, known)| **known == **key) {
            names.push((db, (*key).into()));
        }
    }
    names
}

/// Whether a waiter wants to hear of a key that is gone.
fn is_curious(row: &Command) -> bool {
    row.name == "xreadgroup"
}

/// Whether a key that holds such a value is what a command waits for.
fn wants(row: &Command, kind: Option<&str>) -> bool {
    let waited = match row.group {
        Group::List => "list",
        Group::SortedSet => "zset",
        _ => "stream",
    };
    is_curious(row) || kind == Some(waited)
}

impl Worker {
    fn new_wait(&mut self) -> WaitId {
        self.blocked.next += 1;
        WaitId {
            core: self.core,
            number: self.blocked.next,
        }
    }

    fn deadline(&self, wait: &Wait) -> Option<u64> {
        let now = self.clock.now_us;
        wait.timeout
            .map(|ms| now.saturating_add(ms.saturating_mul(1000)))
    }

    /// Lets a client of this core wait at this core's shard.
    #[cold]
    pub(super) fn block_here(
        &mut self,
        client: &mut Client,
        index: u32,
        row: (&'static Command, u16),
        argv: &[&[u8]],
        wait: Wait,
    ) -> Flow {
        let id = self.new_wait();
        let (at, silent) = (client.at(index), client.reply != ReplyMode::On);
        self.blocked.mine.insert(
            id.number,
            Mine::in_line(at, silent, (row, argv), self.core, true),
        );
        client.waiting = Waiting::Blocked(id.number);
        self.join_here(id, at, (0, silent), Seat::of(client), row, argv, wait);
        Flow::Wait
    }

    /// Lets another core's client wait at this core's shard.
    #[cold]
    pub(super) fn block_other(&mut self, core: usize, item: &Item, argv: &[&[u8]], wait: Wait) {
        let Some(row) = command::by_id(item.command) else {
            return;
        };
        let id = WaitId {
            core,
            number: item.wait,
        };
        let (index, generation) = item.client;
        self.join_here(
            id,
            Id { index, generation },
            (item.seat, item.silent),
            item.who,
            (row, item.command),
            argv,
            wait,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "each is a word of the wait")]
    fn join_here(
        &mut self,
        id: WaitId,
        client: Id,
        (seat, silent): (u32, bool),
        who: Seat,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        wait: Wait,
    ) {
        let names = names(who.db, argv, &wait);
        let deadline = self.deadline(&wait);
        if let Some(at) = deadline {
            self.blocked.deadlines.insert((at, id));
        }
        let args = wait
            .args
            .unwrap_or_else(|| argv.iter().map(|arg| arg.to_vec()).collect());
        let near = Near {
            number,
            client,
            seat,
            silent,
            who,
            args,
            nil: wait.nil,
            deadline,
        };
        self.join(id, names, row, How::Here(Box::new(near)));
    }

    /// Puts a waiter in line.
    fn join(&mut self, id: WaitId, names: Vec<Name>, row: &'static Command, how: How) {
        for name in &names {
            self.count(name, true);
        }
        let waiter = Waiter { row, how };
        self.blocked.lines.join(id, names, is_curious(row), waiter);
    }

    /// Puts another core's client in line, which serves it itself.
    pub(super) fn join_there(&mut self, id: WaitId, names: Vec<Name>, number: u16) {
        if let Some(row) = command::by_id(number) {
            self.join(id, names, row, How::There);
        }
    }

    /// Takes a waiter out of its lines.
    fn take_out(&mut self, id: WaitId) -> Option<Waiter> {
        let (names, waiter) = self.blocked.lines.leave(id)?;
        for name in &names {
            self.count(name, false);
        }
        Some(waiter)
    }

    /// The waiter, which its own core serves, waits no more.
    pub(super) fn unwait(&mut self, id: WaitId) {
        self.take_out(id);
        self.serve_blocked();
    }

    /// The waiter was tried by its own core, and waits on.
    pub(super) fn again(&mut self, id: WaitId) {
        self.blocked.lines.release(id);
        self.serve_blocked();
    }

    /// Tells the shard that a client waits for a key, or does so no more.
    fn count(&mut self, name: &Name, waits: bool) {
        if !self.ks.has(self.core) {
            self.blocked.later.push((name.clone(), waits));
            return;
        }
        let key = self.ks.key(name.0, &name.1);
        let shard = self.ks.shard(self.core);
        if waits {
            shard.wait_for(&key);
        } else {
            shard.stop_waiting(&key);
        }
    }

    /// The shard is home again: it learns what it has missed, and whoever can be served is, before anything else.
    pub(super) fn blocked_home(&mut self) {
        for (name, waits) in mem::take(&mut self.blocked.later) {
            self.count(&name, waits);
        }
        self.serve_blocked();
    }

    /// Serves those who wait for keys that have changed.
    #[inline]
    pub(super) fn serve_blocked(&mut self) {
        if matches!(self.home, Home::Here)
            && (self.ks.shard(self.core).has_ready() || self.blocked.lines.has_due())
        {
            self.serve_ready();
        }
    }

    #[cold]
    fn serve_ready(&mut self) {
        loop {
            let mut due = self.blocked.lines.take_due();
            let ready = self.ks.shard(self.core).take_ready();
            due.extend(ready.into_iter().map(|name| (name, 0)));
            if due.is_empty() {
                return;
            }
            for (name, from) in due {
                self.serve_line(&name, from);
            }
        }
    }

    /// What kind of value a key of this core's shard holds.
    fn kind_at(&mut self, (db, key): &Name) -> Option<&'static str> {
        let now = self.clock.unix_ms;
        let key = self.ks.key(*db, key);
        match self.ks.at(key.slot).peek(&key, now) {
            None => None,
            Some(Value::Object(object)) => Some(object.type_name()),
            Some(_) => Some("string"),
        }
    }

    fn serve_line(&mut self, name: &Name, mut from: u64) {
        loop {
            let kind = self.kind_at(name);
            let Some((id, behind)) = self.blocked.lines.next(name, from, kind.is_some()) else {
                return;
            };
            from = behind;
            let Some(waiter) = self.blocked.lines.get(id) else {
                continue;
            };
            if !wants(waiter.row, kind) {
                continue;
            }
            if let How::There = waiter.how {
                self.blocked.lines.hold(name, id);
                if id.core == self.core {
                    self.ready(id.number, self.core);
                } else {
                    let (number, from) = (id.number, self.core);
                    self.mesh.send(id.core, Message::Ready { number, from });
                }
                return;
            }
            self.try_here(id);
        }
    }

    /// Tries to serve a client in line.
    fn try_here(&mut self, id: WaitId) {
        let Some(waiter) = self.blocked.lines.get(id) else {
            return;
        };
        let row = waiter.row;
        let How::Here(near) = mem::replace(&mut waiter.how, How::There) else {
            return;
        };
        let argv: Vec<&[u8]> = near.args.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        let mut slow = None;
        if let Some(e) = self.forbids(row, false) {
            self.stats.refused(near.number);
            self.write_error(&e, near.who, &mut out);
        } else if let Run::Data(f) = row.run {
            let who = near.who.waiting();
            let ran = self.run_data(f, row, near.number, who, &argv, &mut out, None);
            if ran.wait.is_some() {
                if let Some(waiter) = self.blocked.lines.get(id) {
                    waiter.how = How::Here(near);
                }
                return;
            }
            slow = ran.slow;
        }
        self.take_out(id);
        self.answer_waiter(id, &near, &out, slow);
    }

    /// Gives a client in line the answer it waited for.
    fn answer_waiter(&mut self, id: WaitId, near: &Near, out: &[u8], slow: Option<u64>) {
        if let Some(at) = near.deadline {
            self.blocked.deadlines.remove(&(at, id));
        }
        let argv: Vec<&[u8]> = match slow {
            Some(_) => near.args.iter().map(Vec::as_slice).collect(),
            None => Vec::new(),
        };
        if id.core == self.core {
            if let Some(ns) = slow {
                self.note_slow_of(near.client, ns, &argv);
            }
            self.answer_mine(id.number, out);
            return;
        }
        let mut batch = self.spare_batches.pop().unwrap_or_default();
        batch.from = id.core;
        batch.push(
            &argv,
            Item {
                client: (near.client.index, near.client.generation),
                seat: near.seat,
                silent: near.silent,
                command: near.number,
                who: near.who,
                slow,
                wait: id.number,
                blocked: false,
                more: None,
                args: argv.len() as u32,
                reply_end: out.len() as u32,
            },
        );
        batch.replies.extend_from_slice(out);
        self.answered.push(batch);
    }

    fn write_error(&mut self, e: &command::Error, who: Seat, out: &mut Vec<u8>) {
        let mark = out.len();
        e.write(&mut Reply {
            buf: out,
            proto: who.proto,
        });
        self.stats.error(&out[mark..]);
    }

    /// When the first wait ends whose end this core decides.
    pub(super) fn first_deadline(&self) -> Option<u64> {
        self.blocked.deadlines.first().map(|(at, _)| *at)
    }

    /// Ends the waits whose time is up.
    pub(super) fn end_waits(&mut self) {
        let now = self.clock.now_us;
        while let Some(&(at, id)) = self.blocked.deadlines.first()
            && at <= now
        {
            self.blocked.deadlines.pop_first();
            self.end_wait(id, End::Time);
        }
    }

    /// How many clients of this core wait.
    pub(super) fn blocked_clients(&self) -> usize {
        self.blocked.mine.values().filter(|mine| mine.known).count()
    }

    /// Whether a batch's item tells that its command waits; then it has no answer yet.
    pub(super) fn note_blocked(&mut self, item: &Item) -> bool {
        if item.blocked
            && let Some(mine) = self.blocked.mine.get_mut(&item.wait)
        {
            mine.known = true;
        }
        item.blocked
    }
}
