//! komar-identity's answer to "whose certificate is this", asked once a Connection.

use std::sync::Arc;

use komar_identity::{IdentityError, IdentityPolicy, check_common_name};

/// What a client certificate says about its owner under the listener's policy.
pub(crate) enum CertificateIdentity {
    /// The user name that it proves.
    Username(Arc<str>),
    /// It proves none, and why.
    None(IdentityError),
}

impl CertificateIdentity {
    /// From the common name alone; `None` if the policy wants more than that.
    pub(crate) fn of_common_name(name: &[u8], policy: &IdentityPolicy) -> Option<CertificateIdentity> {
        match policy {
            IdentityPolicy::CommonName | IdentityPolicy::OnlyCommonName => {}
            _ => return None,
        }
        Some(match check_common_name(name) {
            Ok(name) => CertificateIdentity::Username(name.into()),
            Err(error) => CertificateIdentity::None(error),
        })
    }

    pub(crate) fn of(der: &[u8], policy: &IdentityPolicy) -> CertificateIdentity {
        match policy.identity(der) {
            Ok(name) => CertificateIdentity::Username(name.into()),
            Err(error) => CertificateIdentity::None(error),
        }
    }
}
