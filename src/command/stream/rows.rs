//! The rows of the stream family.

use super::{add, claim, group, info, pending, range, read};
use crate::command::help::help;
use crate::command::row::{Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};

/// The start of a row of this family.
const STREAM: Command = Command {
    acl: acl::STREAM,
    group: Group::Stream,
    ..ON_KEY
};

/// The start of a subcommand's row: its key stands behind its name.
const ABOUT: Command = Command {
    route: Route::Keys,
    ..STREAM
};

/// The start of a row whose subcommands do the work.
const CONTAINER: Command = Command {
    arity: -2,
    acl: 0,
    complexity: "That of the subcommand.",
    since: "5.0.0",
    syntax: "subcommand [arg [arg ...]]",
    route: Route::Here,
    run: Run::Container,
    ..STREAM
};

/// The start of the row of HELP.
const HELP: Command = Command {
    flags: flag::LOADING | flag::STALE,
    keys: &[],
    since: "5.0.0",
    summary: "Lists the subcommands.",
    syntax: "",
    route: Route::Here,
    run: Run::Data(help),
    ..STREAM
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "xadd",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "5.0.0",
        complexity: "O(1), and O(N) for N entries that are trimmed",
        summary: "Appends an entry to a stream, and trims it if asked to.",
        syntax: "key [NOMKSTREAM] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        tips: &["nondeterministic_output"],
        run: Run::Data(add::xadd),
        ..STREAM
    },
    Command {
        name: "xlen",
        arity: 2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        since: "5.0.0",
        summary: "Counts the entries of a stream.",
        syntax: "key",
        run: Run::Data(add::xlen),
        ..STREAM
    },
    Command {
        name: "xrange",
        arity: -4,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N), N being the number of entries returned",
        summary: "Returns the entries between two ids.",
        syntax: "key start end [COUNT count]",
        run: Run::Data(range::xrange),
        ..STREAM
    },
    Command {
        name: "xrevrange",
        arity: -4,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N), N being the number of entries returned",
        summary: "Returns the entries between two ids, the largest first.",
        syntax: "key end start [COUNT count]",
        run: Run::Data(range::xrevrange),
        ..STREAM
    },
    Command {
        name: "xdel",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        since: "5.0.0",
        complexity: "O(1) for each entry",
        summary: "Removes entries from a stream.",
        syntax: "key id [id ...]",
        run: Run::Data(add::xdel),
        ..STREAM
    },
    Command {
        name: "xtrim",
        arity: -4,
        flags: flag::WRITE,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        since: "5.0.0",
        complexity: "O(N), N being the number of entries removed, most of them in blocks",
        summary: "Removes the oldest entries of a stream.",
        syntax: "key <MAXLEN | MINID> [= | ~] threshold [LIMIT count]",
        tips: &["nondeterministic_output"],
        run: Run::Data(add::xtrim),
        ..STREAM
    },
    Command {
        name: "xsetid",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "5.0.0",
        summary: "Sets the id after which new entries of a stream come.",
        syntax: "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        run: Run::Data(add::xsetid),
        ..STREAM
    },
    Command {
        name: "xread",
        arity: -4,
        flags: flag::READONLY | flag::BLOCKING,
        keys: &[KeySpec::behind("STREAMS", 1, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N) for each stream, N being the number of entries returned",
        summary: "Returns the entries of streams behind an id each, and waits for some if asked to.",
        syntax: "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        route: Route::Keys,
        run: Run::Data(read::xread),
        ..STREAM
    },
    Command {
        name: "xreadgroup",
        arity: -7,
        flags: flag::WRITE | flag::BLOCKING,
        keys: &[KeySpec::behind("STREAMS", 4, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N) for each stream, N being the number of entries returned",
        summary: "Returns new entries of streams to a consumer of a group, or those it has not acknowledged, and waits for some if asked to.",
        syntax: "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        route: Route::Keys,
        run: Run::Data(read::xreadgroup),
        ..STREAM
    },
    Command {
        name: "xack",
        arity: -4,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "5.0.0",
        complexity: "O(1) for each entry",
        summary: "Acknowledges entries delivered to a group.",
        syntax: "key group id [id ...]",
        run: Run::Data(pending::xack),
        ..STREAM
    },
    Command {
        name: "xpending",
        arity: -3,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N), N being the number of pending entries looked at; O(C) for C consumers without a range",
        summary: "Tells what is delivered to a group and not acknowledged.",
        syntax: "key group [[IDLE min-idle-time] start end count [consumer]]",
        tips: &["nondeterministic_output"],
        run: Run::Data(pending::xpending),
        ..STREAM
    },
    Command {
        name: "xclaim",
        arity: -6,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "5.0.0",
        complexity: "O(log N) for each entry, N being the number of pending entries",
        summary: "Makes a consumer the owner of pending entries.",
        syntax: "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID last-id]",
        tips: &["nondeterministic_output"],
        run: Run::Data(claim::xclaim),
        ..STREAM
    },
    Command {
        name: "xautoclaim",
        arity: -6,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        since: "6.2.0",
        complexity: "O(1) if COUNT is small",
        summary: "Makes a consumer the owner of pending entries that have been idle, from an id on.",
        syntax: "key group consumer min-idle-time start [COUNT count] [JUSTID]",
        tips: &["nondeterministic_output"],
        run: Run::Data(claim::xautoclaim),
        ..STREAM
    },
    Command {
        name: "xgroup",
        summary: "Commands about consumer groups.",
        subcommands: XGROUP,
        ..CONTAINER
    },
    Command {
        name: "xinfo",
        summary: "Commands that tell of streams, groups and consumers.",
        subcommands: XINFO,
        ..CONTAINER
    },
];

