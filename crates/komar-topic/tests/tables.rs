//! The tables in `data/`, each read by one check function.

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{rows, yes};
use komar_topic::{
    DefaultHashBuilder, FilterIndex, Match, NameTree, STRIPES, ShareName, ShareNameBuf, SharedFilter,
    SharedFilterBuf, Stripe, SubscriptionFilter, SubscriptionFilterBuf, TopicError, TopicFilter,
    TopicFilterBuf, TopicLimits, TopicName, TopicNameBuf,
};
use serde_json::Value;

type Hasher = foldhash::quality::FixedState;

#[test]
fn matches() {
    for [filter, name, expected, source] in rows(include_str!("data/matches.txt")) {
        check_match(&filter, &name, yes(&expected), &source);
    }
}

/// One filter and one name, against the matcher, both indexes and the model.
fn check_match(filter: &str, name: &str, expected: bool, source: &str) {
    let case = format!("{filter} | {name} | {source}");
    let read = SubscriptionFilter::parse(filter).expect(&case);
    let name = TopicName::new(name).expect(&case);
    let inner = read.filter();
    assert_eq!(inner.matches(name), expected, "matcher: {case}");
    assert_eq!(
        common::matches(inner.as_str(), name.as_str()),
        expected,
        "model: {case}"
    );

    let mut index = FilterIndex::with_hasher(Hasher::default());
    let (handle, _) = index.insert(read, ());
    let mut found = 0;
    index.lookup(name, |one| match one {
        Match::Entries(entries) => found += entries.len(),
        Match::Group(group) => found += group.len(),
    });
    assert_eq!(found, usize::from(expected), "index: {case}");
    let mut text = String::new();
    assert!(index.filter_of(handle, &mut text));
    assert_eq!(text, filter);

    let mut tree = NameTree::with_hasher(Hasher::default());
    tree.insert(name, ());
    let mut found = 0;
    assert_eq!(
        tree.walk(inner, None, 2, |_, ()| found += 1),
        None,
        "tree: {case}"
    );
    assert_eq!(found, usize::from(expected), "tree: {case}");
}

#[test]
fn invalid_filters() {
    for [text, position, cause, source] in rows(include_str!("data/invalid_filters.txt")) {
        let case = format!("{text} | {source}");
        let error = SubscriptionFilter::parse(&text).expect_err(&case);
        assert!(format!("{error:?}").starts_with(&cause), "{case}: {error:?}");
        assert_eq!(error.position().to_string(), position, "{case}: {error:?}");
        assert_eq!(error.is_shared(), cause.starts_with("Share"), "{case}");
        // What is wrong in a plain filter is wrong where it is read as one.
        if !text.starts_with("$share") {
            assert_eq!(TopicFilter::new(&text), Err(error), "{case}");
        }
    }
}

#[test]
fn covers() {
    for [wide, narrow, expected, why] in rows(include_str!("data/covers.txt")) {
        let (wide, narrow) = (
            TopicFilter::new(&wide).unwrap(),
            TopicFilter::new(&narrow).unwrap(),
        );
        assert_eq!(wide.covers(narrow), yes(&expected), "{wide} | {narrow} | {why}");
        assert!(!wide.covers(narrow) || wide.overlaps(narrow), "{wide} | {narrow}");
    }
}

#[test]
fn overlaps() {
    for [one, other, expected, why] in rows(include_str!("data/overlaps.txt")) {
        let (one, other) = (TopicFilter::new(&one).unwrap(), TopicFilter::new(&other).unwrap());
        assert_eq!(one.overlaps(other), yes(&expected), "{one} | {other} | {why}");
        assert_eq!(other.overlaps(one), yes(&expected), "{other} | {one} | {why}");
    }
}

/// All filters of up to three levels from a small alphabet, and names that are longer and hold a level of no filter:
/// both relations mean what they say.
#[test]
fn covers_and_overlaps_agree_with_the_names() {
    let names = texts(&["", "a", "$b", "z"], &[], 4);
    let names: Vec<TopicName<'_>> = names
        .iter()
        .filter_map(|text| TopicName::new(text).ok())
        .collect();
    let filters = texts(&["", "a", "$b", "+"], &["#"], 3);
    let filters: Vec<TopicFilter<'_>> = filters
        .iter()
        .filter_map(|text| TopicFilter::new(text).ok())
        .collect();
    assert_eq!((names.len(), filters.len()), (339, 104));
    for one in &filters {
        for other in &filters {
            let covers = names
                .iter()
                .all(|name| !other.matches(*name) || one.matches(*name));
            let overlaps = names
                .iter()
                .any(|name| other.matches(*name) && one.matches(*name));
            assert_eq!(one.covers(*other), covers, "{one} covers {other}");
            assert_eq!(one.overlaps(*other), overlaps, "{one} overlaps {other}");
        }
    }
}

