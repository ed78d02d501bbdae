//! One client's connection: its socket, its TLS session, what it sent and what it is owed.
//!
//! A connection is driven by completions and does no I/O of its own; the operations it starts go
//! to the core's ring. At most one send is in flight, and what is answered meanwhile leaves
//! together: one record and one send for each connection and tick.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustls::ServerConfig;

use super::outbuf::{OutBuf, Pool};
use super::replies::Replies;
use super::ring::{Kind, Ring, Target, Token};
use super::session::{Arrival, Session};
use crate::limits::Limits;
use crate::resp::Parser;

/// An input buffer larger than this is freed when it is empty.
const KEEP_INPUT: usize = 64 * 1024;
/// Bytes of replies that are worth sealing before the tick is over: more than a TLS record, less than a first-level cache.
pub const EARLY: usize = 24 * 1024;
/// Bytes of replies sealed at a time: what is longer leaves in steps, between which other clients have their turn.
const STEP: usize = 256 * 1024;

/// How far a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Requests are read and answered.
    Open,
    /// No request is read; it closes when what it is owed has left.
    Draining,
    /// It is shut; its memory waits for the kernel to let go of a send.
    Shut,
}

/// Why bytes from a socket end the connection.
#[derive(Debug)]
pub enum Broken {
    /// TLS failed; before or after the handshake was done.
    Tls {
        error: rustls::Error,
        established: bool,
    },
}

/// A connection.
pub struct Conn {
    /// The socket.
    pub fd: OwnedFd,
    target: Target,
    index: u32,
    generation: u32,
    tls: Option<Box<Session>>,
    /// Plaintext received and not consumed yet.
    pub input: Vec<u8>,
    /// Where in `input` the next command starts.
    pub at: usize,
    /// The parser of `input`.
    pub parser: Parser,
    /// What it may send.
    pub limits: Limits,
    /// Replies in order.
    pub replies: Replies,
    /// Replies that wait for the log, with the ticket that must be durable; and those too long to be sealed at once, with
    /// a ticket that always is.
    held: VecDeque<(u64, Vec<u8>)>,
    /// How much of the first of them is sealed.
    held_at: usize,
    held_bytes: usize,
    wire: OutBuf,
    flight: Option<(OutBuf, usize)>,
    reading: bool,
    /// How far it is on its way out.
    pub phase: Phase,
    /// Bytes received and sent on the socket.
    pub traffic: (u64, u64),
}

impl Conn {
    /// A connection over `fd`, known to the ring as `target` and to the core as `index`.
    ///
    /// # Errors
    /// What rustls says of the configuration.
    pub fn new(
        fd: OwnedFd,
        target: Target,
        (index, generation): (u32, u32),
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Conn, rustls::Error> {
        Ok(Conn {
            fd,
            target,
            index,
            generation,
            tls: tls.map(Session::new).transpose()?.map(Box::new),
            input: Vec::new(),
            at: 0,
            parser: Parser::default(),
            limits: Limits::default(),
            replies: Replies::default(),
            held: VecDeque::new(),
            held_at: 0,
            held_bytes: 0,
            wire: OutBuf::default(),
            flight: None,
            reading: false,
            phase: Phase::Open,
            traffic: (0, 0),
        })
    }

    fn token(&self, kind: Kind) -> Token {
        Token::new(kind, self.generation, self.index)
    }

    /// The TLS session, if the port speaks TLS.
    pub fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Its index on its core.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The generation of its index.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Starts or goes on receiving.
    pub fn read(&mut self, ring: &mut Ring) {
        if !self.reading && self.phase == Phase::Open {
            ring.recv(self.target, self.token(Kind::Recv));
            self.reading = true;
        }
    }

    /// Stops receiving: the client's own send buffer then slows it down.
    pub fn stop_reading(&mut self, ring: &mut Ring) {
        if self.reading {
            ring.cancel(self.token(Kind::Recv));
        }
    }

    /// The multishot receive ended.
    pub fn read_ended(&mut self) {
        self.reading = false;
    }

    /// Takes bytes from the socket into `input`.
    ///
    /// # Errors
    /// [`Broken`]; the alert that tells the client is ready to be flushed.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<Arrival, Broken> {
        self.traffic.0 += bytes.len() as u64;
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        match &mut self.tls {
            None => {
                self.input.extend_from_slice(bytes);
                Ok(Arrival::Open)
            }
            Some(tls) => {
                let established = tls.established();
                tls.receive(bytes, &mut self.input, &mut self.wire)
                    .map_err(|error| Broken::Tls { error, established })
            }
        }
    }

