//! The rows of publish and subscribe.
//!
//! None of them touches a key: who listens to what is known to the cores that own the connections, so the session
//! carries all of them out.

use super::help::help;
use super::row::{Command, Group, KeySpec, Route, Run, flag, key};
use super::session::SessionCmd;

/// What is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A channel, by its name.
    Channel,
    /// All channels whose names match a pattern.
    Pattern,
    /// A sharded channel, which belongs to the slot of its name.
    Shard,
}

const ALLOWED: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;
const LISTEN: Command = Command {
    name: "",
    arity: -2,
    flags: ALLOWED | flag::NOSCRIPT,
    keys: &[],
    acl: 0,
    group: Group::PubSub,
    since: "2.0.0",
    complexity: "O(N), N being the number of channels",
    summary: "",
    syntax: "",
    tips: &[],
    route: Route::Here,
    run: Run::Container,
    subcommands: &[],
};
const ASK: Command = Command {
    flags: ALLOWED,
    since: "2.8.0",
    ..LISTEN
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "subscribe",
        summary: "Listens to channels.",
        syntax: "channel [channel ...]",
        run: Run::Session(SessionCmd::Subscribe(Topic::Channel)),
        ..LISTEN
    },
    Command {
        name: "unsubscribe",
        arity: -1,
        summary: "Stops listening to channels, or to all of them.",
        syntax: "[channel [channel ...]]",
        run: Run::Session(SessionCmd::Unsubscribe(Topic::Channel)),
        ..LISTEN
    },
    Command {
        name: "psubscribe",
        complexity: "O(N), N being the number of patterns",
        summary: "Listens to the channels whose names match patterns.",
        syntax: "pattern [pattern ...]",
        run: Run::Session(SessionCmd::Subscribe(Topic::Pattern)),
        ..LISTEN
    },
    Command {
        name: "punsubscribe",
        arity: -1,
        complexity: "O(N), N being the number of patterns",
        summary: "Stops listening to patterns, or to all of them.",
        syntax: "[pattern [pattern ...]]",
        run: Run::Session(SessionCmd::Unsubscribe(Topic::Pattern)),
        ..LISTEN
    },
    Command {
        name: "ssubscribe",
        keys: &[KeySpec::rest(1, 1, key::NOT_KEY)],
        since: "7.0.0",
        summary: "Listens to sharded channels.",
        syntax: "shardchannel [shardchannel ...]",
        run: Run::Session(SessionCmd::Subscribe(Topic::Shard)),
        ..LISTEN
    },
    Command {
        name: "sunsubscribe",
        keys: &[KeySpec::rest(1, 1, key::NOT_KEY)],
        arity: -1,
        since: "7.0.0",
        summary: "Stops listening to sharded channels, or to all of them.",
        syntax: "[shardchannel [shardchannel ...]]",
        run: Run::Session(SessionCmd::Unsubscribe(Topic::Shard)),
        ..LISTEN
    },
    Command {
        name: "publish",
        arity: 3,
        flags: ALLOWED | flag::FAST,
        complexity: "O(N+M), N being the number of listeners to the channel, M that of all patterns",
        summary: "Sends a message to a channel, and tells how many heard it.",
        syntax: "channel message",
        run: Run::Session(SessionCmd::Publish(Topic::Channel)),
        ..LISTEN
    },
    Command {
        name: "spublish",
        keys: &[KeySpec::one(1, key::NOT_KEY)],
        arity: 3,
        flags: ALLOWED | flag::FAST,
        since: "7.0.0",
        complexity: "O(N), N being the number of listeners to the channel",
        summary: "Sends a message to a sharded channel, and tells how many heard it.",
        syntax: "shardchannel message",
        run: Run::Session(SessionCmd::Publish(Topic::Shard)),
        ..LISTEN
    },
    Command {
        name: "pubsub",
        flags: 0,
        since: "2.8.0",
        complexity: "That of the subcommand.",
        summary: "Commands about who listens to what.",
        syntax: "subcommand [arg [arg ...]]",
        subcommands: PUBSUB,
        ..LISTEN
    },
];

const PUBSUB: &[Command] = &[
    Command {
        name: "pubsub|channels",
        complexity: "O(N), N being the number of channels",
        summary: "Lists the channels that are listened to.",
        syntax: "[pattern]",
        run: Run::Session(SessionCmd::PubsubChannels(Topic::Channel)),
        ..ASK
    },
    Command {
        name: "pubsub|numsub",
        summary: "Tells how many listen to each of the channels.",
        syntax: "[channel [channel ...]]",
        run: Run::Session(SessionCmd::PubsubNumsub(Topic::Channel)),
        ..ASK
    },
    Command {
        name: "pubsub|numpat",
        arity: 2,
        complexity: "O(N), N being the number of patterns",
        summary: "Tells how many patterns are listened to.",
        run: Run::Session(SessionCmd::PubsubNumpat),
        ..ASK
    },
    Command {
        name: "pubsub|shardchannels",
        since: "7.0.0",
        complexity: "O(N), N being the number of sharded channels",
        summary: "Lists the sharded channels that are listened to.",
        syntax: "[pattern]",
        run: Run::Session(SessionCmd::PubsubChannels(Topic::Shard)),
        ..ASK
    },
    Command {
        name: "pubsub|shardnumsub",
        since: "7.0.0",
        summary: "Tells how many listen to each of the sharded channels.",
        syntax: "[shardchannel [shardchannel ...]]",
        run: Run::Session(SessionCmd::PubsubNumsub(Topic::Shard)),
        ..ASK
    },
    Command {
        name: "pubsub|help",
        arity: 2,
        flags: flag::LOADING | flag::STALE,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Lists the subcommands.",
        run: Run::Data(help),
        ..LISTEN
    },
];
