//! Subjects as the installed OpenSSL prints them. Skipped with a word where there is no `openssl`, unless
//! `KOMAR_REQUIRE_CLIENTS=1` demands it.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::{tlv, unsigned};
use komar_identity::{Certificate, IdentityError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn is_installed() -> bool {
    let version = Command::new("openssl").arg("version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // The names that 3.0 prints are what operators have copied into their files.
    let found = version
        .as_ref()
        .is_ok_and(|version| version.starts_with("OpenSSL 3."));
    let required = std::env::var_os("KOMAR_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
    assert!(
        found || !required,
        "KOMAR_REQUIRE_CLIENTS=1 demands OpenSSL 3, found {version:?}"
    );
    if !found {
        println!("skipped: OpenSSL 3 is not installed");
    }
    found
}

/// What `openssl x509 -subject` prints; `None` if it does not load the certificate.
fn openssl(der: &[u8], options: &str) -> Option<String> {
    let mut child = Command::new("openssl")
        .args([
            "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", options,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(der);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.strip_suffix('\n').filter(|_| output.status.success())?;
    Some(line.strip_prefix("subject=").unwrap().to_owned())
}

fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let oid = prop_oneof![
        4 => Just(vec![0x55, 4, 3]),
        2 => (3_u8..=100).prop_map(|last| vec![0x55, 4, last]),
        2 => (1_u8..=60).prop_map(|last| vec![0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, last]),
        2 => (1_u8..=21).prop_map(|last| vec![0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, last]),
        1 => (1_u8..=3).prop_map(|last| vec![0x2B, 6, 1, 4, 1, 0x82, 0x37, 0x3C, 2, 1, last]),
        1 => (1_u8..=5).prop_map(|last| vec![0x2B, 6, 1, 5, 5, 7, 9, last]),
        // Nobody's: OpenSSL knows short names for far more than attributes of people and things.
        1 => proptest::collection::vec(any::<u8>(), 1..5)
            .prop_map(|last| [&[0x2B, 6, 1, 4, 1, 0x86, 0x8D, 0x1F], &last[..]].concat()),
    ];
    let byte = prop_oneof![
        6 => proptest::sample::select(b"ab ,+\"\\<>;#=/\x00\x1b\x7f".to_vec()),
        1 => any::<u8>(),
    ];
    let bytes = proptest::collection::vec(byte, 0..7);
    let text = "[ ,+\"#=a\u{e9}\u{200b}\u{ffff}\u{1f600}\u{0}\n]{0,6}";
    let value = prop_oneof![
        5 => text.prop_map(|text| (12, text.into_bytes())),
        2 => text.prop_map(|text| (30, text.encode_utf16().flat_map(u16::to_be_bytes).collect())),
        1 => text.prop_map(|text| (28, text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect())),
        4 => (proptest::sample::select(vec![18, 19, 20, 22]), bytes.clone()),
        2 => (proptest::sample::select(vec![1_u8, 2, 3, 4, 5, 12, 21, 23, 24, 25, 26, 27, 28, 30, 0x30, 0x80]), bytes),
    ];
    // Now and then something behind the value, which nobody may overlook.
    let behind = prop_oneof![
        12 => Just(Vec::new()),
        1 => proptest::sample::select(vec![tlv(12, b"x"), tlv(5, b""), vec![0], vec![0, 0], vec![0xFF]]),
    ];
    (oid, value, behind)
        .prop_map(|(oid, (tag, value), behind)| tlv(0x30, &[tlv(6, &oid), tlv(tag, &value), behind].concat()))
}

/// Subjects with sets of several attributes, which DER sorts by their bytes.
fn subject() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let set = proptest::collection::vec(attribute(), 1..3).prop_map(|mut parts| {
        parts.sort();
        tlv(0x31, &parts.concat())
    });
    proptest::collection::vec(set, 0..4)
}

#[test]
fn every_spelling_is_that_of_openssl() {
    if !is_installed() {
        return;
    }
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(40);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&subject(), |subject| {
        let der = unsigned(&subject, &[]);
        let Some(rfc2253) = openssl(&der, "RFC2253") else {
            prop_assert!(Certificate::parse(&der).is_err(), "OpenSSL does not load it");
            return Ok(());
        };
        let certificate = Certificate::parse(&der).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (form, openssl, ours) in [
            ("RFC2253", Some(rfc2253), certificate.subject_rfc2253()),
            (
                "RFC2253,-esc_msb",
                openssl(&der, "RFC2253,-esc_msb"),
                certificate.subject_rfc4514(),
            ),
            ("oneline", openssl(&der, "oneline"), certificate.subject_oneline()),
            ("compat", openssl(&der, "compat"), certificate.subject_slash()),
        ] {
            match ours {
                Ok(ours) => prop_assert_eq!(Some(ours), openssl, "{}", form),
                Err(error) => {
                    prop_assert!(matches!(error, IdentityError::Empty { .. }), "{}", error);
                    prop_assert_eq!(openssl.as_deref(), Some(""), "{}", form);
                }
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
