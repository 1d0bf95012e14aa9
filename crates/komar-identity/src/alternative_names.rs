//! Subject alternative names: RFC 5280 §4.2.1.6.

use std::fmt;
use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, FromDer, oid};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;

use crate::{Certificate, IdentityError, text};

/// A kind of subject alternative name that can be an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlternativeNameKind {
    /// A host name (dNSName).
    Dns,
    /// A URI (uniformResourceIdentifier), such as `spiffe://…` or `urn:…`.
    Uri,
    /// An e-mail address (rfc822Name).
    Email,
    /// A user principal name of Windows domains (otherName 1.3.6.1.4.1.311.20.2.3).
    UserPrincipalName,
}

impl AlternativeNameKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Dns, Self::Uri, Self::Email, Self::UserPrincipalName];

    /// The word for it in configurations: `dns`, `uri`, `email` or `upn`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Uri => "uri",
            Self::Email => "email",
            Self::UserPrincipalName => "upn",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Dns => "the alternative name of kind dns",
            Self::Uri => "the alternative name of kind uri",
            Self::Email => "the alternative name of kind email",
            Self::UserPrincipalName => "the alternative name of kind upn",
        }
    }
}

impl fmt::Display for AlternativeNameKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// One subject alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlternativeName<'a> {
    /// A name of a kind that can be an identity.
    Text(AlternativeNameKind, &'a str),
    /// An address.
    Ip(IpAddr),
    /// Any other kind, or one that cannot be read.
    Other,
}

impl<'a> Certificate<'a> {
    /// All subject alternative names in DER order; empty without the extension.
    ///
    /// # Errors
    /// [`IdentityError::MalformedExtension`] if the extension is malformed or stands there twice.
    pub fn alternative_names(&self) -> Result<Vec<AlternativeName<'a>>, IdentityError> {
        let malformed = IdentityError::MalformedExtension {
            extension: "subjectAltName",
        };
        let extension = self
            .inner
            .get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME)
            .map_err(|_| malformed.clone())?;
        match extension.map(|extension| extension.parsed_extension()) {
            None => Ok(Vec::new()),
            Some(ParsedExtension::SubjectAlternativeName(names)) => {
                Ok(names.general_names.iter().map(alternative_name).collect())
            }
            Some(_) => Err(malformed),
        }
    }

    /// The first subject alternative name of a kind, as text that may be a user name.
    ///
    /// # Errors
    /// [`IdentityError::NoAlternativeName`], [`IdentityError::MalformedExtension`], and what
    /// [`Certificate::common_name`] refuses about text.
    pub fn alternative_name(&self, kind: AlternativeNameKind) -> Result<&'a str, IdentityError> {
        let name = self.alternative_names()?.into_iter().find_map(|name| match name {
            AlternativeName::Text(found, text) if found == kind => Some(text),
            _ => None,
        });
        text::user_name(
            name.ok_or(IdentityError::NoAlternativeName { kind })?,
            kind.what(),
        )
    }
}

fn alternative_name<'a>(name: &GeneralName<'a>) -> AlternativeName<'a> {
    match name {
        GeneralName::DNSName(text) => AlternativeName::Text(AlternativeNameKind::Dns, text),
        GeneralName::URI(text) => AlternativeName::Text(AlternativeNameKind::Uri, text),
        GeneralName::RFC822Name(text) => AlternativeName::Text(AlternativeNameKind::Email, text),
        GeneralName::OtherName(id, value) if *id == oid!(1.3.6.1.4.1.311.20.2.3) => principal(value)
            .map_or(AlternativeName::Other, |text| {
                AlternativeName::Text(AlternativeNameKind::UserPrincipalName, text)
            }),
        GeneralName::IPAddress(bytes) => address(bytes).map_or(AlternativeName::Other, AlternativeName::Ip),
        _ => AlternativeName::Other,
    }
}

/// `[0] EXPLICIT UTF8String`
fn principal(value: &[u8]) -> Option<&str> {
    let (_, wrapper) = Any::from_der(value).ok()?;
    let (rest, inner) = Any::from_der(wrapper.data).ok()?;
    let is_text = wrapper.tag().0 == 0 && inner.tag().0 == 12 && rest.is_empty();
    is_text.then(|| std::str::from_utf8(inner.data).ok()).flatten()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
