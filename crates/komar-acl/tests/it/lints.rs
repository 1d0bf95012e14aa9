//! `lints.txt`: every lint has files that trigger it and files that must not.

use komar_acl::{Acl, AclFile, LintKind, ParseOptions, Substitution};

fn codes(file: &str) -> Vec<&'static str> {
    let parsed = AclFile::parse(&crate::unescape(file)).unwrap_or_else(|errors| panic!("{file}: {errors}"));
    let known = |name: &str| name != "mallory";
    let lints = Acl::lint(&parsed, Some(&known));
    assert!(
        lints.iter().is_sorted_by_key(|lint| (lint.line(), lint.column())),
        "{file}"
    );
    lints.iter().map(|lint| lint.kind().code()).collect()
}

#[test]
fn lints_come_and_stay_away() {
    for [code, bad, good] in crate::rows(include_str!("../data/lints.txt")) {
        for file in bad.split("||").map(str::trim) {
            assert!(codes(file).contains(&code), "{code}: {file}: {:?}", codes(file));
        }
        for file in good.split("||").map(str::trim) {
            assert!(!codes(file).contains(&code), "{code}: {file}: {:?}", codes(file));
        }
    }
}

#[test]
fn a_lint_says_where_and_what() {
    let file = AclFile::parse("user alice\ntopic read ä/%u\ntopic deny ä/#\n".as_bytes()).unwrap();
    let said = Acl::lint(&file, None)
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(
        said,
        [
            "line 2, column 1: this never grants anything: \"topic deny ä/#\" on line 3 comes first, wherever it stands",
            "line 2, column 12: %u and %c mean nothing special after \"topic\"; did you mean \"pattern\"?",
        ]
    );
    assert_eq!(file.warnings().len(), 1);
}

#[test]
fn lints_are_about_the_substitution_in_force() {
    for (text, whole, anywhere) in [
        ("pattern dev-%u\n", "embedded-placeholder", ""),
        // The user may be called `broker/connection/x/state`, or `a/b`.
        ("pattern write $SYS/x/%u\n", "sys-write", "sys-write"),
        ("pattern write $SYS/%u\n", "sys-write", "sys-write"),
        (
            "pattern write $SYS%u\n",
            "embedded-placeholder sys-write",
            "sys-write",
        ),
        (
            "pattern deny a/+\npattern a/%u\n",
            "pattern-without-placeholder shadowed",
            "pattern-without-placeholder",
        ),
        ("pattern deny a/%u/#\npattern a/%u/b\n", "shadowed", "shadowed"),
        (
            "pattern deny a/#\npattern a/%u/b\n",
            "pattern-without-placeholder shadowed",
            "pattern-without-placeholder shadowed",
        ),
        (
            "pattern deny #\npattern %u/b\n",
            "pattern-without-placeholder shadowed",
            "pattern-without-placeholder",
        ),
    ] {
        for (substitution, expected) in [
            (Substitution::WholeLevel, whole),
            (Substitution::Anywhere, anywhere),
        ] {
            let file = AclFile::parse_with(
                text.as_bytes(),
                &ParseOptions::default().substitution(substitution),
            );
            let lints = Acl::lint(&file.unwrap(), None);
            let codes = lints.iter().map(|lint| lint.kind().code()).collect::<Vec<_>>();
            assert_eq!(codes.join(" "), expected, "{text} {substitution:?}");
        }
    }
}

#[test]
fn groups_are_linted_too() {
    let options = ParseOptions::default().extensions(true);
    let lints = |text: &str| {
        let file = AclFile::parse_with(text.as_bytes(), &options).unwrap();
        Acl::lint(&file, None)
            .iter()
            .map(|lint| lint.kind().code())
            .collect::<Vec<_>>()
    };
    assert_eq!(lints("group g\ntopic a\n"), ["empty-group"]);
    assert_eq!(lints("group g\nmember u\ntopic a\n"), [""; 0]);
    assert_eq!(lints("topic readdeny a/#\ntopic read a/b\n"), ["shadowed"]);
    assert_eq!(lints("topic readdeny a/#\ntopic a/b\n"), [""; 0]);
    let two = ["decided-by-two"];
    assert_eq!(lints("topic readdeny a/#\ntopic writedeny a/#\ntopic a/b\n"), two);
    assert_eq!(lints("topic read a/#\ntopic write a/+\ntopic a/b\n"), two);
    assert_eq!(lints("topic writedeny a/#\ntopic read a/+\ntopic a/b\n"), two);
    assert_eq!(
        lints("topic readdeny a/#\ntopic writedeny a/#\ntopic deny a/b\n"),
        two
    );
    assert_eq!(
        lints("topic readdeny a/#\ntopic writedeny a/c\ntopic a/b\n"),
        [""; 0]
    );
    assert_eq!(lints("topic a/b\ntopic read a/#\ntopic write a/#\n"), [""; 0]);
    assert_eq!(lints("topic writedeny a/#\ntopic read a/b\n"), [""; 0]);
}

#[test]
fn a_deny_shadows_what_counts_for_nobody_else() {
    let options = ParseOptions::default().extensions(true);
    for (text, shadowed) in [
        (
            "group g\nmember u\ntopic deny a/#\nuser u\ntopic a/b\n",
            Some((5, 3)),
        ),
        (
            "user u\ntopic a/b\ngroup g\nmember u\ntopic deny a/#\n",
            Some((2, 5)),
        ),
        ("group g\nmember v\ntopic deny a/#\nuser u\ntopic a/b\n", None),
        // Of a group only if no member is left: here by u's own rule, and by another group of v's.
        (
            "group g\nmember u\nmember v\ntopic a/b\nuser u\ntopic deny a/+\ngroup h\nmember v\ntopic deny a/#\n",
            Some((4, 6)),
        ),
        (
            "group g\nmember u\nmember v\ntopic a/b\nuser u\ntopic deny a/+\n",
            None,
        ),
        ("group g\nmember u\ntopic readdeny a/#\nuser u\ntopic a/b\n", None),
        ("group g\ntopic a\nuser u\ntopic deny a\n", None),
    ] {
        let file = AclFile::parse_with(text.as_bytes(), &options).unwrap();
        let found = Acl::lint(&file, None)
            .into_iter()
            .find_map(|lint| match lint.kind() {
                LintKind::Shadowed { deny_line, .. } => Some((lint.line(), *deny_line)),
                _ => None,
            });
        assert_eq!(found, shadowed, "{text}");
    }
}
