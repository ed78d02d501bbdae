//! SHUTDOWN and what concerns the server's life and its copies: LASTSAVE, SAVE, BGSAVE,
//! BGREWRITEAOF, WAIT.
//!
//! A checkpoint is what Redis has two things for: it is the data in a file (SAVE, BGSAVE), and it makes the log before it
//! needless (BGREWRITEAOF). There are no replicas yet.
//!
//! Source: the Redis command pages of each.

use super::super::Worker;
use super::super::checkpoint::Order;
use super::super::client::Client;
use super::super::gather::{Answer, Asker};
use super::super::saves::{Aim, Request};
use super::super::tick::Flow;
use super::Then;
use crate::command::{Error, SessionCmd};
use crate::resp::number::parse_i64;

/// What a SHUTDOWN asks for.
#[derive(Debug, Default, PartialEq)]
struct Shutdown {
    save: bool,
    nosave: bool,
    /// NOW or FORCE, which change nothing here: no replica is waited for, and no error is ignored.
    hurry: bool,
    abort: bool,
}

fn parse(argv: &[&[u8]]) -> Result<Shutdown, Error> {
    let mut how = Shutdown::default();
    for word in &argv[1..] {
        let place = match word.to_ascii_lowercase().as_slice() {
            b"save" => &mut how.save,
            b"nosave" => &mut how.nosave,
            b"now" | b"force" => &mut how.hurry,
            b"abort" => &mut how.abort,
            _ => return Err(Error::Syntax),
        };
        *place = true;
    }
    if (how.abort && (how.save || how.nosave || how.hurry)) || (how.save && how.nosave) {
        return Err(Error::Syntax);
    }
    Ok(how)
}

/// A timeout in milliseconds; `None` is for ever.
pub(super) fn timeout(arg: &[u8]) -> Result<Option<u64>, Error> {
    let ms = parse_i64(arg).ok_or(Error::Text("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| Error::Text("ERR timeout is negative"))?;
    Ok((ms > 0).then_some(ms))
}

impl Worker {
    /// WAIT: no replica can come, so whoever wants one waits until the time is up.
    pub(super) fn wait(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let wanted = parse_i64(argv[1]).ok_or(Error::NotInteger)?;
        let timeout = timeout(argv[2])?;
        // Inside EXEC nothing is waited for.
        if wanted <= 0 || index == u32::MAX {
            self.reply(client).int(0);
            return Ok(Flow::Next);
        }
        Ok(self.pause(client, index, timeout, b":0\r\n".to_vec()))
    }

    pub(super) fn shutdown(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let how = parse(argv)?;
        if how.abort {
            return Err(Error::Text(match self.stopping {
                None => "ERR No shutdown in progress.",
                Some(_) => "ERR The shutdown is under way and cannot be taken back.",
            }));
        }
        if !how.nosave
            && self.shared.is_busy()
            && let Some(busy) = self.busy_text()
        {
            return Err(busy);
        }
        tracing::warn!(client = %client.addr, "SHUTDOWN asked for by a client");
        // Without a log: one checkpoint while clients are served, which tells whether it can be done, and one more at the end.
        // If one is under way, that has told enough.
        let idle = self.shared.saves.standing().under_way.is_none();
        if how.save && !self.log.is_on() && index != u32::MAX && idle {
            return self.save_and(client, index, |worker, client| {
                worker.shared.ask_to_stop(Some(true));
                client.leaving = true;
            });
        }
        let save = match (how.save, how.nosave) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        self.shared.ask_to_stop(save);
        // As with Redis there is no answer but the end of the connection.
        Ok(Flow::Close)
    }

    /// Takes a checkpoint, lets the client wait for it, and then goes on; or tells the client why there is none.
    fn save_and(
        &mut self,
        client: &mut Client,
        index: u32,
        then: impl FnOnce(&mut Worker, &mut Client) + 'static,
    ) -> Result<Flow, Error> {
        if self.shared.saves.request(Aim::Save, false) != Request::Begin {
            return Err(Error::Text("ERR Background save already in progress"));
        }
        let then: Then = Box::new(|worker, client, answers| {
            let Some(client) = client else { return };
            match answers.into_iter().next() {
                Some(Answer::Ended(Ok(()))) => then(worker, client),
                Some(Answer::Ended(Err(why))) => {
                    let why = format!("ERR The checkpoint was not completed: {why}");
                    worker.refuse(client, Error::message(why));
                }
                _ => worker.refuse(client, Error::Text("ERR The checkpoint was not completed")),
            }
        });
        let gather = self.open_gather(client, index, 1, then);
        let core = self.core;
        self.order(0, Order::Start(Some(Asker::Core { core, gather })));
        Ok(Flow::Wait)
    }

    /// BGSAVE and BGREWRITEAOF.
    fn save_aside(&mut self, client: &mut Client, aim: Aim, schedule: bool) -> Result<Flow, Error> {
        let (started, scheduled) = match aim {
            Aim::Save => ("Background saving started", "Background saving scheduled"),
            Aim::Rewrite => (
                "Background append only file rewriting started",
                "Background append only file rewriting scheduled",
            ),
        };
        let text = match self.shared.saves.request(aim, schedule) {
            Request::Begin => {
                self.order(0, Order::Start(None));
                started
            }
            Request::Scheduled => scheduled,
            Request::Busy(Aim::Save) => {
                return Err(Error::Text("ERR Background save already in progress"));
            }
            Request::Busy(Aim::Rewrite) if aim == Aim::Rewrite => {
                return Err(Error::Text(
                    "ERR Background append only file rewriting already in progress",
                ));
            }
            Request::Busy(Aim::Rewrite) => {
                return Err(Error::Text(
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
                     order to schedule a BGSAVE whenever possible.",
                ));
            }
        };
        self.reply(client).simple(text);
        Ok(Flow::Next)
    }

    pub(super) fn process(
        &mut self,
        client: &mut Client,
        index: u32,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let mut reply = self.reply(client);
        match session {
            // Redis, too, tells the start of the process as long as nothing was saved.
            SessionCmd::Lastsave => reply.int(self.shared.saves.standing().last_unix as i64),
            SessionCmd::Bgsave
                if argv.len() > 2
                    || argv
                        .get(1)
                        .is_some_and(|w| !w.eq_ignore_ascii_case(b"schedule")) =>
            {
                return Err(Error::Syntax);
            }
            SessionCmd::Save if index == u32::MAX => {
                return Err(Error::Text("ERR Command not allowed inside a transaction"));
            }
            SessionCmd::Save => {
                return self.save_and(client, index, |worker, client| worker.reply(client).ok());
            }
            SessionCmd::Bgsave => return self.save_aside(client, Aim::Save, argv.len() > 1),
            // As Redis does while it saves, it is scheduled then.
            SessionCmd::Bgrewriteaof => {
                let under_way = self.shared.saves.standing().under_way;
                let schedule = under_way.is_some_and(|under_way| under_way.aim == Aim::Save);
                return self.save_aside(client, Aim::Rewrite, schedule);
            }
            _ => return Err(Error::Syntax),
        }
        Ok(Flow::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_takes_what_redis_takes() {
        let parse = |line: &str| parse(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(parse("shutdown"), Ok(Shutdown::default()));
        assert!(parse("shutdown NOSAVE now force").is_ok());
        assert!(parse("shutdown abort").unwrap().abort);
        for bad in ["shutdown foo", "shutdown save nosave", "shutdown abort now"] {
            assert_eq!(parse(bad), Err(Error::Syntax), "{bad}");
        }
    }
}