    /// Drops the consumed front of `input`.
    pub fn compact(&mut self) {
        if self.at == self.input.len() {
            self.at = 0;
            if self.input.capacity() > KEEP_INPUT {
                self.input = Vec::new();
            } else {
                self.input.clear();
            }
        } else if self.at > 0 {
            self.input.drain(..self.at);
            self.at = 0;
        }
    }

    /// Moves what is owed towards the socket.
    ///
    /// With `hold`, replies wait until that ticket of the log is durable. Long ones leave in steps, see
    /// [`Conn::release`].
    ///
    /// # Errors
    /// A TLS session that cannot seal any more: the connection must be closed.
    pub fn flush(
        &mut self,
        ring: &mut Ring,
        pool: &mut Pool,
        hold: Option<u64>,
    ) -> Result<bool, rustls::Error> {
        let len = self.replies.ready().len();
        if len > 0 {
            let last = self.held.back().map(|(ticket, _)| *ticket);
            let ticket = hold.or(last).or((len > STEP).then_some(0));
            if let Some(ticket) = ticket {
                let bytes = std::mem::take(self.replies.ready());
                self.held_bytes += bytes.len();
                self.held.push_back((ticket, bytes));
            } else if self.flight.is_none() {
                self.seal_ready(pool)?;
            }
        }
        self.release(0, pool)?;
        let ready = self.replies.ready();
        if ready.is_empty() && ready.capacity() > KEEP_INPUT {
            pool.put_plain(std::mem::take(ready));
        }
        Ok(self.launch(ring))
    }

    /// Owes the client more of the reply that was just begun, in parts that are as they are: none is copied if no reply of
    /// another core is waited for.
    pub fn owe(&mut self, parts: Vec<Vec<u8>>) {
        if !self.replies.settled() {
            let writer = self.replies.writer();
            parts.iter().for_each(|part| writer.extend_from_slice(part));
            return;
        }
        let ticket = self.held.back().map_or(0, |(ticket, _)| *ticket);
        let head = std::mem::take(self.replies.ready());
        for bytes in std::iter::once(head).chain(parts) {
            self.held_bytes += bytes.len();
            self.held.push_back((ticket, bytes));
        }
    }

    /// Seals long replies before the tick is over, while they are in the processor's cache, so that what
    /// comes behind them uses the same memory again. Only for when nothing holds replies back.
    ///
    /// # Errors
    /// As [`Conn::flush`].
    pub fn seal_early(&mut self, pool: &mut Pool) -> Result<(), rustls::Error> {
        if self.flight.is_none() && self.held.is_empty() && self.replies.ready().len() <= STEP {
            self.seal_ready(pool)?;
        }
        Ok(())
    }

    /// Sends long replies that were sealed early; whether it did.
    pub fn send_early(&mut self, ring: &mut Ring) -> bool {
        self.wire.len() >= EARLY && self.launch(ring)
    }

    /// Sees to it that replies are written into memory that is at hand, if there is any.
    pub fn borrow_plain(&mut self, pool: &mut Pool) {
        let ready = self.replies.ready();
        if ready.capacity() == 0 {
            *ready = pool.take_plain();
        }
    }

    fn seal_ready(&mut self, pool: &mut Pool) -> Result<(), rustls::Error> {
        let mut bytes = std::mem::take(self.replies.ready());
        let sealed = self.seal(&bytes, pool);
        bytes.clear();
        *self.replies.ready() = bytes;
        sealed
    }

