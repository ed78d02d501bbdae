//! Fields that expire: HEXPIRE and its company set it, HTTL and its company tell it, HPERSIST removes it. What is kept
//! and logged is always the absolute time in milliseconds. The commands are those of Redis 7.4.

use std::collections::HashSet;

use super::{HASH, tidy};
use crate::command::expire::{Unit, deadline};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::hash::{Hash, Op};
use crate::shard::wire::Items;
use crate::shard::{Ms, notice};

/// The latest time a field may expire at: 2^46 - 1 ms, in the year 4199. Redis keeps times in 48 bits, of which it
/// reserves two.
pub(super) const LATEST: i64 = (1 << 46) - 1;

const EXPIRE: Command = Command {
    arity: -6,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
    since: "7.4.0",
    complexity: "O(1) for each field",
    ..HASH
};
const TTL: Command = Command {
    arity: -5,
    flags: flag::READONLY | flag::FAST,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    since: "7.4.0",
    complexity: "O(1) for each field",
    syntax: "key FIELDS numfields field [field ...]",
    ..HASH
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "hexpire",
        summary: "Lets fields of a hash expire after a number of seconds.",
        syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: Run::Data(|ctx, args| hexpire(ctx, args, Unit::Seconds, true, "hexpire")),
        ..EXPIRE
    },
    Command {
        name: "hpexpire",
        summary: "Lets fields of a hash expire after a number of milliseconds.",
        syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: Run::Data(|ctx, args| hexpire(ctx, args, Unit::Milliseconds, true, "hpexpire")),
        ..EXPIRE
    },
    Command {
        name: "hexpireat",
        summary: "Lets fields of a hash expire at a Unix time in seconds.",
        syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: Run::Data(|ctx, args| hexpire(ctx, args, Unit::Seconds, false, "hexpireat")),
        ..EXPIRE
    },
    Command {
        name: "hpexpireat",
        summary: "Lets fields of a hash expire at a Unix time in milliseconds.",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        run: Run::Data(|ctx, args| hexpire(ctx, args, Unit::Milliseconds, false, "hpexpireat")),
        ..EXPIRE
    },
    Command {
        name: "hpersist",
        arity: -5,
        flags: flag::WRITE | flag::FAST,
        summary: "Removes the expiry of fields of a hash.",
        syntax: "key FIELDS numfields field [field ...]",
        run: Run::Data(hpersist),
        ..EXPIRE
    },
    Command {
        name: "httl",
        tips: &["nondeterministic_output"],
        summary: "Tells in seconds how long fields of a hash have to live.",
        run: Run::Data(|ctx, args| {
            tell(ctx, args, |at, now| at.saturating_sub(now).div_ceil(1000))
        }),
        ..TTL
    },
    Command {
        name: "hpttl",
        tips: &["nondeterministic_output"],
        summary: "Tells in milliseconds how long fields of a hash have to live.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, now| at.saturating_sub(now))),
        ..TTL
    },
    Command {
        name: "hexpiretime",
        summary: "Tells the Unix time in seconds at which fields of a hash expire.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, _| at.div_ceil(1000))),
        ..TTL
    },
    Command {
        name: "hpexpiretime",
        summary: "Tells the Unix time in milliseconds at which fields of a hash expire.",
        run: Run::Data(|ctx, args| tell(ctx, args, |at, _| at)),
        ..TTL
    },
];

/// What is answered for a field that is not there.
const NO_FIELD: i64 = -2;
/// And for one that does not expire, where that matters.
const NO_EXPIRY: i64 = -1;

/// On which present expiry of a field the new one depends.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    Nx,
    Xx,
    Gt,
    Lt,
}

impl Condition {
    fn read(word: &[u8]) -> Condition {
        let words: [(&[u8], Condition); 4] = [
            (b"nx", Condition::Nx),
            (b"xx", Condition::Xx),
            (b"gt", Condition::Gt),
            (b"lt", Condition::Lt),
        ];
        let known = words
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name));
        known.map_or(Condition::Always, |&(_, condition)| condition)
    }

    /// Never to expire counts as the latest time.
    fn allows(self, before: Option<Ms>, at: Ms) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => before.is_none(),
            Condition::Xx => before.is_some(),
            Condition::Gt => before.is_some_and(|before| before < at),
            Condition::Lt => before.is_none_or(|before| before > at),
        }
    }
}

