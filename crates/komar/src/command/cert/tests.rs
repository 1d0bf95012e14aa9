//! The commands, called with their arguments.

use komar_identity::Certificate;
use komar_identity::tls::revocation_lists_from_pem;

use super::*;
use crate::output::collected;

/// A folder to work in.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Site {
        Site(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Status, and what was written to standard output and standard error; the folder is called DIR.
    fn call(&self, line: &str) -> (i32, String, String) {
        let folder = self.0.path().to_str().unwrap();
        let arguments = line
            .split(' ')
            .map(|word| OsString::from(word.replace("DIR", folder)));
        let arguments: Vec<OsString> = arguments.collect();
        let (status, output, errors) = collected(|streams| run(&arguments, streams));
        (
            status,
            output.replace(folder, "DIR"),
            errors.replace(folder, "DIR"),
        )
    }

    #[track_caller]
    fn done(&self, line: &str) -> String {
        let (status, output, errors) = self.call(line);
        assert_eq!((status, errors.as_str()), (0, ""), "{line}");
        output
    }
}

#[test]
fn a_site_in_four_lines() {
    let site = Site::new();
    assert_eq!(site.done("ca site --dir DIR"), "DIR/site.crt\nDIR/site.key\n");
    let broker = site.done("server broker.example 10.0.0.1 --ca DIR/site.crt --dir DIR");
    assert_eq!(broker, "DIR/broker.crt\nDIR/broker.key\n");
    site.done("client plc --ca DIR/site.crt --dir DIR --days 30");
    site.done("client hmi --ca DIR/site.crt --dir DIR --out other");
    assert!(site.path("other.crt").exists());

    let shown = site.done("show DIR/plc.crt --ca DIR/site.crt");
    assert!(shown.contains("CN (use_identity_as_username): plc\n"), "{shown}");
    assert!(shown.ends_with("accepts it.\n"), "{shown}");
    let shown = site.done("show DIR/broker.crt");
    assert!(
        shown.contains("alternative name, dns: broker.example\n"),
        "{shown}"
    );

    // Nothing is overwritten unless it is said.
    let (status, output, errors) = site.call("client plc --ca DIR/site.crt --dir DIR");
    assert_eq!((status, output.as_str()), (1, ""));
    assert!(
        errors.contains("DIR/plc.key exists; --force replaces it"),
        "{errors}"
    );
    let before = std::fs::read(site.path("plc.crt")).unwrap();
    site.done("client plc --ca DIR/site.crt --dir DIR --force");
    assert_ne!(std::fs::read(site.path("plc.crt")).unwrap(), before);
    let left = std::fs::read_dir(site.0.path()).unwrap().count();
    assert_eq!(left, 8, "no temporary file is left");
}

#[test]
fn a_folder_of_authorities_is_read_as_a_listener_reads_it() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    std::fs::create_dir(site.path("cas")).unwrap();
    let authority = std::fs::read(site.path("site.crt")).unwrap();
    let key = std::fs::read(site.path("site.key")).unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(site.path("cas").join(name), text).unwrap();
    let remove = |name: &str| std::fs::remove_file(site.path("cas").join(name)).unwrap();
    let show = || site.call("show DIR/plc.crt --ca DIR/cas");

    // A file without a certificate is left out as long as another has one.
    write("key.pem", &key);
    let (status, _, errors) = show();
    assert_eq!(status, 1);
    assert!(errors.contains("DIR/cas/key.pem"), "{errors}");
    write("site.crt", &authority);
    let (status, output, _) = show();
    assert_eq!(status, 0);
    assert!(output.ends_with("accepts it.\n"), "{output}");
    // A damaged one may be an authority that is missed, and so may a hashed name without a certificate.
    write("other.crt", authority.split_at(authority.len() / 2).0);
    let (status, _, errors) = show();
    assert_eq!(status, 1);
    assert!(errors.contains("DIR/cas/other.crt"), "{errors}");
    remove("other.crt");
    write("9d66eef0.0", &key);
    let (status, _, errors) = show();
    assert_eq!(status, 1);
    assert!(errors.contains("DIR/cas/9d66eef0.0"), "{errors}");
}

