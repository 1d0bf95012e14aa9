//! The decision.

use alloc::string::String;
use alloc::vec::Vec;

use komar_topic::{TopicFilter, TopicName};

use crate::compile::{Acl, Patterns};
use crate::rule::{Effect, Kind, Owner, Rule};
use crate::substitute::expand;
use crate::table::Levels;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The user name; `None` for an anonymous client. Compared byte by byte.
    pub username: Option<&'a str>,
    /// The client identifier.
    pub client_id: &'a str,
}

/// What is to be done with a topic. A client of MQTT can do nothing else with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A message on this topic is to be delivered to the client.
    Read,
    /// The client publishes to this topic.
    Write,
    /// The client subscribes to this filter, given as it stands in SUBSCRIBE (`$share/..` too).
    Subscribe,
    /// The client unsubscribes from this filter.
    Unsubscribe,
}

/// The answer: there is no third one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

impl Decision {
    /// Whether it is [`Decision::Allow`].
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }
}

impl Acl {
    /// Decides as Mosquitto does. Does not allocate, except for [`Access::Subscribe`] with
    /// [`strict_subscribe`](crate::Options::strict_subscribe).
    ///
    /// `topic` is a topic name for [`Access::Read`] and [`Access::Write`], else a topic filter. In this order:
    ///
    /// 1. writing below `$SYS` is refused (but for `$SYS/broker/connection/+/state`, the state of bridges, which any rule
    ///    that matches it grants: `topic write $SYS/#` grants that and nothing else), topics that begin with `$share` too,
    ///    and a name that contains a wildcard or is empty;
    /// 2. SUBSCRIBE and UNSUBSCRIBE are allowed;
    /// 3. the `topic` rules of the user, or of the anonymous section for a client without a user name: a matching deny
    ///    refuses, else a matching grant allows;
    /// 4. if there is any pattern: a user name or client id that contains `+` or `#` is refused;
    /// 5. the patterns, in the same manner as the rules;
    /// 6. refused.
    ///
    /// # Cost
    /// A list whose filters have up to 16 shapes (which levels are literal, which `+`, whether `#` follows) is asked once for
    /// each of them that has as many levels as the topic, whatever the number of rules. For more shapes it is how filters
    /// begin that counts: those beginnings are entered that match, fewer than 2^(n+1) for a topic of n levels. Clients
    /// choose topics, but cannot add to either. With `Substitution::Anywhere` every pattern is asked.
    pub fn decide(&self, subject: Subject<'_>, access: Access, topic: &str) -> Decision {
        let kind = match access {
            Access::Read => Kind::Read,
            Access::Write => Kind::Write,
            Access::Unsubscribe => return Decision::Allow,
            Access::Subscribe => return self.decide_subscribe(subject, topic),
        };
        if !is_name(topic) || (topic.starts_with('$') && is_reserved(kind, topic)) {
            return Decision::Deny;
        }
        let levels = Levels::of(topic);
        if let Some(decision) = self.own_verdict(subject, kind, &levels).decision() {
            return decision;
        }
        if matches!(self.patterns, Patterns::None) || has_wildcard_name(&subject) {
            return Decision::Deny;
        }
        self.pattern_verdict(&subject, kind, &levels)
            .decision()
            .unwrap_or(Decision::Deny)
    }

    /// The patterns as they are for the subject, replaced; none if it is refused by its name.
    pub(crate) fn patterns_of(&self, subject: &Subject<'_>) -> Vec<(Rule<'_>, String)> {
        if has_wildcard_name(subject) {
            return Vec::new();
        }
        let anywhere = self.substitutes_anywhere();
        let rules = self.rules_of(Owner::Pattern).into_iter();
        rules
            .filter_map(|rule| Some((rule, expand(rule.filter, subject, anywhere)?)))
            .collect()
    }

    fn decide_subscribe(&self, subject: Subject<'_>, filter: &str) -> Decision {
        if self.options.strict_subscribe && !self.may_read_something_under(subject, filter) {
            return Decision::Deny;
        }
        Decision::Allow
    }

    /// The rules that step 3 looks at, in the order of the file.
    pub(crate) fn own_rules(&self, subject: Subject<'_>) -> Vec<Rule<'_>> {
        let Some(username) = subject.username else {
            return self.rules_of(Owner::Anonymous);
        };
        let Some(user) = self.file.users.find(username) else {
            return Vec::new();
        };
        let mut rules = self.rules_of(Owner::User(user));
        rules.extend(
            self.groups_of(user)
                .iter()
                .flat_map(|group| self.rules_of(Owner::Group(*group))),
        );
        rules.sort_by_key(|rule| rule.line);
        rules
    }

    pub(crate) fn rules_of(&self, owner: Owner) -> Vec<Rule<'_>> {
        self.lists.of(&self.file, owner).collect()
    }
}

/// What clients may write below `$SYS`: the state of bridges.
pub(crate) const BRIDGE_STATE: &str = "$SYS/broker/connection/+/state";

/// Whether it is a topic name at all. The broker checks that; a rule must not match what it let through.
pub(crate) fn is_name(topic: &str) -> bool {
    !topic.is_empty() && memchr::memchr2(b'+', b'#', topic.as_bytes()).is_none()
}

/// Whether no rule counts for this topic. The prefixes are not levels: `$SYSTEM` is reserved too.
pub(crate) fn is_reserved(kind: Kind, topic: &str) -> bool {
    if topic.starts_with("$share") {
        return true;
    }
    kind == Kind::Write
        && topic.starts_with("$SYS")
        && !TopicFilter::from_checked(BRIDGE_STATE).matches(TopicName::from_checked(topic))
}

/// A name that would be a wildcard if a pattern took it in.
pub(crate) fn has_wildcard_name(subject: &Subject<'_>) -> bool {
    let wildcard = |name: &str| memchr::memchr2(b'+', b'#', name.as_bytes()).is_some();
    subject.username.is_some_and(wildcard) || wildcard(subject.client_id)
}

/// What the rules that were heard say about one kind of access.
#[derive(Clone, Copy)]
pub(crate) struct Verdict {
    kind: Kind,
    /// What another rule could still change it by: a grant only as long as there is none, and nothing once it is denied.
    pub(crate) wanted: Effect,
}

impl Verdict {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            wanted: Effect::about(kind),
        }
    }

    /// What is wanted after a rule of this effect.
    pub(crate) const fn hear(kind: Kind, effect: Effect, wanted: &mut Effect) {
        if effect.denies(kind) {
            *wanted = Effect::NONE;
        } else if effect.grants(kind) {
            *wanted = wanted.without(effect);
        }
    }

    const fn decision(self) -> Option<Decision> {
        if !self.wanted.denies(self.kind) {
            Some(Decision::Deny)
        } else if !self.wanted.grants(self.kind) {
            Some(Decision::Allow)
        } else {
            None
        }
    }
}
