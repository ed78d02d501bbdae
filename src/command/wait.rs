//! Commands that wait: what one that found nothing says it waits for.
//!
//! A blocking command is tried first like any other. If it finds nothing it calls [`Ctx::wait_for`]: where waiting is
//! allowed, the core that owns the keys notes the client behind those who wait for the same keys already, and tries the
//! command again when one of them has changed; inside a transaction or a script it answers as if the time were up.

use super::string::long_double::LongDouble;
use super::{Ctx, Error};
use crate::resp::Reply;

/// What a command waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How long in milliseconds; `None` is for ever.
    pub timeout: Option<u64>,
    /// The indexes of the keys among the arguments.
    pub keys: Vec<usize>,
    /// The answer when the time is up.
    pub nil: Nil,
    /// The arguments to try it with later, where they are others than now (`XREAD .. $`).
    pub args: Option<Vec<Vec<u8>>>,
}

/// The two spellings of nothing in RESP2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nil {
    /// `*-1`
    Array,
    /// `$-1`
    Bulk,
}

impl Nil {
    /// Writes it.
    pub fn write(self, reply: &mut Reply<'_>) {
        match self {
            Nil::Array => reply.null_array(),
            Nil::Bulk => reply.null(),
        }
    }
}

impl Ctx<'_> {
    /// Waits, or answers with nothing where that is not allowed.
    pub(super) fn wait_for(&mut self, wait: Wait) {
        if self.may_wait {
            self.wait = Some(wait);
        } else {
            wait.nil.write(&mut self.reply);
        }
    }
}

/// A timeout in seconds, as BLPOP takes it: whatever C reads as a `long double`, hexadecimal too. In milliseconds, rounded
/// up, `None` for ever.
pub(super) fn timeout(arg: &[u8]) -> Result<Option<u64>, Error> {
    let wrong = Error::Text("ERR timeout is not a float or out of range");
    let seconds = LongDouble::parse(arg).ok_or(wrong)?;
    let range = Error::Text("ERR timeout is out of range");
    let ms = seconds.thousandfold().ok_or(range.clone())?;
    if ms < 0 {
        return Err(Error::Text("ERR timeout is negative"));
    }
    if ms > i64::MAX / 2 {
        return Err(range);
    }
    Ok((ms > 0).then_some(ms as u64))
}
