//! Commands about the server as a whole.
//!
//! Most concern every core: the core that got the command asks all of them (see
//! [`super::gather`]), and the client waits until all have answered. Each family has a file.

mod acl;
mod clients;
mod config;
mod debug;
mod encryption;
mod events;
mod figures;
mod following;
mod functions;
mod info;
mod latency;
mod memory;
mod process;
mod scripts;
mod slowlog;
mod waitaof;

use std::sync::Arc;

use super::Worker;
use super::client::{Client, ReplyMode, Waiting};
use super::gather::{Answer, Asker, Question, Report};
use super::machine::{self, Whose};
use super::message::Message;
use super::slab::Id;
use super::tick::Flow;
use crate::command::{Command, Error, SessionCmd, Topic};

/// A question on its way round the cores.
pub struct Gather {
    client: Option<Id>,
    /// Whether the client has turned replies off.
    silent: bool,
    waiting: usize,
    answers: Vec<Answer>,
    then: Then,
    /// The number of the command that asks, and what is to be kept of it in the slow log once it has its reply.
    command: Option<(u16, Option<Slowly>)>,
}

/// How many nanoseconds a command took, and its arguments, without what is secret.
type Slowly = (u64, Vec<Vec<u8>>);

/// What is made of the answers, written to the client that asked.
pub type Then = Box<dyn FnOnce(&mut Worker, Option<&mut Client>, Vec<Answer>)>;

impl Worker {
    /// Carries out a command about the server.
    pub(super) fn administer(
        &mut self,
        client: &mut Client,
        index: u32,
        session: SessionCmd,
        row: &'static Command,
        _number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        let result = match session {
            SessionCmd::ClientInfo => Ok(self.client_info(client, row)),
            SessionCmd::ClientList => self.client_list(client, index, argv),
            SessionCmd::ClientKill => self.client_kill(client, index, argv),
            SessionCmd::ClientUnblock => self.client_unblock(client, index, argv),
            SessionCmd::ClientTracking => self.client_tracking(client, index, argv),
            SessionCmd::ClientPause => self.client_pause(client, argv),
            SessionCmd::ClientUnpause => Ok(self.client_unpause(client)),
            SessionCmd::PubsubChannels(topic) => self.pubsub_channels(client, index, topic, argv),
            SessionCmd::PubsubNumsub(topic) => Ok(self.pubsub_numsub(client, index, topic, argv)),
            SessionCmd::PubsubNumpat => Ok(self.pubsub_numpat(client, index)),
            SessionCmd::ConfigGet => Ok(self.config_get(client, argv)),
            SessionCmd::ConfigSet => self.config_set(client, index, argv),
            SessionCmd::ConfigResetstat => Ok(self.config_resetstat(client, index)),
            SessionCmd::ConfigRewrite => Ok(self.config_rewrite(client, index)),
            SessionCmd::Info => Ok(self.info(client, index, argv)),
            SessionCmd::EncryptionStatus => Ok(self.encryption_status(client, index)),
            SessionCmd::SlowlogGet => self.slowlog_get(client, index, argv),
            SessionCmd::SlowlogLen => Ok(self.slowlog_len(client, index)),
            SessionCmd::SlowlogReset => Ok(self.slowlog_reset(client, index)),
            SessionCmd::LatencyHistogram => Ok(self.latency_histogram(client, index, argv)),
            SessionCmd::LatencyLatest
            | SessionCmd::LatencyHistory
            | SessionCmd::LatencyReset
            | SessionCmd::LatencyGraph
            | SessionCmd::LatencyDoctor => Ok(self.latency_events(client, index, session, argv)),
            SessionCmd::MemoryMallocStats => Ok(self.memory_malloc_stats(client)),
            SessionCmd::MemoryDoctor => Ok(self.memory_doctor(client)),
            SessionCmd::MemoryPurge => Ok(self.memory_purge(client, index)),
            SessionCmd::MemoryStats => Ok(self.memory_stats(client, index)),
            SessionCmd::AclWhoami
            | SessionCmd::AclSetuser
            | SessionCmd::AclDeluser
            | SessionCmd::AclGetuser
            | SessionCmd::AclList
            | SessionCmd::AclUsers
            | SessionCmd::AclLog
            | SessionCmd::AclDryrun
            | SessionCmd::AclGenpass
            | SessionCmd::AclSave
            | SessionCmd::AclLoad => self.acl(client, index, session, argv),
            SessionCmd::ScriptLoad
            | SessionCmd::ScriptExists
            | SessionCmd::ScriptFlush
            | SessionCmd::ScriptKill
            | SessionCmd::ScriptDebug => self.script_admin(client, session, argv),
            SessionCmd::FunctionList
            | SessionCmd::FunctionDump
            | SessionCmd::FunctionStats
            | SessionCmd::FunctionKill => self.function_admin(client, session, argv),
            SessionCmd::Debug => self.debug(client, index, argv),
            SessionCmd::Shutdown => self.shutdown(client, index, argv),
            SessionCmd::Lastsave
            | SessionCmd::Save
            | SessionCmd::Bgsave
            | SessionCmd::Bgrewriteaof => self.process(client, index, session, argv),
            SessionCmd::Role => {
                self.role(client);
                Ok(Flow::Next)
            }
            SessionCmd::Wait => self.wait(client, index, argv),
            SessionCmd::Waitaof => self.waitaof(client, index, argv),
            SessionCmd::Migrate => self.migrate(client, index, argv),
            SessionCmd::Replicaof => self.replicaof(client, index, argv),
            _ => Err(Error::message(format!(
                "ERR '{}' is not available in this version",
                row.name.replace('|', " ")
            ))),
        };
        result.unwrap_or_else(|e| {
            self.refuse(client, e);
            Flow::Next
        })
    }

