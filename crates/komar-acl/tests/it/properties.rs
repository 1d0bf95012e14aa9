//! Decisions and explanations against the oracle, on random files.

use komar_acl::{
    Access, Acl, AclFile, Lint, LintKind, Options, Outcome, ParseOptions, Reason, Subject, Substitution,
};
use proptest::prelude::*;

use crate::oracle::{For, PlainRule, Question, allowed};

/// Few words, so that rules and questions meet.
fn level() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just(""), 1 => Just("$x"), 1 => Just("u"), 1 => Just("c"),
        1 => Just("%u"), 1 => Just("%c"), 1 => Just("u-c"),
    ]
    .prop_map(str::to_owned)
}

fn topic() -> impl Strategy<Value = String> {
    let plain = proptest::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"));
    prop_oneof![
        20 => plain,
        1 => Just("$SYS/a".to_owned()),
        1 => Just("$SYS/broker/connection/b/state".to_owned()),
        1 => Just("$share/g/a".to_owned()),
    ]
    .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

fn filter(pattern: bool) -> impl Strategy<Value = String> {
    let placeholder = if pattern { 4 } else { 0 };
    let level = prop_oneof![
        6 => level(),
        3 => Just("+".to_owned()),
        placeholder => Just("%u".to_owned()),
        placeholder => Just("%c".to_owned()),
        placeholder => Just("%u-%c".to_owned()),
        placeholder => Just("x%u".to_owned()),
    ];
    let levels = (proptest::collection::vec(level, 0..4), any::<bool>());
    let plain = levels.prop_map(|(mut levels, open)| {
        if open || levels.is_empty() {
            levels.push("#".into());
        }
        levels.join("/")
    });
    prop_oneof![10 => plain, 1 => Just("$SYS/#".to_owned()), 1 => Just("$share/#".to_owned())]
        .prop_filter("a filter is not empty", |filter| !filter.is_empty())
}

fn rule(extensions: bool) -> impl Strategy<Value = PlainRule> {
    let (mut access, mut whose) = (vec!["read", "write", "readwrite", "deny"], 0);
    if extensions {
        access.extend(["readdeny", "writedeny"]);
        whose = 2;
    }
    let whose = prop_oneof![
        1 => Just(For::Anonymous),
        1 => user().prop_map(|user| For::User(if user.is_empty() { "u".into() } else { user })),
        1 => Just(For::Everybody),
        whose => prop_oneof![Just("g"), Just("h")].prop_map(|group| For::Group(group.to_owned())),
    ];
    whose
        .prop_flat_map(move |whose| {
            let filter = filter(whose == For::Everybody);
            (Just(whose), proptest::sample::select(access.clone()), filter)
        })
        .prop_map(|(whose, access, filter)| PlainRule {
            whose,
            access,
            filter,
        })
}

/// Rules for topics that nobody asks about, in so many shapes that lists which have them are kept as trees.
fn many_shapes(groups: bool) -> Vec<PlainRule> {
    let mut whose = vec![For::Anonymous, For::User("u".to_owned()), For::Everybody];
    if groups {
        whose.push(For::Group("g".to_owned()));
    }
    let filter = |shape: u32| {
        let level = |place: u32| ["zz", "+"][usize::from((shape >> place) & 1 == 1)];
        format!("zz/{}", (0..5).map(level).collect::<Vec<_>>().join("/"))
    };
    let rules = whose.into_iter().flat_map(|whose| {
        (0..20).map(move |shape| PlainRule {
            whose: whose.clone(),
            access: "read",
            filter: filter(shape),
        })
    });
    rules.collect()
}

/// Who is in which group.
fn members() -> impl Strategy<Value = Vec<(String, String)>> {
    let member = (
        prop_oneof![Just("g"), Just("h")],
        prop_oneof![Just("u"), Just("a"), Just("a/b")],
    );
    proptest::collection::vec(
        member.prop_map(|(group, user)| (group.to_owned(), user.to_owned())),
        0..4,
    )
}

fn user() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("u"), 2 => Just("a"), 1 => Just("a/b"), 1 => Just("+"), 1 => Just("$x"), 1 => Just("%c"), 1 => Just(""),
    ]
    .prop_map(str::to_owned)
}

/// Anonymous rules first, since nothing leads back to them; the others as they come, patterns anywhere.
fn text_of(rules: &[PlainRule], members: &[(String, String)]) -> String {
    let mut text = String::new();
    let line = |rule: &PlainRule| match rule.whose {
        For::Anonymous => format!("topic {} {}\n", rule.access, rule.filter),
        For::User(ref user) => format!("user {user}\ntopic {} {}\n", rule.access, rule.filter),
        For::Group(ref group) => format!("group {group}\ntopic {} {}\n", rule.access, rule.filter),
        For::Everybody => format!("pattern {} {}\n", rule.access, rule.filter),
    };
    rules
        .iter()
        .filter(|rule| rule.whose == For::Anonymous)
        .for_each(|rule| text += &line(rule));
    members
        .iter()
        .for_each(|(group, user)| text += &format!("group {group}\nmember {user}\n"));
    rules
        .iter()
        .filter(|rule| rule.whose != For::Anonymous)
        .for_each(|rule| text += &line(rule));
    text
}

/// User, client id, whether it writes, topic.
type Asked = (Option<String>, String, bool, String);

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let question = (proptest::option::of(user()), user(), any::<bool>(), topic());
    proptest::collection::vec(question, 1..12)
}

