//! One TLS session, bytes in and bytes out; no socket in here.
//!
//! rustls's unbuffered interface decrypts from our receive buffer and encrypts into our send
//! buffer. A record that straddles two receives waits in `partial`; whole records, the usual case,
//! are never copied before they are opened.

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, ServerConfig};

use super::outbuf::OutBuf;

/// Header, content type and tag of a TLS 1.3 record, and room for TLS 1.2's explicit nonce.
const RECORD_OVERHEAD: usize = 5 + 1 + 16 + 8;
/// Plaintext bytes of a full record (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;
/// Bytes of handshake that a client may keep us waiting with.
const MAX_PARTIAL: usize = 64 * 1024 + RECORD + 2048;

/// What an arrival of bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The session goes on.
    Open,
    /// The client said good-bye.
    Closed,
}

/// A TLS session on the server's side.
pub struct Session {
    tls: UnbufferedServerConnection,
    partial: Vec<u8>,
    established: bool,
    /// It failed; rustls must not be asked anything more.
    broken: bool,
}

impl Session {
    /// A session that waits for its ClientHello.
    ///
    /// # Errors
    /// What rustls says of the configuration.
    pub fn new(config: Arc<ServerConfig>) -> Result<Session, Error> {
        Ok(Session {
            tls: UnbufferedServerConnection::new(config)?,
            partial: Vec::new(),
            established: false,
            broken: false,
        })
    }

    /// Whether the handshake is done.
    pub fn established(&self) -> bool {
        self.established
    }

    /// Version, cipher suite and key-exchange group, once negotiated.
    pub fn describe(&self) -> (&'static str, String, String) {
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        };
        let suite = self
            .tls
            .negotiated_cipher_suite()
            .map(|s| format!("{:?}", s.suite()));
        let group = self
            .tls
            .negotiated_key_exchange_group()
            .map(|g| format!("{:?}", g.name()));
        (
            version,
            suite.unwrap_or_default(),
            group.unwrap_or_default(),
        )
    }

    /// Takes bytes from the socket; opened application data is appended to `plain`, what must be
    /// answered at once (handshake, alerts) to `out`.
    ///
    /// # Errors
    /// A record that does not open, or a handshake that fails; the alert for it is in `out`, and
    /// the connection must be closed once it is sent.
    pub fn receive(
        &mut self,
        tls: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut OutBuf,
    ) -> Result<Arrival, Error> {
        if self.partial.is_empty() {
            let (used, arrival) = self.process(tls, plain, out)?;
            self.partial.extend_from_slice(&tls[used..]);
            self.check_partial()?;
            return Ok(arrival);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(tls);
        let (used, arrival) = self.process(&mut joined, plain, out)?;
        joined.drain(..used);
        if joined.is_empty() && joined.capacity() > 2 * RECORD {
            joined = Vec::new();
        }
        self.partial = joined;
        self.check_partial()?;
        Ok(arrival)
    }

    fn check_partial(&self) -> Result<(), Error> {
        if self.partial.len() > MAX_PARTIAL {
            return Err(Error::General("a TLS message too long to be one".into()));
        }
        Ok(())
    }

    fn process(
        &mut self,
        tls: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut OutBuf,
    ) -> Result<(usize, Arrival), Error> {
        let mut used = 0;
        let mut closed = false;
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.tls.process_tls_records(&mut tls[used..]);
            let state = match state {
                Ok(state) => state,
                Err(e) => {
                    used += discard;
                    self.broken = true;
                    take_alert(&mut self.tls, &mut tls[used..], out);
                    return Err(e);
                }
            };
            let mut more = true;
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out)?,
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    closed = true;
                    more = false;
                }
                ConnectionState::WriteTraffic(_) => {
                    self.established = true;
                    more = false;
                }
                // Early data is off in the configuration; anything new in rustls waits for bytes.
                _ => more = false,
            }
            used += discard;
            if !more {
                let arrival = if closed {
                    Arrival::Closed
                } else {
                    Arrival::Open
                };
                return Ok((used, arrival));
            }
        }
    }

    /// Seals `plain` into records at the end of `out`.
    ///
    /// # Errors
    /// A session that may not send: the handshake is not done, or its keys are exhausted.
    pub fn seal(&mut self, plain: &[u8], out: &mut OutBuf) -> Result<(), Error> {
        let mut sealed = Err(Error::HandshakeNotComplete);
        self.when_writable(out, |traffic, out| sealed = seal_into(traffic, plain, out))?;
        sealed
    }

    /// Appends the closing alert.
    pub fn close(&mut self, out: &mut OutBuf) {
        // A session that cannot say good-bye is closed without it.
        let _ = self.when_writable(out, |mut traffic, out| {
            if let Ok(n) = traffic.queue_close_notify(out.room(256)) {
                out.wrote(n);
            }
        });
    }

    /// Calls `f` when rustls is ready to send application data.
    ///
    /// rustls has to be shown what it has seen and not consumed, or it loses its place: so it is
    /// given `partial` each time, which is empty but for a record that is still arriving.
    fn when_writable(
        &mut self,
        out: &mut OutBuf,
        f: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut OutBuf),
    ) -> Result<(), Error> {
        while !self.broken {
            let UnbufferedStatus { state, discard, .. } =
                self.tls.process_tls_records(&mut self.partial);
            match state? {
                ConnectionState::WriteTraffic(traffic) => {
                    f(traffic, out);
                    self.partial.drain(..discard);
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, out)?,
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
            self.partial.drain(..discard);
        }
        Err(Error::General("the session has failed".to_owned()))
    }
}

fn seal_into(
    mut traffic: WriteTraffic<'_, ServerConnectionData>,
    plain: &[u8],
    out: &mut OutBuf,
) -> Result<(), Error> {
    let records = plain.len().div_ceil(RECORD).max(1);
    let mut room = plain.len() + records * RECORD_OVERHEAD;
    loop {
        match traffic.encrypt(plain, out.room(room)) {
            Ok(n) => {
                out.wrote(n);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(e)) => room = e.required_size,
            Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
        }
    }
}

fn encode<D>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
    out: &mut OutBuf,
) -> Result<(), Error> {
    let mut room = 4096;
    loop {
        match data.encode(out.room(room)) {
            Ok(n) => {
                out.wrote(n);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(e)) => room = e.required_size,
            Err(EncodeError::AlreadyEncoded) => return Ok(()),
        }
    }
}

/// After an error rustls holds the alert that tells the client why. It is asked for once: a second
/// question would be taken as an invitation to read the bad record again.
fn take_alert(tls: &mut UnbufferedServerConnection, rest: &mut [u8], out: &mut OutBuf) {
    let UnbufferedStatus { state, .. } = tls.process_tls_records(rest);
    if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
        // Without room for the alert the connection closes without it.
        let _ = encode(&mut data, out);
    }
}
