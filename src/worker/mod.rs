//! One core: its executor, its loop, its clients, its shard, its log.
//!
//! A tick of the loop: take completions, take mail from other cores, parse and execute what
//! clients sent, append the effects to the log, let replies go, enter the ring once. Nothing in a
//! tick blocks. Reading order: this file, [`tick`], [`dispatch`], [`access`], [`arrivals`], [`housekeep`], [`forward`],
//! [`tx`], [`script`], [`walks`], [`listing`], [`blocked`], [`migrate`], [`follow`], [`inlet`], [`multi`], [`session`],
//! [`pubsub`], [`admin`].

mod access;
mod admin;
mod arrivals;
mod blocked;
pub mod carrier;
pub mod checkpoint;
pub mod client;
pub mod clock;
pub mod dispatch;
mod events;
mod evict;
pub mod follow;
mod forward;
pub mod gather;
mod housekeep;
pub mod inlet;
mod libraries;
mod listing;
pub mod logdrive;
pub mod machine;
pub mod mesh;
pub mod message;
mod migrate;
mod multi;
mod patience;
pub mod pubsub;
pub mod saves;
mod script;
mod session;
pub mod shared;
pub mod slab;
pub mod stats;
#[cfg(test)]
mod tests;
mod tick;
mod tx;
mod walks;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use blocked::Blocked;
use checkpoint::{Checkpoints, Place};
use client::Client;
use clock::Clock;
use listing::Listing;
use logdrive::{LogDrive, OpenLog};
use mesh::Mesh;
use message::{Batch, Message};
use patience::Patience;
use pubsub::Pubsub;
use script::Left;
use shared::Shared;
use slab::Slab;
use stats::Stats;
use tick::Job;
use tx::Tx;
use walks::Walks;

use crate::acl::Users;
use crate::net::outbuf::Pool;
use crate::net::ring::{Kind, Ring, RingError, Token};
use crate::resp::Arg;
use crate::script::Engine;
use crate::seal::accel::Choice;
use crate::settings::{Fsync, Settings};
use crate::shard::{Eviction, Frequency, Keyspace, Shard};

/// Ticks without anything to do before the core sleeps in the executor.
const EMPTY_TICKS: u32 = 4;
/// The longest wait on the ring.
const LONGEST_WAIT: Duration = Duration::from_millis(1);
/// The period of the housekeeping.
const CRON_US: u64 = 100_000;
/// The period of expiry while there is something that expires.
const EXPIRE_US: u64 = 10_000;
/// Table buckets that one round of expiry looks at.
const EXPIRE_BUDGET: usize = 2048;
/// Fields of hashes that one round of expiry removes.
const FIELDS_BUDGET: usize = 1024;
/// Entries freed in one tick after a flush.
const SWEEP_BUDGET: usize = 512;

/// Where this core's shard is.
pub(crate) enum Home {
    /// Here.
    Here,
    /// Here, and promised to a transaction of that number and core: it is lent when the log has taken
    /// what came before.
    Promised(u64, usize),
    /// Lent to a transaction.
    Lent,
}

/// A listening socket of this core.
pub struct Listener {
    /// The socket.
    pub fd: OwnedFd,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// What a core is made of, before it runs on its own thread.
pub struct Parts {
    /// Its number.
    pub core: usize,
    /// The processor it is pinned to.
    pub cpu: Option<usize>,
    /// Its view of the other cores.
    pub mesh: Mesh<Message>,
    /// Its keyspace, with its shard in it.
    pub keyspace: Keyspace,
    /// Its log, opened.
    pub log: Option<OpenLog>,
    /// Where its parts of checkpoints go.
    pub checkpoints: Place,
    /// The settings.
    pub settings: Arc<Settings>,
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// Its TLS configuration.
    pub tls: Option<Arc<ServerConfig>>,
    /// Its listening sockets.
    pub listeners: Vec<Listener>,
    /// What its AEAD runs on.
    pub acceleration: Option<Choice>,
}

/// A core at work.
pub struct Worker {
    core: usize,
    cpu: Option<usize>,
    mesh: Mesh<Message>,
    ring: Ring,
    pool: Pool,
    clients: Slab<Client>,
    ks: Keyspace,
    home: Home,
    log: LogDrive,
    checkpoints: Checkpoints,
    clock: Clock,
    settings: Arc<Settings>,
    users: Arc<Users>,
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    listeners: Vec<Listener>,
    acceleration: Option<Choice>,
    stats: Stats,

    /// Clients by number.
    client_numbers: HashMap<u64, u32>,
    /// What is sent to clients that did not ask for it.
    pubsub: Pubsub,

