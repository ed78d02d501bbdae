//! The copy of everything: an RDB file on the link, into the cores.
//!
//! Promise: what this server held goes when the copy has begun to come, not before; from then until all of the copy is in
//! the shards, and in their logs durably, nothing is served. The file is read as it comes and held nowhere, and not one
//! byte behind it is taken for a part of it.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::link::{Link, wait};
use super::talk::{Bulk, MARK};
use super::tap::{Broken, Tap};
use super::{Desk, Lost, incomplete};
use crate::rdb::file::{FileReader, Item};
use crate::resp::number::parse_i64;
use crate::shard::Dump;
use crate::worker::follow::{Held, Order};
use crate::worker::gather::{Answer, Asker, Question};
use crate::worker::inlet::{Arrived, Inlet, weight};
use crate::worker::message::Message;
use crate::worker::shared::Shared;

/// How often a sign of life is given while the copy is taken in, and how often orders are looked for.
pub const SIGN: Duration = Duration::from_secs(1);
/// How often orders are looked for where nothing wakes us.
const LOOK: Duration = Duration::from_millis(100);

/// Keeps the other server, and whoever has orders, from waiting in vain.
pub struct Keeper<'k> {
    pub link: &'k RefCell<Link>,
    pub desk: &'k RefCell<Desk>,
    pub shared: &'k Shared,
    next: Cell<Instant>,
}

impl<'k> Keeper<'k> {
    pub fn new(link: &'k RefCell<Link>, desk: &'k RefCell<Desk>, shared: &'k Shared) -> Keeper<'k> {
        let next = Cell::new(Instant::now() + SIGN);
        Keeper {
            link,
            desk,
            shared,
            next,
        }
    }

    /// Gives a sign of life if it is time.
    ///
    /// # Errors
    /// Why there is no point in going on: an order, or a link that is broken.
    fn look(&self) -> Result<(), String> {
        let mut desk = self.desk.borrow_mut();
        if desk.ordered() {
            let half = self.shared.follow.told().held == Held::Half;
            match desk.next.take() {
                // That cannot be, and the copy goes on.
                Some(Order::Leave(tell)) if half => tell(Err(incomplete(self.shared))),
                order => {
                    desk.next = order;
                    return Err("something else is wanted".into());
                }
            }
        }
        drop(desk);
        let now = Instant::now();
        if now >= self.next.get() {
            self.next.set(now + SIGN);
            // To a master an empty line says that we are still there.
            self.link.borrow_mut().send(b"\n")?;
        }
        Ok(())
    }

    /// Waits for more on the link.
    fn more(&self) -> Result<(), String> {
        let timeout = self.shared.settings().replication.timeout;
        loop {
            self.look()?;
            let n = self.link.borrow_mut().receive()?;
            if n > 0 {
                self.shared.follow.told().heard = Some(Instant::now());
                return Ok(());
            }
            let link = self.link.borrow();
            if link.heard.elapsed() > timeout {
                return Err("its copy stopped coming (replication.timeout)".into());
            }
            let desk = self.desk.borrow();
            wait(&[link.awaits(true), desk.awaits()], SIGN).map_err(|e| e.to_string())?;
        }
    }
}

/// The bytes of the copy, up to its end where that is known.
struct Feed<'k> {
    keeper: &'k Keeper<'k>,
    left: Option<u64>,
    come: u64,
    told: u64,
}

impl Feed<'_> {
    fn tell(&mut self) {
        self.told = self.come;
        self.keeper.shared.follow.told().copy.1 = self.come;
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.map_or(usize::MAX, |n| n.min(1 << 30) as usize);
        let most = into.len().min(left);
        if most == 0 {
            return Ok(0);
        }
        loop {
            let mut link = self.keeper.link.borrow_mut();
            let n = link.input().len().min(most);
            if n > 0 {
                into[..n].copy_from_slice(&link.input()[..n]);
                link.take(n);
                self.come += n as u64;
                self.left = self.left.map(|left| left - n as u64);
                return Ok(n);
            }
            drop(link);
            if self.come != self.told {
                self.tell();
            }
            self.keeper.more().map_err(io::Error::other)?;
        }
    }
}

