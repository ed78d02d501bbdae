//! Lists by index and by element: LLEN, LRANGE, LINDEX, LSET, LINSERT, LREM, LTRIM, LPOS.

use super::{LIST, at_least, integer};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::walk::is_long;
use crate::command::{Ctx, Error};
use crate::shard::kinds::Collection;
use crate::shard::kinds::list::{End, List, Op};
use crate::shard::notice;

const READ: Command = Command {
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    since: "1.0.0",
    ..LIST
};
const CHANGE: Command = Command {
    arity: 4,
    flags: flag::WRITE,
    keys: &[KeySpec::one(1, key::RW | key::DELETE)],
    since: "1.0.0",
    complexity: "O(N), N being the length of the list",
    ..LIST
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "llen",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO)],
        since: "1.0.0",
        summary: "Returns the length of a list.",
        run: Run::Data(llen),
        ..LIST
    },
    Command {
        name: "lrange",
        arity: 4,
        complexity: "O(S+N), S being the distance to the nearer end and N the number of elements returned",
        summary: "Returns a part of a list.",
        syntax: "key start stop",
        run: Run::Data(lrange),
        ..READ
    },
    Command {
        name: "lindex",
        arity: 3,
        complexity: "O(N), N being the distance to the nearer end",
        summary: "Returns the element at an index.",
        syntax: "key index",
        run: Run::Data(lindex),
        ..READ
    },
    Command {
        name: "lset",
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        summary: "Replaces the element at an index.",
        syntax: "key index element",
        run: Run::Data(lset),
        ..CHANGE
    },
    Command {
        name: "linsert",
        arity: 5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::RW | key::INSERT)],
        since: "2.2.0",
        summary: "Adds an element before or behind another.",
        syntax: "key <BEFORE | AFTER> pivot element",
        run: Run::Data(linsert),
        ..CHANGE
    },
    Command {
        name: "lrem",
        summary: "Removes elements that are equal to one.",
        syntax: "key count element",
        run: Run::Data(lrem),
        ..CHANGE
    },
    Command {
        name: "ltrim",
        summary: "Removes all of a list but a part.",
        syntax: "key start stop",
        run: Run::Data(ltrim),
        ..CHANGE
    },
    Command {
        name: "lpos",
        arity: -3,
        since: "6.0.6",
        complexity: "O(N), N being the length of the list",
        summary: "Returns the indexes of elements that are equal to one.",
        syntax: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        run: Run::Data(lpos),
        ..READ
    },
];

/// A range as Redis's commands name it: negative indexes count from the end, what lies beyond is cut off. Start and
/// number of elements.
fn range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_end = |i: i64| if i < 0 { i.saturating_add(len) } else { i };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(len - 1);
    if start > stop {
        (0, 0)
    } else {
        (start as usize, (stop - start + 1) as usize)
    }
}

/// The place an index means, if it is in a list of that length.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn llen(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = ctx.read::<List>(&k)?.map_or(0, List::len);
    ctx.reply.int(len as i64);
    Ok(())
}

fn lrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let (k, may_walk) = (ctx.key(args[1]), ctx.may_walk());
    let reply = &mut ctx.reply;
    let Some(list) = ctx.ks.read::<List>(&k, ctx.now)? else {
        reply.array(0);
        return Ok(());
    };
    let (from, mut left) = range(start, stop, list.len());
    reply.array(left);
    if may_walk && is_long(list, left) {
        let mut place = list.place(from);
        return ctx.walk::<List>(&k, move |list, n, reply| {
            let n = n.min(left);
            left -= n;
            list.each_from(&mut place, n, |item| reply.bulk(item));
            left > 0
        });
    }
    list.each(from, left, |item| reply.bulk(item));
    Ok(())
}

