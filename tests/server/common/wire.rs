//! A client that hides nothing: bytes out, replies in, over TLS or plain.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// One reply, as RESP2 or RESP3 writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Double(String),
    Bool(bool),
    Big(String),
    Verbatim(Vec<u8>),
}

impl Value {
    /// The bulk string `text`.
    pub fn bulk(text: impl AsRef<[u8]>) -> Value {
        Value::Bulk(text.as_ref().to_vec())
    }

    /// `+OK`.
    pub fn ok() -> Value {
        Value::Simple("OK".into())
    }

    /// Text of a string reply of any kind, for assertions.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(s) | Value::Error(s) | Value::Double(s) | Value::Big(s) => s.clone(),
            Value::Bulk(b) | Value::Verbatim(b) => String::from_utf8_lossy(b).into_owned(),
            Value::Int(i) => i.to_string(),
            other => panic!("not a string: {other:?}"),
        }
    }

    /// The number of an integer reply.
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(i) => *i,
            other => panic!("not an integer: {other:?}"),
        }
    }

    /// The elements of an array, set or push.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(v) | Value::Set(v) | Value::Push(v) => v,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    at: usize,
}

/// One command as RESP.
pub fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A TCP connection to a loopback port.
pub fn tcp(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(
        &SocketAddr::from(([127, 0, 0, 1], port)),
        Duration::from_secs(20),
    )?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Wire {
    /// A plaintext connection.
    pub fn plain(port: u16) -> io::Result<Wire> {
        Ok(Wire::over(Stream::Plain(tcp(port)?)))
    }

    /// A TLS connection, its handshake done.
    pub fn tls(port: u16, config: &Arc<ClientConfig>) -> io::Result<Wire> {
        let mut tcp = tcp(port)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Wire::over(Stream::Tls(Box::new(StreamOwned::new(
            tls, tcp,
        )))))
    }

    fn over(stream: Stream) -> Wire {
        Wire {
            stream,
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// The TCP connection underneath.
    pub fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// The TLS session, when there is one.
    pub fn session(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => Some(&tls.conn),
        }
    }

    /// How long a read waits.
    pub fn patience(&self, wait: Duration) {
        self.socket()
            .set_read_timeout(Some(wait))
            .expect("a timeout");
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()
            }
        }
    }

    /// Sends one command.
    pub fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send(&command(args))
    }

    /// Sends one command and reads its reply.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.ask(args)?;
        self.reply()
    }

    /// As [`Wire::try_call`], where a broken connection fails the test.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        match self.try_call(args) {
            Ok(value) => value,
            Err(e) => {
                let words: Vec<_> = args
                    .iter()
                    .map(|a| {
                        String::from_utf8_lossy(&a.as_ref()[..a.as_ref().len().min(40)])
                            .into_owned()
                    })
                    .collect();
                panic!("{words:?}: {e}")
            }
        }
    }

    /// One command in words, split at blanks.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> Value {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Reads what has come; 0 when the peer has closed in good order or otherwise.
    pub fn fill(&mut self) -> io::Result<usize> {
        if self.at > 0 && self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
        } else if self.at > 1 << 20 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + 65536, 0);
        let got = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(&mut self.buffer[before..]),
            Stream::Tls(tls) => tls.read(&mut self.buffer[before..]),
        };
        self.buffer.truncate(before + *got.as_ref().unwrap_or(&0));
        match got {
            // A peer that went without a TLS closing alert has closed all the same.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    fn more(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "closed by the server",
            )),
            _ => Ok(()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut from = self.at;
        loop {
            if let Some(end) = self.buffer[from..].windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[self.at..from + end]).into_owned();
                self.at = from + end + 2;
                return Ok(line);
            }
            // `fill` may drop what has been read: count from the first unread byte.
            let seen = (self.buffer.len() - self.at).saturating_sub(1);
            self.more()?;
            from = self.at + seen;
        }
    }

    fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.at < n + 2 {
            self.more()?;
        }
        let body = self.buffer[self.at..self.at + n].to_vec();
        assert_eq!(
            &self.buffer[self.at + n..self.at + n + 2],
            b"\r\n",
            "a bulk ends with CRLF"
        );
        self.at += n + 2;
        Ok(body)
    }

    /// Reads one reply.
    pub fn reply(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let bad = |why: &str| io::Error::other(format!("{why}: {line:?}"));
        let kind = line
            .as_bytes()
            .first()
            .copied()
            .ok_or_else(|| bad("empty reply"))?;
        let rest = &line[1..];
        let number = || rest.parse::<i64>().map_err(|_| bad("not a number"));
        Ok(match kind {
            b'+' => Value::Simple(rest.into()),
            b'-' => Value::Error(rest.into()),
            b':' => Value::Int(number()?),
            b',' => Value::Double(rest.into()),
            b'(' => Value::Big(rest.into()),
            b'#' => Value::Bool(rest == "t"),
            b'_' => Value::Null,
            b'$' | b'*' if number()? < 0 => Value::Null,
            b'$' => Value::Bulk(self.exactly(number()? as usize)?),
            b'=' => Value::Verbatim(self.exactly(number()? as usize)?),
            b'*' => Value::Array(self.many(number()?)?),
            b'~' => Value::Set(self.many(number()?)?),
            b'>' => Value::Push(self.many(number()?)?),
            b'%' => {
                let flat = self.many(number()? * 2)?;
                let mut flat = flat.into_iter();
                let mut pairs = Vec::new();
                while let (Some(k), Some(v)) = (flat.next(), flat.next()) {
                    pairs.push((k, v));
                }
                Value::Map(pairs)
            }
            _ => return Err(bad("unknown kind of reply")),
        })
    }

    fn many(&mut self, n: i64) -> io::Result<Vec<Value>> {
        (0..n).map(|_| self.reply()).collect()
    }

    /// Sends one command and returns the first `n` bytes of the answer as they are.
    #[track_caller]
    pub fn raw<A: AsRef<[u8]>>(&mut self, args: &[A], n: usize) -> Vec<u8> {
        self.ask(args).expect("the server reads");
        while self.buffer.len() - self.at < n {
            self.more().expect("an answer");
        }
        let bytes = self.buffer[self.at..self.at + n].to_vec();
        self.at += n;
        bytes
    }

    /// Whether the server closes within [`PATIENCE`]; what it still says before is returned.
    #[track_caller]
    pub fn until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e)
                    if e.kind() == io::ErrorKind::WouldBlock
                        || e.kind() == io::ErrorKind::TimedOut =>
                {
                    panic!("the server did not close the connection")
                }
                Err(_) => break,
            }
        }
        let rest = self.buffer.split_off(self.at);
        self.buffer.clear();
        self.at = 0;
        rest
    }

    /// One INFO section as pairs.
    #[track_caller]
    pub fn info(&mut self, section: &str) -> Vec<(String, String)> {
        let text = self.call(&["INFO", section]).text();
        text.lines()
            .filter_map(|l| l.split_once(':'))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    /// One figure of an INFO section.
    #[track_caller]
    pub fn figure(&mut self, section: &str, name: &str) -> String {
        let all = self.info(section);
        match all.iter().find(|(k, _)| k == name) {
            Some((_, v)) => v.clone(),
            None => panic!("INFO {section} has no {name}: {all:?}"),
        }
    }
}
