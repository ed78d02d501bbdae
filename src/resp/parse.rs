//! From an input buffer to commands: resumable, and linear in the bytes however they are cut.
//!
//! The law: feeding a stream in any pieces gives the same commands and the same fault as feeding it
//! whole. Three things keep it. Every position the parser remembers counts from the start of the
//! command under way, which the owner keeps at `*pos`; bytes looked at once are not looked at again;
//! and a fault depends on the bytes alone, never on where a piece ended.
//!
//! What Redis leaves unchecked stays unchecked: the two bytes after a bulk string, and the byte after a
//! carriage return, are skipped without a look.

use super::{Reply, inline, number};
use crate::limits::{ARG_WEIGHT, Limits, UNAUTHENTICATED_BULK_LEN, UNAUTHENTICATED_MULTIBULK};
use std::fmt;

/// One argument of a command: a range of the connection's input buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Arg {
    /// The argument's bytes in `buf`, the buffer it was parsed from.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..][..self.len as usize]
    }
}

/// What [`Parser::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole command; its arguments (at least one) were pushed.
    Command,
    /// The buffer ends inside a command, or is used up.
    NeedMore,
    /// The stream breaks the protocol: send the text, then close.
    Fault(Fault),
}

/// A breach of the protocol. Displays the text of the error reply, without its leading `-ERR `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The number after `*` is none, or too large.
    MultibulkLength,
    /// Too many arguments before authentication.
    UnauthenticatedMultibulkLength,
    /// The number after `$` is none, negative or too large.
    BulkLength,
    /// Too long an argument before authentication.
    UnauthenticatedBulkLength,
    /// An argument did not begin with `$` but with this byte.
    ExpectedDollar(u8),
    /// No line end within the limit after `*`.
    LongMultibulkCount,
    /// No line end within the limit after `$`.
    LongBulkCount,
    /// No line end within the limit in an inline command.
    LongInline,
    /// An inline command's quotes do not close.
    UnbalancedQuotes,
    /// The whole request is larger than the limit.
    LongRequest,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            Fault::MultibulkLength => "invalid multibulk length",
            Fault::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Fault::BulkLength => "invalid bulk length",
            Fault::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Fault::ExpectedDollar(b) => return write!(f, "expected '$', got '{}'", *b as char),
            Fault::LongMultibulkCount => "too big mbulk count string",
            Fault::LongBulkCount => "too big bulk count string",
            Fault::LongInline => "too big inline request",
            Fault::UnbalancedQuotes => "unbalanced quotes in request",
            Fault::LongRequest => "too big request",
        })
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// Writes the error reply that is sent before the connection is closed.
    pub fn write(self, reply: &mut Reply<'_>) {
        let mut text = b"ERR ".to_vec();
        match self {
            // The byte as it came, be it text or not.
            Fault::ExpectedDollar(b) => {
                text.extend_from_slice(b"Protocol error: expected '$', got '");
                text.extend_from_slice(&[b, b'\'']);
            }
            other => text.extend_from_slice(other.to_string().as_bytes()),
        }
        reply.error(text);
    }
}

/// A cut command's arguments beyond this many are not worth keeping the memory for.
const KEEP_ARGS: usize = 1024;

/// The state between two pieces of input. All positions count from the start of the command under way,
/// so the owner may drop consumed bytes from the front of its buffer without telling the parser, as
/// long as it moves `*pos` along.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arguments still to come; 0 between commands.
    remaining: usize,
    /// The length of the argument under way, once its header has been read.
    bulk: Option<usize>,
    /// The next byte to look at; 0 between commands.
    at: usize,
    /// How many bytes of the line under way are known to hold no line end.
    seen: usize,
    /// Bytes the argument under way still lacks.
    missing: usize,
    /// Arguments found before the command was cut, counted from its start.
    pending: Vec<Arg>,
}

/// What a line with a number in it turned out to be.
enum Line {
    Number(i64, usize),
    NoNumber,
    NeedMore,
    TooLong,
}

