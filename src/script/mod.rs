//! Scripts: one Lua state a core, in a sandbox, over whichever shards are at hand.
//!
//! Promise: pure logic like the commands that scripts call. No I/O; time comes in with the caller, but for the measure of
//! how long a script has been running, which comes in as a function. A script is compiled once a core; its text is
//! shared by all. It sees the commands through their table and nothing else of the server.
//!
//! Reading order: this file, `sources` (what cores share), `bench` (what a script works on), `api` (the table
//! `redis`), `convert`, `sandbox`, `bit`, `raw`.

mod api;
mod bench;
mod bit;
mod convert;
mod raw;
mod sandbox;
mod shebang;
mod sources;
#[cfg(test)]
mod tests;

pub use sources::Sources;

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use crate::command::{Call, Ctx, Error, Scripts};
use crate::resp::number::parse_i64;
use bench::{Bench, Laid, Running};
use sandbox::Sandbox;
use shebang::Shebang;
use sources::{Kill, Sha};

/// Lua instructions between two looks at the clock.
const INSTRUCTIONS: u32 = 100_000;

/// A compiled script.
struct Script {
    function: Function,
    shebang: Shebang,
}

/// When the script that runs began and how long it may, in nanoseconds.
#[derive(Default)]
struct Time {
    began: Cell<u64>,
    limit: Cell<u64>,
    killed: Cell<bool>,
}

/// Runs the scripts of one core.
pub struct Engine {
    lua: Lua,
    sandbox: Sandbox,
    protect: Function,
    scripts: HashMap<Sha, Script>,
    flushes: u64,
    bench: Rc<Bench>,
    time: Rc<Time>,
    nanos: fn() -> u64,
}

impl Engine {
    /// The engine of a core. `nanos` tells monotonic nanoseconds.
    ///
    /// # Errors
    /// Lua cannot be started.
    pub fn new(core: usize, sources: Arc<Sources>, nanos: fn() -> u64) -> Result<Engine, String> {
        let bench = Rc::new(Bench {
            run: Running::nothing().into(),
            core,
            sources,
        });
        Engine::build(bench, nanos).map_err(|e| format!("Lua cannot be started: {e}"))
    }

