//! Rules in the form that decides quickly.

use alloc::boxed::Box;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use komar_topic::{FilterIndex, Match, SubscriptionFilter, TopicFilter, TopicName};

use crate::lint::Lint;
use crate::rule::{AclFile, Effect, Owner, Rule};
use crate::substitute::{LevelPattern, TextPattern};

/// How the rules are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Where `%u` and `%c` are replaced. Default: [`Substitution::WholeLevel`].
    pub substitution: Substitution,
    /// Whether a subscription to a filter under which nothing may be read is refused. Default: `false`: as in
    /// Mosquitto every subscription succeeds, and what may not be read is not delivered.
    pub strict_subscribe: bool,
}

impl Options {
    /// The default, with this substitution.
    #[must_use]
    pub fn substitution(mut self, substitution: Substitution) -> Self {
        self.substitution = substitution;
        self
    }

    /// The default, with subscriptions refused or not.
    #[must_use]
    pub fn strict_subscribe(mut self, strict: bool) -> Self {
        self.strict_subscribe = strict;
        self
    }
}

/// Where a `pattern` replaces `%u` and `%c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Substitution {
    /// Only where it is a whole level, and only by a name that is one level: Mosquitto 2.1.
    #[default]
    WholeLevel,
    /// Anywhere, by any text: Mosquitto 2.0. A user called `a/b` gets two levels.
    Anywhere,
}

/// Rules ready to decide.
///
/// ```
/// use komar_acl::{Access, Acl, AclFile, Decision, Options, Subject};
/// let file = AclFile::parse(b"user alice\ntopic read news/#\npattern home/%u/#\n")?;
/// let acl = Acl::compile(&file, Options::default());
/// let alice = Subject { username: Some("alice"), client_id: "phone" };
/// assert_eq!(acl.decide(alice, Access::Read, "news/today"), Decision::Allow);
/// assert_eq!(acl.decide(alice, Access::Write, "news/today"), Decision::Deny);
/// assert_eq!(acl.decide(alice, Access::Write, "home/alice/door"), Decision::Allow);
/// # Ok::<(), komar_acl::AclErrors>(())
/// ```
pub struct Acl {
    pub(crate) options: Options,
    pub(crate) anonymous: List,
    /// The sections of users; one that exists without rules counts too.
    pub(crate) users: HashMap<Box<str>, Section, FixedState>,
    /// By the number of the group in the file.
    pub(crate) groups: Vec<List>,
    pub(crate) patterns: Patterns,
    /// For `explain`, and for what is asked once per subscription.
    pub(crate) file: AclFile,
    pub(crate) lists: Lists,
}

impl Acl {
    /// Makes the rules of a file ready.
    #[must_use]
    pub fn compile(file: &AclFile, options: Options) -> Self {
        Self::compile_owned(file.clone(), options)
    }

    /// Like [`compile`](Self::compile), without the copy of the file that [`explain`](Self::explain) needs.
    #[must_use]
    pub fn compile_owned(file: AclFile, options: Options) -> Self {
        let lists = Lists::new(&file);
        let list = |owner| List::new(&lists.of(&file, owner));
        let anonymous = list(Owner::Anonymous);
        let groups = file
            .groups
            .iter()
            .zip(0_u32..)
            .map(|(_, id)| list(Owner::Group(id)))
            .collect();
        let users = sections(&file, &lists);
        let patterns = Patterns::new(&lists.of(&file, Owner::Pattern), options.substitution);
        Self {
            options,
            anonymous,
            users,
            groups,
            patterns,
            file,
            lists,
        }
    }

    /// The options that it was made with.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// The rules that it was made of.
    #[must_use]
    pub fn file(&self) -> &AclFile {
        &self.file
    }

    /// What is legal in a file but probably not meant, in the order of the lines.
    ///
    /// With `known_users` users are reported for whom it returns `false`: give it what the password file says.
    ///
    /// ```
    /// # use komar_acl::{Acl, AclFile};
    /// let file = AclFile::parse(b"topic deny secret/#\ntopic read secret/a\n")?;
    /// let lints = Acl::lint(&file, None);
    /// assert_eq!(lints[0].line(), 2); // the deny wins, though it is less specific
    /// # Ok::<(), komar_acl::AclErrors>(())
    /// ```
    #[must_use]
    pub fn lint(file: &AclFile, known_users: Option<&dyn Fn(&str) -> bool>) -> Vec<Lint> {
        crate::lint::whole_file(file, known_users)
    }
}

/// Counts only.
impl core::fmt::Debug for Acl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Acl")
            .field("options", &self.options)
            .field("rules", &self.file.rules().len())
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

