//! `strict.txt`: subscriptions under which nothing may be read.

use komar_acl::{Access, Acl, AclFile, Options, Outcome, Reason, Subject};

#[test]
fn subscriptions_that_could_never_receive_are_found() {
    for [file, user, filter, expected] in crate::rows(include_str!("../data/strict.txt")) {
        let parsed = AclFile::parse(&crate::unescape(file)).unwrap();
        let acl = Acl::compile(&parsed, Options::default().strict_subscribe(true));
        let subject = Subject {
            username: Some(user).filter(|user| *user != "-"),
            client_id: "c",
        };
        assert_eq!(
            acl.may_read_something_under(subject, filter),
            expected == "yes",
            "{file}: {user} {filter}"
        );
        assert_eq!(
            acl.decide(subject, Access::Subscribe, filter).is_allow(),
            expected == "yes",
            "{file} {filter}"
        );
        assert!(acl.decide(subject, Access::Unsubscribe, filter).is_allow());
        let explanation = acl.explain(subject, Access::Subscribe, filter);
        assert_eq!(explanation.decision.is_allow(), expected == "yes");
        assert_eq!(explanation.reason, Reason::StrictSubscribe);
        if expected == "yes" {
            assert!(explanation.considered.last().unwrap().outcome == Outcome::Allows);
        } else {
            assert!(
                explanation
                    .considered
                    .iter()
                    .all(|rule| rule.outcome == Outcome::Denies)
            );
        }
    }
}
