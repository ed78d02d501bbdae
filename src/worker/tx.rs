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
//!
//! Here is the borrower's side; [`lend`] is the owner's, and [`work`] what is done with the shards.

mod lend;
mod work;

use std::mem;
use std::sync::Arc;

use super::Worker;
use super::client::{Client, ReplyMode, Waiting};
use super::message::{Message, TxPart, TxRecord};
use super::pubsub::Unplaced;
use super::slab::Id;
use super::tick::Flow;
use crate::command::Command;
use crate::settings::Fsync;
use crate::shard::Shard;

pub use work::Work;
pub(super) use work::{Rest, may_write};

use work::Outcome;

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
}
