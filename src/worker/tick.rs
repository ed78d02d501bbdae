//! One tick's requests: parsed all, looked up ahead in memory, then executed in order.
//!
//! A command on a cold key waits for memory several times in a row. Parsing the whole tick first
//! lets those waits overlap: every key's slot is fetched, then every bucket, then every entry, and
//! only then is the first command executed. The idea rejected: executing each command as it is
//! parsed, which leaves a quarter to a half of the processor waiting.
//!
//! A command that cannot run yet (its shard is lent, its client waits) is not executed and not
//! consumed: its bytes stay in the input and are parsed again when the reason is gone.

use std::mem;

use super::client::{Client, ReplyMode, Waiting};
use super::{Home, Worker};
use crate::command::{self, Command, Route, Run, SessionCmd};
use crate::net::conn::{EARLY, Phase};
use crate::resp::{Arg, Fault, Parser, Reply, Step};
use crate::shard::Key;

/// Commands taken from one client in one tick: a fair share under a deep pipeline.
const PER_CLIENT: usize = 1024;
/// Arguments of them, beyond which no further command is taken: many long commands are as much as very many short ones.
const ARGS_PER_CLIENT: usize = 2 * PER_CLIENT;
/// Commands taken in one tick.
const PER_TICK: usize = 8192;
/// Bytes owed to a client above which it gets nothing more done until it reads.
pub const PAUSE_ABOVE: usize = 16 * 1024 * 1024;
/// Arguments that are gathered without an allocation.
const FEW: usize = 8;

/// A parsed command.
pub struct Job {
    client: u32,
    what: What,
    /// Its arguments in the tick's list: first and number.
    args: (u32, u32),
    /// Where it starts and ends in the client's input.
    span: (usize, usize),
    /// Slot and hash of its first key, for the prefetch.
    key: Option<(u16, u64)>,
}

enum What {
    Command(&'static Command, u16),
    /// No such command, or a wrong number of arguments: `resolve` says so when its turn comes.
    Unresolved,
    Fault(Fault),
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The next may run.
    Next,
    /// It ran or runs; the next must wait for `client.waiting`.
    Wait,
    /// It did not run, and must be parsed again later.
    Stall,
    /// Nothing more is read from this client.
    Close,
}

impl Worker {
    /// Parses, prefetches and executes what clients sent.
    pub(super) fn serve(&mut self) {
        if self.input.is_empty() || self.log_backlogged {
            return;
        }
        let list = mem::take(&mut self.input);
        let mut jobs = mem::take(&mut self.jobs);
        let mut args = mem::take(&mut self.args);
        for &index in &list {
            self.parse(index, &mut jobs, &mut args);
        }
        self.prefetch(&jobs);
        let mut first = 0;
        while first < jobs.len() {
            let client = jobs[first].client;
            let n = jobs[first..]
                .iter()
                .take_while(|job| job.client == client)
                .count();
            self.execute(client, &jobs[first..first + n], &args);
            first += n;
        }
        jobs.clear();
        args.clear();
        (self.jobs, self.args) = (jobs, args);
    }

