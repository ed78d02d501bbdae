//! Transactions across shards: the owner of the connection borrows every shard it needs, executes
//! with all of them at hand, and gives them back.
//!
//! Shards are borrowed in ascending order, so no two transactions wait for each other. A shard is
//! a box that moves from thread to thread: while it is lent its owner *cannot* touch it, and the
//! borrower needs no lock. Single-key commands wait only on a shard that is lent.
//!
//! What the transaction wrote is logged whole by every shard it wrote to, under one number and
//! with each shard's position, so that after a crash it is everywhere or nowhere. If it wrote to
//! one shard only, that shard's batch is atomic already.

use std::mem;
use std::sync::Arc;

use super::access::Moment;
use super::blocked::Unserved;
use super::client::{Client, Queue, ReplyMode, Waiting, Watched};
use super::dispatch::Seat;
use super::message::{Message, TxPart, TxRecord};
use super::migrate::{Journey, Landing, Load};
use super::pubsub::Unplaced;
use super::script::{Left, Who};
use super::slab::Id;
use super::tick::Flow;
use super::{Home, Worker};
use crate::acl::{self, User};
use crate::command::{Command, Run, SessionCmd, Wait, flag, lookup};
use crate::resp::Reply;
use crate::settings::Fsync;
use crate::shard::Shard;

/// A transaction that waits for its shards, or for its durability.
pub struct Tx {
    client: Option<Id>,
    /// Whether the client wants no reply (CLIENT REPLY).
    silent: bool,
    /// The shards it needs, ascending.
    pub(super) needs: Vec<usize>,
    /// Those it has, in the same order, with the number each one's log gives next.
    has: Vec<(Box<Shard>, u64)>,
    work: Work,
    /// Why the log of one of them takes no writes, if so.
    refusal: Option<String>,
    pub(super) reply: Vec<u8>,
    /// What it published.
    pub(super) unplaced: Vec<Unplaced>,
    /// Shards whose word of durability is still to come.
    undurable: usize,
    /// Whether it is what a followed server did. A crash may cut it in two, since a copy of everything comes after one:
    /// each shard logs its part as it logs anything, and none waits for the others' logs.
    applies: bool,
}

/// What a transaction does once it has its shards.
pub enum Work {
    /// One command on several shards.
    Command {
        /// Its row and number.
        row: (&'static Command, u16),
        /// Its arguments.
        args: Vec<Vec<u8>>,
    },
    /// EXEC.
    Exec(Queue, Vec<Watched>),
    /// WATCH.
    Watch(Vec<Vec<u8>>),
    /// UNWATCH, DISCARD and their like.
    Unwatch(Vec<Watched>),
    /// Keys are written down that are to move to another server.
    Pick(Box<Load>),
    /// Keys are removed that have arrived there.
    Settle(Box<Landing>),
    /// A blocking command that waits, by the number of the wait.
    Retry {
        /// The number.
        number: u64,
        /// Whether the command writes.
        writes: bool,
    },
}

/// What a transaction's work comes to.
enum Outcome {
    /// Its reply, for whoever began it.
    Reply,
    /// Its reply, for a client that waited; and whether it wants none.
    ReplyTo(Id, bool),
    /// None yet: a blocking command found nothing.
    Blocks(Box<Unserved>),
    /// None yet: keys go to another server.
    Departs(Box<Journey>),
    /// None yet: a script takes long; and what is left of EXEC.
    Long(Box<Left>, Option<Box<Rest>>),
}

/// What is left of an EXEC.
pub(super) struct Rest {
    queue: Queue,
    /// The command that comes next.
    at: usize,
    /// Whoever it is, who may have left meanwhile.
    who: Who,
}

/// Whether a command may change what shards hold, itself or by what it runs.
pub(super) fn may_write(row: &Command) -> bool {
    row.has(flag::WRITE) || row.runs_writes()
}

impl Work {
    /// Whether it may change what shards hold.
    fn writes(&self) -> bool {
        match self {
            Work::Command { row, .. } => may_write(row.0),
            Work::Exec(queue, _) => queue.commands.iter().any(|q| may_write(q.command)),
            Work::Retry { writes, .. } => *writes,
            Work::Settle(_) => true,
            Work::Pick(_) | Work::Watch(_) | Work::Unwatch(_) => false,
        }
    }
}

impl Worker {
    /// Starts a command that needs several shards.
    pub(super) fn begin_command(
        &mut self,
        client: &mut Client,
        index: u32,
        shards: Vec<usize>,
        row: &'static Command,
        number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        let args = argv.iter().map(|arg| arg.to_vec()).collect();
        self.begin(
            client,
            index,
            shards,
            Work::Command {
                row: (row, number),
                args,
            },
        )
    }

