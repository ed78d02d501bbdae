//! CLIENT INFO, CLIENT LIST, CLIENT KILL and CLIENT UNBLOCK. The rest of CLIENT needs no other core and is in
//! `session.rs`.
//!
//! Source: the Redis command pages of the four.

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Class, ClientInfo, KillFilter, Question};
use super::super::tick::Flow;
use crate::acl::Users;
use crate::command::{Command, Error};
use crate::net::conn::Phase;
use crate::resp::number::parse_i64;

/// A class of clients by its name.
fn class(kind: &[u8]) -> Result<Class, Error> {
    let known = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
    if known("normal") {
        Ok(Class::Normal)
    } else if known("pubsub") {
        Ok(Class::Pubsub)
    } else if ["master", "replica", "slave"].into_iter().any(known) {
        Ok(Class::Server)
    } else {
        let kind = String::from_utf8_lossy(kind);
        Err(Error::message(format!("ERR Unknown client type '{kind}'")))
    }
}

/// Which clients CLIENT LIST shows.
#[derive(Debug, PartialEq)]
enum Shown {
    All,
    Of(Class),
    Ids(Vec<u64>),
}

fn shown(argv: &[&[u8]]) -> Result<Shown, Error> {
    match argv {
        [_, _] => Ok(Shown::All),
        [_, _, option, kind] if option.eq_ignore_ascii_case(b"type") => class(kind).map(Shown::Of),
        [_, _, option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let ids = ids.iter().map(|id| {
                let id = parse_i64(id).ok_or(Error::Text("ERR Invalid client ID"))?;
                // No client has a negative number.
                Ok(u64::try_from(id).unwrap_or(0))
            });
            ids.collect::<Result<_, Error>>().map(Shown::Ids)
        }
        _ => Err(Error::Syntax),
    }
}

/// A CLIENT KILL: whom, and which form the answer has.
#[derive(Debug)]
struct Kill {
    filter: KillFilter,
    /// `CLIENT KILL ip:port`, answered with OK instead of a count.
    old_form: bool,
    /// Whether the client that asks is spared.
    skip_me: bool,
}

