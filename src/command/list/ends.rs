//! Lists at their ends: LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LMOVE, RPOPLPUSH, LMPOP.

use super::{LIST, answer_from, at_least, cut, end, popped, pushed};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::shard::kinds::Collection;
use crate::shard::kinds::list::{End, List, Op};
use crate::shard::notice;
use crate::shard::wire::Items;

const PUSH: Command = Command {
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM | flag::FAST,
    keys: &[KeySpec::one(1, key::RW | key::INSERT)],
    complexity: "O(N), N being the number of elements added",
    syntax: "key element [element ...]",
    ..LIST
};
const POP: Command = Command {
    arity: -2,
    flags: flag::WRITE | flag::FAST,
    keys: &[KeySpec::one(1, TAKEN)],
    since: "1.0.0",
    complexity: "O(N), N being the number of elements returned",
    syntax: "key [count]",
    ..LIST
};
pub(super) const TAKEN: u32 = key::RW | key::ACCESS | key::DELETE;
pub(super) const MOVE: Command = Command {
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, TAKEN),
        KeySpec::one(2, key::RW | key::INSERT),
    ],
    route: Route::Keys,
    ..LIST
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "lpush",
        since: "1.0.0",
        summary: "Adds elements to the front of a list, which is made if need be.",
        run: Run::Data(|ctx, args| push(ctx, args, End::Front)),
        ..PUSH
    },
    Command {
        name: "rpush",
        since: "1.0.0",
        summary: "Adds elements to the back of a list, which is made if need be.",
        run: Run::Data(|ctx, args| push(ctx, args, End::Back)),
        ..PUSH
    },
    Command {
        name: "lpushx",
        since: "2.2.0",
        summary: "Adds elements to the front of a list that exists.",
        run: Run::Data(|ctx, args| push_more(ctx, args, End::Front)),
        ..PUSH
    },
    Command {
        name: "rpushx",
        since: "2.2.0",
        summary: "Adds elements to the back of a list that exists.",
        run: Run::Data(|ctx, args| push_more(ctx, args, End::Back)),
        ..PUSH
    },
    Command {
        name: "lpop",
        summary: "Removes elements at the front of a list and returns them.",
        run: Run::Data(|ctx, args| pop(ctx, args, End::Front)),
        ..POP
    },
    Command {
        name: "rpop",
        summary: "Removes elements at the back of a list and returns them.",
        run: Run::Data(|ctx, args| pop(ctx, args, End::Back)),
        ..POP
    },
    Command {
        name: "lmove",
        arity: 5,
        since: "6.2.0",
        summary: "Moves an element from an end of one list to an end of another, and returns it.",
        syntax: "source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        run: Run::Data(|ctx, args| {
            let (from, to) = (end(args[3])?, end(args[4])?);
            if !transfer(ctx, args, from, to)? {
                ctx.reply.null();
            }
            Ok(())
        }),
        ..MOVE
    },
    Command {
        name: "rpoplpush",
        arity: 3,
        since: "1.2.0",
        summary: "Moves an element from the back of one list to the front of another, and returns it.",
        syntax: "source destination",
        run: Run::Data(|ctx, args| {
            if !transfer(ctx, args, End::Back, End::Front)? {
                ctx.reply.null();
            }
            Ok(())
        }),
        ..MOVE
    },
    Command {
        name: "lmpop",
        arity: -4,
        flags: flag::WRITE,
        keys: &[KeySpec::counted(1, TAKEN)],
        since: "7.0.0",
        complexity: "O(N+M), N being the number of keys and M of elements returned",
        summary: "Removes elements of the first list that is not empty and returns them.",
        syntax: "numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| {
            let pops = Pops::read(args, 1)?;
            if !pop_first(ctx, args, &pops)? {
                ctx.reply.null_array();
            }
            Ok(())
        }),
        ..LIST
    },
];

fn push(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let items = Items::Args(&args[2..]);
    let len = ctx.alter::<List>(&k, &Op::Push { end, items })?;
    ctx.reply.int(len as i64);
    ctx.notify(notice::LIST, pushed(end), &k);
    Ok(())
}

