//! From a client certificate to the identity that it proves.
//!
//! An MQTT broker that asks for client certificates takes the user name from them. This crate reads that name: the
//! common name, the whole subject as OpenSSL prints it, an alternative name, or a template of several; byte for byte
//! as Eclipse Mosquitto does, except that an empty name is refused.
//!
//! ```
//! use komar_identity::{Certificate, IdentityPolicy};
//!
//! # fn der(name: &str) -> Vec<u8> {
//! #     let pem = std::fs::read(format!("{}/tests/data/certs/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
//! #     x509_parser::pem::parse_x509_pem(&pem).unwrap().1.contents
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let der: Vec<u8> = der("multi-rdn"); // what the peer presented in the handshake
//! let certificate = Certificate::parse(&der)?;
//! assert_eq!(certificate.common_name()?, "multi");
//! assert_eq!(certificate.subject_rfc2253()?, "UID=42+CN=multi,O=Acme");
//!
//! let policy = IdentityPolicy::Template("{uid}@{o}".parse()?);
//! assert_eq!(policy.identity(&der)?, "42@Acme");
//! # Ok(()) }
//! ```
//!
//! With the feature `verifier` (off by default) the module [`tls`] makes the rustls configuration of a listener, with a
//! verifier that also accepts the X.509 version 1 certificates that `openssl x509 -req` of OpenSSL 3.0 makes.
//!
//! What this crate does not do:
//! - without `verifier`, decide whether a certificate is to be trusted: that is done in the handshake;
//! - convert text: a common name in Latin-1 or UTF-16 is refused (in a subject it is converted, as OpenSSL does);
//! - read files (but for the folder of [`AllowList::add_folder`]), open sockets, ask OCSP responders or download revocation lists.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod allow_list;
mod alternative_names;
mod attribute;
mod certificate;
mod common_name;
mod der;
mod error;
mod policy;
mod subject;
mod template;
mod text;
#[cfg(feature = "verifier")]
pub mod tls;

pub use allow_list::{AllowList, FolderError};
pub use alternative_names::{AlternativeName, AlternativeNameKind};
pub use certificate::{Certificate, fingerprint_sha256};
pub use common_name::check_common_name;
pub use error::{IdentityError, TemplateError};
pub use policy::{IdentityPolicy, require_user_name};
pub use template::Template;
#[cfg(feature = "verifier")]
pub use tls::{ClientAuthentication, ClientVerifier, ServerTls, TlsError, TlsWarning};
