//! Scripts through the command table, held to what redis-server 7.0.15 answered to the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, Sources};
use crate::command::{self, Ctx, Run, resolve};
use crate::resp::{Proto, Reply};
use crate::shard::Keyspace;
use crate::slot;

/// Two shards, of which the first may be missing, and an engine.
struct Desk {
    ks: Keyspace,
    engine: Engine,
    proto: Proto,
}

fn nanos() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

impl Desk {
    fn new(present: &[usize]) -> Desk {
        let mut ks = Keyspace::new(slot::Map::new(2), 7, 16);
        for &id in present {
            let shard = ks.make_shard(id);
            ks.put(shard);
        }
        let engine = Engine::new(0, Arc::new(Sources::new(1)), nanos).unwrap();
        Desk {
            ks,
            engine,
            proto: Proto::Resp2,
        }
    }

    fn ask(&mut self, args: &[&str]) -> String {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        let mut buf = Vec::new();
        let (row, _) = resolve(&args).unwrap();
        let Run::Data(f) = row.run else {
            panic!("{} is no data command", row.name)
        };
        let mut ctx = Ctx {
            ks: &mut self.ks,
            db: 0,
            databases: 16,
            now: 1_700_000_000_000,
            now_us: 1_700_000_000_000_000,
            random: 4,
            first: None,
            may_wait: false,
            wait: None,
            max_string: 1 << 20,
            scripts: Some(&mut self.engine),
            reply: Reply {
                buf: &mut buf,
                proto: self.proto,
            },
        };
        let _: Result<(), command::Error> = command::run(f, &mut ctx, &args);
        String::from_utf8_lossy(&buf).into_owned()
    }

    fn eval(&mut self, script: &str) -> String {
        self.ask(&["eval", script, "0"])
    }
}

/// What an error says before it names the script.
fn said(reply: &str) -> &str {
    reply.split(" script: ").next().unwrap_or_default()
}

#[test]
fn values_are_converted_as_redis_does() {
    let mut desk = Desk::new(&[0, 1]);
    for (script, reply) in [
        ("return 3.99", ":3\r\n"),
        ("return -3.99", ":-3\r\n"),
        ("return 1/0", ":-9223372036854775808\r\n"),
        ("return {1,2,3.9,nil,4}", "*3\r\n:1\r\n:2\r\n:3\r\n"),
        (
            "return {1,true,false,'x'}",
            "*4\r\n:1\r\n:1\r\n$-1\r\n$1\r\nx\r\n",
        ),
        ("return {ok='fine'}", "+fine\r\n"),
        ("return {err='MY x'}", "-MY x\r\n"),
        ("return redis.error_reply('-a b')", "-a b\r\n"),
        ("return redis.status_reply('a b')", "+a b\r\n"),
        (
            "return redis.error_reply(1)",
            "-ERR wrong number or type of arguments\r\n",
        ),
        ("return {double=1.5}", "$3\r\n1.5\r\n"),
        ("return {map={a=1}}", "*2\r\n$1\r\na\r\n:1\r\n"),
        ("return {big_number='12'}", "$2\r\n12\r\n"),
        (
            "return {verbatim_string={format='txt',string='hi'}}",
            "$2\r\nhi\r\n",
        ),
        ("return redis.call('get','nokey')", "$-1\r\n"),
        (
            "redis.call('set','x',3.14) return redis.call('get','x')",
            "$4\r\n3.14\r\n",
        ),
        (
            "redis.setresp(3) return redis.call('get','nokey')",
            "$-1\r\n",
        ),
        ("redis.setresp(3) return true", ":1\r\n"),
        (
            "return redis.sha1hex('')",
            "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n",
        ),
        ("return bit.tohex(255,-4)", "$4\r\n00FF\r\n"),
        ("return bit.bswap(1)", ":16777216\r\n"),
        ("return bit.tobit(2^32+1)", ":1\r\n"),
        (
            "local a,b=pcall(redis.call,'nope') return b",
            "$44\r\nERR Unknown Redis command called from script\r\n",
        ),
        (
            "return redis.pcall('nope')",
            "-ERR Unknown Redis command called from script\r\n",
        ),
        (
            "local n=0 for k in pairs(redis) do n=n+1 end return n>20",
            ":1\r\n",
        ),
        ("return loadstring('return 7')()", ":7\r\n"),
    ] {
        assert_eq!(desk.eval(script), reply, "{script}");
    }
}

