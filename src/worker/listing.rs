//! KEYS of a large keyspace, listed by all cores in steps.
//!
//! Promise: no core is held for longer than its share of a tick. What is named are all keys that were there from the
//! beginning to the end, each once (twice at most, where tables are joined meanwhile, as for SCAN); of keys that come or go
//! meanwhile some may be named. So it is not one moment's list, which would hold every core for as long as it takes; a
//! small keyspace, a transaction and a script get that.
//!
//! Every core is asked, lists its own shard a little each tick, and answers when it is through and its log has what it
//! tells of.

use std::mem;

use super::admin::Then;
use super::client::{Client, ReplyMode};
use super::clock::ticks;
use super::gather::{Answer, Asker, Question};
use super::tick::Flow;
use super::{Home, Worker};
use crate::command::{Command, glob_matches};
use crate::resp::Reply;
use crate::shard::scan_slot;

/// Keys of this core's shard up to which a list is made at once.
const FEW: u64 = 4096;
/// Nanoseconds of a tick that all lists of a core get together.
const SHARE_NS: u64 = 100_000;
/// Keys looked at in one step.
const STRIDE: usize = 128;
/// Bytes of a part of a list.
const PART: usize = 64 << 10;

/// A list that is being made.
pub(super) struct Listing {
    from: Asker,
    db: u16,
    pattern: Vec<u8>,
    /// Where it goes on; `None` at the end.
    cursor: Option<u64>,
    names: Names,
    /// What the log must have before the list may be told.
    ticket: Option<u64>,
}

/// The keys of one core.
#[derive(Default)]
pub struct Names {
    /// How many.
    pub count: usize,
    /// They, as bulk strings.
    pub parts: Vec<Vec<u8>>,
    /// Nanoseconds it took.
    pub ns: u64,
}

impl Worker {
    /// Whether a command is KEYS, and its answer worth being made in steps.
    pub(super) fn lists_keys(&mut self, client: &Client, row: &Command) -> bool {
        row.name == "keys"
            && client.reply == ReplyMode::On
            && matches!(self.home, Home::Here)
            && self.ks.shard(self.core).len(client.db) > FEW
    }

    /// KEYS in steps.
    pub(super) fn list_keys(
        &mut self,
        client: &mut Client,
        index: u32,
        number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        let question = Question::Keys {
            db: client.db,
            pattern: argv[1].to_vec(),
        };
        let args: Vec<Vec<u8>> = argv.iter().map(|arg| arg.to_vec()).collect();
        let then: Then = Box::new(move |worker, client, answers| {
            let Some(client) = client else { return };
            let mut all = Names::default();
            for answer in answers {
                if let Answer::Keys(mut names) = answer {
                    all.count += names.count;
                    all.ns += names.ns;
                    all.parts.append(&mut names.parts);
                }
            }
            worker.reply(client).array(all.count);
            client.conn.owe(all.parts);
            let tracking = worker.settings.latency.tracking;
            worker.stats.executed(number, all.ns, false, tracking);
            if all.ns >= worker.slow_ns {
                let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                worker.note_slow(all.ns, &argv, Some(client));
            }
        });
        self.ask(client, index, question, then)
    }

    /// Begins to list this core's keys.
    pub(super) fn begin_list(&mut self, from: Asker, db: u16, pattern: &[u8]) {
        let list = Listing {
            from,
            db,
            pattern: pattern.to_vec(),
            cursor: Some(0),
            names: Names::default(),
            ticket: None,
        };
        self.listings.push_back(list);
    }

    /// Whether a list can go on.
    pub(super) fn lists_on(&self) -> bool {
        let unfinished = self.listings.iter().any(|list| list.cursor.is_some());
        unfinished && matches!(self.home, Home::Here)
    }

    /// Goes on with the lists, one after the other, for their share of a tick.
    pub(super) fn list_on(&mut self) {
        if self.listings.is_empty() {
            return;
        }
        let began = ticks();
        while self.lists_on() && self.clock.ns(ticks().wrapping_sub(began)) < SHARE_NS {
            self.list_some();
        }
        let kept = self.log.kept();
        while self
            .listings
            .front()
            .is_some_and(|list| list.cursor.is_none() && list.ticket.is_none_or(|t| t <= kept))
            && let Some(list) = self.listings.pop_front()
        {
            self.tell(list.from, Answer::Keys(list.names));
        }
    }

    /// Goes one step further with the first list that is not at its end.
    fn list_some(&mut self) {
        let from = ticks();
        let now = self.clock.unix_ms;
        let shard = self.ks.shard(self.core);
        let unfinished = self.listings.iter_mut().find(|list| list.cursor.is_some());
        let Some((list, cursor)) = unfinished.and_then(|list| list.cursor.map(|at| (list, at)))
        else {
            return;
        };
        let names = &mut list.names;
        let mut part = match names.parts.last_mut() {
            Some(part) if part.len() < PART => mem::take(part),
            _ => {
                names.parts.push(Vec::new());
                Vec::with_capacity(PART + PART / 4)
            }
        };
        let mut reply = Reply {
            buf: &mut part,
            proto: Default::default(),
        };
        let all = list.pattern == b"*";
        let next = shard.scan(list.db, cursor, STRIDE, now, |name, _| {
            if all || glob_matches(&list.pattern, name, false) {
                reply.bulk(name);
                names.count += 1;
            }
        });
        if let Some(last) = names.parts.last_mut() {
            *last = part;
        }
        let own = shard.slots();
        let more = next != 0 && scan_slot(next).is_some_and(|slot| own.contains(&slot));
        list.cursor = more.then_some(next);
        names.ns += self.clock.ns(ticks().wrapping_sub(from));
        if !more {
            // What was written before it came by is in this ticket or an earlier one.
            self.append_effects();
            let ticket = self.hold();
            let last = self.listings.iter_mut().rfind(|list| list.cursor.is_none());
            if let Some(list) = last {
                list.ticket = ticket;
            }
        }
    }
}
