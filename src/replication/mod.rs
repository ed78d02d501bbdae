//! Following a Redis or Valkey server: as its replica, until somebody says REPLICAOF NO ONE.
//!
//! One thread holds the link. It takes a copy of everything ([`copy`]), then the commands that the other server carries
//! out, as they come ([`stream`]), and hands both to the cores: keys by the [`inlet`](crate::worker::inlet), commands by
//! the [`tap`]. A link that breaks is made anew, and goes on where it broke if the other server still has what lies
//! between; else a new copy comes. No core waits for the network, and no lock is on the way of a command.
//!
//! Promise:
//! - Everything is carried out in the order in which the other server did it, through the cores' logs as any write. What
//!   is refused here although the other server did it ends the link, with its reason: nothing is passed over in silence.
//! - A part of a copy is never served, also not after a crash ([`note`]).
//! - REPLICAOF NO ONE answers when everything that had come is carried out and every core writes.
//! - Nothing leaves in the clear unless `replication.tls = false` says so.
//!
//! Source: Redis's documentation of replication; the command pages of REPLICAOF, PSYNC, REPLCONF, ROLE.

mod copy;
mod link;
pub mod note;
mod stream;
mod talk;
mod tap;

pub use copy::ask_all;
pub use tap::{Broken, Tap};

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use copy::{Keeper, SIGN};
use link::{Await, Link, wait};
use note::Note;
use stream::{Cutter, What};
use talk::{Begin, Bulk, Heard, Talk, Us, request};
use tap::Ending;

use crate::settings::{Settings, Source};
use crate::worker::follow::{Held, Order, Orders, Stage, Tell};
use crate::worker::gather::Question;
use crate::worker::shared::Shared;

/// How long to wait before a link that broke is made anew.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where what came cannot be taken, which takes the other server a copy each time: from, and to.
const COPY_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long what has come by the time of REPLICAOF NO ONE is read for, and how long it may take to be carried out.
const LAST_READ: Duration = Duration::from_millis(200);
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Why the link is no more.
enum Lost {
    /// Something else is wanted.
    Ordered,
    /// The link broke, or the other server does not go along. It is tried again soon.
    Link(String),
    /// What came cannot be taken here, and would not be the next time.
    Copy(String),
}

/// Where orders come in.
struct Desk {
    list: Receiver<Order>,
    bell: UnixStream,
    next: Option<Order>,
}

impl Desk {
    /// Whether there is an order.
    fn ordered(&mut self) -> bool {
        if self.next.is_none() {
            let mut some = [0; 64];
            while matches!(self.bell.read(&mut some), Ok(64)) {}
            self.next = match self.list.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => None,
                // The cores are gone, and with them the process.
                Err(TryRecvError::Disconnected) => Some(Order::Stop),
            };
        }
        self.next.is_some()
    }

    fn awaits(&self) -> Await<'_> {
        Await {
            fd: self.bell.as_fd(),
            on: (true, false),
        }
    }
}

/// The server that is to be followed from the start, by the settings and the note in the data directory: puts it into the
/// settings, and tells how much of it is here.
///
/// # Errors
/// A note that cannot be understood.
pub fn resume(settings: &mut Settings) -> Result<Held, String> {
    let note = note::load(&settings.server.data_dir)?;
    let configured = &mut settings.replication.replicaof;
    let held = match (note, &*configured) {
        (None, _) => Held::Own,
        (Some(Note::Left(left)), Some(source)) if left == *source => {
            tracing::warn!(
                "replication.replicaof names {source}, which this server followed until REPLICAOF NO ONE: it is not \
                 followed again. REPLICAOF follows it anew, and what this server holds is replaced then"
            );
            *configured = None;
            Held::Own
        }
        (Some(Note::Left(_)), _) => Held::Own,
        (Some(Note::Follows(source, held)), None) => {
            *configured = Some(source);
            held
        }
        (Some(Note::Follows(source, held)), Some(other)) => match held {
            Held::Half => Held::Half,
            held if source == *other => held,
            _ => Held::Own,
        },
    };
    // Without a log nothing of it is here any more.
    Ok(match held {
        Held::Whole if !settings.persistence.appendonly => Held::Half,
        held => held,
    })
}

