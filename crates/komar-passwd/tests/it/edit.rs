//! Editing keeps what it does not understand.

use komar_passwd::{
    Change, Editor, Field, HashError, PasswordFile, PlainLineError, Scheme, StoredHash, UserNameError,
    check_user_name,
};
use proptest::prelude::*;

fn hash(password: &str) -> StoredHash {
    StoredHash::derive(Scheme::Sha512, password.as_bytes(), &[5; 12]).unwrap()
}

fn text(editor: &Editor) -> String {
    String::from_utf8(editor.text().to_vec()).unwrap()
}

#[test]
fn set_changes_one_line() {
    let (old, new) = (hash("old"), hash("new"));
    let cases = [
        ("", Change::Added, "alice:NEW\n"),
        ("# x\n\nbob", Change::Added, "# x\n\nbob\nalice:NEW\n"),
        ("bob:OLD", Change::Added, "bob:OLD\nalice:NEW\n"),
        // Colons at the end of a file are nothing, and an error with a line behind them.
        (":", Change::Added, "alice:NEW\n:"),
        ("bob:OLD\n::", Change::Added, "bob:OLD\nalice:NEW\n::"),
        ("alice:OLD\n:", Change::Updated, "alice:NEW\n:"),
        (
            "# x\r\nbob:OLD\r\n",
            Change::Added,
            "# x\r\nbob:OLD\r\nalice:NEW\r\n",
        ),
        ("# alice:OLD\n", Change::Added, "# alice:OLD\nalice:NEW\n"),
        ("Alice:OLD\n", Change::Added, "Alice:OLD\nalice:NEW\n"),
        (
            "# x\nalice:OLD\n\nbob:OLD\n# y",
            Change::Updated,
            "# x\nalice:NEW\n\nbob:OLD\n# y",
        ),
        (
            " alice : OLD \r\nbob:OLD",
            Change::Updated,
            "alice:NEW\r\nbob:OLD",
        ),
        ("alice:OLD:kept:too\n", Change::Updated, "alice:NEW:kept:too\n"),
        ("alice:plain", Change::Updated, "alice:NEW"),
        ("alice:\n", Change::Updated, "alice:NEW\n"),
        (
            "alice:OLD\nbob:OLD\nalice:OLD\n",
            Change::Updated,
            "alice:NEW\nbob:OLD\n",
        ),
    ];
    let fill = |text: &str| {
        text.replace("OLD", &old.to_string())
            .replace("NEW", &new.to_string())
    };
    for (before, change, after) in cases {
        let mut editor = Editor::new(fill(before).as_bytes());
        assert_eq!(editor.set("alice", &new), Ok(change), "{before:?}");
        assert_eq!(text(&editor), fill(after), "{before:?}");
        assert!(editor.contains("alice"));
        let file = PasswordFile::parse(&editor.text()).unwrap_or_else(|error| panic!("{before:?}: {error}"));
        assert!(file.contains("alice"), "{before:?}");
    }
}

#[test]
fn colons_at_the_end_are_no_plain_text() {
    let mut editor = Editor::new(b"alice:one\n:");
    let hashed = editor.hash_plain_lines(|_, plain| Ok::<_, ()>(hash(core::str::from_utf8(plain).unwrap())));
    assert_eq!(hashed.map(|counts| counts.hashed), Ok(1));
    assert!(PasswordFile::parse(&editor.text()).is_ok_and(|file| file.contains("alice")));
    assert!(
        Editor::new(b"alice:one\n:\n")
            .hash_plain_lines(|_, _| Ok::<_, ()>(hash("x")))
            .is_err()
    );
}

