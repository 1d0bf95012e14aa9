//! Why a client's certificate is refused, where rustls has no error of its own for it.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};
use rustls_pki_types::UnixTime;
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
    /// The certificate, or one above it, is signed in a way that cannot be verified here.
    #[error(
        "the certificate, or its authority's, is signed in a way that is not supported here; use RSA or ECDSA with SHA-256"
    )]
    UnsupportedSignature,
    /// An authority may not vouch for a name of the certificate (RFC 5280 §4.2.1.10), or says which names of a kind it may vouch
    /// for that is not compared here: directory names, e-mail addresses, URIs.
    #[error(
        "a name of the certificate is one that its authority may not vouch for, or of a kind that is not compared here \
         (name constraints)"
    )]
    NameConstraints,
    /// More intermediates than an authority allows (RFC 5280 §4.2.1.9), or than are followed.
    #[error("there are more intermediate authorities between it and the root than are allowed (path length)")]
    PathLength,
    /// webpki refuses it for another reason.
    #[error("{0}")]
    Other(String),
}

impl From<ClientRefusal> for rustls::Error {
    fn from(refusal: ClientRefusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// Why a certificate is refused, as a clause for a person who reads a log: what rustls says has no words of its own for
/// most causes, and shows those of [`ClientRefusal`] only as `Debug` does.
///
/// ```
/// use komar_identity::tls::refusal_reason;
/// use rustls::CertificateError;
/// assert_eq!(refusal_reason(&CertificateError::Revoked), "it is revoked");
/// ```
#[must_use]
pub fn refusal_reason(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Other(inner) => return inner.0.to_string(),
        CertificateError::BadEncoding => "it is malformed",
        CertificateError::UnknownIssuer => "none of the authorities has signed it",
        CertificateError::BadSignature => "an authority has the issuer's name, but has not signed it",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its key usage, extended key usage or Netscape certificate type is not for TLS clients"
        }
        CertificateError::UnhandledCriticalExtension => {
            "it, or its authority, has a critical extension that is unknown here"
        }
        CertificateError::NotValidYet => "it, or its authority, is not valid yet",
        CertificateError::NotValidYetContext { not_before, .. } => {
            return format!(
                "it, or its authority, is not valid yet, but from {}",
                date(*not_before)
            );
        }
        CertificateError::Expired => "it, or its authority, has expired",
        CertificateError::ExpiredContext { not_after, .. } => {
            return format!("it, or its authority, has expired ({})", date(*not_after));
        }
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnknownRevocationStatus => "there is no usable revocation list of its authority",
        CertificateError::ExpiredRevocationList => "the revocation list of its authority has expired",
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            return format!(
                "the revocation list of its authority has expired ({})",
                date(*next_update)
            );
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or its authority, is signed in a way that is unsupported here"
        }
        error => return error.to_string(),
    };
    words.to_owned()
}

fn date(time: UnixTime) -> String {
    super::error::date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_in_words() {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_893_456_000));
        let refusal = rustls::Error::from(ClientRefusal::WeakKey { bits: 1024 });
        let rustls::Error::InvalidCertificate(weak) = refusal else {
            unreachable!("it is made so")
        };
        for (cause, words) in [
            (weak, "RSA key has 1024 bits; make one"),
            (CertificateError::BadEncoding, "malformed"),
            (CertificateError::UnknownIssuer, "none of the authorities"),
            (CertificateError::BadSignature, "has not signed it"),
            (CertificateError::InvalidPurpose, "not for TLS clients"),
            (CertificateError::UnhandledCriticalExtension, "critical extension"),
            (CertificateError::NotValidYet, "not valid yet"),
            (
                CertificateError::NotValidYetContext {
                    time,
                    not_before: time,
                },
                "not valid yet, but from Jan  1 00:00:00 2030 +00:00",
            ),
            (CertificateError::Expired, "its authority, has expired"),
            (
                CertificateError::ExpiredContext {
                    time,
                    not_after: time,
                },
                "has expired (Jan  1 00:00:00 2030 +00:00)",
            ),
            (CertificateError::Revoked, "it is revoked"),
            (
                CertificateError::UnknownRevocationStatus,
                "no usable revocation list",
            ),
            (
                CertificateError::ExpiredRevocationList,
                "list of its authority has expired",
            ),
            (
                CertificateError::ExpiredRevocationListContext {
                    time,
                    next_update: time,
                },
                "list of its authority has expired (Jan",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: Vec::new(),
                    supported_algorithms: Vec::new(),
                },
                "unsupported here",
            ),
        ] {
            let said = refusal_reason(&cause);
            assert!(said.contains(words), "{cause:?}: {said}");
        }
    }
}
