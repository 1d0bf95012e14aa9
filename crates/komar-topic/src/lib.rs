//! MQTT topic names and filters, one matcher, and indexes for many of them.
//!
//! - [`TopicName`], [`TopicFilter`], [`SubscriptionFilter`]: texts that were checked once, borrowed or owned.
//! - [`TopicFilter::matches`], [`covers`](TopicFilter::covers), [`overlaps`](TopicFilter::overlaps): one filter
//!   against one name or another filter.
//! - [`FilterIndex`]: many filters, one lookup by name. What a broker routes with.
//! - [`NameTree`]: many names, one walk by filter. What a broker keeps retained messages in.
//!
//! `no_std` with `alloc`, no `unsafe`. MQTT 5.0 §4.7 and §4.8.2; 3.1.1 has the same rules, without shared
//! subscriptions.
//!
//! ```
//! # #[cfg(feature = "default-hasher")] {
//! use komar_topic::{FilterIndex, Match, SubscriptionFilter, TopicName};
//!
//! let mut index = FilterIndex::new();
//! let (kitchen, _) = index.insert(SubscriptionFilter::parse("home/+/temperature")?, "display");
//! index.insert(SubscriptionFilter::parse("$share/workers/home/#")?, "worker 1");
//! index.insert(SubscriptionFilter::parse("$share/workers/home/#")?, "worker 2");
//!
//! let mut plain = Vec::new();
//! let mut groups = 0;
//! index.lookup(TopicName::new("home/kitchen/temperature")?, |found| match found {
//!     Match::Entries(entries) => plain.extend(entries),
//!     Match::Group(group) => groups += group.len(),
//! });
//! assert_eq!((plain, groups), (vec![&"display"], 2));
//!
//! assert!(index.remove(kitchen).is_some());
//! assert!(index.get(kitchen).is_none());
//! # }
//! # Ok::<(), komar_topic::TopicError>(())
//! ```
//!
//! # What it does not do
//!
//! - No locks and no versions: both indexes are `&self` to read and `&mut self` to write, and say with a [`Stripe`]
//!   or [`Stripes`] what a change may have made stale.
//! - No choice among the members of a shared subscription, and no merging of overlapping subscriptions.
//! - No rule about `$SYS` or `$share` as a Topic Name: who may publish there is the broker's business.
//! - No case folding, no Unicode normalization. v3 [MQTT-4.7.3-4], v5 [MQTT-4.7.3-4]
//!
//! # Features
//!
//! `default-hasher` (on): [`DefaultHashBuilder`], so that `FilterIndex::new()` works. Without it, bring a `BuildHasher`.
//! Where strangers choose the texts it should be keyed.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

extern crate alloc;

mod error;
mod filter;
mod index;
mod levels;
mod limits;
mod matching;
mod name;
mod names;
mod shared;
mod slab;
mod stripe;
mod table;

pub use error::TopicError;
pub use filter::{TopicFilter, TopicFilterBuf};
pub use hashbrown::DefaultHashBuilder;
pub use index::{Entries, FilterIndex, Group, GroupId, Handle, Match};
pub use levels::Levels;
pub use limits::TopicLimits;
pub use name::{TopicName, TopicNameBuf};
pub use names::{Cursor, Iter, NameTree, Retained};
pub use shared::{
    ShareName, ShareNameBuf, SharedFilter, SharedFilterBuf, SubscriptionFilter, SubscriptionFilterBuf,
};
pub use stripe::{STRIPES, Stripe, Stripes};
