//! The commands that a script calls: whether it may, what it may not do in a script, and their replies.

use super::super::Worker;
use super::super::dispatch::Seat;
use super::Script;
use crate::acl::{self, Context, Denied, Event, Reason};
use crate::command::{self, Command, Error, Run, SessionCmd, flag};
use crate::resp::{Proto, Reply};
use crate::script::Answer;

impl Worker {
    /// Whether whoever runs the script may run a command; says why not.
    fn script_may(
        &mut self,
        script: &Script,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
    ) -> Result<(), (Denied, String)> {
        match &script.who.user {
            None => Ok(()),
            Some((user, _)) => acl::check(user, row, number, argv)
                .map_err(|denied| (denied, denied.message(user, row))),
        }
    }

    pub(super) fn script_checks(&mut self, script: &Script, argv: &[&[u8]], reply: &mut Vec<u8>) {
        let found = match command::resolve(argv) {
            Ok(found) => Some(found),
            // How many arguments there are is not asked.
            Err(Error::Arity(name)) => command::named(name.as_bytes()),
            Err(_) => None,
        };
        if let Some(row) = found {
            let may = self.script_may(script, row, argv).is_ok();
            reply.push(if may { b'+' } else { b'-' });
        }
    }

    /// Carries out a command of a script.
    pub(super) fn script_calls(
        &mut self,
        script: &mut Script,
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
        proto: Proto,
    ) -> Answer {
        let refused = match command::resolve(argv) {
            Ok(found) => {
                if script.left
                    && !script.written
                    && found.0.has(flag::WRITE)
                    && !self.shared.sources.may_write(self.core)
                {
                    return Answer::Die;
                }
                match self.script_runs(script, found, argv, reply, proto) {
                    Ok(()) => return Answer::Go,
                    Err(e) => {
                        self.stats.refused(found.1);
                        e
                    }
                }
            }
            Err(Error::Arity(_)) => {
                Error::Text("ERR Wrong number of args calling Redis command from script")
            }
            Err(_) => Error::Text("ERR Unknown Redis command called from script"),
        };
        reply.clear();
        refused.write(&mut Reply { buf: reply, proto });
        self.stats.error(reply);
        Answer::Go
    }

    fn script_runs(
        &mut self,
        script: &mut Script,
        (row, number): (&'static Command, u16),
        argv: &[&[u8]],
        reply: &mut Vec<u8>,
        proto: Proto,
    ) -> Result<(), Error> {
        let not_allowed = Error::Text("ERR This Redis command is not allowed from script");
        if row.has(flag::NOSCRIPT) {
            return Err(not_allowed);
        }
        if let Err((denied, why)) = self.script_may(script, (row, number), argv) {
            self.note_script_denied(script, denied, row, argv);
            return Err(Error::message(format!(
                "NOPERM ACL failure in script: {why}"
            )));
        }
        let publishes = matches!(row.run, Run::Session(SessionCmd::Publish(_)));
        if script.read_only && (row.has(flag::WRITE) || publishes || row.name == "pfcount") {
            return Err(Error::Text(
                "ERR Write commands are not allowed from read-only scripts.",
            ));
        }
        if row.has(flag::WRITE)
            && !script.written
            && let Some(why) = &script.refusal
        {
            return Err(Error::message(why.clone()));
        }
        if row.has(flag::DENYOOM) && script.short && !script.allow_oom && !script.written {
            let text = "OOM command not allowed when used memory > 'maxmemory'.";
            return Err(Error::Text(text));
        }
        if matches!(row.name, "xread" | "xreadgroup") && blocks(argv) {
            return Err(Error::message(format!(
                "ERR {} command is not allowed with BLOCK option from scripts",
                String::from_utf8_lossy(argv[0])
            )));
        }
        let db = script.who.seat.db;
        match row.run {
            Run::Data(f) => {
                script.written |= row.has(flag::WRITE);
                let seat = Seat {
                    proto,
                    ..script.who.seat
                };
                let clock = (self.clock.unix_ms, self.clock.unix_us);
                (self.clock.unix_ms, self.clock.unix_us) = script.now;
                let ran = self.run_data(f, row, number, seat, argv, reply, None);
                (self.clock.unix_ms, self.clock.unix_us) = clock;
                debug_assert!(ran.wait.is_none(), "nothing waits in a script");
            }
            Run::Session(SessionCmd::Select) => {
                script.who.seat.db = command::database(argv[1], self.settings.server.databases)?;
                Reply { buf: reply, proto }.ok();
            }
            Run::Session(SessionCmd::Publish(topic)) => {
                let heard = self.announce(topic, argv[1], argv[2]);
                Reply { buf: reply, proto }.int(i64::from(heard));
            }
            _ => return Err(not_allowed),
        }
        if self.shared.attention().1 {
            self.show_called(db, row, argv);
        }
        Ok(())
    }

    fn note_script_denied(
        &mut self,
        script: &Script,
        denied: Denied,
        row: &Command,
        argv: &[&[u8]],
    ) {
        let Some((user, shown)) = &script.who.user else {
            return;
        };
        let (reason, object) = match denied {
            Denied::Command => (Reason::Command, row.name.as_bytes()),
            Denied::Key(at) => (Reason::Key, argv[at]),
            Denied::Channel(at) => (Reason::Channel, argv[at]),
        };
        self.stats.deny(reason);
        let event = Event {
            reason,
            context: Context::Lua,
            object: object.to_vec(),
            user: user.name().to_vec(),
        };
        let most = self.settings.auth.acllog_max_len as usize;
        let now = self.clock.unix_ms;
        let mut log = self.shared.acl_log();
        log.note(event, shown.clone(), now, most);
    }
}

/// Whether XREAD or XREADGROUP has the option BLOCK.
fn blocks(argv: &[&[u8]]) -> bool {
    let options = argv
        .iter()
        .take_while(|word| !word.eq_ignore_ascii_case(b"streams"));
    options
        .skip(1)
        .any(|word| word.eq_ignore_ascii_case(b"block"))
}
