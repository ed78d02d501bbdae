//! Scripts on a core: the shards they need, the commands they call, and what happens when one takes long.
//!
//! A script has every shard, whatever keys it names: so one script runs at a time. It is atomic: nobody else sees the
//! shards until it ends, and what it wrote is logged as one transaction.
//!
//! A script that runs for longer than a slice is *left*: its shards are put aside, as if they were lent, and the core
//! goes on with its loop and comes back to it every tick. From `busy-reply-threshold` on, all cores answer BUSY to
//! whatever is not allowed then. SCRIPT KILL may come on any core; the script's own core and whoever ends it settle in
//! one word whether it has written ([`crate::script::Sources`]).
//!
//! Here is how a script runs, is left and gone on with; [`start`] lets it begin, [`calls`] carries out what it asks for,
//! [`busy`] is what others hear of it meanwhile.

mod busy;
mod calls;
mod start;

use std::rc::Rc;
use std::sync::Arc;

use super::client::{Client, ReplyMode, Waiting};
use super::clock::{nanos, ticks};
use super::dispatch::{Needs, Seat};
use super::message::Batch;
use super::tick::Flow;
use super::tx::{Rest, Tx};
use super::{Home, Worker};
use crate::acl::User;
use crate::command::{Command, ScriptCmd, flag};
use crate::resp::Reply;
use crate::script::{Answer, Ask, End, Kind, Running, Step};
use crate::shard::Shard;

/// Whoever runs a script.
pub(super) struct Who {
    /// What its commands depend on.
    pub seat: Seat,
    /// Who it is, if not everything is allowed to it, and how ACL LOG shows it.
    pub user: Option<(Arc<User>, String)>,
}

/// What of a command there is to know: row, number, and which script it runs.
pub(super) type Row = (&'static Command, u16, ScriptCmd);

/// A script that runs.
struct Script {
    row: Row,
    who: Who,
    kind: Kind,
    name: Rc<str>,
    read_only: bool,
    allow_oom: bool,
    /// Why nothing may be written, and whether memory was short, when it began.
    refusal: Option<String>,
    short: bool,
    written: bool,
    /// The time of all its commands, in Unix milliseconds and microseconds.
    now: (u64, u64),
    /// When it began, in monotonic nanoseconds and in ticks.
    began: (u64, u64),
    /// Whether it has been left once, and whether it is over its time.
    left: bool,
    overdue: bool,
}

/// A script that has been left.
pub(super) struct Left {
    script: Script,
    /// What it asked for last.
    step: Step,
    args: Vec<Vec<u8>>,
    #[expect(
        clippy::vec_box,
        reason = "a shard is lent as the box it is, and never moved"
    )]
    shards: Vec<Box<Shard>>,
    goes_on: GoesOn,
}

/// What goes on when a script that was left has ended.
pub(super) enum GoesOn {
    /// Not said yet.
    Unsaid,
    /// A transaction of that number.
    Tx {
        id: u64,
        tx: Box<Tx>,
        lsns: Vec<u64>,
        rest: Option<Box<Rest>>,
    },
    /// Another core's commands: the batch, and which of them this was, with its first argument.
    Batch {
        batch: Box<Batch>,
        item: usize,
        first: usize,
    },
}

impl Worker {
    /// Whoever a client is to its scripts.
    pub(super) fn who(&self, client: &mut Client) -> Who {
        let seat = Seat::of(client);
        let user = (!client.trusted).then(|| {
            let now = self.clock.unix_ms;
            let shown = Worker::describe(client, &self.pubsub.audience.trackers, now);
            (client.user.clone(), shown)
        });
        Who { seat, user }
    }

    /// Carries out a client's command that runs a script.
    pub(super) fn run_script_command(
        &mut self,
        client: &mut Client,
        index: u32,
        row: Row,
        argv: &[&[u8]],
        needs: Needs,
    ) -> Flow {
        let mut shards = match needs {
            Needs::Nothing => vec![self.core],
            Needs::One(shard) if shard == self.core && self.free() => {
                return self.run_script_here(client, index, row, argv);
            }
            Needs::One(shard) if shard == self.core => return self.stall(client, index),
            Needs::One(shard) if client.trusted => {
                return self.forward(client, index, shard, row.1, argv);
            }
            Needs::One(shard) => vec![shard],
            Needs::Several(shards) => shards,
        };
        self.with_own(&mut shards);
        self.begin_command(client, index, shards, row.0, row.1, argv)
    }

