//! How busy a reactor is, and Connections that go from a busy one to one that is not.
//!
//! A Connection is moved between two turns, when everything that was read from it has been handled:
//!
//! 1. It is taken off this reactor's poll and out of its list.
//! 2. It goes into the other reactor's mailbox, and only then its Address says so: whatever is sent to it after that comes
//!    behind it. What was sent before is in our mailbox, and goes on from here ([`Reactor::forward`]).
//! 3. The other reactor registers it, which tells of what has come meanwhile, writes what was put out for it on the way, and
//!    reads once.
//!
//! Its timers stay where they are: they look at the Outbox, and any thread may write to a plain one.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::{LinkState, Outbox};
use mio::Token;

use super::Reactor;
use crate::connection::{Address, Connection};
use crate::mailbox::Mail;
use crate::server::Placement;

/// What a reactor says of itself to the others.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU64);

impl Load {
    /// Parts of a thousand of its time that it did not sleep, in the window that ended at `end` milliseconds.
    fn show(&self, end: u64, permille: u64) {
        self.0.store(end << 16 | permille.min(1000), Ordering::Relaxed);
    }

    /// The figure of its last window; 0 if it has slept since.
    fn permille(&self, now: u64) -> u64 {
        let shown = self.0.load(Ordering::Relaxed);
        if now.saturating_sub(shown >> 16) > 2 * WINDOW_MILLISECONDS {
            0
        } else {
            shown & 0xFFFF
        }
    }
}

/// The time that is looked at together.
#[derive(Default)]
pub(super) struct Window {
    /// Since the start of the server.
    began: Duration,
    /// What the thread had worked by then.
    worked: Duration,
    /// Windows in a row in which there was too much to do.
    busy: u32,
}

/// A Connection on its way to another reactor.
pub(crate) struct Moving {
    connection: Connection,
    /// Reloads that it has seen.
    reloads: u64,
}

impl Reactor {
    /// Once a window: says how busy this reactor was, and hands Connections on if there is too much to do. `now` is when the
    /// turn began.
    pub(super) fn spread(&mut self, now: Duration) {
        // Other systems' sockets stay with the poll that they were registered with first.
        if self.common.mailboxes.len() < 2 || !cfg!(unix) {
            return;
        }
        if self.common.placement == Placement::Restless {
            return self.scatter();
        }
        let length = now.saturating_sub(self.window.began);
        if length < WINDOW {
            return;
        }
        // The processor's time and not the clock's: what other programs take is no work of ours.
        let worked = thread_time();
        let permille =
            worked.saturating_sub(self.window.worked).as_micros() * 1000 / length.as_micros().max(1);
        let permille = u64::try_from(permille).unwrap_or(1000);
        let busy = if permille >= TOO_BUSY {
            self.window.busy + 1
        } else {
            0
        };
        let is_busy = busy >= WINDOWS;
        self.window = Window {
            began: now,
            worked,
            busy,
        };
        let milliseconds = self.common.milliseconds();
        self.common.busy[self.number].show(milliseconds, permille);
        let active = core::mem::take(&mut self.active);
        if is_busy && self.common.placement == Placement::Pack {
            self.relieve(&active, milliseconds, permille);
        }
        self.forget(active);
    }

    /// Notes what was read from a Connection.
    #[inline]
    pub(super) fn note_read(&mut self, key: usize, count: usize) {
        if self.common.mailboxes.len() > 1
            && let Some(connection) = self.connections.get_mut(key)
        {
            if connection.bytes_read == 0 {
                self.active.push(key);
            }
            connection.bytes_read = connection.bytes_read.saturating_add(count);
        }
    }

