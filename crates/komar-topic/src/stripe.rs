//! What a change made stale.

use crate::filter::is_wildcard;
use crate::slab::widen;

/// How many groups Topic Names are divided into, by their first level. Each can have a version of its own.
pub const STRIPES: usize = 64;

/// Which remembered answers a change may have made stale.
///
/// Whoever remembers answers keeps a version for each number below [`STRIPES`] and one for all, counts those up that a
/// change names, and trusts what it remembers while they stand still.
///
/// - A change of a [`FilterIndex`](crate::FilterIndex) concerns lookups of names: `One(n)` those whose
///   [`TopicName::stripe`](crate::TopicName::stripe) is `n`, `All` all of them.
/// - A change of a [`NameTree`](crate::NameTree) concerns walks by filters: `One(n)` those by filters whose
///   [`TopicFilter::stripe`](crate::TopicFilter::stripe) is `One(n)` or `All`, `All` all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stripe {
    /// What begins with a level of this stripe, below [`STRIPES`].
    One(usize),
    /// Anything: the filter begins with a wildcard.
    All,
}

/// The stripe of a filter: that of the names that it can match.
pub(crate) fn stripe_of_filter(text: &str) -> Stripe {
    if text.bytes().next().is_some_and(is_wildcard) {
        Stripe::All
    } else {
        Stripe::One(stripe_of_name(text))
    }
}

/// The stripe of a name: a pure function of its first level.
///
/// Not keyed: whoever chooses names that share a stripe makes lookups be repeated, and no more. Cheap, since it is
/// asked for every message; looks at 32 bytes at the most.
pub(crate) fn stripe_of_name(text: &str) -> usize {
    let mut sum = 0_u32;
    for byte in text.bytes().take(32).take_while(|byte| *byte != b'/') {
        sum = sum.rotate_left(5) ^ u32::from(byte);
    }
    // The top bits depend on all others.
    widen(sum.wrapping_mul(0x9E37_79B1) >> 24) % STRIPES
}
