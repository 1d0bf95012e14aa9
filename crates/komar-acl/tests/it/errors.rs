//! `errors.txt`: files that do not load, and where it is said.

use komar_acl::{AclErrors, AclFile, ParseOptions};
use proptest::prelude::*;

#[test]
fn errors_are_all_there_with_their_places() {
    for [file, expected] in crate::rows(include_str!("../data/errors.txt")) {
        let errors = AclFile::parse(&crate::unescape(file)).expect_err(file);
        let said = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = expected.split("; ").collect::<Vec<_>>();
        assert_eq!(said.len(), expected.len(), "{file}: {said:?}");
        for ((error, said), expected) in errors.iter().zip(&said).zip(expected) {
            let (place, words) = expected.split_once(' ').unwrap();
            assert_eq!(
                format!("{}:{}", error.line, error.column),
                place,
                "{file}: {said}"
            );
            assert!(said.contains(words), "{file}: {said}");
        }
    }
}

#[test]
fn of_many_errors_the_first_are_kept_and_the_rest_is_counted() {
    let lines = |count: usize, line: &str| format!("{line}\n").repeat(count);
    let errors = AclFile::parse(lines(AclErrors::MAXIMUM, "x").as_bytes()).unwrap_err();
    assert_eq!((errors.iter().len(), errors.omitted()), (1000, 0));
    assert!(!errors.to_string().contains("more lines"));
    let errors = AclFile::parse(lines(AclErrors::MAXIMUM + 7, "x").as_bytes()).unwrap_err();
    assert_eq!((errors.iter().len(), errors.omitted()), (1000, 7));
    assert!(errors.to_string().ends_with("\nand 7 more lines with errors"));
    let file = AclFile::parse(lines(AclErrors::MAXIMUM + 7, "pattern read a").as_bytes()).unwrap();
    assert_eq!((file.warnings().len(), file.warnings_omitted()), (1000, 7));
}

#[test]
fn limits_of_a_filter() {
    let slashes = |count: usize| format!("topic read {}", "/".repeat(count));
    assert!(AclFile::parse(slashes(200).as_bytes()).is_ok());
    assert!(AclFile::parse(slashes(201).as_bytes()).is_err());
    let long = |bytes: usize| format!("topic read {}", "a".repeat(bytes));
    assert!(AclFile::parse(long(65_535).as_bytes()).is_ok());
    let error = AclFile::parse(long(65_536).as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 250, "{error}");
}

#[test]
fn members_belong_to_groups() {
    let options = ParseOptions::default().extensions(true);
    for (file, ok) in [
        ("group g\nmember a\ntopic readdeny a\n", true),
        ("member a\n", false),
        ("group g\nuser u\nmember a\n", false),
        ("group\n", false),
        ("group g\nmember \n", false),
    ] {
        assert_eq!(
            AclFile::parse_with(file.as_bytes(), &options).is_ok(),
            ok,
            "{file:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_load_or_are_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = AclFile::parse(&text);
    }

    #[test]
    fn any_words_load_or_are_refused(
        words in proptest::collection::vec(
            prop_oneof![
                Just("user"), Just("topic"), Just("pattern"), Just("group"), Just("member"), Just("read"),
                Just("deny"), Just(" "), Just("  "), Just("\t"), Just("\r"), Just("\n"), Just("#"), Just("+"),
                Just("/"), Just("a"), Just("%u"), Just("é"), Just("\u{feff}"),
            ],
            0..30,
        ),
        extensions in any::<bool>(),
    ) {
        let text = words.concat();
        let lines = text.split('\n').count();
        let options = ParseOptions::default().extensions(extensions);
        match AclFile::parse_with(text.as_bytes(), &options) {
            Ok(file) => prop_assert!(file.rules().all(|rule| rule.line >= 1 && rule.line <= lines)),
            Err(errors) => {
                prop_assert!(errors.iter().all(|error| error.line >= 1 && error.line <= lines && error.column >= 1));
                prop_assert!(errors.iter().is_sorted_by_key(|error| error.line));
            }
        }
    }
}