    /// Clients with input to parse, with output to send, and those that wait for the shard.
    input: Vec<u32>,
    output: Vec<u32>,
    stalled: Vec<u32>,
    /// Clients whose replies wait for the log.
    holding: Vec<u32>,
    /// Clients that sleep (DEBUG SLEEP).
    sleepers: Vec<u32>,
    /// Clients that wait for keys.
    blocked: Blocked,
    /// Long reads that are under way.
    walks: Walks,
    /// Lists of keys that are being made.
    listings: VecDeque<Listing>,
    /// Listeners to accept on again.
    reaccept: Vec<u32>,
    /// Clients whose data waits for a receive buffer.
    starved: VecDeque<u32>,

    /// Messages that wait for the shard, in order.
    queue: VecDeque<Message>,
    queue_stirs: bool,
    /// What runs scripts, once one has run, and the script that takes long.
    engine: Option<Box<Engine>>,
    left: Option<Box<Left>>,
    txs: HashMap<u64, Tx>,
    next_tx: u64,
    gathers: HashMap<u64, admin::Gather>,
    next_gather: u64,
    /// Who waits for a ticket to be durable.
    durables: VecDeque<(u64, gather::Asker)>,
    /// What is owed to coordinators: ticket, core, transaction.
    promises: VecDeque<(u64, usize, u64)>,

    forwarding: Vec<Option<Box<Batch>>>,
    any_forwarding: bool,
    #[expect(
        clippy::vec_box,
        reason = "the boxes travel in messages; a batch is never moved"
    )]
    spare_batches: Vec<Box<Batch>>,
    #[expect(clippy::vec_box, reason = "as above")]
    answered: Vec<Box<Batch>>,
    held_batches: VecDeque<(u64, Box<Batch>)>,

    jobs: Vec<Job>,
    args: Vec<Arg>,
    keys: Vec<(u16, u16, u64)>,
    indexes: Vec<usize>,

    random: u64,
    slow_ns: u64,
    /// What took long, and what counts as that, in nanoseconds.
    events: events::Events,
    event_ns: u64,
    next_client: u64,
    sends: usize,
    intake: usize,
    more_completions: bool,
    patience: Patience,
    empty_ticks: u32,
    next_cron: u64,
    next_expire: u64,
    cron_at: u32,
    last_yield: u64,
    garbage: bool,
    log_backlogged: bool,
    /// Why the transaction that runs may not write, if so.
    tx_refusal: Option<String>,
    stopping: Option<u64>,
    closing_log: bool,
    /// Why the log could not be closed, if so.
    unclosed: Option<String>,
    tls_log_budget: u32,
    /// Which keys go when memory is short, if any may.
    eviction: Option<Eviction>,
    /// How the frequency of uses is counted, where it is.
    frequency: Option<Frequency>,
    /// Whether keys that nobody asks for are removed when their time has come.
    active_expiry: bool,
    /// Whether this server follows another.
    follows: bool,
}

