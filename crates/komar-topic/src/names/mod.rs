//! Many names, one walk by filter.

mod order;
mod pattern;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use self::order::{Order, Place, compare, is_below};
use self::pattern::{Step, literal_prefix, step};
use crate::slab::Slab;
use crate::table::{add, hash_text, take};
use crate::{Stripes, TopicFilter, TopicName};

/// Values by Topic Name, walked by Topic Filter in a stable order. What a broker keeps retained messages in.
///
/// One name is found by its hash. All names stand in one sorted list, in which a name and everything below it are
/// neighbours, so that a walk jumps over what cannot match; the order is by bytes, the slash before all others.
///
/// # Cost
///
/// Reading and replacing a value takes one hash of the name. A new name and a removal take a binary search besides, and
/// so does a jump. Whatever goes over many names does so in slices of as many as the caller says.
///
/// A new name takes that time amortized: when the hash table grows, all names are hashed again, at once. Memory is given
/// back: tables and lists as names go, records in blocks, when all of a block have gone. When the last name has gone,
/// nothing is left.
pub struct NameTree<V, S = DefaultHashBuilder> {
    hasher: S,
    records: Slab<Record<V>>,
    by_name: HashTable<u32>,
    order: Order,
}

struct Record<V> {
    name: Box<str>,
    value: V,
}

/// Where a walk stopped. Owns the last name that it has passed, so that the tree may change before it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// `None`: no name was passed.
    last: Option<Box<str>>,
    /// Where to look first for the name behind it.
    hint: Place,
}

/// What one call of [`NameTree::retain`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// How many names were taken out.
    pub removed: usize,
    /// What became stale, if any was.
    pub stripes: Stripes,
}

#[cfg(feature = "default-hasher")]
impl<V> NameTree<V> {
    /// An empty tree.
    pub fn new() -> NameTree<V> {
        NameTree::with_hasher(DefaultHashBuilder::default())
    }
}

impl<V, S: BuildHasher + Default> Default for NameTree<V, S> {
    fn default() -> NameTree<V, S> {
        NameTree::with_hasher(S::default())
    }
}

impl<V, S> NameTree<V, S> {
    /// An empty tree that hashes names with `hasher`. Where strangers choose the names it should be keyed.
    pub const fn with_hasher(hasher: S) -> NameTree<V, S> {
        NameTree {
            hasher,
            records: Slab::new(),
            by_name: HashTable::new(),
            order: Order::new(),
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All names and values, in the order of [`walk`](NameTree::walk).
    pub fn iter(&self) -> Iter<'_, V> {
        Iter {
            records: &self.records,
            order: &self.order,
            place: self.order.start(),
        }
    }
}

impl<V, S: BuildHasher> NameTree<V, S> {
    /// Puts a value under a name. Returns the one that it replaces, and what became stale.
    ///
    /// # Panics
    /// Above two thousand million names.
    pub fn insert(&mut self, name: TopicName<'_>, value: V) -> (Option<V>, Stripes) {
        (self.put(name.as_str(), value), name.stripes())
    }

    fn put(&mut self, name: &str, value: V) -> Option<V> {
        let hash = hash_text(&self.hasher, name);
        if let Some(record) = self
            .find(hash, name)
            .and_then(|number| self.records.get_mut(number))
        {
            return Some(core::mem::replace(&mut record.value, value));
        }
        let number = self.records.insert(Record {
            name: name.into(),
            value,
        });
        let (hasher, records) = (&self.hasher, &self.records);
        add(&mut self.by_name, hash, number, |number| {
            rehash(hasher, records, number)
        });
        self.order
            .insert(number, |other| compare(name_of(records, other), name).is_lt());
        None
    }

    /// The value under a name.
    pub fn get(&self, name: TopicName<'_>) -> Option<&V> {
        let number = self.find(hash_text(&self.hasher, name.as_str()), name.as_str())?;
        self.records.get(number).map(|record| &record.value)
    }

    /// The value under a name, to be changed in place.
    ///
    /// If the change concerns what walks find, use [`insert`](NameTree::insert), which says what became stale.
    pub fn get_mut(&mut self, name: TopicName<'_>) -> Option<&mut V> {
        let number = self.find(hash_text(&self.hasher, name.as_str()), name.as_str())?;
        self.records.get_mut(number).map(|record| &mut record.value)
    }

