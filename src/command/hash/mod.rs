//! The hash family. Reading order: here setting, reading and deleting; `number` counts, `random` draws, `expiry` and
//! `timed` let fields expire.

use super::row::{Command, Group, KeySpec, ON_KEY, Run, acl, flag, key};
use super::walk::is_long;
use super::{Ctx, Error, scan};
use crate::resp::Reply;
use crate::shard::kinds::Collection;
use crate::shard::kinds::dict::Place;
use crate::shard::kinds::hash::{Hash, Op};
use crate::shard::wire::Items;
use crate::shard::{Key, Ms, notice};

pub(super) mod expiry;
pub(super) mod number;
pub(super) mod random;
pub(super) mod timed;

/// The start of a row of the family.
const HASH: Command = Command {
    acl: acl::HASH,
    group: Group::Hash,
    since: "2.0.0",
    ..ON_KEY
};
const READ: Command = Command {
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    ..HASH
};
const READ_ALL: Command = Command {
    tips: &["nondeterministic_output_order"],
    flags: flag::READONLY,
    complexity: "O(N), N being the number of fields",
    ..READ
};
const SET: Command = Command {
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
    complexity: "O(1) for each field",
    syntax: "key field value [field value ...]",
    ..HASH
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "hset",
        summary: "Sets fields of a hash.",
        run: Run::Data(hset),
        ..SET
    },
    Command {
        name: "hmset",
        summary: "Sets fields of a hash.",
        run: Run::Data(hmset),
        ..SET
    },
    Command {
        name: "hsetnx",
        arity: 4,
        keys: &[KeySpec::one(1, key::RW | key::INSERT)],
        complexity: "O(1)",
        summary: "Sets a field of a hash unless it is there.",
        syntax: "key field value",
        run: Run::Data(hsetnx),
        ..SET
    },
    Command {
        name: "hget",
        arity: 3,
        summary: "Returns the value of a field of a hash.",
        syntax: "key field",
        run: Run::Data(hget),
        ..READ
    },
    Command {
        name: "hmget",
        arity: -3,
        complexity: "O(1) for each field",
        summary: "Returns the values of several fields of a hash.",
        syntax: "key field [field ...]",
        run: Run::Data(hmget),
        ..READ
    },
    Command {
        name: "hgetall",
        summary: "Returns all fields of a hash with their values.",
        run: Run::Data(hgetall),
        ..READ_ALL
    },
    Command {
        name: "hkeys",
        summary: "Returns all fields of a hash.",
        run: Run::Data(|ctx, args| one_side(ctx, args, |(name, _)| name)),
        ..READ_ALL
    },
    Command {
        name: "hvals",
        summary: "Returns the values of all fields of a hash.",
        run: Run::Data(|ctx, args| one_side(ctx, args, |(_, value)| value)),
        ..READ_ALL
    },
    Command {
        name: "hlen",
        keys: &[KeySpec::one(1, key::RO)],
        summary: "Tells how many fields a hash has.",
        run: Run::Data(hlen),
        ..READ
    },
    Command {
        name: "hexists",
        arity: 3,
        keys: &[KeySpec::one(1, key::RO)],
        summary: "Tells whether a hash has a field.",
        syntax: "key field",
        run: Run::Data(hexists),
        ..READ
    },
    Command {
        name: "hstrlen",
        arity: 3,
        keys: &[KeySpec::one(1, key::RO)],
        since: "3.2.0",
        summary: "Returns the length of the value of a field, in bytes.",
        syntax: "key field",
        run: Run::Data(hstrlen),
        ..READ
    },
    Command {
        name: "hdel",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        complexity: "O(1) for each field",
        summary: "Deletes fields of a hash.",
        syntax: "key field [field ...]",
        run: Run::Data(hdel),
        ..HASH
    },
    Command {
        name: "hscan",
        tips: &["nondeterministic_output"],
        arity: -3,
        flags: flag::READONLY,
        since: "2.8.0",
        complexity: "O(1) a call, O(N) for all N fields",
        summary: "Returns the fields of a hash, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        run: Run::Data(hscan),
        ..READ
    },
];

/// How many fields past their time a command removes that comes upon them, apart from those it is about.
const TIDIED: usize = 64;

/// Removes, before a change, what is past its time: the fields that the change is about, and some of the others.
#[inline]
fn tidy<'f>(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    fields: impl Iterator<Item = &'f [u8]>,
) -> Result<(), Error> {
    if ctx.shard(k).has_timed_fields() {
        return tidy_timed(ctx, k, fields);
    }
    Ok(())
}

fn tidy_timed<'f>(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    fields: impl Iterator<Item = &'f [u8]>,
) -> Result<(), Error> {
    let now = ctx.now;
    let due = |hash: &&Hash| hash.due().is_some_and(|at| at <= now);
    if ctx.peek::<Hash>(k)?.filter(due).is_none() {
        return Ok(());
    }
    ctx.shard(k).expire_fields_of(k, now, TIDIED);
    if let Some(hash) = ctx.peek::<Hash>(k)?.filter(due) {
        let expired: Vec<&[u8]> = fields.filter(|name| hash.is_expired(name, now)).collect();
        ctx.shard(k).expire_named(k, &expired, now);
    }
    Ok(())
}

