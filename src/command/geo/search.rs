//! Looking for places: GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS and GEORADIUSBYMEMBER.

use super::cell::{self, Place, Shape};
use super::{GEO, float, place, unit, write_distance, write_place};
use crate::command::row::{Command, KeySpec, Route, Run, flag, key};
use crate::command::{Ctx, Error, zset};
use crate::resp::number::parse_i64;
use crate::shard::kinds::Collection;
use crate::shard::kinds::zset::Zset;

const SEARCH: Command = Command {
    complexity: "O(N+log(M)), N being the members in the cells around the shape and M those within it",
    ..GEO
};

const WRITES: u32 = flag::WRITE | flag::DENYOOM;
const SOURCE: KeySpec = KeySpec::one(1, key::RO | key::ACCESS);
const TARGET: u32 = key::OW | key::UPDATE;

pub(in crate::command) const ROWS: &[Command] = &[
    Command {
        name: "geosearch",
        arity: -7,
        since: "6.2.0",
        summary: "Returns members within a circle or a box.",
        syntax: "key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        run: Run::Data(|ctx, args| search(ctx, args, From::Options)),
        ..SEARCH
    },
    Command {
        name: "geosearchstore",
        arity: -8,
        flags: WRITES,
        keys: &[
            KeySpec::one(1, TARGET),
            KeySpec::one(2, key::RO | key::ACCESS),
        ],
        since: "6.2.0",
        summary: "Stores members within a circle or a box at another key.",
        syntax: "destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| search(ctx, args, From::OptionsStored)),
        ..SEARCH
    },
    Command {
        name: "georadius",
        arity: -6,
        flags: WRITES,
        keys: &[
            SOURCE,
            KeySpec::option("STORE", 6, TARGET),
            KeySpec::option("STOREDIST", 6, TARGET),
        ],
        summary: "Returns or stores members within a radius of a place.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| search(ctx, args, From::Place { stores: true })),
        ..SEARCH
    },
    Command {
        name: "georadiusbymember",
        arity: -5,
        flags: WRITES,
        keys: &[
            SOURCE,
            KeySpec::option("STORE", 5, TARGET),
            KeySpec::option("STOREDIST", 5, TARGET),
        ],
        summary: "Returns or stores members within a radius of a member.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        route: Route::Keys,
        run: Run::Data(|ctx, args| search(ctx, args, From::Member { stores: true })),
        ..SEARCH
    },
    Command {
        name: "georadius_ro",
        arity: -6,
        since: "3.2.10",
        summary: "Returns members within a radius of a place.",
        syntax: "key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        run: Run::Data(|ctx, args| search(ctx, args, From::Place { stores: false })),
        ..SEARCH
    },
    Command {
        name: "georadiusbymember_ro",
        arity: -5,
        since: "3.2.10",
        summary: "Returns members within a radius of a member.",
        syntax: "key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        run: Run::Data(|ctx, args| search(ctx, args, From::Member { stores: false })),
        ..SEARCH
    },
];

/// Where a command names its centre, and whether it may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// GEOSEARCH
    Options,
    /// GEOSEARCHSTORE
    OptionsStored,
    /// GEORADIUS
    Place { stores: bool },
    /// GEORADIUSBYMEMBER
    Member { stores: bool },
}

/// A command, read.
#[derive(Default)]
struct Asked {
    centre: Option<Place>,
    shape: Option<Shape>,
    /// Metres of the unit of its distances.
    metres: f64,
    with: With,
    /// Nearest first, or farthest.
    ascending: Option<bool>,
    /// At most so many; 0: all.
    count: usize,
    any: bool,
    /// The index of the key that the result is stored at.
    store: Option<usize>,
    store_distance: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct With {
    place: bool,
    distance: bool,
    hash: bool,
}

fn number(text: &[u8], error: &'static str) -> Result<f64, Error> {
    float(text).map_err(|_| Error::Text(error))
}

/// A radius and its unit.
fn circle(radius: &[u8], name: &[u8]) -> Result<(Shape, f64), Error> {
    let radius = number(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(Error::Text("ERR radius cannot be negative"));
    }
    let metres = unit(name)?;
    let radius = radius * metres;
    Ok((Shape::Circle { radius }, metres))
}

/// Width, height and their unit.
fn rectangle(width: &[u8], height: &[u8], name: &[u8]) -> Result<(Shape, f64), Error> {
    let width = number(width, "ERR need numeric width")?;
    let height = number(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::Text("ERR height or width cannot be negative"));
    }
    let metres = unit(name)?;
    let (width, height) = (width * metres, height * metres);
    Ok((Shape::Box { width, height }, metres))
}

