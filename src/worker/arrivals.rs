//! What the ring completes, and the comings and goings of clients.

use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use rustls::ServerConfig;
use socket2::SockRef;

use super::Worker;
use super::client::{Client, ReplyMode, Waiting};
use super::slab::Id;
use super::tick::PAUSE_ABOVE;
use crate::net::buffers::BUFFERS;
use crate::net::conn::{Broken, Conn, Phase};
use crate::net::ring::{Completion, Kind, Token};
use crate::net::session::Arrival;
use crate::resp::Proto;

/// Bytes taken from sockets in one tick; what is more waits in the kernel.
const INTAKE: usize = 1024 * 1024;

impl Worker {
    /// Handles what the ring has completed; how many events that were.
    pub(super) fn take_completions(&mut self) -> usize {
        let mut n = 0;
        self.intake = 0;
        self.more_completions = false;
        while let Some(completion) = self.ring.completion() {
            n += 1;
            match completion.token.kind {
                Kind::Recv => self.received(completion),
                Kind::Send => self.sent(completion),
                Kind::Accept => self.accepted(completion),
                Kind::Log => {
                    let (index, now) = (completion.token.index, self.clock.now_us);
                    let took = self
                        .log
                        .completed(index, completion.result, now, &mut self.ring);
                    if let Some((event, us)) = took
                        && us.saturating_mul(1000) >= self.event_ns
                    {
                        self.note_event(event, us * 1000);
                    }
                }
                Kind::Checkpoint => {
                    let (index, now) = (completion.token.index, self.clock.now_us);
                    let result = completion.result;
                    self.checkpoints
                        .completed(index, result, now, &mut self.ring);
                }
                Kind::Wake => {
                    self.mesh.inbox().hush();
                    if !completion.more {
                        let bell = self.mesh.inbox().bell();
                        self.ring.watch(bell, Token::new(Kind::Wake, 0, 0));
                    }
                }
                Kind::Cancel => {}
            }
            if self.intake >= INTAKE {
                self.more_completions = self.ring.has_completions();
                break;
            }
        }
        n
    }

    fn accepted(&mut self, completion: Completion) {
        let index = completion.token.index;
        if !completion.more && self.stopping.is_none() && completion.result != -libc::ECANCELED {
            // Out of descriptors or the like: the housekeeping tries again, so that a failure
            // that lasts does not spin.
            if completion.result < 0 {
                self.reaccept.push(index);
            } else if let Some(listener) = self.listeners.get(index as usize) {
                self.ring.accept(listener.fd.as_raw_fd(), index);
            }
        }
        if completion.result < 0 {
            if completion.result != -libc::ECANCELED {
                let e = std::io::Error::from_raw_os_error(-completion.result);
                tracing::warn!(core = self.core, "cannot accept a connection: {e}");
            }
            return;
        }
        // SAFETY: the kernel gave us this descriptor with the completion.
        let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
        let tls = self.listeners.get(index as usize).is_some_and(|l| l.tls);
        self.stats.connections += 1;
        if self.stopping.is_some() {
            return;
        }
        let most = self.settings.server.maxclients as usize;
        if !self.shared.admit(most) {
            self.stats.rejected_connections += 1;
            if !tls {
                // Over TLS the text would cost a handshake, which is what must be saved here.
                let text = b"-ERR max number of clients reached\r\n";
                // Fails when the client is gone already.
                let _ = SockRef::from(&fd).send(text);
            }
            return;
        }
        let config = if tls { self.tls.clone() } else { None };
        let name = |addr: std::io::Result<socket2::SockAddr>| {
            addr.ok()
                .and_then(|a| a.as_socket())
                .map(|a: SocketAddr| a.to_string())
        };
        let socket = SockRef::from(&fd);
        let (addr, laddr) = (name(socket.peer_addr()), name(socket.local_addr()));
        self.seat(
            fd,
            config,
            addr.unwrap_or_default(),
            laddr.unwrap_or_default(),
        );
    }

