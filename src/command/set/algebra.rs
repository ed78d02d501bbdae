//! Sets combined: SINTER, SUNION, SDIFF, what stores their results, and SINTERCARD.
//!
//! The sets may live on different shards; all of them are at hand. A result that is stored replaces whatever the key held,
//! and is logged as what it is, not as how it came about.

use super::SET;
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::set::{Member, Set};
use crate::shard::{Dump, Key, Owned, notice};

const COMBINE: Command = Command {
    tips: &["nondeterministic_output_order"],
    arity: -2,
    flags: flag::READONLY,
    keys: &[KeySpec::rest(1, 1, key::RO | key::ACCESS)],
    syntax: "key [key ...]",
    route: Route::Keys,
    ..SET
};
const STORE: Command = Command {
    arity: -3,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(1, key::OW | key::UPDATE),
        KeySpec::rest(2, 1, key::RO | key::ACCESS),
    ],
    syntax: "destination key [key ...]",
    route: Route::Keys,
    ..SET
};
const ALL: &str = "O(N), N being the number of members of all sets";
const INTER: &str = "O(N * M), N being the members of the smallest set and M the number of sets";

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "sinter",
        complexity: INTER,
        summary: "Returns what several sets have in common.",
        run: Run::Data(|ctx, args| answer(ctx, &args[1..], inter)),
        ..COMBINE
    },
    Command {
        name: "sunion",
        complexity: ALL,
        summary: "Returns what is in any of several sets.",
        run: Run::Data(|ctx, args| answer(ctx, &args[1..], union)),
        ..COMBINE
    },
    Command {
        name: "sdiff",
        complexity: ALL,
        summary: "Returns what is in the first of several sets and in none of the others.",
        run: Run::Data(|ctx, args| answer(ctx, &args[1..], diff)),
        ..COMBINE
    },
    Command {
        name: "sinterstore",
        // As in Redis, where the destination counts as read here and not in its sisters.
        keys: &[
            KeySpec::one(1, key::RW | key::UPDATE),
            KeySpec::rest(2, 1, key::RO | key::ACCESS),
        ],
        complexity: INTER,
        summary: "Stores what several sets have in common.",
        run: Run::Data(|ctx, args| store(ctx, args, inter, "sinterstore")),
        ..STORE
    },
    Command {
        name: "sunionstore",
        complexity: ALL,
        summary: "Stores what is in any of several sets.",
        run: Run::Data(|ctx, args| store(ctx, args, union, "sunionstore")),
        ..STORE
    },
    Command {
        name: "sdiffstore",
        complexity: ALL,
        summary: "Stores what is in the first of several sets and in none of the others.",
        run: Run::Data(|ctx, args| store(ctx, args, diff, "sdiffstore")),
        ..STORE
    },
    Command {
        name: "sintercard",
        arity: -3,
        flags: flag::READONLY,
        keys: &[KeySpec::counted(1, key::RO | key::ACCESS)],
        since: "7.0.0",
        complexity: INTER,
        summary: "Counts what several sets have in common.",
        syntax: "numkeys key [key ...] [LIMIT limit]",
        route: Route::Keys,
        run: Run::Data(sintercard),
        ..SET
    },
];

