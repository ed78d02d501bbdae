//! SUBSCRIBE, UNSUBSCRIBE and their company, PUBSUB, and what else a client may send that listens.
//!
//! Source: the Redis command pages of each. In RESP2 a client that listens may send nothing but what changes that,
//! because it could not tell replies from messages.

use std::collections::BTreeMap;

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question};
use super::super::tick::Flow;
use super::hub::Subscriptions;
use crate::command::{Command, Error, Run, SessionCmd, Topic, flag};
use crate::resp::{Proto, Reply};

/// The verb of a topic.
fn verb(topic: Topic, subscribe: bool) -> &'static str {
    match (topic, subscribe) {
        (Topic::Channel, true) => "subscribe",
        (Topic::Pattern, true) => "psubscribe",
        (Topic::Shard, true) => "ssubscribe",
        (Topic::Channel, false) => "unsubscribe",
        (Topic::Pattern, false) => "punsubscribe",
        (Topic::Shard, false) => "sunsubscribe",
    }
}

fn confirm(reply: &mut Reply<'_>, verb: &str, name: Option<&[u8]>, told: usize) {
    reply.push(3);
    reply.bulk(verb);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(told as i64);
}

/// Whether a client that listens may send this in RESP2.
fn allowed(row: &Command) -> bool {
    use SessionCmd::{Quit, Reset, Subscribe, Unsubscribe};
    matches!(
        row.run,
        Run::Session(Subscribe(_) | Unsubscribe(_) | Quit | Reset)
    ) || row.name == "ping"
}

impl Worker {
    /// What becomes of a command of a client that listens or watches others, if not the usual.
    #[cold]
    pub(in crate::worker) fn to_listener(
        &mut self,
        client: &mut Client,
        row: &'static Command,
        argv: &[&[u8]],
    ) -> Option<Flow> {
        if client.monitors && (row.has(flag::WRITE) || row.has(flag::READONLY)) {
            let e = Error::Text("ERR Replica can't interact with the keyspace");
            self.refuse(client, e);
            return Some(Flow::Next);
        }
        if client.subs.is_none() || client.proto == Proto::Resp3 {
            return None;
        }
        if !allowed(row) {
            self.refuse(
                client,
                Error::message(format!(
                    "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
                     allowed in this context",
                    row.name
                )),
            );
            return Some(Flow::Next);
        }
        if row.name == "ping" && argv.len() <= 2 && client.multi.is_none() {
            client.last = Some(row);
            let mut reply = self.reply(client);
            reply.array(2);
            reply.bulk("pong");
            reply.bulk(argv.get(1).unwrap_or(&&b""[..]));
            return Some(Flow::Next);
        }
        None
    }

    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE.
    pub(in crate::worker) fn subscribe(
        &mut self,
        client: &mut Client,
        topic: Topic,
        argv: &[&[u8]],
    ) {
        let index = client.conn.index();
        let mut subs = client.subs.take().unwrap_or_default();
        for name in &argv[1..] {
            self.pubsub
                .audience
                .hub
                .subscribe(index, &mut subs, topic, name);
            let told = subs.told(topic);
            confirm(
                &mut self.reply(client),
                verb(topic, true),
                Some(name),
                told,
            );
        }
        client.subs = Some(subs);
        self.audience_changed();
    }

    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE.
    pub(in crate::worker) fn unsubscribe(
        &mut self,
        client: &mut Client,
        topic: Topic,
        argv: &[&[u8]],
    ) {
        let index = client.conn.index();
        let mut subs = client.subs.take().unwrap_or_default();
        let all;
        let names: Vec<&[u8]> = match argv {
            [_] => {
                all = subs.names(topic);
                all.iter().map(|name| &**name).collect()
            }
            [_, names @ ..] => names.to_vec(),
            [] => Vec::new(),
        };
        let verb = verb(topic, false);
        if names.is_empty() {
            confirm(&mut self.reply(client), verb, None, subs.told(topic));
        }
        for name in names {
            self.pubsub
                .audience
                .hub
                .unsubscribe(index, &mut subs, topic, name);
            let told = subs.told(topic);
            confirm(&mut self.reply(client), verb, Some(name), told);
        }
        client.subs = Some(subs).filter(|subs| !subs.is_empty());
        self.audience_changed();
    }

