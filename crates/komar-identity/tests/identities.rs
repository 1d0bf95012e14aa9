//! Common names, alternative names, templates, lists: what becomes a user name and what does not.

mod common;

use std::sync::Arc;

use common::{alternative_names, data, set, tlv, unsigned};
use komar_identity::{
    AllowList, AlternativeName, AlternativeNameKind, Certificate, FolderError, IdentityError, IdentityPolicy,
    Template, TemplateError, require_user_name,
};
use proptest::prelude::*;

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
        .collect()
}

fn variant(error: &IdentityError) -> String {
    format!("{error:?}").split([' ', '{']).next().unwrap().to_owned()
}

fn named(common_name: &str, organization: &str) -> Vec<u8> {
    unsigned(
        &[
            set(&[(O, 12, organization.as_bytes())]),
            set(&[(CN, 12, common_name.as_bytes())]),
        ],
        &[],
    )
}

#[test]
fn every_text_is_judged() {
    let table = String::from_utf8(data("texts.txt")).unwrap();
    for line in table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let [tag, hex, expected] = line
            .split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let value = bytes(hex);
        let der = unsigned(&[set(&[(CN, tag.parse().unwrap(), &value)])], &[]);
        match IdentityPolicy::CommonName.identity(&der) {
            Ok(identity) => {
                assert_eq!(expected, "ok", "{line}");
                assert_eq!(identity.as_bytes(), value, "{line}");
            }
            Err(error) => assert_eq!(variant(&error), expected, "{line}"),
        }
    }
}

#[test]
fn the_first_of_several_common_names_counts() {
    let der = unsigned(
        &[
            set(&[(CN, 12, b"first")]),
            set(&[(O, 12, b"x")]),
            set(&[(CN, 12, b"second")]),
        ],
        &[],
    );
    assert_eq!(IdentityPolicy::CommonName.identity(&der).unwrap(), "first");
    let several = IdentityError::SeveralCommonNames { count: 2 };
    assert_eq!(IdentityPolicy::OnlyCommonName.identity(&der), Err(several));
    assert_eq!(
        IdentityPolicy::OnlyCommonName
            .identity(&named("one", "x"))
            .unwrap(),
        "one"
    );
    // The first one is refused, not skipped.
    let der = unsigned(&[set(&[(CN, 12, b"")]), set(&[(CN, 12, b"second")])], &[]);
    assert_eq!(
        variant(&IdentityPolicy::CommonName.identity(&der).unwrap_err()),
        "Empty"
    );
}

#[test]
fn lengths_of_mqtt_are_the_limit() {
    for (length, fits) in [(65_535, true), (65_536, false)] {
        let name = "n".repeat(length);
        assert_eq!(
            IdentityPolicy::CommonName.identity(&named(&name, "x")).is_ok(),
            fits
        );
        let der = unsigned(&[set(&[(CN, 12, &name.as_bytes()[3..])])], &[]);
        assert_eq!(IdentityPolicy::Subject.identity(&der).is_ok(), fits);
    }
}

#[test]
fn an_empty_subject_is_no_identity() {
    let der = unsigned(&[], &[]);
    assert_eq!(
        IdentityPolicy::CommonName.identity(&der),
        Err(IdentityError::NoCommonName)
    );
    assert_eq!(
        variant(&IdentityPolicy::Subject.identity(&der).unwrap_err()),
        "Empty"
    );
}

#[test]
fn a_name_does_not_end_at_a_malformed_part() {
    let good = set(&[(CN, 12, b"admin")]);
    let bad_value = tlv(0x31, &tlv(0x30, &tlv(6, O)));
    let two = tlv(
        0x31,
        &[tlv(0x30, &[tlv(6, CN), tlv(12, b"a")].concat()), tlv(0x30, &[])].concat(),
    );
    // Behind the value, where only those look who count.
    let behind = tlv(
        0x31,
        &tlv(0x30, &[tlv(6, CN), tlv(12, b"alice"), tlv(12, b"x")].concat()),
    );
    for subject in [
        vec![behind],
        vec![good.clone(), tlv(0x31, &[])],
        vec![good.clone(), tlv(0x30, &[])],
        vec![good.clone(), bad_value],
        vec![good.clone(), vec![0x31]],
        vec![good, two],
    ] {
        assert_eq!(
            Certificate::parse(&unsigned(&subject, &[])).unwrap_err(),
            IdentityError::Malformed
        );
    }
}

