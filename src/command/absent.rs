//! Commands about what this server is not part of: clusters, replicas, modules. REPLICAOF stands here beside its kin.
//!
//! Promise: each answers as a Redis does that has the feature switched off, so that a client that asks finds out, and none
//! pretends. What would switch one on is refused.

use super::help::help;
use super::row::{Command, ON_KEY, Route, Run, acl, flag};
use super::{Ctx, Error, Group, SessionCmd};

const ABSENT: Command = Command {
    arity: 1,
    group: Group::Server,
    syntax: "",
    route: Route::Here,
    ..ON_KEY
};
const NO_CLUSTER: Command = Command {
    group: Group::Cluster,
    run: Run::Data(no_cluster),
    ..ABSENT
};
const OF_CLIENT: Command = Command {
    acl: acl::CONNECTION,
    since: "3.0.0",
    ..NO_CLUSTER
};
const CONTAINER: Command = Command {
    arity: -2,
    complexity: "That of the subcommand.",
    syntax: "subcommand [arg [arg ...]]",
    ..ABSENT
};
const REPLICATION: Command = Command {
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NOSCRIPT | flag::STALE,
    run: Run::Data(no_replication),
    ..ABSENT
};
const MODULE_COMMAND: Command = Command {
    flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NOSCRIPT,
    since: "4.0.0",
    run: Run::Data(no_modules),
    ..ABSENT
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "cluster",
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Commands about a cluster, which this server is not part of.",
        subcommands: CLUSTER,
        ..CONTAINER
    },
    Command {
        name: "asking",
        flags: flag::FAST,
        summary: "Says that the next command follows a redirection.",
        ..OF_CLIENT
    },
    Command {
        name: "readonly",
        flags: flag::FAST | flag::LOADING | flag::STALE,
        summary: "Says that this connection reads from a replica.",
        ..OF_CLIENT
    },
    Command {
        name: "readwrite",
        flags: flag::FAST | flag::LOADING | flag::STALE,
        summary: "Takes READONLY back.",
        ..OF_CLIENT
    },
    Command {
        name: "replicaof",
        arity: 3,
        since: "5.0.0",
        summary: "Makes this server the replica of another, or of none.",
        syntax: "<host port | NO ONE>",
        run: Run::Session(SessionCmd::Replicaof),
        ..REPLICATION
    },
    Command {
        name: "slaveof",
        arity: 3,
        since: "1.0.0",
        summary: "Makes this server the replica of another, or of none.",
        syntax: "<host port | NO ONE>",
        run: Run::Session(SessionCmd::Replicaof),
        ..REPLICATION
    },
    Command {
        name: "failover",
        arity: -1,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
        since: "6.2.0",
        summary: "Has a replica take this server's place.",
        syntax: "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        run: Run::Data(failover),
        ..ABSENT
    },
    Command {
        name: "sync",
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NO_MULTI | flag::NOSCRIPT,
        since: "1.0.0",
        summary: "What replicas began with once.",
        ..REPLICATION
    },
    Command {
        name: "psync",
        arity: -3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::NO_MULTI | flag::NOSCRIPT,
        since: "2.8.0",
        summary: "What replicas begin with.",
        syntax: "replicationid offset",
        ..REPLICATION
    },
    Command {
        name: "replconf",
        arity: -1,
        flags: flag::ADMIN | flag::ALLOW_BUSY | flag::LOADING | flag::NOSCRIPT | flag::STALE,
        since: "3.0.0",
        summary: "What replicas tell of themselves.",
        ..REPLICATION
    },
    Command {
        name: "module",
        since: "4.0.0",
        summary: "Commands about modules, of which there are none.",
        subcommands: MODULE,
        ..CONTAINER
    },
];

