//! One filter and one name, many filters and one name, many names and one filter, beside other libraries (feature
//! `peers`).
//!
//! Everybody gets filters and names in the form that suits them, made beforehand: what parsing costs the peers for every
//! message is not in their figures. A lookup reads every value that it finds. `matching_memory` has the bytes.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::Measurement;
use criterion::{Criterion, criterion_group, criterion_main};
#[cfg(feature = "peers")]
use komar_benches::topics::peers::{MqttTopicEngine, Rmqtt};
use komar_benches::topics::{
    Applications, Index, Komar, LinearScan, Plant, Random, binary_ladder, deep, deep_name, plus_ladder,
    shapes,
};
use komar_benches::{CpuTime, Row, criterion, mix};
use komar_topic::{Cursor, NameTree, TopicFilter, TopicName};

fn suite(name: &str, elements: usize) -> Row<'_> {
    Row::new("matching", name, elements as u64)
}

/// Sizes are those of the published table when it is measured, and small in a test run.
fn size(full: usize, tiny: usize) -> usize {
    if std::env::args().any(|argument| argument == "--bench") {
        full
    } else {
        tiny
    }
}

fn single(criterion: &mut Criterion<CpuTime>) {
    let name = "factory/line-7/press/3/temperature";
    for (row, filter) in [
        ("single match, exact", name),
        ("single match, + in the middle", "factory/line-7/+/3/temperature"),
        ("single match, #", "factory/line-7/#"),
    ] {
        let (komar_filter, komar_name) = (TopicFilter::new(filter).unwrap(), TopicName::new(name).unwrap());
        let row = suite(row, REPEAT).with("komar-topic", || {
            repeat(|| black_box(komar_filter).matches(black_box(komar_name)))
        });
        #[cfg(feature = "peers")]
        let (ntex, rmqtt) = (
            filter.parse::<ntex_mqtt::TopicFilter>().unwrap(),
            filter.parse::<rmqtt::topic::Topic>().unwrap(),
        );
        #[cfg(feature = "peers")]
        let row = row
            .with("ntex-mqtt", || {
                repeat(|| black_box(&ntex).matches_topic(black_box(name)))
            })
            .with("rumqttc", || {
                repeat(|| rumqttc::mqttbytes::matches(black_box(name), black_box(filter)))
            })
            .with("rmqtt", || {
                repeat(|| black_box(&rmqtt).matches_str(black_box(name)))
            });
        row.run(criterion);
    }
}

/// Matches in a call, so that the clock costs nothing.
const REPEAT: usize = 1000;

fn repeat(is_match: impl Fn() -> bool) -> u64 {
    (0..REPEAT).map(|_| u64::from(is_match())).sum()
}

/// An index with its entries, ready to be asked.
struct Filled<I: Index> {
    index: I,
    names: Vec<I::Name>,
}

impl<I: Index> Filled<I> {
    fn new(filters: &[String], names: &[String]) -> Self {
        let mut index = I::default();
        for (filter, value) in filters.iter().zip(0..) {
            index.insert(I::filter(filter), value);
        }
        Filled {
            index,
            names: names.iter().map(|name| I::name(name)).collect(),
        }
    }

    /// Looks every name up. The order in which one lookup finds its values does not matter.
    fn look_up(&self) -> u64 {
        self.names.iter().fold(0, |checksum, name| {
            let (mut count, mut sum) = (0_u64, 0_u64);
            self.index.lookup(black_box(name), |value| {
                count += 1;
                sum += value;
            });
            mix(checksum, sum ^ (count << 40))
        })
    }
}

/// A row in which everybody looks the same names up in the same filters; `naive` if the list is short enough to be
/// searched from end to end.
fn look_up(
    criterion: &mut Criterion<CpuTime>,
    row: &str,
    elements: usize,
    filters: &[String],
    names: &[String],
    naive: bool,
) {
    let komar = Filled::<Komar>::new(filters, names);
    let row = suite(row, elements).with(Komar::NAME, || komar.look_up());
    #[cfg(feature = "peers")]
    let (engine, rmqtt) = (
        Filled::<MqttTopicEngine>::new(filters, names),
        Filled::<Rmqtt>::new(filters, names),
    );
    #[cfg(feature = "peers")]
    let row = row
        .with(MqttTopicEngine::NAME, || engine.look_up())
        .with(Rmqtt::NAME, || rmqtt.look_up());
    let scan = naive.then(|| Filled::<LinearScan>::new(filters, names));
    let row = match &scan {
        Some(scan) => row.with(LinearScan::NAME, || scan.look_up()),
        None => row,
    };
    row.run(criterion);
}