/// Asks all cores something, and waits for all answers.
///
/// # Errors
/// What `meanwhile` says, which is called now and then.
pub fn ask_all(
    shared: &Shared,
    question: Question,
    meanwhile: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let question = Arc::new(question);
    let (tell, answers) = channel::<()>();
    for inbox in &shared.inboxes {
        let tell = tell.clone();
        let answered = move |_: Answer| {
            // Nobody may be waiting any more.
            let _ = tell.send(());
        };
        inbox.push(Message::Ask {
            from: Asker::Outside(Arc::new(answered)),
            question: question.clone(),
        });
    }
    for _ in &shared.inboxes {
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => meanwhile()?,
            }
        }
    }
    Ok(())
}

/// Takes the copy in. `begun` is called when it has begun to come, and what was here is about to go; the database that the
/// stream behind it is in is selected at the end.
///
/// # Errors
/// [`Lost`]. From `begun` on what is here is a part of the copy.
pub fn take(
    keeper: &Keeper<'_>,
    tap: &mut Tap,
    bulk: &Bulk,
    begun: &mut dyn FnMut() -> Result<(), String>,
) -> Result<(), Lost> {
    let shared = keeper.shared;
    let link = |why: String| Lost::Link(why);
    let mut meanwhile = || keeper.look();
    let length = match bulk {
        Bulk::Length(length) => Some(*length),
        Bulk::Mark(_) => None,
    };
    shared.follow.told().copy = (length, 0);
    let feed = Feed {
        keeper,
        left: length,
        come: 0,
        told: 0,
    };
    let unread = |e: crate::rdb::file::FileError| Lost::Link(format!("its copy: {e}"));
    let mut file = FileReader::open(feed).map_err(unread)?;
    let mut item = file.next().map_err(unread)?;
    begun().map_err(Lost::Copy)?;
    let refused = |e: Broken| Lost::Copy(e.to_string());
    tap.call(&[b"FLUSHALL"], LOOK, &mut meanwhile)
        .map_err(refused)?;
    tap.call(&[b"FUNCTION", b"FLUSH"], LOOK, &mut meanwhile)
        .map_err(refused)?;
    let databases = u32::from(shared.settings().server.databases);
    let mut inlet = Inlet::new(shared.inboxes.clone());
    let mut stream_db = None;
    while let Some(one) = item {
        match one {
            Item::Aux(name, value) if name == b"repl-stream-db" => {
                stream_db = parse_i64(&value).filter(|db| *db >= 0);
            }
            Item::Aux(..) | Item::Sizes { .. } => {}
            Item::Library(text) => {
                let words: [&[u8]; 4] = [b"FUNCTION", b"LOAD", b"REPLACE", &text];
                tap.call(&words, LOOK, &mut meanwhile).map_err(refused)?;
            }
            Item::Module(name) => {
                tracing::warn!(
                    module = name,
                    "the copy holds data of a module, beside its keys, that nothing is done with"
                );
            }
            Item::Key(key) if key.db >= databases => {
                return Err(Lost::Copy(format!(
                    "its copy has keys in database {}, and server.databases is {databases}",
                    key.db
                )));
            }
            Item::Key(key) => {
                let value = file.value().map_err(unread)?;
                let arrived = Arrived {
                    db: key.db as u16,
                    bytes: weight(&value),
                    name: key.name,
                    dump: Dump {
                        value,
                        expire: key.expire,
                    },
                    said: key.said,
                };
                inlet.put(arrived, LOOK, &mut meanwhile).map_err(link)?;
            }
        }
        item = file.next().map_err(unread)?;
    }
    let mut feed = file.into_inner();
    feed.tell();
    match bulk {
        Bulk::Length(_) if feed.left != Some(0) => {
            return Err(Lost::Link("its copy ends before its length says".into()));
        }
        Bulk::Length(_) => {}
        Bulk::Mark(mark) => {
            let mut behind = [0; MARK];
            let read = feed.read_exact(&mut behind);
            read.map_err(|e| Lost::Link(format!("its copy: {e}")))?;
            if behind != *mark {
                return Err(Lost::Link("its copy is not followed by its mark".into()));
            }
        }
    }
    inlet.settle(LOOK, &mut meanwhile).map_err(link)?;
    if let Some(db) = stream_db {
        let db = db.to_string();
        tap.call(&[b"SELECT", db.as_bytes()], LOOK, &mut meanwhile)
            .map_err(refused)?;
    }
    if shared.settings().persistence.appendonly {
        let durable = Question::Durable { wait: true };
        ask_all(shared, durable, &mut meanwhile).map_err(link)?;
    }
    Ok(())
}
