//! The rows of what the session carries out: connection, server and transaction commands.

mod subcommands;

use super::help::help;
use super::pubsub::Topic;
use super::row::{Command, Group, KeySpec, Route, Run, acl, flag, key};
use subcommands::{ACL, CLIENT, CONFIG, ENCRYPTION, LATENCY, MEMORY, SLOWLOG};

/// A command that its connection's own core carries out: it touches the connection, the server or the
/// log rather than the keyspace alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionCmd {
    /// AUTH
    Auth,
    /// HELLO
    Hello,
    /// SELECT
    Select,
    /// QUIT
    Quit,
    /// RESET
    Reset,
    /// CLIENT ID
    ClientId,
    /// CLIENT GETNAME
    ClientGetname,
    /// CLIENT SETNAME
    ClientSetname,
    /// CLIENT SETINFO
    ClientSetinfo,
    /// CLIENT INFO
    ClientInfo,
    /// CLIENT LIST
    ClientList,
    /// CLIENT KILL
    ClientKill,
    /// CLIENT UNBLOCK
    ClientUnblock,
    /// CLIENT NO-EVICT
    ClientNoEvict,
    /// CLIENT NO-TOUCH
    ClientNoTouch,
    /// CLIENT REPLY
    ClientReply,
    /// CONFIG GET
    ConfigGet,
    /// CONFIG SET
    ConfigSet,
    /// CONFIG RESETSTAT
    ConfigResetstat,
    /// CONFIG REWRITE
    ConfigRewrite,
    /// INFO
    Info,
    /// MULTI
    Multi,
    /// EXEC
    Exec,
    /// DISCARD
    Discard,
    /// WATCH
    Watch,
    /// UNWATCH
    Unwatch,
    /// SHUTDOWN
    Shutdown,
    /// DEBUG
    Debug,
    /// SLOWLOG GET
    SlowlogGet,
    /// SLOWLOG LEN
    SlowlogLen,
    /// SLOWLOG RESET
    SlowlogReset,
    /// LATENCY HISTOGRAM
    LatencyHistogram,
    /// LATENCY LATEST
    LatencyLatest,
    /// LATENCY HISTORY
    LatencyHistory,
    /// LATENCY RESET
    LatencyReset,
    /// LATENCY GRAPH
    LatencyGraph,
    /// LATENCY DOCTOR
    LatencyDoctor,
    /// ENCRYPTION STATUS
    EncryptionStatus,
    /// LASTSAVE
    Lastsave,
    /// SAVE
    Save,
    /// BGSAVE
    Bgsave,
    /// BGREWRITEAOF
    Bgrewriteaof,
    /// MEMORY DOCTOR
    MemoryDoctor,
    /// MEMORY MALLOC-STATS
    MemoryMallocStats,
    /// MEMORY PURGE
    MemoryPurge,
    /// MEMORY STATS
    MemoryStats,
    /// ACL WHOAMI
    AclWhoami,
    /// ACL SETUSER
    AclSetuser,
    /// ACL DELUSER
    AclDeluser,
    /// ACL GETUSER
    AclGetuser,
    /// ACL LIST
    AclList,
    /// ACL USERS
    AclUsers,
    /// ACL LOG
    AclLog,
    /// ACL DRYRUN
    AclDryrun,
    /// ACL GENPASS
    AclGenpass,
    /// ACL SAVE
    AclSave,
    /// ACL LOAD
    AclLoad,
    /// ROLE
    Role,
    /// WAIT
    Wait,
    /// WAITAOF
    Waitaof,
    /// MIGRATE
    Migrate,
    /// REPLICAOF, SLAVEOF
    Replicaof,
    /// MONITOR
    Monitor,
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE
    Subscribe(Topic),
    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE
    Unsubscribe(Topic),
    /// PUBLISH, SPUBLISH
    Publish(Topic),
    /// PUBSUB CHANNELS, PUBSUB SHARDCHANNELS
    PubsubChannels(Topic),
    /// PUBSUB NUMSUB, PUBSUB SHARDNUMSUB
    PubsubNumsub(Topic),
    /// PUBSUB NUMPAT
    PubsubNumpat,
    /// CLIENT TRACKING
    ClientTracking,
    /// CLIENT CACHING
    ClientCaching,
    /// CLIENT GETREDIR
    ClientGetredir,
    /// CLIENT TRACKINGINFO
    ClientTrackinginfo,
    /// CLIENT PAUSE
    ClientPause,
    /// CLIENT UNPAUSE
    ClientUnpause,
    /// SCRIPT LOAD
    ScriptLoad,
    /// SCRIPT EXISTS
    ScriptExists,
    /// SCRIPT FLUSH
    ScriptFlush,
    /// SCRIPT KILL
    ScriptKill,
    /// SCRIPT DEBUG
    ScriptDebug,
    /// FUNCTION LIST
    FunctionList,
    /// FUNCTION DUMP
    FunctionDump,
    /// FUNCTION STATS
    FunctionStats,
    /// FUNCTION KILL
    FunctionKill,
}

