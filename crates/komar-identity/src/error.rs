//! Why a certificate gives no identity.

use crate::AlternativeNameKind;

/// Why a certificate gives no identity, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The bytes are no X.509 certificate in DER.
    #[error("these bytes are no X.509 certificate in DER; decode a PEM file first")]
    Malformed,
    /// Something follows the certificate.
    #[error("{length} bytes follow the certificate; give one certificate at a time")]
    TrailingData {
        /// Number of bytes after the certificate.
        length: usize,
    },
    /// Subject or issuer hold a value that no implementation could read.
    #[error(
        "attribute {attribute} of the subject or issuer cannot be read; issue the certificate anew with UTF8String"
    )]
    UnreadableName {
        /// Short name or dotted number of the attribute.
        attribute: String,
    },
    /// An extension is not what its definition says, or stands there twice.
    #[error("the extension {extension} is malformed; issue the certificate anew")]
    MalformedExtension {
        /// Name of the extension.
        extension: &'static str,
    },
    /// The subject has no common name.
    #[error(
        "the subject has no common name (CN); issue the certificate anew with one, or use the whole subject"
    )]
    NoCommonName,
    /// The subject has more than one common name, and the policy wants exactly one.
    #[error(
        "the subject has {count} common names (CN), which the policy refuses; issue the certificate anew with one"
    )]
    SeveralCommonNames {
        /// How many there are.
        count: usize,
    },
    /// The value is encoded in a string type whose bytes are not UTF-8.
    #[error(
        "{what} is encoded with ASN.1 tag {tag}, not as UTF-8; issue the certificate anew with UTF8String"
    )]
    UnsupportedStringType {
        /// Which value.
        what: &'static str,
        /// Universal tag number of the encoding.
        tag: u32,
    },
    /// The value is not UTF-8.
    #[error("{what} is not valid UTF-8; issue the certificate anew with UTF8String")]
    NotUtf8 {
        /// Which value.
        what: &'static str,
    },
    /// The value holds a control character or a noncharacter.
    #[error(
        "{what} contains U+{code:04X}, which a user name must not; issue the certificate anew without it"
    )]
    ForbiddenCharacter {
        /// Which value.
        what: &'static str,
        /// The code point.
        code: u32,
    },
    /// The value is empty.
    #[error("{what} is empty; issue the certificate anew with a name")]
    Empty {
        /// Which value.
        what: &'static str,
    },
    /// The value does not fit an MQTT string.
    #[error(
        "{what} has {length} bytes, more than the 65535 of an MQTT user name; issue the certificate anew with a shorter name"
    )]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// There is no subject alternative name of that kind.
    #[error("there is no subject alternative name of kind {kind}; add one, or use another policy")]
    NoAlternativeName {
        /// The kind that the policy asks for.
        kind: AlternativeNameKind,
    },
    /// A template names something that the certificate does not have.
    #[error(
        "the certificate has nothing for {{{placeholder}}} of the template; add it, or change the template"
    )]
    NothingForPlaceholder {
        /// The placeholder without braces.
        placeholder: &'static str,
    },
    /// A value contains the separator of the template, so that two certificates could give one name.
    #[error(
        "the value for {{{placeholder}}} contains {separator:?}, which ends it in the template; use another separator"
    )]
    AmbiguousValue {
        /// The placeholder without braces.
        placeholder: &'static str,
        /// First character of the separator.
        separator: char,
    },
    /// The certificate is valid, but is not on the list.
    #[error("the identity {identity:?} is not on the list of allowed clients; add it if it should be")]
    NotListed {
        /// What the policy derived.
        identity: String,
    },
    /// The user name of CONNECT is not the certificate's identity.
    #[error("the user name is not the identity {identity:?} of the certificate; connect with that user name")]
    UserNameDiffers {
        /// What the policy derived.
        identity: String,
    },
}

/// Why a template is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A brace has no partner.
    #[error("unmatched brace at byte {position}; write {{{{ or }}}} for the character itself")]
    UnmatchedBrace {
        /// Offset in bytes.
        position: usize,
    },
    /// The word in braces is not known.
    #[error("unknown placeholder {{{placeholder}}}; known are {known}")]
    UnknownPlaceholder {
        /// What stood between the braces.
        placeholder: String,
        /// The known ones, separated by blanks.
        known: &'static str,
    },
    /// Two placeholders touch, so that their border cannot be seen in the result.
    #[error("placeholder {{{placeholder}}} follows another one directly; put a separator between them")]
    NoSeparator {
        /// The second placeholder without braces.
        placeholder: &'static str,
    },
    /// All certificates would get the same name.
    #[error("the template has no placeholder, so that all clients would be one user")]
    NoPlaceholder,
}