#[test]
fn remove_takes_one_user() {
    let cases = [
        ("", false, ""),
        ("# alice:x\n\nbob:x", false, "# alice:x\n\nbob:x"),
        ("# x\nalice:y\nz\n", true, "# x\nz\n"),
        ("z\nalice:y", true, "z\n"),
        ("alice:y\n alice:z\n", true, ""),
    ];
    for (before, found, after) in cases {
        let mut editor = Editor::new(before.as_bytes());
        assert_eq!(editor.remove("alice"), found, "{before:?}");
        assert_eq!(text(&editor), after, "{before:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_survive() {
    let before = b"# gr\xfc\xdfe\n\xff:x\n\x00\n";
    let mut editor = Editor::new(before);
    editor.set("alice", &hash("new")).unwrap();
    assert!(editor.text().starts_with(before));
    editor.remove("alice");
    assert_eq!(&**editor.text(), before);
}

#[test]
fn names_that_no_file_can_hold() {
    let cases = [
        ("", UserNameError::Empty),
        ("a:b", UserNameError::Colon),
        ("a\nb", UserNameError::Control { character: '\n' }),
        ("a\u{7f}", UserNameError::Control { character: '\u{7f}' }),
        (" a", UserNameError::Blank),
        ("a ", UserNameError::Blank),
        ("#a", UserNameError::Comment),
        ("\u{feff}a", UserNameError::ByteOrderMark),
    ];
    for (name, error) in cases {
        let mut editor = Editor::new(b"x:y\n");
        assert_eq!(editor.set(name, &hash("new")), Err(error), "{name:?}");
        assert_eq!(&**editor.text(), b"x:y\n");
    }
    let longest = "a".repeat(65_535);
    assert_eq!(check_user_name(&longest), Ok(()));
    assert_eq!(
        check_user_name(&format!("{longest}a")),
        Err(UserNameError::TooLong { length: 65_536 })
    );
    assert_eq!(check_user_name("Ünï c#de"), Ok(()));
}

#[test]
fn plain_lines_are_hashed_once() {
    let done = hash("done").to_string();
    let before = format!("# x\n\nalice: secret \nbob:{done}\r\nignored\ncarol:$5$looks$like==\r\n");
    let mut editor = Editor::new(before.as_bytes());
    let counts = editor
        .hash_plain_lines(|_, plain| StoredHash::derive(Scheme::Sha512, plain, &[5; 12]))
        .unwrap();
    assert_eq!((counts.hashed, counts.already_hashed), (2, 1));
    let (alice, carol) = (hash("secret"), hash("$5$looks$like=="));
    assert_eq!(
        text(&editor),
        format!("# x\n\nalice:{alice}\nbob:{done}\r\nignored\ncarol:{carol}\r\n")
    );
    let again = editor
        .hash_plain_lines(|_, _| -> Result<_, ()> { panic!("nothing is hashed twice") })
        .unwrap();
    assert_eq!((again.hashed, again.already_hashed), (0, 3));
    assert_eq!(PasswordFile::parse(&editor.text()).unwrap().len(), 3);
}

#[test]
fn a_name_that_is_not_utf8_is_called_so() {
    let mut editor = Editor::new(b"alice:secret\nb\xff:x\n");
    let error = editor
        .hash_plain_lines(|_, _| Err::<StoredHash, _>("not asked"))
        .unwrap_err();
    assert_eq!(error, PlainLineError::NameNotUtf8 { line: 2 });
    assert!(editor.remove(b"b\xff"));
}

#[test]
fn plain_lines_are_hashed_all_or_none() {
    let cases = [
        (
            "alice:secret\nbob:\n",
            PlainLineError::Incomplete { line: 2, column: 1 },
        ),
        (
            "alice:secret\n :x\n",
            PlainLineError::Incomplete { line: 2, column: 1 },
        ),
        (
            "# x\nälice:pa:ss\n",
            PlainLineError::SecondColon { line: 2, column: 9 },
        ),
        ("alice:fails\n", PlainLineError::Hash("no")),
        (
            "älice:x\nälice: $7$5$zzz\n",
            PlainLineError::Duplicate {
                line: 2,
                first_line: 1,
            },
        ),
        (
            "alice:secret\nbob: $7$5$zzz\n",
            PlainLineError::DamagedHash {
                line: 2,
                column: 6,
                cause: HashError::Base64 {
                    field: Field::Salt,
                    padded: true,
                },
            },
        ),
        (
            "b:$argon2i$v=19$m=1\n",
            PlainLineError::DamagedHash {
                line: 1,
                column: 3,
                cause: HashError::UnknownScheme,
            },
        ),
        (
            "b:$argon2id$v=19$m=x\n",
            PlainLineError::DamagedHash {
                line: 1,
                column: 3,
                cause: HashError::Parameter { field: Field::Memory },
            },
        ),
        ("\u{feff}alice:secret\n", PlainLineError::ByteOrderMark),
        ("\u{feff}# a list\nalice:secret\n", PlainLineError::ByteOrderMark),
    ];
    for (before, error) in cases {
        let mut editor = Editor::new(before.as_bytes());
        let result = editor.hash_plain_lines(|_, plain| {
            if plain == b"fails" {
                Err("no")
            } else {
                Ok(hash("x"))
            }
        });
        assert_eq!(result, Err(error), "{before:?}");
        assert_eq!(text(&editor), before);
    }
}

proptest! {
    #[test]
    fn other_lines_stay(
        lines in proptest::collection::vec("[a-c#: \t]{0,5}\r?", 0..8),
        last in "\n?",
        user in "[a-c]{1,2}",
    ) {
        let before = lines.join("\n") + &last;
        let mut editor = Editor::new(before.as_bytes());
        editor.remove(&user);
        let without = text(&editor);
        let kept = before.split_inclusive('\n').filter(|line| {
            let mut one = Editor::new(line.as_bytes());
            !one.remove(&user)
        });
        prop_assert_eq!(&without, &kept.collect::<String>());
        prop_assert_eq!(editor.set(&user, &hash("x")), Ok(Change::Added));
        let with = text(&editor);
        // Colons without a line end stay the last.
        let last = without.rsplit('\n').next().unwrap_or_default();
        let colons = if last.chars().all(|character| character == ':') { last } else { "" };
        let above = without.strip_suffix(colons).unwrap_or(&without);
        prop_assert!(with.starts_with(above) && with.ends_with(colons));
        prop_assert_eq!(editor.set(&user, &hash("x")), Ok(Change::Updated));
        prop_assert_eq!(text(&editor), with);
        prop_assert!(editor.remove(&user));
        // Only the last line may have got the line end that it lacked.
        let after = text(&editor);
        prop_assert_eq!(after.trim_end_matches(['\r', '\n']), without.trim_end_matches(['\r', '\n']));
    }
}