/// Starts the thread.
///
/// # Errors
/// When the process may have no further thread, or the note cannot be written.
pub fn start(shared: Arc<Shared>, orders: Orders) -> Result<(), String> {
    let dir = shared.settings().server.data_dir.clone();
    let (source, held) = {
        let told = shared.follow.told();
        (told.source.clone(), told.held)
    };
    if let Some(source) = source {
        note::store(&dir, &Note::Follows(source, held))?;
    }
    let Orders { list, bell } = orders;
    let follower = Follower {
        desk: RefCell::new(Desk {
            list,
            bell,
            next: None,
        }),
        shared,
        dir,
        tap: None,
        ending: Vec::new(),
        history: None,
        said: String::new(),
        pause: COPY_PAUSE.0,
    };
    std::thread::Builder::new()
        .name("follow".into())
        .spawn(move || follower.run())
        .map(drop)
        .map_err(|e| format!("the thread that follows another server cannot start: {e}"))
}

struct Follower {
    shared: Arc<Shared>,
    desk: RefCell<Desk>,
    dir: PathBuf,
    /// The way into the cores, while what they hold is true up to the place that it is at.
    tap: Option<Tap>,
    /// Ways that were given up. Before a copy comes they have to be at their end, or what they still carry out would be
    /// in it.
    ending: Vec<Ending>,
    /// The name of the history that the place is in.
    history: Option<String>,
    /// What was last said of a link that broke, so that it is said once.
    said: String,
    pause: Duration,
}

impl Follower {
    fn run(mut self) {
        loop {
            let source = self.shared.follow.told().source.clone();
            let rest = match source {
                None => Duration::from_secs(3600),
                Some(source) => match self.pursue(&source) {
                    Lost::Ordered => Duration::ZERO,
                    Lost::Link(why) => self.lost(&source, &why, PAUSE),
                    Lost::Copy(why) => {
                        // What is here is not what the other server has.
                        self.give_up();
                        let pause = self.pause;
                        self.pause = (pause * 2).min(COPY_PAUSE.1);
                        self.lost(&source, &why, pause)
                    }
                },
            };
            let until = Instant::now() + rest;
            let mut desk = self.desk.borrow_mut();
            while !desk.ordered() {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || wait(&[desk.awaits()], left).is_err() {
                    break;
                }
            }
            let order = desk.next.take();
            drop(desk);
            match order {
                None => {}
                Some(Order::Stop) => return,
                Some(Order::Follow(source, tell)) => self.follow(source, tell),
                Some(Order::Leave(tell)) => self.leave(tell),
            }
        }
    }

    /// Notes that the link is gone; how long to wait.
    fn lost(&mut self, source: &Source, why: &str, pause: Duration) -> Duration {
        let mut told = self.shared.follow.told();
        if told.stage == Stage::Connected {
            told.down_since = Some(Instant::now());
        }
        told.stage = Stage::Down;
        told.trouble = Some(why.to_owned());
        drop(told);
        self.shared.decide_closed();
        if self.said != why {
            tracing::warn!("following {source}: {why}");
            self.said = why.to_owned();
        }
        pause
    }

    /// Gives up the way into the cores, and with it the place in the history.
    fn give_up(&mut self) {
        self.history = None;
        self.ending.extend(self.tap.take().map(Tap::end));
    }

    /// Waits until nothing is carried out any more of what came before.
    fn end_all(&mut self) -> Result<(), Lost> {
        let until = Instant::now() + LAST_WORDS;
        loop {
            self.ending.retain_mut(|ending| !ending.is_over());
            let Some(first) = self.ending.first() else {
                return Ok(());
            };
            if self.desk.borrow_mut().ordered() {
                return Err(Lost::Ordered);
            }
            if Instant::now() >= until {
                let why = "what came before is still being carried out";
                return Err(Lost::Link(why.into()));
            }
            wait(&[first.awaits()], Duration::from_millis(50))
                .map_err(|e| Lost::Link(e.to_string()))?;
        }
    }

    fn stage(&self, stage: Stage) {
        self.shared.follow.told().stage = stage;
        self.shared.decide_closed();
    }

    /// Follows until that ends.
    fn pursue(&mut self, source: &Source) -> Lost {
        match self.try_pursue(source) {
            Ok(never) => match never {},
            Err(lost) if self.desk.borrow_mut().ordered() => match lost {
                // What it did to what is here outlasts the order.
                Lost::Copy(why) => Lost::Copy(why),
                _ => Lost::Ordered,
            },
            Err(lost) => lost,
        }
    }