    fn build(bench: Rc<Bench>, nanos: fn() -> u64) -> mlua::Result<Engine> {
        let libs = StdLib::TABLE | StdLib::OS | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::new())?;
        let sandbox = sandbox::build(&lua, &bench)?;
        let handler = lua.create_function(handle)?;
        let protect = raw::protector(&lua, handler)?;
        let time = Rc::new(Time::default());
        watch(&lua, &bench, &time, nanos, INSTRUCTIONS)?;
        Ok(Engine {
            lua,
            sandbox,
            protect,
            scripts: HashMap::new(),
            flushes: 0,
            bench,
            time,
            nanos,
        })
    }

    /// What the next script finds: why writes are refused, if they are, whether memory is short, and how many
    /// nanoseconds it may take before others hear that it is overdue (0: for ever).
    pub fn prepare(&mut self, refusal: Option<String>, out_of_memory: bool, limit_ns: u64) {
        if let Ok(mut run) = self.bench.run.try_borrow_mut() {
            run.refusal = refusal;
            run.out_of_memory = out_of_memory;
        }
        self.time.limit.set(limit_ns);
    }

    /// The commands that scripts have called since the last time: number, and whether it failed.
    pub fn take_calls(&mut self) -> Vec<(u16, bool)> {
        match self.bench.run.try_borrow_mut() {
            Ok(mut run) => std::mem::take(&mut run.calls),
            Err(_) => Vec::new(),
        }
    }

    fn know(&mut self, sha: Sha, text: &[u8]) -> Result<(), Error> {
        let flushes = self.bench.sources.flushes();
        if std::mem::replace(&mut self.flushes, flushes) != flushes {
            self.scripts.clear();
        }
        if self.scripts.contains_key(&sha) {
            return Ok(());
        }
        let shebang = Shebang::read(text).map_err(|why| Error::message(format!("ERR {why}")))?;
        let body = &text[shebang.len..];
        let function = sandbox::compile(&self.lua, body, "@user_script", &self.sandbox.env)
            .map_err(|why| {
                Error::message(format!("ERR Error compiling script (new function): {why}"))
            })?;
        self.scripts.insert(sha, Script { function, shebang });
        self.bench.sources.add(sha, text);
        Ok(())
    }

    fn eval(
        &mut self,
        ctx: &mut Ctx<'_>,
        args: &[&[u8]],
        by_sha: bool,
        read_only: bool,
    ) -> Result<(), Error> {
        let unknown = Error::Text("NOSCRIPT No matching script. Please use EVAL.");
        if by_sha && args[1].len() != 40 {
            return Err(unknown);
        }
        let keys = parse_i64(args[2]).ok_or(Error::NotInteger)?;
        if keys > (args.len() - 3) as i64 {
            let text = "ERR Number of keys can't be greater than number of args";
            return Err(Error::Text(text));
        }
        let keys = usize::try_from(keys)
            .map_err(|_| Error::Text("ERR Number of keys can't be negative"))?;
        let sha = if by_sha {
            let sha = unhex(args[1]).ok_or(unknown.clone())?;
            let known =
                self.scripts.contains_key(&sha) && self.flushes == self.bench.sources.flushes();
            if !known {
                let text = self.bench.sources.text(&sha).ok_or(unknown)?;
                self.know(sha, &text)?;
            }
            sha
        } else {
            let sha = sha1(args[1]);
            self.know(sha, args[1])?;
            sha
        };
        let Some(script) = self.scripts.get(&sha) else {
            return Err(Error::Text("ERR the script is not known"));
        };
        let (function, shebang) = (script.function.clone(), script.shebang);
        if read_only && shebang.given && !shebang.no_writes {
            let text = "ERR Can not execute a script with write flag using *_ro command.";
            return Err(Error::Text(text));
        }
        let failed = |e: mlua::Error| Error::message(format!("ERR Error running script: {e}"));
        for (name, args) in [("KEYS", &args[3..3 + keys]), ("ARGV", &args[3 + keys..])] {
            let table = self.list(args).map_err(failed)?;
            self.sandbox.real.raw_set(name, table).map_err(failed)?;
        }
        let (laid, reply) = Laid::lay(&self.bench, ctx);
        if let Ok(mut run) = self.bench.run.try_borrow_mut() {
            run.read_only = read_only || shebang.no_writes;
            run.allow_oom = shebang.allow_oom;
        }
        self.time.began.set((self.nanos)());
        let result = self.protect.call::<(bool, Value)>(function);
        let resp3 = self.bench.run.try_borrow().is_ok_and(|run| run.resp3);
        drop(laid);
        if self.time.killed.replace(false) {
            watch(&self.lua, &self.bench, &self.time, self.nanos, INSTRUCTIONS).map_err(failed)?;
            let text = "ERR Script killed by user with SCRIPT KILL... script: ";
            return Err(Error::message(format!(
                "{text}{}, on @user_script.",
                hex(&sha)
            )));
        }
        match result.map_err(failed)? {
            (true, value) => convert::to_reply(&value, reply, resp3, 0).map_err(failed),
            (false, value) => Err(told(&value, &hex(&sha))),
        }
    }

    fn list(&self, args: &[&[u8]]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(args.len(), 0)?;
        for (i, arg) in args.iter().enumerate() {
            table.raw_seti(i + 1, self.lua.create_string(arg)?)?;
        }
        Ok(table)
    }
}

