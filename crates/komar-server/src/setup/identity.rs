//! What a client's certificate says about him: the options about it as a policy, and as words.

use std::sync::Arc;

use komar_conf::Listener as Given;
use komar_identity::{AllowList, IdentityPolicy};

use super::SetupError;

/// The policy; `None` if certificates are not mapped to user names, or if `errors` says why it cannot be had.
pub(super) fn policy(given: &Given, errors: &mut Vec<SetupError>) -> Option<IdentityPolicy> {
    let policy = if given.use_subject_as_username && !given.use_identity_as_username {
        IdentityPolicy::Subject
    } else if given.use_identity_as_username || given.require_identity_as_username {
        let policy = given.certificate_identity.parse();
        policy
            .map_err(|error| {
                errors.push(SetupError::CertificateIdentity {
                    port: given.port,
                    identity: given.certificate_identity.clone(),
                    error,
                });
            })
            .ok()?
    } else {
        return None;
    };
    if given.allowed_certificates.is_empty() {
        return Some(policy);
    }
    let list = allow_list(given, errors);
    Some(IdentityPolicy::Listed(Box::new(policy), Arc::new(list)))
}

fn allow_list(given: &Given, errors: &mut Vec<SetupError>) -> AllowList {
    let mut list = AllowList::default();
    let allowed = &given.allowed_certificates;
    allowed.names.iter().for_each(|name| list.add_name(name));
    for fingerprint in &allowed.fingerprints {
        list.add_fingerprint(*fingerprint);
    }
    for folder in &allowed.folders {
        if let Err(error) = list.add_folder(folder) {
            errors.push(SetupError::AllowedCertificates {
                port: given.port,
                error,
            });
        }
    }
    list
}

/// What of the certificate is the identity, in words.
pub(super) fn name(given: &Given) -> String {
    let word = if given.use_subject_as_username && !given.use_identity_as_username {
        "subject"
    } else {
        &given.certificate_identity
    };
    match word {
        "cn" => "common name",
        "single_cn" => "common name, if it has one only,",
        "dns" => "DNS name",
        "uri" => "URI",
        "email" => "e-mail address",
        "upn" => "user principal name",
        "serial" => "serial number",
        "fingerprint" => "SHA-256",
        word => word,
    }
    .to_owned()
}

/// Whom the lists let in, in words; `None` without lists.
pub(super) fn allowed(given: &Given) -> Option<String> {
    let allowed = &given.allowed_certificates;
    let folders = allowed
        .folders
        .iter()
        .map(|folder| format!("those in {}", folder.display()));
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    };
    let parts: Vec<String> = [
        counted(allowed.names.len(), "name"),
        counted(allowed.fingerprints.len(), "fingerprint"),
    ]
    .into_iter()
    .flatten()
    .chain(folders)
    .collect();
    (!parts.is_empty()).then(|| format!("of those certificates only these count: {}", parts.join(", ")))
}