/// What most of these rows have in common: allowed at any time, not in scripts, touching no key.
const BASE: Command = Command {
    name: "",
    arity: 0,
    flags: ANY_TIME,
    keys: &[],
    acl: 0,
    group: Group::Connection,
    since: "",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    tips: &[],
    route: Route::Here,
    run: Run::Container,
    subcommands: &[],
};
const ANY_TIME: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;
const ADMIN: u32 = ANY_TIME | flag::ADMIN;
const GREETING: u32 = ANY_TIME | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY;

const CONNECTION: Command = Command {
    acl: acl::CONNECTION,
    ..BASE
};
const SERVER: Command = Command {
    flags: ADMIN,
    group: Group::Server,
    ..BASE
};
const TRANSACTION: Command = Command {
    flags: ANY_TIME | flag::FAST | flag::ALLOW_BUSY,
    acl: acl::TRANSACTION,
    group: Group::Transactions,
    ..BASE
};
const CONTAINER: Command = Command {
    arity: -2,
    flags: 0,
    complexity: "That of the subcommand.",
    syntax: "subcommand [arg [arg ...]]",
    ..BASE
};
const HELP: Command = Command {
    arity: 2,
    flags: flag::LOADING | flag::STALE,
    group: Group::Server,
    summary: "Lists the subcommands.",
    run: Run::Data(help),
    ..BASE
};