/// The names in a run of names and values.
fn names<'f>(pairs: &'f [&'f [u8]]) -> impl Iterator<Item = &'f [u8]> {
    pairs.iter().step_by(2).copied()
}

/// Answers a value, or that there is none.
fn value(reply: &mut Reply<'_>, value: Option<&[u8]>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

fn set(ctx: &mut Ctx<'_>, args: &[&[u8]], cmd: &'static str) -> Result<usize, Error> {
    if !args.len().is_multiple_of(2) {
        return Err(Error::Arity(cmd));
    }
    let k = ctx.key(args[1]);
    tidy(ctx, &k, names(&args[2..]))?;
    let new = ctx.alter::<Hash>(&k, &Op::Set(Items::Args(&args[2..])))?;
    ctx.notify(notice::HASH, "hset", &k);
    Ok(new)
}

fn hset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let new = set(ctx, args, "hset")?;
    ctx.reply.int(new as i64);
    Ok(())
}

fn hmset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    set(ctx, args, "hmset")?;
    ctx.reply.ok();
    Ok(())
}

fn hsetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let hash = ctx.peek::<Hash>(&k)?;
    let there = hash.is_some_and(|hash| hash.get(args[2], now).is_some());
    if !there {
        set(ctx, args, "hsetnx")?;
    }
    ctx.reply.int(!there as i64);
    Ok(())
}

fn hget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let hash = ctx.ks.read::<Hash>(&k, ctx.now)?;
    value(
        &mut ctx.reply,
        hash.and_then(|hash| hash.get(args[2], ctx.now)),
    );
    Ok(())
}

fn hmget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let hash = ctx.ks.read::<Hash>(&k, ctx.now)?;
    ctx.reply.array(args.len() - 2);
    for name in &args[2..] {
        value(
            &mut ctx.reply,
            hash.and_then(|hash| hash.get(name, ctx.now)),
        );
    }
    Ok(())
}

fn hgetall(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let now = ctx.now;
    let Some(hash) = ctx.ks.read::<Hash>(&k, now)? else {
        ctx.reply.map(0);
        return Ok(());
    };
    ctx.reply.map(hash.count(now));
    if may_walk && is_long(hash, hash.len()) {
        let mut place = Place::default();
        return ctx.walk::<Hash>(&k, move |hash, n, reply| {
            hash.each(&mut place, n, now, |(name, value)| {
                reply.bulk(name);
                reply.bulk(value);
            })
        });
    }
    for (name, value) in hash.iter(now) {
        ctx.reply.bulk(name);
        ctx.reply.bulk(value);
    }
    Ok(())
}

/// Field or value of a pair.
type Side = for<'f> fn((&'f [u8], &'f [u8])) -> &'f [u8];

fn one_side(ctx: &mut Ctx<'_>, args: &[&[u8]], side: Side) -> Result<(), Error> {
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let now = ctx.now;
    let Some(hash) = ctx.ks.read::<Hash>(&k, now)? else {
        ctx.reply.array(0);
        return Ok(());
    };
    ctx.reply.array(hash.count(now));
    if may_walk && is_long(hash, hash.len()) {
        let mut place = Place::default();
        return ctx.walk::<Hash>(&k, move |hash, n, reply| {
            hash.each(&mut place, n, now, |field| reply.bulk(side(field)))
        });
    }
    hash.iter(now).for_each(|field| ctx.reply.bulk(side(field)));
    Ok(())
}

fn hlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now: Ms = ctx.now;
    let len = ctx.read::<Hash>(&k)?.map_or(0, |hash| hash.count(now));
    ctx.reply.int(len as i64);
    Ok(())
}

fn hexists(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let hash = ctx.ks.read::<Hash>(&k, ctx.now)?;
    let there = hash.is_some_and(|hash| hash.get(args[2], ctx.now).is_some());
    ctx.reply.int(there as i64);
    Ok(())
}

fn hstrlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let hash = ctx.ks.read::<Hash>(&k, ctx.now)?;
    let value = hash.and_then(|hash| hash.get(args[2], ctx.now));
    ctx.reply.int(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

fn hdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    tidy(ctx, &k, args[2..].iter().copied())?;
    let gone = ctx.alter::<Hash>(&k, &Op::Remove(Items::Args(&args[2..])))?;
    if gone > 0 {
        ctx.notify(notice::HASH, "hdel", &k);
    }
    ctx.reply.int(gone as i64);
    Ok(())
}

fn hscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let cursor = scan::parse_cursor(args[2]).ok_or(Error::InvalidCursor)?;
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let Some(hash) = ctx.ks.read::<Hash>(&k, now)? else {
        scan::answer(&mut ctx.reply, |_| (0, 0));
        return Ok(());
    };
    let mut values = true;
    let asked = scan::options(&args[3..], |word, _| {
        let known = word.eq_ignore_ascii_case(b"novalues");
        values &= !known;
        Ok(known.then_some(1))
    })?;
    scan::answer(&mut ctx.reply, |list| {
        let mut count = 0;
        let next = hash.scan(cursor, asked.count, now, |name, value| {
            if asked.allow(name) {
                list.bulk(name);
                count += 1;
                if values {
                    list.bulk(value);
                    count += 1;
                }
            }
        });
        (next, count)
    });
    Ok(())
}
