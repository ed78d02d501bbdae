//! The metrics page's text.
//!
//! Source: Prometheus's text exposition format 0.0.4 and its naming conventions: base units, `_total`
//! on what only grows. CONFIG RESETSTAT sets counters back, which Prometheus takes for a restart.

use std::fmt::{Display, Write};

use hdrhistogram::Histogram;

use crate::acl::Reason;
use crate::command;
use crate::envelope::DekState;
use crate::worker::gather::Whole;
use crate::worker::machine::{self, Whose};
use crate::worker::shared::Shared;
use crate::worker::stats::CommandStats;

/// Upper bounds of the latency buckets, in nanoseconds.
const BOUNDS_NS: [u64; 15] = [
    1_000,
    2_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

#[derive(Default)]
struct Text(String);

/// Names and values of labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// The head of a family; its samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, "counter", help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, "gauge", help, value);
    }
}

/// The page.
pub fn page(whole: &Whole, shared: &Shared) -> String {
    let mut t = Text::default();
    process(&mut t, shared);
    clients(&mut t, whole, shared);
    commands(&mut t, whole);
    memory(&mut t, whole, shared);
    log(&mut t, whole);
    encryption(&mut t, whole, shared);
    cores(&mut t, whole);
    t.0
}

fn process(t: &mut Text, shared: &Shared) {
    t.family("ferrite_build_info", "gauge", "Versions, as labels.");
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("redis_version", shared.redis_version),
    ];
    t.sample("ferrite_build_info", &labels, 1);
    t.gauge(
        "process_start_time_seconds",
        "When the process started, Unix time.",
        shared.started_unix,
    );
    let cpu = machine::cpu_time(Whose::Process);
    t.counter(
        "process_cpu_seconds_total",
        "Processor time of the process.",
        cpu.system_s + cpu.user_s,
    );
    t.gauge(
        "process_resident_memory_bytes",
        "Memory of the process that is in memory.",
        machine::resident(),
    );
}

fn clients(t: &mut Text, whole: &Whole, shared: &Shared) {
    let s = &whole.stats;
    t.gauge(
        "ferrite_connections",
        "Connections of clients now.",
        shared.connections(),
    );
    t.gauge(
        "ferrite_connections_max",
        "Connections of clients that are served at once.",
        shared.settings().server.maxclients,
    );
    t.counter(
        "ferrite_connections_accepted_total",
        "Connections accepted.",
        s.connections,
    );
    t.counter(
        "ferrite_connections_rejected_total",
        "Connections refused because there were too many.",
        s.rejected_connections,
    );
    t.counter(
        "ferrite_authentication_failures_total",
        "Wrong names or passwords.",
        s.denied(Reason::Auth),
    );
    t.counter(
        "ferrite_access_denied_total",
        "Commands that the rules of their user refused, for themselves, a key or a channel.",
        [Reason::Command, Reason::Key, Reason::Channel]
            .into_iter()
            .map(|reason| s.denied(reason))
            .sum::<u64>(),
    );
    t.counter(
        "ferrite_connections_output_limit_closed_total",
        "Connections closed because the client did not read its replies.",
        s.output_limit_closes,
    );
    t.counter(
        "ferrite_network_receive_bytes_total",
        "Bytes from the sockets of clients.",
        s.net_in,
    );
    t.counter(
        "ferrite_network_transmit_bytes_total",
        "Bytes to the sockets of clients.",
        s.net_out,
    );
    t.counter(
        "ferrite_tls_handshakes_total",
        "TLS handshakes completed.",
        s.tls_handshakes,
    );
    t.family(
        "ferrite_tls_failures_total",
        "counter",
        "TLS handshakes and sessions that failed, by reason.",
    );
    for (reason, n) in &s.tls_failures {
        t.sample("ferrite_tls_failures_total", &[("reason", reason)], n);
    }
    if let Some(ends) = shared.certificate_ends {
        t.gauge(
            "ferrite_tls_certificate_expiry_timestamp_seconds",
            "When the server's certificate ends, Unix time.",
            ends,
        );
    }
}

fn commands(t: &mut Text, whole: &Whole) {
    let s = &whole.stats;
    let counted: Vec<(&str, &CommandStats)> = command::all()
        .map(|row| row.name)
        .zip(&s.per_command)
        .filter(|(_, s)| s.calls > 0 || s.rejected > 0)
        .collect();
    type Count = fn(&CommandStats) -> u64;
    let families: [(&str, &str, Count); 3] = [
        ("ferrite_commands_total", "Commands executed.", |s| s.calls),
        (
            "ferrite_commands_failed_total",
            "Commands that ended in an error.",
            |s| s.failed,
        ),
        (
            "ferrite_commands_rejected_total",
            "Commands refused before execution.",
            |s| s.rejected,
        ),
    ];
    for (name, help, count) in families {
        t.family(name, "counter", help);
        for (command, s) in &counted {
            t.sample(name, &[("command", command)], count(s));
        }
    }
    let name = "ferrite_command_duration_seconds";
    t.family(
        name,
        "histogram",
        "Time to execute a command, without waiting.",
    );
    for (command, s) in &counted {
        if let Some(latency) = &s.latency {
            durations(t, name, command, latency);
        }
    }
    let name = "ferrite_error_replies_total";
    t.family(name, "counter", "Error replies, by their first word.");
    for (code, n) in &s.errors {
        t.sample(name, &[("code", code)], n);
    }
    t.counter(
        "ferrite_forwarded_commands_total",
        "Commands that one core executed for another.",
        s.executed_for_others,
    );
    t.counter(
        "ferrite_cross_shard_transactions_total",
        "Transactions that borrowed shards.",
        s.transactions,
    );
}

