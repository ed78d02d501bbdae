//! What runs the scripts of one core: a Lua state, the scripts it knows, and the one that runs.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::desk::{Answer, Argv, Ask, Desk};
use super::fiber::{End, Fiber, Step};
use super::library::{Libraries, Library, Registered, head};
use super::raw::Fail;
use super::sandbox::{self, Sandbox};
use super::shebang::Shebang;
use super::sources::{Kind, Sha, Sources};
use super::{convert, raw};
use crate::command::Error;
use crate::resp::{Proto, Reply};

/// Lua instructions between two looks at the clock: tens of microseconds.
const INSTRUCTIONS: u32 = 10_000;
/// Nanoseconds after which a script offers to pause.
const SLICE: u64 = 1_000_000;
/// Nanoseconds that a library may take to register its functions.
const LOAD: u64 = 500_000_000;
/// Bytes that the Lua state of a core may hold.
const MEMORY: usize = 1 << 30;

/// A compiled script, ready to run.
#[derive(Clone)]
pub struct Program {
    function: Function,
    /// What its first line says.
    pub shebang: Shebang,
    /// What errors call it: its SHA-1, or the name of the function.
    pub name: Rc<str>,
    /// Which of the two it is.
    pub kind: Kind,
}

/// Runs the scripts of one core.
pub struct Engine {
    lua: Lua,
    sandbox: Sandbox,
    protect: Function,
    programs: HashMap<Sha, Program>,
    flushes: u64,
    /// The functions of the libraries by name in lower case, as of a number of changes, and the libraries they are of.
    functions: HashMap<String, Program>,
    loaded: Arc<Libraries>,
    changes: u64,
    sources: Arc<Sources>,
    desk: Rc<Desk>,
    fiber: Option<Fiber>,
    stack: Option<DefaultStack>,
}

impl Engine {
    /// The engine of a core. `nanos` tells monotonic nanoseconds.
    ///
    /// # Errors
    /// Lua cannot be started.
    pub fn new(sources: Arc<Sources>, nanos: fn() -> u64) -> Result<Engine, Error> {
        Engine::build(sources, nanos).map_err(unable)
    }

    fn build(sources: Arc<Sources>, nanos: fn() -> u64) -> mlua::Result<Engine> {
        let desk = Rc::new(Desk::new(nanos));
        let lua = state()?;
        lua.set_memory_limit(MEMORY)?;
        let sandbox = sandbox::build(&lua, &desk)?;
        let protect = raw::protector(&lua, lua.create_function(handle)?)?;
        watch(&lua, &desk, INSTRUCTIONS)?;
        Ok(Engine {
            lua,
            sandbox,
            protect,
            programs: HashMap::new(),
            functions: HashMap::new(),
            loaded: Arc::default(),
            changes: 0,
            flushes: sources.flushes(),
            sources,
            desk,
            fiber: None,
            stack: None,
        })
    }

    /// Whether a script runs, and has to be gone on with.
    pub fn is_busy(&self) -> bool {
        self.fiber.is_some()
    }

    /// Bytes that Lua holds.
    pub fn memory(&self) -> u64 {
        self.lua.used_memory() as u64
    }

