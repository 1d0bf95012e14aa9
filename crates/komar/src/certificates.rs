//! Certificates of a small site: an authority, what it signs, and the list of what it has revoked.

use std::net::IpAddr;

use komar_identity::tls::{
    certificates_from_pem, default_provider, is_signed_by, private_key_from_pem, revocation_lists_from_pem,
};
use komar_identity::{Certificate, IdentityError};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::asn1_rs::Any;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_CRL_NUMBER;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

/// Why a certificate or a revocation list could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("{0}")]
    Rcgen(#[from] rcgen::Error),
    #[error("'{name}' is no name that a certificate can carry: {source}")]
    Name {
        name: String,
        source: komar_identity::IdentityError,
    },
    #[error("it cannot be valid for {0} days: give a number from 1 to {MAXIMUM_DAYS}")]
    Days(u32),
    #[error("{0}")]
    Unreadable(#[from] komar_identity::IdentityError),
    #[error("{0}")]
    File(#[from] komar_identity::tls::TlsError),
    #[error("'{0}' is neither a DNS name nor an address")]
    HostName(String),
    #[error("the certificate may not sign others: {0}")]
    NoAuthority(&'static str),
    #[error("the key does not belong to the certificate")]
    OtherKey,
    #[error("its name has parts that komar cannot write anew, so that nobody would find it as the issuer")]
    IssuerName,
    #[error("{0:?} was issued by somebody else, {1:?}")]
    OtherIssuer(String, String),
    #[error("{0:?} was signed by another authority of the same name")]
    OtherSigner(String),
    #[error(
        "the serial number of {0:?} is negative, which komar cannot put into a list; use openssl ca -gencrl"
    )]
    NegativeSerial(String),
    #[error("the list has a negative serial number, which komar cannot write anew; use openssl ca -gencrl")]
    NegativeEntry,
    #[error(
        "the key is of no kind that can sign here: RSA of 2048 to 4096 bits, ECDSA P-256 and P-384, Ed25519 are"
    )]
    UnsupportedKey,
    #[error("it is not one revocation list in PEM that komar can add to")]
    NoList,
    #[error("the list has a critical extension that komar cannot keep ({0}); use openssl ca -gencrl")]
    ListExtension(String),
    #[error(
        "the list's number is not one that a list may have, or the last of these (RFC 5280 §5.2.3); use openssl ca -gencrl"
    )]
    ListNumber,
    #[error("it is the revocation list of somebody else, {0:?}")]
    OtherList(String),
}

