//! TLS without a network: one module for each topic, and two with what they share.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::LazyLock;

use rustls::client::ClientConnection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ContentType, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use super::*;
use pair::*;
use pki::*;

mod data;
mod ending;
mod handshake;
mod pair;
mod pki;
mod random;

const WHOLE: usize = usize::MAX;
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