    /// Adds this core's shard, with which the engine goes.
    pub(super) fn with_own(&self, shards: &mut Vec<usize>) {
        if let Err(at) = shards.binary_search(&self.core) {
            shards.insert(at, self.core);
        }
    }

    fn run_script_here(
        &mut self,
        client: &mut Client,
        index: u32,
        row: Row,
        argv: &[&[u8]],
    ) -> Flow {
        let who = self.who(client);
        let mut reply = std::mem::take(client.conn.replies.writer());
        let mark = reply.len();
        let left = self.run_script(who, row, argv, &mut reply);
        let begun = reply.split_off(if left.is_some() { mark } else { reply.len() });
        *client.conn.replies.writer() = reply;
        let flow = match left {
            None => Flow::Next,
            Some(left) => {
                self.leave_tx_here(client, index, (left, None), vec![self.core], begun);
                Flow::Wait
            }
        };
        self.serve_blocked();
        flow
    }

    /// Makes a transaction of what a client began with this core's shard alone, since it takes long.
    pub(super) fn leave_tx_here(
        &mut self,
        client: &mut Client,
        index: u32,
        (left, rest): (Box<Left>, Option<Box<Rest>>),
        needs: Vec<usize>,
        reply: Vec<u8>,
    ) {
        let silent = client.reply != ReplyMode::On;
        let (id, mut tx) = self.new_tx(Some(client.at(index)), silent, needs);
        tx.reply = reply;
        tx.unplaced = self.take_unplaced();
        client.waiting = Waiting::Tx(id);
        let lsns = vec![self.log.next_lsn()];
        self.leave_tx((left, rest), id, Box::new(tx), lsns);
    }

    /// Puts a transaction aside whose script takes long.
    pub(super) fn leave_tx(
        &mut self,
        (left, rest): (Box<Left>, Option<Box<Rest>>),
        id: u64,
        tx: Box<Tx>,
        lsns: Vec<u64>,
    ) {
        let needs = tx.needs.clone();
        let goes_on = GoesOn::Tx { id, tx, lsns, rest };
        self.leave(left, &needs, goes_on);
    }

    /// Puts a script aside, with its shards.
    pub(super) fn leave(&mut self, mut left: Box<Left>, shards: &[usize], goes_on: GoesOn) {
        left.goes_on = goes_on;
        left.shards = shards.iter().filter_map(|&id| self.ks.take(id)).collect();
        self.home = Home::Lent;
        self.left = Some(left);
    }