/// A certificate authority with its key.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority that is valid from now on, and its certificate in PEM. Its key is ECDSA P-256.
    pub(crate) fn create(name: &str, days: u32) -> Result<(Authority, String), CertificateError> {
        let mut params = params(name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let authority = Authority {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, certificate.pem()))
    }

    /// An authority whose certificate and key are in PEM files, each with what messages call it.
    pub(crate) fn from_pem(
        (certificate, certificate_file): (&[u8], &str),
        (key, key_file): (&[u8], &str),
    ) -> Result<Authority, CertificateError> {
        let certificate = first_certificate(certificate, certificate_file)?;
        let key = private_key_from_pem(key, key_file)?;
        let key = key_pair(&key, Certificate::parse(&certificate)?.public_key_der())?;
        if Certificate::parse(&certificate)?.public_key_der() != key.subject_public_key_info() {
            return Err(CertificateError::OtherKey);
        }
        Ok(Authority {
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
        })
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a broker that is reached by any of `names` (DNS names or addresses), and its key, both PEM.
    pub(crate) fn issue_server(
        &self,
        names: &[String],
        days: u32,
    ) -> Result<(String, String), CertificateError> {
        let first = names.first().map_or("localhost", String::as_str);
        let mut params = params(first, days)?;
        for name in names {
            let name = alternative_name(name)?;
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a client whose MQTT user name is `common_name`, and its key, both PEM.
    pub(crate) fn issue_client(
        &self,
        common_name: &str,
        days: u32,
    ) -> Result<(String, String), CertificateError> {
        let mut params = params(common_name, days)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// The authority's revocation list in PEM, which is valid from an hour ago (but not from before the `old` one's
    /// beginning) and for `days` from now: what stands in the `old` one (PEM), and `certificates` (DER). Also how many
    /// certificates it names.
    pub(crate) fn revoke(
        &self,
        old: Option<&[u8]>,
        certificates: &[CertificateDer<'_>],
        days: u32,
    ) -> Result<(String, usize), CertificateError> {
        let authority = Certificate::parse(&self.certificate)?;
        // As a certificate: a broker whose clock is a little behind would refuse all clients for a list that is to come.
        let (mut this_update, now, next_update) = dates(days)?;
        let (mut revoked, mut number) = (Vec::new(), vec![1]);
        if let Some(old) = old {
            let old = OldList::parse(old, authority.subject_der())?;
            (revoked, number) = (old.revoked, old.next_number);
            // Nor older than the one before, of which it takes the place.
            this_update = this_update.max(old.this_update).min(now);
        }
        for der in certificates {
            let certificate = Certificate::parse(der)?;
            if certificate.issuer_der() != authority.subject_der() {
                return Err(CertificateError::OtherIssuer(
                    certificate.subject_rfc4514().unwrap_or_default(),
                    certificate.issuer_rfc4514(),
                ));
            }
            let name = || certificate.subject_rfc4514().unwrap_or_default();
            let serial = serial_number(certificate.serial())
                .ok_or_else(|| CertificateError::NegativeSerial(name()))?;
            // What was signed in a way that nobody here can verify is known by its issuer's name alone.
            if is_signed_by(der, authority.public_key_der(), &default_provider()) == Some(false) {
                return Err(CertificateError::OtherSigner(name()));
            }
            if revoked.iter().all(|entry| entry.serial_number != serial) {
                revoked.push(RevokedCertParams {
                    serial_number: serial,
                    revocation_time: now,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
        }
        let count = revoked.len();
        let params = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: self.key_identifier(),
        };
        let list = params.signed_by(&self.issuer)?;
        let (_, written) =
            CertificateRevocationList::from_der(list.der()).map_err(|_| CertificateError::NoList)?;
        if written.issuer().as_raw() != authority.subject_der() {
            return Err(CertificateError::IssuerName);
        }
        Ok((list.pem()?, count))
    }

    /// When it ends.
    pub(crate) fn not_after(&self) -> Result<OffsetDateTime, CertificateError> {
        let end = Certificate::parse(&self.certificate)?.not_after();
        // What no calendar holds is later than anything that is issued.
        Ok(OffsetDateTime::from_unix_timestamp(end)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH + Duration::days(2_000_000)))
    }

    /// Whether a verifier would accept what it signs.
    fn check(&self) -> Result<(), CertificateError> {
        let refused = |reason| Err(CertificateError::NoAuthority(reason));
        let (_, certificate) = x509_parser::parse_x509_certificate(&self.certificate)
            .map_err(|_| CertificateError::Unreadable(IdentityError::Malformed))?;
        let is_authority = certificate
            .basic_constraints()
            .is_ok_and(|found| found.is_some_and(|constraints| constraints.value.ca));
        if !is_authority {
            return refused("it is not that of an authority (CA:TRUE)");
        }
        match certificate.key_usage() {
            Ok(None) => {}
            Ok(Some(usage)) if usage.value.key_cert_sign() => {}
            _ => return refused("its key usage does not include the signing of certificates (keyCertSign)"),
        }
        let now = OffsetDateTime::now_utc().unix_timestamp();
        if now < certificate.validity().not_before.timestamp() {
            return refused("it is not valid yet");
        }
        if now > certificate.validity().not_after.timestamp() {
            return refused("it has expired");
        }
        Ok(())
    }

    fn issue(&self, mut params: CertificateParams) -> Result<(String, String), CertificateError> {
        self.check()?;
        // Nobody accepts it for longer.
        params.not_after = params.not_after.min(self.not_after()?);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        // rcgen reads the authority's name and writes it anew; verifiers compare the bytes.
        let issuer = Certificate::parse(certificate.der())?.issuer_der();
        if issuer != Certificate::parse(&self.certificate)?.subject_der() {
            return Err(CertificateError::IssuerName);
        }
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// That of the authority's certificate, by which OpenSSL finds who signed a list.
    fn key_identifier(&self) -> KeyIdMethod {
        let certificate = x509_parser::parse_x509_certificate(&self.certificate);
        let found = certificate.ok().and_then(|(_, certificate)| {
            certificate
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                    _ => None,
                })
        });
        found.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified)
    }
}

/// The owner's certificate of a PEM file; others of its chain may follow it.
pub(crate) fn first_certificate(pem: &[u8], file: &str) -> Result<CertificateDer<'static>, CertificateError> {
    let certificates = certificates_from_pem(pem, file)?;
    // There is at least one.
    let first = certificates.into_iter().next();
    first.ok_or(CertificateError::Unreadable(IdentityError::Malformed))
}

/// An authority's private key of any kind that OpenSSL writes; `public` is the certificate's SubjectPublicKeyInfo.
fn key_pair(key: &PrivateKeyDer<'_>, public: &[u8]) -> Result<KeyPair, CertificateError> {
    if matches!(key, PrivateKeyDer::Pkcs8(_)) {
        return Ok(KeyPair::try_from(key)?);
    }
    // PKCS#8 (RFC 5208) is the number 0, the public key's algorithm and the older form, which is all that rcgen lacks.
    let algorithm = Any::from_der(public)
        .and_then(|(_, info)| Any::from_der(info.data).map(|(rest, _)| (info.data, rest.len())))
        .ok()
        .and_then(|(inside, rest)| inside.get(..inside.len().checked_sub(rest)?))
        .ok_or(CertificateError::OtherKey)?;
    let body = [&[2, 1, 0], algorithm, &der(4, key.secret_der())].concat();
    let pkcs8 = PrivatePkcs8KeyDer::from(der(0x30, &body));
    KeyPair::try_from(&pkcs8).map_err(|_| {
        let is = |kind: &[u8]| algorithm.windows(kind.len()).any(|part| part == kind);
        let belongs = match key {
            PrivateKeyDer::Pkcs1(_) => is(RSA),
            _ => is(EC) && !is(P256) && !is(P384),
        };
        match belongs {
            true => CertificateError::UnsupportedKey,
            false => CertificateError::OtherKey,
        }
    })
}

/// A value in DER, with tag and length.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let bytes = length.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    match u8::try_from(length) {
        Ok(short @ 0..=127) => [&[tag, short], value].concat(),
        _ => [
            &[tag, 0x80 | u8::try_from(bytes.len()).unwrap_or(8)],
            bytes,
            value,
        ]
        .concat(),
    }
}

