//! Places on the globe, kept in sorted sets: GEOADD, GEOPOS, GEODIST, GEOHASH; `search` looks for places.
//!
//! A place is a member whose score is the number of its cell (`cell`), so every command of sorted sets works on it.

mod cell;
pub(super) mod search;

use super::row::{Command, Group, KeySpec, ON_KEY, Run, acl, flag, key};
use super::zset::{add, score};
use super::{Ctx, Error};
use crate::resp::{Proto, Reply};
use crate::shard::kinds::zset::Zset;
use cell::{Cell, LATITUDE, LONGITUDE, Place};

/// The start of a row of this family: a question about one set.
const GEO: Command = Command {
    flags: flag::READONLY,
    keys: &[KeySpec::one(1, key::RO | key::ACCESS)],
    acl: acl::GEO,
    group: Group::Geo,
    since: "3.2.0",
    ..ON_KEY
};

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: -5,
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[KeySpec::one(1, key::RW | key::UPDATE)],
        complexity: "O(log(N)) a place, N being the number of members",
        summary: "Adds members with their places.",
        syntax: "key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
        run: Run::Data(geoadd),
        ..GEO
    },
    Command {
        name: "geopos",
        arity: -2,
        complexity: "O(N), N being the number of members named",
        summary: "Tells longitude and latitude of members.",
        syntax: "key [member [member ...]]",
        run: Run::Data(geopos),
        ..GEO
    },
    Command {
        name: "geodist",
        arity: -4,
        summary: "Tells the distance of two members.",
        syntax: "key member1 member2 [M | KM | FT | MI]",
        run: Run::Data(geodist),
        ..GEO
    },
    Command {
        name: "geohash",
        arity: -2,
        complexity: "O(N), N being the number of members named",
        summary: "Tells the geohashes of members as text.",
        syntax: "key [member [member ...]]",
        run: Run::Data(geohash),
        ..GEO
    },
];

/// Metres of a unit.
fn unit(text: &[u8]) -> Result<f64, Error> {
    let units: [(&[u8], f64); 4] = [
        (b"m", 1.0),
        (b"km", 1000.0),
        (b"ft", 0.3048),
        (b"mi", 1609.34),
    ];
    let known = units
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    known.map(|(_, metres)| *metres).ok_or(Error::Text(
        "ERR unsupported unit provided. please use M, KM, FT, MI",
    ))
}

fn float(text: &[u8]) -> Result<f64, Error> {
    score::parse(text).ok_or(Error::NotFloat)
}

/// Reads longitude and latitude.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Error> {
    let (lon, lat) = (float(longitude)?, float(latitude)?);
    let within = |at: f64, (min, max): (f64, f64)| min <= at && at <= max;
    if !within(lon, LONGITUDE) || !within(lat, LATITUDE) {
        let text = format!("ERR invalid longitude,latitude pair {lon:.6},{lat:.6}");
        return Err(Error::message(text));
    }
    Ok((lon, lat))
}

/// A distance with four digits behind the point.
fn write_distance(reply: &mut Reply<'_>, far: f64) {
    reply.bulk(format!("{far:.4}"));
}

/// Longitude and latitude with up to seventeen digits behind the point.
fn write_place(reply: &mut Reply<'_>, at: Place) {
    reply.array(2);
    for degrees in [at.0, at.1] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.proto {
            Proto::Resp2 => reply.bulk(text),
            Proto::Resp3 => reply
                .buf
                .extend_from_slice(format!(",{text}\r\n").as_bytes()),
        }
    }
}

fn geoadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let mut options = add::Options::default();
    let mut at = 2;
    while let Some(word) = args.get(at) {
        match word {
            _ if word.eq_ignore_ascii_case(b"nx") => options.nx = true,
            _ if word.eq_ignore_ascii_case(b"xx") => options.xx = true,
            _ if word.eq_ignore_ascii_case(b"ch") => options.ch = true,
            _ => break,
        }
        at += 1;
    }
    let places = &args[at..];
    if places.is_empty() || !places.len().is_multiple_of(3) || (options.nx && options.xx) {
        return Err(Error::Syntax);
    }
    let mut list = Vec::with_capacity(places.len() / 3);
    for one in places.chunks_exact(3) {
        list.push((cell::score(place(one[0], one[1])?), one[2]));
    }
    add::put(ctx, args[1], options, &mut list)
}

fn geopos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let k = ctx.key(args[1]);
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write_place(&mut ctx.reply, cell::place(score)),
            None => ctx.reply.null_array(),
        }
    }
    Ok(())
}

fn geodist(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    let metres = match args[4..] {
        [] => 1.0,
        [name] => unit(name)?,
        _ => return Err(Error::Syntax),
    };
    let k = ctx.key(args[1]);
    let far = ctx.read::<Zset>(&k)?.and_then(|set| {
        let (a, b) = (set.score(args[2])?, set.score(args[3])?);
        Some(cell::distance(cell::place(a), cell::place(b)) / metres)
    });
    match far {
        Some(far) => write_distance(&mut ctx.reply, far),
        None => ctx.reply.null(),
    }
    Ok(())
}

fn geohash(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Result<(), Error> {
    const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let k = ctx.key(args[1]);
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    ctx.reply.array(args.len() - 2);
    for member in &args[2..] {
        let Some(score) = set.and_then(|set| set.score(member)) else {
            ctx.reply.null();
            continue;
        };
        // The text is of a map that reaches to the poles.
        let cell = Cell::on_map(cell::place(score), LONGITUDE, (-90.0, 90.0), cell::FINEST);
        // Eleven letters are 55 bits, of which there are 52: the last says nothing.
        let mut text = [LETTERS[0]; 11];
        for (i, letter) in text[..10].iter_mut().enumerate() {
            *letter = LETTERS[(cell.number() >> (52 - (i + 1) * 5)) as usize & 31];
        }
        ctx.reply.bulk(text);
    }
    Ok(())
}
