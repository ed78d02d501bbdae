//! The inlet: whole keys from outside, straight to the cores that own them.
//!
//! Who reads a copy of many keys hands them to an [`Inlet`], on its own thread. It gathers them by owner and sends them in
//! parcels; a core takes a parcel when its shard is at hand and its log keeps up, as it does with commands, puts each key
//! into its shard, whatever was there, and so into its log, and says that it has. No more than [`UNDER_WAY`] bytes are
//! between the two, so a copy of any size passes through little memory, and one that comes faster than the disks take it
//! waits.
//!
//! Promise: when [`Inlet::settle`] returns, all keys that were put in are in their shards; or it says what was refused.
//! Between keys there is no order: whoever reads meanwhile sees some of them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::Worker;
use super::mesh::Inbox;
use super::message::Message;
use crate::shard::{Dump, Owned, Said};
use crate::slot;

/// Bytes and keys of one parcel: some hundred microseconds of a core.
const PARCEL_BYTES: usize = 64 << 10;
const PARCEL_KEYS: usize = 256;
/// Bytes that may be on their way to the cores.
const UNDER_WAY: usize = 8 << 20;
/// What a key takes beside its bytes.
const KEY: usize = 64;

/// A key that arrives.
pub struct Arrived {
    /// Its database, one that there is.
    pub db: u16,
    /// Its name.
    pub name: Vec<u8>,
    /// What it holds, and until when.
    pub dump: Dump,
    /// How it was used.
    pub said: Option<Said>,
    /// About how many bytes it takes.
    pub bytes: usize,
}

/// Keys for one core.
pub struct Parcel {
    keys: Vec<Arrived>,
    bytes: usize,
    tell: Sender<Taken>,
}

/// What became of a parcel: its bytes, and why it was refused, if so.
type Taken = (usize, Option<String>);

/// The way in.
pub struct Inlet {
    inboxes: Vec<Arc<Inbox<Message>>>,
    map: slot::Map,
    open: Vec<(Vec<Arrived>, usize)>,
    under_way: usize,
    tell: Sender<Taken>,
    taken: Receiver<Taken>,
}

impl Inlet {
    /// A way to the cores that have these inboxes.
    pub fn new(inboxes: Vec<Arc<Inbox<Message>>>) -> Inlet {
        let (tell, taken) = channel();
        Inlet {
            map: slot::Map::new(inboxes.len()),
            open: inboxes.iter().map(|_| (Vec::new(), 0)).collect(),
            inboxes,
            under_way: 0,
            tell,
            taken,
        }
    }

    /// Puts a key in; blocks while much is under way, and calls `meanwhile` about every `every`, which may give up.
    ///
    /// # Errors
    /// What a core refused, or what `meanwhile` says. Keys that were put in before may have arrived or not.
    pub fn put(
        &mut self,
        key: Arrived,
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let owner = self.map.owner(slot::slot_of(&key.name));
        let (keys, bytes) = &mut self.open[owner];
        *bytes += key.bytes + key.name.len() + KEY;
        keys.push(key);
        if *bytes >= PARCEL_BYTES || keys.len() >= PARCEL_KEYS {
            self.send(owner);
        }
        self.wait(UNDER_WAY, every, meanwhile)
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// As [`Inlet::put`].
    pub fn settle(
        &mut self,
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        for owner in 0..self.open.len() {
            self.send(owner);
        }
        self.wait(0, every, meanwhile)
    }

    fn send(&mut self, owner: usize) {
        let (keys, bytes) = std::mem::take(&mut self.open[owner]);
        if keys.is_empty() {
            return;
        }
        self.under_way += bytes;
        let tell = self.tell.clone();
        let parcel = Box::new(Parcel { keys, bytes, tell });
        self.inboxes[owner].push(Message::Inlet(parcel));
    }

    /// Waits until no more than so many bytes are under way.
    fn wait(
        &mut self,
        most: usize,
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let taken = if self.under_way > most {
                match self.taken.recv_timeout(every) {
                    Ok(taken) => taken,
                    Err(RecvTimeoutError::Timeout) => {
                        meanwhile()?;
                        continue;
                    }
                    // One sender is ours.
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            } else {
                match self.taken.try_recv() {
                    Ok(taken) => taken,
                    Err(_) => return Ok(()),
                }
            };
            self.under_way -= taken.0;
            if let Some(why) = taken.1 {
                return Err(why);
            }
        }
    }
}

/// About how many bytes a value takes.
pub fn weight(value: &Owned) -> usize {
    match value {
        Owned::Str(bytes) => bytes.len(),
        Owned::Int(_) => size_of::<i64>(),
        Owned::Object(object) => object.heap_bytes(),
    }
}

impl Worker {
    /// Puts the keys of a parcel where they belong. The shard is here.
    pub(super) fn take_parcel(&mut self, parcel: Parcel) {
        let Parcel { keys, bytes, tell } = parcel;
        let refused = self.log.accepts().err().map(|why| why.to_string());
        if refused.is_none() {
            for key in keys {
                let k = self.ks.key(key.db, &key.name);
                let shard = self.ks.at(k.slot);
                // Whatever its time is, it is there: who sent it decides when it goes.
                shard.restore(&k, key.dump, 0);
                if let Some(said) = key.said {
                    shard.set_use(&k, said, 0);
                }
            }
            self.look_for_news(0);
            self.serve_blocked();
        }
        // Whoever sent it may have given up meanwhile.
        let _ = tell.send((bytes, refused));
    }
}
