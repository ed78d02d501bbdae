//! Going through the keys: KEYS in one sweep, SCAN step by step.
//!
//! A cursor names a slot, and the slot names the shard that goes on; so a SCAN needs one shard at a
//! time, whichever connection sends it.

use super::error::up_to_nul;
use super::glob;
use super::row::{Command, ON_KEY, Route, Run, acl, flag};
use super::{Ctx, Error};
use crate::resp::Reply;
use crate::resp::number::parse_i64;
use crate::shard::scan_slot;

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "keys",
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        flags: flag::READONLY,
        acl: acl::KEYSPACE | acl::DANGEROUS,
        since: "1.0.0",
        complexity: "O(N), N being the number of keys of the database",
        summary: "Names all keys that match a pattern.",
        syntax: "pattern",
        route: Route::All,
        run: Run::Data(keys),
        ..ON_KEY
    },
    Command {
        name: "scan",
        tips: &["nondeterministic_output", "request_policy:special"],
        arity: -2,
        flags: flag::READONLY,
        acl: acl::KEYSPACE,
        since: "2.8.0",
        complexity: "O(1) a call, O(N) for all N keys",
        summary: "Names the keys of the database, some at a time.",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        route: Route::Cursor,
        run: Run::Data(scan),
        ..ON_KEY
    },
];

/// Reads a cursor: an unsigned 64-bit number, as C's `strtoul` reads it. A sign is allowed, no text at
/// all is 0.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = up_to_nul(text, usize::MAX); // as in C, the end
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { n.wrapping_neg() } else { n })
}

/// The slot at which the SCAN cursor `cursor` (as the client wrote it) goes on: the command is to run
/// where that slot lives. Any text has one, also what is no cursor.
pub fn cursor_slot(cursor: &[u8]) -> u16 {
    parse_cursor(cursor).and_then(scan_slot).unwrap_or(0)
}

/// What all of SCAN's company take.
pub(super) struct Options<'a> {
    /// Only what matches it; what everything matches is none.
    pub(super) pattern: Option<&'a [u8]>,
    /// How many a call, roughly.
    pub(super) count: usize,
}

impl Options<'_> {
    /// Whether a name is asked for.
    pub(super) fn allow(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|p| glob::matches(p, name, false))
    }
}

/// Reads the options of a scan. What is neither MATCH nor COUNT is given to `other` with what follows it, which tells how
/// many arguments it takes.
pub(super) fn options<'a>(
    args: &[&'a [u8]],
    mut other: impl FnMut(&'a [u8], Option<&'a [u8]>) -> Result<Option<usize>, Error>,
) -> Result<Options<'a>, Error> {
    let mut options = Options {
        pattern: None,
        count: 10,
    };
    let mut i = 0;
    while i < args.len() {
        let next = args.get(i + 1).copied();
        let known = match next {
            Some(next) if args[i].eq_ignore_ascii_case(b"count") => {
                let count = parse_i64(next).ok_or(Error::NotInteger)?;
                if count < 1 {
                    return Err(Error::Syntax);
                }
                options.count = count as usize;
                Some(2)
            }
            Some(next) if args[i].eq_ignore_ascii_case(b"match") => {
                options.pattern = (next != b"*").then_some(next);
                Some(2)
            }
            _ => other(args[i], next)?,
        };
        i += known.filter(|n| i + n <= args.len()).ok_or(Error::Syntax)?;
    }
    Ok(options)
}

/// Answers a step of a scan: `step` writes what it found, and tells the next cursor and how many replies it wrote.
pub(super) fn answer(reply: &mut Reply<'_>, step: impl FnOnce(&mut Reply<'_>) -> (u64, usize)) {
    let mut found = Vec::new();
    let (next, count) = step(&mut Reply {
        buf: &mut found,
        proto: reply.proto,
    });
    reply.array(2);
    reply.bulk(next.to_string());
    reply.array(count);
    reply.buf.extend_from_slice(&found);
}

fn keys(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let (db, now) = (ctx.db, ctx.now);
    let pattern = args[1];
    let all = pattern == b"*";
    let open = ctx.reply.open_array();
    let mut count = 0;
    for shard in ctx.ks.present() {
        shard.for_each_key(db, now, |name, _| {
            if all || glob::matches(pattern, name, false) {
                ctx.reply.bulk(name);
                count += 1;
            }
        });
    }
    ctx.reply.close_array(open, count);
    Ok(())
}

fn scan(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let cursor = parse_cursor(args[1]).ok_or(Error::InvalidCursor)?;
    let mut kind = None;
    let asked = options(&args[2..], |word, next| {
        let is_type = word.eq_ignore_ascii_case(b"type");
        kind = if is_type { next } else { kind };
        Ok(is_type.then_some(2))
    })?;
    answer(&mut ctx.reply, |list| {
        let mut names = 0;
        let Some(slot) = scan_slot(cursor) else {
            return (0, 0);
        };
        let shard = ctx.ks.at(slot);
        let next = shard.scan(ctx.db, cursor, asked.count, ctx.now, |name, k| {
            let kind_fits = kind.is_none_or(|t: &[u8]| t.eq_ignore_ascii_case(k.name().as_bytes()));
            if kind_fits && asked.allow(name) {
                list.bulk(name);
                names += 1;
            }
        });
        (next, names)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        assert_eq!(parse_cursor(b"0"), Some(0));
        assert_eq!(parse_cursor(b""), Some(0));
        assert_eq!(parse_cursor(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_cursor(b"-1"), Some(u64::MAX));
        for bad in ["-", "18446744073709551616", " 1", "1 ", "x", "+"] {
            assert_eq!(parse_cursor(bad.as_bytes()), None, "{bad}");
            assert_eq!(cursor_slot(bad.as_bytes()), 0);
        }
        assert_eq!(cursor_slot(b"18446744073709551615"), 0);
    }
}
