//! The lowest and the highest taken away: ZPOPMIN, ZPOPMAX, ZMPOP, and BZPOPMIN, BZPOPMAX, BZMPOP, which wait for one.

use super::{ZSET, at_least, pair, pairs_head, range};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::wait::{Nil, Wait, timeout};
use crate::command::{Ctx, Error};
use crate::shard::kinds::zset::{Op, Zset};
use crate::shard::wire::Items;
use crate::shard::{Key, notice};

const TAKES: u32 = key::RW | key::ACCESS | key::DELETE;

const POP: Command = Command {
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, TAKES)],
    since: "5.0.0",
    complexity: "O(log(N)*M), N being the number of members and M the number of those taken",
    syntax: "key [count]",
    ..ZSET
};

const WAITING: Command = Command {
    arity: -3,
    flags: flag::WRITE | flag::NOSCRIPT | flag::BLOCKING | flag::FAST,
    keys: &[KeySpec::range(1, -2, TAKES)],
    since: "5.0.0",
    syntax: "key [key ...] timeout",
    route: Route::Keys,
    ..ZSET
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "zpopmin",
        summary: "Takes the members with the lowest scores.",
        run: Run::Data(|ctx, args| zpop(ctx, args, End::Min)),
        ..POP
    },
    Command {
        name: "zpopmax",
        summary: "Takes the members with the highest scores.",
        run: Run::Data(|ctx, args| zpop(ctx, args, End::Max)),
        ..POP
    },
    Command {
        name: "zmpop",
        arity: -4,
        flags: flag::WRITE,
        keys: &[KeySpec::counted(1, TAKES)],
        since: "7.0.0",
        complexity: "O(K+M*log(N)), K being the number of keys, N that of members and M that of those taken",
        summary: "Takes members with the lowest or highest scores of the first set that has any.",
        syntax: "numkeys key [key ...] <MIN | MAX> [COUNT count]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| zmpop(ctx, args, 1)),
        ..POP
    },
    Command {
        name: "bzpopmin",
        summary: "Takes the member with the lowest score of the first set that has any, or waits for one.",
        run: Run::Data(|ctx, args| bzpop(ctx, args, End::Min)),
        ..WAITING
    },
    Command {
        name: "bzpopmax",
        summary: "Takes the member with the highest score of the first set that has any, or waits for one.",
        run: Run::Data(|ctx, args| bzpop(ctx, args, End::Max)),
        ..WAITING
    },
    Command {
        name: "bzmpop",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING,
        keys: &[KeySpec::counted(2, TAKES)],
        since: "7.0.0",
        complexity: "O(K+M*log(N)), K being the number of keys, N that of members and M that of those taken",
        summary: "Takes members with the lowest or highest scores of the first set that has any, or waits for one.",
        syntax: "timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
        run: Run::Data(|ctx, args| zmpop(ctx, args, 2)),
        ..WAITING
    },
];

/// Which end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// How entries that were taken are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Members and scores one behind the other, by themselves.
    Flat,
    /// Pairs where the protocol has them.
    Pairs,
    /// The key, then a member and its score.
    Keyed,
    /// The key, then an array of pairs.
    KeyedPairs,
}

