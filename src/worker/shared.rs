//! The little that all cores share: a count of connections, the memory in use, the settings and users
//! in force, and the way to ask the process to stop. None of it is touched on the path of a command
//! but one relaxed load.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::carrier::Carrier;
use super::follow::{Follow, Order};
use super::mesh::Inbox;
use super::message::Message;
use super::pubsub::Pause;
use super::saves::{Found, Last, Saves};
use crate::acl::{AclLog, Users};
use crate::disk;
use crate::disk::real::RealDisk;
use crate::envelope::{DekId, Keyring};
use crate::script::Sources;
use crate::settings::{Row, SetError, Settings, Source};

/// The bit of a pause among what commands have to be looked at for.
const PAUSED: u64 = 1 << 63;
/// The bit of `attention` that says that a script is over its time.
const BUSY: u64 = 1 << 62;
/// The bit of `attention` that says that the data may not be read.
const CLOSED: u64 = 1 << 61;
/// All bits that say that a command has to be looked at before it runs.
const BEFORE: u64 = PAUSED | BUSY | CLOSED;

/// What all cores share.
pub struct Shared {
    /// Every core's inbox.
    pub inboxes: Vec<Arc<Inbox<Message>>>,
    /// The way to other servers.
    pub carrier: Carrier,
    /// The server that this one follows.
    pub follow: Follow,
    connections: AtomicUsize,
    used_memory: AtomicU64,
    /// What the allocator had handed out beside the cores' data when it was asked last.
    other_memory: AtomicU64,
    /// Bytes of each core's data, as it counts them.
    data_memory: Vec<AtomicU64>,
    /// Bytes of what each core has deleted and not freed yet.
    garbage_memory: Vec<AtomicU64>,
    /// Whether a core has keys that may go to make room.
    evictable: Vec<AtomicBool>,
    peak_memory: AtomicU64,
    slow_ids: AtomicU64,
    /// What commands have to be looked at for: how many clients MONITOR, and [`PAUSED`].
    attention: AtomicU64,
    paused: Mutex<Option<Pause>>,
    /// Clients with CLIENT TRACKING, and those of them with BCAST.
    trackers: AtomicUsize,
    broadcasts: AtomicUsize,
    /// By core: subscriptions and the like of its clients.
    audience: Vec<AtomicU64>,
    /// Scripts that are over their time.
    busy: Mutex<usize>,
    /// The scripts that are known, and which core runs one for long.
    pub sources: Arc<Sources>,
    settings: Mutex<Arc<Settings>>,
    users: Mutex<Arc<Users>>,
    /// Held while the users' file is written, so that an older state never replaces a newer one.
    users_file: Mutex<()>,
    acl_log: Mutex<AclLog>,
    front: Front,
    quiet: AtomicUsize,
    quiet_cores: Mutex<Vec<bool>>,
    stop: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Whether SHUTDOWN said SAVE or NOSAVE.
    save_at_stop: Mutex<Option<bool>>,
    /// When the process started.
    pub started: Instant,
    /// When the process started, Unix seconds.
    pub started_unix: u64,
    /// 40 random hex digits that name this run.
    pub run_id: String,
    /// The configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// Bytes the allocator had handed out before any data was there.
    pub startup_memory: u64,
    /// When the server's certificate ends, Unix seconds, if TLS is on.
    pub certificate_ends: Option<i64>,
    /// The keyring, unless encryption is off.
    pub keyring: Option<Mutex<Keyring>>,
    /// Figures of the last recovery.
    pub recovery: Recovery,
    /// What all cores know of checkpoints.
    pub saves: Saves,
    /// The run of the log that is being written, or that would be next.
    pub log_run: u64,
    /// The log's directory, if there may be logs of before it was switched off.
    pub unused_log: Option<Arc<RealDisk>>,
    /// Version of Redis that clients are told.
    pub redis_version: &'static str,
}