#[test]
fn other_bytes_are_no_certificate() {
    let der = named("a", "b");
    let mut longer = der.clone();
    longer.extend([0, 0]);
    assert_eq!(
        Certificate::parse(&longer).unwrap_err(),
        IdentityError::TrailingData { length: 2 }
    );
    for length in 0..der.len() {
        assert!(Certificate::parse(&der[..length]).is_err());
    }
    assert_eq!(
        Certificate::parse(&data("certs/uid.pem")).unwrap_err(),
        IdentityError::Malformed
    );
}

#[test]
fn alternative_names_are_read_in_order() {
    let principal = |tag, text: &[u8]| {
        let id = tlv(6, &[0x2B, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3]);
        tlv(0xA0, &[id, tlv(0xA0, &tlv(tag, text))].concat())
    };
    let names = [
        tlv(0x86, b"urn:first"),
        tlv(0x82, b"plc.example"),
        tlv(0x86, b"urn:second"),
        tlv(0x81, b"me@example.org"),
        principal(12, "jörg@corp".as_bytes()),
        tlv(0x87, &[127, 0, 0, 1]),
        tlv(0x87, &[0; 16]),
        tlv(0x87, &[0; 5]),
        tlv(0x88, &[0x2A, 3]),
    ];
    let der = unsigned(&[set(&[(CN, 12, b"x")])], &[alternative_names(&names)]);
    let certificate = Certificate::parse(&der).unwrap();
    use AlternativeName as N;
    use AlternativeNameKind as K;
    let expected = [
        N::Text(K::Uri, "urn:first"),
        N::Text(K::Dns, "plc.example"),
        N::Text(K::Uri, "urn:second"),
        N::Text(K::Email, "me@example.org"),
        N::Text(K::UserPrincipalName, "jörg@corp"),
        N::Ip("127.0.0.1".parse().unwrap()),
        N::Ip("::".parse().unwrap()),
        N::Other,
        N::Other,
    ];
    assert_eq!(certificate.alternative_names().unwrap(), expected);
    for (kind, expected) in [
        (K::Uri, "urn:first"),
        (K::Dns, "plc.example"),
        (K::Email, "me@example.org"),
        (K::UserPrincipalName, "jörg@corp"),
    ] {
        assert_eq!(
            IdentityPolicy::AlternativeName(kind).identity(&der).unwrap(),
            expected
        );
    }

    for (names, expected) in [
        (vec![tlv(0x86, b"")], "Empty"),
        (vec![tlv(0x86, b"a\x00b")], "ForbiddenCharacter"),
        (vec![tlv(0x86, b"urn:\xFF")], "NoAlternativeName"),
        (vec![tlv(0x82, b"x")], "NoAlternativeName"),
        (vec![], "NoAlternativeName"),
    ] {
        let der = unsigned(&[], &[alternative_names(&names)]);
        let error = IdentityPolicy::AlternativeName(K::Uri)
            .identity(&der)
            .unwrap_err();
        assert_eq!(variant(&error), expected, "{names:?}");
    }
    let twice = [
        alternative_names(&[tlv(0x86, b"urn:a")]),
        alternative_names(&[tlv(0x86, b"urn:b")]),
    ];
    let error = IdentityPolicy::AlternativeName(K::Uri)
        .identity(&unsigned(&[], &twice))
        .unwrap_err();
    assert_eq!(variant(&error), "MalformedExtension");
    let printable = unsigned(&[], &[alternative_names(&[principal(19, b"a")])]);
    let error = IdentityPolicy::AlternativeName(K::UserPrincipalName)
        .identity(&printable)
        .unwrap_err();
    assert_eq!(variant(&error), "NoAlternativeName");
}

