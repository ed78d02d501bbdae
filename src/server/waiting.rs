//! Where clients wait while the data is being loaded: the ports are open, and who comes is told so.
//!
//! Promise: whoever could come in later gets `-LOADING` and may ask INFO how far it is; nobody gets at data, which this
//! module does not know. When the data is there the connections are closed, and clients come again. Loading
//! is over quickly as a rule, and then there is no such place.
//!
//! Source: the Redis command pages of INFO (section Persistence) and of the commands that are answered while loading.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::acl::{DEFAULT, Users};
use crate::command::REDIS_VERSION;
use crate::disk;
use crate::net::listen;
use crate::net::tls::Identity;
use crate::resp::{Arg, Limits, Parser, Proto, Reply, Step};
use crate::settings::Settings;

/// Loading that is over within this time is nobody's business.
const AT_ONCE: Duration = Duration::from_millis(200);
/// How often the server's log tells how far it is.
const TELL: Duration = Duration::from_secs(5);
/// Connections at a time; more wait in the kernel.
const CONNECTIONS: usize = 256;
/// Bytes of an unfinished command that are kept.
const LONGEST: usize = 64 << 10;
/// How long a handshake, or a silent client, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far loading is.
#[derive(Debug)]
pub struct Progress {
    /// Bytes there are to be read, about; 0 while that is not known.
    total: AtomicU64,
    began: Instant,
    began_unix: u64,
}

impl Progress {
    /// Nothing is read yet.
    pub fn new() -> Progress {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Progress {
            total: AtomicU64::new(0),
            began: Instant::now(),
            began_unix: unix.unwrap_or_default().as_secs(),
        }
    }

    /// Tells how much there is to be read.
    pub fn expect(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    /// Bytes read, and bytes in all.
    fn bytes(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (disk::bytes_read().min(total), total)
    }

    fn percent(&self) -> f64 {
        let (done, total) = self.bytes();
        done as f64 * 100.0 / total.max(1) as f64
    }

    fn info(&self) -> String {
        let (done, total) = self.bytes();
        let seconds = self.began.elapsed().as_secs_f64();
        let left = match done {
            0 => 0.0,
            done => seconds * (total - done) as f64 / done as f64,
        };
        format!(
            "# Server\r\nredis_version:{REDIS_VERSION}\r\nferrite_version:{}\r\nprocess_id:{}\r\n\r\n\
             # Persistence\r\nloading:1\r\nasync_loading:0\r\nloading_start_time:{}\r\n\
             loading_total_bytes:{total}\r\nloading_loaded_bytes:{done}\r\nloading_loaded_perc:{:.2}\r\n\
             loading_eta_seconds:{left:.0}\r\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            self.began_unix,
            self.percent(),
        )
    }
}

/// The place itself.
pub struct WaitingRoom {
    close: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What all who wait are told by.
struct House {
    users: Users,
    progress: Arc<Progress>,
}

impl WaitingRoom {
    /// Opens it when loading takes a while. Fails where the thread cannot be had.
    ///
    /// # Errors
    /// Why there is no thread for it, or that the certificate cannot be used.
    pub fn open(
        settings: Arc<Settings>,
        identity: Option<&Identity>,
        users: Users,
        progress: Arc<Progress>,
    ) -> Result<WaitingRoom, String> {
        let tls = match identity {
            Some(identity) if settings.tls.enabled => {
                let config = identity.server_config().map_err(|e| e.to_string())?;
                Some(TlsAcceptor::from(config))
            }
            _ => None,
        };
        let (close, closed) = oneshot::channel();
        let house = Arc::new(House { users, progress });
        let thread = std::thread::Builder::new()
            .name("loading".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => runtime.block_on(keep(&settings, tls, house, closed)),
                    Err(e) => tracing::warn!("clients are not told that data is loaded: {e}"),
                }
            })
            .map_err(|e| format!("the loading thread cannot start: {e}"))?;
        Ok(WaitingRoom { close, thread })
    }

    /// Closes it: nobody is in it any more when this returns.
    pub fn close(self) {
        // It may have ended by itself.
        let _ = self.close.send(());
        let _ = self.thread.join();
    }
}