/// What recovery did at the start.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// The checkpoint it began with, 0 if there was none.
    pub checkpoint: u64,
    /// Keys there were when it had ended.
    pub keys: u64,
    /// Records applied, of the checkpoint and of the logs.
    pub records: u64,
    /// Bytes of the frames they were in.
    pub bytes: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Torn tails that were cut.
    pub cut: u64,
}

/// Something that may fail and says why.
pub type Attempt<T> = Box<dyn Fn(T) -> Result<(), String> + Send + Sync>;

/// What CONFIG needs of the floors above: the configuration's file, and what hangs on a setting
/// there.
pub struct Front {
    /// Writes the settings to the configuration file.
    pub rewrite: Attempt<Arc<Settings>>,
    /// Sees to what these settings need of the process; they are not in force if it fails.
    pub prepare: Attempt<Arc<Settings>>,
    /// Reads the users from the file that `auth.acl_file` names.
    pub read_users: ReadUsers,
    /// Replaces that file, whole or not at all.
    pub write_users: Attempt<Vec<u8>>,
}

/// Reads the users with these settings, or says what is wrong with their file.
pub type ReadUsers = Box<dyn Fn(&Settings) -> Result<Users, String> + Send + Sync>;

/// Why settings could not be changed.
#[derive(Debug)]
pub enum ConfigureError {
    /// They do not do.
    Refused(SetError),
    /// The process cannot have what they need.
    Unable(String),
}

/// What `Shared::new` is made of.
pub struct Setup {
    /// The settings at the start.
    pub settings: Arc<Settings>,
    /// The users at the start.
    pub users: Users,
    /// The floors above.
    pub front: Front,
    /// Bytes the allocator had handed out before any data was there.
    pub startup_memory: u64,
    /// When the server's certificate ends, Unix seconds, if TLS is on.
    pub certificate_ends: Option<i64>,
    /// Every core's inbox.
    pub inboxes: Vec<Arc<Inbox<Message>>>,
    /// The way to other servers.
    pub carrier: Carrier,
    /// The server that this one follows.
    pub follow: Follow,
    /// Called once, when a client asks the server to stop.
    pub stop: Box<dyn FnOnce() + Send>,
    /// The configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// The keyring, unless encryption is off.
    pub keyring: Option<Keyring>,
    /// Figures of the recovery.
    pub recovery: Recovery,
    /// What there is of checkpoints.
    pub checkpoints: Found,
    /// The run of the log that is being written, or that would be next.
    pub log_run: u64,
    /// The log's directory, if there is no log and may be old ones.
    pub unused_log: Option<Arc<RealDisk>>,
    /// 40 random hex digits.
    pub run_id: String,
    /// Unix seconds.
    pub started_unix: u64,
}

impl Shared {
    /// The shared state of a process that starts now.
    pub fn new(setup: Setup) -> Shared {
        let cores = setup.inboxes.len();
        let shared = Shared {
            inboxes: setup.inboxes,
            carrier: setup.carrier,
            follow: setup.follow,
            connections: AtomicUsize::new(0),
            used_memory: AtomicU64::new(0),
            other_memory: AtomicU64::new(0),
            data_memory: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            garbage_memory: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            evictable: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            peak_memory: AtomicU64::new(0),
            slow_ids: AtomicU64::new(0),
            attention: AtomicU64::new(0),
            paused: Mutex::new(None),
            trackers: AtomicUsize::new(0),
            broadcasts: AtomicUsize::new(0),
            audience: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            busy: Mutex::new(0),
            sources: Arc::new(Sources::new(cores)),
            settings: Mutex::new(setup.settings),
            users: Mutex::new(Arc::new(setup.users)),
            users_file: Mutex::new(()),
            acl_log: Mutex::default(),
            front: setup.front,
            startup_memory: setup.startup_memory,
            certificate_ends: setup.certificate_ends,
            quiet: AtomicUsize::new(0),
            quiet_cores: Mutex::new(vec![false; cores]),
            stop: Mutex::new(Some(setup.stop)),
            save_at_stop: Mutex::new(None),
            started: Instant::now(),
            started_unix: setup.started_unix,
            run_id: setup.run_id,
            config_file: setup.config_file,
            keyring: setup.keyring.map(Mutex::new),
            recovery: setup.recovery,
            saves: Saves::new(cores, setup.checkpoints, setup.started_unix),
            log_run: setup.log_run,
            unused_log: setup.unused_log,
            redis_version: crate::command::REDIS_VERSION,
        };
        shared.measure_memory();
        shared.decide_closed();
        shared
    }

