//! All rules of all lists in one hash table: what finds the few that may match, so that not every rule is asked.
//!
//! The filters of a list have few shapes, that is which levels are literal and whether `#` follows: `a/b/+`, `c/d/+` and
//! `e/f/+` have one. For each shape of the list, the levels of the name that are literal in it make a key, and the
//! table tells which rule has that key. Whether it matches is then decided by the one matcher: a key that fits by
//! chance does no harm, and neither do levels beyond those that a key looks at.
//!
//! One probe a shape of the list, whatever the number of rules and users. 100 rules of each of 1,000 users in four
//! shapes, on a shared 2-core machine (2026-11-24): 90 ns a decision, and 266 ns with an own `FilterIndex` for each user.
//!
//! A list of more than [`MANY_SHAPES`] is a [`FilterTree`] instead, which enters only how filters begin that match: for a
//! name of n levels fewer than 2^(n+1) beginnings, and no more than the list has. So a decision takes as many steps as
//! filters match in part, a few in most files; that many rules match a name in whole only their author can bring about,
//! not a client. Making either takes as many steps as there are rules (and levels, for a tree).
//!
//! Both leave out what cannot change the decision any more: grants when there is one, everything after a deny.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};
use core::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use komar_topic::{TopicFilter, TopicName};

use crate::rule::Effect;
use crate::tree::FilterTree;

/// A table that is made once.
#[derive(Default)]
pub(crate) struct RuleTable {
    entries: HashTable<Entry>,
    /// The shapes of each list that has few, one list after the other.
    probes: Vec<Probe>,
    lists: Vec<List>,
    /// The lists that have many shapes, and their rules.
    tree: FilterTree,
    in_tree: Vec<Entry>,
    /// All filters, one after the other.
    texts: String,
}

struct Entry {
    key: u64,
    start: usize,
    list: u32,
    /// Filters have at most 65,535 bytes.
    length: u16,
    effect: Effect,
    /// Which pattern it is, in a list of patterns.
    pattern: u32,
}

/// Where the rules of a list are.
enum List {
    /// In `entries`, and their shapes here in `probes`.
    Shapes(Range<usize>),
    /// In the tree below this root.
    Tree(u32),
}

/// A shape, and what its rules can do together.
struct Probe {
    shape: Shape,
    effect: Effect,
}

/// What filters with the same key parts have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Shape {
    /// Number of levels without `#`.
    levels: u16,
    /// Which of the first [`HASHED`] levels are literal.
    literal: u16,
    /// Which of the further levels are literal: their numbers, ascending. Hardly a filter has any.
    further: Vec<u16>,
    /// Whether `#` follows.
    open: bool,
    /// What all keys of this shape in its list begin with.
    seed: u64,
}

/// A filter to be put into a list.
pub(crate) struct NewRule<'a> {
    pub(crate) filter: &'a str,
    pub(crate) effect: Effect,
    pub(crate) pattern: u32,
    /// What sets rules apart that have the same filter here: which levels of a pattern are placeholders.
    pub(crate) class: u64,
}

/// A rule that matches.
pub(crate) struct Found<'a> {
    pub(crate) filter: &'a str,
    pub(crate) effect: Effect,
    pub(crate) pattern: u32,
}

impl RuleTable {
    pub(crate) fn with_capacity(rules: usize) -> Self {
        Self {
            entries: HashTable::with_capacity(rules),
            ..Self::default()
        }
    }

