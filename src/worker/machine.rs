//! What the machine and the allocator say of this process: memory, processor time, names.
//!
//! Sources: `proc(5)` (statm, meminfo, sys/kernel), `getrusage(2)`, and jemalloc's `stats.*`.

use std::fs;

/// What the allocator has, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator {
    /// Handed out.
    pub allocated: u64,
    /// In pages that hold something handed out.
    pub active: u64,
    /// In memory, its own bookkeeping included.
    pub resident: u64,
    /// Bookkeeping.
    pub metadata: u64,
}

/// Asks the allocator.
pub fn allocated() -> Allocator {
    use tikv_jemalloc_ctl::{epoch, stats};
    // The statistics are a snapshot that has to be renewed first; without one, what is known stays.
    let _ = epoch::advance();
    let or_zero = |n: tikv_jemalloc_ctl::Result<usize>| n.unwrap_or(0) as u64;
    Allocator {
        allocated: or_zero(stats::allocated::read()),
        active: or_zero(stats::active::read()),
        resident: or_zero(stats::resident::read()),
        metadata: or_zero(stats::metadata::read()),
    }
}

/// Makes the allocator give unused memory back to the system. Blocks for as long as that takes.
///
/// # Errors
/// What the allocator says.
pub fn purge() -> Result<(), String> {
    use tikv_jemalloc_ctl::{arenas, raw};
    let arenas = arenas::narenas::read().map_err(|e| format!("the allocator: {e}"))?;
    for arena in 0..arenas {
        // A decay time of zero gives back at once; then it is as it was before.
        for what in ["dirty", "muzzy"] {
            let name = format!("arena.{arena}.{what}_decay_ms\0");
            // SAFETY: both names mean an `ssize_t`. A number of an arena that has never been used
            // gives an error, and there is nothing to give back.
            unsafe {
                if let Ok(before) = raw::update::<isize>(name.as_bytes(), 0) {
                    let _ = raw::write::<isize>(name.as_bytes(), before);
                }
            }
        }
    }
    Ok(())
}

/// Memory of this process that is in memory, in bytes.
pub fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| {
            let field = text.split(' ').nth(1)?;
            field.parse::<u64>().ok()
        });
    // SAFETY: no pointers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.unwrap_or(0) * page.max(0) as u64
}

/// Memory of the machine, in bytes.
pub fn total_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        let rest = line.strip_prefix("MemTotal:")?.trim();
        rest.strip_suffix(" kB")?.parse::<u64>().ok()
    });
    kib.unwrap_or(0) * 1024
}

/// Operating system, release and architecture.
pub fn system() -> String {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/sys/kernel/{name}"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (kind, release) = (read("ostype"), read("osrelease"));
    format!("{kind} {release} {}", std::env::consts::ARCH)
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// In the kernel, in seconds.
    pub system_s: f64,
    /// In the program, in seconds.
    pub user_s: f64,
}

/// Whose processor time.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// The process, all threads.
    Process,
    /// The calling thread.
    Thread,
}

/// Processor time so far.
pub fn cpu_time(whose: Whose) -> CpuTime {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    // SAFETY: an all-zero `rusage` is one, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    CpuTime {
        system_s: seconds(usage.ru_stime),
        user_s: seconds(usage.ru_utime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_answers() {
        assert!(resident() > 1 << 20 && total_memory() > resident());
        assert!(system().starts_with("Linux "));
        let (thread, process) = (cpu_time(Whose::Thread), cpu_time(Whose::Process));
        assert!(thread.user_s <= process.user_s + process.system_s + 1.0);
    }
}