    /// The script of that text, which is known from now on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn program(&mut self, text: &[u8]) -> Result<Program, Error> {
        self.forget_flushed();
        let sha = sha1(text);
        match self.programs.get(&sha) {
            Some(program) => Ok(program.clone()),
            None => self.compile(sha, text),
        }
    }

    /// The script of that name, if it is known.
    ///
    /// # Errors
    /// It is not, or it no longer compiles.
    pub fn known(&mut self, name: &[u8]) -> Result<Program, Error> {
        self.forget_flushed();
        let unknown = Error::Text("NOSCRIPT No matching script. Please use EVAL.");
        let sha = unhex(name).ok_or(unknown.clone())?;
        if let Some(program) = self.programs.get(&sha) {
            return Ok(program.clone());
        }
        let text = self.sources.text(&sha).ok_or(unknown)?;
        self.compile(sha, &text)
    }

    fn forget_flushed(&mut self) {
        let flushes = self.sources.flushes();
        if std::mem::replace(&mut self.flushes, flushes) != flushes {
            self.programs.clear();
        }
    }

    fn compile(&mut self, sha: Sha, text: &[u8]) -> Result<Program, Error> {
        let shebang = Shebang::read(text).map_err(wrong)?;
        let body = &text[shebang.len..];
        let env = &self.sandbox.env;
        let function =
            sandbox::compile(&self.lua, body, "@user_script", Some(env)).map_err(uncompiled)?;
        let program = Program {
            function,
            shebang,
            name: hex(&sha).into(),
            kind: Kind::Eval,
        };
        self.programs.insert(sha, program.clone());
        self.sources.add(sha, text);
        Ok(program)
    }

    /// The function of that name, in upper or lower case.
    ///
    /// # Errors
    /// There is none, or its library can no longer be loaded.
    pub fn function(&mut self, name: &[u8]) -> Result<Program, Error> {
        self.take_libraries()?;
        let name = str::from_utf8(name).ok().map(str::to_ascii_lowercase);
        let program = name.and_then(|name| self.functions.get(&name));
        program
            .cloned()
            .ok_or(Error::Text("ERR Function not found"))
    }

    fn take_libraries(&mut self) -> Result<(), Error> {
        let changes = self.sources.shelf.changes();
        if changes == self.changes {
            return Ok(());
        }
        let all = self.sources.shelf.all();
        let before = std::mem::replace(&mut self.loaded, all.clone());
        for (name, library) in before.iter() {
            if all.get(name).is_none_or(|now| !Arc::ptr_eq(now, library)) {
                for function in &library.functions {
                    self.functions.remove(&function.name.to_ascii_lowercase());
                }
            }
        }
        for (name, library) in all.iter() {
            if before
                .get(name)
                .is_none_or(|was| !Arc::ptr_eq(was, library))
            {
                let (_, start) = head(&library.code)?;
                for registered in self.load(&library.code[start..])? {
                    let name = registered.declared.name.clone();
                    let program = Program {
                        function: registered.function,
                        shebang: registered.declared.shebang(),
                        name: name.as_str().into(),
                        kind: Kind::Function,
                    };
                    self.functions.insert(name.to_ascii_lowercase(), program);
                }
            }
        }
        self.changes = changes;
        Ok(())
    }

    /// Runs the text of a library, which registers its functions.
    fn load(&mut self, body: &[u8]) -> Result<Vec<Registered>, Error> {
        let library = &self.sandbox.library;
        let function = sandbox::compile(&self.lua, body, "@user_function", Some(&library.env))
            .map_err(|why| Error::message(format!("ERR Error compiling function: {why}")))?;
        library.show(true).map_err(unable)?;
        let desk = &self.desk;
        desk.loading.replace(Some(Vec::new()));
        desk.load_until.set((desk.nanos)() + LOAD);
        desk.killed.set(false);
        let result = self.protect.call::<(bool, Value)>(function);
        let registered = desk.loading.take().unwrap_or_default();
        library.show(false).map_err(unable)?;
        if desk.killed.replace(false) {
            watch(&self.lua, desk, INSTRUCTIONS).map_err(unable)?;
        }
        let raised = match result {
            Ok((true, _)) if registered.is_empty() => {
                return Err(Error::Text("ERR No functions registered"));
            }
            Ok((true, _)) => return Ok(registered),
            Ok((false, Value::Table(table))) => match table.raw_get::<Value>("err") {
                Ok(Value::String(text)) => text.to_string_lossy(),
                _ => "unknown error".to_owned(),
            },
            Ok((false, _)) => "execution failure".to_owned(),
            Err(e) => e.to_string(),
        };
        let text = format!("ERR Error registering functions: {raised}");
        Err(Error::message(text))
    }

    /// Begins to run a script with these keys and arguments; `proto` is that of its reply.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn start(
        &mut self,
        program: &Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        proto: Proto,
    ) -> Result<Step, Error> {
        let lists = [self.list(keys), self.list(args)];
        let [keys, args] = lists;
        let (keys, args) = (keys.map_err(unable)?, args.map_err(unable)?);
        if program.kind == Kind::Eval {
            let globals = &self.sandbox.real;
            globals.raw_set("KEYS", &keys).map_err(unable)?;
            globals.raw_set("ARGV", &args).map_err(unable)?;
        }
        let desk = self.desk.clone();
        desk.resp3.set(false);
        desk.killed.set(false);
        let (protect, function) = (self.protect.clone(), program.function.clone());
        let (name, kind) = (program.name.clone(), program.kind);
        let at = desk.clone();
        let body = move || {
            let result = match kind {
                Kind::Eval => protect.call::<(bool, Value)>(function),
                Kind::Function => protect.call::<(bool, Value)>((function, keys, args)),
            };
            finish(&at, result, &name, proto)
        };
        let fiber = Fiber::new(self.stack.take(), desk, body)
            .map_err(|e| Error::message(format!("ERR no stack for a script: {e}")))?;
        self.fiber = Some(fiber);
        Ok(self.resume(Answer::Go))
    }

    fn list(&self, words: &[&[u8]]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(words.len(), 0)?;
        for (i, word) in words.iter().enumerate() {
            table.raw_seti(i + 1, self.lua.create_string(word)?)?;
        }
        Ok(table)
    }

    /// Lets the script go on.
    pub fn resume(&mut self, answer: Answer) -> Step {
        let Some(fiber) = &mut self.fiber else {
            return Step::Ended(End {
                failed: true,
                counted: true,
            });
        };
        let step = fiber.resume(answer);
        if let Step::Ended(_) = step {
            self.stack = self.fiber.take().and_then(Fiber::into_stack);
            // A script may have stopped it.
            self.lua.gc_restart();
            if self.desk.killed.get() && watch(&self.lua, &self.desk, INSTRUCTIONS).is_err() {
                tracing::error!("the clock of scripts cannot be set");
            }
        }
        step
    }

    /// Begins a slice: from here on it is counted for how long the script runs.
    pub fn begin_slice(&self) {
        self.desk.since.set((self.desk.nanos)());
    }

    /// Whether the script has run for so long that it should pause.
    pub fn is_due(&self) -> bool {
        is_due(&self.desk)
    }

    /// The command that the script asks for, to be given back with [`Engine::answer`].
    pub fn take_asked(&self) -> (Argv, Vec<u8>, Proto) {
        let argv = self.desk.argv.take();
        let mut reply = self.desk.reply.take();
        reply.clear();
        (argv, reply, convert::proto(self.desk.resp3.get()))
    }

    /// Lays the reply on the desk.
    pub fn answer(&self, argv: Argv, reply: Vec<u8>) {
        self.desk.argv.replace(argv);
        self.desk.reply.replace(reply);
    }

    /// Appends the reply of the script that has ended.
    pub fn take_reply(&self, out: &mut Vec<u8>) {
        out.append(&mut self.desk.reply.borrow_mut());
    }
}

