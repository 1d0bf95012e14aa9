//! One thread's view of the broker: its caches, its buffers, its timers, and the turn.

use core::any::Any;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::{PacketIdentifier, QoS, ReasonCode};
use komar_passwd::{PasswordCheck, PasswordVerdict};
use komar_topic::TopicName;

use crate::access::{Access, Answer, Authentication, Identity, Verdict};
use crate::broker::{Broker, Shared};
use crate::config::{BrokerConfig, Limits, ListenerPolicy};
use crate::counts::{Counts, Tally};
use crate::error::CloseCause;
use crate::event::Event;
use crate::held::Waiter;
use crate::inbox::{Inbox, Letter};
use crate::journal::{Journal, Together};
use crate::link::Link;
use crate::link::pressure::Pressed;
use crate::message::{Message, MessageBody};
use crate::now::{Millis, Now};
use crate::outbox::{Next, Outbox, Sent, State, Take};
use crate::output::{Output, Pool};
use crate::publish_out::Encoded;
use crate::rate::Slowed;
use crate::replies::Replies;
use crate::router::{Origin, TopicCache};
use crate::session::Session;
use crate::session::inflight::Queued;
use crate::session::unreleased::Released;
use crate::session::will::WillMessage;
use crate::store::Sequence;
use crate::timer::{Timer, Timers};

/// A source of randomness: fills the slice.
pub type Entropy = Box<dyn FnMut(&mut [u8]) + Send>;

/// One driver thread's part of a [`Broker`]. See the crate's front page for the turn.
pub struct Worker {
    pub(crate) broker: Arc<Shared>,
    pub(crate) fx: Effects,
    pub(crate) cache: TopicCache,
    /// The settings in force, of the same moment as `access`.
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) access: CurrentAccess,
    pub(crate) timers: Timers,
    pub(crate) notes_subscriptions: bool,
    /// Links that publish too fast.
    pub(crate) slowed: Slowed,
    due: Vec<Timer>,
    swept: Millis,
    pub(crate) entropy: Entropy,
    pub(crate) checks: VecDeque<PasswordRequest>,
    /// Messages of the broker itself that wait to be routed: a turn's work never nests.
    pub(crate) wills: VecDeque<(Arc<Identity>, WillMessage)>,
    /// Messages of Shared Subscriptions whose members have ended.
    pub(crate) orphans: VecDeque<Orphan>,
    /// Messages of hooks, likewise.
    pub(crate) posts: VecDeque<MessageBody>,
    /// Bytes of those that disconnect hooks have published.
    pub(crate) posted_bytes: usize,
    /// A hook wants the Connection closed that it was called for.
    pub(crate) ending: Option<ReasonCode>,
    /// What PUBREL packets of the input at hand release, until it is routed.
    pub(crate) released: Vec<(PacketIdentifier, Released)>,
    tally: Arc<Tally>,
    /// What other threads leave for this worker.
    pub(crate) inbox: Arc<Inbox>,
    /// Links that are not read for a moment, by when that is over.
    pub(crate) pressed: VecDeque<Pressed>,
    /// Answers for Links, to be given to them by the driver.
    pub(crate) verdicts: VecDeque<Verdict>,
    /// Clients of the same process that this worker drives.
    #[cfg(feature = "in-process")]
    pub(crate) locals: std::collections::HashMap<u64, crate::local::Local>,
}

/// A message that looks for another member of its Shared Subscription.
pub(crate) struct Orphan {
    pub(crate) queued: Queued,
    /// It is stored for the next member in one batch with the end of the one before.
    pub(crate) together: Option<Arc<Together>>,
}

