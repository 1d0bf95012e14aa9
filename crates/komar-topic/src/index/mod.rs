//! Many filters, one lookup by name.

mod entries;
mod found;
mod group;
mod handle;
mod text;
mod walk;
mod wild;

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::hash::BuildHasher;
use core::num::NonZeroU32;

use hashbrown::{DefaultHashBuilder, HashTable};

use self::entries::FilterEntries;
use self::group::Groups;
use self::wild::{End, WildTree};
use crate::shared::SHARE;
use crate::slab::{NONE, Slab};
use crate::stripe::stripe_of_filter;
use crate::table::{add, hash_text, take};
use crate::{Stripe, SubscriptionFilter, TopicFilter, TopicName};

pub use self::found::{Entries, Group, GroupId, Match};
pub use self::handle::Handle;

/// Entries by Topic Filter; a lookup by Topic Name finds every entry whose filter matches.
///
/// An entry is one value of one owner, and its key is the [`Handle`] that [`insert`](FilterIndex::insert) returned.
/// The same filter may be inserted any number of times, and its text is kept once. What belongs to a shared
/// subscription is found as a [`Group`] with its members.
///
/// # Cost
///
/// - Filters without a wildcard are one hash table: a lookup hashes the name once, however many there are.
/// - Filters with wildcards are a tree. A lookup enters at most the nodes that exist, and at most 2^(n+1) - 1 for a name
///   of n levels: those whose path matches the beginning of the name. [`lookup_cost`](FilterIndex::lookup_cost) counts
///   them. It neither allocates nor recurses.
/// - Insert and remove take time in the length of the filter. Memory is given back.
///
/// Keep filters within [`TopicLimits`](crate::TopicLimits): what is deeper than 256 levels is slower to look up.
pub struct FilterIndex<T, S = DefaultHashBuilder> {
    hasher: S,
    filters: Slab<Filter<T>>,
    /// Filters without a wildcard, by their text.
    exact: HashTable<u32>,
    /// The others.
    wild: WildTree,
    groups: Groups<T>,
    /// What a Handle points to. Every entry has one.
    slots: Slab<Slot>,
    last_generation: u32,
    shared_count: usize,
}

/// All entries of one filter. Exists while it has one.
struct Filter<T> {
    home: Home,
    entries: FilterEntries<T>,
}

/// Where the text of a filter is.
enum Home {
    Exact(Box<str>),
    Wild(End),
}

/// Where the entry of a Handle is. 12 bytes.
struct Slot {
    generation: NonZeroU32,
    /// A filter's number, or a group's and [`IN_GROUP`].
    owner: u32,
    /// Among the owner's values.
    place: u32,
}

const IN_GROUP: u32 = 1 << 31;

#[cfg(feature = "default-hasher")]
impl<T> FilterIndex<T> {
    /// An empty index.
    pub fn new() -> FilterIndex<T> {
        FilterIndex::with_hasher(DefaultHashBuilder::default())
    }
}

impl<T, S: BuildHasher + Default> Default for FilterIndex<T, S> {
    fn default() -> FilterIndex<T, S> {
        FilterIndex::with_hasher(S::default())
    }
}

impl<T, S> FilterIndex<T, S> {
    /// An empty index that hashes texts with `hasher`. Where strangers choose the texts it should be keyed.
    pub const fn with_hasher(hasher: S) -> FilterIndex<T, S> {
        FilterIndex {
            hasher,
            filters: Slab::new(),
            exact: HashTable::new(),
            wild: WildTree::new(),
            groups: Groups::new(),
            slots: Slab::new(),
            last_generation: 0,
            shared_count: 0,
        }
    }

    /// How many entries there are, those of shared subscriptions included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries belong to shared subscriptions.
    pub fn shared_len(&self) -> usize {
        self.shared_count
    }

    /// How many different filters there are. Shared subscriptions count with the filter behind the Share Name.
    pub fn filter_count(&self) -> usize {
        self.filters.len()
    }