#[test]
#[cfg(unix)]
fn keys_are_their_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    site.done("ca site --dir DIR");
    let mode = |file| std::fs::metadata(site.path(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("site.key"), 0o600);
    assert_eq!(mode("site.crt") & 0o444, 0o444);
}

#[test]
fn what_is_revoked_stays_revoked() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    for client in ["plc", "hmi", "scada"] {
        site.done(&format!("client {client} --ca DIR/site.crt --dir DIR"));
    }
    let accepts = |client: &str| {
        let line = format!("show DIR/{client}.crt --ca DIR/site.crt --crl DIR/site.crl");
        let (status, output, _) = site.call(&line);
        assert!(
            status == 0 || status == 2 && output.contains("refuses it"),
            "{output}"
        );
        status == 0
    };
    let crl = |files: &str| site.done(&format!("crl{files} --ca DIR/site.crt --dir DIR"));
    assert_eq!(crl(""), "DIR/site.crl: 0 certificates revoked (a new list)\n");
    assert!(accepts("plc") && accepts("hmi") && accepts("scada"));
    assert_eq!(crl(" DIR/plc.crt"), "DIR/site.crl: 1 certificate revoked\n");
    assert!(!accepts("plc") && accepts("hmi"));
    assert_eq!(
        crl(" DIR/hmi.crt DIR/plc.crt"),
        "DIR/site.crl: 2 certificates revoked\n"
    );
    assert_eq!(crl(""), "DIR/site.crl: 2 certificates revoked\n");
    assert!(!accepts("plc") && !accepts("hmi") && accepts("scada"));

    // Neither somebody else's certificate nor somebody else's list.
    site.done("ca other --dir DIR");
    site.done("client stranger --ca DIR/other.crt --dir DIR");
    let before = std::fs::read(site.path("site.crl")).unwrap();
    for (line, words) in [
        (
            "crl DIR/stranger.crt --ca DIR/site.crt --dir DIR",
            "issued by somebody else, \"CN=other\"",
        ),
        (
            "crl --ca DIR/other.crt --dir DIR --out site",
            "list of somebody else, \"CN=site\"",
        ),
        (
            "crl DIR/none.crt --ca DIR/site.crt --dir DIR",
            "cannot read DIR/none.crt",
        ),
    ] {
        let (status, _, errors) = site.call(line);
        assert_eq!(status, 1, "{line}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
    std::fs::write(site.path("note.crl"), "a note").unwrap();
    let (_, _, errors) = site.call("crl --ca DIR/site.crt --dir DIR --out note");
    assert!(
        errors.contains("DIR/note.crl: it is not one revocation list"),
        "{errors}"
    );
    assert_eq!(std::fs::read(site.path("site.crl")).unwrap(), before);
}

/// A revocation list of `site`'s authority that another program made, and whether its files were those of the authority.
fn list_of_others(site: &Site, change: impl FnOnce(&mut rcgen::CertificateRevocationListParams)) -> String {
    let read = |name: &str| std::fs::read_to_string(site.path(name)).unwrap();
    let key = rcgen::KeyPair::from_pem(&read("site.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("site.crt"), key).unwrap();
    let now = time::OffsetDateTime::now_utc();
    let mut params = rcgen::CertificateRevocationListParams {
        this_update: now - time::Duration::days(1),
        next_update: now + time::Duration::days(1),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    change(&mut params);
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

#[test]
fn a_list_begins_an_hour_ago_but_not_before_the_one_that_it_replaces() {
    use x509_parser::prelude::FromDer as _;
    let site = Site::new();
    site.done("ca site --dir DIR");
    let now = || time::OffsetDateTime::now_utc();
    let hour = time::Duration::hours(1);
    let begins = || {
        let pem = std::fs::read(site.path("site.crl")).unwrap();
        let der = revocation_lists_from_pem(&pem, "").unwrap().remove(0);
        let (_, list) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
        list.last_update().to_datetime()
    };
    let second = time::Duration::seconds(1);
    let (from, _) = (now(), site.done("crl --ca DIR/site.crt --dir DIR"));
    assert!((from - hour - second..=now() - hour).contains(&begins()));
    for (old, expected) in [
        (-hour * 3, -hour),
        (-hour / 2, -hour / 2),
        (hour * 3, time::Duration::ZERO),
    ] {
        let from = now();
        let list = list_of_others(&site, |list| {
            (list.this_update, list.next_update) = (from + old, from + hour * 5)
        });
        std::fs::write(site.path("site.crl"), list).unwrap();
        site.done("crl --ca DIR/site.crt --dir DIR");
        assert!(
            (from + expected - second..=now() + expected).contains(&begins()),
            "{old}"
        );
    }
}

#[test]
fn the_newest_list_that_has_begun_counts() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    site.done("client hmi --ca DIR/site.crt --dir DIR");
    let revoked = |client: &str| {
        let pem = std::fs::read(site.path(&format!("{client}.crt"))).unwrap();
        let der = crate::certificates::first_certificate(&pem, client).unwrap();
        rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from_slice(Certificate::parse(&der).unwrap().serial()),
            revocation_time: time::OffsetDateTime::now_utc(),
            reason_code: None,
            invalidity_date: None,
        }
    };
    let day = time::Duration::days(1);
    let early = list_of_others(&site, |list| {
        (list.this_update, list.next_update) = (list.this_update + day * 2, list.next_update + day * 2);
        list.revoked_certs = vec![revoked("hmi")];
    });
    let current = list_of_others(&site, |_| {});
    let shown = |lists: &[&str], client: &str| {
        std::fs::write(site.path("lists"), lists.concat()).unwrap();
        let line = format!("show DIR/{client}.crt --ca DIR/site.crt --crl DIR/lists");
        site.call(&line).1.lines().last().unwrap().to_owned()
    };
    for lists in [[&*early, &*current], [&*current, &*early]] {
        assert!(shown(&lists, "plc").ends_with("accepts it."));
        assert!(shown(&lists, "hmi").ends_with("it is revoked."), "not waited for");
    }
    assert!(shown(&[&early], "plc").ends_with("no usable revocation list of its authority."));
}

#[test]
fn a_list_that_says_more_than_komar_writes_is_not_replaced() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    let divided = list_of_others(&site, |list| {
        list.issuing_distribution_point = Some(rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint {
                uris: vec!["http://ca.example/1.crl".to_owned()],
            },
            scope: None,
        });
    });
    let long = |bytes: &[u8]| {
        list_of_others(&site, |list| {
            list.crl_number = rcgen::SerialNumber::from_slice(bytes)
        })
    };
    let longest = [&[0x7F][..], &[0xFF; 19]].concat();
    let almost = [&[0x7F][..], &[0xFF; 18], &[0xFE]].concat();
    for (list, words) in [
        (
            divided,
            "a critical extension that komar cannot keep (issuingDistributionPoint)",
        ),
        (
            long(&longest),
            "not one that a list may have, or the last of these",
        ),
        (long(&[1; 21]), "not one that a list may have"),
    ] {
        std::fs::write(site.path("site.crl"), &list).unwrap();
        let (status, _, errors) = site.call("crl --ca DIR/site.crt --dir DIR");
        assert_eq!(status, 1);
        assert!(errors.contains(words), "{errors}");
        assert_eq!(std::fs::read_to_string(site.path("site.crl")).unwrap(), list);
    }
    for (number, next) in [
        (&almost[..], &longest[..]),
        (&[0xFF; 8], &[1, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        std::fs::write(site.path("site.crl"), long(number)).unwrap();
        site.done("crl --ca DIR/site.crt --dir DIR");
        let pem = std::fs::read(site.path("site.crl")).unwrap();
        let der = revocation_lists_from_pem(&pem, "").unwrap().remove(0);
        assert!(
            der.windows(next.len() + 1)
                .any(|part| part == [&[next.len() as u8][..], next].concat())
        );
    }
}

#[test]
fn lists_made_at_the_same_time_lose_nothing() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    let clients: Vec<_> = (0..12).map(|number| format!("client{number}")).collect();
    for client in &clients {
        site.done(&format!("client {client} --ca DIR/site.crt --dir DIR"));
    }
    let together = std::sync::Barrier::new(clients.len());
    std::thread::scope(|scope| {
        for client in &clients {
            let (site, together) = (&site, &together);
            scope.spawn(move || {
                together.wait();
                site.done(&format!("crl DIR/{client}.crt --ca DIR/site.crt --dir DIR"))
            });
        }
    });
    let list = site.done("crl --ca DIR/site.crt --dir DIR");
    assert_eq!(list, "DIR/site.crl: 12 certificates revoked\n");
    let left = std::fs::read_dir(site.0.path()).unwrap().count();
    assert_eq!(left, 2 + 2 * 12 + 1, "neither lock nor temporary file");
}

#[test]
fn a_replacement_that_fails_leaves_what_was_there() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    std::fs::create_dir(site.path("plc.crt")).unwrap();
    for old in [None, Some("the old key")] {
        if let Some(old) = old {
            std::fs::write(site.path("plc.key"), old).unwrap();
        }
        let before = std::fs::read_dir(site.0.path()).unwrap().count();
        let (status, output, errors) = site.call("client plc --ca DIR/site.crt --dir DIR --force");
        assert_eq!((status, output.as_str()), (1, ""));
        assert!(errors.contains("cannot write DIR/plc.crt: "), "{errors}");
        assert_eq!(std::fs::read_to_string(site.path("plc.key")).ok().as_deref(), old);
        assert_eq!(std::fs::read_dir(site.0.path()).unwrap().count(), before);
    }
}

#[test]
fn an_authority_is_not_replaced_by_what_it_signs() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    std::fs::rename(site.path("site.key"), site.path("kept.key")).unwrap();
    std::fs::create_dir(site.path("sub")).unwrap();
    let files = || ["site.crt", "kept.key"].map(|file| std::fs::read(site.path(file)).unwrap());
    let before = files();
    for line in [
        "client site",
        "client kept",
        "server broker.example --out site",
        "server broker.example --out kept",
    ] {
        for ca in ["DIR/site.crt", "DIR/sub/../site.crt"] {
            let (status, _, errors) = site.call(&format!(
                "{line} --ca {ca} --ca-key DIR/kept.key --dir DIR --force"
            ));
            assert_eq!(status, 1, "{line}");
            assert!(errors.contains("belongs to the authority"), "{line}: {errors}");
            assert_eq!(files(), before, "{line}");
        }
    }
    // Making the authority anew is said with another command.
    site.done("ca site --dir DIR --force");
    assert_ne!(files(), before);
}

