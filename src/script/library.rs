//! Libraries of functions: what FUNCTION LOAD takes, and the shelf on which all cores find them.
//!
//! Promise: a library is data. Its text has been run once, in a Lua of its own, to learn which functions it registers;
//! each core's engine runs it again when it first needs one of them. A core that calls a function it has looks at one
//! counter; the lock is taken when a library came or went.
//!
//! Source: the Redis pages on functions and on FUNCTION LOAD.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::args::text;
use super::convert::number;
use super::desk::Desk;
use super::raw::Fail;
use super::shebang::Shebang;
use crate::command::Error;

/// What a function of a library declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: Option<Vec<u8>>,
    /// A union of bits in the order of [`FLAGS`].
    pub flags: u32,
}

/// Names of the flags, each with its bit.
pub const FLAGS: [&str; 5] = [
    "no-writes",
    "allow-oom",
    "allow-stale",
    "no-cluster",
    "allow-cross-slot-keys",
];

impl Declared {
    /// The flags by name.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        let flags = self.flags;
        let set = FLAGS.iter().enumerate();
        set.filter(move |(bit, _)| flags >> bit & 1 == 1)
            .map(|(_, name)| *name)
    }

    /// The same as a script says it in its first line.
    pub(super) fn shebang(&self) -> Shebang {
        Shebang {
            given: true,
            len: 0,
            no_writes: self.flags & 1 != 0,
            allow_oom: self.flags & 2 != 0,
        }
    }
}

/// A library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its whole text.
    pub code: Arc<[u8]>,
    /// Its functions, by name.
    pub functions: Vec<Declared>,
}

/// Libraries by name.
pub type Libraries = BTreeMap<String, Arc<Library>>;

