//! From settings to running cores.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use glommio::{LocalExecutorBuilder, Placement};

use super::waiting::{Progress, WaitingRoom};
use super::{aclfile, import, in_use, limits, load};
use crate::config::Loaded;
use crate::envelope::provider::file::FileProvider;
use crate::envelope::{Keyring, Provider};
use crate::net::listen;
use crate::net::ring::Ring;
use crate::net::tls::{Identity, Options};
use crate::settings::{Settings, TlsVersion};
use crate::worker::carrier::Carrier;
use crate::worker::checkpoint::Place;
use crate::worker::follow::{Follow, Held};
use crate::worker::logdrive::OpenLog;
use crate::worker::mesh::{Inbox, Mesh};
use crate::worker::shared::{Front, Setup, Shared};
use crate::worker::{Listener, Parts, Worker};
use crate::{config, logging, replication, seal, shard};

/// Cores at work.
pub struct Running {
    /// What they share.
    pub shared: Arc<Shared>,
    /// The TLS identity, if TLS is on.
    pub identity: Option<Identity>,
    ended: mpsc::Receiver<Result<(), String>>,
    cores: usize,
    _lock: File,
}

impl Running {
    /// Waits until every core has ended.
    ///
    /// # Errors
    /// Why the first core that failed had to give up. The others are not waited for: the process
    /// must not go on answering with a part of its keys.
    pub fn join(self) -> Result<(), String> {
        for _ in 0..self.cores {
            match self.ended.recv() {
                Ok(result) => result?,
                Err(_) => return Err("a core ended without a word".to_owned()),
            }
        }
        // Figures, not data: a keyring that cannot be written now is as good as it was.
        if let Err(e) = self.shared.save_usage() {
            tracing::warn!("what was sealed under each Dek is not in the keyring: {e}");
        }
        Ok(())
    }
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn identity(settings: &Settings) -> Result<Option<Identity>, String> {
    let metrics = settings.metrics.port != 0 && settings.metrics.tls;
    if !settings.tls.enabled && !metrics {
        return Ok(None);
    }
    let missing =
        |name: &str| format!("tls.{name} is not set, and TLS cannot be served without it");
    let options = Options {
        cert_file: settings
            .tls
            .cert_file
            .clone()
            .ok_or_else(|| missing("cert_file"))?,
        key_file: settings
            .tls
            .key_file
            .clone()
            .ok_or_else(|| missing("key_file"))?,
        ca_file: settings.tls.ca_file.clone(),
        require_client_cert: settings.tls.require_client_cert,
        allow_tls12: settings.tls.min_version == TlsVersion::V1_2,
        prefer_server_ciphers: settings.tls.prefer_server_ciphers,
    };
    Identity::load(options, now().as_secs() as i64)
        .map(Some)
        .map_err(|e| e.to_string())
}

fn provider(settings: &Settings) -> Result<Option<Arc<dyn Provider>>, String> {
    match settings.seals_log() {
        true => kek(settings).map(Some),
        false => Ok(None),
    }
}

/// What holds the Kek that the settings name.
///
/// # Errors
/// In words for the operator.
pub fn kek(settings: &Settings) -> Result<Arc<dyn Provider>, String> {
    let Some(path) = settings.kek_file() else {
        return Err(
            "encryption.key_file is not set, and nothing can be sealed without a Kek".to_owned(),
        );
    };
    let provider = FileProvider::open(path).map_err(|e| e.to_string())?;
    Ok(Arc::new(provider))
}

/// For `--check-config`: reads every file that the settings name, changes nothing.
///
/// # Errors
/// The first that cannot be used.
pub fn try_files(loaded: &Loaded) -> Result<(), String> {
    if loaded.development.is_some() {
        // The development files are made at the first start.
        return Ok(());
    }
    identity(&loaded.settings)?;
    aclfile::read(&loaded.settings)?;
    provider(&loaded.settings)?;
    Ok(())
}

/// Whether a port is free. A server that was just killed may hold it a moment longer: the kernel closes
/// what an io_uring used after the process has gone.
fn free_port(ip: IpAddr, port: u16) -> io::Result<()> {
    const TRIES: u32 = 20;
    for _ in 1..TRIES {
        match listen::probe(ip, port) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(100));
            }
            result => return result,
        }
    }
    listen::probe(ip, port)
}

