//! From a parsed command to its shard: whether it may run now, which shards it needs, and on to
//! where they are.

use std::mem;

use super::access::Moment;
use super::client::{Client, ReplyMode, Waiting};
use super::clock::ticks;
use super::follow::READONLY;
use super::pubsub::Tracked;
use super::stats::Slow;
use super::tick::Flow;
use super::{Home, Worker};
use crate::command::{self, Command, Ctx, DataFn, Route, Run, SessionCmd, Wait, flag};
use crate::resp::{Proto, Reply};
use crate::shard::Key;

/// The shards a command needs at hand.
pub enum Needs {
    /// None.
    Nothing,
    /// One.
    One(usize),
    /// Several, ascending.
    Several(Vec<usize>),
}

/// What of a client its command depends on.
#[derive(Clone, Copy)]
pub struct Seat {
    /// The selected database.
    pub db: u16,
    /// The protocol of the reply.
    pub proto: Proto,
    /// Whether access times stay as they are (CLIENT NO-TOUCH).
    pub quiet: bool,
    /// Whether a command may wait for what is not there.
    pub may_wait: bool,
    /// Whether one may answer in steps.
    pub may_walk: bool,
    /// The number of the client, where keys it reads or changes are looked at; 0 otherwise.
    pub id: u64,
    /// Whether it keeps copies of what it reads.
    pub keeps: bool,
    /// Whether it does not want to hear of its own changes.
    pub noloop: bool,
    /// Whether it carries out what another server did: nothing ages for it, and only the log may refuse.
    pub applies: bool,
}

impl Seat {
    /// That of a client.
    pub fn of(client: &Client) -> Seat {
        Seat {
            db: client.db,
            proto: client.proto,
            quiet: client.no_touch,
            may_wait: false,
            may_walk: false,
            id: client.tracking.map_or(0, |_| client.id),
            keeps: client.tracking.is_some_and(Tracked::keeps),
            noloop: client.tracking.is_some_and(|t| t.noloop),
            applies: client.applies,
        }
    }

    /// The same, for a command that may wait.
    pub fn waiting(self) -> Seat {
        Seat {
            may_wait: true,
            ..self
        }
    }

    /// The same, for a command that may also answer in steps, if its answer is wanted.
    pub fn walking(self, wanted: bool) -> Seat {
        Seat {
            may_walk: wanted,
            ..self.waiting()
        }
    }
}

/// What became of a data command, beside its reply.
pub struct Ran {
    /// The nanoseconds it took, if they are worth an entry in the slow log.
    pub slow: Option<u64>,
    /// What it waits for, if it found nothing and may wait; then there is no reply yet.
    pub wait: Option<Wait>,
    /// The walk that gives the rest of its reply, and the nanoseconds it has taken so far.
    pub walk: Option<(u64, u64)>,
}

