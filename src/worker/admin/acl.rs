//! The ACL commands. What users are and how rules read is in [`crate::acl`]; who a client is, in
//! [`super::super::access`].
//!
//! A change is made where all cores share the users, and only when every core has taken it is the client told. No
//! password is written anywhere: a log line names the user, a refused rule is shown only if it holds none.
//!
//! Source: the Redis command pages of ACL.

use std::sync::Arc;

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Asker, Question};
use super::super::message::Message;
use super::super::tick::Flow;
use super::Then;
use crate::acl::{DEFAULT, Entry, Selector, User, check};
use crate::command::{self, Error, SessionCmd};
use crate::resp::Reply;
use crate::resp::number::parse_i64;

/// Entries that ACL LOG tells when no number is given.
const DEFAULT_ENTRIES: usize = 10;
/// Bits of an ACL GENPASS when no number is given, and at most.
const DEFAULT_BITS: i64 = 256;
const MOST_BITS: i64 = 4096;

const NO_FILE: Error = Error::Text(
    "ERR This Redis instance is not configured to use an ACL file. You may want to name one in the setting \
     auth.acl_file and start the server anew.",
);

impl Worker {
    /// Carries out a subcommand of ACL.
    pub(super) fn acl(
        &mut self,
        client: &mut Client,
        index: u32,
        session: SessionCmd,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        match session {
            SessionCmd::AclWhoami => {
                let user = client.user.clone();
                self.reply(client).bulk(user.name());
            }
            SessionCmd::AclSetuser => return self.acl_setuser(client, index, argv),
            SessionCmd::AclDeluser => return self.acl_deluser(client, index, argv),
            SessionCmd::AclGetuser => match self.users.get(argv[2]).cloned() {
                Some(user) => describe(&mut self.reply(client), &user),
                None => self.reply(client).null(),
            },
            SessionCmd::AclList => {
                let lines: Vec<Vec<u8>> = self.users.lines().collect();
                list(&mut self.reply(client), &lines);
            }
            SessionCmd::AclUsers => {
                let names: Vec<Vec<u8>> = self.users.iter().map(|u| u.name().to_vec()).collect();
                list(&mut self.reply(client), &names);
            }
            SessionCmd::AclLog => self.acl_log(client, argv)?,
            SessionCmd::AclDryrun => self.acl_dryrun(client, argv)?,
            SessionCmd::AclGenpass => {
                let password = generate(argv)?;
                self.reply(client).bulk(password);
            }
            SessionCmd::AclSave => {
                if self.settings.auth.acl_file.is_none() {
                    return Err(NO_FILE);
                }
                let shared = self.shared.clone();
                return Ok(self.errand(client, index, move || shared.save_users()));
            }
            SessionCmd::AclLoad => return self.acl_load(client, index),
            _ => unreachable!("only the subcommands of ACL come here"),
        }
        Ok(Flow::Next)
    }

    fn acl_setuser(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        self.shared
            .change_users(|users| users.set(argv[2], &argv[3..]))
            .map_err(|e| Error::message(format!("ERR {e}")))?;
        let user = String::from_utf8_lossy(argv[2]);
        tracing::info!(client = %client.addr, "ACL SETUSER {user}");
        let question = Question::Users {
            removed: Vec::new(),
            asker: Some(client.id),
        };
        Ok(self.ask(client, index, question, then(|reply| reply.ok())))
    }

    fn acl_deluser(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        if argv[2..].contains(&DEFAULT) {
            return Err(Error::Text("ERR The 'default' user cannot be removed"));
        }
        let removed = self.shared.change_users(|users| {
            let names = argv[2..].iter().filter(|name| users.remove(name));
            names.map(|name| name.to_vec()).collect::<Vec<_>>()
        });
        for user in &removed {
            let user = String::from_utf8_lossy(user);
            tracing::info!(client = %client.addr, "ACL DELUSER {user}");
        }
        let count = removed.len() as i64;
        let question = Question::Users {
            removed,
            asker: Some(client.id),
        };
        Ok(self.ask(client, index, question, then(move |reply| reply.int(count))))
    }

    /// Reads the file on the blocking thread, which then asks all cores to take what is in force; if the file does
    /// not do, that is what was before.
    fn acl_load(&mut self, client: &mut Client, index: u32) -> Result<Flow, Error> {
        if self.settings.auth.acl_file.is_none() {
            return Err(NO_FILE);
        }
        let asker = client.id;
        let cores = self.mesh.cores();
        let gather = self.open_gather(client, index, cores + 1, then(|reply| reply.ok()));
        let shared = self.shared.clone();
        let core = self.core;
        let work = move || {
            let (removed, result) = match shared.load_users() {
                Ok(removed) => (removed, Ok(())),
                Err(why) => (Vec::new(), Err(why)),
            };
            let question = Arc::new(Question::Users {
                removed,
                asker: Some(asker),
            });
            for inbox in &shared.inboxes {
                inbox.push(Message::Ask {
                    from: Asker::Core { core, gather },
                    question: question.clone(),
                });
            }
            shared.inboxes[core].push(Message::Answer {
                gather,
                answer: Box::new(Answer::Ended(result)),
            });
        };
        self.run_aside(work);
        tracing::info!(client = %client.addr, "ACL LOAD");
        Ok(Flow::Wait)
    }

