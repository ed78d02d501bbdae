//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT. The expiry stays as it is, and what is
//! logged is the result, never the step.

use super::STRING;
use super::long_double::LongDouble;
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Decimal, Expire, Value, notice};

const NUMBER: Command = Command {
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
    ..STRING
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "incr",
        since: "1.0.0",
        summary: "Adds one to the integer a key holds; no key counts as 0.",
        run: Run::Data(incr),
        ..NUMBER
    },
    Command {
        name: "decr",
        since: "1.0.0",
        summary: "Takes one from the integer a key holds; no key counts as 0.",
        run: Run::Data(decr),
        ..NUMBER
    },
    Command {
        name: "incrby",
        arity: 3,
        since: "1.0.0",
        summary: "Adds to the integer a key holds; no key counts as 0.",
        syntax: "key increment",
        run: Run::Data(incrby),
        ..NUMBER
    },
    Command {
        name: "decrby",
        arity: 3,
        since: "1.0.0",
        summary: "Takes from the integer a key holds; no key counts as 0.",
        syntax: "key decrement",
        run: Run::Data(decrby),
        ..NUMBER
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        since: "2.6.0",
        summary: "Adds to the floating point number a key holds; no key counts as 0.",
        syntax: "key increment",
        run: Run::Data(incrbyfloat),
        ..NUMBER
    },
];

fn add(ctx: &mut Ctx<'_>, name: &[u8], step: i64) -> Result<(), Error> {
    let k = ctx.key(name);
    let now = ctx.now;
    let shard = ctx.ks.at(k.slot);
    let before = match shard.peek(&k, now) {
        None => 0,
        Some(Value::Int(n)) => n,
        Some(Value::Object(_)) => return Err(Error::WrongType),
        Some(value) => value.integer().ok_or(Error::NotInteger)?,
    };
    let after = before.checked_add(step).ok_or(Error::Overflow)?;
    shard.set_int(&k, after, Expire::Keep, now);
    shard.note(notice::STRING, "incrby", &k);
    ctx.reply.int(after);
    Ok(())
}

fn incr(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    add(ctx, args[1], 1)
}

fn decr(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    add(ctx, args[1], -1)
}

fn incrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let step = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    add(ctx, args[1], step)
}

fn decrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let step = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    let step = step.checked_neg().ok_or(Error::DecrementOverflow)?;
    add(ctx, args[1], step)
}

fn incrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let shard = ctx.ks.at(k.slot);
    let mut scratch = Decimal::default();
    let before = match shard.peek(&k, now) {
        None => LongDouble::ZERO,
        Some(value) => {
            let bytes = value.bytes(&mut scratch).ok_or(Error::WrongType)?;
            LongDouble::parse(bytes).ok_or(Error::NotFloat)?
        }
    };
    let step = LongDouble::parse(args[2]).ok_or(Error::NotFloat)?;
    let after = before.add(step).ok_or(Error::NanOrInfinity)?;
    let text = after.text();
    shard.set(&k, &text, Expire::Keep, now);
    shard.note(notice::STRING, "incrbyfloat", &k);
    ctx.reply.bulk(&text);
    Ok(())
}
