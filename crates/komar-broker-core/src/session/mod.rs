//! What outlives a network connection: Subscriptions, messages under way, messages that wait, the Will Message.
//!
//! [`SessionState`] is a plain state machine behind the Session's own lock; it never reads a clock and never takes
//! another lock than that of its own Outbox. MQTT 5.0 §4.1.

pub(crate) mod counted;
pub(crate) mod inflight;
pub(crate) mod packet_identifier;
pub(crate) mod queue;
pub(crate) mod retained_walk;
mod review;
mod sending;
mod subscriptions;
pub(crate) mod unreleased;
pub(crate) mod will;

use std::sync::Arc;

use komar_codec::{PacketIdentifier, PubRel, QoS, ReasonCode};
use komar_topic::{GroupId, Handle};

use crate::access::Identity;
use crate::config::BrokerConfig;
use crate::journal::{Stored, Together};
use crate::message::{Message, MessageBody, SubscriptionIdentifiers};
use crate::note::{NotedClient, NotedPacket};
use crate::outbox::{Outbox, State};
use crate::publish_out::{Copy, append_publish};
use crate::store::{Change, Sequence};
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::worker::Effects;

use inflight::{Inflight, Queued, Stage};
use packet_identifier::PacketIdentifiers;
use queue::{Bounds, Queue};
use retained_walk::RetainedWalks;
pub(crate) use sending::Sending;
pub(crate) use subscriptions::Subscriptions;
use unreleased::Unreleased;
use will::WillMessage;

/// A Session: shared by the index, the registry and the Link that is bound to it.
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    /// Whether a Connection is bound to it; for choosing among the members of a Shared Subscription.
    online: AtomicBool,
    /// Grows when another user takes the Session over, or the same one by another listener, where the rules may be others:
    /// cached READ verdicts of the old one are void.
    identity_epoch: AtomicU32,
    state: Mutex<SessionState>,
}

pub(crate) struct SessionState {
    /// Grows with every Connection; what carries an older one is ignored.
    pub(crate) epoch: u64,
    /// The Session is over. It receives nothing and cannot be taken up again.
    pub(crate) ended: bool,
    pub(crate) outbox: Option<Arc<Outbox>>,
    pub(crate) identity: Arc<Identity>,
    /// It survives the broker: its changes are stored.
    pub(crate) is_durable: bool,
    /// See [`Session::identity_epoch`].
    identity_epoch: u32,
    /// Session Expiry Interval in seconds; `u32::MAX` for ever. MQTT 5.0 §3.1.2.11.2.
    pub(crate) expiry: u32,
    pub(crate) will: Option<Box<WillMessage>>,
    pub(crate) subscriptions: Subscriptions,
    /// What Subscriptions are still to be sent of the retained messages; made when first needed, and given up.
    walks: Option<Box<RetainedWalks>>,
    /// Number of the last of them.
    last_walk: u32,
    /// The client's Receive Maximum, and ours for it. v5 [MQTT-3.3.4-9]
    send_maximum: u16,
    /// Made when first needed, so that Sessions that only publish or only receive QoS 0 do without.
    exchange: Option<Box<Exchange>>,
}

/// Messages under way and waiting.
#[derive(Default)]
struct Exchange {
    /// Nothing is sent before the rights of the new Connection's user are asked for what waits.
    unreviewed: bool,
    /// That user is another one than what waits was shown to a deliver hook for.
    has_new_user: bool,
    identifiers: PacketIdentifiers,
    inflight: Inflight,
    queue: Queue,
    unreleased: Unreleased,
}

/// What became of a message that was to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Encoded for the Connection.
    Sent,
    /// Waits in the Session.
    Queued,
    /// The Session has no room for it.
    Full,
    /// The Connection is too slow for a QoS 0 message.
    TooSlow,
    /// Not for this Session: it is over, offline at QoS 0, or the packet is too large for it.
    Skipped,
    /// Another user has the Session since READ access was asked: it is to be asked again.
    Stale,
}

