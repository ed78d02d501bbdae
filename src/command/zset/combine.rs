//! Several sets made one: ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD. Plain sets take part, each member with a
//! score of 1.
//!
//! All sources are looked at together where they lie, on whichever shards; nothing is copied before it is known to be in
//! the result. Sources are taken in the order of their sizes, as Redis takes them: sums of floating point numbers
//! depend on it.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{READ, ZSET, integer, pair, pairs_head, score, store};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::set::{Member, Set};
use crate::shard::kinds::zset::Zset;
use crate::shard::{Decimal, Key, Keyspace, Ms};

const UNION: &str = "O(N)+O(M*log(M)), N being the sizes of all sets and M the size of the result";
const INTER: &str =
    "O(N*K)+O(M*log(M)), N being the size of the smallest of K sets and M the size of the result";
const DIFF: &str = "O(L)+O(M*log(M)), L being the sizes of all sets and M the size of the result";

const RETURNS: Command = Command {
    arity: -3,
    keys: &[KeySpec::counted(1, key::RO | key::ACCESS)],
    since: "6.2.0",
    route: Route::Keys,
    syntax: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
    ..READ
};

const STORES: Command = Command {
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, key::OW | key::UPDATE),
        KeySpec::counted(2, key::RO | key::ACCESS),
    ],
    since: "2.0.0",
    route: Route::Keys,
    syntax: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
    ..ZSET
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "zunion",
        complexity: UNION,
        summary: "Returns the members of any of several sorted sets.",
        run: Run::Data(|ctx, args| answer(ctx, args, "zunion", How::Union)),
        ..RETURNS
    },
    Command {
        name: "zinter",
        complexity: INTER,
        summary: "Returns the members of all of several sorted sets.",
        run: Run::Data(|ctx, args| answer(ctx, args, "zinter", How::Inter)),
        ..RETURNS
    },
    Command {
        name: "zdiff",
        complexity: DIFF,
        summary: "Returns the members of the first sorted set that are in none of the others.",
        syntax: "numkeys key [key ...] [WITHSCORES]",
        run: Run::Data(|ctx, args| answer(ctx, args, "zdiff", How::Diff)),
        ..RETURNS
    },
    Command {
        name: "zunionstore",
        complexity: UNION,
        summary: "Stores the members of any of several sorted sets at a key.",
        run: Run::Data(|ctx, args| keep(ctx, args, "zunionstore", How::Union)),
        ..STORES
    },
    Command {
        name: "zinterstore",
        complexity: INTER,
        summary: "Stores the members of all of several sorted sets at a key.",
        run: Run::Data(|ctx, args| keep(ctx, args, "zinterstore", How::Inter)),
        ..STORES
    },
    Command {
        name: "zdiffstore",
        since: "6.2.0",
        complexity: DIFF,
        summary: "Stores the members of the first sorted set that are in none of the others at a key.",
        syntax: "destination numkeys key [key ...]",
        run: Run::Data(|ctx, args| keep(ctx, args, "zdiffstore", How::Diff)),
        ..STORES
    },
    Command {
        name: "zintercard",
        since: "7.0.0",
        complexity: "O(N*K), N being the size of the smallest of K sets",
        summary: "Counts the members of all of several sorted sets.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        run: Run::Data(zintercard),
        ..RETURNS
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Union,
    Inter,
    Diff,
}

