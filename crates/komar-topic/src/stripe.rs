//! What a change made stale.

use crate::filter::is_wildcard;

/// How many versions there are to keep: one for each [`Stripe`].
pub const STRIPES: usize = 1024;

/// What a Topic Filter begins with: its first levels up to a wildcard, four at the most, as a number.
///
/// Whoever remembers answers keeps a version for each number, counts up the versions of those that a change names, and
/// trusts an answer while the versions that it depends on stand still (their sum will do, as no version goes back).
///
/// - A change of a [`FilterIndex`](crate::FilterIndex) names the one of its filter. A lookup of a name depends on the
///   [`stripes`](crate::TopicName::stripes) of the name.
/// - A change of a [`NameTree`](crate::NameTree) names those of its name. A walk by a filter depends on the
///   [`stripe`](crate::TopicFilter::stripe) of the filter.
///
/// Not keyed: whoever chooses texts that share a stripe makes lookups be repeated, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stripe(u16);

/// The stripes of all filters that can match a Topic Name: those of its first levels, and that of filters which begin with
/// a wildcard. Or all stripes, where a change was wide. 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stripes {
    /// By how many levels they stand for. Where the name has fewer levels, that of none is repeated.
    numbers: [u16; LEVELS + 1],
    is_all: bool,
}

impl Stripe {
    /// Below [`STRIPES`].
    pub fn number(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn of_filter(filter: &str) -> Stripe {
        let literals = filter
            .split('/')
            .take_while(|level| !level.bytes().any(is_wildcard));
        let (numbers, count) = number(literals);
        Stripe(numbers.get(count).copied().unwrap_or(NO_LEVEL))
    }
}

impl Stripes {
    pub(crate) fn of_name(name: &str) -> Stripes {
        Stripes {
            numbers: number(name.split('/')).0,
            is_all: false,
        }
    }

    /// Of all names that begin with what stands before the first wildcard: those of filters that can match one of them.
    pub(crate) fn of_names_below(filter: &str) -> Stripes {
        let literals = filter
            .split('/')
            .take_while(|level| !level.bytes().any(is_wildcard));
        let (numbers, count) = number(literals);
        Stripes {
            numbers,
            is_all: count < LEVELS,
        }
    }

    /// Whether a stripe is among them.
    pub fn contains(&self, stripe: Stripe) -> bool {
        self.is_all || self.numbers.contains(&stripe.0)
    }

    /// Each stripe, some more than once.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Stripe> {
        let all = if self.is_all { 0..STRIPES } else { 0..0 };
        let all = all.filter_map(|number| u16::try_from(number).ok());
        self.numbers.into_iter().chain(all).map(Stripe)
    }
}

/// Numbers of the first levels, and how many levels they are.
fn number<'t>(levels: impl Iterator<Item = &'t str>) -> ([u16; LEVELS + 1], usize) {
    let mut numbers = [NO_LEVEL; LEVELS + 1];
    let mut count = 0_usize;
    // FNV-1a over the levels, each with a slash behind it.
    let mut hash = 0x811C_9DC5_u32;
    for (level, number) in levels.zip(numbers.iter_mut().skip(1)) {
        for byte in level.bytes().chain([b'/']) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        // The top bits depend on all others.
        let top = hash.wrapping_mul(0x9E37_79B1) >> (u32::BITS - STRIPE_BITS);
        *number = u16::try_from(top).unwrap_or(NO_LEVEL).max(NO_LEVEL + 1);
        count = count.saturating_add(1);
    }
    (numbers, count)
}

/// How many levels count. Four are an edge node of Sparkplug with the kind of its messages.
const LEVELS: usize = 4;

/// The stripe of filters that begin with a wildcard, and of no other.
const NO_LEVEL: u16 = 0;

const STRIPE_BITS: u32 = STRIPES.ilog2();
