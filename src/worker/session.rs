//! Commands about the connection itself: who is there, in which protocol, on which database.
//!
//! Source: the Redis command pages of AUTH, HELLO, SELECT, RESET, QUIT and CLIENT. What concerns
//! all cores is in [`super::admin`], what concerns transactions in [`super::multi`].

use super::Worker;
use super::client::{Client, ReplyMode, Waiting};
use super::pubsub::Trackers;
use super::tick::Flow;
use crate::acl::DEFAULT;
use crate::command::{Command, Error, SessionCmd, Topic, redacted};
use crate::net::conn::Phase;
use crate::resp::Proto;

/// A database number as SELECT takes it.
pub fn database(arg: &[u8]) -> Option<u16> {
    crate::resp::number::parse_i64(arg).and_then(|n| u16::try_from(n).ok())
}

impl Worker {
    /// Carries out a session command.
    pub(super) fn session(
        &mut self,
        client: &mut Client,
        index: u32,
        session: SessionCmd,
        row: &'static Command,
        number: u16,
        argv: &[&[u8]],
    ) -> Flow {
        match session {
            SessionCmd::Multi => self.multi(client),
            SessionCmd::Exec => self.exec_command(client, index),
            SessionCmd::Discard => self.discard(client, index),
            SessionCmd::Watch => self.watch(client, index, argv),
            SessionCmd::Unwatch => self.forget_watched(client, index),
            SessionCmd::Quit => {
                self.reply(client).ok();
                Flow::Close
            }
            SessionCmd::Reset => self.reset(client),
            SessionCmd::Publish(topic) => self.publish(client, index, topic, argv),
            _ => {
                if self.own(client, session, argv, false) {
                    Flow::Next
                } else {
                    self.administer(client, index, session, row, number, argv)
                }
            }
        }
    }

    /// Carries out a session command inside EXEC, where nothing may be waited for.
    pub(super) fn session_in_exec(
        &mut self,
        client: &mut Client,
        session: SessionCmd,
        row: &'static Command,
        number: u16,
        argv: &[&[u8]],
    ) {
        let started = super::clock::ticks();
        let mark = client.conn.replies.writer().len();
        if session == SessionCmd::Unwatch {
            // EXEC has forgotten everything already.
            self.reply(client).ok();
        } else if !self.own(client, session, argv, true) {
            let flow = self.administer(client, u32::MAX, session, row, number, argv);
            debug_assert!(
                flow == Flow::Next,
                "{} waits and must not be queued",
                row.name
            );
        }
        let ns = self.clock.ns(super::clock::ticks().wrapping_sub(started));
        if ns >= self.slow_ns {
            self.note_slow(ns, &redacted(row, argv), Some(client));
        }
        let failed = client.conn.replies.writer().get(mark) == Some(&b'-');
        self.stats
            .executed(number, ns, failed, self.settings.latency.tracking);
    }

