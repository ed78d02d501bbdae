//! The library `bit`: operations on 32-bit integers.
//!
//! Source: the documentation of Lua BitOp. Numbers are taken modulo 2^32, results are signed.

use mlua::{Lua, MultiValue, Table, Value};

use super::convert::number;
use super::raw::{Fail, function};

/// The argument at `i` as 32 bits.
fn bits(args: &MultiValue, i: usize, name: &str) -> Result<u32, Fail> {
    let n = match args.get(i) {
        Some(Value::String(text)) => text.to_string_lossy().trim().parse().ok(),
        Some(value) => number(value),
        None => None,
    };
    let Some(n) = n else {
        let got = args.get(i).map_or("no value", Value::type_name);
        return Err(Fail::At(format!(
            "bad argument #{} to '{name}' (number expected, got {got})",
            i + 1
        )));
    };
    // Halves go to the even neighbour, as the original's conversion does.
    let n = n.round_ties_even();
    Ok(n.rem_euclid(4_294_967_296.0) as u32)
}

fn int(n: u32) -> Result<MultiValue, Fail> {
    Ok([Value::Number(f64::from(n as i32))].into_iter().collect())
}

type One = fn(u32) -> u32;
type Two = fn(u32, u32) -> u32;

/// Makes the table.
pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let one: [(&'static str, One); 3] = [
        ("tobit", |a| a),
        ("bnot", |a| !a),
        ("bswap", u32::swap_bytes),
    ];
    for (name, f) in one {
        table.raw_set(
            name,
            function(lua, move |_, args| int(f(bits(&args, 0, name)?)))?,
        )?;
    }
    let many: [(&'static str, Two); 3] = [
        ("band", |a, b| a & b),
        ("bor", |a, b| a | b),
        ("bxor", |a, b| a ^ b),
    ];
    for (name, f) in many {
        let fold = move |_: &Lua, args: MultiValue| {
            let mut all = bits(&args, 0, name)?;
            for i in 1..args.len() {
                all = f(all, bits(&args, i, name)?);
            }
            int(all)
        };
        table.raw_set(name, function(lua, fold)?)?;
    }
    let shifts: [(&'static str, Two); 5] = [
        ("lshift", |a, n| a << (n & 31)),
        ("rshift", |a, n| a >> (n & 31)),
        ("arshift", |a, n| ((a as i32) >> (n & 31)) as u32),
        ("rol", |a, n| a.rotate_left(n & 31)),
        ("ror", |a, n| a.rotate_right(n & 31)),
    ];
    for (name, f) in shifts {
        let shift =
            move |_: &Lua, args: MultiValue| int(f(bits(&args, 0, name)?, bits(&args, 1, name)?));
        table.raw_set(name, function(lua, shift)?)?;
    }
    let tohex = function(lua, |lua, args| {
        let n = bits(&args, 0, "tohex")?;
        let digits = match args.len() {
            0 | 1 => 8,
            _ => bits(&args, 1, "tohex")? as i32,
        };
        let width = digits.unsigned_abs().min(8) as usize;
        let text = if digits < 0 {
            format!("{n:08X}")
        } else {
            format!("{n:08x}")
        };
        Ok([Value::String(lua.create_string(&text[8 - width..])?)]
            .into_iter()
            .collect())
    })?;
    table.raw_set("tohex", tohex)?;
    Ok(table)
}