    /// Adds the next list; the first is number 0.
    pub(crate) fn push_list<'a>(&mut self, rules: impl Iterator<Item = NewRule<'a>>) {
        let list = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        let rules: Vec<NewRule<'_>> = rules.collect();
        let start = self.probes.len();
        let shapes = self.push_shapes(list, &rules);
        let list = if let Some(shapes) = shapes {
            for (rule, shape) in rules.iter().zip(shapes) {
                if let Some(probe) = self.probes.get(shape) {
                    let key = probe.shape.key(&Levels::of(rule.filter));
                    self.insert(list, rule, key);
                }
            }
            List::Shapes(start..self.probes.len())
        } else {
            self.probes.truncate(start);
            let root = self.tree.root();
            rules
                .iter()
                .for_each(|rule| self.insert_in_tree(list, root, rule));
            List::Tree(root)
        };
        self.lists.push(list);
    }

    /// Calls `visit` with every rule of this list that matches, as long as a rule can have an effect that is wanted;
    /// `visit` may want less.
    pub(crate) fn visit(
        &self,
        list: usize,
        levels: &Levels<'_>,
        wanted: &mut Effect,
        mut visit: impl FnMut(Found<'_>, &mut Effect),
    ) {
        let mut look_at = |entry: &Entry, wanted: &mut Effect| {
            #[cfg(test)]
            tests::count();
            let filter = self.text(entry);
            if entry.effect.intersects(*wanted)
                && TopicFilter::from_checked(filter).matches(TopicName::from_checked(levels.text))
            {
                let (effect, pattern) = (entry.effect, entry.pattern);
                let found = Found {
                    filter,
                    effect,
                    pattern,
                };
                visit(found, wanted);
            }
        };
        match self.lists.get(list) {
            Some(List::Shapes(places)) => {
                let number = u32::try_from(list).unwrap_or(u32::MAX);
                for probe in self.probes.get(places.clone()).unwrap_or_default() {
                    if !probe.shape.fits(levels) || !probe.effect.intersects(*wanted) {
                        continue;
                    }
                    let key = probe.shape.key(levels);
                    self.entries
                        .iter_hash(key)
                        .filter(|entry| entry.key == key && entry.list == number)
                        .for_each(|entry| look_at(entry, wanted));
                }
            }
            Some(List::Tree(root)) => {
                self.tree.visit(*root, levels, wanted, &mut |rule, wanted| {
                    let rule = usize::try_from(rule).unwrap_or(usize::MAX);
                    if let Some(entry) = self.in_tree.get(rule) {
                        look_at(entry, wanted);
                    }
                });
            }
            None => {}
        }
    }

    /// Notes which shapes the rules have, and returns of each where it is; `None` if they are too many.
    fn push_shapes(&mut self, list: u32, rules: &[NewRule<'_>]) -> Option<Vec<usize>> {
        let start = self.probes.len();
        let mut known: HashMap<Shape, usize, FixedState> = HashMap::default();
        let mut places = Vec::with_capacity(rules.len());
        let mut last = usize::MAX;
        for rule in rules {
            let shape = Shape::of(rule.filter, list, rule.class);
            // Neighbours are mostly alike.
            let is_same = self.probes.get(last).is_some_and(|probe| probe.shape == shape);
            if !is_same {
                last = *known.entry(shape).or_insert_with_key(|shape| {
                    let effect = Effect::default();
                    self.probes.push(Probe {
                        shape: shape.clone(),
                        effect,
                    });
                    self.probes.len().saturating_sub(1)
                });
            }
            if self.probes.len().saturating_sub(start) > MANY_SHAPES {
                return None;
            }
            if let Some(probe) = self.probes.get_mut(last) {
                probe.effect = probe.effect.join(rule.effect);
            }
            places.push(last);
        }
        Some(places)
    }

    fn insert(&mut self, list: u32, rule: &NewRule<'_>, key: u64) {
        let texts = &self.texts;
        let same = |entry: &Entry| {
            #[cfg(test)]
            tests::count();
            (entry.key, entry.list) == (key, list) && entry.is(rule, texts)
        };
        if let Some(known) = self.entries.find_mut(key, same) {
            known.effect = known.effect.join(rule.effect);
            return;
        }
        let entry = self.entry(list, rule, key);
        self.entries.insert_unique(key, entry, |entry| entry.key);
    }

    fn insert_in_tree(&mut self, list: u32, root: u32, rule: &NewRule<'_>) {
        let number = u32::try_from(self.in_tree.len()).unwrap_or(u32::MAX);
        let (entries, texts) = (&self.in_tree, &self.texts);
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let known = self
            .tree
            .insert(root, rule.filter, rule.effect, number, |number| {
                #[cfg(test)]
                tests::count();
                entries
                    .get(place(number))
                    .is_some_and(|entry| entry.is(rule, texts))
            });
        match known.and_then(|number| self.in_tree.get_mut(place(number))) {
            Some(known) => known.effect = known.effect.join(rule.effect),
            None => {
                let entry = self.entry(list, rule, 0);
                self.in_tree.push(entry);
            }
        }
    }

    /// Keeps the text of a rule that is not in here yet.
    fn entry(&mut self, list: u32, rule: &NewRule<'_>, key: u64) -> Entry {
        let start = self.texts.len();
        self.texts.push_str(rule.filter);
        Entry {
            key,
            start,
            list,
            length: u16::try_from(rule.filter.len()).unwrap_or(u16::MAX),
            effect: rule.effect,
            pattern: rule.pattern,
        }
    }

    fn text(&self, entry: &Entry) -> &str {
        entry.text(&self.texts)
    }
}

impl Entry {
    /// Whether it is of the same pattern and has the same filter.
    fn is(&self, rule: &NewRule<'_>, texts: &str) -> bool {
        self.pattern == rule.pattern && self.text(texts) == rule.filter
    }

    fn text<'t>(&self, texts: &'t str) -> &'t str {
        texts
            .get(self.start..self.start.saturating_add(self.length.into()))
            .unwrap_or_default()
    }
}