fn realistic(criterion: &mut Criterion<CpuTime>) {
    for (row, full) in [
        ("lookup, realistic, 10 k", 10_000),
        ("lookup, realistic, 100 k", 100_000),
        ("lookup, realistic, 1 M", 1_000_000),
    ] {
        let mut plant = Plant::new(size(full, full / 1000));
        let filters = plant.filters(size(full, full / 1000));
        let names = plant.names(size(100_000, 100));
        look_up(
            criterion,
            row,
            names.len(),
            &filters,
            &names,
            filters.len() <= 1000,
        );
    }
}

fn applications(criterion: &mut Criterion<CpuTime>) {
    for (row, full) in [
        ("lookup, forty applications, 10 k", 10_000),
        ("lookup, forty applications, 100 k", 100_000),
    ] {
        let count = size(full, full / 100);
        let mut applications = Applications::new(count);
        let filters = applications.filters(count);
        let names = applications.names(size(100_000, 100));
        look_up(
            criterion,
            row,
            names.len(),
            &filters,
            &names,
            filters.len() <= 1000,
        );
    }
}

fn ladders(criterion: &mut Criterion<CpuTime>) {
    let count = size(10_000, 1000);
    let name = |levels: usize, line: usize| format!("{}device {line}", "a/".repeat(levels));
    let names: Vec<String> = (1..=20).map(|levels| name(levels, levels)).collect();
    look_up(
        criterion,
        "plus ladder, 10 k filters",
        names.len(),
        &plus_ladder(count),
        &names,
        true,
    );

    let name = |line| format!("{}device {line}", "x/".repeat(8));
    let names: Vec<String> = (0..count / 256).map(name).collect();
    look_up(
        criterion,
        "every + or x for 8 levels, 10 k filters, 256 hits",
        names.len(),
        &binary_ladder(count),
        &names,
        true,
    );
    let names: Vec<String> = (0..20)
        .map(|line| format!("{}device {line}", "x/".repeat(9)))
        .collect();
    look_up(
        criterion,
        "1,000 shapes of 10 levels, no hit",
        names.len(),
        &shapes(1000),
        &names,
        true,
    );
    for (row, levels) in [("20 levels, 10 k filters", 20), ("100 levels, 10 k filters", 100)] {
        let names: Vec<String> = (0..count / 10)
            .step_by(97)
            .map(|line| deep_name(levels, line))
            .collect();
        look_up(criterion, row, names.len(), &deep(count, levels), &names, true);
    }
}

/// Insert and remove `extra` among those that are there; each is a figure of its own.
fn changes(criterion: &mut Criterion<CpuTime>) {
    let mut plant = Plant::new(size(100_000, 1000));
    let filters = plant.filters(size(100_000, 1000));
    let extra = plant.filters(size(10_000, 100));
    change(criterion, "at 100 k realistic", &filters, &extra);
    let same: Vec<String> = filters.iter().map(|_| "#".to_owned()).collect();
    change(criterion, "at 100 k on #", &same, &same[..extra.len()]);
}

fn change(criterion: &mut Criterion<CpuTime>, what: &str, filters: &[String], extra: &[String]) {
    for (name, part) in [("insert", Part::Insert), ("remove", Part::Remove)] {
        let name = format!("{name} {what}");
        let mut komar = Changing::<Komar>::new(filters, extra);
        let row = suite(&name, extra.len()).with_timed(Komar::NAME, move || komar.pass(part));
        #[cfg(feature = "peers")]
        let row = {
            let mut rmqtt = Changing::<Rmqtt>::new(filters, extra);
            let row = row.with_timed(Rmqtt::NAME, move || rmqtt.pass(part));
            // It goes over all owners of a filter at each insert, which would take hours here.
            if what.ends_with('#') {
                row
            } else {
                let mut engine = Changing::<MqttTopicEngine>::new(filters, extra);
                row.with_timed(MqttTopicEngine::NAME, move || engine.pass(part))
            }
        };
        row.run(criterion);
    }
}

#[derive(Clone, Copy)]
enum Part {
    Insert,
    Remove,
}

struct Changing<I: Index> {
    index: I,
    extra: Vec<(u64, I::Filter)>,
    order: Vec<usize>,
}

impl<I: Index> Changing<I> {
    fn new(filters: &[String], extra: &[String]) -> Self {
        let mut order: Vec<usize> = (0..extra.len()).collect();
        Random::new().shuffle(&mut order);
        let index = Filled::<I>::new(filters, &[]).index;
        let first = filters.len() as u64;
        let extra = (first..)
            .zip(extra.iter().map(|filter| I::filter(filter)))
            .collect();
        Changing { index, extra, order }
    }