    /// Starts a transaction for a client, at once if its only shard is this core's and is free.
    pub(super) fn begin(
        &mut self,
        client: &mut Client,
        index: u32,
        needs: Vec<usize>,
        work: Work,
    ) -> Flow {
        let here = needs.is_empty() || (needs == [self.core] && self.free());
        if here {
            let mut reply = mem::take(client.conn.replies.writer());
            let mark = reply.len();
            let outcome = self.work(Some(client), work, &mut reply);
            if let Outcome::Long(left, rest) = outcome {
                self.shift_unplaced(mark);
                let begun = reply.split_off(mark);
                *client.conn.replies.writer() = reply;
                self.leave_tx_here(client, index, (left, rest), needs, begun);
                return Flow::Wait;
            }
            let unplaced = self.take_unplaced();
            if unplaced.is_empty() {
                *client.conn.replies.writer() = reply;
            } else if client.reply == ReplyMode::On {
                self.place(Some(client), reply, unplaced);
            } else {
                self.place(None, reply, unplaced);
            }
            let flow = match outcome {
                Outcome::Blocks(unserved) => {
                    self.block_spread(client, index, &needs, *unserved);
                    Flow::Wait
                }
                Outcome::Departs(journey) => {
                    self.depart(client, index, *journey);
                    Flow::Wait
                }
                Outcome::Reply | Outcome::ReplyTo(..) | Outcome::Long(..) => Flow::Next,
            };
            self.serve_blocked();
            return flow;
        }
        let at = client.at(index);
        let silent = client.reply != ReplyMode::On;
        let tx = self.open(Some(at), silent, needs, work, client.applies);
        client.waiting = Waiting::Tx(tx);
        Flow::Wait
    }

    /// Starts a transaction that belongs to no client.
    pub(super) fn begin_alone(&mut self, needs: Vec<usize>, work: Work) {
        if needs == [self.core] && self.free() {
            self.work(None, work, &mut Vec::new());
            self.serve_blocked();
        } else {
            self.open(None, true, needs, work, false);
        }
    }

    fn open(
        &mut self,
        client: Option<Id>,
        silent: bool,
        needs: Vec<usize>,
        work: Work,
        applies: bool,
    ) -> u64 {
        let (id, tx) = self.new_tx(client, silent, needs);
        let tx = Tx {
            work,
            applies,
            ..tx
        };
        self.txs.insert(id, tx);
        self.take_next(id);
        id
    }

    /// A transaction and its number.
    pub(super) fn new_tx(
        &mut self,
        client: Option<Id>,
        silent: bool,
        needs: Vec<usize>,
    ) -> (u64, Tx) {
        // Unique in the run: every core counts in its own residue class.
        self.next_tx += self.mesh.cores() as u64;
        let id = self.next_tx;
        self.stats.transactions += 1;
        let tx = Tx {
            client,
            silent,
            needs,
            has: Vec::new(),
            work: Work::Unwatch(Vec::new()),
            refusal: None,
            reply: Vec::new(),
            unplaced: Vec::new(),
            undurable: 0,
            applies: false,
        };
        (id, tx)
    }

    /// The client of a transaction wants no reply.
    pub(super) fn silence(&mut self, id: u64) {
        if let Some(tx) = self.txs.get_mut(&id) {
            tx.silent = true;
        }
    }

    fn take_next(&mut self, id: u64) {
        let Some(tx) = self.txs.get(&id) else { return };
        let shard = tx.needs[tx.has.len()];
        let writes = tx.needs.len() > 1 && tx.work.writes() && !tx.applies;
        if shard == self.core {
            self.queue.push_back(Message::Take {
                tx: id,
                from: self.core,
                writes,
            });
            self.queue_stirs = true;
        } else {
            // What was forwarded before must arrive before.
            self.send_forwarding();
            self.mesh.send(
                shard,
                Message::Take {
                    tx: id,
                    from: self.core,
                    writes,
                },
            );
        }
    }