fn lindex(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let Some(list) = ctx.ks.read::<List>(&k, ctx.now)? else {
        ctx.reply.null();
        return Ok(());
    };
    let index = integer(args[2])?;
    match place(index, list.len()).and_then(|index| list.get(index)) {
        Some(item) => ctx.reply.bulk(item),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn lset(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let len = ctx.peek::<List>(&k)?.ok_or(Error::NoSuchKey)?.len();
    let index = place(integer(args[2])?, len).ok_or(Error::Text("ERR index out of range"))?;
    let op = Op::Set {
        index: index as u64,
        item: args[3],
    };
    ctx.alter::<List>(&k, &op)?;
    ctx.reply.ok();
    ctx.notify(notice::LIST, "lset", &k);
    Ok(())
}

fn linsert(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let behind = if args[2].eq_ignore_ascii_case(b"after") {
        1
    } else if args[2].eq_ignore_ascii_case(b"before") {
        0
    } else {
        return Err(Error::Syntax);
    };
    let k = ctx.key(args[1]);
    let Some(list) = ctx.peek::<List>(&k)? else {
        ctx.reply.int(0);
        return Ok(());
    };
    let Some(pivot) = list.iter().position(|item| item == args[3]) else {
        ctx.reply.int(-1);
        return Ok(());
    };
    let op = Op::Insert {
        index: (pivot + behind) as u64,
        item: args[4],
    };
    let len = ctx.alter::<List>(&k, &op)?;
    ctx.reply.int(len as i64);
    ctx.notify(notice::LIST, "linsert", &k);
    Ok(())
}

fn lrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let count = signed(args[2])?;
    let k = ctx.key(args[1]);
    let op = Op::Remove {
        end: if count < 0 { End::Back } else { End::Front },
        most: match count.unsigned_abs() {
            0 => u64::MAX,
            n => n,
        },
        item: args[3],
    };
    let removed = match ctx.peek::<List>(&k)? {
        Some(_) => ctx.alter::<List>(&k, &op)?,
        None => 0,
    };
    ctx.reply.int(removed as i64);
    if removed > 0 {
        ctx.notify(notice::LIST, "lrem", &k);
    }
    Ok(())
}

/// An integer that has a counterpart of the other sign.
fn signed(arg: &[u8]) -> Result<i64, Error> {
    match integer(arg)? {
        i64::MIN => Err(Error::Text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        n => Ok(n),
    }
}

fn ltrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let k = ctx.key(args[1]);
    if let Some(len) = ctx.peek::<List>(&k)?.map(List::len) {
        let (from, n) = range(start, stop, len);
        let op = Op::Trim {
            front: from as u64,
            back: (len - from - n) as u64,
        };
        ctx.alter::<List>(&k, &op)?;
        ctx.notify(notice::LIST, "ltrim", &k);
    }
    ctx.reply.ok();
    Ok(())
}

fn lpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (mut rank, mut count, mut most) = (1, None, 0);
    let mut rest = &args[3..];
    while let [word, value, behind @ ..] = rest {
        if word.eq_ignore_ascii_case(b"rank") {
            rank = signed(value)?;
            if rank == 0 {
                return Err(Error::Text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                     negative to start from the end of the list",
                ));
            }
        } else if word.eq_ignore_ascii_case(b"count") {
            count = Some(at_least(value, 0, "ERR COUNT can't be negative")?);
        } else if word.eq_ignore_ascii_case(b"maxlen") {
            most = at_least(value, 0, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Error::Syntax);
        }
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(Error::Syntax);
    }
    let k = ctx.key(args[1]);
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n as usize,
    };
    let most = if most == 0 { usize::MAX } else { most as usize };
    let skip = (rank.unsigned_abs() - 1) as usize;
    let mut found: Vec<usize> = Vec::new();
    if let Some(list) = ctx.read::<List>(&k)? {
        let len = list.len();
        let matches = |(i, item): (usize, &[u8])| (item == args[2]).then_some(i);
        if rank > 0 {
            let all = list.iter().enumerate().take(most).filter_map(matches);
            found.extend(all.skip(skip).take(wanted));
        } else {
            let all = list.iter().rev().enumerate().take(most).filter_map(matches);
            found.extend(all.skip(skip).take(wanted).map(|i| len - 1 - i));
        }
    }
    match (count, found.first()) {
        (Some(_), _) => {
            ctx.reply.array(found.len());
            found.iter().for_each(|i| ctx.reply.int(*i as i64));
        }
        (None, Some(i)) => ctx.reply.int(*i as i64),
        (None, None) => ctx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_places_count_from_either_end() {
        for (start, stop, expected) in [
            (0, -1, (0, 5)),
            (-2, -1, (3, 2)),
            (-100, 100, (0, 5)),
            (3, 1, (0, 0)),
            (5, 9, (0, 0)),
            (i64::MIN, i64::MAX, (0, 5)),
            (0, i64::MIN, (0, 0)),
        ] {
            assert_eq!(range(start, stop, 5), expected, "{start} {stop}");
        }
        assert_eq!((place(-5, 5), place(-6, 5)), (Some(0), None));
        assert_eq!((place(4, 5), place(5, 5)), (Some(4), None));
        assert_eq!(place(i64::MIN, 5), None);
    }
}
