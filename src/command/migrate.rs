//! MIGRATE: what is asked.
//!
//! Promise: the options are read in one place, so that the command, the search for its keys and whoever hides its
//! passwords cannot disagree about what is an option and what is an option's argument.
//!
//! Who carries it out is the connection's core (`worker/migrate.rs`): keys leave for another server over a connection.
//!
//! Source: the Redis command page of MIGRATE.

use std::ops::Range;
use std::time::Duration;

use super::row::{Begin, Command, KeySpec, ON_KEY, Route, Run, acl, flag, key};
use super::{Error, SessionCmd};
use crate::resp::number::parse_i64;

const MOVED: u32 = key::RW | key::ACCESS | key::DELETE;

pub(super) const ROWS: &[Command] = &[Command {
    name: "migrate",
    arity: -6,
    flags: flag::WRITE,
    keys: &[
        KeySpec::found(Begin::Named, MOVED),
        KeySpec {
            last: -1,
            ..KeySpec::found(Begin::Listed, MOVED | key::INCOMPLETE)
        },
    ],
    acl: acl::KEYSPACE | acl::DANGEROUS,
    since: "2.6.0",
    complexity: "O(N), N being the size of the values, here and there",
    tips: &["nondeterministic_output"],
    summary: "Moves keys to another server.",
    syntax: "host port <key | \"\"> destination-db timeout [COPY] [REPLACE] [[AUTH password] | [AUTH2 username password]] \
             [KEYS key [key ...]]",
    route: Route::Keys,
    run: Run::Session(SessionCmd::Migrate),
    ..ON_KEY
}];

/// The first argument that is an option.
const OPTIONS: usize = 6;

/// One option, by where its arguments stand.
enum Choice {
    Copy,
    Replace,
    /// AUTH, or AUTH2.
    Login(Range<usize>),
    Keys(Range<usize>),
}

/// The option at `at`, and where the next one is.
fn choice(args: &[&[u8]], at: usize) -> Option<(Choice, usize)> {
    let word = args.get(at)?;
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let behind = |n: usize| (at + n < args.len()).then_some(at + 1..at + 1 + n);
    if is("copy") {
        Some((Choice::Copy, at + 1))
    } else if is("replace") {
        Some((Choice::Replace, at + 1))
    } else if is("auth") {
        Some((Choice::Login(behind(1)?), at + 2))
    } else if is("auth2") {
        Some((Choice::Login(behind(2)?), at + 3))
    } else if is("keys") {
        Some((Choice::Keys(at + 1..args.len()), args.len()))
    } else {
        None
    }
}

/// Where the keys stand: the one argument, or those behind KEYS.
pub(super) fn key_range(args: &[&[u8]]) -> Range<usize> {
    let mut at = OPTIONS;
    while let Some((choice, next)) = choice(args, at) {
        if let Choice::Keys(range) = choice {
            // With a key before it that is a mistake, which the command tells.
            return if args[3].is_empty() { range } else { 0..0 };
        }
        at = next;
    }
    3..args.len().min(4)
}

/// Whether an argument is a password, or the name of the user it belongs to.
pub fn is_login(args: &[&[u8]], i: usize) -> bool {
    let mut at = OPTIONS;
    while let Some((choice, next)) = choice(args, at) {
        if matches!(choice, Choice::Login(range) if range.contains(&i)) {
            return true;
        }
        at = next;
    }
    // What cannot be read may hold one.
    i >= at && i >= OPTIONS
}

/// A request to move keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration<'a> {
    /// The other server's name or address.
    pub host: &'a [u8],
    /// Its port, as it was given.
    pub port: &'a [u8],
    /// The database there.
    pub db: i64,
    /// How long may pass without anything from there.
    pub timeout: Duration,
    /// The keys stay here, too.
    pub copy: bool,
    /// What the keys hold there is replaced.
    pub replace: bool,
    /// The arguments of AUTH there.
    pub login: &'a [&'a [u8]],
    /// The keys.
    pub keys: &'a [&'a [u8]],
}

