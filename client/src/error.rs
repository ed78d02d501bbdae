//! What can go wrong, by who must act.

use std::fmt;
use std::io;

/// An error reply: its code (`WRONGTYPE`, `ERR`, `NOAUTH`, ...) and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError(pub(crate) String);

impl ServerError {
    /// First word of the reply: what kind of error it is.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("")
    }
    /// The whole reply, code included.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The caller's: an address, option or file that does not do. Says which, and why.
    Config(String),
    /// No connection to the address.
    Connect {
        /// As given by the caller.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates or TLS versions do not agree, or the other side speaks no TLS.
    Tls(String),
    /// The connection broke. Whether the command was carried out is unknown.
    Io(io::Error),
    /// The server closed the connection. Whether the command was carried out is unknown.
    Closed,
    /// Nothing came back in the time given. Whether the command was carried out is unknown.
    Timeout(&'static str),
    /// The server refused the command.
    Server(ServerError),
    /// What came back is not RESP, or exceeds the limits.
    Protocol(String),
    /// The reply is not of the type asked for.
    Type {
        /// The type asked for.
        wanted: &'static str,
        /// What kind of reply came.
        got: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(what) => f.write_str(what),
            Error::Connect { address, source } => {
                write!(f, "Could not connect to {address}: {source}")
            }
            Error::Tls(why) => write!(f, "TLS handshake failed: {why}"),
            Error::Io(e) => write!(f, "connection lost: {e}"),
            Error::Closed => f.write_str("Server closed the connection"),
            Error::Timeout(what) => write!(f, "timed out: {what}"),
            Error::Server(e) => f.write_str(e.text()),
            Error::Protocol(what) => write!(f, "protocol error in the server's reply: {what}"),
            Error::Type { wanted, got } => write!(f, "the reply is {got}, not {wanted}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io(source) => Some(source),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    /// An error of an open connection; one that TLS raised keeps its reason.
    fn from(e: io::Error) -> Error {
        match e
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(tls) => Error::Tls(explain(tls)),
            None if e.kind() == io::ErrorKind::UnexpectedEof => Error::Closed,
            None => Error::Io(e),
        }
    }
}

/// A TLS error in words that say what to look at.
fn explain(e: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, CertificateError, Error as E};
    let hint = match e {
        E::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "certificate verify failed: it comes from no authority that is trusted here (CA)"
        }
        E::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "certificate verify failed: the server's certificate has expired",
        E::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "certificate verify failed: the server's certificate is not valid yet",
        E::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "certificate verify failed: it is for another name",
        E::InvalidCertificate(_) => "certificate verify failed",
        E::AlertReceived(Alert::CertificateRequired) => "the server wants a client certificate",
        E::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown) => {
            "the server does not accept the client certificate"
        }
        E::AlertReceived(Alert::CertificateExpired) => "the client certificate has expired",
        E::AlertReceived(Alert::ProtocolVersion) => {
            "the server speaks none of the TLS versions allowed here"
        }
        E::InvalidMessage(_) => "what answered speaks no TLS",
        _ => return e.to_string(),
    };
    format!("{hint} ({e})")
}
