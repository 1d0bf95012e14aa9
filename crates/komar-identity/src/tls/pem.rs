//! From the bytes of a file to certificates, keys and revocation lists.

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::TlsError;
use crate::text;

/// All certificates of a PEM file, in order; other text and other kinds of sections are skipped.
///
/// `file` is what messages call it.
///
/// # Errors
/// [`TlsError::NoCertificate`], [`TlsError::NotPem`], [`TlsError::DamagedPem`].
pub fn certificates_from_pem(bytes: &[u8], file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = sections(bytes, file)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            file: file.to_owned(),
        });
    }
    Ok(certificates)
}

/// All revocation lists of a PEM file, in order.
///
/// # Errors
/// [`TlsError::NoRevocationList`], [`TlsError::NotPem`], [`TlsError::DamagedPem`].
pub fn revocation_lists_from_pem(
    bytes: &[u8],
    file: &str,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists = sections(bytes, file)?;
    if lists.is_empty() {
        return Err(TlsError::NoRevocationList {
            file: file.to_owned(),
        });
    }
    Ok(lists)
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 (RSA) or SEC1 (EC).
///
/// # Errors
/// [`TlsError::NoKey`], [`TlsError::EncryptedKey`], [`TlsError::NotPem`], [`TlsError::DamagedPem`].
pub fn private_key_from_pem(bytes: &[u8], file: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey {
            file: file.to_owned(),
        });
    }
    sections(bytes, file)?
        .into_iter()
        .next()
        .ok_or_else(|| TlsError::NoKey {
            file: file.to_owned(),
        })
}

fn sections<T: PemObject>(bytes: &[u8], file: &str) -> Result<Vec<T>, TlsError> {
    if matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]) {
        return Err(TlsError::Utf16 {
            file: file.to_owned(),
        });
    }
    // The first line would not be that of a section.
    let bytes = text::without_mark(bytes);
    // A DER sequence; as text it would be the digit 0 in front of the first section.
    if bytes.first() == Some(&0x30) && crate::der::first(bytes).is_some_and(|(_, rest)| rest.is_empty()) {
        return Err(TlsError::NotPem {
            file: file.to_owned(),
        });
    }
    T::pem_slice_iter(bytes)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| TlsError::DamagedPem {
            file: file.to_owned(),
            reason: reason(&error),
        })
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!(
                "the line -----END {}----- is missing",
                String::from_utf8_lossy(end_marker).trim()
            )
        }
        pem::Error::IllegalSectionStart { line } => {
            format!(
                "the line {:?} starts no section",
                String::from_utf8_lossy(line).trim()
            )
        }
        error => error.to_string(),
    }
}
