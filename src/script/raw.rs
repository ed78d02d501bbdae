//! The few functions that speak to Lua in its own terms, because their callers are promised what only a C function
//! does: an error raised as any value and with the caller's position, a call with a handler that sees the stack, a
//! check in front of a function of the standard library that costs next to nothing.
//!
//! # Safety
//! Every function here is a `lua_CFunction`. Lua calls it with a stack that holds its arguments and room for twenty
//! more values (`LUA_MINSTACK`), and none of them pushes more than three beyond what it pops. They hold no Rust value
//! that has to be dropped, so an error may unwind them by a jump. Their upvalues are set by the makers below, and
//! nothing else can reach them.

use std::ffi::c_int;

use mlua::ffi;
use mlua::{Function, Lua, MultiValue, Table, Value};

type State = *mut ffi::lua_State;

/// How a function of the engine fails.
pub enum Fail {
    /// With a message, which gets the position of the script that called.
    At(String),
    /// With a value as it is.
    Plain(Value),
    /// Inside Lua itself.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Fail {
    fn from(e: mlua::Error) -> Fail {
        Fail::Lua(e)
    }
}

/// Upvalue 1 is a function whose last result is nil, or says how it failed; see [`function`].
unsafe extern "C-unwind" fn raise(state: State) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let given = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, given, ffi::LUA_MULTRET);
        let fine = ffi::lua_type(state, -1) == ffi::LUA_TNIL;
        let positioned = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_settop(state, -2);
        if fine {
            return ffi::lua_gettop(state);
        }
        if positioned {
            ffi::luaL_where(state, 1);
            ffi::lua_insert(state, -2);
            ffi::lua_concat(state, 2);
        }
        ffi::lua_error(state)
    }
}

/// Upvalue 1 is the handler of errors. Calls its first argument with the others; answers whether that went well, and
/// the result or what the handler made of the error.
unsafe extern "C-unwind" fn protect(state: State) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let given = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        let status = ffi::lua_pcall(state, given - 1, 1, 1);
        ffi::lua_pushboolean(state, c_int::from(status == 0));
        ffi::lua_insert(state, -2);
        2
    }
}

/// `pcall` as Redis has it: an error that is a table with a text in `err` becomes that text.
unsafe extern "C-unwind" fn pcall(state: State) -> c_int {
    // SAFETY: see the module; with no argument at all there is nothing to call, and `luaL_checkany` says so.
    unsafe {
        ffi::luaL_checkany(state, 1);
        let given = ffi::lua_gettop(state);
        let status = ffi::lua_pcall(state, given - 1, ffi::LUA_MULTRET, 0);
        if status != 0 && ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushstring(state, c"err".as_ptr());
            ffi::lua_rawget(state, -2);
            if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
                ffi::lua_remove(state, -2);
            } else {
                ffi::lua_settop(state, -2);
            }
        }
        // Room for one more value than the results took.
        ffi::luaL_checkstack(state, 1, std::ptr::null());
        ffi::lua_pushboolean(state, c_int::from(status == 0));
        ffi::lua_insert(state, 1);
        ffi::lua_gettop(state)
    }
}

/// Upvalues: 1 what the guarded function itself has as its first, 2 a table whose keys are the protected tables, 3 the
/// guarded C function, 4 what is called instead where the first argument is protected; if nil, that is an error.
unsafe extern "C-unwind" fn guard(state: State) -> c_int {
    // SAFETY: see the module. Upvalue 3 is a C function of the standard library, called with our arguments on our
    // stack, which is how Lua would have called it.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(state, 1);
            ffi::lua_rawget(state, ffi::lua_upvalueindex(2));
            let protected = ffi::lua_type(state, -1) != ffi::LUA_TNIL;
            ffi::lua_settop(state, -2);
            if protected {
                if ffi::lua_type(state, ffi::lua_upvalueindex(4)) == ffi::LUA_TNIL {
                    ffi::lua_pushstring(state, c"Attempt to modify a readonly table".as_ptr());
                    ffi::lua_error(state);
                }
                let given = ffi::lua_gettop(state);
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(4));
                ffi::lua_insert(state, 1);
                ffi::lua_call(state, given, ffi::LUA_MULTRET);
                return ffi::lua_gettop(state);
            }
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(3)) {
            Some(guarded) => guarded(state),
            None => 0,
        }
    }
}