const XGROUP: &[Command] = &[
    Command {
        name: "xgroup|create",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(2, key::RW | key::INSERT)],
        since: "5.0.0",
        summary: "Makes a consumer group.",
        syntax: "key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
        run: Run::Data(group::create),
        ..ABOUT
    },
    Command {
        name: "xgroup|setid",
        arity: -5,
        flags: flag::WRITE,
        keys: &[KeySpec::one(2, key::RW | key::UPDATE)],
        since: "5.0.0",
        summary: "Sets what counts as delivered to a group.",
        syntax: "key group <id | $> [ENTRIESREAD entries-read]",
        run: Run::Data(group::setid),
        ..ABOUT
    },
    Command {
        name: "xgroup|destroy",
        arity: 4,
        flags: flag::WRITE,
        keys: &[KeySpec::one(2, key::RW | key::DELETE)],
        since: "5.0.0",
        complexity: "O(N), N being the number of pending entries",
        summary: "Removes a consumer group.",
        syntax: "key group",
        run: Run::Data(group::destroy),
        ..ABOUT
    },
    Command {
        name: "xgroup|createconsumer",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(2, key::RW | key::INSERT)],
        since: "6.2.0",
        summary: "Makes a consumer in a group.",
        syntax: "key group consumer",
        run: Run::Data(group::createconsumer),
        ..ABOUT
    },
    Command {
        name: "xgroup|delconsumer",
        arity: 5,
        flags: flag::WRITE,
        keys: &[KeySpec::one(2, key::RW | key::DELETE)],
        since: "5.0.0",
        complexity: "O(N), N being the number of its pending entries",
        summary: "Removes a consumer from a group, and what is pending for it.",
        syntax: "key group consumer",
        run: Run::Data(group::delconsumer),
        ..ABOUT
    },
    Command {
        name: "xgroup|help",
        ..HELP
    },
];

const XINFO: &[Command] = &[
    Command {
        name: "xinfo|stream",
        arity: -3,
        flags: flag::READONLY,
        keys: &[KeySpec::one(2, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(1), and O(N) for N entries shown by FULL",
        summary: "Tells of a stream.",
        syntax: "key [FULL [COUNT count]]",
        run: Run::Data(info::stream),
        ..ABOUT
    },
    Command {
        name: "xinfo|groups",
        arity: 3,
        flags: flag::READONLY,
        keys: &[KeySpec::one(2, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N), N being the number of groups",
        summary: "Tells of the groups of a stream.",
        syntax: "key",
        run: Run::Data(info::groups),
        ..ABOUT
    },
    Command {
        name: "xinfo|consumers",
        arity: 4,
        flags: flag::READONLY,
        keys: &[KeySpec::one(2, key::RO | key::ACCESS)],
        since: "5.0.0",
        complexity: "O(N), N being the number of consumers",
        summary: "Tells of the consumers of a group.",
        syntax: "key group",
        tips: &["nondeterministic_output"],
        run: Run::Data(info::consumers),
        ..ABOUT
    },
    Command {
        name: "xinfo|help",
        ..HELP
    },
];
