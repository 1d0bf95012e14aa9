//! Numbers of names in the order of the names, in chunks.
//!
//! The order of names is by bytes with the slash below every other byte, so that a name and all that is below it stand
//! side by side.

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::matching::common_prefix;

/// A sorted list of numbers. It does not know the names; callers bring them as predicates.
#[derive(Debug)]
pub(super) struct Order {
    /// None is empty, none is longer than [`CHUNK`].
    chunks: Vec<Vec<u32>>,
}

/// A place in the list. Void once the list changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    chunk: usize,
    offset: usize,
}

const CHUNK: usize = 512;

impl Order {
    pub(super) const fn new() -> Order {
        Order { chunks: Vec::new() }
    }

    pub(super) fn get(&self, place: Place) -> Option<u32> {
        self.chunks.get(place.chunk)?.get(place.offset).copied()
    }

    pub(super) fn start(&self) -> Place {
        Place { chunk: 0, offset: 0 }
    }

    /// The number in front of a place.
    pub(super) fn previous(&self, place: Place) -> Option<u32> {
        match place.offset.checked_sub(1) {
            Some(offset) => self.chunks.get(place.chunk)?.get(offset).copied(),
            None => self.chunks.get(place.chunk.checked_sub(1)?)?.last().copied(),
        }
    }

    /// The place behind this one.
    pub(super) fn next(&self, place: Place) -> Place {
        self.advance(place, 1)
    }

    /// The place behind `count` numbers of one [`run`](Order::run).
    pub(super) fn advance(&self, place: Place, count: usize) -> Place {
        let offset = place.offset.saturating_add(count);
        if self
            .chunks
            .get(place.chunk)
            .is_some_and(|chunk| offset < chunk.len())
        {
            Place {
                chunk: place.chunk,
                offset,
            }
        } else {
            Place {
                chunk: place.chunk.saturating_add(1),
                offset: 0,
            }
        }
    }

