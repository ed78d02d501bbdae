//! A log that was in use and is gone is missed: the server does not start empty in its place.
//!
//! The keyring knows what was sealed under each Dek. The first use of a Dek of the log stands in the keyring's file before
//! anybody is served ([`note`]), and by then the log has files. So where a Dek was used and the log's directory holds
//! nothing of a log, it was taken away ([`check`]). A crash before that leaves Deks that were never used, and an empty
//! directory is what there was. A log that is there in part is the log's own matter, whose anchors and openings name
//! what belongs to it.

use std::io;
use std::path::Path;

use crate::envelope::{FILE_NAME, Keyring, Purpose};
use crate::log::is_log_file;
use crate::worker::logdrive::OpenLog;

/// Looks for the log in the data directory `dir` that the keyring tells of. `given_up` says that it is known to be gone.
///
/// # Errors
/// What is missing, and what to do; or that nothing is to be given up.
pub fn check(dir: &Path, keyring: &Keyring, given_up: bool) -> Result<(), String> {
    let log = dir.join("log");
    let there = holds_log(&log).map_err(|e| format!("log {}: {e}", log.display()))?;
    if given_up {
        return match there {
            true => Err(format!(
                "log {}: it is there, and not to be given up: start without --give-up-log",
                log.display()
            )),
            false => Ok(()),
        };
    }
    let deks = keyring.list();
    let used = |purpose: Purpose| {
        let deks = deks.iter().filter(move |dek| dek.purpose == purpose);
        deks.filter(|dek| dek.messages > 0)
    };
    let Some(first) = used(Purpose::Aof).min_by_key(|dek| dek.created_ms) else {
        return Ok(());
    };
    if there {
        return Ok(());
    }
    let cores = used(Purpose::Aof).map(|dek| dek.core).max().unwrap_or(0) + 1;
    Err(format!(
        "log {}: it is missing or empty, and the keyring {} shows that it was in use (by {cores} core{}, first under Dek \
         {}). Restore it from a backup; or, if what it held is to be given up, start once with --give-up-log",
        log.display(),
        dir.join(FILE_NAME).display(),
        if cores == 1 { "" } else { "s" },
        first.id,
    ))
}

fn holds_log(dir: &Path) -> io::Result<bool> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_name().to_str().is_some_and(is_log_file) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes what was sealed to open these logs. It stands in the keyring's file when this returns, if it was the first use
/// of a Dek.
///
/// # Errors
/// Why the keyring could not be written.
pub fn note<'l>(
    logs: impl Iterator<Item = &'l mut OpenLog>,
    keyring: &mut Keyring,
) -> Result<(), String> {
    logs.for_each(|log| log.note_usage(keyring));
    keyring.save_first_use().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::envelope::provider::file::FileProvider;
    use crate::seal::{Algorithm, Secret32};

    const AES: Algorithm = Algorithm::Aes256Gcm;

    fn open(dir: &Path) -> Keyring {
        let kek = Arc::new(FileProvider::new(Secret32::take(&mut [1; 32])));
        Keyring::open(dir, kek, 1000).unwrap()
    }

    /// What a crash may leave before the first use is noted is no lost log; afterwards a log that is not there is one.
    #[test]
    fn a_log_is_missed_from_its_first_use_on() {
        let home = tempfile::tempdir().unwrap();
        let (dir, log) = (home.path(), home.path().join("log"));
        check(dir, &open(dir), false).unwrap();
        let mut keyring = open(dir);
        let dek = keyring.active(Purpose::Aof, 0, AES, 1000).unwrap();
        keyring.active(Purpose::Aof, 1, AES, 1000).unwrap();
        check(dir, &open(dir), false).unwrap();
        std::fs::create_dir(&log).unwrap();
        check(dir, &open(dir), false).unwrap();

        let generation = keyring.generation();
        keyring.note_usage(&dek.id, 4096, 1);
        keyring.save_first_use().unwrap();
        assert_eq!(keyring.generation(), generation + 1);
        for _ in 0..2 {
            let refusal = check(dir, &open(dir), false).unwrap_err();
            for word in [log.to_str().unwrap(), "keyring", "backup", "by 1 core,"] {
                assert!(refusal.contains(word), "{refusal}");
            }
            // A file of another kind is no log.
            std::fs::write(log.join("note.txt"), "gone").unwrap();
        }
        for file in ["00000.anchor", "0000000007-00001-0000000003.seg"] {
            check(dir, &open(dir), true).unwrap();
            std::fs::write(log.join(file), "").unwrap();
            check(dir, &open(dir), true).unwrap_err();
            check(dir, &open(dir), false).unwrap();
            std::fs::remove_file(log.join(file)).unwrap();
        }

        // Only the first use is worth a write of its own.
        keyring.note_usage(&dek.id, 4096, 1);
        keyring.save_first_use().unwrap();
        assert_eq!(keyring.generation(), generation + 1);
        // Without encryption there is no keyring to tell of anything.
        check(dir, &Keyring::unencrypted(), false).unwrap();
    }
}