    /// Lends this core's shard, or promises it.
    ///
    /// A transaction that may write to several shards gets a shard only when that shard's log has taken
    /// everything before. So wherever the transaction is found after a crash, no participant lacks what
    /// came before it, and its part can be put behind that.
    pub(super) fn promise(&mut self, tx: u64, from: usize, writes: bool) {
        self.append_effects();
        // A log that takes nothing may not settle for long; it refuses the writes, so there is nothing to order.
        if writes && self.log.accepts().is_ok() && !self.log.settled() {
            self.home = Home::Promised(tx, from);
        } else {
            self.lend(tx, from);
        }
    }

    /// Lends the shard that was promised, once the log allows it.
    pub(super) fn keep_promise(&mut self) {
        if let Home::Promised(tx, from) = self.home
            && (self.log.accepts().is_err() || self.log.settled())
        {
            self.home = Home::Here;
            self.lend(tx, from);
        }
    }

    /// Lends this core's shard.
    fn lend(&mut self, tx: u64, from: usize) {
        self.attune();
        self.gather_news(0);
        self.append_effects();
        let next_lsn = self.log.next_lsn();
        let refusal = self.log.accepts().err().map(|e| e.to_string());
        let Some(shard) = self.ks.take(self.core) else {
            unreachable!("lend is only called while the shard is here");
        };
        self.home = Home::Lent;
        if from == self.core {
            self.granted(tx, shard, next_lsn, refusal);
        } else {
            self.mesh.send(
                from,
                Message::Grant {
                    tx,
                    shard,
                    next_lsn,
                    refusal,
                },
            );
        }
    }

    /// A shard this core asked for is here.
    pub(super) fn granted(
        &mut self,
        id: u64,
        shard: Box<Shard>,
        next_lsn: u64,
        refusal: Option<String>,
    ) {
        let Some(tx) = self.txs.get_mut(&id) else {
            unreachable!("a transaction stays until it gave back what it borrowed");
        };
        tx.has.push((shard, next_lsn));
        tx.refusal = tx.refusal.take().or(refusal);
        if tx.has.len() < tx.needs.len() {
            self.take_next(id);
        } else {
            self.run_tx(id);
        }
    }

    fn run_tx(&mut self, id: u64) {
        let Some(mut tx) = self.txs.remove(&id) else {
            return;
        };
        let mut lsns = Vec::with_capacity(tx.has.len());
        let spans = tx.has.len() > 1 && !tx.applies;
        for (mut shard, lsn) in tx.has.drain(..) {
            shard.whole = spans;
            lsns.push(lsn);
            self.ks.put(shard);
        }
        let work = mem::replace(&mut tx.work, Work::Unwatch(Vec::new()));
        let mut client = tx.client.filter(|id| self.clients.holds(*id));
        let mut taken = client.and_then(|id| self.clients.take(id.index));
        let (mut outcome, mut long) = (Outcome::Reply, None);
        if client.is_none() || taken.is_some() {
            let mut reply = mem::take(&mut tx.reply);
            match (&mut taken, &work) {
                // A client that left before its transaction began gets none.
                (None, Work::Command { .. } | Work::Exec(..) | Work::Watch(_) | Work::Pick(_)) => {
                    if let Work::Exec(_, watched) = work {
                        self.work(None, Work::Unwatch(watched), &mut reply);
                    }
                }
                _ => {
                    self.tx_refusal = tx.refusal.clone();
                    outcome = self.work(taken.as_deref_mut(), work, &mut reply);
                    self.tx_refusal = None;
                }
            }
            tx.reply = reply;
            tx.unplaced = self.take_unplaced();
        }
        match (outcome, client, taken.as_deref_mut()) {
            (Outcome::Blocks(unserved), Some(at), Some(client)) => {
                self.block_spread(client, at.index, &tx.needs, *unserved);
                tx.client = None;
            }
            (Outcome::Departs(journey), Some(at), Some(client)) => {
                self.depart(client, at.index, *journey);
                tx.client = None;
            }
            (Outcome::ReplyTo(at, silent), ..) => {
                (tx.client, tx.silent) = (Some(at), silent);
                if let Some(client) = self.clients.get(at) {
                    client.waiting = Waiting::Tx(id);
                }
            }
            (Outcome::Long(left, rest), ..) => long = Some((left, rest)),
            _ => {}
        }
        if let (Some(id), Some(mut taken)) = (client.take(), taken) {
            self.hand_over(&mut taken);
            self.clients.put(id.index, taken);
        }
        match long {
            None => self.give_back(id, tx, &lsns),
            Some(long) => self.leave_tx(long, id, Box::new(tx), lsns),
        }
    }

