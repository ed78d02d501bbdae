//! The log: a directory whose segments were altered is recovered or refused by name, and gives no effect that was
//! not written. The log is one without encryption, and the checksums of headers and frames are made right after the
//! changes where the input asks for it, so that what lies behind them is reached.

use std::sync::{Arc, OnceLock};

use ferrite_server::disk::sim::{SimDisk, SimFile};
use ferrite_server::disk::{BLOCK, Disk, DiskFile};
use ferrite_server::envelope::{Dek, DekId, Purpose};
use ferrite_server::log::format::{FrameHeader, SegmentHeader};
use ferrite_server::log::unit::decode_tx;
use ferrite_server::log::*;
use ferrite_server::seal::Backend;
use ferrite_server::shard::pick;

struct Plain;

impl Deks for Plain {
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        let dek = Dek::unencrypted(Purpose::Aof, 0);
        (dek.id == *id).then(|| Arc::new(dek))
    }

    fn node(&self) -> [u8; 16] {
        [0; 16]
    }
}

struct Memory(Vec<u8>);

impl Sink for Memory {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        self.0.extend_from_slice(effects);
        Ok(())
    }
}

struct One;

impl Router for One {
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String> {
        shards[0].extend_from_slice(effects);
        Ok(())
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

/// Carries out what the writer wants until it wants nothing more.
fn settle(disk: &SimDisk, writer: &mut Writer, files: &mut [Option<SimFile>], now: u64) {
    let mut ops = Vec::new();
    loop {
        writer.poll(now, &mut ops);
        if ops.is_empty() {
            return;
        }
        for op in ops.drain(..) {
            let open = |files: &[Option<SimFile>], file: FileNo| {
                files[file.index()].clone().expect("an open file")
            };
            let (id, done) = match op {
                Op::Write {
                    id,
                    file,
                    offset,
                    buf,
                    dsync,
                } => {
                    let n = open(files, file).write_at(&buf, offset, dsync);
                    (id, n.map(|n| Done::Written(buf, n)))
                }
                Op::Sync { id, file } => (id, open(files, file).sync().map(|()| Done::Synced)),
                Op::Perform { id, file, work } => {
                    let made = disk.perform(&work).map(|made| {
                        if let (Some(no), Some(made)) = (file, made) {
                            files[no.index()] = Some(made);
                        }
                        Done::Performed
                    });
                    (id, made)
                }
                Op::Close { .. } => continue,
            };
            writer.done(id, done, now);
        }
    }
}

/// Files by name, and the effects in them.
type World = (Vec<(String, Vec<u8>)>, Vec<u8>);

/// What two runs leave.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let disk = SimDisk::new();
        let mut effects = Vec::new();
        for run in 0..2u8 {
            let (found, _) = recovered(&disk).expect("an honest log");
            let config = LogConfig {
                segment_size: 24 << 10,
                frame_target: 1 << 10,
                frame_max: 4 << 10,
                ..LogConfig::new(0, 1, [0; 16])
            };
            let dek = Arc::new(Dek::unencrypted(Purpose::Aof, 0));
            let mut writer = Writer::new(config, dek, found.start(0, 1));
            let mut files: Vec<Option<SimFile>> = (0..FileNo::COUNT).map(|_| None).collect();
            let mut now = 1_000_000;
            settle(&disk, &mut writer, &mut files, now);
            writer.start();
            for n in 0..5u8 {
                let body = vec![run * 10 + n; if n == 3 { 5_000 } else { 20 }];
                writer.append(&body, 1);
                effects.extend_from_slice(&body);
                now += 10_000;
                settle(&disk, &mut writer, &mut files, now);
            }
            if run == 0 {
                writer.close();
            } else {
                now += 2_000_000;
            }
            settle(&disk, &mut writer, &mut files, now);
        }
        let names = disk.list().expect("a directory").into_iter();
        let files = names.map(|e| (e.name.clone(), disk.content(&e.name).expect("a file")));
        (files.collect(), effects)
    })
}

fn recovered(disk: &SimDisk) -> Result<(Recovered, Vec<u8>), LogError> {
    let plan = scan(disk, &Plain, Backend::AwsLc, None)?;
    let mut sinks = [Memory(Vec::new())];
    let recovered = recover(disk, plan, None, &mut sinks, &One)?;
    let [Memory(bytes)] = sinks;
    Ok((recovered, bytes))
}

/// One input.
pub fn check(data: &[u8]) {
    // The pieces of the format, as they are.
    let _ = FrameHeader::decode(data);
    let mut block = data.to_vec();
    block.resize(BLOCK, 0);
    let _ = SegmentHeader::decode(&block);
    let _ = decode_tx(data);
    let _ = unit::Opening::decode(data);
    let _ = unit::UnitHead::decode(data);

    let (files, effects) = world();
    let [which, how, edits @ ..] = data else {
        return;
    };
    let disk = SimDisk::new();
    for (n, (name, whole)) in files.iter().enumerate() {
        let mut bytes = whole.clone();
        if n == usize::from(*which) % files.len() {
            // A place (2 bytes) and what its byte is changed by; the last edit may also cut the file.
            for edit in edits.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
                bytes[at] ^= edit[2];
            }
            if how & 1 == 1 {
                let crc = crc32c::crc32c(&bytes[..BLOCK - 4]);
                bytes[BLOCK - 4..BLOCK].copy_from_slice(&crc.to_le_bytes());
            }
            if how & 2 == 2 {
                let cut = edits.iter().map(|&b| usize::from(b) * 97).sum::<usize>();
                bytes.truncate(cut % (whole.len() + 1));
            }
        }
        disk.put(name, bytes);
    }
    match recovered(&disk) {
        Ok((_, got)) => assert!(effects.starts_with(&got), "data nobody wrote"),
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}
