//! Rules in the form that decides quickly.

use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::decide::{Subject, Verdict};
use crate::lint::Lint;
use crate::rule::{AclFile, Kind, Owner, Rule};
use crate::strict::ReadGrants;
use crate::substitute::{LevelPattern, TextPattern};
use crate::table::{Levels, NewRule, RuleTable};

/// How the rules are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Where `%u` and `%c` are replaced. Default: [`Substitution::WholeLevel`].
    pub substitution: Substitution,
    /// Whether a subscription to a filter under which nothing may be read is refused. Default: `false`: as in
    /// Mosquitto every subscription succeeds, and what may not be read is not delivered. A filter is accepted, too, if more
    /// rules than some hundred would have to be compared with it.
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
    /// Anywhere, by any text: Mosquitto 2.0. A user called `a/b` gets two levels, and one called `$SYS` what lies below
    /// `$SYS` from `pattern read %u/#`.
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
    /// For `explain`, for what is asked once per subscription, and for the numbers of users.
    pub(crate) file: AclFile,
    pub(crate) lists: Lists,
    pub(crate) table: RuleTable,
    /// The groups of each user, by number; empty if the file has no members.
    groups: Vec<Vec<u32>>,
    pub(crate) patterns: Patterns,
    /// For strict subscriptions, and only if they are.
    pub(crate) read_grants: Option<ReadGrants>,
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
        let mut table = RuleTable::with_capacity(file.rules().len());
        // The order gives the lists their numbers: `own_effect` and `pattern_effect` count the same way.
        table.push_list(lists.of(&file, Owner::Anonymous).map(NewRule::of_topic));
        for (_, id) in file.users().zip(0_u32..) {
            table.push_list(lists.of(&file, Owner::User(id)).map(NewRule::of_topic));
        }
        for (_, id) in file.groups.iter().zip(0_u32..) {
            table.push_list(lists.of(&file, Owner::Group(id)).map(NewRule::of_topic));
        }
        let patterns = Patterns::new(lists.of(&file, Owner::Pattern), options.substitution, &mut table);
        let groups = groups_of_users(&file);
        let mut acl = Self {
            options,
            file,
            lists,
            table,
            groups,
            patterns,
            read_grants: None,
        };
        acl.read_grants = acl.read_grants();
        acl
    }

    /// What the `topic` rules for this subject that match say about a kind of access.
    pub(crate) fn own_verdict(&self, subject: Subject<'_>, kind: Kind, levels: &Levels<'_>) -> Verdict {
        let mut verdict = Verdict::new(kind);
        for list in self.own_lists(subject) {
            self.table
                .visit(list, levels, &mut verdict.wanted, |found, wanted| {
                    Verdict::hear(kind, found.effect, wanted);
                });
        }
        verdict
    }

    /// The lists of `topic` rules for this subject.
    pub(crate) fn own_lists(&self, subject: Subject<'_>) -> impl Iterator<Item = usize> + Clone {
        let (list, groups) = match subject.username.map(|username| self.file.users.find(username)) {
            None => (Some(0), &[][..]),
            Some(None) => (None, &[][..]),
            Some(Some(user)) => (Some(widen(user).saturating_add(1)), self.groups_of(user)),
        };
        let first_group = self.file.users().len().saturating_add(1);
        let groups = groups
            .iter()
            .map(move |group| first_group.saturating_add(widen(*group)));
        list.into_iter().chain(groups)
    }

    /// What the patterns that match for this subject say about a kind of access.
    pub(crate) fn pattern_verdict(&self, subject: &Subject<'_>, kind: Kind, levels: &Levels<'_>) -> Verdict {
        let mut verdict = Verdict::new(kind);
        match &self.patterns {
            Patterns::None => {}
            Patterns::Levels(patterns) => {
                self.table.visit(
                    self.pattern_list(),
                    levels,
                    &mut verdict.wanted,
                    |found, wanted| {
                        if patterns
                            .get(widen(found.pattern))
                            .is_some_and(|pattern| pattern.fits(subject, levels.text()))
                        {
                            Verdict::hear(kind, found.effect, wanted);
                        }
                    },
                );
            }
            Patterns::Text(patterns) => {
                for pattern in patterns {
                    if pattern.effect.intersects(verdict.wanted) && pattern.matches(subject, levels.text()) {
                        Verdict::hear(kind, pattern.effect, &mut verdict.wanted);
                    }
                }
            }
        }
        verdict
    }

    /// Behind those of everybody else.
    pub(crate) fn pattern_list(&self) -> usize {
        let owners = self
            .file
            .users()
            .len()
            .saturating_add(self.file.groups.iter().len());
        owners.saturating_add(1)
    }

    pub(crate) fn groups_of(&self, user: u32) -> &[u32] {
        self.groups
            .get(widen(user))
            .map(Vec::as_slice)
            .unwrap_or_default()
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
            .field("users", &self.file.users().len())
            .finish_non_exhaustive()
    }
}

