//! The changes that wait to be handed out, in one order for all workers.

use std::sync::Arc;

use komar_codec::PacketIdentifier;

use crate::store::{Change, PersistBatch, Sequence};
use crate::sync::Mutex;

/// Numbers changes as they happen: each under the lock of what it changes. Its own lock is the last in the order of locks.
#[derive(Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Sequence,
    changes: Vec<Change>,
    /// Workers that are in the midst of changes which belong together.
    open: usize,
}

impl Journal {
    pub(crate) fn record(&self, change: Change) -> Sequence {
        let mut state = self.state.lock();
        state.changes.push(change);
        state.last.0 += 1;
        state.last
    }

    /// From now until [`close`](Self::close) no batch is cut.
    pub(crate) fn open(&self) {
        self.state.lock().open += 1;
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
    }

    /// What has come together since the last time. Nothing, while a worker is in the midst of something: its own turn will
    /// end as well.
    pub(crate) fn cut(&self) -> PersistBatch {
        let mut state = self.state.lock();
        let mut batch = PersistBatch::default();
        if state.open == 0 {
            batch.changes = core::mem::take(&mut state.changes);
        }
        let left = u64::try_from(state.changes.len()).unwrap_or(u64::MAX);
        batch.last = Sequence(state.last.0.saturating_sub(left));
        batch
    }
}

/// A message of a Session that is stored: when the last of its holders has gone, whatever the reason, so is it.
pub(crate) struct Stored {
    journal: Arc<Journal>,
    client_id: Arc<str>,
    pub(crate) number: Sequence,
}

impl Stored {
    pub(crate) fn new(journal: &Arc<Journal>, client_id: &Arc<str>, number: Sequence) -> Arc<Stored> {
        Arc::new(Stored {
            journal: Arc::clone(journal),
            client_id: Arc::clone(client_id),
            number,
        })
    }

    pub(crate) fn sent(&self, packet_identifier: PacketIdentifier) -> Change {
        Change::Sent {
            client_id: Arc::clone(&self.client_id),
            message: self.number,
            packet_identifier,
        }
    }

    pub(crate) fn received(&self) -> Change {
        Change::Received {
            client_id: Arc::clone(&self.client_id),
            message: self.number,
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.journal.record(Change::Dequeued {
            client_id: Arc::clone(&self.client_id),
            message: self.number,
        });
    }
}

impl core::fmt::Debug for Stored {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Stored").field(&self.number).finish()
    }
}