    fn parse(&mut self, index: u32, jobs: &mut Vec<Job>, args: &mut Vec<Arg>) {
        let Some(client) = self.clients.at(index) else {
            return;
        };
        client.has_input = false;
        if client.waiting != Waiting::Nothing || client.conn.phase != Phase::Open {
            return;
        }
        if client.conn.owed() > PAUSE_ABOVE {
            // It comes back on the list when a send ends.
            return;
        }
        if jobs.len() >= PER_TICK {
            client.has_input = true;
            self.input.push(index);
            return;
        }
        client.hungry = false;
        let conn = &mut client.conn;
        conn.limits.unauthenticated = !client.authenticated && self.users.must_authenticate();
        conn.limits.bulk_len = self.settings.server.proto_max_bulk_len as usize;
        let mut at = conn.at;
        let mine = args.len();
        for taken in 0.. {
            if taken == PER_CLIENT || args.len() - mine >= ARGS_PER_CLIENT {
                client.has_input = true;
                self.input.push(index);
                break;
            }
            let (start, first) = (at, args.len());
            let what = match conn
                .parser
                .step(&mut conn.input, &mut at, args, &conn.limits)
            {
                Step::NeedMore => {
                    let wanted = conn.parser.wanted();
                    if wanted > conn.input.capacity() - conn.input.len() {
                        conn.input.reserve_exact(wanted);
                    }
                    // Blank lines were skipped; what is left is the start of a command.
                    if taken == 0 {
                        conn.at = at;
                        conn.compact();
                        client.hungry = true;
                        if client.leaving && !mem::replace(&mut client.has_output, true) {
                            // Nothing is left to execute: the end of the tick sees it off.
                            self.output.push(index);
                        }
                    }
                    break;
                }
                Step::Fault(fault) => What::Fault(fault),
                Step::Command => {
                    let mine = &args[first..];
                    match command::lookup(mine[0].of(&conn.input)) {
                        Some((row, number))
                            if row.subcommands.is_empty() && row.takes(mine.len()) =>
                        {
                            What::Command(row, number)
                        }
                        _ => What::Unresolved,
                    }
                }
            };
            let n = (args.len() - first) as u32;
            let key = match &what {
                What::Command(row, _)
                    if matches!(row.route, Route::Key | Route::Keys | Route::Made) && n > 1 =>
                {
                    let key = self.ks.key(client.db, args[first + 1].of(&conn.input));
                    Some((key.slot, key.hash))
                }
                _ => None,
            };
            let fault = matches!(what, What::Fault(_));
            jobs.push(Job {
                client: index,
                what,
                args: (first as u32, n),
                span: (start, at),
                key,
            });
            if fault {
                break;
            }
        }
    }

    fn prefetch(&mut self, jobs: &[Job]) {
        if jobs.len() < 2 || !matches!(self.home, Home::Here) {
            return;
        }
        let core = self.core;
        // All clients' databases are read once; SELECT inside the tick only costs a wasted fetch.
        let mut keys = mem::take(&mut self.keys);
        for job in jobs {
            if let Some((slot, hash)) = job.key
                && self.ks.owner(slot) == core
            {
                let db = self.clients.at(job.client).map_or(0, |c| c.db);
                keys.push((db, slot, hash));
            }
        }
        let key = |&(db, slot, hash): &(u16, u16, u64)| Key {
            db,
            slot,
            hash,
            bytes: &[],
        };
        for k in &keys {
            self.ks.prefetch_slot(&key(k));
        }
        for k in &keys {
            self.ks.prefetch_bucket(&key(k));
        }
        for k in &keys {
            self.ks.prefetch_entry(&key(k));
        }
        keys.clear();
        self.keys = keys;
    }

    fn execute(&mut self, index: u32, jobs: &[Job], args: &[Arg]) {
        let Some(mut client) = self.clients.take(index) else {
            return;
        };
        client.active_ms = self.clock.unix_ms;
        client.conn.borrow_plain(&mut self.pool);
        let input = mem::take(&mut client.conn.input);
        let (mut end, mut broken) = (None, false);
        for job in jobs {
            if client.conn.owed() > PAUSE_ABOVE || client.is_far() {
                // It comes back on the list when a send ends, or when answers come.
                end = Some(job.span.0);
                client.conn.parser = Parser::default();
                break;
            }
            let mine = &args[job.args.0 as usize..][..job.args.1 as usize];
            let flow = with_argv(mine, &input, |argv| self.one(&mut client, index, job, argv));
            if client.conn.replies.ready().len() >= EARLY && self.replies_may_leave() {
                broken = client.conn.seal_early(&mut self.pool).is_err();
            }
            match flow {
                Flow::Next => end = Some(job.span.1),
                Flow::Wait | Flow::Close => {
                    end = Some(job.span.1);
                    if !std::ptr::eq(job, &jobs[jobs.len() - 1]) {
                        client.conn.parser = Parser::default();
                    }
                    break;
                }
                Flow::Stall => {
                    end = Some(job.span.0);
                    client.conn.parser = Parser::default();
                    break;
                }
            }
        }
        client.conn.input = input;
        if let Some(end) = end {
            client.conn.at = end;
        }
        client.conn.compact();
        if !broken && client.conn.send_early(&mut self.ring) {
            self.sends += 1;
            self.ring.submit();
        }
        self.note_output(index, &mut client);
        self.clients.put(index, client);
        if broken {
            // Its session can seal nothing more.
            self.close(index);
        }
    }