/// What a step of the state machines leaves behind for the driver and for other workers.
pub(crate) struct Effects {
    /// `None`: nothing is stored.
    pub(crate) journal: Option<Arc<Journal>>,
    /// The change that the packet at hand has caused last; 0: none.
    pub(crate) recorded: Sequence,
    /// Who goes on when which change is durable, in the order of changes.
    pub(crate) waiters: VecDeque<(Sequence, Waiter)>,
    pub(crate) counts: Counts,
    pub(crate) now: Millis,
    pub(crate) unix: Duration,
    /// Empty buffers for Outboxes that have something to send.
    pub(crate) pool: Pool,
    dirty: VecDeque<Arc<Outbox>>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) notes_packets: bool,
    /// [`Limits::maximum_noted_packets`].
    pub(crate) maximum_noted_packets: usize,
    /// Packets that there was no room for among the events.
    pub(crate) not_noted: u64,
    pub(crate) scratch: Vec<u8>,
    bounds: OutputBounds,
    /// [`Limits::maximum_undurable_bytes`].
    pub(crate) maximum_undurable_bytes: usize,
    /// [`Limits::maximum_waiting_bytes`].
    pub(crate) maximum_waiting_bytes: usize,
    pub(crate) encoded: Encoded,
    pub(crate) replies: Replies,
    /// Properties of the PUBLISH that is being handled, as they are passed on.
    pub(crate) forwarded_buffer: Vec<u8>,
    /// Sessions whose retained messages go on.
    pub(crate) walking: VecDeque<Arc<Session>>,
    pub(crate) broker: Arc<Shared>,
}

/// The rules in force, with the epoch that remembered verdicts are marked with.
pub(crate) struct CurrentAccess {
    pub(crate) epoch: u64,
    pub(crate) access: Access,
}

/// A password that waits to be checked off the turn: [`run`](Self::run) it on any thread.
#[derive(Debug)]
pub struct PasswordRequest {
    /// The Connection that waits for it.
    pub outbox: Arc<Outbox>,
    pub(crate) check: PasswordCheck,
    /// The number of the question, which the Link knows.
    pub(crate) ticket: u32,
}

impl PasswordRequest {
    /// Checks the password, which takes as long as its hash asks for. The answer goes to [`Worker::verdict`].
    #[must_use]
    pub fn run(self) -> Verdict {
        let reply = match self.check.run() {
            PasswordVerdict::Accepted { .. } => Authentication::Accept,
            PasswordVerdict::Refused => Authentication::Refuse(ReasonCode::NotAuthorized),
        };
        answer(self.outbox, self.ticket, reply)
    }

    /// Refuses the login without a look at the password: too many wait. The answer goes to [`Worker::verdict`].
    #[must_use]
    pub fn refuse(self) -> Verdict {
        let reply = Authentication::Refuse(ReasonCode::NotAuthorized);
        answer(self.outbox, self.ticket, reply)
    }
}

fn answer(outbox: Arc<Outbox>, ticket: u32, reply: Authentication) -> Verdict {
    Verdict {
        outbox,
        ticket,
        place: 0,
        answer: Answer::Login(reply),
    }
}

/// What a turn leaves to the driver.
#[derive(Debug)]
#[non_exhaustive]
pub struct TurnEnd {
    /// When the next turn is due even if nothing happens: how long to wait at the most. `None`: for ever.
    pub wait: Option<Duration>,
    /// What is to be made durable.
    pub persist: crate::store::PersistBatch,
}

impl Worker {
    /// Makes the worker of one thread. `entropy` names clients that leave that to the broker.
    pub fn new(broker: &Broker, now: Now, entropy: Entropy) -> Worker {
        let shared = Arc::clone(&broker.shared);
        let now_millis = Millis::from(now);
        let (epoch, rules) = (shared.rules_epoch(), shared.rules());
        let bounds = OutputBounds::from(&rules.config.limits);
        let maximum_undurable_bytes = rules.config.limits.maximum_undurable_bytes;
        let maximum_waiting_bytes = rules.config.limits.maximum_waiting_bytes;
        let maximum_noted_packets = rules.config.limits.maximum_noted_packets;
        let restored = shared.restored.lock().take().unwrap_or_default();
        let mut timers = Timers::new(now_millis);
        for (due, timer) in restored.timers {
            timers.add(due, timer);
        }
        Worker {
            cache: TopicCache::new(shared.hasher.clone(), rules.config.limits.maximum_cached_targets),
            access: CurrentAccess {
                epoch,
                access: rules.access,
            },
            config: rules.config,
            timers,
            notes_subscriptions: false,
            slowed: Slowed::default(),
            due: Vec::new(),
            swept: now_millis,
            entropy,
            checks: VecDeque::new(),
            wills: restored.wills.into(),
            orphans: VecDeque::new(),
            posts: VecDeque::new(),
            posted_bytes: 0,
            ending: None,
            released: Vec::new(),
            tally: shared.tallies.add(),
            inbox: shared.add_inbox(),
            pressed: VecDeque::new(),
            verdicts: VecDeque::new(),
            #[cfg(feature = "in-process")]
            locals: std::collections::HashMap::new(),
            fx: Effects {
                journal: shared.journal.clone(),
                recorded: Sequence(0),
                waiters: VecDeque::new(),
                counts: Counts::default(),
                now: now_millis,
                unix: now.unix,
                pool: Pool::default(),
                dirty: VecDeque::new(),
                events: VecDeque::new(),
                notes_packets: false,
                maximum_noted_packets,
                not_noted: 0,
                scratch: Vec::new(),
                bounds,
                maximum_undurable_bytes,
                maximum_waiting_bytes,
                encoded: Encoded::default(),
                replies: Replies::default(),
                forwarded_buffer: Vec::new(),
                walking: VecDeque::new(),
                broker: Arc::clone(&shared),
            },
            broker: shared,
        }
    }

