//! SCRIPT: the scripts that are known, and the end of one that takes long.
//!
//! Source: the Redis command pages of the family. None of these waits for anything: SCRIPT LOAD checks a script in a
//! Lua of its own, so it works while this core's engine is busy.

use super::super::Worker;
use super::super::client::Client;
use super::super::tick::Flow;
use crate::command::{Error, SessionCmd};
use crate::script::{Kill, Kind, check_syntax, hex, sha1, unhex};

impl Worker {
    /// Carries one of the family out.
    pub(super) fn script_admin(
        &mut self,
        client: &mut Client,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let sources = self.shared.sources.clone();
        match session {
            SessionCmd::ScriptLoad => {
                let sha = sha1(argv[2]);
                if !sources.knows(&sha) {
                    check_syntax(argv[2])?;
                    sources.add(sha, argv[2]);
                }
                self.reply(client).bulk(hex(&sha));
            }
            SessionCmd::ScriptExists => {
                let mut reply = self.reply(client);
                reply.array(argv.len() - 2);
                for name in &argv[2..] {
                    let known = unhex(name).is_some_and(|sha| sources.knows(&sha));
                    reply.int(i64::from(known));
                }
            }
            SessionCmd::ScriptFlush => {
                let fits = match argv[2..] {
                    [] => true,
                    [how] => {
                        how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async")
                    }
                    _ => false,
                };
                if !fits {
                    let text = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
                    return Err(Error::Text(text));
                }
                sources.flush();
                self.reply(client).ok();
            }
            SessionCmd::ScriptDebug => match argv[2].to_ascii_lowercase().as_slice() {
                b"no" => self.reply(client).ok(),
                b"yes" | b"sync" => {
                    let text = "ERR SCRIPT DEBUG is not available: there is no debugger";
                    return Err(Error::Text(text));
                }
                _ => return Err(Error::Text("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
            },
            _ => self.kill_script(client, Kind::Eval)?,
        }
        Ok(Flow::Next)
    }

    /// SCRIPT KILL and FUNCTION KILL.
    pub(super) fn kill_script(&mut self, client: &mut Client, kind: Kind) -> Result<(), Error> {
        match self.shared.sources.kill(kind) {
            Kill::Done => self.reply(client).ok(),
            Kill::NotBusy => {
                return Err(Error::Text("NOTBUSY No scripts in execution right now."));
            }
            Kill::Unkillable => {
                return Err(Error::Text(
                    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can \
                     either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE \
                     command.",
                ));
            }
            Kill::Other(other) => {
                return Err(Worker::busy_with(other));
            }
        }
        Ok(())
    }
}
