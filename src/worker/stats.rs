//! What a core counts. Plain numbers: only the core itself touches them, and other cores ask for a
//! copy.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;

use crate::acl::Reason;

/// Longest latency a histogram tells apart, in nanoseconds; longer ones count as this.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// Samples of the rates: at one every tenth of a second, the mean is over the last 1.6 seconds.
const SAMPLES: usize = 16;

/// The counters of one core since it started or CONFIG RESETSTAT.
#[derive(Clone, Default)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused at `maxclients`.
    pub rejected_connections: u64,
    /// Refusals by the users' rules: commands, keys, channels, and passwords.
    denied: [u64; 4],
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// TLS failures by reason.
    pub tls_failures: BTreeMap<String, u64>,
    /// Commands executed.
    pub commands: u64,
    /// Commands this core sent to another.
    pub forwarded: u64,
    /// Commands this core executed for another.
    pub executed_for_others: u64,
    /// Transactions across shards.
    pub transactions: u64,
    /// Bytes from and to sockets.
    pub net_in: u64,
    /// Bytes to sockets.
    pub net_out: u64,
    /// Times something was read from a socket.
    pub reads: u64,
    /// Times something was written to a socket.
    pub writes: u64,
    /// Clients closed because they did not read.
    pub output_limit_closes: u64,
    /// Ticks of the loop.
    pub ticks: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    /// By number of the command.
    pub per_command: Vec<CommandStats>,
    /// Newest first.
    pub slowlog: VecDeque<Slow>,
    /// What the rates are made of, oldest first.
    samples: VecDeque<Sample>,
}

/// Some counters at a time.
#[derive(Clone, Copy, Default)]
struct Sample {
    us: u64,
    commands: u64,
    net_in: u64,
    net_out: u64,
}

/// What happens a second, lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Commands.
    pub commands: f64,
    /// Bytes from sockets.
    pub net_in: f64,
    /// Bytes to sockets.
    pub net_out: f64,
}

/// The counters of one command.
#[derive(Clone, Default)]
pub struct CommandStats {
    /// Times executed.
    pub calls: u64,
    /// Nanoseconds spent.
    pub ns: u64,
    /// Times refused before execution.
    pub rejected: u64,
    /// Times that ended in an error.
    pub failed: u64,
    /// Latencies in nanoseconds.
    pub latency: Option<Box<Histogram<u32>>>,
}

/// A command that took long.
#[derive(Clone)]
pub struct Slow {
    /// Its number, unique and growing over all cores.
    pub id: u64,
    /// When, Unix seconds.
    pub at_s: u64,
    /// How long, in microseconds.
    pub us: u64,
    /// Its arguments, shortened as Redis does.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub addr: String,
    /// The client's name.
    pub name: Vec<u8>,
}

impl Stats {
    /// Counts one execution of command `number` that took `ns`.
    #[inline]
    pub fn executed(&mut self, number: u16, ns: u64, failed: bool, track: bool) {
        self.commands += 1;
        let stats = self.command(number);
        stats.calls += 1;
        stats.ns += ns;
        stats.failed += u64::from(failed);
        if track {
            let latency = stats.latency.get_or_insert_with(|| Box::new(histogram()));
            latency.saturating_record(ns.max(1));
        }
    }

    /// Counts an error of command `number` that came to light after its execution was counted.
    pub fn failed(&mut self, number: u16) {
        self.command(number).failed += 1;
    }

    /// Counts a refusal of command `number`.
    pub fn refused(&mut self, number: u16) {
        self.command(number).rejected += 1;
    }

    /// Counts a refusal by the users' rules.
    pub fn deny(&mut self, reason: Reason) {
        self.denied[reason as usize] += 1;
    }

    /// Refusals by the users' rules for this reason.
    pub fn denied(&self, reason: Reason) -> u64 {
        self.denied[reason as usize]
    }

    /// Counts an error reply by its code.
    pub fn error(&mut self, reply: &[u8]) {
        self.error_replies += 1;
        let code = reply.strip_prefix(b"-").unwrap_or(reply);
        let end = code
            .iter()
            .position(|b| b.is_ascii_whitespace())
            .unwrap_or(code.len());
        let code = String::from_utf8_lossy(&code[..end.min(32)]).into_owned();
        // A bound, so that no client can grow it: Redis has the same idea.
        if self.errors.len() < 128 || self.errors.contains_key(&code) {
            *self.errors.entry(code).or_default() += 1;
        }
    }

    fn command(&mut self, number: u16) -> &mut CommandStats {
        let number = usize::from(number);
        if self.per_command.len() <= number {
            self.per_command
                .resize_with(number + 1, CommandStats::default);
        }
        &mut self.per_command[number]
    }

    /// Notes a slow command; the oldest of more than `keep` are forgotten.
    pub fn slow(&mut self, slow: Slow, keep: usize) {
        self.slowlog.push_front(slow);
        self.slowlog.truncate(keep);
    }

