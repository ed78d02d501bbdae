//! One string's bits: SETBIT, GETBIT, BITCOUNT, BITPOS.

use super::{BITMAP, length, offset, with_bytes};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::notice;

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "setbit",
        arity: 4,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::RW | key::ACCESS | key::UPDATE)],
        since: "2.2.0",
        summary: "Sets or clears a bit of a string and tells what it was.",
        syntax: "key offset value",
        run: Run::Data(setbit),
        ..BITMAP
    },
    Command {
        name: "getbit",
        arity: 3,
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "2.2.0",
        summary: "Tells a bit of a string.",
        syntax: "key offset",
        run: Run::Data(getbit),
        ..BITMAP
    },
    Command {
        name: "bitcount",
        arity: -2,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "2.6.0",
        complexity: "O(N), N being the length of the range",
        summary: "Counts the bits set in a string or a range of it.",
        syntax: "key [start end [BYTE | BIT]]",
        run: Run::Data(bitcount),
        ..BITMAP
    },
    Command {
        name: "bitpos",
        arity: -3,
        flags: flag::READONLY,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "2.8.7",
        complexity: "O(N), N being the length of the range",
        summary: "Finds the first bit set or clear in a string or a range of it.",
        syntax: "key bit [start [end [BYTE | BIT]]]",
        run: Run::Data(bitpos),
        ..BITMAP
    },
];

/// The bit of that number; those beyond the end are clear.
fn bit(bytes: &[u8], n: u64) -> bool {
    bytes
        .get((n >> 3) as usize)
        .is_some_and(|byte| byte & (0x80 >> (n & 7)) != 0)
}

fn setbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let at = offset(ctx, args[2], None)?;
    let on = match parse_i64(args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::Text("ERR bit is not an integer or out of range")),
    };
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let place = (at >> 3) as usize;
    let grows = length(ctx, &k)?.is_none_or(|len| len <= place);
    let value = ctx.ks.at(k.slot).peek(&k, now);
    let (was, byte) = with_bytes(value, |bytes, _| {
        (bit(bytes, at), bytes.get(place).copied().unwrap_or(0))
    })?;
    if grows || was != on {
        let mask = 0x80 >> (at & 7);
        let byte = if on { byte | mask } else { byte & !mask };
        ctx.shard(&k).set_range(&k, place, &[byte], now);
        ctx.notify(notice::STRING, "setbit", &k);
    }
    ctx.reply.int(was as i64);
    Ok(())
}

fn getbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let at = offset(ctx, args[2], None)?;
    let k = ctx.key(args[1]);
    let value = ctx.ks.at(k.slot).get(&k, ctx.now);
    let set = with_bytes(value, |bytes, _| bit(bytes, at))?;
    ctx.reply.int(set as i64);
    Ok(())
}

/// A range as the arguments have it, from 0 or from the end, and whether it counts bits.
#[derive(Clone, Copy)]
struct Range {
    start: i64,
    end: i64,
    bits: bool,
}

impl Range {
    fn parse(
        start: Option<&&[u8]>,
        end: Option<&&[u8]>,
        unit: Option<&&[u8]>,
    ) -> Result<Range, Error> {
        let number = |arg: Option<&&[u8]>, default| match arg {
            Some(arg) => parse_i64(arg).ok_or(Error::NotInteger),
            None => Ok(default),
        };
        let (start, end) = (number(start, 0)?, number(end, -1)?);
        let bits = match unit {
            None => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"byte") => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"bit") => true,
            Some(_) => return Err(Error::Syntax),
        };
        Ok(Range { start, end, bits })
    }

    /// The first bit and one past the last, of a string of `len` bytes; `None` for an empty range.
    fn of(self, len: usize) -> Option<(u64, u64)> {
        let Range { start, end, bits } = self;
        let total = if bits { len as i64 * 8 } else { len as i64 };
        let from_end = |n: i64| if n < 0 { (total + n).max(0) } else { n };
        let (start, end) = (from_end(start), from_end(end).min(total - 1));
        if start > end {
            return None;
        }
        let unit = if bits { 1 } else { 8 };
        Some((start as u64 * unit, (end as u64 + 1) * unit))
    }
}

