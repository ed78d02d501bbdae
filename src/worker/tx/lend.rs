//! How a core lends its shard: promised when a transaction asks for it, lent when the log allows it, logged when it
//! comes home; and the word of durability that is owed for it.

use std::sync::Arc;

use super::super::message::{Message, TxRecord};
use super::super::{Home, Worker};
use crate::shard::Shard;

impl Worker {
    /// Lends this core's shard, or promises it.
    ///
    /// A transaction that may write to several shards gets a shard only when that shard's log has taken
    /// everything before. So wherever the transaction is found after a crash, no participant lacks what
    /// came before it, and its part can be put behind that.
    pub(in crate::worker) fn promise(&mut self, tx: u64, from: usize, writes: bool) {
        self.append_effects();
        // A log that takes nothing may not settle for long; it refuses the writes, so there is nothing to order.
        if writes && self.log.accepts().is_ok() && !self.log.settled() {
            self.home = Home::Promised(tx, from);
        } else {
            self.lend(tx, from);
        }
    }

    /// Lends the shard that was promised, once the log allows it.
    pub(in crate::worker) fn keep_promise(&mut self) {
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

    /// This core's shard comes home.
    pub(in crate::worker) fn returned(
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
    pub(in crate::worker) fn keep_promises(&mut self, kept: u64) {
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
}