impl Worker {
    /// A core ready to run on the calling thread, which must be its executor's.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn new(parts: Parts) -> Result<Worker, RingError> {
        let sockets = parts
            .settings
            .server
            .maxclients
            .saturating_add(64)
            .min(60_000);
        let ring = Ring::new(sockets)?;
        let cores = parts.mesh.cores();
        let clock = Clock::new();
        let mut worker = Worker {
            core: parts.core,
            cpu: parts.cpu,
            mesh: parts.mesh,
            ring,
            pool: Pool::default(),
            clients: Slab::default(),
            ks: parts.keyspace,
            home: Home::Here,
            log: LogDrive::new(parts.log, parts.settings.persistence.aof_segment_size),
            checkpoints: Checkpoints::new(parts.checkpoints),
            settings: parts.settings,
            users: parts.shared.users(),
            shared: parts.shared,
            tls: parts.tls,
            listeners: parts.listeners,
            acceleration: parts.acceleration,
            stats: Stats::default(),
            client_numbers: HashMap::new(),
            pubsub: Pubsub::default(),
            input: Vec::new(),
            output: Vec::new(),
            stalled: Vec::new(),
            holding: Vec::new(),
            sleepers: Vec::new(),
            blocked: Blocked::default(),
            walks: Walks::default(),
            listings: VecDeque::new(),
            reaccept: Vec::new(),
            starved: VecDeque::new(),
            queue: VecDeque::new(),
            queue_stirs: false,
            engine: None,
            left: None,
            txs: HashMap::new(),
            next_tx: parts.core as u64,
            gathers: HashMap::new(),
            next_gather: 0,
            durables: VecDeque::new(),
            promises: VecDeque::new(),
            forwarding: (0..cores).map(|_| None).collect(),
            any_forwarding: false,
            spare_batches: Vec::new(),
            answered: Vec::new(),
            held_batches: VecDeque::new(),
            jobs: Vec::new(),
            args: Vec::new(),
            keys: Vec::new(),
            indexes: Vec::new(),
            random: clock.unix_us ^ (parts.core as u64) << 48,
            slow_ns: 0,
            events: events::Events::default(),
            event_ns: u64::MAX,
            next_client: 0,
            sends: 0,
            intake: 0,
            more_completions: false,
            patience: Patience::new(),
            empty_ticks: 0,
            next_cron: 0,
            next_expire: 0,
            cron_at: 0,
            last_yield: 0,
            garbage: false,
            log_backlogged: false,
            tx_refusal: None,
            stopping: None,
            closing_log: false,
            unclosed: None,
            tls_log_budget: 0,
            eviction: None,
            frequency: None,
            active_expiry: true,
            follows: false,
            clock,
        };
        worker.settings_changed();
        worker.take_following();
        Ok(worker)
    }

    /// Serves until told to stop. Returns why the core had to give up, if it had to.
    pub async fn run(mut self) -> Result<(), String> {
        let bell = self.listen();
        loop {
            let came = self.tick(&bell);
            if let Some(why) = self.log.failure() {
                return Err(format!("core {}: the log failed: {why}", self.core));
            }
            if self.finished() {
                self.mesh.flush();
                return self.unclosed.map_or(Ok(()), Err);
            }
            self.empty_ticks = if came > 0 { 0 } else { self.empty_ticks + 1 };
            self.rest().await;
        }
    }

    /// Begins to listen, to clients and to other cores; what wakes this core is returned.
    fn listen(&mut self) -> Rc<dyn Fn()> {
        let bell_fd = self.mesh.inbox().bell();
        let rope = self.mesh.inbox().rope();
        self.ring.watch(bell_fd, Token::new(Kind::Wake, 0, 0));
        for (index, listener) in self.listeners.iter().enumerate() {
            self.ring.accept(listener.fd.as_raw_fd(), index as u32);
        }
        Rc::new(move || mesh::pull(rope))
    }

    /// One tick; how many completions and messages had come.
    fn tick(&mut self, bell: &Rc<dyn Fn()>) -> usize {
        self.clock.read();
        self.stats.ticks += 1;
        let events = self.take_completions();
        self.attune();
        let mail = self.take_mail();
        self.stir_queue();
        self.serve();
        self.go_on();
        self.stir_queue();
        self.housekeep();
        self.commit(bell);
        events + mail
    }

    fn stir_queue(&mut self) {
        if std::mem::take(&mut self.queue_stirs) {
            self.serve_queue();
        }
    }

    /// Handles the messages that have arrived; how many.
    fn take_mail(&mut self) -> usize {
        let mut n = 0;
        while n < 4096 {
            let Some(message) = self.mesh.inbox().pop() else {
                break;
            };
            n += 1;
            match message {
                Message::Exec(_)
                | Message::Take { .. }
                | Message::Ask { .. }
                | Message::Leave { .. }
                | Message::Inlet(_) => {
                    self.queue.push_back(message);
                    self.serve_queue();
                }
                Message::Done(batch) => self.take_answers(batch),
                Message::Grant {
                    tx,
                    shard,
                    next_lsn,
                    refusal,
                } => self.granted(tx, shard, next_lsn, refusal),
                Message::Return {
                    tx,
                    from,
                    shard,
                    record,
                    waits,
                } => {
                    self.returned(tx, from, shard, record, waits);
                    self.stir_queue();
                }
                Message::Durable { tx } => self.durable(tx),
                Message::Block {
                    wait,
                    names,
                    command,
                } => self.join_there(wait, names, command),
                Message::Ready { number, from } => {
                    self.ready(number, from);
                    self.stir_queue();
                }
                Message::Again { wait } => self.again(wait),
                Message::Unwait { wait } => self.unwait(wait),
                Message::Unread { from, client, seat } => self.forget_walk(from, client, seat),
                Message::Answer { gather, answer } => self.gathered(gather, *answer),
                Message::News { from, round, news } => self.hear_news(from, round, &news),
                Message::Heard { round, heard } => self.heard(round, &heard),
                Message::Invalid(list) => self.hear_invalid(list),
                Message::Redirect { to, of, body } => self.redirected(to, of, &body),
                Message::Misdirected { of, to } => self.tell_broken(of, to),
                Message::Adopt { fd, addr } => self.adopt(fd, addr),
                Message::Unpaused => self.end_postponement(),
                Message::Checkpoint(order) => self.ordered(order),
                Message::Busy => self.hear_busy(),
                Message::Stop => self.begin_stop(),
            }
        }
        n
    }

    /// Appends the shard's effects to the log.
    fn append_effects(&mut self) {
        if !self.ks.has(self.core) {
            return;
        }
        let shard: &mut Shard = self.ks.shard(self.core);
        if !shard.effects.is_empty() {
            let now = self.clock.now_us;
            self.checkpoints
                .hear(&shard.effects.buf, shard.effects.records);
            self.log
                .append(&shard.effects.buf, shard.effects.records, now);
            shard.effects.clear();
        }
    }

    /// The ticket that replies of this moment must wait for, if they must.
    fn hold(&self) -> Option<u64> {
        let always = self.settings.persistence.appendfsync == Fsync::Always;
        let last = self.log.last_ticket();
        ((always || self.log.is_tight()) && self.log.kept() < last).then_some(last)
    }

    /// The end of a tick: effects to the log, replies to their clients, messages to other cores.
    fn commit(&mut self, bell: &Rc<dyn Fn()>) {
        self.gather_own_news();
        self.append_effects();
        self.send_forwarding();
        self.keep_promise();
        let kept = self.log.kept();
        self.release_answers(kept);
        self.keep_promises(kept);
        let hold = self.hold();
        self.send_answers(hold);
        // Behind the answers: who hears of a change has the replies to what was read before.
        self.release_news(kept);
        self.send_news(hold);
        self.tell_durable();
        self.finish_post();
        self.release_held(kept);
        // Ahead of the replies, which take the processor for longer: the disk works meanwhile.
        self.log.drive(self.clock.now_us, &mut self.ring, bell);
        self.flush_output(hold);
        self.feed_starved();
        if self.checkpoints.is_under_way() {
            if self.sends > 0 {
                // Nobody's reply waits for it.
                self.ring.submit();
            }
            self.go_on_with_checkpoint(bell);
        }
        self.mesh.flush();
    }

    /// Waits for what comes next. The executor has its turn ten times a second, and every millisecond while it runs an
    /// errand.
    async fn rest(&mut self) {
        let now = self.clock.now_us;
        if self.has_errands() && now - self.last_yield >= 1000 || now - self.last_yield >= CRON_US {
            self.last_yield = now;
            self.ring.poll();
            glommio::executor().yield_task_queue_now().await;
            if self.ring.has_completions() {
                return;
            }
        }
        self.sleep();
    }

    fn has_errands(&self) -> bool {
        self.log.has_errands() || self.checkpoints.has_errands()
    }

    /// Enters the ring and waits there, shortly while there is something to do, else until something comes.
    ///
    /// It waits in its own ring, never in the executor: Linux 6.18 was seen to lose the wake from the one to the other
    /// on a crowded machine, and the core slept on.
    fn sleep(&mut self) {
        let busy = self.more_completions
            || (!self.input.is_empty() && !self.log_backlogged)
            || !self.output.is_empty()
            || self.queue_stirs
            || self.has_left()
            || !self.starved.is_empty()
            || self.garbage
            || self.walks_on()
            || self.lists_on()
            || self.checkpoints.is_busy();
        let sends = std::mem::take(&mut self.sends);
        if busy {
            self.ring.poll();
            return;
        }
        if !self.mesh.inbox().fall_asleep() {
            self.ring.poll();
            return;
        }
        let until = self.next_deadline().saturating_sub(self.clock.now_us);
        let until = Duration::from_micros(until);
        if self.empty_ticks < EMPTY_TICKS || self.has_errands() {
            let (target, min_wait) = self.patience.wait(self.settings.server.max_wait);
            self.ring
                .enter(sends + target, min_wait, LONGEST_WAIT.min(until));
        } else {
            self.ring.enter(1, Duration::ZERO, until);
        }
        self.mesh.inbox().wake_up();
    }

    fn next_deadline(&mut self) -> u64 {
        let mut at = self.next_cron;
        if let Some(log) = self.log.deadline() {
            at = at.min(log);
        }
        if let Some(part) = self.checkpoints.deadline() {
            at = at.min(part);
        }
        if self.has_expires() {
            at = at.min(self.next_expire);
        }
        if let Some(wait) = self.first_deadline() {
            at = at.min(wait);
        }
        if let Some(end) = self.pause_ends() {
            at = at.min(end);
        }
        at
    }
}