impl Session {
    pub(crate) fn new(identity: Arc<Identity>) -> Session {
        Session {
            client_id: Arc::clone(&identity.client_id),
            online: AtomicBool::new(false),
            identity_epoch: AtomicU32::new(0),
            state: Mutex::new(SessionState {
                epoch: 0,
                ended: false,
                outbox: None,
                identity,
                is_durable: false,
                identity_epoch: 0,
                expiry: 0,
                will: None,
                subscriptions: Subscriptions::default(),
                walks: None,
                last_walk: 0,
                send_maximum: 0,
                exchange: None,
            }),
        }
    }

    /// A Session that was there before the broker: not connected, as it was bound last.
    pub(crate) fn restored(identity: Arc<Identity>, lease: u64, expiry: u32, durable: bool) -> Session {
        let session = Session::new(identity);
        let mut state = session.lock();
        state.epoch = lease;
        state.expiry = expiry;
        state.is_durable = durable;
        drop(state);
        session
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    pub(crate) fn identity_epoch(&self) -> u32 {
        self.identity_epoch.load(Ordering::Acquire)
    }

    /// Binds a Connection. The caller has appended CONNACK to it, so nothing overtakes that. v5 [MQTT-3.2.0-1]
    pub(crate) fn bind(self: &Arc<Self>, state: &mut SessionState, binding: Binding) -> u64 {
        let has_new_user = !state.identity.is_same_user(&binding.identity);
        if state.identity != binding.identity {
            state.identity_epoch = state.identity_epoch.wrapping_add(1);
            self.identity_epoch.store(state.identity_epoch, Ordering::Release);
            if let Some(exchange) = &mut state.exchange {
                exchange.unreleased.change_hands(&state.identity);
            }
        }
        state.epoch += 1;
        state.identity = binding.identity;
        state.is_durable = binding.durable;
        state.expiry = binding.expiry;
        // v5 [MQTT-3.1.2-7]
        state.will = binding.will;
        state.send_maximum = binding.send_maximum;
        binding.outbox.lock().bind(self);
        state.outbox = Some(binding.outbox);
        if let Some(exchange) = &mut state.exchange {
            exchange.inflight.restart();
            exchange.unreviewed = true;
            exchange.has_new_user |= has_new_user;
        }
        self.online.store(true, Ordering::Relaxed);
        state.epoch
    }

    /// Unbinds the Connection of `epoch`; `None` if another one is bound by now.
    pub(crate) fn unbind(&self, epoch: u64) -> Option<MutexGuard<'_, SessionState>> {
        let mut state = self.lock();
        if state.epoch != epoch || state.outbox.is_none() {
            return None;
        }
        state.outbox = None;
        self.online.store(false, Ordering::Relaxed);
        Some(state)
    }
}

/// What a new Connection brings to a Session.
pub(crate) struct Binding {
    pub(crate) identity: Arc<Identity>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) expiry: u32,
    pub(crate) will: Option<Box<WillMessage>>,
    pub(crate) send_maximum: u16,
    /// Whether the Session survives the broker.
    pub(crate) durable: bool,
}

/// A message on its way to one Session.
pub(crate) struct Delivery<'a, 'm> {
    pub(crate) message: Message<'m>,
    /// The shared copy of the message; made when the first receiver needs it.
    pub(crate) body: &'a mut Option<MessageBody>,
    /// No other receiver needs the shared copy.
    pub(crate) is_last: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a SubscriptionIdentifiers,
    /// The Shared Subscription that it is for, and its filter if messages are stored.
    pub(crate) group: Option<GroupId>,
    pub(crate) share: Option<&'a Arc<str>>,
    /// For which user of the Session READ access was granted.
    pub(crate) identity_epoch: u32,
}

impl Delivery<'_, '_> {
    fn queued(&mut self, scratch: &mut Vec<u8>) -> Queued {
        let body = match self.body.take() {
            Some(body) => body,
            None => self.message.to_body(scratch),
        };
        if !self.is_last {
            *self.body = Some(body.clone());
        }
        Queued {
            body,
            qos: self.qos,
            retain: self.retain,
            identifiers: self.identifiers.clone(),
            group: self.group,
            stored: None,
        }
    }
}