/// Raises an error with the position of whoever called.
unsafe fn fail(state: State, text: &std::ffi::CStr) -> ! {
    // SAFETY: as the module says, there is room for the two values.
    unsafe {
        ffi::luaL_where(state, 1);
        ffi::lua_pushstring(state, text.as_ptr());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

/// The longest pattern that is matched. The matcher of Lua 5.1 goes one call deeper for each item of a pattern, and
/// does not look how deep it is.
const PATTERN: usize = 8 << 10;

/// Upvalue 1 is a C function of the standard library whose second argument is a pattern.
unsafe extern "C-unwind" fn match_bounded(state: State) -> c_int {
    // SAFETY: see the module. The bytes of the pattern are read while it is on the stack. Upvalue 1 is called as in
    // `guard`.
    unsafe {
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            let mut len = 0;
            let bytes = ffi::lua_tolstring(state, 2, &mut len);
            if len > PATTERN && !bytes.is_null() {
                let pattern = std::slice::from_raw_parts(bytes.cast::<u8>(), len);
                if pattern.iter().any(|b| b"?*+-(".contains(b)) {
                    fail(state, c"pattern too complex");
                }
            }
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            Some(inner) => inner(state),
            None => 0,
        }
    }
}

/// Values that one call may return.
const RESULTS: f64 = 8000.0;

/// Upvalue 1 is `unpack`, whose own count of the results overflows.
unsafe extern "C-unwind" fn unpack_bounded(state: State) -> c_int {
    // SAFETY: see the module. Upvalue 1 is called as in `guard`.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TTABLE {
            let first = match ffi::lua_type(state, 2) {
                ffi::LUA_TNONE | ffi::LUA_TNIL => 1.0,
                _ => ffi::lua_tonumber(state, 2),
            };
            let last = match ffi::lua_type(state, 3) {
                ffi::LUA_TNONE | ffi::LUA_TNIL => ffi::lua_objlen(state, 1) as f64,
                _ => ffi::lua_tonumber(state, 3),
            };
            if last - first >= RESULTS || first < -2147483648.0 || last > 2147483647.0 {
                fail(state, c"too many results to unpack");
            }
        }
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            Some(inner) => inner(state),
            None => 0,
        }
    }
}

/// A function of patterns, behind a check of the pattern's length.
pub fn patterned(lua: &Lua, inner: Function) -> mlua::Result<Function> {
    // SAFETY: one upvalue is on the stack; `match_bounded` is made for it.
    unsafe {
        lua.exec_raw(inner, |state| {
            ffi::lua_pushcclosure(state, match_bounded, 1)
        })
    }
}

/// `unpack` behind a check of how much it is to return.
pub fn bounded_unpack(lua: &Lua, inner: Function) -> mlua::Result<Function> {
    // SAFETY: one upvalue is on the stack; `unpack_bounded` is made for it.
    unsafe {
        lua.exec_raw(inner, |state| {
            ffi::lua_pushcclosure(state, unpack_bounded, 1)
        })
    }
}

/// A function that Lua sees as one of C: its errors are any value, with the position of the caller or without.
pub fn function(
    lua: &Lua,
    f: impl Fn(&Lua, MultiValue) -> Result<MultiValue, Fail> + 'static,
) -> mlua::Result<Function> {
    let inner = lua.create_function(move |lua, args: MultiValue| match f(lua, args) {
        Ok(mut values) => {
            values.push_back(Value::Nil);
            Ok(values)
        }
        Err(Fail::Lua(e)) => Err(e),
        Err(Fail::Plain(value)) => Ok([value, Value::Boolean(false)].into_iter().collect()),
        Err(Fail::At(text)) => {
            let text = lua.create_string(text)?;
            Ok([Value::String(text), Value::Boolean(true)]
                .into_iter()
                .collect())
        }
    })?;
    // SAFETY: one upvalue is on the stack; `raise` is made for it.
    unsafe { lua.exec_raw(inner, |state| ffi::lua_pushcclosure(state, raise, 1)) }
}

/// A caller of functions whose errors `handler` sees while their stack still stands.
pub fn protector(lua: &Lua, handler: Function) -> mlua::Result<Function> {
    // SAFETY: one upvalue is on the stack; `protect` is made for it.
    unsafe { lua.exec_raw(handler, |state| ffi::lua_pushcclosure(state, protect, 1)) }
}

/// Redis's `pcall`.
pub fn redis_pcall(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: `pcall` has no upvalues.
    unsafe { lua.create_c_function(pcall) }
}

/// `guarded` behind a check that its first argument is no key of `protected`; see [`guard`].
pub fn guarded(
    lua: &Lua,
    guarded: Function,
    own: Value,
    protected: &Table,
    instead: Option<Function>,
) -> mlua::Result<Function> {
    // SAFETY: four upvalues are on the stack, in the order that `guard` has them in.
    unsafe {
        lua.exec_raw((own, protected, guarded, instead), |state| {
            ffi::lua_pushcclosure(state, guard, 4);
        })
    }
}
