//! Why a decision is what it is.
//!
//! This goes through the rules one by one, as the description of the decision does; that it agrees with the indexes of
//! [`decide`](crate::Acl::decide) is a property test.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use komar_topic::{TopicFilter, TopicName};

use crate::compile::{Acl, Patterns, Substitution};
use crate::decide::{Access, Decision, Subject, has_wildcard_name, is_name, is_reserved};
use crate::rule::{Kind, Owner, Rule, Scope};
use crate::strict::{Readable, received_filter};
use crate::substitute::{LevelPattern, TextPattern};

/// A decision, the rule or principle that made it, and the rules that were looked at on the way.
///
/// `Display` gives several lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The same as [`Acl::decide`] returns.
    pub decision: Decision,
    /// What decided.
    pub reason: Reason,
    /// Every rule that was looked at, in that order: those that deny first, then the others, each in the order of the
    /// file; the user's own first, then the patterns. The last one decided if the reason is [`Reason::Rule`].
    pub considered: Vec<Considered>,
    question: String,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A rule, by its line from 1.
    Rule {
        /// Where it stands.
        line: usize,
    },
    /// The topic is empty or contains a wildcard.
    NotATopicName,
    /// Clients cannot write below `$SYS`, whatever the rules say.
    SysWrite,
    /// No message has a topic that begins with `$share`.
    ShareTopic,
    /// Subscribing and unsubscribing is always allowed; what may not be read is not delivered.
    SubscribeIsAllowed,
    /// [`strict_subscribe`](crate::Options::strict_subscribe): whether something under the filter may be read.
    StrictSubscribe,
    /// The same, but too many rules would have to be compared with the filter: it is accepted.
    StrictSubscribeInDoubt,
    /// There is a pattern, and the user name contains `+` or `#`.
    WildcardInUserName,
    /// There is a pattern, and the client id contains `+` or `#`.
    WildcardInClientId,
    /// The file has no section for this user, and no pattern.
    NoSection,
    /// No rule that was looked at grants it.
    NoRule,
}

/// A rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Considered {
    /// Where it stands, from 1.
    pub line: usize,
    /// The rule with its access word.
    pub rule: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of looking at a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It matches and allows.
    Allows,
    /// It matches and refuses.
    Denies,
    /// It matches, and speaks of the other kind of access only.
    OtherAccess,
    /// Its filter does not match.
    NoMatch,
    /// The topic begins with `$` and the filter does not.
    Dollar,
    /// It mentions `%u` and the client has no user name.
    NoUserName,
}

impl Acl {
    /// What [`decide`](Self::decide) answers, and why.
    ///
    /// ```
    /// # use komar_acl::{Access, Acl, AclFile, Options, Reason, Subject};
    /// let file = AclFile::parse(b"user alice\ntopic read a/#\ntopic deny a/b\n")?;
    /// let acl = Acl::compile(&file, Options::default());
    /// let alice = Subject { username: Some("alice"), client_id: "phone" };
    /// let explanation = acl.explain(alice, Access::Read, "a/b");
    /// assert_eq!(explanation.reason, Reason::Rule { line: 3 });
    /// assert!(explanation.to_string().contains("line 3: topic deny a/b"));
    /// # Ok::<(), komar_acl::AclErrors>(())
    /// ```
    #[must_use]
    pub fn explain(&self, subject: Subject<'_>, access: Access, topic: &str) -> Explanation {
        let mut considered = Vec::new();
        let (decision, reason) = self.reason(subject, access, topic, &mut considered);
        Explanation {
            decision,
            reason,
            considered,
            question: question(subject, access, topic),
        }
    }

