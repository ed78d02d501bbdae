//! The library `struct`: values to bytes and back, by a format.
//!
//! Source: the manual of Lua's `struct` library, version 0.2, as Redis has it.

use mlua::{Lua, MultiValue, Table, Value};

use super::args::{bad, num, text};
use super::convert::{number, truncate};
use super::raw::{Fail, function};

/// The largest integer, in bytes.
const LARGEST: usize = 32;
/// What `!` alone aligns to.
const ALIGN: usize = 8;

/// Byte order and alignment so far.
struct How {
    big: bool,
    align: usize,
}

/// Goes through a format, option by option.
struct Format<'f> {
    text: &'f [u8],
    at: usize,
    how: How,
    function: &'static str,
}

impl<'f> Format<'f> {
    fn new(text: &'f [u8], function: &'static str) -> Format<'f> {
        let how = How {
            big: cfg!(target_endian = "big"),
            align: 1,
        };
        Format {
            text,
            at: 0,
            how,
            function,
        }
    }

    fn number(&mut self, otherwise: usize) -> Result<usize, Fail> {
        let mut n = None::<usize>;
        while let Some(b @ b'0'..=b'9') = self.text.get(self.at) {
            let digit = usize::from(b - b'0');
            let next = n
                .unwrap_or(0)
                .checked_mul(10)
                .and_then(|n| n.checked_add(digit));
            match next.filter(|&n| n <= i32::MAX as usize) {
                Some(next) => n = Some(next),
                None => return Err(Fail::At("integral size overflow".to_owned())),
            }
            self.at += 1;
        }
        Ok(n.unwrap_or(otherwise))
    }

    /// The next option and its size.
    fn next(&mut self) -> Result<Option<(u8, usize)>, Fail> {
        let Some(&option) = self.text.get(self.at).filter(|&&b| b != 0) else {
            return Ok(None);
        };
        self.at += 1;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > LARGEST {
                    return Err(Fail::At(format!(
                        "integral size {size} is larger than limit of {LARGEST}"
                    )));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    /// The bytes that align what follows.
    fn padding(&self, len: usize, option: u8, size: usize) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.how.align);
        (size - (len & (size - 1))) & (size - 1)
    }

    /// An option that stands for no value.
    fn control(&mut self, option: u8) -> Result<(), Fail> {
        match option {
            b' ' => {}
            b'>' => self.how.big = true,
            b'<' => self.how.big = false,
            b'!' => {
                let align = self.number(ALIGN)?;
                if !align.is_power_of_two() {
                    return Err(Fail::At(format!("alignment {align} is not a power of 2")));
                }
                self.how.align = align;
            }
            _ => {
                let why = format!("invalid format option '{}'", char::from(option));
                return Err(bad(1, self.function, &why));
            }
        }
        Ok(())
    }
}

/// Makes the table.
pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", function(lua, pack)?)?;
    table.raw_set("unpack", function(lua, unpack)?)?;
    table.raw_set("size", function(lua, size)?)?;
    Ok(table)
}

fn put(out: &mut Vec<u8>, bytes: &[u8], big: bool) {
    match big {
        true => out.extend(bytes.iter().rev()),
        false => out.extend_from_slice(bytes),
    }
}

fn pack(lua: &Lua, args: MultiValue) -> Result<MultiValue, Fail> {
    let format = text(&args, 1, "pack")?;
    let mut format = Format::new(&format, "pack");
    let (mut out, mut arg, mut total) = (Vec::new(), 2, 0usize);
    while let Some((option, mut size)) = format.next()? {
        let padding = format.padding(total, option, size);
        out.resize(out.len() + padding, 0);
        total += padding;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let n = num(&args, arg, "pack")?;
                arg += 1;
                let n = if n < 0.0 {
                    truncate(n) as u64
                } else {
                    n as u64
                };
                let mut bytes = [0; LARGEST];
                bytes[..8].copy_from_slice(&n.to_le_bytes());
                put(&mut out, &bytes[..size], format.how.big);
            }
            b'x' => out.push(0),
            b'f' => {
                let n = num(&args, arg, "pack")? as f32;
                arg += 1;
                put(&mut out, &n.to_le_bytes(), format.how.big);
            }
            b'd' => {
                let n = num(&args, arg, "pack")?;
                arg += 1;
                put(&mut out, &n.to_le_bytes(), format.how.big);
            }
            b'c' | b's' => {
                let bytes = text(&args, arg, "pack")?;
                arg += 1;
                if size == 0 {
                    size = bytes.len();
                }
                if bytes.len() < size {
                    return Err(bad(arg, "pack", "string too short"));
                }
                out.extend_from_slice(&bytes[..size]);
                if option == b's' {
                    out.push(0);
                    size += 1;
                }
            }
            _ => format.control(option)?,
        }
        total += size;
    }
    Ok([Value::String(lua.create_string(out)?)]
        .into_iter()
        .collect())
}