    /// Makes a client of a connection that was admitted; tells its index.
    pub(super) fn seat(
        &mut self,
        fd: OwnedFd,
        config: Option<Arc<ServerConfig>>,
        addr: String,
        laddr: String,
    ) -> Option<u32> {
        let id = self.clients.reserve();
        let target = self.ring.adopt(fd.as_raw_fd());
        let conn = match Conn::new(fd, target, (id.index, id.generation), config) {
            Ok(conn) => conn,
            Err(e) => {
                tracing::error!("a TLS session cannot be started: {e}");
                self.ring.release(target);
                self.clients.free(id.index);
                self.shared.dismiss();
                return None;
            }
        };
        self.next_client += 1;
        let number = self.next_client * self.mesh.cores() as u64 + self.core as u64;
        let mut client = Box::new(Client {
            conn,
            id: number,
            addr,
            laddr,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            db: 0,
            proto: Proto::Resp2,
            user: self.users.default_user().clone(),
            authenticated: false,
            trusted: false,
            since_ms: self.clock.unix_ms,
            active_ms: self.clock.unix_ms,
            window: 0,
            last: None,
            multi: None,
            watched: Vec::new(),
            waiting: Waiting::Nothing,
            applies: false,
            no_evict: false,
            no_touch: false,
            subs: None,
            tracking: None,
            monitors: false,
            hungry: false,
            far_reply: 1024 * 1024,
            reply: ReplyMode::On,
            over_soft_since: None,
            has_input: false,
            has_output: false,
            held: false,
            leaving: false,
            said_goodbye: false,
        });
        self.begin_as_default(&mut client);
        client.conn.read(&mut self.ring);
        self.client_numbers.insert(number, id.index);
        self.clients.put(id.index, client);
        Some(id.index)
    }

    fn received(&mut self, completion: Completion) {
        let Token {
            generation, index, ..
        } = completion.token;
        let Some(client) = self.clients.get(Id { index, generation }) else {
            if let Some(buffer) = completion.buffer {
                self.ring.buffers.give_back(buffer);
            }
            return;
        };
        if !completion.more {
            client.conn.read_ended();
        }
        let open = client.conn.phase == Phase::Open;
        match (completion.result, completion.buffer) {
            (n, Some(buffer)) if n > 0 => {
                let n = n as usize;
                self.intake += n;
                self.stats.net_in += n as u64;
                self.stats.reads += 1;
                self.patience.active(&mut client.window, self.clock.now_us);
                client.active_ms = self.clock.unix_ms;
                let handshaking = client.conn.tls().is_some_and(|tls| !tls.established());
                let arrival = if open {
                    client.conn.receive(self.ring.buffers.bytes(buffer, n))
                } else {
                    Ok(Arrival::Open)
                };
                self.ring.buffers.give_back(buffer);
                if handshaking {
                    if client.conn.tls().is_some_and(|tls| tls.established()) {
                        self.stats.tls_handshakes += 1;
                    }
                    note(&mut self.output, index, &mut client.has_output);
                }
                match arrival {
                    Ok(Arrival::Open) => {
                        if client.is_full() {
                            client.conn.stop_reading(&mut self.ring);
                        }
                    }
                    Ok(Arrival::Closed) => {
                        client.leaving = true;
                        note(&mut self.output, index, &mut client.has_output);
                    }
                    Err(Broken::Tls { error, established }) => {
                        client.conn.phase = Phase::Draining;
                        note(&mut self.output, index, &mut client.has_output);
                        let addr = client.addr.clone();
                        self.tls_failed(&addr, &error, established);
                        return;
                    }
                }
                note(&mut self.input, index, &mut client.has_input);
            }
            (0, buffer) => {
                if let Some(buffer) = buffer {
                    self.ring.buffers.give_back(buffer);
                }
                client.leaving = true;
                note(&mut self.input, index, &mut client.has_input);
                note(&mut self.output, index, &mut client.has_output);
            }
            (n, buffer) => {
                if let Some(buffer) = buffer {
                    self.ring.buffers.give_back(buffer);
                }
                match -n {
                    // It has data and there was no buffer for it. It gets its turn.
                    libc::ENOBUFS => {
                        self.starved.push_back(index);
                        return;
                    }
                    libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                    _ => {
                        self.close(index);
                        return;
                    }
                }
            }
        }
        self.go_on_reading(index);
    }

