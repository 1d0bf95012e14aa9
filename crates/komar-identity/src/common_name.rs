//! The common name: what `use_identity_as_username` makes the user name.

use crate::{Certificate, IdentityError, attribute, text};

const WHAT: &str = "the common name (CN)";

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
        let value = self
            .subject_values(attribute::COMMON_NAME)
            .next()
            .ok_or(IdentityError::NoCommonName)?;
        text::verbatim(value, WHAT)
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