/// The `pattern` rules, beside what the table has of them.
pub(crate) enum Patterns {
    /// No pattern at all: names with wildcards are not refused.
    None,
    /// Placeholders are whole levels, wildcards in the table.
    Levels(Vec<LevelPattern>),
    /// Placeholders are anywhere: asked one by one.
    Text(Vec<TextPattern>),
}

impl Patterns {
    fn new<'a>(
        rules: impl Iterator<Item = Rule<'a>>,
        substitution: Substitution,
        table: &mut RuleTable,
    ) -> Self {
        if substitution == Substitution::Anywhere {
            let patterns: Vec<_> = rules.map(|rule| TextPattern::new(&rule)).collect();
            return if patterns.is_empty() {
                Self::None
            } else {
                Self::Text(patterns)
            };
        }
        // What is written twice is one pattern.
        let mut places: HashMap<&str, usize, FixedState> = HashMap::default();
        let (mut filters, mut patterns): (Vec<_>, Vec<LevelPattern>) = (Vec::new(), Vec::new());
        for rule in rules {
            let place = *places.entry(rule.filter).or_insert(patterns.len());
            match patterns.get_mut(place) {
                Some(known) => known.effect = known.effect.join(rule.permission.effect()),
                None => {
                    filters.push(LevelPattern::filter_of(&rule));
                    patterns.push(LevelPattern::new(&rule));
                }
            }
        }
        if patterns.is_empty() {
            return Self::None;
        }
        let rules = filters.iter().zip(&patterns).zip(0..);
        table.push_list(rules.map(|((filter, pattern), number)| NewRule {
            filter,
            effect: pattern.effect,
            pattern: number,
            class: pattern.class(),
        }));
        Self::Levels(patterns)
    }
}

impl<'a> NewRule<'a> {
    fn of_topic(rule: Rule<'a>) -> Self {
        Self {
            filter: rule.filter,
            effect: rule.permission.effect(),
            pattern: 0,
            class: 0,
        }
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

    pub(crate) fn of<'f>(&self, file: &'f AclFile, owner: Owner) -> impl Iterator<Item = Rule<'f>> {
        self.places_of(file, owner).map(|(_, rule)| rule)
    }

    /// With their places in the order of the file.
    pub(crate) fn places_of<'f>(
        &self,
        file: &'f AclFile,
        owner: Owner,
    ) -> impl Iterator<Item = (usize, Rule<'f>)> {
        let start = self.rules.partition_point(|(other, _)| *other < owner);
        let rest = self.rules.get(start..).unwrap_or_default();
        let places = rest.iter().take_while(move |(other, _)| *other == owner);
        places.filter_map(|(_, place)| Some((*place, file.rule_at(*place)?)))
    }
}

fn groups_of_users(file: &AclFile) -> Vec<Vec<u32>> {
    if file.members.is_empty() {
        return Vec::new();
    }
    let mut groups: Vec<Vec<u32>> = file.users().map(|_| Vec::new()).collect();
    for (group, user) in &file.members {
        if let Some(of_user) = groups.get_mut(widen(*user)) {
            of_user.push(*group);
        }
    }
    for of_user in &mut groups {
        of_user.sort_unstable();
        of_user.dedup();
    }
    groups
}

/// Numbers count what is in memory, so they fit.
fn widen(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