/// Where a member is; for no set at all nowhere, which is noticed later.
fn member_place(set: Option<&Zset>, member: &[u8]) -> Result<Place, Error> {
    let Some(set) = set else {
        return Ok(Place::default());
    };
    let missing = Error::Text("ERR could not decode requested zset member");
    set.score(member).map(cell::place).ok_or(missing)
}

impl Asked {
    fn parse(args: &[&[u8]], set: Option<&Zset>, from: From) -> Result<Asked, Error> {
        let mut asked = Asked {
            metres: 1.0,
            ..Asked::default()
        };
        let mut at = match from {
            From::Options => 2,
            From::OptionsStored => {
                asked.store = Some(1);
                3
            }
            From::Place { .. } => {
                asked.centre = Some(place(args[2], args[3])?);
                asked.shape_of(circle(args[4], args[5])?);
                6
            }
            From::Member { .. } => {
                asked.centre = Some(member_place(set, args[2])?);
                // Without a set Redis does not look at the radius.
                if set.is_some() {
                    asked.shape_of(circle(args[3], args[4])?);
                }
                5
            }
        };
        let searches = matches!(from, From::Options | From::OptionsStored);
        let may_store = matches!(
            from,
            From::Place { stores: true } | From::Member { stores: true }
        );
        let (mut by_member, mut by_place, mut boxed) = (false, false, None);
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let behind = &args[at + 1..];
            at += match behind {
                _ if is(b"withdist") => {
                    asked.with.distance = true;
                    1
                }
                _ if is(b"withhash") => {
                    asked.with.hash = true;
                    1
                }
                _ if is(b"withcoord") => {
                    asked.with.place = true;
                    1
                }
                _ if is(b"any") => {
                    asked.any = true;
                    1
                }
                _ if is(b"asc") => {
                    asked.ascending = Some(true);
                    1
                }
                _ if is(b"desc") => {
                    asked.ascending = Some(false);
                    1
                }
                [count, ..] if is(b"count") => {
                    let count = parse_i64(count).ok_or(Error::NotInteger)?;
                    if count <= 0 {
                        return Err(Error::Text("ERR COUNT must be > 0"));
                    }
                    asked.count = count as usize;
                    2
                }
                [_, ..] if may_store && (is(b"store") || is(b"storedist")) => {
                    asked.store = Some(at + 1);
                    asked.store_distance = is(b"storedist");
                    2
                }
                [member, ..] if searches && is(b"frommember") && !by_place => {
                    asked.centre = Some(member_place(set, member)?);
                    by_member = true;
                    2
                }
                [lon, lat, ..] if searches && is(b"fromlonlat") && !by_member => {
                    asked.centre = Some(place(lon, lat)?);
                    by_place = true;
                    3
                }
                [radius, unit, ..] if searches && is(b"byradius") && boxed != Some(true) => {
                    asked.shape_of(circle(radius, unit)?);
                    boxed = Some(false);
                    3
                }
                [width, height, unit, ..] if searches && is(b"bybox") && boxed != Some(false) => {
                    asked.shape_of(rectangle(width, height, unit)?);
                    boxed = Some(true);
                    4
                }
                _ if from == From::OptionsStored && is(b"storedist") => {
                    asked.store_distance = true;
                    1
                }
                _ => return Err(Error::Syntax),
            };
        }
        asked.check(args[0], from, by_member || by_place, boxed.is_some())?;
        Ok(asked)
    }

    fn shape_of(&mut self, (shape, metres): (Shape, f64)) {
        (self.shape, self.metres) = (Some(shape), metres);
    }

    /// What has to hold of the options together. `name` is the command's as the client wrote it.
    fn check(&self, name: &[u8], from: From, centred: bool, shaped: bool) -> Result<(), Error> {
        let searches = matches!(from, From::Options | From::OptionsStored);
        if self.store.is_some() && self.with != With::default() {
            let what = match from {
                From::OptionsStored => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(Error::message(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let name = crate::command::error::up_to_nul(name, usize::MAX);
        let exactly = |what: &str| {
            let text = format!("ERR exactly one of {what} can be specified for ");
            Error::message([text.as_bytes(), name].concat())
        };
        if searches && !centred {
            return Err(exactly("FROMMEMBER or FROMLONLAT"));
        }
        if searches && !shaped {
            return Err(exactly("BYRADIUS and BYBOX"));
        }
        if self.any && self.count == 0 {
            return Err(Error::Text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// What is found, in order.
    fn find<'s>(&self, set: &'s Zset) -> Vec<Found<'s>> {
        let (Some(centre), Some(shape)) = (self.centre, self.shape) else {
            return Vec::new();
        };
        let enough = if self.any { self.count } else { 0 };
        let mut found = Vec::new();
        'cells: for cell in shape.cells(centre) {
            let (min, max) = cell.scores();
            let (from, to) = (set.position(|s, _| s < min), set.position(|s, _| s < max));
            for (member, score) in set.range(from, to, false) {
                let at = cell::place(score);
                if let Some(far) = shape.reach(centre, at) {
                    found.push(Found {
                        member,
                        score,
                        at,
                        far,
                    });
                    if found.len() == enough {
                        break 'cells;
                    }
                }
            }
        }
        let sorted = match self.ascending {
            None if self.count > 0 && !self.any => Some(true),
            asked => asked,
        };
        match sorted {
            Some(true) => found.sort_by(|a, b| a.far.total_cmp(&b.far)),
            Some(false) => found.sort_by(|a, b| b.far.total_cmp(&a.far)),
            None => {}
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }
}

/// A member that was found.
struct Found<'s> {
    member: &'s [u8],
    score: f64,
    at: Place,
    /// Metres from the centre.
    far: f64,
}

fn search(ctx: &mut Ctx<'_>, args: &[&[u8]], from: From) -> Result<(), Error> {
    let source = match from {
        From::OptionsStored => args[2],
        _ => args[1],
    };
    let k = ctx.key(source);
    let set = ctx.ks.read::<Zset>(&k, ctx.now)?;
    let asked = Asked::parse(args, set, from)?;
    let found = set.map(|set| asked.find(set)).unwrap_or_default();
    if let Some(to) = asked.store {
        let score = |found: &Found<'_>| match asked.store_distance {
            true => found.far / asked.metres,
            false => found.score,
        };
        let made = match found.len() {
            0 => Zset::empty(),
            _ => Zset::of_entries(found.iter().map(|found| (score(found), found.member))),
        };
        let to = ctx.key(args[to]);
        let event = match from {
            From::OptionsStored => "geosearchstore",
            _ => "georadiusstore",
        };
        zset::store(ctx, &to, made, event);
        return Ok(());
    }
    let reply = &mut ctx.reply;
    let with = asked.with;
    let more = usize::from(with.distance) + usize::from(with.hash) + usize::from(with.place);
    reply.array(found.len());
    for found in &found {
        if more > 0 {
            reply.array(more + 1);
        }
        reply.bulk(found.member);
        if with.distance {
            write_distance(reply, found.far / asked.metres);
        }
        if with.hash {
            reply.int(found.score as i64);
        }
        if with.place {
            write_place(reply, found.at);
        }
    }
    Ok(())
}