fn integer(bytes: &[u8], signed: bool, big: bool) -> f64 {
    let mut n = 0u64;
    let mut add = |b: &u8| n = n << 8 | u64::from(*b);
    match big {
        true => bytes.iter().for_each(&mut add),
        false => bytes.iter().rev().for_each(&mut add),
    }
    if !signed {
        return n as f64;
    }
    let bits = bytes.len() * 8;
    if (1..64).contains(&bits) && n >> (bits - 1) & 1 == 1 {
        n |= u64::MAX << (bits - 1);
    }
    n as i64 as f64
}

fn unpack(lua: &Lua, args: MultiValue) -> Result<MultiValue, Fail> {
    const SHORT: &str = "data string too short";
    let format = text(&args, 1, "unpack")?;
    let data = text(&args, 2, "unpack")?;
    let first = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(_) => truncate(num(&args, 3, "unpack")?),
    };
    let mut at = usize::try_from(first.saturating_sub(1))
        .map_err(|_| bad(3, "unpack", "offset must be 1 or greater"))?;
    let mut format = Format::new(&format, "unpack");
    let mut values: Vec<Value> = Vec::new();
    while let Some((option, mut size)) = format.next()? {
        at = at.saturating_add(format.padding(at, option, size));
        let part = |size: usize| {
            let rest = data.get(at..).and_then(|rest| rest.get(..size));
            rest.ok_or_else(|| bad(2, "unpack", SHORT))
        };
        let bytes = part(size)?;
        if values.len() == 7000 {
            return Err(Fail::At("stack overflow (too many results)".to_owned()));
        }
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let signed = option.is_ascii_lowercase();
                values.push(Value::Number(integer(bytes, signed, format.how.big)));
            }
            b'x' => {}
            b'f' => {
                let bits = integer(bytes, false, format.how.big) as u32;
                values.push(Value::Number(f64::from(f32::from_bits(bits))));
            }
            b'd' => {
                let mut eight = [0; 8];
                eight.copy_from_slice(bytes);
                if format.how.big {
                    eight.reverse();
                }
                values.push(Value::Number(f64::from_le_bytes(eight)));
            }
            b'c' => {
                if size == 0 {
                    let Some(n) = values.last().and_then(number) else {
                        return Err(Fail::At("format 'c0' needs a previous size".to_owned()));
                    };
                    values.pop();
                    size = usize::try_from(truncate(n)).map_err(|_| bad(2, "unpack", SHORT))?;
                }
                values.push(Value::String(lua.create_string(part(size)?)?));
            }
            b's' => {
                let rest = data.get(at..).unwrap_or_default();
                let Some(len) = rest.iter().position(|&b| b == 0) else {
                    return Err(Fail::At("unfinished string in data".to_owned()));
                };
                values.push(Value::String(lua.create_string(&rest[..len])?));
                size = len + 1;
            }
            _ => format.control(option)?,
        }
        at += size;
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(values.into_iter().collect())
}

fn size(_: &Lua, args: MultiValue) -> Result<MultiValue, Fail> {
    let format = text(&args, 1, "size")?;
    let mut format = Format::new(&format, "size");
    let mut total = 0usize;
    while let Some((option, size)) = format.next()? {
        total = total.saturating_add(format.padding(total, option, size));
        if option == b's' {
            return Err(bad(1, "size", "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(bad(1, "size", "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        total = total.saturating_add(size);
    }
    Ok([Value::Number(total as f64)].into_iter().collect())
}