impl SessionState {
    /// Sends a message now if that is possible, keeps it if it has to be kept, and drops it otherwise.
    pub(crate) fn deliver(
        &mut self,
        fx: &mut Effects,
        config: &BrokerConfig,
        mut delivery: Delivery<'_, '_>,
    ) -> Delivered {
        if self.ended {
            return Delivered::Skipped;
        }
        if self.identity_epoch != delivery.identity_epoch {
            return Delivered::Stale;
        }
        let Some(mut sending) = self.sending(config) else {
            // v3 [MQTT-3.1.2-5]
            if delivery.qos == QoS::AtMostOnce && !config.queue_qos0_messages {
                return Delivered::Skipped;
            }
            return self.keep(fx, config, delivery, false);
        };
        match sending.send(fx, &mut delivery) {
            Some(delivered) => {
                sending.finish(fx);
                delivered
            }
            None => {
                drop(sending);
                self.keep(fx, config, delivery, true)
            }
        }
    }

    /// For which user READ access has to have been granted; `None` if the Session is over.
    pub(crate) fn present_identity(&self) -> Option<u32> {
        (!self.ended).then_some(self.identity_epoch)
    }

    /// The Client Identifier of a Session that survives the broker.
    pub(crate) fn durable(&self) -> Option<&Arc<str>> {
        self.is_durable.then_some(&self.identity.client_id)
    }

