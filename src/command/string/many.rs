//! Many strings at once: MGET, MSET, MSETNX. Their keys may live on different shards; all of them are
//! present while the command runs, so it is one step for every other client.

use super::{STRING, answer};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::shard::{Expire, Value, notice};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "mget",
        tips: &["request_policy:multi_shard"],
        arity: -2,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::rest(1, 1, key::RO | key::ACCESS)],
        since: "1.0.0",
        complexity: "O(N), N being the number of keys",
        summary: "Returns the strings of several keys.",
        syntax: "key [key ...]",
        route: Route::Keys,
        run: Run::Data(mget),
        ..STRING
    },
    Command {
        name: "mset",
        tips: &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::rest(1, 2, key::OW | key::UPDATE)],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several keys to strings, in one step.",
        syntax: "key value [key value ...]",
        route: Route::Keys,
        run: Run::Data(mset),
        ..STRING
    },
    Command {
        name: "msetnx",
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::rest(1, 2, key::OW | key::INSERT)],
        since: "1.0.1",
        complexity: "O(N), N being the number of keys",
        summary: "Sets several keys to strings, unless one of the keys exists.",
        syntax: "key value [key value ...]",
        route: Route::Keys,
        run: Run::Data(msetnx),
        ..STRING
    },
];

fn mget(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    ctx.reply.array(args.len() - 1);
    for arg in &args[1..] {
        let k = ctx.key(arg);
        match ctx.ks.at(k.slot).get(&k, ctx.now) {
            Some(Value::Object(_)) => ctx.reply.null(),
            value => answer(&mut ctx.reply, value)?,
        }
    }
    Ok(())
}

fn set_all(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let now = ctx.now;
    for pair in args[1..].chunks_exact(2) {
        let k = ctx.key(pair[0]);
        let shard = ctx.shard(&k);
        shard.set(&k, pair[1], Expire::None, now);
        shard.note(notice::STRING, "set", &k);
    }
}

fn mset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::Arity("mset"));
    }
    set_all(ctx, args);
    ctx.reply.ok();
    Ok(())
}

fn msetnx(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        return Err(Error::Arity("msetnx"));
    }
    let now = ctx.now;
    for pair in args[1..].chunks_exact(2) {
        let k = ctx.key(pair[0]);
        if ctx.shard(&k).contains(&k, now) {
            ctx.reply.int(0);
            return Ok(());
        }
    }
    set_all(ctx, args);
    ctx.reply.int(1);
    Ok(())
}
