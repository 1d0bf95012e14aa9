//! The entries of one filter: one, or many side by side.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::slab::{narrow, widen};

/// The plain entries of a filter and its shared groups.
#[derive(Debug)]
pub(super) enum FilterEntries<T> {
    Empty,
    /// What most filters have; `slot` is where its Handle points to.
    One {
        slot: u32,
        value: T,
    },
    Many(Box<Many<T>>),
}

#[derive(Debug)]
pub(super) struct Many<T> {
    pub(super) plain: Members<T>,
    /// Numbers of the groups.
    pub(super) groups: Vec<u32>,
}

/// Values side by side, each with the slot that its Handle points to.
#[derive(Debug)]
pub(super) struct Members<T> {
    values: Vec<T>,
    slots: Vec<u32>,
}

impl<T> FilterEntries<T> {
    /// Adds a plain entry and returns its place.
    pub(super) fn push(&mut self, slot: u32, value: T) -> u32 {
        if matches!(self, FilterEntries::Empty) {
            *self = FilterEntries::One { slot, value };
            return 0;
        }
        self.make_many().plain.push(slot, value)
    }

    /// Takes a plain entry out. The second value is the slot of the entry that stands at `place` now.
    pub(super) fn remove(&mut self, place: u32) -> Option<(T, Option<u32>)> {
        match self {
            FilterEntries::Empty => None,
            FilterEntries::One { .. } => match core::mem::replace(self, FilterEntries::Empty) {
                FilterEntries::One { value, .. } => Some((value, None)),
                _ => None,
            },
            FilterEntries::Many(many) => {
                let removed = many.plain.remove(place);
                self.make_few();
                removed
            }
        }
    }

    pub(super) fn values(&self) -> &[T] {
        match self {
            FilterEntries::Empty => &[],
            FilterEntries::One { value, .. } => core::slice::from_ref(value),
            FilterEntries::Many(many) => &many.plain.values,
        }
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self {
            FilterEntries::Empty => None,
            FilterEntries::One { value, .. } => Some(value),
            FilterEntries::Many(many) => many.plain.get_mut(place),
        }
    }

    pub(super) fn groups(&self) -> &[u32] {
        match self {
            FilterEntries::Many(many) => &many.groups,
            _ => &[],
        }
    }

    /// Adds a group and returns its place.
    pub(super) fn add_group(&mut self, group: u32) -> u32 {
        let groups = &mut self.make_many().groups;
        let place = narrow(groups.len());
        if groups.is_empty() {
            // Nearly always the only one.
            groups.reserve_exact(1);
        }
        groups.push(group);
        place
    }

    /// Takes a group out. Returns the group that stands at `place` now.
    pub(super) fn remove_group(&mut self, place: u32) -> Option<u32> {
        let FilterEntries::Many(many) = self else {
            return None;
        };
        let place = widen(place);
        if place < many.groups.len() {
            many.groups.swap_remove(place);
            shrink(&mut many.groups);
        }
        let moved = many.groups.get(place).copied();
        self.make_few();
        moved
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, FilterEntries::Empty)
    }

    fn make_many(&mut self) -> &mut Many<T> {
        if !matches!(self, FilterEntries::Many(_)) {
            let mut plain = Members::new();
            if let FilterEntries::One { slot, value } = core::mem::replace(self, FilterEntries::Empty) {
                plain.push(slot, value);
            }
            *self = FilterEntries::Many(Box::new(Many {
                plain,
                groups: Vec::new(),
            }));
        }
        match self {
            FilterEntries::Many(many) => many,
            _ => unreachable!("made above"),
        }
    }

    /// Goes back to the small forms where they do.
    fn make_few(&mut self) {
        let FilterEntries::Many(many) = self else { return };
        if !many.groups.is_empty() || many.plain.values.len() > 1 {
            return;
        }
        *self = match (many.plain.slots.pop(), many.plain.values.pop()) {
            (Some(slot), Some(value)) => FilterEntries::One { slot, value },
            _ => FilterEntries::Empty,
        };
    }
}

impl<T> Members<T> {
    pub(super) const fn new() -> Members<T> {
        Members {
            values: Vec::new(),
            slots: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, slot: u32, value: T) -> u32 {
        let place = narrow(self.values.len());
        if place < 2 {
            // Few owners of one filter are the rule where there is more than one.
            self.values.reserve_exact(1);
            self.slots.reserve_exact(1);
        }
        self.values.push(value);
        self.slots.push(slot);
        place
    }

    /// As [`FilterEntries::remove`].
    pub(super) fn remove(&mut self, place: u32) -> Option<(T, Option<u32>)> {
        let place = widen(place);
        if place >= self.values.len() || place >= self.slots.len() {
            return None;
        }
        let value = self.values.swap_remove(place);
        self.slots.swap_remove(place);
        shrink(&mut self.values);
        shrink(&mut self.slots);
        Some((value, self.slots.get(place).copied()))
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.values.get_mut(widen(place))
    }

    pub(super) fn values(&self) -> &[T] {
        &self.values
    }
}

/// Gives back what a list no longer needs, seldom enough not to matter.
fn shrink<R>(list: &mut Vec<R>) {
    if list.capacity() > 8 && list.len() < list.capacity() >> 2 {
        list.shrink_to(list.len().saturating_mul(2));
    }
}
