//! What threads send to a reactor, and how they wake it: at most once, and not at all while it is awake.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use komar_broker_core::Outbox;
use parking_lot::Mutex;

use crate::open_listener::OpenListener;
use crate::publisher::OwnMessage;
use crate::reactor::{Listening, Moving};
use crate::reload::Pause;
use crate::transport::socket::{Peer, Socket};

/// Something for a reactor to do.
pub(crate) enum Mail {
    /// A Connection that was accepted by the reactor of the listeners.
    Accepted {
        socket: Socket,
        peer: Peer,
        listener: Arc<OpenListener>,
        /// It is one too many of a second.
        turned_away: bool,
    },
    /// A Connection that another reactor hands on.
    Moved(Box<Moving>),
    /// A password was checked; or the answer to a question of a Connection that has moved.
    Answer(komar_broker_core::Verdict),
    /// Output waits for a Connection that only its own reactor may write to.
    Flush(Arc<Outbox>),
    /// Answer, as a sign of life.
    Echo(std::sync::mpsc::Sender<()>),
    /// Messages of the embedder's own.
    Publish(Vec<OwnMessage>),
    /// Stand still while settings are swapped; then this is what listens, and all Connections are looked at again.
    Pause(Arc<Pause>, Option<Listening>),
    /// The server stops: publish what Will Messages are still to be published, end all Connections and the thread.
    Stop,
}

/// The letters for one reactor.
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Mail>>,
    /// Nobody reads any more. Changed with the letters locked.
    closed: AtomicBool,
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox {
            letters: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    pub(crate) fn send(&self, mail: Mail) {
        self.letters.lock().push(mail);
        self.wake();
    }

    /// As [`send`](Self::send), unless the reactor has stopped. `before` is done while no other letter can come, and before the
    /// reactor can have this one.
    pub(crate) fn offer(&self, mail: Mail, before: impl FnOnce()) -> Result<(), Mail> {
        let mut letters = self.letters.lock();
        if self.closed.load(Ordering::Relaxed) {
            return Err(mail);
        }
        before();
        letters.push(mail);
        drop(letters);
        self.wake();
        Ok(())
    }

    /// The reactor stops: what is left for it.
    pub(crate) fn close(&self) -> Vec<Mail> {
        let mut letters = self.letters.lock();
        self.closed.store(true, Ordering::Relaxed);
        core::mem::take(&mut letters)
    }

    /// Wakes the reactor if it sleeps.
    pub(crate) fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a reactor cannot be woken");
        }
    }

    /// As [`send`](Self::send), unless `maximum` letters wait already. Says whether it was sent.
    pub(crate) fn send_within(&self, mail: Mail, maximum: usize) -> bool {
        if self.letters.lock().len() >= maximum {
            return false;
        }
        self.send(mail);
        true
    }

    /// The reactor is about to sleep. `false`: there is mail, do not. What else there may be to do, the caller looks for
    /// after this.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        // A letter that was sent before the flag was seen is found here; a later one sees the flag.
        self.letters.lock().is_empty()
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Takes all letters; `into` is empty and gets them.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        core::mem::swap(&mut *self.letters.lock(), into);
    }
}
