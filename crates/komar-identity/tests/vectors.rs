//! Subjects of odd certificates: what OpenSSL prints, and the user name that Mosquitto derives.

mod common;

use common::{certificate, data};
use komar_identity::{Certificate, IdentityError, IdentityPolicy};
use serde_json::Value;

/// What Mosquitto 2.1 answered: a user name, or a refusal (of CONNECT or of the handshake).
fn expected(case: &Value, mode: &str) -> Option<String> {
    let answer = &case["mosquitto"]["2.1.2"][mode];
    let name = answer["username"].as_str().map(str::to_owned);
    assert!(answer.get("username_prefix").is_none(), "cut log line: {case}");
    // Refused here in either mode, although Mosquitto accepts it.
    name.filter(|name| !name.is_empty())
}

fn check(name: &str, case: &Value) {
    let der = certificate(&format!("certs/{name}.pem"));
    for (mode, policy) in [
        ("cn", IdentityPolicy::CommonName),
        ("subject", IdentityPolicy::Subject),
    ] {
        let identity = policy.identity(&der);
        assert_eq!(
            identity.clone().ok(),
            expected(case, mode),
            "{name} {mode}: {identity:?}"
        );
    }
    let Some(rfc2253) = case["openssl"]["rfc2253"].as_str() else {
        assert!(
            matches!(
                Certificate::parse(&der),
                Err(IdentityError::UnreadableName { .. })
            ),
            "{name}"
        );
        return;
    };
    let certificate = Certificate::parse(&der).unwrap();
    let forms = [
        ("rfc2253", rfc2253, certificate.subject_rfc2253()),
        (
            "rfc2253_utf8",
            case["openssl"]["rfc2253_utf8"].as_str().unwrap(),
            certificate.subject_rfc4514(),
        ),
        (
            "oneline",
            case["openssl"]["oneline"].as_str().unwrap(),
            certificate.subject_oneline(),
        ),
        (
            "compat",
            case["openssl"]["compat"].as_str().unwrap(),
            certificate.subject_slash(),
        ),
    ];
    for (form, openssl, ours) in forms {
        match ours {
            Ok(ours) => assert_eq!(ours, openssl, "{name} {form}"),
            Err(IdentityError::TooLong { .. }) => assert!(openssl.len() > 65_535, "{name} {form}"),
            Err(error) => panic!("{name} {form}: {error}"),
        }
    }
}

#[test]
fn every_vector_holds() {
    let table: Value = serde_json::from_slice(&data("certs.json")).unwrap();
    let cases = table["certs"].as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        check(case["name"].as_str().unwrap(), case);
    }
}