    fn acl_log(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<(), Error> {
        let most = match argv {
            [_, _] => DEFAULT_ENTRIES,
            [_, _, word] if word.eq_ignore_ascii_case(b"reset") => {
                self.shared.acl_log().clear();
                self.reply(client).ok();
                return Ok(());
            }
            [_, _, count] => {
                let count = parse_i64(count).ok_or(Error::NotInteger)?;
                usize::try_from(count).unwrap_or(0)
            }
            _ => return Err(Error::subcommand_syntax(argv)),
        };
        let entries = self.shared.acl_log().newest(most);
        let now = self.clock.unix_ms;
        let mut reply = self.reply(client);
        reply.array(entries.len());
        for entry in &entries {
            write_entry(&mut reply, entry, now);
        }
        Ok(())
    }

    fn acl_dryrun(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<(), Error> {
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let inner = &argv[3..];
        let user =
            self.users.get(argv[2]).cloned().ok_or_else(|| {
                Error::message(format!("ERR User '{}' not found", shown(argv[2])))
            })?;
        let (row, number) = match command::resolve(inner) {
            Ok(found) => found,
            Err(e @ Error::Arity(_)) => return Err(e),
            Err(_) => {
                let text = format!("ERR Command '{}' not found", shown(inner[0]));
                return Err(Error::message(text));
            }
        };
        match check(&user, row, number, inner) {
            Ok(()) => self.reply(client).ok(),
            Err(denied) => self.reply(client).bulk(denied.verbose(&user, row, inner)),
        }
        Ok(())
    }
}

/// Answers when all cores have taken the users; a client whose own user is gone is closed behind its answer.
fn then(answer: impl FnOnce(&mut Reply<'_>) + 'static) -> Then {
    Box::new(move |worker, client, answers| {
        let Some(client) = client else { return };
        let failed = answers.into_iter().find_map(|answer| match answer {
            Answer::Ended(Err(why)) => Some(why),
            _ => None,
        });
        match failed {
            Some(why) => worker.refuse(client, Error::message(format!("ERR {why}"))),
            None => answer(&mut worker.reply(client)),
        }
        let own = worker.users.get(client.user.name());
        if !own.is_some_and(|user| Arc::ptr_eq(user, &client.user)) {
            worker.expel(client);
        }
    })
}

fn list(reply: &mut Reply<'_>, items: &[Vec<u8>]) {
    reply.array(items.len());
    for item in items {
        reply.bulk(item);
    }
}

fn describe(reply: &mut Reply<'_>, user: &User) {
    let flags = user.flags();
    let selector = |reply: &mut Reply<'_>, selector: &Selector| {
        reply.bulk("commands");
        reply.bulk(selector.command_rules());
        reply.bulk("keys");
        reply.bulk(selector.key_rules());
        reply.bulk("channels");
        reply.bulk(selector.channel_rules());
    };
    reply.map(6);
    reply.bulk("flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag);
    }
    reply.bulk("passwords");
    reply.array(user.hashes().len());
    for hash in user.hashes() {
        reply.bulk(hash);
    }
    selector(reply, &user.selectors()[0]);
    reply.bulk("selectors");
    reply.array(user.selectors().len() - 1);
    for more in &user.selectors()[1..] {
        reply.map(3);
        selector(reply, more);
    }
}

fn write_entry(reply: &mut Reply<'_>, entry: &Entry, now_ms: u64) {
    let event = &entry.event;
    reply.map(10);
    reply.bulk("count");
    reply.int(entry.count as i64);
    for (name, value) in [
        ("reason", event.reason.name().as_bytes()),
        ("context", event.context.name().as_bytes()),
        ("object", &event.object),
        ("username", &event.user),
    ] {
        reply.bulk(name);
        reply.bulk(value);
    }
    reply.bulk("age-seconds");
    reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    reply.bulk("client-info");
    reply.bulk(&entry.client);
    for (name, value) in [
        ("entry-id", entry.id),
        ("timestamp-created", entry.created_ms),
        ("timestamp-last-updated", entry.updated_ms),
    ] {
        reply.bulk(name);
        reply.int(value as i64);
    }
}

/// ACL GENPASS: random hexadecimal digits of so many bits, rounded up.
fn generate(argv: &[&[u8]]) -> Result<String, Error> {
    let bits = match argv {
        [_, _] => Some(DEFAULT_BITS),
        [_, _, bits] => Some(parse_i64(bits).ok_or(Error::NotInteger)?),
        _ => return Err(Error::subcommand_syntax(argv)),
    };
    let bits = bits.filter(|n| (1..=MOST_BITS).contains(n)).ok_or(Error::Text(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    ))?;
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    crate::seal::random(&mut bytes)
        .map_err(|e| Error::message(format!("ERR no randomness: {e}")))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    Ok(text)
}

#[cfg(test)]
mod tests {

    #[test]
    fn passwords_have_the_bits_asked_for() {
        let generate = |bits: &str| {
            let argv: &[&[u8]] = &[b"acl", b"genpass", bits.as_bytes()];
            super::generate(argv).map_err(|e| e.to_string())
        };
        for (bits, digits) in [("1", 1), ("4", 1), ("5", 2), ("256", 64), ("4096", 1024)] {
            let password = generate(bits).unwrap();
            assert_eq!(password.len(), digits, "{bits}");
            assert!(password.bytes().all(|b| b.is_ascii_hexdigit()));
        }
        assert_ne!(generate("256"), generate("256"));
        for bits in ["0", "-1", "4097"] {
            assert!(generate(bits).unwrap_err().contains("up to 4096"), "{bits}");
        }
        assert!(generate("x").unwrap_err().contains("not an integer"));
    }
}
