//! What is legal but probably not meant.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use komar_topic::TopicFilter;

use crate::compile::Substitution;
use crate::rule::{AclFile, Kind, Owner, Permission, Rule, Scope};
use crate::table::{Levels, NewRule, RuleTable};

/// Something odd in an ACL file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    line: usize,
    column: usize,
    kind: LintKind,
}

impl Lint {
    pub(crate) fn new(line: usize, column: usize, kind: LintKind) -> Self {
        Self { line, column, kind }
    }

    /// Line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is odd.
    #[must_use]
    pub fn kind(&self) -> &LintKind {
        &self.kind
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.kind)
    }
}

/// What a [`Lint`] is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LintKind {
    /// `topic deny`: with one word, that word is the filter.
    #[error("this grants reading and writing a topic called {word:?}; an access needs a filter after it")]
    AccessWordAsFilter {
        /// The word.
        word: &'static str,
    },
    /// A `pattern` without `%u` and `%c` is for all clients, anonymous ones too.
    #[error("this pattern has no %u or %c and is the same for all clients, anonymous ones included")]
    PatternWithoutPlaceholder,
    /// `%u` or `%c` beside other characters of its level.
    #[error(
        "%u and %c are replaced only where they are a whole level (Mosquitto 2.0 replaced them anywhere)"
    )]
    EmbeddedPlaceholder,
    /// A pattern that depends on the client id alone.
    #[error("clients choose their client id: without %u this does not keep users apart")]
    ClientIdOnly,
    /// `%u` or `%c` in a `topic` rule.
    #[error("%u and %c mean nothing special after \"topic\"; did you mean \"pattern\"?")]
    PlaceholderInTopic,
    /// A rule grants writing where the broker refuses it whatever the rules say.
    #[error("clients cannot write below $SYS{}", sys_hint(*.read))]
    SysWrite {
        /// Whether the rule grants reading too, which works.
        read: bool,
    },
    /// No topic begins with `$share`.
    #[error("no message has a topic that begins with $share; name the topic filter behind the share name")]
    ShareFilter,
    /// A tab or another control character in a filter, probably meant to separate.
    #[error("the filter contains the control character {character:?}; only spaces separate words")]
    ControlCharacter {
        /// Which one.
        character: char,
    },
    /// A filter that is not UTF-8 matches no topic.
    #[error("the filter is not UTF-8 and matches no topic; save the file as UTF-8")]
    FilterNotUtf8,
    /// A user name that is not UTF-8 is nobody's.
    #[error("the name is not UTF-8 and nobody's; save the file as UTF-8")]
    NameNotUtf8,
    /// Patterns are not consulted for such a user.
    #[error(
        "user {name:?} contains + or #: its own rules count, but everything else is refused as soon as the file has a pattern"
    )]
    WildcardInUserName {
        /// The name.
        name: String,
    },
    /// A deny rule of the same list covers all that this rule grants.
    #[error("this never grants anything: {deny:?} on line {deny_line} comes first, wherever it stands")]
    Shadowed {
        /// The rule that wins.
        deny: Box<str>,
        /// Where it stands, from 1.
        deny_line: usize,
    },
    /// An earlier rule of the same list says all that this rule says.
    #[error("this changes nothing: {by:?} on line {by_line} says as much or more")]
    Redundant {
        /// The rule that decides instead.
        by: Box<str>,
        /// Where it stands, from 1.
        by_line: usize,
    },
    /// The password file has no such user.
    #[error("the password file has no user {name:?}")]
    UnknownUser {
        /// The name.
        name: String,
    },
    /// An extension: a group without members.
    #[error("group {name:?} has no members")]
    EmptyGroup {
        /// The name.
        name: String,
    },
}

impl LintKind {
    /// A short name that stays the same, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AccessWordAsFilter { .. } => "access-word-as-filter",
            Self::PatternWithoutPlaceholder => "pattern-without-placeholder",
            Self::EmbeddedPlaceholder => "embedded-placeholder",
            Self::ClientIdOnly => "client-id-only",
            Self::PlaceholderInTopic => "placeholder-in-topic",
            Self::SysWrite { .. } => "sys-write",
            Self::ShareFilter => "share-filter",
            Self::ControlCharacter { .. } => "control-character",
            Self::FilterNotUtf8 => "filter-not-utf8",
            Self::NameNotUtf8 => "name-not-utf8",
            Self::WildcardInUserName { .. } => "wildcard-in-user-name",
            Self::Shadowed { .. } => "shadowed",
            Self::Redundant { .. } => "redundant",
            Self::UnknownUser { .. } => "unknown-user",
            Self::EmptyGroup { .. } => "empty-group",
        }
    }
}

