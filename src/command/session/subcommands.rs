//! The rows of the containers' subcommands.

use super::{ADMIN, ANY_TIME, CONNECTION, HELP, SERVER, SessionCmd, session};
use crate::command::row::{Command, Group, Run, acl, flag};

pub(super) const CLIENT: &[Command] = &[
    Command {
        name: "client|id",
        arity: 2,
        since: "5.0.0",
        summary: "Tells the number of this connection.",
        run: session(SessionCmd::ClientId),
        ..CONNECTION
    },
    Command {
        name: "client|getname",
        arity: 2,
        since: "2.6.9",
        summary: "Tells the name of this connection.",
        run: session(SessionCmd::ClientGetname),
        ..CONNECTION
    },
    Command {
        name: "client|setname",
        arity: 3,
        since: "2.6.9",
        summary: "Names this connection.",
        syntax: "connection-name",
        run: session(SessionCmd::ClientSetname),
        ..CONNECTION
    },
    Command {
        name: "client|setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Notes name or version of the client library.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        run: session(SessionCmd::ClientSetinfo),
        ..CONNECTION
    },
    Command {
        name: "client|info",
        tips: &["nondeterministic_output"],
        arity: 2,
        since: "6.2.0",
        summary: "Describes this connection.",
        run: session(SessionCmd::ClientInfo),
        ..CONNECTION
    },
    Command {
        name: "client|list",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N being the number of connections",
        summary: "Describes connections, one a line.",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        run: session(SessionCmd::ClientList),
        ..CONNECTION
    },
    Command {
        name: "client|kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        complexity: "O(N), N being the number of connections",
        summary: "Closes connections.",
        syntax: "<ip:port | <ID client-id | TYPE <NORMAL | MASTER | REPLICA | PUBSUB> | USER username | ADDR ip:port | LADDR ip:port | SKIPME <YES | NO> | MAXAGE maxage> ...>",
        run: session(SessionCmd::ClientKill),
        ..CONNECTION
    },
    Command {
        name: "client|unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        complexity: "O(N), N being the number of clients that wait",
        summary: "Ends what another connection waits for.",
        syntax: "client-id [TIMEOUT | ERROR]",
        run: session(SessionCmd::ClientUnblock),
        ..CONNECTION
    },
    Command {
        name: "client|no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Spares this connection when connections are dropped for want of memory.",
        syntax: "<ON | OFF>",
        run: session(SessionCmd::ClientNoEvict),
        ..CONNECTION
    },
    Command {
        name: "client|no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Keeps this connection's reads from counting as use of a key.",
        syntax: "<ON | OFF>",
        run: session(SessionCmd::ClientNoTouch),
        ..CONNECTION
    },
    Command {
        name: "client|reply",
        arity: 3,
        since: "3.2.0",
        summary: "Turns the replies to this connection on or off.",
        syntax: "<ON | OFF | SKIP>",
        run: session(SessionCmd::ClientReply),
        ..CONNECTION
    },
    Command {
        name: "client|tracking",
        arity: -3,
        since: "6.0.0",
        complexity: "O(1), or O(N) with N prefixes",
        summary: "Turns on or off that the server says which keys this connection may have kept have changed.",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        run: session(SessionCmd::ClientTracking),
        ..CONNECTION
    },
    Command {
        name: "client|caching",
        arity: 3,
        since: "6.0.0",
        summary: "Tells whether the keys that the next command reads will be kept.",
        syntax: "<YES | NO>",
        run: session(SessionCmd::ClientCaching),
        ..CONNECTION
    },
    Command {
        name: "client|getredir",
        arity: 2,
        since: "6.0.0",
        summary: "Tells which connection hears of the keys that have changed in place of this one.",
        run: session(SessionCmd::ClientGetredir),
        ..CONNECTION
    },
    Command {
        name: "client|trackinginfo",
        arity: 2,
        since: "6.2.0",
        summary: "Tells how this connection hears of keys that have changed.",
        run: session(SessionCmd::ClientTrackinginfo),
        ..CONNECTION
    },
    Command {
        name: "client|pause",
        arity: -3,
        flags: ADMIN,
        since: "3.0.0",
        summary: "Lets the commands of all connections wait for a time.",
        syntax: "timeout [WRITE | ALL]",
        run: session(SessionCmd::ClientPause),
        ..CONNECTION
    },
    Command {
        name: "client|unpause",
        arity: 2,
        flags: ADMIN,
        since: "6.2.0",
        complexity: "O(N), N being the number of connections that wait",
        summary: "Ends what CLIENT PAUSE began.",
        run: session(SessionCmd::ClientUnpause),
        ..CONNECTION
    },
    Command {
        name: "client|help",
        acl: acl::CONNECTION,
        group: Group::Connection,
        since: "5.0.0",
        ..HELP
    },
];