    /// The Connection with its Outbox locked; `None` if there is none.
    pub(crate) fn sending(&mut self, config: &BrokerConfig) -> Option<Sending<'_>> {
        let outbox = self.outbox.as_ref()?;
        Some(Sending {
            outbox,
            out: outbox.lock(),
            exchange: &mut self.exchange,
            quota: Quota::of(config, self.send_maximum),
            durable: self.is_durable.then_some(&self.identity.client_id),
        })
    }

    fn keep(
        &mut self,
        fx: &mut Effects,
        config: &BrokerConfig,
        mut delivery: Delivery<'_, '_>,
        online: bool,
    ) -> Delivered {
        let limits = &config.limits;
        // As Mosquitto counts: while connected, one more quota of messages, and of bytes, may wait.
        let (quota, quota_bytes) = match online {
            true => (
                usize::from(self.send_maximum),
                limits.maximum_inflight_bytes.unwrap_or(0),
            ),
            false => (0, 0),
        };
        let bounds = Bounds {
            messages: limits
                .maximum_queued_messages
                .map(|limit| limit.saturating_add(quota)),
            payload: limits
                .maximum_queued_bytes
                .map(|limit| limit.saturating_add(quota_bytes)),
            total: limits.maximum_total_queued_bytes,
        };
        let queued = delivery.queued(&mut fx.scratch);
        let queue = &mut self.exchange.get_or_insert_default().queue;
        if !queue.push(queued, bounds, fx.now, fx.queued_bytes()) {
            return Delivered::Full;
        }
        if let (true, Some(newest)) = (self.is_durable, queue.newest())
            && newest.qos != QoS::AtMostOnce
        {
            newest.stored = fx.enqueue(&self.identity.client_id, newest, delivery.share, None);
        }
        Delivered::Queued
    }

    /// A message is lost because the Session is full. Says whether it is the first of an episode.
    pub(crate) fn lose(&mut self) -> bool {
        self.exchange.get_or_insert_default().queue.lose()
    }

    /// Sends what waits, as far as the quota and the room in the Outbox go: first what is to be sent again, then
    /// what was never sent, in order. v5 [MQTT-4.4.0-1], v5 [MQTT-4.6.0-1]
    pub(crate) fn pump(&mut self, fx: &mut Effects, config: &BrokerConfig) {
        let (Some(outbox), Some(exchange)) = (&self.outbox, &mut self.exchange) else {
            return;
        };
        let quota = Quota::of(config, self.send_maximum);
        let durable = self.is_durable.then_some(&self.identity.client_id);
        // Most acknowledgements make room that nobody waits for.
        if exchange.next_step(fx, quota, durable) == Step::Nothing {
            return;
        }
        let mut out = outbox.lock();
        let store = ForStore {
            durable,
            ..ForStore::default()
        };
        while out.is_open() {
            let step = exchange.next_step(fx, quota, durable);
            if step == Step::Nothing {
                break;
            }
            if !fx.has_room(&out) {
                out.starved = true;
                break;
            }
            match step {
                Step::Resend => exchange.resend_one(fx, &mut out),
                Step::Send | Step::Prepare => {
                    let Some(queued) = exchange.queue.pop() else { break };
                    if step == Step::Prepare {
                        exchange.prepare(fx, &out, queued, store);
                    } else {
                        exchange.send(fx, &mut out, queued, None, store);
                    }
                }
                Step::Nothing => break,
            }
        }
        fx.mark_dirty(outbox, &mut out);
    }

    /// Whether no Connection was bound since that of `epoch` went.
    pub(crate) fn is_away_since(&self, epoch: u64) -> bool {
        self.epoch == epoch && self.outbox.is_none() && !self.ended
    }

    /// PUBACK, or a PUBREC that refuses. v5 [MQTT-4.3.2-5]
    pub(crate) fn acknowledged(&mut self, identifier: PacketIdentifier, stage: Stage) -> bool {
        self.exchange
            .as_mut()
            .is_some_and(|exchange| exchange.inflight.complete(identifier, stage))
    }

    /// PUBREC that accepts. Says whether the identifier is known.
    pub(crate) fn received(&mut self, fx: &mut Effects, identifier: PacketIdentifier) -> bool {
        self.exchange.as_mut().is_some_and(|exchange| {
            exchange
                .inflight
                .received(identifier, |stored| fx.record(|| stored.received()))
        })
    }

    pub(crate) fn unreleased(&mut self) -> &mut Unreleased {
        &mut self.exchange.get_or_insert_default().unreleased
    }

    /// What the Session's Subscriptions are still to be sent of the retained messages.
    pub(crate) fn walks(&mut self) -> &mut RetainedWalks {
        self.walks.get_or_insert_default()
    }

    /// Begins walks.
    pub(crate) fn add_walks(&mut self, wanted: Vec<retained_walk::Wanted>) {
        let walks = self.walks.get_or_insert_default();
        walks.add(wanted, &mut self.last_walk);
    }

    /// The Subscription is gone. v5 [MQTT-3.10.4-2], v3 [MQTT-3.10.4-2]
    pub(crate) fn stop_walk(&mut self, filter: &str) {
        if let Some(walks) = &mut self.walks {
            walks.stop(filter);
        }
    }

    /// Whether the caller has to put the Session on its list of those with retained messages to be sent.
    pub(crate) fn list_walks(&mut self) -> bool {
        let listed = self.walks.as_mut().is_some_and(|walks| walks.list());
        self.walks.take_if(|walks| walks.is_empty() && !walks.is_listed);
        listed
    }

    /// Sends one retained message of a walk, which has that number. `false`: no quota or no room; try again later.
    pub(crate) fn send_retained(
        &mut self,
        fx: &mut Effects,
        config: &BrokerConfig,
        queued: &Queued,
        retained: u64,
    ) -> bool {
        let Some(outbox) = self.outbox.clone() else {
            return false;
        };
        let mut out = outbox.lock();
        if !out.is_open() || !fx.has_room(&out) {
            out.starved = true;
            return false;
        }
        if queued.qos == QoS::AtMostOnce {
            let copy = Copy::of(queued, None, false);
            append_publish(&mut out, fx, queued.body.message(), Some(&queued.body), copy);
        } else {
            let exchange = self.exchange.get_or_insert_default();
            let quota = Quota::of(config, self.send_maximum);
            let store = ForStore {
                durable: self.is_durable.then_some(&self.identity.client_id),
                share: None,
                retained,
            };
            if queued.qos == QoS::ExactlyOnce && self.is_durable {
                if !exchange.may_prepare(quota) || !exchange.queue.is_empty() {
                    return false;
                }
                exchange.prepare(fx, &out, queued.clone(), store);
                return true;
            }
            if !exchange.may_send(quota) {
                return false;
            }
            exchange.send(fx, &mut out, queued.clone(), None, store);
        }
        fx.mark_dirty(&outbox, &mut out);
        true
    }

    /// Ends the Session and hands out what it leaves behind.
    pub(crate) fn end(&mut self, fx: &mut Effects) -> Remains {
        self.ended = true;
        let mut together = None;
        if core::mem::take(&mut self.is_durable) {
            let client_id = Arc::clone(&self.identity.client_id);
            // For the members of Shared Subscriptions that get its messages: either is stored with the other.
            together = fx.together().map(Arc::new);
            fx.record(|| Change::SessionEnded { client_id });
        }
        self.walks = None;
        let orphans = self.exchange.take().map_or_else(Vec::new, |exchange| {
            let Exchange { inflight, queue, .. } = *exchange;
            let mut orphans = inflight.into_orphans();
            queue.add_orphans(&mut orphans);
            orphans
        });
        Remains {
            handles: core::mem::take(&mut self.subscriptions)
                .iter()
                .map(|(_, handle)| handle)
                .collect(),
            orphans,
            together,
        }
    }

    /// Adds a message that waited before a restart, behind the others.
    pub(crate) fn restore_queued(&mut self, queued: Queued, total: &Arc<AtomicUsize>) {
        let exchange = self.exchange.get_or_insert_default();
        exchange.queue.restore(queued, total);
    }

    /// Adds a message that was under way before a restart, behind the others.
    pub(crate) fn restore_sent(&mut self, identifier: PacketIdentifier, queued: Queued) {
        let inflight = &mut self.exchange.get_or_insert_default().inflight;
        inflight.push_unsent(identifier, queued, Sequence(0), 0);
    }

    /// Adds a QoS 2 exchange whose message had arrived before a restart, or was withheld.
    pub(crate) fn restore_exchange(
        &mut self,
        identifier: PacketIdentifier,
        withheld: bool,
        stored: Option<Arc<Stored>>,
    ) {
        let inflight = &mut self.exchange.get_or_insert_default().inflight;
        inflight.push_exchange(identifier, withheld, stored);
    }

    /// Adds a QoS 2 message that its client had not released before a restart.
    pub(crate) fn restore_unreleased(
        &mut self,
        identifier: PacketIdentifier,
        body: Option<MessageBody>,
        total: &Arc<AtomicUsize>,
    ) {
        let unreleased = &mut self.exchange.get_or_insert_default().unreleased;
        unreleased.restore(identifier, body, total);
    }

    /// Gives memory back that an absent Session does not need.
    pub(crate) fn trim(&mut self) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.is_empty()) {
            self.exchange = None;
        }
    }

    /// Messages under way, messages that wait with their bytes, messages that are not released.
    pub(crate) fn figures(&mut self) -> (usize, usize, usize, usize) {
        self.exchange.as_ref().map_or((0, 0, 0, 0), |exchange| {
            (
                exchange.inflight.len(),
                exchange.queue.len(),
                exchange.queue.bytes(),
                exchange.unreleased.len(),
            )
        })
    }

    /// Shows the messages that the Session holds.
    pub(crate) fn for_each_body(&self, visit: &mut impl FnMut(&MessageBody)) {
        let Some(exchange) = &self.exchange else { return };
        let deliveries = exchange.inflight.deliveries().chain(exchange.queue.iter());
        deliveries.for_each(|queued| visit(&queued.body));
        exchange.unreleased.bodies().for_each(visit);
    }

    pub(crate) fn waiting_messages(&self) -> usize {
        self.exchange
            .as_ref()
            .map_or(0, |exchange| exchange.queue.len() + exchange.inflight.len())
    }
}

