//! MIGRATE: keys move to another server.
//!
//! Three steps, none of which keeps a core waiting. With the keys' shards at hand their values are written down as
//! DUMP writes them, and the keys are watched as WATCH does ([`Worker::pick`]). The carrier takes them there while the
//! client waits and everybody else goes on. With the shards at hand once more, each key that has arrived is removed
//! ([`Worker::let_go`]), whether the client still waits or has gone.
//!
//! A key that was changed meanwhile is *not* removed, and the client is told so: the other server has what the key held
//! before, and this one what it holds now, so nothing that was acknowledged is lost. MIGRATE with REPLACE moves it then.
//! Redis keeps everybody waiting instead. Rejected: to hold back the writers of these keys, which would let a server that
//! answers slowly stop them for as long as the timeout.
//!
//! A connection that breaks leaves the keys whose arrival was not acknowledged where they are, as in Redis: then they may
//! be in both places.

use super::Worker;
use super::carrier::{Cargo, Delivery, Link, Words};
use super::client::{Client, Watched};
use super::gather::Answer;
use super::message::Message;
use super::tick::Flow;
use super::tx::Work;
use crate::command::{self, Error, lookup};
use crate::rdb;
use crate::resp::number::parse_i64;
use crate::resp::{Proto, Reply};
use crate::settings::Settings;
use crate::shard::notice;

/// What is to be moved.
pub struct Load {
    keys: Vec<Vec<u8>>,
    copy: bool,
    replace: bool,
    /// All but the keys.
    cargo: Cargo,
}

/// Keys on their way.
pub struct Journey {
    /// Those that are to be removed once they have arrived, in the order of the cargo.
    watched: Vec<Watched>,
    cargo: Cargo,
}

/// Keys that have arrived, or not.
pub struct Landing {
    watched: Vec<Watched>,
    delivery: Delivery,
}

/// How MIGRATE speaks to other servers.
fn link(settings: &Settings) -> Result<Link, Error> {
    if settings.server.allow_plaintext_migrate {
        return Ok(Link::Plain);
    }
    let tls = &settings.tls;
    let ca_file = tls.ca_file.clone().ok_or(Error::Text(
        "ERR MIGRATE needs tls.ca_file, by which the other server's certificate is verified. Only \
         server.allow_plaintext_migrate = true lets keys leave in the clear",
    ))?;
    let identity = tls.cert_file.clone().zip(tls.key_file.clone());
    Ok(Link::Tls { ca_file, identity })
}

