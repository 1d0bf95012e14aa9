//! `FilterIndex` against a list that is searched from end to end, and what it promises besides.

mod common;

use std::hash::{BuildHasher, Hasher};

use common::counts;
use komar_topic::{
    FilterIndex, Group, GroupId, Handle, Match, STRIPES, Stripe, SubscriptionFilter, TopicFilter, TopicName,
};
use proptest::prelude::*;

type Index<T> = FilterIndex<T, foldhash::quality::FixedState>;

fn index<T>() -> Index<T> {
    FilterIndex::with_hasher(foldhash::quality::FixedState::default())
}

#[derive(Clone, Debug)]
enum Change {
    Insert(String),
    /// Of the entry at this place, modulo how many there are; and the same for the two below.
    Remove(usize),
    Replace(usize),
    /// With a Handle that was removed.
    Stale(usize),
    Lookup(String),
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("$c"),
        Just("a level with a long text")
    ]
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(level(), 1..6)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("not empty", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => level(), 2 => Just("+")];
    let levels = (
        proptest::collection::vec(level, 0..5),
        prop_oneof![Just(Some("#")), Just(None)],
    );
    let plain = levels
        .prop_map(|(levels, last)| levels.into_iter().chain(last).collect::<Vec<_>>().join("/"))
        .prop_filter("not empty", |filter| !filter.is_empty());
    let share = prop_oneof![3 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    (share, plain).prop_map(|(share, plain)| format!("{share}{plain}"))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => filter().prop_map(Change::Insert),
        3 => any::<usize>().prop_map(Change::Remove),
        1 => any::<usize>().prop_map(Change::Replace),
        1 => any::<usize>().prop_map(Change::Stale),
        4 => name().prop_map(Change::Lookup),
    ]
}

/// What the index should hold: Handle, filter, value.
#[derive(Default)]
struct Model {
    entries: Vec<(Handle, String, u32)>,
    removed: Vec<Handle>,
    memory: Memory,
}

impl Model {
    fn apply<S: BuildHasher>(&mut self, index: &mut FilterIndex<u32, S>, change: Change, value: u32) {
        let place = |n: usize| (!self.entries.is_empty()).then(|| n % self.entries.len());
        match change {
            Change::Insert(filter) => {
                let (handle, stripe) = index.insert(SubscriptionFilter::parse(&filter).unwrap(), value);
                self.memory.changed(index, stripe);
                self.entries.push((handle, filter, value));
            }
            Change::Remove(n) => {
                let Some(place) = place(n) else { return };
                let (handle, _, value) = self.entries.swap_remove(place);
                let (removed, stripe) = index.remove(handle).unwrap();
                assert_eq!(removed, value);
                self.memory.changed(index, stripe);
                self.removed.push(handle);
            }
            Change::Replace(n) => {
                let Some(place) = place(n) else { return };
                let (handle, _, old) = &mut self.entries[place];
                let (replaced, stripe) = index.replace(*handle, value).unwrap();
                assert_eq!(replaced, *old);
                *old = value;
                self.memory.changed(index, stripe);
            }
            Change::Stale(n) => {
                let Some(handle) = self.removed.get(n % self.removed.len().max(1)) else {
                    return;
                };
                assert_eq!(index.get(*handle), None);
                assert_eq!(index.get_mut(*handle), None);
                assert_eq!(index.remove(*handle), None);
                assert_eq!(index.replace(*handle, 0), None);
                assert!(!index.filter_of(*handle, &mut String::new()));
                assert_eq!(index.group_of(*handle), None);
            }
            Change::Lookup(name) => {
                self.check_lookup(index, &name);
                self.memory.remember(index, &name);
            }
        }
    }

