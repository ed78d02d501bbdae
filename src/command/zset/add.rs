//! Members that come, change their score, or go by name: ZADD, ZINCRBY, ZREM.
//!
//! What is logged is the scores that came out, never the conditions or the step. A ZADD without options needs no look at
//! the set before; one with options works out every pair in turn, against what the pairs before it in the same command
//! have made.

use std::collections::HashMap;

use super::{ZSET, score};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::shard::kinds::zset::{Op, Scored, Zset};
use crate::shard::notice;
use crate::shard::wire::Items;

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "zadd",
        arity: -4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "1.2.0",
        complexity: "O(log(N)) a member, N being the number of members",
        summary: "Gives members of a sorted set their scores.",
        syntax: "key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        run: Run::Data(|ctx, args| zadd(ctx, args, false)),
        ..ZSET
    },
    Command {
        name: "zincrby",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        since: "1.2.0",
        summary: "Adds to a member's score; no member counts as 0.",
        syntax: "key increment member",
        run: Run::Data(|ctx, args| zadd(ctx, args, true)),
        ..ZSET
    },
    Command {
        name: "zrem",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        since: "1.2.0",
        complexity: "O(M*log(N)), M being the members named and N those of the set",
        summary: "Removes members of a sorted set.",
        syntax: "key member [member ...]",
        run: Run::Data(zrem),
        ..ZSET
    },
];

/// The options of ZADD.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::command) struct Options {
    pub(in crate::command) nx: bool,
    pub(in crate::command) xx: bool,
    gt: bool,
    lt: bool,
    pub(in crate::command) ch: bool,
    incr: bool,
}

impl Options {
    /// Reads them and tells where the pairs begin.
    fn parse(args: &[&[u8]], incr: bool) -> Result<(Options, usize), Error> {
        let mut o = Options {
            incr,
            ..Options::default()
        };
        let mut at = 2;
        while let Some(word) = args.get(at) {
            match word.len() {
                2 if word.eq_ignore_ascii_case(b"nx") => o.nx = true,
                2 if word.eq_ignore_ascii_case(b"xx") => o.xx = true,
                2 if word.eq_ignore_ascii_case(b"gt") => o.gt = true,
                2 if word.eq_ignore_ascii_case(b"lt") => o.lt = true,
                2 if word.eq_ignore_ascii_case(b"ch") => o.ch = true,
                4 if word.eq_ignore_ascii_case(b"incr") => o.incr = true,
                _ => break,
            }
            at += 1;
        }
        let pairs = args.len() - at;
        if pairs == 0 || !pairs.is_multiple_of(2) {
            return Err(Error::Syntax);
        }
        if o.nx && o.xx {
            return Err(Error::Text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if (o.nx && (o.gt || o.lt)) || (o.gt && o.lt) {
            return Err(Error::Text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if o.incr && pairs > 2 {
            return Err(Error::Text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok((o, at))
    }

    fn none(self) -> bool {
        !(self.nx || self.xx || self.gt || self.lt || self.incr)
    }

    /// The score that a member gets, given what it has and what the command says; `None` to leave it.
    fn decide(self, now: Option<f64>, said: f64) -> Result<Option<f64>, Error> {
        let Some(now) = now else {
            return Ok((!self.xx).then_some(said));
        };
        if self.nx {
            return Ok(None);
        }
        let then = if self.incr { now + said } else { said };
        if then.is_nan() {
            return Err(Error::Text("ERR resulting score is not a number (NaN)"));
        }
        let leave = (self.gt && then <= now) || (self.lt && then >= now);
        Ok((!leave).then_some(then))
    }
}

fn zadd(ctx: &mut Ctx<'_>, args: &[&[u8]], incr: bool) -> Result<(), Error> {
    let (options, at) = Options::parse(args, incr)?;
    let pairs = &args[at..];
    if let &[said, member] = pairs {
        return put(ctx, args[1], options, &mut [(score(said)?, member)]);
    }
    let mut list = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        list.push((score(pair[0])?, pair[1]));
    }
    put(ctx, args[1], options, &mut list)
}

/// Gives each member of the list the score that the options make of it, and answers.
pub(in crate::command) fn put(
    ctx: &mut Ctx<'_>,
    name: &[u8],
    options: Options,
    list: &mut [(f64, &[u8])],
) -> Result<(), Error> {
    let k = ctx.key(name);
    let mut kept = list.len();
    if !options.none() {
        let set = ctx.peek::<Zset>(&k)?;
        let mut before = HashMap::new();
        kept = 0;
        for i in 0..list.len() {
            let (said, member) = list[i];
            let held = || set.and_then(|set| set.score(member));
            let now = before.get(member).copied().or_else(held);
            if let Some(then) = options.decide(now, said)? {
                list[kept] = (then, member);
                kept += 1;
                if list.len() > 1 {
                    before.insert(member, then);
                }
            }
        }
    }
    let list = &list[..kept];
    let counts = ctx.alter::<Zset>(&k, &Op::Put(Scored::List(list)))?;
    let (added, changed) = (counts.added, counts.added + counts.updated);
    if changed > 0 {
        let event = if options.incr { "zincr" } else { "zadd" };
        ctx.notify(notice::ZSET, event, &k);
    }
    match list.first() {
        Some((score, _)) if options.incr => ctx.reply.double(*score),
        None if options.incr => ctx.reply.null(),
        _ => ctx
            .reply
            .int(if options.ch { changed } else { added } as i64),
    }
    Ok(())
}

fn zrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let counts = ctx.alter::<Zset>(&k, &Op::Remove(Items::Args(&args[2..])))?;
    if counts.removed > 0 {
        ctx.notify(notice::ZSET, "zrem", &k);
    }
    ctx.reply.int(counts.removed as i64);
    Ok(())
}
