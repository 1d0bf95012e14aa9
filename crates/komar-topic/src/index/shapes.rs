//! What filters with wildcards look like: which of their levels are literal and which are `+`.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use super::level_hash::{NameLevels, hash_level};
use crate::TopicName;
use crate::slab::{NONE, Slab, widen};

/// All shapes that filters have, `#` left out, as a tree. None has [`MANY_LEVELS`] levels or more.
#[derive(Debug)]
pub(super) struct Shapes {
    /// Shapes of one level, by [`top_of`]. Empty, or [`TOPS`] long.
    tops: Vec<u32>,
    records: Slab<Shape>,
}

/// How one or more filters begin. 24 bytes.
#[derive(Debug)]
pub(super) struct Shape {
    /// The shape without the last level; [`NONE`] if that is its only one.
    parent: u32,
    /// Whether the last level is `+`; it is literal otherwise.
    is_plus: bool,
    /// Where it stands in `tops`, if it does.
    top: u8,
    /// The shape with a literal level more.
    literal: u32,
    /// The shape with `+` more.
    plus: u32,
    /// The table of the filters of this shape.
    pub(super) here: u32,
    /// The table of those that have `#` more.
    pub(super) multi: u32,
}

/// A shape that is still to be entered.
#[derive(Clone, Copy)]
struct Pending {
    shape: u32,
    /// How many levels it has.
    depth: u32,
    /// Of the levels of the name that are literal in it.
    hash: u64,
}

