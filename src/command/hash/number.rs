//! Fields as numbers: HINCRBY, HINCRBYFLOAT. The field's expiry stays as it is, and what is logged is the result.

use super::{HASH, tidy};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::string::long_double::LongDouble;
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::hash::{Hash, Op};
use crate::shard::wire::Items;
use crate::shard::{Decimal, notice};

const NUMBER: Command = Command {
    arity: 4,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
    syntax: "key field increment",
    ..HASH
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "hincrby",
        summary: "Adds to the integer in a field of a hash; no field counts as 0.",
        run: Run::Data(hincrby),
        ..NUMBER
    },
    Command {
        name: "hincrbyfloat",
        since: "2.6.0",
        summary: "Adds to the floating point number in a field of a hash; no field counts as 0.",
        run: Run::Data(hincrbyfloat),
        ..NUMBER
    },
];

fn hincrby(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let step = parse_i64(args[3]).ok_or(Error::NotInteger)?;
    let k = ctx.key(args[1]);
    let now = ctx.now;
    tidy(ctx, &k, [args[2]].into_iter())?;
    let hash = ctx.peek::<Hash>(&k)?;
    let before = match hash.and_then(|hash| hash.get(args[2], now)) {
        None => 0,
        Some(value) => parse_i64(value).ok_or(Error::Text("ERR hash value is not an integer"))?,
    };
    let after = before.checked_add(step).ok_or(Error::Overflow)?;
    let text = Decimal::new(after);
    let op = Op::Put(None, Items::Args(&[args[2], text.as_bytes()]));
    ctx.alter::<Hash>(&k, &op)?;
    ctx.notify(notice::HASH, "hincrby", &k);
    ctx.reply.int(after);
    Ok(())
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let step = LongDouble::parse(args[3]).ok_or(Error::NotFloat)?;
    if step.add(LongDouble::ZERO).is_none() {
        return Err(Error::Text("ERR value is NaN or Infinity"));
    }
    let k = ctx.key(args[1]);
    let now = ctx.now;
    tidy(ctx, &k, [args[2]].into_iter())?;
    let hash = ctx.peek::<Hash>(&k)?;
    let before = match hash.and_then(|hash| hash.get(args[2], now)) {
        None => LongDouble::ZERO,
        Some(value) => {
            LongDouble::parse(value).ok_or(Error::Text("ERR hash value is not a float"))?
        }
    };
    let text = before.add(step).ok_or(Error::NanOrInfinity)?.text();
    let op = Op::Put(None, Items::Args(&[args[2], &text]));
    ctx.alter::<Hash>(&k, &op)?;
    ctx.notify(notice::HASH, "hincrbyfloat", &k);
    ctx.reply.bulk(&text);
    Ok(())
}
