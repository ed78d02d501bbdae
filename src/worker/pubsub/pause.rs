//! CLIENT PAUSE and CLIENT UNPAUSE: commands of all clients, or those that write, wait.
//!
//! Source: the Redis command pages of the two. A pause is known to all cores from the moment it is answered. A command
//! that is to wait is not taken from the client's input; it is looked at again when the pause ends. Keys do not
//! expire of their own meanwhile.

use std::mem;

use super::super::Worker;
use super::super::client::{Client, Waiting};
use super::super::message::Message;
use super::super::tick::Flow;
use super::super::tx::may_write;
use crate::command::{Command, Error, Run, SessionCmd};
use crate::resp::number::parse_i64;

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends, Unix milliseconds.
    pub until_ms: u64,
    /// Whether all commands wait, or those that write only.
    pub all: bool,
}

impl Pause {
    /// Both at once: what either asks for.
    pub fn with(self, other: Pause) -> Pause {
        Pause {
            until_ms: self.until_ms.max(other.until_ms),
            all: self.all || other.all,
        }
    }
}

/// Whether a command may change data, or be heard on other servers.
fn writes(row: &Command, client: &Client) -> bool {
    match row.run {
        Run::Session(SessionCmd::Publish(_)) => true,
        Run::Session(SessionCmd::Exec) => {
            let queue = client.multi.as_ref();
            queue.is_some_and(|queue| {
                queue.commands.iter().any(|queued| {
                    may_write(queued.command)
                        || matches!(queued.command.run, Run::Session(SessionCmd::Publish(_)))
                })
            })
        }
        // A script that does not say it only reads may write; PFCOUNT keeps what it counted.
        _ => may_write(row) || row.name == "pfcount",
    }
}

fn parse(argv: &[&[u8]], now_ms: u64) -> Result<Pause, Error> {
    let all = match argv {
        [_, _, _] => true,
        [_, _, _, mode] if mode.eq_ignore_ascii_case(b"all") => true,
        [_, _, _, mode] if mode.eq_ignore_ascii_case(b"write") => false,
        [_, _, _, _] => {
            return Err(Error::Text("ERR CLIENT PAUSE mode must be WRITE or ALL"));
        }
        _ => return Err(Error::subcommand_syntax(argv)),
    };
    let wrong = Error::Text("ERR timeout is not an integer or out of range");
    let ms = parse_i64(argv[2]).ok_or(wrong.clone())?;
    let ms = u64::try_from(ms).map_err(|_| Error::Text("ERR timeout is negative"))?;
    let until_ms = now_ms.checked_add(ms).filter(|at| *at <= i64::MAX as u64);
    Ok(Pause {
        until_ms: until_ms.ok_or(wrong)?,
        all,
    })
}

impl super::Pubsub {
    /// Clients that wait for the end of a pause.
    pub(in crate::worker) fn paused_clients(&self) -> usize {
        self.postponed.len()
    }
}

impl Worker {
    /// Lets a command wait for the end of the pause, if it has to.
    #[cold]
    pub(in crate::worker) fn postpone(
        &mut self,
        client: &mut Client,
        index: u32,
        row: &Command,
    ) -> Option<Flow> {
        let pause = self.shared.pause(self.clock.unix_ms)?;
        if !pause.all && !writes(row, client) {
            return None;
        }
        client.waiting = Waiting::Pause;
        self.pubsub.postponed.push(index);
        Some(Flow::Stall)
    }

    /// CLIENT PAUSE.
    pub(in crate::worker) fn client_pause(
        &mut self,
        client: &mut Client,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let now = self.clock.unix_ms;
        self.shared.set_pause(parse(argv, now)?, now);
        self.reply(client).ok();
        Ok(Flow::Next)
    }

    /// CLIENT UNPAUSE.
    pub(in crate::worker) fn client_unpause(&mut self, client: &mut Client) -> Flow {
        self.shared.end_pause();
        for core in 0..self.mesh.cores() {
            if core != self.core {
                self.mesh.send(core, Message::Unpaused);
            }
        }
        self.end_postponement();
        self.reply(client).ok();
        Flow::Next
    }

    /// Lets the commands run that waited, if the pause has ended.
    pub(in crate::worker) fn end_postponement(&mut self) {
        if self.pubsub.postponed.is_empty() || self.shared.pause(self.clock.unix_ms).is_some() {
            return;
        }
        for index in mem::take(&mut self.pubsub.postponed) {
            // The index may have a new bearer by now.
            let waits = |c: &mut Client| c.waiting == Waiting::Pause;
            if self.clients.at(index).is_some_and(waits) {
                self.resume(index);
            }
        }
    }

    /// When commands that wait here have to be looked at again, in microseconds of this core's clock.
    pub(in crate::worker) fn pause_ends(&self) -> Option<u64> {
        if self.pubsub.postponed.is_empty() {
            return None;
        }
        let now = self.clock.unix_ms;
        let until = self.shared.pause(now).map_or(now, |pause| pause.until_ms);
        Some(self.clock.now_us.saturating_add((until - now) * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_add_up() {
        let words = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        let write = parse(&words("client pause 100 write"), 1000).unwrap();
        let all = parse(&words("client pause 50"), 1000).unwrap();
        assert_eq!((write.until_ms, write.all), (1100, false));
        let both = Pause {
            until_ms: 1100,
            all: true,
        };
        assert_eq!(write.with(all), both);
        assert_eq!(all.with(write), both);
        for (line, error) in [
            ("client pause -1", "ERR timeout is negative"),
            (
                "client pause x",
                "ERR timeout is not an integer or out of range",
            ),
            (
                "client pause 9223372036854775807",
                "ERR timeout is not an integer or out of range",
            ),
            (
                "client pause 1 foo",
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ),
        ] {
            assert_eq!(parse(&words(line), 1000).unwrap_err().to_string(), error);
        }
    }
}
