//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! Source: the Redis command pages of the five.

use super::Worker;
use super::client::{Client, Queue, Queued, Waiting, Watched};
use super::dispatch::Needs;
use super::tick::Flow;
use super::tx::Work;
use crate::command::{Command, Error, Run, SessionCmd, flag};
use crate::limits::ARG_WEIGHT;

/// Bytes of arguments an open MULTI may gather (Redis: `client-query-buffer-limit`).
const QUEUE_BYTES: usize = 1024 * 1024 * 1024;

/// Commands that are carried out inside an open MULTI instead of queued.
pub fn is_control(session: SessionCmd) -> bool {
    use SessionCmd::{Discard, Exec, Multi, Quit, Reset, Watch};
    matches!(session, Exec | Discard | Multi | Watch | Quit | Reset)
}

/// Session commands that ask every core, which a transaction cannot wait for.
fn asks_all(session: SessionCmd, argv: &[&[u8]]) -> bool {
    use SessionCmd::*;
    // The client that hears of changes in this one's place may be anywhere.
    let redirects = |arg: &&[u8]| arg.eq_ignore_ascii_case(b"redirect");
    session == ClientTracking && argv.iter().any(redirects)
        || matches!(
            session,
            Info | ClientList
                | ClientKill
                | ClientUnblock
                | ConfigSet
                | ConfigResetstat
                | ConfigRewrite
                | SlowlogGet
                | SlowlogLen
                | SlowlogReset
                | LatencyHistogram
                | LatencyLatest
                | LatencyHistory
                | LatencyReset
                | LatencyGraph
                | LatencyDoctor
                | MemoryStats
                | MemoryPurge
                | EncryptionStatus
                | PubsubChannels(_)
                | PubsubNumsub(_)
                | PubsubNumpat
                | AclSetuser
                | AclDeluser
                | AclSave
                | AclLoad
                | Replicaof
                | Shutdown
                | Debug
        )
}

impl Worker {
    /// Adds a command to an open MULTI.
    pub(super) fn enqueue(
        &mut self,
        client: &mut Client,
        row: &'static Command,
        number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        let refusal = if row.has(flag::NO_MULTI) {
            Some(Error::Text("ERR Command not allowed inside a transaction"))
        } else if matches!(row.run, Run::Session(SessionCmd::Migrate)) {
            let text =
                "ERR MIGRATE waits for another server and is not allowed inside a transaction";
            Some(Error::Text(text))
        } else if matches!(row.run, Run::Session(s) if asks_all(s, argv)) {
            Some(Error::message(format!(
                "ERR '{}' concerns every core and is not allowed inside a transaction",
                row.name.replace('|', " ")
            )))
        } else {
            self.forbids(row, client.applies)
        };
        let bytes: usize = argv.iter().map(|arg| arg.len() + ARG_WEIGHT).sum();
        let Some(queue) = &mut client.multi else {
            return Flow::Next;
        };
        let refusal = refusal.or_else(|| {
            (queue.bytes + bytes > QUEUE_BYTES).then_some(Error::Text("ERR transaction too large"))
        });
        if let Some(e) = refusal {
            queue.refused = true;
            self.stats.refused(number);
            self.refuse(client, e);
            return Flow::Next;
        }
        queue.bytes += bytes;
        let args = argv.iter().map(|arg| arg.to_vec()).collect();
        queue.commands.push(Queued {
            command: row,
            number,
            args,
        });
        self.reply(client).simple("QUEUED");
        Flow::Next
    }

    pub(super) fn multi(&mut self, client: &mut Client) -> Flow {
        if client.multi.is_some() {
            self.reply(client)
                .error("ERR MULTI calls can not be nested");
        } else {
            client.multi = Some(Queue::default());
            self.reply(client).ok();
        }
        Flow::Next
    }

    pub(super) fn discard(&mut self, client: &mut Client, index: u32) -> Flow {
        if client.multi.take().is_none() {
            self.reply(client).error("ERR DISCARD without MULTI");
            return Flow::Next;
        }
        self.forget_watched(client, index)
    }

