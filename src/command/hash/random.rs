//! Draws of fields: HRANDFIELD.

use super::HASH;
use crate::command::chance::{Chance, bounded, repeats};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::set::random::limited;
use crate::command::{Ctx, Error};
use crate::resp::{Proto, Reply};
use crate::shard::kinds::hash::Hash;

pub(in crate::command) const ROWS: &[Command] = &[Command {
    name: "hrandfield",
    tips: &["nondeterministic_output"],
    arity: -2,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    since: "6.2.0",
    complexity: "O(1) for each field returned",
    summary: "Returns fields of a hash by chance.",
    syntax: "key [count [WITHVALUES]]",
    run: Run::Data(hrandfield),
    ..HASH
}];

fn hrandfield(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (count, values) = match args {
        [_, _] => (None, false),
        [_, _, count] => (Some(limited(count)?), false),
        [_, _, count, word] => {
            let count = limited(count)?;
            if !word.eq_ignore_ascii_case(b"withvalues") {
                return Err(Error::Syntax);
            }
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err(Error::Text("ERR value is out of range"));
            }
            (Some(count), true)
        }
        [_, _, count, ..] => {
            limited(count)?;
            return Err(Error::Syntax);
        }
        _ => return Err(Error::Syntax),
    };
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let mut chance = Chance::new(ctx.random);
    let hash = ctx.ks.read::<Hash>(&k, now)?;
    let Some(count) = count else {
        match hash.and_then(|hash| hash.choose(now, || chance.next())) {
            Some((name, _)) => ctx.reply.bulk(name),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let Some(hash) = hash.filter(|hash| hash.count(now) > 0) else {
        ctx.reply.array(0);
        return Ok(());
    };
    if count >= 0 {
        let len = hash.count(now);
        let choose = |random: &mut dyn FnMut() -> u64| hash.choose(now, random);
        let drawn = chance.draw(count as usize, len, hash.iter(now), choose);
        head(&mut ctx.reply, drawn.len(), values);
        drawn
            .iter()
            .for_each(|&field| answer(&mut ctx.reply, field, values));
    } else {
        let (number, start) = (repeats(count)?, ctx.reply.buf.len());
        head(&mut ctx.reply, number, values);
        for _ in 0..number {
            if let Some(field) = hash.choose(now, || chance.next()) {
                answer(&mut ctx.reply, field, values);
                bounded(&ctx.reply, start)?;
            }
        }
    }
    Ok(())
}

/// The head of an answer of so many fields: values stand beside them in RESP3, and behind them in RESP2.
fn head(reply: &mut Reply<'_>, count: usize, values: bool) {
    let flat = values && reply.proto == Proto::Resp2;
    reply.array(if flat { count * 2 } else { count });
}

fn answer(reply: &mut Reply<'_>, (name, value): (&[u8], &[u8]), values: bool) {
    if values && reply.proto == Proto::Resp3 {
        reply.array(2);
    }
    reply.bulk(name);
    if values {
        reply.bulk(value);
    }
}