/// What becomes of the scores that a member has in several sets.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// Infinities that cancel each other count as nothing.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of the sets.
#[derive(Clone, Copy)]
enum Source<'a> {
    None,
    Sorted(&'a Zset),
    Plain(&'a Set),
}

impl<'a> Source<'a> {
    fn at(ks: &'a Keyspace, k: &Key<'_>, now: Ms) -> Source<'a> {
        if let Ok(Some(set)) = ks.view::<Zset>(k, now) {
            Source::Sorted(set)
        } else if let Ok(Some(set)) = ks.view::<Set>(k, now) {
            Source::Plain(set)
        } else {
            Source::None
        }
    }

    fn len(&self) -> usize {
        match self {
            Source::None => 0,
            Source::Sorted(set) => set.len(),
            Source::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Source::None => None,
            Source::Sorted(set) => set.score(member),
            Source::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Calls `f` with all members until it says to stop.
    fn each(&self, mut f: impl FnMut(Cow<'a, [u8]>, f64) -> bool) {
        match self {
            Source::None => {}
            Source::Sorted(set) => {
                let _ = set.iter().all(|(m, score)| f(Cow::Borrowed(m), score));
            }
            Source::Plain(set) => {
                let _ = set.iter().all(|member| match member {
                    Member::Bytes(bytes) => f(Cow::Borrowed(bytes), 1.0),
                    Member::Int(n) => f(Cow::Owned(Decimal::new(n).as_bytes().to_vec()), 1.0),
                });
            }
        }
    }
}

/// A command of this family, read.
struct Asked<'a> {
    keys: Vec<Key<'a>>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most; 0: all.
    limit: usize,
}

/// Which options a command takes beside WEIGHTS and AGGREGATE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Returns,
    Stores,
    Counts,
}

impl<'a> Asked<'a> {
    /// Reads the arguments from the number of keys on. The keys' types are looked at before the options are.
    fn parse(
        ctx: &mut Ctx<'_>,
        args: &[&'a [u8]],
        name: &str,
        how: How,
        form: Form,
    ) -> Result<Asked<'a>, Error> {
        let count = integer(args[0])?;
        if count < 1 {
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(Error::message(text));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > args.len() - 1 {
            return Err(Error::Syntax);
        }
        let (keys, mut rest) = args[1..].split_at(count);
        let mut asked = Asked {
            keys: Vec::with_capacity(count),
            weights: vec![1.0; count],
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        for name in keys {
            let k = ctx.key(name);
            if ctx.read::<Zset>(&k).is_err() {
                ctx.peek::<Set>(&k)?;
            }
            asked.keys.push(k);
        }
        let scored = how != How::Diff && form != Form::Counts;
        while let Some((word, behind)) = rest.split_first() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            rest = match behind {
                _ if scored && is(b"weights") && behind.len() >= count => {
                    let (weights, behind) = behind.split_at(count);
                    for (weight, text) in asked.weights.iter_mut().zip(weights) {
                        let wrong = Error::Text("ERR weight value is not a float");
                        *weight = score::parse(text).ok_or(wrong)?;
                    }
                    behind
                }
                [kind, behind @ ..] if scored && is(b"aggregate") => {
                    asked.aggregate = match kind {
                        _ if kind.eq_ignore_ascii_case(b"sum") => Aggregate::Sum,
                        _ if kind.eq_ignore_ascii_case(b"min") => Aggregate::Min,
                        _ if kind.eq_ignore_ascii_case(b"max") => Aggregate::Max,
                        _ => return Err(Error::Syntax),
                    };
                    behind
                }
                _ if form == Form::Returns && is(b"withscores") => {
                    asked.with_scores = true;
                    behind
                }
                [limit, behind @ ..] if form == Form::Counts && is(b"limit") => {
                    let limit = parse_i64(limit).and_then(|n| usize::try_from(n).ok());
                    asked.limit = limit.ok_or(Error::Text("ERR LIMIT can't be negative"))?;
                    behind
                }
                _ => return Err(Error::Syntax),
            };
        }
        Ok(asked)
    }

    /// The sets with their weights; but for a difference, the smallest first.
    fn sources<'k>(&self, ks: &'k Keyspace, now: Ms, how: How) -> Vec<(Source<'k>, f64)> {
        let sets = self.keys.iter().map(|k| Source::at(ks, k, now));
        let mut sources: Vec<_> = sets.zip(self.weights.iter().copied()).collect();
        if how != How::Diff {
            sources.sort_by_key(|(source, _)| source.len());
        }
        sources
    }

    /// The result, in order.
    fn result<'k>(&self, ks: &'k Keyspace, now: Ms, how: How) -> Vec<(f64, Cow<'k, [u8]>)> {
        let sources = self.sources(ks, now, how);
        let mut result: Vec<(f64, Cow<'k, [u8]>)> = match how {
            How::Union => {
                let mut scores: HashMap<Cow<'k, [u8]>, f64> = HashMap::new();
                for (source, weight) in sources {
                    source.each(|member, score| {
                        let score = number(score * weight);
                        scores
                            .entry(member)
                            .and_modify(|held| *held = self.aggregate.join(*held, score))
                            .or_insert(score);
                        true
                    });
                }
                scores
                    .into_iter()
                    .map(|(member, score)| (score, member))
                    .collect()
            }
            How::Inter => {
                let mut found = Vec::new();
                self.intersect(&sources, |member, score| {
                    found.push((score, member));
                    true
                });
                found
            }
            How::Diff => {
                let (first, others) = (sources[0].0, &sources[1..]);
                let mut found = Vec::new();
                first.each(|member, score| {
                    if others
                        .iter()
                        .all(|(other, _)| other.score(&member).is_none())
                    {
                        found.push((score, member));
                    }
                    true
                });
                found
            }
        };
        result.sort_unstable_by(|a, b| {
            let scores = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
            scores.then_with(|| a.1.cmp(&b.1))
        });
        result
    }

    /// Calls `f` with the members of all sets, the smallest of which is the first, until it says to stop.
    fn intersect<'k>(
        &self,
        sources: &[(Source<'k>, f64)],
        mut f: impl FnMut(Cow<'k, [u8]>, f64) -> bool,
    ) {
        let ((first, weight), others) = (sources[0], &sources[1..]);
        first.each(|member, score| {
            let mut joined = number(score * weight);
            for (other, weight) in others {
                match other.score(&member) {
                    Some(score) => joined = self.aggregate.join(joined, score * weight),
                    None => return true,
                }
            }
            f(member, joined)
        });
    }
}

fn answer(ctx: &mut Ctx<'_>, args: &[&[u8]], name: &str, how: How) -> Result<(), Error> {
    let asked = Asked::parse(ctx, &args[1..], name, how, Form::Returns)?;
    let result = asked.result(ctx.ks, ctx.now, how);
    if asked.with_scores {
        pairs_head(&mut ctx.reply, result.len());
        for (score, member) in &result {
            pair(&mut ctx.reply, member, *score);
        }
    } else {
        ctx.reply.array(result.len());
        result.iter().for_each(|(_, member)| ctx.reply.bulk(member));
    }
    Ok(())
}

fn keep(ctx: &mut Ctx<'_>, args: &[&[u8]], name: &'static str, how: How) -> Result<(), Error> {
    let asked = Asked::parse(ctx, &args[2..], name, how, Form::Stores)?;
    let result = asked.result(ctx.ks, ctx.now, how);
    let entries = result.iter().map(|(score, member)| (*score, &**member));
    let made = Zset::of_entries(entries);
    drop(result);
    let to = ctx.key(args[1]);
    store(ctx, &to, made, name);
    Ok(())
}

fn zintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let asked = Asked::parse(ctx, &args[1..], "zintercard", How::Inter, Form::Counts)?;
    let sources = asked.sources(ctx.ks, ctx.now, How::Inter);
    let mut count = 0;
    asked.intersect(&sources, |_, _| {
        count += 1;
        count != asked.limit
    });
    ctx.reply.int(count as i64);
    Ok(())
}
