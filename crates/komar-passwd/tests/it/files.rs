//! Whole files: errors all at once, warnings, decoys.

use komar_passwd::{PasswordFile, PasswordFileErrors, PasswordVerdict, Scheme, StoredHash};
use proptest::prelude::*;

fn hash() -> String {
    StoredHash::derive(Scheme::Sha512, b"secret", &[5; 12])
        .unwrap()
        .to_string()
}

/// `@` in a case stands for a hash of "secret". `\n`, `\t`, `\r` and `\0` are written so.
fn unescape(text: &str) -> Vec<u8> {
    let text = text
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\r", "\r")
        .replace("\\0", "\0");
    let mut bytes = text
        .replace('@', &hash())
        .replace("\\xff", "\u{fffe}")
        .into_bytes();
    while let Some(at) = bytes
        .windows(3)
        .position(|window| window == "\u{fffe}".as_bytes())
    {
        bytes.splice(at..at + 3, [0xff]);
    }
    bytes
}

#[test]
fn files_are_read_as_the_table_says() {
    for row in include_str!("../data/files.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [text, users, problems] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let (found, said) = match PasswordFile::parse(&unescape(text)) {
            Ok(file) => {
                let able = file.users().filter(|user| {
                    file.check(user, b"secret").run() == PasswordVerdict::Accepted { needs_rehash: true }
                });
                let said = file
                    .warnings()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>();
                (able.collect::<Vec<_>>().join(","), said)
            }
            Err(errors) => ("-".into(), errors.iter().map(ToString::to_string).collect()),
        };
        assert_eq!(found, users, "{row}");
        let places = said.iter().map(|said| {
            let (place, message) = said.split_once(": ").unwrap();
            let place = place.replace("line ", "").replace(", column ", ":");
            (place, message.to_owned())
        });
        let places = places.collect::<Vec<_>>();
        let expected = problems
            .split("; ")
            .filter(|problem| !problem.is_empty())
            .collect::<Vec<_>>();
        assert_eq!(places.len(), expected.len(), "{row}: {said:?}");
        for (expected, (place, message)) in expected.iter().zip(&places) {
            let (at, words) = expected.split_once(' ').unwrap();
            assert_eq!(at, place, "{row}: {said:?}");
            assert!(message.contains(words), "{row}: {said:?}");
        }
    }
}

#[test]
fn of_many_errors_and_warnings_the_first_are_kept_and_the_rest_is_counted() {
    let lines = |count: usize| "x\n".repeat(count) + &"y:z\n".repeat(count);
    let errors = PasswordFile::parse(lines(PasswordFileErrors::MAXIMUM).as_bytes()).unwrap_err();
    let found = (
        errors.iter().len(),
        errors.omitted(),
        errors.warnings().len(),
        errors.warnings_omitted(),
    );
    assert_eq!(found, (1000, 0, 1000, 0));
    let errors = PasswordFile::parse(lines(PasswordFileErrors::MAXIMUM + 7).as_bytes()).unwrap_err();
    let found = (
        errors.iter().len(),
        errors.omitted(),
        errors.warnings().len(),
        errors.warnings_omitted(),
    );
    assert_eq!(found, (1000, 7, 1000, 7));
    assert!(errors.to_string().ends_with("\nand 7 more lines with errors"));
    let file = PasswordFile::parse("x\n".repeat(1007).as_bytes()).unwrap();
    assert_eq!((file.warnings().len(), file.warnings_omitted()), (1000, 7));
}

#[test]
fn who_does_not_exist_costs_what_somebody_costs() {
    let memory_of = |memory_kib: u32| {
        let scheme = Scheme::Argon2id {
            memory_kib,
            passes: 1,
            lanes: 1,
        };
        StoredHash::derive(scheme, b"secret", &[memory_kib as u8; 16]).unwrap()
    };
    let text = (1..=50)
        .map(|n| format!("user{n}:{}\n", memory_of(n * 8)))
        .collect::<String>();
    let file = PasswordFile::parse(text.as_bytes()).unwrap();
    let mut costs = std::collections::BTreeSet::new();
    for n in 0..500 {
        let name = format!("nobody{n}");
        let cost = file.check(&name, b"x").memory_cost();
        assert_eq!(
            cost,
            file.check(&name, b"y").memory_cost(),
            "always the same for one name"
        );
        assert!(cost.is_multiple_of(8192) && cost <= 50 * 8192 && cost > 0);
        costs.insert(cost);
    }
    assert!(costs.len() > 40, "all kinds of users serve as decoys: {costs:?}");
    // A decoy's password does not let anybody in.
    assert_eq!(file.check("nobody1", b"secret").run(), PasswordVerdict::Refused);
}

#[test]
fn an_empty_password_is_refused_whatever_the_file_says() {
    let stored = StoredHash::derive(Scheme::Sha512, b"", &[5; 12]).unwrap();
    let file = PasswordFile::parse(format!("alice:{stored}").as_bytes()).unwrap();
    assert!(stored.verify(b""));
    assert_eq!(file.check("alice", b"").run(), PasswordVerdict::Refused);
}

#[test]
fn a_check_can_be_sent_away() {
    fn sendable<T: Send + 'static>(value: T) -> T {
        value
    }
    let file = PasswordFile::parse(format!("alice:{}", hash()).as_bytes()).unwrap();
    let check = sendable(file.check("alice", b"secret"));
    drop(file);
    assert_eq!(check.run(), PasswordVerdict::Accepted { needs_rehash: true });
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PasswordFile::parse(&text);
    }

    #[test]
    fn any_lines_are_read_or_refused(text in "([a:# \\$\t\r\n]|argon2id|\\$6\\$|\\$7\\$1\\$|v=19|m=8,t=1,p=1){0,40}") {
        if let Err(errors) = PasswordFile::parse(text.as_bytes()) {
            let lines = text.split('\n').count();
            prop_assert!(errors.iter().all(|error| error.line >= 1 && error.line <= lines && error.column >= 1));
            prop_assert!(errors.iter().is_sorted_by_key(|error| error.line));
        }
    }
}