    fn try_pursue(&mut self, source: &Source) -> Result<std::convert::Infallible, Lost> {
        self.stage(Stage::Connecting);
        let settings = self.shared.settings();
        let link = Link::connect(source, &settings).map_err(Lost::Link)?;
        self.stage(Stage::Handshake);
        let mut link = link;
        let place = match (&self.history, &self.tap) {
            (Some(replid), Some(tap)) => Some((replid.clone(), tap.handed)),
            _ => None,
        };
        let begin = self.talk(&mut link, &settings, place)?;
        let link = RefCell::new(link);
        match begin {
            Begin::GoOn { replid } => {
                if let Some(replid) = replid {
                    self.history = Some(replid);
                }
                tracing::info!("following {source}: the link is back, nothing was missed");
            }
            Begin::Copy { replid, offset } => self.copy(source, &link, replid, offset)?,
        }
        {
            let mut told = self.shared.follow.told();
            told.stage = Stage::Connected;
            told.down_since = None;
            told.trouble = None;
            told.replid = self.history.clone().unwrap_or_default();
            told.heard = Some(Instant::now());
        }
        self.said.clear();
        self.pause = COPY_PAUSE.0;
        self.shared.decide_closed();
        self.go_along(&mut link.into_inner())
    }

    /// Waits until what was put in is carried out, for as long as [`LAST_WORDS`]; the way is given up if it broke.
    fn settle(&mut self) -> Result<(), Lost> {
        let Some(tap) = &mut self.tap else {
            return Ok(());
        };
        let until = Instant::now() + LAST_WORDS;
        let late = "what has come is not carried out in time";
        let settled = tap.settle(
            Duration::from_millis(50),
            &mut || match Instant::now() < until {
                true => Ok(()),
                false => Err(late.into()),
            },
        );
        self.shared.follow.told().applied = tap.place;
        match settled {
            Ok(()) => Ok(()),
            // It goes on, and may be asked again.
            Err(tap::Broken::Closed(why)) if why == late => Err(Lost::Link(why)),
            Err(broken) => Err(self.untrue(&broken.to_string())),
        }
    }

    /// What is here is no longer what the other server has: it is closed until a new copy has come.
    fn untrue(&mut self, why: &str) -> Lost {
        self.give_up();
        let source = {
            let mut told = self.shared.follow.told();
            told.held = Held::Half;
            told.source.clone()
        };
        self.shared.decide_closed();
        if let Some(source) = source
            && let Err(e) = note::store(&self.dir, &Note::Follows(source, Held::Half))
        {
            tracing::error!("{e}");
        }
        Lost::Copy(why.to_owned())
    }

    /// Makes both servers known to each other.
    fn talk(
        &self,
        link: &mut Link,
        settings: &Settings,
        place: Option<(String, u64)>,
    ) -> Result<Begin, Lost> {
        let port = match settings.tls.enabled {
            true => settings.tls.port,
            false => settings.server.port,
        };
        let (mut talk, first) = Talk::begin(Us {
            user: settings.replication.masteruser.clone(),
            password: settings.replication.masterauth.expose().to_owned(),
            port,
            place,
        });
        link.send(&first).map_err(Lost::Link)?;
        loop {
            let line = self.line(link, settings)?;
            match talk.hear(&line).map_err(Lost::Link)? {
                Heard::Wait => {}
                Heard::Say(bytes) => link.send(&bytes).map_err(Lost::Link)?,
                Heard::Begin(begin) => return Ok(begin),
            }
        }
    }

    fn line(&self, link: &mut Link, settings: &Settings) -> Result<Vec<u8>, Lost> {
        loop {
            if let Some(line) = link.line().map_err(Lost::Link)? {
                return Ok(line);
            }
            if link.receive().map_err(Lost::Link)? > 0 {
                continue;
            }
            if self.desk.borrow_mut().ordered() {
                return Err(Lost::Ordered);
            }
            if link.heard.elapsed() > settings.replication.timeout {
                let why = "it does not answer (replication.timeout)";
                return Err(Lost::Link(why.into()));
            }
            let desk = self.desk.borrow();
            wait(&[link.awaits(true), desk.awaits()], SIGN)
                .map_err(|e| Lost::Link(e.to_string()))?;
        }
    }