impl Parser {
    /// Parses one command of `buf` that starts at `*pos`.
    ///
    /// On [`Step::Command`] its arguments have been pushed to `args` and `*pos` stands behind it. On
    /// [`Step::NeedMore`] `*pos` stands at the start of the unfinished command: the bytes from there on
    /// must be presented again, with more behind them. Blank lines and empty multibulks are skipped.
    /// `buf` is changed only where the words of an inline command are unescaped in place.
    pub fn step(
        &mut self,
        buf: &mut [u8],
        pos: &mut usize,
        args: &mut Vec<Arg>,
        limits: &Limits,
    ) -> Step {
        let before = args.len();
        let step = self.advance(buf, pos, args, limits);
        if let Step::Fault(_) = step {
            args.truncate(before);
            *self = Parser::default();
        }
        step
    }

    /// The number of bytes the argument under way is known to lack (its line end included), so that the
    /// owner can make room for them at once. 0: unknown.
    pub fn wanted(&self) -> usize {
        self.missing
    }

    fn advance(
        &mut self,
        buf: &mut [u8],
        pos: &mut usize,
        args: &mut Vec<Arg>,
        limits: &Limits,
    ) -> Step {
        while self.remaining == 0 {
            match buf.get(*pos) {
                None => return Step::NeedMore,
                Some(b'*') => {}
                Some(_) => match self.inline(buf, pos, args, limits) {
                    Some(step) => return step,
                    None => continue,
                },
            }
            match number_line(buf, *pos + 1, &mut self.seen, limits.inline_len) {
                Line::Number(n, next) => {
                    if n > limits.multibulk as i64 {
                        return Step::Fault(Fault::MultibulkLength);
                    }
                    if limits.unauthenticated && n > UNAUTHENTICATED_MULTIBULK as i64 {
                        return Step::Fault(Fault::UnauthenticatedMultibulkLength);
                    }
                    if n <= 0 {
                        *pos = next;
                    } else {
                        self.remaining = n as usize;
                        self.at = next - *pos;
                    }
                }
                Line::NoNumber => return Step::Fault(Fault::MultibulkLength),
                Line::TooLong => return Step::Fault(Fault::LongMultibulkCount),
                Line::NeedMore => return Step::NeedMore,
            }
        }
        self.bulks(buf, pos, args, limits)
    }