/// What a Session leaves behind when it ends.
#[derive(Default)]
#[must_use]
pub(crate) struct Remains {
    /// To be taken out of the index.
    pub(crate) handles: Vec<Handle>,
    /// Messages of Shared Subscriptions for another member.
    pub(crate) orphans: Vec<Queued>,
    /// Until they have one.
    pub(crate) together: Option<Arc<Together>>,
}

/// What the store has to know of a message beside itself.
#[derive(Clone, Copy, Default)]
struct ForStore<'a> {
    /// The Client Identifier of a Session that survives.
    durable: Option<&'a Arc<str>>,
    /// The filter of the Shared Subscription that the message came for.
    share: Option<&'a Arc<str>>,
    /// The number of the retained message that it is sent for; 0: for none.
    retained: u64,
}

/// What is to be done next for a Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Send again what was sent on an earlier Connection, or for the first time what the store has by now.
    Resend,
    /// Send the first message of the queue.
    Send,
    /// Note for the store as what the first message of the queue is going to be sent.
    Prepare,
}

/// How much may be under way to one client at once.
#[derive(Clone, Copy)]
struct Quota {
    messages: usize,
    bytes: usize,
}

impl Quota {
    fn of(config: &BrokerConfig, send_maximum: u16) -> Quota {
        Quota {
            messages: usize::from(send_maximum),
            bytes: config.limits.maximum_inflight_bytes.unwrap_or(usize::MAX),
        }
    }
}