    /// The value of an entry; `None` if it was removed.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slot(handle)?;
        let values = if slot.owner & IN_GROUP == 0 {
            self.filters.get(slot.owner)?.entries.values()
        } else {
            self.groups.get(slot.owner & !IN_GROUP)?.members.values()
        };
        values.get(crate::slab::widen(slot.place))
    }

    /// The value of an entry, to be changed in place; `None` if it was removed.
    ///
    /// If the change concerns what lookups find, use [`replace`](FilterIndex::replace), which says what became stale.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let (owner, place) = self.slot(handle).map(|slot| (slot.owner, slot.place))?;
        if owner & IN_GROUP == 0 {
            self.filters.get_mut(owner)?.entries.get_mut(place)
        } else {
            self.groups.get_mut(owner & !IN_GROUP)?.members.get_mut(place)
        }
    }

    /// Puts another value in an entry. Returns the old one, or `None` if the entry was removed.
    pub fn replace(&mut self, handle: Handle, value: T) -> Option<(T, Stripe)> {
        let stripe = self.stripe_of_filter(self.filter_number(handle)?)?;
        let place = self.get_mut(handle)?;
        Some((core::mem::replace(place, value), stripe))
    }

    /// Appends the text of an entry's filter to `out`, `$share/{ShareName}/` included. Returns whether there is such an
    /// entry.
    pub fn filter_of(&self, handle: Handle, out: &mut String) -> bool {
        let Some(number) = self.filter_number(handle) else {
            return false;
        };
        let group = self.slot(handle).filter(|slot| slot.owner & IN_GROUP != 0);
        if let Some(group) = group.and_then(|slot| self.groups.get(slot.owner & !IN_GROUP)) {
            out.extend([SHARE, "/", &group.share_name, "/"]);
        }
        self.write_filter(number, out)
    }

    /// Appends the text of a group's filter to `out`, `$share/{ShareName}/` included.
    pub fn filter_of_group(&self, group: &Group<'_, T>, out: &mut String) {
        out.extend([SHARE, "/", group.share_name().as_str(), "/"]);
        self.write_filter(group.filter, out);
    }

    /// The group that an entry is a member of; `None` if it is a plain one, or was removed.
    pub fn group_of(&self, handle: Handle) -> Option<GroupId> {
        let slot = self.slot(handle).filter(|slot| slot.owner & IN_GROUP != 0)?;
        let group = self.groups.get(slot.owner & !IN_GROUP)?;
        Some(group.found().id())
    }

    fn write_filter(&self, number: u32, out: &mut String) -> bool {
        match self.filters.get(number).map(|filter| &filter.home) {
            Some(Home::Exact(text)) => out.push_str(text),
            Some(Home::Wild(end)) => self.wild.write_filter(*end, out),
            None => return false,
        }
        true
    }

    fn slot(&self, handle: Handle) -> Option<&Slot> {
        self.slots
            .get(handle.slot)
            .filter(|slot| slot.generation == handle.generation)
    }

    fn filter_number(&self, handle: Handle) -> Option<u32> {
        let slot = self.slot(handle)?;
        if slot.owner & IN_GROUP == 0 {
            return Some(slot.owner);
        }
        self.groups.get(slot.owner & !IN_GROUP).map(|group| group.filter)
    }

    fn stripe_of_filter(&self, number: u32) -> Option<Stripe> {
        Some(match &self.filters.get(number)?.home {
            Home::Exact(text) => stripe_of_filter(text),
            Home::Wild(end) => stripe_of_filter(self.wild.first_level(*end)),
        })
    }

    fn next_generation(&mut self) -> NonZeroU32 {
        self.last_generation = self.last_generation.wrapping_add(1);
        NonZeroU32::new(self.last_generation).unwrap_or_else(|| {
            self.last_generation = 1;
            NonZeroU32::MIN
        })
    }
}

