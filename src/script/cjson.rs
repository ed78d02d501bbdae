//! The library `cjson`: JSON texts to values and back.
//!
//! Source: the manual of Lua CJSON 2.1, whose settings and words this keeps: numbers have 14 digits, an empty table is an
//! object, and what is no JSON (`NaN`, hexadecimal numbers, raw control characters) is read all the same.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{LightUserData, Lua, MultiValue, Table, Value};

use super::args::{bad, put_g, text, type_name};
use super::convert::number;
use super::raw::{Fail, function};

/// Settings of one instance of the library.
#[derive(Clone, Copy)]
struct Config {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

/// What is made of infinities and of what is no number.
#[derive(Clone, Copy, PartialEq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

/// Nesting that our own stack bears, whatever the settings say.
const DEEPEST: i64 = 1000;

impl Default for Config {
    fn default() -> Config {
        Config {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

fn one(value: Value) -> Result<MultiValue, Fail> {
    Ok([value].into_iter().collect())
}

/// Makes the table, with settings of its own.
pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let config: Rc<Cell<Config>> = Rc::default();
    let table = lua.create_table()?;
    let c = config.clone();
    let encode_all = function(lua, move |lua, args| {
        if args.len() != 1 {
            return Err(bad(1, "encode", "expected 1 argument"));
        }
        let mut out = Vec::new();
        let value = args.front().unwrap_or(&Value::Nil);
        encode(&mut out, value, &c.get(), 0)?;
        one(Value::String(lua.create_string(out)?))
    })?;
    table.raw_set("encode", encode_all)?;
    let c = config.clone();
    let decode = function(lua, move |lua, args| {
        if args.len() != 1 {
            return Err(bad(1, "decode", "expected 1 argument"));
        }
        let json = text(&args, 1, "decode")?;
        one(Decoder::all(lua, &json, c.get())?)
    })?;
    table.raw_set("decode", decode)?;
    settings(lua, &table, &config)?;
    table.raw_set(
        "new",
        function(lua, |lua, _| one(Value::Table(self::table(lua)?)))?,
    )?;
    table.raw_set("null", null())?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    Ok(table)
}

/// The functions that tell and change settings.
fn settings(lua: &Lua, table: &Table, config: &Rc<Cell<Config>>) -> mlua::Result<()> {
    type Field = fn(&mut Config) -> &mut i64;
    let numbers: [(&'static str, i64, i64, Field); 3] = [
        ("encode_max_depth", 1, i32::MAX.into(), |c| {
            &mut c.encode_depth
        }),
        ("decode_max_depth", 1, i32::MAX.into(), |c| {
            &mut c.decode_depth
        }),
        ("encode_number_precision", 1, 14, |c| &mut c.precision),
    ];
    for (name, least, most, field) in numbers {
        let c = config.clone();
        let f = function(lua, move |_, args| {
            let mut config = c.get();
            whole(&args, 1, name, (least, most), field(&mut config))?;
            c.set(config);
            one(Value::Number(*field(&mut config) as f64))
        })?;
        table.raw_set(name, f)?;
    }
    let c = config.clone();
    let sparse = function(lua, move |_, args| {
        let mut config = c.get();
        let name = "encode_sparse_array";
        flag(&args, 1, name, &mut config.sparse_convert)?;
        whole(
            &args,
            2,
            name,
            (0, i32::MAX.into()),
            &mut config.sparse_ratio,
        )?;
        whole(
            &args,
            3,
            name,
            (0, i32::MAX.into()),
            &mut config.sparse_safe,
        )?;
        c.set(config);
        Ok([
            Value::Boolean(config.sparse_convert),
            Value::Number(config.sparse_ratio as f64),
            Value::Number(config.sparse_safe as f64),
        ]
        .into_iter()
        .collect())
    })?;
    table.raw_set("encode_sparse_array", sparse)?;
    let c = config.clone();
    let keep = function(lua, move |_, args| {
        let mut config = c.get();
        flag(&args, 1, "encode_keep_buffer", &mut config.keep_buffer)?;
        c.set(config);
        one(Value::Boolean(config.keep_buffer))
    })?;
    table.raw_set("encode_keep_buffer", keep)?;
    let c = config.clone();
    let invalid = function(lua, move |lua, args| {
        let mut config = c.get();
        let name = "encode_invalid_numbers";
        match args.front() {
            Some(Value::String(word)) if *word.as_bytes() == *b"null" => {
                config.encode_invalid = Invalid::Null;
            }
            _ => {
                let mut on = config.encode_invalid == Invalid::Written;
                flag(&args, 1, name, &mut on)?;
                if !args.is_empty() {
                    config.encode_invalid = if on {
                        Invalid::Written
                    } else {
                        Invalid::Refused
                    };
                }
            }
        }
        c.set(config);
        one(match config.encode_invalid {
            Invalid::Null => Value::String(lua.create_string("null")?),
            other => Value::Boolean(other == Invalid::Written),
        })
    })?;
    table.raw_set("encode_invalid_numbers", invalid)?;
    let c = config.clone();
    let invalid = function(lua, move |_, args| {
        let mut config = c.get();
        flag(
            &args,
            1,
            "decode_invalid_numbers",
            &mut config.decode_invalid,
        )?;
        c.set(config);
        one(Value::Boolean(config.decode_invalid))
    })?;
    table.raw_set("decode_invalid_numbers", invalid)
}

/// Takes the argument of number `n` for a setting, if there is one.
fn whole(
    args: &MultiValue,
    n: usize,
    name: &str,
    (least, most): (i64, i64),
    field: &mut i64,
) -> Result<(), Fail> {
    match args.get(n - 1) {
        None | Some(Value::Nil) => {}
        Some(_) => {
            let value = super::args::num(args, n, name)? as i64;
            if value < least || value > most {
                let why = format!("expected integer between {least} and {most}");
                return Err(bad(n, name, &why));
            }
            *field = value;
        }
    }
    Ok(())
}

fn flag(args: &MultiValue, n: usize, name: &str, field: &mut bool) -> Result<(), Fail> {
    match args.get(n - 1) {
        None | Some(Value::Nil) => Ok(()),
        Some(Value::Boolean(on)) => {
            *field = *on;
            Ok(())
        }
        Some(Value::String(word)) if matches!(&*word.as_bytes(), b"on" | b"off") => {
            *field = *word.as_bytes() == *b"on";
            Ok(())
        }
        Some(Value::String(word)) => {
            let why = format!("invalid option '{}'", word.to_string_lossy());
            Err(bad(n, name, &why))
        }
        other => {
            let why = format!("string expected, got {}", type_name(other));
            Err(bad(n, name, &why))
        }
    }
}

fn unable(value: &Value, why: &str) -> Fail {
    let kind = type_name(Some(value));
    Fail::At(format!("Cannot serialise {kind}: {why}"))
}

fn encode(out: &mut Vec<u8>, value: &Value, c: &Config, depth: i64) -> Result<(), Fail> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::String(s) => put_string(out, &s.as_bytes()),
        Value::Integer(_) | Value::Number(_) => put_number(out, value, c)?,
        Value::Table(table) => encode_table(out, table, c, depth + 1)?,
        Value::LightUserData(p) if p.0.is_null() => out.extend_from_slice(b"null"),
        other => return Err(unable(other, "type not supported")),
    }
    Ok(())
}

fn put_number(out: &mut Vec<u8>, value: &Value, c: &Config) -> Result<(), Fail> {
    let n = number(value).unwrap_or_default();
    if n.is_nan() || n.is_infinite() {
        match c.encode_invalid {
            Invalid::Refused => return Err(unable(value, "must not be NaN or Inf")),
            Invalid::Null => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Written if n.is_nan() => {
                out.extend_from_slice(b"nan");
                return Ok(());
            }
            Invalid::Written => {}
        }
    }
    put_g(out, n, c.precision as usize);
    Ok(())
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &b in bytes {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            8 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

/// The length of a table that is an array; none if it is none.
fn array_length(table: &Table, c: &Config) -> Result<Option<i64>, Fail> {
    let (mut most, mut items) = (0i64, 0i64);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        match number(&key) {
            Some(n) if n >= 1.0 && n == n.trunc() && n < 9e15 => {
                most = most.max(n as i64);
                items += 1;
            }
            _ => return Ok(None),
        }
    }
    let sparse =
        c.sparse_ratio > 0 && most > items.saturating_mul(c.sparse_ratio) && most > c.sparse_safe;
    if sparse && !c.sparse_convert {
        let table = Value::Table(table.clone());
        return Err(unable(&table, "excessively sparse array"));
    }
    Ok((!sparse).then_some(most))
}

fn encode_table(out: &mut Vec<u8>, table: &Table, c: &Config, depth: i64) -> Result<(), Fail> {
    if depth > c.encode_depth.min(DEEPEST) {
        let text = format!("Cannot serialise, excessive depth ({depth})");
        return Err(Fail::At(text));
    }
    if let Some(length @ 1..) = array_length(table, c)? {
        out.push(b'[');
        for i in 1..=length {
            if i > 1 {
                out.push(b',');
            }
            encode(out, &table.raw_get(i)?, c, depth)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match &key {
            Value::String(s) => put_string(out, &s.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                out.push(b'"');
                put_number(out, &key, c)?;
                out.push(b'"');
            }
            other => return Err(unable(other, "table key must be a number or string")),
        }
        out.push(b':');
        encode(out, &value, c, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// What stands next in a text, by the names that errors have for it.
enum Token {
    Open(bool),
    Close(bool),
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::Open(true) => "T_OBJ_BEGIN",
            Token::Open(false) => "T_ARR_BEGIN",
            Token::Close(true) => "T_OBJ_END",
            Token::Close(false) => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(why) => why,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    json: &'a [u8],
    at: usize,
    depth: i64,
    config: Config,
}

impl<'a> Decoder<'a> {
    fn all(lua: &'a Lua, json: &'a [u8], config: Config) -> Result<Value, Fail> {
        if let [0, _, ..] | [_, 0, ..] = json {
            let text = "JSON parser does not support UTF-16 or UTF-32";
            return Err(Fail::At(text.to_owned()));
        }
        let mut decoder = Decoder {
            lua,
            json,
            at: 0,
            depth: 0,
            config,
        };
        let (token, start) = decoder.next();
        let value = decoder.value(token, start)?;
        match decoder.next() {
            (Token::End, _) => Ok(value),
            (token, start) => Err(wrong("the end", &token, start)),
        }
    }

    fn peek(&self) -> u8 {
        self.json.get(self.at).copied().unwrap_or(0)
    }

    /// The next token and where it begins.
    fn next(&mut self) -> (Token, usize) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let start = self.at;
        let Some(&b) = self.json.get(start) else {
            return (Token::End, start);
        };
        let single = match b {
            b'{' => Some(Token::Open(true)),
            b'}' => Some(Token::Close(true)),
            b'[' => Some(Token::Open(false)),
            b']' => Some(Token::Close(false)),
            b':' => Some(Token::Colon),
            b',' => Some(Token::Comma),
            _ => None,
        };
        if let Some(token) = single {
            self.at += 1;
            return (token, start);
        }
        let rest = &self.json[start..];
        for (word, token) in [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return (token, start);
            }
        }
        let token = match b {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b'+' | b'i' | b'I' | b'n' | b'N'
                if self.config.decode_invalid && read_number(rest).is_some() =>
            {
                self.number()
            }
            _ => Token::Wrong("invalid token"),
        };
        match token {
            // What is wrong may stand inside it.
            Token::Wrong(_) => (token, self.at),
            _ => (token, start),
        }
    }

    fn number(&mut self) -> Token {
        let rest = &self.json[self.at..];
        let unsigned = rest.strip_prefix(b"-").unwrap_or(rest);
        let strict = match unsigned {
            [b'0', b'x' | b'X', ..] | [b'0', b'0'..=b'9', ..] => false,
            [b'0'..=b'9', ..] => true,
            _ => false,
        };
        match read_number(rest) {
            Some((n, len)) if strict || self.config.decode_invalid => {
                self.at += len;
                Token::Number(n)
            }
            _ => Token::Wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Token::Text(out);
                }
                0 => return Token::Wrong("unexpected end of string"),
                b'\\' => {
                    let escape = self.json.get(self.at + 1).copied().unwrap_or(0);
                    let plain = match escape {
                        b'"' | b'\\' | b'/' => escape,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        b'u' => {
                            let Some((c, len)) = unicode(&self.json[self.at..]) else {
                                return Token::Wrong("invalid unicode escape code");
                            };
                            let mut utf8 = [0; 4];
                            out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
                            self.at += len;
                            continue;
                        }
                        _ => return Token::Wrong("invalid escape code"),
                    };
                    out.push(plain);
                    self.at += 2;
                }
                b => {
                    out.push(b);
                    self.at += 1;
                }
            }
        }
    }

    fn value(&mut self, token: Token, start: usize) -> Result<Value, Fail> {
        Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(n) => Value::Number(n),
            Token::Boolean(b) => Value::Boolean(b),
            Token::Null => null(),
            Token::Open(object) => {
                self.depth += 1;
                if self.depth > self.config.decode_depth.min(DEEPEST) {
                    let (depth, at) = (self.depth, self.at);
                    return Err(Fail::At(format!(
                        "Found too many nested data structures ({depth}) at character {at}"
                    )));
                }
                let table = match object {
                    true => self.object()?,
                    false => self.array()?,
                };
                self.depth -= 1;
                Value::Table(table)
            }
            token => return Err(wrong("value", &token, start)),
        })
    }