impl Shape {
    fn of(filter: &str, list: u32, class: u64) -> Self {
        let mut shape = Self {
            levels: 0,
            literal: 0,
            further: Vec::new(),
            open: false,
            seed: 0,
        };
        for (level, number) in filter.split('/').zip(0_u16..) {
            if level == "#" {
                shape.open = true;
                break;
            }
            if level != "+" {
                match 1_u16.checked_shl(number.into()) {
                    Some(bit) => shape.literal |= bit,
                    None => shape.further.push(number),
                }
            }
            shape.levels = shape.levels.saturating_add(1);
        }
        let parts = (u64::from(shape.levels) << 17) | (u64::from(shape.literal) << 1) | u64::from(shape.open);
        let numbers = shape.further.iter().map(|number| u64::from(*number));
        shape.seed = numbers.fold(mix(mix(u64::from(list), parts), class), mix);
        shape
    }

    /// Whether a name of so many levels can match.
    fn fits(&self, levels: &Levels<'_>) -> bool {
        if self.open {
            levels.count >= self.levels
        } else {
            levels.count == self.levels
        }
    }

    /// The sum of the seed and the hashes of the literal levels: each is random enough by itself.
    #[inline]
    fn key(&self, levels: &Levels<'_>) -> u64 {
        let mut key = self.seed;
        let mut left = self.literal;
        while let Some(place) = lowest(left) {
            key = key.wrapping_add(levels.hashes.get(place).copied().unwrap_or_default());
            left &= left.wrapping_sub(1);
        }
        let mut wanted = self.further.iter();
        let Some(mut next) = wanted.next() else { return key };
        for (level, number) in levels.further.split(|byte| *byte == b'/').zip(FIRST_FURTHER..) {
            if number == *next {
                key = key.wrapping_add(hash_of(level, number));
                match wanted.next() {
                    Some(number) => next = number,
                    None => break,
                }
            }
        }
        key
    }
}

/// The levels of a name or filter, hashed once for all shapes and lists.
pub(crate) struct Levels<'a> {
    text: &'a str,
    /// Of each level with its place, so that `a/b` and `b/a` have other sums.
    hashes: [u64; HASHED],
    /// What follows those levels: hashed only for shapes that look so far.
    further: &'a [u8],
    count: u16,
}

