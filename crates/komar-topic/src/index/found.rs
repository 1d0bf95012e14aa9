//! What a lookup finds.

use core::iter::FusedIterator;
use core::num::NonZeroU64;
use core::slice;

use crate::ShareName;

/// What one filter contributes to a lookup. Non-empty.
#[derive(Clone, Debug)]
pub enum Match<'s, T> {
    /// All plain entries of one filter.
    Entries(Entries<'s, T>),
    /// One group of a shared subscription; one member is to get the message.
    Group(Group<'s, T>),
}

/// Iterator over the plain entries of one filter. The order is stable until the filter's entries change.
#[derive(Debug)]
pub struct Entries<'s, T>(slice::Iter<'s, T>);

/// The members of one shared subscription: those that gave the same Share Name and the same filter. MQTT 5.0 §4.8.2.
#[derive(Debug)]
pub struct Group<'s, T> {
    id: GroupId,
    /// Its number in the index.
    pub(super) filter: u32,
    share_name: &'s str,
    members: &'s [T],
}

/// Names a group for as long as it has a member; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(super) NonZeroU64);

impl<'s, T> Entries<'s, T> {
    pub(super) fn new(values: &'s [T]) -> Entries<'s, T> {
        Entries(values.iter())
    }

    /// Those not yet iterated over, as a slice.
    pub fn as_slice(&self) -> &'s [T] {
        self.0.as_slice()
    }
}

impl<T> Clone for Entries<'_, T> {
    fn clone(&self) -> Self {
        Entries(self.0.clone())
    }
}

impl<'s, T> Iterator for Entries<'s, T> {
    type Item = &'s T;

    fn next(&mut self) -> Option<&'s T> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    fn fold<B, F: FnMut(B, &'s T) -> B>(self, init: B, f: F) -> B {
        self.0.fold(init, f)
    }
}

impl<T> DoubleEndedIterator for Entries<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl<T> ExactSizeIterator for Entries<'_, T> {}
impl<T> FusedIterator for Entries<'_, T> {}

impl<'s, T> Group<'s, T> {
    pub(super) fn new(id: GroupId, filter: u32, share_name: &'s str, members: &'s [T]) -> Group<'s, T> {
        Group {
            id,
            filter,
            share_name,
            members,
        }
    }

    /// Stays the same while the group has a member: whose turn it is can be kept by it.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// What its members gave as Share Name.
    pub fn share_name(&self) -> ShareName<'s> {
        ShareName::from_checked(self.share_name)
    }

    /// The members. Their order is stable until one comes or goes.
    pub fn members(&self) -> Entries<'s, T> {
        Entries::new(self.members)
    }

    /// The member at a place below [`len`](Group::len).
    pub fn get(&self, place: usize) -> Option<&'s T> {
        self.members.get(place)
    }

    /// How many members there are, one at least.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }
}

impl<T> Clone for Group<'_, T> {
    fn clone(&self) -> Self {
        Group {
            id: self.id,
            filter: self.filter,
            share_name: self.share_name,
            members: self.members,
        }
    }
}