    /// Receives again from those that found no buffer: as many as there are buffers, in order, so that
    /// thousands of clients at once cost no more than their data.
    pub(super) fn feed_starved(&mut self) {
        for _ in 0..BUFFERS {
            match self.starved.pop_front() {
                Some(index) => self.go_on_reading(index),
                None => break,
            }
        }
    }

    /// Receives again if the receive has ended and nothing speaks against it.
    fn go_on_reading(&mut self, index: u32) {
        let Some(client) = self.clients.at(index) else {
            return;
        };
        if client.conn.phase == Phase::Open && !client.leaving && !client.is_full() {
            client.conn.read(&mut self.ring);
        }
        if client.conn.gone() {
            self.forget(index);
        }
    }

    fn tls_failed(&mut self, addr: &str, error: &rustls::Error, established: bool) {
        let reason = reason_of(error);
        *self
            .stats
            .tls_failures
            .entry(reason.to_owned())
            .or_default() += 1;
        if self.tls_log_budget > 0 {
            self.tls_log_budget -= 1;
            let when = if established {
                "connection"
            } else {
                "handshake"
            };
            tracing::warn!(client = addr, "TLS {when} failed: {reason} ({error})");
        }
    }

    fn sent(&mut self, completion: Completion) {
        let Token {
            generation, index, ..
        } = completion.token;
        let Some(client) = self.clients.get(Id { index, generation }) else {
            return;
        };
        let before = client.conn.traffic.1;
        let works = client
            .conn
            .sent(completion.result, &mut self.ring, &mut self.pool);
        let written = client.conn.traffic.1 - before;
        self.stats.net_out += written;
        self.stats.writes += u64::from(written > 0);
        if !works {
            self.close(index);
            return;
        }
        if client.conn.gone() {
            self.forget(index);
            return;
        }
        if client.conn.wants_flush() || client.conn.phase == Phase::Draining {
            note(&mut self.output, index, &mut client.has_output);
        }
        // It may have been passed over for what it owed.
        if client.conn.at < client.conn.input.len() && client.waiting == Waiting::Nothing {
            note(&mut self.input, index, &mut client.has_input);
        }
    }

    /// Puts a client on the list of those with output, while it is taken out of the slab.
    pub(super) fn note_output(&mut self, index: u32, client: &mut Client) {
        note(&mut self.output, index, &mut client.has_output);
    }

    /// Lets replies go whose ticket is durable.
    pub(super) fn release_held(&mut self, kept: u64) {
        if self.holding.is_empty() {
            return;
        }
        let holding = mem::take(&mut self.holding);
        for index in holding {
            let Some(client) = self.clients.at(index) else {
                continue;
            };
            match client.conn.release(kept, &mut self.pool) {
                Ok(released) => {
                    if released {
                        note(&mut self.output, index, &mut client.has_output);
                    }
                    if client.conn.holds() {
                        self.holding.push(index);
                    } else {
                        client.held = false;
                    }
                }
                Err(_) => self.close(index),
            }
        }
    }

