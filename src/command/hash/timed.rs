//! Fields with their expiry in one step: HSETEX, HGETEX, HGETDEL, as in Redis 8.0.

use std::collections::HashSet;

use super::expiry::{fields, time};
use super::{HASH, names, tidy, value};
use crate::command::expire::Unit;
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::hash::{Hash, Op};
use crate::shard::wire::Items;
use crate::shard::{Key, Ms, notice};

const TIMED: Command = Command {
    arity: -5,
    flags: flag::WRITE | flag::FAST,
    since: "8.0.0",
    complexity: "O(1) for each field",
    ..HASH
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "hsetex",
        arity: -6,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        summary: "Sets fields of a hash with their expiry.",
        syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        run: Run::Data(hsetex),
        ..TIMED
    },
    Command {
        name: "hgetex",
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        summary: "Returns the values of fields of a hash and sets or removes their expiry.",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
                 PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        run: Run::Data(hgetex),
        ..TIMED
    },
    Command {
        name: "hgetdel",
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)],
        summary: "Returns the values of fields of a hash and deletes them.",
        syntax: "key FIELDS numfields field [field ...]",
        run: Run::Data(hgetdel),
        ..TIMED
    },
];

/// What an option says of the expiry.
enum Change {
    At(Ms),
    /// KEEPTTL, PERSIST.
    Word,
}

/// Reads the option at `i`, if it is one of the expiry; `word` is the one without a time. Tells where the next begins.
fn change(
    ctx: &Ctx<'_>,
    args: &[&[u8]],
    i: usize,
    word: &str,
    cmd: &'static str,
) -> Result<Option<(Change, usize)>, Error> {
    if args[i].eq_ignore_ascii_case(word.as_bytes()) {
        return Ok(Some((Change::Word, i + 1)));
    }
    let units: [(&[u8], Unit, bool); 4] = [
        (b"ex", Unit::Seconds, true),
        (b"px", Unit::Milliseconds, true),
        (b"exat", Unit::Seconds, false),
        (b"pxat", Unit::Milliseconds, false),
    ];
    let known = units
        .iter()
        .find(|(name, ..)| args[i].eq_ignore_ascii_case(name));
    let Some(&(_, unit, relative)) = known else {
        return Ok(None);
    };
    let text = args.get(i + 1);
    let text = text.ok_or(Error::Text("ERR missing expire time"))?;
    let at = time(text, unit, relative.then_some(ctx.time()), cmd)?;
    Ok(Some((Change::At(at), i + 2)))
}

fn unknown(word: &[u8]) -> Error {
    Error::message([b"ERR unknown argument: ", word].concat())
}

fn hsetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (mut expiry, mut wanted) = (None, None);
    let mut i = 2;
    while let Some(word) = args.get(i)
        && !word.eq_ignore_ascii_case(b"fields")
    {
        let condition = [("fnx", false), ("fxx", true)]
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        if let Some((_, there)) = condition {
            if wanted.replace(there).is_some() {
                return Err(Error::Text(
                    "ERR Only one of FXX or FNX arguments can be specified",
                ));
            }
            i += 1;
            continue;
        }
        let (change, next) =
            change(ctx, args, i, "keepttl", "hsetex")?.ok_or_else(|| unknown(word))?;
        if expiry.replace(change).is_some() {
            return Err(Error::Text(
                "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
            ));
        }
        i = next;
    }
    let number = args.get(i + 1).and_then(|number| parse_i64(number));
    let number = number.filter(|&n| n > 0);
    let number = number.ok_or(Error::Text("ERR invalid number of fields"))?;
    let pairs = args.get(i + 2..).unwrap_or_default();
    if usize::try_from(number).ok().and_then(|n| n.checked_mul(2)) != Some(pairs.len()) {
        return Err(Error::Arity("hsetex"));
    }
    let k = ctx.key(args[1]);
    let now = ctx.now;
    tidy(ctx, &k, names(pairs))?;
    let hash = ctx.peek::<Hash>(&k)?;
    let there = |name: &[u8]| hash.is_some_and(|hash| hash.get(name, now).is_some());
    if wanted.is_some_and(|wanted| names(pairs).any(|name| there(name) != wanted)) {
        ctx.reply.int(0);
        return Ok(());
    }
    let items = Items::Args(pairs);
    match expiry {
        // What is past its time already is not set, and is not there any more.
        Some(Change::At(at)) if at <= now => {
            let gone: Vec<&[u8]> = names(pairs).collect();
            if ctx.alter::<Hash>(&k, &Op::Remove(Items::Args(&gone)))? > 0 {
                ctx.notify(notice::HASH, "hdel", &k);
            }
        }
        Some(Change::At(at)) => {
            ctx.alter::<Hash>(&k, &Op::Put(Some(at), items))?;
            ctx.notify(notice::HASH, "hset", &k);
            ctx.notify(notice::HASH, "hexpire", &k);
        }
        Some(Change::Word) => {
            ctx.alter::<Hash>(&k, &Op::Put(None, items))?;
            ctx.notify(notice::HASH, "hset", &k);
        }
        None => {
            ctx.alter::<Hash>(&k, &Op::Set(items))?;
            ctx.notify(notice::HASH, "hset", &k);
        }
    }
    ctx.reply.int(1);
    Ok(())
}

/// Answers the values of fields (where `once`, of one named twice only the first time); tells which are there.
fn values<'f>(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    fields: &[&'f [u8]],
    once: bool,
) -> Result<Vec<&'f [u8]>, Error> {
    tidy(ctx, k, fields.iter().copied())?;
    let hash = ctx.ks.read::<Hash>(k, ctx.now)?;
    let mut seen = HashSet::new();
    let mut there = Vec::with_capacity(fields.len());
    ctx.reply.array(fields.len());
    for &name in fields {
        let found = hash.and_then(|hash| hash.get(name, ctx.now));
        let found = found.filter(|_| !once || seen.insert(name));
        there.extend(found.map(|_| name));
        value(&mut ctx.reply, found);
    }
    Ok(there)
}

fn hgetex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    ctx.peek::<Hash>(&k)?;
    let mut expiry = None;
    let mut i = 2;
    while let Some(word) = args.get(i)
        && !word.eq_ignore_ascii_case(b"fields")
    {
        let (change, next) =
            change(ctx, args, i, "persist", "hgetex")?.ok_or_else(|| unknown(word))?;
        if expiry.replace(change).is_some() {
            return Err(Error::Text(
                "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
            ));
        }
        i = next;
    }
    let fields = fields(args, i, "ERR Number of fields must be a positive integer")?;
    let there = values(ctx, &k, fields, false)?;
    let items = Items::Args(&there);
    let (op, event) = match expiry {
        None => return Ok(()),
        Some(Change::At(at)) if at <= now => (Op::Remove(items), "hdel"),
        Some(Change::At(at)) => (Op::Expire(Some(at), items), "hexpire"),
        Some(Change::Word) => (Op::Expire(None, items), "hpersist"),
    };
    if ctx.alter::<Hash>(&k, &op)? > 0 {
        ctx.notify(notice::HASH, event, &k);
    }
    Ok(())
}

fn hgetdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    ctx.peek::<Hash>(&k)?;
    let fields = fields(args, 2, "ERR Number of fields must be a positive integer")?;
    let there = values(ctx, &k, fields, true)?;
    if ctx.alter::<Hash>(&k, &Op::Remove(Items::Args(&there)))? > 0 {
        ctx.notify(notice::HASH, "hdel", &k);
    }
    Ok(())
}