    /// Commands about this connection that are answered at once; whether this was one.
    fn own(
        &mut self,
        client: &mut Client,
        session: SessionCmd,
        argv: &[&[u8]],
        in_exec: bool,
    ) -> bool {
        let result = match session {
            SessionCmd::Auth => self.auth(client, argv),
            SessionCmd::Hello => self.hello(client, argv),
            SessionCmd::Select => self.select(client, argv[1]),
            SessionCmd::ClientId => {
                let id = client.id as i64;
                self.reply(client).int(id);
                Ok(())
            }
            SessionCmd::ClientGetname => {
                let name = client.name.clone();
                let mut reply = self.reply(client);
                if name.is_empty() {
                    reply.null();
                } else {
                    reply.bulk(&name);
                }
                Ok(())
            }
            SessionCmd::ClientSetname => {
                set_name(client, argv[2]).map(|()| self.reply(client).ok())
            }
            SessionCmd::ClientSetinfo => {
                set_info(client, argv[2], argv[3]).map(|()| self.reply(client).ok())
            }
            SessionCmd::ClientNoEvict => on_off(argv[2]).map(|on| {
                client.no_evict = on;
                self.reply(client).ok();
            }),
            SessionCmd::ClientNoTouch => on_off(argv[2]).map(|on| {
                client.no_touch = on;
                self.reply(client).ok();
            }),
            SessionCmd::ClientReply => {
                let mode = argv[2];
                if mode.eq_ignore_ascii_case(b"on") {
                    client.reply = ReplyMode::On;
                    self.reply(client).ok();
                    Ok(())
                } else if mode.eq_ignore_ascii_case(b"off") {
                    client.reply = ReplyMode::Off;
                    Ok(())
                } else if mode.eq_ignore_ascii_case(b"skip") {
                    if client.reply == ReplyMode::On {
                        client.reply = ReplyMode::Skip;
                    }
                    Ok(())
                } else {
                    Err(Error::Syntax)
                }
            }
            SessionCmd::Subscribe(Topic::Shard) if in_exec => Err(Error::Text(
                "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
            )),
            SessionCmd::Subscribe(topic) => {
                self.subscribe(client, topic, argv);
                Ok(())
            }
            SessionCmd::Unsubscribe(topic) => {
                self.unsubscribe(client, topic, argv);
                Ok(())
            }
            SessionCmd::Monitor if in_exec => Err(Error::Text(
                "ERR MONITOR isn't allowed for DENY BLOCKING client",
            )),
            SessionCmd::Monitor => {
                self.monitor(client);
                Ok(())
            }
            SessionCmd::ClientCaching => self.client_caching(client, argv[2]),
            SessionCmd::ClientGetredir => {
                self.client_getredir(client);
                Ok(())
            }
            SessionCmd::ClientTrackinginfo => {
                self.client_trackinginfo(client);
                Ok(())
            }
            _ => return false,
        };
        if let Err(e) = result {
            self.refuse(client, e);
        }
        true
    }

