//! Certificate revocation lists: RFC 5280 §5. Only the client's own certificate is looked up, as Mosquitto does.

use std::collections::HashSet;

use rustls::CertificateError;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use x509_parser::extensions::ParsedExtension;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::authority::Authorities;
use super::signature::{Algorithms, Signed};
use super::{TlsError, TlsWarning};
use crate::{Certificate, subject};

/// All configured lists; without any, nothing is checked.
#[derive(Debug)]
pub(crate) struct RevocationLists {
    lists: Vec<RevocationList>,
}

#[derive(Debug)]
struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    issuer: Vec<u8>,
    /// First day and number of the list: the greater, the newer.
    age: (i64, BigUint),
    next_update: Option<i64>,
    /// Serial numbers, as short as they can be.
    serials: HashSet<Vec<u8>>,
    /// It says nothing about certificates that are marked as an authority.
    only_users: bool,
    /// Keys of configured authorities that are known to have signed the list: hashing it again in every handshake
    /// would take milliseconds for a large one.
    signers: Vec<Vec<u8>>,
}

/// Who signed the client's certificate.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    pub(crate) may_sign_lists: bool,
}

impl RevocationLists {
    pub(crate) fn new(
        ders: Vec<CertificateRevocationListDer<'static>>,
        file: &str,
        authorities: &Authorities,
        algorithms: Algorithms,
    ) -> Result<Self, TlsError> {
        let mut lists = Vec::new();
        for (index, der) in ders.into_iter().enumerate() {
            let mut list = RevocationList::parse(der).map_err(|reason| TlsError::UnusableRevocationList {
                file: file.to_owned(),
                number: index.saturating_add(1),
                reason,
            })?;
            let signers = authorities
                .iter()
                .filter(|authority| authority.subject == list.issuer);
            list.signers = signers
                .filter(|authority| list.is_signed_by(&authority.public_key, algorithms))
                .map(|authority| authority.public_key.clone())
                .collect();
            lists.push(list);
        }
        // The newest counts.
        lists.sort_by(|left: &RevocationList, right| right.age.cmp(&left.age));
        Ok(Self { lists })
    }

    /// What an operator should know about the lists.
    pub(crate) fn warnings(&self, file: &str, authorities: &Authorities, now: i64) -> Vec<TlsWarning> {
        let file = || file.to_owned();
        let mut warnings = Vec::new();
        for list in &self.lists {
            let issuer = subject::name_for_messages(&list.issuer);
            match list.next_update {
                _ if list.signers.is_empty() => {
                    warnings.push(TlsWarning::RevocationListForeign { file: file(), issuer })
                }
                _ if list.age.0 > now && !self.has_current(list, now) => {
                    warnings.push(TlsWarning::RevocationListEarly {
                        file: file(),
                        issuer,
                        this_update: list.age.0,
                    });
                }
                Some(next_update) if next_update < now && !self.has_newer(list, now) => {
                    warnings.push(TlsWarning::RevocationListExpired {
                        file: file(),
                        issuer,
                        next_update,
                    });
                }
                _ => {}
            }
        }
        if !self.lists.is_empty() {
            let covered = |key: &Vec<u8>| self.lists.iter().any(|list| list.signers.contains(key));
            let missing = authorities
                .iter()
                .filter(|authority| !covered(&authority.public_key));
            warnings.extend(missing.map(|authority| TlsWarning::RevocationListMissing {
                file: file(),
                subject: authority.name(),
            }));
        }
        warnings
    }

