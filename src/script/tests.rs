//! The engine by itself: a caller that answers every command alike. What scripts do with real commands is held to Redis in
//! `tests/server/scripts.rs`.

use std::sync::Arc;
use std::time::Instant;

use super::{Answer, Ask, Engine, Sources, Step, check_syntax, hex, inspect, sha1, unhex};
use crate::resp::Proto;

fn nanos() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn engine() -> Engine {
    Engine::new(Arc::new(Sources::new(1)), nanos).unwrap()
}

/// Runs a script whose every command is answered with its own words, an array; its reply.
fn run(engine: &mut Engine, text: &str) -> String {
    let program = match engine.program(text.as_bytes()) {
        Ok(program) => program,
        Err(e) => return String::from_utf8_lossy(&e.text()).into_owned(),
    };
    engine.begin_slice();
    let mut step = engine
        .start(&program, &[b"k"], &[b"a"], Proto::Resp2)
        .unwrap();
    loop {
        match step {
            Step::Ended(_) => break,
            Step::Asks(Ask::Command) => {
                let (argv, mut reply, _) = engine.take_asked();
                let words = argv.words();
                reply.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
                for word in words {
                    reply.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    reply.extend_from_slice(word);
                    reply.extend_from_slice(b"\r\n");
                }
                engine.answer(argv, reply);
            }
            Step::Asks(_) => engine.begin_slice(),
        }
        step = engine.resume(Answer::Go);
    }
    let mut out = Vec::new();
    engine.take_reply(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_script_asks_for_commands_and_goes_on_with_their_replies() {
    let mut engine = engine();
    assert_eq!(
        run(&mut engine, "return redis.call('X', 1, 2.5)[3]"),
        "$3\r\n2.5\r\n"
    );
    assert_eq!(
        run(&mut engine, "return KEYS[1] .. ARGV[1]"),
        "$2\r\nka\r\n"
    );
    let nested = "local t = {3, 1, 2} table.sort(t, function(a, b) redis.call('X') return a < b end) return t";
    assert_eq!(run(&mut engine, nested), "*3\r\n:1\r\n:2\r\n:3\r\n");
    let inner = "return {pcall(coroutine.wrap(function() return #redis.call('X', 'Y') end))}";
    assert_eq!(run(&mut engine, inner), "*2\r\n:1\r\n:2\r\n");
}

#[test]
fn a_script_pauses_wherever_it_is_and_dies_when_it_is_told_to() {
    for text in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "table.sort({1, 2}, function() while true do end end)",
        "string.gsub('a', '.', function() while true do end end)",
        "setmetatable({}, {__index = function() while true do end end}).x = ({}).y or nil local t = \
         setmetatable({}, {__index = function() while true do end end}) return t.x",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
    ] {
        let mut engine = engine();
        let program = engine.program(text.as_bytes()).unwrap();
        engine.begin_slice();
        let mut step = engine.start(&program, &[], &[], Proto::Resp2).unwrap();
        for _ in 0..3 {
            assert_eq!(step, Step::Asks(Ask::Pause), "{text}");
            engine.begin_slice();
            step = engine.resume(Answer::Go);
        }
        let mut step = engine.resume(Answer::Die);
        while let Step::Asks(_) = step {
            step = engine.resume(Answer::Die);
        }
        let mut out = Vec::new();
        engine.take_reply(&mut out);
        let said = String::from_utf8_lossy(&out);
        assert!(said.contains("killed by user"), "{text}: {said}");
        // The next one is not touched by that.
        assert_eq!(
            run(
                &mut engine,
                "local n = 0 for i = 1, 1000 do n = n + i end return n"
            ),
            ":500500\r\n"
        );
    }
}

#[test]
fn nothing_leads_out_of_the_sandbox() {
    let mut engine = engine();
    for name in [
        "io", "debug", "package", "require", "module", "dofile", "loadfile", "print", "newproxy",
        "getfenv", "setfenv", "jit", "ffi",
    ] {
        let said = run(&mut engine, &format!("return {name}"));
        assert!(
            said.contains("nonexistent global variable"),
            "{name}: {said}"
        );
    }
    assert_eq!(
        run(
            &mut engine,
            "local t = {} for k in pairs(os) do t[#t + 1] = k end return t"
        ),
        "*1\r\n$5\r\nclock\r\n"
    );
    let no = [
        "x = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "setmetatable(_G, {})",
        "redis.call = 1",
        "redis = 1",
        "string.rep = 1",
        "rawset(string, 'rep', 1)",
        "rawset(math, 'random', 1)",
        "cjson.encode = 1",
        "table.insert(redis, 1)",
        "table.sort(redis)",
        "getmetatable('').__index = {}",
        "getmetatable('').x = 1",
        "setmetatable(getmetatable(''), {})",
        "getmetatable(_G).__index = {}",
        "loadstring('y = 1')()",
        "load(function() return nil end, 'x', 'b', {})() x = 1",
        "coroutine.wrap(function() z = 1 end)()",
    ];
    for text in no {
        let said = run(&mut engine, text);
        assert!(said.starts_with('-'), "{text}: {said}");
    }
    // And none of it is there afterwards.
    assert_eq!(run(&mut engine, "return ('x'):rep(2)"), "$2\r\nxx\r\n");
    assert_eq!(
        run(&mut engine, "return type(redis.call)"),
        "$8\r\nfunction\r\n"
    );
    let said = run(&mut engine, "return x");
    assert!(said.contains("nonexistent"), "{said}");
}

#[test]
fn bytecode_is_not_loaded() {
    let mut engine = engine();
    let text = "local code = string.dump(function() return 1 end) local f = loadstring(code) return f and 1 or 0";
    assert_eq!(run(&mut engine, text), ":0\r\n");
    let text = "local code, done = string.dump(function() return 1 end) \
                local f = load(function() if not done then done = true return code end end) return f and 1 or 0";
    assert_eq!(run(&mut engine, text), ":0\r\n");
    assert!(run(&mut engine, "\u{1b}Lua").starts_with("ERR Error compiling"));
}

#[test]
fn what_would_overflow_a_stack_or_memory_is_an_error() {
    let mut engine = engine();
    for text in [
        "local n = 200000 return string.find(string.rep('a', n), string.rep('a?', n))",
        "return string.rep('x', 2^31 - 1)",
        "local t = {} while true do t[#t + 1] = string.rep('x', 1e7) .. #t end",
        "return {unpack({}, 0, 2^31 - 1)}",
        "return {unpack({}, -2^31, 2^31 - 1)}",
        "return {unpack({}, 1, 1e8)}",
        "local function f() return f() + 1 end return f()",
        "return cjson.decode(string.rep('[', 100000))",
        "local t = {} t[1] = t return cjson.encode(t)",
        "return cmsgpack.unpack(string.rep('\\145', 100000))",
        "local f f = function(n) return pcall(f, n + 1) end error(tostring(f(1)))",
        "return loadstring(string.rep('(', 100000) .. string.rep(')', 100000))()",
    ] {
        let said = run(&mut engine, text);
        assert!(
            said.starts_with('-'),
            "{text}: {}",
            &said[..said.len().min(80)]
        );
        assert_eq!(run(&mut engine, "return 1"), ":1\r\n", "after {text}");
    }
    let deep = "local t = {} local u = t for i = 1, 5000 do u[1] = {} u = u[1] end return t";
    assert!(run(&mut engine, deep).contains("reached lua stack limit"));
}

#[test]
fn garbage_makes_no_library_panic() {
    let mut engine = engine();
    let mut seed = 7u32;
    let mut bytes = String::new();
    for round in 0..300 {
        bytes.clear();
        for _ in 0..round % 24 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push_str(&format!("\\{}", seed >> 24));
        }
        let text = format!(
            "for _, f in ipairs({{cjson.decode, cmsgpack.unpack, function(s) return struct.unpack(s, s) end, \
             function(s) return struct.pack(s, 1, 2, 3) end, struct.size}}) do pcall(f, '{bytes}') end return 1"
        );
        assert_eq!(run(&mut engine, &text), ":1\r\n", "{bytes}");
    }
}

#[test]
fn a_library_is_learnt_by_running_it() {
    let code = "#!lua name=lib\n\
                redis.register_function{function_name = 'b', callback = function() end, flags = {'no-writes'}}\n\
                redis.register_function('a', function() end)";
    let library = inspect(code.as_bytes(), nanos).unwrap();
    assert_eq!(library.name, "lib");
    let names: Vec<_> = library.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        library.functions[1].flag_names().collect::<Vec<_>>(),
        ["no-writes"]
    );
    let endless = inspect(b"#!lua name=lib\nwhile true do end", nanos).unwrap_err();
    assert!(endless.text().ends_with(b"FUNCTION LOAD timeout"));
}

#[test]
fn a_script_has_a_name() {
    let name = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    assert_eq!(hex(&sha1(b"return 1")), name);
    assert_eq!(
        unhex(name.to_ascii_uppercase().as_bytes()),
        Some(sha1(b"return 1"))
    );
    assert_eq!(unhex(b"e0"), None);
    assert!(check_syntax(b"return 1").is_ok());
    assert!(check_syntax(b"return (").is_err());
}
