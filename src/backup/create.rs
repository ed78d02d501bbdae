//! Making a backup of a data directory, of which a server may be running.
//!
//! The order is what makes the copy one that recovery takes: the anchors first, then the newest checkpoint, then how far
//! each log goes, and only then the bytes, exactly so many. The keyring last, for it only gains Deks, so it knows those of
//! all files before it. What the server gives up meanwhile (it does not, while the files are held; but it may have begun
//! just before, or be started anew) shows, and then everything is looked at once more; what was copied stays.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::frozen::Frozen;
use super::manifest::{FileEntry, Manifest, PIECE};
use super::{BACKEND, PIECES, Vault, digest, find, hex, ids, keyring, piece_file, told};
use crate::checkpoint::{self, hold};
use crate::disk::real::RealDisk;
use crate::disk::{BLOCK, Disk, DiskFile};
use crate::envelope::FILE_NAME;
use crate::log::format::SegmentHeader;
use crate::log::{Extent, survey, survey_part};

/// How often the directory is looked at when something in it was not as it should be.
const TRIES: u32 = 4;

/// A backup that was made.
pub struct Created {
    /// What it consists of.
    pub manifest: Manifest,
    /// Bytes that were sent, the manifest's not counted.
    pub sent: u64,
}

/// Why there is none.
enum Failure {
    /// Something in the data directory is not as it should be; it may have been in motion.
    Source(String),
    /// It would not help to look again.
    Final(String),
}

/// What there is to copy.
struct Found {
    manifest: Manifest,
    anchors: Vec<(String, Vec<u8>)>,
    /// The checkpoint's manifest.
    checkpoint: Option<(String, Vec<u8>)>,
    parts: Vec<Extent>,
    logs: Vec<Extent>,
}

impl Found {
    fn bytes(&self) -> u64 {
        let extents = self.parts.iter().chain(&self.logs);
        let small = self.anchors.iter().chain(&self.checkpoint);
        extents.map(|e| e.len).sum::<u64>() + small.map(|(_, b)| b.len() as u64).sum::<u64>()
    }
}

/// Makes a backup of the data directory `data`.
///
/// # Errors
/// What of the directory is damaged, with file and place; why the backup could not be written. What was sent is used by the
/// next one.
pub fn create(vault: &Vault<'_>, data: &Path) -> Result<Created, String> {
    let place = |e: io::Error| format!("{}: {e}", vault.store.place());
    let _lock = vault.store.lock(false).map_err(place)?;
    let checkpoints = data.join("checkpoint");
    let _hold = hold::take(&checkpoints).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => format!("{}: it is being copied already", data.display()),
        io::ErrorKind::NotFound => format!("{}: it is no data directory", data.display()),
        _ => format!("{}: {e}", checkpoints.display()),
    })?;
    let pieces = vault.store.list(PIECES).map_err(place)?;
    // What cannot be opened is of another Kek, or damaged: then there is nothing to build upon.
    let parent = ids(vault.store)?.pop();
    let parent = parent.and_then(|id| find(vault, Some(&id)).ok());
    let mut job = Job {
        vault,
        data,
        have: pieces.into_iter().collect(),
        parent,
        sent: 0,
    };
    let begun = now();
    let id = Manifest::fresh_id(begun)?;
    for attempt in 1..=TRIES {
        let done = job.look(&id, begun).and_then(|found| job.copy(found));
        match done {
            Ok(manifest) => {
                let bytes = manifest.seal(vault.provider.as_deref())?;
                let file = Manifest::file_of(&id);
                let written = vault.store.write(&file, &bytes);
                written.map_err(|e| told(vault.store, &file, &e))?;
                let sent = job.sent;
                return Ok(Created { manifest, sent });
            }
            Err(Failure::Final(why)) => return Err(why),
            Err(Failure::Source(why)) if attempt == TRIES => {
                return Err(format!("{}: {why}", data.display()));
            }
            Err(Failure::Source(_)) => {
                thread::sleep(Duration::from_millis(200) * attempt);
            }
        }
    }
    Err("it was looked at too often".into())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

