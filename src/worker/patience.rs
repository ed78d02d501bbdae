//! How long a core waits for more requests before it serves those it has.
//!
//! Serving many requests together costs less processor time each: one system call, warm caches, one
//! wake-up of the peer. But a request that waits for company is answered later. So a core waits only
//! when it is busy, for it is then that time saved is latency saved for those who come next; and it
//! waits for a share of the clients that were active a moment ago, so that one lone client waits for
//! nobody. A core that idles most of the time answers at once.

use std::time::Duration;

/// Below this share of a processor a core does not wait; above [`BUSY`] it waits for the whole time
/// that is allowed, in between for a part of it.
const CALM: f32 = 0.50;
const BUSY: f32 = 0.65;
/// Requests that are waited for at most.
const MOST: usize = 32;

/// What a core knows of its own load.
pub struct Patience {
    /// The millisecond that is counted now.
    window: u64,
    /// Clients that sent something in it, and in the one before.
    now: usize,
    before: usize,
    /// The share of a processor this thread used lately.
    busy: f32,
    /// When and at what processor time it was last taken, in microseconds.
    taken: (u64, u64),
}

impl Patience {
    /// That of a core that has done nothing yet.
    pub fn new() -> Patience {
        Patience {
            window: 0,
            now: 0,
            before: 0,
            busy: 0.0,
            taken: (0, 0),
        }
    }

    /// Counts a client that sent something; `seen` is the last millisecond it was counted in.
    pub fn active(&mut self, seen: &mut u64, now_us: u64) {
        let window = now_us / 1000;
        if window != self.window {
            let follows = window == self.window + 1;
            self.before = if follows { self.now } else { 0 };
            self.now = 0;
            self.window = window;
            self.weigh(now_us, thread_cpu_us());
        }
        if *seen != window {
            *seen = window;
            self.now += 1;
        }
    }

    fn weigh(&mut self, now_us: u64, cpu_us: u64) {
        let (at, cpu) = self.taken;
        self.taken = (now_us, cpu_us);
        let passed = now_us.saturating_sub(at).max(1);
        let share = (cpu_us.saturating_sub(cpu) as f32 / passed as f32).min(1.0);
        // Some eight milliseconds of memory; after a pause none.
        let weight = if passed < 8000 { 0.125 } else { 1.0 };
        self.busy += (share - self.busy) * weight;
    }

    /// How many requests are worth waiting for, and how long; one, and no time, if none is.
    pub fn wait(&self, most: Duration) -> (usize, Duration) {
        let target = (self.before.max(self.now) / 2).min(MOST);
        let share = ((self.busy - CALM) / (BUSY - CALM)).clamp(0.0, 1.0);
        let time = most.mul_f32(share);
        // A wait of a few microseconds costs more than it brings.
        if target > 1 && time * 4 >= most && !most.is_zero() {
            (target, time)
        } else {
            (1, Duration::ZERO)
        }
    }
}

/// Processor time of this thread in microseconds, the kernel's work for it included.
fn thread_cpu_us() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec, which lives on this stack. It cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(50);

    fn at_load(clients: usize, share: f32) -> Patience {
        let mut patience = Patience::new();
        let mut seen = vec![u64::MAX; clients];
        for ms in 1..100u64 {
            for seen in &mut seen {
                patience.active(seen, ms * 1000);
            }
            patience.busy = share;
        }
        patience
    }

    #[test]
    fn a_lone_client_waits_for_nobody() {
        assert_eq!(at_load(1, 1.0).wait(MAX), (1, Duration::ZERO));
    }

    #[test]
    fn many_clients_on_a_busy_core_are_served_together() {
        assert_eq!(at_load(50, 0.9).wait(MAX), (25, MAX));
        assert_eq!(at_load(500, 0.9).wait(MAX), (MOST, MAX));
    }

    #[test]
    fn a_core_with_time_to_spare_answers_at_once() {
        assert_eq!(at_load(50, 0.2).wait(MAX), (1, Duration::ZERO));
        let (target, time) = at_load(50, 0.6).wait(MAX);
        assert!(target == 25 && time > Duration::ZERO && time < MAX);
    }

    #[test]
    fn no_wait_allowed_is_no_wait() {
        assert_eq!(at_load(50, 1.0).wait(Duration::ZERO), (1, Duration::ZERO));
    }

    #[test]
    fn the_load_is_the_share_of_processor_time_that_was_used() {
        let mut patience = Patience::new();
        for ms in 1..200u64 {
            patience.weigh(ms * 1000, ms * 600);
        }
        assert!((patience.busy - 0.6).abs() < 0.01, "{}", patience.busy);
        // Idle for a second: forgotten at once.
        patience.weigh(1_200_000, 120_000);
        assert!(patience.busy < 0.01, "{}", patience.busy);
    }
}