impl Effects {
    /// Has the store note as what a message is sent, and the message if it has not got it yet.
    fn store_sent(&mut self, queued: &mut Queued, identifier: PacketIdentifier, store: ForStore<'_>) {
        match (&queued.stored, store.durable) {
            (Some(stored), _) => self.record(|| stored.sent(identifier)),
            (None, Some(client_id)) => {
                queued.stored = self.enqueue(client_id, queued, store.share, Some(identifier));
            }
            (None, None) => {}
        }
    }
}

impl Exchange {
    /// v5 [MQTT-3.3.4-9]
    fn has_quota(&self, quota: Quota) -> bool {
        // As Mosquitto counts bytes: the message that reaches the limit is still sent, so one always is.
        // v5 [MQTT-4.9.0-1], v5 [MQTT-4.9.0-2]
        self.inflight.outstanding() < quota.messages && self.inflight.outstanding_bytes() < quota.bytes
    }

    /// Whether a new message may be sent now without overtaking another one.
    fn may_send(&self, quota: Quota) -> bool {
        // v5 [MQTT-4.6.0-5], v3 [MQTT-4.6.0-5], v3 [MQTT-4.6.0-6]
        !self.unreviewed && self.has_quota(quota) && self.queue.is_empty() && !self.inflight.has_unsent()
    }

    /// Whether another message may be noted for the store, to be sent behind those that are.
    fn may_prepare(&self, quota: Quota) -> bool {
        !self.unreviewed && self.has_quota(quota) && self.inflight.open() < quota.messages
    }

    fn next_step(&mut self, fx: &Effects, quota: Quota, durable: Option<&Arc<str>>) -> Step {
        if self.unreviewed {
            return Step::Nothing;
        }
        let waits_for_store = self
            .queue
            .front()
            .is_some_and(|next| next.qos == QoS::ExactlyOnce && durable.is_some());
        let prepare = |exchange: &Self| {
            if waits_for_store && exchange.may_prepare(quota) {
                Step::Prepare
            } else {
                Step::Nothing
            }
        };
        if self.inflight.has_unsent() {
            // PUBREL does not wait for the quota. v5 [MQTT-3.3.4-10]
            // v5 [MQTT-4.9.0-3]
            let may_go = self.has_quota(quota) || self.inflight.releases_first();
            return if may_go && self.inflight.next_since() <= fx.durable() {
                Step::Resend
            } else {
                prepare(self)
            };
        }
        match self.queue.front() {
            Some(next) if next.qos == QoS::AtMostOnce => Step::Send,
            Some(_) if waits_for_store => prepare(self),
            Some(_) if self.has_quota(quota) => Step::Send,
            _ => Step::Nothing,
        }
    }

