//! The way to other servers: a thread that carries keys there, so that no core waits for a network.
//!
//! Promise: nothing leaves in the clear unless the settings say so in words. The other server has to show a certificate
//! of an authority in `tls.ca_file`; there is no way back to plaintext from a handshake that failed. What was sent counts
//! as arrived only when the other server has said so, key by key.
//!
//! One thread serves all cores, since it mostly waits; it is not pinned to any of theirs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ferrite::{Client, Error, Protocol, Value};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Bytes of values sent before an answer is waited for.
const AT_ONCE: usize = 1 << 20;
/// Keys sent before an answer is waited for.
const MOST: usize = 256;

/// A command's arguments.
pub type Words = Vec<Vec<u8>>;

/// How the other server is spoken to.
#[derive(Clone, Debug)]
pub enum Link {
    /// Over TLS.
    Tls {
        /// The authorities that its certificate must come from.
        ca_file: PathBuf,
        /// Our certificate and its private key, for a server that asks for one.
        identity: Option<(PathBuf, PathBuf)>,
    },
    /// In the clear.
    Plain,
}

/// Keys, and where they go.
pub struct Cargo {
    /// The other server: `host:port`.
    pub address: String,
    /// How it is spoken to.
    pub link: Link,
    /// How long to wait for a connection, and for each answer.
    pub timeout: Duration,
    /// What is said first: AUTH, SELECT.
    pub greeting: Vec<Words>,
    /// For each key the command that makes it there.
    pub keys: Vec<Words>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Delivery {
    /// For each key whether the other server has it.
    pub arrived: Vec<bool>,
    /// The error to answer, if anything went wrong.
    pub trouble: Option<String>,
}

type Job = (Cargo, Box<dyn FnOnce(Delivery) + Send>);

/// The thread's other end.
pub struct Carrier(UnboundedSender<Job>);

impl Carrier {
    /// Starts the thread; it ends when the carrier is dropped and nothing is under way.
    ///
    /// # Errors
    /// When the process may have no further thread.
    pub fn start() -> io::Result<Carrier> {
        let (jobs, mut inbox) = unbounded_channel::<Job>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("carrier".into())
            .spawn(move || {
                runtime.block_on(async move {
                    while let Some((cargo, tell)) = inbox.recv().await {
                        tokio::spawn(async move { tell(deliver(cargo).await) });
                    }
                });
            })?;
        Ok(Carrier(jobs))
    }

    /// Sends keys on their way; `tell` is called on the carrier's thread, once.
    pub fn carry(&self, cargo: Cargo, tell: impl FnOnce(Delivery) + Send + 'static) {
        // The thread lives as long as this does.
        if let Err(lost) = self.0.send((cargo, Box::new(tell))) {
            let (_, tell) = lost.0;
            tell(Delivery {
                trouble: Some("IOERR the thread that carries keys has ended".into()),
                ..Delivery::default()
            });
        }
    }
}

async fn deliver(cargo: Cargo) -> Delivery {
    let mut delivery = Delivery::default();
    if let Err(trouble) = try_deliver(cargo, &mut delivery).await {
        delivery.trouble.get_or_insert(trouble);
    }
    delivery
}

fn lost(_: Error) -> String {
    "IOERR error or timeout reading to target instance".into()
}

fn refused(text: &str) -> String {
    format!("ERR Target instance replied with error: {text}")
}

async fn connect(cargo: &Cargo) -> Result<Client, String> {
    let builder = Client::builder(&cargo.address)
        .protocol(Protocol::Resp2)
        .connect_timeout(cargo.timeout)
        .reply_timeout(cargo.timeout);
    let builder = match &cargo.link {
        Link::Plain => builder.plaintext(),
        Link::Tls { ca_file, identity } => {
            let builder = builder.ca_file(ca_file);
            match identity {
                Some((cert, key)) => builder.client_cert(cert, key),
                None => builder,
            }
        }
    };
    builder.connect().await.map_err(|e| match e {
        Error::Tls(why) => format!(
            "IOERR error or timeout connecting to the client: no TLS with it: {why}. Only \
             server.allow_plaintext_migrate = true lets keys leave in the clear"
        ),
        other => format!("IOERR error or timeout connecting to the client: {other}"),
    })
}

async fn try_deliver(cargo: Cargo, delivery: &mut Delivery) -> Result<(), String> {
    let client = connect(&cargo).await?;
    for reply in client.pipeline(&cargo.greeting).await.map_err(lost)? {
        if let Value::Error(text) = reply {
            return Err(refused(&text));
        }
    }
    let mut rest = cargo.keys.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while bytes < AT_ONCE
            && some.len() < MOST
            && let Some(command) = rest.next()
        {
            bytes += command.iter().map(Vec::len).sum::<usize>();
            some.push(command);
        }
        for reply in client.pipeline(&some).await.map_err(lost)? {
            if let Value::Error(text) = &reply {
                delivery.trouble.get_or_insert_with(|| refused(text));
            }
            delivery.arrived.push(!matches!(reply, Value::Error(_)));
        }
    }
    Ok(())
}