/// The fields behind `FIELDS number`, which is to stand at `at`.
pub(super) fn fields<'a, 'b>(
    args: &'a [&'b [u8]],
    at: usize,
    wrong: &'static str,
) -> Result<&'a [&'b [u8]], Error> {
    if !args
        .get(at)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"fields"))
    {
        return Err(Error::Text(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let number = args.get(at + 1).and_then(|number| parse_i64(number));
    let number = number.filter(|&n| n > 0).ok_or(Error::Text(wrong))?;
    let fields = args.get(at + 2..).unwrap_or_default();
    if usize::try_from(number) != Ok(fields.len()) {
        return Err(Error::Text(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(fields)
}

/// The time that lies `text` units after `base`, as fields take it.
pub(super) fn time(
    text: &[u8],
    unit: Unit,
    base: Option<Ms>,
    cmd: &'static str,
) -> Result<Ms, Error> {
    let n = parse_i64(text).ok_or(Error::NotInteger)?;
    if n < 0 {
        return Err(Error::Text("ERR invalid expire time, must be >= 0"));
    }
    let at = deadline(n, unit, base).filter(|&at| at <= LATEST);
    at.and_then(|at| Ms::try_from(at).ok())
        .ok_or(Error::ExpireTime(cmd))
}

fn hexpire(
    ctx: &mut Ctx<'_>,
    args: &[&[u8]],
    unit: Unit,
    relative: bool,
    cmd: &'static str,
) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    ctx.peek::<Hash>(&k)?;
    let at = time(args[2], unit, relative.then_some(ctx.time()), cmd)?;
    let condition = Condition::read(args[3]);
    let start = match condition {
        Condition::Always => 3,
        _ => 4,
    };
    let wrong = "ERR Parameter `numFields` should be greater than 0";
    let fields = fields(args, start, wrong)?;
    tidy(ctx, &k, fields.iter().copied())?;
    ctx.reply.array(fields.len());
    let mut chosen = Vec::with_capacity(fields.len());
    let mut seen = HashSet::new();
    let hash = ctx.ks.peek::<Hash>(&k, now)?;
    for &name in fields {
        let before = hash.and_then(|hash| hash.expiry(name, now));
        // A field named twice has its new expiry by then, or is gone.
        let before = match before {
            Some(_) if seen.contains(name) => (at > now).then_some(Some(at)),
            before => before,
        };
        ctx.reply.int(match before {
            None => NO_FIELD,
            Some(before) if !condition.allows(before, at) => 0,
            Some(_) => {
                chosen.push(name);
                if fields.len() > 1 {
                    seen.insert(name);
                }
                if at <= now { 2 } else { 1 }
            }
        });
    }
    if chosen.is_empty() {
        return Ok(());
    }
    let items = Items::Args(&chosen);
    if at <= now {
        ctx.alter::<Hash>(&k, &Op::Remove(items))?;
        ctx.notify(notice::HASH, "hdel", &k);
    } else {
        ctx.alter::<Hash>(&k, &Op::Expire(Some(at), items))?;
        ctx.notify(notice::HASH, "hexpire", &k);
    }
    Ok(())
}

fn hpersist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    ctx.peek::<Hash>(&k)?;
    let fields = fields(args, 2, "ERR Number of fields must be a positive integer")?;
    tidy(ctx, &k, fields.iter().copied())?;
    ctx.reply.array(fields.len());
    let mut chosen: Vec<&[u8]> = Vec::new();
    let mut seen = HashSet::new();
    let hash = ctx.ks.peek::<Hash>(&k, now)?;
    for &name in fields {
        ctx.reply
            .int(match hash.and_then(|hash| hash.expiry(name, now)) {
                None => NO_FIELD,
                Some(None) => NO_EXPIRY,
                Some(_) if !seen.insert(name) => NO_EXPIRY,
                Some(_) => {
                    chosen.push(name);
                    1
                }
            });
    }
    if !chosen.is_empty() {
        ctx.alter::<Hash>(&k, &Op::Expire(None, Items::Args(&chosen)))?;
        ctx.notify(notice::HASH, "hpersist", &k);
    }
    Ok(())
}

/// Answers what `show` makes of each field's expiry.
fn tell(ctx: &mut Ctx<'_>, args: &[&[u8]], show: fn(Ms, Ms) -> Ms) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let hash = ctx.ks.read::<Hash>(&k, now)?;
    let fields = fields(args, 2, "ERR Number of fields must be a positive integer")?;
    ctx.reply.array(fields.len());
    for name in fields {
        ctx.reply
            .int(match hash.and_then(|hash| hash.expiry(name, now)) {
                None => NO_FIELD,
                Some(None) => NO_EXPIRY,
                Some(Some(at)) => show(at, now) as i64,
            });
    }
    Ok(())
}
