//! The rows of scripts: EVAL and its kin, SCRIPT.
//!
//! Promise: a script is a data command like any other. Its row tells which keys it declares, so it runs where its
//! shards are: on the core that owns them, or with all of them borrowed. A script that declares no key may touch any,
//! and gets every shard. What runs it is the core's engine, which comes in through [`Ctx::scripts`], so that commands
//! know nothing of Lua.

use super::help::help;
use super::row::{Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error};

/// What a scripting command asks of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Run the script that is the first argument, or whose SHA-1 it is.
    Eval {
        /// Whether it is named by its SHA-1.
        by_sha: bool,
        /// Whether it may not write.
        read_only: bool,
    },
    /// SCRIPT LOAD.
    Load,
    /// SCRIPT EXISTS.
    Exists,
    /// SCRIPT FLUSH.
    Flush,
    /// SCRIPT KILL.
    Kill,
}

/// What runs scripts.
pub trait Scripts {
    /// Carries out a scripting command and writes its reply.
    ///
    /// # Errors
    /// What the client is told instead.
    fn carry_out(&mut self, ctx: &mut Ctx<'_>, call: Call, args: &[&[u8]]) -> Result<(), Error>;
}

const EVAL: Command = Command {
    arity: -3,
    flags: flag::NOSCRIPT
        | flag::STALE
        | flag::SKIP_MONITOR
        | flag::MAY_REPLICATE
        | flag::NO_MANDATORY_KEYS
        | flag::MOVABLEKEYS,
    keys: &[KeySpec::counted(2, key::RW | key::ACCESS | key::UPDATE)],
    acl: acl::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    complexity: "Depends on the script that is executed.",
    syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
    route: Route::Keys,
    ..ON_KEY
};

const EVAL_RO: Command = Command {
    flags: flag::NOSCRIPT
        | flag::STALE
        | flag::SKIP_MONITOR
        | flag::READONLY
        | flag::NO_MANDATORY_KEYS
        | flag::MOVABLEKEYS,
    keys: &[KeySpec::counted(2, key::RO | key::ACCESS)],
    since: "7.0.0",
    ..EVAL
};

const SCRIPT: Command = Command {
    arity: 2,
    flags: flag::NOSCRIPT,
    acl: acl::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    route: Route::Here,
    syntax: "",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "eval",
        summary: "Runs a Lua script.",
        run: Run::Data(|ctx, args| eval(ctx, args, false, false)),
        ..EVAL
    },
    Command {
        name: "evalsha",
        summary: "Runs a Lua script that is known already, by its SHA-1.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        run: Run::Data(|ctx, args| eval(ctx, args, true, false)),
        ..EVAL
    },
    Command {
        name: "eval_ro",
        summary: "Runs a Lua script that may not write.",
        run: Run::Data(|ctx, args| eval(ctx, args, false, true)),
        ..EVAL_RO
    },
    Command {
        name: "evalsha_ro",
        summary: "Runs a Lua script that is known already, by its SHA-1, and may not write.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        run: Run::Data(|ctx, args| eval(ctx, args, true, true)),
        ..EVAL_RO
    },
    Command {
        name: "script",
        arity: -2,
        complexity: "Depends on subcommand.",
        summary: "Holds the commands on known scripts.",
        subcommands: SUBCOMMANDS,
        ..SCRIPT
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "script|load",
        arity: 3,
        flags: flag::NOSCRIPT | flag::STALE,
        complexity: "O(N), N being the length of the script",
        summary: "Makes a script known without running it, and tells its SHA-1.",
        syntax: "script",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Data(|ctx, args| ask(ctx, Call::Load, args)),
        ..SCRIPT
    },
    Command {
        name: "script|exists",
        arity: -3,
        complexity: "O(N), N being the number of scripts asked for",
        summary: "Tells which scripts are known.",
        syntax: "sha1 [sha1 ...]",
        tips: &[
            "request_policy:all_shards",
            "response_policy:agg_logical_and",
        ],
        run: Run::Data(|ctx, args| ask(ctx, Call::Exists, args)),
        ..SCRIPT
    },
    Command {
        name: "script|flush",
        arity: -2,
        complexity: "O(N), N being the number of known scripts",
        summary: "Forgets all scripts.",
        syntax: "[ASYNC | SYNC]",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Data(flush),
        ..SCRIPT
    },
    Command {
        name: "script|kill",
        flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
        summary: "Ends a script that runs for too long and has not written.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        run: Run::Data(|ctx, args| ask(ctx, Call::Kill, args)),
        ..SCRIPT
    },
    Command {
        name: "script|debug",
        arity: 3,
        since: "3.2.0",
        summary: "Is refused: there is no debugger.",
        syntax: "<YES | SYNC | NO>",
        run: Run::Data(debug),
        ..SCRIPT
    },
    Command {
        name: "script|help",
        flags: flag::LOADING | flag::STALE,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Data(help),
        ..SCRIPT
    },
];

/// Asks the engine, which is away meanwhile: a script does not call scripts.
fn ask(ctx: &mut Ctx<'_>, call: Call, args: &[&[u8]]) -> Result<(), Error> {
    let Some(scripts) = ctx.scripts.take() else {
        return Err(Error::Text("ERR Scripts cannot be run here"));
    };
    let result = scripts.carry_out(ctx, call, args);
    ctx.scripts = Some(scripts);
    result
}

fn eval(ctx: &mut Ctx<'_>, args: &[&[u8]], by_sha: bool, read_only: bool) -> Result<(), Error> {
    ask(ctx, Call::Eval { by_sha, read_only }, args)
}

fn flush(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let fits = match args[2..] {
        [] => true,
        [how] => how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async"),
        _ => false,
    };
    if !fits {
        return Err(Error::Text(
            "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    ask(ctx, Call::Flush, args)
}

fn debug(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if args[2].eq_ignore_ascii_case(b"no") {
        ctx.reply.ok();
        return Ok(());
    }
    Err(Error::Text(
        "ERR SCRIPT DEBUG is not available: there is no debugger",
    ))
}
