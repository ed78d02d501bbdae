//! COMMAND and its subcommands, and ACL CAT: the table told to clients.

mod arguments;
pub(super) mod syntax;

use super::glob;
use super::help::help;
use super::row::{Begin, Command, Group, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::table::{self, commands, keys_with_flags, lookup, named, subcommand};
use super::{Ctx, Error};
use crate::resp::Reply;

const ROW: Command = Command {
    flags: flag::LOADING | flag::STALE,
    acl: acl::CONNECTION,
    group: Group::Server,
    since: "2.8.13",
    route: Route::Here,
    syntax: "",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[Command {
    name: "command",
    tips: &["nondeterministic_output_order"],
    arity: -1,
    complexity: "O(N), N being the number of commands",
    summary: "Describes every command; has subcommands for more.",
    run: Run::Data(info),
    subcommands: COMMAND,
    ..ROW
}];

const COMMAND: &[Command] = &[
    Command {
        name: "command|count",
        summary: "Tells the number of commands.",
        run: Run::Data(count),
        ..ROW
    },
    Command {
        name: "command|list",
        tips: &["nondeterministic_output_order"],
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N being the number of commands",
        summary: "Names the commands.",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        run: Run::Data(list),
        ..ROW
    },
    Command {
        name: "command|info",
        tips: &["nondeterministic_output_order"],
        arity: -2,
        complexity: "O(N), N being the number of commands asked for",
        summary: "Describes commands in figures: arity, flags, keys, categories.",
        syntax: "[command-name [command-name ...]]",
        run: Run::Data(info),
        ..ROW
    },
    Command {
        name: "command|docs",
        tips: &["nondeterministic_output_order"],
        arity: -2,
        since: "7.0.0",
        complexity: "O(N), N being the number of commands asked for",
        summary: "Describes commands in words.",
        syntax: "[command-name [command-name ...]]",
        run: Run::Data(docs),
        ..ROW
    },
    Command {
        name: "command|getkeys",
        arity: -3,
        complexity: "O(N), N being the number of arguments",
        summary: "Names the keys among the arguments of a command.",
        syntax: "command [arg [arg ...]]",
        run: Run::Data(|ctx, args| getkeys(ctx, args, false)),
        ..ROW
    },
    Command {
        name: "command|getkeysandflags",
        arity: -3,
        since: "7.0.0",
        complexity: "O(N), N being the number of arguments",
        summary: "Names the keys among the arguments of a command, and what it does with each.",
        syntax: "command [arg [arg ...]]",
        run: Run::Data(|ctx, args| getkeys(ctx, args, true)),
        ..ROW
    },
    Command {
        name: "command|help",
        since: "5.0.0",
        summary: "Lists the subcommands.",
        run: Run::Data(help),
        ..ROW
    },
];

/// The names of the set bits, as a set.
fn names(reply: &mut Reply<'_>, bits: u32, names: &[(u32, &str)], prefix: &str) {
    reply.set(names.iter().filter(|(bit, _)| bits & bit != 0).count());
    for (_, name) in names.iter().filter(|(bit, _)| bits & bit != 0) {
        reply.simple(&format!("{prefix}{name}"));
    }
}

fn count(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    ctx.reply.int(commands().len() as i64);
    Ok(())
}

fn list(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let chosen: Vec<&str> = match args[2..] {
        [] => table::all().map(|row| row.name).collect(),
        [word, by, what] if word.eq_ignore_ascii_case(b"filterby") => {
            let keep: Box<dyn Fn(&Command) -> bool> = if by.eq_ignore_ascii_case(b"module") {
                // There are no modules.
                Box::new(|_| false)
            } else if by.eq_ignore_ascii_case(b"aclcat") {
                let bit = category(what).unwrap_or(0);
                Box::new(move |row| row.categories() & bit != 0)
            } else if by.eq_ignore_ascii_case(b"pattern") {
                Box::new(move |row| glob::matches(what, row.name.as_bytes(), true))
            } else {
                return Err(Error::Syntax);
            };
            table::all()
                .filter(|row| keep(row))
                .map(|row| row.name)
                .collect()
        }
        _ => return Err(Error::Syntax),
    };
    ctx.reply.array(chosen.len());
    for name in chosen {
        ctx.reply.bulk(name);
    }
    Ok(())
}

/// COMMAND and COMMAND INFO.
fn info(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let reply = &mut ctx.reply;
    if args.len() <= 2 {
        reply.array(commands().len());
        commands().iter().for_each(|row| describe(reply, row));
        return Ok(());
    }
    reply.array(args.len() - 2);
    for name in &args[2..] {
        match named(name) {
            Some((row, _)) => describe(reply, row),
            None => reply.null(),
        }
    }
    Ok(())
}

/// First key, last key and step, for clients that know no key specifications: the span of all that stand in fixed
/// places.
fn legacy_keys(specs: &[KeySpec]) -> (i64, i64, i64) {
    let mut fixed = specs.iter().filter_map(|spec| match spec.begin {
        Begin::At(first) => Some((i64::from(first), spec)),
        Begin::Named => Some((3, spec)),
        _ => None,
    });
    let Some((first, spec)) = fixed.next() else {
        return (0, 0, 0);
    };
    let (begin, end) = fixed.next_back().unwrap_or((first, spec));
    let last = match end.last {
        n if n >= 0 => begin + i64::from(n),
        n => i64::from(n),
    };
    (first, last, i64::from(spec.step))
}

fn index(reply: &mut Reply<'_>, at: u8) {
    reply.bulk("index");
    reply.bulk("spec");
    reply.map(1);
    reply.bulk("index");
    reply.int(i64::from(at));
}

fn keyword(reply: &mut Reply<'_>, word: &str, from: i64) {
    reply.bulk("keyword");
    reply.bulk("spec");
    reply.map(2);
    reply.bulk("keyword");
    reply.bulk(word);
    reply.bulk("startfrom");
    reply.int(from);
}

/// Says where a run of keys begins and how far it goes.
fn describe_keys(reply: &mut Reply<'_>, spec: &KeySpec) {
    reply.map(3);
    reply.bulk("flags");
    names(reply, spec.flags, key::NAMES, "");
    reply.bulk("begin_search");
    reply.map(2);
    reply.bulk("type");
    match spec.begin {
        Begin::Stored | Begin::Made => {
            reply.bulk("unknown");
            reply.bulk("spec");
            reply.map(0);
        }
        Begin::At(at) | Begin::Counted(at) => index(reply, at),
        Begin::Named => index(reply, 3),
        Begin::Behind(word, from) | Begin::Each(word, from) => {
            keyword(reply, word, i64::from(from));
        }
        Begin::Listed => keyword(reply, "KEYS", -2),
    }
    reply.bulk("find_keys");
    reply.map(2);
    reply.bulk("type");
    let limit = i64::from(matches!(spec.begin, Begin::Behind(..))) * 2;
    if matches!(spec.begin, Begin::Stored | Begin::Made) {
        reply.bulk("unknown");
        reply.bulk("spec");
        reply.map(0);
        return;
    }
    let numbers: [(&str, i64); 3] = if let Begin::Counted(_) = spec.begin {
        reply.bulk("keynum");
        [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]
    } else {
        reply.bulk("range");
        [
            ("lastkey", i64::from(spec.last)),
            ("keystep", i64::from(spec.step)),
            ("limit", limit),
        ]
    };
    reply.bulk("spec");
    reply.map(numbers.len());
    for (name, value) in numbers {
        reply.bulk(name);
        reply.int(value);
    }
}

/// The flags, and whether the keys are to be looked for rather than counted off.
fn flags(reply: &mut Reply<'_>, row: &Command) {
    let set = || flag::NAMES.iter().filter(|(bit, _)| row.flags & bit != 0);
    let fixed = |spec: &KeySpec| matches!(spec.begin, Begin::At(_));
    let movable = !row.keys.iter().all(fixed);
    reply.set(set().count() + usize::from(movable));
    set().for_each(|(_, name)| reply.simple(name));
    if movable {
        reply.simple("movablekeys");
    }
}

fn describe(reply: &mut Reply<'_>, row: &Command) {
    reply.array(10);
    reply.bulk(row.name);
    reply.int(row.arity as i64);
    flags(reply, row);
    let (first, last, step) = legacy_keys(row.keys);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    names(reply, row.categories(), acl::NAMES, "@");
    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip));
    reply.set(row.keys.len());
    for spec in row.keys {
        describe_keys(reply, spec);
    }
    if row.subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(row.subcommands.len());
        row.subcommands.iter().for_each(|row| describe(reply, row));
    }
}

