//! The data at start: checkpoint and log recovered into shards, and a new run of the log opened.

use std::sync::Arc;
use std::time::Instant;

use super::waiting::Progress;
use crate::checkpoint;
use crate::checkpoint::recover::{self, Loaded, Restored};
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Work};
use crate::envelope::{Keyring, Purpose};
use crate::log::{LogConfig, Policy, Recovered, Tail, Writer};
use crate::script::{Libraries, inspect};
use crate::seal::accel;
use crate::seal::{Algorithm, Backend};
use crate::settings::{Fsync, Settings};
use crate::shard::{Keyspace, Ms};
use crate::slot;
use crate::worker::checkpoint::Place;
use crate::worker::clock::nanos;
use crate::worker::logdrive::OpenLog;
use crate::worker::saves::Found;
use crate::worker::shared::Recovery;

/// What one core starts from.
pub struct Core {
    /// Its keyspace, with its shard in it.
    pub keyspace: Keyspace,
    /// Its log, if there is to be one.
    pub log: Option<OpenLog>,
    /// Where its parts of checkpoints go.
    pub place: Place,
}

/// What cores start from.
pub struct Loading {
    /// By core.
    pub cores: Vec<Core>,
    /// Figures for INFO.
    pub recovery: Recovery,
    /// What there is of checkpoints.
    pub checkpoint: Found,
    /// The run of the log that was opened, or that would be next.
    pub log_run: u64,
    /// The log's directory, if no log was opened.
    pub unused_log: Option<Arc<RealDisk>>,
}

impl Loading {
    /// The libraries of functions that were recovered. One that no longer loads is left out, and told of.
    pub fn libraries(&mut self) -> Libraries {
        let mut libraries = Libraries::new();
        for core in &mut self.cores {
            for (name, code) in core.keyspace.present().flat_map(|shard| shard.libraries()) {
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

/// Recovers what there is, and opens the next run of the log. `seed` is random; `now` is in Unix milliseconds.
///
/// # Errors
/// What cannot be recovered, with file, offset and reason; what keeps the new run from opening.
pub fn load(
    settings: &Settings,
    shards: usize,
    seed: u64,
    keyring: &mut Keyring,
    now: Ms,
    progress: &Progress,
) -> Result<Loading, String> {
    let map = slot::Map::new(shards);
    let keyspace = || Keyspace::new(map, seed, settings.server.databases);
    let logs = directory(settings, "log")?;
    let checkpoints = directory(settings, "checkpoint")?;
    if let Err(why) = logs.direct() {
        tracing::warn!(
            "direct I/O is not to be had in {}: {why}; the log goes through the page cache",
            settings.server.data_dir.join("log").display()
        );
    }
    let backend = accel::choose(algorithm(settings)).backend;
    let started = Instant::now();
    progress.expect(bytes_in(&logs) + bytes_in(&checkpoints));
    let found = checkpoint::find(&*checkpoints).map_err(|e| format!("checkpoint: {e}"))?;
    let from = recover::From {
        logs: &*logs,
        checkpoints: &*checkpoints,
        keyring,
        backend,
    };
    let template = keyspace();
    let fresh = || {
        let loaded = |core| Loaded {
            shard: template.make_shard(core),
            now,
        };
        (0..shards).map(loaded).collect()
    };
    let restored = recover::newest(&from, &found.whole, &fresh, map)?;
    for name in found.unfinished {
        tracing::warn!(
            "checkpoint: {name} is of a checkpoint that was never completed; it is removed"
        );
        let _ = checkpoints.perform(&Work::Remove { name });
    }
    let mut recovery = tell(&restored, started);
    let base = restored.base.as_ref();
    let checkpoint = Found {
        highest: found.highest,
        unix: base.map(|(manifest, _)| manifest.ended / 1000),
        bytes: base.map_or(0, |(_, base)| base.bytes),
        log_bytes: restored.logs.counters.bytes,
    };
    let mut cores = Vec::with_capacity(shards);
    for (core, Loaded { shard, .. }) in restored.shards.into_iter().enumerate() {
        let log = match settings.persistence.appendonly {
            true => Some(open(
                settings,
                (core, shards),
                keyring,
                &logs,
                &restored.logs,
                backend,
                now,
            )?),
            false => None,
        };
        recovery.keys += (0..settings.server.databases)
            .map(|db| shard.len(db))
            .sum::<u64>();
        let mut keyspace = keyspace();
        keyspace.put(shard);
        let place = Place {
            disk: checkpoints.clone(),
            dek: keyring
                .active(Purpose::Checkpoint, core as u16, algorithm(settings), now)
                .map_err(|e| e.to_string())?,
            node: keyring.node(),
            backend,
        };
        cores.push(Core {
            keyspace,
            log,
            place,
        });
    }
    Ok(Loading {
        cores,
        recovery,
        checkpoint,
        log_run: restored.logs.next_run(),
        unused_log: (!settings.persistence.appendonly).then_some(logs),
    })
}

/// Bytes of the files in a directory; of what cannot be looked at, recovery says why.
fn bytes_in(disk: &RealDisk) -> u64 {
    let entries = disk.list().unwrap_or_default();
    entries.iter().map(|entry| entry.len).sum()
}

fn directory(settings: &Settings, name: &str) -> Result<Arc<RealDisk>, String> {
    let dir = settings.server.data_dir.join(name);
    let disk = RealDisk::open(&dir).map_err(|e| format!("{name} {}: {e}", dir.display()))?;
    Ok(Arc::new(disk))
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
fn tell(restored: &Restored<Loaded>, started: Instant) -> Recovery {
    let seconds = started.elapsed().as_secs_f64();
    let mut cut = 0;
    for log in &restored.logs.tails {
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
    let mut counters = restored.logs.counters;
    let mut checkpoint = 0;
    if let Some((manifest, base)) = &restored.base {
        checkpoint = manifest.number;
        counters.records += base.records;
        counters.frames += base.frames;
        counters.bytes += base.bytes;
    }
    if restored.logs.run > 0 || checkpoint > 0 {
        tracing::info!(
            checkpoint,
            records = counters.records,
            frames = counters.frames,
            bytes = counters.bytes,
            "recovered in {seconds:.3} s"
        );
    }
    Recovery {
        checkpoint,
        keys: 0,
        records: counters.records,
        bytes: counters.bytes,
        seconds,
        cut,
    }
}