    /// Runs a script whose shards are at hand: its reply is appended, or it takes long.
    pub(super) fn run_script(
        &mut self,
        who: Who,
        row: Row,
        argv: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Option<Box<Left>> {
        let began = (nanos(), ticks());
        if let ScriptCmd::Library(what) = row.2 {
            self.change_libraries(what, (row.0, row.1), who.seat.proto, argv, out);
            return None;
        }
        match self.start_script(who, row, argv, began) {
            Ok((script, step)) => self.pursue(script, step, argv, out),
            Err((e, proto)) => {
                let mark = out.len();
                e.write(&mut Reply { buf: out, proto });
                self.stats.error(&out[mark..]);
                let ns = self.clock.ns(ticks().wrapping_sub(began.1));
                let track = self.settings.latency.tracking;
                self.stats.executed(row.1, ns, true, track);
                None
            }
        }
    }

    /// Runs a script until it ends, or for a slice.
    fn pursue(
        &mut self,
        mut script: Script,
        step: Step,
        argv: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Option<Box<Left>> {
        match self.drive(&mut script, step) {
            Ok(end) => {
                self.end_script(&script, end, argv, out);
                None
            }
            Err(step) => {
                let args: Vec<Vec<u8>> = argv.iter().map(|arg| arg.to_vec()).collect();
                script.left = true;
                let running = Running {
                    kind: script.kind,
                    name: script.name.to_string(),
                    command: args.clone(),
                    began: script.began.0,
                };
                let sources = &self.shared.sources;
                sources.begin(self.core, running, script.written);
                Some(Box::new(Left {
                    script,
                    step,
                    args,
                    shards: Vec::new(),
                    goes_on: GoesOn::Unsaid,
                }))
            }
        }
    }

    /// Carries out what the script asks for, until it ends or its slice is over.
    fn drive(&mut self, script: &mut Script, mut step: Step) -> Result<End, Step> {
        let Some(mut engine) = self.engine.take() else {
            return Ok(End {
                failed: true,
                counted: true,
            });
        };
        let mut fresh = script.left;
        let result = loop {
            let Step::Asks(ask) = step else {
                break match step {
                    Step::Ended(end) => Ok(end),
                    Step::Asks(_) => Err(step),
                };
            };
            // What it was left with is carried out when it goes on.
            if !std::mem::take(&mut fresh) && (ask == Ask::Pause || engine.is_due()) {
                break Err(step);
            }
            let killed = script.left && self.script_dies(script);
            step = engine.resume(match ask {
                _ if killed => Answer::Die,
                Ask::Pause => Answer::Go,
                Ask::Command | Ask::Check => {
                    let (argv, mut reply, proto) = engine.take_asked();
                    let answer = if ask == Ask::Check {
                        self.script_checks(script, &argv.words(), &mut reply);
                        Answer::Go
                    } else {
                        self.script_calls(script, &argv.words(), &mut reply, proto)
                    };
                    engine.answer(argv, reply);
                    answer
                }
            });
        };
        self.engine = Some(engine);
        result
    }

    /// Whether a script that was left is to end.
    fn script_dies(&self, script: &Script) -> bool {
        self.shared.sources.is_killed(self.core) || (self.stopping.is_some() && !script.written)
    }

    /// Counts a script that has ended, and appends its reply.
    fn end_script(&mut self, script: &Script, end: End, argv: &[&[u8]], out: &mut Vec<u8>) {
        let mark = out.len();
        if let Some(engine) = &self.engine {
            engine.take_reply(out);
            self.shared.sources.note_memory(self.core, engine.memory());
        }
        if end.failed && !end.counted {
            self.stats.error(&out[mark..]);
        }
        let ns = self.clock.ns(ticks().wrapping_sub(script.began.1));
        let (row, number, _) = script.row;
        let track = self.settings.latency.tracking;
        self.stats.executed(number, ns, end.failed, track);
        if ns >= self.slow_ns && !row.has(flag::SKIP_SLOWLOG) {
            self.note_slow(ns, argv, None);
        }
        if script.left {
            self.shared.sources.end(self.core);
        }
        if script.overdue {
            self.shared.end_busy();
        }
    }

    /// Whether a script has been left, so that the core must not sleep.
    pub(super) fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Goes on with a script that was left.
    pub(super) fn go_on(&mut self) {
        let Some(mut left) = self.left.take() else {
            return;
        };
        let ids: Vec<usize> = left.shards.iter().map(|shard| shard.id).collect();
        for shard in left.shards.drain(..) {
            self.ks.put(shard);
        }
        if let Some(engine) = &self.engine {
            engine.begin_slice();
        }
        let end = match self.drive(&mut left.script, left.step) {
            Ok(end) => end,
            Err(step) => {
                left.step = step;
                left.shards = ids.iter().filter_map(|&id| self.ks.take(id)).collect();
                self.see_whether_overdue(&mut left.script);
                self.left = Some(left);
                return;
            }
        };
        let mut reply = Vec::new();
        let argv: Vec<&[u8]> = left.args.iter().map(Vec::as_slice).collect();
        self.end_script(&left.script, end, &argv, &mut reply);
        match left.goes_on {
            GoesOn::Unsaid => {}
            GoesOn::Tx { id, tx, lsns, rest } => self.go_on_with_tx(id, tx, lsns, rest, &reply),
            GoesOn::Batch {
                mut batch,
                item,
                first,
            } => {
                batch.replies.extend_from_slice(&reply);
                batch.items[item].reply_end = batch.replies.len() as u32;
                let first = first + batch.items[item].args as usize;
                self.home = Home::Here;
                self.blocked_home();
                self.run_batch_from(batch, item + 1, first);
                self.queue_stirs = true;
            }
        }
    }
}
