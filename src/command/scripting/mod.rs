//! The rows of scripts: EVAL and its kin, SCRIPT.
//!
//! A script is no data command: what it does is decided while it runs, and it may run for long. Its row tells which keys
//! it declares, for ACL's tests; but it may touch others, and much that people use does (BullMQ makes the names of its
//! jobs' keys in Lua). So it gets every shard, and the engine (see [`crate::script`]) runs it there. FCALL and FUNCTION
//! are in `function`.

use super::help::help;
use super::row::{Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::session::SessionCmd;

mod function;

pub use function::LibraryCmd;
pub(super) use function::ROWS as FUNCTION_ROWS;

/// A command that the engine carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptCmd {
    /// It runs a script.
    Run {
        /// What its first argument is.
        named: Named,
        /// Whether the script may not write.
        read_only: bool,
    },
    /// It changes the libraries of functions.
    Library(LibraryCmd),
}

/// How a script is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By its text.
    Text,
    /// By its SHA-1.
    Sha,
    /// By the name of a function.
    Function,
}

const fn script(named: Named, read_only: bool) -> Run {
    Run::Script(ScriptCmd::Run { named, read_only })
}

const EVAL: Command = Command {
    arity: -3,
    flags: flag::NOSCRIPT | flag::STALE | flag::SKIP_MONITOR | flag::NO_MANDATORY_KEYS,
    keys: &[KeySpec::counted(2, key::RW | key::ACCESS | key::UPDATE)],
    acl: acl::SCRIPTING,
    group: Group::Scripting,
    since: "2.6.0",
    complexity: "Depends on the script that is executed.",
    syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
    route: Route::Script,
    ..ON_KEY
};

const EVAL_RO: Command = Command {
    flags: flag::NOSCRIPT
        | flag::STALE
        | flag::SKIP_MONITOR
        | flag::READONLY
        | flag::NO_MANDATORY_KEYS,
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
        run: script(Named::Text, false),
        ..EVAL
    },
    Command {
        name: "evalsha",
        summary: "Runs a Lua script that is known already, by its SHA-1.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        run: script(Named::Sha, false),
        ..EVAL
    },
    Command {
        name: "eval_ro",
        summary: "Runs a Lua script that may not write.",
        run: script(Named::Text, true),
        ..EVAL_RO
    },
    Command {
        name: "evalsha_ro",
        summary: "Runs a Lua script that is known already, by its SHA-1, and may not write.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        run: script(Named::Sha, true),
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
        run: Run::Session(SessionCmd::ScriptLoad),
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
        run: Run::Session(SessionCmd::ScriptExists),
        ..SCRIPT
    },
    Command {
        name: "script|flush",
        arity: -2,
        complexity: "O(N), N being the number of known scripts",
        summary: "Forgets all scripts.",
        syntax: "[ASYNC | SYNC]",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        run: Run::Session(SessionCmd::ScriptFlush),
        ..SCRIPT
    },
    Command {
        name: "script|kill",
        flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
        summary: "Ends a script that runs for too long and has not written.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        run: Run::Session(SessionCmd::ScriptKill),
        ..SCRIPT
    },
    Command {
        name: "script|debug",
        arity: 3,
        since: "3.2.0",
        summary: "Is refused: there is no debugger.",
        syntax: "<YES | SYNC | NO>",
        run: Run::Session(SessionCmd::ScriptDebug),
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