    /// Lets the replies go that waited for a ticket up to `durable`, one step of them while nothing else is on its way to
    /// the socket; whether any did. The end of a send is the time for the next step.
    ///
    /// # Errors
    /// As [`Conn::flush`].
    pub fn release(&mut self, durable: u64, pool: &mut Pool) -> Result<bool, rustls::Error> {
        let mut any = false;
        while self.flight.is_none()
            && self.wire.len() < STEP
            && self
                .held
                .front()
                .is_some_and(|(ticket, _)| *ticket <= durable)
            && let Some((ticket, bytes)) = self.held.pop_front()
        {
            let end = bytes.len().min(self.held_at + STEP);
            self.seal(&bytes[self.held_at..end], pool)?;
            self.held_bytes -= end - self.held_at;
            self.held_at = end;
            if end < bytes.len() {
                self.held.push_front((ticket, bytes));
            } else {
                self.held_at = 0;
            }
            any = true;
        }
        Ok(any)
    }

    /// Whether replies wait for the log, or for their step.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    fn seal(&mut self, bytes: &[u8], pool: &mut Pool) -> Result<(), rustls::Error> {
        if self.wire.capacity() == 0 {
            self.wire = pool.take();
        }
        match &mut self.tls {
            Some(tls) => tls.seal(bytes, &mut self.wire),
            None => {
                self.wire.push(bytes);
                Ok(())
            }
        }
    }

    /// Starts a send if none is in flight and something waits; whether one was started.
    fn launch(&mut self, ring: &mut Ring) -> bool {
        if self.flight.is_some() || self.wire.is_empty() || self.phase == Phase::Shut {
            return false;
        }
        self.flight = Some((std::mem::take(&mut self.wire), 0));
        self.send(ring);
        true
    }

    fn send(&mut self, ring: &mut Ring) {
        let token = self.token(Kind::Send);
        if let Some((buf, sent)) = &self.flight {
            // SAFETY: the buffer stays in `flight`, untouched, until `sent` sees this completion;
            // a connection is not dropped while `in_flight`.
            unsafe { ring.send(self.target, &buf.bytes()[*sent..], token) };
        }
    }

    /// A send ended. Returns whether the connection still works.
    pub fn sent(&mut self, result: i32, ring: &mut Ring, pool: &mut Pool) -> bool {
        let Some((buf, mut done)) = self.flight.take() else {
            return true;
        };
        let retry = result == -libc::EINTR || result == -libc::EAGAIN;
        if result < 0 && !retry {
            pool.put(buf);
            return false;
        }
        if !retry {
            done += result as usize;
            self.traffic.1 += result as u64;
        }
        if done < buf.len() && self.phase != Phase::Shut {
            self.flight = Some((buf, done));
            self.send(ring);
        } else {
            pool.put(buf);
        }
        true
    }

    /// Whether the kernel still reads from our memory.
    pub fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether everything it is owed has left.
    pub fn drained(&mut self) -> bool {
        self.flight.is_none()
            && self.wire.is_empty()
            && self.held.is_empty()
            && self.replies.settled()
            && self.replies.ready().is_empty()
    }

    /// Bytes it is owed: what its reading too slowly makes us keep.
    pub fn owed(&self) -> usize {
        let flight = self
            .flight
            .as_ref()
            .map_or(0, |(buf, done)| buf.len() - done);
        self.replies.bytes() + self.held_bytes + self.wire.len() + flight
    }

    /// Whether a flush would find something that can leave.
    pub fn wants_flush(&mut self) -> bool {
        !self.wire.is_empty() || !self.replies.ready().is_empty()
    }

    /// Says good-bye in TLS; the caller flushes.
    pub fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls
            && tls.established()
        {
            tls.close(&mut self.wire);
        }
    }

    /// Shuts the socket. The value may be dropped once nothing is in flight.
    pub fn shut(&mut self, ring: &mut Ring) {
        if self.phase == Phase::Shut {
            return;
        }
        self.phase = Phase::Shut;
        self.stop_reading(ring);
        let socket = socket2::SockRef::from(&self.fd);
        // Fails when the peer is gone already, which is what was wanted.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }

    /// Whether it is shut and the kernel is done with it.
    pub fn gone(&self) -> bool {
        self.phase == Phase::Shut && self.flight.is_none() && !self.reading
    }

    /// Gives its slot back to the ring, right before it is dropped.
    pub fn leave(&mut self, ring: &mut Ring) {
        ring.release(self.target);
    }
}
