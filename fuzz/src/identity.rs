//! A certificate, a PEM file or a revocation list of a stranger: every identity is one that may be a user name, and
//! nothing passes the verifier but what the authority of the tests has signed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use komar_identity::tls::{self, ClientVerifier};
use komar_identity::{AlternativeNameKind, Certificate, IdentityPolicy};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;

/// The first byte says what the others are.
pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, der)) => certificate(der),
        Some((1, pem)) => {
            for der in tls::certificates_from_pem(pem, "a file").unwrap_or_default() {
                certificate(&der);
            }
            let _ = tls::private_key_from_pem(pem, "a file");
            for list in tls::revocation_lists_from_pem(pem, "a file").unwrap_or_default() {
                revocation_list(&list);
            }
        }
        Some((_, der)) => revocation_list(der),
        None => {}
    }
}

fn certificate(der: &[u8]) {
    let [verdict, undated] =
        [&*VERIFIER, &*UNDATED].map(|verifier| verifier.verify_client_cert(&CertificateDer::from(der), &[], NOW));
    assert!(verdict.is_err() || undated.is_ok());
    let certificate = match Certificate::parse(der) {
        Ok(certificate) => certificate,
        Err(error) => {
            assert!(undated.is_err());
            return drop(error.to_string());
        }
    };
    if undated.is_ok() {
        assert!(KNOWN.iter().any(|known| known == certificate.public_key_der()), "a forgery");
    }
    let mut policies = vec![
        IdentityPolicy::CommonName,
        IdentityPolicy::OnlyCommonName,
        IdentityPolicy::Subject,
        IdentityPolicy::Serial,
        IdentityPolicy::Fingerprint,
        IdentityPolicy::Template("{cn}@{o}/{uri}".parse().unwrap()),
    ];
    policies.extend(AlternativeNameKind::ALL.map(IdentityPolicy::AlternativeName));
    for policy in policies {
        match policy.identity_of(&certificate) {
            Ok(identity) => {
                assert!((1..=65_535).contains(&identity.len()));
                assert!(!identity.contains(char::is_control));
            }
            Err(error) => drop(error.to_string()),
        }
    }
    if let Ok(subject) = certificate.subject_rfc2253() {
        assert!(subject.is_ascii());
    }
    if let (Ok(first), Ok(only)) = (certificate.common_name(), certificate.only_common_name()) {
        assert_eq!(first, only);
    }
    let _ = (certificate.subject_rfc4514(), certificate.subject_oneline(), certificate.subject_slash());
    let _ = (certificate.serial_hex(), certificate.not_after(), certificate.issuer_rfc4514());
}

fn revocation_list(der: &[u8]) {
    let provider = Arc::new(tls::default_provider());
    let verifier = ClientVerifier::new(authority(), vec![der.to_vec().into()], false, true, &provider, NOW);
    match verifier {
        // With a list, the certificate of a client passes only if the list is the authority's.
        Ok(verifier) => drop(verifier.verify_client_cert(&CLIENT, &[], NOW)),
        Err(error) => drop(error.to_string()),
    }
}

fn authority() -> Vec<CertificateDer<'static>> {
    tls::certificates_from_pem(CA, "ca").unwrap()
}

/// 2030-01-01
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000));
const CA: &[u8] = include_bytes!("../../crates/komar-identity/tests/data/v1/ca.crt");
/// All that the authority has signed, but what is not for clients.
const CLIENTS: [&[u8]; 15] = [
    include_bytes!("../../crates/komar-identity/tests/data/v1/myPLC.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/myD2000.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/client3.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/revoked.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/revoked3.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/p384.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/ed25519.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/broker.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/broker-ec.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/broker-ed25519.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/sub-v1.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/expired.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/future.crt"),
    include_bytes!("../../crates/komar-identity/tests/data/v1/marked-ca.crt"),
    CA,
];

static CLIENT: LazyLock<CertificateDer<'static>> =
    LazyLock::new(|| tls::certificates_from_pem(CLIENTS[0], "client").unwrap().remove(0));

/// Public keys of what the verifier may accept.
static KNOWN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let keys = CLIENTS.map(|pem| {
        let der = tls::certificates_from_pem(pem, "client").unwrap().remove(0);
        Certificate::parse(&der).unwrap().public_key_der().to_vec()
    });
    keys.to_vec()
});

static VERIFIER: LazyLock<ClientVerifier> = LazyLock::new(|| verifier(false));
static UNDATED: LazyLock<ClientVerifier> = LazyLock::new(|| verifier(true));

fn verifier(ignore_dates: bool) -> ClientVerifier {
    let provider = Arc::new(tls::default_provider());
    ClientVerifier::new(authority(), Vec::new(), ignore_dates, true, &provider, NOW).unwrap()
}