    /// Whether replies of this moment wait for nothing: the log has what they tell of.
    fn replies_may_leave(&mut self) -> bool {
        self.hold().is_none()
            && self.ks.has(self.core)
            && self.ks.shard(self.core).effects.is_empty()
    }

    fn one(&mut self, client: &mut Client, index: u32, job: &Job, argv: &[&[u8]]) -> Flow {
        let mark = client.conn.replies.writer().len();
        let mode = client.reply;
        let flow = match &job.what {
            What::Command(row, number) => {
                self.dispatch(client, index, (row, *number), argv, job.key)
            }
            What::Unresolved => match command::resolve(argv) {
                Ok(found) => self.dispatch(client, index, found, argv, None),
                Err(_) if command::is_http(argv[0]) => {
                    tracing::warn!(client = %client.addr, "closed a connection that speaks HTTP");
                    Flow::Close
                }
                Err(e) if client.multi.is_some() && argv[0].eq_ignore_ascii_case(b"exec") => {
                    self.abort(client, &e);
                    Flow::Next
                }
                Err(e) => {
                    if let command::Error::Arity(name) = e
                        && let Some((_, number)) = command::named(name.as_bytes())
                    {
                        self.stats.refused(number);
                    }
                    if let Some(queue) = &mut client.multi {
                        queue.refused = true;
                    }
                    self.refuse(client, e);
                    Flow::Next
                }
            },
            What::Fault(fault) => {
                let text = format!("ERR {fault}");
                self.reply(client).error(&text);
                self.stats.error(text.as_bytes());
                Flow::Close
            }
        };
        if mode != ReplyMode::On && flow != Flow::Stall {
            let silent = client.last.is_none_or(is_silenced);
            if silent {
                client.conn.replies.writer().truncate(mark);
                if client.reply == ReplyMode::Skip {
                    client.reply = ReplyMode::On;
                }
            }
        }
        self.hand_over(client);
        if flow == Flow::Close {
            self.leave_audience(client);
            client.conn.phase = Phase::Draining;
        }
        flow
    }

    /// The writer of a client's next reply.
    pub(super) fn reply<'c>(&self, client: &'c mut Client) -> Reply<'c> {
        Reply {
            proto: client.proto,
            buf: client.conn.replies.writer(),
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(&mut self, client: &mut Client, e: command::Error) {
        let mark = client.conn.replies.writer().len();
        e.write(&mut self.reply(client));
        let writer = client.conn.replies.writer();
        self.stats.error(&writer[mark..]);
    }
}

/// Whether CLIENT REPLY keeps a command's reply back. What confirms that a client listens is no reply.
fn is_silenced(row: &Command) -> bool {
    use SessionCmd::{ClientReply, Subscribe, Unsubscribe};
    !matches!(
        row.run,
        Run::Session(ClientReply | Subscribe(_) | Unsubscribe(_))
    )
}

#[inline]
fn with_argv<R>(args: &[Arg], input: &[u8], f: impl FnOnce(&[&[u8]]) -> R) -> R {
    if args.len() <= FEW {
        let mut few: [&[u8]; FEW] = [&[]; FEW];
        for (slice, arg) in few.iter_mut().zip(args) {
            *slice = arg.of(input);
        }
        f(&few[..args.len()])
    } else {
        let many: Vec<&[u8]> = args.iter().map(|arg| arg.of(input)).collect();
        f(&many)
    }
}
