//! Process-wide protection of memory that holds secrets and plaintext.

use std::io;

/// What [`harden`] achieved.
#[derive(Debug)]
pub struct Hardening {
    /// Core dumps are switched off, and other processes of the same user cannot attach or read our
    /// memory (`PR_SET_DUMPABLE`). Holds the reason if the kernel refused.
    pub undumpable: io::Result<()>,
    /// The core file size limit is zero (`RLIMIT_CORE`). Holds the reason if the kernel refused.
    pub no_core_files: io::Result<()>,
}

/// Switches off core dumps and attaching for this process and what it starts. To be called once,
/// first thing at boot, before any secret is read: round keys and the data itself lie on the
/// ordinary heap, which only this keeps out of a core file.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that afterwards the kernel says that this process leaves no core and lets nobody
    /// attach.
    #[test]
    fn the_kernel_confirms_it() {
        let done = harden();
        done.undumpable.expect("no privilege is needed");
        done.no_core_files.expect("no privilege is needed");
        // SAFETY: PR_GET_DUMPABLE takes nothing and returns a number.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
        let mut limit = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 1,
        };
        // SAFETY: `limit` is a valid rlimit that the call fills in.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &mut limit) }, 0);
        assert_eq!((limit.rlim_cur, limit.rlim_max), (0, 0));
    }
}
