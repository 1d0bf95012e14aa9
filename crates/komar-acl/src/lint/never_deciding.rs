//! Rules that can never decide: another rule of every list that they are in is always asked before, and says as much or
//! more.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::Cell;

use komar_topic::TopicFilter;

use super::{Lint, LintKind, begins_with_placeholder, has_placeholder};
use crate::compile::Substitution;
use crate::rule::{AclFile, Effect, Kind, Owner, Permission, Rule, Scope};
use crate::table::Levels;
use crate::tree::FilterTree;

/// Adds them to `lints`, and where looking for them ended, after about so many steps.
///
/// Each filter is asked for as if it were a name: what covers a filter matches its text, so that not every pair of rules
/// is compared.
pub(super) fn find(file: &AclFile, maximum_steps: usize, lints: &mut Vec<Lint>) {
    let rules: Vec<(Owner, Rule<'_>)> = file.owned_rules().collect();
    let members = Members::new(file);
    let mut denies = ListTrees::default();
    for (number, (owner, rule)) in rules.iter().enumerate() {
        if rule.permission.is_deny() {
            denies.insert(&rules, number, *owner);
        }
    }
    let search = Search {
        substitution: file.substitution,
        rules: &rules,
        steps: Cell::new(0),
    };
    // What stands before a rule in its own list.
    let (mut earlier_grants, mut earlier_denies) = (ListTrees::default(), ListTrees::default());
    for (number, (owner, rule)) in rules.iter().enumerate() {
        if search.steps.get() > maximum_steps {
            let rules = rules.len().saturating_sub(number);
            return lints.push(Lint::new(rule.line, 1, LintKind::NotCompared { rules }));
        }
        let earlier = if rule.permission.is_deny() {
            &mut earlier_denies
        } else {
            &mut earlier_grants
        };
        let winner = |kinds: &[Kind]| {
            let by = |owner| search.first(&denies, owner, rule, kinds);
            let shadowing = match rule.permission.is_deny() {
                true => None,
                false => by(*owner).or_else(|| members.common(*owner, by)),
            };
            shadowing.or_else(|| search.first(earlier, *owner, rule, kinds))
        };
        let lint = match kinds_of(rule) {
            kinds @ [reading, writing] => winner(kinds).map(|winner| lost_to(&winner, rule)).or_else(|| {
                let (reading, writing) = (winner(&[*reading])?, winner(&[*writing])?);
                Some(LintKind::DecidedByTwo {
                    reading: text(&reading),
                    reading_line: reading.line,
                    writing: text(&writing),
                    writing_line: writing.line,
                })
            }),
            kinds => winner(kinds).map(|winner| lost_to(&winner, rule)),
        };
        lints.extend(lint.map(|kind| Lint::new(rule.line, 1, kind)));
        earlier.insert(&rules, number, *owner);
    }
}

/// A tree for each list, of rules by their numbers.
#[derive(Default)]
struct ListTrees {
    tree: FilterTree,
    roots: BTreeMap<Owner, u32>,
}

impl ListTrees {
    /// What is written twice is in here once.
    fn insert(&mut self, rules: &[(Owner, Rule<'_>)], number: usize, owner: Owner) {
        let root = *self.roots.entry(owner).or_insert_with(|| self.tree.root());
        let (Some((_, rule)), Ok(number)) = (rules.get(number), u32::try_from(number)) else {
            return;
        };
        let same = |known| {
            rule_of(rules, known)
                .is_some_and(|known| (known.filter, known.permission) == (rule.filter, rule.permission))
        };
        let effect = rule.permission.effect();
        self.tree.insert(root, rule.filter, effect, number, same);
    }
}

struct Search<'f> {
    substitution: Substitution,
    rules: &'f [(Owner, Rule<'f>)],
    steps: Cell<usize>,
}

impl<'f> Search<'f> {
    /// The first in a list's tree that always wins over `rule` in these kinds of access: mostly the widest.
    fn first(&self, trees: &ListTrees, owner: Owner, rule: &Rule<'f>, kinds: &[Kind]) -> Option<Rule<'f>> {
        let mut winner = None;
        let mut visit = |number, wanted: &mut Effect| {
            let wins = |other: &Rule<'f>| {
                always_wins(other, rule, kinds) && holds_replaced(self.substitution, other, rule)
            };
            if winner.is_none() {
                winner = rule_of(self.rules, number).filter(wins);
            }
            if winner.is_some() {
                *wanted = Effect::NONE;
            }
        };
        let steps = trees.roots.get(&owner).map_or(0, |root| {
            let levels = Levels::of(rule.filter);
            let mut wanted = Effect::ALL;
            trees.tree.visit(*root, &levels, &mut wanted, &mut visit)
        });
        self.steps
            .set(self.steps.get().saturating_add(steps).saturating_add(1));
        winner
    }
}

fn rule_of<'f>(rules: &[(Owner, Rule<'f>)], number: u32) -> Option<Rule<'f>> {
    let (_, rule) = rules.get(usize::try_from(number).ok()?)?;
    Some(*rule)
}

