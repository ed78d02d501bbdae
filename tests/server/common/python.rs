//! The Python that has the client libraries: `FERRITE_PYTHON`, or the virtual environment below `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The interpreter. Absent, it fails the test: what is not run proves nothing.
pub fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("FERRITE_PYTHON") {
        return path.into();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    assert!(
        here.exists(),
        "no Python with the packages redis and cryptography: run scripts/test, which makes {}, or name one in FERRITE_PYTHON",
        here.display()
    );
    here
}

/// Runs a script of `tests/` and returns what it printed; its failure fails the test.
#[track_caller]
pub fn run(script: &str, args: &[&std::ffi::OsStr]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(script);
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(python())
        .arg("-B")
        .arg(&path)
        .args(args)
        .output()
        .expect("Python runs");
    let out = String::from_utf8_lossy(&stdout).into_owned();
    let err = String::from_utf8_lossy(&stderr);
    assert!(
        status.success(),
        "{script} failed ({status}):\n{out}\n{err}"
    );
    out
}
