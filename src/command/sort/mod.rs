//! SORT and SORT_RO: what is asked.
//!
//! Promise: the options are read in one place, so that the command, the search for its keys and the choice of its
//! shards cannot disagree about what is an option and what is an option's argument.
//!
//! BY and GET make up names of keys of the elements, so which keys are read is not known before: a request with such
//! patterns runs with every shard at hand ([`Route::Made`]).
//!
//! Source: the Redis command page of SORT.

mod pattern;
mod run;

use super::row::{Begin, Command, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Ctx, Error};
use crate::resp::number::parse_i64;

const SORT: Command = Command {
    arity: -2,
    acl: acl::SET | acl::SORTEDSET | acl::LIST | acl::DANGEROUS,
    complexity: "O(N + M * log(M)), N being the number of elements and M the number of those that are sorted",
    route: Route::Made,
    ..ON_KEY
};

const SOURCE: KeySpec = KeySpec::one(1, key::RO | key::ACCESS);
const MADE: KeySpec = KeySpec::found(Begin::Made, key::RO | key::ACCESS);

pub(super) const ROWS: &[Command] = &[
    Command {
        name: "sort",
        flags: flag::WRITE | flag::DENYOOM,
        keys: &[
            SOURCE,
            MADE,
            KeySpec::found(Begin::Stored, key::OW | key::UPDATE),
        ],
        since: "1.0.0",
        summary: "Sorts the elements of a list, set or sorted set; returns or stores them.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] \
                 [STORE destination]",
        run: Run::Data(|ctx, args| sort(ctx, args, true)),
        ..SORT
    },
    Command {
        name: "sort_ro",
        flags: flag::READONLY,
        keys: &[SOURCE, MADE],
        since: "7.0.0",
        summary: "Returns the sorted elements of a list, set or sorted set.",
        syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        run: Run::Data(|ctx, args| sort(ctx, args, false)),
        ..SORT
    },
];

/// One option with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice<'a> {
    Asc,
    Desc,
    Alpha,
    Limit(&'a [u8], &'a [u8]),
    By(&'a [u8]),
    Get(&'a [u8]),
    /// The index of the destination among all arguments.
    Store(usize),
    /// None, or without its arguments.
    Odd,
}

/// The options of a request, in order.
fn choices<'a>(args: &'a [&'a [u8]]) -> impl Iterator<Item = Choice<'a>> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let word = args.get(at)?;
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let (next, choice) = match args[at + 1..] {
            _ if is("asc") => (1, Choice::Asc),
            _ if is("desc") => (1, Choice::Desc),
            _ if is("alpha") => (1, Choice::Alpha),
            [offset, count, ..] if is("limit") => (3, Choice::Limit(offset, count)),
            [_, ..] if is("store") => (2, Choice::Store(at + 1)),
            [pattern, ..] if is("by") => (2, Choice::By(pattern)),
            [pattern, ..] if is("get") => (2, Choice::Get(pattern)),
            _ => (1, Choice::Odd),
        };
        at += next;
        Some(choice)
    })
}

/// The index of the key that the result is stored under.
pub(super) fn destination(args: &[&[u8]]) -> Option<usize> {
    let stored = |choice| match choice {
        Choice::Store(at) => Some(at),
        _ => None,
    };
    choices(args).filter_map(stored).last()
}

/// Whether a command of [`Route::Made`] reads keys whose names are made up as it runs.
pub fn makes_up_keys(args: &[&[u8]]) -> bool {
    choices(args).any(|choice| match choice {
        Choice::By(pattern) | Choice::Get(pattern) => pattern::star(pattern).is_some(),
        _ => false,
    })
}

/// A request that makes sense.
#[derive(Debug, Default)]
struct Request<'a> {
    desc: bool,
    alpha: bool,
    /// Offset and count, where a limit is set; a negative count is none.
    limit: Option<(i64, i64)>,
    /// What the elements' weights are found by; themselves if nothing.
    by: Option<&'a [u8]>,
    /// They stay as they come.
    as_is: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

fn parse<'a>(args: &'a [&'a [u8]], may_store: bool) -> Result<Request<'a>, Error> {
    let integer = |text: &[u8]| parse_i64(text).ok_or(Error::NotInteger);
    let mut asked = Request::default();
    for choice in choices(args) {
        match choice {
            Choice::Asc => asked.desc = false,
            Choice::Desc => asked.desc = true,
            Choice::Alpha => asked.alpha = true,
            Choice::Limit(offset, count) => {
                asked.limit = Some((integer(offset)?, integer(count)?));
            }
            Choice::By(pattern) => {
                // Once said, it stays so, whatever pattern follows: as in Redis.
                asked.as_is |= pattern::star(pattern).is_none();
                asked.by = Some(pattern);
            }
            Choice::Get(pattern) => asked.get.push(pattern),
            Choice::Store(at) if may_store => asked.store = Some(args[at]),
            Choice::Store(_) | Choice::Odd => return Err(Error::Syntax),
        }
    }
    Ok(asked)
}

fn sort(ctx: &mut Ctx<'_>, args: &[&[u8]], may_store: bool) -> Result<(), Error> {
    let asked = parse(args, may_store)?;
    run::run(ctx, args[1], asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_patterns_make_up_keys() {
        let makes =
            |line: &str| makes_up_keys(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert!(makes("sort k by w_*"));
        assert!(makes("sort k by nosort get v_*->f"));
        assert!(!makes("sort k by nosort get # limit 0 1 store by*"));
        assert!(!makes("sort k get w"));
        assert!(!makes("sort k limit by w_* store d"));
        assert!(!makes("sort"));
    }
}