    /// Forgets what is watched and answers OK.
    pub(super) fn forget_watched(&mut self, client: &mut Client, index: u32) -> Flow {
        let watched = std::mem::take(&mut client.watched);
        let needs = self.homes_of(&watched);
        self.begin(client, index, needs, Work::Unwatch(watched))
    }

    /// Forgets what a client watched that leaves.
    pub(super) fn forget_watched_silently(&mut self, client: &mut Client) {
        let watched = std::mem::take(&mut client.watched);
        if !watched.is_empty() {
            let needs = self.homes_of(&watched);
            self.begin_alone(needs, Work::Unwatch(watched));
        }
    }

    pub(super) fn watch(&mut self, client: &mut Client, index: u32, argv: &[&[u8]]) -> Flow {
        if client.multi.is_some() {
            self.reply(client)
                .error("ERR WATCH inside MULTI is not allowed");
            return Flow::Next;
        }
        let db = client.db;
        let known = |key: &&[u8]| client.watched.iter().any(|w| w.db == db && w.key == **key);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for key in &argv[1..] {
            if !known(key) && !keys.iter().any(|k| k == key) {
                keys.push(key.to_vec());
            }
        }
        let needs = self.owners(keys.iter().map(|key| (db, key.as_slice())));
        self.begin(client, index, needs, Work::Watch(keys))
    }

    /// Ends a transaction whose EXEC itself is wrong.
    pub(super) fn abort(&mut self, client: &mut Client, why: &Error) {
        client.multi = None;
        self.forget_watched_silently(client);
        let why = String::from_utf8_lossy(&why.text()).into_owned();
        let why = why.strip_prefix("ERR ").unwrap_or(&why);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        self.reply(client).error(&text);
        self.stats.error(text.as_bytes());
    }

    pub(super) fn exec_command(&mut self, client: &mut Client, index: u32) -> Flow {
        let Some(queue) = client.multi.take() else {
            self.reply(client).error("ERR EXEC without MULTI");
            return Flow::Next;
        };
        if queue.refused {
            // The reply stands before the OK that forgetting would write, so write it last.
            self.forget_watched_silently(client);
            self.reply(client)
                .error("EXECABORT Transaction discarded because of previous errors.");
            return Flow::Next;
        }
        let watched = std::mem::take(&mut client.watched);
        let mut needs = self.homes_of(&watched);
        let mut db = client.db;
        let runs_scripts = |queued: &Queued| matches!(queued.command.run, Run::Script(_));
        if queue.commands.iter().any(runs_scripts) && !needs.contains(&self.core) {
            needs.push(self.core);
        }
        for queued in &queue.commands {
            let argv = queued.argv();
            // SELECT takes effect for the commands behind it.
            if let Run::Session(SessionCmd::Select) = queued.command.run
                && let Some(selected) = super::session::database(argv[1])
            {
                db = selected;
            }
            let shards = match self.needs(queued.command, db, &argv) {
                Needs::One(shard) => vec![shard],
                Needs::Several(shards) => shards,
                Needs::Nothing => continue,
            };
            for shard in shards {
                if !needs.contains(&shard) {
                    needs.push(shard);
                }
            }
        }
        needs.sort_unstable();
        self.begin(client, index, needs, Work::Exec(queue, watched))
    }

    fn homes_of(&mut self, watched: &[Watched]) -> Vec<usize> {
        self.owners(watched.iter().map(|w| (w.db, w.key.as_slice())))
    }

    pub(super) fn owners<'k>(&mut self, keys: impl Iterator<Item = (u16, &'k [u8])>) -> Vec<usize> {
        let mut owners: Vec<usize> = Vec::new();
        for (db, key) in keys {
            let owner = self.ks.owner(self.ks.key(db, key).slot);
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        owners.sort_unstable();
        owners
    }

    /// Lets a client's next command come.
    pub(super) fn resume(&mut self, index: u32) {
        if let Some(client) = self.clients.at(index) {
            client.waiting = Waiting::Nothing;
            client.conn.replies.catch_up();
            Self::forget_caching(client);
            if !client.has_input {
                client.has_input = true;
                self.input.push(index);
            }
            if !client.has_output {
                client.has_output = true;
                self.output.push(index);
            }
        }
    }
}
