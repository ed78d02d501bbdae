//! A log on a simulated disk: the worker's part, played with chances.

use std::sync::Arc;

use crate::disk::sim::{Chance, Crash, SimDisk, SimFile};
use crate::disk::{Disk, DiskFile};
use crate::envelope::{Dek, DekId, Purpose};
use crate::log::*;
use crate::seal::{Algorithm, Backend, Secret32};

/// A keyring of one Dek per core, made from nothing.
pub struct TestDeks {
    algorithm: Algorithm,
}

impl TestDeks {
    pub const fn new(algorithm: Algorithm) -> TestDeks {
        TestDeks { algorithm }
    }

    pub fn of(&self, core: u16) -> Arc<Dek> {
        let mut dek = Dek::unencrypted(Purpose::Aof, core);
        if self.algorithm.protects() {
            dek.id = DekId([core as u8 + 1; 16]);
            dek.algorithm = self.algorithm;
            dek.secret = Secret32::take(&mut [core as u8 + 1; 32]);
        }
        Arc::new(dek)
    }
}

impl Deks for TestDeks {
    fn dek(&self, id: &DekId) -> Option<Arc<Dek>> {
        (0..16).map(|core| self.of(core)).find(|d| d.id == *id)
    }

    fn node(&self) -> [u8; 16] {
        [9; 16]
    }
}

pub static AES: TestDeks = TestDeks::new(Algorithm::Aes256Gcm);

/// A small log: 64 KiB segments, frames up to 8 KiB.
pub fn small(core: u16, cores: u16, policy: Policy) -> LogConfig {
    LogConfig {
        policy,
        segment_size: 64 << 10,
        frame_target: 4 << 10,
        frame_max: 8 << 10,
        ..LogConfig::new(core, cores, [9; 16])
    }
}

/// One core's log and the operations under way on it.
pub struct Rig {
    pub disk: SimDisk,
    pub writer: Writer,
    pub now: u64,
    files: [Option<SimFile>; FileNo::COUNT],
    pending: Vec<Op>,
    /// Every (salt, counter) that was sealed under, anchors included.
    pub sealed: Vec<([u8; 32], u64)>,
    salts: [[u8; 32]; FileNo::COUNT],
    firsts: [u64; FileNo::COUNT],
}

impl Rig {
    pub fn new(disk: &SimDisk, config: LogConfig, deks: &TestDeks, start: Start) -> Rig {
        let dek = deks.of(config.core);
        Rig {
            disk: disk.clone(),
            writer: Writer::new(config, dek, start),
            now: 1_000_000,
            files: Default::default(),
            pending: Vec::new(),
            sealed: Vec::new(),
            salts: [[0; 32]; FileNo::COUNT],
            firsts: [0; FileNo::COUNT],
        }
    }

