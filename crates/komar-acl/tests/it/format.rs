//! One style.

use komar_acl::{AclFile, ParseOptions};

#[test]
fn files_in_one_style() {
    let cases = [
        ("", ""),
        ("\n\n", ""),
        ("# x", "# x\n"),
        (
            "topic   a  \r\n\r\n\r\n\r\ntopic b\r\n\r\n",
            "topic a\n\ntopic b\n",
        ),
        (
            "  user   a b  \n topic  read   x  y\n",
            "user a b\ntopic read x  y\n",
        ),
        ("topic deny\n", "topic readwrite deny\n"),
        (
            "topic a\nuser u\ntopic b\nuser v\ntopic c",
            "topic a\n\nuser u\ntopic b\n\nuser v\ntopic c\n",
        ),
        (
            "topic a\n# about u\n# more\nuser u\n",
            "topic a\n\n# about u\n# more\nuser u\n",
        ),
        (
            "topic a\n# about b\ntopic b\nuser u\n",
            "topic a\n# about b\ntopic b\n\nuser u\n",
        ),
        ("# head\n\nuser u\n", "# head\n\nuser u\n"),
        ("# head\nuser u\n", "# head\nuser u\n"),
    ];
    for (before, after) in cases {
        let formatted = AclFile::format(before.as_bytes(), &ParseOptions::default()).unwrap();
        assert_eq!(String::from_utf8(formatted).unwrap(), after, "{before:?}");
    }
    let latin1 = b"# gr\xfc\xdfe\ntopic \xff/a\n";
    assert_eq!(AclFile::format(latin1, &ParseOptions::default()).unwrap(), latin1);
    assert!(AclFile::format(b"topics", &ParseOptions::default()).is_err());
    let extensions = ParseOptions::default().extensions(true);
    let groups = AclFile::format(b"topic a\ngroup g\n member  u\ntopic readdeny\n", &extensions).unwrap();
    assert_eq!(
        String::from_utf8(groups).unwrap(),
        "topic a\n\ngroup g\nmember u\ntopic readwrite readdeny\n"
    );
}
