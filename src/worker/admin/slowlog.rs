//! SLOWLOG GET, LEN and RESET. Every core keeps its own slow log; an answer is made of all of them,
//! newest first. Entries are numbered over all cores, so their numbers give the order.
//!
//! Source: the Redis command pages of the three. Passwords are hidden before a command is kept.

use super::super::Worker;
use super::super::client::Client;
use super::super::gather::{Answer, Question};
use super::super::stats::Slow;
use super::super::tick::Flow;
use crate::command::Error;
use crate::resp::number::parse_i64;

/// Entries that SLOWLOG GET tells when no number is given.
const DEFAULT_COUNT: usize = 10;

/// How many entries a SLOWLOG GET wants.
fn count(argv: &[&[u8]]) -> Result<usize, Error> {
    let number = match argv {
        [_, _] => return Ok(DEFAULT_COUNT),
        [_, _, number] => parse_i64(number),
        _ => return Err(Error::subcommand_syntax(argv)),
    };
    match number {
        Some(-1) => Ok(usize::MAX),
        Some(n) if n >= 0 => Ok(n as usize),
        _ => Err(Error::Text(
            "ERR count should be greater than or equal to -1",
        )),
    }
}

/// All cores' entries, newest first.
fn merge(answers: Vec<Answer>, most: usize) -> Vec<Slow> {
    let mut all: Vec<Slow> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::Slowlog(entries) => Some(entries),
            _ => None,
        })
        .flatten()
        .collect();
    all.sort_unstable_by_key(|slow| std::cmp::Reverse(slow.id));
    all.truncate(most);
    all
}

impl Worker {
    pub(super) fn slowlog_get(
        &mut self,
        client: &mut Client,
        index: u32,
        argv: &[&[u8]],
    ) -> Result<Flow, Error> {
        let count = count(argv)?;
        let then = move |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let keep = worker.settings.latency.slowlog_max_len as usize;
            let entries = merge(answers, count.min(keep));
            let mut reply = worker.reply(client);
            reply.array(entries.len());
            for slow in &entries {
                reply.array(6);
                reply.int(slow.id as i64);
                reply.int(slow.at_s as i64);
                reply.int(slow.us as i64);
                reply.array(slow.args.len());
                for arg in &slow.args {
                    reply.bulk(arg);
                }
                reply.bulk(&slow.addr);
                reply.bulk(&slow.name);
            }
        };
        Ok(self.ask(client, index, Question::Slowlog(count), Box::new(then)))
    }

    pub(super) fn slowlog_len(&mut self, client: &mut Client, index: u32) -> Flow {
        let then = |worker: &mut Worker, client: Option<&mut Client>, answers: Vec<Answer>| {
            let Some(client) = client else { return };
            let keep = worker.settings.latency.slowlog_max_len as usize;
            let n = merge(answers, keep).len();
            worker.reply(client).int(n as i64);
        };
        let question = Question::Slowlog(usize::MAX);
        self.ask(client, index, question, Box::new(then))
    }

    pub(super) fn slowlog_reset(&mut self, client: &mut Client, index: u32) -> Flow {
        let then = |worker: &mut Worker, client: Option<&mut Client>, _: Vec<Answer>| {
            if let Some(client) = client {
                worker.reply(client).ok();
            }
        };
        self.ask(client, index, Question::ResetSlowlog, Box::new(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(id: u64) -> Slow {
        Slow {
            id,
            at_s: 0,
            us: 0,
            args: Vec::new(),
            addr: String::new(),
            name: Vec::new(),
        }
    }

    #[test]
    fn cores_merge_newest_first() {
        let answers = vec![
            Answer::Slowlog(vec![slow(8), slow(1)]),
            Answer::Done,
            Answer::Slowlog(vec![slow(9), slow(5), slow(0)]),
        ];
        let ids: Vec<u64> = merge(answers, 4).iter().map(|s| s.id).collect();
        assert_eq!(ids, [9, 8, 5, 1]);
    }

    #[test]
    fn counts_that_are_none_are_refused() {
        let count = |line: &str| count(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(count("slowlog get"), Ok(10));
        assert_eq!(count("slowlog get 0"), Ok(0));
        assert_eq!(count("slowlog get -1"), Ok(usize::MAX));
        for bad in ["slowlog get -2", "slowlog get x", "slowlog get 1 2"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }
}