    /// Sends a client nothing more that it does not ask for.
    pub(in crate::worker) fn leave_audience(&mut self, client: &mut Client) {
        let index = client.conn.index();
        let subs: Option<Box<Subscriptions>> = client.subs.take();
        if let Some(subs) = subs {
            self.pubsub.audience.hub.leave(index, *subs);
        }
        self.stop_monitoring(client);
        self.stop_tracking(client);
        self.audience_changed();
    }

    /// Tells the other cores whether anybody listens here.
    pub(super) fn audience_changed(&self) {
        let audience = &self.pubsub.audience;
        let here =
            audience.hub.count() + audience.monitors.len() as u64 + audience.trackers.len() as u64;
        self.shared.set_audience(self.core, here);
    }

    /// PUBSUB CHANNELS, PUBSUB SHARDCHANNELS.
    pub(in crate::worker) fn pubsub_channels(
        &mut self,
        client: &mut Client,
        index: u32,
        topic: Topic,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let pattern = match argv {
            [_, _] => None,
            [_, _, pattern] => Some(pattern.to_vec()),
            _ => return Err(Error::subcommand_syntax(argv)),
        };
        let question = Question::Channels { topic, pattern };
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let names = union(answers);
            let mut reply = worker.reply(client);
            reply.array(names.len());
            for name in names.keys() {
                reply.bulk(name);
            }
        };
        Ok(self.ask(client, index, question, Box::new(then)))
    }

    /// PUBSUB NUMPAT.
    pub(in crate::worker) fn pubsub_numpat(&mut self, client: &mut Client, index: u32) -> Flow {
        let question = Question::Channels {
            topic: Topic::Pattern,
            pattern: None,
        };
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            if let Some(client) = client {
                worker.reply(client).int(union(answers).len() as i64);
            }
        };
        self.ask(client, index, question, Box::new(then))
    }

    /// PUBSUB NUMSUB, PUBSUB SHARDNUMSUB.
    pub(in crate::worker) fn pubsub_numsub(
        &mut self,
        client: &mut Client,
        index: u32,
        topic: Topic,
        argv: &[&[u8]],
    ) -> Flow {
        let names: Vec<Vec<u8>> = argv[2..].iter().map(|name| name.to_vec()).collect();
        let question = Question::Listeners {
            topic,
            names: names.clone(),
        };
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let mut sums = vec![0; names.len()];
            for answer in answers {
                if let Answer::Listeners(counts) = answer {
                    for (sum, n) in sums.iter_mut().zip(counts) {
                        *sum += n as i64;
                    }
                }
            }
            let mut reply = worker.reply(client);
            reply.array(2 * names.len());
            for (name, sum) in names.iter().zip(sums) {
                reply.bulk(name);
                reply.int(sum);
            }
        };
        self.ask(client, index, question, Box::new(then))
    }

    /// The names of a topic that this core's clients listen to.
    pub(in crate::worker) fn channels_here(&self, topic: Topic, pattern: Option<&[u8]>) -> Answer {
        Answer::Channels(self.pubsub.audience.hub.names(topic, pattern))
    }

    /// How many of this core's clients listen to each of the names.
    pub(in crate::worker) fn listeners_here(&self, topic: Topic, names: &[Vec<u8>]) -> Answer {
        let hub = &self.pubsub.audience.hub;
        let count = |name: &Vec<u8>| hub.listeners(topic, name).map_or(0, |all| all.len() as u64);
        Answer::Listeners(names.iter().map(count).collect())
    }
}

/// The names that any core told.
fn union(answers: Vec<Answer>) -> BTreeMap<Vec<u8>, ()> {
    let names = answers.into_iter().filter_map(|answer| match answer {
        Answer::Channels(names) => Some(names),
        _ => None,
    });
    names.flatten().map(|name| (name, ())).collect()
}
