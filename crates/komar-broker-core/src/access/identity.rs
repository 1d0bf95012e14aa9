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
        let refused = |error| Some(CertificateIdentity::None(error));
        match policy {
            IdentityPolicy::CommonName | IdentityPolicy::OnlyCommonName => match check_common_name(name) {
                Ok(name) => Some(CertificateIdentity::Username(name.into())),
                Err(error) => refused(error),
            },
            IdentityPolicy::Listed(policy, list) => match Self::of_common_name(name, policy)? {
                CertificateIdentity::Username(name) if !list.contains_name(&name) => {
                    refused(IdentityError::NotListed {
                        identity: (*name).to_owned(),
                    })
                }
                identity => Some(identity),
            },
            _ => None,
        }
    }

    pub(crate) fn of(der: &[u8], policy: &IdentityPolicy) -> CertificateIdentity {
        match policy.identity(der) {
            Ok(name) => CertificateIdentity::Username(name.into()),
            Err(error) => CertificateIdentity::None(error),
        }
    }
}
