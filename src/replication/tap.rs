//! The way of the master's commands into the cores: a pair of sockets within the process, at whose other end core 0 has a
//! client as any other, but that it may do everything and nothing ages for it ([`crate::worker::follow`]).
//!
//! So commands are parsed, forwarded, made into transactions and answered as everybody's are, in order. The answers are
//! read for two things: they count how far we are, and an error among them says that the copy is no longer true, since the
//! master carried that command out.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::link::{Await, wait};
use super::stream::Answers;
use super::talk::request;
use crate::settings::Source;
use crate::worker::message::Message;
use crate::worker::shared::Shared;

/// Bytes and units that may be under way to the cores before no more is taken from the link.
const MOST_BYTES: usize = 1 << 20;
const MOST_UNITS: usize = 16 << 10;
/// Bytes that are gathered before they are sent, where nobody waits for an answer.
const PIECE: usize = 64 << 10;

/// Why the way is no more.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// A command was refused: its name, and the error.
    Refused(String, String),
    /// It was closed, or what came back is no answer.
    Closed(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Refused(name, error) => write!(
                f,
                "'{name}', which it carried out, is refused here: {error}"
            ),
            Broken::Closed(why) => f.write_str(why),
        }
    }
}

/// A unit under way.
struct UnderWay {
    /// Answers it still lacks.
    answers: usize,
    name: String,
    bytes: usize,
    /// The place in the history behind it.
    place: u64,
    /// Whether the master wants to hear when we are here.
    ack: bool,
}

/// The way.
pub struct Tap {
    socket: UnixStream,
    output: Vec<u8>,
    answers: Answers,
    under_way: VecDeque<UnderWay>,
    bytes: usize,
    /// The place in the history up to which everything is carried out.
    pub place: u64,
    /// The place up to which everything was put in.
    pub handed: u64,
    /// Whether the master is to be told of the place.
    pub ack: bool,
}

impl Tap {
    /// Opens a way for the commands of `source`.
    ///
    /// # Errors
    /// When the process may have no further file.
    pub fn open(shared: &Shared, source: &Source) -> Result<Tap, String> {
        let odd = |e| format!("a socket within the process cannot be made: {e}");
        let (socket, theirs) = UnixStream::pair().map_err(odd)?;
        socket.set_nonblocking(true).map_err(odd)?;
        shared.inboxes[0].push(Message::Adopt {
            fd: OwnedFd::from(theirs),
            addr: format!("{}:{}", source.host, source.port),
        });
        Ok(Tap {
            socket,
            output: Vec::new(),
            answers: Answers::default(),
            under_way: VecDeque::new(),
            bytes: 0,
            place: 0,
            handed: 0,
            ack: false,
        })
    }

