//! The output of one Connection: what is encoded and not yet written, and who writes it.
//!
//! Any worker may append to any Outbox, under its lock. The flags make one thread at a time the flusher, and no lock
//! is held while bytes are written:
//!
//! ```text
//!            append                  take_output               output_done(All)
//!  idle ───────────────▶ dirty ───────────────────▶ sending ─────────────────────▶ idle
//!                          ▲                          │  ▲ └─ appended meanwhile ──▶ Again
//!                          │ writable edge            │  └─ edge while sending
//!                          └───────────── blocked ◀───┘ output_done(Blocked)
//! ```

use core::any::Any;
use std::sync::{Arc, Weak};

use komar_codec::ProtocolVersion;

use crate::error::CloseCause;
use crate::held::Held;
use crate::link::topic_alias::OutgoingAliases;
use crate::now::Millis;
use crate::output::{Output, Pool};
use crate::session::Session;
use crate::store::Sequence;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

/// The output of one network connection, shared by all that send to it.
pub struct Outbox {
    /// The driver's own, to find the Connection by.
    handle: Box<dyn Any + Send + Sync>,
    /// When the last whole packet came in, or, ahead of the present, until when nothing is read. Written by the worker
    /// that owns the Link, read by its timer.
    last_seen: AtomicU64,
    /// How long it may stay silent, in milliseconds; 0 for ever.
    patience: AtomicU32,
    /// Somebody has asked for it to be closed, as `state` says, too: for the Link, which looks at each input.
    closing: AtomicBool,
    state: Mutex<State>,
}

/// What [`Worker::take_output`](crate::Worker::take_output) finds.
#[derive(Debug)]
#[non_exhaustive]
pub enum Take {
    /// Bytes to write. The caller is the flusher until it reports [`Sent`].
    Output(Output),
    /// Nothing to do: nothing waits, or another thread is the flusher.
    Nothing,
    /// Everything is written and the Connection is to be closed.
    Close,
}

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of the output is written.
    All,
    /// The transport takes no more for now; it will report that it is writable.
    Blocked,
    /// The transport is broken.
    Failed,
}

/// What the flusher does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Nothing.
    Idle,
    /// Take output again: more came in, or the transport became writable meanwhile.
    Again,
    /// Close the Connection.
    Close,
}

pub(crate) struct State {
    dirty: bool,
    sending: bool,
    blocked: bool,
    /// A writable edge came while a thread was sending.
    writable: bool,
    /// The Session has more to send as soon as there is room.
    pub(crate) starved: bool,
    /// The transport is gone; nothing is appended any more.
    closed: bool,
    closing: Option<CloseCause>,
    pub(crate) version: ProtocolVersion,
    /// Largest packet that the other side takes. v5 [MQTT-3.1.2-24]
    pub(crate) maximum_packet_size: u32,
    pub(crate) topic_aliases: Option<Box<OutgoingAliases>>,
    output: Output,
    /// What a partial write left over. Sent before `output`.
    rest: Option<Box<Output>>,
    /// Bytes that the flusher has taken.
    taken: usize,
    /// Bytes that are counted in the total of slow Connections: [`State::share`] as it was last.
    counted: usize,
    session: Weak<Session>,
    /// Acknowledgements that the store has not come up to.
    pub(crate) held: Option<Box<Held>>,
    /// Nothing is written before this change is durable; 0: nothing is held up.
    pub(crate) gate: Sequence,
}

impl Outbox {
    pub(crate) fn new(handle: Box<dyn Any + Send + Sync>, now: Millis, patience: u32) -> Outbox {
        Outbox {
            handle,
            last_seen: AtomicU64::new(now.0),
            patience: AtomicU32::new(patience),
            closing: AtomicBool::new(false),
            state: Mutex::new(State {
                dirty: false,
                sending: false,
                blocked: false,
                writable: false,
                starved: false,
                closed: false,
                closing: None,
                version: ProtocolVersion::V3_1_1,
                maximum_packet_size: u32::MAX,
                topic_aliases: None,
                output: Output::default(),
                rest: None,
                taken: 0,
                counted: 0,
                session: Weak::new(),
                held: None,
                gate: Sequence(0),
            }),
        }
    }

    /// The driver's own value, as it was given to [`Worker::open`](crate::Worker::open).
    pub fn handle(&self) -> &(dyn Any + Send + Sync) {
        self.handle.as_ref()
    }

    /// Why the Connection is being closed, if it is.
    pub fn close_cause(&self) -> Option<CloseCause> {
        self.lock().closing
    }

    /// Whether the Connection is there and nobody has asked for it to be closed. Work for one that is not, such as the
    /// check of a password, is work for nobody.
    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    /// See [`Broker::waiting_packets`](crate::Broker::waiting_packets).
    pub(crate) fn waiting_packets(&self) -> usize {
        self.lock().waiting_packets()
    }

