//! komar-acl's rules as an answer to [`Authorize`](super::Authorize).

use komar_acl::{Access as Kind, Acl};

use super::{Action, Decision, Subject};

/// Asks the rules of an ACL file.
pub(super) fn decide(acl: &Acl, subject: &Subject<'_>, action: Action<'_>) -> Decision {
    let (kind, topic) = match action {
        Action::Publish(name) => (Kind::Write, name.as_str()),
        Action::Receive(name) => (Kind::Read, name.as_str()),
        Action::Subscribe(filter) => (Kind::Subscribe, filter.as_str()),
        Action::Unsubscribe(filter) => (Kind::Unsubscribe, filter.as_str()),
    };
    let subject = komar_acl::Subject {
        username: subject.username,
        client_id: subject.client_id,
    };
    match acl.decide(subject, kind, topic) {
        komar_acl::Decision::Allow => Decision::Allow,
        komar_acl::Decision::Deny => Decision::Deny,
    }
}