/// Texts of up to `depth` levels.
fn texts(levels: &[&str], last: &[&str], depth: usize) -> Vec<String> {
    let mut prefixes = vec![Vec::new()];
    let mut all = Vec::new();
    for _ in 0..depth {
        for prefix in &prefixes {
            for level in levels.iter().chain(last) {
                all.push([prefix.as_slice(), &[*level]].concat().join("/"));
            }
        }
        prefixes = prefixes
            .iter()
            .flat_map(|prefix: &Vec<&str>| levels.iter().map(|level| [prefix.as_slice(), &[*level]].concat()))
            .collect();
    }
    all
}

#[test]
fn vectors() {
    let file: Value = serde_json::from_str(include_str!("data/topics.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 123);
    for vector in vectors {
        check_vector(vector);
    }
}

fn check_vector(vector: &Value) {
    let text = vector["filter"].as_str().unwrap();
    let filter = SubscriptionFilter::parse(text);
    assert_eq!(Some(filter.is_ok()), vector["valid_filter"].as_bool(), "{vector}");
    if let (Ok(filter), Some(share_name)) = (filter, vector["group"].as_str()) {
        assert_eq!(
            filter.share_name().map(|name| name.as_str()),
            Some(share_name),
            "{vector}"
        );
        assert_eq!(
            Some(filter.filter().as_str()),
            vector["inner"].as_str(),
            "{vector}"
        );
    }
    let Some(topic) = vector["topic"].as_str() else {
        return;
    };
    let name = TopicName::new(topic);
    match &vector["valid_topic"] {
        // Control characters: whoever publishes should not send them, and here nobody refuses them.
        Value::String(word) => assert!(word == "may-refuse" && name.is_ok(), "{vector}"),
        valid => assert_eq!(Some(name.is_ok()), valid.as_bool(), "{vector}"),
    }
    let expected = vector["match"].as_bool().unwrap();
    match (filter, name) {
        (Ok(_), Ok(_)) => check_match(text, topic, expected, "vector"),
        _ => assert!(!expected),
    }
}

#[test]
fn limits() {
    let deep = |slashes: usize| "a/".repeat(slashes) + "b";
    assert!(TopicName::new(&deep(200)).is_ok() && TopicFilter::new(&deep(200)).is_ok());
    let error = Err(TopicError::TooManyLevels {
        position: 402,
        maximum: 201,
    });
    assert_eq!(TopicName::new(&deep(201)).map(|_| ()), error);
    assert_eq!(TopicFilter::new(&deep(201)).map(|_| ()), error);
    // The levels in front of the filter do not count.
    assert!(SubscriptionFilter::parse(&format!("$share/g/{}", deep(200))).is_ok());
    let error = SubscriptionFilter::parse("$share/g/a/b/c").map(|filter| filter.filter().levels().count());
    assert_eq!(error, Ok(3));
    let two = TopicLimits {
        maximum_levels: 2,
        ..TopicLimits::default()
    };
    let error = SubscriptionFilter::parse_within("$share/g/a/b/c", &two).unwrap_err();
    assert_eq!(
        (error, error.is_shared()),
        (
            TopicError::TooManyLevels {
                position: 13,
                maximum: 2
            },
            false
        )
    );
    assert!(
        TopicName::new_within(
            "a",
            &TopicLimits {
                maximum_levels: 0,
                ..two
            }
        )
        .is_err()
    );
}

/// Bytes count, not characters. v3 [MQTT-4.7.3-3], v5 [MQTT-4.7.3-3]
#[test]
fn lengths() {
    let error = |position| TopicError::TooLong {
        position,
        length: 65_536,
        maximum: 65_535,
    };
    for (letter, position) in [("x", 65_535), ("é", 65_534)] {
        let error = error(position);
        assert_eq!(error.position(), position);
        let long = letter.repeat(65_536 / letter.len());
        assert_eq!(TopicName::new(&long), Err(error));
        assert_eq!(TopicFilter::new(&long), Err(error));
        assert_eq!(SubscriptionFilter::parse(&long), Err(error));
        assert!(TopicName::new(&long[letter.len()..]).is_ok());
    }
    // Of a shared subscription, the whole text.
    let long = format!("$share/g/{}", "x".repeat(65_527));
    assert_eq!(SubscriptionFilter::parse(&long), Err(error(65_535)));
    assert!(SubscriptionFilter::parse(&long[..65_535]).is_ok());
}

#[test]
fn invalid_names() {
    for [text, position, cause, source] in rows(include_str!("data/invalid_names.txt")) {
        let case = format!("{text} | {source}");
        let error = TopicName::new(&text).expect_err(&case);
        assert!(format!("{error:?}").starts_with(&cause), "{case}: {error:?}");
        assert_eq!(error.position().to_string(), position, "{case}: {error:?}");
    }
    // `$share/…` is no shared subscription where a name is read.
    assert!(TopicName::new("$share/g/a").is_ok());
    assert!(matches!(
        SubscriptionFilter::parse("$shared/g"),
        Ok(SubscriptionFilter::Plain(_))
    ));
}

#[test]
fn share_names() {
    for (text, error) in [
        ("", TopicError::ShareNameEmpty { position: 0 }),
        ("a/b", TopicError::ShareNameCharacter { position: 1 }),
        ("é+", TopicError::ShareNameCharacter { position: 2 }),
        ("#", TopicError::ShareNameCharacter { position: 0 }),
        ("g\0", TopicError::Null { position: 1 }),
    ] {
        assert_eq!(ShareName::new(text), Err(error));
    }
    assert_eq!(ShareName::new("$g").map(|name| name.as_str()), Ok("$g"));
    let error = SharedFilter::new("share/g/a").unwrap_err();
    assert_eq!((error, error.is_shared()), (TopicError::NotShared, true));
    // Whatever else is wrong with it.
    for text in ["a/b#", "$shared/g/a#", "a\0", "#/a"] {
        assert_eq!(SharedFilter::new(text), Err(TopicError::NotShared), "{text}");
    }
    assert_eq!(SharedFilter::new(""), Err(TopicError::Empty));
    let nameless = Err(TopicError::ShareNameEmpty { position: 6 });
    assert_eq!(SharedFilter::new("$share"), nameless);
}

/// What was checked once is borrowed, owned and turned into something wider without being checked again.
#[test]
fn conversions() {
    let name = TopicName::new("a/b").unwrap();
    let filter = TopicFilter::from(name);
    assert!(filter.matches(name));
    assert_eq!(filter.as_name(), Some(name));
    assert_eq!(TopicFilter::new("a/+").unwrap().as_name(), None);
    assert_eq!(name.to_owned().as_name(), name);
    assert_eq!(filter.to_owned().as_filter(), filter);
    assert_eq!(TopicNameBuf::try_from("a/b".to_owned()), Ok(name.into()));
    assert_eq!(TopicNameBuf::from_checked("a/b"), name.into());
    let error = TopicError::WildcardInName { position: 2 };
    assert_eq!(TopicNameBuf::try_from("a/#".to_owned()), Err(error));
    let error = TopicError::MultiLevelNotLast { position: 0 };
    assert_eq!(TopicFilterBuf::try_from("#/a".to_owned()), Err(error));
    let deep = TopicLimits {
        maximum_levels: 300,
        ..TopicLimits::default()
    };
    let text = "a/".repeat(250) + "b";
    assert!(TopicNameBuf::try_from(text.clone()).is_err());
    assert_eq!(
        TopicName::new_within(&text, &deep)
            .map(TopicNameBuf::from)
            .map(String::from),
        Ok(text)
    );
    let map = BTreeMap::from([(name.to_owned(), 1)]);
    assert_eq!(map.get("a/b"), Some(&1));
    for text in ["a/b", "a/#", "$share/g/a/#", "$share/g//", "$SYS/#"] {
        let read = SubscriptionFilter::parse(text).unwrap();
        assert_eq!(SubscriptionFilter::from_checked(text), read);
        let owned = read.to_owned();
        assert_eq!((owned.as_filter(), owned.as_str()), (read, text));
        assert_eq!(
            SubscriptionFilterBuf::try_from(text.to_owned()).as_ref(),
            Ok(&owned)
        );
        assert_eq!(SubscriptionFilterBuf::from(read), owned);
        assert_eq!(SubscriptionFilterBuf::from_checked(text), owned);
        assert_eq!(String::from(owned.clone()), text);
        let shared = SharedFilterBuf::try_from(text.to_owned());
        assert_eq!(shared.is_ok(), read.share_name().is_some(), "{text}");
        if let (SubscriptionFilter::Shared(read), Ok(shared)) = (read, shared) {
            assert_eq!(shared, SharedFilterBuf::from(read));
            assert_eq!(BTreeMap::from([(shared.clone(), 1)]).get(text), Some(&1));
            assert_eq!(String::from(shared), text);
            let name = ShareNameBuf::from(read.share_name());
            assert_eq!(ShareNameBuf::try_from("g".to_owned()).as_ref(), Ok(&name));
            assert_eq!(ShareNameBuf::from_checked("g"), name);
            assert_eq!(BTreeMap::from([(name.clone(), 1)]).get("g"), Some(&1));
            assert_eq!(String::from(name), "g");
        }
        assert_eq!(owned.to_string(), text);
        let share_name = read.share_name().map(|name| name.to_owned());
        assert_eq!(
            share_name.as_ref().map(|name| name.as_share_name()),
            read.share_name()
        );
        assert_eq!(
            SharedFilter::new(text).ok().map(SubscriptionFilter::Shared),
            share_name.map(|_| read)
        );
    }
}

/// A filter's stripe is among those of every name that it can match.
#[test]
fn stripes() {
    let (mut matching, mut apart) = (0, 0);
    for [filter, name, expected, _] in rows(include_str!("data/matches.txt")) {
        let filter = SubscriptionFilter::parse(&filter).unwrap().filter();
        let name = TopicName::new(&name).unwrap();
        assert!(name.stripes().iter().all(|stripe| stripe.number() < STRIPES));
        let depends = name.stripes().contains(filter.stripe());
        assert_eq!(
            depends,
            name.stripes().iter().any(|stripe| stripe == filter.stripe())
        );
        if yes(&expected) {
            assert!(depends, "{filter} | {name}");
            matching += 1;
        }
        apart += usize::from(!depends);
    }
    assert!(matching > 20 && apart > 5, "{matching} {apart}");
}

/// Subscriptions of one device leave alone what is remembered of the others.
#[test]
fn stripes_of_devices() {
    let stripes = |text: &str| TopicName::new(text).unwrap().stripes();
    let stripe = |text: &str| TopicFilter::new(text).unwrap().stripe();
    let names: Vec<String> = (0..1000)
        .map(|n| format!("spBv1.0/group {}/DDATA/edge {n}/device", n % 10))
        .collect();
    let depend = |filter: &str| {
        let stripe = stripe(filter);
        names.iter().filter(|name| stripes(name).contains(stripe)).count()
    };
    for all in ["#", "+/+/DDATA/#", "spBv1.0/#", "spBv1.0/+/DDATA/edge 7/#"] {
        assert_eq!(depend(all), 1000, "{all}");
    }
    // One in a thousand is another one's by chance, for each level that counts.
    assert!((100..110).contains(&depend("spBv1.0/group 3/#")));
    assert!((1..10).contains(&depend("spBv1.0/group 3/DDATA/edge 3/+")));
    assert!(depend("spBv1.0/group 3/NCMD/edge 3/#") < 10);
    assert!(depend("spBv1.0/STATE/host") < 10);
    // Beyond the fourth level names are not told apart.
    let deep = stripe("spBv1.0/group 3/DDATA/edge 3/other");
    assert!(stripes("spBv1.0/group 3/DDATA/edge 3/device").contains(deep));
    let used: HashSet<usize> = names
        .iter()
        .flat_map(|name| stripes(name).iter().last())
        .map(Stripe::number)
        .collect();
    assert!(used.len() > STRIPES / 2, "{}", used.len());
}

#[test]
fn indexes_are_send_and_sync() {
    fn check<X: Send + Sync>() {}
    check::<FilterIndex<u8, DefaultHashBuilder>>();
    check::<NameTree<u8, DefaultHashBuilder>>();
}
