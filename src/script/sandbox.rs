//! What a script sees of Lua: the names Redis 7 lets through, in tables that it cannot change.
//!
//! Promise: nothing that a script does to a table of ours is seen by the next one, and no way leads out of the
//! sandbox: no files, no modules, no environment of functions, no bytecode.
//!
//! Lua 5.1 has no tables that cannot be written. So a script gets an empty table in the place of each, which reads
//! through to the real one and refuses writes; the functions that would write past that (`rawset`, `table.insert`,
//! ...) are guarded, and those that would see its emptiness (`pairs`, `next`, `rawget`) look at the real one.

use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::desk::Desk;
use super::raw::{Fail, bounded_unpack, function, guarded, patterned, redis_pcall};
use super::{api, bit, chance, cjson, cmsgpack, pack};

/// What of Lua's own globals is let through.
const GLOBALS: &[&str] = &[
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
    "xpcall",
    "_VERSION",
];

const READONLY: &str = "Attempt to modify a readonly table";

/// The globals of scripts.
pub struct Sandbox {
    /// What a script has as its environment.
    pub env: Table,
    /// Where its names really are.
    pub real: Table,
    /// What functions of libraries have.
    pub library: LibraryEnv,
}

/// The environment of libraries, which sees little while one is being loaded.
pub struct LibraryEnv {
    /// What a library has as its environment.
    pub env: Table,
    meta: Table,
    protected: Table,
    running: Table,
    loading: Table,
}

impl LibraryEnv {
    /// Shows what a library sees while it is being loaded, or what its functions see.
    pub fn show(&self, loading: bool) -> mlua::Result<()> {
        let shown = if loading {
            &self.loading
        } else {
            &self.running
        };
        self.meta.raw_set("__index", shown)?;
        self.protected.raw_set(&self.env, shown)
    }
}

/// Builds it.
pub fn build(lua: &Lua, desk: &Rc<Desk>) -> mlua::Result<Sandbox> {
    let all = lua.globals();
    let (env, real) = (lua.create_table()?, lua.create_table()?);
    // Both ways: whether a table is protected, and what is really in it.
    let protected = lua.create_table()?;
    let refuse = function(lua, |_, _| Err(Fail::At(READONLY.to_owned())))?;
    let protect = |proxy: &Table, real: &Table| -> mlua::Result<Table> {
        let meta = lua.create_table()?;
        meta.raw_set("__index", real)?;
        meta.raw_set("__newindex", &refuse)?;
        meta.raw_set("__metatable", false)?;
        proxy.set_metatable(Some(meta.clone()))?;
        protected.raw_set(proxy, real)?;
        Ok(meta)
    };
    for name in GLOBALS {
        real.raw_set(*name, all.raw_get::<Value>(*name)?)?;
    }
    let guard = |f: Function, own: Value, instead: Option<Function>| {
        guarded(lua, f, own, &protected, instead)
    };
    real.raw_set("pcall", redis_pcall(lua)?)?;
    for name in ["rawset", "setmetatable"] {
        real.raw_set(name, guard(all.raw_get(name)?, Value::Nil, None)?)?;
    }
    let next: Function = all.raw_get("next")?;
    let over: Table = lua
        .load(
            "local real, next, rawget = ...\n\
             local function step(t, k) return next(real[t], k) end\n\
             return {step, function(t) return step, t, nil end, function(t, k) return rawget(real[t], k) end}",
        )
        .set_name("=sandbox")
        .call((&protected, &next, all.raw_get::<Function>("rawget")?))?;
    let step: Function = over.raw_get(1)?;
    real.raw_set("next", guard(next.clone(), Value::Nil, Some(step))?)?;
    let pairs = guard(
        all.raw_get("pairs")?,
        Value::Function(next),
        Some(over.raw_get(2)?),
    )?;
    real.raw_set("pairs", pairs)?;
    real.raw_set(
        "rawget",
        guard(all.raw_get("rawget")?, Value::Nil, Some(over.raw_get(3)?))?,
    )?;
    let table: Table = all.raw_get("table")?;
    for name in ["insert", "remove", "sort"] {
        table.raw_set(name, guard(table.raw_get(name)?, Value::Nil, None)?)?;
    }
    let strings: Table = all.raw_get("string")?;
    for name in ["find", "match", "gmatch", "gsub"] {
        strings.raw_set(name, patterned(lua, strings.raw_get(name)?)?)?;
    }
    real.raw_set("unpack", bounded_unpack(lua, all.raw_get("unpack")?)?)?;
    let os = lua.create_table()?;
    os.raw_set(
        "clock",
        all.raw_get::<Table>("os")?.raw_get::<Value>("clock")?,
    )?;
    let redis = lua.create_table()?;
    api::fill(lua, &redis, desk)?;
    chance::fill(lua, &all.raw_get("math")?, desk)?;
    let mut string_proxy = None;
    for (name, contents) in [
        ("string", strings),
        ("table", table),
        ("math", all.raw_get("math")?),
        ("coroutine", all.raw_get("coroutine")?),
        ("os", os),
        ("redis", redis),
        ("bit", bit::table(lua)?),
        ("cjson", cjson::table(lua)?),
        ("cmsgpack", cmsgpack::table(lua)?),
        ("struct", pack::table(lua)?),
    ] {
        let proxy = lua.create_table()?;
        protect(&proxy, &contents)?;
        real.raw_set(name, &proxy)?;
        if name == "string" {
            string_proxy = Some(proxy);
        }
    }
    // What `getmetatable("")` shows cannot be written either.
    let (shown, contents) = (lua.create_table()?, lua.create_table()?);
    contents.raw_set("__index", string_proxy)?;
    protect(&shown, &contents)?;
    if let Some(meta) = lua.type_metatable::<mlua::LuaString>() {
        meta.raw_set("__metatable", shown)?;
    }
    // Functions see the same, but for what is for scripts alone.
    let (library, running) = (lua.create_table()?, lua.create_table()?);
    for pair in real.pairs::<Value, Value>() {
        let (name, value) = pair?;
        running.raw_set(name, value)?;
    }
    let functions = lua.create_table()?;
    api::fill_for_functions(lua, &functions, desk)?;
    let proxy = lua.create_table()?;
    protect(&proxy, &functions)?;
    running.raw_set("redis", proxy)?;
    loaders(lua, &running, &library)?;
    running.raw_set("_G", &library)?;
    let loading = lua.create_table()?;
    let registers = lua.create_table()?;
    api::fill_for_loading(lua, &registers, desk)?;
    let proxy = lua.create_table()?;
    protect(&proxy, &registers)?;
    loading.raw_set("redis", proxy)?;
    let library_meta = protect(&library, &running)?;
    loaders(lua, &real, &env)?;
    protect(&env, &real)?;
    real.raw_set("_G", &env)?;
    let absent = function(lua, |_, args| {
        let name = match args.get(1) {
            Some(Value::String(name)) => name.to_string_lossy(),
            _ => "?".to_owned(),
        };
        Err(Fail::At(format!(
            "Script attempted to access nonexistent global variable '{name}'"
        )))
    })?;
    let meta = lua.create_table()?;
    meta.raw_set("__index", absent)?;
    for table in [&real, &running, &loading, &registers] {
        table.set_metatable(Some(meta.clone()))?;
    }
    let library = LibraryEnv {
        env: library,
        meta: library_meta,
        protected,
        running,
        loading,
    };
    Ok(Sandbox { env, real, library })
}