impl Worker {
    /// Carries a command out, forwards it, or starts what it needs.
    pub(super) fn dispatch(
        &mut self,
        client: &mut Client,
        index: u32,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        hint: Option<(u16, u64)>,
    ) -> Flow {
        if !client.trusted
            && let Some(e) = self.denies(client, (row, number), argv, Moment::Arrival)
        {
            self.stats.refused(number);
            self.refuse_queueable(client, row, e);
            return Flow::Next;
        }
        if (client.subs.is_some() || client.monitors)
            && let Some(flow) = self.listener_sends(client, row, argv)
        {
            return flow;
        }
        let (held, monitored) = self.shared.attention();
        if held && !client.applies {
            if let Some(e) = self.is_closed(client, row) {
                self.stats.refused(number);
                self.refuse_queueable(client, row, e);
                return Flow::Next;
            }
            if let Some(busy) = self.busy(row) {
                self.stats.refused(number);
                self.refuse_queueable(client, row, busy);
                return Flow::Next;
            }
            if let Some(flow) = self.postpone(client, index, row) {
                return flow;
            }
        }
        if client.multi.is_some()
            && !matches!(row.run, Run::Session(s) if super::multi::is_control(s))
        {
            client.last = Some(row);
            return self.enqueue(client, row, number, argv);
        }
        if let Some(e) = self.forbids(row, client.applies) {
            self.stats.refused(number);
            self.refuse(client, e);
            return Flow::Next;
        }
        if monitored && matches!(row.run, Run::Script(_)) {
            // Ahead of the commands that it calls.
            self.show_script(client, row, argv);
        }
        let flow = match row.run {
            Run::Data(_) if row.route == Route::All && self.lists_keys(client, row) => {
                self.list_keys(client, index, number, argv)
            }
            Run::Data(f) => {
                // Hash and slot do not depend on the database, so the hint outlives a SELECT.
                let first = match (hint, argv) {
                    (Some((slot, hash)), [_, bytes, ..]) => Some(Key {
                        db: client.db,
                        slot,
                        hash,
                        bytes,
                    }),
                    _ => None,
                };
                let needs = match (row.route, first) {
                    (Route::Key, Some(key)) => Needs::One(self.ks.owner(key.slot)),
                    _ => self.needs(row, client.db, argv),
                };
                match needs {
                    Needs::Nothing => self.run_here(client, index, f, (row, number), argv, first),
                    Needs::One(shard) if shard == self.core => {
                        if !self.free() || self.must_wait(row, client.db, argv) {
                            return self.stall(client, index);
                        }
                        self.run_here(client, index, f, (row, number), argv, first)
                    }
                    Needs::One(shard) => self.forward(client, index, shard, number, argv),
                    Needs::Several(shards) => {
                        self.begin_command(client, index, shards, row, number, argv)
                    }
                }
            }
            Run::Script(script) => {
                let needs = self.needs(row, client.db, argv);
                self.run_script_command(client, index, (row, number, script), argv, needs)
            }
            Run::Session(session) => {
                let started = ticks();
                let mark = client.conn.replies.writer().len();
                let counted = self.stats.error_replies;
                let flow = self.session(client, index, session, row, number, argv);
                if flow != Flow::Stall {
                    let slept = match client.waiting {
                        Waiting::Until { at, .. } => at.saturating_sub(self.clock.now_us) * 1000,
                        _ => 0,
                    };
                    let ns = self.clock.ns(ticks().wrapping_sub(started)) + slept;
                    let slow = ns >= self.slow_ns && !is_blocked(session);
                    if let (Flow::Wait, Waiting::Gather(gather)) = (flow, client.waiting) {
                        let kept = |arg: &[u8]| arg.to_vec();
                        let argv = || command::redacted(row, argv).into_iter().map(kept);
                        let slow = slow.then(|| (ns, argv().collect()));
                        self.note_asking(gather, number, slow);
                    } else if slow && !row.has(flag::SKIP_SLOWLOG) {
                        self.note_slow(ns, &command::redacted(row, argv), Some(client));
                    }
                    if ns >= self.event_ns {
                        self.note_event(event(row), ns);
                    }
                    let writer = client.conn.replies.writer();
                    let failed = writer.get(mark) == Some(&b'-');
                    // Those that came by way of `refuse` are counted already.
                    if failed && self.stats.error_replies == counted {
                        self.stats.error(&writer[mark..]);
                    }
                    self.stats
                        .executed(number, ns, failed, self.settings.latency.tracking);
                }
                flow
            }
            Run::Container => unreachable!("resolve never returns a container"),
        };
        if flow != Flow::Stall {
            client.last = Some(row);
            let shown_later = flow == Flow::Wait && row.name == "exec";
            if monitored && !shown_later {
                self.show_command(client, row, argv);
            }
        }
        if flow == Flow::Next && client.tracking.is_some_and(|t| t.caching) {
            let client_command = row.name.starts_with("client|");
            if !client_command && client.multi.is_none() {
                Self::forget_caching(client);
            }
        }
        flow
    }

    /// Refuses a command that may have been meant for an open MULTI, which then comes to nothing.
    pub(super) fn refuse_queueable(
        &mut self,
        client: &mut Client,
        row: &Command,
        e: command::Error,
    ) {
        match &mut client.multi {
            Some(_) if matches!(row.run, Run::Session(SessionCmd::Exec)) => self.abort(client, &e),
            queue => {
                if let Some(queue) = queue {
                    queue.refused = true;
                }
                self.refuse(client, e);
            }
        }
    }