struct Job<'a> {
    vault: &'a Vault<'a>,
    data: &'a Path,
    /// The pieces that are there, with their lengths.
    have: BTreeMap<String, u64>,
    parent: Option<Manifest>,
    sent: u64,
}

impl Job<'_> {
    fn keyring_file(&self) -> Result<Option<Vec<u8>>, Failure> {
        match std::fs::read(self.data.join(FILE_NAME)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Failure::Source(format!("{FILE_NAME}: {e}"))),
        }
    }

    /// Looks at everything, and authenticates the log, and the checkpoint unless the parent has it.
    fn look(&self, id: &str, begun: u64) -> Result<Found, Failure> {
        let source = |e: &dyn std::fmt::Display| Failure::Source(e.to_string());
        let whose = self.data.display().to_string();
        let deks = self.keyring_file()?;
        let deks = keyring(deks.as_deref(), self.vault.provider.as_ref(), &whose);
        let deks = deks.map_err(Failure::Final)?;
        let dir = |name| RealDisk::for_reading(&self.data.join(name));
        let logs = Frozen::new(dir("log")).map_err(|e| source(&format!("log: {e}")))?;
        let checkpoints = dir("checkpoint");
        let found = checkpoint::find(&checkpoints).map_err(|e| source(&e))?;
        let (mut stands, mut parts) = (None, Vec::new());
        if let Some(&name) = found.whole.first() {
            let manifest = checkpoint::Manifest::read(&checkpoints, name, &deks, BACKEND);
            let manifest = manifest.map_err(|e| source(&e))?;
            let file = name.file();
            let bytes = std::fs::read(self.data.join("checkpoint").join(&file));
            let bytes = bytes.map_err(|e| source(&format!("checkpoint: {file}: {e}")))?;
            let known = self.known_parts(&file, &bytes, name.number);
            if let Some(known) = known {
                parts = known;
            } else {
                for part in &manifest.parts {
                    let read = survey_part(&checkpoints, name.number, part.end, &deks, BACKEND);
                    parts.extend(read.map_err(|e| source(&format!("checkpoint: {e}")))?);
                }
            }
            stands = Some((manifest, file, bytes));
        }
        let begin = stands.as_ref().map(|(manifest, _, _)| manifest.begin());
        let logged = survey(&logs, &deks, BACKEND, begin.as_ref());
        let logged = logged.map_err(|e| source(&format!("log: {e}")))?;
        let anchors = logs.anchors().map(|(n, b)| (n.to_owned(), b.to_vec()));
        let keys = |m: &checkpoint::Manifest| m.parts.iter().map(|p| p.keys).sum();
        Ok(Found {
            manifest: Manifest {
                id: id.to_owned(),
                node: hex(&deks.node()),
                parent: self.parent.as_ref().map(|p| p.id.clone()),
                begun,
                moment: now(),
                ended: 0,
                checkpoint: stands.as_ref().map(|(manifest, _, _)| manifest.number),
                keys: stands.as_ref().map_or(0, |(manifest, _, _)| keys(manifest)),
                files: Vec::new(),
            },
            anchors: anchors.collect(),
            checkpoint: stands.map(|(_, file, bytes)| (file, bytes)),
            parts,
            logs: logged,
        })
    }

    /// The parts of a checkpoint, if the parent has the same: they were authenticated then.
    fn known_parts(&self, file: &str, bytes: &[u8], number: u64) -> Option<Vec<Extent>> {
        let parent = self.parent.as_ref()?;
        let same = parent.file(&format!("checkpoint/{file}"))?;
        if same.len != bytes.len() as u64 || same.pieces != [digest(bytes)] {
            return None;
        }
        let mut parts = Vec::new();
        for entry in &parent.files {
            let Some(name) = entry.path.strip_prefix("checkpoint/") else {
                continue;
            };
            let segment = crate::log::format::parse_segment_name(name);
            if segment.is_none_or(|(of, _, _)| of != number) {
                continue;
            }
            parts.push(Extent {
                file: name.to_owned(),
                id: unhex(entry.segment.as_deref()?)?,
                len: entry.len,
            });
        }
        Some(parts)
    }

    /// Sends what is not there yet.
    fn copy(&mut self, found: Found) -> Result<Manifest, Failure> {
        self.vault.watch.total(found.bytes());
        let (log, checkpoints) = (self.data.join("log"), self.data.join("checkpoint"));
        let mut manifest = found.manifest;
        for (name, bytes) in &found.anchors {
            let file = self.small(format!("log/{name}"), bytes)?;
            manifest.files.push(file);
        }
        if let Some((name, bytes)) = &found.checkpoint {
            let file = self.small(format!("checkpoint/{name}"), bytes)?;
            manifest.files.push(file);
        }
        for (dir, path, extents) in [
            ("log", &log, &found.logs),
            ("checkpoint", &checkpoints, &found.parts),
        ] {
            let disk = RealDisk::for_reading(path);
            for extent in extents {
                manifest.files.push(self.segment(&disk, dir, extent)?);
            }
        }
        if let Some(bytes) = self.keyring_file()? {
            let whose = self.data.display().to_string();
            // Copied only if it opens.
            keyring(Some(&bytes), self.vault.provider.as_ref(), &whose).map_err(Failure::Final)?;
            let file = self.small(FILE_NAME.to_owned(), &bytes)?;
            manifest.files.push(file);
        }
        manifest.ended = now();
        Ok(manifest)
    }

    /// A file that is in memory.
    fn small(&mut self, path: String, bytes: &[u8]) -> Result<FileEntry, Failure> {
        let mut pieces = Vec::new();
        for bytes in bytes.chunks(PIECE) {
            pieces.push(self.send(bytes)?);
        }
        Ok(FileEntry {
            path,
            len: bytes.len() as u64,
            segment: None,
            pieces,
        })
    }

    /// A segment, as far as it counts.
    fn segment(
        &mut self,
        disk: &RealDisk,
        dir: &str,
        extent: &Extent,
    ) -> Result<FileEntry, Failure> {
        let path = format!("{dir}/{}", extent.file);
        let id = hex(&extent.id);
        let same = |entry: &&FileEntry| {
            let (segment, len) = (entry.segment.as_deref(), entry.len);
            (segment, len) == (Some(&*id), extent.len)
        };
        // No block of a segment is written twice: the same segment with the same length is the same.
        let known = self.parent.as_ref().and_then(|p| p.file(&path));
        if let Some(known) = known.filter(same)
            && known
                .ranges()
                .all(|(piece, range)| self.has(piece, range.end - range.start))
        {
            self.vault.watch.done(extent.len);
            return Ok(known.clone());
        }
        let io = |e: io::Error| Failure::Source(format!("{path}: {e}"));
        let gone = || Failure::Source(format!("{path}: it was given up while it was copied"));
        let file = disk.open(&extent.file).map_err(io)?;
        let mut pieces = Vec::new();
        let mut buf = vec![0; PIECE];
        let mut at = 0;
        while at < extent.len {
            let n = (extent.len - at).min(PIECE as u64) as usize;
            if read_fully(&file, &mut buf[..n], at).map_err(io)? < n {
                return Err(gone());
            }
            pieces.push(self.send(&buf[..n])?);
            at += n as u64;
        }
        // The first block goes first when a file is used for something else.
        let mut head = [0; BLOCK];
        read_fully(&file, &mut head, 0).map_err(io)?;
        match SegmentHeader::decode(&head) {
            Ok((_, salt, _)) if salt[..16] == extent.id => {}
            _ => return Err(gone()),
        }
        Ok(FileEntry {
            path,
            len: extent.len,
            segment: Some(id),
            pieces,
        })
    }

    fn has(&self, piece: &str, len: u64) -> bool {
        self.have.get(piece) == Some(&len)
    }

    /// Has a piece there, and returns its name.
    fn send(&mut self, bytes: &[u8]) -> Result<String, Failure> {
        let (name, len) = (digest(bytes), bytes.len() as u64);
        if !self.has(&name, len) {
            let file = piece_file(&name);
            let store = self.vault.store;
            let written = store.write(&file, bytes);
            written.map_err(|e| Failure::Final(told(store, &file, &e)))?;
            self.have.insert(name.clone(), len);
            self.sent += len;
        }
        self.vault.watch.done(len);
        Ok(name)
    }
}

fn read_fully(file: &impl DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

fn unhex(digits: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(bytes)
}
