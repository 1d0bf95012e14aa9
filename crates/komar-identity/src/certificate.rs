//! A parsed view of a certificate.

use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::{IdentityError, attribute, der, text};

/// A certificate in DER, parsed; borrows the bytes.
///
/// Parsing says nothing about trust: whether a configured authority signed the certificate is checked before, in the
/// handshake.
#[derive(Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    pub(crate) inner: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Parses one certificate.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`], [`IdentityError::TrailingData`], and [`IdentityError::UnreadableName`] for a
    /// subject or issuer that OpenSSL does not load either.
    pub fn parse(der: &'a [u8]) -> Result<Self, IdentityError> {
        let (rest, inner) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::TrailingData { length: rest.len() });
        }
        if !is_complete(&inner.subject) || !is_complete(&inner.issuer) {
            return Err(IdentityError::Malformed);
        }
        for part in inner
            .subject
            .iter_attributes()
            .chain(inner.issuer.iter_attributes())
        {
            if text::decode(part.attr_value()).is_err()
                || !attribute::is_well_formed(part.attr_type().as_bytes())
            {
                return Err(IdentityError::UnreadableName {
                    attribute: attribute::display_name(part.attr_type()),
                });
            }
        }
        Ok(Self { der, inner })
    }

    /// The bytes that were parsed.
    #[must_use]
    pub fn der(&self) -> &'a [u8] {
        self.der
    }

    /// Version of X.509: 1, 2 or 3. Version 1 has no extensions, so no alternative names and no key usage.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.inner.version.0.saturating_add(1)
    }

    /// Serial number: the contents of its DER encoding, two's complement, most significant byte first.
    #[must_use]
    pub fn serial(&self) -> &'a [u8] {
        self.inner.tbs_certificate.raw_serial()
    }

    /// Serial number in upper-case hexadecimal digits, as `openssl x509 -serial` prints it.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        match self.serial() {
            [0, rest @ ..] if !rest.is_empty() => hex(rest),
            serial => hex(serial),
        }
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint_sha256(&self) -> [u8; 32] {
        fingerprint_sha256(self.der)
    }

    /// First second of validity, in seconds since 1970 (UTC).
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.inner.validity.not_before.timestamp()
    }

    /// Last second of validity, in seconds since 1970 (UTC).
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.inner.validity.not_after.timestamp()
    }

    /// Whether the certificate is valid at this second since 1970 (UTC).
    #[must_use]
    pub fn is_valid_at(&self, unix: i64) -> bool {
        (self.not_before()..=self.not_after()).contains(&unix)
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_der() == self.issuer_der()
    }

    /// The subject in DER.
    #[must_use]
    pub fn subject_der(&self) -> &'a [u8] {
        self.inner.subject.as_raw()
    }

    /// The issuer in DER.
    #[must_use]
    pub fn issuer_der(&self) -> &'a [u8] {
        self.inner.issuer.as_raw()
    }

    /// The public key with its algorithm (SubjectPublicKeyInfo) in DER.
    #[must_use]
    pub fn public_key_der(&self) -> &'a [u8] {
        self.inner.subject_pki.raw
    }

    /// Values of an attribute of the subject, by the contents of its object identifier, in DER order.
    pub(crate) fn subject_values(&self, oid: &'static [u8]) -> impl Iterator<Item = &Any<'a>> {
        self.inner
            .subject
            .iter_attributes()
            .filter(move |part| part.attr_type().as_bytes() == oid)
            .map(|part| part.attr_value())
    }
}

/// Whether the parser saw every attribute: it stops silently at a malformed one, and a name must not end there.
fn is_complete(name: &X509Name<'_>) -> bool {
    let Some((sequence, [])) = der::first(name.as_raw()) else {
        return false;
    };
    let mut seen = name.iter();
    let all = der::elements(sequence.contents).all(|set| {
        let attributes = set
            .filter(|set| set.identifier == 0x31)
            .and_then(|set| der::count(set.contents, 0x30));
        attributes.is_some() && attributes == seen.next().map(|set| set.iter().count())
    });
    all && seen.next().is_none()
}

/// SHA-256 of a certificate in DER.
#[must_use]
pub fn fingerprint_sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Upper-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(
        String::with_capacity(bytes.len().saturating_mul(2)),
        |mut text, byte| {
            let _ = write!(text, "{byte:02X}"); // writing to a String cannot fail
            text
        },
    )
}