fn lock(dir: &Path) -> Result<File, String> {
    let name = |e: &dyn std::fmt::Display| format!("data directory {}: {e}", dir.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| name(&e))?;
    let path = dir.join("LOCK");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| name(&format!("not writable: LOCK: {e}")))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(name(
                &"locked by another process; stop that one, or use another server.data_dir",
            ));
        }
        Err(TryLockError::Error(e)) => return Err(name(&format!("cannot be locked: {e}"))),
    }
    // For people who look; the lock itself is the kernel's.
    let _ = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn processors(settings: &Settings, shards: usize) -> Vec<Option<usize>> {
    let allowed: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|c| c.id)
        .collect();
    let chosen: Vec<usize> = if settings.server.cpus.is_empty() {
        allowed
    } else {
        settings
            .server
            .cpus
            .iter()
            .map(|&cpu| usize::from(cpu))
            .collect()
    };
    if chosen.len() < shards {
        tracing::warn!(
            shards,
            processors = chosen.len(),
            "more shards than processors: cores will share them, and wait for each other"
        );
    }
    (0..shards)
        .map(|i| chosen.get(i % chosen.len().max(1)).copied())
        .collect()
}

/// Boots every core. `heed` is called before the data is loaded: from then on no signal may be missed, though while it is loaded one
/// ends the process at once. `stop` is called when a client asks the server to stop.
///
/// # Errors
/// What stands in the way, with what to do.
pub fn boot(
    loaded: &Loaded,
    logging: logging::Handle,
    heed: impl FnOnce() -> io::Result<()>,
    stop: impl FnOnce() + Send + 'static,
) -> Result<Running, String> {
    let startup_memory = crate::worker::machine::allocated().allocated;
    let mut settings = Arc::new(loaded.settings.clone());
    let allowed = core_affinity::get_core_ids().map_or(1, |ids| ids.len());
    let shards = settings.shard_count(allowed);
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    limits::prepare(shards as u64, u64::from(settings.server.maxclients))?;
    // On a thread of its own, since a ring is never given back.
    std::thread::spawn(|| Ring::new(64).map(drop).map_err(|e| e.to_string()))
        .join()
        .unwrap_or_else(|_| Err("io_uring cannot be tried".to_owned()))?;
    let lock = lock(&settings.server.data_dir)?;
    import::unfinished(&settings.server.data_dir)?;
    let mut held = replication::resume(Arc::make_mut(&mut settings))?;
    let identity = identity(&settings)?;
    let users = aclfile::read(&settings)?;
    let provider = provider(&settings)?;
    let import = match &loaded.import {
        Some(path) => Some(import::Import::open(path, &settings, provider.clone())?),
        None => None,
    };
    for &ip in &settings.server.bind {
        if settings.tls.enabled {
            free_port(ip, settings.tls.port).map_err(|e| format!("TLS port: {e}"))?;
        }
        if settings.server.port != 0 {
            free_port(ip, settings.server.port).map_err(|e| format!("plaintext port: {e}"))?;
        }
    }
    let mut keyring = match provider {
        Some(provider) => {
            let dir = &settings.server.data_dir;
            Keyring::open(dir, provider, now().as_millis() as u64).map_err(|e| e.to_string())?
        }
        None => Keyring::unencrypted(),
    };
    let mut seed = [0u8; 28];
    seal::random(&mut seed).map_err(|e| format!("no randomness: {e}"))?;
    let hash_seed = u64::from_le_bytes(seed[..8].try_into().unwrap_or_default());
    let now_ms = now().as_millis() as u64;
    in_use::check(&settings.server.data_dir, &keyring, loaded.give_up_log)?;
    heed().map_err(|e| format!("signals cannot be received: {e}"))?;
    let progress = Arc::new(Progress::new());
    let room = WaitingRoom::open(
        settings.clone(),
        identity.as_ref(),
        users.clone(),
        progress.clone(),
    )?;
    let loading = load::load(
        &settings,
        shards,
        hash_seed,
        &mut keyring,
        now_ms,
        &progress,
    );
    room.close();
    let mut loading = loading?;
    if let Some(import) = &import {
        let shards = loading.cores.iter_mut();
        import.begin(shards.flat_map(|core| core.keyspace.present()))?;
        // Until it is done this is as a replica that has a part of what it follows.
        let settings = Arc::make_mut(&mut settings);
        settings.replication.replicaof = Some(import::source());
        held = Held::Half;
    }
    let logs = loading
        .cores
        .iter_mut()
        .filter_map(|core| core.log.as_mut());
    in_use::note(logs, &mut keyring)?;
    let inboxes = (0..shards)
        .map(|_| Inbox::new().map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("eventfd: {e}"))?;
    let libraries = loading.libraries();
    let (follow, orders) = Follow::new(settings.replication.replicaof.clone(), held)
        .map_err(|e| format!("a bell: {e}"))?;
    let shared = Arc::new(Shared::new(Setup {
        settings: settings.clone(),
        users,
        front: front(loaded, shards, logging),
        startup_memory,
        certificate_ends: identity.as_ref().map(|identity| identity.not_after),
        inboxes: inboxes.clone(),
        carrier: Carrier::start().map_err(|e| format!("the carrier's thread: {e}"))?,
        follow,
        stop: Box::new(stop),
        config_file: loaded.file.clone(),
        keyring: keyring.encrypted().then_some(keyring),
        recovery: loading.recovery,
        checkpoints: loading.checkpoint,
        log_run: loading.log_run,
        unused_log: loading.unused_log,
        run_id: seed[8..28].iter().map(|b| format!("{b:02x}")).collect(),
        started_unix: now().as_secs(),
    }));
    shared.sources.shelf.replace(libraries);
    let (ended_tx, ended) = mpsc::channel();
    let cpus = processors(&settings, shards);
    let mut readiness = Vec::new();
    for (core, loaded) in loading.cores.into_iter().enumerate() {
        let (ready_tx, ready) = mpsc::channel();
        let seat = Seat {
            core,
            cpu: cpus[core],
            keyspace: loaded.keyspace,
            log: loaded.log,
            place: loaded.place,
            settings: settings.clone(),
            shared: shared.clone(),
            tls: match &identity {
                Some(identity) => Some(identity.server_config().map_err(|e| e.to_string())?),
                None => None,
            },
            listeners: listeners(&settings)?,
            mesh: Mesh::new(core, inboxes.clone()),
        };
        seat.start(ready_tx, ended_tx.clone())?;
        readiness.push(ready);
    }
    for ready in readiness {
        ready
            .recv()
            .unwrap_or_else(|_| Err("a core ended before it was ready".to_owned()))?;
    }
    match import {
        None => {
            replication::start(shared.clone(), orders)?;
            announce(loaded, shards);
        }
        Some(import) => {
            let (shared, loaded) = (shared.clone(), loaded.clone());
            let begin = move || import.run(shared, orders, || announce(&loaded, shards));
            std::thread::Builder::new()
                .name("import".into())
                .spawn(begin)
                .map_err(|e| format!("the thread that imports cannot start: {e}"))?;
        }
    }
    Ok(Running {
        shared,
        identity,
        ended,
        cores: shards,
        _lock: lock,
    })
}

