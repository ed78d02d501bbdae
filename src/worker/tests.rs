//! Cores on threads of the test, without an executor: what their loop promises whatever the clock says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::carrier::Carrier;
use super::checkpoint::Place;
use super::follow::{Follow, Held};
use super::mesh::{Inbox, Mesh};
use super::message::Message;
use super::saves::Found;
use super::shared::{Front, Recovery, Setup, Shared};
use super::{EMPTY_TICKS, Listener, Parts, Worker};
use crate::acl::Users;
use crate::disk::real::RealDisk;
use crate::envelope::{Dek, Purpose};
use crate::seal::Backend;
use crate::settings::Settings;
use crate::shard::Keyspace;
use crate::slot;

/// Passing it means that something never happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the cores of one server have in common.
#[derive(Clone)]
struct Company {
    inboxes: Vec<Arc<Inbox<Message>>>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    dir: Arc<tempfile::TempDir>,
}

impl Company {
    fn of(cores: usize) -> Company {
        let inboxes: Vec<_> = (0..cores)
            .map(|_| Arc::new(Inbox::new().unwrap()))
            .collect();
        let settings = Arc::new(Settings::default());
        let shared = Arc::new(Shared::new(Setup {
            settings: settings.clone(),
            users: Users::new(),
            front: Front {
                rewrite: Box::new(|_| Ok(())),
                prepare: Box::new(|_| Ok(())),
                read_users: Box::new(|_| Ok(Users::new())),
                write_users: Box::new(|_| Ok(())),
            },
            startup_memory: 0,
            certificate_ends: None,
            inboxes: inboxes.clone(),
            follow: Follow::new(None, Held::Own).unwrap().0,
            carrier: Carrier::start().unwrap(),
            stop: Box::new(|| ()),
            config_file: None,
            keyring: None,
            recovery: Recovery::default(),
            checkpoints: Found::default(),
            log_run: 1,
            unused_log: None,
            run_id: "0".repeat(40),
            started_unix: 0,
        }));
        Company {
            inboxes,
            settings,
            shared,
            dir: Arc::new(tempfile::tempdir().unwrap()),
        }
    }

    /// A core on this thread, what wakes it, and where it listens.
    fn core(&self, core: usize) -> (Worker, Rc<dyn Fn()>, SocketAddr) {
        let map = slot::Map::new(self.inboxes.len());
        let mut keyspace = Keyspace::new(map, 7, self.settings.server.databases);
        keyspace.put(keyspace.make_shard(core));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut worker = Worker::new(Parts {
            core,
            cpu: None,
            mesh: Mesh::new(core, self.inboxes.clone()),
            keyspace,
            log: None,
            checkpoints: Place {
                disk: Arc::new(RealDisk::open(self.dir.path()).unwrap()),
                dek: Arc::new(Dek::unencrypted(Purpose::Checkpoint, core as u16)),
                node: [0; 16],
                backend: Backend::AwsLc,
            },
            settings: self.settings.clone(),
            shared: self.shared.clone(),
            tls: None,
            listeners: vec![Listener {
                fd: listener.into(),
                tls: false,
            }],
            acceleration: None,
        })
        .unwrap();
        let bell = worker.listen();
        (worker, bell, at)
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Takes what the ring completes, and nothing else of a tick, until `check` holds.
fn take_until(worker: &mut Worker, what: &str, check: impl Fn(&mut Worker) -> bool) {
    let began = Instant::now();
    while !check(worker) {
        assert!(began.elapsed() < PATIENCE, "{what}: never");
        worker
            .ring
            .enter(1, Duration::ZERO, Duration::from_millis(10));
        worker.take_completions();
    }
}

/// Twice on a list, a client's commands would be taken twice.
#[test]
fn a_number_that_is_free_stands_on_no_list() {
    const MANY: usize = 3000;
    let (mut worker, bell, at) = Company::of(1).core(0);
    let mut old = connect(at);
    old.write_all(&b"PING\r\n".repeat(MANY)).unwrap();
    take_until(&mut worker, "the first client's commands", |worker| {
        let input = worker.clients.at(0).map(|client| client.conn.input.len());
        input == Some(6 * MANY)
    });
    // More than a tick takes of one client: it stays noted for input, and has output.
    worker.serve();
    assert_eq!((&*worker.input, &*worker.output), (&[0][..], &[0][..]));
    worker.close(0);
    take_until(&mut worker, "its end", |worker| worker.clients.is_empty());
    assert!(worker.input.is_empty() && worker.output.is_empty());

    let mut new = connect(at);
    new.write_all(b"PING\r\nECHO 1\r\n").unwrap();
    take_until(&mut worker, "the next client's commands", |worker| {
        // It has the same number.
        let input = worker.clients.at(0).map(|client| client.conn.input.len());
        input == Some(14)
    });
    new.shutdown(std::net::Shutdown::Write).unwrap();
    let began = Instant::now();
    while !worker.clients.is_empty() {
        assert!(began.elapsed() < PATIENCE, "it is never seen off");
        worker.tick(&bell);
        worker.sleep();
    }
    let mut told = Vec::new();
    new.read_to_end(&mut told).unwrap();
    assert_eq!(told, b"+PONG\r\n$1\r\n1\r\n");
}

/// Each sleep is one without end: nothing but what comes may end it, so a wake that is lost is a reply that never comes.
#[test]
fn a_core_asleep_is_woken_by_sockets_messages_and_timers() {
    const ROUNDS: usize = 3000;
    let company = Company::of(2);
    let (tell, told) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    for core in 0..2 {
        let (company, tell, end) = (company.clone(), tell.clone(), end.clone());
        thread::spawn(move || {
            let (mut worker, bell, at) = company.core(core);
            // No housekeeping, and none of the short waits ahead of a sleep.
            worker.next_cron = u64::MAX >> 8;
            tell.send((core, at)).unwrap();
            while worker.stopping.is_none() {
                worker.tick(&bell);
                worker.empty_ticks = EMPTY_TICKS;
                worker.sleep();
            }
            end.send(()).unwrap();
        });
    }
    let map = slot::Map::new(2);
    let key_of = |core| {
        (0..)
            .map(|i| format!("k{i}"))
            .find(|key| map.owner(slot::slot_of(key.as_bytes())) == core)
            .unwrap()
    };
    let (cores, keys) = (told.iter().take(2), [key_of(0), key_of(1)]);
    let clients: Vec<_> = cores
        .map(|(core, at)| {
            let (near, far) = (keys[core].clone(), keys[1 - core].clone());
            thread::spawn(move || {
                let mut stream = connect(at);
                let mut ask = |line: String, reply: &[u8]| {
                    stream.write_all(line.as_bytes()).unwrap();
                    let mut got = vec![0; reply.len()];
                    stream.read_exact(&mut got).expect("woken");
                    assert_eq!(got, reply, "{line}");
                };
                for round in 0..ROUNDS {
                    ask(format!("GET {near}\r\n"), b"$-1\r\n");
                    ask(format!("GET {far}\r\n"), b"$-1\r\n");
                    if round % 20 == 0 {
                        ask(format!("BLPOP {near} 0.001\r\n"), b"*-1\r\n");
                        ask(format!("BLPOP {near} {far} 0.001\r\n"), b"*-1\r\n");
                    }
                    // The next request comes while they fall asleep, or a little later.
                    for _ in 0..(round * 37) % 1000 {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every request was answered");
    }
    company.shared.stop_cores();
    for _ in 0..2 {
        ended.recv_timeout(PATIENCE).expect("a core stopped");
    }
}
