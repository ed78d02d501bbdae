//! `math.random` and `math.randomseed` of scripts.
//!
//! Scripts rely on drawing the same numbers for a seed wherever they run, so the generator is the one that Redis takes in
//! the place of the system's: that of POSIX `drand48`.

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::args::{bad, num};
use super::desk::Desk;
use super::raw::function;

const MOST: f64 = i32::MAX as f64;

/// The state for a seed.
pub fn seeded(seed: i64) -> u64 {
    (seed as u32 as u64) << 16 | 0x330E
}

fn draw(desk: &Desk) -> f64 {
    let next = desk
        .chance
        .get()
        .wrapping_mul(0x5_DEEC_E66D)
        .wrapping_add(0xB)
        & ((1 << 48) - 1);
    desk.chance.set(next);
    ((next >> 17) % i32::MAX as u64) as f64 / MOST
}

/// Puts the two in the place of Lua's own.
pub fn fill(lua: &Lua, math: &Table, desk: &Rc<Desk>) -> mlua::Result<()> {
    let at = desk.clone();
    let random = function(lua, move |_, args| {
        let drawn = draw(&at);
        let one = |n: f64| -> MultiValue { [Value::Number(n)].into_iter().collect() };
        let (least, most) = match args.len() {
            0 => return Ok(one(drawn)),
            1 => (1.0, num(&args, 1, "random")?.trunc()),
            2 => (
                num(&args, 1, "random")?.trunc(),
                num(&args, 2, "random")?.trunc(),
            ),
            _ => {
                return Err(super::raw::Fail::At("wrong number of arguments".to_owned()));
            }
        };
        if least > most {
            return Err(bad(args.len(), "random", "interval is empty"));
        }
        Ok(one((drawn * (most - least + 1.0)).floor() + least))
    })?;
    math.raw_set("random", random)?;
    let at = desk.clone();
    let seed = function(lua, move |_, args| {
        at.chance.set(seeded(num(&args, 1, "randomseed")? as i64));
        Ok(MultiValue::new())
    })?;
    math.raw_set("randomseed", seed)
}
