//! The sections of INFO that Redis has too, each with Redis's names.
//!
//! Source: the Redis command page of INFO.

use std::collections::HashSet;

use super::super::gather::Report;
use super::super::machine::CpuTime;
use super::super::saves::{Aim, Tally};
use super::info::{Text, View};
use crate::acl::Reason;
use crate::disk;

/// `a` in hundredths of `b`.
fn percent(a: u64, b: u64) -> f64 {
    ratio(a, b) * 100.0
}

/// `a` over `b`; zero where there is no `b`.
pub fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// A name and a count that is always the same, because what it counts does not exist.
fn zeros(t: &mut Text, names: &[&str]) {
    for name in names {
        t.line(name, 0);
    }
}

/// What scripts and functions take. Both run in the same Lua of each core, which counts as EVAL's.
fn scripts(v: &View<'_>, t: &mut Text) {
    let sources = &v.shared.sources;
    let vm = sources.memory();
    let (known, texts) = sources.size();
    let libraries = sources.shelf.all();
    let functions: usize = libraries.values().map(|l| l.functions.len()).sum();
    let code: u64 = libraries.values().map(|l| l.code.len() as u64).sum();
    t.bytes("used_memory_lua", vm);
    t.line("used_memory_vm_eval", vm);
    t.line("used_memory_scripts_eval", texts);
    t.line("number_of_cached_scripts", known);
    t.line("number_of_functions", functions);
    t.line("number_of_libraries", libraries.len());
    t.line("used_memory_vm_functions", 0);
    t.bytes("used_memory_vm_total", vm);
    t.line("used_memory_functions", code);
    t.bytes("used_memory_scripts", texts + code);
}

pub fn server(v: &View<'_>, t: &mut Text) {
    let settings = &v.settings.server;
    let uptime = v.shared.started.elapsed().as_secs();
    t.line("redis_version", v.shared.redis_version);
    t.line("ferrite_version", env!("CARGO_PKG_VERSION"));
    t.line("redis_git_sha1", "00000000");
    t.line("redis_git_dirty", 0);
    t.line("redis_build_id", env!("CARGO_PKG_VERSION"));
    t.line("redis_mode", "standalone");
    t.line("os", super::super::machine::system());
    t.line("arch_bits", usize::BITS);
    t.line("monotonic_clock", "POSIX clock_gettime");
    t.line("multiplexing_api", "io_uring");
    t.line("process_id", std::process::id());
    t.line("process_supervised", "no");
    t.line("run_id", &v.shared.run_id);
    t.line("tcp_port", settings.port);
    t.line("server_time_usec", v.now_us);
    t.line("uptime_in_seconds", uptime);
    t.line("uptime_in_days", uptime / 86_400);
    t.line("hz", 10);
    t.line("configured_hz", 10);
    t.line("lru_clock", (v.now_us / 1_000_000) & 0xff_ffff);
    let executable = std::env::current_exe().unwrap_or_default();
    t.line("executable", executable.display());
    let config = v.shared.config_file.clone().unwrap_or_default();
    t.line("config_file", config.display());
    t.line("io_threads_active", 0);
    let bind: Vec<String> = settings.bind.iter().map(ToString::to_string).collect();
    let mut listeners = Vec::new();
    if v.settings.tls.enabled {
        listeners.push(("tls", v.settings.tls.port));
    }
    if settings.port != 0 {
        listeners.push(("tcp", settings.port));
    }
    for (n, (name, port)) in listeners.into_iter().enumerate() {
        let binds: Vec<String> = bind.iter().map(|ip| format!("bind={ip}")).collect();
        t.line(
            format_args!("listener{n}"),
            format_args!("name={name},{},port={port}", binds.join(",")),
        );
    }
    t.line("shards", v.whole.reports.len());
}

pub fn clients(v: &View<'_>, t: &mut Text) {
    let largest = v.whole.largest();
    let blocked: usize = v.whole.reports.iter().map(|r| r.blocked).sum();
    t.line("connected_clients", v.shared.connections());
    t.line("cluster_connections", 0);
    t.line("maxclients", v.settings.server.maxclients);
    t.line("client_recent_max_input_buffer", largest.0);
    t.line("client_recent_max_output_buffer", largest.1);
    t.line("blocked_clients", blocked);
    let sum = |f: fn(&Report) -> usize| v.whole.reports.iter().map(f).sum::<usize>();
    t.line("tracking_clients", sum(|r| r.tracking.clients));
    t.line("pubsub_clients", sum(|r| r.subscribers));
    t.line("clients_in_timeout_table", 0);
}