    /// The quota is at most 65,535 and not used up, so one identifier is free.
    /// v5 [MQTT-4.3.2-1], v5 [MQTT-4.3.3-1], v3 [MQTT-4.3.2-1]
    fn identifier(&mut self) -> Option<PacketIdentifier> {
        let inflight = &self.inflight;
        self.identifiers.allocate(|| inflight.identifiers())
    }

    /// Gives a QoS 2 message for a Session that survives its identifier, and has the store note both. It is sent when they
    /// are durable: after a restart its receiver may know the identifier, and has to see this message with it and no other.
    fn prepare(
        &mut self,
        fx: &mut Effects,
        out: &State,
        mut queued: Queued,
        store: ForStore<'_>,
    ) -> Delivered {
        if queued.body.message().is_expired(fx.now) {
            return Delivered::Skipped;
        }
        let Some(identifier) = self.identifier() else {
            return Delivered::Full;
        };
        fx.store_sent(&mut queued, identifier, store);
        if let Some(session) = out.session() {
            fx.wake_session(&session, fx.recorded);
        }
        self.inflight
            .push_unsent(identifier, queued, fx.recorded, store.retained);
        Delivered::Queued
    }

    /// Sends a message for the first time. `message` is what `queued` holds, where it is at hand already.
    fn send(
        &mut self,
        fx: &mut Effects,
        out: &mut State,
        mut queued: Queued,
        message: Option<Message<'_>>,
        store: ForStore<'_>,
    ) -> Delivered {
        let identifier = match queued.qos {
            QoS::AtMostOnce => None,
            _ => match self.identifier() {
                Some(identifier) => Some(identifier),
                None => return Delivered::Full,
            },
        };
        // v5 [MQTT-4.3.2-2], v5 [MQTT-4.3.3-2]
        let copy = Copy::of(&queued, identifier, false);
        let message = message.unwrap_or_else(|| queued.body.message());
        if !append_publish(out, fx, message, Some(&queued.body), copy) {
            return Delivered::Skipped;
        }
        if let Some(identifier) = identifier {
            fx.store_sent(&mut queued, identifier, store);
            // v5 [MQTT-4.3.2-3], v5 [MQTT-4.3.3-3]
            self.inflight.push(identifier, queued);
        }
        Delivered::Sent
    }

    /// Sends the next message of an earlier Connection again: PUBLISH with DUP, or PUBREL. v5 [MQTT-3.3.1-1]
    fn resend_one(&mut self, fx: &mut Effects, out: &mut State) {
        let Some(entry) = self.inflight.next_unsent() else {
            // Nothing but finished exchanges is left.
            self.inflight.mark_sent();
            return;
        };
        let (identifier, stage) = (entry.identifier, entry.stage);
        let sent = match &entry.delivery {
            // What was replaced while it waited for the store is left out, as elsewhere in a walk.
            Some(_) if entry.is_outdated(fx) => false,
            // What was sent before is sent again, expired or not. v5 [MQTT-4.3.3-7]
            Some(queued) => {
                let copy = Copy::of(queued, Some(identifier), entry.was_sent());
                append_publish(out, fx, queued.body.message(), Some(&queued.body), copy)
            }
            // v5 [MQTT-4.3.3-6]
            None => {
                let release = PubRel {
                    packet_identifier: identifier,
                    reason_code: ReasonCode::Success,
                    properties: Default::default(),
                };
                let version = out.version;
                fx.counts.packets_sent += 1;
                if fx.notes_packets
                    && let Some(session) = out.session()
                {
                    let client = NotedClient::Named(Arc::clone(&session.client_id));
                    fx.note_sent(client, NotedPacket::release(identifier));
                }
                release.encode(version, out.output(&mut fx.pool).buffer()).is_ok()
            }
        };
        self.inflight.mark_sent();
        if !sent {
            // Expired, or too large for this client: the exchange is over.
            self.inflight.complete(identifier, stage);
        }
    }

    fn is_empty(&self) -> bool {
        self.inflight.is_empty() && self.queue.is_empty() && self.unreleased.is_empty()
    }
}
