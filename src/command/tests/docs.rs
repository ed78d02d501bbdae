//! COMMAND DOCS beside a running Redis: the arguments, as far as a client can act on them.
//!
//! Names are each server's own. What has to agree is what a client that completes or checks a command needs: tokens,
//! what may be left out, what may be repeated, what excludes what, and in which order.

use super::redis::Redis;
use super::*;
use std::collections::BTreeMap;

enum Value {
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn read(reply: &[u8], at: &mut usize) -> Value {
        let end = *at + reply[*at..].windows(2).position(|w| w == b"\r\n").unwrap();
        let head = str::from_utf8(&reply[*at + 1..end]).unwrap().to_owned();
        let kind = reply[*at];
        *at = end + 2;
        match kind {
            b'*' => {
                let n: usize = head.parse().unwrap();
                Value::List((0..n).map(|_| Value::read(reply, at)).collect())
            }
            b'$' => {
                let n: usize = head.parse().unwrap();
                let text = String::from_utf8_lossy(&reply[*at..*at + n]).into_owned();
                *at += n + 2;
                Value::Text(text)
            }
            _ => Value::Text(head),
        }
    }

    fn list(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            Value::Text(text) => panic!("{text} is no list"),
        }
    }

    fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::List(_) => panic!("a list is no text"),
        }
    }

    /// The value of a field of a map, as RESP2 has it.
    fn field(&self, name: &str) -> Option<&Value> {
        let (pairs, _) = self.list().as_chunks::<2>();
        pairs
            .iter()
            .find_map(|[key, value]| (key.text() == name).then_some(value))
    }
}

/// Arguments in one line, each value as `v`.
fn line(arguments: &[Value], names: bool) -> String {
    let parts: Vec<String> = arguments.iter().map(|a| one(a, names)).collect();
    parts.join(" ")
}

fn one(argument: &Value, names: bool) -> String {
    let flags = argument.field("flags").map_or(&[][..], Value::list);
    let has = |flag: &str| flags.iter().any(|f| f.text() == flag);
    let token = argument.field("token").map(Value::text);
    let parts = argument.field("arguments").map_or(&[][..], Value::list);
    let kind = argument.field("type").unwrap().text();
    let inner = match kind {
        "pure-token" => String::new(),
        // Choices exclude each other, in whatever order they are told.
        "oneof" => {
            let mut choices: Vec<String> = parts.iter().map(|part| one(part, names)).collect();
            choices.sort();
            format!("<{}>", choices.join("|"))
        }
        "block" => line(parts, names),
        _ if names => kind.to_owned(),
        _ => "v".to_owned(),
    };
    let inner = match has("multiple") && !has("multiple_token") {
        true => format!("({inner})+"),
        false => inner,
    };
    let mut text = format!("{} {inner}", token.unwrap_or_default())
        .trim()
        .to_uppercase();
    if has("multiple_token") {
        text = format!("({text})+");
    }
    if has("optional") {
        text = format!("[{text}]");
    }
    text
}

fn lines(docs: &Value, names: bool, into: &mut BTreeMap<String, String>) {
    let (pairs, _) = docs.list().as_chunks::<2>();
    for [name, doc] in pairs {
        let arguments = doc.field("arguments").map_or(&[][..], Value::list);
        into.insert(name.text().to_lowercase(), line(arguments, names));
        if let Some(subcommands) = doc.field("subcommands") {
            lines(subcommands, names, into);
        }
    }
}

fn told(reply: &[u8], names: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    lines(&Value::read(reply, &mut 0), names, &mut found);
    found
}

/// Commands whose arguments are told otherwise than by Redis 7.0, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("bitop", "the words it takes, which Redis tells since 7.2"),
    ("client|kill", "MAXAGE, and no SLAVE"),
    ("command|getkeys", "Redis 7.0 leaves them out"),
    ("command|getkeysandflags", "Redis 7.0 leaves them out"),
    ("debug", "Redis leaves them out"),
    (
        "geohash",
        "members may be left out, which Redis tells since 7.2",
    ),
    (
        "geopos",
        "members may be left out, which Redis tells since 7.2",
    ),
    (
        "georadius",
        "STORE and STOREDIST exclude each other, as Redis tells since 7.2",
    ),
    (
        "georadiusbymember",
        "STORE and STOREDIST exclude each other, as Redis tells since 7.2",
    ),
    ("hscan", "NOVALUES"),
    (
        "pfmerge",
        "sources may be left out, which Redis tells since 7.2",
    ),
    ("zrank", "WITHSCORE, since 7.2"),
    ("zrevrank", "WITHSCORE, since 7.2"),
];

#[test]
fn arguments_have_the_shape_that_redis_tells() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let docs: &[&[u8]] = &[b"command", b"docs"];
    let (ours, theirs) = (local.ask(docs), redis.ask(docs));
    let (ours, theirs) = (told(&ours, false), told(&theirs, false));
    let mut differ = String::new();
    let (mut same, mut both) = (0, 0);
    for (name, mine) in &ours {
        let Some(yours) = theirs.get(name) else {
            continue;
        };
        both += 1;
        if mine == yours {
            same += 1;
        } else if !OTHERWISE.iter().any(|(known, _)| known == name) {
            differ += &format!("{name}\n  Redis:   {yours}\n  Ferrite: {mine}\n");
        }
    }
    eprintln!("{same} of {both} commands have the same arguments as in Redis");
    assert!(both > 200, "{both}");
    assert!(differ.is_empty(), "{differ}");
    for (name, _) in OTHERWISE {
        assert_ne!(ours.get(*name), theirs.get(*name), "{name} is the same now");
    }
}

#[test]
fn types_of_arguments_are_those_of_redis() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let mut local = Local::new();
    let docs: &[&[u8]] = &[b"command", b"docs"];
    let (ours, theirs) = (local.ask(docs), redis.ask(docs));
    let (shape, wanted) = (told(&ours, false), told(&theirs, false));
    let (ours, theirs) = (told(&ours, true), told(&theirs, true));
    let mut differ = String::new();
    for (name, mine) in &ours {
        // Where the shapes differ there is nothing to compare.
        if let Some(yours) = theirs.get(name)
            && shape.get(name) == wanted.get(name)
            && mine != yours
        {
            differ += &format!("{name}\n  Redis:   {yours}\n  Ferrite: {mine}\n");
        }
    }
    assert!(differ.is_empty(), "{differ}");
}
