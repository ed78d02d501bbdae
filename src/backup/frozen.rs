//! The directory of a log that is being written, with its anchors as they were when they were read: so what is found
//! there afterwards goes with the anchors that are copied.

use std::collections::BTreeMap;
use std::io;

use crate::disk::real::{RealDisk, RealFile};
use crate::disk::{Disk, DiskFile, Entry, Sealed, Work};

/// A directory of logs, for reading.
pub struct Frozen {
    disk: RealDisk,
    anchors: BTreeMap<String, Vec<u8>>,
}

impl Frozen {
    /// Reads the anchors.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn new(disk: RealDisk) -> io::Result<Frozen> {
        let mut anchors = BTreeMap::new();
        for Entry { name, .. } in disk.list()? {
            if name.ends_with(".anchor") {
                let file = disk.open(&name)?;
                let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
                let got = file.read_at(&mut bytes, 0)?;
                bytes.truncate(got);
                anchors.insert(name, bytes);
            }
        }
        Ok(Frozen { disk, anchors })
    }

    /// The anchors, by name.
    pub fn anchors(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.anchors.iter().map(|(name, bytes)| (&**name, &**bytes))
    }
}

impl Disk for Frozen {
    type File = FrozenFile;

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut found = self.disk.list()?;
        // An anchor that came later is of a log that has no data yet.
        found.retain(|e| !e.name.ends_with(".anchor") || self.anchors.contains_key(&e.name));
        Ok(found)
    }

    fn open(&self, name: &str) -> io::Result<FrozenFile> {
        match self.anchors.get(name) {
            Some(bytes) => Ok(FrozenFile::Anchor(bytes.clone())),
            None => self.disk.open(name).map(FrozenFile::Other),
        }
    }

    fn perform(&self, _: &Work) -> io::Result<Option<FrozenFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A file of it.
pub enum FrozenFile {
    /// An anchor, as it was read.
    Anchor(Vec<u8>),
    /// Another file, as it is.
    Other(RealFile),
}

impl DiskFile for FrozenFile {
    fn len(&self) -> io::Result<u64> {
        match self {
            FrozenFile::Anchor(bytes) => Ok(bytes.len() as u64),
            FrozenFile::Other(file) => file.len(),
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            FrozenFile::Other(file) => file.read_at(buf, offset),
            FrozenFile::Anchor(bytes) => {
                let from = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                let n = buf.len().min(bytes.len() - from);
                buf[..n].copy_from_slice(&bytes[from..from + n]);
                Ok(n)
            }
        }
    }

    fn write_at(&self, _: &Sealed, _: u64, _: bool) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
