//! What a core does by the clock: expiry, clients that idle or do not read, the log's back-pressure, and
//! the end.

use std::mem;
use std::os::fd::AsRawFd;

use super::arrivals::note;
use super::client::Waiting;
use super::clock::ticks;
use super::saves::Last;
use super::{CRON_US, EXPIRE_BUDGET, EXPIRE_US, FIELDS_BUDGET, Home, SWEEP_BUDGET, Worker};
use crate::net::conn::Phase;
use crate::settings::Fsync;

/// Bytes of effects that wait for the disk above which no command is taken.
const LOG_PAUSE: usize = 64 * 1024 * 1024;
/// How long effects may wait for a slow disk, once acknowledged, before no command is taken. Under
/// `always` nothing is acknowledged before the disk has it.
const LAG_US: u64 = 200_000;
/// TLS failures logged a second and core; all are counted.
const TLS_LOGS: u32 = 5;
/// Milliseconds that clients have to take their last replies at shutdown.
const DRAIN_MS: u64 = 5000;

impl Worker {
    /// What is done by the clock.
    pub(super) fn housekeep(&mut self) {
        let now = self.clock.now_us;
        // Half of either bound lets commands in again, so that the door does not rattle.
        let part = if self.log_backlogged { 2 } else { 1 };
        let always = self.settings.persistence.appendfsync == Fsync::Always;
        // A log that takes nothing more grows no more: writes are refused, and reads go on.
        let backlogged = self.log.accepts().is_ok()
            && (self.log.is_short()
                || self.log.backlog() > LOG_PAUSE / part
                || (!always && self.log.lag(now) > LAG_US / part as u64));
        // What waits in the queue is looked at again when the log has caught up.
        self.queue_stirs |= self.log_backlogged && !backlogged;
        self.log_backlogged = backlogged;
        if self.garbage && matches!(self.home, Home::Here) {
            self.garbage = self.ks.shard(self.core).sweep(SWEEP_BUDGET);
        }
        if self.walks_on() {
            self.walk_on();
        }
        self.list_on();
        if now >= self.next_expire {
            self.next_expire = now + EXPIRE_US;
            self.expire();
        }
        if !self.sleepers.is_empty() {
            self.wake_sleepers(now);
        }
        self.watch_memory();
        self.end_waits();
        self.end_postponement();
        if now < self.next_cron {
            return;
        }
        self.next_cron = now + CRON_US;
        self.clock.calibrate();
        self.stats.sample(now);
        self.log.report_usage(&self.shared);
        self.note_changes();
        self.begin_due_checkpoint();
        self.tls_log_budget = TLS_LOGS;
        if self.core == 0 {
            self.shared.measure_memory();
        }
        for index in mem::take(&mut self.reaccept) {
            if let Some(listener) = self.listeners.get(index as usize) {
                self.ring.accept(listener.fd.as_raw_fd(), index);
            }
        }
        if matches!(self.home, Home::Here) {
            let now = self.clock.unix_ms;
            let shard = self.ks.shard(self.core);
            shard.note_time(now);
            self.garbage = shard.sweep(0);
        }
        self.look_after_clients();
        if let Some(since) = self.stopping
            && self.clock.now_us.saturating_sub(since) > DRAIN_MS * 1000
        {
            for index in 0..self.clients.end() {
                self.close(index);
            }
        }
    }

    pub(super) fn has_expires(&mut self) -> bool {
        if !matches!(self.home, Home::Here) {
            return false;
        }
        let databases = self.settings.server.databases;
        let shard = self.ks.shard(self.core);
        shard.has_timed_fields() || (0..databases).any(|db| shard.expires(db) > 0)
    }

    fn expire(&mut self) {
        let (paused, _) = self.shared.attention();
        if self.free()
            && self.active_expiry
            && !self.follows
            && !paused
            && self.log.accepts().is_ok()
        {
            let now = self.clock.unix_ms;
            let started = ticks();
            let shard = self.ks.shard(self.core);
            shard.expire_cycle(now, EXPIRE_BUDGET);
            shard.expire_fields(now, FIELDS_BUDGET);
            let ns = self.clock.ns(ticks().wrapping_sub(started));
            if ns >= self.event_ns {
                self.note_event("expire-cycle", ns);
            }
            self.serve_blocked();
        }
    }

    fn wake_sleepers(&mut self, now: u64) {
        for index in mem::take(&mut self.sleepers) {
            match self.clients.at(index).map(|client| client.waiting) {
                Some(Waiting::Until { at, .. }) if at > now => self.sleepers.push(index),
                Some(Waiting::Until { silent, .. }) => {
                    if let Some(client) = self.clients.at(index)
                        && !silent
                    {
                        crate::resp::Reply {
                            proto: client.proto,
                            buf: client.conn.replies.writer(),
                        }
                        .ok();
                    }
                    self.resume(index);
                }
                _ => {}
            }
        }
    }