    /// Reads the arguments of a multibulk command.
    fn bulks(&mut self, buf: &[u8], pos: &mut usize, args: &mut Vec<Arg>, limits: &Limits) -> Step {
        let base = *pos;
        let before = args.len();
        // Arguments go straight to their owner, unless the command was cut behind one already.
        let direct = self.pending.is_empty();
        let mut at = base + self.at;
        let most = limits
            .request_len
            .min((u32::MAX as usize).saturating_sub(base));
        self.missing = 0;
        while self.remaining > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let line = match buf.get(at) {
                        None => Line::NeedMore,
                        Some(b'$') => number_line(buf, at + 1, &mut self.seen, limits.inline_len),
                        Some(&b) => return Step::Fault(Fault::ExpectedDollar(b)),
                    };
                    let (n, next) = match line {
                        Line::Number(n, next) => (n, next),
                        Line::NoNumber => return Step::Fault(Fault::BulkLength),
                        Line::TooLong => return Step::Fault(Fault::LongBulkCount),
                        Line::NeedMore => return self.cut(base, at, before, args),
                    };
                    if n < 0 || n > limits.bulk_len as i64 {
                        return Step::Fault(Fault::BulkLength);
                    }
                    if limits.unauthenticated && n > UNAUTHENTICATED_BULK_LEN as i64 {
                        return Step::Fault(Fault::UnauthenticatedBulkLength);
                    }
                    let found = args.len() - before + self.pending.len();
                    if next - base + n as usize + 2 + found * ARG_WEIGHT > most {
                        return Step::Fault(Fault::LongRequest);
                    }
                    at = next;
                    n as usize
                }
            };
            let have = buf.len() - at;
            if have < len + 2 {
                self.bulk = Some(len);
                self.missing = len + 2 - have;
                return self.cut(base, at, before, args);
            }
            self.bulk = None;
            let len = len as u32;
            if direct {
                let start = at as u32;
                args.push(Arg { start, len });
            } else {
                let start = (at - base) as u32;
                self.pending.push(Arg { start, len });
            }
            at += len as usize + 2;
            self.remaining -= 1;
        }
        args.extend(self.pending.drain(..).map(|a| Arg {
            start: a.start + base as u32,
            len: a.len,
        }));
        if self.pending.capacity() > KEEP_ARGS {
            self.pending = Vec::new();
        }
        self.at = 0;
        *pos = at;
        Step::Command
    }

    /// The buffer ended at `at`: takes the arguments found so far back from `args` and remembers them.
    fn cut(&mut self, base: usize, at: usize, before: usize, args: &mut Vec<Arg>) -> Step {
        self.at = at - base;
        self.pending.extend(args.drain(before..).map(|a| Arg {
            start: a.start - base as u32,
            len: a.len,
        }));
        Step::NeedMore
    }

    /// Reads an inline command; `None` if its line is blank.
    fn inline(
        &mut self,
        buf: &mut [u8],
        pos: &mut usize,
        args: &mut Vec<Arg>,
        limits: &Limits,
    ) -> Option<Step> {
        let rest = &buf[*pos..];
        let window = &rest[..rest.len().min(limits.inline_len + 1)];
        let seen = self.seen.min(window.len());
        let Some(found) = window[seen..].iter().position(|&b| b == b'\n') else {
            self.seen = window.len();
            return Some(if window.len() > limits.inline_len {
                Step::Fault(Fault::LongInline)
            } else {
                Step::NeedMore
            });
        };
        let start = *pos;
        let newline = start + seen + found;
        let end = match buf[start..newline].last() {
            Some(b'\r') => newline - 1,
            _ => newline,
        };
        self.seen = 0;
        *pos = newline + 1;
        let before = args.len();
        match inline::split(&mut buf[start..end], start, args) {
            Err(inline::Unbalanced) => Some(Step::Fault(Fault::UnbalancedQuotes)),
            Ok(()) if args.len() == before => None,
            Ok(()) => Some(Step::Command),
        }
    }
}

/// Reads the number between `from` and the next carriage return. `seen` bytes are known to hold none;
/// it is moved on when the line is unfinished.
#[inline]
fn number_line(buf: &[u8], from: usize, seen: &mut usize, most: usize) -> Line {
    let rest = &buf[from..];
    // Almost every line is a few digits and its end.
    let mut n = 0u64;
    let mut i = 0;
    while i < 10 && i < rest.len() {
        let d = rest[i].wrapping_sub(b'0');
        if d > 9 {
            break;
        }
        n = n * 10 + d as u64;
        i += 1;
    }
    let canonical = i == 1 || (i > 1 && rest[0] != b'0');
    if canonical && i + 1 < rest.len() && rest[i] == b'\r' {
        *seen = 0;
        return Line::Number(n as i64, from + i + 2);
    }
    odd_line(rest, from, seen, most)
}

/// [`number_line`] for all that is not short, positive and complete.
#[cold]
fn odd_line(rest: &[u8], from: usize, seen: &mut usize, most: usize) -> Line {
    let window = &rest[..rest.len().min(most + 1)];
    let skip = (*seen).min(window.len());
    let Some(found) = window[skip..].iter().position(|&b| b == b'\r') else {
        *seen = window.len();
        return if window.len() > most {
            Line::TooLong
        } else {
            Line::NeedMore
        };
    };
    let end = skip + found;
    if end + 2 > rest.len() {
        *seen = end;
        return Line::NeedMore;
    }
    *seen = 0;
    match number::parse_i64(&rest[..end]) {
        Some(n) => Line::Number(n, from + end + 2),
        None => Line::NoNumber,
    }
}

#[cfg(test)]
mod tests;