    fn array(&mut self) -> Result<Table, Fail> {
        let table = self.lua.create_table()?;
        let (mut token, mut start) = self.next();
        if matches!(token, Token::Close(false)) {
            return Ok(table);
        }
        for i in 1.. {
            let value = self.value(token, start)?;
            table.raw_seti(i, value)?;
            match self.next() {
                (Token::Close(false), _) => break,
                (Token::Comma, _) => (token, start) = self.next(),
                (token, start) => return Err(wrong("comma or array end", &token, start)),
            }
        }
        Ok(table)
    }

    fn object(&mut self) -> Result<Table, Fail> {
        let table = self.lua.create_table()?;
        let (mut token, mut start) = self.next();
        if matches!(token, Token::Close(true)) {
            return Ok(table);
        }
        loop {
            let Token::Text(key) = token else {
                return Err(wrong("object key string", &token, start));
            };
            match self.next() {
                (Token::Colon, _) => {}
                (token, start) => return Err(wrong("colon", &token, start)),
            }
            let (first, at) = self.next();
            let value = self.value(first, at)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            match self.next() {
                (Token::Close(true), _) => return Ok(table),
                (Token::Comma, _) => (token, start) = self.next(),
                (token, start) => return Err(wrong("comma or object end", &token, start)),
            }
        }
    }
}

fn wrong(expected: &str, token: &Token, start: usize) -> Fail {
    Fail::At(format!(
        "Expected {expected} but found {} at character {}",
        token.name(),
        start + 1
    ))
}

/// The character of an escape `\uXXXX`, or of two that make up one, and their length.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let four = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = four(0)?;
    if first & 0xF800 != 0xD800 {
        return Some((char::from_u32(first)?, 6));
    }
    let second = four(6)?;
    if first & 0x400 != 0 || second & 0xFC00 != 0xDC00 {
        return None;
    }
    let c = 0x10000 + ((first & 0x3FF) << 10) + (second & 0x3FF);
    Some((char::from_u32(c)?, 12))
}

