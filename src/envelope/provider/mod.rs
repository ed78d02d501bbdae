//! The one joint to whatever holds Keks: wrap, unwrap, describe.
//!
//! A provider never hands out a Kek. It may be slow (a network away), so it is called at boot and
//! when Deks are made, never in the data path, and never under a lock that the data path takes.

pub mod file;
#[cfg(test)]
pub(crate) mod suite;

use std::fmt;

use zeroize::Zeroizing;

pub use file::FileProvider;

use crate::seal::NoRandomness;

/// Which Kek a provider wraps under just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KekInfo {
    /// The provider's name in the configuration: `file`, `vault`, ...
    pub provider: String,
    /// The Kek's name: a fingerprint or a provider's own identifier, never material.
    pub id: String,
    /// The Kek's version; 1 where the provider has no such thing.
    pub version: u32,
}

impl fmt::Display for KekInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} version {}", self.provider, self.id, self.version)
    }
}

/// A secret wrapped under a Kek. `bytes` mean something only to the provider that made them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    /// The Kek's name.
    pub kek_id: String,
    /// The Kek's version.
    pub kek_version: u32,
    /// The provider's ciphertext.
    pub bytes: Vec<u8>,
}

/// What a holder of Keks must be able to do.
pub trait Provider: Send + Sync {
    /// The Kek that [`Provider::wrap`] uses. Makes no call elsewhere and cannot fail.
    fn describe(&self) -> KekInfo;

    /// Wraps `secret` so that it can be unwrapped only with the same `aad`.
    fn wrap(&self, secret: &[u8], aad: &[u8]) -> Result<Wrapped, ProviderError>;

    /// Unwraps what [`Provider::wrap`] made, if it and `aad` are unaltered.
    fn unwrap(&self, wrapped: &Wrapped, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProviderError>;
}

/// Why a provider did not wrap or unwrap.
#[derive(Debug)]
pub enum ProviderError {
    /// It was wrapped under a Kek this provider does not hold.
    WrongKek {
        /// The Kek it was wrapped under.
        wanted: String,
        /// The Kek the provider holds.
        have: String,
    },
    /// The wrapped bytes, or what they were bound to, were altered.
    Unauthentic,
    /// The wrapped bytes are not of this provider's making; says in what way.
    Malformed(&'static str),
    /// The provider could not be reached or refused; says why and what to do.
    Unavailable(String),
    /// No randomness for a nonce or salt.
    NoRandomness(NoRandomness),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderError::WrongKek { wanted, have } => write!(
                f,
                "wrapped under Kek {wanted}, but the configured Kek is {have}"
            ),
            ProviderError::Unauthentic => {
                f.write_str("the wrapped secret was altered or belongs elsewhere")
            }
            ProviderError::Malformed(what) => write!(f, "the wrapped secret is malformed: {what}"),
            ProviderError::Unavailable(why) => f.write_str(why),
            ProviderError::NoRandomness(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for ProviderError {}

impl From<NoRandomness> for ProviderError {
    fn from(e: NoRandomness) -> ProviderError {
        ProviderError::NoRandomness(e)
    }
}
