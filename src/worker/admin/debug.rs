//! DEBUG: tools for those who test the server.
//!
//! Source: Redis's DEBUG HELP. What exists: ERROR, OBJECT, PROTOCOL, SLEEP, SET-ACTIVE-EXPIRE and
//! HELP. SLEEP lets only the client that asks wait, where Redis stalls all of them: a core here never
//! blocks. What would look into structures that only Redis has, or change them, is refused in words.
//! `server.enable_debug_command` says who may use it.

use std::net::SocketAddr;

use super::super::Worker;
use super::super::client::{Client, ReplyMode, Waiting};
use super::super::gather::{Answer, ObjectInfo, Question};
use super::super::tick::Flow;
use crate::command::Error;
use crate::resp::{Proto, Reply};
use crate::settings::DebugCommand;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR <string>",
    "    Answers an error with this text.",
    "OBJECT <key>",
    "    Tells how a key's value is kept.",
    "PROTOCOL <type>",
    "    Answers a value of this type: string, integer, double, bignum, null, array, set, map,",
    "    attrib, push, verbatim, true, false.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys that nobody asks for are removed when their time has come.",
    "SLEEP <seconds>",
    "    Lets this client wait; decimals are allowed.",
    "HELP",
    "    Prints this help.",
];

/// Redis's text, which client suites look for.
const NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
     you can run it from a local connection, otherwise you need to set this option in the configuration file, and then \
     restart the server.";

/// The double that DEBUG PROTOCOL shows: Redis's, and it is not pi.
#[expect(clippy::approx_constant, reason = "the figures of Redis's example")]
const DOUBLE: f64 = 3.141;

/// The longest DEBUG SLEEP, in seconds.
const LONGEST_S: f64 = 24.0 * 3600.0;

/// The time of a DEBUG SLEEP, in microseconds. Like Redis, what is no number is no time.
fn sleep_us(arg: &[u8]) -> u64 {
    let seconds = std::str::from_utf8(arg).ok().and_then(|s| s.parse().ok());
    let seconds = seconds.filter(|s: &f64| s.is_finite()).unwrap_or(0.0);
    (seconds.clamp(0.0, LONGEST_S) * 1e6) as u64
}

fn told(object: &ObjectInfo) -> String {
    format!(
        "Value at:core{} refcount:1 encoding:{} serializedlength:{} lru:0 lru_seconds_idle:{}",
        object.core, object.encoding, object.bytes, object.idle_s
    )
}

/// Whether `addr`, an `ip:port`, is on this machine for certain.
fn is_loopback(addr: &str) -> bool {
    addr.parse()
        .is_ok_and(|addr: SocketAddr| addr.ip().to_canonical().is_loopback())
}

/// What Redis has and a test may ask for, and why it is not here.
fn not_here(subcommand: &[u8]) -> Option<&'static str> {
    Some(match subcommand {
        b"reload" | b"loadaof" => {
            "ERR The data cannot be loaded again while the server runs; restart it to recover from the log"
        }
        b"change-repl-id" => "ERR There is no replication in this version, and so no id of one",
        b"quicklist-packed-threshold" | b"quicklist" | b"listpack" | b"ziplist" => {
            "ERR Collections are not kept in Redis's quicklists and listpacks here; see OBJECT ENCODING"
        }
        _ => return None,
    })
}

