//! The table `redis` of scripts.
//!
//! Source: Redis, "Redis Lua API reference".

use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::convert::{error, number, to_lua, truncate};
use super::desk::{Answer, Ask, Desk};
use super::engine::die;
use super::library::register;
use super::raw::{Fail, function};
use crate::command::REDIS_VERSION;
use crate::resp::number::{put_f64, put_i64};

/// Version of Redis that scripts are told.
const VERSION: (&str, i64) = (REDIS_VERSION, 0x0007_0200);

/// An error table with this text raised as it is.
fn refuse(lua: &Lua, text: &str) -> Fail {
    match error(lua, text.as_bytes()) {
        Ok(table) => Fail::Plain(Value::Table(table)),
        Err(e) => Fail::Lua(e),
    }
}

fn one(value: Value) -> Result<MultiValue, Fail> {
    Ok([value].into_iter().collect())
}

/// Fills the table of functions.
pub fn fill_for_functions(lua: &Lua, redis: &Table, desk: &Rc<Desk>) -> mlua::Result<()> {
    for (name, raises) in [("call", true), ("pcall", false)] {
        let desk = desk.clone();
        let f = function(lua, move |lua, args| match call(lua, &desk, &args) {
            Ok((value, failed)) if failed && raises => Err(Fail::Plain(value)),
            Ok((value, _)) => one(value),
            Err(Fail::Plain(value)) if !raises => one(value),
            Err(e) => Err(e),
        })?;
        redis.raw_set(name, f)?;
    }
    redis.raw_set(
        "error_reply",
        function(lua, |lua, args| reply_table(lua, &args, "err"))?,
    )?;
    redis.raw_set(
        "status_reply",
        function(lua, |lua, args| reply_table(lua, &args, "ok"))?,
    )?;
    let sha1hex = function(lua, |lua, args| {
        if args.len() != 1 {
            return Err(refuse(lua, "ERR wrong number of arguments"));
        }
        let text = text_of(args.front()).unwrap_or_default();
        one(Value::String(
            lua.create_string(super::hex(&super::sha1(&text)))?,
        ))
    })?;
    redis.raw_set("sha1hex", sha1hex)?;
    let at = desk.clone();
    let setresp = function(lua, move |lua, args| {
        let version = match args.len() {
            1 => super::args::num(&args, 1, "setresp").ok(),
            _ => return Err(refuse(lua, "ERR redis.setresp() requires one argument.")),
        };
        let resp3 = match version {
            Some(2.0) => false,
            Some(3.0) => true,
            _ => return Err(refuse(lua, "ERR RESP version must be 2 or 3.")),
        };
        at.resp3.set(resp3);
        Ok(MultiValue::new())
    })?;
    redis.raw_set("setresp", setresp)?;
    let set_repl = function(lua, |lua, args| match args.len() {
        1 => match args.front().and_then(number).map(truncate) {
            Some(0..=3) => Ok(MultiValue::new()),
            _ => Err(refuse(
                lua,
                "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            )),
        },
        _ => Err(refuse(lua, "ERR redis.set_repl() requires two arguments.")),
    })?;
    redis.raw_set("set_repl", set_repl)?;
    let at = desk.clone();
    let check = function(lua, move |lua, args| acl_check_cmd(lua, &at, &args))?;
    redis.raw_set("acl_check_cmd", check)?;
    for (name, n) in [
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ] {
        redis.raw_set(name, n)?;
    }
    fill_log(lua, redis)
}

/// Fills the table of scripts.
pub fn fill(lua: &Lua, redis: &Table, desk: &Rc<Desk>) -> mlua::Result<()> {
    fill_for_functions(lua, redis, desk)?;
    redis.raw_set(
        "replicate_commands",
        function(lua, |_, _| one(Value::Boolean(true)))?,
    )?;
    redis.raw_set(
        "breakpoint",
        function(lua, |_, _| one(Value::Boolean(false)))?,
    )?;
    redis.raw_set("debug", function(lua, |_, _| Ok(MultiValue::new()))?)?;
    Ok(())
}

/// Fills the table of libraries that are being loaded.
pub fn fill_for_loading(lua: &Lua, redis: &Table, desk: &Rc<Desk>) -> mlua::Result<()> {
    let desk = desk.clone();
    let f = function(lua, move |lua, args| register(lua, &desk, &args))?;
    redis.raw_set("register_function", f)?;
    fill_log(lua, redis)
}

/// What all of them have: `log` and the version.
fn fill_log(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    redis.raw_set("log", function(lua, log)?)?;
    for (name, n) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REDIS_VERSION_NUM", VERSION.1),
    ] {
        redis.raw_set(name, n)?;
    }
    redis.raw_set("REDIS_VERSION", VERSION.0)
}

/// Whole numbers up to here are written as integers, as Redis does it.
const SAFE: f64 = (i64::MAX / 2) as f64;

/// Appends a string or a number as a command takes it; whether it is one of them.
fn put_text(out: &mut Vec<u8>, value: &Value) -> bool {
    match value {
        Value::String(s) => out.extend_from_slice(&s.as_bytes()),
        value => {
            let Some(n) = number(value) else { return false };
            if n == n.trunc() && n.abs() <= SAFE {
                put_i64(out, n as i64);
            } else {
                put_f64(out, n);
            }
        }
    }
    true
}

fn text_of(value: Option<&Value>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    put_text(&mut text, value?).then_some(text)
}

/// Lays the words of a command on the desk.
fn lay(lua: &Lua, desk: &Desk, args: &MultiValue) -> Result<(), Fail> {
    let mut argv = desk.argv.borrow_mut();
    argv.clear();
    for value in args {
        if !put_text(&mut argv.bytes, value) {
            return Err(refuse(
                lua,
                "ERR Lua redis lib command arguments must be strings or integers",
            ));
        }
        argv.end_word();
    }
    Ok(())
}

/// Has a command carried out; its reply, and whether that is an error.
fn call(lua: &Lua, desk: &Rc<Desk>, args: &MultiValue) -> Result<(Value, bool), Fail> {
    if !desk.is_open() {
        let text = "ERR redis.call/pcall can only be called inside a script invocation";
        return Err(refuse(lua, text));
    }
    if args.is_empty() {
        let text = "ERR Please specify at least one argument for this redis lib call";
        return Err(refuse(lua, text));
    }
    lay(lua, desk, args)?;
    if desk.ask(Ask::Command) == Answer::Die {
        return Err(die(lua, desk)?);
    }
    let reply = desk.reply.borrow();
    let value = to_lua(lua, &reply, &mut 0)?;
    Ok((value, reply.first() == Some(&b'-')))
}

fn reply_table(lua: &Lua, args: &MultiValue, field: &str) -> Result<MultiValue, Fail> {
    let table = match args.front() {
        Some(Value::String(text)) if args.len() == 1 => {
            let bytes = text.as_bytes();
            let bytes: &[u8] = match field {
                "err" => bytes.strip_prefix(b"-").unwrap_or(&bytes),
                _ => &bytes,
            };
            let table = lua.create_table()?;
            // An error without a code gets one.
            let text = match field == "err" && !bytes.contains(&b' ') {
                true => lua.create_string([b"ERR ", bytes].concat())?,
                false => lua.create_string(bytes)?,
            };
            table.raw_set(field, text)?;
            table
        }
        _ => error(lua, b"ERR wrong number or type of arguments")?,
    };
    one(Value::Table(table))
}

fn log(lua: &Lua, args: MultiValue) -> Result<MultiValue, Fail> {
    if args.len() < 2 {
        return Err(refuse(
            lua,
            "ERR redis.log() requires two arguments or more.",
        ));
    }
    let Some(level) = args.front().and_then(number) else {
        return Err(refuse(
            lua,
            "ERR First argument must be a number (log level).",
        ));
    };
    let words: Vec<String> = args
        .iter()
        .skip(1)
        .filter_map(|value| text_of(Some(value)))
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect();
    let text = words.join(" ");
    match truncate(level) {
        0 => tracing::trace!(target: "script", "{text}"),
        1 => tracing::debug!(target: "script", "{text}"),
        2 => tracing::info!(target: "script", "{text}"),
        3 => tracing::warn!(target: "script", "{text}"),
        _ => return Err(refuse(lua, "ERR Invalid debug level.")),
    }
    Ok(MultiValue::new())
}

fn acl_check_cmd(lua: &Lua, desk: &Desk, args: &MultiValue) -> Result<MultiValue, Fail> {
    if args.is_empty() {
        let text = "ERR Please specify at least one argument for this redis lib call";
        return Err(refuse(lua, text));
    }
    lay(lua, desk, args)?;
    desk.ask(Ask::Check);
    let reply = desk.reply.borrow();
    match reply.as_slice() {
        b"+" => one(Value::Boolean(true)),
        b"-" => one(Value::Boolean(false)),
        _ => {
            let text = "ERR Invalid command passed to redis.acl_check_cmd()";
            Err(refuse(lua, text))
        }
    }
}
