//! A history of inserts, removals, lookups and paused walks: the indexes of komar-topic answer as lists that are searched
//! from end to end, and what is read is what the rules say, or an error at a byte of the text.

use std::collections::{BTreeMap, BTreeSet};

use komar_topic::{
    Cursor, FilterIndex, Handle, Match, NameTree, ShareName, SubscriptionFilter, TopicError, TopicFilter, TopicName,
};

pub fn run(data: &[u8]) {
    let mut input = Input { rest: data };
    let mut history = History::default();
    while let Some(kind) = input.byte() {
        history.step(kind, &mut input);
    }
    history.end();
}

struct Input<'d> {
    rest: &'d [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    /// A text: as it stands if `raw`, otherwise of pieces that filters are likely to be made of.
    fn text(&mut self, raw: bool) -> String {
        let length = self.number() % 32;
        let (bytes, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        if raw {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        bytes.iter().map(|byte| PIECES[usize::from(byte % 16)]).collect()
    }
}

const PIECES: [&str; 16] = [
    "/", "/", "/", "+", "+/", "#", "/#", "$", "a", "b", "a/", "b/", "é", "$share/g/", "\0", "a longer level",
];

#[derive(Default)]
struct History {
    index: FilterIndex<u32>,
    entries: Vec<(Handle, String, u32)>,
    removed: Vec<Handle>,
    tree: NameTree<u32>,
    names: BTreeMap<String, u32>,
    walk: Option<Walk>,
    /// Values are numbered, so that no two are the same.
    last: u32,
}

/// A walk that may be paused.
struct Walk {
    filter: String,
    cursor: Option<Cursor>,
    visited: BTreeSet<String>,
    /// Names that were there when it began, and ever since.
    throughout: BTreeSet<String>,
}

impl History {
    fn step(&mut self, kind: u8, input: &mut Input<'_>) {
        self.last += 1;
        let raw = kind & 0x80 != 0;
        match kind % 10 {
            0 | 1 => self.insert_filter(&input.text(raw)),
            2 => self.remove_entry(input.number()),
            3 => self.replace_entry(input.number()),
            4 => self.look_up(&input.text(raw)),
            5 | 6 => self.insert_name(&input.text(raw)),
            7 => self.remove_name(&input.text(raw), input.number()),
            8 => self.retain(&input.text(raw), input.number()),
            _ => self.walk(&input.text(raw), input.number()),
        }
        if let Some(walk) = &mut self.walk {
            walk.throughout.retain(|name| self.names.contains_key(name));
        }
    }

    fn insert_filter(&mut self, text: &str) {
        let read = SubscriptionFilter::parse(text);
        check_filter(text, read);
        let Ok(filter) = read else { return };
        for (_, other, _) in &self.entries {
            check_relations(filter.filter(), inner(other));
        }
        let (handle, stripe) = self.index.insert(filter, self.last);
        assert_eq!(stripe, filter.filter().stripe());
        self.entries.push((handle, text.to_owned(), self.last));
    }

    fn remove_entry(&mut self, number: usize) {
        if let Some(stale) = self.removed.get(number) {
            assert!(self.index.get(*stale).is_none() && self.index.remove(*stale).is_none());
        }
        if number >= self.entries.len() {
            return;
        }
        let (handle, text, value) = self.entries.swap_remove(number);
        assert_eq!(self.index.remove(handle), Some((value, inner(&text).stripe())));
        self.removed.push(handle);
    }

    fn replace_entry(&mut self, number: usize) {
        let Some((handle, text, value)) = self.entries.get_mut(number) else { return };
        let replaced = self.index.replace(*handle, self.last);
        assert_eq!(replaced, Some((*value, inner(text).stripe())));
        *value = self.last;
        let mut again = String::new();
        assert!(self.index.filter_of(*handle, &mut again) && again == *text);
    }

    fn look_up(&self, text: &str) {
        let read = TopicName::new(text);
        check_name(text, read);
        let Ok(name) = read else { return };
        let (mut plain, mut shared) = (BTreeSet::new(), BTreeMap::<_, BTreeSet<u32>>::new());
        self.index.lookup(name, |found| match found {
            Match::Entries(entries) => entries.for_each(|value| assert!(plain.insert(*value), "{text}: twice")),
            Match::Group(group) => {
                let members: BTreeSet<u32> = group.members().copied().collect();
                assert_eq!(members.len(), group.len());
                assert!(shared.insert(group.id(), members).is_none(), "{text}: twice");
            }
        });
        let mut expected = BTreeSet::new();
        let mut expected_groups = BTreeMap::<_, BTreeSet<u32>>::new();
        for (_, filter, value) in &self.entries {
            let filter = SubscriptionFilter::from_checked(filter);
            let is_match = matches(filter.filter().as_str(), text);
            assert_eq!(filter.filter().matches(name), is_match, "{filter} | {text}");
            assert!(!is_match || name.stripes().contains(filter.filter().stripe()), "{filter} | {text}");
            match filter.share_name().filter(|_| is_match) {
                Some(share_name) => {
                    let group = expected_groups.entry((share_name, filter.filter())).or_default();
                    group.insert(*value);
                }
                None if is_match => drop(expected.insert(*value)),
                None => {}
            }
        }
        assert_eq!(plain, expected, "{text}");
        let shared: BTreeSet<_> = shared.into_values().collect();
        assert_eq!(shared, expected_groups.into_values().collect(), "{text}");
        self.check_cost(name);
    }

    /// No more than what is documented: the shapes that exist, and two ways on at each level; and the tables of these.
    fn check_cost(&self, name: TopicName<'_>) {
        let shapes = self.entries.iter().map(|(_, filter, _)| inner(filter).levels().count() + 1);
        let by_levels = 5_usize << name.levels().count().min(40);
        let bound = by_levels.min(shapes.sum::<usize>() + 1);
        assert!(self.index.lookup_cost(name) <= bound, "{name}");
    }

    fn insert_name(&mut self, text: &str) {
        let Ok(name) = TopicName::new(text) else { return };
        let old = self.names.insert(text.to_owned(), self.last);
        assert_eq!(self.tree.insert(name, self.last), (old, name.stripes()));
        assert_eq!(self.tree.get(name), Some(&self.last));
    }

    fn remove_name(&mut self, text: &str, budget: usize) {
        let Ok(name) = TopicName::new(text) else { return };
        let removed = self.names.remove(text).map(|value| (value, name.stripes()));
        assert_eq!(self.tree.remove(name), removed);
        if budget > 200 {
            let (before, top) = (self.names.len(), format!("{text}/"));
            self.names.retain(|other, _| !other.starts_with(&top));
            let (removed, stripes) = self.tree.remove_prefix(name, usize::MAX);
            assert_eq!(removed, before - self.names.len());
            assert!(name.stripes().iter().all(|stripe| stripes.contains(stripe)));
        }
        assert_eq!(self.tree.len(), self.names.len());
    }

    fn retain(&mut self, text: &str, budget: usize) {
        let Ok(filter) = TopicFilter::new(text) else { return };
        let keep = |value: u32| value % 3 != 0;
        let mut cursor = None;
        loop {
            let slice = self.tree.retain(filter, cursor.as_ref(), budget + 1, |_, value| keep(*value));
            assert!(slice.removed <= budget + 1 && slice.stripes.contains(filter.stripe()));
            cursor = slice.next;
            if cursor.is_none() {
                break;
            }
        }
        self.names.retain(|name, value| !matches(text, name) || keep(*value));
        let left: BTreeMap<_, _> = self.tree.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        assert_eq!(left, self.names);
    }

    /// Goes on with the walk that is paused, or begins one.
    fn walk(&mut self, text: &str, budget: usize) {
        let mut walk = match self.walk.take() {
            Some(walk) => walk,
            None if TopicFilter::new(text).is_err() => return,
            None => Walk {
                filter: text.to_owned(),
                cursor: None,
                visited: BTreeSet::new(),
                throughout: self.names.keys().filter(|name| matches(text, name)).cloned().collect(),
            },
        };
        let mut visits = 0;
        let filter = TopicFilter::from_checked(&walk.filter);
        walk.cursor = self.tree.walk(filter, walk.cursor.as_ref(), budget % 8, |name, value| {
            visits += 1;
            assert!(matches(filter.as_str(), name.as_str()) && self.names.get(name.as_str()) == Some(value));
            assert!(walk.visited.insert(name.to_string()), "{name}: twice");
        });
        assert!(visits <= budget % 8);
        if walk.cursor.is_some() {
            self.walk = Some(walk);
        } else {
            assert!(walk.throughout.is_subset(&walk.visited), "{filter}");
        }
    }

    fn end(&mut self) {
        self.walk = None;
        for (handle, _, value) in self.entries.drain(..) {
            assert_eq!(self.index.remove(handle).map(|removed| removed.0), Some(value));
        }
        assert!(self.index.is_empty() && self.index.filter_count() == 0);
        assert_eq!(self.index.lookup_cost(TopicName::from_checked("a/b")), 0);
    }
}

/// Level by level.
fn matches(filter: &str, name: &str) -> bool {
    fn below(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => below(filter, name),
            ([one, filter @ ..], [other, name @ ..]) => one == other && below(filter, name),
            _ => false,
        }
    }
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (filter, name): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), name.split('/').collect());
    below(&filter, &name)
}

