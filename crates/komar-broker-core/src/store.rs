//! The seam to durable storage: what leaves a turn to be persisted and what comes back.
//!
//! A driver hands each turn's [`PersistBatch`] to a [`Store`]. Until a durable engine exists the only store is
//! the volatile one, and a turn's batch is empty: nothing survives the process, and nothing is promised.

/// Position in the order in which changes are made durable. Starts at 0, grows by one a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sequence(pub u64);

/// The changes of one turn, in their order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PersistBatch {
    /// The sequence number of the last change in it.
    pub last: Sequence,
}

/// Where persist batches go.
pub trait Store: Send + Sync {
    /// Takes a batch over. The store reports its sequence number as durable when all of it is on disk.
    fn submit(&self, batch: PersistBatch);

    /// Up to which sequence number everything is durable.
    fn durable(&self) -> Sequence;
}
