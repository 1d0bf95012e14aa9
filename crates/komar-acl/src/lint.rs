//! What is legal but probably not meant.

mod never_deciding;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use komar_topic::TopicFilter;

use crate::compile::Substitution;
use crate::rule::{AclFile, Kind, Owner, Permission};

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
    /// A rule grants writing where the broker refuses it whatever the rules say: below `$SYS`, but for the state of bridges,
    /// `$SYS/broker/connection/+/state`.
    #[error("clients cannot write below $SYS{}", sys_hint(*.read, *.bridge_state))]
    SysWrite {
        /// Whether the rule grants reading too, which works.
        read: bool,
        /// Whether it grants writing the state of a bridge too, which works.
        bridge_state: bool,
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
    /// A control character in a name, probably meant to separate.
    #[error("the name contains the control character {character:?}, which is taken for a part of it")]
    ControlCharacterInName {
        /// Which one.
        character: char,
    },
    /// Only line feeds end lines: what follows belongs to this line.
    #[error(
        "a carriage return does not end a line, so the rest is taken for a part of this one; save the file with the line ends of Unix or Windows"
    )]
    CarriageReturn,
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
    /// A deny rule covers all that this rule grants, in every list that it is in: of its own section, or of a group (of its
    /// members).
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
    /// A rule about both kinds of access, of which one rule always decides reading and another one writing.
    #[error(
        "this decides nothing: {reading:?} on line {reading_line} decides reading, {writing:?} on line {writing_line} writing"
    )]
    DecidedByTwo {
        /// The rule that decides whether it may be read.
        reading: Box<str>,
        /// Where it stands, from 1.
        reading_line: usize,
        /// The rule that decides whether it may be written.
        writing: Box<str>,
        /// Where it stands, from 1.
        writing_line: usize,
    },
    /// The file is too hard: this rule and those behind it were not looked at for whether another always wins. Files with
    /// many thousand filters of many levels can be, in which `+` stands at ever different places.
    #[error(
        "this and the following rules ({rules}) were not compared with all others: too many kinds of filters"
    )]
    NotCompared {
        /// How many rules.
        rules: usize,
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
            Self::ControlCharacterInName { .. } => "control-character-in-name",
            Self::CarriageReturn => "carriage-return",
            Self::FilterNotUtf8 => "filter-not-utf8",
            Self::NameNotUtf8 => "name-not-utf8",
            Self::WildcardInUserName { .. } => "wildcard-in-user-name",
            Self::Shadowed { .. } => "shadowed",
            Self::Redundant { .. } => "redundant",
            Self::DecidedByTwo { .. } => "decided-by-two",
            Self::NotCompared { .. } => "not-compared",
            Self::UnknownUser { .. } => "unknown-user",
            Self::EmptyGroup { .. } => "empty-group",
        }
    }
}

/// The file's [warnings](AclFile::warnings) and what only the whole file shows, in the order of the lines.
pub(crate) fn whole_file(file: &AclFile, known_users: Option<&dyn Fn(&str) -> bool>) -> Vec<Lint> {
    let mut lints = file.warnings().to_vec();
    never_deciding::find(file, MAXIMUM_STEPS, &mut lints);
    if let Some(known) = known_users {
        let strangers = file.users().filter(|(name, _)| !known(name));
        lints.extend(
            strangers.map(|(name, line)| Lint::new(line, 1, LintKind::UnknownUser { name: name.into() })),
        );
    }
    let with_members: BTreeSet<u32> = file.members.iter().map(|(group, _)| *group).collect();
    let groups = file.groups.iter().zip(0_u32..);
    let empty = groups.filter(|(_, id)| !with_members.contains(id));
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
    if permission.effect().grants(Kind::Write) && filter.starts_with("$SYS") {
        let state = bridge_state(substitution, owner, filter);
        if state != BridgeState::Only {
            kinds.push(LintKind::SysWrite {
                read: permission.effect().grants(Kind::Read),
                bridge_state: state == BridgeState::Too,
            });
        }
    }
    if filter.starts_with("$share") {
        kinds.push(LintKind::ShareFilter);
    }
    if let Some(character) = control_character(filter) {
        kinds.push(LintKind::ControlCharacter { character });
    }
    kinds
}

/// The first, but for carriage returns, which are a matter of the whole line.
pub(crate) fn control_character(text: &str) -> Option<char> {
    text.chars()
        .find(|character| character.is_control() && *character != '\r')
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

fn begins_with_placeholder(filter: &str) -> bool {
    filter.starts_with("%u") || filter.starts_with("%c")
}

fn has_placeholder(text: &str) -> bool {
    text.contains("%u") || text.contains("%c")
}

fn is_placeholder(level: &str) -> bool {
    level == "%u" || level == "%c"
}

/// What a filter below `$SYS` has to do with `$SYS/broker/connection/NAME/state`, the only topics there that clients
/// (bridges) may write.
#[derive(PartialEq)]
enum BridgeState {
    Not,
    Too,
    Only,
}

fn bridge_state(substitution: Substitution, owner: Owner, filter: &str) -> BridgeState {
    let state = TopicFilter::from_checked(crate::decide::BRIDGE_STATE);
    let levels = filter.split('/');
    let wide: Vec<&str> = match (owner, substitution) {
        (Owner::Pattern, Substitution::WholeLevel) => levels
            .map(|level| if is_placeholder(level) { "+" } else { level })
            .collect(),
        (Owner::Pattern, Substitution::Anywhere) => {
            let mut wide: Vec<_> = levels.take_while(|level| !has_placeholder(level)).collect();
            if has_placeholder(filter) {
                wide.push("#");
            }
            wide
        }
        _ => levels.collect(),
    };
    let wide = wide.join("/");
    let wide = TopicFilter::from_checked(&wide);
    if state.covers(wide) {
        BridgeState::Only
    } else if wide.as_str() == "#" || wide.overlaps(state) {
        BridgeState::Too
    } else {
        BridgeState::Not
    }
}

fn sys_hint(read: bool, bridge_state: bool) -> &'static str {
    match (bridge_state, read) {
        (true, _) => {
            ", but for the state of bridges, $SYS/broker/connection/+/state: name that if you mean it"
        }
        (false, true) => "; write \"read\" if that is all you mean",
        (false, false) => ", so this grants nothing",
    }
}

/// A file is looked through in so many steps, of some 20 ns; usual ones take about ten for each rule.
const MAXIMUM_STEPS: usize = 30_000_000;
