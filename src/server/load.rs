//! The data at start: the log recovered into shards, and a new run of the log opened.

use std::sync::Arc;

use crate::disk::real::RealDisk;
use crate::envelope::{Keyring, Purpose};
use crate::log::{LogConfig, Policy, Sealing, Start, Writer};
use crate::seal::accel;
use crate::settings::{Fsync, Settings};
use crate::shard::Keyspace;
use crate::slot;
use crate::worker::logdrive::OpenLog;
use crate::worker::shared::Recovery;

/// What cores start from.
pub struct Loading {
    /// Each core's keyspace, with its shard in it, and its log.
    pub cores: Vec<(Keyspace, Option<OpenLog>)>,
    /// Figures for INFO.
    pub recovery: Recovery,
}

/// The algorithm that new files are sealed with.
pub fn algorithm(settings: &Settings) -> crate::seal::Algorithm {
    match settings.encryption.algorithm {
        crate::settings::Algorithm::Aes256Gcm => crate::seal::Algorithm::Aes256Gcm,
        crate::settings::Algorithm::ChaCha20Poly1305 => crate::seal::Algorithm::ChaCha20Poly1305,
    }
}

/// Recovers the log and opens its next run.
///
/// # Errors
/// What cannot be recovered, with file, offset and reason.
pub fn load(
    settings: &Settings,
    shards: usize,
    seed: &[u8; 28],
    keyring: Option<&mut Keyring>,
) -> Result<Loading, String> {
    let map = slot::Map::new(shards);
    let hash_seed = u64::from_le_bytes(seed[..8].try_into().unwrap_or_default());
    let mut cores = Vec::new();
    let mut keyring = keyring;
    for core in 0..shards {
        let mut keyspace = Keyspace::new(map, hash_seed, settings.server.databases);
        let shard = keyspace.make_shard(core);
        keyspace.put(shard);
        let mut log = None;
        if settings.persistence.appendonly {
            let disk = Arc::new(
                RealDisk::open(&settings.server.data_dir.join("log")).map_err(|e| e.to_string())?,
            );
            let node = keyring.as_deref().map_or([0; 16], |k| k.node());
            let mut config = LogConfig::new(core as u16, shards as u16, node);
            config.policy = match settings.persistence.appendfsync {
                Fsync::Always => Policy::Always,
                Fsync::EverySec => Policy::EverySec,
                Fsync::No => Policy::No,
            };
            config.batch_window = settings.persistence.batch_window;
            config.segment_size = settings.persistence.aof_segment_size;
            let sealing = match keyring.as_deref_mut() {
                Some(keyring) => {
                    let algorithm = algorithm(settings);
                    config.backend = accel::choose(algorithm).backend;
                    let dek = keyring
                        .active(Purpose::Aof, core as u16, algorithm, 0)
                        .map_err(|e| e.to_string())?;
                    Sealing::new(dek.id.0, algorithm, dek.secret.duplicate())
                }
                None => Sealing::plain(),
            };
            let writer = Writer::new(
                config,
                sealing,
                Start {
                    run: 1,
                    ..Start::default()
                },
            );
            log = Some(OpenLog::open(writer, disk).map_err(|e| e.to_string())?);
        }
        cores.push((keyspace, log));
    }
    Ok(Loading {
        cores,
        recovery: Recovery::default(),
    })
}
