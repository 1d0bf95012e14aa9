//! A Topic Name on its way through the wildcard filters: its levels, found and hashed once each.

use core::hash::BuildHasher;

use crate::slab::widen;
use crate::table::hash_text;

/// A level of the name: where it is, and the hash of its text.
#[derive(Clone, Copy)]
pub(super) struct Level<'n> {
    pub(super) text: &'n str,
    pub(super) hash: u64,
    /// Where the next one begins; beyond the end of the name if there is none.
    pub(super) next: u32,
}

/// The levels of a name. The first `N` are found and hashed once, the others whenever they are asked for.
pub(super) struct NameLevels<'n, 'h, S, const N: usize> {
    name: &'n str,
    hasher: &'h S,
    known: [Known; N],
    known_count: usize,
}

#[derive(Clone, Copy)]
struct Known {
    start: u32,
    end: u32,
    hash: u64,
}

impl<'n, 'h, S: BuildHasher, const N: usize> NameLevels<'n, 'h, S, N> {
    /// `name` is no longer than `u32::MAX - 1`.
    pub(super) fn new(name: &'n str, hasher: &'h S) -> NameLevels<'n, 'h, S, N> {
        NameLevels {
            name,
            hasher,
            known: [Known {
                start: 0,
                end: 0,
                hash: 0,
            }; N],
            known_count: 0,
        }
    }

    /// Level number `depth`, which begins at `start`. `None` if the name has no such level. Every level above it was
    /// asked for before.
    pub(super) fn get(&mut self, depth: usize, start: u32) -> Option<Level<'n>> {
        let known = match self.known.get(depth) {
            Some(known) if depth < self.known_count => *known,
            place => {
                let is_cached = place.is_some();
                let found = self.find(start)?;
                if is_cached && let Some(place) = self.known.get_mut(depth) {
                    *place = found;
                    self.known_count = depth.saturating_add(1);
                }
                found
            }
        };
        let text = self.name.get(widen(known.start)..widen(known.end))?;
        Some(Level {
            text,
            hash: known.hash,
            next: known.end.saturating_add(1),
        })
    }

    /// Where level number `depth` begins, the one before the level that begins at `next`.
    pub(super) fn start_of(&self, depth: usize, next: u32) -> u32 {
        if depth < self.known_count
            && let Some(known) = self.known.get(depth)
        {
            return known.start;
        }
        let before = self.name.get(..widen(next.saturating_sub(1))).unwrap_or_default();
        let start = before.rfind('/').map_or(0, |slash| slash.saturating_add(1));
        u32::try_from(start).unwrap_or(0)
    }

    fn find(&self, start: u32) -> Option<Known> {
        let rest = self.name.get(widen(start)..)?;
        let length = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let text = rest.get(..length)?;
        let end = start.saturating_add(u32::try_from(length).ok()?);
        Some(Known {
            start,
            end,
            hash: hash_text(self.hasher, text),
        })
    }
}