    /// Goes on with a transaction whose script has ended with that reply.
    pub(super) fn go_on_with_tx(
        &mut self,
        id: u64,
        mut tx: Box<Tx>,
        lsns: Vec<u64>,
        rest: Option<Box<Rest>>,
        reply: &[u8],
    ) {
        tx.reply.extend_from_slice(reply);
        let mut long = None;
        if let Some(rest) = rest {
            let at = tx.client.filter(|at| self.clients.holds(*at));
            let mut client = at.and_then(|at| self.clients.take(at.index));
            let mut reply = mem::take(&mut tx.reply);
            self.tx_refusal = tx.refusal.clone();
            long = self.exec_rest(client.as_deref_mut(), rest, &mut reply);
            self.tx_refusal = None;
            tx.reply = reply;
            if let (Some(at), Some(mut client)) = (at, client) {
                self.hand_over(&mut client);
                self.clients.put(at.index, client);
            }
        }
        tx.unplaced.extend(self.take_unplaced());
        match long {
            None => self.give_back(id, *tx, &lsns),
            Some((left, rest)) => self.leave_tx((left, Some(rest)), id, tx, lsns),
        }
    }

    fn give_back(&mut self, id: u64, mut tx: Tx, lsns: &[u64]) {
        self.gather_news(0);
        let mut shards: Vec<Box<Shard>> = tx
            .needs
            .iter()
            .filter_map(|&shard| self.ks.take(shard))
            .collect();
        for shard in &mut shards {
            shard.whole = false;
        }
        let writers = shards
            .iter()
            .filter(|shard| !shard.effects.is_empty())
            .count();
        let mut record = None;
        if writers > 1 && !tx.applies {
            let mut parts = Vec::with_capacity(writers);
            for (shard, &lsn) in shards.iter_mut().zip(lsns) {
                if !shard.effects.is_empty() {
                    let records = shard.effects.records;
                    let effects = mem::take(&mut shard.effects.buf);
                    shard.effects.clear();
                    parts.push(TxPart {
                        core: shard.id as u16,
                        lsn,
                        effects,
                        records,
                    });
                }
            }
            record = Some(Arc::new(TxRecord { id, parts }));
        }
        let always = self.settings.persistence.appendfsync == Fsync::Always && self.log.is_on();
        tx.undurable = if always { shards.len() } else { 0 };
        let waits = tx.undurable > 0;
        self.txs.insert(id, tx);
        for shard in shards {
            let number = shard.id;
            let mine = record
                .clone()
                .filter(|r| r.parts.iter().any(|part| usize::from(part.core) == number));
            if number == self.core {
                self.returned(id, self.core, shard, mine, waits);
            } else {
                let message = Message::Return {
                    tx: id,
                    from: self.core,
                    shard,
                    record: mine,
                    waits,
                };
                self.mesh.send(number, message);
            }
        }
        if !waits {
            self.finish(id);
        }
    }

    /// This core's shard comes home.
    pub(super) fn returned(
        &mut self,
        tx: u64,
        from: usize,
        shard: Box<Shard>,
        record: Option<Arc<TxRecord>>,
        waits: bool,
    ) {
        self.ks.put(shard);
        self.home = Home::Here;
        match record {
            Some(record) => {
                if let Some(mine) = record
                    .parts
                    .iter()
                    .find(|p| usize::from(p.core) == self.core)
                {
                    self.checkpoints.hear(&mine.effects, mine.records);
                }
                self.log.append_tx(&record, self.clock.now_us);
            }
            None => self.append_effects(),
        }
        // By the coordinator's policy: this core may have another already, or still.
        if waits {
            self.promises.push_back((self.log.last_ticket(), from, tx));
        }
        self.blocked_home();
        self.queue_stirs = true;
    }

    /// Tells coordinators what has become durable.
    pub(super) fn keep_promises(&mut self, kept: u64) {
        while self
            .promises
            .front()
            .is_some_and(|(ticket, ..)| *ticket <= kept)
        {
            if let Some((_, core, tx)) = self.promises.pop_front() {
                if core == self.core {
                    self.durable(tx);
                } else {
                    self.mesh.send(core, Message::Durable { tx });
                }
            }
        }
    }

    /// One more shard has made the transaction durable.
    pub(super) fn durable(&mut self, id: u64) {
        if let Some(tx) = self.txs.get_mut(&id) {
            tx.undurable = tx.undurable.saturating_sub(1);
            if tx.undurable == 0 {
                self.finish(id);
            }
        }
    }

