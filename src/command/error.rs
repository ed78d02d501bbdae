//! What can go wrong in a command, and the words the client is told: the one place where errors meet
//! the wire. The words are Redis's, since client libraries match on them.

use crate::resp::Reply;
use std::fmt;

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Options or their order make no sense.
    Syntax,
    /// An argument or a value that had to be a 64-bit integer is none.
    NotInteger,
    /// A value that had to be a floating point number is none.
    NotFloat,
    /// The key holds another type.
    WrongType,
    /// The key does not exist, and has to.
    NoSuchKey,
    /// A 64-bit integer would overflow.
    Overflow,
    /// A decrement that has no positive counterpart.
    DecrementOverflow,
    /// A floating point result would be infinite or no number.
    NanOrInfinity,
    /// A negative or overflowing offset.
    Offset,
    /// A string would grow beyond `proto-max-bulk-len`.
    StringTooLong,
    /// A number of a database that does not exist.
    DbIndex,
    /// Source and destination are the same.
    SameObject,
    /// A cursor that SCAN did not give.
    InvalidCursor,
    /// An expiry that is not positive or too far away, in the named command.
    ExpireTime(&'static str),
    /// The wrong number of arguments for the named command.
    Arity(&'static str),
    /// No such command; holds the text.
    UnknownCommand(Box<[u8]>),
    /// No such subcommand; holds the text.
    UnknownSubcommand(Box<[u8]>),
    /// Any other error, its whole text with code.
    Text(&'static str),
    /// Any other error whose text has to be made up, with code.
    Message(Box<[u8]>),
}

impl Error {
    /// The text on the wire, code included, without the leading `-`.
    pub fn text(&self) -> std::borrow::Cow<'_, [u8]> {
        let text: &str = match self {
            Error::Syntax => "ERR syntax error",
            Error::NotInteger => "ERR value is not an integer or out of range",
            Error::NotFloat => "ERR value is not a valid float",
            Error::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Error::NoSuchKey => "ERR no such key",
            Error::Overflow => "ERR increment or decrement would overflow",
            Error::DecrementOverflow => "ERR decrement would overflow",
            Error::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Error::Offset => "ERR offset is out of range",
            Error::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Error::DbIndex => "ERR DB index is out of range",
            Error::SameObject => "ERR source and destination objects are the same",
            Error::InvalidCursor => "ERR invalid cursor",
            Error::ExpireTime(command) => {
                return format!("ERR invalid expire time in '{command}' command")
                    .into_bytes()
                    .into();
            }
            Error::Arity(command) => {
                return format!("ERR wrong number of arguments for '{command}' command")
                    .into_bytes()
                    .into();
            }
            Error::Text(text) => text,
            Error::UnknownCommand(text) | Error::UnknownSubcommand(text) | Error::Message(text) => {
                return text.as_ref().into();
            }
        };
        text.as_bytes().into()
    }

    /// The text's first word, under which INFO errorstats counts it.
    pub fn code(&self) -> String {
        let text = self.text();
        let end = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
        String::from_utf8_lossy(&text[..end]).into_owned()
    }

    /// Writes it as an error reply.
    pub fn write(&self, reply: &mut Reply<'_>) {
        reply.error(self.text());
    }

    /// No command of that name; `args` are shown as far as they fit.
    pub fn unknown_command(args: &[&[u8]]) -> Error {
        let name = args.first().copied().unwrap_or_default();
        let mut text = b"ERR unknown command '".to_vec();
        text.extend_from_slice(up_to_nul(name, 128));
        text.extend_from_slice(b"', with args beginning with: ");
        let start = text.len();
        for arg in args.iter().skip(1) {
            let used = text.len() - start;
            if used >= 128 {
                break;
            }
            text.push(b'\'');
            text.extend_from_slice(up_to_nul(arg, 128 - used));
            text.extend_from_slice(b"' ");
        }
        Error::UnknownCommand(text.into())
    }

    /// The container `name` (as the client wrote it) has no subcommand `sub`.
    pub fn unknown_subcommand(name: &[u8], sub: &[u8]) -> Error {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(up_to_nul(sub, 128));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(&up_to_nul(name, usize::MAX).to_ascii_uppercase());
        text.extend_from_slice(b" HELP.");
        Error::UnknownSubcommand(text.into())
    }

    /// A subcommand was given arguments it does not take; `args` holds at least container and subcommand.
    pub fn subcommand_syntax(args: &[&[u8]]) -> Error {
        let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
        text.extend_from_slice(up_to_nul(args[1], 128));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(&up_to_nul(args[0], 128).to_ascii_uppercase());
        text.extend_from_slice(b" HELP.");
        Error::Message(text.into())
    }

    /// An error with a text made up for the occasion; `text` begins with its code.
    pub fn message(text: impl Into<Vec<u8>>) -> Error {
        Error::Message(text.into().into())
    }
}

/// At most `most` bytes of `s`, and none behind a NUL: such texts are shown as C strings.
pub(super) fn up_to_nul(s: &[u8], most: usize) -> &[u8] {
    let s = &s[..s.len().min(most)];
    match s.iter().position(|&b| b == 0) {
        Some(end) => &s[..end],
        None => s,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_shown_in_part() {
        let long = [b'x'; 300];
        let e = Error::unknown_command(&[b"nope", b"a", &long, b"never"]);
        let text = e.to_string();
        assert!(text.starts_with("ERR unknown command 'nope', with args beginning with: 'a' 'xxx"));
        assert!(!text.contains("never") && text.len() < 200);
        assert_eq!(
            Error::unknown_subcommand(b"config", b"NoPe").to_string(),
            "ERR unknown subcommand 'NoPe'. Try CONFIG HELP."
        );
        assert_eq!(e.code(), "ERR");
        assert_eq!(Error::WrongType.code(), "WRONGTYPE");
    }
}