impl<'a> Levels<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let mut hashes = [0; HASHED];
        let mut further: &[u8] = &[];
        let mut count = 0_u16;
        let mut rest = Some(text.as_bytes());
        while let Some(bytes) = rest {
            if count == FIRST_FURTHER {
                further = bytes;
            }
            let level;
            (level, rest) = first_level(bytes);
            if let Some(hash) = hashes.get_mut(usize::from(count)) {
                *hash = hash_of(level, count);
            }
            // A name of more levels than a filter may have is longer than any of them, however much.
            count = count.saturating_add(1);
        }
        Self {
            text,
            hashes,
            further,
            count,
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn further(&self) -> &'a [u8] {
        self.further
    }

    /// The hash of this level, where `further` begins with it if it is none of the first, and what is further then.
    pub(crate) fn hash<'f>(&self, number: u16, further: &'f [u8]) -> (u64, &'f [u8]) {
        if let Some(hash) = self.hashes.get(usize::from(number)) {
            return (*hash, further);
        }
        let (level, rest) = first_level(further);
        (hash_of(level, number), rest.unwrap_or_default())
    }
}

/// A level, and what follows its slash.
fn first_level(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|byte| *byte == b'/') {
        Some(slash) => (
            bytes.get(..slash).unwrap_or_default(),
            bytes.get(slash.saturating_add(1)..),
        ),
        None => (bytes, None),
    }
}

/// A list with more is a tree.
const MANY_SHAPES: usize = 16;
/// As many levels are hashed once for all shapes.
const HASHED: usize = 16;
/// The number of the first level after those.
const FIRST_FURTHER: u16 = 16;

/// The number of the lowest bit that is set.
fn lowest(bits: u16) -> Option<usize> {
    (bits != 0)
        .then(|| bits.trailing_zeros())
        .and_then(|place| usize::try_from(place).ok())
}

pub(crate) fn hash_of(level: &[u8], number: u16) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(level);
    hasher.finish().rotate_left(u32::from(number).saturating_mul(7))
}

