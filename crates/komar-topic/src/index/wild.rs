//! Filters with wildcards, by shape: which of their levels are literal, which are `+`, and whether `#` ends them.
//!
//! All filters of one shape are one hash table, keyed by the literal levels. Shapes are few where filters are many, so a
//! lookup asks few tables, and finds out which without leaving the cache of the processor.

use core::hash::BuildHasher;

use hashbrown::HashTable;

use super::level_hash::hash_literals;
use super::shapes::{MANY_LEVELS, Shapes, level_count};
use crate::TopicName;
use crate::matching::matches;
use crate::slab::{NONE, Slab};
use crate::table::{add, take};

/// Numbers of filters. Whoever calls knows their texts.
#[derive(Debug)]
pub(super) struct WildFilters {
    /// The filter `#`, which has no shape.
    everything: u32,
    shapes: Shapes,
    /// Filters of one shape, by the hash of their literal levels. None is empty.
    tables: Slab<HashTable<u32>>,
    /// Filters of [`MANY_LEVELS`] levels or more, by the hash of their literal levels.
    deep: HashTable<u32>,
}

/// Where a filter belongs that is not `#`.
#[derive(Clone, Copy)]
enum Place {
    /// To those of a shape, or to those that have `#` more.
    Shape {
        number: u32,
        multi: bool,
    },
    Deep,
}

/// Tables to be asked, and for which hash: a few at a time, so that memory is waited for together. 1.2 µs a lookup among a
/// million filters became 0.8, and 270 ns among 10,000 became 160 (2026-11-26).
struct Batch {
    questions: [(u32, u64); BATCH],
    count: usize,
}

impl WildFilters {
    pub(super) const fn new() -> WildFilters {
        WildFilters {
            everything: NONE,
            shapes: Shapes::new(),
            tables: Slab::new(),
            deep: HashTable::new(),
        }
    }