/// What memory goes where, in bytes.
pub struct Memory {
    pub used: u64,
    pub peak: u64,
    pub dataset: u64,
    /// Everything in use that is not the keys and values.
    pub overhead: u64,
    pub clients: u64,
}

pub fn uses(v: &View<'_>) -> Memory {
    let (used, peak) = v.shared.memory();
    let dataset = v.whole.shard_bytes.min(used);
    Memory {
        used,
        peak,
        dataset,
        overhead: used - dataset,
        clients: v.whole.reports.iter().map(|r| r.client_bytes as u64).sum(),
    }
}

pub fn memory(v: &View<'_>, t: &mut Text) {
    let m = uses(v);
    let a = &v.allocator;
    let startup = v.shared.startup_memory;
    let total = super::super::machine::total_memory();
    t.bytes("used_memory", m.used);
    t.bytes("used_memory_rss", v.resident);
    t.bytes("used_memory_peak", m.peak);
    t.line(
        "used_memory_peak_perc",
        format_args!("{:.2}%", percent(m.used, m.peak)),
    );
    t.line("used_memory_overhead", m.overhead);
    t.line("used_memory_startup", startup);
    t.line("used_memory_dataset", m.dataset);
    let net = m.used.saturating_sub(startup);
    t.line(
        "used_memory_dataset_perc",
        format_args!("{:.2}%", percent(m.dataset, net).min(100.0)),
    );
    t.line("allocator_allocated", a.allocated);
    t.line("allocator_active", a.active);
    t.line("allocator_resident", a.resident);
    t.bytes("total_system_memory", total);
    scripts(v, t);
    t.bytes("maxmemory", v.settings.storage.maxmemory);
    t.line(
        "maxmemory_policy",
        v.settings.storage.maxmemory_policy.word(),
    );
    let two = |n: f64| format!("{n:.2}");
    let less = |a: u64, b: u64| a as i64 - b as i64;
    t.line("allocator_frag_ratio", two(ratio(a.active, a.allocated)));
    t.line("allocator_frag_bytes", less(a.active, a.allocated));
    t.line("allocator_rss_ratio", two(ratio(a.resident, a.active)));
    t.line("allocator_rss_bytes", less(a.resident, a.active));
    t.line("rss_overhead_ratio", two(ratio(v.resident, a.resident)));
    t.line("rss_overhead_bytes", less(v.resident, a.resident));
    t.line("mem_fragmentation_ratio", two(ratio(v.resident, m.used)));
    t.line("mem_fragmentation_bytes", less(v.resident, m.used));
    t.line("mem_not_counted_for_evict", disk::held());
    zeros(t, &["mem_replication_backlog"]);
    zeros(t, &["mem_total_replication_buffers", "mem_clients_slaves"]);
    t.line("mem_clients_normal", m.clients);
    t.line("mem_cluster_links", 0);
    t.line("mem_aof_buffer", v.whole.log.pending);
    t.line("mem_allocator", "jemalloc");
    zeros(
        t,
        &[
            "active_defrag_running",
            "lazyfree_pending_objects",
            "lazyfreed_objects",
        ],
    );
}