    /// Why no command of this kind may run now, if so; `applies` for one that another server has carried out already.
    pub(super) fn forbids(&mut self, row: &Command, applies: bool) -> Option<command::Error> {
        if row.has(flag::WRITE) {
            if self.follows && !applies {
                return Some(READONLY);
            }
            let own = self.log.accepts().err().map(|refusal| refusal.to_string());
            if let Some(why) = own.or_else(|| self.tx_refusal.clone()) {
                return Some(command::Error::message(why));
            }
        }
        if row.has(flag::DENYOOM)
            && !applies
            && self.settings.storage.maxmemory > 0
            && !self.make_room()
        {
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return Some(command::Error::Text(text));
        }
        None
    }

    /// Whether this core's shard is here and nobody waits for it.
    pub(super) fn free(&self) -> bool {
        matches!(self.home, Home::Here) && self.queue.is_empty()
    }

    pub(super) fn stall(&mut self, client: &mut Client, index: u32) -> Flow {
        client.waiting = Waiting::Shard;
        self.stalled.push(index);
        Flow::Stall
    }

    fn run_here(
        &mut self,
        client: &mut Client,
        index: u32,
        f: DataFn,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        first: Option<Key<'_>>,
    ) -> Flow {
        let seat = Seat::of(client).walking(client.reply == ReplyMode::On);
        let out = client.conn.replies.writer();
        let mark = out.len();
        let Ran { slow, wait, walk } = self.run_data(f, row, number, seat, argv, out, first);
        if let Some(ns) = slow {
            self.note_slow(ns, argv, Some(client));
        }
        let flow = match wait {
            Some(wait) => self.block_here(client, index, (row, number), argv, wait),
            None => match walk {
                Some(walk) => self.walk_here(client, index, (row, number), argv, walk, mark),
                None => Flow::Next,
            },
        };
        self.serve_blocked();
        flow
    }

