//! Who is it: from a certificate to its name, and from a password to a verdict. The budget: a name costs no more than
//! parsing the certificate with x509-parser does.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main};
use komar_benches::{CpuTime, Row, criterion, mix, mix_bytes};
use komar_identity::Certificate;
use komar_passwd::{PasswordFile, PasswordVerdict, Scheme, StoredHash};
use x509_parser::pem::parse_x509_pem;

const CERTIFICATES: [(&str, &[u8]); 3] = [
    (
        "EC, version 3, two names",
        include_bytes!("../crates/komar-identity/tests/data/certs/san-two-uris.pem"),
    ),
    (
        "EC, five parts of a subject",
        include_bytes!("../crates/komar-identity/tests/data/certs/four-ou.pem"),
    ),
    (
        "RSA, version 1",
        include_bytes!("../crates/komar-identity/tests/data/v1/myPLC.crt"),
    ),
];

fn identities(criterion: &mut criterion::Criterion<CpuTime>) {
    for (name, pem) in CERTIFICATES {
        let der = parse_x509_pem(pem).unwrap().1.contents;
        Row::new("access", &format!("certificate to CN: {name}"), 1)
            .with("komar", || {
                let certificate = Certificate::parse(black_box(&der)).unwrap();
                mix_bytes(0, certificate.common_name().unwrap().as_bytes())
            })
            .with("x509-parser", || {
                let (_, certificate) = x509_parser::parse_x509_certificate(black_box(&der)).unwrap();
                let name = certificate.subject().iter_common_name().next().unwrap();
                mix_bytes(0, name.as_str().unwrap().as_bytes())
            })
            .run(criterion);
        let certificate = Certificate::parse(&der).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        Row::new("access", &format!("CN of a parsed certificate: {name}"), 1)
            .with("komar", || {
                mix_bytes(0, black_box(&certificate).common_name().unwrap().as_bytes())
            })
            .with("x509-parser", || {
                let name = black_box(&parsed).subject().iter_common_name().next().unwrap();
                mix_bytes(0, name.as_str().unwrap().as_bytes())
            })
            .run(criterion);
        Row::new("access", &format!("subject of a parsed certificate: {name}"), 1)
            .with("komar", || {
                black_box(&certificate).subject_rfc2253().unwrap().len() as u64
            })
            .run(criterion);
    }
}

fn password_file(criterion: &mut criterion::Criterion<CpuTime>) {
    let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[7; 64]).unwrap();
    let text: String = (0..10_000).map(|user| format!("user{user}:{hash}\n")).collect();
    Row::new("access", "load 10,000 users", 1)
        .with("komar", || {
            PasswordFile::parse(black_box(text.as_bytes())).unwrap().len() as u64
        })
        .run(criterion);
}

/// The same work, whether the user exists or not.
fn password_checks(criterion: &mut criterion::Criterion<CpuTime>) {
    for (name, scheme) in [
        ("$6$", Scheme::Sha512),
        ("$7$, 1,000 iterations", Scheme::Sha512Pbkdf2 { iterations: 1000 }),
        ("$7$, 210,000 iterations", Scheme::sha512_pbkdf2()),
        ("argon2id, 46 MiB", Scheme::default()),
    ] {
        let hash = StoredHash::derive(scheme, b"secret", &[7; 64]).unwrap();
        let file = PasswordFile::parse(format!("alice:{hash}\n").as_bytes()).unwrap();
        let check = |user: &str, password: &[u8], expected: bool| {
            let verdict = file.check(black_box(user), black_box(password)).run();
            mix(0, u64::from((verdict != PasswordVerdict::Refused) == expected))
        };
        Row::new("access", &format!("password check: {name}"), 1)
            .with("right", || check("alice", b"secret", true))
            .with("wrong", || check("alice", b"secreT", false))
            .with("nobody", || check("mallory", b"secret", false))
            .run(criterion);
    }
}

criterion_group! {
    name = access;
    config = criterion();
    targets = identities, password_file
}
criterion_group! {
    name = slow;
    config = criterion().sample_size(10);
    targets = password_checks
}
criterion_main!(access, slow);
