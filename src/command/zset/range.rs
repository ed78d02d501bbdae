//! Stretches of the order: ZRANGE and the seven commands it took the place of, ZRANGESTORE, ZREMRANGEBY....
//!
//! Whatever a range is written in (ranks, scores, members), it comes down to ranks, and those to entries: a removal is
//! logged by its first and last entry.

use super::score::{Names, Scores};
use super::{READ, ZSET, integer, pair, pairs_head, store};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::walk::is_long;
use crate::command::{Ctx, Error};
use crate::resp::Reply;
use crate::shard::kinds::Collection;
use crate::shard::kinds::zset::{Op, Range, Zset};
use crate::shard::notice;

const RETURNS: &str =
    "O(log(N)+M), N being the number of members and M the number of those returned";
const STORES: &str = "O(log(N)+M), N being the number of members and M the number of those stored";
const REMOVES: &str =
    "O(M*log(N)), N being the number of members and M the number of those removed";

const RANGE: Command = Command {
    arity: -4,
    complexity: RETURNS,
    ..READ
};

const REMOVE: Command = Command {
    arity: 4,
    flags: flag::WRITE,
    keys: &[KeySpec::one(1, key::RW | key::DELETE)],
    complexity: REMOVES,
    ..ZSET
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "zrange",
        since: "1.2.0",
        summary: "Returns members within a range of ranks, scores or members.",
        syntax: "key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::default())),
        ..RANGE
    },
    Command {
        name: "zrangestore",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key::OW | key::UPDATE),
            KeySpec::one(2, key::RO | key::ACCESS),
        ],
        since: "6.2.0",
        complexity: STORES,
        summary: "Stores members within a range of ranks, scores or members at another key.",
        syntax: "dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        route: Route::Keys,
        run: Run::Data(zrangestore),
        ..RANGE
    },
    Command {
        name: "zrevrange",
        since: "1.2.0",
        summary: "Returns members within a range of ranks, from the highest score on.",
        syntax: "key start stop [WITHSCORES]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::fixed(By::Rank, true))),
        ..RANGE
    },
    Command {
        name: "zrangebyscore",
        since: "1.0.5",
        summary: "Returns members within a range of scores.",
        syntax: "key min max [WITHSCORES] [LIMIT offset count]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::fixed(By::Score, false))),
        ..RANGE
    },
    Command {
        name: "zrevrangebyscore",
        since: "2.2.0",
        summary: "Returns members within a range of scores, from the highest on.",
        syntax: "key max min [WITHSCORES] [LIMIT offset count]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::fixed(By::Score, true))),
        ..RANGE
    },
    Command {
        name: "zrangebylex",
        since: "2.8.9",
        summary: "Returns members within a range of members of the same score.",
        syntax: "key min max [LIMIT offset count]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::fixed(By::Name, false))),
        ..RANGE
    },
    Command {
        name: "zrevrangebylex",
        since: "2.8.9",
        summary: "Returns members within a range of members of the same score, from the last on.",
        syntax: "key max min [LIMIT offset count]",
        run: Run::Data(|ctx, args| zrange(ctx, args, Way::fixed(By::Name, true))),
        ..RANGE
    },
    Command {
        name: "zremrangebyrank",
        since: "2.0.0",
        summary: "Removes members within a range of ranks.",
        syntax: "key start stop",
        run: Run::Data(|ctx, args| remove(ctx, args, By::Rank, "zremrangebyrank")),
        ..REMOVE
    },
    Command {
        name: "zremrangebyscore",
        since: "1.2.0",
        summary: "Removes members within a range of scores.",
        syntax: "key min max",
        run: Run::Data(|ctx, args| remove(ctx, args, By::Score, "zremrangebyscore")),
        ..REMOVE
    },
    Command {
        name: "zremrangebylex",
        since: "2.8.9",
        summary: "Removes members within a range of members of the same score.",
        syntax: "key min max",
        run: Run::Data(|ctx, args| remove(ctx, args, By::Name, "zremrangebylex")),
        ..REMOVE
    },
];

/// What the ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// What a command's name has settled of a range; its options may settle the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    by: Option<By>,
    backwards: Option<bool>,
    /// The result is stored, not returned.
    stores: bool,
}

impl Way {
    fn fixed(by: By, backwards: bool) -> Way {
        Way {
            by: Some(by),
            backwards: Some(backwards),
            stores: false,
        }
    }
}

/// The ends of a range.
#[derive(Clone, Copy, Debug)]
enum Ends<'a> {
    Ranks(i64, i64),
    Scores(Scores),
    Names(Names<'a>),
}

impl<'a> Ends<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Ends<'a>, Error> {
        Ok(match by {
            By::Rank => Ends::Ranks(integer(min)?, integer(max)?),
            By::Score => Ends::Scores(Scores::parse(min, max)?),
            By::Name => Ends::Names(Names::parse(min, max)?),
        })
    }

    /// The ranks from the lowest score on that it covers, the second excluded.
    fn ranks(&self, set: &Zset, backwards: bool) -> (usize, usize) {
        match self {
            Ends::Scores(scores) => scores.ranks(set),
            Ends::Names(names) => names.ranks(set),
            &Ends::Ranks(start, stop) => {
                let len = set.len() as i64;
                let from_end = |n: i64| if n < 0 { n.saturating_add(len) } else { n };
                let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
                if start > stop {
                    return (0, 0);
                }
                let (from, to) = (start as usize, stop as usize + 1);
                match backwards {
                    true => (set.len() - to, set.len() - from),
                    false => (from, to),
                }
            }
        }
    }
}

