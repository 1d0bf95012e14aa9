//! Texts of stored hashes: `hashes.txt`, and what is derived reads back.

use komar_passwd::{Editor, HashError, Limits, PasswordFile, PasswordVerdict, Scheme, StoredHash};
use proptest::prelude::*;

#[test]
fn texts_are_read_as_the_table_says() {
    for row in include_str!("../data/hashes.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [text, expected, note] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let parsed = StoredHash::parse(text);
        let found = match &parsed {
            Ok(stored) if stored.verify(b"secret") => "secret",
            Ok(stored) if stored.verify(b"password") => "password",
            Ok(_) => "other",
            Err(HashError::UnknownScheme) => "unknown",
            Err(HashError::Missing { .. }) => "missing",
            Err(HashError::Base64 { .. }) => "base64",
            Err(HashError::Length { .. }) => "length",
            Err(HashError::Parameter { .. }) => "parameter",
            Err(HashError::TooCostly { .. }) => "too costly",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{text} ({note}): {parsed:?}");
    }
}

#[test]
fn what_is_weak() {
    let weak = |scheme: Scheme, salt: &[u8]| StoredHash::derive(scheme, b"x", salt).unwrap().needs_rehash();
    let argon2id = |memory_kib, passes| {
        format!("$argon2id$v=19$m={memory_kib},t={passes},p=1$c2FsdHNhbHRzYWx0c2FsdA$9MiuRCTvZt9xZFjK476SpQ")
    };
    assert!(weak(Scheme::Sha512, &[0; 64]));
    assert!(weak(Scheme::Sha512Pbkdf2 { iterations: 1000 }, &[0; 64]));
    assert!(!StoredHash::parse(&argon2id(47_104, 1)).unwrap().needs_rehash());
    assert!(StoredHash::parse(&argon2id(47_103, 1)).unwrap().needs_rehash());
    assert!(!StoredHash::parse(&argon2id(19_456, 3)).unwrap().needs_rehash());
    assert!(
        StoredHash::parse(&argon2id(47_104, 1).replace("v=19", "v=16"))
            .unwrap()
            .needs_rehash()
    );
    let text = StoredHash::derive(Scheme::Sha512Pbkdf2 { iterations: 1 }, b"x", &[0; 12])
        .unwrap()
        .to_string();
    let strong = text.replace("$7$1$", "$7$210000$");
    assert!(!StoredHash::parse(&strong).unwrap().needs_rehash());
}

#[test]
fn the_default_is_mosquittos_argon2id() {
    let stored = StoredHash::derive(Scheme::default(), b"secret", &[9; 64]).unwrap();
    let text = stored.to_string();
    assert!(text.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"), "{text}");
    assert_eq!(text.len(), "$argon2id$v=19$m=47104,t=1,p=1$".len() + 86 + 1 + 86);
    assert!(!stored.needs_rehash());
    assert_eq!(stored.scheme().memory_cost(), 46 << 20);
    let file = PasswordFile::parse(format!("alice:{text}").as_bytes()).unwrap();
    let check = file.check("alice", b"secret");
    assert_eq!(check.memory_cost(), 46 << 20);
    assert_eq!(check.run(), PasswordVerdict::Accepted { needs_rehash: false });
}

#[test]
fn what_cannot_be_derived() {
    let derive = |scheme, salt: &[u8]| StoredHash::derive(scheme, b"x", salt);
    assert!(matches!(
        derive(Scheme::Sha512, &[0; 16]),
        Err(HashError::Length { found: 16, .. })
    ));
    assert!(matches!(
        derive(Scheme::default(), &[0; 7]),
        Err(HashError::Length { found: 7, .. })
    ));
    let one = Scheme::Sha512Pbkdf2 { iterations: 1 };
    assert_eq!(
        StoredHash::derive(one, b"secret\0", &[0; 12]),
        Err(HashError::TrailingNul)
    );
    let none = Scheme::Sha512Pbkdf2 { iterations: 0 };
    assert!(matches!(derive(none, &[0; 12]), Err(HashError::Parameter { .. })));
    let much = Scheme::Sha512Pbkdf2 {
        iterations: 10_000_001,
    };
    assert!(matches!(
        derive(much, &[0; 12]),
        Err(HashError::TooCostly {
            limit: 10_000_000,
            ..
        })
    ));
}

#[test]
fn limits_are_the_callers() {
    let limits = Limits {
        iterations: 99,
        ..Limits::default()
    };
    let text = StoredHash::derive(Scheme::Sha512Pbkdf2 { iterations: 100 }, b"x", &[0; 12])
        .unwrap()
        .to_string();
    assert!(StoredHash::parse(&text).is_ok());
    let refused = StoredHash::parse_within(&text, &limits).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the number of iterations is 100, more than the 99 that is allowed here"
    );
}

#[test]
fn nothing_secret_is_shown() {
    let stored = StoredHash::derive(Scheme::Sha512, b"secret", &[1; 12]).unwrap();
    let file = PasswordFile::parse(format!("alice:{stored}").as_bytes()).unwrap();
    let shown = format!(
        "{stored:?} {file:?} {:?} {:?}",
        file.check("alice", b"secret"),
        Editor::new(b"a:secret")
    );
    assert!(
        !shown.contains("secret") && !shown.contains("AQEBAQEB"),
        "{shown}"
    );
    let error = PasswordFile::parse(b"alice:hunter2").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

fn scheme() -> impl Strategy<Value = Scheme> {
    prop_oneof![
        Just(Scheme::Sha512),
        (1..5_u32).prop_map(|iterations| Scheme::Sha512Pbkdf2 { iterations }),
        (1..3_u32, 1..3_u32).prop_map(|(passes, lanes)| Scheme::Argon2id {
            memory_kib: 8 * lanes,
            passes,
            lanes
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        scheme in scheme(),
        password in proptest::collection::vec(any::<u8>(), 0..40),
        salt in prop_oneof![Just(12_usize), Just(64)],
        other in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let stored = match StoredHash::derive(scheme, &password, &vec![3; salt]) {
            Err(HashError::TrailingNul) => return Ok(()),
            stored => stored.unwrap(),
        };
        let longer = [&password[..], b"\0"].concat();
        prop_assert!(!stored.verify(&longer));
        let read = StoredHash::parse(&stored.to_string()).unwrap();
        prop_assert_eq!(&read, &stored);
        prop_assert!(read.verify(&password));
        prop_assert_eq!(read.verify(&other), other == password);
        let file = PasswordFile::parse(format!("u:{stored}").as_bytes()).unwrap();
        let accepted = file.check("u", &password).run() != PasswordVerdict::Refused;
        prop_assert_eq!(accepted, !password.is_empty());
        prop_assert_eq!(file.check("v", &password).run(), PasswordVerdict::Refused);
    }

    #[test]
    fn any_text_is_refused_or_read_back(text in "\\$(6|7|argon2id)\\$[$=,0-9A-Za-z+/]{0,40}") {
        if let Ok(stored) = StoredHash::parse(&text) {
            prop_assert_eq!(StoredHash::parse(&stored.to_string()).unwrap(), stored);
        }
    }
}
