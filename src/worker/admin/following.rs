//! The section of INFO about replication: the server that this one follows.
//!
//! Source: the Redis command page of INFO. `follow_*` are Ferrite's own.

use std::time::Instant;

use super::info::{Text, View};
use crate::worker::follow::{Held, Stage, Told};

/// Writes the section.
pub fn lines(v: &View<'_>, t: &mut Text) {
    let told = v.shared.follow.told().clone();
    match &told.source {
        None => t.line("role", "master"),
        Some(source) => {
            t.line("role", "slave");
            t.line("master_host", &source.host);
            t.line("master_port", source.port);
            link(&told, t);
        }
    }
    t.line("connected_slaves", 0);
    t.line("master_failover_state", "no-failover");
    let replid = match told.replid.is_empty() {
        true => "0".repeat(40),
        false => told.replid,
    };
    t.line("master_replid", replid);
    t.line("master_replid2", "0".repeat(40));
    t.line("master_repl_offset", told.applied);
    t.line("second_repl_offset", -1);
    for name in [
        "repl_backlog_active",
        "repl_backlog_size",
        "repl_backlog_first_byte_offset",
        "repl_backlog_histlen",
    ] {
        t.line(name, 0);
    }
}

fn link(told: &Told, t: &mut Text) {
    let up = told.stage == Stage::Connected;
    let since = |at: Option<Instant>| at.map_or(-1, |at| at.elapsed().as_secs() as i64);
    t.line("master_link_status", if up { "up" } else { "down" });
    t.line(
        "master_last_io_seconds_ago",
        match told.stage {
            Stage::Connected | Stage::Sync => since(told.heard),
            _ => -1,
        },
    );
    let syncs = told.stage == Stage::Sync;
    t.line("master_sync_in_progress", u8::from(syncs));
    t.line("slave_read_repl_offset", told.read);
    t.line("slave_repl_offset", told.applied);
    if syncs {
        let (all, come) = told.copy;
        let total = all.unwrap_or(0);
        t.line("master_sync_total_bytes", total);
        t.line("master_sync_read_bytes", come);
        t.line("master_sync_left_bytes", total.saturating_sub(come));
        let part = (come as f64 * 100.0 / total.max(1) as f64).min(100.0);
        t.line("master_sync_perc", format_args!("{part:.2}"));
        t.line("master_sync_last_io_seconds_ago", since(told.heard));
    }
    if !up {
        t.line("master_link_down_since_seconds", since(told.down_since));
    }
    t.line("slave_priority", 100);
    t.line("slave_read_only", 1);
    t.line("replica_announced", 1);
    t.line(
        "follow_copy",
        match told.held {
            Held::Own => "none",
            Held::Half => "partial",
            Held::Whole => "complete",
        },
    );
    t.line("follow_trouble", told.trouble.as_deref().unwrap_or(""));
}