#[test]
fn templates_never_give_two_certificates_one_name() {
    let policy = |text: &str| IdentityPolicy::Template(text.parse().unwrap());
    let cases = [
        ("{cn}@{o}", "plc", "acme", Ok("plc@acme")),
        ("{CN}", "a@b", "c", Ok("a@b")),
        ("plant/{cn}", "plant/1", "c", Ok("plant/plant/1")),
        ("{{{cn}}}", "a", "c", Ok("{a}")),
        ("{cn}@{o}", "a", "b@c", Ok("a@b@c")),
        ("{cn}@{o}", "a@b", "c", Err("AmbiguousValue")),
        ("{cn}--{o}!", "a-", "b!", Err("AmbiguousValue")),
        ("{cn}@{l}", "a", "c", Err("NothingForPlaceholder")),
        ("{cn}@{dns}", "a", "c", Err("NothingForPlaceholder")),
        ("{cn}@{o}", "", "c", Err("Empty")),
        ("{cn}@{o}", "a", "b\u{1b}", Err("ForbiddenCharacter")),
    ];
    for (template, common_name, organization, expected) in cases {
        let result = policy(template).identity(&named(common_name, organization));
        match expected {
            Ok(name) => assert_eq!(result.as_deref(), Ok(name), "{template}"),
            Err(name) => assert_eq!(variant(&result.unwrap_err()), name, "{template}"),
        }
    }
    assert_eq!(policy("{serial}").identity(&named("a", "b")).unwrap(), "0401");
    assert_eq!(
        policy("x{fingerprint}").identity(&named("a", "b")).unwrap().len(),
        65
    );

    for (text, expected) in [
        ("", TemplateError::NoPlaceholder),
        ("all", TemplateError::NoPlaceholder),
        ("{cn}{o}", TemplateError::NoSeparator { placeholder: "o" }),
        ("a{cn", TemplateError::UnmatchedBrace { position: 1 }),
        ("{cn}}", TemplateError::UnmatchedBrace { position: 4 }),
    ] {
        assert_eq!(text.parse::<Template>(), Err(expected), "{text}");
    }
    let error = "{name}".parse::<Template>().unwrap_err().to_string();
    assert!(
        error.starts_with("unknown placeholder {name}; known are cn o"),
        "{error}"
    );
    assert_eq!("{cn}@{{".parse::<Template>().unwrap().to_string(), "{cn}@{{");
}

#[test]
fn policies_have_words() {
    for (word, expected) in [
        ("cn", IdentityPolicy::CommonName),
        ("single_cn", IdentityPolicy::OnlyCommonName),
        ("subject", IdentityPolicy::Subject),
        (
            "upn",
            IdentityPolicy::AlternativeName(AlternativeNameKind::UserPrincipalName),
        ),
        ("serial", IdentityPolicy::Serial),
        ("fingerprint", IdentityPolicy::Fingerprint),
        ("{cn}@{o}", IdentityPolicy::Template("{cn}@{o}".parse().unwrap())),
    ] {
        assert_eq!(word.parse(), Ok(expected), "{word}");
    }
    for kind in AlternativeNameKind::ALL {
        assert_eq!(kind.word().parse(), Ok(IdentityPolicy::AlternativeName(kind)));
    }
    assert_eq!("CN".parse::<IdentityPolicy>(), Err(TemplateError::NoPlaceholder));
}

#[test]
fn lists_allow_names_and_certificates() {
    let (plc, host, other) = (named("plc", "a"), named("host", "a"), named("other", "a"));
    let mut list = AllowList::default();
    assert!(list.is_empty());
    list.add_name("plc");
    list.add_certificate(&host).unwrap();
    assert!(list.add_certificate(b"no certificate").is_err());
    assert_eq!(list.len(), 2);
    assert!(list.contains_name("plc") && !list.contains_name("host"));
    let policy = IdentityPolicy::Listed(Box::new(IdentityPolicy::CommonName), Arc::new(list));
    assert_eq!(policy.identity(&plc).unwrap(), "plc");
    assert_eq!(policy.identity(&host).unwrap(), "host");
    assert_eq!(
        policy.identity(&other),
        Err(IdentityError::NotListed {
            identity: "other".to_owned()
        })
    );
    // Listed is that certificate, not everybody of its name.
    assert!(policy.identity(&named("host", "b")).is_err());
}

