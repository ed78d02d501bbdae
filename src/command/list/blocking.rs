//! Lists that are waited for: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

use super::ends::{MOVE, Pops, TAKEN, pop_first, transfer};
use super::{LIST, cut, end};
use crate::command::row::{Command, KeySpec, Route, Run, flag};
use crate::command::wait::timeout;
use crate::command::{Ctx, Error, Nil, Wait};
use crate::shard::kinds::list::{End, List};

const WAITS: u32 = flag::NOSCRIPT | flag::BLOCKING;

const POP: Command = Command {
    arity: -3,
    flags: flag::WRITE | WAITS,
    keys: &[KeySpec::range(1, -2, TAKEN)],
    since: "2.0.0",
    complexity: "O(N), N being the number of keys",
    syntax: "key [key ...] timeout",
    route: Route::Keys,
    ..LIST
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "blpop",
        summary: "Removes the first element of the first list that is not empty and returns it; waits for one.",
        run: Run::Data(|ctx, args| pop(ctx, args, End::Front)),
        ..POP
    },
    Command {
        name: "brpop",
        summary: "Removes the last element of the first list that is not empty and returns it; waits for one.",
        run: Run::Data(|ctx, args| pop(ctx, args, End::Back)),
        ..POP
    },
    Command {
        name: "blmove",
        arity: 6,
        flags: MOVE.flags | WAITS,
        since: "6.2.0",
        summary: "Moves an element from an end of one list to an end of another, and returns it; waits for one.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout",
        run: Run::Data(|ctx, args| {
            let (from, to) = (end(args[3])?, end(args[4])?);
            pass(ctx, args, from, to, timeout(args[5])?)
        }),
        ..MOVE
    },
    Command {
        name: "brpoplpush",
        arity: 4,
        flags: MOVE.flags | WAITS,
        since: "2.2.0",
        summary: "Moves an element from the back of one list to the front of another, and returns it; waits for one.",
        syntax: "source destination timeout",
        run: Run::Data(|ctx, args| pass(ctx, args, End::Back, End::Front, timeout(args[3])?)),
        ..MOVE
    },
    Command {
        name: "blmpop",
        arity: -5,
        flags: flag::WRITE | flag::BLOCKING,
        keys: &[KeySpec::counted(2, TAKEN)],
        since: "7.0.0",
        complexity: "O(N+M), N being the number of keys and M of elements returned",
        summary: "Removes elements of the first list that is not empty and returns them; waits for one.",
        syntax: "timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| {
            let timeout = timeout(args[1])?;
            let pops = Pops::read(args, 2)?;
            if !pop_first(ctx, args, &pops)? {
                ctx.wait_for(Wait {
                    timeout,
                    keys: pops.keys.collect(),
                    nil: Nil::Array,
                    args: None,
                });
            }
            Ok(())
        }),
        ..LIST
    },
];

fn pop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let last = args.len() - 1;
    let timeout = timeout(args[last])?;
    for name in &args[1..last] {
        let k = ctx.key(name);
        if let Some(list) = ctx.ks.peek::<List>(&k, ctx.now)?
            && let Some(item) = list.at_end(end)
        {
            ctx.reply.array(2);
            ctx.reply.bulk(name);
            ctx.reply.bulk(item);
            return cut(ctx, &k, end, 1);
        }
    }
    ctx.wait_for(Wait {
        timeout,
        keys: (1..last).collect(),
        nil: Nil::Array,
        args: None,
    });
    Ok(())
}

fn pass(
    ctx: &mut Ctx<'_>,
    args: &[&[u8]],
    from: End,
    to: End,
    timeout: Option<u64>,
) -> Result<(), Error> {
    if transfer(ctx, args, from, to)? {
        return Ok(());
    }
    // Redis has another nothing for a time that is up than for one that may not pass.
    let nil = match ctx.may_wait {
        true => Nil::Array,
        false => Nil::Bulk,
    };
    ctx.wait_for(Wait {
        timeout,
        keys: vec![1],
        nil,
        args: None,
    });
    Ok(())
}
