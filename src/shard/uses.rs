//! How a key's use is noted: 24 bits beside it, as a time or as a frequency.
//!
//! Promise: the note costs a write only when it changes, and its meaning follows the eviction policy: the seconds of the
//! last use, or for the LFU policies 16 bits of minutes and 8 bits of a counter that grows by the logarithm of the uses
//! and shrinks with time. After a change of policy the notes need a while to come right, as in Redis.
//!
//! Source: Redis, "Key eviction", the LFU mode.

use super::value::Ms;

pub(super) const CLOCK_MASK: u32 = 0xff_ffff;
/// The counter of a new key: high enough that it is not the first to go.
const FRESH: u32 = 5;

/// The access clock: unix seconds, the low 24 bits.
#[inline]
pub(super) fn clock(now: Ms) -> u32 {
    (now / 1000) as u32 & CLOCK_MASK
}

/// How frequencies are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// How much rarer each next count is (Redis: `lfu-log-factor`).
    pub log_factor: u32,
    /// Minutes after which a counter that is not used loses one; 0: never (Redis: `lfu-decay-time`).
    pub decay_minutes: u32,
}

/// What is said of a key's use by who brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// For so many seconds it has not been used.
    Idle(u64),
    /// Its counter of uses.
    Frequency(u8),
}

/// Makes the notes.
#[derive(Debug)]
pub(super) struct Uses {
    pub(super) frequency: Option<Frequency>,
    /// No use is noted earlier than this.
    pub(super) floor: Ms,
    dice: u64,
}

impl Uses {
    pub(super) fn new(seed: u64) -> Uses {
        Uses {
            frequency: None,
            floor: 0,
            dice: seed | 1,
        }
    }

    /// The note of a key that is made.
    #[inline]
    pub(super) fn fresh(&self, now: Ms) -> u32 {
        let now = now.max(self.floor);
        match self.frequency {
            None => clock(now),
            Some(_) => minutes(now) << 8 | FRESH,
        }
    }

    /// The note of a key that is used, from the one it had.
    #[inline]
    pub(super) fn used(&mut self, before: u32, now: Ms) -> u32 {
        let now = now.max(self.floor);
        match self.frequency {
            None => clock(now),
            Some(frequency) => self.count(before, now, frequency),
        }
    }

    fn count(&mut self, before: u32, now: Ms, frequency: Frequency) -> u32 {
        let counter = decayed(before, now, frequency);
        // xorshift64 (G. Marsaglia, 2003)
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let above = u64::from(counter.saturating_sub(FRESH));
        let odds = above * u64::from(frequency.log_factor) + 1;
        let grows = counter < 255 && (self.dice >> 16).is_multiple_of(odds);
        minutes(now) << 8 | (counter + u32::from(grows))
    }

    /// The note of a key of which somebody says when it was last used, or how often it is, as far as that is what is
    /// noted.
    pub(super) fn said(&self, said: Said, before: u32, now: Ms) -> u32 {
        let now = now.max(self.floor);
        match (said, self.frequency) {
            (Said::Idle(secs), None) => clock(now).wrapping_sub(secs as u32) & CLOCK_MASK,
            (Said::Frequency(count), Some(_)) => minutes(now) << 8 | u32::from(count),
            _ => before,
        }
    }

    /// Seconds since the last use, where times are noted.
    pub(super) fn idle(&self, note: u32, now: Ms) -> u64 {
        u64::from(clock(now).wrapping_sub(note) & CLOCK_MASK)
    }

    /// The counter as it is now, where frequencies are noted.
    pub(super) fn frequency(&self, note: u32, now: Ms) -> Option<u8> {
        let frequency = self.frequency?;
        Some(decayed(note, now, frequency) as u8)
    }
}

fn minutes(now: Ms) -> u32 {
    (now / 60_000) as u32 & 0xffff
}

fn decayed(note: u32, now: Ms, frequency: Frequency) -> u32 {
    let passed = minutes(now).wrapping_sub(note >> 8) & 0xffff;
    let periods = passed.checked_div(frequency.decay_minutes).unwrap_or(0);
    (note & 0xff).saturating_sub(periods)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Ms = 1_700_000_000_000;

    #[test]
    fn frequencies_grow_by_the_logarithm_and_fade() {
        let mut uses = Uses::new(7);
        uses.frequency = Some(Frequency {
            log_factor: 10,
            decay_minutes: 1,
        });
        let after = |uses: &mut Uses, n: u32| {
            let mut note = uses.fresh(START);
            (0..n).for_each(|_| note = uses.used(note, START));
            note
        };
        let (few, many) = (after(&mut uses, 100), after(&mut uses, 100_000));
        let told = |note, at| uses.frequency(note, at).unwrap();
        // Redis tells some 10 for a hundred uses and some 142 for a hundred thousand.
        assert!((6..=18).contains(&told(few, START)), "{few:x}");
        assert!((100..=190).contains(&told(many, START)), "{many:x}");
        let hour = START + 3_600_000;
        assert_eq!(told(many, hour), told(many, START) - 60);
        assert_eq!(told(few, hour), 0);
    }

    #[test]
    fn times_are_seconds() {
        let mut uses = Uses::new(7);
        let note = uses.used(0, START);
        assert_eq!(uses.idle(note, START + 9_999), 9);
        assert_eq!(uses.frequency(note, START), None);
    }
}
