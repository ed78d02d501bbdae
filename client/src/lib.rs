//! Client for Ferrite, the encrypted Redis-compatible data server.
//!
//! Connections are TLS unless [`Builder::plaintext`] says otherwise. Any Redis-compatible server will do; replies of
//! both protocol versions come as one [`Value`], or as the type you ask for ([`FromValue`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), ferrite::Error> {
//! let client = ferrite::Client::builder("localhost:6380").ca_file("ferrite-data/dev/ca.crt").connect().await?;
//! client.set("greeting", "hello").await?;
//! let greeting: String = client.get("greeting").await?;
//! let missing: Option<String> = client.get("nothing").await?;
//! let length: i64 = client.command(["STRLEN", "greeting"]).await?;
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod builder;
mod client;
mod decode;
mod error;
mod tls;
mod value;

pub use builder::{Builder, Protocol};
pub use client::Client;
pub use decode::{Decoder, Limits};
pub use error::{Error, ServerError};
pub use value::{FromValue, Value};

/// Result of everything that talks to a server.
pub type Result<T> = std::result::Result<T, Error>;
