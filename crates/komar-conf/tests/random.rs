//! No input panics, and whatever is wrong has a place in the file.

use std::path::Path;

use komar_conf::{Memory, directives, load};
use proptest::prelude::*;
use proptest::sample::select;

fn check(content: &[u8]) {
    let source = Memory::default()
        .with("m.conf", content)
        .with("d/a.conf", content);
    let lines = content.split(|&byte| byte == b'\n').count();
    match load(Path::new("m.conf"), &source) {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty());
            assert_eq!(load(Path::new("m.conf"), &source).unwrap(), loaded);
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            for error in &errors.errors {
                let position = error.position.as_ref().expect("a place");
                assert!(
                    position.line >= 1 && usize::try_from(position.line).unwrap() <= lines,
                    "{error}"
                );
                assert!(position.column >= 1, "{error}");
                assert!(
                    !error.to_string().replace('\n', "").contains(char::is_control),
                    "{error:?}"
                );
            }
        }
    }
}

/// Names of options, and words that mean something to some of them.
fn word() -> impl Strategy<Value = String> {
    let mut names: Vec<&'static str> = directives()
        .iter()
        .flat_map(|row| std::iter::once(row.name).chain(row.aliases.iter().copied()))
        .collect();
    names.extend([
        "listener",
        "connection",
        "plugin_load",
        "plugin_opt_acl_file",
        "listner",
        "#",
    ]);
    select(names).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "true",
            "false",
            "0",
            "1",
            "-1",
            "2",
            "0x10",
            "65536",
            "d",
            "a",
            "a/#",
            "\"\"",
            "\"a",
            "\"a b\"",
            "in",
            "out",
            "both",
            "14d",
            "ipv4",
            "websockets",
            "file",
            "none",
            "all",
            "mosquitto_acl_file.so",
            "persist_sqlite.so",
            "::1:1",
            "#",
            "",
            "\t",
            "\r",
            "\0",
            "tlsv1.3",
            "lazy",
            "3,4",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
        any::<i64>().prop_map(|number| number.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&content);
    }

    #[test]
    fn lines(lines in proptest::collection::vec((word(), proptest::collection::vec(value(), 0..4)), 0..30)) {
        let mut text = String::new();
        for (name, values) in lines {
            text.push_str(&format!("{name} {}\n", values.join(" ")));
        }
        check(text.as_bytes());
    }

    #[test]
    fn damaged(position in 0_usize..2000, byte: u8) {
        let mut content = include_bytes!("data/tutorial.conf").to_vec();
        let position = position % content.len();
        content[position] = byte;
        check(&content);
    }
}
