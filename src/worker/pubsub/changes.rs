//! Word of changed keys, on its way to the clients that keep copies of them.
//!
//! Promise: a client hears of a change behind the reply to the read that made the copy. The core that owns a key sends
//! its answers first and the word behind them, on the same way; where a client's reply is still under way, the word
//! waits for it (`post`). A client that hears in another's place has a core of its own; if it is gone, the one that
//! keeps the copies is told so.

use std::sync::Arc;

use super::super::Worker;
use super::super::client::Client;
use super::super::message::Message;
use super::post::Kind;
use super::publish::News;
use super::tracking::TrackingReport;
use crate::command::{self, Command, flag};
use crate::resp::{Proto, Reply};
use crate::shard::Changes;

/// An array of names, as both protocols write it.
fn names<'k>(keys: impl ExactSizeIterator<Item = &'k [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply {
        buf: &mut out,
        proto: Proto::Resp2,
    };
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
    out
}

impl Worker {
    /// Remembers that a client keeps copies of what this command read.
    #[cold]
    pub(in crate::worker) fn remember(
        &mut self,
        row: &Command,
        db: u16,
        id: u64,
        argv: &[&[u8]],
    ) {
        if !row.has(flag::READONLY) {
            return;
        }
        let most = match self.settings.server.tracking_table_max_keys {
            0 => usize::MAX,
            n => (n as usize / self.mesh.cores()).max(1),
        };
        let mut indexes = std::mem::take(&mut self.indexes);
        indexes.clear();
        if command::keys_of(row, argv, &mut indexes).is_ok() {
            for &i in &indexes {
                let key = self.ks.key(db, argv[i]);
                self.ks.at(key.slot).remember(&key, id, most);
            }
        }
        self.indexes = indexes;
    }

    /// Which core a client belongs to: its number tells.
    fn core_of(&self, id: u64) -> usize {
        (id % self.mesh.cores() as u64) as usize
    }

    /// Tells what has changed, or notes it for the other cores. `author` does not want to hear of it.
    pub(super) fn tell_changes(&mut self, changes: Changes, author: u64) {
        for (key, clients) in changes.invalid {
            let body = names(std::iter::once(&*key));
            for id in clients.into_iter().filter(|id| *id != author) {
                let core = self.core_of(id);
                if core == self.core {
                    self.invalidate(id, &body);
                } else {
                    let cores = self.mesh.cores();
                    let invalid = &mut self.pubsub.invalid;
                    invalid.resize_with(cores, Vec::new);
                    invalid[core].push((id, key.clone()));
                }
            }
        }
        let changed = changes.changed.into_iter().map(|key| (key, author));
        self.pubsub.changed.extend(changed);
        if changes.flushed {
            self.hear_flushed();
            if self.others_listen() {
                self.pubsub.outgoing.push(News::Flushed);
            }
        }
    }

    /// Another core tells of keys that clients of this one had read.
    pub(in crate::worker) fn hear_invalid(&mut self, list: Vec<(u64, Arc<[u8]>)>) {
        for (id, key) in list {
            self.invalidate(id, &names(std::iter::once(&*key)));
        }
    }

    /// Tells a client that keeps what it reads.
    fn invalidate(&mut self, id: u64, body: &[u8]) {
        let tracker = self.pubsub.audience.trackers.get(id);
        if tracker.is_some_and(|tracker| !tracker.mode.bcast) {
            self.tell_tracker(id, body);
        }
    }

    /// Sends an array of keys, or nothing for null, to a client or to who hears it in its place.
    fn tell_tracker(&mut self, id: u64, body: &[u8]) {
        let Some(tracker) = self.pubsub.audience.trackers.get(id) else {
            return;
        };
        let (index, to) = (tracker.index, tracker.redirect);
        if to == 0 {
            self.post().0.push(index, Kind::Invalid, body);
        } else if tracker.broken {
            self.tell_broken(id, to);
        } else if self.core_of(to) == self.core {
            self.redirected(to, id, body);
        } else {
            let body = body.to_vec();
            let message = Message::Redirect { to, of: id, body };
            self.mesh.send(self.core_of(to), message);
        }
    }

    /// Tells a client what it hears in another's place.
    pub(in crate::worker) fn redirected(&mut self, to: u64, of: u64, body: &[u8]) {
        if let Some(&index) = self.client_numbers.get(&to) {
            self.post().0.push(index, Kind::Redirected, body);
        } else if self.core_of(of) == self.core {
            self.tell_broken(of, to);
        } else {
            let message = Message::Misdirected { of, to };
            self.mesh.send(self.core_of(of), message);
        }
    }

    /// Tells a client that nobody hears in its place any more.
    pub(in crate::worker) fn tell_broken(&mut self, id: u64, to: u64) {
        let (mut post, audience) = self.post();
        if let Some(tracker) = audience.trackers.get(id)
            && tracker.redirect == to
        {
            post.push(
                tracker.index,
                Kind::Broken,
                format!(":{to}\r\n").as_bytes(),
            );
            audience.trackers.set_broken(id);
        }
    }

    /// A database was emptied: every copy has to go.
    pub(super) fn hear_flushed(&mut self) -> u32 {
        for id in self.pubsub.audience.trackers.all() {
            self.tell_tracker(id, b"");
        }
        0
    }

    /// Tells those who want to hear of all keys which ones this tick has changed, each once.
    pub(super) fn tell_changed(&mut self) {
        if self.pubsub.changed.is_empty() {
            return;
        }
        let mut keys: Vec<(Box<[u8]>, u64)> = std::mem::take(&mut self.pubsub.changed);
        keys.sort();
        keys.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same && next.1 != kept.1 {
                // Changed by several: each wants to hear of the other's.
                kept.1 = 0;
            }
            same
        });
        self.hear_changed(&keys);
        if self.others_listen() {
            self.pubsub.outgoing.push(News::Changed(keys));
        }
    }

    /// Tells this core's clients of changed keys with the prefixes they chose.
    pub(super) fn hear_changed(&mut self, keys: &[(Box<[u8]>, u64)]) -> u32 {
        let mut told = Vec::new();
        for (prefix, ids) in &self.pubsub.audience.trackers.prefixes {
            let hit: Vec<&(Box<[u8]>, u64)> =
                keys.iter().filter(|key| key.0.starts_with(prefix)).collect();
            if hit.is_empty() {
                continue;
            }
            let all = Arc::new(names(hit.iter().map(|key| &*key.0)));
            for &id in ids {
                if hit.iter().all(|key| key.1 != id) {
                    told.push((id, all.clone()));
                    continue;
                }
                let others: Vec<&[u8]> =
                    hit.iter().filter(|k| k.1 != id).map(|k| &*k.0).collect();
                if !others.is_empty() {
                    told.push((id, Arc::new(names(others.into_iter()))));
                }
            }
        }
        for (id, body) in told {
            self.tell_tracker(id, &body);
        }
        0
    }

    /// The command that CLIENT CACHING spoke of has run.
    #[inline]
    pub(in crate::worker) fn forget_caching(client: &mut Client) {
        if let Some(mode) = &mut client.tracking {
            mode.caching = false;
        }
    }

    /// This core's part in client-side caching.
    pub(in crate::worker) fn report_tracking(&mut self) -> TrackingReport {
        let trackers = &self.pubsub.audience.trackers;
        let (clients, prefixes) = (trackers.len(), trackers.prefixes.len());
        let (mut keys, mut items) = (0, 0);
        if self.ks.has(self.core) {
            (keys, items) = self.ks.shard(self.core).tracked();
        }
        TrackingReport {
            clients,
            keys,
            items,
            prefixes,
        }
    }
}