/// What a user has.
pub(crate) struct Section {
    pub(crate) own: List,
    /// Numbers of groups; with the own rules they make one list.
    pub(crate) groups: Box<[u32]>,
}

/// The `topic` rules of one section.
pub(crate) enum List {
    /// Looked at one by one. Boxed together, since most files have many users with few rules.
    Few(Box<[(Box<str>, Effect)]>),
    /// One lookup gives all that match.
    Many(Box<FilterIndex<Effect, FixedState>>),
}

impl List {
    /// Up to this many rules are matched one by one: an index costs as much to ask, and far more memory.
    pub(crate) const FEW: usize = 4;

    fn new(rules: &[Rule<'_>]) -> Self {
        if rules.len() <= Self::FEW {
            return Self::Few(
                rules
                    .iter()
                    .map(|rule| (rule.filter.into(), rule.permission.effect()))
                    .collect(),
            );
        }
        let mut index = FilterIndex::with_hasher(FixedState::default());
        for rule in rules {
            let filter = SubscriptionFilter::Plain(TopicFilter::from_checked(rule.filter));
            index.insert(filter, rule.permission.effect());
        }
        Self::Many(Box::new(index))
    }

    /// What all rules that match this name grant and deny together.
    pub(crate) fn effect(&self, name: TopicName<'_>) -> Effect {
        let mut joined = Effect::default();
        match self {
            Self::Few(rules) => {
                for (filter, effect) in rules {
                    if TopicFilter::from_checked(filter).matches(name) {
                        joined = joined.join(*effect);
                    }
                }
            }
            Self::Many(index) => index.lookup(name, |found| {
                if let Match::Entries(entries) = found {
                    entries.for_each(|effect| joined = joined.join(*effect));
                }
            }),
        }
        joined
    }
}

/// The `pattern` rules.
pub(crate) enum Patterns {
    /// No pattern at all: names with wildcards are not refused.
    None,
    /// Placeholders are whole levels: an index by the filter with `+` in their places.
    Levels(Box<FilterIndex<LevelPattern, FixedState>>),
    /// The same, few.
    FewLevels(Box<[(Box<str>, LevelPattern)]>),
    /// Placeholders are anywhere.
    Text(Box<[TextPattern]>),
}

impl Patterns {
    fn new(rules: &[Rule<'_>], substitution: Substitution) -> Self {
        if rules.is_empty() {
            return Self::None;
        }
        if substitution == Substitution::Anywhere {
            return Self::Text(rules.iter().map(TextPattern::new).collect());
        }
        let rules = rules.iter().map(LevelPattern::new);
        if rules.len() <= List::FEW {
            return Self::FewLevels(rules.collect());
        }
        let mut index = FilterIndex::with_hasher(FixedState::default());
        for (filter, pattern) in rules {
            index.insert(
                SubscriptionFilter::Plain(TopicFilter::from_checked(&filter)),
                pattern,
            );
        }
        Self::Levels(Box::new(index))
    }
}

/// The rules of every list, by their places in the file.
pub(crate) struct Lists {
    /// Sorted, so that the rules of a list stand together in the order of the file.
    rules: Vec<(Owner, usize)>,
}

impl Lists {
    fn new(file: &AclFile) -> Self {
        let mut rules: Vec<_> = file
            .owned_rules()
            .zip(0..)
            .map(|((owner, _), place)| (owner, place))
            .collect();
        rules.sort_unstable();
        Self { rules }
    }

    pub(crate) fn of<'f>(&self, file: &'f AclFile, owner: Owner) -> Vec<Rule<'f>> {
        let start = self.rules.partition_point(|(other, _)| *other < owner);
        let rest = self.rules.get(start..).unwrap_or_default();
        let places = rest.iter().take_while(|(other, _)| *other == owner);
        places.filter_map(|(_, place)| file.rule_at(*place)).collect()
    }
}

fn sections(file: &AclFile, lists: &Lists) -> HashMap<Box<str>, Section, FixedState> {
    let mut groups: Vec<Vec<u32>> = file.users().map(|_| Vec::new()).collect();
    for (group, user) in &file.members {
        let of_user = usize::try_from(*user).ok().and_then(|user| groups.get_mut(user));
        if let Some(of_user) = of_user.filter(|groups| !groups.contains(group)) {
            of_user.push(*group);
        }
    }
    let users = file.users().zip(0_u32..).zip(groups);
    let section = |((name, _), id): ((&str, usize), u32), groups: Vec<u32>| {
        let own = List::new(&lists.of(file, Owner::User(id)));
        (
            name.into(),
            Section {
                own,
                groups: groups.into(),
            },
        )
    };
    users.map(|(user, groups)| section(user, groups)).collect()
}