fn docs(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let rows: Vec<&Command> = match &args[2..] {
        [] => commands().iter().collect(),
        asked => asked
            .iter()
            .filter_map(|name| Some(named(name)?.0))
            .collect(),
    };
    explain(&mut ctx.reply, &rows);
    Ok(())
}

/// Commands that newer ones do the work of: since which version of Redis, and which they are.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("brpoplpush", "6.2.0", "`BLMOVE` with `RIGHT` and `LEFT`"),
    (
        "georadius",
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS`",
    ),
    ("georadius_ro", "6.2.0", "`GEOSEARCH` with `BYRADIUS`"),
    (
        "georadiusbymember",
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`",
    ),
    (
        "georadiusbymember_ro",
        "6.2.0",
        "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`",
    ),
    ("getset", "6.2.0", "`SET` with `GET`"),
    ("hmset", "4.0.0", "`HSET` with several fields"),
    ("psetex", "2.6.12", "`SET` with `PX`"),
    ("quit", "7.2.0", "closing the connection"),
    ("rpoplpush", "6.2.0", "`LMOVE` with `RIGHT` and `LEFT`"),
    ("setex", "2.6.12", "`SET` with `EX`"),
    ("setnx", "2.6.12", "`SET` with `NX`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with `BYLEX`"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with `BYSCORE`"),
    ("zrevrange", "6.2.0", "`ZRANGE` with `REV`"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with `REV` and `BYLEX`"),
    (
        "zrevrangebyscore",
        "6.2.0",
        "`ZRANGE` with `REV` and `BYSCORE`",
    ),
];

fn explain(reply: &mut Reply<'_>, rows: &[&Command]) {
    reply.map(rows.len());
    for row in rows {
        let arguments = arguments::of(row);
        let deprecated = DEPRECATED.iter().find(|(name, ..)| *name == row.name);
        let fields = [
            !arguments.is_empty(),
            row.name == "debug",
            !row.subcommands.is_empty(),
        ];
        let more = fields.iter().filter(|there| **there).count();
        reply.bulk(row.name);
        reply.map(4 + more + 3 * usize::from(deprecated.is_some()));
        for (field, text) in [
            ("summary", row.summary),
            ("since", row.since),
            ("group", row.group.name()),
            ("complexity", row.complexity),
        ] {
            reply.bulk(field);
            reply.bulk(text);
        }
        if row.name == "debug" {
            reply.bulk("doc_flags");
            reply.set(1);
            reply.simple("syscmd");
        }
        if let Some((_, since, instead)) = deprecated {
            reply.bulk("doc_flags");
            reply.set(1);
            reply.simple("deprecated");
            reply.bulk("deprecated_since");
            reply.bulk(since);
            reply.bulk("replaced_by");
            reply.bulk(instead);
        }
        if !arguments.is_empty() {
            reply.bulk("arguments");
            arguments::write(reply, row, &arguments);
        }
        if !row.subcommands.is_empty() {
            reply.bulk("subcommands");
            explain(reply, &row.subcommands.iter().collect::<Vec<_>>());
        }
    }
}

fn getkeys(ctx: &mut Ctx<'_>, args: &[&[u8]], with_flags: bool) -> Result<(), Error> {
    let inner = &args[2..];
    let row = match (lookup(inner[0]), inner.get(1)) {
        (Some((row, id)), Some(sub)) if !row.subcommands.is_empty() => {
            subcommand(row, id, sub).map(|(row, _)| row)
        }
        (found, _) => found.map(|(row, _)| row),
    };
    let row = row.ok_or(Error::Text("ERR Invalid command specified"))?;
    if row.keys.is_empty() {
        return Err(Error::Text("ERR The command has no key arguments"));
    }
    if !row.takes(inner.len()) {
        return Err(Error::Text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let mut keys = Vec::new();
    keys_with_flags(row, inner, &mut keys);
    if keys.is_empty() && !row.has(flag::NO_MANDATORY_KEYS) {
        return Err(Error::Text("ERR Invalid arguments specified for command"));
    }
    ctx.reply.array(keys.len());
    for (at, bits) in keys {
        if with_flags {
            ctx.reply.array(2);
        }
        ctx.reply.bulk(inner[at]);
        if with_flags {
            names(&mut ctx.reply, bits, key::NAMES, "");
        }
    }
    Ok(())
}

/// The bit of an ACL category, by its name in any case.
pub fn category(name: &[u8]) -> Option<u32> {
    acl::NAMES
        .iter()
        .find(|(_, n)| n.as_bytes().eq_ignore_ascii_case(name))
        .map(|(bit, _)| *bit)
}

/// ACL CAT: the categories, or the commands of one.
pub(super) fn acl_cat(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    match args[2..] {
        [] => {
            ctx.reply.array(acl::NAMES.len());
            for (_, name) in acl::NAMES {
                ctx.reply.bulk(name);
            }
        }
        [name] => {
            let bit = category(name).ok_or_else(|| {
                let shown = &name[..name.len().min(128)];
                Error::message([b"ERR Unknown category '", shown, b"'"].concat())
            })?;
            let rows = || table::all().filter(|row| row.categories() & bit != 0);
            ctx.reply.array(rows().count());
            for row in rows() {
                ctx.reply.bulk(row.name);
            }
        }
        _ => return Err(Error::subcommand_syntax(args)),
    }
    Ok(())
}
