//! Hashes of levels, and of the literal levels of filters.

use core::hash::BuildHasher;

use crate::levels::first_level;
use crate::table::hash_bytes;

/// What the first `N` levels of a name add to the hash of literal levels: found and hashed when they are asked for first.
pub(super) struct NameLevels<'n, 'h, S, const N: usize> {
    hasher: &'h S,
    known: [u64; N],
    known_count: usize,
    /// What comes behind the known levels; `None` if nothing does.
    rest: Option<&'n [u8]>,
}

impl<'n, 'h, S: BuildHasher, const N: usize> NameLevels<'n, 'h, S, N> {
    #[inline]
    pub(super) fn new(name: &'n str, hasher: &'h S) -> NameLevels<'n, 'h, S, N> {
        NameLevels {
            hasher,
            known: [0; N],
            known_count: 0,
            rest: Some(name.as_bytes()),
        }
    }

    /// Of level number `depth`, which is below `N`; `None` if the name has no such level. Every level above it was asked
    /// for before.
    #[inline]
    pub(super) fn get(&mut self, depth: usize) -> Option<u64> {
        if depth < self.known_count {
            return self.known.get(depth).copied();
        }
        let (level, rest) = first_level(self.rest?);
        let hash = hash_level(self.hasher, depth, level);
        *self.known.get_mut(depth)? = hash;
        self.rest = rest;
        self.known_count = depth.saturating_add(1);
        Some(hash)
    }
}

/// Hash of the literal levels of a filter: what each adds, together. It does not matter in which order.
pub(super) fn hash_literals<S: BuildHasher>(hasher: &S, filter: &str) -> u64 {
    let (mut hash, mut rest, mut depth) = (0, Some(filter.as_bytes()), 0_usize);
    while let Some(text) = rest {
        let level;
        (level, rest) = first_level(text);
        if level != b"+" && level != b"#" {
            hash ^= hash_level(hasher, depth, level);
        }
        depth = depth.saturating_add(1);
    }
    hash
}

/// What a literal level adds. The hash of its text is keyed by the caller; where it stands is stirred in, so that levels
/// which change places make another hash.
#[inline]
pub(super) fn hash_level<S: BuildHasher>(hasher: &S, depth: usize, level: &[u8]) -> u64 {
    let place = u64::try_from(depth)
        .unwrap_or(u64::MAX)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (hash_bytes(hasher, level) ^ place).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_hash() {
        let hasher = hashbrown::DefaultHashBuilder::default();
        let name = "a/bc//d/e/f";
        let mut levels = NameLevels::<_, 16>::new(name, &hasher);
        let expected: alloc::vec::Vec<_> = name
            .split('/')
            .enumerate()
            .map(|(depth, level)| Some(hash_level(&hasher, depth, level.as_bytes())))
            .chain([None, None])
            .collect();
        for _ in 0..2 {
            for (depth, expected) in expected.iter().enumerate() {
                assert_eq!(levels.get(depth), *expected, "{depth}");
            }
        }
    }

    #[test]
    fn levels_that_change_places_make_another_hash() {
        let hasher = hashbrown::DefaultHashBuilder::default();
        let hash = |filter| hash_literals(&hasher, filter);
        assert_ne!(hash("a/b/+"), hash("b/a/+"));
        assert_ne!(hash("a/a/+"), hash("b/b/+"));
        assert_eq!(hash("a/+/b"), hash("a/c/b") ^ hash_level(&hasher, 1, b"c"));
    }
}
