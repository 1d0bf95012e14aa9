//! Which clients may connect, of all those whose certificate is valid.

use std::collections::HashSet;

use crate::{Certificate, IdentityError, certificate};

/// Names and certificates that may connect. An empty list allows nobody.
///
/// A listed certificate is allowed by its fingerprint: a renewed one with the same name is not. Common uses are a list
/// of names, or the folder to which the clients' certificates were copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    names: HashSet<String>,
    fingerprints: HashSet<[u8; 32]>,
}

impl AllowList {
    /// Allows an identity, whatever certificate proves it.
    pub fn add_name(&mut self, identity: impl Into<String>) {
        self.names.insert(identity.into());
    }

    /// Allows one certificate by its SHA-256.
    pub fn add_fingerprint(&mut self, sha256: [u8; 32]) {
        self.fingerprints.insert(sha256);
    }

    /// Allows one certificate in DER.
    ///
    /// # Errors
    /// What [`Certificate::parse`] refuses, so that a file of another kind is noticed when the list is made.
    pub fn add_certificate(&mut self, der: &[u8]) -> Result<(), IdentityError> {
        Certificate::parse(der)?;
        self.add_fingerprint(certificate::fingerprint_sha256(der));
        Ok(())
    }

    /// Number of names and certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len().saturating_add(self.fingerprints.len())
    }

    /// Whether nobody is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the identity or the certificate is listed.
    #[must_use]
    pub fn contains(&self, identity: &str, certificate: &Certificate<'_>) -> bool {
        self.names.contains(identity) || self.fingerprints.contains(&certificate.fingerprint_sha256())
    }
}