/// Combines sets, of which some are not there: gives the members to what it is handed, each once, until that says stop.
type Combine = fn(&[Option<&Set>], &mut dyn FnMut(Member<'_>) -> bool);

fn inter(sets: &[Option<&Set>], f: &mut dyn FnMut(Member<'_>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return;
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    let mut scratch = Default::default();
    for member in smallest.iter() {
        let bytes = member.bytes(&mut scratch);
        if others.iter().all(|set| set.contains(bytes)) && !f(member) {
            return;
        }
    }
}

fn union(sets: &[Option<&Set>], f: &mut dyn FnMut(Member<'_>) -> bool) {
    let mut scratch = Default::default();
    let mut seen = Set::empty();
    for set in sets.iter().flatten() {
        for member in set.iter() {
            if seen.add(member.bytes(&mut scratch)) && !f(member) {
                return;
            }
        }
    }
}

fn diff(sets: &[Option<&Set>], f: &mut dyn FnMut(Member<'_>) -> bool) {
    let Some((Some(first), others)) = sets.split_first() else {
        return;
    };
    let mut scratch = Default::default();
    for member in first.iter() {
        let bytes = member.bytes(&mut scratch);
        if !others.iter().flatten().any(|set| set.contains(bytes)) && !f(member) {
            return;
        }
    }
}

/// The keys of some sets, each of which is one or not there.
fn sets<'k>(ctx: &mut Ctx<'_>, names: &[&'k [u8]]) -> Result<Vec<Key<'k>>, Error> {
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        let k = ctx.key(name);
        ctx.read::<Set>(&k)?;
        keys.push(k);
    }
    Ok(keys)
}

/// Calls `f` with the members of a combination until it says stop.
fn combine(
    ctx: &Ctx<'_>,
    keys: &[Key<'_>],
    how: Combine,
    f: &mut dyn FnMut(Member<'_>) -> bool,
) -> Result<(), Error> {
    let mut sets = Vec::with_capacity(keys.len());
    for k in keys {
        sets.push(ctx.ks.view::<Set>(k, ctx.now)?);
    }
    how(&sets, f);
    Ok(())
}

fn answer(ctx: &mut Ctx<'_>, names: &[&[u8]], how: Combine) -> Result<(), Error> {
    let keys = sets(ctx, names)?;
    let mut found = Vec::new();
    let mut count = 0;
    let mut list = crate::resp::Reply {
        buf: &mut found,
        proto: ctx.reply.proto,
    };
    combine(ctx, &keys, how, &mut |member| {
        member.answer(&mut list);
        count += 1;
        true
    })?;
    ctx.reply.set(count);
    ctx.reply.buf.extend_from_slice(&found);
    Ok(())
}

fn store(
    ctx: &mut Ctx<'_>,
    args: &[&[u8]],
    how: Combine,
    event: &'static str,
) -> Result<(), Error> {
    let keys = sets(ctx, &args[2..])?;
    let mut result = Set::empty();
    let mut scratch = Default::default();
    combine(ctx, &keys, how, &mut |member| {
        result.add(member.bytes(&mut scratch));
        true
    })?;
    let to = ctx.key(args[1]);
    let now = ctx.now;
    let len = result.len();
    if len > 0 {
        let dump = Dump {
            value: Owned::Object(Box::new(result.into_object())),
            expire: None,
        };
        ctx.shard(&to).restore(&to, dump, now);
        ctx.notify(notice::SET, event, &to);
    } else if ctx.shard(&to).delete(&to, now) {
        ctx.shard(&to).note(notice::GENERIC, "del", &to);
    }
    ctx.reply.int(len as i64);
    Ok(())
}

fn sintercard(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let numkeys = parse_i64(args[1]).filter(|&n| n > 0);
    let numkeys = numkeys.ok_or(Error::Text("ERR numkeys should be greater than 0"))?;
    let end = usize::try_from(numkeys)
        .unwrap_or(usize::MAX)
        .saturating_add(2);
    if end > args.len() {
        return Err(Error::Text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = 0;
    let mut i = end;
    while i < args.len() {
        match args.get(i + 1) {
            Some(next) if args[i].eq_ignore_ascii_case(b"limit") => {
                let n = parse_i64(next).and_then(|n| usize::try_from(n).ok());
                limit = n.ok_or(Error::Text("ERR LIMIT can't be negative"))?;
            }
            _ => return Err(Error::Syntax),
        }
        i += 2;
    }
    let keys = sets(ctx, &args[2..end])?;
    let mut count = 0;
    combine(ctx, &keys, inter, &mut |_| {
        count += 1;
        count != limit
    })?;
    ctx.reply.int(count as i64);
    Ok(())
}
