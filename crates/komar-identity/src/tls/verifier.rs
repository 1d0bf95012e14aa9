//! The verifier of client certificates.

use std::collections::HashSet;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    TrustAnchor, UnixTime,
};

use super::authority::{Authorities, Dates};
use super::copies::Copies;
use super::refusal::{self, ClientRefusal};
use super::revocation::{Issuer, RevocationLists};
use super::signature::verify_raw;
use super::version_one::{check_dates, is_version_one, time};
use super::{TlsError, TlsWarning, constraints, copies, purpose, version_one};
use crate::Certificate;

/// Most bytes of authority names that are sent to clients as a hint; above it none are sent.
const MAXIMUM_HINTS: usize = 32 * 1024;

/// Verifies client certificates; a drop-in for rustls' `WebPkiClientVerifier`.
///
/// Certificates of version 3 are verified by webpki. One of version 1 is accepted if a configured authority signed it
/// directly, and never as an authority itself. Beyond webpki, the authorities' own dates, path lengths and purposes
/// count, their constraints on DNS names also for a common name that looks like one, and the key usage and Netscape
/// certificate type of the client's own, as they do for OpenSSL, and a client's certificate
/// may be marked as an authority. Revocation lists are consulted for the client's own certificate; with any list
/// configured, a client whose issuer has no current one is refused.
#[derive(Debug)]
pub struct ClientVerifier {
    authorities: Authorities,
    anchors: Vec<TrustAnchor<'static>>,
    lists: RevocationLists,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    ignore_dates: bool,
    algorithms: WebPkiSupportedAlgorithms,
    /// Of everything that a verdict rests on, but the time.
    digest: u64,
}

/// What a [`ClientVerifier`] is made of.
pub(crate) struct VerifierSettings<'a> {
    pub(crate) cas: Vec<CertificateDer<'static>>,
    pub(crate) crls: Vec<CertificateRevocationListDer<'static>>,
    pub(crate) ignore_dates: bool,
    pub(crate) mandatory: bool,
    pub(crate) cas_file: &'a str,
    pub(crate) crls_file: &'a str,
    pub(crate) now: UnixTime,
}

impl ClientVerifier {
    /// A verifier for clients of these authorities; `mandatory` refuses clients without a certificate.
    ///
    /// Dates of certificates are not looked at with `ignore_dates` (those of revocation lists are). `now` is only
    /// used to notice expired authorities; every handshake brings its own time. Labels in messages are `cafile` and
    /// `crlfile`.
    ///
    /// # Errors
    /// [`TlsError::NoAuthority`], [`TlsError::AuthorityExpired`], [`TlsError::MalformedCertificate`],
    /// [`TlsError::UnusableRevocationList`].
    pub fn new(
        cas: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
        ignore_dates: bool,
        mandatory: bool,
        provider: &Arc<CryptoProvider>,
        now: UnixTime,
    ) -> Result<Self, TlsError> {
        let settings = VerifierSettings {
            cas,
            crls,
            ignore_dates,
            mandatory,
            cas_file: "cafile",
            crls_file: "crlfile",
            now,
        };
        Self::with_settings(settings, provider, &mut Vec::new())
    }

    pub(crate) fn with_settings(
        settings: VerifierSettings<'_>,
        provider: &Arc<CryptoProvider>,
        warnings: &mut Vec<TlsWarning>,
    ) -> Result<Self, TlsError> {
        let algorithms = provider.signature_verification_algorithms;
        let digest = digest(&settings);
        let authorities = Authorities::new(settings.cas, settings.cas_file, algorithms.all, warnings)?;
        let now = i64::try_from(settings.now.as_secs()).unwrap_or(i64::MAX);
        if !settings.ignore_dates {
            check_authority_dates(&authorities, settings.cas_file, now, warnings)?;
        }
        let lists = RevocationLists::new(settings.crls, settings.crls_file, &authorities, algorithms.all)?;
        warnings.extend(lists.warnings(settings.crls_file, &authorities, now));
        let mut anchors: Vec<TrustAnchor<'static>> = Vec::new();
        for authority in &authorities.roots {
            // A renewed authority stands in the file twice, with the same name and key.
            if !anchors.contains(&authority.anchor) {
                anchors.push(authority.anchor.clone());
            }
        }
        Ok(Self {
            digest,
            hints: hints(&authorities),
            anchors,
            authorities,
            lists,
            mandatory: settings.mandatory,
            ignore_dates: settings.ignore_dates,
            algorithms,
        })
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // Also refuses subjects that OpenSSL does not load.
        let certificate = Certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        refusal::weakness(&certificate, self.algorithms.all)?;
        let issuer = if self.authorities.listed.contains(leaf.as_ref()) {
            self.verify_listed(&certificate, now)?
        } else if is_version_one(leaf) {
            version_one::verify(
                &certificate,
                &self.authorities,
                self.algorithms.all,
                now,
                self.ignore_dates,
            )?
        } else {
            self.verify_chain(&certificate, leaf, intermediates, now)
                .map_err(translate)?
        };
        purpose::check_client(&certificate)?;
        self.lists
            .check(&certificate, &issuer, self.algorithms.all, now)?;
        Ok(())
    }

