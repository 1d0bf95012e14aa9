//! What the files of a listener lead to: a configuration with warnings, or an error that says what to do.

#![allow(clippy::bool_assert_comparison)]
#![cfg(feature = "verifier")]

mod common;
#[path = "common/handshake.rs"]
mod handshake;

use std::sync::Arc;

use common::data;
use handshake::{Clock, VERSIONS, alert, client, handshake as shake, listener, lists, required, server};
use komar_identity::tls::{
    self, ClientAuthentication, MinimumVersion, ServerTls, TlsError, TlsWarning, select_cipher_suites,
};
use rustls::CipherSuite;

fn files(names: &str) -> Vec<u8> {
    names
        .split(',')
        .flat_map(|name| data(&format!("v1/{name}")))
        .collect()
}

fn build(certificate: &str, key: &str, ca: &str, year: u64) -> Result<ServerTls, TlsError> {
    let (certificate_bytes, key_bytes) = (files(certificate), files(key));
    let builder = ServerTls::builder(&certificate_bytes, &key_bytes)
        .certificate_label(certificate)
        .key_label(key)
        .cas_label(ca)
        .provider(handshake::provider())
        .time_provider(Arc::new(Clock((year - 1970) * 31_556_952)));
    if ca.is_empty() {
        return builder.build();
    }
    let cas = tls::certificates_from_pem(&files(ca), ca)?;
    builder
        .client_authentication(ClientAuthentication::Required {
            cas,
            crls: Vec::new(),
            ignore_dates: false,
        })
        .build()
}

fn check(line: &str) {
    let columns: Vec<&str> = line.split('|').map(str::trim).collect();
    let [certificate, key, ca, year, expected] = columns[..5] else {
        panic!("five columns: {line}")
    };
    match build(certificate, key, ca, year.parse().unwrap()) {
        Ok(built) => {
            assert_eq!(expected, "ok", "{line}");
            let warnings: Vec<String> = built.warnings().iter().map(ToString::to_string).collect();
            match columns[5] {
                "" => assert!(warnings.is_empty(), "{line}: {warnings:?}"),
                part => assert!(
                    warnings.iter().any(|warning| warning.contains(part)),
                    "{line}: {warnings:?}"
                ),
            }
            let config = built.config();
            for version in VERSIONS.into_iter().filter(|_| ca.is_empty()) {
                assert_eq!(alert(&shake(&client(version, "", ""), &config)), "ok", "{line}");
            }
        }
        Err(error) => assert!(error.to_string().contains(expected), "{line}: {error}"),
    }
}

#[test]
fn every_set_of_files_gets_its_answer() {
    let table = String::from_utf8(data("listeners.txt")).unwrap();
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        check(line);
    }
}

#[test]
fn damaged_files_are_named() {
    let broken = data("v1/ca.crt").into_iter().take(400).collect::<Vec<u8>>();
    let error = tls::certificates_from_pem(&broken, "cut.crt")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cut.crt: damaged PEM: the line -----END CERTIFICATE----- is missing"),
        "{error}"
    );
    let der = tls::certificates_from_pem(&data("v1/ca.crt"), "ca.crt")
        .unwrap()
        .remove(0);
    assert!(matches!(
        tls::certificates_from_pem(&der, "ca.der"),
        Err(TlsError::NotPem { .. })
    ));
    assert!(matches!(
        tls::private_key_from_pem(&der, "ca.der"),
        Err(TlsError::NotPem { .. })
    ));
    assert!(matches!(
        tls::revocation_lists_from_pem(b"", "crl"),
        Err(TlsError::NoRevocationList { .. })
    ));
    let windows = String::from_utf8(data("v1/ca.crt"))
        .unwrap()
        .replace('\n', "\r\n");
    // A byte order mark, and remarks in Latin-1, as Windows programs and `openssl pkcs12` leave them.
    for text in [
        windows.clone().into_bytes(),
        [b"\xEF\xBB\xBF", windows.as_bytes()].concat(),
        [b"friendlyName: M\xFCller\n", windows.as_bytes(), b"\xFC"].concat(),
    ] {
        assert_eq!(
            tls::certificates_from_pem(&text, "ca.crt").unwrap().as_slice(),
            std::slice::from_ref(&der)
        );
    }
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        let wide: Vec<u8> = format!("\u{FEFF}{windows}")
            .encode_utf16()
            .flat_map(order)
            .collect();
        let error = tls::certificates_from_pem(&wide, "ca.crt").unwrap_err();
        assert_eq!(
            error.to_string(),
            "ca.crt: this text is UTF-16, which no TLS program reads; save it as UTF-8 or ASCII"
        );
    }
}

