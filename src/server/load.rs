//! The data at start: the log recovered into shards, and a new run of the log opened.

use std::sync::Arc;
use std::time::Instant;

use crate::disk::real::RealDisk;
use crate::envelope::{Keyring, Purpose};
use crate::log::{self, LogConfig, Policy, Recovered, Router, Sink, Tail, Writer};
use crate::script::{Libraries, inspect};
use crate::seal::accel;
use crate::seal::{Algorithm, Backend};
use crate::settings::{Fsync, Settings};
use crate::shard::{Effects, Keyspace, Ms, Shard, pick, split};
use crate::slot;
use crate::worker::clock::nanos;
use crate::worker::logdrive::OpenLog;
use crate::worker::shared::Recovery;

/// What cores start from.
pub struct Loading {
    /// Each core's keyspace, with its shard in it, and its log.
    pub cores: Vec<(Keyspace, Option<OpenLog>)>,
    /// Figures for INFO.
    pub recovery: Recovery,
}

impl Loading {
    /// The libraries of functions that were recovered. One that no longer loads is left out, and told of.
    pub fn libraries(&mut self) -> Libraries {
        let mut libraries = Libraries::new();
        for (keyspace, _) in &mut self.cores {
            for (name, code) in keyspace.present().flat_map(|shard| shard.libraries()) {
                match inspect(code, nanos) {
                    Ok(library) => {
                        libraries.insert(library.name.clone(), Arc::new(library));
                    }
                    Err(e) => tracing::error!(
                        library = %String::from_utf8_lossy(name),
                        "a library of functions is not available: {}",
                        String::from_utf8_lossy(&e.text())
                    ),
                }
            }
        }
        libraries
    }
}

/// The algorithm that new files are sealed with.
pub fn algorithm(settings: &Settings) -> Algorithm {
    if !settings.seals_log() {
        return Algorithm::Off;
    }
    match settings.encryption.algorithm {
        crate::settings::Algorithm::Aes256Gcm => Algorithm::Aes256Gcm,
        crate::settings::Algorithm::ChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
    }
}

/// Takes recovered effects into one shard.
struct Into {
    shard: Box<Shard>,
    now: Ms,
}

impl Sink for Into {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        self.shard
            .apply_all(effects, self.now)
            .map(drop)
            .map_err(|e| e.to_string())
    }
}

/// Splits effects among the shards there are now.
struct BySlot(slot::Map);

impl Router for BySlot {
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String> {
        let mut into: Vec<Effects> = shards
            .iter_mut()
            .map(|buf| Effects {
                buf: std::mem::take(buf),
                ..Effects::default()
            })
            .collect();
        let result = split(effects, &self.0, &mut into);
        for (buf, effects) in shards.iter_mut().zip(into) {
            *buf = effects.buf;
        }
        result.map_err(|e| e.to_string())
    }

    fn pick(
        &self,
        effects: &[u8],
        lacks: &dyn Fn(u16) -> bool,
        into: &mut Vec<u8>,
    ) -> Result<(), String> {
        pick(effects, lacks, into).map_err(|e| e.to_string())
    }
}

/// Recovers the log and opens its next run. `seed` is random; `now` is in Unix milliseconds.
///
/// # Errors
/// What cannot be recovered, with file, offset and reason; what keeps the new run from opening.
pub fn load(
    settings: &Settings,
    shards: usize,
    seed: u64,
    keyring: &mut Keyring,
    now: Ms,
) -> Result<Loading, String> {
    let map = slot::Map::new(shards);
    let keyspace = || Keyspace::new(map, seed, settings.server.databases);
    if !settings.persistence.appendonly {
        let cores = (0..shards)
            .map(|core| (with_shard(keyspace(), None, core), None))
            .collect();
        return Ok(Loading {
            cores,
            recovery: Recovery::default(),
        });
    }
    let dir = settings.server.data_dir.join("log");
    let disk = Arc::new(RealDisk::open(&dir).map_err(|e| format!("log {}: {e}", dir.display()))?);
    if let Err(why) = disk.direct() {
        tracing::warn!(
            "direct I/O is not to be had in {}: {why}; the log goes through the page cache",
            dir.display()
        );
    }
    let backend = accel::choose(algorithm(settings)).backend;
    let started = Instant::now();
    let refused = |e: log::LogError| format!("log {}: {e}", dir.display());
    let plan = log::scan(&*disk, keyring, backend, None).map_err(refused)?;
    let template = keyspace();
    let mut sinks: Vec<Into> = (0..shards)
        .map(|core| Into {
            shard: template.make_shard(core),
            now,
        })
        .collect();
    let recovered = log::recover(&*disk, plan, None, &mut sinks, &BySlot(map)).map_err(refused)?;
    let recovery = tell(&recovered, started);
    let mut cores = Vec::with_capacity(shards);
    for (core, sink) in sinks.into_iter().enumerate() {
        let log = open(
            settings,
            (core, shards),
            keyring,
            &disk,
            &recovered,
            backend,
            now,
        )?;
        cores.push((with_shard(keyspace(), Some(sink.shard), core), Some(log)));
    }
    Ok(Loading { cores, recovery })
}

fn with_shard(mut keyspace: Keyspace, shard: Option<Box<Shard>>, core: usize) -> Keyspace {
    let shard = shard.unwrap_or_else(|| keyspace.make_shard(core));
    keyspace.put(shard);
    keyspace
}

fn open(
    settings: &Settings,
    (core, shards): (usize, usize),
    keyring: &mut Keyring,
    disk: &Arc<RealDisk>,
    recovered: &Recovered,
    backend: Backend,
    now: Ms,
) -> Result<OpenLog, String> {
    let (core, shards) = (core as u16, shards as u16);
    let mut config = LogConfig::new(core, shards, keyring.node());
    config.policy = match settings.persistence.appendfsync {
        Fsync::Always => Policy::Always,
        Fsync::EverySec => Policy::EverySec,
        Fsync::No => Policy::No,
    };
    config.batch_window = settings.persistence.batch_window;
    config.segment_size = settings.persistence.aof_segment_size;
    config.backend = backend;
    let dek = keyring
        .active(Purpose::Aof, core, algorithm(settings), now)
        .map_err(|e| e.to_string())?;
    let writer = Writer::new(config, dek, recovered.start(core, shards));
    let mut log = OpenLog::open(writer, disk.clone()).map_err(|e| format!("core {core}: {e}"))?;
    // Without encryption frames are checked, not opened.
    if settings.seals_log() {
        let mine = recovered.opened.iter().filter(|(c, _)| *c % shards == core);
        log.opened = mine.fold((0, 0), |sum, (_, n)| (sum.0 + n.0, sum.1 + n.1));
    }
    Ok(log)
}

/// Tells the operator what was recovered.
fn tell(recovered: &Recovered, started: Instant) -> Recovery {
    let seconds = started.elapsed().as_secs_f64();
    let mut cut = 0;
    for log in &recovered.tails {
        if let Tail::Cut {
            file,
            offset,
            fault,
            ..
        } = &log.tail
        {
            cut += 1;
            tracing::warn!(
                core = log.core,
                "the log ends in {file} at byte {offset} ({fault:?}): the server did not stop cleanly; what \
                 follows was never durable and is left out"
            );
        }
    }
    let counters = &recovered.counters;
    if recovered.run > 0 {
        tracing::info!(
            records = counters.records,
            frames = counters.frames,
            bytes = counters.bytes,
            "recovered in {seconds:.3} s"
        );
    }
    Recovery {
        records: counters.records,
        bytes: counters.bytes,
        seconds,
        cut,
    }
}
