//! Client certificates of X.509 version 1, which webpki does not know.
//!
//! `openssl x509 -req` of OpenSSL 3.0 makes them unless it is given an extension file. Such a certificate cannot say
//! what it is for, so it is accepted only as a client's own certificate, signed directly by a configured authority,
//! and never as an authority.

use std::time::Duration;

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::authority::{Authorities, Dates};
use super::revocation::Issuer;
use super::signature::{Algorithms, SignatureError, Signed};
use crate::{Certificate, der};

/// Whether a certificate has no version field, which means version 1. Cheap; says nothing about the rest.
pub(crate) fn is_version_one(certificate: &[u8]) -> bool {
    let to_be_signed = der::first(certificate).and_then(|(outer, _)| der::first(outer.contents));
    let first = to_be_signed.and_then(|(to_be_signed, _)| der::first(to_be_signed.contents));
    first.is_some_and(|(first, _)| first.identifier == 2)
}

/// Finds the configured authority that signed the certificate.
pub(crate) fn verify(
    certificate: &Certificate<'_>,
    authorities: &Authorities,
    algorithms: Algorithms,
    now: UnixTime,
    ignore_dates: bool,
) -> Result<Issuer, CertificateError> {
    let signed = Signed::parse(certificate.der()).ok_or(CertificateError::BadEncoding)?;
    let inner = &certificate.inner;
    let has_later_fields =
        inner.issuer_uid.is_some() || inner.subject_uid.is_some() || !inner.extensions().is_empty();
    if certificate.version() != 1 || has_later_fields || inner.signature_algorithm != inner.signature {
        return Err(CertificateError::BadEncoding);
    }
    let mut result = CertificateError::UnknownIssuer;
    for issuer in authorities.direct_issuers(certificate.issuer_der(), algorithms) {
        match signed.verify(&issuer.authority.public_key, algorithms) {
            Ok(()) => {}
            Err(error) => {
                // Another authority of that name may have signed it, and be the better reason.
                if error == SignatureError::Bad && result == CertificateError::UnknownIssuer {
                    result = CertificateError::BadSignature;
                }
                continue;
            }
        }
        let own = Dates {
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        };
        let all_dates = [own]
            .into_iter()
            .chain(issuer.dates)
            .try_for_each(|dates| check_dates(dates, now));
        match all_dates {
            Err(error) if !ignore_dates => {
                result = error;
                continue;
            }
            _ => {}
        }
        return Ok(Issuer {
            public_key: issuer.authority.public_key.clone(),
            may_sign_lists: issuer.authority.may_sign_lists,
        });
    }
    Err(result)
}

pub(crate) fn check_dates(dates: Dates, now: UnixTime) -> Result<(), CertificateError> {
    let unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if unix < dates.not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: time(dates.not_before),
        });
    }
    if unix > dates.not_after {
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after: time(dates.not_after),
        });
    }
    Ok(())
}

/// Dates before 1970 become 1970.
pub(crate) fn time(unix: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(unix).unwrap_or(0)))
}
