//! A log of commands, as Redis appends them: RESP arrays of strings, and lines that begin with `#`.
//!
//! Promise: as for all bytes from outside; a command takes no more than a client's may, and no length is believed.

use std::fmt;
use std::io::{self, BufRead};

use crate::limits::{MULTIBULK, REQUEST_LEN};
use crate::resp::number::parse_i64;

/// Longest line: a count, a length, or a note.
const LINE: usize = 1024;
/// How many bytes are taken at a time, so that a length alone takes no memory.
const STEP: usize = 1 << 20;

/// Why a log was not read on.
#[derive(Debug)]
pub enum AofError {
    /// It could not be read.
    Read(io::Error),
    /// It ends within the command or the transaction that begins at this byte.
    Truncated(u64),
    /// What stands at this byte is no command.
    Damaged(u64),
}

impl fmt::Display for AofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AofError::Read(e) => e.fmt(f),
            AofError::Truncated(at) => {
                write!(
                    f,
                    "it ends within the command or transaction that begins at byte {at}"
                )
            }
            AofError::Damaged(at) => write!(f, "what stands at byte {at} is no command"),
        }
    }
}

impl std::error::Error for AofError {}

/// The commands of a log, one after the other.
#[derive(Debug)]
pub struct Commands<R> {
    inner: R,
    at: u64,
    /// Where the command begins that is being read.
    from: u64,
}

impl<R: BufRead> Commands<R> {
    /// Those that `inner` gives, of which `at` bytes were read before.
    pub fn new(inner: R, at: u64) -> Commands<R> {
        Commands {
            inner,
            at,
            from: at,
        }
    }

    /// Where the command began that came last, or that could not be read.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The next command, at least its name; `None` at the end.
    ///
    /// # Errors
    /// Nothing can be read after one.
    // It is no iterator: whoever goes on after an error would take the middle of a command for one.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, AofError> {
        loop {
            self.from = self.at;
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let [mark, rest @ ..] = &line[..] else {
                return Err(AofError::Damaged(self.from));
            };
            match mark {
                b'#' => continue, // when what follows was written
                b'*' => {}
                _ => return Err(AofError::Damaged(self.from)),
            }
            let count = self.number(rest, self.from, MULTIBULK)?;
            if count == 0 {
                return Err(AofError::Damaged(self.from));
            }
            let (mut args, mut room) = (Vec::new(), REQUEST_LEN);
            for _ in 0..count {
                let at = self.at;
                let line = self.line()?.ok_or(AofError::Truncated(self.from))?;
                let len = match &line[..] {
                    [b'$', len @ ..] => self.number(len, at, room)?,
                    _ => return Err(AofError::Damaged(at)),
                };
                // What an argument takes beside its bytes counts too.
                room = room.saturating_sub(len + size_of::<Vec<u8>>());
                args.push(self.bytes(len)?);
                let at = self.at;
                if self.bytes(2)? != b"\r\n" {
                    return Err(AofError::Damaged(at));
                }
            }
            return Ok(Some(args));
        }
    }

    fn number(&self, text: &[u8], at: u64, most: usize) -> Result<usize, AofError> {
        let number = parse_i64(text).and_then(|n| usize::try_from(n).ok());
        let number = number.filter(|&n| n <= most);
        number.ok_or(AofError::Damaged(at))
    }

    /// A line without its end; `None` if nothing is left.
    fn line(&mut self) -> Result<Option<Vec<u8>>, AofError> {
        let start = self.at;
        let mut line = Vec::new();
        let limited = io::Read::take(&mut self.inner, LINE as u64);
        let read = { limited }.read_until(b'\n', &mut line);
        self.at += read.map_err(AofError::Read)? as u64;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(match line.len() + 1 < LINE {
                true => AofError::Truncated(self.from),
                false => AofError::Damaged(start),
            });
        }
        if line.pop() != Some(b'\r') {
            return Err(AofError::Damaged(start));
        }
        Ok(Some(line))
    }

    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, AofError> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let start = bytes.len();
            let more = (len - start).min(STEP.max(start));
            bytes.reserve_exact(more);
            bytes.resize(start + more, 0);
            self.inner
                .read_exact(&mut bytes[start..])
                .map_err(|e| match e.kind() {
                    io::ErrorKind::UnexpectedEof => AofError::Truncated(self.from),
                    _ => AofError::Read(e),
                })?;
            self.at += more as u64;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many commands come, and what ends them.
    fn all(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
        let mut commands = Commands::new(bytes, 0);
        let mut out = Vec::new();
        loop {
            match commands.next() {
                Ok(Some(args)) => out.push(args),
                Ok(None) => return (out, None),
                Err(e) => return (out, Some(e.to_string())),
            }
        }
    }

    const LOG: &[u8] =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n";

    #[test]
    fn commands_come_one_by_one_and_notes_are_passed_over() {
        let (commands, ended) = all(LOG);
        assert_eq!(ended, None);
        let words = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect();
        let wanted: [Vec<Vec<u8>>; 2] = [words(&["SELECT", "0"]), words(&["SET", "a", "\r\n*1"])];
        assert_eq!(commands, wanted);
    }

    #[test]
    fn a_log_that_ends_early_says_where_its_last_command_begins() {
        for at in 0..LOG.len() {
            let (commands, ended) = all(&LOG[..at]);
            let begins = match at {
                0 | 23 | 39 => None,
                1..23 => Some(0),
                24..39 => Some(23),
                _ => Some(39),
            };
            let told = begins.map(|b| {
                format!("it ends within the command or transaction that begins at byte {b}")
            });
            assert_eq!(ended, told, "cut at {at}");
            assert_eq!(commands.len(), usize::from(at >= 23));
        }
    }

    #[test]
    fn what_is_no_command_is_refused_where_it_stands() {
        for (bytes, at) in [
            (&b"SET a b\r\n"[..], 0),
            (b"*0\r\n", 0),
            (b"*-1\r\n", 0),
            (b"*99999999999\r\n", 0),
            (b"*1\n$4\r\nPING\r\n", 0),
            (b"*1\r\n:4\r\n", 4),
            (b"*1\r\n$-1\r\n", 4),
            (b"*1\r\n$1073741825\r\n", 4),
            (b"*1\r\n$4\r\nPINGxx", 12),
            (b"\r\n", 0),
        ] {
            let told = format!("what stands at byte {at} is no command");
            assert_eq!(all(bytes).1, Some(told), "{}", bytes.escape_ascii());
        }
        let long = [b"*", &[b'1'; 2000][..]].concat();
        assert!(all(&long).1.is_some_and(|e| e.contains("no command")));
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..80)) {
            let _ = all(&bytes);
        }
    }
}
