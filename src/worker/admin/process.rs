//! SHUTDOWN and what concerns the server's life and its copies: LASTSAVE, SAVE, BGSAVE,
//! BGREWRITEAOF, ROLE, WAIT.
//!
//! Source: the Redis command pages of each. There are neither checkpoints nor replicas yet: what
//! asks for them is refused, what asks about them is told so.

use super::super::Worker;
use super::super::client::Client;
use super::super::tick::Flow;
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

    pub(super) fn shutdown(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<Flow, Error> {
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
        if how.save && !self.log.is_on() {
            return Err(Error::Text(
                "ERR Nothing can be saved: persistence.appendonly is off. SHUTDOWN NOSAVE drops the data",
            ));
        }
        tracing::warn!(client = %client.addr, "SHUTDOWN asked for by a client");
        self.shared.ask_to_stop();
        // As with Redis there is no answer but the end of the connection.
        Ok(Flow::Close)
    }

    pub(super) fn process(
        &mut self,
        client: &mut Client,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let started = self.shared.started_unix as i64;
        let mut reply = self.reply(client);
        match session {
            // Redis, too, tells the start of the process as long as nothing was saved.
            SessionCmd::Lastsave => reply.int(started),
            SessionCmd::Role => {
                reply.array(3);
                reply.bulk("master");
                reply.int(0);
                reply.array(0);
            }
            SessionCmd::Bgsave
                if argv.len() > 2
                    || argv
                        .get(1)
                        .is_some_and(|w| !w.eq_ignore_ascii_case(b"schedule")) =>
            {
                return Err(Error::Syntax);
            }
            SessionCmd::Save | SessionCmd::Bgsave => {
                return Err(Error::Text(
                    "ERR Checkpoints are not available in this version; with persistence.appendonly every \
                     write is in the sealed log",
                ));
            }
            SessionCmd::Bgrewriteaof => {
                return Err(Error::Text(
                    "ERR Shortening the log needs checkpoints, which are not available in this version",
                ));
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
