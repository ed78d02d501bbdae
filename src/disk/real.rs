//! A directory of the machine: O_DIRECT where the file system allows it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{AlignedBuf, BLOCK, Disk, DiskFile, Entry, Sealed, Work, context};

/// How much is written at once when a file is filled with zeros, in bytes.
const FILL: usize = 1 << 20;

static READ: AtomicU64 = AtomicU64::new(0);

/// Bytes that this process has read of files in directories of this kind.
pub fn bytes_read() -> u64 {
    READ.load(Ordering::Relaxed)
}

/// A directory, and whether its files are written past the page cache.
#[derive(Debug, Clone)]
pub struct RealDisk {
    dir: PathBuf,
    direct: Result<(), String>,
}

impl RealDisk {
    /// Opens the directory `dir`, making it (mode 0700) if it is not there, and tries whether its
    /// file system takes O_DIRECT writes of one block.
    pub fn open(dir: &Path) -> io::Result<RealDisk> {
        let name = dir.display().to_string();
        match std::fs::create_dir(dir) {
            Ok(()) => {
                std::fs::set_permissions(dir, Permissions::from_mode(0o700))
                    .map_err(|e| context(e, "set the mode of", &name))?;
                if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
                    sync_dir(parent)?;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(e) => return Err(context(e, "make the directory", &name)),
        }
        let mut disk = RealDisk {
            dir: dir.to_path_buf(),
            direct: Ok(()),
        };
        disk.direct = disk.probe()?;
        Ok(disk)
    }

    /// The directory `dir`, for those who only read in it: it is neither made nor tried out.
    pub fn for_reading(dir: &Path) -> RealDisk {
        RealDisk {
            dir: dir.to_path_buf(),
            direct: Err("nobody tried".to_owned()),
        }
    }

    /// Whether writes go past the page cache: if not, the reason, for the log. Nothing else
    /// changes: the same writes are made through the page cache, and synced all the same.
    pub fn direct(&self) -> Result<(), &str> {
        match &self.direct {
            Ok(()) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn probe(&self) -> io::Result<Result<(), String>> {
        let path = self.dir.join(format!("probe-{}.tmp", std::process::id()));
        let opened = options(true).create(true).truncate(true).open(&path);
        let tried = match opened {
            Ok(file) => file.write_all_at(&AlignedBuf::new(BLOCK), 0),
            Err(e) => Err(e),
        };
        let _ = std::fs::remove_file(&path); // absent if it could not be made
        match tried {
            Ok(()) => Ok(Ok(())),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(Err(format!(
                "the file system of {} refuses O_DIRECT",
                self.dir.display()
            ))),
            Err(e) => Err(context(
                e,
                "write a file in",
                &self.dir.display().to_string(),
            )),
        }
    }

    fn file(&self, name: &str, new: bool) -> io::Result<RealFile> {
        let mut options = options(self.direct.is_ok());
        options.create_new(new);
        let file = options
            .open(self.dir.join(name))
            .map_err(|e| context(e, if new { "create" } else { "open" }, name))?;
        Ok(RealFile {
            file,
            name: name.to_string(),
        })
    }

    /// Reserves `size` bytes, and writes those from `written` on if `prefill` says so.
    fn reserve(&self, f: &RealFile, size: u64, written: u64, prefill: bool) -> io::Result<()> {
        let length =
            i64::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: a plain system call on a descriptor that `f` keeps open; no memory is passed.
        let got = unsafe { libc::fallocate(f.file.as_raw_fd(), 0, 0, length) };
        let mut fill = prefill;
        if got != 0 {
            let e = io::Error::last_os_error();
            match e.raw_os_error() {
                // A file system without fallocate: written zeros reserve the space as well.
                Some(libc::EOPNOTSUPP) | Some(libc::ENOSYS) => fill = true,
                _ => return Err(context(e, "reserve space for", &f.name)),
            }
        }
        if fill && written < size {
            let zeros = AlignedBuf::new(FILL);
            let mut at = written;
            while at < size {
                let n = (size - at).min(FILL as u64) as usize;
                f.file
                    .write_all_at(&zeros[..n], at)
                    .map_err(|e| context(e, "fill", &f.name))?;
                at += n as u64;
            }
        }
        f.file.sync_all().map_err(|e| context(e, "sync", &f.name))
    }

    fn create(&self, name: &str, size: u64, prefill: bool) -> io::Result<RealFile> {
        let file = self.file(name, true)?;
        match self
            .reserve(&file, size, 0, prefill)
            .and_then(|()| sync_dir(&self.dir))
        {
            Ok(()) => Ok(file),
            Err(e) => {
                // Half a file helps nobody, and on a full disk it is in the way.
                let _ = std::fs::remove_file(self.dir.join(name));
                Err(e)
            }
        }
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn list(&self) -> io::Result<Vec<Entry>> {
        let dir = self.dir.display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(|e| context(e, "list", &dir))? {
            let entry = entry.map_err(|e| context(e, "list", &dir))?;
            let meta = entry
                .metadata()
                .map_err(|e| context(e, "look at a file in", &dir))?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                found.push(Entry {
                    name,
                    len: meta.len(),
                });
            }
        }
        Ok(found)
    }

    fn open(&self, name: &str) -> io::Result<RealFile> {
        // Through the page cache: recovery reads in order, and the kernel reads ahead.
        let file = File::open(self.dir.join(name)).map_err(|e| context(e, "open", name))?;
        Ok(RealFile {
            file,
            name: name.to_string(),
        })
    }

    fn perform(&self, work: &Work) -> io::Result<Option<RealFile>> {
        match work {
            Work::Create {
                name,
                size,
                prefill,
            } => self.create(name, *size, *prefill).map(Some),
            Work::Recycle {
                from,
                name,
                size,
                prefill,
            } => {
                let file = self.file(from, false)?;
                let had = file.len()?;
                file.file
                    .write_all_at(&AlignedBuf::new(BLOCK), 0)
                    .map_err(|e| context(e, "blank", from))?;
                if had > *size {
                    file.file
                        .set_len(*size)
                        .map_err(|e| context(e, "shorten", from))?;
                }
                self.reserve(&file, *size, had / BLOCK as u64 * BLOCK as u64, *prefill)?;
                if self.dir.join(name).exists() {
                    let e = io::Error::from(io::ErrorKind::AlreadyExists);
                    return Err(context(e, "recycle a file as", name));
                }
                std::fs::rename(self.dir.join(from), self.dir.join(name))
                    .map_err(|e| context(e, "rename", from))?;
                sync_dir(&self.dir)?;
                Ok(Some(RealFile {
                    name: name.clone(),
                    ..file
                }))
            }
            Work::Obtain { name, size } => match self.file(name, false) {
                Ok(file) if file.len()? == *size => Ok(Some(file)),
                Ok(file) => {
                    // What is there stays: it may be the only record of what was durable.
                    let had = file.len()? / BLOCK as u64 * BLOCK as u64;
                    self.reserve(&file, *size, had, true)?;
                    file.file
                        .set_len(*size)
                        .map_err(|e| context(e, "resize", name))?;
                    file.sync()?;
                    Ok(Some(file))
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.create(name, *size, true).map(Some)
                }
                Err(e) => Err(e),
            },
            Work::Rename { from, name } => {
                let file = self.file(from, false)?;
                std::fs::rename(self.dir.join(from), self.dir.join(name))
                    .map_err(|e| context(e, "rename", from))?;
                sync_dir(&self.dir)?;
                Ok(Some(RealFile {
                    name: name.clone(),
                    ..file
                }))
            }
            Work::Remove { name } => match std::fs::remove_file(self.dir.join(name)) {
                Ok(()) => sync_dir(&self.dir).map(|()| None),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(context(e, "remove", name)),
            },
        }
    }
}

fn options(direct: bool) -> OpenOptions {
    let mut o = OpenOptions::new();
    o.read(true).write(true).mode(0o600);
    o.custom_flags(libc::O_CLOEXEC | if direct { libc::O_DIRECT } else { 0 });
    o
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let name = dir.display().to_string();
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| context(e, "sync the directory", &name))
}

/// An open file of a [`RealDisk`].
#[derive(Debug)]
pub struct RealFile {
    file: File,
    name: String,
}

impl RealFile {
    /// The descriptor, to register with a ring.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The file's name in its directory.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl AsRawFd for RealFile {
    fn as_raw_fd(&self) -> RawFd {
        self.raw_fd()
    }
}

impl From<RealFile> for OwnedFd {
    fn from(f: RealFile) -> OwnedFd {
        f.file.into()
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self
            .file
            .metadata()
            .map_err(|e| context(e, "look at", &self.name))?
            .len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buf.len() {
            match self.file.read_at(&mut buf[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(context(e, "read", &self.name)),
            }
        }
        READ.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }

    fn write_at(&self, data: &Sealed, offset: u64, dsync: bool) -> io::Result<usize> {
        self.file
            .write_all_at(data.bytes(), offset)
            .map_err(|e| context(e, "write", &self.name))?;
        if dsync {
            self.sync()?;
        }
        Ok(data.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.file
            .sync_data()
            .map_err(|e| context(e, "sync", &self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(byte: u8) -> Sealed {
        let mut b = AlignedBuf::new(BLOCK);
        b.fill(byte);
        Sealed::vouch(b, 0, BLOCK)
    }

    #[test]
    fn files_are_made_written_recycled_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&dir.path().join("log")).unwrap();
        let size = 3 * BLOCK as u64;
        let create = Work::Create {
            name: "a".into(),
            size,
            prefill: true,
        };
        let a = disk.perform(&create).unwrap().unwrap();
        assert_eq!(a.len().unwrap(), size);
        assert_eq!(a.write_at(&sealed(7), BLOCK as u64, true).unwrap(), BLOCK);
        assert_eq!(
            disk.perform(&create).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let recycle = Work::Recycle {
            from: "a".into(),
            name: "b".into(),
            size: 2 * size,
            prefill: true,
        };
        let b = disk.perform(&recycle).unwrap().unwrap();
        assert_eq!((b.name(), b.len().unwrap()), ("b", 2 * size));
        let mut got = vec![0; 2 * BLOCK];
        assert_eq!(
            disk.open("b").unwrap().read_at(&mut got, 0).unwrap(),
            2 * BLOCK
        );
        assert!(got[..BLOCK].iter().all(|&x| x == 0) && got[BLOCK..].iter().all(|&x| x == 7));
        assert_eq!(
            disk.list().unwrap(),
            [Entry {
                name: "b".into(),
                len: 2 * size
            }]
        );
        disk.perform(&Work::Remove { name: "b".into() }).unwrap();
        disk.perform(&Work::Remove { name: "b".into() }).unwrap();
        assert!(disk.list().unwrap().is_empty());
    }

    #[test]
    fn what_is_made_is_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&dir.path().join("log")).unwrap();
        disk.perform(&Work::Obtain {
            name: "x".into(),
            size: 8192,
        })
        .unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(disk.dir()), 0o700);
        assert_eq!(mode(&disk.dir().join("x")), 0o600);
    }

    #[test]
    fn errors_name_the_file_and_keep_their_kind() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let e = disk.open("gone.seg").unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::NotFound);
        assert!(e.to_string().contains("cannot open gone.seg"), "{e}");
    }
}
