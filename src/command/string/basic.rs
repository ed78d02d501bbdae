//! Reading a string whole: GET, GETSET, GETDEL, STRLEN.

use super::{STRING, answer, length};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::shard::{Expire, notice};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "get",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "1.0.0",
        summary: "Returns the string a key holds.",
        run: Run::Data(get),
        ..STRING
    },
    Command {
        name: "getset",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        since: "1.0.0",
        summary: "Sets a key to a string and returns the one it held.",
        syntax: "key value",
        run: Run::Data(getset),
        ..STRING
    },
    Command {
        name: "getdel",
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::DELETE)],
        since: "6.2.0",
        summary: "Returns the string a key holds and deletes the key.",
        run: Run::Data(getdel),
        ..STRING
    },
    Command {
        name: "strlen",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        since: "2.2.0",
        summary: "Returns the length of a string in bytes.",
        run: Run::Data(strlen),
        ..STRING
    },
];

fn get(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let value = ctx.ks.at(k.slot).get(&k, ctx.now);
    answer(&mut ctx.reply, value)
}

fn getset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    get(ctx, args)?;
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let shard = ctx.shard(&k);
    shard.set(&k, args[2], Expire::None, now);
    shard.note(notice::STRING, "set", &k);
    Ok(())
}

fn getdel(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    get(ctx, args)?;
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let shard = ctx.shard(&k);
    if shard.delete(&k, now) {
        shard.note(notice::GENERIC, "del", &k);
    }
    Ok(())
}

fn strlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = length(ctx.ks.at(k.slot).get(&k, ctx.now))?;
    ctx.reply.int(len as i64);
    Ok(())
}