const CLUSTER: &[Command] = &[
    Command {
        name: "cluster|addslots",
        arity: -3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Gives this node slots.",
        syntax: "slot [slot ...]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|addslotsrange",
        arity: -4,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "7.0.0",
        summary: "Gives this node ranges of slots.",
        syntax: "start-slot end-slot [start-slot end-slot ...]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|bumpepoch",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Moves the epoch of the configuration on.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|count-failure-reports",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: flag::ADMIN | flag::STALE,
        since: "3.0.0",
        summary: "Tells how many nodes hold a node for failed.",
        syntax: "node-id",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|countkeysinslot",
        arity: 3,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells how many keys a slot has.",
        syntax: "slot",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|delslots",
        arity: -3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Takes slots from this node.",
        syntax: "slot [slot ...]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|delslotsrange",
        arity: -4,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "7.0.0",
        summary: "Takes ranges of slots from this node.",
        syntax: "start-slot end-slot [start-slot end-slot ...]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|failover",
        arity: -2,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Has a replica take its master's place.",
        syntax: "[FORCE | TAKEOVER]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|flushslots",
        arity: 2,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Takes all slots from this node.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|forget",
        arity: 3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Forgets a node.",
        syntax: "node-id",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|getkeysinslot",
        tips: &["nondeterministic_output"],
        arity: 4,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Names keys of a slot.",
        syntax: "slot count",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|info",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells the state of the cluster.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|keyslot",
        arity: 3,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells the slot of a key.",
        syntax: "key",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|links",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::STALE,
        since: "7.0.0",
        summary: "Tells the connections to other nodes.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|meet",
        arity: -4,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Brings a node into the cluster.",
        syntax: "ip port [cluster-bus-port]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|myid",
        arity: 2,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells the id of this node.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|myshardid",
        arity: 2,
        flags: flag::STALE,
        since: "7.2.0",
        summary: "Tells the id of the shard this node is of.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|nodes",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells all nodes.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|replicas",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: flag::ADMIN | flag::STALE,
        since: "5.0.0",
        summary: "Tells the replicas of a master.",
        syntax: "node-id",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|replicate",
        arity: 3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Makes this node a replica.",
        syntax: "node-id",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|reset",
        arity: -2,
        flags: flag::ADMIN | flag::NOSCRIPT | flag::STALE,
        since: "3.0.0",
        summary: "Makes this node a new one.",
        syntax: "[HARD | SOFT]",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|saveconfig",
        arity: 2,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Writes the configuration of the cluster to disk.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|set-config-epoch",
        arity: 3,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Sets the epoch of a new node.",
        syntax: "config-epoch",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|setslot",
        arity: -4,
        flags: flag::ADMIN | flag::NO_ASYNC_LOADING | flag::STALE,
        since: "3.0.0",
        summary: "Assigns a slot.",
        syntax: "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|shards",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::STALE,
        since: "7.0.0",
        summary: "Tells slots and nodes, by shard.",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|slaves",
        tips: &["nondeterministic_output"],
        arity: 3,
        flags: flag::ADMIN | flag::STALE,
        since: "3.0.0",
        summary: "Tells the replicas of a master.",
        syntax: "node-id",
        ..NO_CLUSTER
    },
    Command {
        name: "cluster|slots",
        tips: &["nondeterministic_output"],
        arity: 2,
        flags: flag::STALE,
        since: "3.0.0",
        summary: "Tells slots and nodes, by slot.",
        ..NO_CLUSTER
    },
];

const MODULE: &[Command] = &[
    Command {
        name: "module|list",
        tips: &["nondeterministic_output_order"],
        arity: 2,
        flags: flag::ADMIN | flag::NOSCRIPT,
        summary: "Names the modules, of which there are none.",
        run: Run::Data(|ctx, _| {
            ctx.reply.array(0);
            Ok(())
        }),
        ..MODULE_COMMAND
    },
    Command {
        name: "module|load",
        arity: -3,
        summary: "Loads a module, which is never allowed.",
        syntax: "path [arg [arg ...]]",
        ..MODULE_COMMAND
    },
    Command {
        name: "module|loadex",
        arity: -3,
        since: "7.0.0",
        summary: "Loads a module with settings, which is never allowed.",
        syntax: "path [CONFIG name value [CONFIG name value ...]] [ARGS arg [arg ...]]",
        ..MODULE_COMMAND
    },
    Command {
        name: "module|unload",
        arity: 3,
        summary: "Unloads a module, which is never allowed.",
        syntax: "name",
        ..MODULE_COMMAND
    },
    Command {
        name: "module|help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Data(help),
        ..MODULE_COMMAND
    },
];

fn no_cluster(_: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    Err(Error::Text(
        "ERR This instance has cluster support disabled",
    ))
}

fn no_modules(_: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    Err(Error::Text(
        "ERR MODULE command not allowed. This server has no modules, and no option lets it have any.",
    ))
}

fn no_replication(_: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    Err(Error::Text(
        "ERR This server has no replicas: to be followed is not available in this version",
    ))
}

fn failover(_: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    if let [_, only] = args
        && is(only, "abort")
    {
        return Err(Error::Text("ERR No failover in progress."));
    }
    let mut rest = &args[1..];
    while let [option, more @ ..] = rest {
        rest = match more {
            [_, _, more @ ..] if is(option, "to") => more,
            [_, more @ ..] if is(option, "timeout") => more,
            _ if is(option, "force") => more,
            _ => return Err(Error::Syntax),
        };
    }
    Err(Error::Text("ERR FAILOVER requires connected replicas."))
}
