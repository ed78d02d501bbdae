//! DEBUG: tools for those who test the server.
//!
//! Source: Redis's DEBUG HELP. What exists: SLEEP, OBJECT, SET-ACTIVE-EXPIRE and HELP. SLEEP lets
//! only the client that asks wait, where Redis stalls all of them: a core here never blocks.

use super::super::Worker;
use super::super::client::{Client, ReplyMode, Waiting};
use super::super::gather::{Answer, ObjectInfo, Question};
use super::super::tick::Flow;
use crate::command::Error;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "OBJECT <key>",
    "    Tells how a key's value is kept.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys that nobody asks for are removed when their time has come.",
    "SLEEP <seconds>",
    "    Lets this client wait; decimals are allowed.",
    "HELP",
    "    Prints this help.",
];

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

impl Worker {
    pub(super) fn debug(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        match (argv[1].to_ascii_lowercase().as_slice(), &argv[2..]) {
            (b"help", []) => {
                let mut reply = self.reply(client);
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
                Ok(Flow::Next)
            }
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
            (b"reload" | b"loadaof", _) => Err(Error::Text(
                "ERR The data cannot be loaded again while the server runs; restart it to recover from the log",
            )),
            _ => Err(Error::subcommand_syntax(argv)),
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
