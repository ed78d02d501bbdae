//! The question whether a user may run a command.

use super::{Selector, User};
use crate::command::{self, Command, flag};

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No selector allows the command.
    Command,
    /// A key, the argument of this index.
    Key(usize),
    /// A channel, the argument of this index.
    Channel(usize),
}

impl Denied {
    /// How far the check came: of several selectors' refusals, the one that came furthest is told.
    fn rank(self) -> (u8, usize) {
        match self {
            Denied::Command => (0, 0),
            Denied::Key(at) => (1, at),
            Denied::Channel(at) => (2, at),
        }
    }

    /// What is told to whoever runs the command. Keys and channels are not named.
    pub fn message(self, user: &User, row: &Command) -> String {
        match self {
            Denied::Command => of_command(user, row),
            Denied::Key(_) => "No permissions to access a key".into(),
            Denied::Channel(_) => "No permissions to access a channel".into(),
        }
    }

    /// What is told to whoever asks what would be refused.
    pub fn verbose(self, user: &User, row: &Command, args: &[&[u8]]) -> Vec<u8> {
        let (at, what) = match self {
            Denied::Command => return of_command(user, row).into_bytes(),
            Denied::Key(at) => (at, "key"),
            Denied::Channel(at) => (at, "channel"),
        };
        let name = args.get(at).copied().unwrap_or_default();
        let end = format!("' {what}");
        [
            b"User ",
            user.name(),
            b" has no permissions to access the '",
            name,
            end.as_bytes(),
        ]
        .concat()
    }

    /// Why a queued command no longer runs, in EXEC's words.
    pub fn reason(self) -> &'static str {
        match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => {
                "no permission to access one of the channels used as arguments to the command"
            }
        }
    }
}

fn of_command(user: &User, row: &Command) -> String {
    let user = String::from_utf8_lossy(user.name());
    format!(
        "User {user} has no permissions to run the '{}' command",
        row.name
    )
}

/// Whether `user` may run the command of row `row`, whose id is `id`, with these arguments, whose number fits it.
/// Whoever may come in may also say who he is and leave: commands allowed without authentication always are.
///
/// # Errors
/// [`Denied`].
pub fn check(user: &User, row: &Command, id: u16, args: &[&[u8]]) -> Result<(), Denied> {
    let mut keys: Option<Vec<(usize, u32)>> = None;
    let mut worst = Denied::Command;
    for selector in user.selectors() {
        match ask(selector, row, id, args, &mut keys) {
            Ok(()) => return Ok(()),
            Err(denied) if denied.rank() > worst.rank() => worst = denied,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn ask(
    selector: &Selector,
    row: &Command,
    id: u16,
    args: &[&[u8]],
    keys: &mut Option<Vec<(usize, u32)>>,
) -> Result<(), Denied> {
    if !row.has(flag::NO_AUTH) && !selector.allows_command(id, args) {
        return Err(Denied::Command);
    }
    if !selector.allows_all_keys() && !row.keys.is_empty() {
        let keys = keys.get_or_insert_with(|| {
            let mut found = Vec::new();
            command::keys_with_flags(row, args, &mut found);
            found
        });
        for (at, bits) in keys {
            if !selector.allows_key(args[*at], *bits) {
                return Err(Denied::Key(*at));
            }
        }
    }
    if !selector.allows_all_channels()
        && let Some((channels, pattern)) = channels(row)
    {
        for (at, name) in args
            .iter()
            .enumerate()
            .take(channels.end)
            .skip(channels.start)
        {
            if !selector.allows_channel(name, pattern) {
                return Err(Denied::Channel(at));
            }
        }
    }
    Ok(())
}

/// Where a command's channels stand, and whether they are patterns. Whoever unsubscribes is not asked.
fn channels(row: &Command) -> Option<(std::ops::Range<usize>, bool)> {
    match row.name {
        "subscribe" | "ssubscribe" => Some((1..usize::MAX, false)),
        "psubscribe" => Some((1..usize::MAX, true)),
        "publish" | "spublish" => Some((1..2, false)),
        _ => None,
    }
}

/// Whether `user` may use a channel, or subscribe to a pattern of channels. For subscriptions that stand when the
/// user's rules change.
pub fn channel_allowed(user: &User, channel: &[u8], pattern: bool) -> bool {
    let mut selectors = user.selectors().iter();
    selectors.any(|s| s.allows_channel(channel, pattern))
}

/// Why a SORT is refused that `user` may otherwise run: its BY and GET patterns make up the names of the keys they
/// read, so they are for those who may read every key.
pub fn sort_refusal(user: &User, row: &Command, id: u16, args: &[&[u8]]) -> Option<&'static str> {
    if !matches!(row.name, "sort" | "sort_ro") {
        return None;
    }
    let reads_all = user
        .selectors()
        .iter()
        .any(|s| s.reads_every_key() && ask(s, row, id, args, &mut None).is_ok());
    if reads_all {
        return None;
    }
    let mut at = 2;
    while at < args.len() {
        let is = |word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
        at += match args.len() - at - 1 {
            2.. if is("limit") => 3,
            1.. if is("store") => 2,
            1.. if is("by") => {
                if args[at + 1].contains(&b'*') {
                    return Some(
                        "ERR BY option of SORT denied due to insufficient ACL permissions.",
                    );
                }
                2
            }
            1.. if is("get") => {
                return Some("ERR GET option of SORT denied due to insufficient ACL permissions.");
            }
            _ => 1,
        };
    }
    None
}
