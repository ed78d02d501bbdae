//! The rows of functions: FCALL and FUNCTION.
//!
//! The libraries belong to the shard that owns slot 0, whose log keeps them; what changes them runs there.

use super::super::help::help;
use super::super::row::{Command, Route, Run, flag};
use super::super::session::SessionCmd;
use super::{EVAL, EVAL_RO, Named, SCRIPT, ScriptCmd, script};

/// A command that changes the libraries of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibraryCmd {
    /// FUNCTION LOAD
    Load,
    /// FUNCTION DELETE
    Delete,
    /// FUNCTION FLUSH
    Flush,
    /// FUNCTION RESTORE
    Restore,
}

const FUNCTION: Command = Command {
    since: "7.0.0",
    ..SCRIPT
};

/// What changes the libraries.
const CHANGE: Command = Command {
    flags: flag::WRITE | flag::NOSCRIPT,
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    route: Route::Libraries,
    ..FUNCTION
};

const fn change(what: LibraryCmd) -> Run {
    Run::Script(ScriptCmd::Library(what))
}

pub(in super::super) const ROWS: &[Command] = &[
    Command {
        name: "fcall",
        since: "7.0.0",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        run: script(Named::Function, false),
        ..EVAL
    },
    Command {
        name: "fcall_ro",
        complexity: "Depends on the function that is executed.",
        summary: "Calls a function that may not write.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        run: script(Named::Function, true),
        ..EVAL_RO
    },
    Command {
        name: "function",
        arity: -2,
        flags: 0,
        complexity: "Depends on subcommand.",
        summary: "Holds the commands on libraries of functions.",
        subcommands: SUBCOMMANDS,
        ..FUNCTION
    },
];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "function|load",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::NOSCRIPT,
        complexity: "O(1) (considering compilation time is redundant)",
        summary: "Takes a library of functions.",
        syntax: "[REPLACE] function-code",
        run: change(LibraryCmd::Load),
        ..CHANGE
    },
    Command {
        name: "function|delete",
        arity: 3,
        complexity: "O(1)",
        summary: "Forgets a library and its functions.",
        syntax: "library-name",
        run: change(LibraryCmd::Delete),
        ..CHANGE
    },
    Command {
        name: "function|flush",
        arity: -2,
        complexity: "O(N) where N is the number of functions deleted",
        summary: "Forgets all libraries.",
        syntax: "[ASYNC | SYNC]",
        run: change(LibraryCmd::Flush),
        ..CHANGE
    },
    Command {
        name: "function|restore",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::NOSCRIPT,
        complexity: "O(N) where N is the number of functions on the payload",
        summary: "Takes the libraries of a payload of FUNCTION DUMP.",
        syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
        run: change(LibraryCmd::Restore),
        ..CHANGE
    },
    Command {
        name: "function|dump",
        complexity: "O(N) where N is the number of functions",
        summary: "Makes a payload of all libraries.",
        run: Run::Session(SessionCmd::FunctionDump),
        ..FUNCTION
    },
    Command {
        name: "function|list",
        arity: -2,
        complexity: "O(N) where N is the number of functions",
        summary: "Lists the libraries.",
        syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        tips: &["nondeterministic_output_order"],
        run: Run::Session(SessionCmd::FunctionList),
        ..FUNCTION
    },
    Command {
        name: "function|stats",
        flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
        complexity: "O(1)",
        summary: "Tells which function runs, and how many there are.",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        run: Run::Session(SessionCmd::FunctionStats),
        ..FUNCTION
    },
    Command {
        name: "function|kill",
        flags: flag::NOSCRIPT | flag::ALLOW_BUSY,
        complexity: "O(1)",
        summary: "Ends a function that runs for too long and has not written.",
        tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
        run: Run::Session(SessionCmd::FunctionKill),
        ..FUNCTION
    },
    Command {
        name: "function|help",
        flags: flag::LOADING | flag::STALE,
        complexity: "O(1)",
        summary: "Lists the subcommands.",
        run: Run::Data(help),
        ..FUNCTION
    },
];
