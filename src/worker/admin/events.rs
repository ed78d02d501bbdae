//! LATENCY LATEST, HISTORY, RESET, GRAPH and DOCTOR. What is measured is in [`super::super::events`].
//!
//! Source: the Redis command pages of the five.

use std::fmt::Write;

use super::super::Worker;
use super::super::client::Client;
use super::super::events::{Event, Events};
use super::super::gather::{Answer, Question};
use super::super::tick::Flow;
use crate::command::{Error, SessionCmd};

/// Lines of a graph.
const HEIGHT: u64 = 4;
/// Samples of a graph: the width of a terminal.
const WIDTH: usize = 80;

/// A graph of an event: a column a sample, the latest on the right, and below it how long ago that was.
fn graph(name: &str, event: &Event, now_s: u64) -> String {
    let skip = event.samples.len().saturating_sub(WIDTH);
    let samples: Vec<(u64, u64)> = event.samples.iter().skip(skip).copied().collect();
    let times = || samples.iter().map(|(_, ms)| *ms);
    let (high, low) = (times().max().unwrap_or(0), times().min().unwrap_or(0));
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n",
        event.max_ms
    );
    text.push_str(&"-".repeat(WIDTH));
    text.push('\n');
    for line in (0..HEIGHT).rev() {
        for ms in times() {
            // How many lines a sample fills, from one on; the lowest is one, the highest all.
            let filled = 1 + (ms - low) * (HEIGHT - 1) / (high - low).max(1);
            text.push(if filled > line { '#' } else { ' ' });
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    let ages: Vec<String> = samples
        .iter()
        .map(|(at, _)| age(now_s.saturating_sub(*at)))
        .collect();
    let deepest = ages.iter().map(String::len).max().unwrap_or(0);
    text.push('\n');
    for row in 0..deepest {
        let letters = ages
            .iter()
            .map(|age| age.as_bytes().get(row).map_or(' ', |b| char::from(*b)));
        text.extend(letters);
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// How long ago, in the largest unit that fits.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What may be done about an event.
fn advice(name: &str) -> &'static str {
    match name {
        "command" => {
            "Commands took long by themselves: SLOWLOG GET names them. Large collections are better read in parts \
             (SCAN, HSCAN, ranges), and removed by UNLINK."
        }
        "fast-command" => {
            "Commands that are fast by themselves took long: the core was taken from the process, or memory was not at \
             hand. Look for other programs on the machine, swapping, and large values."
        }
        "expire-cycle" => "Many keys expire at the same time: spread their times.",
        "eviction-cycle" => {
            "Memory is short, and keys are removed to make room: see maxmemory and MEMORY STATS."
        }
        _ => {
            "The disk is slow to take the log: look for other programs that write to it. Only appendfsync always makes \
             clients wait for it."
        }
    }
}

/// What LATENCY DOCTOR says.
fn diagnosis(events: &Events, threshold_ms: u128) -> String {
    if threshold_ms == 0 {
        return "Nothing is measured: latency-monitor-threshold is 0. To watch for what takes 100 ms or longer: \
                CONFIG SET latency-monitor-threshold 100.\n"
            .to_owned();
    }
    if events.iter().len() == 0 {
        return format!("Nothing took {threshold_ms} ms or longer.\n");
    }
    let mut text = format!("What took {threshold_ms} ms or longer:\n");
    for (at, (name, event)) in events.iter().enumerate() {
        let n = event.samples.len() as u64;
        let sum: u64 = event.samples.iter().map(|(_, ms)| ms).sum();
        let first = event.samples.front().map_or(0, |(at, _)| *at);
        let last = event.samples.back().map_or(0, |(at, _)| *at);
        let every = last.saturating_sub(first) as f64 / n.saturating_sub(1).max(1) as f64;
        let _ = write!(
            text,
            "\n{}. {name}: {n} seconds with it, {} ms on average, {} ms at most",
            at + 1,
            sum / n.max(1),
            event.max_ms
        );
        if n > 1 {
            let _ = write!(text, ", one every {every:.0} seconds");
        }
        let _ = write!(text, ".\n   {}\n", advice(name));
    }
    text
}

impl Worker {
    /// Notes that something took so many nanoseconds.
    #[cold]
    pub(in crate::worker) fn note_event(&mut self, name: &'static str, ns: u64) {
        self.events
            .note(name, self.clock.unix_ms / 1000, ns / 1_000_000);
    }

    pub(super) fn latency_events(
        &mut self,
        client: &mut Client,
        index: u32,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Flow {
        let names: Vec<Vec<u8>> = argv[2..].iter().map(|name| name.to_vec()).collect();
        let reset = (session == SessionCmd::LatencyReset).then(|| names.clone());
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let events = Events::together(answers.into_iter().filter_map(|answer| match answer {
                Answer::Events(events) => Some(events),
                _ => None,
            }));
            let now_s = worker.clock.unix_ms / 1000;
            let threshold = worker.settings.latency.monitor_threshold.as_millis();
            let name = names.first().map_or(&b""[..], Vec::as_slice);
            match session {
                SessionCmd::LatencyReset => worker.reply(client).int(events.iter().len() as i64),
                SessionCmd::LatencyLatest => {
                    let mut reply = worker.reply(client);
                    reply.array(events.iter().len());
                    for (name, event) in events.iter() {
                        let (at, ms) = event.samples.back().copied().unwrap_or_default();
                        reply.array(4);
                        reply.bulk(name);
                        for n in [at, ms, event.max_ms] {
                            reply.int(n as i64);
                        }
                    }
                }
                SessionCmd::LatencyHistory => {
                    let samples = events
                        .get(name)
                        .map(|event| event.samples.clone())
                        .unwrap_or_default();
                    let mut reply = worker.reply(client);
                    reply.array(samples.len());
                    for (at, ms) in samples {
                        reply.array(2);
                        reply.int(at as i64);
                        reply.int(ms as i64);
                    }
                }
                SessionCmd::LatencyGraph => match events.get(name) {
                    Some(event) => {
                        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                        let text = graph(&name, event, now_s);
                        worker.reply(client).verbatim("txt", text);
                    }
                    None => {
                        let name = String::from_utf8_lossy(name);
                        let text = format!("ERR No samples available for event '{name}'");
                        worker.refuse(client, Error::message(text));
                    }
                },
                _ => {
                    let text = diagnosis(&events, threshold);
                    worker.reply(client).verbatim("txt", text);
                }
            }
        };
        self.ask(client, index, Question::Events { reset }, Box::new(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Events {
        let mut events = Events::default();
        for (at, ms) in [(100, 10), (160, 40), (4000, 25)] {
            events.note("command", at, ms);
        }
        events
    }

    #[test]
    fn a_graph_has_a_column_a_sample() {
        let text = graph("command", events().get(b"command").unwrap(), 4010);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "command - high 40 ms, low 10 ms (all time high 40 ms)"
        );
        assert_eq!(lines[2..6], [" #", " #", " ##", "###"]);
        assert_eq!(lines[7..], ["111", "hh0", "  s"]);
    }

    #[test]
    fn the_doctor_says_what_is_known() {
        assert!(diagnosis(&events(), 0).contains("CONFIG SET latency-monitor-threshold"));
        assert_eq!(
            diagnosis(&Events::default(), 5),
            "Nothing took 5 ms or longer.\n"
        );
        let text = diagnosis(&events(), 5);
        let said = "1. command: 3 seconds with it, 25 ms on average, 40 ms at most, one every 1950 seconds.";
        assert!(text.contains(said) && text.contains("SLOWLOG"), "{text}");
    }
}