    /// The first place whose number is not `before`; those that are come first in the list.
    pub(super) fn seek(&self, mut before: impl FnMut(u32) -> bool) -> Place {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(|number| before(*number)));
        self.seek_in(chunk, 0, before)
    }

    /// As [`seek`](Order::seek), where the answer is at `from` or behind, and probably close to it.
    pub(super) fn seek_after(&self, from: Place, mut before: impl FnMut(u32) -> bool) -> Place {
        let Some(chunk) = self.chunks.get(from.chunk) else {
            return from;
        };
        let near = gallop(chunk.get(from.offset..).unwrap_or_default(), |number| {
            before(*number)
        });
        let offset = from.offset.saturating_add(near);
        if offset < chunk.len() {
            return Place {
                chunk: from.chunk,
                offset,
            };
        }
        let behind = from.chunk.saturating_add(1);
        let far = gallop(self.chunks.get(behind..).unwrap_or_default(), |chunk| {
            chunk.last().is_some_and(|number| before(*number))
        });
        self.seek_in(behind.saturating_add(far), 0, before)
    }

    /// Numbers from `from` on, as long as they are `within`: `limit` at the most, and one at least. May end early.
    pub(super) fn run(&self, from: Place, limit: usize, mut within: impl FnMut(u32) -> bool) -> &[u32] {
        let rest = self
            .chunks
            .get(from.chunk)
            .and_then(|chunk| chunk.get(from.offset..))
            .unwrap_or_default();
        let rest = rest.get(..limit).unwrap_or(rest);
        let length = gallop(rest, |number| within(*number)).max(1);
        rest.get(..length).unwrap_or(rest)
    }

    /// Adds a number behind those that are `before` it.
    pub(super) fn insert(&mut self, number: u32, before: impl FnMut(u32) -> bool) {
        let mut place = self.seek(before);
        if place.chunk >= self.chunks.len() {
            // Behind everything: at the end of the last chunk, or in a new one, so that chunks filled in order are full.
            match self.chunks.last() {
                Some(last) if last.len() < CHUNK => {
                    place = Place {
                        chunk: self.chunks.len().saturating_sub(1),
                        offset: last.len(),
                    };
                }
                _ => self.chunks.push(Vec::new()),
            }
        }
        if self
            .chunks
            .get(place.chunk)
            .is_some_and(|chunk| chunk.len() >= CHUNK)
        {
            place = self.split(place);
        }
        if let Some(chunk) = self.chunks.get_mut(place.chunk) {
            chunk.insert(place.offset.min(chunk.len()), number);
        }
    }

    /// Takes the number out that stands at `place`. Returns it, and where the one behind it stands then.
    pub(super) fn remove(&mut self, mut place: Place) -> Option<(u32, Place)> {
        let chunk = self.chunks.get_mut(place.chunk)?;
        if place.offset >= chunk.len() {
            return None;
        }
        let number = chunk.remove(place.offset);
        if chunk.len() < CHUNK >> 2 {
            place = self.merge(place);
        }
        // It may have been the last of its chunk.
        Some((number, self.advance(place, 0)))
    }

    fn seek_in(&self, chunk: usize, offset: usize, mut before: impl FnMut(u32) -> bool) -> Place {
        let Some(numbers) = self.chunks.get(chunk) else {
            return Place { chunk, offset: 0 };
        };
        let rest = numbers.get(offset..).unwrap_or_default();
        let offset = offset.saturating_add(rest.partition_point(|number| before(*number)));
        if offset < numbers.len() {
            Place { chunk, offset }
        } else {
            Place {
                chunk: chunk.saturating_add(1),
                offset: 0,
            }
        }
    }

    /// Divides a full chunk in two. Returns where `place` is then.
    fn split(&mut self, place: Place) -> Place {
        let Some(chunk) = self.chunks.get_mut(place.chunk) else {
            return place;
        };
        let upper = chunk.split_off(CHUNK >> 1);
        self.chunks.insert(place.chunk.saturating_add(1), upper);
        match place.offset.checked_sub(CHUNK >> 1) {
            Some(offset) if offset > 0 => Place {
                chunk: place.chunk.saturating_add(1),
                offset,
            },
            _ => place,
        }
    }

    /// Joins the chunk of `place`, which has become small, with a neighbour, if that leaves room; drops it if it is empty.
    /// Returns where `place` is then.
    fn merge(&mut self, place: Place) -> Place {
        let small = place.chunk;
        let length = |chunk: Option<usize>| {
            chunk
                .and_then(|chunk| self.chunks.get(chunk))
                .map_or(CHUNK, Vec::len)
        };
        let here = length(Some(small));
        let (before, behind) = (small.checked_sub(1), small.checked_add(1));
        let fits = |neighbour| here.saturating_add(length(neighbour)) <= CHUNK >> 1;
        let mut after = place;
        if here == 0 {
            self.chunks.remove(small);
        } else if fits(behind) {
            self.join(small);
        } else if let Some(before) = before.filter(|before| fits(Some(*before))) {
            after = Place {
                chunk: before,
                offset: length(Some(before)).saturating_add(place.offset),
            };
            self.join(before);
        } else if let Some(chunk) = self.chunks.get_mut(small)
            && chunk.len() < chunk.capacity() >> 2
        {
            chunk.shrink_to(here.saturating_mul(2));
        }
        if self.chunks.is_empty() {
            self.chunks = Vec::new();
        } else if self.chunks.len() < self.chunks.capacity() >> 2 {
            self.chunks.shrink_to(self.chunks.len().saturating_mul(2));
        }
        after
    }

    /// Moves what the next chunk has to the end of this one.
    fn join(&mut self, chunk: usize) {
        let mut moved = self.chunks.remove(chunk.saturating_add(1));
        if let Some(chunk) = self.chunks.get_mut(chunk) {
            chunk.append(&mut moved);
        }
    }
}

