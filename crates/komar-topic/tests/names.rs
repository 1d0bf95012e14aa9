//! `NameTree` against a plain map, and walks that the tree changes under.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use komar_topic::{NameTree, TopicFilter, TopicName};
use proptest::prelude::*;

type Tree<V> = NameTree<V, foldhash::quality::FixedState>;

fn tree<V>() -> Tree<V> {
    NameTree::with_hasher(foldhash::quality::FixedState::default())
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::from_checked(text)
}

#[derive(Clone, Debug)]
enum Change {
    Insert(String),
    Remove(String),
    RemovePrefix(String),
    /// Takes those out whose value divides by three.
    Retain(String),
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$c"), 1 => Just("a!"), 1 => Just("é")]
}

fn topic_name() -> impl Strategy<Value = String> {
    proptest::collection::vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("not empty", |name| !name.is_empty())
}

fn topic_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    let levels = (
        proptest::collection::vec(level, 0..5),
        prop_oneof![Just(Some("#")), Just(None)],
    );
    levels
        .prop_map(|(levels, last)| levels.into_iter().chain(last).collect::<Vec<_>>().join("/"))
        .prop_filter("not empty", |filter| !filter.is_empty())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        12 => topic_name().prop_map(Change::Insert),
        6 => topic_name().prop_map(Change::Remove),
        1 => topic_name().prop_map(Change::RemovePrefix),
        1 => topic_filter().prop_map(Change::Retain),
    ]
}