/// The file's [warnings](AclFile::warnings) and what only the whole file shows, in the order of the lines.
pub(crate) fn whole_file(file: &AclFile, known_users: Option<&dyn Fn(&str) -> bool>) -> Vec<Lint> {
    let mut lints = file.warnings().to_vec();
    never_deciding(file, &mut lints);
    if let Some(known) = known_users {
        let strangers = file.users().filter(|(name, _)| !known(name));
        lints.extend(
            strangers.map(|(name, line)| Lint::new(line, 1, LintKind::UnknownUser { name: name.into() })),
        );
    }
    let empty = file
        .groups
        .iter()
        .zip(0_u32..)
        .filter(|(_, id)| !file.members.iter().any(|(group, _)| group == id));
    lints.extend(
        empty.map(|((name, line), _)| Lint::new(line, 1, LintKind::EmptyGroup { name: name.into() })),
    );
    lints.sort_by_key(|lint| (lint.line, lint.column));
    lints
}

/// What one rule shows by itself.
pub(crate) fn of_rule(
    substitution: Substitution,
    owner: Owner,
    has_access: bool,
    permission: Permission,
    filter: &str,
) -> Vec<LintKind> {
    let mut kinds = vec![];
    let word = Permission::of_word(filter.as_bytes());
    if let Some(word) = word.filter(|_| !has_access) {
        kinds.push(LintKind::AccessWordAsFilter { word: word.word() });
    }
    if owner == Owner::Pattern {
        placeholders_of_pattern(substitution, filter, &mut kinds);
    } else if filter.split('/').any(is_placeholder) {
        kinds.push(LintKind::PlaceholderInTopic);
    }
    if permission.effect().grants(Kind::Write)
        && filter.starts_with("$SYS")
        && !reaches_bridge_state(substitution, owner, filter)
    {
        kinds.push(LintKind::SysWrite {
            read: permission.effect().grants(Kind::Read),
        });
    }
    if filter.starts_with("$share") {
        kinds.push(LintKind::ShareFilter);
    }
    if let Some(character) = filter.chars().find(|character| character.is_control()) {
        kinds.push(LintKind::ControlCharacter { character });
    }
    kinds
}

fn placeholders_of_pattern(substitution: Substitution, filter: &str, kinds: &mut Vec<LintKind>) {
    if !has_placeholder(filter) {
        return kinds.push(LintKind::PatternWithoutPlaceholder);
    }
    let embedded = |level: &str| !is_placeholder(level) && has_placeholder(level);
    if substitution == Substitution::WholeLevel && filter.split('/').any(embedded) {
        kinds.push(LintKind::EmbeddedPlaceholder);
    }
    if !filter.contains("%u") {
        kinds.push(LintKind::ClientIdOnly);
    }
}