fn push_more(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    if ctx.peek::<List>(&k)?.is_none() {
        ctx.reply.int(0);
        return Ok(());
    }
    push(ctx, args, end)
}

fn pop(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) -> Result<(), Error> {
    let count = match args {
        [_, _] => None,
        [_, _, n] => {
            let n = at_least(n, 0, "ERR value is out of range, must be positive")?;
            Some(n as usize)
        }
        _ => {
            return Err(Error::Arity(match end {
                End::Front => "lpop",
                End::Back => "rpop",
            }));
        }
    };
    let k = ctx.key(args[1]);
    let Some(list) = ctx.ks.peek::<List>(&k, ctx.now)? else {
        match count {
            None => ctx.reply.null(),
            Some(_) => ctx.reply.null_array(),
        }
        return Ok(());
    };
    let n = count.unwrap_or(1).min(list.len());
    match (count, list.at_end(end)) {
        (None, Some(item)) => ctx.reply.bulk(item),
        _ => answer_from(&mut ctx.reply, list, end, n),
    }
    match n {
        0 => Ok(()),
        n => cut(ctx, &k, end, n),
    }
}

/// Moves the element at the end `from` of the list `args[1]` to the end `to` of the list `args[2]` and answers it;
/// tells whether there was one.
pub(super) fn transfer(
    ctx: &mut Ctx<'_>,
    args: &[&[u8]],
    from: End,
    to: End,
) -> Result<bool, Error> {
    let (source, target) = (ctx.key(args[1]), ctx.key(args[2]));
    let Some(list) = ctx.ks.peek::<List>(&source, ctx.now)? else {
        return Ok(false);
    };
    let Some(item) = list.at_end(from).map(<[u8]>::to_vec) else {
        return Ok(false);
    };
    // The same list may consist of this element alone, and must not be gone in between.
    if args[1] == args[2] {
        ctx.alter::<List>(&source, &Op::Turn { from, to })?;
        ctx.notify(notice::LIST, pushed(to), &target);
        ctx.notify(notice::LIST, popped(from), &source);
    } else {
        ctx.peek::<List>(&target)?;
        let items: &[&[u8]] = &[&item];
        let items = Items::Args(items);
        ctx.alter::<List>(&target, &Op::Push { end: to, items })?;
        ctx.notify(notice::LIST, pushed(to), &target);
        cut(ctx, &source, from, 1)?;
    }
    ctx.reply.bulk(&item);
    Ok(true)
}

/// What LMPOP and BLMPOP are asked for.
pub(super) struct Pops {
    /// The indexes of the keys.
    pub(super) keys: std::ops::Range<usize>,
    end: End,
    count: usize,
}

impl Pops {
    /// Reads it from where the number of keys stands.
    pub(super) fn read(args: &[&[u8]], at: usize) -> Result<Pops, Error> {
        let keys = at_least(args[at], 1, "ERR numkeys should be greater than 0")?;
        let first = at + 1;
        let behind = usize::try_from(keys)
            .ok()
            .and_then(|n| first.checked_add(n))
            .filter(|behind| *behind < args.len())
            .ok_or(Error::Syntax)?;
        let end = end(args[behind])?;
        let count = match &args[behind + 1..] {
            [] => 1,
            [word, n, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
                let n = at_least(n, 1, "ERR count should be greater than 0")?;
                if !rest.is_empty() {
                    return Err(Error::Syntax);
                }
                n as usize
            }
            _ => return Err(Error::Syntax),
        };
        Ok(Pops {
            keys: first..behind,
            end,
            count,
        })
    }
}

/// Pops from the first of the lists that there is; tells whether there was one.
pub(super) fn pop_first(ctx: &mut Ctx<'_>, args: &[&[u8]], pops: &Pops) -> Result<bool, Error> {
    for name in &args[pops.keys.clone()] {
        let k = ctx.key(name);
        if let Some(list) = ctx.ks.peek::<List>(&k, ctx.now)? {
            let n = pops.count.min(list.len());
            ctx.reply.array(2);
            ctx.reply.bulk(name);
            answer_from(&mut ctx.reply, list, pops.end, n);
            cut(ctx, &k, pops.end, n)?;
            return Ok(true);
        }
    }
    Ok(false)
}