    /// Closes clients that idle, do not finish their handshake or do not read; a tenth of all at
    /// a time, so that many silent ones cost nothing to speak of.
    fn look_after_clients(&mut self) {
        let end = self.clients.end();
        let step = (end / 10).max(64).min(end);
        let now = self.clock.unix_ms;
        let idle = self.settings.server.timeout.as_millis() as u64;
        let handshake = self.settings.tls.handshake_timeout.as_millis() as u64;
        let limits = self.settings.server.client_output_buffer_limit;
        for _ in 0..step {
            let index = self.cron_at;
            self.cron_at = if index + 1 >= end { 0 } else { index + 1 };
            let Some(client) = self.clients.at(index) else {
                continue;
            };
            let silent = now.saturating_sub(client.active_ms);
            let handshaking = client.conn.tls().is_some_and(|tls| !tls.established());
            let soft = client.output_limit(&limits).soft_for.as_millis() as u64;
            // Who listens need not say anything, and a server that is followed may have nothing to say.
            let listens = client.subs.is_some() || client.monitors || client.applies;
            let slow = client.conn.phase != Phase::Shut
                && client
                    .over_soft_since
                    .is_some_and(|at| now.saturating_sub(at) > soft);
            if slow {
                self.stats.output_limit_closes += 1;
            }
            let over = slow
                || (idle > 0
                    && silent > idle
                    && !listens
                    && client.waiting == Waiting::Nothing
                    && client.conn.replies.settled())
                || (handshaking && now.saturating_sub(client.since_ms) > handshake)
                || (client.conn.phase == Phase::Draining && silent > 30_000);
            if over {
                if handshaking {
                    let reason = "handshake timed out".to_owned();
                    *self.stats.tls_failures.entry(reason).or_default() += 1;
                }
                self.close(index);
            }
        }
    }

    /// Takes over what other parts keep of the settings.
    pub(super) fn settings_changed(&mut self) {
        let policy = match self.settings.persistence.appendfsync {
            Fsync::Always => crate::log::Policy::Always,
            Fsync::EverySec => crate::log::Policy::EverySec,
            Fsync::No => crate::log::Policy::No,
        };
        self.log.set_policy(policy);
        self.slow_ns = self
            .settings
            .latency
            .slowlog_log_slower_than
            .map_or(u64::MAX, |limit| limit.as_nanos() as u64);
        let threshold = self.settings.latency.monitor_threshold;
        self.event_ns = match threshold.as_nanos() {
            0 => u64::MAX,
            ns => ns as u64,
        };
        self.eviction = super::evict::eviction(&self.settings.storage);
        self.frequency = super::evict::frequency(&self.settings.storage);
        self.set_noticed();
        self.attune();
    }

    /// Begins to stop: no new connection, no new command.
    pub(super) fn begin_stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.clock.now_us);
        for listener in &self.listeners {
            self.ring.cancel_fd(listener.fd.as_raw_fd());
        }
        self.listeners.clear();
        for index in 0..self.clients.end() {
            if let Some(client) = self.clients.at(index) {
                if client.conn.phase == Phase::Open {
                    client.leaving = true;
                }
                note(&mut self.input, index, &mut client.has_input);
                note(&mut self.output, index, &mut client.has_output);
            }
        }
    }

    /// Whether everything has come to its end.
    pub(super) fn finished(&mut self) -> bool {
        if self.stopping.is_none() {
            return false;
        }
        let quiet = self.clients.is_empty()
            && self.txs.is_empty()
            && self.queue.is_empty()
            && self.walks.is_empty()
            && self.listings.is_empty()
            && self.held_batches.is_empty()
            && self.pubsub.is_quiet()
            && self.promises.is_empty()
            && self.checkpoints.is_quiet()
            && matches!(self.home, Home::Here);
        let since = self.stopping.unwrap_or_default();
        // A script that is over its time and has written cannot be ended: what it did is given up.
        let patience = if self.shared.is_busy() {
            DRAIN_MS / 10
        } else {
            4 * DRAIN_MS
        };
        let last = self.shared.saves.last();
        let stuck =
            last != Last::Going && self.clock.now_us.saturating_sub(since) > patience * 1000;
        if !quiet && !self.closing_log && stuck {
            self.unclosed = Some(format!(
                "core {}: what was under way does not end; the log is left as a crash would leave it",
                self.core
            ));
            return true;
        }
        if quiet && !self.closing_log && self.shared.core_is_quiet(self.core) {
            match last {
                Last::Wanted => {
                    self.begin_last_checkpoint();
                    return false;
                }
                Last::Going => return false,
                Last::None | Last::Over => {}
            }
            self.closing_log = true;
            self.append_effects();
            self.log.close();
            return false;
        }
        if self.closing_log && !self.log.closed() {
            // A full disk would keep us for ever. What it has taken is recovered at the next start.
            if self.clock.now_us.saturating_sub(since) > 2 * DRAIN_MS * 1000 {
                self.unclosed = Some(format!(
                    "core {}: the log cannot be closed, the disk does not take it: {} bytes of effects that \
                     were acknowledged are lost",
                    self.core,
                    self.log.backlog()
                ));
                return true;
            }
            return false;
        }
        if self.closing_log {
            self.log.report_usage(&self.shared);
        }
        self.closing_log
    }
}
