//! Numbers of any width inside a string: BITFIELD and BITFIELD_RO.

use super::{BITMAP, length, offset, with_bytes};
use crate::command::row::{Command, KeySpec, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::resp::number::parse_i64;
use crate::shard::{Key, notice};

const FIELD: Command = Command {
    arity: -2,
    complexity: "O(1) for each operation",
    ..BITMAP
};

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "bitfield",
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(
            1,
            key::RW | key::ACCESS | key::UPDATE | key::VARIABLE_FLAGS,
        )],
        since: "3.2.0",
        summary: "Reads, writes and counts up numbers of any width inside a string.",
        syntax: "key [<GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment>> ...]",
        run: Run::Data(|ctx, args| bitfield(ctx, args, false)),
        ..FIELD
    },
    Command {
        name: "bitfield_ro",
        flags: flag::READONLY | flag::FAST,
        keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
        since: "6.0.0",
        summary: "Reads numbers of any width inside a string.",
        syntax: "key [GET encoding offset [GET encoding offset ...]]",
        run: Run::Data(|ctx, args| bitfield(ctx, args, true)),
        ..FIELD
    },
];

/// What a number that does not fit becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// What a number is like: its bits, and whether the highest is its sign.
#[derive(Clone, Copy)]
struct Encoding {
    width: u32,
    signed: bool,
}

enum Verb {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

struct Step {
    verb: Verb,
    encoding: Encoding,
    at: u64,
}

impl Encoding {
    fn parse(arg: &[u8]) -> Result<Encoding, Error> {
        let wrong = Error::Text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, most) = match arg.first() {
            Some(b'i') => (true, 64),
            Some(b'u') => (false, 63),
            _ => return Err(wrong),
        };
        match parse_i64(&arg[1..]) {
            Some(width) if (1..=most).contains(&width) => Ok(Encoding {
                width: width as u32,
                signed,
            }),
            _ => Err(wrong),
        }
    }

    fn bounds(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1),
            false => (0, (1 << self.width) - 1),
        }
    }

    /// The number that these bits (the lowest `width` of them) mean.
    fn value(self, bits: u64) -> i64 {
        let above = 64 - self.width;
        match self.signed {
            true => ((bits << above) as i64) >> above,
            false => (bits << above >> above) as i64,
        }
    }

    /// What is kept of a number, `None` where it does not fit and may not be made to.
    fn fit(self, n: i128, overflow: Overflow) -> Option<i64> {
        let (least, most) = self.bounds();
        if (least..=most).contains(&n) {
            return Some(n as i64);
        }
        match overflow {
            Overflow::Wrap => Some(self.value(n as u64)),
            Overflow::Saturate => Some(n.clamp(least, most) as i64),
            Overflow::Fail => None,
        }
    }
}

/// The bits of a field, those beyond the end of the string being clear.
fn read(bytes: &[u8], at: u64, width: u32) -> u64 {
    let mut bits = 0;
    for n in at..at + u64::from(width) {
        let byte = bytes.get((n >> 3) as usize).copied().unwrap_or(0);
        bits = bits << 1 | u64::from(byte >> (7 - (n & 7)) & 1);
    }
    bits
}

