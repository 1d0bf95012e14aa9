//! The rustls configuration of one listener, and the verifier for its clients' certificates (feature `verifier`).
//!
//! Everything of this crate that mentions rustls is in this module.
//!
//! ```
//! use komar_identity::tls::{self, ClientAuthentication, ServerTls};
//!
//! # fn read(name: &str) -> Vec<u8> {
//! #     std::fs::read(format!("{}/tests/data/v1/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
//! # }
//! # fn main() -> Result<(), tls::TlsError> {
//! let (certificate, key, ca) = (read("broker.crt"), read("broker.key"), read("ca.crt"));
//! let listener = ServerTls::builder(&certificate, &key)
//!     .certificate_label("broker.crt")
//!     .client_authentication(ClientAuthentication::Required {
//!         cas: tls::certificates_from_pem(&ca, "ca.crt")?,
//!         crls: Vec::new(),
//!         ignore_dates: false,
//!     })
//!     .build()?;
//! for warning in listener.warnings() {
//!     eprintln!("{warning}");
//! }
//! let config: std::sync::Arc<rustls::ServerConfig> = listener.config();
//! # let _ = config;
//! # Ok(()) }
//! ```
//!
//! Differences from OpenSSL that remain: the oldest version is TLS 1.2, whatever rustls' provider cannot do is missing
//! (P-521 with ring, Ed448, DSA, RSA-PSS keys and RSA below 2048 bits, SHA-1, critical certificatePolicies, suites without
//! forward secrecy), and names are compared byte by byte.

mod authority;
mod cipher;
mod constraints;
mod copies;
mod error;
mod pem;
mod purpose;
mod refusal;
mod revocation;
mod server;
mod signature;
mod verifier;
mod version_one;

pub use cipher::{CipherSelection, select_cipher_suites};
pub use error::{TlsError, TlsWarning};
pub use pem::{certificates_from_pem, private_key_from_pem, revocation_lists_from_pem};
pub use refusal::{ClientRefusal, refusal_reason};
pub use server::{ClientAuthentication, MinimumVersion, ServerTls, ServerTlsBuilder, default_provider};
pub use signature::is_signed_by;
pub use verifier::ClientVerifier;
