//! A directory of a backup, as a disk for reading: every piece is checked against its digest when it is read.

use std::io;
use std::sync::Mutex;

use super::{FileEntry, Manifest, Store, digest, piece_file};
use crate::disk::{Disk, DiskFile, Entry, Sealed, Work};

/// One directory of a backup.
pub struct View<'a> {
    store: &'a dyn Store,
    manifest: &'a Manifest,
    /// With its slash.
    dir: &'static str,
}

/// A piece of a backup, checked.
///
/// # Errors
/// It cannot be read, or is not what it was.
pub fn piece(store: &dyn Store, name: &str, len: u64) -> io::Result<Vec<u8>> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = match store.read(&piece_file(name)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(damaged(format!("piece {name} is missing")));
        }
        read => read?,
    };
    if bytes.len() as u64 != len {
        let have = bytes.len();
        return Err(damaged(format!(
            "piece {name} is damaged: it has {have} bytes instead of {len}"
        )));
    }
    match digest(&bytes) == name {
        true => Ok(bytes),
        false => Err(damaged(format!(
            "piece {name} is damaged: its digest is another"
        ))),
    }
}

/// A file of a backup, whole. It is a small one.
///
/// # Errors
/// A piece is not what it was.
pub fn whole(store: &dyn Store, file: &FileEntry) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (name, range) in file.ranges() {
        bytes.extend(piece(store, name, range.end - range.start)?);
    }
    Ok(bytes)
}

impl<'a> View<'a> {
    /// `log/` or `checkpoint/` of a backup.
    pub fn new(store: &'a dyn Store, manifest: &'a Manifest, dir: &'static str) -> View<'a> {
        View {
            store,
            manifest,
            dir,
        }
    }
}

impl<'a> Disk for View<'a> {
    type File = ViewFile<'a>;

    fn list(&self) -> io::Result<Vec<Entry>> {
        let named = |file: &FileEntry| {
            let name = file.path.strip_prefix(self.dir)?.to_owned();
            Some(Entry {
                name,
                len: file.len,
            })
        };
        Ok(self.manifest.files.iter().filter_map(named).collect())
    }

    fn open(&self, name: &str) -> io::Result<ViewFile<'a>> {
        let path = format!("{}{name}", self.dir);
        let entry = self.manifest.file(&path);
        Ok(ViewFile {
            store: self.store,
            entry: entry.ok_or(io::ErrorKind::NotFound)?,
            last: Mutex::default(),
        })
    }

    fn perform(&self, _: &Work) -> io::Result<Option<ViewFile<'a>>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A file of a backup.
pub struct ViewFile<'a> {
    store: &'a dyn Store,
    entry: &'a FileEntry,
    /// The piece that was read last, and its number.
    last: Mutex<Option<(usize, Vec<u8>)>>,
}

impl DiskFile for ViewFile<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.entry.len)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut last = match self.last.lock() {
            Ok(last) => last,
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut filled = 0;
        for (i, (name, range)) in self.entry.ranges().enumerate() {
            let at = offset + filled as u64;
            if filled == buf.len() || at < range.start || at >= range.end {
                continue;
            }
            if last.as_ref().is_none_or(|(have, _)| *have != i) {
                *last = Some((i, piece(self.store, name, range.end - range.start)?));
            }
            if let Some((_, bytes)) = &*last {
                let from = (at - range.start) as usize;
                let n = (bytes.len() - from).min(buf.len() - filled);
                buf[filled..filled + n].copy_from_slice(&bytes[from..from + n]);
                filled += n;
            }
        }
        Ok(filled)
    }

    fn write_at(&self, _: &Sealed, _: u64, _: bool) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