#[test]
#[cfg(unix)]
fn a_link_in_a_folder_that_points_nowhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder.pem")).unwrap();
    std::fs::write(path("plc.der"), named("plc", "a")).unwrap();
    let add = || AllowList::default().add_folder(folder.path());
    assert_eq!(add().unwrap(), 1);
    std::os::unix::fs::symlink(path("moved"), path("link.crt")).unwrap();
    assert!(matches!(add(), Err(FolderError::Io { path, .. }) if path.ends_with("link.crt")));
    std::fs::remove_file(path("link.crt")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("link.crt")).unwrap();
    assert!(matches!(add(), Err(FolderError::Io { .. })));
}

#[test]
fn no_certificate_of_a_folder_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let add = || AllowList::default().add_folder(folder.path());
    let pem = String::from_utf8(data("certs/ca.pem")).unwrap();
    write("a.pem", &pem.replace(" CERTIFICATE", " X509 CERTIFICATE"));
    assert_eq!(add().unwrap(), 1);
    write("b.pem", &pem.replace(" CERTIFICATE", " TRUSTED CERTIFICATE"));
    assert!(matches!(add(), Err(FolderError::TrustedCertificate { path }) if path.ends_with("b.pem")));
    write("b.pem", &pem[..pem.len() / 2]);
    assert!(matches!(add(), Err(FolderError::DamagedPem { path }) if path.ends_with("b.pem")));
}

