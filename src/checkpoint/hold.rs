//! What keeps the files of a data directory as they are while somebody copies them.
//!
//! Who copies has the file `hold` beside the checkpoints locked, and while that is so, the server lets go of nothing: files of
//! the log that a checkpoint made superfluous are not recycled, older checkpoints not removed. That is done with the
//! next checkpoint. The lock is the kernel's and ends with the process that has it. A file that is being recycled when the
//! lock is taken shows it: its first block is blank before anything else of it changes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

const NAME: &str = "hold";

/// Holds the files of the data directory whose checkpoints are in `dir`, until it is dropped.
///
/// # Errors
/// The lock's file cannot be made or locked; [`io::ErrorKind::WouldBlock`] if somebody else holds them.
pub fn take(dir: &Path) -> io::Result<File> {
    // The server looks whether it is held by a lock of a moment.
    const TRIES: u32 = 20;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(dir.join(NAME))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Whether somebody holds the files.
pub fn is_held(dir: &Path) -> bool {
    match File::open(dir.join(NAME)) {
        // Shared, for several cores may look at the same time.
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_and_all_can_see_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_held(dir.path()));
        let first = take(dir.path()).unwrap();
        assert!(is_held(dir.path()) && is_held(dir.path()));
        let refused = take(dir.path()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(!is_held(dir.path()));
        drop(take(dir.path()).unwrap());
        take(&dir.path().join("missing")).unwrap_err();
    }
}