/// Answers with an example of each type of reply; false if there is no such type.
fn protocol(kind: &[u8], reply: &mut Reply<'_>) -> bool {
    match kind {
        b"string" => reply.bulk("Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(DOUBLE),
        b"bignum" => reply.big("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|n| reply.int(n));
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.int(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk("key-popularity");
                reply.array(2);
                reply.bulk("key:123");
                reply.int(90);
            }
            reply.bulk("Some real reply following the attribute");
        }
        b"push" if reply.proto == Proto::Resp2 => {
            reply.error("ERR RESP2 is not supported by this command");
        }
        b"push" => {
            reply.push(2);
            reply.bulk("server-cpu-usage");
            reply.int(42);
            reply.bulk("Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", "This is a verbatim\nstring"),
        _ => return false,
    }
    true
}

impl Worker {
    pub(super) fn debug(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let allowed = match self.settings.server.enable_debug_command {
            DebugCommand::Yes => true,
            DebugCommand::Local => is_loopback(&client.addr),
            DebugCommand::No => false,
        };
        if !allowed {
            return Err(Error::Text(NOT_ALLOWED));
        }
        match (argv[1].to_ascii_lowercase().as_slice(), &argv[2..]) {
            (b"help", []) => {
                let mut reply = self.reply(client);
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
                Ok(Flow::Next)
            }
            (b"protocol", [kind]) => {
                if protocol(&kind.to_ascii_lowercase(), &mut self.reply(client)) {
                    return Ok(Flow::Next);
                }
                Err(Error::Text(
                    "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
                ))
            }
            (b"error", [text]) => Err(Error::message(*text)),
            (b"sleep", [seconds]) => {
                client.waiting = Waiting::Until {
                    at: self.clock.now_us + sleep_us(seconds),
                    silent: client.reply != ReplyMode::On,
                };
                self.sleepers.push(index);
                Ok(Flow::Wait)
            }
            (b"object", [key]) => Ok(self.debug_object(client, index, key)),
            (b"set-active-expire", [on]) => {
                let on = crate::resp::number::parse_i64(on).unwrap_or(0) != 0;
                let then = |worker: &mut Worker, client: Option<&mut Client>, _: Vec<Answer>| {
                    if let Some(client) = client {
                        worker.reply(client).ok();
                    }
                };
                Ok(self.ask(client, index, Question::ActiveExpiry(on), Box::new(then)))
            }
            (other, _) => {
                Err(not_here(other).map_or_else(|| Error::subcommand_syntax(argv), Error::Text))
            }
        }
    }

    fn debug_object(&mut self, client: &mut Client, index: u32, key: &[u8]) -> Flow {
        let question = Question::Object {
            db: client.db,
            key: key.to_vec(),
        };
        let then = |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let object = answers.into_iter().find_map(|answer| match answer {
                Answer::Object(object) => object,
                _ => None,
            });
            match object {
                Some(object) => worker.reply(client).simple(&told(&object)),
                None => worker.refuse(client, Error::NoSuchKey),
            }
        };
        self.ask(client, index, question, Box::new(then))
    }

    /// What this core knows of a key, if the key is its own.
    pub(super) fn object(&mut self, db: u16, key: &[u8]) -> Answer {
        let key = self.ks.key(db, key);
        if self.ks.owner(key.slot) != self.core || !self.ks.has(self.core) {
            return Answer::Done;
        }
        let (core, now) = (self.core, self.clock.unix_ms);
        let meta = self.ks.shard(core).meta(&key, now);
        Answer::Object(meta.map(|meta| ObjectInfo {
            core,
            encoding: meta.encoding,
            bytes: meta.value_len,
            idle_s: meta.idle_secs,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_is_loopback() {
        for local in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:6380",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(local), "{local}");
        }
        for other in [
            "10.0.0.1:1",
            "[fe80::1]:1",
            "",
            "localhost:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn every_type_of_reply_is_written_whole() {
        let written = |kind: &str, proto| {
            let mut buf = Vec::new();
            let known = protocol(
                kind.as_bytes(),
                &mut Reply {
                    buf: &mut buf,
                    proto,
                },
            );
            assert!(known, "{kind}");
            String::from_utf8(buf).unwrap()
        };
        assert_eq!(
            written("map", Proto::Resp3),
            "%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n"
        );
        assert_eq!(
            written("attrib", Proto::Resp2),
            "$39\r\nSome real reply following the attribute\r\n"
        );
        assert!(
            written("attrib", Proto::Resp3).starts_with("|1\r\n$14\r\nkey-popularity\r\n*2\r\n")
        );
        assert!(written("push", Proto::Resp2).starts_with("-ERR RESP2"));
        assert!(written("push", Proto::Resp3).starts_with(">2\r\n"));
        assert!(!protocol(
            b"x",
            &mut Reply {
                buf: &mut Vec::new(),
                proto: Proto::Resp2
            }
        ));
    }

    #[test]
    fn times_to_sleep() {
        for (arg, us) in [
            ("0.25", 250_000),
            ("2", 2_000_000),
            ("-1", 0),
            ("x", 0),
            ("inf", 0),
            ("1e300", 86_400_000_000),
        ] {
            assert_eq!(sleep_us(arg.as_bytes()), us, "{arg}");
        }
    }
}