    /// Takes what the writer wants done.
    pub fn poll(&mut self) {
        let from = self.pending.len();
        self.writer.poll(self.now, &mut self.pending);
        let mut i = from;
        while i < self.pending.len() {
            if let Op::Write {
                file, offset, buf, ..
            } = &self.pending[i]
            {
                let (file, offset) = (*file, *offset);
                self.note(file, offset, buf.bytes().to_vec());
            }
            if let Op::Close { file } = self.pending[i] {
                let closed = self.files[file.index()].take();
                let _ = closed; // a file that was never used may not be open yet
                self.pending.remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Writes down what a write is sealed under.
    fn note(&mut self, file: FileNo, offset: u64, mut bytes: Vec<u8>) {
        if file == FileNo::ANCHOR {
            let counter = u64::from_le_bytes(bytes[128..136].try_into().unwrap());
            return self
                .sealed
                .push((bytes[64..96].try_into().unwrap(), counter));
        }
        if offset == 0 {
            let header = bytes.drain(..format::HEADER_LEN).collect::<Vec<u8>>();
            let (header, salt, _) = format::SegmentHeader::decode(&header).unwrap();
            self.salts[file.index()] = salt;
            self.firsts[file.index()] = header.first_frame;
        }
        let (h, _) = format::FrameHeader::decode(&bytes).unwrap();
        assert_eq!(h.len as usize, bytes.len(), "one frame, one write");
        self.sealed.push((
            self.salts[file.index()],
            h.number - self.firsts[file.index()],
        ));
    }

    /// How many operations are under way.
    pub fn under_way(&self) -> usize {
        self.pending.len()
    }

    /// The segment writes under way: their lengths, and whether they are durable ones.
    pub fn writes(&self) -> Vec<(usize, bool)> {
        let write = |op: &Op| match op {
            Op::Write {
                file, buf, dsync, ..
            } if *file != FileNo::ANCHOR => Some((buf.len(), *dsync)),
            _ => None,
        };
        self.pending.iter().filter_map(write).collect()
    }

    /// Carries out the oldest segment write under way.
    pub fn finish_write(&mut self) {
        let write = |op: &Op| matches!(op, Op::Write { file, .. } if *file != FileNo::ANCHOR);
        let at = self
            .pending
            .iter()
            .position(write)
            .expect("a write is under way");
        self.finish(at);
    }

    /// Carries out one of them.
    pub fn finish(&mut self, which: usize) {
        let op = self.pending.remove(which);
        let (id, result) = match op {
            Op::Write {
                id,
                file,
                offset,
                buf,
                dsync,
            } => {
                let f = self.files[file.index()]
                    .as_ref()
                    .expect("written files are open");
                (
                    id,
                    f.write_at(&buf, offset, dsync)
                        .map(|n| Done::Written(buf, n)),
                )
            }
            Op::Sync { id, file } => {
                let f = self.files[file.index()]
                    .as_ref()
                    .expect("synced files are open");
                (id, f.sync().map(|()| Done::Synced))
            }
            Op::Perform { id, file, work } => {
                let made = self.disk.perform(&work);
                (
                    id,
                    made.map(|made| {
                        if let (Some(no), Some(made)) = (file, made) {
                            self.files[no.index()] = Some(made);
                        }
                        Done::Performed
                    }),
                )
            }
            Op::Close { .. } => unreachable!("closed at once"),
        };
        self.writer.done(id, result, self.now);
    }

    /// Carries out everything, as it comes, until nothing is left to do.
    pub fn settle(&mut self) {
        self.poll();
        while !self.pending.is_empty() {
            self.finish(0);
            self.poll();
        }
    }

    /// The LSN up to which every unit's writes are done, synced or not.
    pub fn written_lsn(&self) -> u64 {
        let w = &self.writer;
        let done = (w.written - w.durable_frames) as usize;
        w.flights
            .iter()
            .take(done)
            .fold(w.durable_lsn, |lsn, f| lsn.max(f.complete))
    }

    /// Lets time pass, and everything happen that is due in it.
    pub fn pass(&mut self, micros: u64) {
        let end = self.now + micros;
        self.settle();
        while let Some(at) = self.writer.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Opens and starts a log that has the disk for itself.
    pub fn begin(&mut self) {
        self.settle();
        assert!(self.writer.opened(), "{:?}", self.writer.failure());
        self.writer.start();
        self.settle();
    }

    /// Closes the log cleanly.
    pub fn close(&mut self) {
        self.writer.close();
        self.settle();
        assert!(self.writer.closed(), "{:?}", self.writer.failure());
        assert_eq!(self.writer.failure(), None);
    }

    /// The machine goes down: what was under way is done, half done or not done.
    pub fn wreck(&mut self, chance: &mut Chance) {
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::Write {
                    file, offset, buf, ..
                } if chance.percent(60) => {
                    if let Some(f) = &self.files[file.index()] {
                        self.disk.tear(f.name(), buf.bytes(), offset, chance);
                    }
                }
                Op::Sync { file, .. } if chance.percent(50) => {
                    if let Some(f) = &self.files[file.index()] {
                        let _ = f.sync();
                    }
                }
                Op::Perform { work, .. } => self.disk.abandon(&work, chance),
                _ => {}
            }
        }
    }
}

/// A shard that remembers what it was given.
#[derive(Default)]
pub struct Memory(pub Vec<u8>);

impl Sink for Memory {
    fn apply(&mut self, effects: &[u8]) -> Result<(), String> {
        self.0.extend_from_slice(effects);
        Ok(())
    }
}

/// Effects of these tests: one byte that says the shard (of 16), two of length, the rest.
pub fn effect(home: u8, body: &[u8]) -> Vec<u8> {
    let mut e = vec![home];
    e.extend_from_slice(&(body.len() as u16).to_le_bytes());
    e.extend_from_slice(body);
    e
}

/// Takes a stream of such effects apart.
pub fn effects(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 3 {
        let len = usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
        found.push((bytes[0], bytes[3..3 + len].to_vec()));
        bytes = &bytes[3 + len..];
    }
    assert!(bytes.is_empty(), "whole effects only");
    found
}

/// Routes them to as many shards as there are.
pub struct ByHome;

impl Router for ByHome {
    fn route(&self, effects: &[u8], shards: &mut [Vec<u8>]) -> Result<(), String> {
        let mut rest = effects;
        while !rest.is_empty() {
            let (home, len) = match rest {
                [home, a, b, ..] => (*home, 3 + usize::from(u16::from_le_bytes([*a, *b]))),
                _ => return Err("half an effect".into()),
            };
            let Some(effect) = rest.get(..len) else {
                return Err("a cut effect".into());
            };
            let n = shards.len();
            shards[usize::from(home) * n / 16].extend_from_slice(effect);
            rest = &rest[len..];
        }
        Ok(())
    }

    fn pick(
        &self,
        bytes: &[u8],
        lacks: &dyn Fn(u16) -> bool,
        into: &mut Vec<u8>,
    ) -> Result<(), String> {
        for (home, body) in effects(bytes) {
            if lacks(slot_of(home)) {
                into.extend_from_slice(&effect(home, &body));
            }
        }
        Ok(())
    }
}

/// The slot that an effect's home stands for: the first of sixteen equal ranges.
pub fn slot_of(home: u8) -> u16 {
    u16::from(home) * 1024
}

/// Recovers into `shards` memories.
pub fn recovered(
    disk: &SimDisk,
    deks: &TestDeks,
    shards: usize,
) -> Result<(Recovered, Vec<Memory>), LogError> {
    recovered_from(disk, deks, shards, None)
}

/// The same, where what is before `begin` is known from elsewhere.
pub fn recovered_from(
    disk: &SimDisk,
    deks: &TestDeks,
    shards: usize,
    begin: Option<&Begin>,
) -> Result<(Recovered, Vec<Memory>), LogError> {
    let plan = scan(disk, deks, Backend::AwsLc, begin)?;
    let mut sinks: Vec<Memory> = (0..shards).map(|_| Memory::default()).collect();
    let recovered = recover(disk, plan, None, &mut sinks, &ByHome)?;
    Ok((recovered, sinks))
}

/// A crash of the whole machine.
pub fn crash(rigs: &mut [Rig], how: Crash, chance: &mut Chance) -> SimDisk {
    for rig in rigs.iter_mut() {
        rig.wreck(chance);
    }
    rigs[0].disk.crash(how, chance)
}
