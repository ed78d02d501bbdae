//! Commands about the server as a whole.
//!
//! Most concern every core: the core that got the command asks all of them (see
//! [`super::gather`]), and the client waits until all have answered. Each family has a file.

use super::Worker;
use super::client::{Client, Waiting};
use super::gather::{Answer, Question, Report};
use super::message::Message;
use super::slab::Id;
use super::tick::Flow;
use crate::command::{Command, Error, SessionCmd};

use std::sync::Arc;

/// A question on its way round the cores.
pub struct Gather {
    client: Option<Id>,
    waiting: usize,
    answers: Vec<Answer>,
    then: Then,
}

/// What is made of the answers, written to the client that asked.
pub type Then = Box<dyn FnOnce(&mut Worker, Option<&mut Client>, Vec<Answer>)>;

impl Worker {
    /// Carries out a command about the server.
    pub(super) fn administer(
        &mut self,
        client: &mut Client,
        _index: u32,
        _session: SessionCmd,
        row: &'static Command,
        _number: u16,
        _argv: &[&[u8]],
    ) -> Flow {
        let e = Error::message(format!(
            "ERR '{}' is not available in this version",
            row.name
        ));
        self.refuse(client, e);
        Flow::Next
    }

    /// Asks all cores, this one included, and lets the client wait for the answers.
    pub(super) fn ask(
        &mut self,
        client: &mut Client,
        index: u32,
        question: Question,
        then: Then,
    ) -> Flow {
        self.next_gather += 1;
        let number = self.next_gather;
        client.waiting = Waiting::Gather(number);
        let cores = self.mesh.cores();
        let at = client.at(index);
        let gather = Gather {
            client: Some(at),
            waiting: cores,
            answers: Vec::new(),
            then,
        };
        self.gathers.insert(number, gather);
        let question = Arc::new(question);
        // What was forwarded before must be executed before.
        self.send_forwarding();
        for core in 0..cores {
            let message = Message::Ask {
                from: self.core,
                gather: number,
                question: question.clone(),
            };
            self.mesh.send(core, message);
        }
        Flow::Wait
    }

    /// Answers another core's question, or this core's own.
    pub(super) fn answer(&mut self, from: usize, gather: u64, question: &Question) {
        let answer = match question {
            Question::Report => Answer::Report(Box::new(self.report())),
            _ => Answer::Done,
        };
        self.mesh.send(
            from,
            Message::Answer {
                gather,
                answer: Box::new(answer),
            },
        );
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
        (gather.then)(self, taken.as_deref_mut(), gather.answers);
        if let (Some(id), Some(taken)) = (client, taken) {
            self.clients.put(id.index, taken);
            self.resume(id.index);
        }
    }

    /// Everything this core tells of itself.
    pub(super) fn report(&mut self) -> Report {
        let clients = self.clients.len();
        let mut blocked = 0;
        let mut largest = (0, 0);
        for (_, client) in self.clients.iter_mut() {
            blocked += usize::from(client.waiting != Waiting::Nothing);
            largest.0 = largest.0.max(client.conn.input.len());
            largest.1 = largest.1.max(client.conn.owed());
        }
        let mut report = Report {
            core: self.core,
            cpu: self.cpu,
            stats: self.stats.clone(),
            clients,
            blocked,
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
            report.databases = (0..databases)
                .map(|db| (shard.len(db), shard.expires(db), shard.average_ttl(db, now)))
                .collect();
        }
        report
    }
}
