//! Following another server, as the cores see it: what they refuse meanwhile, and what is told of it.
//!
//! The link to the other server is no core's business: a thread of its own holds it (`replication`), brings the copy in by
//! the [`inlet`](super::inlet), and what comes after it as commands of a client that has no network behind it
//! ([`Worker::adopt`]). The cores know two things. Whether this server follows is a setting, `replication.replicaof`, as it
//! is in force: then nobody else writes, nothing expires and nothing is evicted, since the other server decides all that
//! and says so. And whether what there is may be read at all ([`Follow::close`]), which costs a command nothing while it
//! may.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;
use std::{io, os::unix::net::UnixStream};

use super::Worker;
use super::client::Client;
use super::gather::Answer;
use super::message::Message;
use super::tick::Flow;
use crate::command::{Command, Error, Run, SessionCmd, flag};
use crate::resp::number::parse_i64;
use crate::settings::{NO_AUTHORITY, Source};

/// What clients are told that want to write.
pub(super) const READONLY: Error =
    Error::Text("READONLY You can't write against a read only replica.");
/// What ends the waits of those who would write.
const CHANGED: Error = Error::Text(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
);

/// What there is of the other server's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// Nothing: what is there was there before.
    #[default]
    Own,
    /// A part of it, and nothing else.
    Half,
    /// All of it, as of some moment.
    Whole,
}

/// How far the link has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    #[default]
    Down,
    /// It is being made.
    Connecting,
    /// The servers make themselves known to each other.
    Handshake,
    /// The copy is on its way.
    Sync,
    /// The copy is there, and every command comes as it happens.
    Connected,
}

/// What is told of the link.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The server that is followed, if one is.
    pub source: Option<Source>,
    /// How far the link has come.
    pub stage: Stage,
    /// What there is of its data.
    pub held: Held,
    /// Bytes of its commands that were received, counted as it counts them.
    pub read: u64,
    /// Bytes of its commands that are carried out.
    pub applied: u64,
    /// The name of its history, 40 hex digits.
    pub replid: String,
    /// When something last came from it.
    pub heard: Option<Instant>,
    /// Since when there is no link.
    pub down_since: Option<Instant>,
    /// Length of the copy, where it is known, and bytes of it that have come.
    pub copy: (Option<u64>, u64),
    /// Why there is no link, or was none.
    pub trouble: Option<String>,
}

/// What the thread is asked for.
pub enum Order {
    /// Follow this server.
    Follow(Source, Tell),
    /// Follow none any more.
    Leave(Tell),
    /// The process ends.
    Stop,
}

/// Tells how an order ended, on the thread that carried it out.
pub type Tell = Box<dyn FnOnce(Result<(), String>) + Send>;

/// The cores' end of what they and the thread share.
pub struct Follow {
    told: Mutex<Told>,
    /// 0, or why nothing may be read: [`LOADING`] or [`STALE`].
    closed: AtomicU8,
    orders: Sender<Order>,
    bell: UnixStream,
}

const LOADING: u8 = 1;
const STALE: u8 = 2;

/// The thread's end.
pub struct Orders {
    /// What is asked for.
    pub list: Receiver<Order>,
    /// Readable when something is.
    pub bell: UnixStream,
}

impl Follow {
    /// Both ends, of a server that follows `source`, if any, and has so much of it.
    ///
    /// # Errors
    /// When the process may have no further file.
    pub fn new(source: Option<Source>, held: Held) -> io::Result<(Follow, Orders)> {
        let (orders, list) = channel();
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let told = Told {
            source,
            held,
            ..Told::default()
        };
        let follow = Follow {
            told: Mutex::new(told),
            closed: AtomicU8::new(0),
            orders,
            bell,
        };
        Ok((follow, Orders { list, bell: heard }))
    }

    /// What is told of the link. Held for moments only; no core asks unless a client does.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Asks the thread for something.
    pub fn order(&self, order: Order) {
        // The thread lives as long as the process, and one byte that was not read yet wakes it as well as two.
        let _ = self.orders.send(order);
        let _ = io::Write::write(&mut &self.bell, b"!");
    }

    /// Decides whether what there is may be read: not while it is in parts, and not when nobody knows how old it is and
    /// the settings want that said. Tells whether it may not.
    pub(super) fn close(&self, serve_stale: bool) -> bool {
        let told = self.told();
        let why = match (&told.source, told.held, told.stage) {
            (None, ..) => 0,
            (Some(_), Held::Half, _) => LOADING,
            (Some(_), _, Stage::Connected) => 0,
            (Some(_), ..) if serve_stale => 0,
            (Some(_), ..) => STALE,
        };
        self.closed.store(why, Ordering::SeqCst);
        why != 0
    }
}

/// The server that REPLICAOF names; `None` for NO ONE.
fn source(argv: &[&[u8]]) -> Result<Option<Source>, Error> {
    let (host, port) = (argv[1], argv[2]);
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(None);
    }
    let port = parse_i64(port).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(Error::Text("ERR Invalid master port"))?;
    let host = str::from_utf8(host).ok().filter(|host| {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        !host.is_empty() && host.len() <= 255 && !host.contains(odd)
    });
    let host = host.ok_or(Error::Text("ERR Invalid master host"))?;
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    Ok(Some(Source { host, port }))
}

impl Worker {
    /// Whether this server follows another.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Takes over from the settings whether this server follows another. The shard is here.
    pub(super) fn take_following(&mut self) {
        let before = self.follows;
        self.follows = self.settings.replication.replicaof.is_some();
        let (follows, now) = (self.follows, self.clock.unix_ms);
        if self.ks.has(self.core) {
            let shard = self.ks.shard(self.core);
            shard.follows = follows;
            shard.note_time(now);
        }
        if follows && !before {
            self.end_writers(&CHANGED);
        }
    }