#[test]
fn only_an_authority_signs() {
    use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
    let site = Site::new();
    let day = time::Duration::days(1);
    let now = time::OffsetDateTime::now_utc();
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    for (is_ca, usage, from, until, words) in [
        (IsCa::NoCa, None, now - day, now + day, "(CA:TRUE)"),
        (IsCa::ExplicitNoCa, None, now - day, now + day, "(CA:TRUE)"),
        (
            authority,
            Some(KeyUsagePurpose::CrlSign),
            now - day,
            now + day,
            "(keyCertSign)",
        ),
        (authority, None, now - day - day, now - day, "it has expired"),
        (authority, None, now + day, now + day + day, "it is not valid yet"),
    ] {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = is_ca;
        params.key_usages = usage.into_iter().collect();
        (params.not_before, params.not_after) = (from, until);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(site.path("x.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(site.path("x.key"), key.serialize_pem()).unwrap();
        for command in ["client plc", "server broker.example"] {
            let (status, _, errors) = site.call(&format!("{command} --ca DIR/x.crt --dir DIR"));
            assert_eq!(status, 1, "{words}");
            assert!(
                errors.contains("may not sign others: ") && errors.contains(words),
                "{errors}"
            );
        }
    }
    site.done("ca site --dir DIR --days 10");
    let (status, _, errors) = site.call("client plc --ca DIR/site.crt --dir DIR --days 30");
    assert_eq!(status, 0);
    assert!(errors.starts_with("Note: it is valid until "), "{errors}");
    let until = |file| {
        let shown = site.done(&format!("show DIR/{file}.crt"));
        shown
            .lines()
            .find(|line| line.starts_with("valid until"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(until("plc"), until("site"));
}

#[test]
fn keys_of_all_forms_are_read() {
    let site = Site::new();
    // Made by openssl ecparam -genkey, openssl genrsa -traditional and openssl pkcs8 -topk8.
    let key = |file: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
        std::fs::read_to_string(folder.join(file)).unwrap()
    };
    for (kind, first) in [
        ("ec", "-----BEGIN EC PARAMETERS"),
        ("rsa", "-----BEGIN RSA PRIVATE KEY"),
    ] {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pair = rcgen::KeyPair::from_pem(&key(&format!("{kind}.pkcs8.pem"))).unwrap();
        std::fs::write(site.path("x.crt"), params.self_signed(&pair).unwrap().pem()).unwrap();
        let older = key(&format!("{kind}.pem"));
        assert!(older.starts_with(first), "{older}");
        std::fs::write(site.path("x.key"), older).unwrap();
        site.done(&format!("client {kind} --ca DIR/x.crt --dir DIR"));
        let shown = site.done(&format!("show DIR/{kind}.crt --ca DIR/x.crt"));
        assert!(shown.ends_with("accepts it.\n"), "{shown}");
    }
    std::fs::write(site.path("x.key"), key("ec.pem")).unwrap();
    let (_, _, errors) = site.call("client plc --ca DIR/x.crt --dir DIR");
    assert!(errors.contains("the key does not belong"), "{errors}");
    std::fs::write(site.path("x.key"), key("encrypted.pem")).unwrap();
    let (_, _, errors) = site.call("client plc --ca DIR/x.crt --dir DIR");
    assert!(
        errors.contains("DIR/x.key: the private key is encrypted"),
        "{errors}"
    );
}

#[test]
fn show_says_why_one_would_be_refused() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("ca other --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    site.done("server broker.example --ca DIR/site.crt --dir DIR");
    for (line, words) in [
        (
            "show DIR/plc.crt --ca DIR/other.crt",
            "none of the authorities has signed it",
        ),
        ("show DIR/broker.crt --ca DIR/site.crt", "not for TLS clients"),
        (
            "show DIR/site.crt --ca DIR/other.crt",
            "none of the authorities has signed it",
        ),
    ] {
        let (status, output, _) = site.call(line);
        assert_eq!(status, 2, "{line}");
        assert!(
            output.contains("refuses it: ") && output.contains(words),
            "{line}: {output}"
        );
    }
    let shown = site.done("show DIR/plc.crt --template {cn}@{o}");
    assert!(
        shown.contains("template \"{cn}@{o}\": refused, the certificate has nothing for {o}"),
        "{shown}"
    );
    assert!(
        shown.contains("alternative name, uri: refused, there is no"),
        "{shown}"
    );
    let json = site.done("show DIR/plc.crt --format json --ca DIR/site.crt");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["identities"]["CN (use_identity_as_username)"]["identity"],
        "plc"
    );
    assert_eq!(json["certificate"]["issuer, RFC 4514"], "CN=site");
    assert_eq!(json["listener"]["accepted"], true);
    assert!(json["identities"]["alternative name, dns"]["refused"].is_string());
}

#[test]
fn a_folder_of_authorities_is_a_capath() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    std::fs::create_dir(site.path("cas")).unwrap();
    let (status, _, errors) = site.call("show DIR/plc.crt --ca DIR/cas");
    assert_eq!(status, 1);
    assert!(errors.contains("DIR/cas: no certificates (.pem"), "{errors}");
    site.done("ca other --dir DIR/cas");
    let (status, output, _) = site.call("show DIR/plc.crt --ca DIR/cas");
    assert_eq!(status, 2);
    assert!(
        output.contains("none of the authorities has signed it"),
        "{output}"
    );
    std::fs::copy(site.path("site.crt"), site.path("cas/site.CRT")).unwrap();
    let shown = site.done("show DIR/plc.crt --ca DIR/cas");
    assert!(shown.ends_with("accepts it.\n"), "{shown}");
    // Once names are hashed, an authority without such a name is none.
    std::fs::rename(site.path("cas/other.crt"), site.path("cas/0a1b2c3d.0")).unwrap();
    assert_eq!(site.call("show DIR/plc.crt --ca DIR/cas").0, 2);
    std::fs::rename(site.path("site.crt"), site.path("cas/0a1b2c3d.1")).unwrap();
    let shown = site.done("show DIR/plc.crt --ca DIR/cas");
    assert!(shown.ends_with("accepts it.\n"), "{shown}");
}

#[test]
fn files_of_windows_and_with_remarks_are_read() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    let pem = std::fs::read_to_string(site.path("site.crt")).unwrap();
    for text in [
        [b"\xEF\xBB\xBF", pem.replace('\n', "\r\n").as_bytes()].concat(),
        [b"friendlyName: M\xFCller\n", pem.as_bytes()].concat(),
    ] {
        std::fs::write(site.path("site.crt"), text).unwrap();
        site.done("client plc --ca DIR/site.crt --dir DIR --force");
        site.done("crl DIR/plc.crt --ca DIR/site.crt --dir DIR");
        let (status, output, _) = site.call("show DIR/plc.crt --ca DIR/site.crt --crl DIR/site.crl");
        assert_eq!(status, 2);
        assert!(output.ends_with("refuses it: it is revoked.\n"), "{output}");
    }
    let wide: Vec<u8> = pem.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(site.path("site.crt"), [b"\xFF\xFE", wide.as_slice()].concat()).unwrap();
    for line in ["client hmi", "crl", "show DIR/plc.crt"] {
        let line = format!("{line} --ca DIR/site.crt");
        let (status, _, errors) = site.call(&line);
        assert_eq!(status, 1, "{line}");
        assert!(errors.contains("DIR/site.crt: this text is UTF-16"), "{errors}");
    }
}

#[test]
#[cfg(unix)]
fn a_list_keeps_mode_and_owner() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let site = Site::new();
    let list = site.path("site.crl");
    site.done("ca site --dir DIR");
    site.done("crl --ca DIR/site.crt --dir DIR");
    let before = std::fs::read(&list).unwrap();
    std::fs::set_permissions(&list, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Only root may give files away.
    let given = nix::unistd::Uid::effective().is_root();
    if given {
        std::os::unix::fs::chown(&list, Some(12345), Some(23456)).unwrap();
    }
    // As sites have it that keep the list elsewhere.
    std::os::unix::fs::symlink(&list, site.path("link.crl")).unwrap();
    site.done("crl --ca DIR/site.crt --dir DIR --out link");
    assert!(site.path("link.crl").is_symlink());
    assert_ne!(std::fs::read(&list).unwrap(), before);
    let found = std::fs::metadata(&list).unwrap();
    assert_eq!(found.mode() & 0o777, 0o640);
    if given {
        assert_eq!((found.uid(), found.gid()), (12345, 23456));
    }
}

#[test]
fn what_cannot_be_made() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("ca other --dir DIR");
    for (line, words) in [
        ("", "say what to do"),
        ("sign x", "'sign' is not a command"),
        ("client", "'client' needs a NAME"),
        ("show", "'show' needs one FILE"),
        ("client plc", "--ca FILE"),
        ("client plc --ca DIR/none.crt", "cannot read DIR/none.crt"),
        (
            "client plc --ca DIR/site.crt --ca-key DIR/other.key",
            "the key does not belong",
        ),
        (
            "client plc --ca DIR/site.key",
            "DIR/site.key: no certificate (BEGIN CERTIFICATE) in it",
        ),
        (
            "client a\u{FFFF}b --ca DIR/site.crt",
            "no name that a certificate can carry",
        ),
        ("client a/b --ca DIR/site.crt", "choose one with --out"),
        (
            "client a\tb --ca DIR/site.crt",
            "no name that a certificate can carry",
        ),
        (
            "server ü --ca DIR/site.crt",
            "'ü' is neither a DNS name nor an address",
        ),
        ("server a/b --ca DIR/site.crt", "neither a DNS name"),
        (
            "server ok.example a\u{a0}b --ca DIR/site.crt",
            "neither a DNS name",
        ),
        ("server 300.1.1.1 --ca DIR/site.crt", "neither a DNS name"),
        ("server a. --ca DIR/site.crt", "neither a DNS name"),
        ("server *.*.example --ca DIR/site.crt", "neither a DNS name"),
        ("ca x --days 0", "a number from 1 to 36525"),
        ("ca x --days 4000000000", "a number from 1 to 36525"),
        ("ca x --days many", "many"),
        ("ca x --ca DIR/site.crt", "--ca means nothing to 'ca'"),
        ("crl --ca DIR/site.crt --force", "--force means nothing to 'crl'"),
        ("show DIR/site.crt --crl DIR/none", "--crl needs --ca"),
        ("show DIR/site.crt --format xml", "--format is text or json"),
        ("show DIR/site.crt --template all", "no placeholder"),
        ("show DIR/site.key", "no certificate"),
        ("show DIR/site.crt --frobnicate", "--frobnicate"),
    ] {
        let line = if line.is_empty() {
            "--dir DIR".to_owned()
        } else {
            format!("{line} --dir DIR")
        };
        let line = line.replace(
            " --dir DIR",
            if line.starts_with("show") {
                ""
            } else {
                " --dir DIR"
            },
        );
        let (status, output, errors) = site.call(&line);
        assert_eq!((status, output.as_str()), (1, ""), "{line}");
        assert!(errors.contains(words), "{line}: {errors}");
    }
    assert_eq!(
        std::fs::read_dir(site.0.path()).unwrap().count(),
        4,
        "nothing was written"
    );
    assert_eq!(site.call("--help"), (0, HELP.to_owned(), String::new()));
}

