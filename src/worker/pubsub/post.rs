//! Bytes that a client did not ask for: messages, events, invalidations, lines of MONITOR.
//!
//! Promise: they stand between replies, never inside one, and behind the replies to what the client sent before; to a
//! client whose command runs at this moment, or whose transaction does, they come behind its reply. A client that does
//! not take what it is sent is cut off at the limit of its class, in the middle of a tick if need be, so that no
//! flood of messages gathers in memory.

use super::super::Worker;
use super::super::arrivals::note;
use super::super::client::{Client, Waiting};
use super::super::slab::Slab;
use super::Audience;
use crate::net::conn::Phase;
use crate::resp::Proto;
use crate::settings::{OutputLimit, OutputLimitsByClass};

/// How bytes are sent, which depends on who gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As they are.
    Plain,
    /// A message but for its first byte, in which alone the two protocols differ.
    Message,
    /// Keys that have changed, as an array; null if empty. Only RESP3 has a way to say it.
    Invalid,
    /// The same, to a client that hears it in another's place; in RESP2 it is a message.
    Redirected,
    /// The client, as an integer reply, that was to hear it in this one's place and is gone.
    Broken,
}

/// What the post needs of a worker, so that who listens can be read meanwhile.
pub struct Post<'w> {
    clients: &'w mut Slab<Client>,
    output: &'w mut Vec<u32>,
    pending: &'w mut Vec<(u32, Kind, Vec<u8>)>,
    overfull: &'w mut Vec<u32>,
    limits: &'w OutputLimitsByClass,
}

impl Client {
    /// The limit of what may wait for it.
    pub fn output_limit<'l>(&self, limits: &'l OutputLimitsByClass) -> &'l OutputLimit {
        match self.subs {
            Some(_) => &limits.pubsub,
            None => &limits.normal,
        }
    }

    /// Appends bytes it did not ask for.
    fn push(&mut self, kind: Kind, bytes: &[u8]) {
        let resp3 = self.proto == Proto::Resp3;
        let head: &[u8] = match (kind, resp3) {
            (Kind::Plain, _) => b"",
            (Kind::Message, false) => b"*",
            (Kind::Message, true) => b">",
            (Kind::Invalid | Kind::Redirected, true) => b">2\r\n$10\r\ninvalidate\r\n",
            (Kind::Broken, true) => b">2\r\n$21\r\ntracking-redir-broken\r\n",
            (Kind::Redirected, false) if self.subs.is_some() => {
                b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
            }
            (Kind::Invalid | Kind::Redirected | Kind::Broken, false) => return,
        };
        let body: &[u8] = match (bytes.is_empty(), resp3) {
            (false, _) => bytes,
            (true, true) => b"_\r\n",
            (true, false) => b"$-1\r\n",
        };
        let to = match self.waiting {
            Waiting::Tx(_) => self.conn.replies.later(),
            _ => self.conn.replies.writer(),
        };
        to.extend_from_slice(head);
        to.extend_from_slice(body);
    }
}

impl Post<'_> {
    /// Gives a client these bytes.
    pub fn push(&mut self, index: u32, kind: Kind, bytes: &[u8]) {
        let Some(client) = self.clients.at(index) else {
            self.pending.push((index, kind, bytes.to_vec()));
            return;
        };
        if client.conn.phase != Phase::Open {
            return;
        }
        client.push(kind, bytes);
        let hard = client.output_limit(self.limits).hard;
        if hard > 0 && client.conn.owed() as u64 > hard {
            self.overfull.push(index);
            // Nothing more for this one; it is closed when the message has gone round.
            client.conn.phase = Phase::Draining;
        }
        note(self.output, index, &mut client.has_output);
    }
}

impl Worker {
    /// The post, and who listens.
    pub(super) fn post(&mut self) -> (Post<'_>, &mut Audience) {
        let post = Post {
            clients: &mut self.clients,
            output: &mut self.output,
            pending: &mut self.pubsub.pending,
            overfull: &mut self.pubsub.overfull,
            limits: &self.settings.server.client_output_buffer_limit,
        };
        (post, &mut self.pubsub.audience)
    }

    /// Hands a client what was kept for it while its command ran.
    #[inline]
    pub(in crate::worker) fn hand_over(&mut self, client: &mut Client) {
        if !self.pubsub.pending.is_empty() {
            let index = client.conn.index();
            self.pubsub.pending.retain(|(to, kind, bytes)| {
                if *to == index {
                    client.push(*kind, bytes);
                }
                *to != index
            });
        }
    }

    /// Hands over what is left, with every client in its place, and closes those that do not read.
    pub(in crate::worker) fn finish_post(&mut self) {
        for (index, kind, bytes) in std::mem::take(&mut self.pubsub.pending) {
            self.post().0.push(index, kind, &bytes);
        }
        for index in std::mem::take(&mut self.pubsub.overfull) {
            if let Some(client) = self.clients.at(index) {
                let owed = client.conn.owed();
                tracing::warn!(client = %client.addr, owed, "closed: it does not read what it is sent");
                self.stats.output_limit_closes += 1;
                self.close(index);
            }
        }
    }
}
