//! The certificates of the CA file: which of them may sign a client's certificate.

use std::collections::HashSet;

use rustls_pki_types::{CertificateDer, TrustAnchor};

use super::signature::{Algorithms, Signed};
use super::{TlsError, TlsWarning, refusal};
use crate::Certificate;

/// Longest chain of intermediates that is followed.
pub(super) const MAXIMUM_DEPTH: usize = 6;

/// A certificate authority of the CA file.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) anchor: TrustAnchor<'static>,
    pub(crate) subject: Vec<u8>,
    issuer: Vec<u8>,
    pub(crate) public_key: Vec<u8>,
    pub(crate) dates: Dates,
    /// Most intermediates between it and a client's certificate.
    pub(crate) path_length: Option<usize>,
    pub(crate) may_sign_lists: bool,
}

/// First and last second of validity since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

/// Somebody who may sign a version 1 certificate directly.
#[derive(Debug)]
pub(crate) struct DirectIssuer<'a> {
    pub(crate) authority: &'a Authority,
    /// Its own dates and those of everybody up to the root.
    pub(crate) dates: Vec<Dates>,
}

#[derive(Debug)]
pub(crate) struct Authorities {
    /// Self-issued: chains end here.
    pub(crate) roots: Vec<Authority>,
    /// Issued by others: they help to build a chain, and are trusted only as part of one.
    pub(crate) intermediates: Vec<Authority>,
    /// Self-issued certificates of the file in DER: each is trusted as itself, whatever it may sign.
    pub(crate) listed: HashSet<Vec<u8>>,
}

impl Authorities {
    /// Sorts the certificates of a CA file.
    pub(crate) fn new(
        certificates: Vec<CertificateDer<'static>>,
        file: &str,
        algorithms: Algorithms,
        warnings: &mut Vec<TlsWarning>,
    ) -> Result<Self, TlsError> {
        let mut authorities = Self {
            roots: Vec::new(),
            intermediates: Vec::new(),
            listed: HashSet::new(),
        };
        let mut problems = Vec::new();
        for (index, der) in certificates.into_iter().enumerate() {
            let certificate = Certificate::parse(&der).map_err(|source| TlsError::MalformedCertificate {
                file: file.to_owned(),
                number: index.saturating_add(1),
                source,
            })?;
            let is_self_issued = certificate.is_self_issued();
            if is_self_issued {
                authorities.listed.insert(der.to_vec());
            }
            match Authority::new(&certificate, algorithms) {
                Ok(authority) if is_self_issued => authorities.roots.push(authority),
                Ok(authority) => authorities.intermediates.push(authority),
                Err(reason) => {
                    let subject = certificate.subject_rfc4514().unwrap_or_default();
                    problems.push(TlsWarning::NotAnAuthority {
                        file: file.to_owned(),
                        subject,
                        reason,
                    });
                }
            }
        }
        if authorities.listed.is_empty() {
            problems.extend(authorities.intermediates.iter().map(|authority| TlsWarning::NotAnAuthority {
                file: file.to_owned(),
                subject: authority.name(),
                reason: "it is an intermediate, and the root that signed it is not in the file; add the root",
            }));
            return Err(TlsError::NoAuthority {
                file: file.to_owned(),
                problems,
            });
        }
        warnings.extend(problems);
        Ok(authorities)
    }

    /// All that may sign, roots first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Authority> {
        self.roots.iter().chain(&self.intermediates)
    }

    /// Who in the file has this name and may sign a client's certificate directly, without any other intermediate.
    pub(crate) fn direct_issuers(&self, issuer: &[u8], algorithms: Algorithms) -> Vec<DirectIssuer<'_>> {
        let mut found = Vec::new();
        for authority in self.iter().filter(|authority| authority.subject == issuer) {
            let mut dates = Vec::new();
            if self.leads_to_root(authority, 0, algorithms, &mut dates) {
                found.push(DirectIssuer { authority, dates });
            }
        }
        found
    }

    fn leads_to_root(
        &self,
        authority: &Authority,
        depth: usize,
        algorithms: Algorithms,
        dates: &mut Vec<Dates>,
    ) -> bool {
        // A version 1 certificate cannot be held against name constraints, since it has no alternative names.
        let allowed = authority.path_length.is_none_or(|most| depth <= most)
            && authority.anchor.name_constraints.is_none();
        if !allowed || depth > MAXIMUM_DEPTH {
            return false;
        }
        dates.push(authority.dates);
        if authority.subject == authority.issuer {
            return true;
        }
        let length = dates.len();
        self.iter().any(|above| {
            dates.truncate(length);
            above.subject == authority.issuer
                && Signed::parse(&authority.der)
                    .is_some_and(|signed| signed.verify(&above.public_key, algorithms).is_ok())
                && self.leads_to_root(above, depth.saturating_add(1), algorithms, dates)
        })
    }
}

impl Authority {
    /// The facts, or why it signs no client certificates.
    fn new(certificate: &Certificate<'_>, algorithms: Algorithms) -> Result<Self, &'static str> {
        let inner = &certificate.inner;
        let malformed = "an extension is malformed";
        let constraints = inner
            .basic_constraints()
            .map_err(|_| malformed)?
            .map(|found| found.value);
        let usage = inner.key_usage().map_err(|_| malformed)?.map(|found| found.value);
        let purposes = inner
            .extended_key_usage()
            .map_err(|_| malformed)?
            .map(|found| found.value);
        match (certificate.version(), constraints, usage) {
            // Before version 3 nothing could say that a certificate is a CA: a self-issued one is taken for it.
            (1, ..) if certificate.is_self_issued() => {}
            (1, ..) => {
                return Err(
                    "it is an intermediate of X.509 version 1, which says nothing of being one; make it anew",
                );
            }
            (_, Some(constraints), _) if !constraints.ca => {
                return Err("it is no certificate authority (CA:FALSE)");
            }
            (_, _, Some(usage)) if !usage.key_cert_sign() => {
                return Err("its key usage is not certificate signing");
            }
            (_, None, None) => return Err("nothing in it says that it is a certificate authority (CA:TRUE)"),
            _ => {}
        }
        if purposes.is_some_and(|purposes| !purposes.any && !purposes.client_auth) {
            return Err("its extended key usage is not for TLS clients");
        }
        if refusal::key_weakness(certificate, algorithms).is_err() {
            return Err("its key is too weak or of an unsupported kind");
        }
        let der = CertificateDer::from(certificate.der().to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| "it is malformed")?
            .to_owned();
        Ok(Self {
            anchor,
            subject: certificate.subject_der().to_vec(),
            issuer: certificate.issuer_der().to_vec(),
            public_key: certificate.public_key_der().to_vec(),
            dates: Dates {
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
            },
            path_length: constraints
                .and_then(|found| found.path_len_constraint)
                .and_then(|most| most.try_into().ok()),
            may_sign_lists: usage.is_none_or(|usage| usage.crl_sign()),
            der,
        })
    }

    /// Subject for messages.
    pub(crate) fn name(&self) -> String {
        crate::subject::name_for_messages(&self.subject)
    }
}

impl Dates {
    pub(crate) fn contain(self, unix: i64) -> bool {
        (self.not_before..=self.not_after).contains(&unix)
    }
}
