//! The store behind a server: a thread of its own commits what the reactors hand out, as much at a time as has come.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use komar_broker_core::store::{Arrivals, Commit, PersistBatch, Sequence, Store};
use parking_lot::{Condvar, Mutex};

/// Runs a [`Commit`] on a thread of its own, as the [`Store`] of a [server](crate::ServerBuilder::store). Whatever has come
/// while it was at one batch goes in the next: the slower the disk, the larger the batches.
///
/// Dropped, it commits what it has, and ends the thread.
pub struct CommitThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    /// Number of the last change that is durable.
    durable: AtomicU64,
    failure: OnceLock<String>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct State {
    arrivals: Arrivals,
    ending: bool,
}

impl CommitThread {
    /// Starts the thread. `last` is the number of the last change that the store has, as in
    /// [`Contents::last`](komar_broker_core::store::Contents::last).
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn start(commit: impl Commit + 'static, last: Sequence) -> io::Result<CommitThread> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                arrivals: Arrivals::after(last),
                ending: false,
            }),
            durable: AtomicU64::new(last.0),
            ..Shared::default()
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("komar-store".to_owned())
            .spawn(move || own.run(commit))?;
        Ok(CommitThread {
            shared,
            thread: Some(thread),
        })
    }
}

impl Store for CommitThread {
    fn submit(&self, batch: PersistBatch) {
        self.shared.state.lock().arrivals.put(batch);
        self.shared.arrived.notify_one();
    }

    fn durable(&self) -> Sequence {
        Sequence(self.shared.durable.load(Ordering::Acquire))
    }

    fn set_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        if self.shared.wake.set(wake).is_err() {
            tracing::error!("a store serves one server at a time");
        }
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure.get().cloned()
    }
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.shared.state.lock().ending = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread ended by a panic");
        }
    }
}

impl core::fmt::Debug for CommitThread {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CommitThread")
            .field("durable", &self.durable())
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn run(&self, mut commit: impl Commit) {
        let _failed_if_it_panics = FailedByPanic(self);
        while let Some(batch) = self.next() {
            if let Err(error) = commit.commit(&batch) {
                self.fail(error.to_string());
                return;
            }
            self.durable.store(batch.last.0, Ordering::Release);
            self.wake();
        }
    }

    /// All that can be committed now; waits until there is something. `None`: there will be nothing more.
    fn next(&self) -> Option<PersistBatch> {
        let mut state = self.state.lock();
        loop {
            if let Some(batch) = state.arrivals.take() {
                return Some(batch);
            }
            if state.ending {
                return None;
            }
            self.arrived.wait(&mut state);
        }
    }

    fn fail(&self, why: String) {
        // The first one counts.
        let _ = self.failure.set(why);
        self.wake();
    }

    fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}

/// A store that panics has failed.
struct FailedByPanic<'a>(&'a Shared);

impl Drop for FailedByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("it has panicked".to_owned());
        }
    }
}
