//! Connections that are not served, and why.

use std::fmt;

/// Reasons why a connection is not served, whose protocol tells them in its own way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// It is not encrypted, and has to be.
    ClearText,
    /// It has come to a proxy in clear text, and has to come to it encrypted.
    ProxyInClearText,
    /// Classic clients are not served.
    Classic,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClearText | Self::ProxyInClearText => "this server speaks with other machines by TLS only",
            Self::Classic => "this server does not serve classic clients",
        })
    }
}