    /// Refuses a certificate that its issuer's newest list that has begun revokes, or whose status cannot be known.
    pub(crate) fn check(
        &self,
        certificate: &Certificate<'_>,
        issuer: &Issuer,
        algorithms: Algorithms,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let unknown = CertificateError::UnknownRevocationStatus;
        let unix = i64::try_from(now.as_secs()).map_err(|_| unknown.clone())?;
        // Lists of user certificates leave out who is marked as an authority (RFC 5280 §5.2.5).
        let may_be_listed = |list: &RevocationList| !list.only_users || !certificate.is_marked_as_authority();
        let mut candidates = self.lists.iter().filter(|list| {
            list.issuer == certificate.issuer_der()
                && may_be_listed(list)
                && list.is_signed_by(&issuer.public_key, algorithms)
        });
        // The newest that has begun, so that the next one can be there before its time.
        let first = candidates.next().ok_or_else(|| unknown.clone())?;
        let has_begun = |list: &&RevocationList| list.age.0 <= unix;
        let list = Some(first)
            .filter(has_begun)
            .or_else(|| candidates.find(has_begun))
            .unwrap_or(first);
        // Revoked stays revoked, also in a list that has expired; whom the next one names is not waited for.
        let serial = significant(certificate.serial());
        if [first, list].iter().any(|list| list.serials.contains(serial)) {
            return Err(CertificateError::Revoked);
        }
        if !issuer.may_sign_lists || list.age.0 > unix {
            return Err(unknown);
        }
        match list.next_update {
            Some(next_update) if next_update < unix => Err(CertificateError::ExpiredRevocationListContext {
                time: now,
                next_update: UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                    u64::try_from(next_update).unwrap_or(0),
                )),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a newer list of the same authority has begun.
    fn has_newer(&self, than: &RevocationList, now: i64) -> bool {
        let mut others = self.lists.iter().filter(|list| list.signers == than.signers);
        others.any(|list| list.age > than.age && list.age.0 <= now)
    }

    /// Whether any list of the same authority has begun.
    fn has_current(&self, early: &RevocationList, now: i64) -> bool {
        let mut others = self.lists.iter().filter(|list| list.signers == early.signers);
        others.any(|list| list.age.0 <= now)
    }
}

impl RevocationList {
    fn parse(der: CertificateRevocationListDer<'static>) -> Result<Self, &'static str> {
        let malformed = "it is malformed";
        let (rest, list) = CertificateRevocationList::from_der(&der).map_err(|_| malformed)?;
        if !rest.is_empty()
            || list.signature_algorithm != list.tbs_cert_list.signature
            || Signed::parse(&der).is_none()
        {
            return Err(malformed);
        }
        let mut only_users = false;
        for extension in list.extensions() {
            let extension_value = extension.parsed_extension();
            check_extension(extension.critical, extension_value)?;
            if let ParsedExtension::IssuingDistributionPoint(scope) = extension_value {
                only_users |= scope.only_contains_user_certs;
            }
        }
        let mut serials = HashSet::new();
        for entry in list.iter_revoked_certificates() {
            // The issuer of an indirect list's entry is the one that must not be overlooked.
            if entry.extensions().iter().any(|extension| extension.critical) {
                return Err("an entry has a critical extension (indirect list?), which is not supported");
            }
            serials.insert(significant(entry.raw_serial()).to_vec());
        }
        Ok(Self {
            issuer: list.issuer().as_raw().to_vec(),
            age: (
                list.last_update().timestamp(),
                list.crl_number().cloned().unwrap_or_default(),
            ),
            next_update: list.next_update().map(|time| time.timestamp()),
            serials,
            only_users,
            signers: Vec::new(),
            der,
        })
    }

    fn is_signed_by(&self, public_key: &[u8], algorithms: Algorithms) -> bool {
        self.signers.iter().any(|signer| signer == public_key)
            || Signed::parse(&self.der).is_some_and(|signed| signed.verify(public_key, algorithms).is_ok())
    }
}

/// Refuses lists that speak of only some certificates, since what they omit is not known to be good.
fn check_extension(critical: bool, extension: &ParsedExtension<'_>) -> Result<(), &'static str> {
    match extension {
        ParsedExtension::IssuingDistributionPoint(scope) => {
            if scope.indirect_crl {
                return Err("it is an indirect list, which is not supported");
            }
            if scope.only_contains_ca_certs || scope.only_contains_attribute_certs {
                return Err("it does not list client certificates");
            }
            if scope.only_some_reasons.is_some() || scope.distribution_point.is_some() {
                return Err("it is one part of a divided list, which is not supported");
            }
            Ok(())
        }
        ParsedExtension::CRLNumber(_) | ParsedExtension::AuthorityKeyIdentifier(_) => Ok(()),
        // The delta indicator is critical by definition.
        _ if critical => Err("it has an unknown critical extension (delta list?), which is not supported"),
        _ => Ok(()),
    }
}

/// Without bytes that say nothing, so that encodings of one number are equal. It may be negative: -1 is not 255.
fn significant(mut serial: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = serial {
        match (first, rest) {
            (0, [0..=0x7F, ..]) | (0xFF, [0x80..=0xFF, ..]) => serial = rest,
            _ => break,
        }
    }
    serial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_whatever_their_encoding() {
        for (one, other, equal) in [
            (&[5][..], &[0, 0, 5][..], true),
            (&[0], &[0, 0], true),
            (&[0, 0xFF], &[0, 0, 0xFF], true),
            (&[0xFF], &[0xFF, 0xFF], true),
            (&[0xFF], &[0, 0xFF], false),
            (&[0x80], &[0, 0x80], false),
            (&[5], &[], false),
        ] {
            assert_eq!(significant(one) == significant(other), equal, "{one:?} {other:?}");
        }
    }
}
