//! One connection, shared by its clones: a command goes out when the reply before it is in.
//!
//! A call that is dropped half-way leaves a reply that nobody reads. Such a connection is never used again, since
//! the next caller would read the wrong reply: the next call makes a new one. The same holds after any error but a
//! server's own. A command is never sent twice.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::builder::Protocol;
use crate::{Builder, Decoder, Error, FromValue, Result, ServerError, Value, tls};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

struct Connection {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    pushes: VecDeque<Vec<Value>>,
    /// TLS may still hold bytes of a command.
    unflushed: bool,
}

struct Shared {
    builder: Builder,
    connection: Mutex<Option<Connection>>,
}

/// A client: cheap to clone, all clones share one connection.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").field(&self.0.builder).finish()
    }
}

impl Client {
    /// Connects over TLS to `host:port`, or as an URL says: `rediss://user:password@host:port/database`.
    pub async fn connect(address: &str) -> Result<Client> {
        Client::builder(address).connect().await
    }

    /// Options for a connection to `host:port`, or to an URL.
    pub fn builder(address: &str) -> Builder {
        Builder::new(address)
    }

    pub(crate) async fn open(builder: Builder) -> Result<Client> {
        let connection = Connection::open(&builder).await?;
        Ok(Client(Arc::new(Shared {
            builder,
            connection: Mutex::new(Some(connection)),
        })))
    }

    /// Sends one command and gives its reply as the type asked for. An error reply is [`Error::Server`].
    pub async fn command<T: FromValue>(
        &self,
        args: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<T> {
        let mut out = Vec::new();
        encode(&mut out, args)?;
        let mut replies = self.exchange(&out, 1).await?;
        match replies.pop() {
            Some(Value::Error(text)) => Err(Error::Server(ServerError(text))),
            Some(value) => T::from_value(value),
            None => Err(Error::Closed),
        }
    }

    /// Sends several commands at once and gives their replies in order; errors are [`Value::Error`] among them.
    pub async fn pipeline<C, A>(&self, commands: impl IntoIterator<Item = C>) -> Result<Vec<Value>>
    where
        C: IntoIterator<Item = A>,
        A: AsRef<[u8]>,
    {
        let mut out = Vec::new();
        let mut count = 0;
        for command in commands {
            encode(&mut out, command)?;
            count += 1;
        }
        self.exchange(&out, count).await
    }

    async fn exchange(&self, out: &[u8], count: usize) -> Result<Vec<Value>> {
        let mut seat = self.0.connection.lock().await;
        // Taken out while it is used: an interrupted call loses it, and so does an error.
        let mut connection = match seat.take() {
            Some(connection) => connection,
            None => Connection::open(&self.0.builder).await?,
        };
        let work = connection.exchange(out, count);
        let replies = match self.0.builder.reply_timeout {
            Some(time) => before(Instant::now() + time, "no reply", work).await?,
            None => work.await?,
        };
        *seat = Some(connection);
        Ok(replies)
    }

    /// Sends a command that is answered by a stream of messages (`SUBSCRIBE`, `MONITOR`): read them with
    /// [`Client::next_push`]. The connection does nothing else from then on.
    pub async fn listen(&self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<()> {
        let mut out = Vec::new();
        encode(&mut out, args)?;
        let mut seat = self.0.connection.lock().await;
        let mut connection = match seat.take() {
            Some(connection) => connection,
            None => Connection::open(&self.0.builder).await?,
        };
        connection.stream.write_all(&out).await?;
        connection.stream.flush().await?;
        *seat = Some(connection);
        Ok(())
    }

    /// The next message that answers no command (RESP3 push), waiting for one.
    pub async fn next_push(&self) -> Result<Vec<Value>> {
        match self.receive().await? {
            Value::Push(items) | Value::Array(items) => Ok(items),
            Value::Error(text) => Err(Error::Server(ServerError(text))),
            other => Ok(vec![other]),
        }
    }

    /// The next value that the server sends, whatever it is: a message, or a reply to what [`Client::listen`] sent.
    /// Dropping this wait loses nothing. [`Error::Closed`] when there is no connection: this makes none.
    pub async fn receive(&self) -> Result<Value> {
        let mut seat = self.0.connection.lock().await;
        let connection = seat.as_mut().ok_or(Error::Closed)?;
        if let Some(push) = connection.pushes.pop_front() {
            return Ok(Value::Push(push));
        }
        let received = connection.receive().await;
        if received.is_err() {
            // It is broken: the next command makes a new one.
            *seat = None;
        }
        received
    }

    /// Messages that came beside replies so far.
    pub async fn take_pushes(&self) -> Vec<Vec<Value>> {
        self.0
            .connection
            .lock()
            .await
            .as_mut()
            .map(|c| c.pushes.drain(..).collect())
            .unwrap_or_default()
    }

    /// `PING`: fails unless the server answers.
    pub async fn ping(&self) -> Result<()> {
        self.command(["PING"]).await
    }

    /// Value of `key`. Ask for an `Option` when it may be missing.
    pub async fn get<T: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<T> {
        self.command([&b"GET"[..], key.as_ref()]).await
    }

    /// Sets `key` to `value`.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.command([&b"SET"[..], key.as_ref(), value.as_ref()])
            .await
    }

    /// Deletes `key`; true when it was there.
    pub async fn del(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.command([&b"DEL"[..], key.as_ref()]).await
    }

    /// True when `key` is there.
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.command([&b"EXISTS"[..], key.as_ref()]).await
    }