    /// What to wait for.
    pub fn awaits(&self) -> Await<'_> {
        Await {
            fd: self.socket.as_fd(),
            on: (true, !self.output.is_empty()),
        }
    }

    /// Whether more may be put in.
    pub fn has_room(&self) -> bool {
        self.bytes < MOST_BYTES && self.under_way.len() < MOST_UNITS
    }

    /// Whether everything is carried out.
    pub fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Puts commands in: so many, behind which the history is at `place`.
    pub fn put(&mut self, bytes: &[u8], answers: usize, name: String, place: u64) {
        self.output.extend_from_slice(bytes);
        self.bytes += bytes.len();
        self.handed = place;
        self.under_way.push_back(UnderWay {
            answers,
            name,
            bytes: bytes.len(),
            place,
            ack: false,
        });
    }

    /// Notes a place at which there is nothing to carry out; `ack` if the master wants to hear when we are there.
    pub fn pass(&mut self, place: u64, ack: bool) {
        self.handed = place;
        self.under_way.push_back(UnderWay {
            answers: 0,
            name: String::new(),
            bytes: 0,
            place,
            ack,
        });
        self.arrive();
    }

    /// Sends what can be sent and takes the answers that are there.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn pump(&mut self) -> Result<(), Broken> {
        let broke = |e: std::io::Error| Broken::Closed(format!("the cores closed the way in: {e}"));
        let mut sent = 0;
        while sent < self.output.len() {
            match self.socket.write(&self.output[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(broke(e)),
            }
        }
        self.output.drain(..sent);
        let mut piece = [0; 16 << 10];
        loop {
            match self.socket.read(&mut piece) {
                Ok(0) => return Err(Broken::Closed("the cores closed the way in".into())),
                Ok(n) => self.hear(&piece[..n])?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(broke(e)),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut answers = std::mem::take(&mut self.answers);
        let mut refused = None;
        let heard = answers.feed(bytes, |error| {
            let Some(first) = self.under_way.front_mut() else {
                return;
            };
            first.answers = first.answers.saturating_sub(1);
            match error {
                // Nothing behind it counts: what came before it is where we are.
                Some(error) if refused.is_none() => {
                    refused = Some(Broken::Refused(first.name.clone(), error));
                }
                _ if refused.is_some() => {}
                _ => self.arrive(),
            }
        });
        self.answers = answers;
        heard.map_err(Broken::Closed)?;
        refused.map_or(Ok(()), Err)
    }

    /// Leaves behind what is carried out.
    fn arrive(&mut self) {
        while let Some(first) = self.under_way.front()
            && first.answers == 0
        {
            self.ack |= first.ack;
            self.bytes -= first.bytes;
            self.place = first.place;
            self.under_way.pop_front();
        }
    }

    /// Waits until everything is carried out, calling `meanwhile` about every `every`, which may give up.
    ///
    /// # Errors
    /// [`Broken`], with what `meanwhile` says.
    pub fn settle(
        &mut self,
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), Broken> {
        let mut next = Instant::now() + every;
        loop {
            self.pump()?;
            if self.is_settled() {
                return Ok(());
            }
            wait(&[self.awaits()], every).map_err(|e| Broken::Closed(e.to_string()))?;
            if Instant::now() >= next {
                next = Instant::now() + every;
                meanwhile().map_err(Broken::Closed)?;
            }
        }
    }

    /// Puts a command in that is no part of the history, and waits while too many are under way, calling `meanwhile` about
    /// every `every`, which may give up.
    ///
    /// # Errors
    /// As [`Tap::settle`], of this command or of one before.
    pub fn hand(
        &mut self,
        words: &[&[u8]],
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), Broken> {
        let name = words.first().copied().unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_lowercase();
        let place = self.place;
        self.put(&request(words), 1, name, place);
        // Each of them on its own would cost two calls of the system.
        if self.output.len() < PIECE && self.has_room() {
            return Ok(());
        }
        loop {
            self.pump()?;
            if self.has_room() {
                return Ok(());
            }
            wait(&[self.awaits()], every).map_err(|e| Broken::Closed(e.to_string()))?;
            meanwhile().map_err(Broken::Closed)?;
        }
    }

    /// Gives the way up: what the cores have of it they carry out, and nothing more comes.
    pub fn end(self) -> Ending {
        // Fails when the cores have closed it, and then it has ended.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
        Ending(self.socket)
    }

    /// Has one command carried out that is no part of the history.
    ///
    /// # Errors
    /// As [`Tap::settle`].
    pub fn call(
        &mut self,
        words: &[&[u8]],
        every: Duration,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<(), Broken> {
        let name = String::from_utf8_lossy(words[0]).to_lowercase();
        let place = self.place;
        self.put(&request(words), 1, name, place);
        self.settle(every, meanwhile)
    }
}

/// A way that was given up, on which the cores may still have something to carry out.
pub struct Ending(UnixStream);

impl Ending {
    /// Whether they have carried it out.
    pub fn is_over(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        loop {
            match self.0.read(&mut piece) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                _ => return true,
            }
        }
    }

    /// What to wait for.
    pub fn awaits(&self) -> Await<'_> {
        Await {
            fd: self.0.as_fd(),
            on: (true, false),
        }
    }
}
