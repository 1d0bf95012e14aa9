//! Which client certificates a listener accepts, and what the others are told.

#![cfg(feature = "verifier")]

mod common;
#[path = "common/handshake.rs"]
mod handshake;

use std::sync::Arc;
use std::time::Duration;

use common::data;
use handshake::{
    NOW, VERSIONS, alert, certificates, client, handshake as shake, lists, provider, required, server,
};
use komar_identity::tls::{ClientAuthentication, ClientVerifier};
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, HandshakeKind};
use rustls_pki_types::{CertificateDer, UnixTime};

fn check(line: &str) {
    let [chain, cas, crls, flags, expected] = line
        .split('|')
        .map(str::trim)
        .collect::<Vec<_>>()
        .try_into()
        .expect("five columns");
    let (cas, crls, ignore_dates) = (certificates(cas), lists(crls), flags == "ignore-dates");
    let server = server(match flags {
        "optional" => ClientAuthentication::Optional {
            cas,
            crls,
            ignore_dates,
        },
        _ => ClientAuthentication::Required {
            cas,
            crls,
            ignore_dates,
        },
    });
    let leaf = chain.split(',').next().unwrap();
    for version in VERSIONS {
        let outcome = shake(&client(version, chain, leaf), &server);
        assert_eq!(
            alert(&outcome),
            expected,
            "{:?}: {line}: {outcome:?}",
            version.version
        );
        if let (Ok(server), false) = (&outcome.server, leaf.is_empty()) {
            assert_eq!(
                server.peer_certificates().unwrap()[0],
                certificates(leaf)[0],
                "{line}"
            );
        }
    }
}

#[test]
fn every_client_gets_its_answer() {
    let table = String::from_utf8(data("clients.txt")).unwrap();
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        check(line);
    }
}

#[test]
fn a_certificate_needs_its_key() {
    let server = server(required("ca", ""));
    for version in VERSIONS {
        for (certificate, key) in [
            ("myPLC", "broker"),
            ("myPLC", "myD2000"),
            ("myD2000", "client3"),
            ("client3", "myD2000"),
        ] {
            let outcome = shake(&client(version, certificate, key), &server);
            // Keys of another kind cannot even offer a scheme that fits.
            assert_ne!(alert(&outcome), "ok", "{certificate} with the key of {key}");
            assert!(outcome.server.is_err());
        }
    }
}

fn verifier(cas: &str, ignore_dates: bool) -> ClientVerifier {
    ClientVerifier::new(
        certificates(cas),
        Vec::new(),
        ignore_dates,
        true,
        &provider(),
        now(),
    )
    .unwrap()
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW))
}

#[test]
fn what_a_client_sends_many_times_counts_once() {
    let client = &certificates("client3")[0];
    let authority = certificates("same-name");
    for ignore_dates in [false, true] {
        let verifier = verifier("same-name", ignore_dates);
        let refusal = |times: usize| {
            let others = vec![authority[0].clone(); times];
            verifier.verify_client_cert(client, &others, now()).unwrap_err()
        };
        // With more candidates webpki would give up at its bound, which is another error.
        assert_eq!(refusal(200), refusal(1), "{ignore_dates}");
    }
}

#[test]
fn every_altered_byte_is_noticed() {
    for (ignore_dates, name) in [
        (false, "myPLC"),
        (false, "myD2000"),
        (false, "client3"),
        // Dates that do not matter are signed all the same.
        (true, "myD2000"),
        (true, "client3"),
        // Nor may a mark as an authority be put on or taken off.
        (false, "marked-ca"),
        (true, "marked-ca"),
    ] {
        let verifier = verifier("ca", ignore_dates);
        let original = certificates(name).remove(0).to_vec();
        assert!(
            verifier
                .verify_client_cert(&CertificateDer::from(original.clone()), &[], now())
                .is_ok()
        );
        for position in 0..original.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut altered = original.clone();
                altered[position] ^= change;
                let result = verifier.verify_client_cert(&CertificateDer::from(altered), &[], now());
                assert!(result.is_err(), "{name}: byte {position} xor {change}");
            }
        }
        for length in 0..original.len() {
            let cut = CertificateDer::from(original[..length].to_vec());
            assert!(
                verifier.verify_client_cert(&cut, &[], now()).is_err(),
                "{name}: cut at {length}"
            );
        }
        let longer = CertificateDer::from([original, vec![0]].concat());
        assert!(
            verifier.verify_client_cert(&longer, &[], now()).is_err(),
            "{name}: longer"
        );
    }
}

#[test]
fn an_intermediate_is_no_client_by_its_key_usage() {
    for ignore_dates in [false, true] {
        let result = verifier("ca", ignore_dates).verify_client_cert(&certificates("sub")[0], &[], now());
        let expected = rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose);
        assert_eq!(result.unwrap_err(), expected);
    }
}

#[test]
fn the_true_certificate_beside_it_does_not_help_one_with_forged_dates() {
    let verifier = verifier("eras", true);
    let chain = certificates("of-era,era");
    let judge = |leaf: &[u8], others: &[CertificateDer<'_>]| {
        verifier.verify_client_cert(&CertificateDer::from(leaf.to_vec()), others, now())
    };
    assert!(judge(&chain[0], &chain).is_ok());
    let date = b"120820000000Z";
    let forge = |der: &[u8]| {
        let position = der
            .windows(date.len())
            .position(|window| window == date)
            .expect("the date");
        let mut forged = der.to_vec();
        forged[position] = b'2';
        forged
    };
    let forged = forge(&chain[0]);
    for others in [&chain[1..], &chain[..]] {
        assert!(judge(&forged, others).is_err());
    }
}

#[test]
fn an_authority_that_expires_later_refuses_its_clients_then() {
    let verifier = verifier("ca", false);
    let later = UnixTime::since_unix_epoch(Duration::from_secs(4_960_000_000)); // 2127
    for name in ["myPLC", "client3"] {
        let result = verifier.verify_client_cert(&certificates(name)[0], &[], later);
        assert!(
            format!("{result:?}").contains("ExpiredContext"),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn hints_name_the_authorities() {
    let verifier = verifier("ca,ca-ec,sub,ca", false);
    assert_eq!(verifier.root_hint_subjects().len(), 3);
}

#[test]
fn sessions_are_resumed_until_a_reload_brings_a_new_list() {
    for version in VERSIONS {
        for name in ["revoked", "revoked3"] {
            let client = client(version, name, name);
            let before = server(required("ca", "crl-empty"));
            let kind = |server| {
                let outcome = shake(&client, server);
                let connection = outcome.server.expect("accepted");
                assert_eq!(connection.peer_certificates().unwrap()[0], certificates(name)[0]);
                connection.handshake_kind().unwrap()
            };
            assert_eq!(kind(&before), HandshakeKind::Full);
            assert_eq!(kind(&before), HandshakeKind::Resumed, "{version:?}");
            assert_eq!(kind(&before), HandshakeKind::Resumed, "{version:?}");
            // The same settings again: nothing is carried over.
            assert_eq!(kind(&server(required("ca", "crl-empty"))), HandshakeKind::Full);
            let after = server(required("ca", "crl"));
            for _ in 0..2 {
                assert_eq!(alert(&shake(&client, &after)), "CertificateRevoked");
            }
            // The listener of before could still resume: it has to be replaced, not only joined.
            assert!(shake(&client, &before).server.is_ok());
        }
    }
}

#[test]
fn no_process_wide_provider_is_installed() {
    let _ = server(required("ca", ""));
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    assert_eq!(Arc::strong_count(&server(ClientAuthentication::Off)), 1);
}
