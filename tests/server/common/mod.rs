//! What every black-box test stands on: a server of its own in a directory of its own, an authority of its own, and
//! a client that says exactly which bytes go over the wire.
//!
//! Laws: each test starts what it needs on free loopback ports and ends only that, by process id; nothing is left
//! behind; no time decides a test except bounds so wide that passing them means the server hangs.

pub mod certs;
pub mod peer;
pub mod proxy;
pub mod python;
pub mod random;
pub mod server;
pub mod slots;
pub mod wire;

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen at once: passing it means that it never will.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `check` gives something, or panics after [`PATIENCE`] saying `what` did not happen.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: did not happen in {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether `needle` stands anywhere in `hay`.
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else {
        return true;
    };
    let mut rest = hay;
    while let Some(at) = rest.iter().position(|&b| b == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Every regular file below `dir`, with its content.
pub fn files_below(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) => panic!("{}: {e}", dir.display()),
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                todo.push(entry.path());
            } else if kind.is_file() {
                // A running server may have removed it meanwhile.
                if let Ok(content) = std::fs::read(entry.path()) {
                    out.push((entry.path(), content));
                }
            }
        }
    }
    out.sort();
    out
}