/// `host:port` with an IPv6 address in brackets; never a URL, which could ask for another protocol. What is no port
/// becomes 0, to which nobody connects.
fn address(host: &[u8], port: &[u8]) -> String {
    let host = String::from_utf8_lossy(host);
    let port = parse_i64(port).and_then(|port| u16::try_from(port).ok());
    let port = port.unwrap_or(0);
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

impl Worker {
    /// MIGRATE.
    pub(super) fn migrate(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let asked = command::migration(argv)?;
        let link = link(&self.settings)?;
        let mut greeting: Vec<Words> = Vec::new();
        if !asked.login.is_empty() {
            let words = [&b"AUTH"[..]]
                .into_iter()
                .chain(asked.login.iter().copied());
            greeting.push(words.map(Vec::from).collect());
        }
        greeting.push(vec![b"SELECT".into(), asked.db.to_string().into_bytes()]);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for key in asked.keys {
            if known.insert(key) {
                keys.push(key.to_vec());
            }
        }
        let load = Load {
            copy: asked.copy,
            replace: asked.replace,
            cargo: Cargo {
                address: address(asked.host, asked.port),
                link,
                timeout: asked.timeout,
                greeting,
                keys: Vec::new(),
            },
            keys,
        };
        let db = client.db;
        let needs = self.owners(load.keys.iter().map(|key| (db, key.as_slice())));
        Ok(self.begin(client, index, needs, Work::Pick(Box::new(load))))
    }

    /// Writes the keys down, their shards being at hand. `None` if there are none of them.
    pub(super) fn pick(&mut self, db: u16, load: Load) -> Option<Journey> {
        let now = self.clock.unix_ms;
        let mut cargo = load.cargo;
        let mut watched = Vec::new();
        for key in load.keys {
            let k = self.ks.key(db, &key);
            let shard = self.ks.at(k.slot);
            let Some(payload) = shard.get(&k, now).map(|value| rdb::dump(&value)) else {
                continue;
            };
            let expire = shard.meta(&k, now).and_then(|meta| meta.expire_at);
            let ttl = expire.map_or(0, |at| at.saturating_sub(now).max(1));
            let mut words: Words = vec![
                b"RESTORE".into(),
                key.clone(),
                ttl.to_string().into_bytes(),
                payload,
            ];
            if load.replace {
                words.push(b"REPLACE".into());
            }
            cargo.keys.push(words);
            if !load.copy {
                let version = shard.watch(&k, now);
                watched.push(Watched { db, key, version });
            }
        }
        self.look_for_news(0);
        (!cargo.keys.is_empty()).then_some(Journey { watched, cargo })
    }

    /// Sends keys on their way and lets the client wait for them to arrive.
    pub(super) fn depart(&mut self, client: &mut Client, index: u32, journey: Journey) {
        let Journey { watched, cargo } = journey;
        let gather = self.open_gather(
            client,
            index,
            1,
            Box::new(move |worker, client, answers| {
                let delivery = match answers.into_iter().next() {
                    Some(Answer::Delivered(delivery)) => delivery,
                    _ => Delivery::default(),
                };
                let landing = Landing { watched, delivery };
                worker.land(client, landing);
            }),
        );
        let inbox = self.shared.inboxes[self.core].clone();
        self.shared.carrier.carry(cargo, move |delivery| {
            let answer = Box::new(Answer::Delivered(delivery));
            inbox.push(Message::Answer { gather, answer });
        });
    }

    /// Takes the shards of the keys that were on their way, to remove those that have arrived.
    fn land(&mut self, client: Option<&mut Client>, landing: Landing) {
        let watched = landing.watched.iter();
        let needs = self.owners(watched.map(|w| (w.db, w.key.as_slice())));
        let work = Work::Settle(Box::new(landing));
        match client {
            Some(client) => {
                let index = client.conn.index();
                self.begin(client, index, needs, work);
            }
            // Nobody is to be told, and nothing to be removed.
            None if needs.is_empty() => {}
            None => self.begin_alone(needs, work),
        }
    }

    /// Removes the keys that have arrived and are what they were, their shards being at hand; answers the client, if
    /// there is one.
    pub(super) fn let_go(&mut self, proto: Option<Proto>, landing: Landing, out: &mut Vec<u8>) {
        let Landing { watched, delivery } = landing;
        let now = self.clock.unix_ms;
        let mut trouble = delivery.trouble;
        let refusal = match (watched.is_empty(), lookup(b"migrate")) {
            (false, Some((row, _))) => self.forbids(row, false),
            _ => None,
        };
        let mut changed = 0;
        let mut arrived = delivery.arrived.into_iter();
        for Watched { db, key, version } in watched {
            let k = self.ks.key(db, &key);
            let shard = self.ks.at(k.slot);
            let same = shard.version(&k, now) == version;
            shard.unwatch(&k);
            if arrived.next() != Some(true) || refusal.is_some() {
                continue;
            }
            if !same {
                changed += 1;
            } else if shard.delete(&k, now) {
                shard.note(notice::GENERIC, "del", &k);
            }
        }
        self.look_for_news(0);
        if let Some(e) = refusal {
            let why = String::from_utf8_lossy(&e.text()).into_owned();
            trouble.get_or_insert(why);
        }
        if changed > 0 {
            trouble.get_or_insert(format!(
                "ERR {changed} of the keys were changed while they were on their way, and are not removed here: the \
                 target instance has what they held before"
            ));
        }
        let Some(proto) = proto else { return };
        let mark = out.len();
        let mut reply = Reply { buf: out, proto };
        match trouble {
            None => reply.ok(),
            Some(why) => {
                reply.error(&why);
                self.stats.error(&out[mark..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_url() {
        assert_eq!(address(b"h", b"6380"), "h:6380");
        assert_eq!(address(b"::1", b"6380"), "[::1]:6380");
        assert_eq!(address(b"[::1]", b"6380"), "[::1]:6380");
        assert_eq!(address(b"redis", b"//h:6379"), "redis:0");
        for host in [&b"redis://h"[..], b"[redis://h", b"rediss://h/1#"] {
            let builder = ferrite::Client::builder(&address(host, b"1"));
            assert!(builder.address().starts_with(':'), "{builder:?}");
        }
    }
}
