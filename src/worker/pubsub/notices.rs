//! Keyspace events on their way from the shards to those who listen.
//!
//! Source: Redis, keyspace notifications. Each event is published by the core that made the change, right behind the
//! command that made it; what a transaction changed on a borrowed shard, by the core that borrowed it.

use super::super::{Home, Worker};
use crate::command::Topic;
use crate::shard::{Changes, notice};

impl Worker {
    /// Looks at what a command has changed, if anybody wants to hear of changes. `author` is the client that does not
    /// want to hear of its own, 0 for none.
    #[inline]
    pub(in crate::worker) fn look_for_news(&mut self, author: u64) {
        if self.pubsub.attentive {
            self.gather_news(author);
        }
    }

    /// Takes what the shards at hand have noted.
    pub(in crate::worker) fn gather_news(&mut self, author: u64) {
        let mut notices = Vec::new();
        let mut all = Changes::default();
        for shard in self.ks.present() {
            if shard.has_news() {
                notices.append(&mut shard.take_notices());
                let mut changes = shard.take_changes();
                all.invalid.append(&mut changes.invalid);
                all.changed.append(&mut changes.changed);
                all.flushed |= changes.flushed;
            }
        }
        notices.sort_by_key(|(place, _)| *place);
        for (_, notice) in notices {
            self.publish_event(&notice);
        }
        self.tell_changes(all, author);
    }

    /// What the shard noted while no command ran: keys that have expired.
    pub(in crate::worker) fn gather_own_news(&mut self) {
        if matches!(self.home, Home::Here | Home::Promised(..))
            && self.ks.shard(self.core).has_news()
        {
            self.gather_news(0);
        }
    }

    fn publish_event(&mut self, notice: &notice::Notice) {
        let classes = self.pubsub.noticed;
        if classes & notice.class == 0 {
            return;
        }
        let (db, event) = (notice.db, notice.event.as_bytes());
        if classes & notice::BY_KEY != 0 {
            let mut channel = format!("__keyspace@{db}__:").into_bytes();
            channel.extend_from_slice(&notice.key);
            self.announce(Topic::Channel, &channel, event);
        }
        if classes & notice::BY_EVENT != 0 {
            let mut channel = format!("__keyevent@{db}__:").into_bytes();
            channel.extend_from_slice(event);
            self.announce(Topic::Channel, &channel, &notice.key);
        }
    }

    /// Takes over which changes are to be told: at every tick, since any core may have been asked to listen, and
    /// before the shard goes to another core.
    #[inline]
    pub(in crate::worker) fn attune(&mut self) {
        let (trackers, broadcast) = self.shared.trackers();
        self.pubsub.attentive = trackers || self.pubsub.noticed != 0;
        if self.ks.has(self.core) {
            self.ks.shard(self.core).set_tracked(trackers, broadcast);
        }
    }

    /// The classes of events that are published from now on.
    pub(in crate::worker) fn set_noticed(&mut self) {
        let classes = self.settings.server.notify_keyspace_events;
        // Without one of the two there is no channel to tell it in.
        let told = classes & (notice::BY_KEY | notice::BY_EVENT) != 0;
        self.pubsub.noticed = if told { classes } else { 0 };
        if self.ks.has(self.core) {
            self.ks.shard(self.core).set_noticed(self.pubsub.noticed);
        }
    }
}