#[test]
fn lists_that_do_not_fit_are_reported() {
    let (certificate, key) = (data("v1/broker3.crt"), data("v1/broker3.key"));
    let warnings = |cas, crls| {
        let built = listener(&certificate, &key)
            .client_authentication(required(cas, crls))
            .build()
            .unwrap();
        built.warnings().to_vec()
    };
    assert_eq!(warnings("ca", "crl"), []);
    assert_eq!(warnings("ca", "crl,crl-expired"), []);
    assert!(matches!(
        warnings("ca", "crl-expired")[..],
        [TlsWarning::RevocationListExpired { .. }]
    ));
    assert!(matches!(
        warnings("ca", "crl-same-name")[..],
        [
            TlsWarning::RevocationListForeign { .. },
            TlsWarning::RevocationListMissing { .. }
        ]
    ));
    assert!(matches!(
        warnings("ca,ca-ec", "crl")[..],
        [TlsWarning::RevocationListMissing { .. }]
    ));

    let mut crls = lists("crl");
    crls[0] = crls[0].as_ref()[..100].to_vec().into();
    let cas = handshake::certificates("ca");
    let broken = ClientAuthentication::Required {
        cas,
        crls,
        ignore_dates: false,
    };
    let error = listener(&certificate, &key)
        .client_authentication(broken)
        .build()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("crlfile: revocation list 1: it is malformed"),
        "{error}"
    );
}

#[test]
fn the_oldest_version_is_a_setting() {
    let (certificate, key) = (data("v1/broker.crt"), data("v1/broker.key"));
    let server = listener(&certificate, &key)
        .minimum_version(MinimumVersion::Tls13)
        .build()
        .unwrap()
        .config();
    let [tls12, tls13] = VERSIONS;
    assert_eq!(alert(&shake(&client(tls12, "", ""), &server)), "ProtocolVersion");
    assert_eq!(alert(&shake(&client(tls13, "", ""), &server)), "ok");
}

#[test]
fn versions_have_the_names_of_mosquitto() {
    let version = |name: &str| name.parse::<MinimumVersion>();
    assert_eq!(version("tlsv1.2").unwrap(), MinimumVersion::Tls12);
    assert_eq!(version("tlsv1.3").unwrap(), MinimumVersion::Tls13);
    let error = version("tlsv1.1").unwrap_err();
    assert!(matches!(error, TlsError::OldVersion { .. }) && error.to_string().contains("write tlsv1.2"));
    assert!(matches!(version("TLSv1.3"), Err(TlsError::UnknownVersion { .. })));
}

/// What the feature changes: the cryptography of listeners that choose none, and with it the curve P-521.
#[test]
#[cfg(feature = "aws-lc-rs")]
fn listeners_use_aws_lc_with_its_feature() {
    let clock = || Arc::new(Clock(handshake::NOW));
    let listener = |certificate: &str, key: &str| {
        let (certificate, key) = (files(certificate), files(key));
        ServerTls::builder(&certificate, &key)
            .time_provider(clock())
            .client_authentication(required("ca", "crl"))
            .build()
    };
    let aws = rustls::crypto::aws_lc_rs::default_provider();
    let server = listener("broker.crt", "broker.key").unwrap().config();
    assert_eq!(
        format!("{:?}", server.crypto_provider().key_provider),
        format!("{:?}", aws.key_provider)
    );
    for version in VERSIONS {
        for (name, expected) in [
            ("myPLC", "ok"),
            ("client3", "ok"),
            ("revoked", "CertificateRevoked"),
        ] {
            assert_eq!(
                alert(&shake(&client(version, name, name), &server)),
                expected,
                "{name}"
            );
        }
    }
    assert!(listener("p521.crt", "p521.key").is_ok());
}

#[test]
fn nothing_is_negotiated_for_alpn() {
    let server = server(ClientAuthentication::Off);
    for version in VERSIONS {
        let mut config = (*client(version, "", "")).clone();
        config.alpn_protocols = vec![b"mqtt".to_vec(), b"x-amzn-mqtt-ca".to_vec()];
        let outcome = shake(&Arc::new(config), &server);
        assert_eq!(alert(&outcome), "ok");
        assert_eq!(outcome.client.unwrap().alpn_protocol(), None);
    }
}