/// A range as asked for.
struct Asked<'a> {
    ends: Ends<'a>,
    backwards: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: no limit.
    limit: i64,
}

impl<'a> Asked<'a> {
    /// Reads the ends, which are the first two of `args`, and the options behind them.
    fn parse(args: &[&'a [u8]], way: Way) -> Result<Asked<'a>, Error> {
        let (mut by, mut backwards) = (way.by, way.backwards);
        let (mut with_scores, mut offset, mut limit) = (false, 0, -1);
        let mut at = 2;
        while let Some(word) = args.get(at) {
            if !way.stores && word.eq_ignore_ascii_case(b"withscores") {
                with_scores = true;
            } else if word.eq_ignore_ascii_case(b"limit") && at + 2 < args.len() {
                (offset, limit) = (integer(args[at + 1])?, integer(args[at + 2])?);
                at += 2;
            } else if backwards.is_none() && word.eq_ignore_ascii_case(b"rev") {
                backwards = Some(true);
            } else if by.is_none() && word.eq_ignore_ascii_case(b"bylex") {
                by = Some(By::Name);
            } else if by.is_none() && word.eq_ignore_ascii_case(b"byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if by == By::Rank && limit != -1 {
            return Err(Error::Text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if by == By::Name && with_scores {
            return Err(Error::Text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Backwards, a range of scores or members is written backwards.
        let (min, max) = match backwards && by != By::Rank {
            true => (args[1], args[0]),
            false => (args[0], args[1]),
        };
        if by == By::Rank {
            (offset, limit) = (0, -1);
        }
        Ok(Asked {
            ends: Ends::parse(by, min, max)?,
            backwards,
            with_scores,
            offset,
            limit,
        })
    }

    /// The ranks that are returned.
    fn ranks(&self, set: &Zset) -> (usize, usize) {
        let (from, to) = self.ends.ranks(set, self.backwards);
        let len = to - from;
        // A negative offset is never reached.
        let skip = usize::try_from(self.offset).unwrap_or(len).min(len);
        let take = usize::try_from(self.limit).unwrap_or(len).min(len - skip);
        match self.backwards {
            true => (to - skip - take, to - skip),
            false => (from + skip, from + skip + take),
        }
    }
}

fn zrange(ctx: &mut Ctx<'_>, args: &[&[u8]], way: Way) -> Result<(), Error> {
    let asked = Asked::parse(&args[2..], way)?;
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let Some(set) = ctx.ks.read::<Zset>(&k, ctx.now)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    let (mut from, mut to) = asked.ranks(set);
    let (backwards, with_scores) = (asked.backwards, asked.with_scores);
    match with_scores {
        true => pairs_head(&mut ctx.reply, to - from),
        false => ctx.reply.array(to - from),
    }
    if may_walk && is_long(set, to - from) {
        return ctx.walk::<Zset>(&k, move |set, n, reply| {
            let n = n.min(to - from);
            let (start, end) = match backwards {
                true => (to - n, to),
                false => (from, from + n),
            };
            show(reply, set.range(start, end, backwards), with_scores);
            match backwards {
                true => to -= n,
                false => from += n,
            }
            from < to
        });
    }
    show(&mut ctx.reply, set.range(from, to, backwards), with_scores);
    Ok(())
}

fn show(reply: &mut Reply<'_>, entries: Range<'_>, with_scores: bool) {
    match with_scores {
        true => entries.for_each(|(member, score)| pair(reply, member, score)),
        false => entries.for_each(|(member, _)| reply.bulk(member)),
    }
}

fn zrangestore(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let way = Way {
        stores: true,
        ..Way::default()
    };
    let asked = Asked::parse(&args[3..], way)?;
    let (to, from) = (ctx.key(args[1]), ctx.key(args[2]));
    let made = match ctx.read::<Zset>(&from)? {
        Some(set) => {
            let (from, to) = asked.ranks(set);
            let entries = set.range(from, to, false);
            Zset::of_entries(entries.map(|(member, score)| (score, member)))
        }
        None => Zset::empty(),
    };
    store(ctx, &to, made, "zrangestore");
    Ok(())
}

fn remove(ctx: &mut Ctx<'_>, args: &[&[u8]], by: By, event: &'static str) -> Result<(), Error> {
    let ends = Ends::parse(by, args[2], args[3])?;
    let k = ctx.key(args[1]);
    let (from, to) = ctx
        .peek::<Zset>(&k)?
        .map_or((0, 0), |set| ends.ranks(set, false));
    let removed = cut(ctx, args[1], from, to)?;
    if removed > 0 {
        ctx.notify(notice::ZSET, event, &k);
    }
    ctx.reply.int(removed as i64);
    Ok(())
}

/// Removes the entries of ranks `from..to` of the set at a key.
pub(super) fn cut(ctx: &mut Ctx<'_>, name: &[u8], from: usize, to: usize) -> Result<usize, Error> {
    let k = ctx.key(name);
    let Some(set) = ctx.peek::<Zset>(&k)? else {
        return Ok(0);
    };
    let ends = (
        set.range(from, to, false).next(),
        set.range(from, to, true).next(),
    );
    let (Some((first, low)), Some((last, high))) = ends else {
        return Ok(0);
    };
    let (first, last) = (first.to_vec(), last.to_vec());
    let op = Op::Cut {
        first: (low, &first),
        last: (high, &last),
    };
    Ok(ctx.alter::<Zset>(&k, &op)?.removed)
}
