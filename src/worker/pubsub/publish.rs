//! PUBLISH and SPUBLISH, and the way of all news to the other cores and back.
//!
//! Promise: the number that a publisher is told is the number of clients the message was handed to, on all cores; the
//! reply waits for that in its seat, while the publisher's next commands go on.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use super::super::client::{Client, ReplyMode};
use super::super::message::Message;
use super::super::slab::Id;
use super::super::tick::Flow;
use super::super::{Worker, arrivals};
use super::post::Kind;
use crate::command::Topic;
use crate::resp::{Proto, Reply};

/// Something that is to be heard on every core.
pub enum News {
    /// A message.
    Message {
        /// `Channel` or `Shard`.
        topic: Topic,
        /// The channel.
        channel: Box<[u8]>,
        /// The message.
        payload: Box<[u8]>,
    },
    /// A line for those who MONITOR, whole.
    Line(Vec<u8>),
    /// Keys that have changed, and the client that changed each if it does not want to hear of that.
    Changed(Vec<(Box<[u8]>, u64)>),
    /// A database was emptied.
    Flushed,
}

/// A client that waits to hear how many heard its message.
pub struct Asked {
    client: Id,
    seat: u32,
    /// Which of the news it was.
    news: usize,
    /// How many heard it here.
    heard: u32,
}

/// News whose numbers of listeners are still to come.
pub struct Round {
    asked: Vec<Asked>,
    waiting: usize,
    heard: Vec<u32>,
}

/// A publication inside a transaction, whose reply is written when the transaction's is.
pub struct Unplaced {
    /// Where in the transaction's reply its number belongs.
    at: usize,
    news: News,
    heard: u32,
}

/// A bulk string, as both protocols write it.
fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let proto = Proto::Resp2;
    Reply { buf: out, proto }.bulk(bytes);
}

impl Worker {
    /// Hands a message to those of this core's clients that listen; how many. It is written once, however many.
    pub(super) fn hear(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) -> u32 {
        let (mut post, audience) = self.post();
        if audience.hub.is_empty() {
            return 0;
        }
        let mut heard = 0;
        let mut text = Vec::new();
        let mut deliver = |text: &[u8], listeners: &BTreeSet<u32>| {
            for &index in listeners {
                post.push(index, Kind::Message, text);
            }
            listeners.len() as u32
        };
        if let Some(listeners) = audience.hub.listeners(topic, channel) {
            let word: &[u8] = match topic {
                Topic::Shard => b"smessage",
                _ => b"message",
            };
            text.extend_from_slice(b"3\r\n");
            bulk(&mut text, word);
            bulk(&mut text, channel);
            bulk(&mut text, payload);
            heard += deliver(&text, listeners);
        }
        if topic == Topic::Channel {
            for (pattern, listeners) in audience.hub.matching(channel) {
                text.clear();
                text.extend_from_slice(b"4\r\n");
                bulk(&mut text, b"pmessage");
                bulk(&mut text, pattern);
                bulk(&mut text, channel);
                bulk(&mut text, payload);
                heard += deliver(&text, listeners);
            }
        }
        heard
    }

    /// Whether anybody on another core listens to anything.
    pub(super) fn others_listen(&self) -> bool {
        (0..self.mesh.cores()).any(|core| core != self.core && self.shared.has_audience(core))
    }

    /// Publishes a message that nobody waits to have counted; how many heard it on this core.
    pub(in crate::worker) fn announce(
        &mut self,
        topic: Topic,
        channel: &[u8],
        payload: &[u8],
    ) -> u32 {
        self.spread(topic, channel, payload);
        self.hear(topic, channel, payload)
    }

    /// Notes a message for the other cores; which of the news it is, if anybody listens there.
    fn spread(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) -> Option<usize> {
        if !self.others_listen() {
            return None;
        }
        self.pubsub.outgoing.push(News::Message {
            topic,
            channel: channel.into(),
            payload: payload.into(),
        });
        Some(self.pubsub.outgoing.len() - 1)
    }

    /// PUBLISH and SPUBLISH.
    pub(in crate::worker) fn publish(
        &mut self,
        client: &mut Client,
        index: u32,
        topic: Topic,
        argv: &[&[u8]],
    ) -> Flow {
        let news = self.spread(topic, argv[1], argv[2]);
        let heard = self.hear(topic, argv[1], argv[2]);
        match news {
            None => self.reply(client).int(i64::from(heard)),
            Some(news) if client.reply == ReplyMode::On => {
                self.pubsub.asked.push(Asked {
                    client: client.at(index),
                    seat: client.conn.replies.leave_seat(),
                    news,
                    heard,
                });
            }
            Some(_) => {}
        }
        Flow::Next
    }

    /// PUBLISH and SPUBLISH inside EXEC, where the reply is not at its place yet.
    pub(in crate::worker) fn publish_in_exec(
        &mut self,
        topic: Topic,
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
    ) {
        let heard = self.hear(topic, argv[1], argv[2]);
        if self.others_listen() {
            self.pubsub.unplaced.push(Unplaced {
                at: reply.len(),
                news: News::Message {
                    topic,
                    channel: argv[1].into(),
                    payload: argv[2].into(),
                },
                heard,
            });
        } else {
            let proto = Proto::Resp2;
            Reply { buf: reply, proto }.int(i64::from(heard));
        }
    }

    /// The reply of the transaction that runs begins `by` bytes later.
    pub(in crate::worker) fn shift_unplaced(&mut self, by: usize) {
        for unplaced in &mut self.pubsub.unplaced {
            unplaced.at -= by;
        }
    }