    /// Begins a turn: takes the time, notices new rules and settings, and looks at the timers that are due.
    pub fn turn_begin(&mut self, now: Now) {
        self.fx.now = Millis::from(now);
        self.fx.unix = now.unix;
        let epoch = self.take_access();
        if self.inbox.has_letters() {
            self.read_letters();
        }
        self.expire_timers();
        self.wake_slowed();
        self.relieve();
        self.expire_retained();
        if self.fx.now >= self.swept.after(SWEEP_EVERY) {
            self.swept = self.fx.now;
            let broker = &self.broker;
            self.cache.sweep(|stripes| broker.stamp(stripes, epoch));
        }
    }

    /// Begins a Connection. `handle` is the driver's own value, to be found again in
    /// [`Outbox::handle`].
    pub fn open(&mut self, handle: Box<dyn Any + Send + Sync>, policy: &Arc<ListenerPolicy>) -> Link {
        let timeout = self.config.limits.connect_timeout;
        let patience = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let outbox = Arc::new(Outbox::new(handle, self.fx.now, patience));
        self.timers.add(outbox.deadline(), Timer::silence(&outbox));
        self.fx.counts.connections_opened += 1;
        Link::new(outbox, Arc::clone(policy))
    }

    /// The next Connection that has something to be written or is to be closed. The driver calls
    /// [`take_output`](Self::take_output) for it, on this thread or on the one that owns the transport.
    pub fn next_dirty(&mut self) -> Option<Arc<Outbox>> {
        #[cfg(feature = "in-process")]
        while let Some(outbox) = self.fx.dirty.pop_front() {
            if !self.write_locally(&outbox) {
                return Some(outbox);
            }
        }
        self.fx.dirty.pop_front()
    }

    /// Takes what is to be written. Whoever gets [`Take::Output`] reports with
    /// [`output_done`](Self::output_done).
    pub fn take_output(&mut self, outbox: &Outbox) -> Take {
        let take = outbox.take_output();
        if let Take::Output(output) = &take {
            self.fx.counts.bytes_sent += output.len() as u64;
        }
        take
    }

    /// Reports how writing ended and gives the buffer back.
    pub fn output_done(&mut self, outbox: &Arc<Outbox>, output: Output, sent: Sent) -> Next {
        // What is left is counted when it is taken again.
        self.fx.counts.bytes_sent -= output.len() as u64;
        let (next, output, waiting) = outbox.output_done(output, sent, &self.broker.slow_bytes);
        if let Some(output) = output {
            self.fx.pool.put(output);
        }
        if let Some(session) = waiting {
            self.pump(&session);
        }
        next
    }

    /// The transport takes bytes again.
    pub fn writable(&mut self, outbox: &Arc<Outbox>) {
        if outbox.writable() {
            self.fx.dirty.push_back(Arc::clone(outbox));
        }
    }

    /// Asks for a Connection to be closed once what waits for it is written.
    pub fn request_close(&mut self, outbox: &Arc<Outbox>, cause: CloseCause) {
        self.fx.close(outbox, cause);
    }

