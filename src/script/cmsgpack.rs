//! The library `cmsgpack`: values to MessagePack and back.
//!
//! Source: the MessagePack specification, and the README of lua-cmsgpack 0.4 for what it does with Lua's types: a table
//! whose keys are 1 to n is an array, an empty one too; whole numbers are integers; what nests deeper than 16 is nil.

use mlua::{Lua, MultiValue, Table, Value};

use super::args::{bad, num, text};
use super::convert::number;
use super::raw::{Fail, function};

/// Tables inside tables that are written.
const WRITTEN_DEPTH: usize = 16;
/// Tables inside tables that are read.
const READ_DEPTH: usize = 1000;

/// Makes the table.
pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = function(lua, |lua, args| {
        if args.is_empty() {
            return Err(bad(0, "pack", "MessagePack pack needs input."));
        }
        let mut out = Vec::new();
        for value in &args {
            put(&mut out, value, 0)?;
        }
        Ok([Value::String(lua.create_string(out)?)]
            .into_iter()
            .collect())
    })?;
    table.raw_set("pack", pack)?;
    let unpack = function(lua, |lua, args| {
        let bytes = text(&args, 1, "unpack")?;
        read_all(lua, &bytes, 0, usize::MAX).map(|(values, _)| values)
    })?;
    table.raw_set("unpack", unpack)?;
    let unpack_one = function(lua, |lua, args| {
        let bytes = text(&args, 1, "unpack_one")?;
        let offset = optional(&args, 2, "unpack_one")?;
        some(lua, &bytes, 1, offset)
    })?;
    table.raw_set("unpack_one", unpack_one)?;
    let unpack_limit = function(lua, |lua, args| {
        let bytes = text(&args, 1, "unpack_limit")?;
        let limit = num(&args, 2, "unpack_limit")? as i64;
        let offset = optional(&args, 3, "unpack_limit")?;
        some(lua, &bytes, limit, offset)
    })?;
    table.raw_set("unpack_limit", unpack_limit)?;
    table.raw_set("_NAME", "cmsgpack")?;
    table.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    table.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    Ok(table)
}

fn optional(args: &MultiValue, n: usize, name: &str) -> Result<i64, Fail> {
    match args.get(n - 1) {
        None | Some(Value::Nil) => Ok(0),
        Some(_) => Ok(num(args, n, name)? as i64),
    }
}