#[test]
fn errors_are_told_in_redis_words() {
    let mut desk = Desk::new(&[0, 1]);
    for (script, text) in [
        (
            "return foo",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'foo'",
        ),
        (
            "a=1",
            "-ERR user_script:1: Attempt to modify a readonly table",
        ),
        (
            "return redis.call('get')",
            "-ERR Wrong number of args calling Redis command from script",
        ),
        (
            "return redis.call('eval','',0)",
            "-ERR This Redis command is not allowed from script",
        ),
        (
            "return redis.call({})",
            "-ERR Lua redis lib command arguments must be strings or integers",
        ),
        ("error('x')", "-ERR user_script:1: x"),
        ("error({err='MY x'})", "-MY x"),
        (
            "string.rep()",
            "-ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value)",
        ),
        ("return redis.sha1hex()", "-ERR wrong number of arguments"),
        (
            "return bit.band()",
            "-ERR user_script:1: bad argument #1 to 'band' (number expected, got no value)",
        ),
    ] {
        assert_eq!(said(&desk.eval(script)), text, "{script}");
    }
    assert_eq!(
        desk.eval("return foo"),
        "-ERR user_script:1: Script attempted to access nonexistent global variable 'foo' script: \
         47e30a5d10d5694f99208f9adc4fe3bf2450edbd, on @user_script:1.\r\n"
    );
    assert_eq!(
        desk.eval("return 1 +"),
        "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'\r\n"
    );
    for (args, text) in [
        (
            &["eval", "return 1", "x"][..],
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            &["eval", "return 1", "5"],
            "-ERR Number of keys can't be greater than number of args\r\n",
        ),
        (
            &["eval", "return 1", "-1"],
            "-ERR Number of keys can't be negative\r\n",
        ),
        (
            &["evalsha", "x", "x"],
            "-NOSCRIPT No matching script. Please use EVAL.\r\n",
        ),
        (
            &["script", "kill"],
            "-NOTBUSY No scripts in execution right now.\r\n",
        ),
    ] {
        assert_eq!(desk.ask(args), text);
    }
    let refused = desk.ask(&["eval_ro", "return redis.call('set','a',1)", "0"]);
    assert_eq!(
        said(&refused),
        "-ERR Write commands are not allowed from read-only scripts."
    );
}

#[test]
fn nothing_leads_out_of_the_sandbox() {
    let mut desk = Desk::new(&[0, 1]);
    for script in [
        "rawset(_G,'a',1)",
        "table.insert(redis,1)",
        "setmetatable(_G,{})",
        "redis.call=1",
        "string.rep=1",
        "getmetatable('').__index=nil",
        "rawset(getmetatable(''),'__index',1)",
        "for k,v in pairs(_G) do if type(v)=='table' then rawset(v,'x',1) end end",
        "local _,t=pairs(redis) t.call=1",
        "return load(string.dump(function() end))",
        "return assert(loadstring(string.dump(function() return 1 end)))",
        "return require('os')",
        "return os.execute('id')",
        "return io.open('/etc/passwd')",
        "return dofile('/etc/passwd')",
        "return debug.getinfo(1)",
        "return setfenv(1,{})",
        "return newproxy(true)",
    ] {
        let reply = desk.eval(script);
        assert!(reply.starts_with("-ERR"), "{script}: {reply}");
    }
    assert_eq!(
        desk.eval("return redis.call('echo','still')"),
        "$5\r\nstill\r\n"
    );
    assert_eq!(desk.eval("return ('x'):rep(3)"), "$3\r\nxxx\r\n");
    let deep = desk.eval("local t={} t[1]=t return t");
    assert!(deep.contains("reached lua stack limit"));
}

#[test]
fn a_key_of_an_absent_shard_is_refused() {
    let mut desk = Desk::new(&[0]);
    let far = (0..)
        .map(|i| format!("k{i}"))
        .find(|k| desk.ks.owner(slot::slot_of(k.as_bytes())) == 1)
        .unwrap();
    let reply = desk.ask(&["eval", "return redis.call('get', ARGV[1])", "0", &far]);
    assert!(reply.contains("did not declare"), "{reply}");
    let reply = desk.eval("return redis.call('dbsize')");
    assert!(reply.contains("did not declare"), "{reply}");
}

#[test]
fn a_script_is_known_until_all_are_forgotten() {
    let mut desk = Desk::new(&[0, 1]);
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    assert_eq!(
        desk.ask(&["script", "load", "return 1"]),
        format!("$40\r\n{sha}\r\n")
    );
    assert_eq!(desk.ask(&["evalsha", &sha.to_uppercase(), "0"]), ":1\r\n");
    assert_eq!(
        desk.ask(&["script", "exists", sha, "x"]),
        "*2\r\n:1\r\n:0\r\n"
    );
    assert_eq!(desk.ask(&["script", "flush"]), "+OK\r\n");
    let reply = desk.ask(&["evalsha", sha, "0"]);
    assert_eq!(reply, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
}

#[test]
fn an_overdue_script_is_killed_whatever_it_catches() {
    let mut desk = Desk::new(&[0, 1]);
    desk.engine.prepare(None, false, 1_000_000);
    let sources = desk.engine.bench.sources.clone();
    let killer = std::thread::spawn(move || {
        while sources.kill() != super::Kill::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let reply = desk.eval("while true do pcall(function() while true do end end) end");
    killer.join().unwrap();
    assert!(
        reply.starts_with("-ERR Script killed by user with SCRIPT KILL"),
        "{reply}"
    );
    assert_eq!(desk.eval("return 1"), ":1\r\n");
}