    /// Hands the reply to the client and lets it go on.
    fn finish(&mut self, id: u64) {
        let Some(tx) = self.txs.remove(&id) else {
            return;
        };
        let here = tx.client.filter(|at| self.clients.get(*at).is_some());
        let mut client = here.and_then(|at| self.clients.take(at.index));
        let wants = client.as_deref_mut().filter(|_| !tx.silent);
        self.place(wants, tx.reply, tx.unplaced);
        if let (Some(at), Some(client)) = (here, client) {
            self.clients.put(at.index, client);
            self.resume(at.index);
        }
    }

    /// Does a transaction's work with all its shards at hand.
    fn work(&mut self, client: Option<&mut Client>, work: Work, reply: &mut Vec<u8>) -> Outcome {
        match (work, client) {
            (
                Work::Command {
                    row: (row, number),
                    args,
                },
                Some(client),
            ) => {
                let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                // It may have waited for its shards while its user's rules changed.
                if self.denied(client, (row, number), &argv, Moment::Arrival, reply) {
                    return Outcome::Reply;
                }
                if let Run::Script(script) = row.run {
                    let who = self.who(client);
                    let left = self.run_script(who, (row, number, script), &argv, reply);
                    return left.map_or(Outcome::Reply, |left| Outcome::Long(left, None));
                }
                let seat = Seat::of(client).waiting();
                if let Some(wait) = self.run_row(client, seat, (row, number), &argv, reply) {
                    let row = (row, number);
                    return Outcome::Blocks(Box::new(Unserved { row, args, wait }));
                }
            }
            (Work::Retry { number, .. }, _) => {
                if let Some((at, silent)) = self.retry(number, reply) {
                    return Outcome::ReplyTo(at, silent);
                }
            }
            (Work::Exec(queue, watched), Some(client)) => {
                if let Some((left, rest)) = self.exec(client, queue, &watched, reply) {
                    return Outcome::Long(left, Some(rest));
                }
                // Where EXEC was sent on its way before, it is shown now, behind what it carried out.
                if matches!(client.waiting, Waiting::Tx(_))
                    && self.shared.attention().1
                    && let Some((row, _)) = lookup(b"exec")
                {
                    self.show_command(client, row, &[b"exec"]);
                }
            }
            (Work::Watch(keys), Some(client)) => {
                for key in keys {
                    let hashed = self.ks.key(client.db, &key);
                    let now = self.clock.unix_ms;
                    let version = self.ks.at(hashed.slot).watch(&hashed, now);
                    client.watched.push(Watched {
                        db: client.db,
                        key,
                        version,
                    });
                }
                Reply {
                    buf: reply,
                    proto: client.proto,
                }
                .ok();
            }
            (Work::Pick(load), Some(client)) => match self.pick(client.db, *load) {
                Some(journey) => return Outcome::Departs(Box::new(journey)),
                None => Reply {
                    buf: reply,
                    proto: client.proto,
                }
                .simple("NOKEY"),
            },
            (Work::Settle(landing), client) => {
                self.let_go(client.map(|client| client.proto), *landing, reply);
            }
            (Work::Unwatch(watched), client) => {
                self.unwatch(&watched);
                if let Some(client) = client {
                    Reply {
                        buf: reply,
                        proto: client.proto,
                    }
                    .ok();
                }
            }
            (_, None) => {}
        }
        Outcome::Reply
    }

    /// Whether a client may not run a command, which is then answered.
    fn denied(
        &mut self,
        client: &mut Client,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        moment: Moment,
        reply: &mut Vec<u8>,
    ) -> bool {
        if client.trusted {
            return false;
        }
        let Some(e) = self.denies(client, (row, number), argv, moment) else {
            return false;
        };
        self.stats.refused(number);
        let mark = reply.len();
        e.write(&mut Reply {
            buf: reply,
            proto: client.proto,
        });
        self.stats.error(&reply[mark..]);
        true
    }

    fn run_row(
        &mut self,
        client: &mut Client,
        seat: Seat,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
    ) -> Option<Wait> {
        if let Some(e) = self.forbids(row, seat.applies) {
            self.stats.refused(number);
            let mark = reply.len();
            e.write(&mut Reply {
                buf: reply,
                proto: seat.proto,
            });
            self.stats.error(&reply[mark..]);
            return None;
        }
        let Run::Data(f) = row.run else { return None };
        let ran = self.run_data(f, row, number, seat, argv, reply, None);
        if let Some(ns) = ran.slow {
            self.note_slow(ns, argv, Some(client));
        }
        ran.wait
    }