fn check(
    rules: &[PlainRule],
    members: &[(String, String)],
    questions: &[Asked],
    anywhere: bool,
) -> Result<(), TestCaseError> {
    let text = text_of(rules, members);
    let substitution = if anywhere {
        Substitution::Anywhere
    } else {
        Substitution::WholeLevel
    };
    let options = ParseOptions::default()
        .extensions(true)
        .substitution(substitution);
    let file = AclFile::parse_with(text.as_bytes(), &options);
    let file = file.map_err(|errors| TestCaseError::fail(errors.to_string()))?;
    let lints = Acl::lint(&file, None);
    let idle = lints.iter().filter(|lint| {
        matches!(
            lint.kind(),
            LintKind::Shadowed { .. } | LintKind::Redundant { .. } | LintKind::DecidedByTwo { .. }
        )
    });
    let idle: Vec<usize> = idle.map(Lint::line).collect();
    let options = Options::default().substitution(substitution);
    let acl = Acl::compile(&file, options);
    let strict = Acl::compile(&file, options.strict_subscribe(true));
    for (user, client, write, topic) in questions {
        let question = Question {
            user: user.as_deref(),
            client,
            write: *write,
            topic,
        };
        let expected = allowed(rules, members, &question, anywhere);
        let subject = Subject {
            username: user.as_deref(),
            client_id: client,
        };
        let access = if *write { Access::Write } else { Access::Read };
        let decision = acl.decide(subject, access, topic);
        let explanation = acl.explain(subject, access, topic);
        prop_assert_eq!(decision.is_allow(), expected, "{}{}", text, explanation);
        prop_assert_eq!(explanation.decision, decision, "{}{}", text, explanation);
        if let Reason::Rule { line } = explanation.reason {
            let last = explanation.considered.last().unwrap();
            prop_assert_eq!(last.line, line);
            prop_assert!(matches!(last.outcome, Outcome::Allows | Outcome::Denies));
            prop_assert!(text.lines().nth(line - 1).unwrap().ends_with(&last.rule));
            prop_assert!(
                !idle.contains(&line),
                "a lint says that this cannot decide: {}{}",
                text,
                explanation
            );
        }
        // What the trees of grants say, and what going through the rules one by one does.
        for filter in [
            topic.clone(),
            format!("{topic}/#"),
            format!("+/{topic}"),
            "a/+/#".into(),
            "+/+".into(),
        ] {
            let explanation = strict.explain(subject, Access::Subscribe, &filter);
            let last = explanation.considered.last().map(|rule| rule.outcome);
            if explanation.reason != Reason::StrictSubscribeInDoubt {
                prop_assert_eq!(
                    explanation.decision.is_allow(),
                    last == Some(Outcome::Allows),
                    "{}{}",
                    text,
                    explanation
                );
            }
            prop_assert_eq!(
                strict.decide(subject, Access::Subscribe, &filter),
                explanation.decision
            );
        }
        // Never refused if something under the filter may be read.
        if acl.decide(subject, Access::Read, topic).is_allow() {
            let levels = topic.split('/').collect::<Vec<_>>();
            let first = if topic.starts_with('$') { levels[0] } else { "+" };
            let mut wild = vec![
                topic.clone(),
                format!("{topic}/#"),
                format!("{first}/#"),
                format!("$share/g/{topic}"),
            ];
            wild.push([&[first], &levels[1..]].concat().join("/"));
            if !topic.starts_with('$') {
                wild.push("#".into());
            }
            for filter in wild {
                prop_assert!(
                    strict.may_read_something_under(subject, &filter),
                    "{text}{subject:?} {filter}"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decisions_agree_with_the_oracle(
        mut rules in proptest::collection::vec(rule(false), 0..24),
        questions in asked(),
        anywhere in any::<bool>(),
        tree in any::<bool>(),
    ) {
        rules.extend(many_shapes(false).into_iter().filter(|_| tree));
        prop_assert!(AclFile::parse(text_of(&rules, &[]).as_bytes()).is_ok(), "no extension is used");
        check(&rules, &[], &questions, anywhere)?;
    }

    #[test]
    fn decisions_with_groups_agree_with_the_oracle(
        mut rules in proptest::collection::vec(rule(true), 0..24),
        members in members(),
        questions in asked(),
        anywhere in any::<bool>(),
        tree in any::<bool>(),
    ) {
        rules.extend(many_shapes(true).into_iter().filter(|_| tree));
        check(&rules, &members, &questions, anywhere)?;
    }

    #[test]
    fn formatting_changes_no_meaning(
        rules in proptest::collection::vec(rule(false), 0..12),
        noise in proptest::collection::vec("[#] [a-z ]{0,6}| {0,3}|", 0..6),
        spaces in 1..4_usize,
        crlf in any::<bool>(),
    ) {
        let mut lines = text_of(&rules, &[]).lines().map(|line| line.replacen(' ', &" ".repeat(spaces), 2)).collect::<Vec<_>>();
        for (index, noise) in noise.into_iter().enumerate() {
            lines.insert((index * 3).min(lines.len()), noise);
        }
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        let options = Default::default();
        let formatted = AclFile::format(text.as_bytes(), &options).unwrap();
        prop_assert_eq!(&AclFile::format(&formatted, &options).unwrap(), &formatted, "formatting twice");
        let rules_of = |text: &[u8]| {
            let file = AclFile::parse(text).unwrap();
            file.rules().map(|rule| format!("{:?} {rule}", rule.scope)).collect::<Vec<_>>()
        };
        prop_assert_eq!(rules_of(&formatted), rules_of(text.as_bytes()));
        let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        let formatted = String::from_utf8(formatted).unwrap();
        prop_assert_eq!(comments(&formatted), comments(&text));
        prop_assert!(!formatted.contains("\n\n\n") && !formatted.contains('\r'));
    }
}
