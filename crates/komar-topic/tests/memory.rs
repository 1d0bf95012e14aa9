//! What is given back, and where nothing is taken. One test, since the counters are the process's.

use std::alloc::System;

use komar_topic::{FilterIndex, Match, NameTree, SubscriptionFilter, TopicFilter, TopicName};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Hasher = foldhash::quality::FixedState;

const SIZE: usize = 20_000;

#[test]
fn memory() {
    index_gives_back_and_looks_up_without_allocating();
    tree_gives_back();
}

fn index_gives_back_and_looks_up_without_allocating() {
    let texts: Vec<String> = (0..SIZE).map(filter).collect();
    let mut handles = Vec::with_capacity(SIZE);
    let region = Region::new(ALLOCATOR);
    let mut index: FilterIndex<u64, Hasher> = FilterIndex::with_hasher(Hasher::default());
    assert_eq!(live(&region), 0, "an empty index");
    for (text, value) in texts.iter().zip(0..) {
        handles.push(index.insert(SubscriptionFilter::parse(text).unwrap(), value).0);
    }
    let full = live(&region);
    assert!(full / SIZE <= 110, "{} bytes a subscription", full / SIZE);

    let lookups = Region::new(ALLOCATOR);
    let (mut plain, mut grouped) = (0, 0);
    for name in [
        // Found by filters 0, 7 and 9, which have no wildcard, `+` and `#`, and each by the group of filter 8.
        "spBv1.0/plant 0/DDATA/edge-0000/device-0000",
        "spBv1.0/plant 7/DDATA/edge-0000/device-0007",
        "spBv1.0/plant 9/DDATA/edge-0000/device-0009",
        "a/b/c",
        "/",
        "$SYS/x",
        "q/w/e/r/t/y/u/i/o/p/a/s/d/f/g/h/j",
    ] {
        index.lookup(TopicName::new(name).unwrap(), |one| match one {
            Match::Entries(entries) => plain += entries.len(),
            Match::Group(group) => grouped += group.members().count(),
        });
    }
    let change = lookups.change();
    assert_eq!(
        (change.allocations, change.reallocations, change.deallocations),
        (0, 0, 0)
    );
    assert!(plain >= 3 && grouped >= 3, "{plain} plain, {grouped} of groups");

    // In another order than they came.
    for n in 0..SIZE {
        assert!(index.remove(handles[n * 7_919 % SIZE]).is_some());
    }
    assert!(index.is_empty());
    assert_eq!(live(&region), 0, "of {full} bytes");
}

fn tree_gives_back() {
    let names: Vec<String> = (0..SIZE)
        .map(|n| format!("site {}/machine {}/value {n}", n % 10, n % 100))
        .collect();
    let region = Region::new(ALLOCATOR);
    let mut tree: NameTree<u64, Hasher> = NameTree::with_hasher(Hasher::default());
    for (name, value) in names.iter().zip(0..) {
        tree.insert(TopicName::new(name).unwrap(), value);
    }
    let full = live(&region);
    for n in 0..SIZE / 2 {
        assert!(
            tree.remove(TopicName::new(&names[n * 7_919 % SIZE]).unwrap())
                .is_some()
        );
    }
    let site = TopicFilter::new("site 3/#").unwrap();
    assert_eq!(
        tree.retain(site, None, usize::MAX, |_, _| false).removed,
        SIZE / 20
    );
    let (removed, _) = tree.remove_prefix(TopicName::new("site 4").unwrap(), usize::MAX);
    assert_eq!(removed, SIZE / 20);
    tree.retain(TopicFilter::new("#").unwrap(), None, usize::MAX, |_, _| false);
    assert!(tree.is_empty());
    assert_eq!(live(&region), 0, "of {full} bytes");
}

fn live(region: &Region<'_, System>) -> usize {
    let change = region.change();
    let bytes = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    usize::try_from(isize::try_from(bytes).unwrap()).unwrap()
}

/// 70 % exact, 20 % with `+`, 10 % with `#`, and a shared one now and then.
fn filter(n: usize) -> String {
    let (plant, edge, device) = (n % 20, n / 20 % 1000, n % 97);
    match n % 10 {
        0..=6 => format!("spBv1.0/plant {plant}/DDATA/edge-{edge:04}/device-{device:04}"),
        7 => format!("spBv1.0/plant {plant}/+/edge-{edge:04}/device-{device:04}"),
        8 if n % 500 == 8 => format!("$share/workers/spBv1.0/+/DDATA/edge-{edge:04}/+"),
        8 => format!("spBv1.0/+/DDATA/edge-{edge:04}/device-{device:04}"),
        _ => format!("spBv1.0/plant {plant}/DDATA/edge-{edge:04}/#"),
    }
}