/// Reads a request.
///
/// # Errors
/// Those of Redis, in its order.
pub fn migration<'a>(args: &'a [&'a [u8]]) -> Result<Migration<'a>, Error> {
    let (mut copy, mut replace) = (false, false);
    let (mut login, mut keys) = (0..0, 3..4);
    let mut at = OPTIONS;
    while at < args.len() {
        let (choice, next) = choice(args, at).ok_or(Error::Syntax)?;
        match choice {
            Choice::Copy => copy = true,
            Choice::Replace => replace = true,
            Choice::Login(range) => login = range,
            Choice::Keys(_) if !args[3].is_empty() => {
                return Err(Error::Text(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                ));
            }
            Choice::Keys(range) => keys = range,
        }
        at = next;
    }
    let timeout = parse_i64(args[5]).ok_or(Error::NotInteger)?;
    let db = parse_i64(args[4]).ok_or(Error::NotInteger)?;
    let timeout = u64::try_from(timeout).unwrap_or(0);
    Ok(Migration {
        host: args[1],
        port: args[2],
        db,
        timeout: Duration::from_millis(if timeout == 0 { 1000 } else { timeout }),
        copy,
        replace,
        login: &args[login],
        keys: &args[keys],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{keys_of, resolve};

    fn with<R>(line: &str, f: impl FnOnce(&[&[u8]]) -> R) -> R {
        let args: Vec<&[u8]> = line
            .split(' ')
            .map(|word| if word == "''" { b"" } else { word.as_bytes() })
            .collect();
        f(&args)
    }

    #[test]
    fn keys_and_logins_are_where_the_command_finds_them() {
        for (line, keys, logins) in [
            ("migrate h 1 k 0 10", &[3][..], &[][..]),
            ("migrate h 1 '' 0 10", &[3], &[]),
            ("migrate h 1 k 0 10 copy replace", &[3], &[]),
            ("migrate h 1 k 0 10 AUTH keys", &[3], &[7]),
            ("migrate h 1 k 0 10 auth2 u p copy", &[3], &[7, 8]),
            ("migrate h 1 '' 0 10 keys a b", &[7, 8], &[]),
            ("migrate h 1 '' 0 10 auth keys keys auth x", &[9, 10], &[7]),
            ("migrate h 1 k 0 10 keys a b", &[], &[]),
            ("migrate h 1 '' 0 10 keys", &[], &[]),
            ("migrate h 1 k 0 10 nope sesame", &[3], &[6, 7]),
            ("migrate h 1 k 0 10 auth", &[3], &[6]),
        ] {
            with(line, |args| {
                let mut found = Vec::new();
                let (row, _) = resolve(args).unwrap();
                keys_of(row, args, &mut found).unwrap();
                assert_eq!(found, keys, "{line}");
                let hidden: Vec<usize> = (0..args.len()).filter(|&i| is_login(args, i)).collect();
                assert_eq!(hidden, logins, "{line}");
            });
        }
    }

    #[test]
    fn requests_are_read() {
        with("migrate h 1 '' 3 0 copy auth2 u p keys a b", |args| {
            let asked = migration(args).unwrap();
            assert_eq!(
                (asked.host, asked.port, asked.db),
                (&b"h"[..], &b"1"[..], 3)
            );
            assert_eq!((asked.copy, asked.replace), (true, false));
            assert_eq!(asked.timeout, Duration::from_secs(1));
            assert_eq!(asked.login, [&b"u"[..], b"p"]);
            assert_eq!(asked.keys, [&b"a"[..], b"b"]);
        });
        for (line, error) in [
            ("migrate h 1 k 0 x nope", "ERR syntax error"),
            ("migrate h 1 k 0 1 auth2 u", "ERR syntax error"),
            (
                "migrate h 1 k y x",
                "ERR value is not an integer or out of range",
            ),
            (
                "migrate h 1 k 0 1 keys a",
                "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
            ),
        ] {
            with(line, |args| {
                assert_eq!(migration(args).unwrap_err().to_string(), error)
            });
        }
    }
}
