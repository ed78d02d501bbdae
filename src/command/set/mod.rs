//! The set family. Reading order: here adding, removing and asking; `random` draws, `algebra` combines sets.

use super::row::{Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::walk::is_long;
use super::{Ctx, Error, scan};
use crate::shard::kinds::Collection;
use crate::shard::kinds::dict::Place;
use crate::shard::kinds::set::{Op, Set};
use crate::shard::notice;
use crate::shard::wire::Items;

pub(super) mod algebra;
pub(super) mod random;

/// The start of a row of the family.
const SET: Command = Command {
    acl: acl::SET,
    group: Group::Set,
    since: "1.0.0",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "sadd",
        arity: -3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::INSERT)],
        complexity: "O(1) for each member",
        summary: "Adds members to a set.",
        syntax: "key member [member ...]",
        run: Run::Data(sadd),
        ..SET
    },
    Command {
        name: "srem",
        arity: -3,
        flags: flag::WRITE | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::DELETE)],
        complexity: "O(1) for each member",
        summary: "Removes members from a set.",
        syntax: "key member [member ...]",
        run: Run::Data(srem),
        ..SET
    },
    Command {
        name: "smove",
        arity: 4,
        flags: flag::WRITE | flag::FAST,
        keys: &[
            KeySpec::one(1, key::RW | key::ACCESS | key::DELETE),
            KeySpec::one(2, key::RW | key::INSERT),
        ],
        summary: "Moves a member from one set to another.",
        syntax: "source destination member",
        route: Route::Keys,
        run: Run::Data(smove),
        ..SET
    },
    Command {
        name: "sismember",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        summary: "Tells whether something is a member of a set.",
        syntax: "key member",
        run: Run::Data(sismember),
        ..SET
    },
    Command {
        name: "smismember",
        arity: -3,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "6.2.0",
        complexity: "O(1) for each member",
        summary: "Tells which of several things are members of a set.",
        syntax: "key member [member ...]",
        run: Run::Data(smismember),
        ..SET
    },
    Command {
        name: "scard",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        summary: "Tells how many members a set has.",
        run: Run::Data(scard),
        ..SET
    },
    Command {
        name: "smembers",
        tips: &["nondeterministic_output_order"],
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        complexity: "O(N), N being the number of members",
        summary: "Returns all members of a set.",
        run: Run::Data(smembers),
        ..SET
    },
    Command {
        name: "sscan",
        tips: &["nondeterministic_output"],
        arity: -3,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "2.8.0",
        complexity: "O(1) a call, O(N) for all N members",
        summary: "Returns the members of a set, some at a time.",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        run: Run::Data(sscan),
        ..SET
    },
];

fn sadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let added = ctx.alter::<Set>(&k, &Op::Add(Items::Args(&args[2..])))?;
    if added > 0 {
        ctx.notify(notice::SET, "sadd", &k);
    }
    ctx.reply.int(added as i64);
    Ok(())
}

fn srem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let removed = ctx.alter::<Set>(&k, &Op::Remove(Items::Args(&args[2..])))?;
    if removed > 0 {
        ctx.notify(notice::SET, "srem", &k);
    }
    ctx.reply.int(removed as i64);
    Ok(())
}

fn smove(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (from, to) = (ctx.key(args[1]), ctx.key(args[2]));
    let member = Items::Args(&args[3..]);
    let there = match ctx.peek::<Set>(&from)? {
        Some(set) => set.contains(args[3]),
        None => {
            ctx.reply.int(0);
            return Ok(());
        }
    };
    ctx.peek::<Set>(&to)?;
    if there && args[1] != args[2] {
        ctx.alter::<Set>(&from, &Op::Remove(member))?;
        ctx.notify(notice::SET, "srem", &from);
        if ctx.alter::<Set>(&to, &Op::Add(member))? > 0 {
            ctx.notify(notice::SET, "sadd", &to);
        }
    }
    ctx.reply.int(there as i64);
    Ok(())
}

fn sismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let is = ctx
        .read::<Set>(&k)?
        .is_some_and(|set| set.contains(args[2]));
    ctx.reply.int(is as i64);
    Ok(())
}

fn smismember(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let set = ctx.ks.read::<Set>(&k, ctx.now)?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        let is = set.is_some_and(|set| set.contains(member));
        ctx.reply.int(is as i64);
    }
    Ok(())
}

fn scard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = ctx.read::<Set>(&k)?.map_or(0, Set::len);
    ctx.reply.int(len as i64);
    Ok(())
}

fn smembers(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let Some(set) = ctx.ks.read::<Set>(&k, ctx.now)? else {
        ctx.reply.set(0);
        return Ok(());
    };
    ctx.reply.set(set.len());
    if may_walk && is_long(set, set.len()) {
        let mut place = Place::default();
        return ctx.walk::<Set>(&k, move |set, n, reply| {
            set.each(&mut place, n, |member| member.answer(reply))
        });
    }
    set.iter().for_each(|member| member.answer(&mut ctx.reply));
    Ok(())
}

fn sscan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let cursor = scan::parse_cursor(args[2]).ok_or(Error::InvalidCursor)?;
    let k = ctx.key(args[1]);
    let Some(set) = ctx.ks.read::<Set>(&k, ctx.now)? else {
        scan::answer(&mut ctx.reply, |_| (0, 0));
        return Ok(());
    };
    let asked = scan::options(&args[3..], |_, _| Ok(None))?;
    scan::answer(&mut ctx.reply, |list| {
        let mut count = 0;
        let mut scratch = Default::default();
        let next = set.scan(cursor, asked.count, |member| {
            if asked.allow(member.bytes(&mut scratch)) {
                member.answer(list);
                count += 1;
            }
        });
        (next, count)
    });
    Ok(())
}
