//! Users and what they may do: rules are read, kept, printed and asked here.
//!
//! Laws. Nothing here does I/O, reads a clock or knows a thread. A user is never changed, only replaced, so whoever
//! holds one holds a whole set of rules. What [`User::rules`] prints reads back as the same user. A password is kept
//! as its SHA-256 and nothing prints more of it than that. What may be done is asked of the command table: a
//! command's bit is the id of its row, its keys stand where the row says and need what the row's flags say; so a
//! command is checked from the day it has a row.
//!
//! Source: Redis's page on ACL and the pages of the ACL commands, version 7.2. Reading order: `selector`, `user`,
//! `users`, `check`, `log`.

mod check;
mod log;
mod selector;
#[cfg(test)]
mod tests;
mod user;
mod users;

use std::fmt;

pub use check::{Denied, channel_allowed, check, sort_refusal};
pub use log::{AclLog, Context, Entry, Event, Reason};
pub use selector::Selector;
pub use user::User;
pub use users::{DEFAULT, SetError, Users};

/// Why a rule is refused. Displays as Redis's words, which clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// It makes no sense.
    Syntax,
    /// No such command or category.
    Unknown,
    /// A pattern of keys where all keys are allowed already.
    AllKeys,
    /// A pattern of channels where all channels are allowed already.
    AllChannels,
    /// The password to be removed is not there.
    NoSuchPassword,
    /// No SHA-256 in lower case hexadecimal.
    BadHash,
    /// A first argument of a subcommand.
    SubcommandArgument,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::Syntax => "Syntax error",
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::AllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::SubcommandArgument => {
                "Allowing first-arg of a subcommand is not supported"
            }
        })
    }
}

impl std::error::Error for RuleError {}

/// Whether a rule or name could not be printed so that it reads back: rules are parted by blanks.
fn has_blanks(text: &[u8]) -> bool {
    text.iter()
        .any(|b| matches!(b, b' ' | b'\t'..=b'\r' | b'\0'))
}