/// How many items come first in a list for which `before` is true; quick if they are few.
fn gallop<X>(list: &[X], mut before: impl FnMut(&X) -> bool) -> usize {
    let (mut low, mut step) = (0_usize, 1_usize);
    loop {
        // Everything below `low` is before, and `probe` is the next to ask about.
        let probe = low.saturating_add(step).saturating_sub(1);
        match list.get(probe) {
            Some(item) if before(item) => low = probe.saturating_add(1),
            _ => {
                let range = list.get(low..probe.min(list.len())).unwrap_or_default();
                return low.saturating_add(range.partition_point(before));
            }
        }
        step = step.saturating_mul(8);
    }
}

/// The order of names.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let equal = common_prefix(one, other);
    rank(one.get(equal)).cmp(&rank(other.get(equal)))
}

/// Whether a name is `top` or below it.
pub(super) fn is_below(name: &str, top: &str) -> bool {
    name.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn rank(byte: Option<&u8>) -> u16 {
    match byte {
        None => 0,
        Some(b'/') => 1,
        Some(byte) => u16::from(*byte).saturating_add(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_stands_together() {
        let sorted = [
            "", "/", "/a", "a", "a/", "a//b", "a/b", "a/b/c", "a/c", "a b", "a!", "a\u{1}",
        ];
        let mut names = sorted;
        names.sort_by(|a, b| compare(a, b));
        let below: alloc::vec::Vec<bool> = names.iter().map(|name| is_below(name, "a")).collect();
        let first = below.iter().position(|is| *is).unwrap();
        let last = below.iter().rposition(|is| *is).unwrap();
        assert!(below[first..=last].iter().all(|is| *is), "{names:?}");
        assert_eq!(last - first, 5);
    }

    #[test]
    fn stays_sorted_through_inserts_and_removals() {
        for step in [1_u32, 4_999, 7_919] {
            let mut order = Order::new();
            let numbers: alloc::vec::Vec<u32> = (0..10_007).map(|n| n * step % 10_007).collect();
            for number in &numbers {
                order.insert(*number, |other| other < *number);
            }
            assert!(order.chunks.iter().flatten().copied().eq(0..10_007));
            assert!(
                order
                    .chunks
                    .iter()
                    .all(|chunk| (1..=CHUNK).contains(&chunk.len()))
            );
            for target in [0_u32, 1, 511, 512, 513, 5_000, 10_006, 10_007] {
                let sought = order.seek(|number| number < target);
                for from in [0, target / 2, target] {
                    let from = order.seek(|number| number < from);
                    assert_eq!(order.seek_after(from, |number| number < target), sought);
                }
                assert_eq!(order.get(sought), (target < 10_007).then_some(target));
            }
            for number in &numbers {
                let place = order.seek(|other| other < *number);
                let (removed, behind) = order.remove(place).unwrap();
                let sought = order.seek(|other| other < *number);
                assert_eq!((removed, order.get(behind)), (*number, order.get(sought)));
            }
            assert_eq!(order.chunks.capacity(), 0);
        }
    }

    /// Whatever the order is in which nine of ten go.
    #[test]
    fn what_is_left_stands_close() {
        let going = |number: &u32| !number.is_multiple_of(10);
        let up: alloc::vec::Vec<u32> = (0..10_000).filter(going).collect();
        let down = up.iter().rev().copied().collect();
        let mixed = (0..10_000).map(|n| n * 7_919 % 10_000).filter(going).collect();
        for numbers in [up, down, mixed] {
            let mut order = Order::new();
            (0..10_000).for_each(|number| order.insert(number, |other| other < number));
            for number in &numbers {
                let place = order.seek(|other| other < *number);
                order.remove(place).unwrap();
            }
            assert!(order.chunks.iter().flatten().copied().eq((0..10_000).step_by(10)));
            let capacity: usize = order.chunks.iter().map(Vec::capacity).sum();
            assert!(order.chunks.len() <= 1_000 / 64, "{} chunks", order.chunks.len());
            assert!(capacity <= 4 * 1_000, "place for {capacity}");
        }
    }
}
