//! HyperLogLogs: how many different things were seen, in 12 KiB at most: PFADD, PFCOUNT, PFMERGE.
//!
//! A HyperLogLog is a string in Redis's own form (see `registers`), so that it can be read, copied and moved as one.

mod registers;

use super::row::{Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error};
use crate::shard::{Decimal, Expire, Key, notice};
use registers::{Form, Registers, place_of};

const HLL: Command = Command {
    acl: acl::HYPERLOGLOG,
    group: Group::HyperLogLog,
    since: "2.8.9",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::INSERT)],
        complexity: "O(1) for each element",
        summary: "Notes elements in a HyperLogLog, which is made if there is none.",
        syntax: "key [element [element ...]]",
        run: Run::Data(pfadd),
        ..HLL
    },
    Command {
        name: "pfcount",
        arity: -2,
        flags: flag::READONLY,
        keys: &[KeySpec::rest(1, 1, key::RW | key::ACCESS)],
        complexity: "O(1) for each key, with a large constant",
        summary: "Estimates how many different elements were noted, in one HyperLogLog or several together.",
        syntax: "key [key ...]",
        route: Route::Keys,
        run: Run::Data(pfcount),
        ..HLL
    },
    Command {
        name: "pfmerge",
        arity: -2,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            KeySpec::one(1, key::RW | key::ACCESS | key::INSERT),
            KeySpec::rest(2, 1, key::RO | key::ACCESS),
        ],
        complexity: "O(1) for each key, with a large constant",
        summary: "Makes a HyperLogLog of all that several have noted, its own content included.",
        syntax: "destkey [sourcekey [sourcekey ...]]",
        route: Route::Keys,
        run: Run::Data(pfmerge),
        ..HLL
    },
];

/// The HyperLogLog at a key.
fn read(ctx: &mut Ctx<'_>, k: &Key<'_>) -> Result<Option<(Registers, Form)>, Error> {
    let now = ctx.now;
    let Some(value) = ctx.shard(k).get(k, now) else {
        return Ok(None);
    };
    let mut scratch = Decimal::default();
    let bytes = value.bytes(&mut scratch).ok_or(Error::WrongType)?;
    match Registers::read(bytes) {
        Ok(found) => Ok(Some(found)),
        Err(registers::Wrong::Magic) => Err(Error::Text(
            "WRONGTYPE Key is not a valid HyperLogLog string value.",
        )),
        Err(registers::Wrong::Content) => {
            Err(Error::Text("INVALIDOBJ Corrupted HLL object detected"))
        }
    }
}

fn write(ctx: &mut Ctx<'_>, k: &Key<'_>, registers: &Registers, form: Form) {
    let bytes = registers.write(form);
    let now = ctx.now;
    ctx.shard(k).set(k, &bytes, Expire::Keep, now);
    ctx.notify(notice::STRING, "pfadd", k);
}

fn pfadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let elements = &args[2..];
    let Some((mut registers, form)) = read(ctx, &k)? else {
        let mut registers = Registers::empty();
        for element in elements {
            registers.raise(place_of(element));
        }
        write(ctx, &k, &registers, Form::Sparse);
        ctx.reply.int(1);
        return Ok(());
    };
    let mut raised = Vec::new();
    for element in elements {
        let (index, rank) = place_of(element);
        if registers.raise((index, rank)) {
            raised.push(index);
        }
    }
    let changed = !raised.is_empty();
    match form {
        _ if !changed => {}
        Form::Sparse => write(ctx, &k, &registers, form),
        Form::Dense => {
            // A few bytes of twelve thousand.
            let now = ctx.now;
            for index in raised {
                let (at, bytes) = registers.dense_bytes(index);
                ctx.shard(&k).set_range(&k, at, &bytes, now);
            }
            ctx.shard(&k)
                .set_range(&k, registers::STALE_AT, &[registers::STALE], now);
            ctx.notify(notice::STRING, "pfadd", &k);
        }
    }
    ctx.reply.int(changed as i64);
    Ok(())
}

/// All keys' registers together, and whether any is dense.
fn union(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<(Registers, Form), Error> {
    let mut all = Registers::empty();
    let mut form = Form::Sparse;
    for name in keys {
        let k = ctx.key(name);
        if let Some((registers, this)) = read(ctx, &k)? {
            all.join(&registers);
            if this == Form::Dense {
                form = this;
            }
        }
    }
    Ok((all, form))
}

fn pfcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (all, _) = union(ctx, &args[1..])?;
    ctx.reply.int(all.estimate() as i64);
    Ok(())
}

fn pfmerge(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (all, form) = union(ctx, &args[1..])?;
    let k = ctx.key(args[1]);
    write(ctx, &k, &all, form);
    ctx.reply.ok();
    Ok(())
}
