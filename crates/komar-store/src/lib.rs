//! Stores for [`komar_broker_core`]: where its persist batches go.
//!
//! There is no durable engine yet. [`VolatileStore`] is the honest stand-in: it keeps nothing, and so promises
//! nothing beyond the life of the process.
//!
//! ```
//! use komar_broker_core::store::{PersistBatch, Sequence, Store};
//! use komar_store::VolatileStore;
//!
//! let store = VolatileStore::default();
//! let mut batch = PersistBatch::default();
//! batch.last = Sequence(7);
//! store.submit(batch);
//! assert_eq!(store.durable(), Sequence(7));
//! ```
//!
//! What this crate does not do: survive a restart.

#![warn(missing_docs)]

use core::sync::atomic::{AtomicU64, Ordering};

use komar_broker_core::store::{PersistBatch, Sequence, Store};

/// Forgets every batch and reports it as done: for brokers with `persistence false`, where "durable" means no more
/// than "in memory".
#[derive(Debug, Default)]
pub struct VolatileStore {
    last: AtomicU64,
}

impl Store for VolatileStore {
    fn submit(&self, batch: PersistBatch) {
        self.last.fetch_max(batch.last.0, Ordering::AcqRel);
    }

    fn durable(&self) -> Sequence {
        Sequence(self.last.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_submitted_counts_as_durable_and_never_goes_back() {
        let store = VolatileStore::default();
        for (last, durable) in [(3, 3), (5, 5), (4, 5)] {
            let mut batch = PersistBatch::default();
            batch.last = Sequence(last);
            store.submit(batch);
            assert_eq!(store.durable(), Sequence(durable));
        }
    }
}
