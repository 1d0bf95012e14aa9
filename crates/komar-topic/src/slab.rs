//! Records with a stable number, in chunks: growing copies nothing and leaves little unused, and a chunk that empties
//! is given back.

use alloc::vec::Vec;

/// Stands for "no record" wherever a record's number is kept.
pub(crate) const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Slab<R> {
    chunks: Vec<Chunk<R>>,
    /// Chunks that may have room, the one to use last. Each is in it once at the most: those with `listed`.
    open: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<R> {
    slots: Vec<Slot<R>>,
    /// Head of the chain of vacant slots, as a place in `slots`.
    vacant: u32,
    live: u32,
    listed: bool,
}

#[derive(Debug)]
enum Slot<R> {
    /// Holds the next in the chain.
    Vacant(u32),
    Occupied(R),
}

const CHUNK_BITS: u32 = 9;
const CHUNK: u32 = 1 << CHUNK_BITS;

impl<R> Slab<R> {
    pub(crate) const fn new() -> Slab<R> {
        Slab {
            chunks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }

    /// Adds a record and returns its number, which is below `1 << 31`.
    ///
    /// # Panics
    /// Above two thousand million records.
    pub(crate) fn insert(&mut self, record: R) -> u32 {
        let chunk_number = self.open_chunk();
        let Some(chunk) = self.chunks.get_mut(widen(chunk_number)) else {
            return NONE;
        };
        let place = chunk.insert(record);
        self.len = self.len.saturating_add(1);
        (chunk_number << CHUNK_BITS) | place
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<R> {
        let chunk_number = number >> CHUNK_BITS;
        let chunk = self.chunks.get_mut(widen(chunk_number))?;
        let record = chunk.remove(number & (CHUNK - 1))?;
        if !chunk.listed {
            chunk.listed = true;
            self.open.push(chunk_number);
        }
        self.len = self.len.saturating_sub(1);
        if self.len == 0 {
            *self = Slab::new();
        }
        Some(record)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&R> {
        let chunk = self.chunks.get(widen(number >> CHUNK_BITS))?;
        match chunk.slots.get(widen(number & (CHUNK - 1)))? {
            Slot::Occupied(record) => Some(record),
            Slot::Vacant(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut R> {
        let chunk = self.chunks.get_mut(widen(number >> CHUNK_BITS))?;
        match chunk.slots.get_mut(widen(number & (CHUNK - 1)))? {
            Slot::Occupied(record) => Some(record),
            Slot::Vacant(_) => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The chunk that takes the next record.
    fn open_chunk(&mut self) -> u32 {
        while let Some(number) = self.open.last() {
            match self.chunks.get_mut(widen(*number)) {
                Some(chunk) if chunk.has_room() => return *number,
                Some(chunk) => chunk.listed = false,
                None => {}
            }
            self.open.pop();
        }
        let number = narrow(self.chunks.len());
        assert!(number < 1 << (31 - CHUNK_BITS), "too many records");
        // The first chunk grows as it fills, so that a small index is small.
        let slots = if number == 0 {
            Vec::new()
        } else {
            Vec::with_capacity(widen(CHUNK))
        };
        self.chunks.push(Chunk {
            slots,
            vacant: NONE,
            live: 0,
            listed: true,
        });
        self.open.push(number);
        number
    }
}

impl<R> Chunk<R> {
    fn has_room(&self) -> bool {
        self.live < CHUNK
    }

    fn insert(&mut self, record: R) -> u32 {
        self.live = self.live.saturating_add(1);
        if let Some(slot) = self.slots.get_mut(widen(self.vacant)) {
            let place = self.vacant;
            if let Slot::Vacant(next) = slot {
                self.vacant = *next;
            }
            *slot = Slot::Occupied(record);
            return place;
        }
        let place = narrow(self.slots.len());
        self.slots.push(Slot::Occupied(record));
        place
    }

    fn remove(&mut self, place: u32) -> Option<R> {
        let slot = self.slots.get_mut(widen(place))?;
        if matches!(slot, Slot::Vacant(_)) {
            return None;
        }
        let Slot::Occupied(record) = core::mem::replace(slot, Slot::Vacant(self.vacant)) else {
            return None;
        };
        self.vacant = place;
        self.live = self.live.saturating_sub(1);
        if self.live == 0 {
            self.slots = Vec::new();
            self.vacant = NONE;
        }
        Some(record)
    }
}

/// A record's number as a place in memory.
pub(crate) fn widen(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A place as a number; there are never as many places.
pub(crate) fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_used_again() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..2000).map(|value| slab.insert(value)).collect();
        for (value, number) in numbers.iter().enumerate().filter(|(value, _)| value % 3 != 0) {
            assert_eq!(slab.remove(*number), Some(value));
            assert_eq!(slab.remove(*number), None);
        }
        for (value, number) in numbers.iter().enumerate() {
            assert_eq!(slab.get(*number).copied(), (value % 3 == 0).then_some(value));
        }
        let chunks = slab.chunks.len();
        let again: Vec<u32> = (0..1333).map(|value| slab.insert(value + 5000)).collect();
        assert_eq!(slab.chunks.len(), chunks);
        for (value, number) in again.iter().enumerate() {
            assert_eq!(slab.get(*number).copied(), Some(value + 5000));
        }
        assert_eq!(slab.len(), 2000);
    }

    #[test]
    fn an_empty_slab_holds_no_memory() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..2000).map(|value| slab.insert(value)).collect();
        numbers
            .into_iter()
            .for_each(|number| assert!(slab.remove(number).is_some()));
        assert_eq!(
            (slab.chunks.capacity(), slab.open.capacity(), slab.len()),
            (0, 0, 0)
        );
    }
}