    /// Inserts all and removes them in another order. Times one of the two, and counts what is found between them.
    fn pass(&mut self, part: Part) -> (u64, Duration) {
        let (clock, added) = (CpuTime, self.extra.clone());
        let mut keys = Vec::with_capacity(added.len());
        let start = clock.start();
        for (value, filter) in added {
            keys.push(self.index.insert(filter, value));
        }
        let inserting = clock.end(start);
        let mut checksum = 0_u64;
        for name in [
            "spBv1.0/group03/DDATA/edge-000003/device-03",
            "spBv1.0/group04/DDATA/edge-000104/device-07",
        ] {
            self.index
                .lookup(&I::name(name), |value| checksum = checksum.wrapping_add(value));
        }
        let start = clock.start();
        for place in &self.order {
            self.index.remove(&self.extra[*place].1, keys[*place].clone());
        }
        let removing = clock.end(start);
        match part {
            Part::Insert => (checksum, inserting),
            Part::Remove => (checksum, removing),
        }
    }
}

/// All clients on `#`: what a value costs that is found.
fn everybody(criterion: &mut Criterion<CpuTime>) {
    let filters = vec!["#".to_owned(); size(100_000, 1000)];
    let names = ["a/b/c".to_owned()];
    let komar = Filled::<Komar>::new(&filters, &names);
    let row = suite("100 k clients on #, per hit", filters.len()).with(Komar::NAME, || komar.look_up());
    #[cfg(feature = "peers")]
    let rmqtt = Filled::<Rmqtt>::new(&filters, &names);
    #[cfg(feature = "peers")]
    let row = row.with(Rmqtt::NAME, || rmqtt.look_up());
    row.run(criterion);
}

/// Retained messages: 1,000 sites, ten kinds, a hundred devices.
fn retained(criterion: &mut Criterion<CpuTime>) {
    let (sites, kinds, devices) = (size(1000, 10), 10, size(100, 10));
    let name = |number: usize| {
        let (site, kind, device) = (
            number / kinds / devices,
            number / devices % kinds,
            number % devices,
        );
        let kind = if kind == 7 {
            "x".to_owned()
        } else {
            format!("kind{kind}")
        };
        format!("site{site:04}/{kind}/device{device:03}")
    };
    let mut names: Vec<String> = (0..sites * kinds * devices).map(name).collect();
    Random::new().shuffle(&mut names);
    let mut tree = NameTree::new();
    for (name, value) in names.iter().zip(0_u64..) {
        tree.insert(TopicName::new(name).unwrap(), value);
    }
    #[cfg(feature = "peers")]
    let peer = {
        let mut peer = rmqtt::retain::RetainTree::<u64>::default();
        for (name, value) in names.iter().zip(0_u64..) {
            peer.insert(&name.parse().unwrap(), value);
        }
        peer
    };
    for (row, filter, hits) in [
        ("retained, 1 M names, +/x/#, per hit", "+/x/#", sites * devices),
        ("retained, 1 M names, #, per hit", "#", names.len()),
    ] {
        let walked = TopicFilter::new(filter).unwrap();
        let row = suite(row, hits).with("komar-topic", || {
            let mut sum = 0_u64;
            tree.walk(walked, None, usize::MAX, |_, value| sum += value);
            sum
        });
        #[cfg(feature = "peers")]
        let parsed = filter.parse::<rmqtt::topic::Topic>().unwrap();
        #[cfg(feature = "peers")]
        let row = row.with("rmqtt", || {
            peer.matches(&parsed).into_iter().map(|(_, value)| value).sum()
        });
        row.run(criterion);
    }
    for (row, filter) in [
        ("retained, 1 M names, +/x/#, first hit", "+/x/#"),
        ("retained, 1 M names, +/+/device050, first hit", "+/+/device050"),
    ] {
        let walked = TopicFilter::new(filter).unwrap();
        suite(row, 1)
            .with("komar-topic", || first_hit(&tree, walked))
            .run(criterion);
    }
    let slices = || {
        let (mut sum, mut cursor, mut more) = (0_u64, None::<Cursor>, true);
        while more {
            cursor = tree.walk(TopicFilter::from_checked("#"), cursor.as_ref(), 64, |_, value| {
                sum += value
            });
            more = cursor.is_some();
        }
        sum
    };
    suite("retained, 1 M names, # in slices of 64, per hit", names.len())
        .with("komar-topic", slices)
        .run(criterion);
}

fn first_hit(tree: &NameTree<u64>, filter: TopicFilter<'_>) -> u64 {
    let (mut first, mut cursor) = (None, None);
    while first.is_none() {
        cursor = tree.walk(filter, cursor.as_ref(), 1, |_, value| first = Some(*value));
        if cursor.is_none() {
            break;
        }
    }
    first.unwrap_or_default()
}

criterion_group! {
    name = matching;
    config = criterion().sample_size(20);
    targets = single, realistic, applications, ladders, changes, everybody, retained
}
criterion_main!(matching);