    /// Says how other threads tell this worker's driver that there is something to do which no input announces: an
    /// answer to a question, an operator's wish. `wake` is called from any thread and makes the driver begin a turn soon.
    /// Without it such things wait for the next turn.
    pub fn set_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.inbox.set_wake(wake);
    }

    /// Whether other threads have left something that the next turn will do. A driver that is about to sleep asks after it
    /// has made itself ready to be woken.
    pub fn has_letters(&self) -> bool {
        self.inbox.has_letters()
    }

    /// An answer that has come for a Link. The driver looks for one at the beginning of a turn and gives it to
    /// [`verdict`](Self::verdict) with the Link of its Outbox; where there is none any more, it drops it.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        if self.verdicts.is_empty() && self.inbox.has_letters() {
            self.read_letters();
        }
        #[cfg(feature = "in-process")]
        while let Some(verdict) = self.verdicts.pop_front() {
            if let Some(verdict) = self.decide_locally(verdict) {
                return Some(verdict);
            }
        }
        self.verdicts.pop_front()
    }

    /// Whether [`Event::Subscribed`] and [`Event::Unsubscribed`] are wanted. Default: `false`.
    pub fn note_subscriptions(&mut self, wanted: bool) {
        self.notes_subscriptions = wanted;
    }

    /// What happened, oldest first.
    pub fn next_event(&mut self) -> Option<Event> {
        self.fx.events.pop_front().or_else(|| self.fx.not_noted())
    }

    /// A password to be checked off the turn.
    pub fn next_password_check(&mut self) -> Option<PasswordRequest> {
        self.checks.pop_front()
    }

    /// Publishes a message of the embedder's own. Returns how many Subscriptions match. One that no packet has room for, about
    /// 256 MiB, is dropped and counted.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid.
    pub fn publish(
        &mut self,
        topic_name: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<usize, komar_topic::TopicError> {
        let topic_name = TopicName::new(topic_name)?;
        let message = Message::plain(topic_name, payload, qos, retain);
        Ok(self.route(Origin::EMBEDDER, message))
    }

    /// Does what the turn's input has left to do and that is not output: Will Messages, retained messages. Called
    /// before the driver writes.
    pub fn work(&mut self) {
        while let Some((identity, will)) = self.wills.pop_front() {
            // What it brings is stored with that it is over.
            let together = self.fx.together();
            self.publish_will(&identity, &will);
            self.route_posts();
            drop(will);
            drop(together);
        }
        while let Some(Orphan { queued, together }) = self.orphans.pop_front() {
            self.route_orphan(&queued);
            drop(queued);
            drop(together);
        }
        self.route_posts();
        self.walk_retained();
    }

    /// Routes what hooks have published.
    pub(crate) fn route_posts(&mut self) {
        while let Some(body) = self.posts.pop_front() {
            self.route(Origin::EMBEDDER, body.message());
        }
        self.posted_bytes = 0;
    }

    /// Ends a turn.
    pub fn turn_end(&mut self) -> TurnEnd {
        self.cache.turn_end();
        self.tally.show(self.fx.counts);
        let at_rest = self.fx.walking.is_empty()
            && self.wills.is_empty()
            && self.orphans.is_empty()
            && self.posts.is_empty()
            && self.verdicts.is_empty()
            && !self.inbox.has_letters();
        let wait = if at_rest {
            let due = [self.timers.next(), self.slowed.next(), self.relief()]
                .into_iter()
                .flatten()
                .min();
            due.map(|due| due.since(self.fx.now))
        } else {
            Some(Duration::ZERO)
        };
        TurnEnd {
            wait,
            persist: self
                .broker
                .journal
                .as_ref()
                .map(|journal| journal.cut())
                .unwrap_or_default(),
        }
    }

    /// Sends what waits in a Session, as far as it can be sent now.
    pub(crate) fn pump(&mut self, session: &Arc<Session>) {
        let mut state = session.lock();
        state.pump(&mut self.fx, &self.config);
        if state.list_walks() {
            drop(state);
            self.fx.walking.push_back(Arc::clone(session));
        }
    }

    /// Notices new rules. Returns their epoch.
    pub(crate) fn take_access(&mut self) -> u64 {
        let epoch = self.broker.rules_epoch();
        if epoch != self.access.epoch {
            let rules = self.broker.rules();
            self.config = rules.config;
            self.fx.bounds = OutputBounds::from(&self.config.limits);
            self.fx.maximum_undurable_bytes = self.config.limits.maximum_undurable_bytes;
            self.fx.maximum_waiting_bytes = self.config.limits.maximum_waiting_bytes;
            self.fx.maximum_noted_packets = self.config.limits.maximum_noted_packets;
            self.access = CurrentAccess {
                epoch,
                access: rules.access,
            };
        }
        epoch
    }

    fn read_letters(&mut self) {
        for letter in self.inbox.take() {
            match letter {
                Letter::Verdict(verdict) => self.verdicts.push_back(verdict),
                #[cfg(feature = "in-process")]
                Letter::LocalOpened(opening) => self.open_local(*opening),
                #[cfg(feature = "in-process")]
                Letter::Local(id) => self.look_at_local(id),
                Letter::Kick(outbox, reason_code) => {
                    self.say_goodbye(&outbox, reason_code, CloseCause::AdministrativeAction);
                }
            }
        }
    }

    fn expire_timers(&mut self) {
        let mut due = core::mem::take(&mut self.due);
        self.timers.expire(self.fx.now, &mut due);
        for timer in due.drain(..) {
            match timer {
                Timer::Silence(outbox) => {
                    let Some(outbox) = outbox.upgrade() else { continue };
                    let next = outbox.next_look(self.fx.now);
                    if outbox.deadline() <= self.fx.now {
                        // v5 [MQTT-3.1.2-22], v3 [MQTT-3.1.2-24]
                        self.fx.close(&outbox, CloseCause::KeepAliveTimeout);
                    } else if next != Millis::NEVER {
                        self.timers.add(next, Timer::silence(&outbox));
                    }
                }
                Timer::Verdict(outbox) => {
                    if let Some(outbox) = outbox.upgrade() {
                        self.verdicts.push_back(Verdict {
                            outbox,
                            ticket: 0,
                            place: 0,
                            answer: Answer::Deadline,
                        });
                    }
                }
                Timer::SessionExpiry(session, epoch) => {
                    if let Some(session) = session.upgrade() {
                        self.expire_session(&session, epoch);
                    }
                }
                Timer::WillDelay(session, epoch) => {
                    if let Some(session) = session.upgrade() {
                        self.will_delay_over(&session, epoch);
                    }
                }
            }
        }
        self.due = due;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl Effects {
    /// Puts a Connection on the list of those to be written, once a turn.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, outbox: &Arc<Outbox>, state: &mut State) {
        if state.is_stopped() {
            state.recount(&self.broker.slow_bytes);
        }
        if state.mark_dirty() {
            self.dirty.push_back(Arc::clone(outbox));
        }
    }

    pub(crate) fn close(&mut self, outbox: &Arc<Outbox>, cause: CloseCause) {
        if outbox.close(cause) {
            self.dirty.push_back(Arc::clone(outbox));
        }
    }

    /// Bytes of messages that wait for all Sessions.
    pub(crate) fn queued_bytes(&self) -> &Arc<crate::sync::AtomicUsize> {
        &self.broker.queued_bytes
    }

    /// Whether messages may be encoded for a Connection: neither it nor all slow ones together hold too much.
    pub(crate) fn has_room(&self, out: &State) -> bool {
        out.waiting() < self.bounds.one && !(out.is_stopped() && self.total_is_exceeded())
    }

    /// The same for QoS 0 messages, which would wait nowhere else: of a slow Connection as long as it holds no more than a
    /// 64th of what is left below [`Limits::maximum_waiting_bytes`]. So however many do not read, what they hold together
    /// stays below that mark, but for the message that each was being sent, and no publisher is slowed down for them.
    pub(crate) fn has_room_for_qos0(&self, out: &State) -> bool {
        let share = || {
            let slow = self.broker.slow_bytes.load(crate::sync::Ordering::Relaxed);
            self.maximum_waiting_bytes.saturating_sub(slow) / 64
        };
        self.has_room(out) && !(out.is_stopped() && out.waiting() >= share())
    }

    /// Whether a Connection lets answers pile up, which are never dropped.
    pub(crate) fn has_too_many_replies(&self, out: &State) -> bool {
        out.waiting() > self.bounds.replies || (out.is_piling_up() && self.total_is_exceeded())
    }

    fn total_is_exceeded(&self) -> bool {
        self.broker.slow_bytes.load(crate::sync::Ordering::Relaxed) > self.bounds.total
    }
}

/// Encoded bytes that may wait: for one Connection, as answers to one, and for all slow ones together.
#[derive(Clone, Copy)]
struct OutputBounds {
    one: usize,
    replies: usize,
    total: usize,
}

impl From<&Limits> for OutputBounds {
    fn from(limits: &Limits) -> Self {
        OutputBounds {
            one: limits.maximum_outbox_bytes,
            replies: limits.maximum_reply_bytes,
            total: limits.maximum_total_outbox_bytes,
        }
    }
}

/// How often cached lookups that are no longer valid are emptied.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
