//! What a script works on while it runs: the shards at hand, and what of the caller its commands depend on.
//!
//! The functions that Lua calls live as long as the engine and cannot borrow the caller's keyspace, so the keyspace
//! itself changes places: it lies on the bench while the script runs and is back when that has ended, whatever way.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;

use crate::command::{self, Begin, Ctx, Error, Route, Run, SessionCmd, flag};
use crate::resp::Reply;
use crate::shard::{Keyspace, Ms};
use crate::slot;

use super::convert::proto;
use super::sources::Sources;

/// The bench of one core.
pub struct Bench {
    /// What lies on it.
    pub run: RefCell<Running>,
    /// Which core.
    pub core: usize,
    /// What all cores share.
    pub sources: std::sync::Arc<Sources>,
}

/// A script that runs, or its absence.
pub struct Running {
    /// Whether one runs.
    pub active: bool,
    /// The shards at hand; none while nothing runs.
    pub ks: Keyspace,
    db: u16,
    databases: u16,
    now: Ms,
    now_us: u64,
    random: u64,
    max_string: usize,
    /// Whether it has asked for RESP3.
    pub resp3: bool,
    /// Whether it may not write.
    pub read_only: bool,
    /// Whether it may use memory where that is short.
    pub allow_oom: bool,
    /// Whether it has written.
    pub written: bool,
    /// Why nothing may be written, if so; with code.
    pub refusal: Option<String>,
    /// Whether memory is short.
    pub out_of_memory: bool,
    /// The commands it called: number, and whether it failed.
    pub calls: Vec<(u16, bool)>,
    /// Memory for replies.
    pub reply: Vec<u8>,
}

impl Running {
    /// An empty bench.
    pub fn nothing() -> Running {
        Running {
            active: false,
            ks: Keyspace::new(slot::Map::new(1), 0, 1),
            db: 0,
            databases: 1,
            now: 0,
            now_us: 0,
            random: 0,
            max_string: 0,
            resp3: false,
            read_only: false,
            allow_oom: false,
            written: false,
            refusal: None,
            out_of_memory: false,
            calls: Vec::new(),
            reply: Vec::new(),
        }
    }

    /// Runs a command and leaves its reply in `self.reply`; the error is one of calling, not of the command.
    pub fn call(&mut self, bench: &Bench, argv: &[&[u8]]) -> Result<(), String> {
        let unknown = || "ERR Unknown Redis command called from script".to_owned();
        let (row, number) = match command::resolve(argv) {
            Ok(found) => found,
            Err(Error::Arity(_)) => {
                return Err("ERR Wrong number of args calling Redis command from script".to_owned());
            }
            Err(_) => return Err(unknown()),
        };
        let denied = || Err("ERR This Redis command is not allowed from script".to_owned());
        if row.has(flag::NOSCRIPT) {
            return denied();
        }
        if row.has(flag::WRITE) {
            if self.read_only {
                let text = "ERR Write commands are not allowed from read-only scripts.";
                return Err(text.to_owned());
            }
            if let Some(why) = &self.refusal {
                return Err(why.clone());
            }
        }
        if row.has(flag::DENYOOM) && self.out_of_memory && !self.allow_oom && !self.written {
            return Err("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
        }
        self.reply.clear();
        let f = match row.run {
            Run::Data(f) => f,
            Run::Session(SessionCmd::Select) => {
                match command::database(argv[1], self.databases) {
                    Ok(db) => {
                        self.db = db;
                        self.reply.extend_from_slice(b"+OK\r\n");
                    }
                    Err(e) => e.write(&mut Reply {
                        buf: &mut self.reply,
                        proto: proto(self.resp3),
                    }),
                }
                return Ok(());
            }
            _ => return denied(),
        };
        if !self.at_hand(row, argv) {
            let text = "ERR Script attempted to access a key that it did not declare and that another shard \
                        holds: name it among the keys";
            return Err(text.to_owned());
        }
        if row.has(flag::WRITE) {
            if !self.written && !bench.sources.may_write(bench.core) {
                return Err("ERR Script killed by user with SCRIPT KILL.".to_owned());
            }
            self.written = true;
        }
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db: self.db,
            databases: self.databases,
            now: self.now,
            now_us: self.now_us,
            random: self.random ^ (self.random >> 29),
            first: None,
            may_wait: false,
            wait: None,
            max_string: self.max_string,
            scripts: None,
            reply: Reply {
                buf: &mut self.reply,
                proto: proto(self.resp3),
            },
        };
        let failed = command::run(f, &mut ctx, argv).is_err();
        self.calls.push((number, failed));
        Ok(())
    }

    /// Whether every shard that a command may touch is here.
    fn at_hand(&self, row: &command::Command, argv: &[&[u8]]) -> bool {
        let all = || (0..self.ks.map().shards()).all(|shard| self.ks.has(shard));
        let here = |slot| self.ks.has(self.ks.owner(slot));
        match row.route {
            Route::Here => true,
            Route::Key | Route::Keys => {
                let mut keys = Vec::new();
                // A word may stand where no key is meant; what is found is all that can be touched.
                let told = command::keys_of(row, argv, &mut keys).is_ok();
                let searched = row.keys.iter().any(|k| matches!(k.begin, Begin::Each(..)));
                (told || searched || all()) && keys.iter().all(|&i| here(slot::slot_of(argv[i])))
            }
            Route::Cursor => argv.get(1).is_none_or(|c| here(command::cursor_slot(c))),
            Route::All => all(),
        }
    }
}

/// The keyspace on the bench, to be put back where it was.
pub struct Laid<'a> {
    bench: Rc<Bench>,
    home: &'a mut Keyspace,
}

impl<'a> Laid<'a> {
    /// Lays the keyspace of `ctx` on the bench, with what a script starts with.
    pub fn lay<'c>(bench: &Rc<Bench>, ctx: &'a mut Ctx<'c>) -> (Laid<'a>, &'a mut Reply<'c>) {
        {
            let mut run = bench.run.borrow_mut();
            run.active = true;
            (run.db, run.databases) = (ctx.db, ctx.databases);
            (run.now, run.now_us) = (ctx.now, ctx.now_us);
            (run.random, run.max_string) = (ctx.random, ctx.max_string);
            (run.resp3, run.written) = (false, false);
            (run.read_only, run.allow_oom) = (false, false);
            mem::swap(&mut run.ks, ctx.ks);
        }
        let bench = bench.clone();
        let home = &mut *ctx.ks;
        (Laid { bench, home }, &mut ctx.reply)
    }
}

impl Drop for Laid<'_> {
    fn drop(&mut self) {
        let mut run = self.bench.run.borrow_mut();
        run.active = false;
        mem::swap(&mut run.ks, self.home);
        drop(run);
        self.bench.sources.calm(self.bench.core);
    }
}
