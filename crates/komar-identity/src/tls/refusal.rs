//! Why a client's certificate is refused, where rustls has no error of its own for it.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};
use x509_parser::asn1_rs::{Oid, oid};

use super::signature::Algorithms;
use crate::{Certificate, der};

/// Why a client's certificate is refused, where rustls has no error of its own for it.
///
/// It is the inner error of [`rustls::CertificateError::Other`]; the client gets the alert `certificate_unknown`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientRefusal {
    /// The public key is too short.
    #[error("the certificate's RSA key has {bits} bits; make one of 2048 or more")]
    WeakKey {
        /// Its length.
        bits: usize,
    },
    /// The public key is of a kind that cannot be verified here.
    #[error("the certificate's key is of an unsupported kind; use RSA, ECDSA P-256 or P-384, or Ed25519")]
    UnsupportedKey,
    /// The certificate is signed with a broken hash.
    #[error("the certificate is signed with {hash}; sign it anew with SHA-256")]
    WeakHash {
        /// Name of the hash.
        hash: &'static str,
    },
    /// The certificate is a CA, but is used by a client.
    #[error(
        "the certificate is marked as a certificate authority (CA:TRUE); issue a client certificate without that"
    )]
    AuthorityAsClient,
    /// webpki refuses it for another reason.
    #[error("{0}")]
    Other(String),
}

impl From<ClientRefusal> for rustls::Error {
    fn from(refusal: ClientRefusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// Keys and hashes that are refused whoever signed them.
pub(crate) fn weakness(certificate: &Certificate<'_>, algorithms: Algorithms) -> Result<(), ClientRefusal> {
    key_weakness(certificate, algorithms)?;
    let algorithm = &certificate.inner.signature_algorithm.algorithm;
    match WEAK.iter().find(|(weak, _)| weak == algorithm) {
        Some((_, hash)) => Err(ClientRefusal::WeakHash { hash }),
        None => Ok(()),
    }
}

pub(crate) fn key_weakness(
    certificate: &Certificate<'_>,
    algorithms: Algorithms,
) -> Result<(), ClientRefusal> {
    let key = &certificate.inner.subject_pki;
    if key.algorithm.algorithm == oid!(1.2.840.113549.1.1.1) {
        let bits = modulus_bits(&key.subject_public_key.data).ok_or(ClientRefusal::UnsupportedKey)?;
        return if bits < 2048 {
            Err(ClientRefusal::WeakKey { bits })
        } else {
            Ok(())
        };
    }
    let identifier = der::first(key.raw).and_then(|(whole, _)| der::first(whole.contents));
    let known = identifier.is_some_and(|(identifier, _)| {
        algorithms
            .iter()
            .any(|algorithm| algorithm.public_key_alg_id().as_ref() == identifier.contents)
    });
    if known {
        Ok(())
    } else {
        Err(ClientRefusal::UnsupportedKey)
    }
}

/// `SEQUENCE { modulus INTEGER, exponent INTEGER }`
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (sequence, _) = der::first(key)?;
    let (modulus, _) = der::first(sequence.contents)?;
    let start = modulus.contents.iter().position(|byte| *byte != 0)?;
    let significant = modulus.contents.get(start..)?;
    let leading = usize::try_from(significant.first()?.leading_zeros()).ok()?;
    significant.len().checked_mul(8)?.checked_sub(leading)
}

const WEAK: [(Oid<'static>, &str); 7] = [
    (oid!(1.2.840.113549.1.1.2), "MD2"),
    (oid!(1.2.840.113549.1.1.3), "MD4"),
    (oid!(1.2.840.113549.1.1.4), "MD5"),
    (oid!(1.2.840.113549.1.1.5), "SHA-1"),
    (oid!(1.3.14.3.2.29), "SHA-1"),
    (oid!(1.2.840.10045.4.1), "SHA-1"),
    (oid!(1.2.840.10040.4.3), "SHA-1"),
];