    /// Whether somebody has asked for it to be closed: what its client sends from then on is not handled.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn seen(&self, now: Millis) {
        self.last_seen.store(now.0, Ordering::Relaxed);
    }

    /// It is not listened to before `until`, so it is not silent as long. Of several reasons the last to end counts.
    pub(crate) fn unheard_until(&self, until: Millis) {
        if until > self.last_seen() {
            self.seen(until);
        }
    }

    pub(crate) fn last_seen(&self) -> Millis {
        Millis(self.last_seen.load(Ordering::Relaxed))
    }

    pub(crate) fn set_patience(&self, milliseconds: u32) {
        self.patience.store(milliseconds, Ordering::Relaxed);
    }

    /// When the Connection has been silent for too long.
    pub(crate) fn deadline(&self) -> Millis {
        match self.patience.load(Ordering::Relaxed) {
            0 => Millis::NEVER,
            patience => Millis(self.last_seen().0.saturating_add(u64::from(patience))),
        }
    }

    /// When to look again whether it is silent; [`Millis::NEVER`], if it may be. At one that is not listened to, soon: it may
    /// be listened to again at any moment, and has a nearer deadline from then on.
    pub(crate) fn next_look(&self, now: Millis) -> Millis {
        let deadline = self.deadline();
        if deadline == Millis::NEVER || self.last_seen() <= now {
            return deadline;
        }
        let patience = u64::from(self.patience.load(Ordering::Relaxed));
        Millis(now.0.saturating_add(patience.min(LOOK_AGAIN)))
    }

    /// Makes the caller the flusher if there is something to write and nobody else is writing.
    pub(crate) fn take_output(&self) -> Take {
        let mut state = self.lock();
        state.dirty = false;
        if state.sending || state.closed || state.blocked {
            return Take::Nothing;
        }
        if state.gate != Sequence(0) {
            if state.closing.is_none() {
                return Take::Nothing;
            }
            // The promise was not kept, so it is not made.
            state.output = Output::default();
        }
        let output = match state.rest.take() {
            Some(rest) => *rest,
            None => core::mem::take(&mut state.output),
        };
        if output.is_empty() {
            state.output = output;
            return if state.closing.is_some() {
                Take::Close
            } else {
                Take::Nothing
            };
        }
        state.sending = true;
        state.writable = false;
        state.taken = output.len();
        Take::Output(output)
    }

    /// Ends the caller's time as the flusher. The second value is the Session that waits for room.
    pub(crate) fn output_done(
        &self,
        output: Output,
        sent: Sent,
        total: &AtomicUsize,
    ) -> (Next, Option<Output>, Option<Arc<Session>>) {
        let mut state = self.lock();
        state.sending = false;
        state.taken = 0;
        if state.closed {
            // Its owner has closed it meanwhile: what is left is nobody's, and nobody would take it off the total again.
            state.discard(total);
            return (Next::Idle, Some(output), None);
        }
        match sent {
            Sent::Failed => {
                state.closed = true;
                state.discard(total);
                (Next::Close, Some(output), None)
            }
            // A peer that does not even take our last words gets no more time for them.
            Sent::Blocked if state.closing.is_some() && !output.is_empty() => {
                state.discard(total);
                (Next::Close, Some(output), None)
            }
            Sent::Blocked if !output.is_empty() => {
                state.rest = Some(Box::new(output));
                state.blocked = !state.writable;
                state.recount(total);
                (if state.blocked { Next::Idle } else { Next::Again }, None, None)
            }
            Sent::All | Sent::Blocked => {
                state.recount(total);
                let empty = state.output.is_empty() && state.rest.is_none();
                let waiting = (empty && state.starved).then(|| {
                    state.starved = false;
                    state.session.upgrade()
                });
                let next = match (empty, state.closing) {
                    (false, _) => Next::Again,
                    (true, Some(_)) => Next::Close,
                    (true, None) => Next::Idle,
                };
                (next, Some(output), waiting.flatten())
            }
        }
    }

    /// A writable edge. Returns whether the caller has to put the Outbox on its dirty list.
    pub(crate) fn writable(&self) -> bool {
        let mut state = self.lock();
        if state.sending {
            state.writable = true;
            return false;
        }
        if !state.blocked {
            return false;
        }
        state.blocked = false;
        state.mark_dirty()
    }

    /// Asks for the Connection to be closed once what waits is written. The first cause counts. Returns whether
    /// the caller has to put the Outbox on its dirty list.
    pub(crate) fn close(&self, cause: CloseCause) -> bool {
        let mut state = self.lock();
        self.close_locked(&mut state, cause);
        state.mark_dirty()
    }

    /// As [`close`](Self::close), with the Outbox locked by the caller.
    pub(crate) fn close_locked(&self, state: &mut State, cause: CloseCause) {
        state.close(cause);
        self.closing.store(true, Ordering::Relaxed);
    }

    /// The transport is gone.
    pub(crate) fn closed(&self, total: &AtomicUsize) {
        let mut state = self.lock();
        state.closed = true;
        state.session = Weak::new();
        state.discard(total);
    }
}