async fn keep(
    settings: &Settings,
    tls: Option<TlsAcceptor>,
    house: Arc<House>,
    mut closed: oneshot::Receiver<()>,
) {
    // What is loaded is on the disk, and stays there.
    tokio::spawn(async {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        let [Ok(mut term), Ok(mut int)] = kinds.map(signal) else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("asked to stop while loading: stopped; the data directory is as it was");
        std::process::exit(0);
    });
    if timeout(AT_ONCE, &mut closed).await.is_ok() {
        return;
    }
    let mut ports = Vec::new();
    for &ip in &settings.server.bind {
        if let Some(tls) = &tls {
            ports.push((SocketAddr::new(ip, settings.tls.port), Some(tls.clone())));
        }
        if settings.server.port != 0 {
            ports.push((SocketAddr::new(ip, settings.server.port), None));
        }
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    for (address, tls) in ports {
        let keepalive = settings.server.tcp_keepalive;
        let listener = listen::listen(address.ip(), address.port(), keepalive)
            .map(std::net::TcpListener::from)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(tokio::net::TcpListener::from_std);
        match listener {
            Ok(listener) => {
                tokio::spawn(admit(listener, tls, house.clone(), places.clone()));
            }
            Err(e) => tracing::warn!("clients are not told that data is loaded: {e}"),
        }
    }
    while timeout(TELL, &mut closed).await.is_err() {
        let (done, total) = house.progress.bytes();
        let percent = house.progress.percent();
        tracing::info!("loading: {percent:.0} % ({done} of about {total} bytes)");
    }
}

async fn admit(
    listener: tokio::net::TcpListener,
    tls: Option<TlsAcceptor>,
    house: Arc<House>,
    places: Arc<Semaphore>,
) {
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, house) = (tls.clone(), house.clone());
        tokio::spawn(async move {
            match tls {
                None => talk(socket, &house).await,
                Some(tls) => {
                    if let Ok(Ok(socket)) = timeout(PATIENCE, tls.accept(socket)).await {
                        talk(socket, &house).await;
                    }
                }
            }
            drop(place);
        });
    }
}

/// One who waits.
struct Guest<'h> {
    house: &'h House,
    proto: Proto,
    authenticated: bool,
}

