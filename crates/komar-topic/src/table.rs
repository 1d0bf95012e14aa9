//! Hash tables of record numbers that give memory back.

use hashbrown::HashTable;

use core::hash::{BuildHasher, Hasher};

/// Hash of a text, by the caller's hasher.
pub(crate) fn hash_text<S: BuildHasher>(hasher: &S, text: &str) -> u64 {
    hash_bytes(hasher, text.as_bytes())
}

#[inline]
pub(crate) fn hash_bytes<S: BuildHasher>(hasher: &S, bytes: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(bytes);
    state.finish()
}

/// Adds a number that is not in the table.
pub(crate) fn add(table: &mut HashTable<u32>, hash: u64, number: u32, rehash: impl Fn(u32) -> u64) {
    table.insert_unique(hash, number, |number| rehash(*number));
}

/// Takes a number out, and shrinks a table that has become much too large.
pub(crate) fn take(table: &mut HashTable<u32>, hash: u64, number: u32, rehash: impl Fn(u32) -> u64) {
    if let Ok(entry) = table.find_entry(hash, |found| *found == number) {
        entry.remove();
    }
    if table.is_empty() {
        *table = HashTable::new();
    } else if table.capacity() > 32 && table.len() < table.capacity() >> 3 {
        table.shrink_to(table.len().saturating_mul(2), |number| rehash(*number));
    }
}