    fn reason(
        &self,
        subject: Subject<'_>,
        access: Access,
        topic: &str,
        considered: &mut Vec<Considered>,
    ) -> (Decision, Reason) {
        let kind = match access {
            Access::Read => Kind::Read,
            Access::Write => Kind::Write,
            Access::Subscribe if self.options().strict_subscribe => {
                return match self.readable_under(subject, topic) {
                    Readable::InDoubt => (Decision::Allow, Reason::StrictSubscribeInDoubt),
                    Readable::Something => {
                        considered.extend(self.strict_line(subject, topic));
                        (Decision::Allow, Reason::StrictSubscribe)
                    }
                    Readable::Nothing => {
                        considered.extend(self.strict_line(subject, topic));
                        (Decision::Deny, Reason::StrictSubscribe)
                    }
                };
            }
            Access::Subscribe | Access::Unsubscribe => return (Decision::Allow, Reason::SubscribeIsAllowed),
        };
        if !is_name(topic) {
            return (Decision::Deny, Reason::NotATopicName);
        }
        if is_reserved(kind, topic) {
            let share = topic.starts_with("$share");
            return (
                Decision::Deny,
                if share {
                    Reason::ShareTopic
                } else {
                    Reason::SysWrite
                },
            );
        }
        let own = self.own_rules(subject);
        if let Some(decided) = self.walk(&own, subject, kind, topic, considered) {
            return decided;
        }
        if matches!(self.patterns, Patterns::None) {
            let stranger = subject
                .username
                .is_some_and(|username| self.file.users.find(username).is_none());
            return (
                Decision::Deny,
                if stranger {
                    Reason::NoSection
                } else {
                    Reason::NoRule
                },
            );
        }
        if has_wildcard_name(&subject) {
            let user = subject
                .username
                .is_some_and(|username| username.contains(['+', '#']));
            return (
                Decision::Deny,
                if user {
                    Reason::WildcardInUserName
                } else {
                    Reason::WildcardInClientId
                },
            );
        }
        let patterns = self.rules_of(Owner::Pattern);
        self.walk(&patterns, subject, kind, topic, considered)
            .unwrap_or((Decision::Deny, Reason::NoRule))
    }

    /// What [`may_read_something_under`](Self::may_read_something_under) decides by, rule by rule; `None` if there is no
    /// rule for anything under the filter.
    fn strict_line(&self, subject: Subject<'_>, filter: &str) -> Option<Considered> {
        let filter = received_filter(filter)?;
        let own = self.own_rules(subject).into_iter();
        let own: Vec<_> = own.map(|rule| (rule, rule.filter.to_owned())).collect();
        let lists = [own, self.patterns_of(&subject)];
        let grants_it = |rule: &Rule<'_>| rule.permission.effect().grants(Kind::Read);
        // Looked up: comparing each with all would take their square.
        let is_denied = |filter, patterns: bool| {
            self.own_denies(subject, filter) || (patterns && self.patterns_deny(&subject, filter))
        };
        let deny_of = |filter: TopicFilter<'_>| {
            let denies = |rule: &Rule<'_>| rule.permission.effect().denies(Kind::Read);
            let mut all = lists.iter().flatten().filter(|(rule, _)| denies(rule));
            all.find(|(_, deny)| TopicFilter::from_checked(deny).covers(filter))
                .map(|(rule, _)| Considered::new(rule, Outcome::Denies))
        };
        let mut lost = None;
        for (list, patterns) in lists.iter().zip([false, true]) {
            if is_denied(filter, patterns) {
                return deny_of(filter);
            }
            for (rule, grant) in list.iter().filter(|(rule, _)| grants_it(rule)) {
                let grant = TopicFilter::from_checked(grant);
                if grant.overlaps(filter) {
                    if !is_denied(grant, patterns) {
                        return Some(Considered::new(rule, Outcome::Allows));
                    }
                    lost = lost.or(Some(grant));
                }
            }
        }
        lost.and_then(deny_of)
    }

    /// One list, denies first.
    fn walk(
        &self,
        rules: &[Rule<'_>],
        subject: Subject<'_>,
        kind: Kind,
        topic: &str,
        considered: &mut Vec<Considered>,
    ) -> Option<(Decision, Reason)> {
        let (denies, grants): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.permission.is_deny());
        for rule in denies.into_iter().chain(grants) {
            let outcome = self.outcome(rule, subject, kind, topic);
            considered.push(Considered::new(rule, outcome));
            let reason = Reason::Rule { line: rule.line };
            match outcome {
                Outcome::Allows => return Some((Decision::Allow, reason)),
                Outcome::Denies => return Some((Decision::Deny, reason)),
                _ => {}
            }
        }
        None
    }

    fn outcome(&self, rule: &Rule<'_>, subject: Subject<'_>, kind: Kind, topic: &str) -> Outcome {
        let is_text = rule.scope == Scope::Everybody && self.options().substitution == Substitution::Anywhere;
        let reaches_dollar = match is_text {
            true => !TextPattern::new(rule).begins_with_wildcard(),
            false => rule.filter.starts_with('$'),
        };
        if topic.starts_with('$') && !reaches_dollar {
            return Outcome::Dollar;
        }
        let name = TopicName::from_checked(topic);
        let matches = match rule.scope {
            Scope::Everybody if rule.filter.contains("%u") && subject.username.is_none() => {
                return Outcome::NoUserName;
            }
            Scope::Everybody if is_text => TextPattern::new(rule).matches(&subject, topic),
            Scope::Everybody => {
                let filter = LevelPattern::filter_of(rule);
                TopicFilter::from_checked(&filter).matches(name)
                    && LevelPattern::new(rule).fits(&subject, topic)
            }
            _ => TopicFilter::from_checked(rule.filter).matches(name),
        };
        let effect = rule.permission.effect();
        match matches {
            false => Outcome::NoMatch,
            true if effect.denies(kind) => Outcome::Denies,
            true if effect.grants(kind) => Outcome::Allows,
            true => Outcome::OtherAccess,
        }
    }
}

