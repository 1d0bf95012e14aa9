//! What an insert returns: the key of the entry, and what it made stale.

use core::num::NonZeroU32;

use crate::slab::widen;
use crate::{TopicFilter, TopicName};

/// The key of one entry of a [`FilterIndex`](crate::FilterIndex). 8 bytes.
///
/// A Handle whose entry was removed finds nothing, also when its place is used again. (That holds until four thousand
/// million inserts later.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) generation: NonZeroU32,
}

/// How many groups Topic Names are divided into, by their first level. Each can have a version of its own.
pub const STRIPES: usize = 64;

/// Which remembered lookups a change of a [`FilterIndex`](crate::FilterIndex) may have made stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stripe {
    /// Those of names whose [`stripe_of`](crate::FilterIndex::stripe_of) is this number, below [`STRIPES`].
    One(usize),
    /// Any: the filter begins with a wildcard.
    All,
}

impl Stripe {
    /// What a change of this filter's entries concerns.
    pub(super) fn of(filter: TopicFilter<'_>) -> Stripe {
        if filter.starts_with_wildcard() {
            Stripe::All
        } else {
            Stripe::One(stripe_of(filter.as_str()))
        }
    }
}

/// The stripe of a name: a pure function of its first level.
pub(super) fn stripe_of_name(name: TopicName<'_>) -> usize {
    stripe_of(name.as_str())
}

/// Not keyed: whoever chooses names that share a stripe makes lookups be repeated, and no more. Cheap, since it is
/// asked for every message; looks at 32 bytes at the most.
fn stripe_of(text: &str) -> usize {
    let mut sum = 0_u32;
    for byte in text.bytes().take(32).take_while(|byte| *byte != b'/') {
        sum = sum.rotate_left(5) ^ u32::from(byte);
    }
    // The top bits depend on all others.
    widen(sum.wrapping_mul(0x9E37_79B1) >> 24) % STRIPES
}