impl<T, S: BuildHasher> FilterIndex<T, S> {
    /// Adds an entry. One that exists for the same filter stays beside it.
    ///
    /// # Panics
    /// Above two thousand million entries.
    pub fn insert(&mut self, filter: SubscriptionFilter<'_>, value: T) -> (Handle, Stripe) {
        let generation = self.next_generation();
        let slot = self.slots.insert(Slot {
            generation,
            owner: NONE,
            place: NONE,
        });
        let number = self.make_filter(filter.filter());
        let (owner, place) = match filter.share_name() {
            None => {
                let entries = self.filters.get_mut(number).map(|filter| &mut filter.entries);
                (number, entries.map_or(NONE, |entries| entries.push(slot, value)))
            }
            Some(share_name) => {
                self.shared_count = self.shared_count.saturating_add(1);
                let group = self.make_group(number, share_name.as_str());
                let members = self.groups.get_mut(group).map(|group| &mut group.members);
                (
                    group | IN_GROUP,
                    members.map_or(NONE, |members| members.push(slot, value)),
                )
            }
        };
        self.slots
            .get_mut(slot)
            .into_iter()
            .for_each(|slot| (slot.owner, slot.place) = (owner, place));
        (Handle { slot, generation }, filter.filter().stripe())
    }

    /// Takes an entry out. Returns its value, or `None` if it was removed before.
    pub fn remove(&mut self, handle: Handle) -> Option<(T, Stripe)> {
        self.slot(handle)?;
        let filter = self.filter_number(handle)?;
        let stripe = self.stripe_of_filter(filter)?;
        let Slot { owner, place, .. } = self.slots.remove(handle.slot)?;
        let (value, moved) = if owner & IN_GROUP == 0 {
            self.filters.get_mut(owner)?.entries.remove(place)?
        } else {
            self.shared_count = self.shared_count.saturating_sub(1);
            let removed = self.groups.get_mut(owner & !IN_GROUP)?.members.remove(place)?;
            self.drop_group_if_empty(owner & !IN_GROUP);
            removed
        };
        if let Some(moved) = moved.and_then(|moved| self.slots.get_mut(moved)) {
            moved.place = place;
        }
        self.drop_filter_if_empty(filter);
        Some((value, stripe))
    }