    fn check_lookup<S: BuildHasher>(&self, index: &FilterIndex<u32, S>, name: &str) {
        let (mut plain, mut shared) = (Vec::new(), Vec::new());
        index.lookup(TopicName::new(name).unwrap(), |found| match found {
            Match::Entries(entries) => {
                assert!(entries.len() > 0);
                plain.extend(entries.copied());
            }
            Match::Group(group) => {
                assert_eq!(group.members().len(), group.len());
                let mut members: Vec<u32> = group.members().copied().collect();
                members.sort_unstable();
                shared.push((group.share_name().as_str().to_owned(), members));
                self.check_group(index, &group);
            }
        });
        let mut matching = Vec::new();
        for (_, text, value) in &self.entries {
            let filter = SubscriptionFilter::parse(text).unwrap();
            if common::matches(filter.filter().as_str(), name) {
                matching.push((filter, *value));
            }
        }
        let expected = matching
            .iter()
            .filter(|(filter, _)| filter.share_name().is_none())
            .map(|(_, value)| *value);
        assert_eq!(counts(plain), counts(expected), "{name}");
        let mut groups: Vec<(String, String, Vec<u32>)> = Vec::new();
        for (filter, value) in &matching {
            let Some(share_name) = filter.share_name() else {
                continue;
            };
            let (share_name, filter) = (share_name.as_str(), filter.filter().as_str());
            match groups
                .iter_mut()
                .find(|group| (&*group.0, &*group.1) == (share_name, filter))
            {
                Some(group) => group.2.push(*value),
                None => groups.push((share_name.into(), filter.into(), vec![*value])),
            }
        }
        let groups = groups.into_iter().map(|(share_name, _, mut members)| {
            members.sort_unstable();
            (share_name, members)
        });
        assert_eq!(counts(shared), counts(groups), "{name}");
    }

    /// A group is known by the text of its filter, and by its members.
    fn check_group<S: BuildHasher>(&self, index: &FilterIndex<u32, S>, group: &Group<'_, u32>) {
        let mut text = String::new();
        index.filter_of_group(group, &mut text);
        let members = self.entries.iter().filter(|(_, filter, _)| *filter == text);
        assert_eq!(members.clone().count(), group.len(), "{text}");
        for (handle, _, _) in members {
            assert_eq!(index.group_of(*handle), Some(group.id()));
        }
    }

    fn check_whole<S: BuildHasher>(&self, index: &FilterIndex<u32, S>) {
        assert_eq!(
            (index.len(), index.is_empty()),
            (self.entries.len(), self.entries.is_empty())
        );
        let is_shared = |(_, filter, _): &&(Handle, String, u32)| filter.starts_with("$share/");
        assert_eq!(index.shared_len(), self.entries.iter().filter(is_shared).count());
        for (handle, filter, value) in &self.entries {
            assert_eq!(index.get(*handle), Some(value));
            let mut text = String::from(">");
            assert!(index.filter_of(*handle, &mut text));
            assert_eq!(text[1..], **filter);
            assert_eq!(index.group_of(*handle).is_some(), filter.starts_with("$share/"));
        }
    }
}

/// What a lookup finds: Share Names, which plain entries have none of, and values.
type Answer = Vec<(Option<String>, Vec<u32>)>;

fn answer<S: BuildHasher>(index: &FilterIndex<u32, S>, name: &str) -> Answer {
    let mut answer = Vec::new();
    index.lookup(TopicName::new(name).unwrap(), |found| {
        let (share_name, mut values): (_, Vec<u32>) = match found {
            Match::Entries(entries) => (None, entries.copied().collect()),
            Match::Group(group) => (
                Some(group.share_name().as_str().to_owned()),
                group.members().copied().collect(),
            ),
        };
        values.sort_unstable();
        answer.push((share_name, values));
    });
    answer.sort();
    answer
}

/// Somebody who remembers answers and keeps versions, as the documentation of `Stripe` says.
struct Memory {
    versions: Vec<u64>,
    answers: Vec<(String, u64, Answer)>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            versions: vec![0; STRIPES],
            answers: Vec::new(),
        }
    }
}

impl Memory {
    fn version_of(&self, name: &str) -> u64 {
        let stripes = TopicName::new(name).unwrap().stripes();
        stripes.iter().map(|stripe| self.versions[stripe.number()]).sum()
    }

    fn remember<S: BuildHasher>(&mut self, index: &FilterIndex<u32, S>, name: &str) {
        self.answers
            .push((name.to_owned(), self.version_of(name), answer(index, name)));
    }

