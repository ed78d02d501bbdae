//! Places that backups are kept in, behind one small trait: whole files by name, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{BACKUPS, PIECES};
use crate::disk::real::sync_dir;

/// A place of backups. Names have one directory and a name in it.
pub trait Store: Send + Sync {
    /// What people call it.
    fn place(&self) -> &str;
    /// The files in one of its directories, with their lengths; none if there is no such directory.
    ///
    /// # Errors
    /// As of the place.
    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>>;
    /// A file.
    ///
    /// # Errors
    /// As of the place; [`io::ErrorKind::NotFound`] if it is not there.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Puts a file there: from the return on it is durable and whole, and before that it is not there.
    ///
    /// # Errors
    /// As of the place.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file; fine if it is not there.
    ///
    /// # Errors
    /// As of the place.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Keeps others from removing (`alone` is false) or from doing anything (true) here, where the place can do that.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody is at work here.
    fn lock(&self, alone: bool) -> io::Result<Option<File>>;
}

/// A directory of the machine, or of what is mounted there.
pub struct Directory {
    dir: PathBuf,
    place: String,
}

impl Directory {
    /// The directory, which has to be there.
    ///
    /// # Errors
    /// It is not a directory.
    pub fn open(dir: &Path) -> io::Result<Directory> {
        match fs::metadata(dir)?.is_dir() {
            true => Ok(Directory {
                dir: dir.to_owned(),
                place: dir.display().to_string(),
            }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory, which is made if it is not there.
    ///
    /// # Errors
    /// As of the file system.
    pub fn make(dir: &Path) -> io::Result<Directory> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700);
        for dir in [dir, &dir.join(PIECES), &dir.join(BACKUPS)] {
            make.create(dir)?;
        }
        sync_dir(dir)?;
        Directory::open(dir)
    }

    fn split(&self, name: &str) -> (PathBuf, PathBuf) {
        let path = self.dir.join(name);
        let dir = path.parent().unwrap_or(&self.dir).to_owned();
        (path, dir)
    }
}

impl Store for Directory {
    fn place(&self) -> &str {
        &self.place
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let entries = match fs::read_dir(self.dir.join(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let meta = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                found.push((name, meta.len()));
            }
        }
        Ok(found)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, dir) = self.split(name);
        // Beside its name first. What a crash leaves there is seen by its name, and goes when the place is pruned.
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&temporary, &path));
        if renamed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        renamed?;
        sync_dir(&dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (path, dir) = self.split(name);
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.and_then(|()| sync_dir(&dir)),
        }
    }

    fn lock(&self, alone: bool) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(self.dir.join("lock"))?;
        let locked = match alone {
            true => file.try_lock(),
            false => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process makes or removes backups here",
            )),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}
