//! Decisions of an ACL file, and loading one. The budgets: 100 ns with 1,000 rules of one user, 150 ns with 100,000 rules
//! over 1,000 users, 100 ms to load 100,000 rules.

use std::collections::HashMap;
use std::fmt::Write;
use std::hint::black_box;

use criterion::{criterion_group, criterion_main};
use komar_acl::{Access, Acl, AclFile, Options, Subject};
use komar_benches::{CpuTime, Row, criterion, mix};
use komar_topic::{TopicFilter, TopicName};

/// What a broker without an index does: the denies of a user one after the other, then the grants.
struct OneByOne(HashMap<String, Vec<(&'static str, String)>>);

impl OneByOne {
    fn allows(&self, user: &str, write: bool, topic: &str) -> bool {
        let rules = self.0.get(user).map(Vec::as_slice).unwrap_or_default();
        let name = TopicName::from_checked(topic);
        let matches = |filter: &str| TopicFilter::from_checked(filter).matches(name);
        let wanted = if write { "write" } else { "read" };
        let mut denies = rules.iter().filter(|(access, _)| *access == "deny");
        if denies.any(|(_, filter)| matches(filter)) {
            return false;
        }
        let mut grants = rules
            .iter()
            .filter(|(access, _)| *access == wanted || *access == "readwrite");
        grants.any(|(_, filter)| matches(filter))
    }
}

/// A file of so many users with so many rules each, in four shapes, one rule of ten a deny.
fn file(users: usize, rules: usize) -> (String, OneByOne) {
    let mut text = String::new();
    let mut plain = HashMap::new();
    for user in 0..users {
        let user = format!("user{user}");
        writeln!(text, "user {user}").unwrap();
        let mut list = Vec::new();
        for rule in 0..rules {
            let filter = match rule % 4 {
                0 => format!("plant/line{rule}/temperature"),
                1 => format!("plant/line{rule}/+"),
                2 => format!("plant/+/device{rule}"),
                _ => format!("plant/line{rule}/device/#"),
            };
            let access = match rule % 10 {
                9 => "deny",
                0..=3 => "readwrite",
                4..=6 => "read",
                _ => "write",
            };
            writeln!(text, "topic {access} {filter}").unwrap();
            list.push((access, filter));
        }
        plain.insert(user, list);
    }
    (text, OneByOne(plain))
}

/// Users and topics in an order that no cache foresees; one topic of four matches nothing.
fn questions(users: usize, rules: usize) -> Vec<(String, String, bool)> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 20).unwrap() % bound
    };
    let question = |_| {
        let (user, rule, kind) = (next(users), next(rules), next(4));
        let topic = match kind {
            0 => format!("plant/line{rule}/temperature"),
            1 => format!("plant/line{rule}/device/7/state"),
            2 => format!("plant/line1/device{rule}"),
            _ => format!("elsewhere/line{rule}/temperature"),
        };
        (format!("user{user}"), topic, next(2) == 0)
    };
    (0..QUESTIONS).map(question).collect()
}

const QUESTIONS: usize = 4096;

fn decisions(criterion: &mut criterion::Criterion<CpuTime>) {
    for (name, users, rules, naive) in [
        ("1 user, 1,000 rules", 1, 1000, true),
        ("1,000 users, 100,000 rules", 1000, 100, true),
        ("1 user, 100,000 rules", 1, 100_000, false),
    ] {
        let (text, plain) = file(users, rules);
        let acl = Acl::compile_owned(AclFile::parse(text.as_bytes()).unwrap(), Options::default());
        let questions = questions(users, rules);
        let ask = |allows: &dyn Fn(&str, bool, &str) -> bool| {
            questions.iter().fold(0, |sum, (user, topic, write)| {
                mix(sum, u64::from(allows(black_box(user), *write, black_box(topic))))
            })
        };
        let decide = |user: &str, write: bool, topic: &str| {
            let subject = Subject {
                username: Some(user),
                client_id: "c",
            };
            let access = if write { Access::Write } else { Access::Read };
            acl.decide(subject, access, topic).is_allow()
        };
        let row = Row::new("acl", name, QUESTIONS as u64).with("komar", || ask(&decide));
        let row = if naive {
            row.with("one by one", || {
                ask(&|user, write, topic| plain.allows(user, write, topic))
            })
        } else {
            row
        };
        row.run(criterion);
    }
}

