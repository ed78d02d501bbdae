//! What commands cost: LATENCY HISTOGRAM, the sections commandstats, latencystats and errorstats of
//! INFO. The rest of LATENCY is in `events`.
//!
//! Source: the Redis command pages of LATENCY and INFO. The latencies are those of execution on the
//! core that owns the key, as Redis has them, not those a client sees.

use hdrhistogram::Histogram;

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question, Whole};
use super::super::stats::{CommandStats, Stats};
use super::super::tick::Flow;
use super::info::{Text, View};
use crate::command::{self, Command};

/// The first step of the histogram on the wire, in nanoseconds; each next one is twice as large.
const FIRST_STEP_NS: u64 = 1024;

/// Every command that has been counted, in the order of the table.
pub fn counted(stats: &Stats) -> impl Iterator<Item = (&'static Command, &CommandStats)> {
    let rows = command::all().zip(&stats.per_command);
    rows.filter(|(_, s)| s.calls > 0 || s.rejected > 0 || s.failed > 0)
}

pub fn commandstats(v: &View<'_>, t: &mut Text) {
    for (row, s) in counted(&v.whole.stats) {
        let us = s.ns / 1000;
        let each = s.ns as f64 / 1000.0 / s.calls.max(1) as f64;
        t.line(
            format_args!("cmdstat_{}", row.name),
            format_args!(
                "calls={},usec={us},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                s.calls, s.rejected, s.failed
            ),
        );
    }
}

pub fn errorstats(v: &View<'_>, t: &mut Text) {
    for (code, n) in &v.whole.stats.errors {
        t.line(format_args!("errorstat_{code}"), format_args!("count={n}"));
    }
}

pub fn latencystats(v: &View<'_>, t: &mut Text) {
    for (row, s) in counted(&v.whole.stats) {
        let Some(latency) = &s.latency else { continue };
        let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
        t.line(
            format_args!("latency_percentiles_usec_{}", row.name),
            format_args!(
                "p50={:.3},p99={:.3},p99.9={:.3}",
                us(0.5),
                us(0.99),
                us(0.999)
            ),
        );
    }
}

/// The histogram as LATENCY HISTOGRAM tells it: microseconds, and how many calls took at most
/// that; only steps at which the number grows.
fn steps(latency: &Histogram<u32>) -> Vec<(u64, u64)> {
    let mut steps = Vec::new();
    let mut calls = 0;
    for step in latency.iter_log(FIRST_STEP_NS, 2.0) {
        if step.count_since_last_iteration() > 0 {
            calls += step.count_since_last_iteration();
            let upto = latency.highest_equivalent(step.value_iterated_to());
            steps.push((upto / 1000, calls));
        }
    }
    steps
}

/// Whether a command, or the container it is in, is among the names; no names mean all.
fn wanted(row: &Command, names: &[Vec<u8>]) -> bool {
    let container = row.name.split('|').next().unwrap_or(row.name);
    names.is_empty()
        || names.iter().any(|name| {
            name.eq_ignore_ascii_case(row.name.as_bytes())
                || name.eq_ignore_ascii_case(container.as_bytes())
        })
}

impl Worker {
    pub(super) fn latency_histogram(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Flow {
        let names: Vec<Vec<u8>> = argv[2..].iter().map(|name| name.to_vec()).collect();
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let whole = Whole::of(answers);
            let found: Vec<_> = counted(&whole.stats)
                .filter(|(row, _)| wanted(row, &names))
                .filter_map(|(row, s)| Some((row.name, s.latency.as_deref()?)))
                .collect();
            let mut reply = worker.reply(client);
            reply.map(found.len());
            for (name, latency) in found {
                let steps = steps(latency);
                reply.bulk(name);
                reply.map(2);
                reply.bulk("calls");
                reply.int(latency.len() as i64);
                reply.bulk("histogram_usec");
                reply.map(steps.len());
                for (us, calls) in steps {
                    reply.int(us as i64);
                    reply.int(calls as i64);
                }
            }
        };
        let question = Question::Report { latencies: true };
        self.ask(client, index, question, Box::new(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::stats::histogram;

    #[test]
    fn steps_double_and_count_up() {
        let mut latency = histogram();
        for us in [0, 1, 1, 3, 30, 100, 100] {
            latency.saturating_record((us * 1000).max(1));
        }
        let steps = steps(&latency);
        assert_eq!(steps.last().map(|s| s.1), Some(7));
        assert_eq!(steps[0], (1, 3), "{steps:?}");
        assert!(steps.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
        assert!(steps.iter().any(|s| s.0 >= 100 && s.0 < 140 && s.1 == 7));
    }

    #[test]
    fn a_container_means_its_subcommands() {
        let row = command::all()
            .find(|row| row.name == "config|get")
            .expect("a row of the table");
        assert!(wanted(row, &[]) && wanted(row, &[b"CONFIG".to_vec()]));
        assert!(wanted(row, &[b"get".to_vec(), b"config|GET".to_vec()]));
        assert!(!wanted(row, &[b"get".to_vec()]));
    }
}
