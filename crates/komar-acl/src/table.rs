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
//! The bound: a list has at most as many shapes as rules, and a key one filter (but for chance). So a decision looks at
//! each rule of the list once at most, which a list of rules that all match needs anyhow, and making the table takes as
//! many steps as there are rules. Only who writes the file can make shapes; clients cannot.

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};
use core::ops::Range;

use foldhash::fast::FixedState;
use hashbrown::{HashSet, HashTable};
use komar_topic::{TopicFilter, TopicName};

use crate::rule::Effect;

/// A table that is made once.
#[derive(Default)]
pub(crate) struct RuleTable {
    entries: HashTable<Entry>,
    /// The shapes of list 0, then those of list 1, and so on.
    shapes: Vec<Shape>,
    /// Where the shapes of each list are.
    lists: Vec<Range<usize>>,
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
        let start = self.shapes.len();
        let mut known: HashSet<Shape, FixedState> = HashSet::default();
        for rule in rules {
            let shape = Shape::of(rule.filter, list, rule.class);
            self.insert(list, &rule, shape.key(&Levels::of(rule.filter)));
            // Neighbours are mostly alike.
            if self.shapes.last() != Some(&shape) && !known.contains(&shape) {
                self.shapes.push(shape.clone());
                known.insert(shape);
            }
        }
        self.lists.push(start..self.shapes.len());
    }

    /// Calls `visit` with every rule of this list that matches.
    pub(crate) fn visit(&self, list: usize, levels: &Levels<'_>, mut visit: impl FnMut(Found<'_>)) {
        let Some(shapes) = self.lists.get(list) else {
            return;
        };
        let number = u32::try_from(list).unwrap_or(u32::MAX);
        for shape in self.shapes.get(shapes.clone()).unwrap_or_default() {
            if !shape.fits(levels) {
                continue;
            }
            let key = shape.key(levels);
            for entry in self
                .entries
                .iter_hash(key)
                .filter(|entry| entry.key == key && entry.list == number)
            {
                #[cfg(test)]
                tests::count();
                if TopicFilter::from_checked(self.text(entry)).matches(TopicName::from_checked(levels.text)) {
                    visit(Found {
                        filter: self.text(entry),
                        effect: entry.effect,
                        pattern: entry.pattern,
                    });
                }
            }
        }
    }

    fn insert(&mut self, list: u32, rule: &NewRule<'_>, key: u64) {
        let (
            NewRule {
                filter,
                effect,
                pattern,
                ..
            },
            texts,
        ) = (rule, &self.texts);
        let same = |entry: &Entry| {
            #[cfg(test)]
            tests::count();
            let text = texts.get(entry.start..entry.start.saturating_add(entry.length.into()));
            (entry.key, entry.list, entry.pattern, text) == (key, list, *pattern, Some(filter))
        };
        if let Some(known) = self.entries.find_mut(key, same) {
            known.effect = known.effect.join(*effect);
            return;
        }
        let (start, length) = (self.texts.len(), u16::try_from(filter.len()).unwrap_or(u16::MAX));
        self.texts.push_str(filter);
        let entry = Entry {
            key,
            start,
            list,
            length,
            effect: *effect,
            pattern: *pattern,
        };
        self.entries.insert_unique(key, entry, |entry| entry.key);
    }

    fn text(&self, entry: &Entry) -> &str {
        self.texts
            .get(entry.start..entry.start.saturating_add(entry.length.into()))
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
            let level = match bytes.iter().position(|byte| *byte == b'/') {
                Some(slash) => {
                    rest = bytes.get(slash.saturating_add(1)..);
                    bytes.get(..slash).unwrap_or_default()
                }
                None => {
                    rest = None;
                    bytes
                }
            };
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
}

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

fn hash_of(level: &[u8], number: u16) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(level);
    hasher.finish().rotate_left(u32::from(number).saturating_mul(7))
}

/// The halves of the product folded together: every bit of both depends on every bit.
fn mix(left: u64, right: u64) -> u64 {
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
        const RULES: usize = 500;
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
            assert!(steps <= 2 * RULES, "{name}: {steps} steps");
            assert_eq!(few(&acl, &topic), name != "kinds of levels", "{name}");
            assert!(!few(&acl, "other"), "{name}");
        }
    }
}