pub(super) const CONFIG: &[Command] = &[
    Command {
        name: "config|get",
        arity: -3,
        since: "2.0.0",
        complexity: "O(N*M), for N settings and M patterns",
        summary: "Tells the settings whose names match.",
        syntax: "parameter [parameter ...]",
        run: session(SessionCmd::ConfigGet),
        ..SERVER
    },
    Command {
        name: "config|set",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -4,
        since: "2.0.0",
        complexity: "O(N), N being the number of settings given",
        summary: "Changes settings of the running server, all of them or none.",
        syntax: "parameter value [parameter value ...]",
        run: session(SessionCmd::ConfigSet),
        ..SERVER
    },
    Command {
        name: "config|resetstat",
        arity: 2,
        since: "2.0.0",
        summary: "Sets the counters that INFO shows back to zero.",
        run: session(SessionCmd::ConfigResetstat),
        ..SERVER
    },
    Command {
        name: "config|rewrite",
        arity: 2,
        since: "2.8.0",
        summary: "Writes the settings in force to the configuration file.",
        run: session(SessionCmd::ConfigRewrite),
        ..SERVER
    },
    Command {
        name: "config|help",
        since: "5.0.0",
        ..HELP
    },
];

pub(super) const SLOWLOG: &[Command] = &[
    Command {
        name: "slowlog|get",
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        arity: -2,
        flags: flag::ADMIN | flag::LOADING | flag::STALE,
        since: "2.2.12",
        complexity: "O(N), N being the number of entries returned",
        summary: "Tells the latest slow commands.",
        syntax: "[count]",
        run: session(SessionCmd::SlowlogGet),
        ..SERVER
    },
    Command {
        name: "slowlog|len",
        tips: &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        arity: 2,
        flags: flag::ADMIN | flag::LOADING | flag::STALE,
        since: "2.2.12",
        summary: "Tells how many slow commands are kept.",
        run: session(SessionCmd::SlowlogLen),
        ..SERVER
    },
    Command {
        name: "slowlog|reset",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        flags: flag::ADMIN | flag::LOADING | flag::STALE,
        since: "2.2.12",
        complexity: "O(N), N being the number of entries",
        summary: "Forgets the slow commands.",
        run: session(SessionCmd::SlowlogReset),
        ..SERVER
    },
    Command {
        name: "slowlog|help",
        since: "6.2.0",
        ..HELP
    },
];

pub(super) const LATENCY: &[Command] = &[
    Command {
        name: "latency|histogram",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N being the number of commands asked for",
        summary: "Tells how the latencies of commands are distributed.",
        syntax: "[command [command ...]]",
        run: session(SessionCmd::LatencyHistogram),
        ..SERVER
    },
    Command {
        name: "latency|latest",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        arity: 2,
        since: "2.8.13",
        summary: "Tells the latest sample of every event.",
        run: session(SessionCmd::LatencyLatest),
        ..SERVER
    },
    Command {
        name: "latency|history",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        arity: 3,
        since: "2.8.13",
        summary: "Tells the samples of an event with their times.",
        syntax: "event",
        run: session(SessionCmd::LatencyHistory),
        ..SERVER
    },
    Command {
        name: "latency|reset",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -2,
        since: "2.8.13",
        summary: "Forgets the samples of events.",
        syntax: "[event [event ...]]",
        run: session(SessionCmd::LatencyReset),
        ..SERVER
    },
    Command {
        name: "latency|graph",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        arity: 3,
        since: "2.8.13",
        summary: "Draws the samples of an event.",
        syntax: "event",
        run: session(SessionCmd::LatencyGraph),
        ..SERVER
    },
    Command {
        name: "latency|doctor",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        arity: 2,
        since: "2.8.13",
        summary: "Tells in words what took long, and what may be done about it.",
        run: session(SessionCmd::LatencyDoctor),
        ..SERVER
    },
    Command {
        name: "latency|help",
        since: "2.8.13",
        ..HELP
    },
];

pub(super) const ENCRYPTION: &[Command] = &[
    Command {
        name: "encryption|status",
        arity: 2,
        since: "0.1.0",
        summary: "Tells algorithm, secrets in force and progress of their rotation.",
        run: session(SessionCmd::EncryptionStatus),
        ..SERVER
    },
    Command {
        name: "encryption|help",
        since: "0.1.0",
        ..HELP
    },
];