/// Puts the lowest `width` bits into a window of the string that begins at byte `first`.
fn write(window: &mut [u8], first: u64, at: u64, width: u32, bits: u64) {
    for i in 0..u64::from(width) {
        let n = at + i - first * 8;
        let mask = 0x80 >> (n & 7);
        let on = bits >> (u64::from(width) - 1 - i) & 1 == 1;
        let byte = &mut window[(n >> 3) as usize];
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

fn parse(ctx: &Ctx<'_>, args: &[&[u8]], reads_only: bool) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = &args[2..];
    while let [word, more @ ..] = rest {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"overflow")
            && let [kind, more @ ..] = more
        {
            overflow = match kind.to_ascii_lowercase().as_slice() {
                b"wrap" => Overflow::Wrap,
                b"sat" => Overflow::Saturate,
                b"fail" => Overflow::Fail,
                _ => return Err(Error::Text("ERR Invalid OVERFLOW type specified")),
            };
            rest = more;
            continue;
        }
        let arguments = match () {
            _ if is(b"get") => 2,
            _ if is(b"set") || is(b"incrby") => 3,
            _ => return Err(Error::Syntax),
        };
        if more.len() < arguments {
            return Err(Error::Syntax);
        }
        let encoding = Encoding::parse(more[0])?;
        let at = offset(ctx, more[1], Some(encoding.width))?;
        let verb = if arguments == 2 {
            Verb::Get
        } else {
            let n = parse_i64(more[2]).ok_or(Error::NotInteger)?;
            match is(b"set") {
                true => Verb::Set(n, overflow),
                false => Verb::Add(n, overflow),
            }
        };
        if reads_only && arguments == 3 {
            return Err(Error::Text(
                "ERR BITFIELD_RO only supports the GET subcommand",
            ));
        }
        steps.push(Step { verb, encoding, at });
        rest = &more[arguments..];
    }
    Ok(steps)
}

fn bitfield(ctx: &mut Ctx<'_>, args: &[&[u8]], reads_only: bool) -> Result<(), Error> {
    let steps = parse(ctx, args, reads_only)?;
    let k = ctx.key(args[1]);
    let now = ctx.now;
    let writes = steps
        .iter()
        .filter(|step| !matches!(step.verb, Verb::Get))
        .map(|step| step.at + u64::from(step.encoding.width) - 1)
        .max();
    let mut changed = false;
    if let Some(last) = writes {
        // The string reaches as far as any write does, whether or not that write fails.
        let needed = (last >> 3) as usize + 1;
        let len = length(ctx, &k)?;
        if len.is_none_or(|len| len < needed) {
            ctx.shard(&k).set_range(&k, needed - 1, &[0], now);
            changed = true;
        }
    } else {
        // Counts as a use of the key, and refuses another type.
        with_bytes(ctx.ks.at(k.slot).get(&k, now), |_, _| ())?;
    }
    let mut answers = Vec::with_capacity(steps.len());
    for step in &steps {
        answers.push(carry_out(ctx, &k, step, &mut changed)?);
    }
    if changed {
        ctx.notify(notice::STRING, "setbit", &k);
    }
    ctx.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(n) => ctx.reply.int(n),
            None => ctx.reply.null(),
        }
    }
    Ok(())
}

/// Does one step; tells its answer.
fn carry_out(
    ctx: &mut Ctx<'_>,
    k: &Key<'_>,
    step: &Step,
    changed: &mut bool,
) -> Result<Option<i64>, Error> {
    let Step { encoding, at, .. } = *step;
    let now = ctx.now;
    let (first, last) = (at >> 3, (at + u64::from(encoding.width) - 1) >> 3);
    let value = ctx.ks.at(k.slot).peek(k, now);
    let (before, mut window) = with_bytes(value, |bytes, _| {
        let end = bytes.len().min(last as usize + 1);
        let window = bytes.get(first as usize..end).unwrap_or_default().to_vec();
        (encoding.value(read(bytes, at, encoding.width)), window)
    })?;
    let (after, answers_old) = match step.verb {
        Verb::Get => return Ok(Some(before)),
        Verb::Set(n, overflow) => {
            let wanted = match encoding.signed {
                true => i128::from(n),
                false => i128::from(n as u64),
            };
            (encoding.fit(wanted, overflow), true)
        }
        Verb::Add(n, overflow) => {
            let sum = i128::from(before) + i128::from(n);
            (encoding.fit(sum, overflow), false)
        }
    };
    let Some(after) = after else {
        return Ok(None);
    };
    if after != before {
        write(&mut window, first, at, encoding.width, after as u64);
        ctx.ks.at(k.slot).set_range(k, first as usize, &window, now);
        *changed = true;
    }
    Ok(Some(if answers_old { before } else { after }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_changes(
            mut bytes in proptest::collection::vec(any::<u8>(), 30), at in 0..150u64, width in 1..=64u32, bits: u64,
        ) {
            let before = bytes.clone();
            write(&mut bytes, 0, at, width, bits);
            let mask = u64::MAX >> (64 - width);
            prop_assert_eq!(read(&bytes, at, width), bits & mask);
            for n in (0..240).filter(|n| !(at..at + u64::from(width)).contains(n)) {
                prop_assert_eq!(read(&bytes, n, 1), read(&before, n, 1));
            }
        }
    }
}
