//! A disk in memory that can crash.
//!
//! What it knows of a real one: a write that was not synced may be lost, in any combination with
//! others and whatever their order was; a write of several blocks may reach the medium in part
//! (torn); a synced or `dsync` write stays; an errand ([`Work`]) that was under way may be half
//! done. Everything is drawn from a seed, so a failure can be run again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{BLOCK, Disk, DiskFile, Entry, Sealed, Work, context};

/// The size in bytes below which a write is never torn: a disk's physical sector.
pub const SECTOR: usize = 512;

/// A small seeded generator of chances (SplitMix64, public domain by Vigna): no secrets come from it.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n` (0 if `n` is 0).
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next_u64() % n }
    }

    /// True `percent` times of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How the machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: what was written is there, and what was not synced is still at risk.
    Kill,
    /// Power fails: what was not synced is there in part, or not at all.
    Power,
}

/// The directory. Clones share it.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Bytes all files may take together; `None` is without end.
    capacity: Option<u64>,
    faults: Faults,
}

/// Errors to come. Each counter goes down by one with every verb of its kind; at zero the verb
/// fails with EIO, and so do all of that kind after it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// Writes that still succeed.
    pub writes: Option<u64>,
    /// Syncs that still succeed.
    pub syncs: Option<u64>,
}