/// One command's buckets, sum and count.
fn durations(t: &mut Text, name: &str, command: &str, latency: &Histogram<u32>) {
    let mut counts = [0u64; BOUNDS_NS.len()];
    let mut sum_ns = 0.0;
    for value in latency.iter_recorded() {
        let (ns, n) = (value.value_iterated_to(), value.count_at_value().into());
        let n: u64 = n;
        sum_ns += ns as f64 * n as f64;
        for (count, bound) in counts.iter_mut().zip(BOUNDS_NS) {
            *count += if ns <= bound { n } else { 0 };
        }
    }
    let bucket = format!("{name}_bucket");
    for (count, bound) in counts.into_iter().zip(BOUNDS_NS) {
        let le = (bound as f64 / 1e9).to_string();
        t.sample(&bucket, &[("command", command), ("le", &le)], count);
    }
    let labels = [("command", command), ("le", "+Inf")];
    t.sample(&bucket, &labels, latency.len());
    t.sample(&format!("{name}_sum"), &labels[..1], sum_ns / 1e9);
    t.sample(&format!("{name}_count"), &labels[..1], latency.len());
}

fn memory(t: &mut Text, whole: &Whole, shared: &Shared) {
    let limit = shared.settings().storage.maxmemory;
    shared.measure_memory();
    let (used, peak) = shared.memory();
    t.gauge(
        "ferrite_memory_used_bytes",
        "Memory the allocator has handed out.",
        used,
    );
    t.gauge(
        "ferrite_memory_peak_bytes",
        "The most that was ever handed out.",
        peak,
    );
    t.gauge(
        "ferrite_memory_max_bytes",
        "Memory above which writes are refused; 0 means no limit.",
        limit,
    );
    t.gauge(
        "ferrite_memory_dataset_bytes",
        "Memory of keys and values.",
        whole.shard_bytes,
    );
    let databases = || {
        whole
            .databases
            .iter()
            .enumerate()
            .filter(|(_, db)| db.0 > 0)
    };
    t.family("ferrite_keys", "gauge", "Keys, by database.");
    for (db, (keys, ..)) in databases() {
        t.sample("ferrite_keys", &[("db", &db.to_string())], keys);
    }
    t.family(
        "ferrite_keys_expiring",
        "gauge",
        "Keys with a time to live, by database.",
    );
    for (db, (_, expires, _)) in databases() {
        t.sample("ferrite_keys_expiring", &[("db", &db.to_string())], expires);
    }
    t.counter(
        "ferrite_expired_keys_total",
        "Keys removed because their time had come.",
        whole.shard.expired,
    );
    t.counter(
        "ferrite_keyspace_hits_total",
        "Reads that found their key.",
        whole.shard.hits,
    );
    t.counter(
        "ferrite_keyspace_misses_total",
        "Reads that did not find their key.",
        whole.shard.misses,
    );
}

fn log(t: &mut Text, whole: &Whole) {
    let log = &whole.log;
    t.gauge(
        "ferrite_log_enabled",
        "Whether there is a log.",
        u8::from(log.on),
    );
    t.gauge(
        "ferrite_log_writable",
        "Whether writes are accepted: 0 when the disk is full or has failed.",
        u8::from(log.refusal.is_none()),
    );
    t.counter("ferrite_log_frames_total", "Frames written.", log.frames);
    t.counter("ferrite_log_syncs_total", "Syncs done.", log.syncs);
    t.counter(
        "ferrite_log_records_total",
        "Records appended.",
        log.records,
    );
    t.counter(
        "ferrite_log_written_bytes_total",
        "Bytes written to the log's files.",
        log.bytes,
    );
    t.gauge(
        "ferrite_log_pending_bytes",
        "Bytes that wait to be written.",
        log.pending,
    );
    t.gauge(
        "ferrite_log_writes_in_flight",
        "Writes under way.",
        log.in_flight,
    );
}