    /// Takes a copy of everything.
    fn copy(
        &mut self,
        source: &Source,
        link: &RefCell<Link>,
        replid: String,
        offset: u64,
    ) -> Result<(), Lost> {
        self.give_up();
        self.stage(Stage::Sync);
        let settings = self.shared.settings();
        let bulk: Bulk = loop {
            let line = self.line(&mut link.borrow_mut(), &settings)?;
            if let Some(bulk) = talk::bulk(&line).map_err(Lost::Link)? {
                break bulk;
            }
        };
        tracing::info!("following {source}: a copy of everything comes");
        let started = Instant::now();
        let shared = self.shared.clone();
        self.end_all()?;
        let mut tap = Tap::open(&shared, source).map_err(Lost::Link)?;
        let half = Note::Follows(source.clone(), Held::Half);
        let mut begun = || {
            note::store(&self.dir, &half)?;
            shared.follow.told().held = Held::Half;
            shared.decide_closed();
            Ok(())
        };
        let keeper = Keeper::new(link, &self.desk, &shared);
        if let Err(lost) = copy::take(&keeper, &mut tap, &bulk, &mut begun) {
            self.ending.push(tap.end());
            return Err(lost);
        }
        let whole = Note::Follows(source.clone(), Held::Whole);
        note::store(&self.dir, &whole).map_err(Lost::Copy)?;
        (tap.place, tap.handed) = (offset, offset);
        self.tap = Some(tap);
        self.history = Some(replid);
        let mut told = self.shared.follow.told();
        told.held = Held::Whole;
        (told.read, told.applied) = (offset, offset);
        let bytes = told.copy.1;
        drop(told);
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!("following {source}: the copy is here, {bytes} bytes in {seconds:.1} s");
        Ok(())
    }

    /// Carries out what comes, until the link breaks or something else is wanted.
    fn go_along(&mut self, link: &mut Link) -> Result<std::convert::Infallible, Lost> {
        let Some(mut tap) = self.tap.take() else {
            return Err(Lost::Link("there is no way into the cores".into()));
        };
        let mut cutter = Cutter::default();
        let gone = self.go_along_with(link, &mut tap, &mut cutter);
        if matches!(self.desk.borrow().next, Some(Order::Leave(_))) {
            self.take_last(link, &mut tap, &mut cutter);
        }
        self.tap = Some(tap);
        match gone {
            Ok(never) => Ok(never),
            Err(Lost::Copy(why)) => Err(self.untrue(&why)),
            Err(lost) => Err(lost),
        }
    }

    fn go_along_with(
        &self,
        link: &mut Link,
        tap: &mut Tap,
        cutter: &mut Cutter,
    ) -> Result<std::convert::Infallible, Lost> {
        let mut next_ack = Instant::now();
        // The first bytes may have come with the copy.
        let mut fresh = true;
        loop {
            if self.desk.borrow_mut().ordered() {
                return Err(Lost::Ordered);
            }
            let room = tap.has_room();
            let mut came = 0;
            if room {
                if !std::mem::take(&mut fresh) {
                    came = link.receive().map_err(Lost::Link)?;
                }
                hand_on(link, tap, cutter)?;
            }
            tap.pump().map_err(|e| Lost::Copy(e.to_string()))?;
            let now = Instant::now();
            if std::mem::take(&mut tap.ack) || now >= next_ack {
                next_ack = now + SIGN;
                let place = tap.place.to_string();
                let ack = request(&[b"REPLCONF", b"ACK", place.as_bytes()]);
                link.send(&ack).map_err(Lost::Link)?;
            }
            {
                let mut told = self.shared.follow.told();
                told.heard = Some(link.heard);
                (told.read, told.applied) = (tap.handed, tap.place);
            }
            let timeout = self.shared.settings().replication.timeout;
            if room && now.saturating_duration_since(link.heard) > timeout {
                let why = "nothing comes from it any more (replication.timeout)";
                return Err(Lost::Link(why.into()));
            }
            if came == 0 {
                let desk = self.desk.borrow();
                let left = next_ack.saturating_duration_since(Instant::now());
                wait(
                    &[link.awaits(tap.has_room()), tap.awaits(), desk.awaits()],
                    left,
                )
                .map_err(|e| Lost::Link(e.to_string()))?;
            }
        }
    }

    /// Takes what has come already, when nothing more is to come.
    fn take_last(&self, link: &mut Link, tap: &mut Tap, cutter: &mut Cutter) {
        let until = Instant::now() + LAST_READ;
        // Whatever ends this ends it: what is left was not received.
        while Instant::now() < until && matches!(link.receive(), Ok(n) if n > 0) {
            if hand_on(link, tap, cutter).is_err() || tap.pump().is_err() {
                break;
            }
        }
        self.shared.follow.told().read = tap.handed;
    }

    /// REPLICAOF host port.
    fn follow(&mut self, source: Source, tell: Tell) {
        let told = self.shared.follow.told().clone();
        let held = match told.held {
            Held::Half if told.source.is_some() => Held::Half,
            _ => Held::Own,
        };
        if let Err(why) = note::store(&self.dir, &Note::Follows(source.clone(), held)) {
            tell(Err(format!("ERR {why}")));
            return;
        }
        self.give_up();
        self.said.clear();
        self.pause = COPY_PAUSE.0;
        {
            let mut told = self.shared.follow.told();
            *told = crate::worker::follow::Told {
                source: Some(source.clone()),
                held,
                down_since: Some(Instant::now()),
                ..Default::default()
            };
        }
        self.shared.set_followed(Some(source));
        self.shared.decide_closed();
        // When all have answered, nobody writes any more but whom we follow.
        tell(self.configure());
    }

