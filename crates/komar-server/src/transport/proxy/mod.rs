//! The PROXY protocol, versions 1 and 2: before anything else a connection says on whose behalf it was made.
//!
//! Whoever may connect may claim any address and any certificate name. A listener that reads such headers belongs behind
//! its proxies, with their addresses in the list of trusted sources.

mod v1;
mod v2;

use std::net::SocketAddr;

use crate::listener::{ProxyProtocol, ProxyVersion};

/// Reads the header of one connection.
pub(crate) struct Reader {
    version: ProxyVersion,
    /// The header as far as it has come.
    head: Vec<u8>,
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Source,
    /// Set if the client spoke TLS with the proxy (version 2).
    pub(crate) tls: Option<ProxiedTls>,
}

/// Where the client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// The proxy does not say.
    #[default]
    Unknown,
    Network(SocketAddr),
    /// On the proxy's machine, connected to this path.
    Local(String),
}

/// The client's TLS connection with the proxy, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProxiedTls {
    /// The client has presented a certificate, and the proxy has verified it.
    pub(crate) verified_certificate: bool,
    /// Its common name.
    pub(crate) common_name: Option<Vec<u8>>,
    pub(crate) version: Option<String>,
    pub(crate) cipher: Option<String>,
}

/// Why a connection ends at its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("corrupt PROXY header: {0}")]
    Corrupt(&'static str),
    /// The proxy looks whether we are there. No reason for a line in the log.
    #[error("health check of a proxy")]
    HealthCheck,
}

/// Why a connection is refused for what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Demand {
    #[error("client did not connect using TLS")]
    Tls,
    #[error("client did not provide a certificate")]
    Certificate,
}

impl Reader {
    pub(crate) fn new(version: ProxyVersion) -> Reader {
        Reader {
            version,
            head: Vec::new(),
        }
    }

    /// Takes what was read. With the header comes how many of these bytes belong to it; the rest is the connection's.
    ///
    /// # Errors
    ///
    /// The connection is to be closed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<(usize, Header)>, ProxyError> {
        let before = self.head.len();
        let room = MAXIMUM_HEADER.saturating_sub(before);
        self.head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let parsed = match self.version {
            ProxyVersion::V1 => v1::parse(&self.head),
            ProxyVersion::V2 => v2::parse(&self.head),
        };
        Ok(parsed?.map(|(length, header)| (length.saturating_sub(before), header)))
    }
}

impl Header {
    /// Looks whether the header says what the listener demands.
    pub(crate) fn check(&self, demands: &ProxyProtocol) -> Result<(), Demand> {
        if demands.require_tls && self.tls.is_none() {
            return Err(Demand::Tls);
        }
        let verified = self.tls.as_ref().is_some_and(|tls| tls.verified_certificate);
        if demands.require_certificate && !verified {
            return Err(Demand::Certificate);
        }
        Ok(())
    }
}

/// The longest header of either version that is read.
const MAXIMUM_HEADER: usize = v2::PREFIX + v2::MAXIMUM_LENGTH;

#[cfg(test)]
mod tests;