    /// Begins to count anew.
    fn forget(&mut self, mut active: Vec<usize>) {
        for key in active.drain(..) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.bytes_read = 0;
            }
        }
        self.active = active;
    }

    /// The reactor for a new Connection: the first that is not busy, or the least busy.
    pub(super) fn first_idle(&self) -> usize {
        let now = self.common.milliseconds();
        let busy = self.common.busy.iter().map(|load| load.permille(now));
        let mut least = (u64::MAX, 0);
        for (number, permille) in busy.enumerate() {
            if permille < BUSY {
                return number;
            }
            least = least.min((permille, number));
        }
        least.1
    }

    /// Hands Connections on to the least busy reactor, until both have about as much to do.
    fn relieve(&mut self, active: &[usize], now: u64, permille: u64) {
        let others = self.common.busy.iter().enumerate();
        let others = others.filter(|(number, _)| *number != self.number);
        let Some((theirs, target)) = others.map(|(number, load)| (load.permille(now), number)).min() else {
            return;
        };
        let surplus = permille.saturating_sub(theirs) / 2;
        if surplus < WORTH_IT {
            return;
        }
        let connections = &self.connections;
        let found = active
            .iter()
            .filter_map(|key| Some((*key, connections.get(*key)?)));
        let total: usize = found.clone().map(|(_, connection)| connection.bytes_read).sum();
        // What is read stands for the work that it makes.
        let surplus = usize::try_from(surplus).unwrap_or(0);
        let mut left = total / 1000 * surplus * 1000 / usize::try_from(permille).unwrap_or(1).max(1);
        let mut keys = Vec::new();
        for (key, connection) in found {
            // One that makes more work than is to go stays: the crowd would only move with it.
            if connection.bytes_read <= left && now >= connection.stays_until && is_movable(connection) {
                left -= connection.bytes_read;
                keys.push(key);
                if keys.len() >= MOVES {
                    break;
                }
            }
        }
        for key in keys {
            self.hand_over(key, target);
        }
    }

    /// Hands every Connection that was read from on to the next reactor; for tests of moving.
    fn scatter(&mut self) {
        let active = core::mem::take(&mut self.active);
        let target = (self.number + 1) % self.common.mailboxes.len();
        for key in &active {
            if self.connections.get(*key).is_some_and(is_movable) {
                self.hand_over(*key, target);
            }
        }
        self.forget(active);
    }

    fn hand_over(&mut self, key: usize, target: usize) {
        let Some(mut connection) = self.connections.try_remove(key) else {
            return;
        };
        if connection.socket.leave(self.poll.registry()).is_err() {
            self.keep(connection);
            return;
        }
        connection.reading = false;
        self.reading.retain(|other| *other != key);
        self.common.loads[self.number].fetch_sub(1, Ordering::Relaxed);
        self.common.loads[target].fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::clone(connection.link.outbox());
        let moving = Mail::Moved(Box::new(Moving {
            connection,
            reloads: self.common.reloads.load(Ordering::Relaxed),
        }));
        // Said before it can be there, and thus before it can have gone on: what is sent to it comes behind it.
        let say_where = || {
            if let Some(address) = Address::of(&outbox) {
                address.set_reactor(target);
            }
        };
        match self.common.mailboxes[target].offer(moving, say_where) {
            Ok(()) => {}
            // It has stopped; so shall we, and say goodbye.
            Err(mail) => {
                self.common.loads[self.number].fetch_add(1, Ordering::Relaxed);
                self.common.loads[target].fetch_sub(1, Ordering::Relaxed);
                if let Mail::Moved(moving) = mail {
                    self.keep(moving.connection);
                }
            }
        }
    }

    /// A Connection that another reactor hands on.
    pub(super) fn take_over(&mut self, moving: Moving) {
        let outbox = Arc::clone(moving.connection.link.outbox());
        let key = self.keep(moving.connection);
        // What came for it while it was on its way: we were said to have it, and could not find it.
        self.flush(&outbox);
        if moving.reloads != self.common.reloads.load(Ordering::Relaxed) {
            self.look_again(key);
        }
    }

    /// Registers a Connection that has come from elsewhere.
    fn keep(&mut self, mut connection: Connection) -> usize {
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let registered = connection.socket.join(self.poll.registry(), Token(key));
        if let Some(address) = Address::of(connection.link.outbox()) {
            address.set_place(self.number, key);
        }
        connection.bytes_read = 0;
        connection.stays_until = self.common.milliseconds().saturating_add(STAY_MILLISECONDS);
        connection.reading = true;
        entry.insert(connection);
        self.reading.push(key);
        if let Err(error) = registered {
            tracing::error!("cannot go on with a connection: {error}; it is closed");
            self.refuse(key);
        }
        key
    }

    /// Sends a letter on that was for a Connection which has moved. `false`: it has gone.
    pub(super) fn forward(&self, outbox: &Outbox, mail: Mail) -> bool {
        let mailbox = Address::of(outbox)
            .map(Address::reactor)
            .filter(|reactor| *reactor != self.number)
            .and_then(|reactor| self.common.mailboxes.get(reactor));
        mailbox.is_some_and(|mailbox| {
            mailbox.send(mail);
            true
        })
    }
}

/// Whether nothing binds a Connection to this moment: no question is open, no handshake, no goodbye.
fn is_movable(connection: &Connection) -> bool {
    connection.link.state() == LinkState::Open
        && !connection.read_closed
        && !connection.closing
        && connection
            .layers
            .as_ref()
            .is_none_or(|layers| layers.is_settled())
}

/// What the calling thread has worked.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    Duration::ZERO
}

/// How long a reactor is watched before it says how busy it is.
const WINDOW: Duration = Duration::from_millis(WINDOW_MILLISECONDS);
const WINDOW_MILLISECONDS: u64 = 100;
/// New Connections go elsewhere.
const BUSY: u64 = 600;
/// Connections go elsewhere, if it stays so for some windows.
const TOO_BUSY: u64 = 850;
const WINDOWS: u32 = 2;
/// Parts of a thousand of a reactor's time that have to be won.
const WORTH_IT: u64 = 150;
/// Connections that go in one window.
const MOVES: usize = 256;
/// How long a Connection stays where it has come to, in milliseconds.
const STAY_MILLISECONDS: u64 = 2000;
