//! Which arguments are nobody's business: what MONITOR and SLOWLOG show in their place.
//!
//! Source: the Redis command pages of AUTH, HELLO, ACL, CONFIG SET and MIGRATE, and what Redis 7 shows of them.

use super::is_login;
use super::row::{Command, Run};
use super::session::SessionCmd;
use crate::settings;

/// What stands for an argument that is not shown.
pub const REDACTED: &[u8] = b"(redacted)";

/// Redis's settings that are secrets, whether or not they are settings here: who tries to set one means it.
const SECRETS: &[&str] = &[
    "masterauth",
    "masteruser",
    "requirepass",
    "tls-client-key-file-pass",
    "tls-key-file-pass",
];

/// Whether the argument of that index is not to be shown.
pub fn is_secret(row: &Command, args: &[&[u8]], i: usize) -> bool {
    let Run::Session(session) = row.run else {
        return false;
    };
    match session {
        SessionCmd::Auth => i > 0,
        SessionCmd::Hello => {
            let auth = |at: usize| {
                args.get(at)
                    .is_some_and(|w| w.eq_ignore_ascii_case(b"auth"))
            };
            // The name and the password behind AUTH; the word is looked for where an option may stand.
            i >= 3 && (auth(i - 1) || (i >= 4 && auth(i - 2)))
        }
        // Who there is, and what they may, is for administrators.
        SessionCmd::AclSetuser | SessionCmd::AclDeluser | SessionCmd::AclGetuser => i > 1,
        SessionCmd::ConfigSet => i > 2 && i % 2 == 1 && names_secret(args[i - 1]),
        SessionCmd::Migrate => is_login(args, i),
        _ => false,
    }
}

fn names_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    SECRETS.iter().any(|s| s.eq_ignore_ascii_case(&name))
        || settings::row(&name).is_some_and(|row| row.secret)
}

/// A command's arguments as they may be shown.
pub fn redacted<'a>(row: &Command, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let shown = |(i, arg): (usize, &&'a [u8])| match is_secret(row, args, i) {
        true => REDACTED,
        false => arg,
    };
    args.iter().enumerate().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::resolve;

    /// What of a line is shown, with `-` for what is not.
    fn shown(line: &str) -> String {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (row, _) = resolve(&args).unwrap();
        let shown = redacted(row, &args);
        let words = shown.iter().map(|arg| match *arg {
            REDACTED => "-",
            other => std::str::from_utf8(other).unwrap(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_and_users_are_never_shown() {
        for (line, expected) in [
            ("auth sesame", "auth -"),
            ("AUTH name sesame", "AUTH - -"),
            ("hello 3 AUTH name sesame", "hello 3 AUTH - -"),
            (
                "hello 3 setname n auth u sesame",
                "hello 3 setname n auth - -",
            ),
            (
                "hello 3 setname auth auth u sesame",
                "hello 3 setname auth - - -",
            ),
            ("acl SETUSER bob on >sesame", "acl SETUSER - - -"),
            ("acl deluser bob", "acl deluser -"),
            ("acl getuser bob", "acl getuser -"),
            ("acl whoami", "acl whoami"),
            (
                "config set maxmemory 1 RequirePass sesame",
                "config set maxmemory 1 RequirePass -",
            ),
            (
                "config set auth.requirepass sesame timeout 5",
                "config set auth.requirepass - timeout 5",
            ),
            ("config set masterauth sesame", "config set masterauth -"),
            ("config get requirepass", "config get requirepass"),
            (
                "migrate h 1 k 0 0 auth2 u sesame keys",
                "migrate h 1 k 0 0 auth2 - - keys",
            ),
            ("set auth sesame", "set auth sesame"),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