    /// A self-signed certificate that stands in the CA file is trusted for what it is.
    fn verify_listed(
        &self,
        certificate: &Certificate<'_>,
        now: UnixTime,
    ) -> Result<Issuer, CertificateError> {
        if !self.ignore_dates {
            check_dates(
                Dates {
                    not_before: certificate.not_before(),
                    not_after: certificate.not_after(),
                },
                now,
            )?;
        }
        Ok(issuer_facts(certificate))
    }

    /// Version 3, by webpki.
    fn verify_chain(
        &self,
        certificate: &Certificate<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Issuer, webpki::Error> {
        let host_names = &constraints::host_names(certificate);
        let listed = self.authorities.intermediates.iter();
        let candidates = intermediates.iter().chain(listed.map(|authority| &authority.der));
        // Each once: a client that sends one a hundred times would have its signature verified ten thousand times.
        let mut seen = HashSet::new();
        let mut chain: Vec<CertificateDer<'_>> = Vec::new();
        for candidate in candidates {
            if seen.insert(candidate.as_ref()) {
                chain.push(candidate.clone());
            }
        }
        if self.ignore_dates || certificate.is_marked_as_authority() {
            let copies = Copies::new(leaf, &chain, self.algorithms.all, self.ignore_dates);
            let moment = if self.ignore_dates { copies::MOMENT } else { now };
            let algorithms = copies.algorithms();
            return self.verify_chain_at(&copies.leaf, &copies.others, host_names, &algorithms, moment);
        }
        self.verify_chain_at(leaf, &chain, host_names, self.algorithms.all, now)
    }

    fn verify_chain_at(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        host_names: &[String],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Result<Issuer, webpki::Error> {
        let end_entity = webpki::EndEntityCert::try_from(leaf)?;
        let usage = webpki::KeyUsage::client_auth();
        let accept = |path: &webpki::VerifiedPath<'_>| self.check_path(path, host_names, now);
        let path =
            end_entity.verify_for_usage(algorithms, &self.anchors, chain, now, usage, None, Some(&accept))?;
        match path.intermediate_certificates().next() {
            Some(issuer) => Certificate::parse(&issuer.der())
                .map(|certificate| issuer_facts(&certificate))
                .map_err(|_| webpki::Error::BadDer),
            None => Ok(Issuer {
                public_key: path.issuer_spki().to_vec(),
                may_sign_lists: self.roots_of(path.anchor()).any(|root| root.may_sign_lists),
            }),
        }
    }

    /// What webpki does not look at: the client's common name as a host name, and dates and path length of the root.
    fn check_path(
        &self,
        path: &webpki::VerifiedPath<'_>,
        host_names: &[String],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let permits = |der: &CertificateDer<'_>| {
            host_names.is_empty()
                || Certificate::parse(der)
                    .is_ok_and(|certificate| constraints::permit(&certificate, host_names))
        };
        if !path
            .intermediate_certificates()
            .all(|authority| permits(&authority.der()))
        {
            return Err(webpki::Error::NameConstraintViolation);
        }
        let unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let intermediates = path.intermediate_certificates().count();
        let mut result = webpki::Error::UnknownIssuer;
        for root in self.roots_of(path.anchor()) {
            if root.path_length.is_some_and(|most| intermediates > most) {
                result = webpki::Error::PathLenConstraintViolated;
            } else if !permits(&root.der) {
                result = webpki::Error::NameConstraintViolation;
            } else if self.ignore_dates || root.dates.contain(unix) {
                return Ok(());
            } else if unix < root.dates.not_before {
                result = webpki::Error::CertNotValidYet {
                    time: now,
                    not_before: time(root.dates.not_before),
                };
            } else {
                result = webpki::Error::CertExpired {
                    time: now,
                    not_after: time(root.dates.not_after),
                };
            }
        }
        Err(result)
    }

    fn roots_of(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = &super::authority::Authority> {
        self.authorities
            .roots
            .iter()
            .filter(move |root| root.anchor == *anchor)
    }
}

impl ClientVerifier {
    /// Whether both rest on the same files and settings, so that what one of them has accepted is accepted by the other
    /// too, as far as the time does not matter.
    #[must_use]
    pub fn judges_like(&self, other: &ClientVerifier) -> bool {
        self.digest == other.digest
    }
}

/// Two verifiers with the same digest let the same clients in. Files of the operator's own make no collisions.
fn digest(settings: &VerifierSettings<'_>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for certificate in &settings.cas {
        certificate.as_ref().hash(&mut hasher);
    }
    for list in &settings.crls {
        list.as_ref().hash(&mut hasher);
    }
    (settings.cas.len(), settings.ignore_dates, settings.mandatory).hash(&mut hasher);
    hasher.finish()
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !is_version_one(certificate) {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        }
        let key = public_key(certificate)?;
        let unknown = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
        let (_, possible) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(unknown)?;
        // In TLS 1.2 a scheme leaves the curve open.
        match possible
            .iter()
            .any(|algorithm| verify_raw(&key, *algorithm, message, signed.signature()).is_ok())
        {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !is_version_one(certificate) {
            return verify_tls13_signature(message, certificate, signed, &self.algorithms);
        }
        let key = SubjectPublicKeyInfoDer::from(public_key(certificate)?);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    let certificate = Certificate::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(certificate.public_key_der().to_vec())
}

fn issuer_facts(certificate: &Certificate<'_>) -> Issuer {
    let usage = certificate.inner.key_usage().ok().flatten();
    Issuer {
        public_key: certificate.public_key_der().to_vec(),
        may_sign_lists: usage.is_none_or(|usage| usage.value.crl_sign()),
    }
}

/// Refuses a file whose authorities have all expired, and warns of single ones.
fn check_authority_dates(
    authorities: &Authorities,
    file: &str,
    now: i64,
    warnings: &mut Vec<TlsWarning>,
) -> Result<(), TlsError> {
    let last = authorities.roots.iter().max_by_key(|root| root.dates.not_after);
    if let Some(last) = last.filter(|last| last.dates.not_after < now) {
        let (file, subject) = (file.to_owned(), last.name());
        return Err(TlsError::AuthorityExpired {
            file,
            subject,
            not_after: last.dates.not_after,
        });
    }
    let outside = authorities
        .iter()
        .filter(|authority| !authority.dates.contain(now));
    warnings.extend(outside.map(|authority| TlsWarning::AuthorityOutsideDates {
        file: file.to_owned(),
        subject: authority.name(),
        not_before: authority.dates.not_before,
        not_after: authority.dates.not_after,
    }));
    Ok(())
}

/// Names by which a client chooses among its certificates.
fn hints(authorities: &Authorities) -> Vec<DistinguishedName> {
    let mut subjects: Vec<&[u8]> = Vec::new();
    for authority in authorities.iter() {
        if !subjects.contains(&authority.anchor.subject.as_ref()) {
            subjects.push(&authority.anchor.subject);
        }
    }
    let hints: Vec<DistinguishedName> = subjects.into_iter().map(DistinguishedName::in_sequence).collect();
    let length = hints
        .iter()
        .fold(0_usize, |length, hint| length.saturating_add(hint.as_ref().len()));
    if length > MAXIMUM_HINTS { Vec::new() } else { hints }
}

/// The errors of rustls decide which alert the client gets.
fn translate(error: webpki::Error) -> Error {
    use webpki::Error as Webpki;
    let error = match error {
        Webpki::BadDer
        | Webpki::BadDerTime
        | Webpki::TrailingData(_)
        | Webpki::SignatureAlgorithmMismatch => CertificateError::BadEncoding,
        Webpki::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Webpki::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        Webpki::InvalidCertValidity => CertificateError::Expired,
        // An authority of version 1 or without CA:TRUE below the root is none.
        Webpki::UnknownIssuer | Webpki::UnsupportedCertVersion | Webpki::EndEntityUsedAsCa => {
            CertificateError::UnknownIssuer
        }
        Webpki::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        Webpki::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        Webpki::RequiredEkuNotFoundContext(_) | Webpki::EmptyEkuExtension => CertificateError::InvalidPurpose,
        Webpki::NameConstraintViolation => return ClientRefusal::NameConstraints.into(),
        Webpki::PathLenConstraintViolated | Webpki::MaximumPathDepthExceeded => {
            return ClientRefusal::PathLength.into();
        }
        Webpki::UnsupportedSignatureAlgorithmContext(_)
        | Webpki::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            return ClientRefusal::UnsupportedSignature.into();
        }
        error => {
            return ClientRefusal::Other(format!("it, or its authority's, is not usable: {error}")).into();
        }
    };
    error.into()
}