    /// Sends what clients are owed, and closes those that are done or owe us reading.
    pub(super) fn flush_output(&mut self, hold: Option<u64>) {
        let list = mem::take(&mut self.output);
        let limits = self.settings.server.client_output_buffer_limit;
        for index in list {
            let Some(client) = self.clients.at(index) else {
                continue;
            };
            client.has_output = false;
            match client.conn.flush(&mut self.ring, &mut self.pool, hold) {
                Ok(sent) => self.sends += usize::from(sent),
                Err(e) => {
                    tracing::debug!(client = %client.addr, "cannot seal a reply: {e}");
                    self.close(index);
                    continue;
                }
            }
            if client.conn.holds() && !client.held {
                client.held = true;
                self.holding.push(index);
            }
            let owed = client.conn.owed() as u64;
            let limit = client.output_limit(&limits);
            // One that is closed already may be here once more, until the ring has let go of it.
            let open = client.conn.phase != Phase::Shut;
            if open && limit.hard > 0 && owed > limit.hard {
                tracing::warn!(client = %client.addr, owed, "closed: it does not read its replies");
                self.stats.output_limit_closes += 1;
                self.close(index);
                continue;
            }
            if limit.soft > 0 && owed > limit.soft {
                client.over_soft_since.get_or_insert(self.clock.unix_ms);
            } else {
                client.over_soft_since = None;
            }
            let idle =
                client.conn.at >= client.conn.input.len() || client.conn.phase != Phase::Open;
            if client.leaving && matches!(client.waiting, Waiting::Blocked(_)) {
                // Nobody is there to take what it waits for.
                self.close(index);
                continue;
            }
            if client.leaving
                && client.conn.phase == Phase::Open
                && !client.has_input
                && client.waiting == Waiting::Nothing
            {
                // Everything it sent whole has been executed.
                client.conn.phase = Phase::Draining;
            }
            if client.conn.phase == Phase::Draining && idle | client.leaving {
                if client.conn.drained() && client.waiting == Waiting::Nothing {
                    self.say_goodbye(index);
                }
            } else if owed as usize <= PAUSE_ABOVE && !client.is_full() && !client.leaving {
                client.conn.read(&mut self.ring);
            }
        }
    }

    fn say_goodbye(&mut self, index: u32) {
        let Some(client) = self.clients.at(index) else {
            return;
        };
        if !mem::replace(&mut client.said_goodbye, true) {
            client.conn.say_goodbye();
            // A failure means that the peer is gone, and the close below is all that is left.
            if let Ok(true) = client.conn.flush(&mut self.ring, &mut self.pool, None) {
                self.sends += 1;
                return;
            }
        }
        self.close(index);
    }

    /// Closes a client's connection and forgets it once the kernel has let go of it.
    pub(super) fn close(&mut self, index: u32) {
        let Some(mut client) = self.clients.take(index) else {
            return;
        };
        if client.conn.phase != Phase::Shut {
            client.conn.shut(&mut self.ring);
            client.multi = None;
            self.forget_watched_silently(&mut client);
            self.leave_lines(&mut client);
            self.leave_audience(&mut client);
            self.client_numbers.remove(&client.id);
            self.shared.dismiss();
        }
        let gone = client.conn.gone();
        self.clients.put(index, client);
        if gone {
            self.forget(index);
        }
    }

    fn forget(&mut self, index: u32) {
        if let Some(client) = self.clients.at(index) {
            client.conn.leave(&mut self.ring);
            // The next client under this number stands on no list but by its own doing: twice on one, its commands
            // would be taken twice.
            if mem::take(&mut client.has_input) {
                self.input.retain(|&other| other != index);
            }
            if mem::take(&mut client.has_output) {
                self.output.retain(|&other| other != index);
            }
            self.clients.free(index);
        }
    }
}

pub(super) fn note(list: &mut Vec<u32>, index: u32, noted: &mut bool) {
    if !mem::replace(noted, true) {
        list.push(index);
    }
}

/// A TLS failure in a few words that do not depend on what the client sent.
fn reason_of(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError, Error, PeerIncompatible};
    match error {
        Error::NoCertificatesPresented => "client certificate missing",
        Error::InvalidCertificate(e) => match e {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "client certificate expired"
            }
            CertificateError::UnknownIssuer => "client certificate from an unknown CA",
            _ => "client certificate invalid",
        },
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "no common TLS version",
        Error::PeerIncompatible(_) => "nothing in common",
        Error::InvalidMessage(_) => "not TLS",
        Error::AlertReceived(_) => "alert from the client",
        Error::DecryptError => "record does not open",
        Error::PeerMisbehaved(_) => "client breaks the protocol",
        _ => "other",
    }
}