const fn session(cmd: SessionCmd) -> Run {
    Run::Session(cmd)
}

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "auth",
        arity: -2,
        flags: GREETING,
        since: "1.0.0",
        summary: "Proves who is at the other end.",
        syntax: "[username] password",
        run: session(SessionCmd::Auth),
        ..CONNECTION
    },
    Command {
        name: "hello",
        arity: -1,
        flags: GREETING,
        since: "6.0.0",
        summary: "Agrees on a protocol version, and may authenticate and name the connection as well.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        run: session(SessionCmd::Hello),
        ..CONNECTION
    },
    Command {
        name: "select",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        since: "1.0.0",
        summary: "Chooses the database of this connection.",
        syntax: "index",
        run: session(SessionCmd::Select),
        ..CONNECTION
    },
    Command {
        name: "quit",
        arity: -1,
        flags: GREETING,
        since: "1.0.0",
        summary: "Closes the connection once everything before has been answered.",
        run: session(SessionCmd::Quit),
        ..CONNECTION
    },
    Command {
        name: "reset",
        arity: 1,
        flags: GREETING,
        since: "6.2.0",
        summary: "Puts the connection back into the state it was accepted in.",
        run: session(SessionCmd::Reset),
        ..CONNECTION
    },
    Command {
        name: "client",
        since: "2.4.0",
        summary: "Commands about client connections.",
        subcommands: CLIENT,
        ..CONTAINER
    },
    Command {
        name: "config",
        group: Group::Server,
        since: "2.0.0",
        summary: "Commands about the server's settings.",
        subcommands: CONFIG,
        ..CONTAINER
    },
    Command {
        name: "info",
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        arity: -1,
        flags: flag::LOADING | flag::STALE,
        acl: acl::DANGEROUS,
        since: "1.0.0",
        summary: "Reports figures and facts about the server.",
        syntax: "[section [section ...]]",
        run: session(SessionCmd::Info),
        ..SERVER
    },
    Command {
        name: "multi",
        arity: 1,
        since: "1.2.0",
        summary: "Opens a transaction: the commands that follow are queued.",
        run: session(SessionCmd::Multi),
        ..TRANSACTION
    },
    Command {
        name: "exec",
        arity: 1,
        flags: ANY_TIME | flag::SKIP_SLOWLOG,
        since: "1.2.0",
        complexity: "That of the queued commands.",
        summary: "Runs the queued commands as one, unless a watched key has changed.",
        run: session(SessionCmd::Exec),
        ..TRANSACTION
    },
    Command {
        name: "discard",
        arity: 1,
        since: "2.0.0",
        complexity: "O(N), N being the number of queued commands",
        summary: "Drops the queued commands and the watches.",
        run: session(SessionCmd::Discard),
        ..TRANSACTION
    },
    Command {
        name: "watch",
        arity: -2,
        keys: &[KeySpec::rest(1, 1, key::RO)],
        since: "2.2.0",
        complexity: "O(1) a key",
        summary: "Makes the next EXEC depend on keys staying as they are.",
        syntax: "key [key ...]",
        route: Route::Keys,
        run: session(SessionCmd::Watch),
        ..TRANSACTION
    },
    Command {
        name: "unwatch",
        arity: 1,
        since: "2.2.0",
        summary: "Drops all watches of this connection.",
        run: session(SessionCmd::Unwatch),
        ..TRANSACTION
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: ADMIN | flag::NO_MULTI | flag::ALLOW_BUSY,
        since: "1.0.0",
        summary: "Seals the log and ends the server.",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        run: session(SessionCmd::Shutdown),
        ..SERVER
    },
    Command {
        name: "debug",
        arity: -2,
        since: "1.0.0",
        complexity: "That of the subcommand.",
        summary: "Tools for those who test the server.",
        syntax: "subcommand [arg [arg ...]]",
        run: session(SessionCmd::Debug),
        ..SERVER
    },
    Command {
        name: "slowlog",
        group: Group::Server,
        since: "2.2.12",
        summary: "Commands about the log of slow commands.",
        subcommands: SLOWLOG,
        ..CONTAINER
    },
    Command {
        name: "latency",
        group: Group::Server,
        since: "2.8.13",
        summary: "Commands about how long commands take.",
        subcommands: LATENCY,
        ..CONTAINER
    },
    Command {
        name: "encryption",
        group: Group::Server,
        since: "0.1.0",
        summary: "Commands about the encryption of what is stored.",
        subcommands: ENCRYPTION,
        ..CONTAINER
    },
    Command {
        name: "lastsave",
        tips: &["nondeterministic_output"],
        arity: 1,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        acl: acl::ADMIN | acl::DANGEROUS,
        since: "1.0.0",
        summary: "Tells when the data was last saved as a whole, in Unix seconds.",
        run: session(SessionCmd::Lastsave),
        ..SERVER
    },
    Command {
        name: "save",
        arity: 1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING | flag::NO_MULTI,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys in all databases",
        summary: "Saves the data as a whole and waits for it.",
        run: session(SessionCmd::Save),
        ..SERVER
    },
    Command {
        name: "bgsave",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
        since: "1.0.0",
        summary: "Saves the data as a whole in the background.",
        syntax: "[SCHEDULE]",
        run: session(SessionCmd::Bgsave),
        ..SERVER
    },
    Command {
        name: "bgrewriteaof",
        arity: 1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::NO_ASYNC_LOADING,
        since: "1.0.0",
        summary: "Shortens the log in the background.",
        run: session(SessionCmd::Bgrewriteaof),
        ..SERVER
    },
    Command {
        name: "memory",
        group: Group::Server,
        since: "4.0.0",
        summary: "Commands about the use of memory.",
        subcommands: MEMORY,
        ..CONTAINER
    },
    Command {
        name: "acl",
        group: Group::Server,
        since: "6.0.0",
        summary: "Commands about users and what they may do.",
        subcommands: ACL,
        ..CONTAINER
    },
    Command {
        name: "role",
        arity: 1,
        flags: ANY_TIME | flag::FAST,
        acl: acl::ADMIN | acl::DANGEROUS,
        since: "2.8.12",
        summary: "Tells the server's part in replication.",
        run: session(SessionCmd::Role),
        ..SERVER
    },
    Command {
        name: "wait",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        arity: 3,
        flags: flag::NOSCRIPT,
        acl: acl::CONNECTION,
        group: Group::Generic,
        since: "3.0.0",
        summary: "Waits until replicas have acknowledged this connection's writes.",
        syntax: "numreplicas timeout",
        run: session(SessionCmd::Wait),
        ..BASE
    },
    Command {
        name: "waitaof",
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        arity: 4,
        flags: flag::NOSCRIPT | flag::BLOCKING,
        acl: acl::CONNECTION,
        group: Group::Generic,
        since: "7.2.0",
        summary: "Waits until the writes before it would outlive a power failure, here and on replicas.",
        syntax: "numlocal numreplicas timeout",
        run: session(SessionCmd::Waitaof),
        ..BASE
    },
    Command {
        name: "monitor",
        arity: 1,
        since: "1.0.0",
        summary: "Streams every command the server carries out.",
        run: session(SessionCmd::Monitor),
        ..SERVER
    },
];