#[test]
fn a_folder_of_certificates_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let folder_list = || {
        let mut list = AllowList::default();
        list.add_folder(folder.path()).map(|added| (list, added))
    };
    assert!(matches!(folder_list(), Err(FolderError::Empty { .. })));
    assert!(matches!(
        AllowList::default().add_folder(&folder.path().join("none")),
        Err(FolderError::Io { .. })
    ));

    write("plc.der", &named("plc", "a"));
    write(
        "two.pem",
        &[data("certs/uid.pem"), data("certs/plus.pem")].concat(),
    );
    write(
        "key.pem",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    write("README", b"no certificate, and not asked for");
    // As Windows programs write them: capitals, a byte order mark, remarks in Latin-1, CRLF.
    let pem = String::from_utf8(data("certs/ca.pem")).unwrap();
    let windows = [b"\xEF\xBB\xBF", pem.replace('\n', "\r\n").as_bytes()].concat();
    write("CA.PEM", &windows);
    let remarks = [
        b"friendlyName: M\xFCller\n",
        data("certs/esc.pem").as_slice(),
        b"\xFC\n",
    ]
    .concat();
    write("ESC.Crt", &remarks);
    std::fs::create_dir(folder.path().join("old.crt")).unwrap();
    let (list, added) = folder_list().unwrap();
    assert_eq!((added, list.len()), (5, 5));
    let policy = IdentityPolicy::Listed(Box::new(IdentityPolicy::CommonName), Arc::new(list));
    assert_eq!(policy.identity(&named("plc", "a")).unwrap(), "plc");
    assert_eq!(
        policy.identity(&common::certificate("certs/plus.pem")).unwrap(),
        "a+b"
    );
    assert!(policy.identity(&named("plc", "b")).is_err());

    for (name, bytes) in [
        ("x.crt", &b"no certificate"[..]),
        (
            "x.crt",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("x.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
    ] {
        write(name, bytes);
        let error = folder_list().map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("x.crt: "), "{error}");
    }
}

#[test]
fn the_user_name_can_be_bound_to_the_certificate() {
    assert_eq!(require_user_name("plc", Some("plc")), Ok(()));
    for user_name in [None, Some(""), Some("PLC"), Some("plc\0")] {
        assert!(require_user_name("plc", user_name).is_err());
    }
}

#[test]
fn facts_are_those_of_openssl() {
    let der = common::certificate("certs/ca.pem");
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(certificate.version(), 3);
    assert_eq!(
        certificate.serial_hex(),
        "627EB0B976F5F1DD8D2047BBD4F14A65EA42AFF4"
    );
    assert!(certificate.is_self_issued());
    assert_eq!(certificate.issuer_rfc4514(), "CN=Vector Test CA,O=Vectors");
    let der = common::certificate("certs/uid.pem");
    let certificate = Certificate::parse(&der).unwrap();
    assert_eq!(
        (certificate.not_before(), certificate.not_after()),
        (1_735_689_600, 4_891_363_200)
    );
    assert!(certificate.is_valid_at(1_735_689_600) && !certificate.is_valid_at(1_735_689_599));
    assert_eq!(IdentityPolicy::Serial.identity(&der).unwrap(), "0426");
}

/// Everything that takes bytes from a peer, on whatever parses.
fn exercise(der: &[u8]) {
    let Ok(certificate) = Certificate::parse(der) else {
        return;
    };
    let mut policies = vec![
        IdentityPolicy::CommonName,
        IdentityPolicy::OnlyCommonName,
        IdentityPolicy::Subject,
        IdentityPolicy::Serial,
        IdentityPolicy::Fingerprint,
        IdentityPolicy::Template("{cn}@{o}".parse().unwrap()),
    ];
    policies.extend(AlternativeNameKind::ALL.map(IdentityPolicy::AlternativeName));
    for policy in policies {
        if let Ok(identity) = policy.identity_of(&certificate) {
            assert!(!identity.is_empty() && identity.len() <= 65_535);
            assert!(!identity.contains(char::is_control));
        }
    }
    let _ = (
        certificate.subject_rfc4514(),
        certificate.subject_oneline(),
        certificate.subject_slash(),
    );
    let _ = (
        certificate.serial_hex(),
        certificate.not_after(),
        certificate.issuer_rfc4514(),
    );
    if let Ok(subject) = certificate.subject_rfc2253() {
        assert!(subject.is_ascii());
    }
}

fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let oid = prop_oneof![
        Just(CN.to_vec()),
        Just(O.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6)
    ];
    let tag = prop_oneof![Just(12_u8), Just(19), Just(22), Just(30), Just(28), any::<u8>()];
    (oid, tag, proptest::collection::vec(any::<u8>(), 0..12))
        .prop_map(|(oid, tag, value)| set(&[(&oid, tag, &value)]))
}

proptest! {
    #[test]
    fn no_subject_panics(
        subject in proptest::collection::vec(attribute(), 0..4),
        names in proptest::collection::vec((0x80_u8..0xAF, proptest::collection::vec(any::<u8>(), 0..12)), 0..4),
    ) {
        let names: Vec<Vec<u8>> = names.iter().map(|(tag, value)| tlv(*tag, value)).collect();
        exercise(&unsigned(&subject, &[alternative_names(&names)]));
    }

    #[test]
    fn no_change_panics(position in 0_usize..400, byte in any::<u8>(), file in 0_usize..4) {
        let mut der = common::certificate(["certs/san-two-uris.pem", "certs/four-ou.pem", "certs/esc.pem", "certs/ca.pem"][file]);
        let position = position % der.len();
        der[position] = byte;
        exercise(&der);
        exercise(&der[..position]);
    }

    /// Text between separators comes back, whatever a subject holds.
    #[test]
    fn a_subject_cannot_pretend_to_be_two_attributes(value in "[ -~]{1,12}") {
        let der = unsigned(&[set(&[(CN, 12, value.as_bytes())])], &[]);
        let subject = IdentityPolicy::Subject.identity(&der).unwrap();
        let mut inner = subject.strip_prefix("CN=").unwrap().chars();
        let mut back = String::new();
        while let Some(character) = inner.next() {
            prop_assert!(!",+;<>\"".contains(character));
            back.push(if character == '\\' { inner.next().unwrap() } else { character });
        }
        prop_assert_eq!(back, value);
    }
}
