//! Time as a core sees it: read once a tick for commands, and from the processor's counter for the
//! latency of each.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A core's clock.
pub struct Clock {
    start: Instant,
    /// Monotonic microseconds since the core started.
    pub now_us: u64,
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    /// Unix time in microseconds.
    pub unix_us: u64,
    ticks_at_start: u64,
    ns_per_tick: f64,
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Clock {
        let mut clock = Clock {
            start: Instant::now(),
            now_us: 0,
            unix_ms: 0,
            unix_us: 0,
            ticks_at_start: ticks(),
            ns_per_tick: 1.0,
        };
        // The counter's rate, from a short wait; refined at each `read` as the base line grows.
        std::thread::sleep(std::time::Duration::from_millis(2));
        clock.calibrate();
        clock.read();
        clock
    }

    /// Reads the time, once a tick.
    pub fn read(&mut self) {
        self.now_us = self.start.elapsed().as_micros() as u64;
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.unix_us = unix.as_micros() as u64;
        self.unix_ms = unix.as_millis() as u64;
    }

    /// Time since the last [`Clock::read`].
    pub fn since_read(&self) -> Duration {
        let now = self.start.elapsed();
        now.saturating_sub(Duration::from_micros(self.now_us))
    }

    /// Refines the counter's rate.
    pub fn calibrate(&mut self) {
        let ns = self.start.elapsed().as_nanos() as f64;
        let ticks = ticks().wrapping_sub(self.ticks_at_start);
        if ticks > 0 {
            self.ns_per_tick = ns / ticks as f64;
        }
    }

    /// Nanoseconds between two readings of [`ticks`].
    #[inline]
    pub fn ns(&self, ticks: u64) -> u64 {
        (ticks as f64 * self.ns_per_tick) as u64
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// The processor's time-stamp counter (constant rate on every x86-64 of the last decade), or the
/// monotonic clock where there is none.
#[inline]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: RDTSC exists on every x86-64 and has no effect but its result.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Monotonic nanoseconds from the first call on, for what is measured outside the rhythm of ticks.
pub fn nanos() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_convert_to_the_nanoseconds_that_passed() {
        let mut clock = Clock::new();
        let (t, i) = (ticks(), Instant::now());
        while i.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        let (counted, passed) = (ticks() - t, i.elapsed().as_nanos() as u64);
        clock.calibrate();
        let ns = clock.ns(counted);
        assert!(
            ns > passed / 2 && ns < passed * 2,
            "{ns} ns for {passed} ns"
        );
    }
}