    /// The publications of the transaction that ran.
    pub(in crate::worker) fn take_unplaced(&mut self) -> Vec<Unplaced> {
        mem::take(&mut self.pubsub.unplaced)
    }

    /// Appends the reply of a transaction, with a seat for each of its publications, and sends those on.
    pub(in crate::worker) fn place(
        &mut self,
        client: Option<&mut Client>,
        reply: Vec<u8>,
        unplaced: Vec<Unplaced>,
    ) {
        let mut from = 0;
        let mut client = client;
        for Unplaced { at, news, heard } in unplaced {
            self.pubsub.outgoing.push(news);
            if let Some(client) = &mut client {
                let replies = &mut client.conn.replies;
                replies.writer().extend_from_slice(&reply[from..at]);
                from = at;
                let seat = replies.leave_seat();
                self.pubsub.asked.push(Asked {
                    client: client.at(client.conn.index()),
                    seat,
                    news: self.pubsub.outgoing.len() - 1,
                    heard,
                });
            }
        }
        if let Some(client) = client {
            let writer = client.conn.replies.writer();
            match (from, writer.is_empty()) {
                (0, true) => *writer = reply,
                _ => writer.extend_from_slice(&reply[from..]),
            }
        }
    }

    /// Sends the other cores what they have to hear, behind what was forwarded to them before.
    ///
    /// With `hold`, they hear of it when that ticket of the log is durable.
    pub(in crate::worker) fn send_news(&mut self, hold: Option<u64>) {
        self.tell_changed();
        if !self.pubsub.outgoing.is_empty() {
            // Commands to one core go ahead of the news to all others.
            self.mesh.flush();
            let news = Arc::new(mem::take(&mut self.pubsub.outgoing));
            let asked = mem::take(&mut self.pubsub.asked);
            let others = (0..self.mesh.cores())
                .filter(|&core| core != self.core && self.shared.has_audience(core))
                .collect::<Vec<usize>>();
            let round = Round {
                waiting: others.len(),
                heard: vec![0; news.len()],
                asked,
            };
            let number = match (round.asked.is_empty(), others.is_empty()) {
                (true, _) => None,
                (_, true) => {
                    // The last of them has left since.
                    self.settle(round);
                    None
                }
                _ => {
                    self.pubsub.next_round += 1;
                    self.pubsub.rounds.insert(self.pubsub.next_round, round);
                    Some(self.pubsub.next_round)
                }
            };
            for core in others {
                let message = Message::News {
                    from: self.core,
                    round: number,
                    news: news.clone(),
                };
                self.post_out(hold, core, message);
            }
        }
        for core in 0..self.pubsub.invalid.len() {
            if !self.pubsub.invalid[core].is_empty() {
                let list = mem::take(&mut self.pubsub.invalid[core]);
                self.post_out(hold, core, Message::Invalid(list));
            }
        }
    }

    /// Sends a message, or keeps it until the log has what it tells of; in order.
    fn post_out(&mut self, hold: Option<u64>, core: usize, message: Message) {
        let last = self.pubsub.held.back().map(|(ticket, ..)| *ticket);
        match hold.max(last) {
            None => self.mesh.send(core, message),
            Some(ticket) => self.pubsub.held.push_back((ticket, core, message)),
        }
    }

    /// Sends the messages that waited for tickets up to `kept`.
    pub(in crate::worker) fn release_news(&mut self, kept: u64) {
        let held = &mut self.pubsub.held;
        while held.front().is_some_and(|(ticket, ..)| *ticket <= kept) {
            if let Some((_, core, message)) = held.pop_front() {
                self.mesh.send(core, message);
            }
        }
    }

    /// Hears what another core has to tell, and answers how many heard each of it if that is asked.
    pub(in crate::worker) fn hear_news(&mut self, from: usize, round: Option<u64>, news: &[News]) {
        let mut heard = Vec::with_capacity(news.len());
        for item in news {
            heard.push(match item {
                News::Message {
                    topic,
                    channel,
                    payload,
                } => self.hear(*topic, channel, payload),
                News::Line(line) => self.show(line),
                News::Changed(keys) => self.hear_changed(keys),
                News::Flushed => self.hear_flushed(),
            });
        }
        if let Some(round) = round {
            self.mesh.send(from, Message::Heard { round, heard });
        }
    }

    /// Another core tells how many heard each of this core's news.
    pub(in crate::worker) fn heard(&mut self, number: u64, heard: &[u32]) {
        let Some(round) = self.pubsub.rounds.get_mut(&number) else {
            return;
        };
        for (sum, n) in round.heard.iter_mut().zip(heard) {
            *sum += n;
        }
        round.waiting -= 1;
        if round.waiting == 0
            && let Some(round) = self.pubsub.rounds.remove(&number)
        {
            self.settle(round);
        }
    }

    fn settle(&mut self, round: Round) {
        let mut text = Vec::new();
        for asked in round.asked {
            let Some(client) = self.clients.get(asked.client) else {
                continue;
            };
            text.clear();
            let proto = client.proto;
            let reply = &mut text;
            Reply { buf: reply, proto }.int(i64::from(asked.heard + round.heard[asked.news]));
            client.conn.replies.fill(asked.seat, &text);
            let index = asked.client.index;
            if client.conn.at < client.conn.input.len() {
                arrivals::note(&mut self.input, index, &mut client.has_input);
            }
            arrivals::note(&mut self.output, index, &mut client.has_output);
        }
    }
}