/// Takes up to `count` entries of a set that has as many as `len`, and answers with them.
fn take(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    end: End,
    len: usize,
    count: usize,
    shape: Shape,
) -> Result<(), Error> {
    let taken = count.min(len);
    let (from, to) = match end {
        End::Min => (0, taken),
        End::Max => (len - taken, len),
    };
    let reply = &mut ctx.reply;
    match shape {
        Shape::Flat => reply.array(taken * 2),
        Shape::Pairs => pairs_head(reply, taken),
        Shape::Keyed => {
            reply.array(3);
            reply.bulk(k.bytes);
        }
        Shape::KeyedPairs => {
            reply.array(2);
            reply.bulk(k.bytes);
            reply.array(taken);
        }
    }
    let set = ctx.ks.peek::<Zset>(k, ctx.now)?;
    let mut only = Vec::new();
    for (member, score) in set
        .iter()
        .flat_map(|set| set.range(from, to, end == End::Max))
    {
        match shape {
            Shape::Pairs => pair(reply, member, score),
            Shape::Flat | Shape::Keyed => {
                reply.bulk(member);
                reply.double(score);
            }
            Shape::KeyedPairs => {
                reply.array(2);
                reply.bulk(member);
                reply.double(score);
            }
        }
        if taken == 1 {
            only.extend_from_slice(member);
        }
    }
    if taken == 1 {
        let members = [only.as_slice()];
        ctx.alter::<Zset>(k, &Op::Remove(Items::Args(&members)))?;
    } else {
        range::cut(ctx, k.bytes, from, to)?;
    }
    ctx.notify(notice::ZSET, end.event(), k);
    Ok(())
}

/// Of the keys among the arguments, the first that holds members, and how many.
fn first_of<'k>(ctx: &mut Ctx<'_>, keys: &[&'k [u8]]) -> Result<Option<(Key<'k>, usize)>, Error> {
    for name in keys {
        let k = ctx.key(name);
        if let Some(set) = ctx.peek::<Zset>(&k)? {
            let len = crate::shard::kinds::Collection::len(set);
            return Ok(Some((k, len)));
        }
    }
    Ok(None)
}

fn zpop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let (count, shape) = match args[2..] {
        [] => (1, Shape::Flat),
        [count] => (
            at_least(count, 0, "ERR value is out of range, must be positive")?,
            Shape::Pairs,
        ),
        _ => return Err(Error::Syntax),
    };
    match first_of(ctx, &args[1..2])? {
        Some((k, len)) if count > 0 => take(ctx, &k, end, len, count, shape),
        _ => {
            ctx.reply.array(0);
            Ok(())
        }
    }
}

/// What ZMPOP and BZMPOP say behind their keys.
fn end_and_count(args: &[&[u8]]) -> Result<(End, usize), Error> {
    let end = match args.first() {
        Some(word) if word.eq_ignore_ascii_case(b"min") => End::Min,
        Some(word) if word.eq_ignore_ascii_case(b"max") => End::Max,
        _ => return Err(Error::Syntax),
    };
    match args[1..] {
        [] => Ok((end, 1)),
        [word, count, ref rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
            let count = at_least(count, 1, "ERR count should be greater than 0")?;
            match rest {
                [] => Ok((end, count)),
                _ => Err(Error::Syntax),
            }
        }
        _ => Err(Error::Syntax),
    }
}

fn zmpop(ctx: &mut Ctx<'_>, args: &[&[u8]], at: usize) -> Result<(), Error> {
    let keys = at_least(args[at], 1, "ERR numkeys should be greater than 0")?;
    let behind = keys.saturating_add(at + 1);
    let (end, count) = end_and_count(args.get(behind..).unwrap_or_default())?;
    let waits = match at {
        1 => None,
        _ => Some(timeout(args[1])?),
    };
    if let Some((k, len)) = first_of(ctx, &args[at + 1..behind])? {
        return take(ctx, &k, end, len, count, Shape::KeyedPairs);
    }
    match waits {
        None => ctx.reply.null_array(),
        Some(timeout) => ctx.wait_for(Wait {
            timeout,
            keys: (at + 1..behind).collect(),
            nil: Nil::Array,
            args: None,
        }),
    }
    Ok(())
}

fn bzpop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let timeout = timeout(args[last])?;
    if let Some((k, len)) = first_of(ctx, &args[1..last])? {
        return take(ctx, &k, end, len, 1, Shape::Keyed);
    }
    ctx.wait_for(Wait {
        timeout,
        keys: (1..last).collect(),
        nil: Nil::Array,
        args: None,
    });
    Ok(())
}
