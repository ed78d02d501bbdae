//! The limits a request has to keep, in one place.
//!
//! The figures are Redis's (`proto-max-bulk-len`, `client-query-buffer-limit` and the fixed bounds of
//! its parser), so that a client that works against Redis meets no new wall here. What differs is what the last of them
//! counts, see [`Limits::request_len`].

/// Largest bulk string, in bytes, unless configured otherwise (Redis: `proto-max-bulk-len`).
pub const BULK_LEN: usize = 512 * 1024 * 1024;
/// Largest number of arguments of one command.
pub const MULTIBULK: usize = i32::MAX as usize;
/// Longest line (an inline command, or a count) in bytes, line end excluded.
pub const INLINE_LEN: usize = 64 * 1024;
/// Largest whole request in bytes (Redis: `client-query-buffer-limit`).
pub const REQUEST_LEN: usize = 1024 * 1024 * 1024;
/// What an argument weighs in a request beside its bytes: what it takes to address it while it is executed.
pub const ARG_WEIGHT: usize = 24;
/// Arguments a client may send before it has authenticated.
pub const UNAUTHENTICATED_MULTIBULK: usize = 10;
/// Bytes a bulk string may hold before its client has authenticated.
pub const UNAUTHENTICATED_BULK_LEN: usize = 16 * 1024;

// An argument is addressed by two `u32`s: a request has to fit well below 4 GiB.
const _: () = assert!(BULK_LEN <= REQUEST_LEN && REQUEST_LEN < u32::MAX as usize / 2);

/// What one connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest bulk string in bytes.
    pub bulk_len: usize,
    /// Largest number of arguments that a command may announce.
    pub multibulk: usize,
    /// Longest line in bytes.
    pub inline_len: usize,
    /// Largest whole request in bytes, with [`ARG_WEIGHT`] for each argument: so the memory that a client takes is bounded
    /// though its arguments are empty.
    pub request_len: usize,
    /// The client still owes a password: [`UNAUTHENTICATED_MULTIBULK`] and
    /// [`UNAUTHENTICATED_BULK_LEN`] bind as well.
    pub unauthenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_len: BULK_LEN,
            multibulk: MULTIBULK,
            inline_len: INLINE_LEN,
            request_len: REQUEST_LEN,
            unauthenticated: false,
        }
    }
}

impl Limits {
    /// The default limits of a client that has still to authenticate.
    pub fn unauthenticated() -> Self {
        Limits {
            unauthenticated: true,
            ..Limits::default()
        }
    }
}
