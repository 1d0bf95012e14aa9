//! The changes that wait to be handed out, in one order for all workers.

use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::PacketIdentifier;

use crate::store::{Change, PersistBatch, Sequence};
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Numbers changes as they happen: each under the lock of what it changes. Its own lock is the last in the order of locks.
pub(crate) struct Journal {
    state: Mutex<State>,
    /// About how many bytes the changes take that are not durable, handed out or not.
    bytes: AtomicUsize,
}

#[derive(Default)]
struct State {
    last: Sequence,
    changes: Vec<Change>,
    /// Of `changes`.
    bytes: usize,
    /// The [address](crate::message::MessageBody::address) of the message that came last in `changes`: for all Sessions that
    /// it is for it is the same, and counts once.
    message: Option<usize>,
    /// Batches that were handed out and are not durable: the number of the last change, and the bytes.
    out: VecDeque<(Sequence, usize)>,
    /// Workers that are in the midst of changes which belong together.
    open: usize,
}

impl Journal {
    /// Of a broker that stores its changes; the first has the number after `last`.
    pub(crate) fn of(durable: bool, last: Sequence) -> Option<Arc<Journal>> {
        durable.then(|| {
            Arc::new(Journal {
                state: Mutex::new(State {
                    last,
                    ..State::default()
                }),
                bytes: AtomicUsize::new(0),
            })
        })
    }

    pub(crate) fn record(&self, change: Change) -> Sequence {
        let mut bytes = change.weight();
        let mut state = self.state.lock();
        if let Some(message) = change.message()
            && state.message.replace(message.address()) != Some(message.address())
        {
            bytes = bytes.saturating_add(message.len());
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        state.changes.push(change);
        state.bytes += bytes;
        state.last.0 += 1;
        state.last
    }

    /// Until what this returns is dropped no batch is cut: changes belong together.
    pub(crate) fn together(self: &Arc<Self>) -> Together {
        self.state.lock().open += 1;
        Together(Arc::clone(self))
    }

    /// What has come together since the last time. Nothing, while a worker is in the midst of something: its own turn will
    /// end as well.
    pub(crate) fn cut(&self) -> PersistBatch {
        let mut state = self.state.lock();
        let mut batch = PersistBatch::default();
        if state.open == 0 && !state.changes.is_empty() {
            batch.changes = core::mem::take(&mut state.changes);
            // From now on the address may be another message's.
            state.message = None;
            let out = (state.last, core::mem::take(&mut state.bytes));
            state.out.push_back(out);
        }
        let left = u64::try_from(state.changes.len()).unwrap_or(u64::MAX);
        batch.last = Sequence(state.last.0.saturating_sub(left));
        batch
    }

    /// Everything up to `sequence` is durable.
    pub(crate) fn settled(&self, sequence: Sequence) {
        let mut state = self.state.lock();
        while let Some((last, bytes)) = state.out.front().copied()
            && last <= sequence
        {
            state.out.pop_front();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// About how many bytes the changes take that are not durable.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of the change that was noted last.
    pub(crate) fn last(&self) -> Sequence {
        self.state.lock().last
    }
}

/// Somebody is in the midst of changes that have to be in one batch.
pub(crate) struct Together(Arc<Journal>);

impl Drop for Together {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.open = state.open.saturating_sub(1);
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

    pub(crate) fn withheld(&self) -> Change {
        Change::Withheld {
            client_id: Arc::clone(&self.client_id),
            message: self.number,
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

/// A Will Message that is stored, until it is published or dropped.
pub(crate) struct NotedWill {
    journal: Arc<Journal>,
    number: Sequence,
}

impl NotedWill {
    pub(crate) fn new(journal: &Arc<Journal>, number: Sequence) -> Arc<NotedWill> {
        Arc::new(NotedWill {
            journal: Arc::clone(journal),
            number,
        })
    }
}

impl Drop for NotedWill {
    fn drop(&mut self) {
        let will = self.number;
        self.journal.record(Change::WillOver { will });
    }
}

impl core::fmt::Debug for NotedWill {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("NotedWill").field(&self.number).finish()
    }
}