    fn unwatch(&mut self, watched: &[Watched]) {
        for w in watched {
            let key = self.ks.key(w.db, &w.key);
            self.ks.at(key.slot).unwatch(&key);
        }
    }

    /// Carries out an EXEC: nothing if a watched key has changed, everything otherwise.
    fn exec(
        &mut self,
        client: &mut Client,
        queue: Queue,
        watched: &[Watched],
        reply: &mut Vec<u8>,
    ) -> Option<(Box<Left>, Box<Rest>)> {
        let now = self.clock.unix_ms;
        let mut changed = false;
        for w in watched {
            let key = self.ks.key(w.db, &w.key);
            changed |= self.ks.at(key.slot).version(&key, now) != w.version;
        }
        self.unwatch(watched);
        if changed {
            Reply {
                buf: reply,
                proto: client.proto,
            }
            .null_array();
            return None;
        }
        // All or nothing also where writing is refused: half a transaction helps nobody.
        for queued in &queue.commands {
            if let Some(e) = self.forbids(queued.command, client.applies) {
                let text = String::from_utf8_lossy(&e.text()).into_owned();
                let text = format!("EXECABORT Transaction discarded because of: {text}");
                Reply {
                    buf: reply,
                    proto: client.proto,
                }
                .error(&text);
                return None;
            }
        }
        Reply {
            buf: reply,
            proto: client.proto,
        }
        .array(queue.commands.len());
        let who = self.who(client);
        let rest = Rest { queue, at: 0, who };
        self.exec_rest(Some(client), Box::new(rest), reply)
    }

    /// Carries out what is left of an EXEC, for its client or, if that has left, for whoever it was.
    fn exec_rest(
        &mut self,
        mut client: Option<&mut Client>,
        mut rest: Box<Rest>,
        reply: &mut Vec<u8>,
    ) -> Option<(Box<Left>, Box<Rest>)> {
        let (_, monitored) = self.shared.attention();
        while let Some(queued) = rest.queue.commands.get(rest.at) {
            let argv = queued.argv();
            let (row, number) = (queued.command, queued.number);
            rest.at += 1;
            let Some(client) = client.as_deref_mut() else {
                self.exec_orphan(&rest.who, (row, number), &argv, reply);
                continue;
            };
            if self.denied(client, (row, number), &argv, Moment::Exec, reply) {
                continue;
            }
            match queued.command.run {
                Run::Data(_) => {
                    let row = (queued.command, queued.number);
                    // Nothing waits in here.
                    self.run_row(client, Seat::of(client), row, &argv, reply);
                }
                Run::Script(script) => {
                    if monitored {
                        self.show_script(client, row, &argv);
                    }
                    let who = self.who(client);
                    if let Some(left) = self.run_script(who, (row, number, script), &argv, reply) {
                        return Some((left, rest));
                    }
                }
                Run::Session(SessionCmd::Publish(topic)) => {
                    self.publish_in_exec(topic, &argv, reply);
                }
                Run::Session(session) => {
                    // It answers into the client's own buffer; move it behind ours.
                    let before = mem::take(client.conn.replies.writer());
                    self.session_in_exec(client, session, queued.command, queued.number, &argv);
                    let said = mem::replace(client.conn.replies.writer(), before);
                    reply.extend_from_slice(&said);
                }
                Run::Container => unreachable!("containers are never queued"),
            }
            if monitored {
                self.show_command(client, queued.command, &argv);
            }
        }
        None
    }

    /// Carries out a command of an EXEC whose client has left, so that all of it happens: what concerns the client
    /// itself happens no more, and nobody reads the replies.
    fn exec_orphan(
        &mut self,
        who: &Who,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
    ) {
        let may = |(user, _): &(Arc<User>, String)| acl::check(user, row, number, argv).is_ok();
        if !who.user.as_ref().is_none_or(may) || self.forbids(row, who.seat.applies).is_some() {
            return;
        }
        match row.run {
            Run::Data(f) => {
                self.run_data(f, row, number, who.seat, argv, reply, None);
            }
            Run::Session(SessionCmd::Publish(topic)) => {
                self.announce(topic, argv[1], argv[2]);
            }
            _ => {}
        }
    }
}