/// Who is in which group, both ways.
struct Members {
    groups_of: BTreeMap<u32, Vec<u32>>,
    users_of: BTreeMap<u32, Vec<u32>>,
}

impl Members {
    fn new(file: &AclFile) -> Self {
        let (mut groups_of, mut users_of) = (BTreeMap::new(), BTreeMap::new());
        for (group, user) in &file.members {
            let groups: &mut Vec<_> = groups_of.entry(*user).or_default();
            groups.push(*group);
            let users: &mut Vec<_> = users_of.entry(*group).or_default();
            users.push(*user);
        }
        Self { groups_of, users_of }
    }

    /// What `find` finds for everybody for whom the rules of `owner` count, among the other rules that count for them: for
    /// a user those of its groups, for a group those of each member and its groups. That of the first, if they differ.
    fn common<T>(&self, owner: Owner, find: impl Fn(Owner) -> Option<T>) -> Option<T> {
        let in_groups = |user: &u32| {
            let mut groups = self.groups_of.get(user).into_iter().flatten();
            groups.find_map(|group| find(Owner::Group(*group)))
        };
        match owner {
            Owner::User(user) => in_groups(&user),
            Owner::Group(group) => {
                let of_member = |user: &u32| find(Owner::User(*user)).or_else(|| in_groups(user));
                let (first, others) = self.users_of.get(&group)?.split_first()?;
                let found = of_member(first)?;
                others
                    .iter()
                    .all(|user| of_member(user).is_some())
                    .then_some(found)
            }
            Owner::Anonymous | Owner::Pattern => None,
        }
    }
}

/// Whether `other` is asked before `rule` and decides whatever `rule` could in these kinds of access.
fn always_wins(other: &Rule<'_>, rule: &Rule<'_>, kinds: &[Kind]) -> bool {
    let effect = other.permission.effect();
    let (denies, grants) = (other.permission.is_deny(), !other.permission.is_deny());
    let comes_first = match rule.permission.is_deny() {
        false => denies || other.line < rule.line,
        true => denies && other.line < rule.line,
    };
    let decides = |kind: &Kind| (denies && effect.denies(*kind)) || (grants && effect.grants(*kind));
    // A placeholder is a level like another here: `a/+` covers `a/%u`, `a/%u/#` covers `a/%u/b`.
    comes_first
        && kinds.iter().all(decides)
        && TopicFilter::from_checked(other.filter).covers(TopicFilter::from_checked(rule.filter))
}

/// Those that a rule is about.
fn kinds_of(rule: &Rule<'_>) -> &'static [Kind] {
    match rule.permission {
        Permission::Read | Permission::ReadDeny => &[Kind::Read],
        Permission::Write | Permission::WriteDeny => &[Kind::Write],
        Permission::ReadWrite | Permission::Deny => &[Kind::Read, Kind::Write],
    }
}

fn text(rule: &Rule<'_>) -> Box<str> {
    alloc::format!("{rule}").into()
}

fn lost_to(winner: &Rule<'_>, rule: &Rule<'_>) -> LintKind {
    let text = text(winner);
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

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use super::*;

    fn found(text: &str, maximum_steps: usize) -> Vec<Lint> {
        let mut lints = Vec::new();
        let file = AclFile::parse(text.as_bytes()).unwrap();
        find(&file, maximum_steps, &mut lints);
        lints
    }

    /// Every filter of so many levels that are `a` or `+`, in an order in which none is covered by an earlier one, or in
    /// the other.
    fn all_shapes(levels: u32, narrow_first: bool) -> String {
        let filter = |number: u32| {
            let level = |place| ["a", "+"][usize::from((number >> place & 1 == 1) == narrow_first)];
            (0..levels).rev().map(level).collect::<Vec<_>>().join("/")
        };
        let lines = (0..1 << levels).map(|number| format!("topic read {}\n", filter(number)));
        lines.collect()
    }

    #[test]
    fn many_shapes_take_a_few_steps_each() {
        const LEVELS: u32 = 12;
        const RULES: usize = 1 << LEVELS;
        let steps = RULES * 16;
        assert_eq!(found(&all_shapes(LEVELS, true), steps), []);
        let lints = found(&all_shapes(LEVELS, false), steps);
        assert_eq!(lints.len(), RULES - 1, "the first covers all others");
        let all = |lint: &Lint| matches!(lint.kind, LintKind::Redundant { by_line: 1, .. });
        assert!(lints.iter().all(all));
    }

    #[test]
    fn what_takes_too_many_steps_is_said() {
        let lints = found(&all_shapes(8, true), 1000);
        let [lint] = &*lints else { panic!("{lints:?}") };
        let LintKind::NotCompared { rules } = lint.kind else {
            panic!("{lint}")
        };
        assert_eq!((rules + lint.line, lint.kind.code()), (257, "not-compared"));
    }
}