#[test]
#[cfg(unix)]
fn a_device_is_not_read() {
    let site = Site::new();
    for line in ["client plc --ca /dev/zero --dir DIR", "show /dev/zero"] {
        let (status, _, errors) = site.call(line);
        assert_eq!(status, 1, "{line}");
        assert!(
            errors.contains("cannot read /dev/zero: it is not a regular file"),
            "{errors}"
        );
    }
}

#[test]
fn an_authority_of_other_programs_keeps_its_name() {
    // Two parts of one kind, which rcgen would lose: the issuer of what it signs would be nobody.
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationalUnitName, "unit");
    let custom = rcgen::DnType::CustomDnType(vec![2, 5, 4, 11]);
    params.distinguished_name.push(custom, "another unit");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let site = Site::new();
    std::fs::write(site.path("odd.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(site.path("odd.key"), key.serialize_pem()).unwrap();
    for line in [
        "client plc --ca DIR/odd.crt --dir DIR",
        "crl --ca DIR/odd.crt --dir DIR",
    ] {
        let (status, _, errors) = site.call(line);
        assert_eq!(status, 1, "{line}");
        assert!(
            errors.contains("its name has parts that komar cannot write anew"),
            "{errors}"
        );
    }
}

#[test]
fn a_name_given_twice_is_in_the_certificate_once() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("server b.example 10.0.0.1 b.example 10.0.0.1 --ca DIR/site.crt --dir DIR");
    let pem = std::fs::read(site.path("broker.crt")).unwrap();
    let der = crate::certificates::first_certificate(&pem, "broker.crt").unwrap();
    let places = der.windows(9).filter(|part| part == b"b.example").count();
    assert_eq!(places, 2, "the CN and one alternative name");
}