fn apply(tree: &mut Tree<u32>, model: &mut BTreeMap<String, u32>, change: &Change, value: u32) {
    match change {
        Change::Insert(text) => {
            let expected = (model.insert(text.clone(), value), name(text).stripes());
            assert_eq!(tree.insert(name(text), value), expected);
        }
        Change::Remove(text) => {
            let expected = model.remove(text);
            let expected = expected.map(|value| (value, name(text).stripes()));
            assert_eq!(tree.remove(name(text)), expected);
        }
        Change::RemovePrefix(text) => {
            let before = model.len();
            model.retain(|other, _| other != text && !other.starts_with(&format!("{text}/")));
            let (mut removed, mut slice) = (0, 3);
            while slice == 3 {
                slice = tree.remove_prefix(name(text), 3).0;
                removed += slice;
            }
            assert_eq!(removed, before - model.len());
        }
        Change::Retain(filter) => {
            let before = model.len();
            model.retain(|other, value| !common::matches(filter, other) || *value % 3 != 0);
            let filter = TopicFilter::from_checked(filter);
            let (mut removed, mut cursor) = (0, None);
            loop {
                let slice = tree.retain(filter, cursor.as_ref(), 3, |_, value| *value % 3 != 0);
                removed += slice.removed;
                cursor = slice.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(removed, before - model.len());
        }
    }
    assert_eq!(tree.len(), model.len());
}

/// All names that match, by walks of `budget` names.
fn walk(tree: &Tree<u32>, filter: &str, budget: usize) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let before = found.len();
        cursor = tree.walk(
            TopicFilter::from_checked(filter),
            cursor.as_ref(),
            budget,
            |name, value| {
                found.push((name.as_str().to_owned(), *value));
            },
        );
        assert!(found.len() - before <= budget);
        if cursor.is_none() {
            return found;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(
        changes in proptest::collection::vec(change(), 1..200),
        filters in proptest::collection::vec(topic_filter(), 1..20),
        budget in 1_usize..40,
    ) {
        let (mut tree, mut model) = (tree(), BTreeMap::new());
        for (value, change) in (0..).zip(&changes) {
            apply(&mut tree, &mut model, change, value);
        }
        for (text, value) in &model {
            prop_assert_eq!(tree.get(name(text)), Some(value));
            prop_assert_eq!(tree.get_mut(name(text)).copied(), Some(*value));
        }
        let all: Vec<(String, u32)> = tree.iter().map(|(name, value)| (name.as_str().to_owned(), *value)).collect();
        for filter in &filters {
            let found = walk(&tree, filter, budget);
            let expected: Vec<_> = all.iter().filter(|(name, _)| common::matches(filter, name)).cloned().collect();
            prop_assert_eq!(&found, &expected, "{}", filter);
        }
        prop_assert_eq!(all.into_iter().collect::<BTreeMap<_, _>>(), model);
    }

    /// What a walk finds changes only with the version of its filter's stripe.
    #[test]
    fn stripes_say_what_became_stale(
        before in proptest::collection::vec(change(), 1..30),
        changes in proptest::collection::vec(change(), 1..30),
        filters in proptest::collection::vec(topic_filter(), 1..20),
    ) {
        let (mut tree, mut model) = (tree(), BTreeMap::new());
        for change in &before {
            apply(&mut tree, &mut model, change, 0);
        }
        for (value, change) in (1..).zip(&changes) {
            let remembered: Vec<_> = filters.iter().map(|filter| walk(&tree, filter, usize::MAX)).collect();
            let stripes = match change {
                Change::Insert(text) => Some(tree.insert(name(text), value).1),
                Change::Remove(text) => tree.remove(name(text)).map(|removed| removed.1),
                Change::RemovePrefix(text) => Some(tree.remove_prefix(name(text), 3).1),
                Change::Retain(filter) => {
                    let filter = TopicFilter::from_checked(filter);
                    Some(tree.retain(filter, None, 7, |_, value| *value % 3 != 0).stripes)
                }
            };
            for (filter, remembered) in filters.iter().zip(remembered) {
                let stripe = TopicFilter::from_checked(filter).stripe();
                if !stripes.is_some_and(|stripes| stripes.contains(stripe)) {
                    prop_assert_eq!(walk(&tree, filter, usize::MAX), remembered, "{} after {:?}", filter, change);
                }
            }
        }
    }

    /// A name that is there throughout is visited once; none is visited twice.
    #[test]
    fn walks_survive_changes(
        before in proptest::collection::vec(change(), 1..200),
        between in proptest::collection::vec(change(), 1..200),
        filter in prop_oneof![Just("#".to_owned()), topic_filter()],
        budget in 1_usize..4,
    ) {
        let (mut tree, mut model) = (tree(), BTreeMap::new());
        for (value, change) in (0..).zip(&before) {
            apply(&mut tree, &mut model, change, value);
        }
        let mut throughout: BTreeSet<String> = model.keys().cloned().collect();
        let (mut visited, mut cursor, mut changes) = (Vec::new(), None, between.iter());
        loop {
            cursor = tree.walk(TopicFilter::from_checked(&filter), cursor.as_ref(), budget, |name, _| {
                visited.push(name.as_str().to_owned());
            });
            if cursor.is_none() {
                break;
            }
            for change in changes.by_ref().take(5) {
                apply(&mut tree, &mut model, change, 1);
                throughout.retain(|name| model.contains_key(name));
            }
        }
        let once: BTreeSet<String> = visited.iter().cloned().collect();
        prop_assert_eq!(once.len(), visited.len(), "visited twice: {:?}", visited);
        for name in throughout.iter().filter(|name| common::matches(&filter, name)) {
            prop_assert!(once.contains(name), "{} was not visited", name);
        }
        prop_assert!(once.iter().all(|name| common::matches(&filter, name)));
    }
}

#[test]
fn a_walk_looks_at_no_more_than_its_budget() {
    let mut tree = tree();
    for group in 0..100 {
        for thing in ["a", "m", "x", "z"] {
            (0..20).for_each(|n| assert!(tree.insert(name(&format!("g{group}/{thing}/{n}")), n).0.is_none()));
        }
    }
    let filter = TopicFilter::new("+/x/#").unwrap();
    let mut found = 0;
    let cursor = tree.walk(filter, None, 0, |_, _| found += 1);
    assert!(cursor.is_some() && found == 0);
    // Two names that do not match a group, before and behind: the rest is jumped over.
    assert!(
        tree.walk(filter, cursor.as_ref(), 100 * 22, |_, _| found += 1)
            .is_none()
    );
    assert_eq!(found, 2000);
    // One name a hit where nothing else is in the way, and one to see that it ends.
    found = 0;
    let slice = tree.walk(TopicFilter::new("g7/x/+").unwrap(), None, 21, |_, _| found += 1);
    assert!(slice.is_none() && found == 20);
    // `$` names are jumped over as one.
    (0..1000).for_each(|n| assert!(tree.insert(name(&format!("$n{n}/x")), 0).0.is_none()));
    found = 0;
    assert!(tree.walk(filter, None, 100 * 22 + 1, |_, _| found += 1).is_none());
    assert_eq!(found, 2000);
}

/// What a slice has jumped over, the next one does not look at again.
#[test]
fn a_paused_walk_does_not_go_back() {
    let mut tree = tree();
    for group in 0..10 {
        for thing in ["a", "x"] {
            (0..1000)
                .for_each(|n| assert!(tree.insert(name(&format!("g{group}/{thing}/{n}")), n).0.is_none()));
        }
    }
    let filter = TopicFilter::new("+/x/7").unwrap();
    let (mut found, mut slices, mut cursor) = (0, 0, None);
    loop {
        cursor = tree.walk(filter, cursor.as_ref(), 1, |_, _| found += 1);
        slices += 1;
        if cursor.is_none() {
            break;
        }
    }
    // For each group its first name, the first of `x`, the hit, and the one behind it.
    assert_eq!((found, slices), (10, 10 * 4));
}

/// The name that a paused walk was to go on with goes away, wherever it stands in its chunk.
#[test]
fn a_paused_walk_finds_what_moved_up() {
    let texts: Vec<String> = (0..1100).map(|n| format!("{n:04}")).collect();
    let filter = TopicFilter::new("#").unwrap();
    for pause in (1..1100).filter(|pause| matches!(pause % 512, 500..512 | 0..12)) {
        let mut tree = tree();
        for text in &texts {
            tree.insert(name(text), ());
        }
        let cursor = tree.walk(filter, None, pause, |_, ()| {});
        assert!(tree.remove(name(&texts[pause])).is_some());
        let mut next = None;
        tree.walk(filter, cursor.as_ref(), 1, |name, ()| {
            next = Some(name.as_str().to_owned())
        });
        assert_eq!(next.as_ref(), texts.get(pause + 1));
    }
}

#[test]
fn a_walk_stops_where_its_filter_can_match_no_more() {
    let mut tree = tree();
    (0..1000).for_each(|n| assert!(tree.insert(name(&format!("a/{n:04}")), n).0.is_none()));
    (0..1000).for_each(|n| assert!(tree.insert(name(&format!("b/{n:04}")), n).0.is_none()));
    for (filter, budget) in [
        ("a/0500", 1),
        ("a/0500/#", 2),
        ("a/0999/+", 2),
        ("0/+", 1),
        ("c/#", 0),
    ] {
        let rest = tree.walk(TopicFilter::new(filter).unwrap(), None, budget, |_, _| {});
        assert_eq!(rest, None, "{filter}");
    }
}

/// Paused walks while the list of names grows and shrinks by more than its chunks hold, which the short histories above
/// never do.
#[test]
fn walks_survive_growth_and_shrinking() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap()
    };
    for (filter, budget) in [("#", 700), ("+/x/#", 97), ("site 1/#", 300), ("+/+/value 7", 511)] {
        let (mut tree, mut model) = (tree(), BTreeMap::new());
        for round in 0..4 {
            // Grows in even rounds and shrinks in odd ones.
            let text = |n: usize| format!("site {}/{}/value {}", n % 3, ["x", "y"][n / 3 % 2], n / 6 % 1000);
            let removals = if round % 2 == 0 { 0 } else { 6 };
            let change = |n: usize| match n % 8 {
                7 if round == 3 && n % 8000 == 7 => Change::RemovePrefix("site 0/x".to_owned()),
                kind if kind < removals => Change::Remove(text(n / 8)),
                _ => Change::Insert(text(n / 8)),
            };
            let mut throughout: BTreeSet<String> = model.keys().cloned().collect();
            let (mut visited, mut cursor) = (Vec::new(), None);
            loop {
                let filter = TopicFilter::from_checked(filter);
                cursor = tree.walk(filter, cursor.as_ref(), budget, |name, _| {
                    visited.push(name.as_str().to_owned());
                });
                for _ in 0..400 {
                    apply(&mut tree, &mut model, &change(next()), 1);
                }
                if cursor.is_none() {
                    break;
                }
                throughout.retain(|name| model.contains_key(name));
            }
            let once: BTreeSet<String> = visited.iter().cloned().collect();
            assert_eq!(once.len(), visited.len(), "{filter}: visited twice");
            for name in throughout.iter().filter(|name| common::matches(filter, name)) {
                assert!(once.contains(name), "{filter}: {name} was not visited");
            }
            assert!(once.iter().all(|name| common::matches(filter, name)));
            for _ in 0..6000 {
                apply(&mut tree, &mut model, &change(next()), 1);
            }
            let all: Vec<String> = tree.iter().map(|(name, _)| name.as_str().to_owned()).collect();
            assert_eq!(
                all.iter().cloned().collect::<BTreeSet<_>>(),
                model.keys().cloned().collect()
            );
            assert_eq!(all.len(), model.len());
        }
    }
}

