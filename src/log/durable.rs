//! Syncs, and the anchor that says what they made durable.

use super::anchor::{Anchor, AnchorKey};
use super::config::{FileNo, Op, Policy};
use super::writer::{Doing, Phase, Writer};

impl Writer {
    /// Syncs the segments that need it: those that are full, and the one being written if its time has come.
    pub(super) fn sync(&mut self, out: &mut Vec<Op>) {
        let current = self.sync_due().is_some_and(|t| t <= self.now);
        for i in 0..self.loose.len() {
            let s = &mut self.loose[i];
            let covers = s.end.unwrap_or(u64::MAX).min(self.written);
            let full = s.end == Some(covers);
            if s.syncing || covers <= s.synced || !(full || current) {
                continue;
            }
            s.syncing = true;
            let file = s.file;
            if current {
                self.last_sync = Some(self.now);
            }
            let id = self.begin_op(Doing::Sync { file, covers });
            out.push(Op::Sync { id, file });
        }
    }

    /// When the segment that is being written has to be synced, if it has to be.
    pub(super) fn sync_due(&self) -> Option<u64> {
        let s = self.loose.back()?;
        let covers = s.end.unwrap_or(u64::MAX).min(self.written);
        if covers <= s.synced || s.syncing {
            return None;
        }
        match self.config.policy {
            _ if self.phase == Phase::Closing => Some(0),
            // Frames of before the policy was changed; with `dsync` nothing is left to sync.
            Policy::Always => Some(0),
            // One sync for all who wait by now, and none before it can be of use.
            _ if self.durable_lsn < self.awaited && self.awaited <= self.written_lsn => Some(0),
            Policy::EverySec => {
                let every = self.config.sync_interval.as_micros() as u64;
                Some(self.last_sync.map_or(0, |t| t + every))
            }
            Policy::No => None,
        }
    }

    pub(super) fn anchor_due(&self) -> Option<u64> {
        if !self.config.chain.anchored() {
            return None;
        }
        let waits = match self.phase {
            Phase::Anchoring => true,
            Phase::Running => self.durable_frames > self.anchor_said || self.anchor_forced,
            Phase::Closing => {
                self.anchor_said == 0
                    || (self.sealed_last && self.durable_frames == self.next_frame)
            }
            _ => false,
        };
        if !waits || self.anchor_busy {
            return None;
        }
        let every = self.config.anchor_interval.as_micros() as u64;
        match (
            self.anchor_forced || self.phase != Phase::Running,
            self.anchor_at,
        ) {
            (false, Some(t)) => Some(t + every),
            _ => Some(0),
        }
    }

    pub(super) fn anchor(&mut self, out: &mut Vec<Op>) {
        if self.anchor_due().is_none_or(|t| t > self.now) {
            return;
        }
        if self.anchor_key.is_none() {
            let c = &self.config;
            match AnchorKey::new(&self.dek, c.backend, c.core, &c.node) {
                Ok(key) => self.anchor_key = Some(key),
                Err(e) => return self.fail(&e.to_string()),
            }
        }
        let last = self.sealed_last && self.durable_frames == self.next_frame;
        let anchor = Anchor {
            generation: self.anchor_generation + 1,
            run: self.start.run,
            seq: self.anchor_seq.0,
            segment: self.anchor_seq.1,
            durable: self.durable_frames,
            lsn: self.durable_lsn,
            begin_run: self.start.begin_run,
            begin_seq: self.begin_seq,
            clean: last,
        };
        let buf = self.anchor_pool.take();
        let sealed = match &mut self.anchor_key {
            Some(key) => key.seal(&anchor, buf),
            None => return,
        };
        match sealed {
            Err(e) => self.fail(&e.to_string()),
            Ok((buf, offset)) => {
                self.anchor_generation += 1;
                self.releasing.append(&mut self.to_release);
                self.anchor_busy = true;
                self.anchor_forced = false;
                self.anchor_at = Some(self.now);
                self.counters.anchors += 1;
                self.counters.sealed_messages += 1;
                self.counters.sealed_bytes += buf.len() as u64;
                let id = self.begin_op(Doing::Anchor {
                    durable: anchor.durable,
                    last,
                });
                out.push(Op::Write {
                    id,
                    file: FileNo::ANCHOR,
                    offset,
                    buf,
                    dsync: true,
                });
            }
        }
    }

    pub(super) fn anchor_written(&mut self, durable: u64, last: bool) {
        self.anchor_said = durable;
        if self.phase == Phase::Anchoring {
            self.phase = Phase::Running;
        }
        self.spares.extend(self.releasing.drain(..));
        if last {
            self.close_file(FileNo::ANCHOR);
            self.finish();
        }
    }

    /// Nothing is left to be done.
    pub(super) fn finish(&mut self) {
        self.phase = Phase::Closed;
        while let Some(blank) = self.blanks.pop_front() {
            self.close_file(blank.file);
        }
    }
}
