//! Latency at an offered rate: requests are sent when they are due, whether or not earlier ones have been answered,
//! and each is timed from the moment at which it was due. So a server that stalls is charged for every request that
//! had to wait, which a closed loop such as redis-benchmark's hides (coordinated omission).
//!
//! One thread, non-blocking sockets, TLS by rustls or plain. Prints one line of JSON, times in microseconds.
//!
//! `offered --port P [--ca FILE] --command set|get --size BYTES --keys N --rate PER_SECOND --seconds S [--clients N]`

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The command line.
#[derive(Parser)]
struct Args {
    #[arg(long)]
    port: u16,
    /// The authority that the server's certificate comes from; plain TCP without.
    #[arg(long)]
    ca: Option<std::path::PathBuf>,
    #[arg(long, default_value = "get")]
    command: String,
    #[arg(long, default_value_t = 1024)]
    size: usize,
    #[arg(long, default_value_t = 200_000)]
    keys: u64,
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 50)]
    clients: usize,
}

/// One connection: what is on its way, and when each of it was due.
struct Client {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
    plain_out: Vec<u8>,
    due: VecDeque<Instant>,
    /// Reply bytes seen that do not make a whole reply yet.
    partial: usize,
}

impl Client {
    fn open(port: u16, config: Option<&Arc<ClientConfig>>) -> io::Result<Client> {
        let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_nodelay(true)?;
        let tls = match config {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let mut tls =
                    ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut tcp)?;
                }
                Some(tls)
            }
        };
        tcp.set_nonblocking(true)?;
        Ok(Client {
            tcp,
            tls,
            plain_out: Vec::new(),
            due: VecDeque::new(),
            partial: 0,
        })
    }

    fn send(&mut self, request: &[u8], due: Instant) -> io::Result<()> {
        self.due.push_back(due);
        match &mut self.tls {
            None => self.plain_out.extend_from_slice(request),
            Some(tls) => tls.writer().write_all(request)?,
        }
        self.push()
    }

    /// Hands what waits to the kernel, as far as it takes it.
    fn push(&mut self) -> io::Result<()> {
        loop {
            let sent = match &mut self.tls {
                None if self.plain_out.is_empty() => return Ok(()),
                None => self.tcp.write(&self.plain_out).inspect(|&n| {
                    self.plain_out.drain(..n);
                }),
                Some(tls) if !tls.wants_write() => return Ok(()),
                Some(tls) => tls.write_tls(&mut self.tcp),
            };
            match sent {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes what has come; records a latency for each whole reply of `reply` bytes.
    fn pull(&mut self, reply: usize, seen: &mut Histogram<u64>) -> io::Result<()> {
        let mut buffer = [0; 65536];
        loop {
            let got = match &mut self.tls {
                None => self.tcp.read(&mut buffer),
                Some(tls) => match tls.read_tls(&mut self.tcp) {
                    Ok(0) => Ok(0),
                    Ok(_) => {
                        let state = tls.process_new_packets().map_err(io::Error::other)?;
                        let mut left = state.plaintext_bytes_to_read();
                        let all = left;
                        while left > 0 {
                            left -= tls.reader().read(&mut buffer)?;
                        }
                        self.count(all, reply, seen)?;
                        continue;
                    }
                    Err(e) => Err(e),
                },
            };
            match got {
                Ok(0) => return Err(io::Error::other("the server closed a connection")),
                Ok(n) => self.count(n, reply, seen)?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    fn count(&mut self, bytes: usize, reply: usize, seen: &mut Histogram<u64>) -> io::Result<()> {
        self.partial += bytes;
        let now = Instant::now();
        while self.partial >= reply {
            self.partial -= reply;
            let due = self
                .due
                .pop_front()
                .ok_or_else(|| io::Error::other("more came than was asked for"))?;
            let late = now.saturating_duration_since(due).as_nanos() as u64;
            seen.saturating_record(late / 1000);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let config = match &args.ca {
        None => None,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let ca = CertificateDer::from_pem_file(path).map_err(io::Error::other)?;
            roots.add(ca).map_err(io::Error::other)?;
            let config = ClientConfig::builder().with_root_certificates(roots);
            Some(Arc::new(config.with_no_client_auth()))
        }
    };
    let mut clients = (0..args.clients)
        .map(|_| Client::open(args.port, config.as_ref()))
        .collect::<io::Result<Vec<_>>>()?;
    let set = args.command == "set";
    let value = "x".repeat(args.size);
    let reply = if set {
        b"+OK\r\n".len()
    } else {
        format!("${}\r\n", args.size).len() + args.size + 2
    };
    let mut seen = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)?;
    let gap = Duration::from_secs_f64(1.0 / args.rate);
    let total = (args.rate * args.seconds) as u64;
    let begin = Instant::now() + Duration::from_millis(20);
    let (mut sent, mut random) = (0u64, 1u64);
    let mut polls: Vec<libc::pollfd> = clients
        .iter()
        .map(|c| libc::pollfd {
            fd: c.tcp.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let give_up = begin + Duration::from_secs_f64(args.seconds * 3.0 + 10.0);
    while seen.len() < total {
        let now = Instant::now();
        if now > give_up {
            return Err(io::Error::other(format!(
                "only {} of {total} requests were answered: the rate is too high for this server",
                seen.len()
            )));
        }
        while sent < total {
            let due = begin + gap.mul_f64(sent as f64);
            if due > now {
                break;
            }
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let key = format!("key:{:012}", (random >> 33) % args.keys);
            let request = if set {
                format!(
                    "*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n${}\r\n{value}\r\n",
                    args.size
                )
            } else {
                format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n")
            };
            let at = (sent as usize) % clients.len();
            clients[at].send(request.as_bytes(), due)?;
            sent += 1;
        }
        // SAFETY: the array is ours, as long as said, and outlives the call.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
        if ready < 0 {
            return Err(io::Error::last_os_error());
        }
        for (poll, client) in polls.iter().zip(&mut clients) {
            client.push()?;
            if poll.revents != 0 {
                client.pull(reply, &mut seen)?;
            }
        }
    }
    let achieved = total as f64 / begin.elapsed().as_secs_f64();
    let at = |q: f64| seen.value_at_quantile(q);
    println!(
        "{{\"rate\": {:.0}, \"achieved\": {achieved:.0}, \"p50\": {}, \"p90\": {}, \"p99\": {}, \"p999\": {}, \"p9999\": {}, \"max\": {}}}",
        args.rate,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(0.9999),
        seen.max()
    );
    Ok(())
}