    /// Calls `visit` with the entries and groups of every filter that matches `name`: first those of the filter that
    /// has the same text, then the others, in no particular order. An entry is visited once.
    ///
    /// Does not allocate. A name of 4 GiB or more matches no wildcard.
    pub fn lookup<'s>(&'s self, name: TopicName<'_>, mut visit: impl FnMut(Match<'s, T>)) {
        self.find_filters(name, |number| {
            let Some(filter) = self.filters.get(number) else {
                return;
            };
            let values = filter.entries.values();
            if !values.is_empty() {
                visit(Match::Entries(Entries::new(values)));
            }
            for group in filter.entries.groups() {
                if let Some(group) = self.groups.get(*group) {
                    visit(Match::Group(group.found()));
                }
            }
        });
    }

    /// How many nodes and entries of tables a lookup of `name` looks at besides what it finds: a measure of its work
    /// that does not depend on the machine.
    pub fn lookup_cost(&self, name: TopicName<'_>) -> usize {
        self.find_filters(name, |_| {})
    }

    #[inline]
    fn find_filters(&self, name: TopicName<'_>, mut found: impl FnMut(u32)) -> usize {
        let mut cost = 0_usize;
        if !self.exact.is_empty() {
            cost = 1;
            if let Some(number) = self.find_exact(name.as_str()) {
                found(number);
            }
        }
        cost.saturating_add(self.wild.walk(&self.hasher, name, found))
    }

    fn find_exact(&self, text: &str) -> Option<u32> {
        let is_it = |number: &u32| {
            let home = self.filters.get(*number).map(|filter| &filter.home);
            matches!(home, Some(Home::Exact(found)) if **found == *text)
        };
        self.exact.find(hash_text(&self.hasher, text), is_it).copied()
    }

    /// Finds or makes the record of a filter. One that is new has no entry yet.
    fn make_filter(&mut self, filter: TopicFilter<'_>) -> u32 {
        let entries = FilterEntries::Empty;
        if filter.has_wildcard() {
            let end = self.wild.make(&self.hasher, filter);
            let known = self.wild.filter_at(end);
            if known != NONE {
                return known;
            }
            let number = self.filters.insert(Filter {
                home: Home::Wild(end),
                entries,
            });
            self.wild.set_filter(end, number);
            return number;
        }
        if let Some(known) = self.find_exact(filter.as_str()) {
            return known;
        }
        let number = self.filters.insert(Filter {
            home: Home::Exact(filter.as_str().into()),
            entries,
        });
        let (hasher, filters) = (&self.hasher, &self.filters);
        let hash = hash_text(hasher, filter.as_str());
        add(&mut self.exact, hash, number, |number| {
            rehash(hasher, filters, number)
        });
        number
    }

    fn make_group(&mut self, filter: u32, share_name: &str) -> u32 {
        if let Some(known) = self.groups.find(&self.hasher, filter, share_name) {
            return known;
        }
        let group = self.groups.insert(&self.hasher, filter, share_name);
        let place = self
            .filters
            .get_mut(filter)
            .map_or(NONE, |filter| filter.entries.add_group(group));
        self.groups
            .get_mut(group)
            .into_iter()
            .for_each(|group| group.place = place);
        group
    }

    fn drop_group_if_empty(&mut self, number: u32) {
        let Some(group) = self
            .groups
            .get(number)
            .filter(|group| group.members.values().is_empty())
        else {
            return;
        };
        let (filter, place) = (group.filter, group.place);
        let moved = self
            .filters
            .get_mut(filter)
            .and_then(|filter| filter.entries.remove_group(place));
        if let Some(moved) = moved.and_then(|moved| self.groups.get_mut(moved)) {
            moved.place = place;
        }
        self.groups.remove(&self.hasher, number);
    }

    fn drop_filter_if_empty(&mut self, number: u32) {
        let Some(filter) = self
            .filters
            .get(number)
            .filter(|filter| filter.entries.is_empty())
        else {
            return;
        };
        match &filter.home {
            Home::Wild(end) => self.wild.remove(*end),
            Home::Exact(text) => {
                let (hasher, filters) = (&self.hasher, &self.filters);
                let hash = hash_text(hasher, text);
                take(&mut self.exact, hash, number, |number| {
                    rehash(hasher, filters, number)
                });
            }
        }
        self.filters.remove(number);
    }
}

impl<T, S> fmt::Debug for FilterIndex<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("FilterIndex");
        out.field("entries", &self.len())
            .field("filters", &self.filter_count())
            .finish_non_exhaustive()
    }
}

fn rehash<T, S: BuildHasher>(hasher: &S, filters: &Slab<Filter<T>>, number: u32) -> u64 {
    match filters.get(number).map(|filter| &filter.home) {
        Some(Home::Exact(text)) => hash_text(hasher, text),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<Slot>(), 12);
        assert_eq!(size_of::<Option<Slot>>(), 12);
        assert_eq!(size_of::<Home>(), 16);
        assert_eq!(size_of::<Filter<u64>>(), 32);
        assert_eq!(size_of::<Option<Filter<u64>>>(), 32);
        assert_eq!(size_of::<Option<Handle>>(), 8);
    }

    #[test]
    fn generations_go_round_without_zero() {
        let mut index: FilterIndex<u8, ()> = FilterIndex::with_hasher(());
        index.last_generation = u32::MAX - 1;
        let seen = [
            index.next_generation(),
            index.next_generation(),
            index.next_generation(),
        ];
        assert_eq!(seen.map(NonZeroU32::get), [u32::MAX, 1, 2]);
    }
}
