//! ACL LOG: what was refused, to whom, and how often. Alike refusals within a minute are one entry.

use std::collections::VecDeque;

/// Alike refusals at most this far apart are one entry, in ms.
const TOGETHER_MS: u64 = 60_000;
/// How many of the latest entries are looked through for an alike one.
const LOOKED_AT: usize = 10;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command is not allowed.
    Command,
    /// A key is not allowed.
    Key,
    /// A channel is not allowed.
    Channel,
    /// Name or password were wrong.
    Auth,
}

impl Reason {
    /// As ACL LOG says it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// Where it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A command by itself.
    TopLevel,
    /// In a transaction.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    /// As ACL LOG says it.
    pub fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Why.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// Who.
    pub user: Vec<u8>,
}

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, which no other entry of this run has.
    pub id: u64,
    /// How often it happened.
    pub count: u64,
    /// What happened.
    pub event: Event,
    /// The client it happened to last, as CLIENT LIST shows it.
    pub client: String,
    /// When it happened first, Unix ms.
    pub created_ms: u64,
    /// When it happened last, Unix ms.
    pub updated_ms: u64,
}

/// The log, newest entry first.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl AclLog {
    /// Notes a refusal; no more than `most` entries are kept.
    pub fn note(&mut self, event: Event, client: String, now_ms: u64, most: usize) {
        let alike = self.entries.iter().take(LOOKED_AT).position(|entry| {
            entry.event == event && now_ms.saturating_sub(entry.updated_ms) <= TOGETHER_MS
        });
        let entry = match alike.and_then(|at| self.entries.remove(at)) {
            Some(old) => Entry {
                count: old.count + 1,
                client,
                updated_ms: now_ms,
                ..old
            },
            None => {
                let id = self.next_id;
                self.next_id += 1;
                Entry {
                    id,
                    count: 1,
                    event,
                    client,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(most);
    }

    /// The newest entries, this many.
    pub fn newest(&self, most: usize) -> Vec<Entry> {
        self.entries.iter().take(most).cloned().collect()
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Keeps the newest entries, this many.
    pub fn trim(&mut self, most: usize) {
        self.entries.truncate(most);
    }
}