    /// Adds one to the number at `key`, which begins at 0; gives the sum.
    pub async fn incr(&self, key: impl AsRef<[u8]>) -> Result<i64> {
        self.command([&b"INCR"[..], key.as_ref()]).await
    }

    /// Lets `key` expire after `time`, which is rounded down to milliseconds; true when the key is there.
    pub async fn expire(&self, key: impl AsRef<[u8]>, time: Duration) -> Result<bool> {
        self.command([
            &b"PEXPIRE"[..],
            key.as_ref(),
            time.as_millis().to_string().as_bytes(),
        ])
        .await
    }

    /// Value of `field` in the hash at `key`. Ask for an `Option` when it may be missing.
    pub async fn hget<T: FromValue>(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
    ) -> Result<T> {
        self.command([&b"HGET"[..], key.as_ref(), field.as_ref()])
            .await
    }

    /// Sets `field` of the hash at `key`; true when the field is new.
    pub async fn hset(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<bool> {
        self.command([&b"HSET"[..], key.as_ref(), field.as_ref(), value.as_ref()])
            .await
    }
}

impl Connection {
    async fn open(builder: &Builder) -> Result<Connection> {
        let deadline = Instant::now() + builder.connect_timeout;
        let failed = |source| Error::Connect {
            address: builder.address(),
            source,
        };
        let dialled = async {
            TcpStream::connect((builder.host.as_str(), builder.port))
                .await
                .map_err(failed)
        };
        let tcp = before(deadline, "no answer from the address", dialled).await?;
        tcp.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = match &builder.tls {
            None => Box::new(tcp),
            Some(trust) => {
                let config = tls::config(trust, builder.identity.as_ref(), &builder.suites)?;
                let name = builder.name.as_ref().unwrap_or(&builder.host);
                let name = ServerName::try_from(name.clone()).map_err(|_| {
                    Error::Config(format!(
                        "`{name}` is no name that a certificate can carry: give one (SNI)"
                    ))
                })?;
                let agreed = async {
                    TlsConnector::from(config)
                        .connect(name, tcp)
                        .await
                        .map_err(handshake)
                };
                Box::new(
                    before(
                        deadline,
                        "no TLS handshake; perhaps this port speaks no TLS",
                        agreed,
                    )
                    .await?,
                )
            }
        };
        let decoder = Decoder::new(builder.limits);
        let mut connection = Connection {
            stream,
            decoder,
            pushes: VecDeque::new(),
            unflushed: false,
        };
        before(
            deadline,
            "no answer to the login",
            connection.greet(builder),
        )
        .await?;
        Ok(connection)
    }