    /// Opens a gather for a client and lets the client wait for it.
    pub(super) fn open_gather(
        &mut self,
        client: &mut Client,
        index: u32,
        waiting: usize,
        then: Then,
    ) -> u64 {
        self.next_gather += 1;
        let number = self.next_gather;
        client.waiting = Waiting::Gather(number);
        let gather = Gather {
            client: Some(client.at(index)),
            silent: client.reply != ReplyMode::On,
            waiting,
            answers: Vec::new(),
            then,
            command: None,
        };
        self.gathers.insert(number, gather);
        number
    }

    /// A command waits for the cores: it has failed, and stands in the slow log, when it has its reply.
    pub(super) fn note_asking(&mut self, gather: u64, number: u16, slow: Option<Slowly>) {
        if let Some(gather) = self.gathers.get_mut(&gather) {
            gather.command = Some((number, slow));
        }
    }

    /// Asks all cores, this one included, and lets the client wait for the answers.
    pub(super) fn ask(
        &mut self,
        client: &mut Client,
        index: u32,
        question: Question,
        then: Then,
    ) -> Flow {
        let cores = self.mesh.cores();
        let gather = self.open_gather(client, index, cores, then);
        self.put_to_all(gather, question);
        Flow::Wait
    }

    /// Asks all cores, and nobody's next command waits for the answers.
    fn ask_aside(&mut self, question: Question, then: Then) {
        self.next_gather += 1;
        let number = self.next_gather;
        let gather = Gather {
            client: None,
            silent: false,
            waiting: self.mesh.cores(),
            answers: Vec::new(),
            then,
            command: None,
        };
        self.gathers.insert(number, gather);
        self.put_to_all(number, question);
    }

    fn put_to_all(&mut self, gather: u64, question: Question) {
        let question = Arc::new(question);
        // What was forwarded before must be executed before.
        self.send_forwarding();
        for core in 0..self.mesh.cores() {
            let message = Message::Ask {
                from: Asker::Core {
                    core: self.core,
                    gather,
                },
                question: question.clone(),
            };
            self.mesh.send(core, message);
        }
    }