/// What CONFIG asks of this floor.
fn front(loaded: &Loaded, shards: usize, logging: logging::Handle) -> Front {
    let file = loaded.file.clone();
    let acl_file = loaded.settings.auth.acl_file.clone();
    Front {
        rewrite: Box::new(move |settings| {
            config::rewrite(file.as_deref(), &settings).map_err(|e| e.to_string())
        }),
        prepare: Box::new(move |settings| {
            limits::prepare(shards as u64, u64::from(settings.server.maxclients))?;
            logging.set_level(settings.log.level);
            Ok(())
        }),
        read_users: Box::new(aclfile::read),
        write_users: Box::new(move |text: Vec<u8>| aclfile::write(acl_file.as_deref(), &text)),
    }
}

fn listeners(settings: &Settings) -> Result<Vec<Listener>, String> {
    let keepalive = settings.server.tcp_keepalive;
    let mut all = Vec::new();
    for &ip in &settings.server.bind {
        if settings.tls.enabled {
            let fd = listen::listen(ip, settings.tls.port, keepalive).map_err(|e| e.to_string())?;
            all.push(Listener { fd, tls: true });
        }
        if settings.server.port != 0 {
            let fd =
                listen::listen(ip, settings.server.port, keepalive).map_err(|e| e.to_string())?;
            all.push(Listener { fd, tls: false });
        }
    }
    Ok(all)
}