/// The libraries that there are.
#[derive(Debug, Default)]
pub struct Shelf {
    libraries: Mutex<Arc<Libraries>>,
    changes: AtomicU64,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Arc<Libraries>> {
        self.libraries.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// All of them.
    pub fn all(&self) -> Arc<Libraries> {
        self.lock().clone()
    }

    /// How often they have changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Puts other libraries in their place.
    pub fn replace(&self, libraries: Libraries) {
        let mut all = self.lock();
        *all = Arc::new(libraries);
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// Whether a name is one that a library or a function may have.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

const BAD_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                        character long";

/// What the first line of a library says: its name, and where its text goes on.
///
/// # Errors
/// What is wrong with it, in Redis's words.
pub fn head(code: &[u8]) -> Result<(String, usize), Error> {
    let wrong = |why: &str| Error::message(format!("ERR {why}"));
    if !code.starts_with(b"#!") {
        return Err(wrong("Missing library metadata"));
    }
    let end = code.iter().position(|&b| b == b'\n');
    let end = end.ok_or_else(|| wrong("Invalid library metadata"))?;
    let line = &code[2..end];
    if line.contains(&b'"') || line.contains(&b'\'') {
        return Err(wrong("Invalid library metadata"));
    }
    let blank = line.first().is_none_or(u8::is_ascii_whitespace);
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let engine = if blank {
        &b""[..]
    } else {
        words.next().unwrap_or_default()
    };
    let mut name = None;
    for word in words {
        let value = match word.get(..5) {
            Some(key) if key.eq_ignore_ascii_case(b"name=") => &word[5..],
            _ => {
                let word = String::from_utf8_lossy(word);
                return Err(wrong(&format!("Invalid metadata value given: {word}")));
            }
        };
        if name.replace(value).is_some() {
            return Err(wrong(
                "Invalid metadata value, name argument was given multiple times",
            ));
        }
    }
    let name = name.ok_or_else(|| wrong("Library name was not given"))?;
    if !is_name(name) {
        return Err(wrong(BAD_NAME));
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        let engine = String::from_utf8_lossy(engine);
        return Err(wrong(&format!("Engine '{engine}' not found")));
    }
    Ok((String::from_utf8_lossy(name).into_owned(), end))
}

/// A function that a library has registered.
pub struct Registered {
    /// What it declares.
    pub declared: Declared,
    /// What it does.
    pub function: Function,
}

fn refuse(lua: &Lua, why: &str) -> Fail {
    match super::convert::error(lua, format!("ERR {why}").as_bytes()) {
        Ok(table) => Fail::Plain(Value::Table(table)),
        Err(e) => Fail::Lua(e),
    }
}

/// `redis.register_function`.
pub fn register(lua: &Lua, desk: &Desk, args: &MultiValue) -> Result<MultiValue, Fail> {
    let (declared, function) = match args.len() {
        1 => match args.front() {
            Some(Value::Table(named)) => by_name(lua, named)?,
            _ => {
                return Err(refuse(
                    lua,
                    "calling redis.register_function with a single argument is only applicable to Lua table \
                     (representing named arguments).",
                ));
            }
        },
        2 => {
            let name = text(args, 1, "register_function").map_err(|_| {
                let why = "first argument to redis.register_function must be a string";
                refuse(lua, why)
            })?;
            let Some(Value::Function(function)) = args.get(1) else {
                let why = "second argument to redis.register_function must be a function";
                return Err(refuse(lua, why));
            };
            let declared = Declared {
                name: String::from_utf8_lossy(&name).into_owned(),
                description: None,
                flags: 0,
            };
            (declared, function.clone())
        }
        _ => {
            let why = "wrong number of arguments to redis.register_function";
            return Err(refuse(lua, why));
        }
    };
    if !is_name(declared.name.as_bytes()) {
        return Err(refuse(lua, BAD_NAME));
    }
    let mut loading = desk.loading.borrow_mut();
    let Some(registered) = loading.as_mut() else {
        let why = "redis.register_function can only be called on FUNCTION LOAD command";
        return Err(refuse(lua, why));
    };
    if registered
        .iter()
        .any(|r| r.declared.name.eq_ignore_ascii_case(&declared.name))
    {
        return Err(refuse(lua, "Function already exists in the library"));
    }
    registered.push(Registered { declared, function });
    Ok(MultiValue::new())
}

fn by_name(lua: &Lua, named: &Table) -> Result<(Declared, Function), Fail> {
    let word = |value: Value, field: &str| {
        let args: MultiValue = [value].into_iter().collect();
        text(&args, 1, "register_function").map_err(|_| {
            let why = format!("{field} argument given to redis.register_function must be a string");
            refuse(lua, &why)
        })
    };
    let (mut name, mut description, mut function, mut flags) = (None, None, None, 0);
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match &key {
            Value::String(key) => key.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        match (key.as_slice(), value) {
            (b"function_name", value) => name = Some(word(value, "function_name")?),
            (b"description", value) => description = Some(word(value, "description")?),
            (b"callback", Value::Function(f)) => function = Some(f),
            (b"callback", _) => {
                let why = "callback argument given to redis.register_function must be a function";
                return Err(refuse(lua, why));
            }
            (b"flags", Value::Table(table)) => flags = read_flags(lua, &table)?,
            (b"flags", _) => {
                return Err(refuse(
                    lua,
                    "flags argument to redis.register_function must be a table representing function flags",
                ));
            }
            _ => {
                let why = "unknown argument given to redis.register_function";
                return Err(refuse(lua, why));
            }
        }
    }
    let Some(name) = name else {
        let why = "redis.register_function must get a function name argument";
        return Err(refuse(lua, why));
    };
    let Some(function) = function else {
        let why = "redis.register_function must get a callback argument";
        return Err(refuse(lua, why));
    };
    let declared = Declared {
        name: String::from_utf8_lossy(&name).into_owned(),
        description,
        flags,
    };
    Ok((declared, function))
}

fn read_flags(lua: &Lua, table: &Table) -> Result<u32, Fail> {
    let mut flags = 0;
    for i in 1.. {
        let value: Value = table.raw_get(i)?;
        let known = match &value {
            Value::Nil => break,
            Value::String(word) => FLAGS.iter().position(|f| *word.as_bytes() == *f.as_bytes()),
            other => number(other).and(None),
        };
        let Some(bit) = known else {
            return Err(refuse(lua, "unknown flag given"));
        };
        flags |= 1 << bit;
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_library() {
        let said = |line: &str| match head(format!("{line}\nrest").as_bytes()) {
            Ok((name, _)) => name,
            Err(e) => String::from_utf8_lossy(&e.text()).into_owned(),
        };
        assert_eq!(said("#!lua name=a"), "a");
        assert_eq!(said("#!LUA NAME=a_1"), "a_1");
        assert_eq!(said("return 1"), "ERR Missing library metadata");
        assert_eq!(said("#!lua"), "ERR Library name was not given");
        assert_eq!(said("#!js name=a"), "ERR Engine 'js' not found");
        assert_eq!(said("#! name=a"), "ERR Engine '' not found");
        assert_eq!(said("#!lua name="), format!("ERR {BAD_NAME}"));
        assert_eq!(
            said("#!lua name=a b=c"),
            "ERR Invalid metadata value given: b=c"
        );
        assert_eq!(
            said("#!lua name=a name=b"),
            "ERR Invalid metadata value, name argument was given multiple times"
        );
    }
}
