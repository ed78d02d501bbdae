//! What a server sends unasked: messages of channels, keyspace events, lines of MONITOR, and word of keys that have
//! changed; and CLIENT PAUSE, which keeps it from answering.
//!
//! Each core knows what its own clients listen to ([`hub`]). What is to be heard everywhere is heard here at once and
//! goes to the other cores at the end of the tick, in one message with shared contents ([`publish`]), and only to those
//! where somebody listens: the number of listeners on each core is the one thing that cores share. Messages between two
//! cores keep their order, so the messages of one publisher arrive in order everywhere; and what was forwarded before
//! goes ahead of them, so whoever hears of a write finds it done.
//!
//! The rejected idea: channels that belong to a core by their hash. Each message would make one hop more, and patterns
//! would have to be everywhere all the same.
//!
//! Reading order: `hub`, `post`, `publish`, `subscribe`, `notices`, `monitor`, `tracking`, `changes`, `pause`.

mod changes;
pub mod hub;
mod monitor;
mod notices;
mod pause;
mod post;
mod publish;
mod subscribe;
mod tracking;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub use pause::Pause;
pub use publish::{News, Unplaced};
pub use tracking::{Tracked, Trackers, TrackingReport};

use super::message::Message;
use hub::Hub;

/// Those of this core's clients that are sent what they did not ask for.
#[derive(Default)]
pub struct Audience {
    /// Channels and patterns.
    pub hub: Hub,
    /// The clients, by index, that MONITOR.
    pub monitors: Vec<u32>,
    /// CLIENT TRACKING.
    pub trackers: Trackers,
}

/// A core's part in all this.
#[derive(Default)]
pub struct Pubsub {
    pub(super) audience: Audience,
    /// The classes of keyspace events that are published.
    noticed: u32,
    /// Whether commands have to be looked at for what they changed.
    attentive: bool,
    /// What is kept for clients whose command runs.
    pending: Vec<(u32, post::Kind, Vec<u8>)>,
    /// Clients that do not take what they are sent.
    overfull: Vec<u32>,
    /// What the other cores have not been told yet, and who waits to hear how many heard it.
    outgoing: Vec<News>,
    asked: Vec<publish::Asked>,
    rounds: HashMap<u64, publish::Round>,
    next_round: u64,
    /// Publications inside the transaction that runs.
    unplaced: Vec<publish::Unplaced>,
    /// All keys changed in this tick, and by which client if by one.
    changed: Vec<(Box<[u8]>, u64)>,
    /// Word for clients of other cores of keys they had read, by core.
    invalid: Vec<Vec<(u64, Arc<[u8]>)>>,
    /// Messages to other cores that wait for the log: ticket, receiver, message.
    held: VecDeque<(u64, usize, Message)>,
    /// Clients whose command waits for the end of a pause.
    postponed: Vec<u32>,
}

impl Pubsub {
    /// Whether nothing is left to tell.
    pub(super) fn is_quiet(&self) -> bool {
        self.held.is_empty() && self.rounds.is_empty()
    }
}