impl Considered {
    fn new(rule: &Rule<'_>, outcome: Outcome) -> Self {
        Self {
            line: rule.line,
            rule: rule.to_string(),
            outcome,
        }
    }
}

impl Explanation {
    /// Like `Display`, with places as `FILE:LINE`.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        Shown {
            explanation: self,
            file: Some(file),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown {
            explanation: self,
            file: None,
        }
        .fmt(f)
    }
}

struct Shown<'a> {
    explanation: &'a Explanation,
    file: Option<&'a str>,
}

impl Shown<'_> {
    fn rule(&self, f: &mut fmt::Formatter<'_>, rule: &Considered) -> fmt::Result {
        match self.file {
            Some(file) => write!(f, "{file}:{}: {}", rule.line, rule.rule),
            None => write!(f, "line {}: {}", rule.line, rule.rule),
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation {
            decision,
            reason,
            considered,
            question,
        } = self.explanation;
        writeln!(
            f,
            "{}: {question}",
            if decision.is_allow() { "allowed" } else { "denied" }
        )?;
        match (reason, considered.last()) {
            (Reason::Rule { .. }, Some(rule)) => {
                f.write_str("because of ")?;
                self.rule(f, rule)?;
                writeln!(f)?;
            }
            _ => writeln!(f, "because {reason}")?,
        }
        let telling = || considered.iter().filter(|rule| rule.outcome.is_telling());
        for rule in telling() {
            f.write_str("  ")?;
            self.rule(f, rule)?;
            writeln!(f, " ({})", rule.outcome)?;
        }
        match considered.len().saturating_sub(telling().count()) {
            0 => Ok(()),
            others => writeln!(f, "  and {others} whose filter does not match"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule { line } => return write!(f, "of line {line}"),
            Self::NotATopicName => "this is not a topic name: it is empty or contains a wildcard",
            Self::SysWrite => "clients cannot write below $SYS, whatever the rules say",
            Self::ShareTopic => "no message has a topic that begins with $share",
            Self::SubscribeIsAllowed => {
                "every subscription is accepted; what may not be read is not delivered"
            }
            Self::StrictSubscribe => "of acl_strict_subscribe: something under the filter must be readable",
            Self::StrictSubscribeInDoubt => {
                "too many rules would have to be compared with the filter for acl_strict_subscribe; what may not be read \
                 is not delivered"
            }
            Self::WildcardInUserName => "the user name contains + or #, and the file has patterns",
            Self::WildcardInClientId => "the client id contains + or #, and the file has patterns",
            Self::NoSection => "the file has no section for this user and no pattern",
            Self::NoRule => "no rule grants it",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allows => "matches and allows",
            Self::Denies => "matches and denies",
            Self::OtherAccess => "matches, but is about the other kind of access",
            Self::NoMatch => "does not match",
            Self::Dollar => "does not match: wildcards at the beginning do not reach topics with $",
            Self::NoUserName => "skipped: the client has no user name for %u",
        })
    }
}

impl Outcome {
    /// Whether a reader wants to see the rule, and not only to know how many there are.
    const fn is_telling(self) -> bool {
        !matches!(self, Self::NoMatch)
    }
}

fn question(subject: Subject<'_>, access: Access, topic: &str) -> String {
    let user = match subject.username {
        Some(username) => alloc::format!("user {username:?}"),
        None => "anonymous".to_owned(),
    };
    let verb = match access {
        Access::Read => "reads",
        Access::Write => "writes",
        Access::Subscribe => "subscribes to",
        Access::Unsubscribe => "unsubscribes from",
    };
    alloc::format!("{user} (client id {:?}) {verb} {topic:?}", subject.client_id)
}
