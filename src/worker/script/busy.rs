//! A script that is over its time: from then on all cores answer BUSY to what is not allowed meanwhile.

use super::super::client::{Client, Waiting};
use super::super::clock::nanos;
use super::super::message::Message;
use super::super::{Home, Worker};
use super::Script;
use crate::command::{Command, Error, flag};
use crate::script::Kind;

impl Worker {
    /// Why a command is refused while a script is over its time, if it is.
    #[cold]
    pub(in crate::worker) fn busy(&self, row: &Command) -> Option<Error> {
        if !self.shared.is_busy() || row.has(flag::ALLOW_BUSY) {
            return None;
        }
        self.busy_text()
    }

    /// What is said while a script is over its time.
    pub(in crate::worker) fn busy_text(&self) -> Option<Error> {
        let running = self.shared.sources.longest()?;
        Some(Worker::busy_with(running.kind))
    }

    /// What is said while a script of that kind is in the way.
    pub(in crate::worker) fn busy_with(kind: Kind) -> Error {
        Error::Text(match kind {
            Kind::Eval => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
            Kind::Function => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
        })
    }

    pub(super) fn see_whether_overdue(&mut self, script: &mut Script) {
        let limit = self.settings.server.busy_reply_threshold.as_nanos() as u64;
        if script.overdue || limit == 0 || nanos().saturating_sub(script.began.0) < limit {
            return;
        }
        script.overdue = true;
        self.shared.begin_busy();
        tracing::warn!(
            script = &*script.name,
            "a script takes longer than busy-reply-threshold; SCRIPT KILL or FUNCTION KILL ends it if it has not written"
        );
        for core in 0..self.mesh.cores() {
            if core != self.core {
                self.mesh.send(core, Message::Busy);
            }
        }
        self.hear_busy();
    }

    /// Tells whoever waits for the shard that a script is over its time.
    pub(in crate::worker) fn hear_busy(&mut self) {
        for index in std::mem::take(&mut self.stalled) {
            let waits = |c: &mut Client| c.waiting == Waiting::Shard;
            if self.clients.at(index).is_some_and(waits) {
                self.resume(index);
            }
        }
        if !matches!(self.home, Home::Here) && self.shared.is_busy() {
            self.refuse_queued();
        }
    }
}