/// Rules that can never decide: another rule of their own list is always asked before, and says as much or more.
///
/// Asks the table of [`decide`](crate::Acl::decide) with each filter as if it were a name: what covers a filter matches
/// its text, so that not every pair of rules is compared.
fn never_deciding(file: &AclFile, lints: &mut Vec<Lint>) {
    let mut lists: Vec<(Owner, Rule<'_>)> = file.owned_rules().collect();
    lists.sort_by_key(|(owner, _)| *owner);
    for list in lists.chunk_by(|(left, _), (right, _)| left == right) {
        let mut table = RuleTable::with_capacity(list.len());
        // Rules that are written twice are found once.
        let mut numbers: HashMap<(&str, Permission), u32, FixedState> = HashMap::default();
        table.push_list(list.iter().zip(0..).map(|((_, rule), number)| NewRule {
            filter: rule.filter,
            effect: rule.permission.effect(),
            pattern: *numbers.entry((rule.filter, rule.permission)).or_insert(number),
            class: 0,
        }));
        for (_, rule) in list {
            let mut winner: Option<Rule<'_>> = None;
            table.visit(0, &Levels::of(rule.filter), |found| {
                let index = usize::try_from(found.pattern).unwrap_or(usize::MAX);
                let wins = list.get(index).map(|(_, other)| *other);
                winner = wins
                    .into_iter()
                    .filter(|other| {
                        always_wins(other, rule) && holds_replaced(file.substitution, other, rule)
                    })
                    .chain(winner)
                    .min_by_key(|other| (!other.permission.is_deny(), other.line));
            });
            lints.extend(winner.map(|winner| Lint::new(rule.line, 1, lost_to(&winner, rule))));
        }
    }
}

/// Whether `other` is asked before `rule` and decides whatever `rule` could.
fn always_wins(other: &Rule<'_>, rule: &Rule<'_>) -> bool {
    let wins = match (other.permission.is_deny(), rule.permission.is_deny()) {
        (true, false) => return covers(other, rule),
        (false, true) => false,
        _ => other.line < rule.line && other.permission.effect().includes(rule.permission.effect()),
    };
    wins && TopicFilter::from_checked(other.filter).covers(TopicFilter::from_checked(rule.filter))
}

fn lost_to(winner: &Rule<'_>, rule: &Rule<'_>) -> LintKind {
    let text = alloc::format!("{winner}").into();
    if winner.permission.is_deny() && !rule.permission.is_deny() {
        LintKind::Shadowed {
            deny: text,
            deny_line: winner.line,
        }
    } else {
        LintKind::Redundant {
            by: text,
            by_line: winner.line,
        }
    }
}

fn covers(deny: &Rule<'_>, rule: &Rule<'_>) -> bool {
    let (forbidden, granted) = (deny.permission.effect(), rule.permission.effect());
    let all = [Kind::Read, Kind::Write]
        .iter()
        .all(|kind| !granted.grants(*kind) || forbidden.denies(*kind));
    // A placeholder is a level like another here: `a/+` covers `a/%u`, `a/%u/#` covers `a/%u/b`.
    all && TopicFilter::from_checked(deny.filter).covers(TopicFilter::from_checked(rule.filter))
}

/// Whether what covers the text of a pattern covers all that comes of it too: text put in anywhere may be several levels,
/// or begin with `$`.
fn holds_replaced(substitution: Substitution, other: &Rule<'_>, rule: &Rule<'_>) -> bool {
    if rule.scope != Scope::Everybody || substitution == Substitution::WholeLevel {
        return true;
    }
    let mut levels = other.filter.split('/').zip(rule.filter.split('/')).zip(0..);
    let end = levels.find(|((other, level), _)| *other == "#" || (has_placeholder(level) && other != level));
    end.is_none_or(|((other, _), number)| {
        other == "#" && (number > 0 || !begins_with_placeholder(rule.filter))
    })
}

fn begins_with_placeholder(filter: &str) -> bool {
    filter.starts_with("%u") || filter.starts_with("%c")
}

fn has_placeholder(text: &str) -> bool {
    text.contains("%u") || text.contains("%c")
}

fn is_placeholder(level: &str) -> bool {
    level == "%u" || level == "%c"
}

/// Whether some filter that comes of this one matches a `$SYS/broker/connection/NAME/state`: the only topics there that
/// clients (bridges) may write.
fn reaches_bridge_state(substitution: Substitution, owner: Owner, filter: &str) -> bool {
    let state = TopicFilter::from_checked(crate::decide::BRIDGE_STATE);
    let levels = filter.split('/');
    let wide: Vec<&str> = match (owner, substitution) {
        (Owner::Pattern, Substitution::WholeLevel) => levels
            .map(|level| if is_placeholder(level) { "+" } else { level })
            .collect(),
        (Owner::Pattern, Substitution::Anywhere) => {
            let mut wide: Vec<_> = levels.take_while(|level| !has_placeholder(level)).collect();
            if wide.is_empty() {
                return true;
            }
            if has_placeholder(filter) {
                wide.push("#");
            }
            wide
        }
        _ => levels.collect(),
    };
    TopicFilter::from_checked(&wide.join("/")).overlaps(state)
}

fn sys_hint(read: bool) -> &'static str {
    if read {
        "; write \"read\" if that is all you mean"
    } else {
        ", so this grants nothing"
    }
}