    fn auth(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<(), Error> {
        let (user, password) = match argv {
            [_, password] => {
                if self.users.default_user().needs_no_password() {
                    return Err(Error::Text(
                        "ERR AUTH <password> called without any password configured for the \
                         default user. Are you sure your configuration is correct?",
                    ));
                }
                (DEFAULT, *password)
            }
            [_, user, password] => (*user, *password),
            _ => return Err(Error::Syntax),
        };
        self.authenticate(client, user, password, argv[0])?;
        self.reply(client).ok();
        Ok(())
    }

    fn hello(&mut self, client: &mut Client, argv: &[&[u8]]) -> Result<(), Error> {
        let mut proto = client.proto;
        if let Some(version) = argv.get(1) {
            proto = match crate::resp::number::parse_i64(version) {
                Some(2) => Proto::Resp2,
                Some(3) => Proto::Resp3,
                Some(_) => return Err(Error::Text("NOPROTO unsupported protocol version")),
                None => {
                    return Err(Error::Text(
                        "ERR Protocol version is not an integer or out of range",
                    ));
                }
            };
        }
        let (mut name, mut credentials) = (None, None);
        let mut i = 2;
        while i < argv.len() {
            if argv[i].eq_ignore_ascii_case(b"auth") && i + 2 < argv.len() {
                credentials = Some((argv[i + 1], argv[i + 2]));
                i += 3;
            } else if argv[i].eq_ignore_ascii_case(b"setname") && i + 1 < argv.len() {
                check_name(argv[i + 1])?;
                name = Some(argv[i + 1]);
                i += 2;
            } else {
                let option = String::from_utf8_lossy(argv[i]);
                return Err(Error::message(format!(
                    "ERR Syntax error in HELLO option '{option}'"
                )));
            }
        }
        if let Some((user, password)) = credentials {
            self.authenticate(client, user, password, argv[0])?;
        }
        if !client.authenticated && self.users.must_authenticate() {
            return Err(Error::Text(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time",
            ));
        }
        if let Some(name) = name {
            set_name(client, name)?;
        }
        client.proto = proto;
        let id = client.id as i64;
        let version = self.shared.redis_version;
        let follows = self.follows();
        let mut reply = self.reply(client);
        reply.map(7);
        reply.bulk("server");
        reply.bulk("redis");
        reply.bulk("version");
        reply.bulk(version);
        reply.bulk("proto");
        reply.int(proto.number());
        reply.bulk("id");
        reply.int(id);
        reply.bulk("mode");
        reply.bulk("standalone");
        reply.bulk("role");
        reply.bulk(if follows { "replica" } else { "master" });
        reply.bulk("modules");
        reply.array(0);
        Ok(())
    }

    fn select(&mut self, client: &mut Client, arg: &[u8]) -> Result<(), Error> {
        client.db = crate::command::database(arg, self.settings.server.databases)?;
        self.reply(client).ok();
        Ok(())
    }

    fn reset(&mut self, client: &mut Client) -> Flow {
        client.multi = None;
        self.leave_audience(client);
        self.forget_watched_silently(client);
        client.db = 0;
        client.proto = Proto::Resp2;
        client.name.clear();
        client.reply = ReplyMode::On;
        client.no_evict = false;
        client.no_touch = false;
        self.begin_as_default(client);
        self.reply(client).simple("RESET");
        Flow::Next
    }

    /// A client's line in CLIENT LIST and CLIENT INFO.
    pub(super) fn describe(client: &mut Client, trackers: &Trackers, now_ms: u64) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let multi = client
            .multi
            .as_ref()
            .map_or(-1, |queue| queue.commands.len() as i64);
        let mut flags = String::new();
        if client.monitors {
            flags.push('O');
        }
        if client.applies {
            flags.push('M');
        }
        if client.subs.is_some() {
            flags.push('P');
        }
        if client.multi.is_some() {
            flags.push('x');
        }
        if matches!(client.waiting, Waiting::Blocked(_)) {
            flags.push('b');
        }
        let tracker = trackers.get(client.id);
        for (flag, on) in [
            ('t', tracker.is_some()),
            ('R', tracker.is_some_and(|t| t.broken)),
            ('B', client.tracking.is_some_and(|t| t.bcast)),
        ] {
            if on {
                flags.push(flag);
            }
        }
        let redirect = tracker.map_or(-1, |t| t.redirect as i64);
        let listens = |topic| client.subs.as_ref().map_or(0, |subs| subs.of(topic));
        let listens_bytes = client.subs.as_ref().map_or(0, |subs| subs.bytes());
        if client.conn.phase == Phase::Draining {
            flags.push('c');
        }
        if client.no_evict {
            flags.push('e');
        }
        if client.no_touch {
            flags.push('T');
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let (version, cipher, group) = client
            .conn
            .tls()
            .map(|tls| tls.describe())
            .unwrap_or_default();
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} \
             ssub={} multi={multi} watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 \
             obl=0 oll=0 omem={} tot-mem={} events=r cmd={} user={} redir={redirect} resp={} \
             lib-name={} lib-ver={} tls={version} cipher={cipher} group={group}",
            client.id,
            client.addr,
            client.laddr,
            std::os::fd::AsRawFd::as_raw_fd(&client.conn.fd),
            text(&client.name),
            now_ms.saturating_sub(client.since_ms) / 1000,
            now_ms.saturating_sub(client.active_ms) / 1000,
            client.db,
            listens(Topic::Channel),
            listens(Topic::Pattern),
            listens(Topic::Shard),
            client.watched.len(),
            client.conn.input.len(),
            client.conn.input.capacity() - client.conn.input.len(),
            client.multi.as_ref().map_or(0, |queue| queue.bytes),
            client.conn.owed(),
            client.conn.owed() + client.conn.input.capacity() + listens_bytes + size_of::<Client>(),
            client.last.map_or("NULL", |row| row.name),
            text(client.user.name()),
            client.proto.number(),
            text(&client.lib_name),
            text(&client.lib_ver),
        )
    }
}

fn printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| (b'!'..=b'~').contains(b))
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    if printable(name) {
        return Ok(());
    }
    Err(Error::Text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn set_name(client: &mut Client, name: &[u8]) -> Result<(), Error> {
    check_name(name)?;
    client.name = name.to_vec();
    Ok(())
}

fn set_info(client: &mut Client, what: &[u8], value: &[u8]) -> Result<(), Error> {
    let place = if what.eq_ignore_ascii_case(b"lib-name") {
        &mut client.lib_name
    } else if what.eq_ignore_ascii_case(b"lib-ver") {
        &mut client.lib_ver
    } else {
        let what = String::from_utf8_lossy(what);
        return Err(Error::message(format!("ERR Unrecognized option '{what}'")));
    };
    if !printable(value) {
        let what = String::from_utf8_lossy(what);
        return Err(Error::message(format!(
            "ERR {what} cannot contain spaces, newlines or special characters."
        )));
    }
    *place = value.to_vec();
    Ok(())
}

/// ON or OFF.
pub(super) fn on_off(arg: &[u8]) -> Result<bool, Error> {
    if arg.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if arg.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(Error::Syntax)
    }
}
