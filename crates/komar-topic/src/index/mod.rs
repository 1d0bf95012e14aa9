//! Many filters, one lookup by name.

mod entries;
mod found;
mod group;
mod handle;
mod level_hash;
mod shapes;
mod wild;

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::hash::BuildHasher;
use core::num::NonZeroU32;

use hashbrown::{DefaultHashBuilder, HashTable};

use self::entries::FilterEntries;
use self::group::Groups;
use self::wild::WildFilters;
use crate::shared::SHARE;
use crate::slab::{NONE, Slab};
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
/// - Filters with wildcards are one hash table for each shape: which levels are literal, which are `+`, and whether `#`
///   ends them. A lookup asks those tables whose filters have as many levels as the name, or end with `#` and have as many
///   at the most, once each. For a name of n levels they are fewer than 3 × 2^n whatever the filters are, and no more than
///   the shapes that the filters have; shapes that begin with a literal count only where that may be the name's.
/// - To know which tables those are, a lookup enters the shapes that the filters begin with: fewer than 2^(n+1), and no more
///   than all filters have levels, 23 each at the most.
/// - Filters of 24 levels or more, `#` not counted, have no shape. A name of as many levels is compared with each of them,
///   one by one: half a millisecond for 10,000. Other names do not pay for them.
/// - [`lookup_cost`](FilterIndex::lookup_cost) counts all that. Nothing is allocated, nothing recurses.
/// - Insert and remove take time in the length of the filter, amortized: when a table grows or shrinks, its filters are
///   hashed again, so that a single insert into a table of a million may take some hundred milliseconds.
/// - A subscription takes 70 to 95 bytes, and a shared one that is alone in its group about 250, with a text of some 30 bytes
///   and a value of eight.
/// - Memory is given back: tables and shapes as filters go, records in blocks, when all of a block have gone, since Handles
///   name them by place. When the last entry has gone, nothing is left.
///
/// The adversarial case is a client that subscribes to every shape of filter, `+/+/x/+/#` and so on: it costs lookups of
/// other names than its own, too. A thousand of them add about ten microseconds to a lookup of a name that is deep enough,
/// and to one of five levels they cannot add more than 93 tables. Whoever lets strangers in bounds levels with
/// [`TopicLimits`](crate::TopicLimits), or how many subscriptions a client has.
pub struct FilterIndex<T, S = DefaultHashBuilder> {
    hasher: S,
    filters: Slab<Filter<T>>,
    /// Filters without a wildcard, by their text.
    exact: HashTable<u32>,
    /// The others, by shape.
    wild: WildFilters,
    groups: Groups<T>,
    /// What a Handle points to. Every entry has one.
    slots: Slab<Slot>,
    last_generation: u32,
    shared_count: usize,
}

/// All entries of one filter. Exists while it has one.
struct Filter<T> {
    text: Box<str>,
    entries: FilterEntries<T>,
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
            wild: WildFilters::new(),
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
        let filter = self.filters.get(number);
        filter.into_iter().for_each(|filter| out.push_str(&filter.text));
        filter.is_some()
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
        Some(Stripe::of_filter(&self.filters.get(number)?.text))
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
    /// Does not allocate.
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

    /// How many tables a lookup of `name` asks, how many shapes it enters to know which, and how many filters it looks at one
    /// by one: a measure of its work that does not depend on the machine.
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
        let text_of = |number| text_of(&self.filters, number);
        cost.saturating_add(self.wild.walk(&self.hasher, name, text_of, found))
    }

    fn find_exact(&self, text: &str) -> Option<u32> {
        let is_it = |number: &u32| text_of(&self.filters, *number) == text;
        self.exact.find(hash_text(&self.hasher, text), is_it).copied()
    }

    /// Finds or makes the record of a filter. One that is new has no entry yet.
    fn make_filter(&mut self, filter: TopicFilter<'_>) -> u32 {
        let text = filter.as_str();
        let wild = filter.has_wildcard();
        let known = if wild {
            let text_of = |number| text_of(&self.filters, number);
            self.wild.find(&self.hasher, text, text_of)
        } else {
            self.find_exact(text)
        };
        if let Some(known) = known {
            return known;
        }
        let number = self.filters.insert(Filter {
            text: text.into(),
            entries: FilterEntries::Empty,
        });
        let (hasher, filters) = (&self.hasher, &self.filters);
        let text_of = |number| text_of(filters, number);
        if wild {
            self.wild.insert(hasher, text, number, text_of);
        } else {
            let rehash = |number| hash_text(hasher, text_of(number));
            add(&mut self.exact, hash_text(hasher, text), number, rehash);
        }
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
        let (hasher, filters) = (&self.hasher, &self.filters);
        let text_of = |number| text_of(filters, number);
        if TopicFilter::from_checked(&filter.text).has_wildcard() {
            self.wild.remove(hasher, &filter.text, number, text_of);
        } else {
            let rehash = |number| hash_text(hasher, text_of(number));
            take(&mut self.exact, rehash(number), number, rehash);
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

fn text_of<T>(filters: &Slab<Filter<T>>, number: u32) -> &str {
    filters.get(number).map_or("", |filter| &filter.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_small() {
        assert_eq!(size_of::<Slot>(), 12);
        assert_eq!(size_of::<Option<Slot>>(), 12);
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
