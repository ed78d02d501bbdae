//! Parts of a string: GETRANGE, SUBSTR, SETRANGE, APPEND.

use super::{STRING, check_length, length};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Decimal, notice};

const GETRANGE: Command = Command {
    arity: 4,
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    complexity: "O(N), N being the length of the returned string",
    summary: "Returns the part of a string between two offsets.",
    syntax: "key start end",
    run: Run::Data(getrange),
    ..STRING
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "getrange",
        since: "2.4.0",
        ..GETRANGE
    },
    Command {
        name: "substr",
        since: "1.0.0",
        ..GETRANGE
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        since: "2.2.0",
        complexity: "O(M), M being the length of the value",
        summary: "Overwrites a string from an offset on.",
        syntax: "key offset value",
        run: Run::Data(setrange),
        ..STRING
    },
    Command {
        name: "append",
        arity: 3,
        flags: flag::WRITE | flag::DENYOOM | flag::FAST,
        keys: &[KeySpec::one(1, key::RW | key::INSERT)],
        since: "2.0.0",
        complexity: "O(M) amortized, M being the length of the value",
        summary: "Lengthens a string, or makes one.",
        syntax: "key value",
        run: Run::Data(append),
        ..STRING
    },
];

/// The bytes of a string of `len` from `start` to `end`, both included, negative offsets counting from
/// the end; as first and one past the last, or `None` for none. An end before the first byte is taken
/// for the first byte.
fn span(start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
    let len = len as i64;
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return None;
    }
    let from_end = |n: i64| if n < 0 { (len + n).max(0) } else { n };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then_some((start as usize, end as usize + 1))
}

fn getrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let start = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    let end = parse_i64(args[3]).ok_or(Error::NotInteger)?;
    let k = ctx.key(args[1]);
    let Some(value) = ctx.ks.at(k.slot).get(&k, ctx.now) else {
        ctx.reply.bulk(b"");
        return Ok(());
    };
    let mut scratch = Decimal::default();
    let bytes = value.bytes(&mut scratch).ok_or(Error::WrongType)?;
    let (start, end) = span(start, end, bytes.len()).unwrap_or((0, 0));
    ctx.reply.bulk(&bytes[start..end]);
    Ok(())
}

fn setrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let offset = parse_i64(args[2]).ok_or(Error::NotInteger)?;
    let offset = usize::try_from(offset).map_err(|_| Error::Offset)?;
    let value = args[3];
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let len = length(ctx.shard(&k).peek(&k, now))?;
    let len = if value.is_empty() {
        len
    } else {
        check_length(ctx, offset, value.len())?;
        let shard = ctx.shard(&k);
        let len = shard.set_range(&k, offset, value, now);
        shard.note(notice::STRING, "setrange", &k);
        len
    };
    ctx.reply.int(len as i64);
    Ok(())
}

fn append(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let len = length(ctx.shard(&k).peek(&k, now))?;
    if len > 0 {
        check_length(ctx, len, args[2].len())?;
    }
    let shard = ctx.shard(&k);
    let len = shard.append(&k, args[2], now);
    shard.note(notice::STRING, "append", &k);
    ctx.reply.int(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span(0, -1, 5), Some((0, 5)));
        assert_eq!(span(1, 3, 5), Some((1, 4)));
        assert_eq!(span(-3, -2, 5), Some((2, 4)));
        assert_eq!(span(-2, -3, 5), None);
        assert_eq!(span(3, 1, 5), None);
        assert_eq!(span(0, -100, 5), Some((0, 1)));
        assert_eq!(span(-100, 100, 5), Some((0, 5)));
        assert_eq!(span(5, 9, 5), None);
        assert_eq!(span(0, 0, 0), None);
        assert_eq!(span(i64::MIN, i64::MAX, 5), Some((0, 5)));
    }
}
