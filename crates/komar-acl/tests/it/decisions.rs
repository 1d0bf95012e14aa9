//! `decisions.txt`: files, and what they allow.

use komar_acl::{Access, Acl, AclFile, Decision, Options, ParseOptions, Subject, Substitution};

fn compile(file: &str, options: &str) -> Acl {
    let parse = ParseOptions::default().extensions(options == "ext");
    let parsed = AclFile::parse_with(&crate::unescape(file), &parse)
        .unwrap_or_else(|errors| panic!("{file}: {errors}"));
    let substitution = if options == "2.0" {
        Substitution::Anywhere
    } else {
        Substitution::WholeLevel
    };
    Acl::compile(&parsed, Options::default().substitution(substitution))
}

#[test]
fn files_allow_what_the_table_says() {
    for [file, options, user, client_id, expected, topic] in
        crate::rows(include_str!("../data/decisions.txt"))
    {
        let acl = compile(file, options);
        let subject = Subject {
            username: Some(user).filter(|user| *user != "-"),
            client_id,
        };
        let mut allowed = String::new();
        for (letter, access) in [('r', Access::Read), ('w', Access::Write)] {
            let decision = acl.decide(subject, access, topic);
            if decision.is_allow() {
                allowed.push(letter);
            }
            let explanation = acl.explain(subject, access, topic);
            assert_eq!(explanation.decision, decision, "{file}: {explanation}");
        }
        assert_eq!(
            allowed, expected,
            "{file} ({options}): {user} {client_id} {topic}"
        );
    }
}

#[test]
fn subscribing_is_always_allowed() {
    let acl = compile("topic deny #", "");
    let anybody = Subject {
        username: None,
        client_id: "c",
    };
    for filter in ["#", "$share/g/t", "a/+"] {
        assert_eq!(acl.decide(anybody, Access::Subscribe, filter), Decision::Allow);
        assert_eq!(acl.decide(anybody, Access::Unsubscribe, filter), Decision::Allow);
    }
}