    /// Takes a name out. Returns its value and what became stale, or `None` if there is no such name.
    pub fn remove(&mut self, name: TopicName<'_>) -> Option<(V, Stripes)> {
        let hash = hash_text(&self.hasher, name.as_str());
        let number = self.find(hash, name.as_str())?;
        let records = &self.records;
        let place = self
            .order
            .seek(|other| compare(name_of(records, other), name.as_str()).is_lt());
        let (value, _) = self.remove_at(place, number)?;
        Some((value, name.stripes()))
    }

    /// Takes a name and everything below it out, `budget` names at the most: when it returns fewer, none is left.
    pub fn remove_prefix(&mut self, top: TopicName<'_>, budget: usize) -> (usize, Stripes) {
        let mut removed = 0_usize;
        let records = &self.records;
        let mut place = self
            .order
            .seek(|other| compare(name_of(records, other), top.as_str()).is_lt());
        while removed < budget
            && let Some(number) = self.order.get(place)
            && is_below(name_of(&self.records, number), top.as_str())
            && let Some((_, behind)) = self.remove_at(place, number)
        {
            place = behind;
            removed = removed.saturating_add(1);
        }
        (removed, Stripes::of_names_below(top.as_str()))
    }

    /// Takes those names out that match `filter` and for which `keep` says no. Goes on from where an earlier call
    /// stopped and looks at `budget` names at the most, as [`walk`](NameTree::walk) does.
    pub fn retain(
        &mut self,
        filter: TopicFilter<'_>,
        after: Option<&Cursor>,
        budget: usize,
        mut keep: impl FnMut(TopicName<'_>, &mut V) -> bool,
    ) -> Retained {
        let before = self.len();
        let mut found = Vec::new();
        let next = self.walk_numbers(filter, after, budget, |number| found.push(number));
        for number in found {
            let Some(record) = self.records.get_mut(number) else {
                continue;
            };
            if keep(TopicName::from_checked(&record.name), &mut record.value) {
                continue;
            }
            let records = &self.records;
            let name = name_of(records, number);
            let place = self
                .order
                .seek(|other| compare(name_of(records, other), name).is_lt());
            self.remove_at(place, number);
        }
        Retained {
            next,
            removed: before.saturating_sub(self.len()),
            stripes: Stripes::of_names_below(filter.as_str()),
        }
    }

    /// Calls `visit` with the names that match `filter`, in order, from the first or from where an earlier walk stopped.
    ///
    /// Looks at `budget` names at the most, those that do not match included, and returns a cursor to go on with, or
    /// `None` at the end. The tree may be changed between two walks: a name that is there all the time is visited once.
    /// A cursor goes on with the filter that it came from.
    pub fn walk<'s>(
        &'s self,
        filter: TopicFilter<'_>,
        after: Option<&Cursor>,
        budget: usize,
        mut visit: impl FnMut(TopicName<'s>, &'s V),
    ) -> Option<Cursor> {
        self.walk_numbers(filter, after, budget, |number| {
            if let Some(record) = self.records.get(number) {
                visit(TopicName::from_checked(&record.name), &record.value);
            }
        })
    }