/// The halves of the product folded together: every bit of both depends on every bit.
pub(crate) fn mix(left: u64, right: u64) -> u64 {
    let product =
        u128::from(left ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(u128::from(right ^ 0xd6e8_feb8_6659_fd93));
    let [low, high] =
        [product, product >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
    low ^ high
}

#[cfg(test)]
pub(crate) mod tests {
    use core::cell::Cell;
    use std::format;

    use super::*;
    use crate::{Access, Acl, AclFile, Options, Subject};

    std::thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn count() {
        COMPARED.set(COMPARED.get() + 1);
    }

    /// How many rules are looked at meanwhile.
    pub(crate) fn compared<T>(work: impl FnOnce() -> T) -> (T, usize) {
        let before = COMPARED.get();
        let result = work();
        (result, COMPARED.get() - before)
    }

    #[test]
    fn a_strict_subscribe_looks_at_each_rule_a_few_times() {
        const RULES: usize = 40;
        let text: String = (0..RULES)
            .map(|n| {
                format!("user u\ntopic read a/{n}/x\ntopic deny a/{n}/#\n")
                    + &format!("pattern read b/{n}/%u\npattern deny b/{n}/+\npattern read c/{n}/%u/x\nuser u\ntopic deny c/{n}/#\n")
            })
            .collect();
        let file = AclFile::parse(text.as_bytes()).unwrap();
        let acl = Acl::compile_owned(file, Options::default().strict_subscribe(true));
        let subject = Subject {
            username: Some("u"),
            client_id: "c",
        };
        let (decision, steps) = compared(|| acl.decide(subject, Access::Subscribe, "#"));
        assert!(!decision.is_allow());
        assert!(steps <= 6 * RULES, "{steps}");
    }

    #[test]
    fn a_table_takes_as_many_steps_as_rules() {
        let few = |acl: &Acl, topic: &str| {
            let subject = Subject {
                username: None,
                client_id: "c",
            };
            let (decision, steps) = compared(|| acl.decide(subject, Access::Read, topic));
            assert!(steps <= 4, "{steps} for {topic}");
            decision.is_allow()
        };
        const RULES: usize = 2000;
        let deep = "l/".repeat(16);
        for (name, line, topic) in [
            (
                "deep",
                &(|n| format!("topic read a/{deep}x{n}\n")) as &dyn Fn(usize) -> String,
                format!("a/{deep}x7"),
            ),
            (
                "deeper",
                &|n| format!("topic read a/{deep}+/x{n}/y\n"),
                format!("a/{deep}z/x7/y"),
            ),
            (
                "open",
                &|n| format!("topic read a/{deep}x{n}/#\n"),
                format!("a/{deep}x7/y/z"),
            ),
            ("equal", &|_| "topic read a/b\n".into(), "a/b".into()),
            (
                "equal patterns",
                &|_| "pattern read home/%c/#\n".into(),
                "home/c/x".into(),
            ),
            (
                "kinds of levels",
                &|n| {
                    let levels = (0..8).map(|place| ["+", "%u", "%c"][n / 3_usize.pow(place) % 3]);
                    format!("pattern read {}\n", levels.collect::<Vec<_>>().join("/"))
                },
                "c/c".into(),
            ),
        ] {
            let text: String = (0..RULES).map(line).collect();
            let file = AclFile::parse(text.as_bytes()).unwrap();
            let (acl, steps) = compared(|| Acl::compile_owned(file, Options::default()));
            let bound = if name == "kinds of levels" { 6 } else { 2 };
            assert!(steps <= bound * RULES, "{name}: {steps} steps");
            assert_eq!(few(&acl, &topic), name != "kinds of levels", "{name}");
            assert!(!few(&acl, "other"), "{name}");
        }
    }

    #[test]
    fn a_decision_looks_at_few_of_many_shapes() {
        const LEVELS: u32 = 10;
        let words = |rule: u32| {
            let word =
                move |place| ["x", "y", "z"][usize::try_from(rule / 3_u32.pow(place % 5) % 3).unwrap()];
            (0..LEVELS).map(word).collect::<Vec<_>>()
        };
        let lines = (0..1 << LEVELS).map(|rule: u32| {
            let mut levels = words(rule);
            let plus = (0..LEVELS).filter(|place| (rule >> place) & 1 == 1);
            plus.for_each(|place| levels[usize::try_from(place).unwrap()] = "+");
            let access = if rule % 64 == 7 { "deny" } else { "read" };
            format!("topic {access} {}\n", levels.join("/"))
        });
        let file = AclFile::parse(lines.collect::<String>().as_bytes()).unwrap();
        let acl = Acl::compile_owned(file.clone(), Options::default());
        let subject = Subject {
            username: None,
            client_id: "c",
        };
        let (mut looked_at, mut allowed) = (0, 0);
        for rule in 0..1 << LEVELS {
            let topic = words(rule).join("/");
            let (decision, steps) = compared(|| acl.decide(subject, Access::Read, &topic));
            looked_at += steps;
            allowed += usize::from(decision.is_allow());
            assert_eq!(acl.explain(subject, Access::Read, &topic).decision, decision);
        }
        assert!(allowed > 20 && allowed < 1000, "{allowed}");
        assert!(looked_at <= 16 << LEVELS, "{looked_at}");
    }

    #[test]
    fn a_grant_is_enough_if_nothing_denies() {
        let lines = (0..1 << 8).map(|shape: u32| {
            let level = |place: u32| ["a", "+"][usize::from((shape >> place) & 1 == 1)];
            format!("topic read {}\n", (0..8).map(level).collect::<Vec<_>>().join("/"))
        });
        let text: String = lines.collect();
        let subject = Subject {
            username: None,
            client_id: "c",
        };
        for (deny, expected) in [("", true), ("topic deny +/a/+/a/+/a/+/a\n", false)] {
            let file = AclFile::parse(format!("{text}{deny}").as_bytes()).unwrap();
            let acl = Acl::compile_owned(file, Options::default());
            let (decision, steps) = compared(|| acl.decide(subject, Access::Read, "a/a/a/a/a/a/a/a"));
            assert_eq!(decision.is_allow(), expected);
            assert!(steps <= 16, "{steps}");
        }
    }
}