fn head(out: &mut Vec<u8>, n: usize, fixed: (usize, u8), codes: [u8; 3]) {
    let [one, two, four] = codes;
    match n {
        _ if n <= fixed.0 => out.push(fixed.1 | n as u8),
        0..=0xFF if one != 0 => out.extend_from_slice(&[one, n as u8]),
        0..=0xFFFF => {
            out.push(two);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        _ => {
            out.push(four);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
    }
}

fn put_int(out: &mut Vec<u8>, n: i64) {
    match n {
        0..=127 => out.push(n as u8),
        128..=0xFF => out.extend_from_slice(&[0xCC, n as u8]),
        0x100..=0xFFFF => {
            out.push(0xCD);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xFFFF_FFFF => {
            out.push(0xCE);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xCF);
            out.extend_from_slice(&n.to_be_bytes());
        }
        -32..=-1 => out.push(n as u8),
        -128..=-33 => out.extend_from_slice(&[0xD0, n as u8]),
        -0x8000..=-129 => {
            out.push(0xD1);
            out.extend_from_slice(&(n as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xD2);
            out.extend_from_slice(&(n as i32).to_be_bytes());
        }
        _ => {
            out.push(0xD3);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

fn put_number(out: &mut Vec<u8>, n: f64) {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if n == n.trunc() && (-BOUND..BOUND).contains(&n) {
        put_int(out, n as i64);
    } else if f64::from(n as f32) == n {
        out.push(0xCA);
        out.extend_from_slice(&(n as f32).to_be_bytes());
    } else {
        out.push(0xCB);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Fail> {
    match value {
        Value::String(s) => {
            let bytes = s.as_bytes();
            head(out, bytes.len(), (31, 0xA0), [0xD9, 0xDA, 0xDB]);
            out.extend_from_slice(&bytes);
        }
        Value::Boolean(b) => out.push(0xC2 | u8::from(*b)),
        Value::Integer(_) | Value::Number(_) => {
            put_number(out, number(value).unwrap_or_default());
        }
        Value::Table(table) if depth < WRITTEN_DEPTH => put_table(out, table, depth + 1)?,
        _ => out.push(0xC0),
    }
    Ok(())
}

fn put_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), Fail> {
    let (mut most, mut count, mut array) = (0.0f64, 0usize, true);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        count += 1;
        match number(&key) {
            Some(n) if n > 0.0 && n == n.trunc() => most = most.max(n),
            _ => array = false,
        }
    }
    if array && most == count as f64 {
        head(out, count, (15, 0x90), [0, 0xDC, 0xDD]);
        for i in 1..=count {
            put(out, &table.raw_get(i)?, depth)?;
        }
        return Ok(());
    }
    head(out, count, (15, 0x80), [0, 0xDE, 0xDF]);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(out, &key, depth)?;
        put(out, &value, depth)?;
    }
    Ok(())
}

/// Reads some values from an offset on; the offset that follows comes first, -1 at the end.
fn some(lua: &Lua, bytes: &[u8], limit: i64, offset: i64) -> Result<MultiValue, Fail> {
    if offset < 0 || limit < 0 {
        return Err(Fail::At(format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            bytes.len()
        )));
    }
    let from = offset as usize;
    if from > bytes.len() {
        return Err(Fail::At(format!(
            "Start offset {offset} greater than input length {}.",
            bytes.len()
        )));
    }
    let (mut values, at) = read_all(lua, bytes, from, limit as usize)?;
    let next = if at == bytes.len() { -1.0 } else { at as f64 };
    values.push_front(Value::Number(next));
    Ok(values)
}

fn read_all(
    lua: &Lua,
    bytes: &[u8],
    from: usize,
    limit: usize,
) -> Result<(MultiValue, usize), Fail> {
    let mut reader = Reader {
        lua,
        bytes,
        at: from,
    };
    let mut values = Vec::new();
    while reader.at < bytes.len() && values.len() < limit {
        if values.len() == 7000 {
            return Err(Fail::At("stack overflow (too many results)".to_owned()));
        }
        values.push(reader.value(0)?);
    }
    Ok((values.into_iter().collect(), reader.at))
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Fail> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..n));
        let bytes = bytes.ok_or_else(|| Fail::At("Missing bytes in input.".to_owned()))?;
        self.at += n;
        Ok(bytes)
    }

    fn uint(&mut self, n: usize) -> Result<u64, Fail> {
        let bytes = self.take(n)?;
        Ok(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fail> {
        let code = self.uint(1)? as u8;
        Ok(match code {
            0..=0x7F => Value::Number(f64::from(code)),
            0xE0..=0xFF => Value::Number(f64::from(code as i8)),
            0x80..=0x8F => self.map(usize::from(code & 15), depth)?,
            0x90..=0x9F => self.array(usize::from(code & 15), depth)?,
            0xA0..=0xBF => self.string(usize::from(code & 31))?,
            0xC0 => Value::Nil,
            0xC2 => Value::Boolean(false),
            0xC3 => Value::Boolean(true),
            0xC4 | 0xD9 => self.sized(1)?,
            0xC5 | 0xDA => self.sized(2)?,
            0xC6 | 0xDB => self.sized(4)?,
            0xCA => Value::Number(f64::from(f32::from_bits(self.uint(4)? as u32))),
            0xCB => Value::Number(f64::from_bits(self.uint(8)?)),
            0xCC => Value::Number(self.uint(1)? as f64),
            0xCD => Value::Number(self.uint(2)? as f64),
            0xCE => Value::Number(self.uint(4)? as f64),
            0xCF => Value::Number(self.uint(8)? as f64),
            0xD0 => Value::Number(f64::from(self.uint(1)? as i8)),
            0xD1 => Value::Number(f64::from(self.uint(2)? as i16)),
            0xD2 => Value::Number(f64::from(self.uint(4)? as i32)),
            0xD3 => Value::Number(self.uint(8)? as i64 as f64),
            0xDC => {
                let n = self.uint(2)? as usize;
                self.array(n, depth)?
            }
            0xDD => {
                let n = self.uint(4)? as usize;
                self.array(n, depth)?
            }
            0xDE => {
                let n = self.uint(2)? as usize;
                self.map(n, depth)?
            }
            0xDF => {
                let n = self.uint(4)? as usize;
                self.map(n, depth)?
            }
            0xC1 | 0xC7..=0xC9 | 0xD4..=0xD8 => return Err(bad_format()),
        })
    }

    fn sized(&mut self, n: usize) -> Result<Value, Fail> {
        let len = self.uint(n)? as usize;
        self.string(len)
    }

    fn string(&mut self, len: usize) -> Result<Value, Fail> {
        let bytes = self.take(len)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, n: usize, depth: usize) -> Result<Value, Fail> {
        if depth > READ_DEPTH {
            return Err(bad_format());
        }
        let table = self.lua.create_table()?;
        for i in 1..=n {
            let value = self.value(depth + 1)?;
            table.raw_seti(i, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, n: usize, depth: usize) -> Result<Value, Fail> {
        if depth > READ_DEPTH {
            return Err(bad_format());
        }
        let table = self.lua.create_table()?;
        for _ in 0..n {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(Fail::At("table index is nil".to_owned())),
                Value::Number(n) if n.is_nan() => {
                    return Err(Fail::At("table index is NaN".to_owned()));
                }
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}

fn bad_format() -> Fail {
    Fail::At("Bad data format in input.".to_owned())
}