async fn talk(mut socket: impl AsyncRead + AsyncWrite + Unpin, house: &House) {
    let mut guest = Guest {
        house,
        proto: Proto::Resp2,
        authenticated: !house.users.must_authenticate(),
    };
    let (mut parser, mut input, mut args) = (Parser::default(), Vec::new(), Vec::<Arg>::new());
    let limits = Limits::default();
    while input.len() < LONGEST {
        let mut piece = [0; 4096];
        let n = match timeout(PATIENCE, socket.read(&mut piece)).await {
            Ok(Ok(n)) if n > 0 => n,
            _ => return,
        };
        input.extend_from_slice(&piece[..n]);
        let (mut at, mut replies, mut over) = (0, Vec::new(), false);
        while !over {
            args.clear();
            match parser.step(&mut input, &mut at, &mut args, &limits) {
                Step::NeedMore => break,
                Step::Fault(fault) => {
                    let (buf, proto) = (&mut replies, guest.proto);
                    fault.write(&mut Reply { buf, proto });
                    over = true;
                }
                Step::Command => {
                    let argv: Vec<&[u8]> = args.iter().map(|arg| arg.of(&input)).collect();
                    over = guest.answer(&argv, &mut replies);
                }
            }
        }
        input.drain(..at);
        if socket.write_all(&replies).await.is_err() || socket.flush().await.is_err() || over {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

impl Guest<'_> {
    /// Answers a command; whether it was the last.
    fn answer(&mut self, argv: &[&[u8]], buf: &mut Vec<u8>) -> bool {
        let is = |word: &str| argv[0].eq_ignore_ascii_case(word.as_bytes());
        if is("quit") {
            self.reply(buf).ok();
            return true;
        }
        let outcome = if is("auth") {
            match argv {
                [_, _] if self.house.users.default_user().needs_no_password() => Err(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                     your configuration is correct?",
                ),
                [_, password] => self.let_in(DEFAULT, password),
                [_, user, password] => self.let_in(user, password),
                _ => Err("ERR syntax error"),
            }
            .map(|()| self.reply(buf).ok())
        } else if is("hello") {
            self.hello(argv).map(|()| self.introduce(buf))
        } else if !self.authenticated {
            Err("NOAUTH Authentication required.")
        } else if is("info") {
            self.reply(buf).verbatim("txt", self.house.progress.info());
            Ok(())
        } else {
            // Redis's words, which clients know.
            Err("LOADING Redis is loading the dataset in memory")
        };
        if let Err(text) = outcome {
            self.reply(buf).error(text);
        }
        false
    }

    fn reply<'b>(&self, buf: &'b mut Vec<u8>) -> Reply<'b> {
        let proto = self.proto;
        Reply { buf, proto }
    }

    fn let_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), &'static str> {
        let user = self.house.users.get(user);
        if user.is_some_and(|user| user.is_enabled() && user.lets_in(password)) {
            self.authenticated = true;
            return Ok(());
        }
        Err("WRONGPASS invalid username-password pair or user is disabled.")
    }

    fn hello(&mut self, argv: &[&[u8]]) -> Result<(), &'static str> {
        let proto = match argv.get(1) {
            None => self.proto,
            Some(&b"2") => Proto::Resp2,
            Some(&b"3") => Proto::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version"),
        };
        let auth = argv
            .iter()
            .position(|word| word.eq_ignore_ascii_case(b"auth"));
        if let Some([user, password]) = auth.and_then(|at| argv.get(at + 1..at + 3)) {
            self.let_in(user, password)?;
        }
        if !self.authenticated {
            return Err("NOAUTH HELLO must be called with the client already authenticated");
        }
        self.proto = proto;
        Ok(())
    }

    fn introduce(&self, buf: &mut Vec<u8>) {
        let mut reply = self.reply(buf);
        reply.map(7);
        for (name, value) in [
            ("server", "redis"),
            ("version", REDIS_VERSION),
            ("mode", "standalone"),
            ("role", "master"),
        ] {
            reply.bulk(name);
            reply.bulk(value);
        }
        reply.bulk("proto");
        reply.int(self.proto.number());
        reply.bulk("id");
        reply.int(0);
        reply.bulk("modules");
        reply.array(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(guest: &mut Guest<'_>, line: &str) -> String {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut buf = Vec::new();
        guest.answer(&argv, &mut buf);
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn who_may_come_in_hears_of_the_loading_and_nobody_else_does() {
        let mut users = Users::new();
        users.require_password(b"secret");
        let house = House {
            users,
            progress: Arc::new(Progress::new()),
        };
        let mut guest = Guest {
            house: &house,
            proto: Proto::Resp2,
            authenticated: false,
        };
        for line in ["INFO", "GET a", "PING"] {
            assert!(ask(&mut guest, line).starts_with("-NOAUTH "), "{line}");
        }
        assert!(ask(&mut guest, "HELLO 3").starts_with("-NOAUTH "));
        assert!(ask(&mut guest, "AUTH wrong").starts_with("-WRONGPASS "));
        assert!(ask(&mut guest, "HELLO 4 AUTH default secret").starts_with("-NOPROTO "));
        assert!(ask(&mut guest, "HELLO 3 AUTH default secret").starts_with("%7\r\n"));
        assert!(ask(&mut guest, "GET a").starts_with("-LOADING "));
        let info = ask(&mut guest, "INFO persistence");
        assert!(
            info.starts_with('=') && info.contains("loading:1\r\n"),
            "{info}"
        );
        assert!(info.contains("loading_eta_seconds:0\r\n"), "{info}");
        assert_eq!(ask(&mut guest, "AUTH default secret"), "+OK\r\n");
    }
    #[test]
    fn the_port_is_open_until_it_is_closed() {
        use std::io::{Read, Write};
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = port.local_addr().unwrap();
        drop(port);
        let mut settings = Settings::default();
        settings.tls.enabled = false;
        settings.server.bind = vec![at.ip()];
        settings.server.port = at.port();
        let progress = Arc::new(Progress::new());
        progress.expect(1 << 60);
        let room = WaitingRoom::open(Arc::new(settings), None, Users::new(), progress).unwrap();
        let mut socket = loop {
            match std::net::TcpStream::connect(at) {
                Ok(socket) => break socket,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        socket.write_all(b"PING\r\nINFO\r\n*1\r\n$4\r\nQU").unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"loading_eta_seconds:0\r\n\r\n") {
            let mut piece = [0; 512];
            let n = socket.read(&mut piece).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&piece[..n]);
        }
        assert!(heard.starts_with(b"-LOADING "));
        room.close();
        assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
        assert!(std::net::TcpStream::connect(at).is_err());
    }
}