/// The number at the start of a text, as C's `strtod` reads it, and its length.
fn read_number(text: &[u8]) -> Option<(f64, usize)> {
    let signed = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let body = &text[signed..];
    let sign = if text.first() == Some(&b'-') {
        -1.0
    } else {
        1.0
    };
    for (word, n) in [
        (&b"infinity"[..], f64::INFINITY),
        (b"inf", f64::INFINITY),
        (b"nan", f64::NAN),
    ] {
        let start = body.get(..word.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(word)) {
            return Some((sign * n, signed + word.len()));
        }
    }
    let run = |from: usize, is: fn(&u8) -> bool| {
        let digits = body[from..].iter().take_while(|b| is(b)).count();
        from + digits
    };
    if let [b'0', b'x' | b'X', digit, ..] = body
        && digit.is_ascii_hexdigit()
    {
        let end = run(2, u8::is_ascii_hexdigit);
        let digit = |n: f64, b: &u8| n * 16.0 + f64::from((*b as char).to_digit(16).unwrap_or(0));
        let n = body[2..end].iter().fold(0.0, digit);
        return Some((sign * n, signed + end));
    }
    let mut end = run(0, u8::is_ascii_digit);
    let mut digits = end;
    if body.get(end) == Some(&b'.') {
        let fraction = run(end + 1, u8::is_ascii_digit);
        digits += fraction - end - 1;
        end = fraction;
    }
    if digits == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = body.get(end) {
        let at = end + 1 + usize::from(matches!(body.get(end + 1), Some(b'-' | b'+')));
        let exponent = run(at.min(body.len()), u8::is_ascii_digit);
        if exponent > at {
            end = exponent;
        }
    }
    let n: f64 = str::from_utf8(&body[..end]).ok()?.parse().ok()?;
    Some((sign * n, signed + end))
}
