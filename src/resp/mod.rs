//! RESP2 and RESP3 on the wire: requests in, replies out. Bytes only: no socket, no command.
//!
//! - [`Parser`] finds the commands of an input buffer. It copies nothing (an argument is a range of the
//!   buffer), reads every byte once however the input is cut, and refuses with Redis's words.
//! - [`Reply`] appends replies to an output buffer, in the protocol the client has chosen; what RESP2
//!   lacks is turned into the form Redis gives it there.
//! - [`number`] holds the decimal forms both need.
//!
//! Sources: the RESP2 and RESP3 specifications (redis.io/docs/reference/protocol-spec) and, where they
//! are silent, the observed behaviour of Redis 7.

mod inline;
pub mod number;
mod parse;
mod reply;

pub use crate::limits::Limits;
pub use parse::{Arg, Fault, Parser, Step};
pub use reply::Reply;

/// The protocol a connection speaks: RESP2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// RESP version 2.
    #[default]
    Resp2,
    /// RESP version 3.
    Resp3,
}

impl Proto {
    /// The protocol's number, as HELLO and CLIENT LIST show it.
    pub fn number(self) -> i64 {
        match self {
            Proto::Resp2 => 2,
            Proto::Resp3 => 3,
        }
    }
}
