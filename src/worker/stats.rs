//! What a core counts. Plain numbers: only the core itself touches them, and other cores ask for a
//! copy.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;

/// Longest latency a histogram tells apart, in nanoseconds; longer ones count as this.
const MAX_LATENCY_NS: u64 = 60_000_000_000;

/// The counters of one core since it started or CONFIG RESETSTAT.
#[derive(Clone, Default)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused at `maxclients`.
    pub rejected_connections: u64,
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
    /// Clients closed because they did not read.
    pub output_limit_closes: u64,
    /// Ticks of the loop.
    pub ticks: u64,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    /// By number of the command.
    pub per_command: Vec<CommandStats>,
    /// Newest first.
    pub slowlog: VecDeque<Slow>,
    /// Commands noted in the slow log so far.
    pub slowlog_total: u64,
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
    /// Its number on this core.
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

    /// Counts a refusal of command `number`.
    pub fn refused(&mut self, number: u16) {
        self.command(number).rejected += 1;
    }

    /// Counts an error reply by its code.
    pub fn error(&mut self, reply: &[u8]) {
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
    pub fn slow(&mut self, mut slow: Slow, keep: usize) {
        slow.id = self.slowlog_total;
        self.slowlog_total += 1;
        self.slowlog.push_front(slow);
        self.slowlog.truncate(keep);
    }

    /// Adds another core's counters, for the sum over all.
    pub fn add(&mut self, other: &Stats) {
        self.connections += other.connections;
        self.rejected_connections += other.rejected_connections;
        self.tls_handshakes += other.tls_handshakes;
        self.commands += other.commands;
        self.forwarded += other.forwarded;
        self.executed_for_others += other.executed_for_others;
        self.transactions += other.transactions;
        self.net_in += other.net_in;
        self.net_out += other.net_out;
        self.output_limit_closes += other.output_limit_closes;
        self.ticks += other.ticks;
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
        self.slowlog_total += other.slowlog_total;
    }

    /// CONFIG RESETSTAT: everything but the slow log.
    pub fn reset(&mut self) {
        let (slowlog, total) = (std::mem::take(&mut self.slowlog), self.slowlog_total);
        *self = Stats {
            slowlog,
            slowlog_total: total,
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
}