/// `load` and `loadstring`, which take no bytecode: that could do anything to the process.
fn loaders(lua: &Lua, real: &Table, env: &Table) -> mlua::Result<()> {
    let here = env.clone();
    let loadstring = function(lua, move |lua, args| {
        let Some(Value::String(text)) = args.front() else {
            return Err(Fail::At(
                "bad argument #1 to 'loadstring' (string expected)".to_owned(),
            ));
        };
        let name = name_of(args.get(1)).unwrap_or_else(|| text.to_string_lossy());
        load(lua, &text.as_bytes(), &name, &here)
    })?;
    real.raw_set("loadstring", loadstring)?;
    let here = env.clone();
    let from = function(lua, move |lua, args| {
        let Some(Value::Function(more)) = args.front() else {
            let got = args.front().map_or("no value", Value::type_name);
            return Err(Fail::At(format!(
                "bad argument #1 to 'load' (function expected, got {got})"
            )));
        };
        let mut text = Vec::new();
        while let Value::String(part) = more.call::<Value>(())? {
            if part.as_bytes().is_empty() {
                break;
            }
            text.extend_from_slice(&part.as_bytes());
        }
        let name = name_of(args.get(1)).unwrap_or_else(|| "=(load)".to_owned());
        load(lua, &text, &name, &here)
    })?;
    real.raw_set("load", from)
}

fn name_of(value: Option<&Value>) -> Option<String> {
    match value {
        Some(Value::String(name)) => Some(name.to_string_lossy()),
        _ => None,
    }
}

fn load(lua: &Lua, text: &[u8], name: &str, env: &Table) -> Result<MultiValue, Fail> {
    let name = name.split('\0').next().unwrap_or_default();
    match compile(lua, text, name, Some(env)) {
        Ok(f) => Ok([Value::Function(f)].into_iter().collect()),
        Err(why) => {
            let why = Value::String(lua.create_string(why)?);
            Ok([Value::Nil, why].into_iter().collect())
        }
    }
}

/// Compiles a text into a function, of that environment if one is given.
///
/// Nothing is collected meanwhile: the parser of Lua 5.1 does not keep a hold of the name of what it reads.
///
/// # Errors
/// What Lua says is wrong with it.
pub fn compile(
    lua: &Lua,
    text: &[u8],
    name: &str,
    env: Option<&Table>,
) -> Result<Function, String> {
    let chunk = lua.load(text).set_name(name).set_mode(ChunkMode::Text);
    lua.gc_stop();
    let compiled = match env {
        Some(env) => chunk.set_environment(env.clone()).into_function(),
        None => chunk.into_function(),
    };
    lua.gc_restart();
    compiled.map_err(|e| match e {
        mlua::Error::SyntaxError { message, .. } => message,
        e => e.to_string(),
    })
}