/// In which steps acknowledgements count that the store holds up, in bytes.
const HELD_STEP: usize = 16 << 10;

/// How late it may be noticed, in milliseconds, that the time for CONNECT is over that stopped meanwhile. Keep alive is
/// noticed in time.
const LOOK_AGAIN: u64 = 5000;

impl core::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = self.lock();
        f.debug_struct("Outbox")
            .field("version", &state.version)
            .field("waiting", &state.waiting())
            .field("closing", &state.closing)
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Whether anything may be appended: the transport is there, and nobody has asked for it to be closed.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed && self.closing.is_none()
    }

    /// See [`Outbox::close`].
    fn close(&mut self, cause: CloseCause) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(cause);
        // A peer that takes nothing must not keep the Connection open: what is blocked is given up.
        if self.blocked {
            self.blocked = false;
            self.rest = None;
            self.output = Output::default();
        }
    }

    /// Encoded bytes that wait or are being written.
    pub(crate) fn waiting(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len());
        let held = self.held.as_ref().map_or(0, |held| held.len());
        self.output
            .len()
            .saturating_add(rest)
            .saturating_add(self.taken)
            .saturating_add(held)
    }

    /// Packets among the bytes of a Connection whose transport takes no more; 0 for others.
    fn waiting_packets(&self) -> usize {
        if !self.blocked {
            return 0;
        }
        let rest = self.rest.as_ref().map_or(0, |rest| rest.packets());
        let held = self.held.as_ref().map_or(0, |held| held.packets());
        self.output.packets().saturating_add(rest).saturating_add(held)
    }

    #[inline]
    pub(crate) fn output(&mut self, pool: &mut Pool) -> &mut Output {
        self.output.ensure_buffer(pool);
        &mut self.output
    }

    /// Returns whether the caller has to put the Outbox on its dirty list.
    pub(crate) fn mark_dirty(&mut self) -> bool {
        !self.dirty && !self.sending && !self.blocked && !self.closed && {
            self.dirty = true;
            true
        }
    }

    /// How many Topic Aliases we may use on this Connection.
    pub(crate) fn set_topic_alias_maximum(&mut self, maximum: u16) {
        self.topic_aliases = OutgoingAliases::new(maximum);
    }

    /// Whether what is appended stays here: the transport takes nothing, or CONNACK waits for the store.
    pub(crate) fn is_stopped(&self) -> bool {
        self.blocked || self.gate != Sequence(0)
    }

    /// Bytes that wait for more than the turn's end, and count in the total of slow Connections. Of one that is written,
    /// these are acknowledgements that the store holds up; a few are not worth counting.
    pub(crate) fn share(&self) -> usize {
        if self.is_stopped() {
            return self.waiting();
        }
        let held = self.held.as_ref().map_or(0, |held| held.len());
        held - held % HELD_STEP
    }

    /// Whether more waits than is to be put up with where all together hold too much: the client does not read, or the store
    /// holds up more than what comes of packets that a client sends before it has its CONNACK.
    pub(crate) fn is_piling_up(&self) -> bool {
        self.blocked || self.share() >= HELD_STEP
    }

    pub(crate) fn bind(&mut self, session: &Arc<Session>) {
        self.session = Arc::downgrade(session);
    }

    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.upgrade()
    }

    /// Everything up to `durable` is stored: lets go what rests on no more.
    pub(crate) fn release(&mut self, durable: Sequence, pool: &mut Pool) {
        if self.gate <= durable {
            self.gate = Sequence(0);
        }
        if !self.is_open() {
            self.held = None;
        } else if let Some(held) = &mut self.held {
            let free = held.release(durable);
            self.output.ensure_buffer(pool);
            self.output.buffer().extend_from_slice(free);
        }
    }

    /// Brings this Connection's share of the total of slow Connections up to date.
    pub(crate) fn recount(&mut self, total: &AtomicUsize) {
        let now = self.share();
        if now > self.counted {
            total.fetch_add(now - self.counted, Ordering::Relaxed);
        } else if now < self.counted {
            total.fetch_sub(self.counted - now, Ordering::Relaxed);
        }
        self.counted = now;
    }

    fn discard(&mut self, total: &AtomicUsize) {
        self.rest = None;
        self.output = Output::default();
        self.blocked = false;
        self.gate = Sequence(0);
        self.held = None;
        self.recount(total);
    }
}
