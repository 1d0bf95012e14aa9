//! The common name: what `use_identity_as_username` makes the user name.

use x509_parser::asn1_rs::Any;

use crate::{Certificate, IdentityError, attribute, text};

const WHAT: &str = "the common name (CN)";

/// A common name that somebody else has read from a verified certificate, such as a proxy that ends TLS.
///
/// # Errors
/// As [`Certificate::common_name`], as far as they can occur: [`IdentityError::NotUtf8`],
/// [`IdentityError::ForbiddenCharacter`], [`IdentityError::Empty`], [`IdentityError::TooLong`].
pub fn check_common_name(name: &[u8]) -> Result<&str, IdentityError> {
    let name = std::str::from_utf8(name).map_err(|_| IdentityError::NotUtf8 { what: WHAT })?;
    text::user_name(name, WHAT)
}

/// What a value of the attribute is.
pub(crate) fn of<'a>(value: &Any<'a>) -> Result<&'a str, IdentityError> {
    text::verbatim(value, WHAT)
}

impl<'a> Certificate<'a> {
    /// The first common name in DER order, byte for byte. Does not allocate.
    ///
    /// Accepted are UTF8String, PrintableString, IA5String, TeletexString and NumericString whose bytes are UTF-8
    /// without control characters and noncharacters, 1 to 65,535 bytes. Nothing is converted: two certificates that
    /// differ in their bytes never give the same name by transcoding. `#`, `+`, `/`, and blanks are kept.
    ///
    /// # Errors
    /// [`IdentityError::NoCommonName`], [`IdentityError::UnsupportedStringType`], [`IdentityError::NotUtf8`],
    /// [`IdentityError::ForbiddenCharacter`], [`IdentityError::Empty`], [`IdentityError::TooLong`].
    pub fn common_name(&self) -> Result<&'a str, IdentityError> {
        self.common_name.clone()
    }

    /// As [`Certificate::common_name`], and refuses a subject with several.
    ///
    /// Tools disagree on which of several counts, so that whoever signs may not see the name that the broker takes.
    ///
    /// # Errors
    /// Also [`IdentityError::SeveralCommonNames`].
    pub fn only_common_name(&self) -> Result<&'a str, IdentityError> {
        match self.subject_values(attribute::COMMON_NAME).count() {
            0 | 1 => self.common_name(),
            count => Err(IdentityError::SeveralCommonNames { count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_is_held_to_the_same_rules() {
        for (name, expected) in [
            (&b"plc 1/#"[..], Ok("plc 1/#")),
            ("grüße".as_bytes(), Ok("grüße")),
            (b"", Err(IdentityError::Empty { what: WHAT })),
            (b"a\xff", Err(IdentityError::NotUtf8 { what: WHAT })),
            (
                b"a\0",
                Err(IdentityError::ForbiddenCharacter { what: WHAT, code: 0 }),
            ),
        ] {
            assert_eq!(check_common_name(name), expected, "{name:?}");
        }
    }
}