#[test]
fn an_option_given_twice_is_refused() {
    let site = Site::new();
    let (status, _, errors) = site.call("ca site --days 1 --days 2 --dir DIR");
    assert_eq!((status, errors.as_str()), (1, "Error: --days is given twice.\n"));
}

/// Of several that make the same client at once, one makes it, and the others say how it could be replaced.
#[test]
fn who_comes_late_is_told_how_to_replace() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    let line = "client plc --ca DIR/site.crt --dir DIR";
    let outcomes = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| site.call(line))).collect();
        calls
            .into_iter()
            .map(|call| call.join().unwrap())
            .collect::<Vec<_>>()
    });
    let late = outcomes.iter().filter(|(status, ..)| *status == 1);
    assert_eq!(late.clone().count(), 7, "{outcomes:?}");
    for (_, _, errors) in late {
        assert!(errors.contains("exists; --force replaces it"), "{errors}");
    }
}

#[test]
fn a_list_is_beside_its_authority() {
    let site = Site::new();
    std::fs::create_dir(site.path("etc")).unwrap();
    site.done("ca site --dir DIR/etc");
    site.done("client a --ca DIR/etc/site.crt --dir DIR");
    site.done("client b --ca DIR/etc/site.crt --dir DIR");
    let said = site.done("crl DIR/a.crt --ca DIR/etc/site.crt");
    assert_eq!(said, "DIR/etc/site.crl: 1 certificate revoked (a new list)\n");
    let said = site.done("crl DIR/b.crt --ca DIR/etc/site.crt");
    assert_eq!(said, "DIR/etc/site.crl: 2 certificates revoked\n");
    let said = site.done("crl --ca DIR/etc/site.crt --dir DIR");
    assert_eq!(said, "DIR/site.crl: 0 certificates revoked (a new list)\n");
}

