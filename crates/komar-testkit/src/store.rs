//! A store that does what a test says: takes its time, gets batches out of order, fails, and forgets what was not committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use komar_broker_core::store::{Change, PersistBatch, Sequence, Store};

/// Shared by all its clones.
#[derive(Clone, Default)]
pub struct DelayedStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Batches on their way, by their first number: a disk that has not got them yet.
    waiting: BTreeMap<Sequence, PersistBatch>,
    /// Batches that have not even arrived: another thread was faster.
    late: Vec<PersistBatch>,
    durable: Vec<(Sequence, Change)>,
    last: Sequence,
    submitted: usize,
    failure: Option<String>,
    shuffle: Option<u64>,
}

impl DelayedStore {
    /// Commits up to `count` of the batches that have come, in their order, and not beyond one that is missing.
    pub fn commit(&self, count: usize) {
        let mut state = self.0.lock().expect("no test panics with it locked");
        state.arrive();
        if state.failure.is_some() {
            return;
        }
        for _ in 0..count {
            let next = Sequence(state.last.0 + 1);
            let Some(batch) = state.waiting.remove(&next) else {
                return;
            };
            state.last = batch.last;
            let numbers = (next.0..).map(Sequence);
            state.durable.extend(numbers.zip(batch.changes));
        }
    }

    /// From now on nothing becomes durable any more.
    pub fn fail(&self, why: &str) {
        self.0.lock().expect("no test panics with it locked").failure = Some(why.to_owned());
    }

    /// From now on batches arrive out of order: some of them only at the next commit.
    pub fn shuffle(&self, seed: u64) {
        self.0.lock().expect("no test panics with it locked").shuffle = Some(seed | 1);
    }

    /// What is there after the power was lost.
    pub fn durable_changes(&self) -> Vec<(Sequence, Change)> {
        self.0
            .lock()
            .expect("no test panics with it locked")
            .durable
            .clone()
    }

    /// Changes that were submitted.
    pub fn submitted(&self) -> usize {
        self.0.lock().expect("no test panics with it locked").submitted
    }
}

impl State {
    fn arrive(&mut self) {
        for batch in core::mem::take(&mut self.late) {
            self.waiting.insert(batch.first(), batch);
        }
    }
}

impl Store for DelayedStore {
    fn submit(&self, batch: PersistBatch) {
        let mut state = self.0.lock().expect("no test panics with it locked");
        state.submitted += batch.changes.len();
        let is_late = state.shuffle.as_mut().is_some_and(|seed| {
            *seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            *seed >> 62 == 0
        });
        if is_late {
            state.late.push(batch);
        } else {
            state.waiting.insert(batch.first(), batch);
        }
    }

    fn durable(&self) -> Sequence {
        self.0.lock().expect("no test panics with it locked").last
    }

    fn failure(&self) -> Option<String> {
        self.0
            .lock()
            .expect("no test panics with it locked")
            .failure
            .clone()
    }
}
