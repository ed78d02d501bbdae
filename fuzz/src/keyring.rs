//! The keyring file: opened or refused. Its checksum is made right, so that what lies behind it is reached.

use std::sync::{Arc, OnceLock};

use ferrite_server::envelope::provider::FileProvider;
use ferrite_server::envelope::{FILE_NAME, Keyring, Provider};
use ferrite_server::seal::Secret32;
use tempfile::TempDir;

fn kek() -> Arc<dyn Provider> {
    Arc::new(FileProvider::new(Secret32::take(&mut [1; 32])))
}

/// A directory, and a whole keyring that was made there.
fn home() -> &'static (TempDir, Vec<u8>) {
    static HOME: OnceLock<(TempDir, Vec<u8>)> = OnceLock::new();
    HOME.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Keyring::open(dir.path(), kek(), 1).expect("an empty directory gets a keyring");
        let file = std::fs::read(dir.path().join(FILE_NAME)).expect("the keyring");
        (dir, file)
    })
}

/// One input.
pub fn check(data: &[u8]) {
    let (dir, whole) = home();
    // Either all of it, or a whole one with some bytes replaced: a place (2 bytes), then a byte.
    let mut file = match data.split_first() {
        Some((0, rest)) => rest.to_vec(),
        Some((_, rest)) => {
            let mut file = whole.clone();
            for edit in rest.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % file.len();
                file[at] ^= edit[2];
            }
            file
        }
        None => return,
    };
    if let Some(end) = file.len().checked_sub(4) {
        let crc = crc32c::crc32c(&file[..end]);
        file[end..].copy_from_slice(&crc.to_be_bytes());
    }
    std::fs::write(dir.path().join(FILE_NAME), &file).expect("written");
    if let Ok(keyring) = Keyring::open(dir.path(), kek(), 2) {
        assert_eq!(&file, whole, "a keyring that was altered was believed");
        assert!(keyring.list().is_empty());
    }
}
