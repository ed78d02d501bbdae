//! Scripts on a core: the shards they need, the commands they call, and what happens when one takes long.
//!
//! A script has every shard, whatever keys it names: so one script runs at a time. It is atomic: nobody else sees the
//! shards until it ends, and what it wrote is logged as one transaction.
//!
//! A script that runs for longer than a slice is *left*: its shards are put aside, as if they were lent, and the core
//! goes on with its loop and comes back to it every tick. From `busy-reply-threshold` on, all cores answer BUSY to
//! whatever is not allowed then. SCRIPT KILL may come on any core; the script's own core and whoever ends it settle in
//! one word whether it has written ([`crate::script::Sources`]).

use std::rc::Rc;
use std::sync::Arc;

use super::client::{Client, ReplyMode, Waiting};
use super::clock::{nanos, ticks};
use super::dispatch::{Needs, Seat};
use super::follow::READONLY;
use super::message::{Batch, Message};
use super::tick::Flow;
use super::tx::{Rest, Tx};
use super::{Home, Worker};
use crate::acl::{self, Context, Denied, Event, Reason, User};
use crate::command::{self, Command, Error, Named, Run, ScriptCmd, SessionCmd, flag};
use crate::resp::number::parse_i64;
use crate::resp::{Proto, Reply};
use crate::script::{Answer, Ask, End, Engine, Kind, Program, Running, Step};
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

    /// Why a command is refused while a script is over its time, if it is.
    #[cold]
    pub(super) fn busy(&self, row: &Command) -> Option<Error> {
        if !self.shared.is_busy() || row.has(flag::ALLOW_BUSY) {
            return None;
        }
        self.busy_text()
    }

    /// What is said while a script is over its time.
    pub(super) fn busy_text(&self) -> Option<Error> {
        let running = self.shared.sources.longest()?;
        Some(Worker::busy_with(running.kind))
    }

    /// What is said while a script of that kind is in the way.
    pub(super) fn busy_with(kind: Kind) -> Error {
        Error::Text(match kind {
            Kind::Eval => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
            Kind::Function => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
        })
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

    fn start_script(
        &mut self,
        who: Who,
        row: Row,
        argv: &[&[u8]],
        began: (u64, u64),
    ) -> Result<(Script, Step), (Error, Proto)> {
        let proto = who.seat.proto;
        let with = |e: Error| (e, proto);
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => {
                let sources = self.shared.sources.clone();
                Box::new(Engine::new(sources, nanos).map_err(with)?)
            }
        };
        let started = self.start_on(&mut engine, who, row, argv, began);
        self.engine = Some(engine);
        started.map_err(with)
    }

    fn start_on(
        &mut self,
        engine: &mut Engine,
        who: Who,
        row: Row,
        argv: &[&[u8]],
        began: (u64, u64),
    ) -> Result<(Script, Step), Error> {
        let ScriptCmd::Run { named, .. } = row.2 else {
            return Err(Error::Syntax);
        };
        let mut function = None;
        let keys = match named {
            Named::Sha if argv[1].len() != 40 => {
                return Err(Error::Text("NOSCRIPT No matching script. Please use EVAL."));
            }
            Named::Function => {
                function = Some(engine.function(argv[1])?);
                let bad = Error::Text("ERR Bad number of keys provided");
                parse_i64(argv[2]).ok_or(bad)?
            }
            Named::Sha | Named::Text => parse_i64(argv[2]).ok_or(Error::NotInteger)?,
        };
        if keys > (argv.len() - 3) as i64 {
            let text = "ERR Number of keys can't be greater than number of args";
            return Err(Error::Text(text));
        }
        let keys = usize::try_from(keys)
            .map_err(|_| Error::Text("ERR Number of keys can't be negative"))?;
        let program = match (function, named) {
            (Some(program), _) => program,
            (None, Named::Text) => engine.program(argv[1])?,
            (None, _) => engine.known(argv[1])?,
        };
        let script = self.admit_script(&program, who, row, began)?;
        let (keys, args) = argv[3..].split_at(keys);
        engine.begin_slice();
        let step = engine.start(&program, keys, args, script.who.seat.proto)?;
        Ok((script, step))
    }

    /// Checks what the script's flags ask for.
    fn admit_script(
        &mut self,
        program: &Program,
        who: Who,
        row: Row,
        began: (u64, u64),
    ) -> Result<Script, Error> {
        let shebang = program.shebang;
        let read_only = matches!(row.2, ScriptCmd::Run { read_only, .. } if read_only);
        let applies = who.seat.applies;
        let own = self.log.accepts().err().map(|refusal| refusal.to_string());
        let mut refusal = own.or_else(|| self.tx_refusal.clone());
        if self.follows() && !applies {
            refusal = Some(String::from_utf8_lossy(&READONLY.text()).into_owned());
        }
        let short = self.settings.storage.maxmemory > 0 && !applies && !self.make_room();
        if shebang.given {
            if !shebang.no_writes {
                if self.follows() && !applies {
                    return Err(Error::Text(
                        "READONLY Can not run script with write flag on readonly replica.",
                    ));
                }
                if let Some(why) = &refusal {
                    return Err(Error::message(why.clone()));
                }
                if read_only {
                    let text = "ERR Can not execute a script with write flag using *_ro command.";
                    return Err(Error::Text(text));
                }
            }
            if short && !shebang.allow_oom && !shebang.no_writes {
                return Err(Error::Text(
                    "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
                ));
            }
        }
        Ok(Script {
            row,
            who,
            kind: program.kind,
            name: program.name.clone(),
            read_only: read_only || shebang.no_writes,
            allow_oom: shebang.allow_oom || shebang.no_writes,
            refusal,
            short,
            written: false,
            now: (self.clock.unix_ms, self.clock.unix_us),
            began,
            left: false,
            overdue: false,
        })
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

    /// Whether whoever runs the script may run a command; says why not.
    fn script_may(
        &mut self,
        script: &Script,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
    ) -> Result<(), (Denied, String)> {
        match &script.who.user {
            None => Ok(()),
            Some((user, _)) => acl::check(user, row, number, argv)
                .map_err(|denied| (denied, denied.message(user, row))),
        }
    }

    fn script_checks(&mut self, script: &Script, argv: &[&[u8]], reply: &mut Vec<u8>) {
        let found = match command::resolve(argv) {
            Ok(found) => Some(found),
            // How many arguments there are is not asked.
            Err(Error::Arity(name)) => command::named(name.as_bytes()),
            Err(_) => None,
        };
        if let Some(row) = found {
            let may = self.script_may(script, row, argv).is_ok();
            reply.push(if may { b'+' } else { b'-' });
        }
    }

    /// Carries out a command of a script.
    fn script_calls(
        &mut self,
        script: &mut Script,
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
        proto: Proto,
    ) -> Answer {
        let refused = match command::resolve(argv) {
            Ok(found) => {
                if script.left
                    && !script.written
                    && found.0.has(flag::WRITE)
                    && !self.shared.sources.may_write(self.core)
                {
                    return Answer::Die;
                }
                match self.script_runs(script, found, argv, reply, proto) {
                    Ok(()) => return Answer::Go,
                    Err(e) => {
                        self.stats.refused(found.1);
                        e
                    }
                }
            }
            Err(Error::Arity(_)) => {
                Error::Text("ERR Wrong number of args calling Redis command from script")
            }
            Err(_) => Error::Text("ERR Unknown Redis command called from script"),
        };
        reply.clear();
        refused.write(&mut Reply { buf: reply, proto });
        self.stats.error(reply);
        Answer::Go
    }

    fn script_runs(
        &mut self,
        script: &mut Script,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
        proto: Proto,
    ) -> Result<(), Error> {
        let not_allowed = Error::Text("ERR This Redis command is not allowed from script");
        if row.has(flag::NOSCRIPT) {
            return Err(not_allowed);
        }
        if let Err((denied, why)) = self.script_may(script, (row, number), argv) {
            self.note_script_denied(script, denied, row, argv);
            return Err(Error::message(format!(
                "NOPERM ACL failure in script: {why}"
            )));
        }
        let publishes = matches!(row.run, Run::Session(SessionCmd::Publish(_)));
        if script.read_only && (row.has(flag::WRITE) || publishes || row.name == "pfcount") {
            return Err(Error::Text(
                "ERR Write commands are not allowed from read-only scripts.",
            ));
        }
        if row.has(flag::WRITE)
            && !script.written
            && let Some(why) = &script.refusal
        {
            return Err(Error::message(why.clone()));
        }
        if row.has(flag::DENYOOM) && script.short && !script.allow_oom && !script.written {
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return Err(Error::Text(text));
        }
        if matches!(row.name, "xread" | "xreadgroup") && blocks(argv) {
            return Err(Error::message(format!(
                "ERR {} command is not allowed with BLOCK option from scripts",
                String::from_utf8_lossy(argv[0])
            )));
        }
        let db = script.who.seat.db;
        match row.run {
            Run::Data(f) => {
                script.written |= row.has(flag::WRITE);
                let seat = Seat {
                    proto,
                    ..script.who.seat
                };
                let clock = (self.clock.unix_ms, self.clock.unix_us);
                (self.clock.unix_ms, self.clock.unix_us) = script.now;
                let ran = self.run_data(f, row, number, seat, argv, reply, None);
                (self.clock.unix_ms, self.clock.unix_us) = clock;
                debug_assert!(ran.wait.is_none(), "nothing waits in a script");
            }
            Run::Session(SessionCmd::Select) => {
                script.who.seat.db = command::database(argv[1], self.settings.server.databases)?;
                Reply { buf: reply, proto }.ok();
            }
            Run::Session(SessionCmd::Publish(topic)) => {
                let heard = self.announce(topic, argv[1], argv[2]);
                Reply { buf: reply, proto }.int(i64::from(heard));
            }
            _ => return Err(not_allowed),
        }
        if self.shared.attention().1 {
            self.show_called(db, row, argv);
        }
        Ok(())
    }

    fn note_script_denied(
        &mut self,
        script: &Script,
        denied: Denied,
        row: &Command,
        argv: &[&[u8]],
    ) {
        let Some((user, shown)) = &script.who.user else {
            return;
        };
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, row.name.as_bytes()),
            Denied::Key(at) => (Reason::Key, argv[at]),
            Denied::Channel(at) => (Reason::Channel, argv[at]),
        };
        self.stats.deny(reason);
        let event = Event {
            reason,
            context: Context::Lua,
            object: object.to_vec(),
            user: user.name().to_vec(),
        };
        let most = self.settings.auth.acllog_max_len as usize;
        let now = self.clock.unix_ms;
        let mut log = self.shared.acl_log();
        log.note(event, shown.clone(), now, most);
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

    fn see_whether_overdue(&mut self, script: &mut Script) {
        let limit = self.settings.server.busy_reply_threshold.as_nanos() as u64;
        if script.overdue || limit == 0 || nanos().saturating_sub(script.began.0) < limit {
            return;
        }
        script.overdue = true;
        self.shared.begin_busy();
        tracing::warn!(
            script = &*script.name,
            "a script takes longer than busy-reply-threshold; SCRIPT KILL or FUNCTION KILL ends it if it has not written"
        );
        for core in 0..self.mesh.cores() {
            if core != self.core {
                self.mesh.send(core, Message::Busy);
            }
        }
        self.hear_busy();
    }

    /// Tells whoever waits for the shard that a script is over its time.
    pub(super) fn hear_busy(&mut self) {
        for index in std::mem::take(&mut self.stalled) {
            let waits = |c: &mut Client| c.waiting == Waiting::Shard;
            if self.clients.at(index).is_some_and(waits) {
                self.resume(index);
            }
        }
        if !matches!(self.home, Home::Here) && self.shared.is_busy() {
            self.refuse_queued();
        }
    }
}

/// Whether XREAD or XREADGROUP has the option BLOCK.
fn blocks(argv: &[&[u8]]) -> bool {
    let options = argv
        .iter()
        .take_while(|word| !word.eq_ignore_ascii_case(b"streams"));
    options
        .skip(1)
        .any(|word| word.eq_ignore_ascii_case(b"block"))
}
