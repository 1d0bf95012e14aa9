//! What other threads leave for a worker: verdicts, wishes of an operator.

use std::sync::{Arc, OnceLock};

use komar_codec::ReasonCode;

use crate::access::Verdict;
use crate::outbox::Outbox;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Makes the driver begin a turn soon; called from any thread.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// Something for a worker to do in its next turn.
pub(crate) enum Letter {
    /// A question was answered.
    Verdict(Verdict),
    /// A Connection is to be closed.
    Kick(Arc<Outbox>, ReasonCode),
    /// A client of the same process is to be taken in.
    #[cfg(feature = "in-process")]
    LocalOpened(Box<crate::local::Opening>),
    /// A client of the same process has something for its worker.
    #[cfg(feature = "in-process")]
    Local(u64),
}

/// The letters for one worker. Not bounded by itself: there are no more verdicts than questions, and those are bounded by
/// the Links that wait; an operator's wishes come one by one.
#[derive(Default)]
pub(crate) struct Inbox {
    letters: Mutex<Vec<Letter>>,
    /// There are letters, and the driver has been woken for them.
    waiting: AtomicBool,
    wake: OnceLock<Wake>,
    /// Its worker is gone, and nobody reads.
    over: AtomicBool,
}

impl Inbox {
    /// Leaves a letter, and wakes the driver for the first one.
    pub(crate) fn send(&self, letter: Letter) {
        self.letters.lock().push(letter);
        self.call();
        // Whoever pushes behind the end has to clear away: the lock shows it what the worker did before.
        if self.is_over() {
            self.clear();
        }
    }

    /// Its worker is gone: letters are dropped, and what depends on them learns of it.
    pub(crate) fn close(&self) {
        self.over.store(true, Ordering::Release);
        self.clear();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn clear(&self) {
        let letters = core::mem::take(&mut *self.letters.lock());
        drop(letters);
    }

    /// Wakes the driver, unless it has been woken for the next turn.
    pub(crate) fn call(&self) {
        if !self.waiting.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// Only the first one counts.
    pub(crate) fn set_wake(&self, wake: Wake) {
        // A second one is a mistake that changes nothing: the first still wakes the driver.
        let _ = self.wake.set(wake);
    }

    pub(crate) fn has_letters(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes all letters; nothing is locked while they are read.
    pub(crate) fn take(&self) -> Vec<Letter> {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        core::mem::take(&mut *self.letters.lock())
    }
}