/// The bits from `from` to `to` (exclusive) that are set.
fn count(bytes: &[u8], from: u64, to: u64) -> u64 {
    let (first, last) = ((from >> 3) as usize, (to >> 3) as usize);
    let head = 0xffu8 >> (from & 7);
    let tail = !(0xff_u16 >> (to & 7)) as u8; // the bits of the last byte that belong
    if first == last {
        return u64::from((bytes[first] & head & tail).count_ones());
    }
    let mut n = u64::from((bytes[first] & head).count_ones());
    let middle = &bytes[first + 1..last];
    let (words, rest) = middle.as_chunks::<8>();
    n += words
        .iter()
        .map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()))
        .sum::<u64>();
    n += rest.iter().map(|b| u64::from(b.count_ones())).sum::<u64>();
    if to & 7 != 0 {
        n += u64::from((bytes[last] & tail).count_ones());
    }
    n
}

/// The first bit from `from` on and before `to` that is `wanted`.
fn find(bytes: &[u8], from: u64, to: u64, wanted: bool) -> Option<u64> {
    let skip = if wanted { 0x00 } else { 0xff };
    let mut at = from;
    while at < to {
        if at & 7 == 0 {
            // Whole bytes that cannot hold it are passed over at once.
            let rest = &bytes[(at >> 3) as usize..to.div_ceil(8) as usize];
            let idle = rest.iter().take_while(|&&b| b == skip).count() as u64;
            at += idle * 8;
            if at >= to {
                return None;
            }
        }
        if bit(bytes, at) == wanted {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn bitcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if args.len() == 3 || args.len() > 5 {
        return Err(Error::Syntax);
    }
    let range = Range::parse(args.get(2), args.get(3), args.get(4))?;
    let k = ctx.key(args[1]);
    let value = ctx.ks.at(k.slot).get(&k, ctx.now);
    // BITPOS would move both to the first byte; BITCOUNT does not.
    let backwards = range.start < 0 && range.end < 0 && range.start > range.end;
    let n = with_bytes(value, |bytes, _| {
        if backwards {
            return 0;
        }
        range
            .of(bytes.len())
            .map_or(0, |(from, to)| count(bytes, from, to))
    })?;
    ctx.reply.int(n as i64);
    Ok(())
}

fn bitpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let wanted = match parse_i64(args[2]).ok_or(Error::NotInteger)? {
        0 => false,
        1 => true,
        _ => return Err(Error::Text("ERR The bit argument must be 1 or 0.")),
    };
    if args.len() > 6 {
        return Err(Error::Syntax);
    }
    // Redis looks at the unit before it looks at the end.
    Range::parse(args.get(3), None, args.get(5))?;
    let range = Range::parse(args.get(3), args.get(4), args.get(5))?;
    let ends = args.len() > 4;
    let k = ctx.key(args[1]);
    let value = ctx.ks.at(k.slot).get(&k, ctx.now);
    let at = with_bytes(value, |bytes, exists| {
        if !exists {
            return if wanted { -1 } else { 0 };
        }
        let Some((from, to)) = range.of(bytes.len()) else {
            return -1;
        };
        match find(bytes, from, to, wanted) {
            Some(at) => at as i64,
            // Behind a string whose end was not named there are only clear bits.
            None if !wanted && !ends => to as i64,
            None => -1,
        }
    })?;
    ctx.reply.int(at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_are_counted_and_searched_bit_by_bit(bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 1..40), a: prop::sample::Index, b: prop::sample::Index) {
            let total = bytes.len() * 8;
            let (a, b) = (a.index(total), b.index(total));
            let (from, to) = (a.min(b) as u64, a.max(b) as u64 + 1);
            let set = (from..to).filter(|&n| bit(&bytes, n)).count() as u64;
            prop_assert_eq!(count(&bytes, from, to), set);
            for wanted in [false, true] {
                let first = (from..to).find(|&n| bit(&bytes, n) == wanted);
                prop_assert_eq!(find(&bytes, from, to, wanted), first);
            }
        }
    }
}