/// A bare Lua with the libraries that scripts see something of.
fn state() -> mlua::Result<Lua> {
    let libs = StdLib::TABLE | StdLib::OS | StdLib::STRING | StdLib::MATH;
    Lua::new_with(libs, LuaOptions::new())
}

fn unable(e: mlua::Error) -> Error {
    Error::message(format!("ERR Lua is not able to run: {e}"))
}

fn wrong(why: String) -> Error {
    Error::message(format!("ERR {why}"))
}

fn uncompiled(why: String) -> Error {
    Error::message(format!("ERR Error compiling script (new function): {why}"))
}

/// Whether a text is a script.
///
/// # Errors
/// What is wrong with it, as EVAL tells it.
pub fn check_syntax(text: &[u8]) -> Result<(), Error> {
    let shebang = Shebang::read(text).map_err(wrong)?;
    let lua = state().map_err(unable)?;
    sandbox::compile(&lua, &text[shebang.len..], "@user_script", None)
        .map(drop)
        .map_err(uncompiled)
}

/// What a library of that text is, learnt by running it in a Lua of its own.
///
/// # Errors
/// What is wrong with it, as FUNCTION LOAD tells it.
pub fn inspect(code: &[u8], nanos: fn() -> u64) -> Result<Library, Error> {
    let (name, start) = head(code)?;
    let mut engine = Engine::new(Arc::new(Sources::new(0)), nanos)?;
    let registered = engine.load(&code[start..])?;
    let mut functions: Vec<_> = registered.into_iter().map(|r| r.declared).collect();
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Library {
        name,
        code: code.into(),
        functions,
    })
}

fn is_due(desk: &Desk) -> bool {
    (desk.nanos)().saturating_sub(desk.since.get()) >= SLICE
}

/// Has the clock looked at every so many instructions.
fn watch(lua: &Lua, desk: &Rc<Desk>, instructions: u32) -> mlua::Result<()> {
    let desk = desk.clone();
    let triggers = HookTriggers::new().every_nth_instruction(instructions);
    lua.set_global_hook(triggers, move |lua, _| {
        if !desk.is_open() {
            let loads = desk.loading.borrow().is_some();
            if !loads || (desk.nanos)() < desk.load_until.get() {
                return Ok(VmState::Continue);
            }
            die(lua, &desk)?;
            return Err(mlua::Error::runtime("FUNCTION LOAD timeout"));
        }
        if !desk.killed.get() {
            if !is_due(&desk) || desk.ask(Ask::Pause) == Answer::Go {
                return Ok(VmState::Continue);
            }
            die(lua, &desk)?;
        }
        Err(mlua::Error::runtime(KILLED))
    })
}