    /// Runs a data command whose shards are at hand, and counts it once it has its reply.
    #[expect(clippy::too_many_arguments, reason = "each is a word of the call")]
    pub(super) fn run_data(
        &mut self,
        f: DataFn,
        row: &'static Command,
        number: u16,
        seat: Seat,
        argv: &[&[u8]],
        out: &mut Vec<u8>,
        first: Option<Key<'_>>,
    ) -> Ran {
        let Seat {
            db,
            proto,
            quiet,
            may_wait,
            may_walk,
            applies,
            ..
        } = seat;
        self.ks.quiet = quiet;
        self.ks.may_walk = may_walk;
        let mark = out.len();
        let started = ticks();
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db,
            databases: self.settings.server.databases,
            now: if applies { 0 } else { self.clock.unix_ms },
            now_us: self.clock.unix_us,
            random: self.random ^ (self.random >> 29),
            first,
            may_wait,
            wait: None,
            max_string: self.settings.server.proto_max_bulk_len as usize,
            reply: Reply { buf: out, proto },
        };
        let failed = command::run(f, &mut ctx, argv).is_err();
        let wait = ctx.wait.take();
        if wait.is_some() {
            return Ran {
                slow: None,
                wait,
                walk: None,
            };
        }
        let ns = self.clock.ns(ticks().wrapping_sub(started));
        if seat.keeps {
            self.remember(row, db, seat.id, argv);
        }
        self.look_for_news(if seat.noloop { seat.id } else { 0 });
        if let Some(walk) = self.ks.walk.take() {
            return Ran {
                slow: None,
                wait: None,
                walk: Some((walk, ns)),
            };
        }
        if failed {
            self.stats.error(&out[mark..]);
        }
        self.stats
            .executed(number, ns, failed, self.settings.latency.tracking);
        if ns >= self.event_ns {
            self.note_event(event(row), ns);
        }
        let slow = ns >= self.slow_ns && !row.has(flag::SKIP_SLOWLOG);
        Ran {
            slow: slow.then_some(ns),
            wait: None,
            walk: None,
        }
    }

    /// Puts a command into the slow log; without a client if that is gone.
    #[cold]
    pub(super) fn note_slow(&mut self, ns: u64, argv: &[&[u8]], client: Option<&Client>) {
        let keep = self.settings.latency.slowlog_max_len as usize;
        let slow = Slow {
            id: self.shared.next_slow_id(),
            at_s: self.clock.unix_ms / 1000,
            us: ns / 1000,
            args: shorten(argv),
            addr: client.map(|c| c.addr.clone()).unwrap_or_default(),
            name: client.map(|c| c.name.clone()).unwrap_or_default(),
        };
        self.stats.slow(slow, keep);
    }

    /// Which shards a command's keys live on.
    pub(super) fn needs(&mut self, row: &Command, db: u16, argv: &[&[u8]]) -> Needs {
        match row.route {
            Route::Here => Needs::Nothing,
            Route::Key => Needs::One(self.ks.owner(self.ks.key(db, argv[1]).slot)),
            Route::All => self.all_shards(),
            Route::Libraries => Needs::One(self.ks.owner(0)),
            Route::Cursor => Needs::One(
                self.ks
                    .owner(command::cursor_slot(argv.get(1).unwrap_or(&&b""[..]))),
            ),
            Route::Made if command::makes_up_keys(argv) => self.all_shards(),
            // A script may touch keys that it does not name, as frameworks' scripts do, and when it does it is too late
            // to fetch their shard: it may have written.
            Route::Script => self.all_shards(),
            Route::Keys | Route::Made => {
                let mut indexes = mem::take(&mut self.indexes);
                indexes.clear();
                let result = command::keys_of(row, argv, &mut indexes);
                let mut shards: Vec<usize> = Vec::new();
                let mut only = None;
                for &i in &indexes {
                    let owner = self.ks.owner(self.ks.key(db, argv[i]).slot);
                    match only {
                        None => only = Some(owner),
                        Some(o) if o == owner => {}
                        Some(o) => {
                            if shards.is_empty() {
                                shards.push(o);
                            }
                            if !shards.contains(&owner) {
                                shards.push(owner);
                            }
                        }
                    }
                }
                self.indexes = indexes;
                match (result, only) {
                    // The command will refuse its arguments, and may look at any key first.
                    (Err(_), _) => self.all_shards(),
                    (Ok(()), None) => Needs::Nothing,
                    (Ok(()), Some(only)) if shards.is_empty() => Needs::One(only),
                    (Ok(()), Some(_)) => {
                        shards.sort_unstable();
                        Needs::Several(shards)
                    }
                }
            }
        }
    }
}

impl Worker {
    fn all_shards(&self) -> Needs {
        match self.mesh.cores() {
            1 => Needs::One(self.core),
            cores => Needs::Several((0..cores).collect()),
        }
    }
}

/// Whether a command of a session waits for others, which is no slowness of its own.
fn is_blocked(session: SessionCmd) -> bool {
    matches!(session, SessionCmd::Wait | SessionCmd::Waitaof)
}

/// The latency event that a command is.
fn event(row: &Command) -> &'static str {
    match row.has(flag::FAST) {
        true => "fast-command",
        false => "command",
    }
}

/// A command's arguments as the slow log keeps them: 32 at most, 128 bytes of each.
fn shorten(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    const ARGS: usize = 32;
    const BYTES: usize = 128;
    let mut kept = Vec::new();
    for (i, arg) in argv.iter().enumerate() {
        if i == ARGS - 1 && argv.len() > ARGS {
            kept.push(format!("... ({} more arguments)", argv.len() - ARGS + 1).into_bytes());
            break;
        }
        if arg.len() > BYTES {
            let mut cut = arg[..BYTES].to_vec();
            cut.extend_from_slice(format!("... ({} more bytes)", arg.len() - BYTES).as_bytes());
            kept.push(cut);
        } else {
            kept.push(arg.to_vec());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_log_keeps_little_of_a_long_command() {
        let long = vec![b'x'; 1000];
        let argv: Vec<&[u8]> = std::iter::repeat_n(long.as_slice(), 40).collect();
        let kept = shorten(&argv);
        assert_eq!(kept.len(), 32);
        assert!(kept[0].ends_with(b"... (872 more bytes)"));
        assert_eq!(kept[31], b"... (9 more arguments)");
    }
}