#[derive(Default, Clone)]
struct Content {
    /// What a reader sees.
    now: Vec<u8>,
    /// What is on the medium for sure.
    durable: Vec<u8>,
    /// Ranges written since, in order.
    loose: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    /// An empty directory of unlimited size.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Limits what all files may take together, in bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Sets the errors to come.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The whole content of a file, as a reader sees it.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().files.get(name).map(|f| held(f).now.clone())
    }

    /// Puts a file there, durably, replacing what has its name: for tests that tamper.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content {
            durable: bytes.clone(),
            now: bytes,
            loose: Vec::new(),
        };
        self.lock()
            .files
            .insert(name.to_string(), Arc::new(Mutex::new(content)));
    }

    /// Takes a file away, durably.
    pub fn delete(&self, name: &str) {
        self.lock().files.remove(name);
    }

    /// A separate directory with the same content, all of it durable.
    pub fn copy(&self) -> SimDisk {
        let copy = SimDisk::new();
        for (name, file) in &self.lock().files {
            copy.put(name, held(file).now.clone());
        }
        copy
    }

    /// The directory that is found after a crash. This one is left as it is.
    pub fn crash(&self, how: Crash, chance: &mut Chance) -> SimDisk {
        let after = SimDisk::new();
        let kept = [0, 50, 90, 100][chance.below(4) as usize]; // percent of the loose pieces
        let piece = if chance.percent(25) { SECTOR } else { BLOCK };
        for (name, file) in &self.lock().files {
            let content = held(file);
            if how == Crash::Kill {
                after
                    .lock()
                    .files
                    .insert(name.clone(), Arc::new(Mutex::new(content.clone())));
                continue;
            }
            let mut image = content.durable.clone();
            image.resize(content.now.len(), 0);
            for (at, bytes) in &content.loose {
                for (i, part) in bytes.chunks(piece).enumerate() {
                    let from = at + i * piece;
                    if chance.percent(kept) && from + part.len() <= image.len() {
                        image[from..from + part.len()].copy_from_slice(part);
                    }
                }
            }
            after.put(name, image);
        }
        after
    }

    /// What is left of a write that was under way when the machine went down: any of its pieces.
    pub fn tear(&self, name: &str, data: &[u8], offset: u64, chance: &mut Chance) {
        let state = self.lock();
        let Some(file) = state.files.get(name) else {
            return;
        };
        let mut content = held(file);
        for (i, part) in data.chunks(BLOCK).enumerate() {
            if chance.percent(50) {
                content.write(offset as usize + i * BLOCK, part);
            }
        }
    }

    /// What is left of an errand that was under way: nothing, some of it, or all.
    pub fn abandon(&self, work: &Work, chance: &mut Chance) {
        match chance.below(3) {
            0 => {}
            1 => match work {
                Work::Create { name, size, .. } | Work::Obtain { name, size } => {
                    let mut state = self.lock();
                    if !state.files.contains_key(name) {
                        let some = chance.below(*size + 1) as usize;
                        let content = Content {
                            now: vec![0; some],
                            durable: vec![0; some],
                            loose: Vec::new(),
                        };
                        state
                            .files
                            .insert(name.clone(), Arc::new(Mutex::new(content)));
                    }
                }
                Work::Recycle { from, .. } => {
                    if let Some(file) = self.lock().files.get(from) {
                        held(file).write(0, &[0; BLOCK]);
                    }
                }
                Work::Rename { .. } | Work::Remove { .. } => {}
            },
            _ => {
                let _ = self.perform(work); // if it fails, nothing was done: also an outcome
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn held(file: &Mutex<Content>) -> MutexGuard<'_, Content> {
    file.lock().unwrap_or_else(|e| e.into_inner())
}

impl Content {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[at..end].copy_from_slice(bytes);
        self.loose.push((at, bytes.to_vec()));
    }

    fn settle(&mut self) {
        self.durable.clone_from(&self.now);
        self.loose.clear();
    }

    fn settle_range(&mut self, at: usize, len: usize) {
        if self.durable.len() < self.now.len() {
            self.durable.resize(self.now.len(), 0);
        }
        self.durable[at..at + len].copy_from_slice(&self.now[at..at + len]);
        self.loose
            .retain(|(from, bytes)| *from != at || bytes.len() != len);
    }
}

fn spend(left: &mut Option<u64>, what: &str, name: &str) -> io::Result<()> {
    match left {
        Some(0) => Err(context(io::Error::from_raw_os_error(libc::EIO), what, name)),
        Some(n) => {
            *n -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl State {
    fn reserve(&self, grow: u64, name: &str) -> io::Result<()> {
        let used: u64 = self.files.values().map(|f| held(f).now.len() as u64).sum();
        match self.capacity {
            Some(c) if used + grow > c => Err(context(
                io::Error::from_raw_os_error(libc::ENOSPC),
                "reserve space for",
                name,
            )),
            _ => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        let entry = |(name, f): (&String, &Arc<Mutex<Content>>)| Entry {
            name: name.clone(),
            len: held(f).now.len() as u64,
        };
        Ok(state.files.iter().map(entry).collect())
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        match self.lock().files.get(name) {
            Some(f) => Ok(SimFile {
                disk: self.clone(),
                content: f.clone(),
                name: name.to_string(),
            }),
            None => Err(context(
                io::Error::from_raw_os_error(libc::ENOENT),
                "open",
                name,
            )),
        }
    }

    fn perform(&self, work: &Work) -> io::Result<Option<SimFile>> {
        match work {
            Work::Create { name, size, .. } => {
                let mut state = self.lock();
                if state.files.contains_key(name) {
                    return Err(context(
                        io::Error::from_raw_os_error(libc::EEXIST),
                        "create",
                        name,
                    ));
                }
                state.reserve(*size, name)?;
                let content = Content {
                    now: vec![0; *size as usize],
                    durable: vec![0; *size as usize],
                    loose: Vec::new(),
                };
                state
                    .files
                    .insert(name.clone(), Arc::new(Mutex::new(content)));
            }
            Work::Recycle {
                from, name, size, ..
            } => {
                let mut state = self.lock();
                if state.files.contains_key(name) {
                    return Err(context(
                        io::Error::from_raw_os_error(libc::EEXIST),
                        "create",
                        name,
                    ));
                }
                let Some(file) = state.files.get(from).cloned() else {
                    return Err(context(
                        io::Error::from_raw_os_error(libc::ENOENT),
                        "open",
                        from,
                    ));
                };
                let had = held(&file).now.len() as u64;
                state.reserve(size.saturating_sub(had), name)?;
                let mut content = held(&file);
                content.now.resize(*size as usize, 0);
                content.now[..BLOCK].fill(0);
                content.settle();
                drop(content);
                state.files.remove(from);
                state.files.insert(name.clone(), file);
            }
            Work::Obtain { name, size } => {
                let mut state = self.lock();
                match state.files.get(name).cloned() {
                    Some(f) => {
                        let mut content = held(&f);
                        content.now.resize(*size as usize, 0);
                        content.settle();
                    }
                    None => {
                        state.reserve(*size, name)?;
                        let zeros = vec![0; *size as usize];
                        let content = Content {
                            now: zeros.clone(),
                            durable: zeros,
                            loose: Vec::new(),
                        };
                        state
                            .files
                            .insert(name.clone(), Arc::new(Mutex::new(content)));
                    }
                }
            }
            Work::Rename { from, name } => {
                let mut state = self.lock();
                let Some(file) = state.files.remove(from) else {
                    return Err(context(
                        io::Error::from_raw_os_error(libc::ENOENT),
                        "rename",
                        from,
                    ));
                };
                state.files.insert(name.clone(), file);
            }
            Work::Remove { name } => {
                self.lock().files.remove(name);
                return Ok(None);
            }
        }
        self.open(work.name()).map(Some)
    }
}

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    content: Arc<Mutex<Content>>,
    name: String,
}

impl SimFile {
    /// The name it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(held(&self.content).now.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = held(&self.content);
        let from = (offset as usize).min(content.now.len());
        let n = buf.len().min(content.now.len() - from);
        buf[..n].copy_from_slice(&content.now[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, data: &Sealed, offset: u64, dsync: bool) -> io::Result<usize> {
        assert!(
            offset.is_multiple_of(BLOCK as u64),
            "a write at {offset} is not aligned"
        );
        assert!(
            offset + data.len() as u64 <= self.len()?,
            "a write past the end of {}: the space was not reserved",
            self.name
        );
        spend(&mut self.disk.lock().faults.writes, "write", &self.name)?;
        let mut content = held(&self.content);
        content.write(offset as usize, data.bytes());
        if dsync {
            content.settle_range(offset as usize, data.len());
        }
        Ok(data.len())
    }

    fn sync(&self) -> io::Result<()> {
        spend(&mut self.disk.lock().faults.syncs, "sync", &self.name)?;
        held(&self.content).settle();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::AlignedBuf;

    fn sealed(byte: u8, blocks: usize) -> Sealed {
        let mut b = AlignedBuf::new(blocks * BLOCK);
        b.fill(byte);
        Sealed::vouch(b, 0, blocks * BLOCK)
    }

    fn file(disk: &SimDisk, blocks: usize) -> SimFile {
        let size = (blocks * BLOCK) as u64;
        let work = Work::Create {
            name: "f".into(),
            size,
            prefill: true,
        };
        disk.perform(&work).unwrap().unwrap()
    }

    #[test]
    fn synced_writes_survive_every_crash_and_loose_ones_only_a_kill() {
        let mut torn = 0;
        for seed in 0..200 {
            let mut chance = Chance::new(seed);
            let disk = SimDisk::new();
            let f = file(&disk, 8);
            f.write_at(&sealed(1, 2), 0, true).unwrap();
            f.write_at(&sealed(2, 2), 2 * BLOCK as u64, false).unwrap();
            f.sync().unwrap();
            f.write_at(&sealed(3, 4), 4 * BLOCK as u64, false).unwrap();
            let power = disk.crash(Crash::Power, &mut chance).content("f").unwrap();
            assert!(power[..2 * BLOCK].iter().all(|&b| b == 1));
            assert!(power[2 * BLOCK..4 * BLOCK].iter().all(|&b| b == 2));
            let threes = power[4 * BLOCK..].iter().filter(|&&b| b == 3).count();
            torn += usize::from(threes > 0 && threes < 4 * BLOCK);
            let kill = disk.crash(Crash::Kill, &mut chance).content("f").unwrap();
            assert!(kill[4 * BLOCK..].iter().all(|&b| b == 3));
        }
        assert!(torn > 20, "only {torn} of 200 crashes tore a write");
    }

    #[test]
    fn a_full_disk_and_a_failing_one_say_so() {
        let disk = SimDisk::new();
        disk.set_capacity(Some(10 * BLOCK as u64));
        let f = file(&disk, 8);
        let more = Work::Create {
            name: "g".into(),
            size: 4 * BLOCK as u64,
            prefill: false,
        };
        assert!(crate::disk::is_full(&disk.perform(&more).err().unwrap()));
        disk.set_faults(Faults {
            writes: Some(1),
            syncs: Some(0),
        });
        f.write_at(&sealed(1, 1), 0, false).unwrap();
        assert!(f.write_at(&sealed(1, 1), 0, false).is_err());
        assert!(f.sync().is_err());
    }
}