    fn changed<S: BuildHasher>(&mut self, index: &FilterIndex<u32, S>, stripe: Stripe) {
        self.versions[stripe.number()] += 1;
        for (name, version, remembered) in &self.answers {
            if self.version_of(name) == *version {
                assert_eq!(answer(index, name), *remembered, "{name}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_list(changes in proptest::collection::vec(change(), 1..200)) {
        agree(index(), changes);
    }

    /// Texts are told apart by themselves and not by their hashes.
    #[test]
    fn agrees_with_a_list_if_hashes_are_equal(changes in proptest::collection::vec(change(), 1..100)) {
        agree(FilterIndex::with_hasher(Equal), changes);
    }
}

/// Every text has the same hash.
struct Equal;

impl BuildHasher for Equal {
    type Hasher = Equal;

    fn build_hasher(&self) -> Equal {
        Equal
    }
}

impl Hasher for Equal {
    fn write(&mut self, _: &[u8]) {}

    fn finish(&self) -> u64 {
        7
    }
}

fn agree<S: BuildHasher>(mut index: FilterIndex<u32, S>, changes: Vec<Change>) {
    let mut model = Model::default();
    for (value, change) in (0..).zip(changes) {
        model.apply(&mut index, change, value);
    }
    model.check_whole(&index);
    for (handle, _, value) in model.entries.drain(..) {
        assert_eq!(index.remove(handle).map(|removed| removed.0), Some(value));
    }
    model.check_whole(&index);
    assert_eq!(index.filter_count(), 0);
    assert_eq!(index.lookup_cost(TopicName::from_checked("a/b")), 0);
}

#[test]
fn a_group_keeps_its_id_while_it_has_members() {
    let mut index = index();
    let shared = SubscriptionFilter::parse("$share/g/a/+").unwrap();
    let ids = |index: &Index<u8>| -> Vec<(GroupId, Vec<u8>)> {
        let mut ids = Vec::new();
        index.lookup(TopicName::from_checked("a/b"), |found| {
            let Match::Group(group) = found else {
                panic!("a plain entry")
            };
            assert_eq!(group.get(0), group.members().next());
            ids.push((group.id(), group.members().copied().collect()));
        });
        ids
    };
    let (first, _) = index.insert(shared, 1);
    let (second, _) = index.insert(shared, 2);
    let before = ids(&index);
    assert!(before.len() == 1 && before[0].1 == [1, 2]);
    index.remove(first);
    assert_eq!(ids(&index), [(before[0].0, vec![2])]);
    index.remove(second);
    assert!(ids(&index).is_empty());
    index.insert(shared, 3);
    assert_ne!(ids(&index)[0].0, before[0].0);
}

#[test]
fn many_owners_of_one_filter_share_it() {
    let mut index = index();
    let filter = SubscriptionFilter::parse("a/#").unwrap();
    let handles: Vec<Handle> = (0..1000).map(|value| index.insert(filter, value).0).collect();
    assert_eq!((index.len(), index.filter_count()), (1000, 1));
    for (value, handle) in handles.iter().enumerate().filter(|(value, _)| value % 7 != 0) {
        assert_eq!(index.remove(*handle).map(|removed| removed.0), Some(value));
    }
    for (value, handle) in handles.iter().enumerate() {
        assert_eq!(index.get(*handle).copied(), (value % 7 == 0).then_some(value));
    }
}

/// Every filter of `n` levels from `+` and `x`, with and without `#` behind.
fn ladder(n: usize) -> Vec<String> {
    (0..1_usize << n)
        .flat_map(|bits| {
            let level = |place: usize| if bits >> place & 1 == 0 { "+" } else { "x" };
            let text = (0..n).map(level).collect::<Vec<_>>().join("/");
            [format!("{text}/#"), text]
        })
        .collect()
}

/// The cost of a lookup is the shapes it enters and the tables it asks: bounded by those that exist, and by the levels of
/// the name.
#[test]
fn ladders_cost_what_is_documented() {
    let mut index = index();
    for filter in (1..=8).flat_map(ladder) {
        index.insert(SubscriptionFilter::Plain(TopicFilter::new(&filter).unwrap()), ());
    }
    let cost = |index: &Index<()>, name: &str| index.lookup_cost(TopicName::new(name).unwrap());
    let exact = 1;
    for levels in 1..=12_u32 {
        let name = vec!["x"; levels as usize].join("/");
        let shapes = (1 << (levels.min(8) + 1)) - 2;
        // One for what ends with `#` behind each shape, and one for what ends as the name does; of those without a
        // wildcard there is one table, however long they are.
        let tables = shapes + if levels <= 8 { (1 << levels) - 1 } else { 0 };
        assert_eq!(cost(&index, &name), exact + shapes + tables, "{name}");
        assert!(tables <= 3 * (1 << levels) - 3);
    }
    // Where no filter begins with the same literal, those that begin with `+` are left: half of them.
    assert_eq!(cost(&index, "y/y/y/y/y/y/y/y"), exact + 255 + 255 + 128);
    assert_eq!(cost(&index, "$x/x/x"), exact);

    // Filters of a shape that exists cost nothing.
    let before = cost(&index, "x/x/x/x");
    for n in 0..10_000 {
        let filter = format!("+/x/device {n}/#");
        index.insert(SubscriptionFilter::parse(&filter).unwrap(), ());
    }
    assert_eq!(cost(&index, "x/x/x/x"), before);

    // One `+` more a filter: one shape a level, however many filters there are.
    let mut plus = index_of((1..=200).map(|n| vec!["+"; n].join("/") + "/#"));
    assert_eq!(cost(&plus, "a/b/c/d/e"), 2 * 5);
    for n in 0..10_000 {
        let filter = format!("+/+/+/device {n}/#");
        plus.insert(SubscriptionFilter::parse(&filter).unwrap(), ());
    }
    assert_eq!(cost(&plus, "a/b/c/device 77/e"), 2 * (5 + 1));
}

fn index_of(filters: impl IntoIterator<Item = String>) -> Index<()> {
    let mut index = index();
    for filter in filters {
        index.insert(SubscriptionFilter::parse(&filter).unwrap(), ());
    }
    index
}

/// Deep filters whose levels are all shapes of their own: below 24 levels the work is bounded by them, from there on by the
/// filters, and only names as deep pay.
#[test]
fn deep_ladders_cost_what_is_documented() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut ladder = |count: usize, levels: usize| -> Vec<String> {
        let mut level = |_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if random >> 63 == 0 { "+" } else { "x" }
        };
        let filter = |_| (0..levels).map(&mut level).collect::<Vec<_>>().join("/") + "/#";
        (0..count).map(filter).collect()
    };
    let (count, name) = (500, |levels| vec!["x"; levels].join("/"));
    let cost = |index: &Index<()>, name: &str| index.lookup_cost(TopicName::new(name).unwrap());

    let deep = index_of(ladder(count, 200));
    for levels in [24, 100, 200, 201] {
        assert_eq!(cost(&deep, &name(levels)), count, "{levels} levels");
    }
    assert_eq!(cost(&deep, &name(23)), 0);
    // Long is not deep.
    assert_eq!(cost(&deep, &"x".repeat(1000)), 0);

    let shapes = index_of(ladder(count, 23));
    for levels in [22, 23, 24, 200] {
        let cost = cost(&shapes, &name(levels));
        // Most filters have half of their levels to themselves; and those as deep have a table each.
        assert!(
            (count * 23 / 2..=count * (23 + 1)).contains(&cost),
            "{cost} at {levels} levels"
        );
    }
}

/// Deeper than the lists that a lookup keeps levels in, with a way back from every level.
#[test]
fn deep_filters_are_found() {
    for depth in [1, 22, 23, 24, 25, 256, 1000] {
        let name = vec!["x"; depth].join("/");
        let mut filters: Vec<String> = (0..depth)
            .step_by(5)
            .map(|plus| {
                let level = |place| if place == plus { "+" } else { "x" };
                (0..depth).map(level).collect::<Vec<_>>().join("/")
            })
            .collect();
        filters.push(format!("{name}/#"));
        filters.push(name.clone());
        let count = filters.len();
        let mut index = index();
        let insert = |filter: &String| {
            index
                .insert(SubscriptionFilter::Plain(TopicFilter::from_checked(filter)), ())
                .0
        };
        let handles: Vec<Handle> = filters.iter().map(insert).collect();
        let found = |index: &Index<()>, name: &str| {
            let mut found = 0;
            index.lookup(TopicName::from_checked(name), |_| found += 1);
            found
        };
        assert_eq!(found(&index, &name), count, "{depth} levels");
        assert_eq!(found(&index, &format!("{name}/x")), 1, "{depth} levels");
        for (removed, handle) in (1..).zip(handles) {
            assert!(index.remove(handle).is_some());
            assert_eq!(found(&index, &name), count - removed, "{depth} levels");
        }
        assert_eq!(index.lookup_cost(TopicName::from_checked(&name)), 0);
    }
}