    /// Admits a connection, unless there are `most` already.
    pub fn admit(&self, most: usize) -> bool {
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < most).then_some(n + 1)
            })
            .is_ok()
    }

    /// A connection is gone.
    pub fn dismiss(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A core tells how much its data takes, how much of what it deleted is still to be freed, and whether some data
    /// may go to make room.
    pub fn note_data(&self, core: usize, bytes: u64, garbage: u64, evictable: bool) {
        self.data_memory[core].store(bytes, Ordering::Relaxed);
        self.garbage_memory[core].store(garbage, Ordering::Relaxed);
        self.evictable[core].store(evictable, Ordering::Relaxed);
    }

    /// Whether some core may make room.
    pub fn any_evictable(&self) -> bool {
        self.evictable.iter().any(|e| e.load(Ordering::Relaxed))
    }

    /// Bytes in use by now: what the allocator told last, brought up to date by what the cores count.
    pub fn memory_by_now(&self) -> u64 {
        self.other_memory.load(Ordering::Relaxed) + self.data()
    }

    fn data(&self) -> u64 {
        let cores = self.data_memory.iter();
        cores.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Asks the allocator how much is in use.
    pub fn measure_memory(&self) {
        // The statistics are a snapshot that has to be renewed first.
        let used = tikv_jemalloc_ctl::epoch::advance()
            .and_then(|_| tikv_jemalloc_ctl::stats::allocated::read())
            .unwrap_or(0) as u64;
        self.used_memory.store(used, Ordering::Relaxed);
        self.peak_memory.fetch_max(used, Ordering::Relaxed);
        // What is on its way to the disk, and what is deleted, does not count against `maxmemory`: it goes by itself.
        let garbage = self.garbage_memory.iter();
        let garbage: u64 = garbage.map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        let other = used.saturating_sub(self.data() + garbage + disk::held());
        self.other_memory.store(other, Ordering::Relaxed);
    }

    /// Bytes the allocator has handed out, now and at most.
    pub fn memory(&self) -> (u64, u64) {
        (
            self.used_memory.load(Ordering::Relaxed),
            self.peak_memory.load(Ordering::Relaxed),
        )
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }

    /// Changes settings, all or none; answers with the rows changed. The cores have to be told
    /// afterwards: they take what is in force then, so that no change is lost when two cores
    /// change something at once.
    ///
    /// # Errors
    /// [`ConfigureError`]; nothing has changed then.
    pub fn configure(&self, pairs: &[(&str, &str)]) -> Result<Vec<&'static Row>, ConfigureError> {
        let mut settings = self.settings.lock().unwrap_or_else(|e| e.into_inner());
        let mut next = Settings::clone(&settings);
        let rows = next.set_all(pairs).map_err(ConfigureError::Refused)?;
        let next = Arc::new(next);
        (self.front.prepare)(next.clone()).map_err(ConfigureError::Unable)?;
        if rows.iter().any(|row| row.path == "auth.requirepass") {
            let password = next.auth.requirepass.expose().as_bytes();
            self.change_users(|users| users.require_password(password));
        }
        *settings = next;
        Ok(rows)
    }

    /// Notes in the settings which server is followed. The cores have to be told afterwards, as with
    /// [`Shared::configure`].
    pub fn set_followed(&self, source: Option<Source>) {
        let mut settings = self.settings.lock().unwrap_or_else(|e| e.into_inner());
        Arc::make_mut(&mut settings).replication.replicaof = source;
    }

    /// The users in force.
    pub fn users(&self) -> Arc<Users> {
        self.users.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Changes the users. The cores have to be told afterwards, as with [`Shared::configure`].
    pub fn change_users<T>(&self, change: impl FnOnce(&mut Users) -> T) -> T {
        let mut users = self.users.lock().unwrap_or_else(|e| e.into_inner());
        change(Arc::make_mut(&mut users))
    }

    /// Takes all users from their file, or none; answers with the names of those that are gone. Blocks.
    ///
    /// # Errors
    /// What is wrong with the file, line by line; nothing has changed then.
    pub fn load_users(&self) -> Result<Vec<Vec<u8>>, String> {
        let _file = self.users_file.lock().unwrap_or_else(|e| e.into_inner());
        let mut new = (self.front.read_users)(&self.settings())?;
        Ok(self.change_users(|users| {
            new.keep_from(users);
            let names = users.iter().map(|user| user.name().to_vec());
            let gone = names.filter(|name| new.get(name).is_none()).collect();
            *users = new;
            gone
        }))
    }

    /// Writes all users to their file. Blocks.
    ///
    /// # Errors
    /// Which file, and why not.
    pub fn save_users(&self) -> Result<(), String> {
        let _file = self.users_file.lock().unwrap_or_else(|e| e.into_inner());
        (self.front.write_users)(self.users().to_text())
    }

    /// What was refused lately. Only refusals and ACL LOG come here.
    pub fn acl_log(&self) -> MutexGuard<'_, AclLog> {
        self.acl_log.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Writes the settings in force to the configuration file. Blocks.
    ///
    /// # Errors
    /// Which file, and why not.
    pub fn rewrite_config(&self) -> Result<(), String> {
        (self.front.rewrite)(self.settings())
    }

    /// The number of the next entry of the slow log, whichever core makes it.
    pub fn next_slow_id(&self) -> u64 {
        self.slow_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a command has to be looked at before it runs (the server is paused, say), or after (somebody MONITORs).
    #[inline]
    pub fn attention(&self) -> (bool, bool) {
        let word = self.attention.load(Ordering::Relaxed);
        (word & BEFORE != 0, word & !BEFORE != 0)
    }

    /// Decides anew whether the data may be read, by what is told of the server that is followed.
    pub fn decide_closed(&self) {
        let serve_stale = self.settings().replication.serve_stale_data;
        match self.follow.close(serve_stale) {
            true => self.attention.fetch_or(CLOSED, Ordering::SeqCst),
            false => self.attention.fetch_and(!CLOSED, Ordering::SeqCst),
        };
    }

    /// Whether a script on any core is over its time.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & BUSY != 0
    }

    /// A script is over its time; all cores refuse what is not to be served meanwhile.
    pub fn begin_busy(&self) {
        let mut busy = self.busy.lock().unwrap_or_else(|e| e.into_inner());
        *busy += 1;
        self.attention.fetch_or(BUSY, Ordering::SeqCst);
    }

    /// One of them has ended.
    pub fn end_busy(&self) {
        let mut busy = self.busy.lock().unwrap_or_else(|e| e.into_inner());
        *busy = busy.saturating_sub(1);
        if *busy == 0 {
            self.attention.fetch_and(!BUSY, Ordering::SeqCst);
        }
    }

    /// One client more MONITORs.
    pub fn add_monitor(&self) {
        self.attention.fetch_add(1, Ordering::SeqCst);
    }

    /// One client fewer does.
    pub fn remove_monitor(&self) {
        self.attention.fetch_sub(1, Ordering::SeqCst);
    }

    /// The pause that is on, if one is.
    pub fn pause(&self, now_ms: u64) -> Option<Pause> {
        let mut paused = self.paused.lock().unwrap_or_else(|e| e.into_inner());
        if paused.is_some_and(|pause| pause.until_ms <= now_ms) {
            *paused = None;
            self.attention.fetch_and(!PAUSED, Ordering::SeqCst);
        }
        *paused
    }

    /// Pauses, or goes on pausing.
    pub fn set_pause(&self, pause: Pause, now_ms: u64) {
        let before = self.pause(now_ms);
        let mut paused = self.paused.lock().unwrap_or_else(|e| e.into_inner());
        *paused = Some(before.map_or(pause, |before| before.with(pause)));
        self.attention.fetch_or(PAUSED, Ordering::SeqCst);
    }

    /// Pauses no more.
    pub fn end_pause(&self) {
        let mut paused = self.paused.lock().unwrap_or_else(|e| e.into_inner());
        *paused = None;
        self.attention.fetch_and(!PAUSED, Ordering::SeqCst);
    }

    /// Whether any client keeps copies of what it reads, and whether one wants to hear of all changes.
    #[inline]
    pub fn trackers(&self) -> (bool, bool) {
        (
            self.trackers.load(Ordering::Acquire) > 0,
            self.broadcasts.load(Ordering::Acquire) > 0,
        )
    }

    /// One client more keeps copies.
    pub fn add_tracker(&self, broadcast: bool) {
        self.trackers.fetch_add(1, Ordering::SeqCst);
        self.broadcasts
            .fetch_add(usize::from(broadcast), Ordering::SeqCst);
    }

    /// One client fewer does.
    pub fn remove_tracker(&self, broadcast: bool) {
        self.broadcasts
            .fetch_sub(usize::from(broadcast), Ordering::SeqCst);
        self.trackers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether any client of a core wants to be sent what it does not ask for.
    #[inline]
    pub fn has_audience(&self, core: usize) -> bool {
        self.audience[core].load(Ordering::Acquire) > 0
    }

    /// How many of a core's clients do, and how often.
    pub fn set_audience(&self, core: usize, listeners: u64) {
        self.audience[core].store(listeners, Ordering::Release);
    }

    /// Adds to what was sealed under a Dek; false if the keyring is in use, and the core is not to wait.
    pub fn note_usage(&self, dek: &DekId, bytes: u64, messages: u64) -> bool {
        let Some(keyring) = &self.keyring else {
            return true;
        };
        let Ok(mut keyring) = keyring.try_lock() else {
            return false;
        };
        keyring.note_usage(dek, bytes, messages);
        true
    }

    /// Writes what was sealed under each Dek to the keyring's file. Blocks.
    ///
    /// # Errors
    /// Why the file could not be written; it is as it was.
    pub fn save_usage(&self) -> Result<(), String> {
        match &self.keyring {
            Some(keyring) => {
                let mut keyring = keyring.lock().unwrap_or_else(|e| e.into_inner());
                keyring.save_usage().map_err(|e| e.to_string())
            }
            None => Ok(()),
        }
    }

    /// Asks the process to stop; `save` says whether a server without a log takes a checkpoint first, if that was said.
    pub fn ask_to_stop(&self, save: Option<bool>) {
        *self.save_at_stop.lock().unwrap_or_else(|e| e.into_inner()) = save;
        let stop = self.stop.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(stop) = stop {
            stop();
        }
    }

    /// Tells all cores to stop.
    pub fn stop_cores(&self) {
        let said = *self.save_at_stop.lock().unwrap_or_else(|e| e.into_inner());
        let persistence = &self.settings().persistence;
        let by_itself = !persistence.checkpoint_interval.is_zero();
        if !persistence.appendonly && said.unwrap_or(by_itself) {
            self.saves.set_last(Last::Wanted);
        }
        self.follow.order(Order::Stop);
        for inbox in &self.inboxes {
            inbox.push(Message::Stop);
        }
    }

    /// Says that a core has nothing left to do, and asks whether all have: only then may a log be
    /// closed, since a core that is not quiet may still borrow the shard of one that is.
    pub fn core_is_quiet(&self, core: usize) -> bool {
        let mut cores = self.quiet_cores.lock().unwrap_or_else(|e| e.into_inner());
        if !std::mem::replace(&mut cores[core], true) {
            self.quiet.fetch_add(1, Ordering::AcqRel);
        }
        self.quiet.load(Ordering::Acquire) == cores.len()
    }
}
