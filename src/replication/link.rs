//! The connection to the followed server: bytes over TCP, inside TLS unless the settings say otherwise in words.
//!
//! Nothing here blocks but [`Link::connect`] (names and the connection itself, within a time) and [`wait`].

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use crate::net::tls;
use crate::settings::{Settings, Source};

/// Bytes received at a time.
const PIECE: usize = 64 << 10;
/// The longest line of the talk before the copy.
const LONGEST_LINE: usize = 64 << 10;

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection.
pub struct Link {
    wire: Wire,
    /// What came and was not taken yet.
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    /// When something last came.
    pub heard: Instant,
    piece: Box<[u8]>,
}

/// What is waited for beside the time.
pub struct Await<'f> {
    /// A descriptor.
    pub fd: BorrowedFd<'f>,
    /// Whether it is waited for being readable, and for being writable.
    pub on: (bool, bool),
}

/// Waits until one of these is ready, or for so long.
///
/// # Errors
/// Those of `poll`.
pub fn wait(what: &[Await<'_>], most: Duration) -> io::Result<()> {
    let flags = |(read, write): (bool, bool)| {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, read);
        flags.set(PollFlags::OUT, write);
        flags
    };
    let mut fds: Vec<PollFd<'_>> = what
        .iter()
        .filter(|a| a.on != (false, false))
        .map(|a| PollFd::from_borrowed_fd(a.fd, flags(a.on)))
        .collect();
    let most = Timespec {
        tv_sec: most.as_secs().min(3600) as i64,
        tv_nsec: most.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&most)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

impl Link {
    /// Connects, as the settings say.
    ///
    /// # Errors
    /// Why not. A TLS handshake goes on with the first bytes, and fails there.
    pub fn connect(source: &Source, settings: &Settings) -> Result<Link, String> {
        let within = settings.replication.timeout.min(Duration::from_secs(10));
        let config = tls_config(source, settings)?;
        let addresses = (source.host.as_str(), source.port)
            .to_socket_addrs()
            .map_err(|e| format!("the name {} does not resolve: {e}", source.host))?;
        let mut last = format!("the name {} has no address", source.host);
        let mut socket = None;
        for address in addresses {
            match TcpStream::connect_timeout(&address, within) {
                Ok(connected) => {
                    socket = Some(connected);
                    break;
                }
                Err(e) => last = format!("no connection to {address}: {e}"),
            }
        }
        let socket = socket.ok_or(last)?;
        let odd = |e: io::Error| format!("the connection cannot be used: {e}");
        socket.set_nodelay(true).map_err(odd)?;
        socket.set_nonblocking(true).map_err(odd)?;
        let wire = match config {
            None => Wire::Plain(socket),
            Some((config, name)) => {
                let session = ClientConnection::new(config, name)
                    .map_err(|e| format!("a TLS session cannot be started: {e}"))?;
                Wire::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Ok(Link {
            wire,
            input: Vec::new(),
            at: 0,
            output: Vec::new(),
            heard: Instant::now(),
            piece: vec![0; PIECE].into(),
        })
    }

    /// What to wait for, if more is wanted.
    pub fn awaits(&self, more: bool) -> Await<'_> {
        let (fd, write) = match &self.wire {
            Wire::Plain(socket) => (socket.as_fd(), !self.output.is_empty()),
            // In a handshake it is the other side's turn unless TLS itself says something.
            Wire::Tls(tls) => (
                tls.sock.as_fd(),
                tls.conn.wants_write() || (!self.output.is_empty() && !tls.conn.is_handshaking()),
            ),
        };
        Await {
            fd,
            on: (more, write),
        }
    }

    /// Receives what is there, a piece at most; tells how much that was.
    ///
    /// # Errors
    /// Why nothing more will come.
    pub fn receive(&mut self) -> Result<usize, String> {
        self.send(&[])?;
        let read = match &mut self.wire {
            Wire::Plain(socket) => socket.read(&mut self.piece),
            Wire::Tls(tls) => tls.read(&mut self.piece),
        };
        match read {
            Ok(0) => Err("it closed the connection".into()),
            Ok(n) => {
                self.heard = Instant::now();
                self.input.extend_from_slice(&self.piece[..n]);
                Ok(n)
            }
            Err(e) => passing(e).map(|()| 0),
        }
    }

    /// Sends, as far as that goes now; the rest goes with the next call.
    ///
    /// # Errors
    /// Why it cannot be sent.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.output.extend_from_slice(bytes);
        while !self.output.is_empty() {
            let written = match &mut self.wire {
                Wire::Plain(socket) => socket.write(&self.output),
                Wire::Tls(tls) => tls.write(&self.output),
            };
            match written {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) => return passing(e),
            }
        }
        if let Wire::Tls(tls) = &mut self.wire
            && let Err(e) = tls.flush()
        {
            return passing(e);
        }
        Ok(())
    }

    /// What came and was not taken.
    pub fn input(&self) -> &[u8] {
        &self.input[self.at..]
    }

    /// Takes that many bytes of it.
    pub fn take(&mut self, n: usize) {
        self.at += n;
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        } else if self.at >= PIECE {
            self.input.drain(..self.at);
            self.at = 0;
        }
    }

    /// Takes a line without its end, if one is there.
    ///
    /// # Errors
    /// One that is too long to be one.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let input = self.input();
        let Some(end) = input.iter().position(|b| *b == b'\n') else {
            return match input.len() > LONGEST_LINE {
                true => Err("it does not speak as a Redis server does".into()),
                false => Ok(None),
            };
        };
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        let line = line.to_vec();
        self.take(end + 1);
        Ok(Some(line))
    }
}

/// What only says that nothing can be done right now is no error.
fn passing(e: io::Error) -> Result<(), String> {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
        // With TLS the reason stands within.
        io::ErrorKind::InvalidData => Err(format!("TLS failed: {e}")),
        io::ErrorKind::UnexpectedEof => Err(format!("it closed the connection: {e}")),
        _ => Err(format!("the connection broke: {e}")),
    }
}

fn tls_config(
    source: &Source,
    settings: &Settings,
) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, String> {
    let link = &settings.replication;
    if !link.tls {
        return Ok(None);
    }
    let authorities = link.ca_file.as_ref().or(settings.tls.ca_file.as_ref());
    let authorities = authorities.ok_or(format!(
        "replication.ca_file {}",
        crate::settings::NO_AUTHORITY
    ))?;
    let own = |link: &Option<_>, server: &Option<_>| link.clone().or(server.clone());
    let cert = own(&link.cert_file, &settings.tls.cert_file);
    let key = own(&link.key_file, &settings.tls.key_file);
    let config = tls::client_config(authorities, cert.zip(key)).map_err(|e| e.to_string())?;
    let name = match link.server_name.as_str() {
        "" => source.host.clone(),
        name => name.to_owned(),
    };
    let name = ServerName::try_from(name.clone()).map_err(|_| {
        format!("{name} is no name that a certificate can bear: set replication.server_name")
    })?;
    Ok(Some((config, name)))
}
