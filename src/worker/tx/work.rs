//! What a transaction does once it has its shards: one command, EXEC, WATCH and their like, with all of them at hand.
//!
//! Nothing waits in here but what says so ([`Outcome`]): then the shards go back, and the client or the script goes on later.

use std::mem;
use std::sync::Arc;

use super::super::Worker;
use super::super::access::Moment;
use super::super::blocked::Unserved;
use super::super::client::{Client, Queue, Waiting, Watched};
use super::super::dispatch::Seat;
use super::super::migrate::{Journey, Landing, Load};
use super::super::script::{Left, Who};
use super::super::slab::Id;
use crate::acl::{self, User};
use crate::command::{Command, Run, SessionCmd, Wait, flag, lookup};
use crate::resp::Reply;

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
pub(super) enum Outcome {
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
pub(in crate::worker) struct Rest {
    queue: Queue,
    /// The command that comes next.
    at: usize,
    /// Whoever it is, who may have left meanwhile.
    who: Who,
}

/// Whether a command may change what shards hold, itself or by what it runs.
pub(in crate::worker) fn may_write(row: &Command) -> bool {
    row.has(flag::WRITE) || row.runs_writes()
}

impl Work {
    /// Whether it may change what shards hold.
    pub(super) fn writes(&self) -> bool {
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
    /// Does a transaction's work with all its shards at hand.
    pub(super) fn work(
        &mut self,
        client: Option<&mut Client>,
        work: Work,
        reply: &mut Vec<u8>,
    ) -> Outcome {
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
    pub(super) fn exec_rest(
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
