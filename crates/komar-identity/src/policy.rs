//! Which part of a certificate is the identity.

use std::str::FromStr;
use std::sync::Arc;

use crate::{
    AllowList, AlternativeNameKind, Certificate, IdentityError, Template, TemplateError, certificate, text,
};

/// Which part of a certificate is the identity, that is the MQTT user name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityPolicy {
    /// The first common name: Mosquitto's `use_identity_as_username`. The default.
    #[default]
    CommonName,
    /// The common name; a subject with several is refused.
    OnlyCommonName,
    /// The subject by RFC 2253 as OpenSSL prints it: Mosquitto's `use_subject_as_username`.
    Subject,
    /// The first subject alternative name of a kind.
    AlternativeName(AlternativeNameKind),
    /// The serial number in upper-case hexadecimal digits. Unique only within one authority.
    Serial,
    /// The SHA-256 of the certificate in lower-case hexadecimal digits.
    Fingerprint,
    /// Text with placeholders.
    Template(Template),
    /// What another policy derives, but only for certificates on a list.
    Listed(Box<IdentityPolicy>, Arc<AllowList>),
}

impl IdentityPolicy {
    /// The identity that a certificate proves. 1 to 65,535 bytes without control characters and noncharacters.
    ///
    /// The caller has made sure that the certificate is valid and that the peer holds its key.
    ///
    /// # Errors
    /// Any [`IdentityError`]: the client is to be refused (CONNACK 4, 0x86 in MQTT 5.0).
    pub fn identity(&self, der: &[u8]) -> Result<String, IdentityError> {
        self.identity_of(&Certificate::parse(der)?)
    }

    /// As [`IdentityPolicy::identity`], for a certificate that is parsed already.
    ///
    /// # Errors
    /// As [`IdentityPolicy::identity`].
    pub fn identity_of(&self, certificate: &Certificate<'_>) -> Result<String, IdentityError> {
        match self {
            Self::CommonName => certificate.common_name().map(str::to_owned),
            Self::OnlyCommonName => certificate.only_common_name().map(str::to_owned),
            Self::Subject => certificate.subject_rfc2253(),
            Self::AlternativeName(kind) => certificate.alternative_name(*kind).map(str::to_owned),
            Self::Serial => Ok(certificate.serial_hex()),
            Self::Fingerprint => Ok(certificate::hex(&certificate.fingerprint_sha256()).to_ascii_lowercase()),
            Self::Template(template) => {
                let name = template.fill(certificate)?;
                text::user_name(&name, "the filled template").map(str::to_owned)
            }
            Self::Listed(policy, list) => {
                let identity = policy.identity_of(certificate)?;
                match list.contains(&identity, certificate) {
                    true => Ok(identity),
                    false => Err(IdentityError::NotListed { identity }),
                }
            }
        }
    }
}

/// The word for a policy in configurations: `cn`, `single_cn`, `subject`, `dns`, `uri`, `email`, `upn`, `serial`,
/// `fingerprint`, or a template such as `{cn}@{o}`.
impl FromStr for IdentityPolicy {
    type Err = TemplateError;

    /// # Errors
    /// For what is no such word: why it is no template either.
    fn from_str(word: &str) -> Result<Self, TemplateError> {
        Ok(match word {
            "cn" => Self::CommonName,
            "single_cn" => Self::OnlyCommonName,
            "subject" => Self::Subject,
            "serial" => Self::Serial,
            "fingerprint" => Self::Fingerprint,
            _ => match AlternativeNameKind::ALL
                .into_iter()
                .find(|kind| kind.word() == word)
            {
                Some(kind) => Self::AlternativeName(kind),
                None => Self::Template(word.parse()?),
            },
        })
    }
}

/// Demands that the user name of CONNECT is the certificate's identity.
///
/// Without this check a stolen password opens an account to everybody who holds any certificate of the authority.
///
/// # Errors
/// [`IdentityError::UserNameDiffers`], also for a CONNECT without a user name.
pub fn require_user_name(identity: &str, user_name: Option<&str>) -> Result<(), IdentityError> {
    match user_name == Some(identity) {
        true => Ok(()),
        false => Err(IdentityError::UserNameDiffers {
            identity: identity.to_owned(),
        }),
    }
}