    fn walk_numbers(
        &self,
        filter: TopicFilter<'_>,
        after: Option<&Cursor>,
        budget: usize,
        mut hit: impl FnMut(u32),
    ) -> Option<Cursor> {
        let filter_text = filter.as_str();
        let last = after.and_then(|cursor| cursor.last.as_deref());
        if budget > 0 && last.is_none() && !filter.has_wildcard() {
            self.find(hash_text(&self.hasher, filter_text), filter_text)
                .into_iter()
                .for_each(hit);
            return None;
        }
        let records = &self.records;
        let mut place = match after.and_then(|cursor| cursor.last.as_deref().map(|last| (cursor.hint, last)))
        {
            Some((hint, last)) => self.behind(hint, last),
            None => {
                let prefix = literal_prefix(filter_text);
                self.order
                    .seek(|number| compare(name_of(records, number), prefix).is_lt())
            }
        };
        let mut target = String::new();
        let mut left = budget;
        while left > 0 {
            let number = self.order.get(place)?;
            let name = name_of(records, number);
            left = left.saturating_sub(1);
            let next = self.order.next(place);
            // The texts of a run are not read, only those where it may end: 29 ns a name instead of 97 for `#` over a
            // million names that came in random order (2026-11-24).
            let run = |below: &dyn Fn(&str) -> bool| {
                self.order.run(place, left.saturating_add(1), |number| {
                    below(name_of(records, number))
                })
            };
            let run = match step(filter_text, name) {
                Step::Hit => run(&|_| false),
                Step::HitBelow(top) => run(&|name| is_below(name, top)),
                Step::HitUpTo(end) => run(&|name| compare(name, end).is_lt()),
                Step::HitAll => run(&|_| true),
                Step::Next => {
                    place = next;
                    continue;
                }
                Step::End => return None,
                Step::To { prefix, level } => {
                    target.clear();
                    target.extend([prefix, level]);
                    place = self.seek_after(next, |name| compare(name, &target).is_lt());
                    continue;
                }
                Step::Past(top) => {
                    place = self.seek_after(next, |name| is_below(name, top));
                    continue;
                }
            };
            run.iter().for_each(|number| hit(*number));
            left = left.saturating_add(1).saturating_sub(run.len());
            place = self.order.advance(place, run.len());
        }
        self.order.get(place)?;
        // Also what was jumped over is passed: it does not match, and a name that comes between later and matches stands
        // behind it.
        let passed = self.order.previous(place);
        Some(Cursor {
            last: passed.map(|number| name_of(records, number).into()),
            hint: place,
        })
    }

    /// The place behind a name that was passed.
    fn behind(&self, hint: Place, last: &str) -> Place {
        let records = &self.records;
        match self.order.previous(hint) {
            // The number behind it may have gone, so that its chunk ends there.
            Some(number) if name_of(records, number) == last => self.order.advance(hint, 0),
            _ => self
                .order
                .seek(|number| compare(name_of(records, number), last).is_le()),
        }
    }

    /// The first place from `place` on whose name is not `before`: often close by.
    fn seek_after(&self, place: Place, before: impl Fn(&str) -> bool) -> Place {
        self.order
            .seek_after(place, |number| before(name_of(&self.records, number)))
    }

    fn find(&self, hash: u64, name: &str) -> Option<u32> {
        let is_it = |number: &u32| name_of(&self.records, *number) == name;
        self.by_name.find(hash, is_it).copied()
    }

    /// Takes the record out that stands at `place`. Returns its value, and where the one behind it stands then.
    fn remove_at(&mut self, place: Place, number: u32) -> Option<(V, Place)> {
        let (hasher, records) = (&self.hasher, &self.records);
        let (_, behind) = self.order.remove(place)?;
        take(
            &mut self.by_name,
            rehash(hasher, records, number),
            number,
            |number| rehash(hasher, records, number),
        );
        let record = self.records.remove(number)?;
        Some((record.value, behind))
    }
}

impl<V, S> fmt::Debug for NameTree<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameTree")
            .field("names", &self.len())
            .finish_non_exhaustive()
    }
}

/// Iterator over all names and values of a [`NameTree`].
pub struct Iter<'s, V> {
    records: &'s Slab<Record<V>>,
    order: &'s Order,
    place: Place,
}

impl<'s, V> Iterator for Iter<'s, V> {
    type Item = (TopicName<'s>, &'s V);

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.get(self.order.get(self.place)?)?;
        self.place = self.order.next(self.place);
        Some((TopicName::from_checked(&record.name), &record.value))
    }
}

impl<'s, V, S> IntoIterator for &'s NameTree<V, S> {
    type Item = (TopicName<'s>, &'s V);
    type IntoIter = Iter<'s, V>;

    fn into_iter(self) -> Iter<'s, V> {
        self.iter()
    }
}

impl<V> fmt::Debug for Iter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

fn name_of<V>(records: &Slab<Record<V>>, number: u32) -> &str {
    records.get(number).map_or("", |record| &record.name)
}

fn rehash<V, S: BuildHasher>(hasher: &S, records: &Slab<Record<V>>, number: u32) -> u64 {
    hash_text(hasher, name_of(records, number))
}
