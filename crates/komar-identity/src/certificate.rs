//! A parsed view of a certificate.

use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::{IdentityError, attribute, common_name, der, text};

/// A certificate in DER, parsed; borrows the bytes.
///
/// Parsing says nothing about trust: whether a configured authority signed the certificate is checked before, in the
/// handshake.
#[derive(Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    pub(crate) inner: X509Certificate<'a>,
    pub(crate) common_name: Result<&'a str, IdentityError>,
}

impl<'a> Certificate<'a> {
    /// Parses one certificate.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`], [`IdentityError::TrailingData`], and [`IdentityError::UnreadableName`] for a
    /// subject or issuer that OpenSSL does not load either, or loads although DER forbids it: a string in pieces, an empty
    /// set.
    pub fn parse(der: &'a [u8]) -> Result<Self, IdentityError> {
        let (rest, inner) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::TrailingData { length: rest.len() });
        }
        let mut common_name = None;
        check_name(&inner.subject, |oid, value| {
            if common_name.is_none() && oid == attribute::COMMON_NAME {
                common_name = Some(common_name::of(value));
            }
        })?;
        check_name(&inner.issuer, |_, _| {})?;
        Ok(Self {
            der,
            inner,
            common_name: common_name.unwrap_or(Err(IdentityError::NoCommonName)),
        })
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

    /// Serial number in upper-case hexadecimal digits, as `openssl x509 -serial` prints it: a negative one with its sign.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        match self.serial() {
            [0, rest @ ..] if !rest.is_empty() => hex(rest),
            serial @ [0x80..=0xFF, ..] => format!("-{}", hex(&negated(serial))),
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

    /// Whether its basic constraints say CA:TRUE, or cannot be read (RFC 5280 §4.2.1.9).
    #[must_use]
    pub fn is_marked_as_authority(&self) -> bool {
        match self.inner.basic_constraints() {
            Ok(constraints) => constraints.is_some_and(|constraints| constraints.value.ca),
            Err(_) => true,
        }
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

/// Refuses a name of which the parser did not see every attribute (it stops silently at a malformed one, and a name must
/// not end there, nor have more parts than it shows), or one that OpenSSL does not load. Hands out the others' types and values.
fn check_name<'a>(name: &X509Name<'a>, mut each: impl FnMut(&[u8], &Any<'a>)) -> Result<(), IdentityError> {
    let Some((sequence, [])) = der::first(name.as_raw()) else {
        return Err(IdentityError::Malformed);
    };
    let mut seen_sets = name.iter();
    for set in der::elements(sequence.contents) {
        let (set, mut seen) = set
            .filter(|set| set.identifier == 0x31)
            .zip(seen_sets.next().map(|set| set.iter()))
            .ok_or(IdentityError::Malformed)?;
        for element in der::elements(set.contents) {
            let (element, part) = element
                .filter(|element| element.identifier == 0x30)
                .zip(seen.next())
                .ok_or(IdentityError::Malformed)?;
            let (oid, value) = (part.attr_type().as_bytes(), part.attr_value());
            // Nothing behind the value, which the parser drops.
            if value.data.as_ptr_range().end != element.contents.as_ptr_range().end {
                return Err(IdentityError::Malformed);
            }
            if !text::is_readable(value) || !attribute::is_well_formed(oid) {
                return Err(IdentityError::UnreadableName {
                    attribute: attribute::display_name(part.attr_type()),
                });
            }
            each(oid, value);
        }
        if seen.next().is_some() {
            return Err(IdentityError::Malformed);
        }
    }
    match seen_sets.next() {
        None => Ok(()),
        Some(_) => Err(IdentityError::Malformed),
    }
}

/// SHA-256 of a certificate in DER.
#[must_use]
pub fn fingerprint_sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// The absolute value of a negative number in two's complement.
fn negated(number: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut digits: Vec<u8> = number
        .iter()
        .rev()
        .map(|byte| {
            let (digit, more) = (!byte).overflowing_add(u8::from(carry));
            carry = more;
            digit
        })
        .collect();
    // One byte more was for the sign.
    while digits.len() > 1 && digits.last() == Some(&0) {
        digits.pop();
    }
    digits.reverse();
    digits
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_lose_their_sign() {
        for (number, expected) in [
            (&[0xFF][..], "01"),
            (&[0xFB], "05"),
            (&[0x80], "80"),
            (&[0xFF, 0x7F], "81"),
            (&[0xFF, 0x00], "0100"),
            (&[0x80, 0x00], "8000"),
        ] {
            assert_eq!(hex(&negated(number)), expected, "{number:?}");
        }
    }
}