    /// Why a command may not run now because of what there is of another server's data, if so.
    #[cold]
    pub(super) fn is_closed(&self, client: &Client, row: &Command) -> Option<Error> {
        let (needs, why) = match self.shared.follow.closed.load(Ordering::Relaxed) {
            LOADING => (
                flag::LOADING,
                "LOADING Redis is loading the dataset in memory",
            ),
            STALE => (
                flag::STALE,
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            ),
            _ => return None,
        };
        let allowed = |row: &Command| row.has(needs) && !matches!(row.run, Run::Script(_));
        let fits = match (row.run, &client.multi) {
            // The only way out.
            (Run::Session(SessionCmd::Replicaof), _) => true,
            (Run::Session(SessionCmd::Exec), Some(queue)) => {
                queue.commands.iter().all(|queued| allowed(queued.command))
            }
            _ => allowed(row),
        };
        (!fits).then_some(Error::Text(why))
    }

    /// REPLICAOF and SLAVEOF.
    pub(super) fn replicaof(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let asked = source(argv)?;
        let now = self.shared.follow.told().source.clone();
        if asked == now {
            let mut reply = self.reply(client);
            match asked {
                None => reply.ok(),
                Some(_) => reply.simple("OK Already connected to specified master"),
            }
            return Ok(Flow::Next);
        }
        let replication = &self.settings.replication;
        if asked.is_some()
            && replication.tls
            && replication.ca_file.is_none()
            && self.settings.tls.ca_file.is_none()
        {
            return Err(Error::message(format!(
                "ERR replication.ca_file {NO_AUTHORITY}"
            )));
        }
        let who = client.addr.clone();
        match &asked {
            Some(source) => tracing::info!(client = %who, "REPLICAOF {source}"),
            None => tracing::info!(client = %who, "REPLICAOF NO ONE"),
        }
        let then: super::admin::Then = Box::new(|worker, client, answers| {
            let Some(client) = client else { return };
            match answers.into_iter().next() {
                Some(Answer::Ended(Err(why))) => worker.refuse(client, Error::message(why)),
                _ => worker.reply(client).ok(),
            }
        });
        let gather = self.open_gather(client, index, 1, then);
        let inbox = self.shared.inboxes[self.core].clone();
        let tell: Tell = Box::new(move |ended| {
            let answer = Box::new(Answer::Ended(ended));
            inbox.push(Message::Answer { gather, answer });
        });
        self.shared.follow.order(match asked {
            Some(source) => Order::Follow(source, tell),
            None => Order::Leave(tell),
        });
        Ok(Flow::Wait)
    }

    /// A client whose commands are what the followed server did: it may do everything, and nothing ages for it.
    pub(super) fn adopt(&mut self, fd: OwnedFd, addr: String) {
        // It counts as a connection, and is let in whatever the limit.
        self.shared.admit(usize::MAX);
        let Some(index) = self.seat(fd, None, addr, String::new()) else {
            return;
        };
        if let Some(client) = self.clients.at(index) {
            client.applies = true;
            client.authenticated = true;
            client.trusted = true;
        }
    }

    /// ROLE.
    pub(super) fn role(&self, client: &mut Client) {
        let told = self.shared.follow.told();
        let mut reply = self.reply(client);
        let Some(source) = &told.source else {
            reply.array(3);
            reply.bulk("master");
            reply.int(0);
            reply.array(0);
            return;
        };
        reply.array(5);
        reply.bulk("slave");
        reply.bulk(&source.host);
        reply.int(i64::from(source.port));
        reply.bulk(match told.stage {
            Stage::Down => "connect",
            Stage::Connecting => "connecting",
            Stage::Handshake => "handshake",
            Stage::Sync => "sync",
            Stage::Connected => "connected",
        });
        reply.int(match told.stage {
            Stage::Connected => told.applied as i64,
            _ => -1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_host_and_port() {
        let named = |host: &str, port: &str| {
            source(&[b"replicaof", host.as_bytes(), port.as_bytes()])
                .map(|source| source.map(|s| s.to_string()))
        };
        assert_eq!(named("No", "ONE"), Ok(None));
        assert_eq!(named("h", "6379"), Ok(Some("h 6379".into())));
        assert_eq!(named("[::1]", "1"), Ok(Some("::1 1".into())));
        let port = Error::Text("ERR Invalid master port");
        for bad in ["x", "-1", "65536", ""] {
            assert_eq!(named("h", bad), Err(port.clone()));
        }
        assert!(named("a b", "1").is_err());
    }

    #[test]
    fn what_is_in_parts_is_never_read_and_what_is_old_only_if_that_is_wanted() {
        let (follow, _orders) = Follow::new(None, Held::Half).unwrap();
        let closed = |source: bool, held, stage, stale| {
            *follow.told() = Told {
                source: source.then(|| Source {
                    host: "h".into(),
                    port: 1,
                }),
                held,
                stage,
                ..Told::default()
            };
            follow.close(stale);
            follow.closed.load(Ordering::Relaxed)
        };
        assert_eq!(closed(false, Held::Half, Stage::Down, false), 0);
        assert_eq!(closed(true, Held::Half, Stage::Sync, true), LOADING);
        assert_eq!(closed(true, Held::Half, Stage::Down, true), LOADING);
        assert_eq!(closed(true, Held::Whole, Stage::Connected, false), 0);
        for held in [Held::Own, Held::Whole] {
            assert_eq!(closed(true, held, Stage::Connecting, true), 0);
            assert_eq!(closed(true, held, Stage::Connecting, false), STALE);
        }
    }
}
