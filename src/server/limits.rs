//! What the operating system allows the process: memory to lock, files to open, io_uring.

use std::io;

/// What one core's executor locks (its rings' registered memory), in bytes.
const MEMLOCK: u64 = 512 * 1024;
/// Descriptors beside those of clients: rings, log files, listeners.
const OTHER_FILES: u64 = 256;

fn limit(what: u32) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one rlimit to a local.
    if unsafe { libc::getrlimit(what, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

/// Raises a soft limit towards `wanted`; what it is afterwards.
fn raise(what: u32, wanted: u64) -> io::Result<u64> {
    let mut limit = limit(what)?;
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: reads one rlimit from a local.
        if unsafe { libc::setrlimit(what, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The hard limit too, where we may.
        if limit.rlim_cur < wanted {
            let more = libc::rlimit {
                rlim_cur: wanted,
                rlim_max: wanted,
            };
            // SAFETY: as above.
            if unsafe { libc::setrlimit(what, &more) } == 0 {
                return Ok(wanted);
            }
        }
    }
    Ok(limit.rlim_cur)
}

/// Sees to the limits of `cores` cores and `clients` clients.
///
/// # Errors
/// Which limit is too low, what it is, what it must be and how to raise it.
pub fn prepare(cores: u64, clients: u64) -> Result<(), String> {
    let wanted = MEMLOCK * cores;
    let memlock = raise(libc::RLIMIT_MEMLOCK, wanted).map_err(|e| e.to_string())?;
    if memlock < wanted {
        return Err(format!(
            "the limit of locked memory is {memlock} bytes and {cores} cores need {wanted}: raise it with \
             'ulimit -l {}', LimitMEMLOCK= in systemd, or --ulimit memlock= in a container",
            wanted / 1024
        ));
    }
    let wanted = clients + OTHER_FILES + 64 * cores;
    let files = raise(libc::RLIMIT_NOFILE, wanted).map_err(|e| e.to_string())?;
    if files < wanted {
        return Err(format!(
            "the limit of open files is {files} and server.maxclients = {clients} needs {wanted}: raise it \
             with 'ulimit -n {wanted}' or LimitNOFILE= in systemd, or lower server.maxclients"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_cannot_be_met_is_named() {
        let error = prepare(1, 1 << 40).unwrap_err();
        assert!(
            error.contains("server.maxclients") && error.contains("ulimit -n"),
            "{error}"
        );
    }
}
