//! What lies between a socket and the protocol: nothing, or TLS.

pub(crate) mod tls;