    /// Version of the protocol, login, database: in one round trip.
    async fn greet(&mut self, builder: &Builder) -> Result<()> {
        let mut out = Vec::new();
        let mut count = 0;
        let user = builder.user.as_deref();
        if builder.protocol == Protocol::Resp3 {
            match &builder.password {
                Some(password) => encode(
                    &mut out,
                    ["HELLO", "3", "AUTH", user.unwrap_or("default"), password],
                )?,
                None => encode(&mut out, ["HELLO", "3"])?,
            }
            count += 1;
        } else if let Some(password) = &builder.password {
            match user {
                Some(user) => encode(&mut out, ["AUTH", user, password])?,
                None => encode(&mut out, ["AUTH", password])?,
            }
            count += 1;
        }
        if builder.database != 0 {
            encode(&mut out, ["SELECT", &builder.database.to_string()])?;
            count += 1;
        }
        for reply in self.exchange(&out, count).await? {
            if let Value::Error(text) = reply {
                return Err(Error::Server(ServerError(text)));
            }
        }
        Ok(())
    }

    /// Writes commands while reading replies, so that neither side waits for the other with full buffers.
    async fn exchange(&mut self, mut out: &[u8], count: usize) -> Result<Vec<Value>> {
        let mut replies = Vec::new();
        while replies.len() < count {
            match self.decoder.take().map_err(Error::Protocol)? {
                Some(Value::Push(items)) => self.pushes.push_back(items),
                Some(value) => replies.push(value),
                None => self.fill(&mut out).await?,
            }
        }
        Ok(replies)
    }

    async fn receive(&mut self) -> Result<Value> {
        loop {
            match self.decoder.take().map_err(Error::Protocol)? {
                Some(value) => return Ok(value),
                None => self.fill(&mut &[][..]).await?,
            }
        }
    }

    /// Gets more bytes in, and as much of `out` out as goes meanwhile.
    async fn fill(&mut self, out: &mut &[u8]) -> Result<()> {
        let mut chunk = [0u8; 16 << 10];
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        loop {
            tokio::select! {
                biased;
                done = drain(&mut writer, out, &mut self.unflushed), if !out.is_empty() || self.unflushed => done?,
                n = reader.read(&mut chunk) => {
                    let n = n?;
                    if n == 0 {
                        return Err(Error::Closed);
                    }
                    self.decoder.feed(&chunk[..n]);
                    return Ok(());
                }
            }
        }
    }
}

/// One step of sending: some bytes, or a flush when there are none left. Dropped half-way it has done nothing.
async fn drain(
    to: &mut (impl AsyncWrite + Unpin),
    out: &mut &[u8],
    unflushed: &mut bool,
) -> std::io::Result<()> {
    if out.is_empty() {
        to.flush().await?;
        *unflushed = false;
    } else {
        let n = to.write(out).await?;
        *out = &out[n..];
        *unflushed = true;
    }
    Ok(())
}

/// An error while TLS is agreed on.
fn handshake(e: std::io::Error) -> Error {
    match Error::from(e) {
        Error::Closed => {
            Error::Tls("the server closed the connection; perhaps this port speaks no TLS".into())
        }
        Error::Io(e) => Error::Tls(e.to_string()),
        other => other,
    }
}

async fn before<T>(
    deadline: Instant,
    what: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or(Err(Error::Timeout(what)))
}

/// One command as an array of bulk strings.
fn encode(out: &mut Vec<u8>, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<()> {
    let args: Vec<_> = args.into_iter().collect();
    if args.is_empty() {
        // The server would answer nothing, and the caller would wait for it.
        return Err(Error::Config("a command needs a name".into()));
    }
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in &args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}
