//! Draws: SPOP and SRANDMEMBER. What is logged of SPOP is the members it drew.

use super::SET;
use crate::command::chance::{Chance, bounded, repeats};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::set::{Op, Set};
use crate::shard::notice;
use crate::shard::wire::Items;

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "spop",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)],
        complexity: "O(1) for each member returned",
        summary: "Removes members of a set by chance and returns them.",
        syntax: "key [count]",
        run: Run::Data(spop),
        ..SET
    },
    Command {
        name: "srandmember",
        tips: &["nondeterministic_output"],
        arity: -2,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        complexity: "O(1) for each member returned",
        summary: "Returns members of a set by chance.",
        syntax: "key [count]",
        run: Run::Data(srandmember),
        ..SET
    },
];

fn spop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    match args.len() {
        2 => pop_one(ctx, args[1]),
        3 => pop_some(ctx, args[1], args[2]),
        _ => Err(Error::Syntax),
    }
}

fn pop_one(ctx: &mut Ctx<'_>, name: &[u8]) -> Result<(), Error> {
    let k = ctx.key(name);
    let mut chance = Chance::new(ctx.random);
    let set = ctx.ks.peek::<Set>(&k, ctx.now)?;
    let Some(member) = set.and_then(|set| set.choose(|| chance.next())) else {
        ctx.reply.null();
        return Ok(());
    };
    let start = ctx.reply.buf.len();
    member.answer(&mut ctx.reply);
    let member = text(&ctx.reply.buf[start..]);
    let op = Op::Remove(Items::Args(&[member]));
    ctx.ks.at(k.slot).alter::<Set>(&k, &op, ctx.now)?;
    ctx.notify(notice::SET, "spop", &k);
    Ok(())
}

/// What a bulk string that was just written holds: what is behind its first line end and before its last.
fn text(bulk: &[u8]) -> &[u8] {
    let start = bulk.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
    &bulk[start..bulk.len().saturating_sub(2).max(start)]
}

fn pop_some(ctx: &mut Ctx<'_>, name: &[u8], count: &[u8]) -> Result<(), Error> {
    let count = parse_i64(count).and_then(|n| usize::try_from(n).ok());
    let count = count.ok_or(Error::Text("ERR value is out of range, must be positive"))?;
    let k = ctx.key(name);
    let now = ctx.now;
    let set = ctx.ks.peek::<Set>(&k, now)?;
    let Some(set) = set.filter(|_| count > 0) else {
        ctx.reply.set(0);
        return Ok(());
    };
    let len = set.len();
    ctx.reply.set(count.min(len));
    if count >= len {
        set.iter().for_each(|member| member.answer(&mut ctx.reply));
        ctx.ks.at(k.slot).delete(&k, now);
    } else {
        let mut chance = Chance::new(ctx.random);
        let drawn = chance.draw(count, len, set.iter(), |random| set.choose(random));
        let mut ends = Vec::with_capacity(drawn.len() + 1);
        ends.push(ctx.reply.buf.len());
        for member in drawn {
            member.answer(&mut ctx.reply);
            ends.push(ctx.reply.buf.len());
        }
        let members: Vec<&[u8]> = ends
            .windows(2)
            .map(|ends| text(&ctx.reply.buf[ends[0]..ends[1]]))
            .collect();
        let op = Op::Remove(Items::Args(&members));
        ctx.ks.at(k.slot).alter::<Set>(&k, &op, now)?;
    }
    ctx.notify(notice::SET, "spop", &k);
    Ok(())
}

fn srandmember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(limited(count)?),
        _ => return Err(Error::Syntax),
    };
    let k = ctx.key(args[1]);
    let mut chance = Chance::new(ctx.random);
    let set = ctx.ks.read::<Set>(&k, ctx.now)?;
    let Some(count) = count else {
        match set.and_then(|set| set.choose(|| chance.next())) {
            Some(member) => member.answer(&mut ctx.reply),
            None => ctx.reply.null(),
        }
        return Ok(());
    };
    let Some(set) = set else {
        ctx.reply.array(0);
        return Ok(());
    };
    if count >= 0 {
        let drawn = chance.draw(count as usize, set.len(), set.iter(), |random| {
            set.choose(random)
        });
        ctx.reply.array(drawn.len());
        drawn
            .iter()
            .for_each(|member| member.answer(&mut ctx.reply));
    } else {
        let (number, start) = (repeats(count)?, ctx.reply.buf.len());
        ctx.reply.array(number);
        for _ in 0..number {
            if let Some(member) = set.choose(|| chance.next()) {
                member.answer(&mut ctx.reply);
                bounded(&ctx.reply, start)?;
            }
        }
    }
    Ok(())
}

/// How many elements are asked for; negative: and each may come several times.
pub(in crate::command) fn limited(count: &[u8]) -> Result<i64, Error> {
    match parse_i64(count).ok_or(Error::NotInteger)? {
        i64::MIN => Err(Error::Text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}