impl Shapes {
    pub(super) const fn new() -> Shapes {
        Shapes {
            tops: Vec::new(),
            records: Slab::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tops.is_empty()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Shape> {
        self.records.get(number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Shape> {
        self.records.get_mut(number)
    }

    /// The shape of a filter without its `#`; `None` if no filter has it.
    pub(super) fn find<S: BuildHasher>(&self, hasher: &S, filter: &str) -> Option<u32> {
        let mut levels = filter.split('/');
        let mut number = *self.tops.get(top_of(hasher, levels.next()?))?;
        for level in levels.filter(|level| *level != "#") {
            number = self.records.get(number)?.below(level == "+");
        }
        Some(number)
    }

    /// Finds or makes the shape of a filter without its `#`.
    pub(super) fn make<S: BuildHasher>(&mut self, hasher: &S, filter: &str) -> Option<u32> {
        let mut levels = filter.split('/');
        let first = levels.next()?;
        let mut number = self.make_top(top_of(hasher, first), first == "+")?;
        for level in levels.filter(|level| *level != "#") {
            number = self.make_below(number, level == "+")?;
        }
        Some(number)
    }

    /// Drops a shape that leads nowhere, and those above it that do not then.
    pub(super) fn drop_bare(&mut self, mut number: u32) {
        while self.records.get(number).is_some_and(Shape::is_bare) {
            let Some(shape) = self.records.remove(number) else {
                return;
            };
            number = shape.parent;
            if let Some(parent) = self.records.get_mut(number) {
                *parent.below_mut(shape.is_plus) = NONE;
            } else if let Some(top) = self.tops.get_mut(widen(shape.top.into())) {
                *top = NONE;
            }
        }
        if self.records.len() == 0 {
            self.tops = Vec::new();
        }
    }

    /// Calls `ask` with every table that may have a filter which matches, and the hash that it would have. Returns how
    /// many shapes were entered.
    ///
    /// A shape has two ways on at the most, the literal level and `+`, and none is entered twice. So there are two bounds:
    /// 2^(n+1) - 2 for a name of n levels, and the shapes that exist, which are fewer than [`MANY_LEVELS`] for a filter.
    #[inline]
    pub(super) fn walk<S: BuildHasher>(
        &self,
        hasher: &S,
        name: TopicName<'_>,
        mut ask: impl FnMut(u32, u64),
    ) -> usize {
        let mut levels = NameLevels::<S, MANY_LEVELS>::new(name.as_str(), hasher);
        // Of a shape's two ways on the literal one is taken first, and the other one waits here: one a level at the most.
        let mut pending = [Pending::NONE; MANY_LEVELS];
        let mut pending_count = 0_usize;
        // v5 [MQTT-4.7.2-1]
        if !name.starts_with_dollar()
            && self.top(PLUS) != NONE
            && let Some(place) = pending.first_mut()
        {
            place.shape = self.top(PLUS);
            place.depth = 1;
            pending_count = 1;
        }
        let Some(first) = levels.get(0) else { return 0 };
        let (mut number, mut depth, mut hash) = (self.top(literal_top(first)), 1_u32, first);
        let mut entered = 0_usize;
        loop {
            if number == NONE {
                pending_count = pending_count.wrapping_sub(1);
                let Some(next) = pending.get(pending_count) else {
                    return entered;
                };
                (number, depth, hash) = (next.shape, next.depth, next.hash);
            }
            let Some(shape) = self.records.get(number) else {
                return entered;
            };
            entered = entered.wrapping_add(1);
            if shape.multi != NONE {
                ask(shape.multi, hash);
            }
            let below = depth.wrapping_add(1);
            match levels.get(widen(depth)) {
                None => {
                    if shape.here != NONE {
                        ask(shape.here, hash);
                    }
                    number = NONE;
                }
                Some(_) if shape.literal == NONE => number = shape.plus,
                Some(level) => {
                    if shape.plus != NONE
                        && let Some(place) = pending.get_mut(pending_count)
                    {
                        let shape = shape.plus;
                        *place = Pending {
                            shape,
                            depth: below,
                            hash,
                        };
                        pending_count = pending_count.wrapping_add(1);
                    }
                    number = shape.literal;
                    hash ^= level;
                }
            }
            depth = below;
        }
    }

    fn top(&self, place: usize) -> u32 {
        self.tops.get(place).copied().unwrap_or(NONE)
    }

    fn make_top(&mut self, top: usize, is_plus: bool) -> Option<u32> {
        if self.tops.is_empty() {
            self.tops.resize(TOPS, NONE);
        }
        let known = self.tops.get_mut(top)?;
        if *known == NONE {
            *known = self.records.insert(Shape {
                top: u8::try_from(top).ok()?,
                ..Shape::new(NONE, is_plus)
            });
        }
        Some(*known)
    }

    /// Finds or makes the shape of one level more.
    fn make_below(&mut self, parent: u32, is_plus: bool) -> Option<u32> {
        let known = self.records.get(parent)?.below(is_plus);
        if known != NONE {
            return Some(known);
        }
        let number = self.records.insert(Shape::new(parent, is_plus));
        *self.records.get_mut(parent)?.below_mut(is_plus) = number;
        Some(number)
    }
}

impl Shape {
    const fn new(parent: u32, is_plus: bool) -> Shape {
        Shape {
            parent,
            is_plus,
            top: 0,
            literal: NONE,
            plus: NONE,
            here: NONE,
            multi: NONE,
        }
    }

    const fn below(&self, is_plus: bool) -> u32 {
        if is_plus { self.plus } else { self.literal }
    }

    const fn below_mut(&mut self, is_plus: bool) -> &mut u32 {
        if is_plus {
            &mut self.plus
        } else {
            &mut self.literal
        }
    }

    pub(super) const fn table(&self, multi: bool) -> u32 {
        if multi { self.multi } else { self.here }
    }

    pub(super) const fn table_mut(&mut self, multi: bool) -> &mut u32 {
        if multi { &mut self.multi } else { &mut self.here }
    }

    /// Whether no filter has this shape or goes on from it.
    const fn is_bare(&self) -> bool {
        self.literal == NONE && self.plus == NONE && self.here == NONE && self.multi == NONE
    }
}

impl Pending {
    const NONE: Pending = Pending {
        shape: NONE,
        depth: 0,
        hash: 0,
    };
}

/// Where the shape stands in `tops` that begins with a level: those with `+` last, those with a literal by its hash, so
/// that a lookup leaves most shapes alone that other names have.
fn top_of<S: BuildHasher>(hasher: &S, level: &str) -> usize {
    if level == "+" {
        return PLUS;
    }
    literal_top(hash_level(hasher, 0, level.as_bytes()))
}

/// Six bits that the tables do not use: all filters of a shape have them in common. The top seven are the tag by which a
/// table tells apart what is in one group, the low ones choose the group. A name that matches none of a million filters
/// `device-N/#` took 1,113 ns with the top six bits, 68 with these (2026-11-26).
fn literal_top(hash: u64) -> usize {
    usize::try_from((hash >> 40) & 63).unwrap_or(0)
}

/// How many levels a text has.
pub(super) fn level_count(text: &str) -> usize {
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    slashes.saturating_add(1)
}

/// As many as [`literal_top`] tells apart, and one more.
const TOPS: usize = PLUS + 1;
const PLUS: usize = 64;

/// Filters of as many levels have no shape. Every level of a filter may be a shape of its own, so that more of them would
/// make shapes dearer than to look at the filters one by one: 10,000 of 200 levels of `+` or `x`, drawn at random, took
/// 56 ms a lookup as shapes, and 25 one by one (2026-11-26). Small, too, so that the lists of a walk are.
pub(super) const MANY_LEVELS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_small() {
        assert_eq!(size_of::<Shape>(), 24);
        assert_eq!(size_of::<Option<Shape>>(), 24);
    }

    #[test]
    fn tops_take_no_bits_from_the_tables() {
        for bit in (0..32).chain(57..64) {
            assert_eq!(literal_top(1 << bit), 0, "bit {bit}");
        }
        assert_eq!(literal_top(u64::MAX), PLUS - 1);
    }

    #[test]
    fn shapes_go_with_their_last_filter() {
        // Fixed, so that the first levels have different tops.
        let hasher = foldhash::quality::FixedState::default();
        let mut shapes = Shapes::new();
        let deep = ["x/"; 20].concat() + "+";
        for filter in ["a/+", "+", "+/#", "b/+/c/#", &deep] {
            let number = shapes.make(&hasher, filter).unwrap();
            shapes.get_mut(number).unwrap().here = 7;
            assert_eq!(shapes.find(&hasher, filter), Some(number));
        }
        assert_eq!(shapes.records.len(), 2 + 1 + 3 + 21);
        for filter in ["a/+", "+", "b/+/c/#", &deep] {
            let number = shapes.find(&hasher, filter).unwrap();
            shapes.get_mut(number).unwrap().here = NONE;
            shapes.drop_bare(number);
        }
        assert!(shapes.is_empty() && shapes.records.len() == 0);
    }
}
