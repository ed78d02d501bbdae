//! The small ones that need no key: PING, ECHO, TIME, LOLWUT.

use super::row::{Command, ON_KEY, Route, Run, acl, flag};
use super::{Ctx, Error, Group};
use crate::resp::number::parse_i64;

/// The version of Redis that clients are told, so that they use what there is.
pub const REDIS_VERSION: &str = "7.2.0";

const HERE: Command = Command {
    arity: 1,
    group: Group::Connection,
    since: "1.0.0",
    route: Route::Here,
    syntax: "",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "ping",
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        arity: -1,
        flags: flag::FAST,
        acl: acl::CONNECTION,
        summary: "Answers PONG, or the message given.",
        syntax: "[message]",
        run: Run::Data(ping),
        ..HERE
    },
    Command {
        name: "echo",
        arity: 2,
        flags: flag::LOADING | flag::STALE | flag::FAST,
        acl: acl::CONNECTION,
        summary: "Answers the message given.",
        syntax: "message",
        run: Run::Data(echo),
        ..HERE
    },
    Command {
        name: "time",
        tips: &["nondeterministic_output"],
        flags: flag::LOADING | flag::STALE | flag::FAST,
        group: Group::Server,
        since: "2.6.0",
        summary: "Tells the server's time: Unix seconds, and the microseconds of the second.",
        run: Run::Data(time),
        ..HERE
    },
    Command {
        name: "lolwut",
        arity: -1,
        flags: flag::READONLY | flag::FAST,
        group: Group::Server,
        since: "5.0.0",
        summary: "Draws a crystal and tells the version.",
        syntax: "[VERSION version]",
        run: Run::Data(lolwut),
        ..HERE
    },
];

fn ping(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    match args {
        [_] => ctx.reply.simple("PONG"),
        [_, message] => ctx.reply.bulk(message),
        _ => return Err(Error::Arity("ping")),
    }
    Ok(())
}

fn echo(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    ctx.reply.bulk(args[1]);
    Ok(())
}

fn time(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Result<(), Error> {
    let us = ctx.now_us;
    ctx.reply.array(2);
    ctx.reply.bulk_int((us / 1_000_000) as i64);
    ctx.reply.bulk_int((us % 1_000_000) as i64);
    Ok(())
}

/// A body-centred cubic lattice, as of iron at room temperature, which is called ferrite. Whatever version of the drawing is
/// asked for, and however large: its numbers only have to be numbers.
fn lolwut(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    if let [_, word, version, rest @ ..] = args
        && word.eq_ignore_ascii_case(b"version")
    {
        let version = parse_i64(version).ok_or(Error::NotInteger)?;
        let sizes = match version {
            5 => 3,
            6 => 2,
            _ => 0,
        };
        for size in rest.iter().take(sizes) {
            parse_i64(size).ok_or(Error::NotInteger)?;
        }
    }
    let text = concat!(
        "      o-----------o\n",
        "     /|          /|\n",
        "    / |         / |\n",
        "   o-----------o  |\n",
        "   |  |  (O)   |  |\n",
        "   |  o--------|--o\n",
        "   | /         | /\n",
        "   |/          |/\n",
        "   o-----------o\n",
        "\n",
        "Ferrite ver. ",
        env!("CARGO_PKG_VERSION"),
        "\nRedis ver. "
    );
    ctx.reply
        .verbatim("txt", format!("{text}{REDIS_VERSION}\n"));
    Ok(())
}