    /// Has something done that blocks, on the executor's blocking thread, and lets the client wait
    /// for its end.
    fn errand(
        &mut self,
        client: &mut Client,
        index: u32,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Flow {
        let then: Then = Box::new(|worker, client, answers| {
            let Some(client) = client else { return };
            match answers.into_iter().next() {
                Some(Answer::Ended(Err(why))) => {
                    worker.refuse(client, Error::message(format!("ERR {why}")));
                }
                _ => worker.reply(client).ok(),
            }
        });
        let gather = self.open_gather(client, index, 1, then);
        let inbox = self.shared.inboxes[self.core].clone();
        let work = move || {
            inbox.push(Message::Answer {
                gather,
                answer: Box::new(Answer::Ended(work())),
            });
        };
        self.run_aside(work);
        Flow::Wait
    }

    /// Runs what blocks on the executor's blocking thread. It tells the core when it is done by a message.
    fn run_aside(&mut self, work: impl FnOnce() + Send + 'static) {
        glommio::spawn_local(async move { glommio::executor().spawn_blocking(work).await })
            .detach();
        // The executor has its turn at the end of this tick.
        self.last_yield = 0;
    }

    /// Answers a question.
    pub(super) fn answer(&mut self, from: Asker, question: &Question) {
        let answer = match question {
            Question::Report { latencies } => Answer::Report(Box::new(self.report(*latencies))),
            Question::Clients => Answer::Clients(self.describe_clients()),
            Question::Kill(filter) => Answer::Killed(self.kill_clients(filter)),
            Question::Configure => {
                self.configure();
                Answer::Done
            }
            Question::Users { removed, asker } => {
                self.take_users(removed, *asker);
                Answer::Done
            }
            Question::ResetStats => {
                self.stats.reset();
                if self.ks.has(self.core) {
                    self.ks.shard(self.core).reset_stats();
                }
                Answer::Done
            }
            Question::Slowlog(newest) => {
                Answer::Slowlog(self.stats.slowlog.iter().take(*newest).cloned().collect())
            }
            Question::ResetSlowlog => {
                self.stats.slowlog.clear();
                Answer::Done
            }
            Question::Object { db, key } => self.object(*db, key),
            Question::Unblock { client, error } => {
                // Whoever decides it answers.
                self.unblock(from, *client, *error);
                return;
            }
            Question::Channels { topic, pattern } => self.channels_here(*topic, pattern.as_deref()),
            Question::Listeners { topic, names } => self.listeners_here(*topic, names),
            Question::Events { reset } => Answer::Events(match reset {
                Some(names) => self.events.take(names),
                None => self.events.clone(),
            }),
            Question::Durable { wait } => {
                // Those who wait are answered when it is.
                if !self.is_durable() && *wait {
                    self.answer_when_durable(from);
                    return;
                }
                Answer::Known(self.log.is_durable())
            }
            Question::Known(id) => Answer::Known(self.client_numbers.contains_key(id)),
            Question::Keys { db, pattern } => {
                // It is answered when the list is whole.
                self.begin_list(from, *db, pattern);
                return;
            }
            Question::ActiveExpiry(on) => {
                self.active_expiry = *on;
                Answer::Done
            }
        };
        self.tell(from, answer);
    }

    /// Gives an answer to whoever asked.
    pub(super) fn tell(&mut self, from: Asker, answer: Answer) {
        match from {
            Asker::Core { core, gather } => {
                let answer = Box::new(answer);
                self.mesh.send(core, Message::Answer { gather, answer });
            }
            Asker::Outside(tell) => tell(answer),
        }
    }

    /// One answer more.
    pub(super) fn gathered(&mut self, number: u64, answer: Answer) {
        let Some(gather) = self.gathers.get_mut(&number) else {
            return;
        };
        gather.answers.push(answer);
        gather.waiting -= 1;
        if gather.waiting > 0 {
            return;
        }
        let Some(gather) = self.gathers.remove(&number) else {
            return;
        };
        let client = gather.client.filter(|id| self.clients.holds(*id));
        let mut taken = client.and_then(|id| self.clients.take(id.index));
        let mark = taken
            .as_deref_mut()
            .map_or(0, |client| client.conn.replies.writer().len());
        (gather.then)(self, taken.as_deref_mut(), gather.answers);
        if let (Some((number, slow)), Some(client)) = (gather.command, taken.as_deref_mut()) {
            if client.conn.replies.writer().get(mark) == Some(&b'-') {
                self.stats.failed(number);
            }
            if let Some((ns, argv)) = slow {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                self.note_slow(ns, &argv, Some(client));
            }
        }
        if let (true, Some(client)) = (gather.silent, taken.as_deref_mut()) {
            client.conn.replies.writer().truncate(mark);
        }
        if let (Some(id), Some(taken)) = (client, taken) {
            // What was made of the answers may have to wait for shards before the client goes on.
            let waits = match taken.waiting {
                Waiting::Tx(tx) => Some(tx),
                _ => None,
            };
            self.clients.put(id.index, taken);
            match waits {
                None => self.resume(id.index),
                Some(tx) if gather.silent => self.silence(tx),
                Some(_) => {}
            }
        }
    }

    /// Everything this core tells of itself.
    fn report(&mut self, latencies: bool) -> Report {
        self.note_changes();
        let clients = self.clients.len();
        let mut client_bytes = 0;
        let mut largest = (0, 0);
        let mut subscribers = 0;
        for (_, client) in self.clients.iter_mut() {
            subscribers += usize::from(client.subs.is_some());
            let owed = client.conn.owed();
            client_bytes += size_of::<Client>() + client.conn.input.capacity() + owed;
            largest.0 = largest.0.max(client.conn.input.len());
            largest.1 = largest.1.max(owed);
        }
        let hub = &self.pubsub.audience.hub;
        let channels = [Topic::Channel, Topic::Pattern, Topic::Shard];
        let channels = channels.map(|topic| hub.names(topic, None));
        let mut report = Report {
            core: self.core,
            subscribers,
            channels,
            tracking: self.report_tracking(),
            cpu: self.cpu,
            stats: self.stats.snapshot(latencies),
            clients,
            // Who waits for the end of a pause is counted too, as in Redis.
            blocked: self.blocked_clients() + self.pubsub.paused_clients(),
            client_bytes,
            cpu_time: machine::cpu_time(Whose::Thread),
            largest,
            log: self.log.report(),
            acceleration: self.acceleration,
            enters: self.ring.enters,
            min_wait: self.ring.has_min_wait(),
            ..Report::default()
        };
        if self.ks.has(self.core) {
            let now = self.clock.unix_ms;
            let databases = self.settings.server.databases;
            let shard = self.ks.shard(self.core);
            report.shard = shard.stats();
            report.shard_bytes = shard.bytes_used() as u64;
            report.databases = (0..databases)
                .map(|db| (shard.len(db), shard.expires(db), shard.average_ttl(db, now)))
                .collect();
        }
        report
    }
}
