//! What an explanation says.

use komar_acl::{Access, Acl, AclFile, Options, Reason, Subject};

fn explain(
    file: &str,
    username: Option<&str>,
    client_id: &str,
    access: Access,
    topic: &str,
) -> (Reason, String) {
    let acl = Acl::compile(&AclFile::parse(file.as_bytes()).unwrap(), Options::default());
    let explanation = acl.explain(Subject { username, client_id }, access, topic);
    (explanation.reason.clone(), explanation.to_string())
}

#[test]
fn the_deciding_line_and_the_chain() {
    let file = "user alice\ntopic read a/#\ntopic write a/b\ntopic deny x\ntopic b\npattern p/%u\n";
    let (reason, text) = explain(file, Some("alice"), "phone", Access::Write, "a/b");
    assert_eq!(reason, Reason::Rule { line: 3 });
    assert_eq!(
        text,
        "allowed: user \"alice\" (client id \"phone\") writes \"a/b\"\n\
         because of line 3: topic write a/b\n  \
         line 2: topic read a/# (matches, but is about the other kind of access)\n  \
         line 3: topic write a/b (matches and allows)\n  \
         and 1 whose filter does not match\n"
    );
}

#[test]
fn reasons_without_a_rule() {
    let pattern = "pattern p/%u\n";
    let cases = [
        ("", Some("u"), "c", Access::Read, "a", Reason::NoSection),
        ("", None, "c", Access::Read, "a", Reason::NoRule),
        ("user u\n", Some("u"), "c", Access::Read, "a", Reason::NoRule),
        (pattern, Some("u"), "c", Access::Read, "a", Reason::NoRule),
        (
            pattern,
            Some("u+"),
            "c",
            Access::Read,
            "a",
            Reason::WildcardInUserName,
        ),
        (
            pattern,
            Some("u"),
            "#",
            Access::Read,
            "a",
            Reason::WildcardInClientId,
        ),
        ("topic #\n", None, "c", Access::Write, "$SYS/a", Reason::SysWrite),
        (
            "topic #\n",
            None,
            "c",
            Access::Read,
            "$share/a",
            Reason::ShareTopic,
        ),
        ("topic #\n", None, "c", Access::Read, "a/+", Reason::NotATopicName),
        (
            "",
            None,
            "c",
            Access::Subscribe,
            "a/+",
            Reason::SubscribeIsAllowed,
        ),
        (
            "",
            None,
            "c",
            Access::Unsubscribe,
            "a/+",
            Reason::SubscribeIsAllowed,
        ),
    ];
    for (file, user, client, access, topic, expected) in cases {
        let (reason, text) = explain(file, user, client, access, topic);
        assert_eq!(reason, expected, "{text}");
    }
}

#[test]
fn patterns_without_a_user_name_are_skipped_visibly() {
    let (_, text) = explain("pattern p/%u\npattern q/%c\n", None, "c", Access::Read, "q/c");
    assert!(
        text.contains("line 1: pattern readwrite p/%u (skipped: the client has no user name for %u)"),
        "{text}"
    );
    let (_, text) = explain("topic #\n", None, "c", Access::Read, "$SYS/a");
    assert!(
        text.contains("wildcards at the beginning do not reach topics with $"),
        "{text}"
    );
}
