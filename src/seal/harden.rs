//! Process-wide protection of memory that holds secrets and plaintext.

use std::io;

/// What [`harden`] achieved.
#[derive(Debug)]
pub struct Hardening {
    /// Core dumps are switched off, and other processes of the same user cannot attach or read our memory
    /// (`PR_SET_DUMPABLE`). Holds the reason if the kernel refused.
    pub undumpable: io::Result<()>,
    /// The core file size limit is zero (`RLIMIT_CORE`). Holds the reason if the kernel refused.
    pub no_core_files: io::Result<()>,
}

/// Switches off core dumps and attaching for this process and what it starts. To be called once, first thing
/// at boot, before any secret is read: round keys and the data itself lie on the ordinary heap, which only
/// this keeps out of a core file.
pub fn harden() -> Hardening {
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    let dumpable = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let undumpable = result(dumpable);
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is a valid rlimit that outlives the call.
    let limited = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    Hardening {
        undumpable,
        no_core_files: result(limited),
    }
}

fn result(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