fn inner(text: &str) -> TopicFilter<'_> {
    SubscriptionFilter::from_checked(text).filter()
}

fn check_filter(text: &str, read: Result<SubscriptionFilter<'_>, TopicError>) {
    let shared = text == "$share" || text.starts_with("$share/");
    let (share_name, filter) = match text.splitn(3, '/').collect::<Vec<_>>()[..] {
        [_, share_name, filter] if shared => (Some(share_name), filter),
        _ if shared => (Some(""), ""),
        _ => (None, text),
    };
    let share_name_is_valid = share_name.is_none_or(|name| !name.is_empty() && !name.contains(['+', '#', '\0']));
    let levels: Vec<&str> = filter.split('/').collect();
    let filter_is_valid = !filter.is_empty()
        && !filter.contains('\0')
        && levels.iter().all(|level| level.len() == 1 || !level.contains(['+', '#']))
        && levels.iter().rev().skip(1).all(|level| *level != "#")
        && levels.len() <= 201;
    assert_eq!(read.is_ok(), share_name_is_valid && filter_is_valid, "{text}");
    match read {
        Ok(filter) => {
            assert_eq!((filter.as_str(), filter.share_name()), (text, share_name.map(ShareName::from_checked)));
            assert_eq!(SubscriptionFilter::from_checked(text), filter);
            assert_eq!(filter.to_owned().as_filter(), filter);
        }
        Err(error) => check_error(text, error),
    }
}