fn encryption(t: &mut Text, whole: &Whole, shared: &Shared) {
    let log = &whole.log;
    let settings = shared.settings();
    t.gauge(
        "ferrite_encryption_enabled",
        "Whether the log is sealed.",
        u8::from(settings.seals_log()),
    );
    t.gauge(
        "ferrite_encryption_hardware_acceleration",
        "Whether every core seals on the processor's own instructions.",
        u8::from(whole.accelerated()),
    );
    t.counter(
        "ferrite_sealed_messages_total",
        "Messages sealed.",
        log.sealed.0,
    );
    t.counter("ferrite_sealed_bytes_total", "Bytes sealed.", log.sealed.1);
    t.counter(
        "ferrite_opened_messages_total",
        "Messages opened, those of the recovery included.",
        log.opened.0,
    );
    t.counter(
        "ferrite_opened_bytes_total",
        "Bytes opened, those of the recovery included.",
        log.opened.1,
    );
    t.counter(
        "ferrite_open_failures_total",
        "Messages that did not open.",
        log.open_failures,
    );
    let Some(keyring) = &shared.keyring else {
        return;
    };
    let deks = keyring.lock().unwrap_or_else(|e| e.into_inner()).list();
    t.family("ferrite_deks", "gauge", "Deks, by state.");
    for state in [DekState::Active, DekState::Retiring, DekState::Destroyed] {
        let n = deks.iter().filter(|dek| dek.state == state).count();
        t.sample("ferrite_deks", &[("state", state.name())], n);
    }
    let name = "ferrite_seal_bytes_per_second";
    t.family(
        name,
        "gauge",
        "Sealing speed measured at the start, by core and size of message.",
    );
    for report in &whole.reports {
        let Some(choice) = report.acceleration else {
            continue;
        };
        let (core, speed) = (report.core.to_string(), choice.chosen());
        for (bytes, gbps) in [
            ("256", speed.gbps_256),
            ("4096", speed.gbps_4k),
            ("65536", speed.gbps_64k),
        ] {
            let labels = [
                ("core", core.as_str()),
                ("backend", choice.backend.name()),
                ("message_bytes", bytes),
            ];
            t.sample(name, &labels, gbps * 1e9);
        }
    }
}

fn cores(t: &mut Text, whole: &Whole) {
    let name = "ferrite_core_cpu_seconds_total";
    t.family(name, "counter", "Processor time of a core's thread.");
    for report in &whole.reports {
        let cpu = report.cpu_time.system_s + report.cpu_time.user_s;
        t.sample(name, &[("core", &report.core.to_string())], cpu);
    }
    let name = "ferrite_core_connections";
    t.family(name, "gauge", "Connections, by the core that serves them.");
    for report in &whole.reports {
        let core = report.core.to_string();
        t.sample(name, &[("core", &core)], report.clients);
    }
    let name = "ferrite_core_commands_total";
    t.family(name, "counter", "Commands executed, by core.");
    for report in &whole.reports {
        let core = report.core.to_string();
        t.sample(name, &[("core", &core)], report.stats.commands);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::gather::{Answer, Report};

    #[test]
    fn labels_are_escaped() {
        let mut t = Text::default();
        t.sample("a", &[("l", "x\\y\"z\n")], 3);
        assert_eq!(t.0, "a{l=\"x\\\\y\\\"z\\n\"} 3\n");
    }

    /// Every sample stands behind the head of its family, and no family has two heads.
    #[test]
    fn commands_have_counts_and_cumulative_buckets() {
        let mut report = Report::default();
        let get = command::lookup(b"get").expect("a command").1;
        for us in [0, 3, 3, 700, 2_000_000] {
            report.stats.executed(get, us * 1000, us == 700, true);
        }
        let whole = Whole::of(vec![Answer::Report(Box::new(report))]);
        let mut t = Text::default();
        commands(&mut t, &whole);
        cores(&mut t, &whole);
        for line in [
            "ferrite_commands_total{command=\"get\"} 5",
            "ferrite_commands_failed_total{command=\"get\"} 1",
            "ferrite_command_duration_seconds_bucket{command=\"get\",le=\"0.000001\"} 1",
            "ferrite_command_duration_seconds_bucket{command=\"get\",le=\"0.000005\"} 3",
            "ferrite_command_duration_seconds_bucket{command=\"get\",le=\"1\"} 4",
            "ferrite_command_duration_seconds_bucket{command=\"get\",le=\"+Inf\"} 5",
            "ferrite_command_duration_seconds_count{command=\"get\"} 5",
            "ferrite_core_commands_total{core=\"0\"} 5",
        ] {
            assert!(t.0.lines().any(|l| l == line), "{line} is not in\n{}", t.0);
        }
        let mut heads: Vec<&str> = Vec::new();
        for line in t.0.lines() {
            if let Some(head) = line.strip_prefix("# TYPE ") {
                let name = head.split(' ').next().unwrap_or("");
                assert!(!heads.contains(&name), "{name} twice");
                heads.push(name);
            } else if !line.starts_with('#') {
                let family = heads.last().expect("a head comes first");
                assert!(line.starts_with(family), "{line} is under {family}");
            }
        }
    }
}
