//! Latency events: what took at least as long as `latency.monitor_threshold`.
//!
//! Promise: only what was measured is told. Each core keeps its own: for each event the longest of all, and of the latest
//! 160 seconds in which it happened the longest of each.
//!
//! | event | what was measured |
//! |---|---|
//! | `command`, `fast-command` | a command on the core that ran it; the second name is for those that are flagged fast |
//! | `expire-cycle`, `eviction-cycle` | a step of expiry, of making room |
//! | `aof-write`, `aof-fsync-always`, `aof-fsync` | a write of the log, a durable write, a sync: until the core heard of its end |
//!
//! Source: the Redis page on latency monitoring.

use std::collections::{BTreeMap, VecDeque};

/// Samples kept of an event.
const SAMPLES: usize = 160;

/// What happened on a core, or on all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events(BTreeMap<&'static str, Event>);

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The longest time ever, in milliseconds.
    pub max_ms: u64,
    /// Unix seconds, and the longest time in that second in milliseconds; the latest last.
    pub samples: VecDeque<(u64, u64)>,
}

impl Event {
    fn note(&mut self, at_s: u64, ms: u64) {
        self.max_ms = self.max_ms.max(ms);
        match self.samples.back_mut() {
            Some((last, longest)) if *last == at_s => *longest = ms.max(*longest),
            _ => {
                self.samples.push_back((at_s, ms));
                if self.samples.len() > SAMPLES {
                    self.samples.pop_front();
                }
            }
        }
    }
}

impl Events {
    /// Notes that something took so long.
    pub fn note(&mut self, name: &'static str, at_s: u64, ms: u64) {
        self.0.entry(name).or_default().note(at_s, ms);
    }

    /// Takes out the events of these names, or all where none is named.
    pub fn take(&mut self, names: &[Vec<u8>]) -> Events {
        let named = |event: &str| {
            names
                .iter()
                .any(|n| n.eq_ignore_ascii_case(event.as_bytes()))
        };
        let (out, stay) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(event, _)| names.is_empty() || named(event));
        self.0 = stay;
        Events(out)
    }

    /// All cores' events as one core's.
    pub fn together(all: impl Iterator<Item = Events>) -> Events {
        let mut samples: BTreeMap<&'static str, Vec<(u64, u64)>> = BTreeMap::new();
        let mut whole = Events::default();
        for Events(events) in all {
            for (name, event) in events {
                samples.entry(name).or_default().extend(event.samples);
                let max_ms = &mut whole.0.entry(name).or_default().max_ms;
                *max_ms = event.max_ms.max(*max_ms);
            }
        }
        for (name, mut samples) in samples {
            samples.sort_unstable();
            for (at_s, ms) in samples {
                whole.note(name, at_s, ms);
            }
        }
        whole
    }

    /// The events, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &Event)> {
        self.0.iter().map(|(name, event)| (*name, event))
    }

    /// The event of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Event> {
        let mut all = self.0.iter();
        all.find(|(event, _)| event.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, event)| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_an_event_the_latest() {
        let mut events = Events::default();
        for (at, ms) in [(10, 5), (10, 7), (10, 6), (11, 3)] {
            events.note("command", at, ms);
        }
        let event = events.get(b"COMMAND").unwrap();
        assert_eq!(
            (event.max_ms, &event.samples),
            (7, &[(10, 7), (11, 3)].into())
        );
        for at in 0..500 {
            events.note("aof-write", at, 500 - at);
        }
        let event = events.get(b"aof-write").unwrap();
        assert_eq!((event.max_ms, event.samples.len()), (500, SAMPLES));
        assert_eq!(event.samples.back(), Some(&(499, 1)));
    }

    #[test]
    fn cores_come_together_second_by_second() {
        let (mut a, mut b) = (Events::default(), Events::default());
        a.note("command", 10, 5);
        a.note("command", 12, 9);
        b.note("command", 11, 2);
        b.note("command", 12, 4);
        b.note("expire-cycle", 1, 1);
        let mut both = Events::together([a, b].into_iter());
        let event = both.get(b"command").unwrap();
        assert_eq!(event.samples, [(10, 5), (11, 2), (12, 9)]);
        assert_eq!(event.max_ms, 9);
        let taken = both.take(&[b"Command".to_vec(), b"none".to_vec()]);
        assert_eq!((taken.iter().len(), both.iter().len()), (1, 1));
        assert_eq!(both.take(&[]).iter().len(), 1);
    }
}