    /// REPLICAOF NO ONE.
    fn leave(&mut self, tell: Tell) {
        let told = self.shared.follow.told().clone();
        let Some(source) = told.source else {
            tell(Ok(()));
            return;
        };
        let settled = self.settle();
        if let Err(Lost::Link(why)) = &settled {
            tell(Err(format!("ERR {why}; ask again")));
            return;
        }
        if self.shared.follow.told().held == Held::Half {
            tell(Err(incomplete(&self.shared)));
            return;
        }
        // What spans shards is logged as one from now on; what came before is safe in every log before that.
        if let Err(why) = self.make_durable() {
            tell(Err(format!("ERR {why}")));
            return;
        }
        if let Err(why) = note::store(&self.dir, &Note::Left(source.clone())) {
            tell(Err(format!("ERR {why}")));
            return;
        }
        let place = self.tap.as_ref().map(|tap| tap.place);
        self.give_up();
        {
            let mut told = self.shared.follow.told();
            told.source = None;
            told.stage = Stage::Down;
            told.held = Held::Own;
            told.trouble = None;
        }
        self.shared.set_followed(None);
        self.shared.decide_closed();
        let done = self.configure();
        match place {
            Some(place) => tracing::info!("{source} is followed no more, behind place {place}"),
            None => tracing::warn!("{source} is followed no more; there was no link to it"),
        }
        tell(done);
    }

    /// Waits until all logs have everything durably.
    fn make_durable(&self) -> Result<(), String> {
        match self.shared.settings().persistence.appendonly {
            true => self.ask(Question::Durable { wait: true }),
            false => Ok(()),
        }
    }

    /// Has all cores take the settings in force.
    fn configure(&self) -> Result<(), String> {
        self.ask(Question::Configure)
            .map_err(|why| format!("ERR {why}"))
    }

    fn ask(&self, question: Question) -> Result<(), String> {
        let desk = &self.desk;
        ask_all(&self.shared, question, &mut || {
            let mut desk = desk.borrow_mut();
            match desk.ordered() && matches!(desk.next, Some(Order::Stop)) {
                true => Err("the server stops".into()),
                false => Ok(()),
            }
        })
    }
}

/// Why REPLICAOF NO ONE is refused while there is only a part of a copy, and the way out.
fn incomplete(shared: &Shared) -> String {
    let told = shared.follow.told().clone();
    let source = told.source.map(|s| s.to_string()).unwrap_or_default();
    let why = told.trouble.unwrap_or_else(|| "it is still coming".into());
    let note = note::path(&shared.settings().server.data_dir);
    format!(
        "ERR the copy of {source} is not complete: {why}. To have what there is of it all the same, stop this server, \
         remove {} and start it",
        note.display()
    )
}

/// Hands what has come to the cores, unit by unit or several together.
fn hand_on(link: &mut Link, tap: &mut Tap, cutter: &mut Cutter) -> Result<(), Lost> {
    let input = link.input();
    if input.is_empty() {
        return Ok(());
    }
    let n = input.len();
    cutter.feed(input);
    link.take(n);
    let mut units = Vec::new();
    let end = loop {
        match cutter.next() {
            Ok(Some(unit)) => units.push(unit),
            Ok(None) => break Ok(()),
            Err(why) => break Err(Lost::Link(why)),
        }
    };
    let mut rest = units.as_slice();
    while let [first, ..] = rest {
        let together;
        (together, rest) = rest.split_at(stream::run(rest));
        let place = tap.handed + together.iter().map(|unit| unit.len).sum::<u64>();
        if together.len() > 1 {
            let mut bytes = request(&[b"MULTI"]);
            let mut answers = 2;
            for unit in together {
                if let What::Commands(n) = unit.what {
                    bytes.extend_from_slice(cutter.bytes(&unit.inner));
                    answers += if n > 1 { n - 2 } else { 1 };
                }
            }
            bytes.extend_from_slice(&request(&[b"EXEC"]));
            tap.put(&bytes, answers, "exec".into(), place);
            continue;
        }
        match first.what {
            What::Ping => tap.pass(place, false),
            What::GetAck => tap.pass(place, true),
            What::Commands(n) => {
                let bytes = cutter.bytes(&first.bytes);
                tap.put(bytes, n, first.name.clone(), place);
            }
        }
    }
    end
}