#[test]
fn a_prefix_is_removed_in_slices() {
    let mut tree = tree();
    for text in ["a", "a/b", "a/b/c", "a/", "a!", "ab", "b/a"] {
        tree.insert(name(text), ());
    }
    for (budget, removed) in [(0, 0), (3, 3), (3, 1)] {
        assert_eq!(tree.remove_prefix(name("a"), budget).0, removed);
    }
    let left: Vec<&str> = tree.iter().map(|(name, ())| name.as_str()).collect();
    assert_eq!(left, ["a!", "ab", "b/a"]);
}

/// The names below a prefix begin in one chunk of the list and end in another.
#[test]
fn a_long_prefix_is_removed_whole() {
    for before in [0, 1, 300, 511, 512, 513, 700] {
        for budget in [usize::MAX, 64, 1] {
            let mut tree = tree();
            for (group, count) in [("a", before), ("b", 1000), ("c", 300)] {
                (0..count).for_each(|n| assert!(tree.insert(name(&format!("{group}/{n}")), n).0.is_none()));
            }
            let mut removed = 0;
            loop {
                let slice = tree.remove_prefix(name("b"), budget).0;
                removed += slice;
                if slice < budget {
                    break;
                }
            }
            assert_eq!(removed, 1000, "{before} before, slices of {budget}");
            assert_eq!(tree.len(), before + 300);
            assert!(tree.iter().all(|(name, _)| !name.as_str().starts_with('b')));
        }
    }
}
