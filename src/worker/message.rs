//! What cores say to each other.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::blocked::{End, Name, WaitId};
use super::checkpoint::Order;
use super::dispatch::Seat;
use super::gather::{Answer, Asker, Question};
use super::inlet::Parcel;
use super::pubsub::News;
use crate::shard::Shard;

/// A message to a core.
pub enum Message {
    /// Commands whose keys live on the receiver.
    Exec(Box<Batch>),
    /// The same commands, answered.
    Done(Box<Batch>),
    /// The sender's transaction wants the receiver's shard.
    Take {
        /// The transaction.
        tx: u64,
        /// The sender.
        from: usize,
        /// Whether the transaction may write to several shards.
        writes: bool,
    },
    /// The shard is lent to the transaction.
    Grant {
        /// The transaction.
        tx: u64,
        /// The shard itself; nobody else can touch it meanwhile.
        shard: Box<Shard>,
        /// The number its log gives to the next record.
        next_lsn: u64,
        /// Why its log takes no writes, if so.
        refusal: Option<String>,
    },
    /// The shard comes home.
    Return {
        /// The transaction.
        tx: u64,
        /// The sender.
        from: usize,
        /// The shard.
        shard: Box<Shard>,
        /// What to log, if the transaction wrote to more than one shard, and this is one of them.
        record: Option<Arc<TxRecord>>,
        /// Whether the sender waits for `Durable`.
        waits: bool,
    },
    /// The receiver's transaction is durable on the sender's shard.
    Durable {
        /// The transaction.
        tx: u64,
    },
    /// A client of another core, which serves it itself, waits for keys of the receiver's shard; sent ahead of the shard.
    Block {
        /// The wait.
        wait: WaitId,
        /// The keys.
        names: Vec<Name>,
        /// The command, by its number in the table.
        command: u16,
    },
    /// It is the turn of one of the receiver's clients to be served with a key of the sender.
    Ready {
        /// The receiver's number for the wait.
        number: u64,
        /// The sender, which holds the key's line until it hears more.
        from: usize,
    },
    /// The wait could not be served, and goes on.
    Again {
        /// The wait.
        wait: WaitId,
    },
    /// The wait, of a client that its own core serves, is over.
    Unwait {
        /// The wait.
        wait: WaitId,
    },
    /// The wait of a client in the receiver's lines, which the receiver serves, is to end.
    Leave {
        /// The wait.
        wait: WaitId,
        /// Why.
        end: End,
    },
    /// Nobody takes the rest of a reply any more that the receiver gives in parts.
    Unread {
        /// The sender.
        from: usize,
        /// The client that it was for, by index and generation.
        client: (u32, u32),
        /// The seat that it was for.
        seat: u32,
    },
    /// Somebody asks all cores.
    Ask {
        /// Who wants the answer.
        from: Asker,
        /// The question.
        question: Arc<Question>,
    },
    /// The answer of one core.
    Answer {
        /// The receiver's number for the question.
        gather: u64,
        /// The answer.
        answer: Box<Answer>,
    },
    /// What is to be heard on every core.
    News {
        /// The sender.
        from: usize,
        /// The sender's number for it, if it waits to hear how many heard it.
        round: Option<u64>,
        /// What it is.
        news: Arc<Vec<News>>,
    },
    /// How many clients of the sender heard each of the news.
    Heard {
        /// The receiver's number for them.
        round: u64,
        /// How many, in order.
        heard: Vec<u32>,
    },
    /// Keys have changed that clients of the receiver had read: number of the client, and key.
    Invalid(Vec<(u64, Arc<[u8]>)>),
    /// Keys have changed that a client had read; one of the receiver's hears it in its place.
    Redirect {
        /// Who hears it.
        to: u64,
        /// Who had read them.
        of: u64,
        /// The keys, as an array; empty for all.
        body: Vec<u8>,
    },
    /// There is no client `to` to hear it in the place of `of`.
    Misdirected {
        /// Who had read the keys.
        of: u64,
        /// Who was to hear of it.
        to: u64,
    },
    /// Keys for the receiver's shard.
    Inlet(Box<Parcel>),
    /// A client whose commands are what another server did.
    Adopt {
        /// Its socket.
        fd: OwnedFd,
        /// The other server, `host:port`.
        addr: String,
    },
    /// CLIENT UNPAUSE.
    Unpaused,
    /// Of a checkpoint.
    Checkpoint(Order),
    /// A script of the sender is over its time.
    Busy,
    /// Stop accepting, let everything end, seal the log, and end.
    Stop,
}

/// The commands one core sends another in a tick, and later their replies. The same memory makes
/// the way there and back, and is used again.
#[derive(Default)]
pub struct Batch {
    /// The sender of the commands.
    pub from: usize,
    /// The arguments' bytes.
    pub bytes: Vec<u8>,
    /// Each argument's end in `bytes`.
    pub ends: Vec<u32>,
    /// The commands.
    pub items: Vec<Item>,
    /// The replies' bytes.
    pub replies: Vec<u8>,
}

/// One command of a batch.
#[derive(Clone, Copy)]
pub struct Item {
    /// Its client, by index and generation, on the sender.
    pub client: (u32, u32),
    /// The seat its reply takes.
    pub seat: u32,
    /// Whether nobody wants the reply (CLIENT REPLY).
    pub silent: bool,
    /// Which command, by its number in the table.
    pub command: u16,
    /// What of its client it depends on.
    pub who: Seat,
    /// The sender's number for the wait that a blocking command may come to; 0 for any other.
    pub wait: u64,
    /// Whether it waits: its reply comes later, in another batch.
    pub blocked: bool,
    /// The core that has more of its reply, which comes in further batches.
    pub more: Option<usize>,
    /// Nanoseconds it took, if they are worth an entry in the slow log.
    pub slow: Option<u64>,
    /// How many arguments it has.
    pub args: u32,
    /// Where its reply ends in `replies`.
    pub reply_end: u32,
}

impl Batch {
    /// Adds a command.
    pub fn push(&mut self, args: &[&[u8]], item: Item) {
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len() as u32);
        }
        self.items.push(item);
    }

    /// The argument of that number, counted over all its commands.
    pub fn arg(&self, i: usize) -> &[u8] {
        arg(&self.bytes, &self.ends, i)
    }

    /// Bytes of memory it holds on to when it is empty.
    pub fn kept(&self) -> usize {
        self.bytes.capacity()
            + self.replies.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.items.capacity() * size_of::<Item>()
    }

    /// Empties it for its next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.items.clear();
        self.replies.clear();
    }
}

/// The argument of that number in a batch's bytes.
pub fn arg<'b>(bytes: &'b [u8], ends: &[u32], i: usize) -> &'b [u8] {
    let start = if i == 0 { 0 } else { ends[i - 1] as usize };
    &bytes[start..ends[i] as usize]
}

/// A transaction that wrote to several shards, as each of their logs holds it.
pub struct TxRecord {
    /// Its number: unique within a run.
    pub id: u64,
    /// What it did, shard by shard.
    pub parts: Vec<TxPart>,
}

/// What a transaction did to one shard.
pub struct TxPart {
    /// The shard.
    pub core: u16,
    /// The number its log gives this transaction.
    pub lsn: u64,
    /// The effects, encoded.
    pub effects: Vec<u8>,
    /// How many.
    pub records: u32,
}
