//! The network of one core: a ring, the sockets on it, and the TLS inside them.
//!
//! Reading order: [`ring`] (submissions and completions), [`buffers`] (what arrives), [`outbuf`]
//! (what leaves), [`listen`] (sockets), [`tls`] (identities), [`session`] (one TLS connection),
//! [`conn`] (one client).

pub mod buffers;
pub mod conn;
pub mod listen;
pub mod outbuf;
pub mod replies;
pub mod ring;
pub mod session;
pub mod tls;