/// A DNS name, perhaps with `*` for its first label, or an address.
fn alternative_name(name: &str) -> Result<rcgen::SanType, CertificateError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(rcgen::SanType::IpAddress(address));
    }
    let impossible = || CertificateError::HostName(name.to_owned());
    let labels = name.strip_prefix("*.").unwrap_or(name);
    if DnsName::try_from(labels).is_err() || labels.ends_with('.') {
        return Err(impossible());
    }
    Ok(rcgen::SanType::DnsName(
        name.try_into().map_err(|_| impossible())?,
    ))
}

/// What the list says that is to be replaced.
struct OldList {
    revoked: Vec<RevokedCertParams>,
    this_update: OffsetDateTime,
    /// The number of the list that follows it, most significant byte first.
    next_number: Vec<u8>,
}

impl OldList {
    fn parse(pem: &[u8], issuer: &[u8]) -> Result<OldList, CertificateError> {
        let lists = revocation_lists_from_pem(pem, "").map_err(|_| CertificateError::NoList)?;
        // What stands behind the first would be lost.
        let [der] = lists.as_slice() else {
            return Err(CertificateError::NoList);
        };
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| CertificateError::NoList)?;
        if list.issuer().as_raw() != issuer {
            return Err(CertificateError::OtherList(list.issuer().to_string()));
        }
        // Numbers are written anew. What else is critical would be lost, and with it what the list is for.
        let lost = list
            .extensions()
            .iter()
            .filter(|extension| extension.oid != OID_X509_EXT_CRL_NUMBER)
            .chain(
                list.iter_revoked_certificates()
                    .flat_map(|entry| entry.extensions()),
            )
            .find(|extension| extension.critical);
        if let Some(lost) = lost {
            let name = match lost.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(_) => "issuingDistributionPoint".to_owned(),
                _ => lost.oid.to_id_string(),
            };
            return Err(CertificateError::ListExtension(name));
        }
        let number = list
            .extensions()
            .iter()
            .find(|extension| extension.oid == OID_X509_EXT_CRL_NUMBER);
        let number = match number.map(|extension| extension.parsed_extension()) {
            None => vec![1],
            // Twenty bytes with the sign.
            Some(ParsedExtension::CRLNumber(number)) if (number + 1_u8).bits() < 8 * 20 => {
                (number + 1_u8).to_bytes_be()
            }
            Some(_) => return Err(CertificateError::ListNumber),
        };
        let entries = list.iter_revoked_certificates().map(|entry| {
            let reason = entry.reason_code().map(|(_, reason)| reason.0);
            Ok(RevokedCertParams {
                serial_number: serial_number(entry.raw_serial()).ok_or(CertificateError::NegativeEntry)?,
                revocation_time: entry.revocation_date.to_datetime(),
                reason_code: reason
                    .and_then(|reason| REASONS.into_iter().find(|known| *known as u8 == reason)),
                invalidity_date: entry.invalidity_date().map(|(_, date)| date.to_datetime()),
            })
        });
        Ok(OldList {
            revoked: entries.collect::<Result<_, CertificateError>>()?,
            this_update: list.last_update().to_datetime(),
            next_number: number,
        })
    }
}