impl Scripts for Engine {
    fn carry_out(&mut self, ctx: &mut Ctx<'_>, call: Call, args: &[&[u8]]) -> Result<(), Error> {
        match call {
            Call::Eval { by_sha, read_only } => return self.eval(ctx, args, by_sha, read_only),
            Call::Load => {
                let sha = sha1(args[2]);
                self.know(sha, args[2])?;
                ctx.reply.bulk(hex(&sha));
            }
            Call::Exists => {
                ctx.reply.array(args.len() - 2);
                for name in &args[2..] {
                    let known = unhex(name).is_some_and(|sha| self.bench.sources.knows(&sha));
                    ctx.reply.int(i64::from(known));
                }
            }
            Call::Flush => {
                self.bench.sources.flush();
                ctx.reply.ok();
            }
            Call::Kill => match self.bench.sources.kill() {
                Kill::Done => ctx.reply.ok(),
                Kill::NotBusy => {
                    return Err(Error::Text("NOTBUSY No scripts in execution right now."));
                }
                Kill::Unkillable => {
                    return Err(Error::Text(
                        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                         either wait the script termination or kill the server in a hard way using the SHUTDOWN \
                         NOSAVE command.",
                    ));
                }
            },
        }
        Ok(())
    }
}

/// Has the clock looked at every so many instructions.
fn watch(
    lua: &Lua,
    bench: &Rc<Bench>,
    time: &Rc<Time>,
    nanos: fn() -> u64,
    instructions: u32,
) -> mlua::Result<()> {
    let (bench, time) = (bench.clone(), time.clone());
    let triggers = HookTriggers::new().every_nth_instruction(instructions);
    lua.set_global_hook(triggers, move |lua, _| {
        let killed = || {
            Err(mlua::Error::runtime(
                "Script killed by user with SCRIPT KILL.",
            ))
        };
        if time.killed.get() {
            return killed();
        }
        let limit = time.limit.get();
        let late = limit > 0 && nanos().saturating_sub(time.began.get()) >= limit;
        let Ok(run) = bench.run.try_borrow() else {
            return Ok(VmState::Continue);
        };
        if late && run.active && bench.sources.overdue(bench.core, run.written) {
            drop(run);
            time.killed.set(true);
            // From now on at every instruction, so that no `pcall` holds it up.
            watch(lua, &bench, &time, nanos, 1)?;
            return killed();
        }
        Ok(VmState::Continue)
    })
}

/// Makes a table of what a script has raised, with the place where it did.
fn handle(lua: &Lua, raised: Value) -> mlua::Result<Table> {
    let table = match raised {
        Value::Table(table) => table,
        Value::String(text) => convert::error(lua, &[b"ERR ", &*text.as_bytes()].concat())?,
        Value::Error(e) => {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default();
            convert::error(lua, format!("ERR {first}").as_bytes())?
        }
        other => convert::error(lua, format!("ERR {}", other.to_string()?).as_bytes())?,
    };
    // The function that raised it, or, where that is one of C, who called it.
    for level in 1..=2 {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let native = source.what == "C";
            let name = source.source.map(|s| s.into_owned()).unwrap_or_default();
            (native, name, debug.current_line())
        });
        match place {
            Some((true, ..)) if level == 1 => {}
            Some((false, source, Some(line))) => {
                table.raw_set("source", source)?;
                table.raw_set("line", line)?;
                break;
            }
            _ => break,
        }
    }
    Ok(table)
}

/// What the client is told of an error that a script did not catch.
fn told(value: &Value, name: &str) -> Error {
    let Value::Table(table) = value else {
        return Error::message(format!(
            "ERR Error running script {name}, execution failure"
        ));
    };
    let text = |field: &str| match table.raw_get::<Value>(field) {
        Ok(Value::String(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    let mut message = text("err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    let line = table
        .raw_get::<Value>("line")
        .ok()
        .as_ref()
        .and_then(convert::number);
    if let (Some(source), Some(line)) = (text("source"), line) {
        message.extend_from_slice(format!(" script: {name}, on ").as_bytes());
        message.extend_from_slice(&source);
        message.extend_from_slice(format!(":{line}.").as_bytes());
    }
    Error::message(message)
}

/// The SHA-1 of a text: a name for it, as in Redis, and no more.
fn sha1(text: &[u8]) -> Sha {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let mut sha = Sha::default();
    sha.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref());
    sha
}

fn hex(sha: &Sha) -> String {
    sha.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &[u8]) -> Option<Sha> {
    let mut sha = Sha::default();
    if text.len() != 40 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in sha.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sha)
}
