//! What an insert returns: the key of the entry.

use core::num::NonZeroU32;

/// The key of one entry of a [`FilterIndex`](crate::FilterIndex). 8 bytes.
///
/// A Handle whose entry was removed finds nothing, also when its place is used again. (That holds until four thousand
/// million inserts later.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) generation: NonZeroU32,
}