/// Everybody's own topics, by patterns.
fn patterns(criterion: &mut criterion::Criterion<CpuTime>) {
    let mut text = String::new();
    for pattern in 0..20 {
        writeln!(text, "pattern readwrite area{pattern}/%u/%c/#").unwrap();
    }
    let acl = Acl::compile_owned(AclFile::parse(text.as_bytes()).unwrap(), Options::default());
    let topics: Vec<String> = (0..QUESTIONS)
        .map(|number| format!("area{}/user{}/c/state", number % 25, number % 3))
        .collect();
    let subject = Subject {
        username: Some("user1"),
        client_id: "c",
    };
    Row::new("acl", "20 patterns with %u and %c", QUESTIONS as u64)
        .with("komar", || {
            topics.iter().fold(0, |sum, topic| {
                mix(
                    sum,
                    u64::from(acl.decide(subject, Access::Write, black_box(topic)).is_allow()),
                )
            })
        })
        .run(criterion);
}

/// Rules of ten levels that are all of different shapes, as nobody writes them: what the bound is worth.
fn many_shapes(criterion: &mut criterion::Criterion<CpuTime>) {
    const LEVELS: usize = 10;
    let word = |rule: usize, level: usize| format!("w{}", (rule * 31 + level * 7 + rule / 13) % 20);
    let words = |rule: usize| (0..LEVELS).map(|level| word(rule, level)).collect::<Vec<_>>();
    let (mut text, mut list) = (String::from("user u\n"), Vec::new());
    for rule in 0..1 << LEVELS {
        let level = |(level, word): (usize, String)| {
            if rule >> level & 1 == 1 {
                "+".to_owned()
            } else {
                word
            }
        };
        let filter = words(rule).into_iter().enumerate().map(level);
        let filter = filter.collect::<Vec<_>>().join("/");
        let access = if rule % 10 == 9 { "deny" } else { "read" };
        writeln!(text, "topic {access} {filter}").unwrap();
        list.push((access, filter));
    }
    let acl = Acl::compile_owned(AclFile::parse(text.as_bytes()).unwrap(), Options::default());
    let plain = OneByOne(HashMap::from([("u".to_owned(), list)]));
    let topics: Vec<String> = (0..1 << LEVELS).map(|rule| words(rule).join("/")).collect();
    let ask = |allows: &dyn Fn(&str) -> bool| {
        topics
            .iter()
            .fold(0, |sum, topic| mix(sum, u64::from(allows(black_box(topic)))))
    };
    let subject = Subject {
        username: Some("u"),
        client_id: "c",
    };
    Row::new("acl", "1 user, 1,024 rules of 1,024 shapes", 1 << LEVELS)
        .with("komar", || {
            ask(&|topic| acl.decide(subject, Access::Read, topic).is_allow())
        })
        .with("one by one", || ask(&|topic| plain.allows("u", false, topic)))
        .run(criterion);
}

/// What `komar acl check` does with as many rules of 16 levels of `a` or `+`.
fn lint_of_all_shapes(criterion: &mut criterion::Criterion<CpuTime>) {
    let filter = |shape: u32| {
        let level = |place: u32| ["a", "+"][usize::from(shape >> place & 1 == 1)];
        (0..16).map(level).collect::<Vec<_>>().join("/")
    };
    let text: String = (0..1 << 16)
        .map(|shape| format!("topic read {}\n", filter(shape)))
        .collect();
    let file = AclFile::parse(text.as_bytes()).unwrap();
    Row::new("acl", "lint 65,536 rules of 65,536 shapes", 1)
        .with("komar", || Acl::lint(black_box(&file), None).len() as u64)
        .run(criterion);
}

fn loading(criterion: &mut criterion::Criterion<CpuTime>) {
    let (text, _) = file(1000, 100);
    Row::new("acl", "load 100,000 rules of 1,000 users", 1)
        .with("komar", || {
            let file = AclFile::parse(black_box(text.as_bytes())).unwrap();
            let acl = Acl::compile_owned(file, Options::default());
            acl.file().rules().len() as u64
        })
        .run(criterion);
    let (text, _) = file(1, 100_000);
    Row::new("acl", "load 100,000 rules of 1 user", 1)
        .with("komar", || {
            let file = AclFile::parse(black_box(text.as_bytes())).unwrap();
            let acl = Acl::compile_owned(file, Options::default());
            acl.file().rules().len() as u64
        })
        .run(criterion);
    let file = AclFile::parse(text.as_bytes()).unwrap();
    Row::new("acl", "lint 100,000 rules of 1 user", 1)
        .with("komar", || Acl::lint(black_box(&file), None).len() as u64)
        .run(criterion);
}

criterion_group! {
    name = acl;
    config = criterion().sample_size(20);
    targets = decisions, patterns, many_shapes, loading, lint_of_all_shapes
}
criterion_main!(acl);
