//! A store that does what a test says: takes its time, gets batches out of order, fails, and forgets what was not committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use komar_broker_core::store::{Change, Contents, PersistBatch, Replay, Sequence, Store};

/// Shared by all its clones.
#[derive(Clone, Default)]
pub struct DelayedStore(Arc<Mutex<State>>);

/// Changes a batch on its way to the disk, as a bug would.
pub type Distortion = Box<dyn FnMut(Change) -> Option<Change> + Send>;

#[derive(Default)]
struct State {
    /// Batches on their way, by their first number: a disk that has not got them yet.
    waiting: BTreeMap<Sequence, PersistBatch>,
    /// Batches that have not even arrived: another thread was faster.
    late: Vec<PersistBatch>,
    durable: Replay,
    /// The last that was submitted.
    submitted: Sequence,
    failure: Option<String>,
    shuffle: Option<u64>,
    distortion: Option<Distortion>,
    /// Says that batches are durable which are not.
    lies: bool,
    prompt: bool,
}

impl DelayedStore {
    /// A store that takes no time at all: what is submitted is durable.
    pub fn prompt() -> DelayedStore {
        let store = DelayedStore::default();
        store.state().prompt = true;
        store
    }

    /// Commits up to `count` of the batches that have come, in their order, and not beyond one that is missing.
    pub fn commit(&self, count: usize) {
        self.commit_within(count, Sequence(u64::MAX));
    }

    /// Commits all batches that end with this change or before it.
    pub fn commit_until(&self, last: Sequence) {
        self.commit_within(usize::MAX, last);
    }

    fn commit_within(&self, count: usize, last: Sequence) {
        let mut state = self.state();
        state.arrive();
        if state.failure.is_some() {
            return;
        }
        for _ in 0..count {
            let next = Sequence(state.durable.last().0 + 1);
            match state.waiting.first_key_value() {
                Some((first, batch)) if *first == next && batch.last <= last => {}
                _ => return,
            }
            if let Some((_, batch)) = state.waiting.pop_first() {
                state.keep(batch);
            }
        }
    }

    /// From now on nothing becomes durable any more.
    pub fn fail(&self, why: &str) {
        self.state().failure = Some(why.to_owned());
    }

    /// Somebody has repaired the disk. What was on its way when it failed may be there or not: see
    /// [`lose_power`](Self::lose_power).
    pub fn repair(&self) {
        self.state().failure = None;
    }

    /// From now on batches arrive out of order: some of them only at the next commit.
    pub fn shuffle(&self, seed: u64) {
        self.state().shuffle = Some(seed | 1);
    }

    /// From now on what is kept is not what was submitted.
    pub fn distort(&self, distortion: Distortion) {
        self.state().distortion = Some(distortion);
    }

    /// From now on batches are called durable that are not.
    pub fn lie(&self) {
        self.state().lies = true;
    }

    /// The power is lost. What was durable is there, and of the rest what was submitted up to `last`, which the disk had
    /// got without saying so.
    ///
    /// # Errors
    ///
    /// What is there does not fit together.
    pub fn lose_power(&self, last: Sequence) -> Result<Contents, String> {
        self.commit_until(last);
        let mut state = self.state();
        state.waiting.clear();
        state.late.clear();
        state.submitted = state.durable.last();
        match state.failure.clone() {
            Some(failure) => Err(failure),
            None => Ok(state.durable.contents()),
        }
    }

    /// What is there if the power is lost now.
    pub fn durable_state(&self) -> Replay {
        self.state().durable.clone()
    }

    /// The last change that was submitted, and those before it.
    pub fn submitted(&self) -> Sequence {
        self.state().submitted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it locked")
    }
}

impl State {
    fn arrive(&mut self) {
        for batch in core::mem::take(&mut self.late) {
            self.waiting.insert(batch.first(), batch);
        }
    }

    fn keep(&mut self, mut batch: PersistBatch) {
        if let Some(distortion) = &mut self.distortion {
            // What is left out leaves no gap in the numbers.
            let changes = batch.changes.drain(..);
            batch.changes = changes
                .map(|change| distortion(change).unwrap_or_else(nothing))
                .collect();
        }
        if let Err(error) = self.durable.add(batch) {
            self.failure = Some(error.to_string());
        }
    }
}

/// A change that changes nothing.
fn nothing() -> Change {
    Change::Dequeued {
        client_id: "nobody".into(),
        message: Sequence(0),
    }
}

impl Store for DelayedStore {
    fn submit(&self, batch: PersistBatch) {
        let mut state = self.state();
        state.submitted = state.submitted.max(batch.last);
        let is_late = state.shuffle.as_mut().is_some_and(|seed| {
            *seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            *seed >> 62 == 0
        });
        if is_late {
            state.late.push(batch);
        } else {
            state.waiting.insert(batch.first(), batch);
        }
        let is_prompt = state.prompt;
        drop(state);
        if is_prompt {
            self.commit(usize::MAX);
        }
    }

    fn durable(&self) -> Sequence {
        let state = self.state();
        if state.lies {
            state.submitted
        } else {
            state.durable.last()
        }
    }

    fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }
}