pub fn persistence(v: &View<'_>, t: &mut Text) {
    let log = &v.whole.log;
    let recovery = &v.shared.recovery;
    zeros(
        t,
        &[
            "loading",
            "async_loading",
            "current_cow_peak",
            "current_cow_size",
        ],
    );
    t.line("current_cow_size_age", 0);
    t.line("current_fork_perc", "0.00");
    let saves = v.shared.saves.standing();
    let seconds = |tally: &Tally| tally.seconds.map_or(-1, |s| s as i64);
    let ok = |tally: &Tally| if tally.ok { "ok" } else { "err" };
    let aim = saves.under_way.map(|under_way| under_way.aim);
    let going = |of: Aim| match saves.under_way {
        Some(under_way) if under_way.aim == of => under_way.since.elapsed().as_secs() as i64,
        _ => -1,
    };
    let (processed, total) = match aim {
        Some(_) => (saves.keys, v.whole.keys().0),
        None => (0, 0),
    };
    t.line("current_save_keys_processed", processed);
    t.line("current_save_keys_total", total);
    t.line("rdb_changes_since_last_save", v.shared.saves.changes());
    t.line("rdb_bgsave_in_progress", u8::from(aim == Some(Aim::Save)));
    t.line("rdb_last_save_time", saves.last_unix);
    t.line("rdb_last_bgsave_status", ok(&saves.saves));
    t.line("rdb_last_bgsave_time_sec", seconds(&saves.saves));
    t.line("rdb_current_bgsave_time_sec", going(Aim::Save));
    t.line("rdb_saves", saves.saves.done);
    zeros(t, &["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
    t.line("rdb_last_load_keys_loaded", recovery.keys);
    t.line("aof_enabled", u8::from(log.on));
    t.line(
        "aof_rewrite_in_progress",
        u8::from(aim == Some(Aim::Rewrite)),
    );
    let scheduled = saves.scheduled == Some(Aim::Rewrite);
    t.line("aof_rewrite_scheduled", u8::from(scheduled));
    t.line("aof_last_rewrite_time_sec", seconds(&saves.rewrites));
    t.line("aof_current_rewrite_time_sec", going(Aim::Rewrite));
    t.line("aof_last_bgrewrite_status", ok(&saves.rewrites));
    t.line("aof_rewrites", saves.rewrites.done);
    t.line("aof_rewrites_consecutive_failures", saves.rewrites.failures);
    let status = if log.refusal.is_some() { "err" } else { "ok" };
    t.line("aof_last_write_status", status);
    zeros(
        t,
        &[
            "aof_last_cow_size",
            "module_fork_in_progress",
            "module_fork_last_cow_size",
        ],
    );
    t.line("checkpoint_bytes", saves.bytes);
    t.line("recovery_checkpoint", recovery.checkpoint);
    if !log.on {
        return;
    }
    t.line("aof_current_size", saves.bytes + v.shared.saves.log_size());
    t.line("aof_base_size", saves.bytes);
    t.line("aof_pending_rewrite", 0);
    t.line("aof_buffer_length", log.pending);
    zeros(t, &["aof_pending_bio_fsync", "aof_delayed_fsync"]);
    if let Some(why) = &log.refusal {
        t.line("aof_last_write_error", why.replace(['\r', '\n'], " "));
    }
    t.line("log_effect_bytes", log.appended);
    t.line("log_frames", log.frames);
    t.line("log_syncs", log.syncs);
    t.line("log_segments", log.segments);
    t.line("log_writes_in_flight", log.in_flight);
    t.line("recovery_records", recovery.records);
    t.line("recovery_seconds", format_args!("{:.3}", recovery.seconds));
    t.line("recovery_torn_tails_cut", recovery.cut);
}

pub fn stats(v: &View<'_>, t: &mut Text) {
    let (s, shard) = (&v.whole.stats, &v.whole.shard);
    let reports = &v.whole.reports;
    let mut rates = super::super::stats::Rates::default();
    for report in &v.whole.reports {
        let rate = report.stats.rates();
        rates.commands += rate.commands;
        rates.net_in += rate.net_in;
        rates.net_out += rate.net_out;
    }
    t.line("total_connections_received", s.connections);
    t.line("total_commands_processed", s.commands);
    t.line("instantaneous_ops_per_sec", rates.commands.round());
    t.line("total_net_input_bytes", s.net_in);
    t.line("total_net_output_bytes", s.net_out);
    zeros(
        t,
        &["total_net_repl_input_bytes", "total_net_repl_output_bytes"],
    );
    let kbps = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    t.line("instantaneous_input_kbps", kbps(rates.net_in));
    t.line("instantaneous_output_kbps", kbps(rates.net_out));
    t.line("instantaneous_input_repl_kbps", "0.00");
    t.line("instantaneous_output_repl_kbps", "0.00");
    t.line("rejected_connections", s.rejected_connections);
    zeros(t, &["sync_full", "sync_partial_ok", "sync_partial_err"]);
    t.line("expired_keys", shard.expired);
    t.line("expired_keys_by_cycle", shard.expired_by_cycle);
    t.line("evicted_keys", shard.evicted);
    zeros(t, &["evicted_clients"]);
    zeros(
        t,
        &[
            "total_eviction_exceeded_time",
            "current_eviction_exceeded_time",
        ],
    );
    t.line("keyspace_hits", shard.hits);
    t.line("keyspace_misses", shard.misses);
    let names = ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"];
    for (i, name) in names.into_iter().enumerate() {
        // A channel that clients of several cores listen to is one channel.
        let all: HashSet<&Vec<u8>> = reports.iter().flat_map(|r| &r.channels[i]).collect();
        t.line(name, all.len());
    }
    zeros(
        t,
        &["latest_fork_usec", "total_forks", "migrate_cached_sockets"],
    );
    zeros(
        t,
        &[
            "slave_expires_tracked_keys",
            "active_defrag_hits",
            "active_defrag_misses",
        ],
    );
    zeros(t, &["active_defrag_key_hits", "active_defrag_key_misses"]);
    zeros(
        t,
        &["total_active_defrag_time", "current_active_defrag_time"],
    );
    let sum = |f: fn(&Report) -> u64| reports.iter().map(f).sum::<u64>();
    t.line("tracking_total_keys", sum(|r| r.tracking.keys));
    t.line("tracking_total_items", sum(|r| r.tracking.items));
    t.line(
        "tracking_total_prefixes",
        sum(|r| r.tracking.prefixes as u64),
    );
    t.line("unexpected_error_replies", 0);
    t.line("total_error_replies", s.error_replies);
    t.line("dump_payload_sanitizations", 0);
    t.line("total_reads_processed", s.reads);
    t.line("total_writes_processed", s.writes);
    zeros(
        t,
        &[
            "io_threaded_reads_processed",
            "io_threaded_writes_processed",
        ],
    );
    for (name, reason) in [
        ("auth", Reason::Auth),
        ("cmd", Reason::Command),
        ("key", Reason::Key),
        ("channel", Reason::Channel),
    ] {
        t.line(format_args!("acl_access_denied_{name}"), s.denied(reason));
    }
    t.line(
        "client_output_buffer_limit_disconnections",
        s.output_limit_closes,
    );
    t.line("total_forwarded_commands", s.forwarded);
    t.line("total_cross_shard_transactions", s.transactions);
}

pub fn cpu(v: &View<'_>, t: &mut Text) {
    let six = |n: f64| format!("{n:.6}");
    t.line("used_cpu_sys", six(v.cpu.system_s));
    t.line("used_cpu_user", six(v.cpu.user_s));
    t.line("used_cpu_sys_children", six(0.0));
    t.line("used_cpu_user_children", six(0.0));
    // What Redis's main thread does, all cores do here.
    let cores = |part: fn(&CpuTime) -> f64| v.whole.reports.iter().map(|r| part(&r.cpu_time)).sum();
    t.line("used_cpu_sys_main_thread", six(cores(|cpu| cpu.system_s)));
    t.line("used_cpu_user_main_thread", six(cores(|cpu| cpu.user_s)));
}

pub fn cluster(_: &View<'_>, t: &mut Text) {
    t.line("cluster_enabled", 0);
}

pub fn keyspace(v: &View<'_>, t: &mut Text) {
    for (db, (keys, expires, ttl)) in v.whole.databases.iter().enumerate() {
        if *keys > 0 {
            t.line(
                format_args!("db{db}"),
                format_args!("keys={keys},expires={expires},avg_ttl={ttl}"),
            );
        }
    }
}

/// One line a core: how evenly the work is spread, and what it costs.
pub fn cores(v: &View<'_>, t: &mut Text) {
    for report in &v.whole.reports {
        let (s, cpu) = (&report.stats, &report.cpu_time);
        let keys: u64 = report.databases.iter().map(|db| db.0).sum();
        let processor = report.cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        t.line(
            format_args!("load_core{}", report.core),
            format_args!(
                "cpu={processor},clients={},keys={keys},bytes={},commands={},forwarded={},executed_for_others={},\
                 transactions={},ticks={},ring_enters={},used_cpu_sys={:.6},used_cpu_user={:.6}",
                report.clients,
                report.shard_bytes,
                s.commands,
                s.forwarded,
                s.executed_for_others,
                s.transactions,
                s.ticks,
                report.enters,
                cpu.system_s,
                cpu.user_s,
            ),
        );
    }
    let min_wait = v.whole.reports.iter().all(|report| report.min_wait);
    t.line("ring_min_wait", if min_wait { "yes" } else { "no" });
}