    /// The filter that has this text.
    pub(super) fn find<'t, S: BuildHasher>(
        &self,
        hasher: &S,
        filter: &str,
        text_of: impl Fn(u32) -> &'t str,
    ) -> Option<u32> {
        if filter == "#" {
            return (self.everything != NONE).then_some(self.everything);
        }
        let table = self.table(self.place_of(hasher, filter)?)?;
        let is_it = |number: &u32| text_of(*number) == filter;
        table.find(hash_literals(hasher, filter), is_it).copied()
    }

    /// Adds a filter that is not there.
    pub(super) fn insert<'t, S: BuildHasher>(
        &mut self,
        hasher: &S,
        filter: &str,
        number: u32,
        text_of: impl Fn(u32) -> &'t str,
    ) {
        if filter == "#" {
            self.everything = number;
        } else if let Some(table) = self.make_table(hasher, filter) {
            add(table, hash_literals(hasher, filter), number, |number| {
                hash_literals(hasher, text_of(number))
            });
        }
    }

    /// Takes a filter out that is there, and every shape that no filter has then.
    pub(super) fn remove<'t, S: BuildHasher>(
        &mut self,
        hasher: &S,
        filter: &str,
        number: u32,
        text_of: impl Fn(u32) -> &'t str,
    ) {
        if filter == "#" {
            self.everything = NONE;
            return;
        }
        let Some(place) = self.place_of(hasher, filter) else {
            return;
        };
        let Some(table) = self.table_mut(place) else {
            return;
        };
        take(table, hash_literals(hasher, filter), number, |number| {
            hash_literals(hasher, text_of(number))
        });
        if let Place::Shape { number, multi } = place
            && table.is_empty()
            && let Some(shape) = self.shapes.get_mut(number)
        {
            let table = core::mem::replace(shape.table_mut(multi), NONE);
            self.tables.remove(table);
            self.shapes.drop_bare(number);
        }
    }

    /// Calls `found` with the number of every filter that matches. Returns how many shapes were entered, tables asked and
    /// filters looked at one by one.
    #[inline]
    pub(super) fn walk<'t, S: BuildHasher>(
        &self,
        hasher: &S,
        name: TopicName<'_>,
        text_of: impl Fn(u32) -> &'t str,
        mut found: impl FnMut(u32),
    ) -> usize {
        let text = name.as_str();
        let is_it = |number: u32| matches(text_of(number), text);
        let mut cost = 0_usize;
        // v5 [MQTT-4.7.2-1]
        if self.everything != NONE && !name.starts_with_dollar() {
            found(self.everything);
        }
        if !self.deep.is_empty() && level_count(text) >= MANY_LEVELS {
            cost = self.deep.len();
            self.deep
                .iter()
                .filter(|number| is_it(**number))
                .for_each(|number| found(*number));
        }
        if self.shapes.is_empty() {
            return cost;
        }
        let mut batch = Batch::new();
        let entered = self.shapes.walk(hasher, name, |table, hash| {
            cost = cost.wrapping_add(1);
            if batch.is_full() {
                batch.ask(&self.tables, is_it, &mut found);
            }
            batch.add(table, hash);
        });
        batch.ask(&self.tables, is_it, &mut found);
        cost.saturating_add(entered)
    }

    /// `None` if no filter has its shape.
    fn place_of<S: BuildHasher>(&self, hasher: &S, filter: &str) -> Option<Place> {
        if depth_of(filter) >= MANY_LEVELS {
            return Some(Place::Deep);
        }
        let number = self.shapes.find(hasher, filter)?;
        let multi = filter.ends_with('#');
        Some(Place::Shape { number, multi })
    }

    fn table(&self, place: Place) -> Option<&HashTable<u32>> {
        match place {
            Place::Shape { number, multi } => self.tables.get(self.shapes.get(number)?.table(multi)),
            Place::Deep => Some(&self.deep),
        }
    }

    fn table_mut(&mut self, place: Place) -> Option<&mut HashTable<u32>> {
        match place {
            Place::Shape { number, multi } => self.tables.get_mut(self.shapes.get(number)?.table(multi)),
            Place::Deep => Some(&mut self.deep),
        }
    }

    /// Finds or makes the table that a filter belongs to, and its shape.
    fn make_table<S: BuildHasher>(&mut self, hasher: &S, filter: &str) -> Option<&mut HashTable<u32>> {
        if depth_of(filter) >= MANY_LEVELS {
            return Some(&mut self.deep);
        }
        let number = self.shapes.make(hasher, filter)?;
        let table = self.shapes.get_mut(number)?.table_mut(filter.ends_with('#'));
        if *table == NONE {
            *table = self.tables.insert(HashTable::new());
        }
        self.tables.get_mut(*table)
    }
}

impl Batch {
    fn new() -> Batch {
        Batch {
            questions: [(NONE, 0); BATCH],
            count: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.count >= BATCH
    }

    fn add(&mut self, table: u32, hash: u64) {
        if let Some(place) = self.questions.get_mut(self.count) {
            *place = (table, hash);
            self.count = self.count.wrapping_add(1);
        }
    }

    /// Asks all tables, and forgets them.
    fn ask(
        &mut self,
        tables: &Slab<HashTable<u32>>,
        is_it: impl Fn(u32) -> bool,
        mut found: impl FnMut(u32),
    ) {
        let questions = self.questions.get(..self.count).unwrap_or_default();
        self.count = 0;
        // The first in each table whose hash is similar. Nearly always it is the one, or none is.
        let mut similar = [NONE; BATCH];
        for ((table, hash), similar) in questions.iter().zip(&mut similar) {
            let table = tables.get(*table);
            if let Some(number) = table.and_then(|table| table.find(*hash, |_| true)) {
                *similar = *number;
            }
        }
        for ((table, hash), similar) in questions.iter().zip(similar) {
            if similar == NONE {
                continue;
            }
            if is_it(similar) {
                found(similar);
            } else if let Some(table) = tables.get(*table)
                && let Some(number) = table.find(*hash, |number| is_it(*number))
            {
                found(*number);
            }
        }
    }
}

/// How many levels a filter has in front of `#`.
fn depth_of(filter: &str) -> usize {
    level_count(filter).saturating_sub(usize::from(filter.ends_with('#')))
}

const BATCH: usize = 8;
