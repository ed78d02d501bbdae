//! Questions about members: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZCOUNT, ZLEXCOUNT, ZRANDMEMBER, ZSCAN.

use std::collections::HashSet;

use super::score::{Names, Scores};
use super::{READ, integer, pair, pairs_head};
use crate::command::chance::{Chance, bounded, repeats};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error, scan};
use crate::resp::Reply;
use crate::resp::number::put_f64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::zset::Zset;

const FAST: Command = Command {
    flags: flag::READONLY | flag::FAST,
    ..READ
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "zcard",
        keys: &[KeySpec::one(1, key::RO)],
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Counts the members of a sorted set.",
        run: Run::Data(zcard),
        ..FAST
    },
    Command {
        name: "zscore",
        arity: 3,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Tells a member's score.",
        syntax: "key member",
        run: Run::Data(zscore),
        ..FAST
    },
    Command {
        name: "zmscore",
        arity: -3,
        since: "6.2.0",
        complexity: "O(N), N being the number of members named",
        summary: "Tells the scores of several members.",
        syntax: "key member [member ...]",
        run: Run::Data(zmscore),
        ..FAST
    },
    Command {
        name: "zrank",
        arity: -3,
        since: "2.0.0",
        summary: "Tells how many members stand before a member.",
        syntax: "key member [WITHSCORE]",
        run: Run::Data(|ctx, args| zrank(ctx, args, false)),
        ..FAST
    },
    Command {
        name: "zrevrank",
        arity: -3,
        since: "2.0.0",
        summary: "Tells how many members stand behind a member.",
        syntax: "key member [WITHSCORE]",
        run: Run::Data(|ctx, args| zrank(ctx, args, true)),
        ..FAST
    },
    Command {
        name: "zcount",
        arity: 4,
        since: "2.0.0",
        summary: "Counts the members within a range of scores.",
        syntax: "key min max",
        run: Run::Data(zcount),
        ..FAST
    },
    Command {
        name: "zlexcount",
        arity: 4,
        since: "2.8.9",
        summary: "Counts the members within a range of members of the same score.",
        syntax: "key min max",
        run: Run::Data(zlexcount),
        ..FAST
    },
    Command {
        name: "zrandmember",
        arity: -2,
        since: "6.2.0",
        tips: &["nondeterministic_output"],
        complexity: "O(N), N being the number of members returned",
        summary: "Draws members of a sorted set by chance.",
        syntax: "key [count [WITHSCORES]]",
        run: Run::Data(zrandmember),
        ..READ
    },
    Command {
        name: "zscan",
        arity: -3,
        since: "2.8.0",
        tips: &["nondeterministic_output"],
        complexity: "O(1) a call, O(N) for all N members",
        summary: "Lists members and scores, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        run: Run::Data(zscan),
        ..READ
    },
];

fn zcard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = ctx.read::<Zset>(&k)?.map_or(0, Zset::len);
    ctx.reply.int(len as i64);
    Ok(())
}

fn zscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    match ctx.read::<Zset>(&k)?.and_then(|set| set.score(args[2])) {
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn zmscore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        match set.and_then(|set| set.score(member)) {
            Some(score) => ctx.reply.double(score),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

fn zrank(ctx: &mut Ctx<'_>, args: &[&[u8]], backwards: bool) -> Result<(), Error> {
    let with_score = match args[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withscore") => true,
        [_] => return Err(Error::Syntax),
        _ => {
            return Err(Error::Arity(if backwards { "zrevrank" } else { "zrank" }));
        }
    };
    let k = ctx.key(args[1]);
    let found = ctx.read::<Zset>(&k)?.and_then(|set| {
        let (rank, score) = set.rank(args[2])?;
        let rank = if backwards {
            set.len() - 1 - rank
        } else {
            rank
        };
        Some((rank as i64, score))
    });
    match found {
        Some((rank, score)) if with_score => {
            ctx.reply.array(2);
            ctx.reply.int(rank);
            ctx.reply.double(score);
        }
        Some((rank, _)) => ctx.reply.int(rank),
        None if with_score => ctx.reply.null_array(),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Answers how many ranks there are from the first to the second.
fn count(
    ctx: &mut Ctx<'_>,
    name: &[u8],
    ranks: impl Fn(&Zset) -> (usize, usize),
) -> Result<(), Error> {
    let k = ctx.key(name);
    let (from, to) = ctx.read::<Zset>(&k)?.map_or((0, 0), ranks);
    ctx.reply.int((to - from) as i64);
    Ok(())
}

fn zcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let scores = Scores::parse(args[2], args[3])?;
    count(ctx, args[1], |set| scores.ranks(set))
}

fn zlexcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let names = Names::parse(args[2], args[3])?;
    count(ctx, args[1], |set| names.ranks(set))
}

fn zrandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let mut chance = Chance::new(ctx.random);
    let Some(count) = args.get(2) else {
        let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
        match set.and_then(|set| set.numbered(chance.below(set.len()))) {
            Some((member, _)) => ctx.reply.bulk(member),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(Error::Text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_scores = match args[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(Error::Syntax),
    };
    if count.unsigned_abs() > i64::MAX as u64 / 2 && with_scores {
        return Err(Error::Text("ERR value is out of range"));
    }
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    let Some(set) = set.filter(|_| count != 0) else {
        ctx.reply.array(0);
        return Ok(());
    };
    let len = set.len();
    let drawn = match count {
        ..0 => repeats(count)?,
        _ => usize::try_from(count).unwrap_or(usize::MAX).min(len),
    };
    let start = ctx.reply.buf.len();
    let reply = &mut ctx.reply;
    match with_scores {
        true => pairs_head(reply, drawn),
        false => reply.array(drawn),
    }
    let answer = |reply: &mut Reply<'_>, (member, score): (&[u8], f64)| match with_scores {
        true => pair(reply, member, score),
        false => reply.bulk(member),
    };
    if count < 0 {
        for _ in 0..drawn {
            if let Some(entry) = set.numbered(chance.below(len)) {
                answer(reply, entry);
                bounded(reply, start)?;
            }
        }
    } else if drawn == len {
        // Backwards, as Redis goes through a set it returns whole.
        set.range(0, len, true)
            .for_each(|entry| answer(reply, entry));
    } else {
        // Floyd's way to draw some of many: each draw has one number more to choose from, and where it hits one that is
        // drawn already takes the new number.
        let mut numbers = HashSet::with_capacity(drawn);
        for last in len - drawn..len {
            let number = chance.below(last + 1);
            let number = if numbers.insert(number) { number } else { last };
            numbers.insert(number);
            if let Some(entry) = set.numbered(number) {
                answer(reply, entry);
            }
        }
    }
    Ok(())
}

fn zscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let cursor = scan::parse_cursor(args[2]).ok_or(Error::InvalidCursor)?;
    let k = ctx.key(args[1]);
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    let (mut next, mut found, mut items) = (0, Vec::new(), 0);
    if let Some(set) = set {
        let asked = scan::options(&args[3..], |_, _| Ok(None))?;
        let mut list = crate::resp::Reply {
            buf: &mut found,
            proto: ctx.reply.proto,
        };
        let mut text = Vec::with_capacity(24);
        next = set.scan(cursor, asked.count, |member, score| {
            if asked.allow(member) {
                text.clear();
                put_f64(&mut text, score);
                list.bulk(member);
                list.bulk(&text);
                items += 2;
            }
        });
    }
    ctx.reply.array(2);
    ctx.reply.bulk(next.to_string());
    ctx.reply.array(items);
    ctx.reply.buf.extend_from_slice(&found);
    Ok(())
}