#[test]
fn cipher_lists_of_openssl_are_understood() {
    use CipherSuite as C;
    let provider = handshake::provider();
    let tls12 = |list: &str| {
        let selection = select_cipher_suites(&provider, Some(list), None)?;
        let suites: Vec<C> = selection
            .suites
            .iter()
            .map(|suite| suite.suite())
            .filter(|suite| !is_tls13(*suite))
            .collect();
        Ok::<_, TlsError>((suites, selection.warnings.len()))
    };
    let ecdsa = [
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    for (list, expected, unknown) in [
        (
            "ECDHE-RSA-AES128-GCM-SHA256",
            &[C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256][..],
            0,
        ),
        (
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
            &ecdsa,
            0,
        ),
        ("ECDHE+ECDSA:!CHACHA20", &ecdsa, 0),
        ("!CHACHA20:ECDSA", &ecdsa, 0),
        ("DHE-RSA-AES256-SHA:ECDHE+ECDSA+AESGCM:@STRENGTH", &ecdsa, 1),
        (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 AES256-SHA",
            &[C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256],
            1,
        ),
        (
            "AES128:+ECDSA",
            &[
                C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ],
            0,
        ),
    ] {
        assert_eq!(tls12(list).unwrap(), (expected.to_vec(), unknown), "{list}");
    }
    assert_eq!(tls12("HIGH:!aNULL:!MD5").unwrap().0.len(), 6);
    for list in [
        "DEFAULT@SECLEVEL=2",
        "DEFAULT:@SECLEVEL=1",
        "ALL@STRENGTH",
        "HIGH:!kRSA:!DSS@SECLEVEL=0",
    ] {
        let (suites, unknown) = tls12(list).unwrap();
        assert_eq!((suites.len(), unknown), (6, 0), "{list}");
    }
    for list in ["RC4-SHA", "@SECLEVEL=2", "HIGH:!ALL"] {
        let error = tls12(list).map(|_| ()).unwrap_err();
        assert!(matches!(error, TlsError::NoCipherSuite { .. }), "{list}: {error}");
        assert!(error.to_string().contains("known are ECDHE-"), "{error}");
    }
    assert_eq!(
        select_cipher_suites(&provider, None, Some("TLS_AES_128_GCM_SHA256"))
            .unwrap()
            .suites[0]
            .suite(),
        C::TLS13_AES_128_GCM_SHA256
    );
}

/// `E256` and the like of the names of OpenSSL (`-`) or the RFCs (`_`), sorted.
fn short_names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let short = |name: &str| {
        let has = |part| name.contains(part);
        let key = if has("ECDSA") { "E" } else { "R" };
        let cipher = match (has("CHACHA20"), has("AES256") || has("AES_256")) {
            (true, _) => "c",
            (_, true) => "256",
            _ => "128",
        };
        format!("{key}{cipher}")
    };
    let mut names: Vec<String> = names.into_iter().map(short).collect();
    names.sort();
    names.join(" ")
}

/// What `openssl ciphers` makes of a list, of the suites that are here; `None` if it is not installed.
fn of_openssl(list: &str) -> Option<String> {
    let call = std::process::Command::new("openssl")
        .args(["ciphers", "-s", "-tls1_2", list])
        .output();
    let output = String::from_utf8(call.ok()?.stdout).unwrap();
    let known = |name: &&str| {
        let rest = name
            .strip_prefix("ECDHE-ECDSA-")
            .or_else(|| name.strip_prefix("ECDHE-RSA-"));
        rest.is_some_and(|rest| {
            rest == "CHACHA20-POLY1305" || rest.contains("-GCM-") && rest.starts_with("AES")
        })
    };
    Some(short_names(output.trim().split(':').filter(known)))
}

#[test]
fn cipher_words_mean_what_they_mean_to_openssl() {
    let provider = handshake::provider();
    let table = String::from_utf8(common::data("ciphers.txt")).unwrap();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let (list, expected) = line.split_once('|').unwrap();
        let list = list.trim();
        let mut expected: Vec<&str> = expected.split_whitespace().filter(|word| *word != "-").collect();
        expected.sort_unstable();
        let expected = expected.join(" ");
        let found = match select_cipher_suites(&provider, Some(list), None) {
            Ok(selection) => {
                let suites = selection.suites.iter().map(|suite| suite.suite());
                short_names(
                    suites
                        .filter(|suite| !is_tls13(*suite))
                        .filter_map(|suite| suite.as_str()),
                )
            }
            Err(_) => String::new(),
        };
        assert_eq!(found, expected, "{list}");
        if let Some(of_openssl) = of_openssl(list) {
            assert_eq!(of_openssl, expected, "openssl: {list}");
        }
    }
}

fn is_tls13(suite: CipherSuite) -> bool {
    suite.as_str().is_some_and(|name| name.starts_with("TLS13"))
}