fn kill(argv: &[&[u8]], users: &Users) -> Result<Kill, Error> {
    let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
    let mut kill = Kill {
        filter: KillFilter::default(),
        old_form: false,
        skip_me: true,
    };
    if let [_, _, addr] = argv {
        kill.filter.addr = text(addr);
        kill.old_form = true;
        kill.skip_me = false;
        return Ok(kill);
    }
    let filter = &mut kill.filter;
    let (pairs, rest) = argv[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::Syntax);
    }
    for [option, value] in pairs {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        let positive = |error| {
            let n = parse_i64(value).filter(|n| *n > 0);
            n.map(|n| n as u64).ok_or(Error::Text(error))
        };
        if is("id") {
            filter.id = Some(positive("ERR client-id should be greater than 0")?);
        } else if is("type") {
            filter.class = Some(class(value)?);
        } else if is("addr") {
            filter.addr = text(value);
        } else if is("laddr") {
            filter.laddr = text(value);
        } else if is("user") {
            if users.get(value).is_none() {
                let user = String::from_utf8_lossy(value);
                return Err(Error::message(format!("ERR No such user '{user}'")));
            }
            filter.user = Some(value.to_vec());
        } else if is("maxage") {
            filter.max_age_s = Some(positive("ERR maxage should be greater than 0")?);
        } else if is("skipme") {
            kill.skip_me = if value.eq_ignore_ascii_case(b"yes") {
                true
            } else if value.eq_ignore_ascii_case(b"no") {
                false
            } else {
                return Err(Error::Syntax);
            };
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(kill)
}

impl KillFilter {
    fn matches(&self, client: &Client, now_ms: u64) -> bool {
        let age_s = now_ms.saturating_sub(client.since_ms) / 1000;
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        self.id.is_none_or(|id| id == client.id)
            && same(&self.addr, &client.addr)
            && same(&self.laddr, &client.laddr)
            && self.user.as_ref().is_none_or(|u| u == client.user.name())
            && self.class.is_none_or(|class| class == client.class())
            && self.max_age_s.is_none_or(|least| age_s >= least)
    }
}

impl Worker {
    pub(super) fn client_info(&mut self, client: &mut Client, row: &'static Command) -> Flow {
        client.last = Some(row);
        let trackers = &self.pubsub.audience.trackers;
        let line = Worker::describe(client, trackers, self.clock.unix_ms) + "\n";
        self.reply(client).verbatim("txt", line);
        Flow::Next
    }

    pub(super) fn client_list(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let shown = shown(argv)?;
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let mut list: Vec<ClientInfo> = answers
                .into_iter()
                .filter_map(|answer| match answer {
                    Answer::Clients(clients) => Some(clients),
                    _ => None,
                })
                .flatten()
                .filter(|info| match &shown {
                    Shown::All => true,
                    Shown::Of(class) => info.class == *class,
                    Shown::Ids(ids) => ids.contains(&info.id),
                })
                .collect();
            list.sort_unstable_by_key(|info| info.id);
            let mut text = String::new();
            for info in &list {
                text.push_str(&info.line);
                text.push('\n');
            }
            worker.reply(client).verbatim("txt", text);
        };
        Ok(self.ask(client, index, Question::Clients, Box::new(then)))
    }

    /// This core's clients.
    pub(super) fn describe_clients(&mut self) -> Vec<ClientInfo> {
        let now = self.clock.unix_ms;
        let trackers = &self.pubsub.audience.trackers;
        self.clients
            .iter_mut()
            .filter(|(_, client)| client.conn.phase != Phase::Shut)
            .map(|(_, client)| ClientInfo {
                id: client.id,
                class: client.class(),
                line: Worker::describe(client, trackers, now),
            })
            .collect()
    }

    pub(super) fn client_kill(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let Kill {
            mut filter,
            old_form,
            skip_me,
        } = kill(argv, &self.users)?;
        // Whoever asks gets the answer first, and is closed after it if it is meant too.
        let me_too = !skip_me && filter.matches(client, self.clock.unix_ms);
        filter.skip = Some(client.id);
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let others: u64 = answers
                .iter()
                .map(|answer| match answer {
                    Answer::Killed(n) => *n,
                    _ => 0,
                })
                .sum();
            let killed = others + u64::from(me_too);
            let Some(client) = client else { return };
            match (old_form, killed) {
                (true, 0) => worker.refuse(client, Error::Text("ERR No such client")),
                (true, _) => worker.reply(client).ok(),
                (false, n) => worker.reply(client).int(n as i64),
            }
            // Somebody else may have closed it while it waited.
            if me_too && client.conn.phase == Phase::Open {
                client.conn.phase = Phase::Draining;
            }
        };
        Ok(self.ask(client, index, Question::Kill(filter), Box::new(then)))
    }

    pub(super) fn client_unblock(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let error = match argv.get(3) {
            None => false,
            Some(how) if how.eq_ignore_ascii_case(b"timeout") => false,
            Some(how) if how.eq_ignore_ascii_case(b"error") => true,
            Some(_) => {
                return Err(Error::Text(
                    "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
                ));
            }
        };
        let number = parse_i64(argv[2]).ok_or(Error::NotInteger)?;
        let question = Question::Unblock {
            // No client has a negative number.
            client: u64::try_from(number).unwrap_or(0),
            error,
        };
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let found = answers.iter().any(|a| matches!(a, Answer::Killed(1)));
            worker.reply(client).int(i64::from(found));
        };
        Ok(self.ask(client, index, question, Box::new(then)))
    }

    /// Closes the clients of this core that are meant; how many.
    pub(super) fn kill_clients(&mut self, filter: &KillFilter) -> u64 {
        let now = self.clock.unix_ms;
        let meant: Vec<u32> = self
            .clients
            .iter_mut()
            .filter(|(_, client)| {
                // The server that is followed goes by REPLICAOF, which forgets nothing of what it sent.
                client.conn.phase != Phase::Shut
                    && !client.applies
                    && filter.skip != Some(client.id)
                    && filter.matches(client, now)
            })
            .map(|(index, _)| index)
            .collect();
        for &index in &meant {
            self.close(index);
        }
        meant.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn list_takes_a_type_or_ids() {
        let shown = |line: &str| shown(&words(line)).map_err(|e| e.to_string());
        assert_eq!(shown("client list"), Ok(Shown::All));
        assert_eq!(
            shown("client list TYPE Normal"),
            Ok(Shown::Of(Class::Normal))
        );
        assert_eq!(
            shown("client list type replica"),
            Ok(Shown::Of(Class::Server))
        );
        assert_eq!(
            shown("client list id 3 0 -7"),
            Ok(Shown::Ids(vec![3, 0, 0]))
        );
        for (line, error) in [
            ("client list id", "ERR syntax error"),
            ("client list id 1 x", "ERR Invalid client ID"),
            ("client list type foo", "ERR Unknown client type 'foo'"),
            ("client list foo 1", "ERR syntax error"),
        ] {
            assert_eq!(shown(line).unwrap_err(), error, "{line}");
        }
    }

    #[test]
    fn kill_has_two_forms_and_filters() {
        let old = kill(&words("client kill 127.0.0.1:5"), &Users::new()).unwrap();
        assert!(old.old_form && !old.skip_me);
        let new = kill(
            &words("client kill id 7 TYPE pubsub laddr a:1 skipme no maxage 3 user default"),
            &Users::new(),
        )
        .unwrap();
        assert!(!new.old_form && !new.skip_me);
        assert_eq!(new.filter.id, Some(7));
        assert_eq!(new.filter.class, Some(Class::Pubsub));
        assert_eq!(new.filter.max_age_s, Some(3));
        for (line, error) in [
            ("client kill id 0", "ERR client-id should be greater than 0"),
            ("client kill id x", "ERR client-id should be greater than 0"),
            ("client kill type foo", "ERR Unknown client type 'foo'"),
            ("client kill user bob", "ERR No such user 'bob'"),
            ("client kill skipme maybe", "ERR syntax error"),
            ("client kill id 1 type", "ERR syntax error"),
            ("client kill addr a foo b", "ERR syntax error"),
        ] {
            let refused = kill(&words(line), &Users::new()).unwrap_err();
            assert_eq!(refused.to_string(), error, "{line}");
        }
    }
}