const KILLED: &str = "Script killed by user with SCRIPT KILL.";

/// The error of a script that is to end. It is raised again at every instruction, so that no `pcall` holds it up.
pub fn die(lua: &Lua, desk: &Rc<Desk>) -> mlua::Result<Fail> {
    desk.killed.set(true);
    watch(lua, desk, 1)?;
    Ok(Fail::Lua(mlua::Error::runtime(KILLED)))
}

/// Makes a table of what a script has raised, with the place where it did.
fn handle(lua: &Lua, raised: Value) -> mlua::Result<Table> {
    let table = match raised {
        Value::Table(table) => table,
        Value::Error(e) => {
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("runtime error: ").unwrap_or(first);
            let first = first.strip_prefix("memory error: ").unwrap_or(first);
            convert::error(lua, format!("ERR {first}").as_bytes())?
        }
        Value::String(text) => convert::error(lua, &[b"ERR ", &*text.as_bytes()].concat())?,
        other => convert::error(lua, format!("ERR {}", other.to_string()?).as_bytes())?,
    };
    // The function that raised it, or, where that is one of C, who called it.
    for level in 1..=2 {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let native = source.what == "C";
            let name = source.source.map(|s| s.into_owned()).unwrap_or_default();
            (native, name, debug.current_line())
        });
        match place {
            Some((true, ..)) if level == 1 => {}
            Some((false, source, Some(line))) => {
                table.raw_set("source", source)?;
                table.raw_set("line", line)?;
                break;
            }
            _ => break,
        }
    }
    Ok(table)
}

/// Lays the reply of a script that has ended on the desk.
fn finish(desk: &Desk, result: mlua::Result<(bool, Value)>, name: &str, proto: Proto) -> End {
    let mut out = desk.reply.take();
    out.clear();
    let mut reply = Reply {
        buf: &mut out,
        proto,
    };
    let (error, counted) = match result {
        Ok((true, value)) => match convert::to_reply(&value, &mut reply, desk.resp3.get(), 0) {
            Ok(()) => {
                let failed = out.first() == Some(&b'-');
                let counted = counted(&value);
                desk.reply.replace(out);
                return End { failed, counted };
            }
            Err(e) => (
                format!("ERR Error running script {name}, {e}").into_bytes(),
                false,
            ),
        },
        Ok((false, value)) => (told(&value, name), counted(&value)),
        Err(e) => (
            format!("ERR Error running script {name}, {e}").into_bytes(),
            false,
        ),
    };
    out.clear();
    let mut reply = Reply {
        buf: &mut out,
        proto,
    };
    reply.error(&error);
    desk.reply.replace(out);
    End {
        failed: true,
        counted,
    }
}

/// Whether an error is one of a command.
fn counted(value: &Value) -> bool {
    let Value::Table(table) = value else {
        return false;
    };
    let flag = table.raw_get::<Value>("ignore_error_stats_update");
    flag.is_ok_and(|flag| !flag.is_nil())
}

/// What the client is told of an error that a script did not catch.
fn told(value: &Value, name: &str) -> Vec<u8> {
    let Value::Table(table) = value else {
        return format!("ERR Error running script {name}, execution failure").into_bytes();
    };
    let text = |field: &str| match table.raw_get::<Value>(field) {
        Ok(Value::String(text)) => Some(text.as_bytes().to_vec()),
        _ => None,
    };
    let mut message = text("err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    let line = table
        .raw_get::<Value>("line")
        .ok()
        .as_ref()
        .and_then(convert::number);
    if let (Some(source), Some(line)) = (text("source"), line) {
        message.extend_from_slice(format!(" script: {name}, on ").as_bytes());
        message.extend_from_slice(&source);
        message.extend_from_slice(format!(":{line}.").as_bytes());
    }
    message
}

/// The SHA-1 of a text: a name for it, as in Redis, and no more.
pub fn sha1(text: &[u8]) -> Sha {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let mut sha = Sha::default();
    sha.copy_from_slice(digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref());
    sha
}

/// A SHA-1 in hex digits.
pub fn hex(sha: &Sha) -> String {
    sha.iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-1 that 40 hex digits spell.
pub fn unhex(text: &[u8]) -> Option<Sha> {
    let mut sha = Sha::default();
    if text.len() != 40 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in sha.iter_mut().zip(text.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sha)
}