#[test]
fn only_who_signed_a_certificate_revokes_it() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    // Another one of that name.
    site.done("ca site --dir DIR --force");
    let (status, output, errors) = site.call("crl DIR/plc.crt --ca DIR/site.crt --dir DIR");
    assert_eq!((status, output.as_str()), (1, ""));
    assert!(
        errors.contains("\"CN=plc\" was signed by another authority of the same name"),
        "{errors}"
    );
    assert!(!site.path("site.crl").exists());
}

/// Sets the highest bit of the serial number, which is positive, and was made by chance.
fn make_negative(file: &Path, serial: &[u8]) {
    let pem = std::fs::read(file).unwrap();
    let (_, mut pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let place = pem
        .contents
        .windows(serial.len())
        .position(|part| part == serial)
        .unwrap();
    pem.contents[place] |= 0x80;
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(&pem.contents);
    let label = pem.label;
    std::fs::write(
        file,
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"),
    )
    .unwrap();
}

#[test]
fn a_negative_serial_number_is_in_no_list() {
    let site = Site::new();
    site.done("ca site --dir DIR");
    site.done("client plc --ca DIR/site.crt --dir DIR");
    site.done("crl DIR/plc.crt --ca DIR/site.crt");
    let pem = std::fs::read(site.path("plc.crt")).unwrap();
    let certificate = crate::certificates::first_certificate(&pem, "").unwrap();
    let serial = komar_identity::Certificate::parse(&certificate)
        .unwrap()
        .serial()
        .to_vec();
    for (file, line, words) in [
        (
            "plc.crt",
            "crl DIR/plc.crt --ca DIR/site.crt",
            "serial number of \"CN=plc\" is negative",
        ),
        (
            "site.crl",
            "crl --ca DIR/site.crt",
            "the list has a negative serial number",
        ),
    ] {
        make_negative(&site.path(file), &serial);
        let before = std::fs::read(site.path("site.crl")).unwrap();
        let (status, output, errors) = site.call(line);
        assert_eq!((status, output.as_str()), (1, ""), "{line}");
        assert!(errors.contains(words), "{line}: {errors}");
        assert_eq!(std::fs::read(site.path("site.crl")).unwrap(), before);
    }
}

#[test]
fn a_key_of_an_unsupported_kind_is_called_so() {
    let site = Site::new();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
    for (file, name) in [("p521.pem", "site.key"), ("p521.crt.pem", "site.crt")] {
        std::fs::copy(keys.join(file), site.path(name)).unwrap();
    }
    let (_, _, errors) = site.call("client plc --ca DIR/site.crt --dir DIR");
    assert!(
        errors.contains("the key is of no kind that can sign here"),
        "{errors}"
    );
}
