//! Groups of shared subscriptions, by filter and Share Name.

use alloc::boxed::Box;
use core::hash::{BuildHasher, Hasher};
use core::num::NonZeroU64;

use hashbrown::HashTable;

use super::entries::Members;
use super::found::{Group, GroupId};
use crate::slab::Slab;
use crate::table::{add, take};

pub(super) struct Groups<T> {
    records: Slab<GroupRecord<T>>,
    by_name: HashTable<u32>,
    last_id: u64,
}

/// One group. Exists while it has a member.
pub(super) struct GroupRecord<T> {
    id: GroupId,
    pub(super) filter: u32,
    /// Among the groups of the filter.
    pub(super) place: u32,
    pub(super) share_name: Box<str>,
    pub(super) members: Members<T>,
}

impl<T> Groups<T> {
    pub(super) const fn new() -> Groups<T> {
        Groups {
            records: Slab::new(),
            by_name: HashTable::new(),
            last_id: 0,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&GroupRecord<T>> {
        self.records.get(number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut GroupRecord<T>> {
        self.records.get_mut(number)
    }

    pub(super) fn find<S: BuildHasher>(&self, hasher: &S, filter: u32, share_name: &str) -> Option<u32> {
        let is_it = |number: &u32| {
            let group = self.records.get(*number);
            group.is_some_and(|group| group.filter == filter && *group.share_name == *share_name)
        };
        self.by_name
            .find(hash_group(hasher, filter, share_name), is_it)
            .copied()
    }

    /// Adds a group that does not exist.
    pub(super) fn insert<S: BuildHasher>(&mut self, hasher: &S, filter: u32, share_name: &str) -> u32 {
        let id = GroupId(NonZeroU64::MIN.saturating_add(self.last_id));
        self.last_id = self.last_id.wrapping_add(1);
        let (share_name_kept, members) = (share_name.into(), Members::new());
        let number = self.records.insert(GroupRecord {
            id,
            filter,
            place: 0,
            share_name: share_name_kept,
            members,
        });
        let records = &self.records;
        let hash = hash_group(hasher, filter, share_name);
        add(&mut self.by_name, hash, number, |number| {
            rehash(hasher, records, number)
        });
        number
    }

    pub(super) fn remove<S: BuildHasher>(&mut self, hasher: &S, number: u32) {
        let records = &self.records;
        take(
            &mut self.by_name,
            rehash(hasher, records, number),
            number,
            |number| rehash(hasher, records, number),
        );
        self.records.remove(number);
    }
}

impl<T> GroupRecord<T> {
    pub(super) fn found(&self) -> Group<'_, T> {
        Group::new(self.id, self.filter, &self.share_name, self.members.values())
    }
}

fn hash_group<S: BuildHasher>(hasher: &S, filter: u32, share_name: &str) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u32(filter);
    state.write(share_name.as_bytes());
    state.finish()
}

fn rehash<T, S: BuildHasher>(hasher: &S, records: &Slab<GroupRecord<T>>, number: u32) -> u64 {
    records
        .get(number)
        .map_or(0, |group| hash_group(hasher, group.filter, &group.share_name))
}
