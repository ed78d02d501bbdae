//! The waits of this core's own clients: how they begin away from here, and how they end.

use std::mem;

use super::lines::{Name, WaitId};
use super::{How, Unserved, names, wants};
use crate::command::{Command, Error, Nil, Run, flag};
use crate::resp::Reply;
use crate::worker::Worker;
use crate::worker::access::Moment;
use crate::worker::client::{Client, ReplyMode, Waiting};
use crate::worker::dispatch::Seat;
use crate::worker::gather::{Answer, Asker};
use crate::worker::message::Message;
use crate::worker::slab::Id;
use crate::worker::tick::Flow;
use crate::worker::tx::Work;

/// What CLIENT UNBLOCK .. ERROR makes of a wait.
const UNBLOCKED: Error = Error::Text("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/// A client of this core that waits.
pub(super) struct Mine {
    client: Id,
    /// Whether it wants no reply (CLIENT REPLY).
    silent: bool,
    /// The command, where the owner of its keys has it.
    asked: Option<Asked>,
    place: Place,
    /// Whether it is known to wait: a command that was sent to another core may be answered at once.
    pub(super) known: bool,
}

/// A command that waits: its row, number and arguments.
type Asked = ((&'static Command, u16), Vec<Vec<u8>>);

/// Who decides how a wait ends.
enum Place {
    /// The core that owns the keys.
    Line(usize),
    /// This core: the keys live on several shards.
    Spread(Box<Spread>),
    /// This core, and there are no keys (WAIT); holds the answer at its end.
    Pause(Option<u64>, Vec<u8>),
}

/// A wait for keys of several shards.
struct Spread {
    row: (&'static Command, u16),
    args: Vec<Vec<u8>>,
    who: Seat,
    /// The shards it takes to serve it.
    needs: Vec<usize>,
    /// The shards of the keys it waits for.
    owners: Vec<usize>,
    names: Vec<Name>,
    nil: Nil,
    deadline: Option<u64>,
    /// Whether a transaction is on its way to try it.
    trying: bool,
    /// The owners that hold lines until it has been tried.
    askers: Vec<usize>,
}

/// How a wait ends that is not served.
pub enum End {
    /// Its time is up.
    Time,
    /// CLIENT UNBLOCK.
    Unblock {
        /// Whether the answer is an error instead of nothing.
        error: bool,
        /// Who is told whether somebody waited.
        asker: Asker,
    },
    /// The rules have changed, and its user may not do this any more.
    Denied(Error),
    /// The client is gone.
    Gone,
}

impl End {
    /// The answer of a wait that ends so.
    fn write(&self, nil: Nil, who: Seat, out: &mut Vec<u8>) {
        let mut reply = Reply {
            buf: out,
            proto: who.proto,
        };
        match self {
            End::Unblock { error: true, .. } => UNBLOCKED.write(&mut reply),
            End::Time | End::Unblock { .. } => nil.write(&mut reply),
            End::Denied(why) => why.write(&mut reply),
            End::Gone => {}
        }
    }

    fn is_error(&self) -> bool {
        matches!(self, End::Unblock { error: true, .. } | End::Denied(_))
    }
}

impl Mine {
    pub(super) fn in_line(
        client: Id,
        silent: bool,
        asked: ((&'static Command, u16), &[&[u8]]),
        owner: usize,
        known: bool,
    ) -> Mine {
        let (row, argv) = asked;
        let args = argv.iter().map(|arg| arg.to_vec()).collect();
        Mine {
            client,
            silent,
            asked: Some((row, args)),
            place: Place::Line(owner),
            known,
        }
    }
}

impl Worker {
    /// A blocking command goes to the core that owns its keys: the client waits. Returns the number of the wait.
    #[cold]
    pub(in crate::worker) fn await_owner(
        &mut self,
        client: &mut Client,
        index: u32,
        asked: ((&'static Command, u16), &[&[u8]]),
        owner: usize,
    ) -> u64 {
        let id = self.new_wait();
        let silent = client.reply != ReplyMode::On;
        let mine = Mine::in_line(client.at(index), silent, asked, owner, false);
        self.blocked.mine.insert(id.number, mine);
        client.waiting = Waiting::Blocked(id.number);
        id.number
    }

    /// The answer to a command that may have waited at another core has come.
    pub(in crate::worker) fn answered_wait(&mut self, number: u64) {
        if let Some(mine) = self.blocked.mine.remove(&number)
            && self.clients.holds(mine.client)
        {
            self.resume(mine.client.index);
        }
    }

    /// Lets a client wait for keys of several shards, all of which are at hand.
    #[cold]
    pub(in crate::worker) fn block_spread(
        &mut self,
        client: &mut Client,
        index: u32,
        needs: &[usize],
        unserved: Unserved,
    ) {
        let Unserved { row, args, wait } = unserved;
        let id = self.new_wait();
        let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let names = names(client.db, &argv, &wait);
        let deadline = self.deadline(&wait);
        if let Some(at) = deadline {
            self.blocked.deadlines.insert((at, id));
        }
        let mut owners: Vec<usize> = Vec::new();
        for (db, key) in &names {
            let owner = self.ks.owner(self.ks.key(*db, key).slot);
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        for &owner in &owners {
            let here: Vec<Name> = names
                .iter()
                .filter(|(db, key)| self.ks.owner(self.ks.key(*db, key).slot) == owner)
                .cloned()
                .collect();
            if owner == self.core {
                self.join(id, here, row.0, How::There);
            } else {
                let block = Message::Block {
                    wait: id,
                    names: here,
                    command: row.1,
                };
                self.mesh.send(owner, block);
            }
        }
        let spread = Spread {
            row,
            args: wait.args.unwrap_or(args),
            who: Seat::of(client),
            needs: needs.to_vec(),
            owners,
            names,
            nil: wait.nil,
            deadline,
            trying: false,
            askers: Vec::new(),
        };
        let mine = Mine {
            client: client.at(index),
            silent: client.reply != ReplyMode::On,
            asked: None,
            place: Place::Spread(Box::new(spread)),
            known: true,
        };
        self.blocked.mine.insert(id.number, mine);
        client.waiting = Waiting::Blocked(id.number);
    }

    /// Lets a client wait for nothing but the end of a time, and then have this answer.
    pub(in crate::worker) fn pause(
        &mut self,
        client: &mut Client,
        index: u32,
        timeout_ms: Option<u64>,
        answer: Vec<u8>,
    ) -> Flow {
        let id = self.new_wait();
        let now = self.clock.now_us;
        let deadline = timeout_ms.map(|ms| now.saturating_add(ms.saturating_mul(1000)));
        if let Some(at) = deadline {
            self.blocked.deadlines.insert((at, id));
        }
        let mine = Mine {
            client: client.at(index),
            silent: client.reply != ReplyMode::On,
            asked: None,
            place: Place::Pause(deadline, answer),
            known: true,
        };
        self.blocked.mine.insert(id.number, mine);
        client.waiting = Waiting::Blocked(id.number);
        Flow::Wait
    }

    /// Changes the answer at the end of a pause, and ends it if told so. A pause that is over stays so.
    pub(in crate::worker) fn amend_pause(&mut self, number: u64, answer: Vec<u8>, end: bool) {
        if let Some(Mine {
            place: Place::Pause(_, at_end),
            ..
        }) = self.blocked.mine.get_mut(&number)
        {
            *at_end = answer;
            if end {
                let core = self.core;
                self.end_wait(WaitId { core, number }, End::Time);
            }
        }
    }

    /// It is the turn of a client of this core that waits for keys of several shards; `from` holds the line.
    pub(in crate::worker) fn ready(&mut self, number: u64, from: usize) {
        let Some(Mine {
            place: Place::Spread(spread),
            ..
        }) = self.blocked.mine.get_mut(&number)
        else {
            // It waits no more, which the owner has been told.
            return;
        };
        if !spread.askers.contains(&from) {
            spread.askers.push(from);
        }
        if !mem::replace(&mut spread.trying, true) {
            let needs = spread.needs.clone();
            let writes = spread.row.0.has(flag::WRITE);
            self.begin_alone(needs, Work::Retry { number, writes });
        }
    }

    /// Tries to serve a client that waits for keys of several shards, all of which are at hand. Tells who gets the reply,
    /// and whether it is not to be sent.
    pub(in crate::worker) fn retry(
        &mut self,
        number: u64,
        reply: &mut Vec<u8>,
    ) -> Option<(Id, bool)> {
        let mut mine = self.blocked.mine.remove(&number)?;
        let Place::Spread(spread) = &mut mine.place else {
            self.blocked.mine.insert(number, mine);
            return None;
        };
        spread.trying = false;
        let (row, command) = spread.row;
        let served = if !spread
            .names
            .iter()
            .any(|name| wants(row, self.kind_at(name)))
        {
            false
        } else if let Some(e) = self.forbids(row, false) {
            self.stats.refused(command);
            self.write_error(&e, spread.who, reply);
            true
        } else if let Run::Data(f) = row.run {
            let argv: Vec<&[u8]> = spread.args.iter().map(Vec::as_slice).collect();
            let who = spread.who.waiting();
            let ran = self.run_data(f, row, command, who, &argv, reply, None);
            if let Some(ns) = ran.slow {
                self.note_slow_of(mine.client, ns, &argv);
            }
            ran.wait.is_none()
        } else {
            false
        };
        let wait = WaitId {
            core: self.core,
            number,
        };
        if served {
            let to = (mine.client, mine.silent);
            self.leave_owners(wait, spread);
            return Some(to);
        }
        for owner in mem::take(&mut spread.askers) {
            if owner == self.core {
                self.again(wait);
            } else {
                self.mesh.send(owner, Message::Again { wait });
            }
        }
        self.blocked.mine.insert(number, mine);
        None
    }

    /// Takes a wait out of all owners' lines.
    fn leave_owners(&mut self, wait: WaitId, spread: &Spread) {
        if let Some(at) = spread.deadline {
            self.blocked.deadlines.remove(&(at, wait));
        }
        for &owner in &spread.owners {
            if owner == self.core {
                self.unwait(wait);
            } else {
                self.mesh.send(owner, Message::Unwait { wait });
            }
        }
    }

    /// Ends a wait that was not served.
    pub(in crate::worker) fn end_wait(&mut self, id: WaitId, end: End) {
        let mut ended = false;
        if id.core == self.core
            && let Some(Mine {
                place: Place::Spread(_) | Place::Pause(..),
                ..
            }) = self.blocked.mine.get(&id.number)
        {
            ended = true;
            self.end_own(id, &end);
        } else if let Some(waiter) = self.take_out(id)
            && let How::Here(near) = waiter.how
        {
            ended = true;
            let mut out = Vec::new();
            end.write(near.nil, near.who, &mut out);
            self.count_ended(near.number, &end, &out);
            // Without an answer for one that is gone: its core has forgotten it already.
            if !matches!(end, End::Gone) {
                self.answer_waiter(id, &near, &out, None);
            } else if let Some(at) = near.deadline {
                self.blocked.deadlines.remove(&(at, id));
            }
        }
        if let End::Unblock { asker, .. } = end {
            self.tell(asker, Answer::Killed(u64::from(ended)));
        }
    }

    /// Ends a wait that this core decides about without lines of its own.
    fn end_own(&mut self, id: WaitId, end: &End) {
        let Some(mine) = self.blocked.mine.remove(&id.number) else {
            return;
        };
        let mut out = Vec::new();
        match &mine.place {
            Place::Spread(spread) => {
                self.leave_owners(id, spread);
                end.write(spread.nil, spread.who, &mut out);
                self.count_ended(spread.row.1, end, &out);
            }
            Place::Pause(deadline, answer) => {
                if let Some(at) = deadline {
                    self.blocked.deadlines.remove(&(*at, id));
                }
                if end.is_error() {
                    let proto = crate::resp::Proto::Resp2;
                    UNBLOCKED.write(&mut Reply {
                        buf: &mut out,
                        proto,
                    });
                } else {
                    out.extend_from_slice(answer);
                }
            }
            Place::Line(_) => {}
        }
        if !matches!(end, End::Gone) {
            self.give_answer(&mine, &out);
        }
    }

    fn count_ended(&mut self, number: u16, end: &End, out: &[u8]) {
        if end.is_error() {
            self.stats.error(out);
        }
        let tracking = self.settings.latency.tracking;
        self.stats.executed(number, 0, end.is_error(), tracking);
    }

    /// Answers a client of this core that waits.
    pub(super) fn answer_mine(&mut self, number: u64, out: &[u8]) {
        if let Some(mine) = self.blocked.mine.remove(&number) {
            self.give_answer(&mine, out);
        }
    }

    fn give_answer(&mut self, mine: &Mine, out: &[u8]) {
        if let Some(client) = self.clients.get(mine.client) {
            if !mine.silent {
                client.conn.replies.writer().extend_from_slice(out);
            }
            self.resume(mine.client.index);
        }
    }

    /// The client goes: whatever it waits for, it waits no more.
    pub(in crate::worker) fn leave_lines(&mut self, client: &mut Client) {
        let Waiting::Blocked(number) = client.waiting else {
            return;
        };
        client.waiting = Waiting::Nothing;
        let id = WaitId {
            core: self.core,
            number,
        };
        match self.blocked.mine.get(&number).map(|mine| &mine.place) {
            Some(Place::Line(owner)) if *owner != self.core => {
                let owner = *owner;
                self.blocked.mine.remove(&number);
                // Behind the command itself.
                self.send_forwarding();
                let end = End::Gone;
                self.mesh.send(owner, Message::Leave { wait: id, end });
            }
            Some(Place::Line(_)) => {
                self.blocked.mine.remove(&number);
                self.end_wait(id, End::Gone);
            }
            Some(_) => self.end_wait(id, End::Gone),
            None => {}
        }
    }

    /// The users of these clients have changed: what they wait for is checked again, and ends where it is not allowed any
    /// more.
    pub(in crate::worker) fn judge_waits(&mut self, changed: &[u32]) {
        if changed.is_empty() || self.blocked.mine.is_empty() {
            return;
        }
        let mut waits = Vec::new();
        for (number, mine) in &self.blocked.mine {
            let asked = match (&mine.asked, &mine.place) {
                (Some(asked), _) => asked.clone(),
                (None, Place::Spread(spread)) => (spread.row, spread.args.clone()),
                (None, _) => continue,
            };
            if changed.contains(&mine.client.index) && self.clients.holds(mine.client) {
                waits.push((*number, mine.client.index, asked));
            }
        }
        for (number, index, (row, args)) in waits {
            let Some(mut client) = self.clients.take(index) else {
                continue;
            };
            let argv: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let denied = match client.trusted {
                true => None,
                false => self.denies(&mut client, row, &argv, Moment::Arrival),
            };
            self.clients.put(index, client);
            if let Some(why) = denied {
                self.end_from_here(number, End::Denied(why));
            }
        }
    }

    /// Ends the waits of clients of this core that would write when they are served.
    pub(in crate::worker) fn end_writers(&mut self, why: &Error) {
        let writes = |mine: &Mine| match (&mine.asked, &mine.place) {
            (Some(((row, _), _)), _) => row.has(flag::WRITE),
            (None, Place::Spread(spread)) => spread.row.0.has(flag::WRITE),
            (None, _) => false,
        };
        let waits = self.blocked.mine.iter();
        let waits: Vec<u64> = waits
            .filter(|(_, mine)| writes(mine))
            .map(|(number, _)| *number)
            .collect();
        for number in waits {
            self.end_from_here(number, End::Denied(why.clone()));
        }
    }

    /// Ends the wait of a client of this core, wherever that is decided.
    fn end_from_here(&mut self, number: u64, end: End) {
        let wait = WaitId {
            core: self.core,
            number,
        };
        match self.blocked.mine.get(&number).map(|mine| &mine.place) {
            Some(Place::Line(owner)) if *owner != self.core => {
                let owner = *owner;
                // Behind the command itself.
                self.send_forwarding();
                self.mesh.send(owner, Message::Leave { wait, end });
            }
            _ => self.end_wait(wait, end),
        }
    }

    /// CLIENT UNBLOCK: ends the wait of the client with this number, if it is this core's and waits.
    pub(in crate::worker) fn unblock(&mut self, asker: Asker, client: u64, error: bool) {
        let clients = &mut self.clients;
        let found = self.blocked.mine.iter().find_map(|(number, mine)| {
            let known = mine.known && clients.get(mine.client).is_some_and(|c| c.id == client);
            known.then_some((*number, &mine.place))
        });
        let core = self.core;
        let end = End::Unblock { error, asker };
        match found {
            Some((number, Place::Line(owner))) if *owner != core => {
                let (owner, wait) = (*owner, WaitId { core, number });
                self.mesh.send(owner, Message::Leave { wait, end });
            }
            Some((number, _)) => self.end_wait(WaitId { core, number }, end),
            None => {
                if let End::Unblock { asker, .. } = end {
                    self.tell(asker, Answer::Killed(0));
                }
            }
        }
    }
}