    /// A copy for others to read: without the slow log, and with the latencies only if they are
    /// wanted, since they are large.
    pub fn snapshot(&self, latencies: bool) -> Stats {
        let per_command = self.per_command.iter().map(|stats| CommandStats {
            latency: stats.latency.as_ref().filter(|_| latencies).cloned(),
            ..*stats
        });
        Stats {
            tls_failures: self.tls_failures.clone(),
            errors: self.errors.clone(),
            per_command: per_command.collect(),
            slowlog: VecDeque::new(),
            samples: self.samples.clone(),
            ..*self
        }
    }

    /// Takes a sample for the rates, ten times a second.
    pub fn sample(&mut self, now_us: u64) {
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            us: now_us,
            commands: self.commands,
            net_in: self.net_in,
            net_out: self.net_out,
        });
    }

    /// What happened a second between the first and the last sample.
    pub fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return Rates::default();
        };
        let seconds = (last.us - first.us) as f64 / 1e6;
        if seconds <= 0.0 {
            return Rates::default();
        }
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Rates {
            commands: rate(first.commands, last.commands),
            net_in: rate(first.net_in, last.net_in),
            net_out: rate(first.net_out, last.net_out),
        }
    }

    /// Adds another core's counters, for the sum over all.
    pub fn add(&mut self, other: &Stats) {
        self.connections += other.connections;
        self.rejected_connections += other.rejected_connections;
        for (ours, theirs) in self.denied.iter_mut().zip(other.denied) {
            *ours += theirs;
        }
        self.tls_handshakes += other.tls_handshakes;
        self.commands += other.commands;
        self.forwarded += other.forwarded;
        self.executed_for_others += other.executed_for_others;
        self.transactions += other.transactions;
        self.net_in += other.net_in;
        self.net_out += other.net_out;
        self.reads += other.reads;
        self.writes += other.writes;
        self.output_limit_closes += other.output_limit_closes;
        self.ticks += other.ticks;
        self.error_replies += other.error_replies;
        for (reason, n) in &other.tls_failures {
            *self.tls_failures.entry(reason.clone()).or_default() += n;
        }
        for (code, n) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += n;
        }
        for (number, theirs) in other.per_command.iter().enumerate() {
            let ours = self.command(number as u16);
            ours.calls += theirs.calls;
            ours.ns += theirs.ns;
            ours.rejected += theirs.rejected;
            ours.failed += theirs.failed;
            if let Some(latency) = &theirs.latency {
                let into = ours.latency.get_or_insert_with(|| Box::new(histogram()));
                // Both have the same bounds, so nothing is out of range.
                let _ = into.add(latency.as_ref());
            }
        }
    }

    /// CONFIG RESETSTAT: everything but the slow log.
    pub fn reset(&mut self) {
        *self = Stats {
            slowlog: std::mem::take(&mut self.slowlog),
            ..Stats::default()
        };
    }
}

/// A histogram of latencies, from 1 ns to a minute, with two significant digits.
pub fn histogram() -> Histogram<u32> {
    match Histogram::new_with_max(MAX_LATENCY_NS, 2) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("constant bounds that the histogram accepts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_add_up() {
        let (mut a, mut b) = (Stats::default(), Stats::default());
        a.executed(3, 1000, false, true);
        b.executed(3, 3000, true, true);
        b.error(b"-WRONGTYPE Operation\r\n");
        a.add(&b);
        let three = &a.per_command[3];
        assert_eq!((three.calls, three.ns, three.failed), (2, 4000, 1));
        assert_eq!(three.latency.as_ref().map(|h| h.len()), Some(2));
        assert_eq!(a.errors["WRONGTYPE"], 1);
        a.reset();
        assert_eq!(a.commands, 0);
    }

    #[test]
    fn rates_are_over_the_samples_and_begin_anew_with_the_counters() {
        let mut stats = Stats::default();
        assert_eq!(stats.rates(), Rates::default());
        for i in 0..100u64 {
            stats.commands = i * i;
            stats.sample(i * 100_000);
        }
        let last = 99 * 99 - 83 * 83;
        assert_eq!(stats.rates().commands, f64::from(last) / 1.6);
        stats.reset();
        assert_eq!(stats.rates(), Rates::default());
    }

    #[test]
    fn a_snapshot_has_latencies_only_when_asked() {
        let mut stats = Stats::default();
        stats.executed(1, 500, false, true);
        stats.slow(
            Slow {
                id: 7,
                at_s: 0,
                us: 0,
                args: Vec::new(),
                addr: String::new(),
                name: Vec::new(),
            },
            1,
        );
        let (with, without) = (stats.snapshot(true), stats.snapshot(false));
        assert!(with.per_command[1].latency.is_some() && with.slowlog.is_empty());
        assert!(without.per_command[1].latency.is_none());
        assert_eq!(without.per_command[1].calls, 1);
    }
}