pub(super) const MEMORY: &[Command] = &[
    crate::command::object::MEMORY_USAGE,
    Command {
        name: "memory|doctor",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        arity: 2,
        flags: 0,
        since: "4.0.0",
        summary: "Names what is wrong with the use of memory, in words.",
        run: session(SessionCmd::MemoryDoctor),
        ..SERVER
    },
    Command {
        name: "memory|malloc-stats",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        arity: 2,
        flags: 0,
        since: "4.0.0",
        summary: "Tells what the allocator has, in words.",
        run: session(SessionCmd::MemoryMallocStats),
        ..SERVER
    },
    Command {
        name: "memory|purge",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: 2,
        flags: 0,
        since: "4.0.0",
        complexity: "Depends on how much there is to give back.",
        summary: "Gives unused memory back to the system.",
        run: session(SessionCmd::MemoryPurge),
        ..SERVER
    },
    Command {
        name: "memory|stats",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        arity: 2,
        flags: 0,
        since: "4.0.0",
        summary: "Tells what memory is used for.",
        run: session(SessionCmd::MemoryStats),
        ..SERVER
    },
    Command {
        name: "memory|help",
        since: "4.0.0",
        ..HELP
    },
];

pub(super) const ACL: &[Command] = &[
    Command {
        name: "acl|whoami",
        arity: 2,
        flags: ANY_TIME,
        since: "6.0.0",
        summary: "Tells the user of this connection.",
        run: session(SessionCmd::AclWhoami),
        ..SERVER
    },
    Command {
        name: "acl|cat",
        arity: -2,
        flags: ANY_TIME,
        since: "6.0.0",
        summary: "Lists the categories, or the commands of one.",
        syntax: "[category]",
        run: Run::Data(crate::command::docs::acl_cat),
        ..SERVER
    },
    Command {
        name: "acl|setuser",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -3,
        since: "6.0.0",
        complexity: "O(N), N being the number of rules",
        summary: "Makes a user, or changes what a user may do.",
        syntax: "username [rule [rule ...]]",
        run: session(SessionCmd::AclSetuser),
        ..SERVER
    },
    Command {
        name: "acl|deluser",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: -3,
        since: "6.0.0",
        complexity: "O(N), N being the number of connections",
        summary: "Removes users and closes their connections.",
        syntax: "username [username ...]",
        run: session(SessionCmd::AclDeluser),
        ..SERVER
    },
    Command {
        name: "acl|getuser",
        arity: 3,
        since: "6.0.0",
        complexity: "O(N), N being the number of rules",
        summary: "Tells the rules of a user.",
        syntax: "username",
        run: session(SessionCmd::AclGetuser),
        ..SERVER
    },
    Command {
        name: "acl|list",
        arity: 2,
        since: "6.0.0",
        complexity: "O(N), N being the number of users",
        summary: "Tells all users with their rules, as the file has them.",
        run: session(SessionCmd::AclList),
        ..SERVER
    },
    Command {
        name: "acl|users",
        arity: 2,
        since: "6.0.0",
        complexity: "O(N), N being the number of users",
        summary: "Names all users.",
        run: session(SessionCmd::AclUsers),
        ..SERVER
    },
    Command {
        name: "acl|log",
        arity: -2,
        since: "6.0.0",
        complexity: "O(N), N being the number of entries told",
        summary: "Tells what was refused lately, and to whom.",
        syntax: "[count | RESET]",
        run: session(SessionCmd::AclLog),
        ..SERVER
    },
    Command {
        name: "acl|dryrun",
        arity: -4,
        since: "7.0.0",
        summary: "Tells whether a user may run a command, without running it.",
        syntax: "username command [arg [arg ...]]",
        run: session(SessionCmd::AclDryrun),
        ..SERVER
    },
    Command {
        name: "acl|genpass",
        arity: -2,
        flags: ANY_TIME,
        since: "6.0.0",
        summary: "Makes up a password that cannot be guessed.",
        syntax: "[bits]",
        run: session(SessionCmd::AclGenpass),
        ..SERVER
    },
    Command {
        name: "acl|save",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        since: "6.0.0",
        complexity: "O(N), N being the number of users",
        summary: "Writes all users to the file that auth.acl_file names.",
        run: session(SessionCmd::AclSave),
        ..SERVER
    },
    Command {
        name: "acl|load",
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        arity: 2,
        since: "6.0.0",
        complexity: "O(N), N being the number of users",
        summary: "Takes all users from the file that auth.acl_file names, or none.",
        run: session(SessionCmd::AclLoad),
        ..SERVER
    },
    Command {
        name: "acl|help",
        since: "6.0.0",
        ..HELP
    },
];
