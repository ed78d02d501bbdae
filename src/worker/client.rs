//! What a core knows of a client beyond its bytes: who it is, which database, which transaction.

use std::sync::Arc;

use super::gather::Class;
use super::pubsub::Tracked;
use super::pubsub::hub::Subscriptions;
use super::slab::Id;
use crate::acl::User;
use crate::command::Command;
use crate::net::conn::Conn;
use crate::resp::Proto;

/// A client of this core.
pub struct Client {
    /// Its connection.
    pub conn: Conn,
    /// Its number, unique in the process and never used again.
    pub id: u64,
    /// Where it comes from, `ip:port`.
    pub addr: String,
    /// Where it came to, `ip:port`.
    pub laddr: String,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// The selected database.
    pub db: u16,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// Who it is.
    pub user: Arc<User>,
    /// Whether it has shown that, or did not have to when it came.
    pub authenticated: bool,
    /// Whether it may do everything, so that no command of it has to be checked.
    pub trusted: bool,
    /// When it came, Unix ms.
    pub since_ms: u64,
    /// When it last sent something, Unix ms.
    pub active_ms: u64,
    /// The window of activity it was last counted in.
    pub window: u64,
    /// The last command.
    pub last: Option<&'static Command>,
    /// MULTI, if open.
    pub multi: Option<Queue>,
    /// WATCH.
    pub watched: Vec<Watched>,
    /// What its next command waits for.
    pub waiting: Waiting,
    /// Whether its commands are what the server did that this one follows.
    pub applies: bool,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// What it listens to, if it does.
    pub subs: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Tracked>,
    /// MONITOR.
    pub monitors: bool,
    /// CLIENT REPLY.
    pub reply: ReplyMode,
    /// Whether its input holds no whole command: only more of it can help.
    pub hungry: bool,
    /// The length of a reply from another core that it may have to expect, in bytes.
    pub far_reply: usize,
    /// Since when it owes us reading more than the soft limit, Unix ms.
    pub over_soft_since: Option<u64>,
    /// Whether it is on the list of those with input.
    pub has_input: bool,
    /// Whether it is on the list of those with output.
    pub has_output: bool,
    /// Whether it is on the list of those whose replies wait for the log.
    pub held: bool,
    /// It has said good-bye, or the server stops: what it sent is executed, then it is closed.
    pub leaving: bool,
    /// Whether we have said good-bye.
    pub said_goodbye: bool,
}

/// A reason not to take a client's next command yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// None.
    Nothing,
    /// Its transaction runs.
    Tx(u64),
    /// The other cores are being asked.
    Gather(u64),
    /// This core's shard is lent out.
    Shard,
    /// Keys, by the number of the wait.
    Blocked(u64),
    /// Its long read is answered in steps.
    Walk,
    /// CLIENT PAUSE.
    Pause,
    /// DEBUG SLEEP.
    Until {
        /// Monotonic microseconds.
        at: u64,
        /// Whether the client wants no reply (CLIENT REPLY).
        silent: bool,
    },
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// Replies are sent.
    On,
    /// None is.
    Off,
    /// The next one is not.
    Skip,
}

/// The commands of an open MULTI.
#[derive(Default)]
pub struct Queue {
    /// In order.
    pub commands: Vec<Queued>,
    /// Whether one of them was refused: EXEC then aborts.
    pub refused: bool,
    /// What their arguments weigh.
    pub bytes: usize,
}

/// A command of an open MULTI.
pub struct Queued {
    /// Its row.
    pub command: &'static Command,
    /// Its number in the table.
    pub number: u16,
    /// Its arguments, name first.
    pub args: Vec<Vec<u8>>,
}

impl Queued {
    /// The arguments as handlers take them.
    pub fn argv(&self) -> Vec<&[u8]> {
        self.args.iter().map(Vec::as_slice).collect()
    }
}

/// A watched key and the version it had.
#[derive(Clone)]
pub struct Watched {
    /// Its database.
    pub db: u16,
    /// The key.
    pub key: Vec<u8>,
    /// The version that EXEC wants to find again.
    pub version: u64,
}

/// Bytes of unexecuted input above which a client's socket is not read.
const INPUT_PAUSE: usize = 64 * 1024 * 1024;
/// Bytes of replies from other cores that a client may have coming, as far as can be told beforehand.
const FAR_BYTES: usize = 16 * 1024 * 1024;
/// Requests of one client that may be on their way to other cores.
const MOST_FAR: usize = 128;

impl Client {
    /// Whether it has sent enough for now. A command that is longer than that is taken in whole.
    pub fn is_full(&self) -> bool {
        !self.hungry && self.conn.input.len() > INPUT_PAUSE
    }

    /// Whether it has as many requests on their way to other cores as it may. What they answer is only
    /// known when it is here, so long answers of late leave room for few.
    pub fn is_far(&self) -> bool {
        let most = (FAR_BYTES / self.far_reply.max(1)).clamp(1, MOST_FAR);
        self.conn.replies.open() >= most
    }

    /// A reply that comes from another core in parts: nothing goes there until it is whole.
    pub fn far_reply_is_long(&mut self) {
        self.far_reply = self.far_reply.max(FAR_BYTES);
    }

    /// Learns from a reply that came from another core.
    pub fn far_reply_came(&mut self, len: usize) {
        self.far_reply = len.max(self.far_reply - self.far_reply / 4);
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self.subs {
            _ if self.applies => Class::Server,
            Some(_) => Class::Pubsub,
            None => Class::Normal,
        }
    }

    /// The address of the client in its core's slab.
    pub fn at(&self, index: u32) -> Id {
        Id {
            index,
            generation: self.conn.generation(),
        }
    }
}