/// Without leading zeros, so that encodings of one number are equal; `None` for a negative number, which rcgen would
/// write as another one.
fn serial_number(mut serial: &[u8]) -> Option<SerialNumber> {
    if let [0x80..=0xFF, ..] = serial {
        return None;
    }
    while let [0, rest @ ..] = serial {
        serial = rest;
    }
    Some(SerialNumber::from_slice(serial))
}

fn params(common_name: &str, days: u32) -> Result<CertificateParams, CertificateError> {
    // A user name that nobody could be given is refused here and not by the broker later.
    komar_identity::check_common_name(common_name.as_bytes()).map_err(|source| {
        // As much of it as tells which it is.
        let name = common_name.chars().take(100).collect();
        CertificateError::Name { name, source }
    })?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    (params.not_before, _, params.not_after) = dates(days)?;
    Ok(params)
}

/// A little ago, now, and the end.
fn dates(days: u32) -> Result<(OffsetDateTime, OffsetDateTime, OffsetDateTime), CertificateError> {
    if !(1..=MAXIMUM_DAYS).contains(&days) {
        return Err(CertificateError::Days(days));
    }
    let now = OffsetDateTime::now_utc();
    // A clock that is a little behind should not refuse a new certificate.
    Ok((now - Duration::hours(1), now, now + Duration::days(days.into())))
}

/// Object identifiers of public keys, contents of their DER.
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];
const P384: &[u8] = &[0x2B, 0x81, 4, 0, 0x22];

/// A hundred years.
const MAXIMUM_DAYS: u32 = 36_525;

const REASONS: [RevocationReason; 10] = [
    RevocationReason::Unspecified,
    RevocationReason::KeyCompromise,
    RevocationReason::CaCompromise,
    RevocationReason::AffiliationChanged,
    RevocationReason::Superseded,
    RevocationReason::CessationOfOperation,
    RevocationReason::CertificateHold,
    RevocationReason::RemoveFromCrl,
    RevocationReason::PrivilegeWithdrawn,
    RevocationReason::AaCompromise,
];