fn check_name(text: &str, read: Result<TopicName<'_>, TopicError>) {
    let is_valid = !text.is_empty() && !text.contains(['+', '#', '\0']) && text.split('/').count() <= 201;
    assert_eq!(read.is_ok(), is_valid, "{text}");
    if let Err(error) = read {
        check_error(text, error);
    }
}

fn check_error(text: &str, error: TopicError) {
    assert!(text.is_char_boundary(error.position()), "{text}: {error}");
    let found = text[error.position()..].chars().next();
    match error {
        TopicError::Null { .. } => assert_eq!(found, Some('\0')),
        TopicError::WildcardInName { .. }
        | TopicError::WildcardNotAlone { .. }
        | TopicError::MultiLevelNotLast { .. }
        | TopicError::ShareNameCharacter { .. } => assert!(matches!(found, Some('+' | '#')), "{text}: {error}"),
        _ => {}
    }
    assert!(!error.to_string().is_empty());
}

/// What both relations mean, for names made of the filters.
fn check_relations(one: TopicFilter<'_>, other: TopicFilter<'_>) {
    let sample = |filter: TopicFilter<'_>, plus: &str, multi: &str| {
        let level = |level| match level {
            "+" => plus,
            "#" => multi,
            literal => literal,
        };
        filter.levels().map(level).collect::<Vec<_>>().join("/")
    };
    for text in [one, other].iter().flat_map(|filter| [("a", "b"), ("z", "z/z"), ("", "")].map(|(plus, multi)| sample(*filter, plus, multi))) {
        let Ok(name) = TopicName::new(&text) else { continue };
        let (first, second) = (one.matches(name), other.matches(name));
        assert!(!(one.covers(other) && second && !first), "{one} covers {other}: {name}");
        assert!(!(other.covers(one) && first && !second), "{other} covers {one}: {name}");
        assert!(!(first && second) || (one.overlaps(other) && other.overlaps(one)), "{one} and {other}: {name}");
    }
    assert!(one.covers(one) && one.overlaps(one));
    assert_eq!(one.covers(other) && other.covers(one), normal(one) == normal(other), "{one} and {other}");
}

/// Two filters match the same names if they are the same, but that no name is empty.
fn normal(filter: TopicFilter<'_>) -> String {
    match filter.as_str() {
        "#" => "+/#".to_owned(),
        "/#" => "/+/#".to_owned(),
        text => text.to_owned(),
    }
}
