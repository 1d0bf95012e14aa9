//! What a rule is, and the parsed file that holds them.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::compile::Substitution;
use crate::lint::Lint;

/// What a rule grants or forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// `read`: messages on such topics are delivered.
    Read,
    /// `write`: such topics may be published to.
    Write,
    /// `readwrite`, or no word at all: both.
    ReadWrite,
    /// `deny`: neither, whatever other rules of the same list grant.
    Deny,
    /// `readdeny`: not read. An [extension](crate::ParseOptions::extensions).
    ReadDeny,
    /// `writedeny`: not written. An [extension](crate::ParseOptions::extensions).
    WriteDeny,
}

impl Permission {
    /// All, in the order of the documentation; the extensions last.
    pub(crate) const ALL: [Self; 6] = [
        Self::Read,
        Self::Write,
        Self::ReadWrite,
        Self::Deny,
        Self::ReadDeny,
        Self::WriteDeny,
    ];

    /// The one that has this word.
    pub(crate) fn of_word(word: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.word().as_bytes() == word)
    }

    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "readwrite",
            Self::Deny => "deny",
            Self::ReadDeny => "readdeny",
            Self::WriteDeny => "writedeny",
        }
    }

    /// Whether it forbids rather than grants.
    #[must_use]
    pub const fn is_deny(self) -> bool {
        matches!(self, Self::Deny | Self::ReadDeny | Self::WriteDeny)
    }

    pub(crate) const fn effect(self) -> Effect {
        Effect(match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::ReadWrite => 1 | 2,
            Self::ReadDeny => 4,
            Self::WriteDeny => 8,
            Self::Deny => 4 | 8,
        })
    }
}

/// A permission as bits, so that those of several rules can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Effect(u8);

impl Effect {
    pub(crate) const fn join(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(1 | 2 | 4 | 8);

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether they have anything in common.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// All that can be said about this kind.
    pub(crate) const fn about(kind: Kind) -> Self {
        Self(kind.bit() | kind.bit() << 2)
    }

    /// To forbid this kind.
    pub(crate) const fn denial(kind: Kind) -> Self {
        Self(kind.bit() << 2)
    }

    pub(crate) const fn grants(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(crate) const fn denies(self, kind: Kind) -> bool {
        self.0 & (kind.bit() << 2) != 0
    }
}

/// The two kinds of access that rules speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

impl Kind {
    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
        }
    }
}

/// Whom a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope<'a> {
    /// Clients without a user name: `topic` before the first `user`.
    Anonymous,
    /// `topic` after `user NAME`.
    User(&'a str),
    /// `topic` after `group NAME`, an [extension](crate::ParseOptions::extensions).
    Group(&'a str),
    /// `pattern`: everybody.
    Everybody,
}

/// One `topic` or `pattern` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Line in the file, from 1.
    pub line: usize,
    /// Whom it is for.
    pub scope: Scope<'a>,
    /// What it grants or forbids.
    pub permission: Permission,
    /// The filter; that of a [`Scope::Everybody`] rule may contain `%u` and `%c`.
    pub filter: &'a str,
}

/// The rule as a line of an ACL file, always with its access word.
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keyword = if self.scope == Scope::Everybody {
            "pattern"
        } else {
            "topic"
        };
        write!(f, "{keyword} {} {}", self.permission.word(), self.filter)
    }
}

/// The rules of an ACL file, as they stand there, with what is odd about them.
///
/// [`Acl::compile`](crate::Acl::compile) makes decisions of it.
///
/// ```
/// use komar_acl::{AclFile, Scope};
/// let file = AclFile::parse(b"user alice\ntopic read room one/#\n")?;
/// let rule = file.rules().next().expect("one rule");
/// assert_eq!((rule.line, rule.scope, rule.filter), (2, Scope::User("alice"), "room one/#"));
/// # Ok::<(), komar_acl::AclErrors>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct AclFile {
    /// All filters, one after the other.
    filters: String,
    rules: Vec<StoredRule>,
    pub(crate) users: Names,
    pub(crate) groups: Names,
    /// Group and user.
    pub(crate) members: Vec<(u32, u32)>,
    pub(crate) warnings: Vec<Lint>,
    pub(crate) warnings_omitted: usize,
    /// What lints assume.
    pub(crate) substitution: Substitution,
}

impl AclFile {
    /// The rules in the order of the file.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = Rule<'_>> {
        self.rules.iter().map(|stored| self.rule(stored))
    }

    /// The users that have a section, also one without rules, in the order of their first line, with that line.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.users.iter()
    }

    /// What is odd but harmless to load, as far as a single line shows it, in the order of the lines.
    ///
    /// [`Acl::lint`](crate::Acl::lint) looks at the whole file and finds more. At most
    /// [`AclErrors::MAXIMUM`](crate::AclErrors::MAXIMUM) are kept.
    #[must_use]
    pub fn warnings(&self) -> &[Lint] {
        &self.warnings
    }

    /// How many more there are.
    #[must_use]
    pub fn warnings_omitted(&self) -> usize {
        self.warnings_omitted
    }

    pub(crate) fn push(&mut self, line: usize, owner: Owner, permission: Permission, filter: &str) {
        let start = self.filters.len();
        self.filters.push_str(filter);
        self.rules.push(StoredRule {
            start,
            length: filter.len(),
            line,
            owner,
            permission,
        });
    }

    /// Rules with the list they belong to.
    pub(crate) fn owned_rules(&self) -> impl Iterator<Item = (Owner, Rule<'_>)> {
        self.rules.iter().map(|stored| (stored.owner, self.rule(stored)))
    }

    /// The rule at this place in the order of the file.
    pub(crate) fn rule_at(&self, index: usize) -> Option<Rule<'_>> {
        self.rules.get(index).map(|stored| self.rule(stored))
    }

    fn rule(&self, stored: &StoredRule) -> Rule<'_> {
        let end = stored.start.saturating_add(stored.length);
        Rule {
            line: stored.line,
            scope: match stored.owner {
                Owner::Anonymous => Scope::Anonymous,
                Owner::User(id) => Scope::User(self.users.get(id)),
                Owner::Group(id) => Scope::Group(self.groups.get(id)),
                Owner::Pattern => Scope::Everybody,
            },
            permission: stored.permission,
            filter: self.filters.get(stored.start..end).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct StoredRule {
    /// Bytes in `filters`.
    start: usize,
    length: usize,
    line: usize,
    owner: Owner,
    permission: Permission,
}

/// Which list a rule belongs to; users and groups by their number in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Anonymous,
    User(u32),
    Group(u32),
    Pattern,
}

/// Names with numbers, and the line where each stood first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    list: Vec<(Box<str>, usize)>,
    numbers: hashbrown::HashMap<Box<str>, u32, foldhash::fast::FixedState>,
}

impl Names {
    /// The number of a name, a new one if it was not here.
    pub(crate) fn number(&mut self, name: &str, line: usize) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // Four thousand million names do not fit in the memory of a machine that could parse them.
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push((name.into(), line));
        self.numbers.insert(name.to_owned().into(), number);
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn get(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.list
            .get(index)
            .map(|(name, _)| name.as_ref())
            .unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.list.iter().map(|(name, line)| (name.as_ref(), *line))
    }
}
