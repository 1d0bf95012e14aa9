//! An ACL file and a question: whatever the file is, it loads or every error has a place; and what is decided,
//! explained, linted and formatted agrees.

use std::fmt::Write;

use komar_topic::SubscriptionFilter;
use komar_acl::{Access, Acl, AclFile, LintKind, Options, ParseOptions, Reason, Subject, Substitution};

/// A byte of options, then user, client id, topic and file, with 0xFF between them. An empty user is none.
pub fn run(data: &[u8]) {
    let Some((options, rest)) = data.split_first() else {
        return;
    };
    let mut parts = rest.splitn(4, |byte| *byte == 0xFF);
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (Some(user), Some(client_id), Some(topic)) = (text(), text(), text()) else {
        return;
    };
    let file = parts.next().unwrap_or_default();
    let substitution = if options & 2 != 0 { Substitution::Anywhere } else { Substitution::WholeLevel };
    let parse = ParseOptions::default().extensions(options & 1 != 0).substitution(substitution);
    let rules = match AclFile::parse_with(file, &parse) {
        Ok(rules) => rules,
        Err(errors) => {
            let mut shown = String::new();
            let mut line = 0;
            for error in &errors {
                assert!(error.line > line && error.column > 0, "{errors}");
                line = error.line;
                write!(shown, "{error} {:?} {}", error.hint(), error.cause.code()).unwrap();
            }
            return assert!(line > 0);
        }
    };
    formatted(file, &rules, &parse);

    let lints = Acl::lint(&rules, Some(&|name| name.len() % 2 == 0));
    let acl = Acl::compile(&rules, Options::default().substitution(substitution).strict_subscribe(options & 4 != 0));
    let subject = Subject { username: Some(user).filter(|user| !user.is_empty()), client_id };
    for access in [Access::Read, Access::Write, Access::Subscribe, Access::Unsubscribe] {
        let decision = acl.decide(subject, access, topic);
        let explanation = acl.explain(subject, access, topic);
        assert_eq!(explanation.decision, decision, "{explanation}");
        if let Reason::Rule { line } = explanation.reason {
            let idle = lints.iter().find(|lint| {
                lint.line() == line
                    && matches!(lint.kind(), LintKind::Shadowed { .. } | LintKind::Redundant { .. })
            });
            assert!(idle.is_none(), "{explanation}{idle:?}");
        }
    }
    // The broker asks about topics only that are legal.
    if SubscriptionFilter::parse(topic).is_ok() && acl.decide(subject, Access::Read, topic).is_allow() {
        assert!(acl.may_read_something_under(subject, topic));
    }
}

/// One style, reached at once, and the same rules.
fn formatted(file: &[u8], rules: &AclFile, parse: &ParseOptions) {
    let formatted = AclFile::format(file, parse).unwrap();
    assert_eq!(AclFile::format(&formatted, parse).unwrap(), formatted);
    let again = AclFile::parse_with(&formatted, parse).unwrap();
    let rules = rules.rules().map(|rule| (rule.scope, rule.permission, rule.filter));
    let again = again.rules().map(|rule| (rule.scope, rule.permission, rule.filter)).collect::<Vec<_>>();
    assert_eq!(rules.collect::<Vec<_>>(), again);
}
