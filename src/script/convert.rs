//! Replies to Lua values and back, as Redis converts them.
//!
//! Source: Redis, "Redis Lua API reference", data type conversion.

use mlua::{Lua, Table, Value};

use crate::resp::number::{parse_f64, parse_i64};
use crate::resp::{Proto, Reply};

/// Tables inside tables that a reply may have.
const DEEPEST: usize = 1000;

/// Reads one reply at `at`, which our own writer has written.
pub fn to_lua(lua: &Lua, reply: &[u8], at: &mut usize) -> mlua::Result<Value> {
    let kind = reply.get(*at).copied().unwrap_or(b'_');
    let line = line(reply, at);
    let count = || parse_i64(line).unwrap_or(0);
    Ok(match kind {
        b':' => Value::Number(count() as f64),
        b'$' => match bulk(reply, at, count()) {
            Some(bytes) => Value::String(lua.create_string(bytes)?),
            None => Value::Boolean(false),
        },
        b'+' => single(lua, "ok", Value::String(lua.create_string(line)?))?,
        b'-' => {
            let table = error(lua, line)?;
            table.raw_set("ignore_error_stats_update", true)?;
            Value::Table(table)
        }
        b'*' | b'>' if count() < 0 => Value::Boolean(false),
        b'*' | b'>' => {
            let n = count() as usize;
            let table = lua.create_table_with_capacity(n, 0)?;
            for i in 1..=n {
                table.raw_seti(i, to_lua(lua, reply, at)?)?;
            }
            Value::Table(table)
        }
        b'%' => {
            let table = lua.create_table()?;
            for _ in 0..count() {
                let key = to_lua(lua, reply, at)?;
                let value = to_lua(lua, reply, at)?;
                if !key.is_nil() {
                    table.raw_set(key, value)?;
                }
            }
            single(lua, "map", Value::Table(table))?
        }
        b'~' => {
            let table = lua.create_table()?;
            for _ in 0..count() {
                let key = to_lua(lua, reply, at)?;
                if !key.is_nil() {
                    table.raw_set(key, true)?;
                }
            }
            single(lua, "set", Value::Table(table))?
        }
        b'#' => Value::Boolean(line == b"t"),
        b',' => {
            let d = parse_f64(line).unwrap_or(f64::NAN);
            single(lua, "double", Value::Number(d))?
        }
        b'(' => single(lua, "big_number", Value::String(lua.create_string(line)?))?,
        b'=' => {
            let text = bulk(reply, at, count()).unwrap_or_default();
            let (format, text) = text.split_at(text.len().min(4));
            let table = lua.create_table()?;
            table.raw_set("format", lua.create_string(&format[..format.len().min(3)])?)?;
            table.raw_set("string", lua.create_string(text)?)?;
            single(lua, "verbatim_string", Value::Table(table))?
        }
        _ => Value::Nil,
    })
}

fn line<'r>(reply: &'r [u8], at: &mut usize) -> &'r [u8] {
    let rest = reply.get(*at + 1..).unwrap_or_default();
    let end = rest.iter().position(|&b| b == b'\r').unwrap_or(rest.len());
    *at += end + 3;
    &rest[..end]
}

fn bulk<'r>(reply: &'r [u8], at: &mut usize, len: i64) -> Option<&'r [u8]> {
    let len = usize::try_from(len).ok()?;
    let bytes = reply.get(*at..*at + len)?;
    *at += len + 2;
    Some(bytes)
}

fn single(lua: &Lua, field: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(field, value)?;
    Ok(Value::Table(table))
}

/// An error as scripts see it; `text` has its code.
pub fn error(lua: &Lua, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(table)
}

/// A number as Redis casts it to an integer: towards zero, and the least integer for what does not fit.
pub fn truncate(n: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    match (-BOUND..BOUND).contains(&n) {
        true => n as i64,
        false => i64::MIN,
    }
}

/// The value as a number, if it is one.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) => Some(*n),
        _ => None,
    }
}

fn plain(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

/// Writes what a script returned. `resp3`: whether the script has asked for RESP3.
pub fn to_reply(
    value: &Value,
    reply: &mut Reply<'_>,
    resp3: bool,
    depth: usize,
) -> mlua::Result<()> {
    match value {
        Value::String(s) => reply.bulk(s.as_bytes()),
        Value::Integer(_) | Value::Number(_) => {
            reply.int(truncate(number(value).unwrap_or_default()));
        }
        Value::Boolean(b) if resp3 => reply.boolean(*b),
        Value::Boolean(true) => reply.int(1),
        Value::Table(_) if depth >= DEEPEST => reply.error("ERR reached lua stack limit"),
        Value::Table(table) => table_to_reply(table, reply, resp3, depth)?,
        _ => reply.null(),
    }
    Ok(())
}

fn table_to_reply(
    table: &Table,
    reply: &mut Reply<'_>,
    resp3: bool,
    depth: usize,
) -> mlua::Result<()> {
    if let Value::String(text) = table.raw_get("err")? {
        reply.error(text.as_bytes().trim_ascii_end());
        return Ok(());
    }
    if let Value::String(text) = table.raw_get("ok")? {
        reply.buf.push(b'+');
        let plain = |&b: &u8| if b == b'\r' || b == b'\n' { b' ' } else { b };
        reply.buf.extend(text.as_bytes().iter().map(plain));
        reply.buf.extend_from_slice(b"\r\n");
        return Ok(());
    }
    if let Some(d) = number(&table.raw_get("double")?) {
        reply.double(d);
        return Ok(());
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let pairs = map
            .pairs::<Value, Value>()
            .collect::<mlua::Result<Vec<_>>>()?;
        reply.map(pairs.len());
        for (key, value) in &pairs {
            to_reply(key, reply, resp3, depth + 1)?;
            to_reply(value, reply, resp3, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let members = set
            .pairs::<Value, Value>()
            .collect::<mlua::Result<Vec<_>>>()?;
        reply.set(members.len());
        for (member, _) in &members {
            to_reply(member, reply, resp3, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        reply.big(&plain(&digits.as_bytes()));
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let Value::String(format) = verbatim.raw_get("format")?
        && let Value::String(text) = verbatim.raw_get("string")?
    {
        let format = format!("{:3.3}", plain(&format.as_bytes()));
        reply.verbatim(&format, &*text.as_bytes());
        return Ok(());
    }
    let open = reply.open_array();
    let mut count = 0;
    loop {
        let item: Value = table.raw_get(count + 1)?;
        if item.is_nil() {
            break;
        }
        to_reply(&item, reply, resp3, depth + 1)?;
        count += 1;
    }
    reply.close_array(open, count);
    Ok(())
}

/// The protocol of that number.
pub fn proto(resp3: bool) -> Proto {
    if resp3 { Proto::Resp3 } else { Proto::Resp2 }
}
