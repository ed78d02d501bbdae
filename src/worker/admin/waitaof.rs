//! WAITAOF: a client waits until what it wrote would outlive a power failure.
//!
//! Promise: when the answer says 1, every write that this connection had been told of before is durable, whichever
//! shards it went to. All cores are asked: each looks when everything is executed that reached it before, and answers
//! when its log is durable up to there. Under `everysec` and `no` the log syncs for that at once, one sync for all who
//! wait.
//!
//! There are no replicas, so whoever wants some waits until the time is up. Inside EXEC nothing is waited for.
//!
//! Source: the Redis command page of WAITAOF.

use super::super::Worker;
use super::super::client::{Client, Waiting};
use super::super::gather::{Answer, Asker, Question};
use super::super::tick::Flow;
use crate::command::Error;
use crate::resp::number::parse_i64;

/// How many logs and replicas are to have it, and for how long that is waited for.
#[derive(Debug, PartialEq)]
struct Wanted {
    local: bool,
    replicas: bool,
    timeout: Option<u64>,
}

fn parse(argv: &[&[u8]]) -> Result<Wanted, Error> {
    let local = match parse_i64(argv[1]).ok_or(Error::NotInteger)? {
        n @ (0 | 1) => n == 1,
        _ => {
            return Err(Error::Text(
                "ERR value is out of range, value must between 0 and 1",
            ));
        }
    };
    let replicas = parse_i64(argv[2])
        .filter(|n| *n >= 0)
        .ok_or(Error::Text("ERR value is out of range, must be positive"))?;
    Ok(Wanted {
        local,
        replicas: replicas > 0,
        timeout: super::process::timeout(argv[3])?,
    })
}

/// The answer: whether the local log has it, and no replica does.
fn answer(local: bool) -> Vec<u8> {
    format!("*2\r\n:{}\r\n:0\r\n", u8::from(local)).into_bytes()
}

impl Worker {
    pub(super) fn waitaof(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let wanted = parse(argv)?;
        if wanted.local && !self.log.is_on() {
            return Err(Error::Text(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ));
        }
        if index == u32::MAX {
            // What other cores have is not known here, and this transaction is not logged yet.
            let mut reply = self.reply(client);
            reply.array(2);
            reply.int(0);
            reply.int(0);
            return Ok(Flow::Next);
        }
        let flow = self.pause(client, index, wanted.timeout, answer(false));
        if let Waiting::Blocked(number) = client.waiting {
            let wait = wanted.local || wanted.replicas;
            let then = move |worker: &mut Worker, _: Option<&mut Client>, answers: Vec<Answer>| {
                let local = answers.iter().all(|a| matches!(a, Answer::Known(true)));
                worker.amend_pause(number, answer(local), !wanted.replicas);
            };
            self.ask_aside(Question::Durable { wait }, Box::new(then));
        }
        Ok(flow)
    }

    /// Whether everything that was executed here is durable.
    pub(super) fn is_durable(&mut self) -> bool {
        self.append_effects();
        self.log.is_durable()
    }

    /// Answers once everything that was executed here is durable.
    pub(super) fn answer_when_durable(&mut self, from: Asker) {
        if self.log.is_on() {
            let ticket = self.log.await_durable();
            self.durables.push_back((ticket, from));
        } else {
            self.tell(from, Answer::Known(false));
        }
    }

    /// Answers those who waited for what is durable now.
    pub(in crate::worker) fn tell_durable(&mut self) {
        if self.durables.is_empty() {
            return;
        }
        let durable = self.log.durable();
        while self.durables.front().is_some_and(|(at, _)| *at <= durable)
            && let Some((_, from)) = self.durables.pop_front()
        {
            self.tell(from, Answer::Known(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_in_order() {
        let parse = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            parse(&words).map_err(|e| e.to_string())
        };
        let wanted = |local, replicas, timeout| {
            Ok(Wanted {
                local,
                replicas,
                timeout,
            })
        };
        assert_eq!(parse("waitaof 1 0 0"), wanted(true, false, None));
        assert_eq!(parse("waitaof 0 3 50"), wanted(false, true, Some(50)));
        for (line, error) in [
            (
                "waitaof x x x",
                "ERR value is not an integer or out of range",
            ),
            (
                "waitaof 2 x x",
                "ERR value is out of range, value must between 0 and 1",
            ),
            (
                "waitaof -1 0 0",
                "ERR value is out of range, value must between 0 and 1",
            ),
            (
                "waitaof 1 -1 x",
                "ERR value is out of range, must be positive",
            ),
            (
                "waitaof 1 x x",
                "ERR value is out of range, must be positive",
            ),
            (
                "waitaof 1 0 x",
                "ERR timeout is not an integer or out of range",
            ),
            ("waitaof 1 0 -1", "ERR timeout is negative"),
        ] {
            assert_eq!(parse(line).unwrap_err(), error, "{line}");
        }
    }
}
