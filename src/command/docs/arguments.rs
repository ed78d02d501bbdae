//! What COMMAND DOCS tells of a command's arguments, made from its syntax.
//!
//! Names, types and the numbers of key specifications are not written down anywhere: they follow from the word that
//! the syntax has for a value, and from the row's keys.

use super::syntax::{Argument, What, parse};
use super::{Begin, Command, Group, flag, key};
use crate::resp::Reply;

/// Words that stand for a key.
const KEYS: &[&str] = &[
    "key",
    "key1",
    "key2",
    "newkey",
    "source",
    "destination",
    "destkey",
    "sourcekey",
    "src",
    "dst",
];
/// Words that stand for a whole number.
const INTEGERS: &[&str] = &[
    "bit",
    "bits",
    "client-id",
    "cluster-bus-port",
    "config-epoch",
    "count",
    "cursor",
    "db",
    "decrement",
    "destination-db",
    "end",
    "end-slot",
    "entries-added",
    "entries-read",
    "frequency",
    "increment",
    "index",
    "index1",
    "index2",
    "len",
    "limit",
    "maxage",
    "milliseconds",
    "min-idle-time",
    "min-match-len",
    "ms",
    "num-matches",
    "numfields",
    "numkeys",
    "numlocal",
    "numreplicas",
    "offset",
    "port",
    "protover",
    "rank",
    "seconds",
    "slot",
    "start",
    "start-slot",
    "stop",
    "timeout",
    "ttl",
    "version",
    "weight",
];
/// Words that stand for a number with a fraction.
const DOUBLES: &[&str] = &[
    "height",
    "latitude",
    "longitude",
    "max",
    "min",
    "radius",
    "score",
    "width",
];
/// Words that stand for a moment.
const TIMES: &[&str] = &["unix-time-seconds", "unix-time-milliseconds"];

/// A row's arguments, unless it has none; a container's are its subcommands.
pub(super) fn of(row: &Command) -> Vec<Argument> {
    match row.subcommands {
        [] => parse(row.syntax).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Writes arguments as COMMAND DOCS has them.
pub(super) fn write(reply: &mut Reply<'_>, row: &Command, arguments: &[Argument]) {
    Writer { row, keys: 0 }.list(reply, arguments);
}

struct Writer<'a> {
    row: &'a Command,
    /// Words for keys met so far.
    keys: usize,
}

impl Writer<'_> {
    fn list(&mut self, reply: &mut Reply<'_>, arguments: &[Argument]) {
        reply.array(arguments.len());
        for argument in arguments {
            let name = name(argument);
            let taken = |other: &&Argument| self::name(other) == name;
            // Two of a name are told apart by their tokens.
            let name = match argument.token {
                Some(token) if arguments.iter().filter(taken).count() > 1 => {
                    format!("{}-{name}", token.to_ascii_lowercase())
                }
                _ => name,
            };
            self.one(reply, argument, &name);
        }
    }

    fn one(&mut self, reply: &mut Reply<'_>, argument: &Argument, name: &str) {
        let (kind, shown, parts) = match &argument.what {
            What::Token => ("pure-token", Some(name), None),
            What::Value(word) => (self.kind(word), Some(*word), None),
            What::OneOf(parts) => ("oneof", None, Some(parts)),
            What::Block(parts) => ("block", None, Some(parts)),
        };
        let spec = (kind == "key").then(|| self.spec()).flatten();
        let flags = [
            ("optional", argument.optional),
            ("multiple", argument.multiple),
            ("multiple_token", argument.token_again),
        ];
        let set = flags.iter().filter(|(_, on)| *on).count();
        let fields = [
            shown.is_some(),
            spec.is_some(),
            argument.token.is_some(),
            set > 0,
            parts.is_some(),
        ];
        reply.map(2 + fields.iter().filter(|there| **there).count());
        reply.bulk("name");
        reply.bulk(name);
        reply.bulk("type");
        reply.bulk(kind);
        if let Some(shown) = shown {
            reply.bulk("display_text");
            reply.bulk(shown);
        }
        if let Some(spec) = spec {
            reply.bulk("key_spec_index");
            reply.int(spec as i64);
        }
        if let Some(token) = argument.token {
            reply.bulk("token");
            // The token of nothing, as MIGRATE has it, is shown by its quotes.
            reply.bulk(token.trim_matches('"'));
        }
        if set > 0 {
            reply.bulk("flags");
            reply.set(set);
            for (flag, _) in flags.iter().filter(|(_, on)| *on) {
                reply.simple(flag);
            }
        }
        if let Some(parts) = parts {
            reply.bulk("arguments");
            self.list(reply, parts);
        }
    }

    /// The number of the key specification that the next word for a key belongs to: the words come in the order of the
    /// specifications, and what is left over belongs to the last.
    fn spec(&mut self) -> Option<usize> {
        let named = |(at, spec): (usize, &super::KeySpec)| {
            (spec.begin != Begin::Made && spec.flags & key::NOT_KEY == 0).then_some(at)
        };
        let specs: Vec<usize> = (self.row.keys.iter().enumerate())
            .filter_map(named)
            .collect();
        let at = self.keys.min(specs.len().saturating_sub(1));
        self.keys += 1;
        specs.get(at).copied()
    }

    /// The type of the value that a word stands for.
    fn kind(&self, word: &str) -> &'static str {
        let row = self.row;
        let is = |words: &[&str]| words.contains(&word);
        let by_word = [
            (KEYS, "key"),
            (INTEGERS, "integer"),
            (DOUBLES, "double"),
            (TIMES, "unix-time"),
            (&["pattern"], "pattern"),
        ];
        match word {
            _ if is(KEYS) && row.keys.is_empty() => "string",
            // Ids, and bounds that may be open or are no numbers.
            "start" | "end" if row.group == Group::Stream => "string",
            "start" | "stop" if row.name == "zrange" => "string",
            "min" | "max" if row.name.contains("lex") || row.name == "zrangestore" => "string",
            "min-idle-time" if row.name != "xpending" => "string",
            "increment" if row.name.ends_with("float") => "double",
            "value" if row.group == Group::Bitmap => "integer",
            "timeout" if row.has(flag::BLOCKING) && !row.keys.is_empty() => "double",
            _ => by_word
                .iter()
                .find(|(words, _)| is(words))
                .map_or("string", |(_, kind)| kind),
        }
    }
}

/// What an argument is called: its word, or the words of what it is made of.
fn name(argument: &Argument) -> String {
    match &argument.what {
        What::Token => match argument.token.unwrap_or_default() {
            "=" => "equal".to_owned(),
            "~" => "approximately".to_owned(),
            "*" => "auto-id".to_owned(),
            "$" => "new-id".to_owned(),
            "\"\"" => "empty-string".to_owned(),
            token => token.to_ascii_lowercase(),
        },
        What::Value(word) => (*word).to_owned(),
        What::OneOf(_) | What::Block(_) if argument.token.is_some() => {
            argument.token.unwrap_or_default().to_ascii_lowercase()
        }
        What::OneOf(parts) | What::Block(parts) => {
            let names: Vec<String> = parts.iter().take(3).map(name).collect();
            names.join("-")
        }
    }
}
