//! Several strings at once: BITOP.

use super::{BITMAP, with_bytes};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error};
use crate::shard::{Expire, notice};

pub(in crate::command) const ROWS: &[Command] = &[Command {
    name: "bitop",
    arity: -4,
    flags: flag::WRITE | flag::DENYOOM,
    keys: &[
        KeySpec::one(2, key::OW | key::UPDATE),
        KeySpec::rest(3, 1, key::RO | key::ACCESS),
    ],
    since: "2.6.0",
    complexity: "O(N), N being the length of the longest string",
    summary: "Combines strings bit by bit and keeps the result at a key.",
    syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
    route: Route::Keys,
    run: Run::Data(bitop),
    ..BITMAP
}];

fn bitop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let combine: fn(u8, u8) -> u8 = match args[1].to_ascii_lowercase().as_slice() {
        b"and" => |a, b| a & b,
        b"or" => |a, b| a | b,
        b"xor" => |a, b| a ^ b,
        b"not" => |a, _| a, // of one string alone, see below
        _ => return Err(Error::Syntax),
    };
    if args[1].eq_ignore_ascii_case(b"not") && args.len() != 4 {
        return Err(Error::Text(
            "ERR BITOP NOT must be called with a single source key.",
        ));
    }
    let mut strings = Vec::with_capacity(args.len() - 3);
    for name in &args[3..] {
        let k = ctx.key(name);
        let value = ctx.ks.at(k.slot).get(&k, ctx.now);
        strings.push(with_bytes(value, |bytes, _| bytes.to_vec())?);
    }
    let longest = strings.iter().map(Vec::len).max().unwrap_or(0);
    let mut strings = strings.into_iter();
    let mut result = strings.next().unwrap_or_default();
    // A shorter string is taken as if zeros followed it.
    result.resize(longest, 0);
    if args[1].eq_ignore_ascii_case(b"not") {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for string in strings {
        let (both, alone) = result.split_at_mut(string.len());
        both.iter_mut()
            .zip(&string)
            .for_each(|(a, b)| *a = combine(*a, *b));
        alone.iter_mut().for_each(|a| *a = combine(*a, 0));
    }
    let k = ctx.key(args[2]);
    let now = ctx.now;
    if result.is_empty() {
        if ctx.shard(&k).delete(&k, now) {
            ctx.shard(&k).note(notice::GENERIC, "del", &k);
        }
    } else {
        ctx.shard(&k).set(&k, &result, Expire::None, now);
        ctx.notify(notice::STRING, "set", &k);
    }
    ctx.reply.int(longest as i64);
    Ok(())
}