/// A core before it has a thread.
struct Seat {
    core: usize,
    cpu: Option<usize>,
    keyspace: shard::Keyspace,
    log: Option<OpenLog>,
    place: Place,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    tls: Option<Arc<rustls::ServerConfig>>,
    listeners: Vec<Listener>,
    mesh: Mesh<crate::worker::message::Message>,
}

impl Seat {
    fn start(
        self,
        ready: mpsc::Sender<Result<(), String>>,
        ended: mpsc::Sender<Result<(), String>>,
    ) -> Result<(), String> {
        let core = self.core;
        let placement = self.cpu.map_or(Placement::Unbound, Placement::Fixed);
        LocalExecutorBuilder::new(placement)
            .name(&format!("core-{core}"))
            .ring_depth(128)
            .spawn(move || async move {
                let acceleration = self
                    .settings
                    .seals_log()
                    .then(|| seal::accel::choose(load::algorithm(&self.settings)));
                let worker = Worker::new(Parts {
                    core,
                    cpu: self.cpu,
                    mesh: self.mesh,
                    keyspace: self.keyspace,
                    log: self.log,
                    checkpoints: self.place,
                    settings: self.settings,
                    shared: self.shared,
                    tls: self.tls,
                    listeners: self.listeners,
                    acceleration,
                });
                match worker {
                    Ok(worker) => {
                        // Nobody listens any more only when the boot has failed elsewhere.
                        let _ = ready.send(Ok(()));
                        // A task of its own: the executor's first future cannot yield, it would
                        // be polled again only when something else happens.
                        let _ = ended.send(glommio::spawn_local(worker.run()).await);
                    }
                    Err(e) => {
                        let _ = ready.send(Err(format!("core {core}: {e}")));
                    }
                }
            })
            .map(drop)
            .map_err(|e| format!("core {core}: its executor cannot start: {e}"))
    }
}

fn announce(loaded: &Loaded, shards: usize) {
    let settings = &loaded.settings;
    let addresses: Vec<String> = settings
        .server
        .bind
        .iter()
        .map(ToString::to_string)
        .collect();
    let addresses = addresses.join(", ");
    if let Some(files) = &loaded.development {
        tracing::info!(
            "no configuration file: development CA, certificates and Kek are in {}; clients trust {}",
            files.dir.display(),
            files.ca_cert.display()
        );
    }
    if settings.server.port != 0 {
        tracing::warn!(
            "PLAINTEXT port {} on {addresses}: commands and data travel in the clear",
            settings.server.port
        );
    }
    let plural = if shards == 1 { "" } else { "s" };
    if settings.tls.enabled {
        tracing::info!(
            "ready: {shards} shard{plural}, TLS on {addresses} port {}",
            settings.tls.port
        );
    } else {
        tracing::info!("ready: {shards} shard{plural}, without TLS");
    }
}
