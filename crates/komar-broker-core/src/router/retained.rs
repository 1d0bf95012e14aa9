//! Retained messages: kept one a Topic Name, given to new Subscriptions. They belong to the broker and to no Session.
//! MQTT 5.0 §3.3.1.3, v3 [MQTT-3.1.2-7].

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::quality::SeedableRandomState;
use komar_codec::QoS;
use komar_topic::{Cursor, NameTree, TopicFilter, TopicName};

use crate::access::{Access, Action, Decision, Identity};
use crate::broker::Shared;
use crate::config::{BrokerConfig, Limits};
use crate::event::Event;
use crate::message::{Message, MessageBody};
use crate::now::Millis;
use crate::router::{Origin, may_receive};
use crate::session::inflight::Queued;
use crate::session::retained_walk::{Found, Looked, Progress, Slice};
use crate::session::{Session, SessionState};
use crate::store::{Change, StoredRetained};
use crate::sync::Ordering;
use crate::worker::{Effects, Worker};

/// A retained message, who published it, and when it was stored in the order of all retained messages.
pub(crate) struct RetainedMessage {
    pub(crate) body: MessageBody,
    sequence: u64,
    /// When it is forgotten: by its own Message Expiry Interval, or by
    /// [`BrokerConfig::retained_expiry_maximum`](crate::BrokerConfig::retained_expiry_maximum).
    expires: Millis,
    source: Option<Arc<Identity>>,
}

/// All retained messages, and which of them expires next.
pub(crate) struct RetainedMessages {
    tree: NameTree<RetainedMessage, SeedableRandomState>,
    /// Just those that expire, so never more than there are messages.
    expiries: BTreeMap<(Millis, u64), Box<str>>,
    /// Payload bytes of all of them.
    bytes: usize,
    /// The memory that they take, as the limit counts it.
    held: usize,
    /// It was told that there is no room, and none was made since.
    told: bool,
}

impl RetainedMessages {
    pub(crate) fn with_hasher(hasher: SeedableRandomState) -> RetainedMessages {
        RetainedMessages {
            tree: NameTree::with_hasher(hasher),
            expiries: BTreeMap::new(),
            bytes: 0,
            held: 0,
            told: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.tree.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn tree(&self) -> &NameTree<RetainedMessage, SeedableRandomState> {
        &self.tree
    }

    /// Whether it is, itself and not as a copy, what is retained under its Topic Name.
    pub(crate) fn holds(&self, body: &MessageBody) -> bool {
        let retained = self.tree.get(body.message().topic_name);
        retained.is_some_and(|retained| retained.body.address() == body.address())
    }

    /// Whether the message with that number is still the one of its Topic Name.
    fn is_current(&self, name: TopicName<'_>, sequence: u64) -> bool {
        self.tree
            .get(name)
            .is_some_and(|retained| retained.sequence == sequence)
    }

    fn insert(&mut self, name: TopicName<'_>, message: RetainedMessage) {
        if message.expires != Millis::NEVER {
            self.expiries
                .insert((message.expires, message.sequence), name.as_str().into());
        }
        self.bytes = self.bytes.saturating_add(message.payload_len());
        self.held = self.held.saturating_add(message.memory());
        if let (Some(old), _) = self.tree.insert(name, message) {
            self.forget(&old);
        }
    }

    /// Says whether there was one.
    pub(crate) fn remove(&mut self, name: TopicName<'_>) -> bool {
        let old = self.tree.remove(name);
        old.is_some_and(|(old, _)| {
            self.forget(&old);
            self.told = false;
            true
        })
    }

    /// Forgets what is retained under a name for which there is no room any more, rather than let it stay as if it were the
    /// newest. Says whether there was something, and whether this is to be told.
    fn give_up(&mut self, name: TopicName<'_>) -> (bool, bool) {
        let was_told = self.told;
        let removed = self.remove(name);
        self.told = true;
        (removed, !was_told)
    }

    fn forget(&mut self, old: &RetainedMessage) {
        self.expiries.remove(&(old.expires, old.sequence));
        self.bytes = self.bytes.saturating_sub(old.payload_len());
        self.held = self.held.saturating_sub(old.memory());
    }

    /// Whether a message may be retained.
    fn has_room(&self, name: TopicName<'_>, message: &RetainedMessage, limits: &Limits) -> bool {
        let old = self.tree.get(name);
        let messages = limits.maximum_retained_messages;
        let held = self.held.saturating_sub(old.map_or(0, RetainedMessage::memory));
        (old.is_some() || messages.is_none_or(|limit| self.len() < limit))
            && held.saturating_add(message.memory()) <= limits.maximum_retained_bytes
    }

    /// Forgets messages that have expired, `budget` of them at the most.
    fn expire(&mut self, fx: &mut Effects, budget: usize) {
        for _ in 0..budget {
            match self.expiries.first_entry() {
                Some(first) if first.key().0 <= fx.now => {
                    let name = first.remove();
                    let name = TopicName::from_checked(&name);
                    if self.remove(name) {
                        // A walk that has found it leaves it out.
                        fx.broker.retained_sequence.fetch_add(1, Ordering::Relaxed);
                        fx.record(|| cleared(name));
                    }
                }
                _ => return,
            }
        }
    }

    fn next_expiry(&self) -> Millis {
        self.expiries
            .first_key_value()
            .map_or(Millis::NEVER, |((expires, _), _)| *expires)
    }
}

impl RetainedMessage {
    fn payload_len(&self) -> usize {
        self.body.payload_len()
    }

    /// About the bytes of memory that it takes.
    fn memory(&self) -> usize {
        let name = self.body.message().topic_name.as_str().len();
        let expiry = match self.expires {
            Millis::NEVER => 0,
            _ => EXPIRY + name,
        };
        let source = self.source.as_ref().map_or(0, |source| {
            SOURCE + source.client_id.len() + source.username.as_ref().map_or(0, |name| name.len())
        });
        MESSAGE + self.body.len() + name + expiry + source
    }
}

/// Stores the message, or removes the one that is stored if the payload is empty. v5 [MQTT-3.3.1-6]
pub(super) fn keep(
    fx: &mut Effects,
    broker: &Shared,
    config: &BrokerConfig,
    origin: Origin<'_>,
    message: Message<'_>,
) {
    let mut retained = broker.retained.write();
    if message.payload.is_empty() {
        // v5 [MQTT-3.3.1-7]
        // v3 [MQTT-3.3.1-10], v3 [MQTT-3.3.1-11]
        if retained.remove(message.topic_name) {
            fx.record(|| cleared(message.topic_name));
        }
        broker.retained_sequence.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let (name, is_moved) = (message.topic_name, message.moved);
    let sequence = broker.retained_sequence.fetch_add(1, Ordering::Relaxed) + 1;
    let configured = config.retained_expiry_maximum;
    let message = RetainedMessage {
        body: message.to_body(&mut fx.scratch),
        sequence,
        expires: configured.map_or(message.expires, |expiry| {
            message.expires.min(fx.now.after(expiry))
        }),
        source: origin.publisher().filter(|_| !is_moved).map(Arc::clone),
    };
    if !retained.has_room(name, &message, &config.limits) {
        broker.counters.dropped();
        let (removed, is_new) = retained.give_up(name);
        if removed {
            fx.record(|| cleared(name));
        }
        if is_new {
            let topic_name = name.as_str().into();
            fx.events.push_back(Event::RetainedFull { topic_name });
        }
        return;
    }
    let expires = message.expires;
    let body = message.body.clone();
    if fx.journal.is_some() {
        let retained = StoredRetained {
            message: fx.stored_message(&body),
            source: message.source.clone(),
            forgotten: (expires != Millis::NEVER).then(|| fx.unix + expires.since(fx.now)),
        };
        fx.record(|| Change::Retained { retained });
    }
    // v3 [MQTT-3.3.1-5], v3 [MQTT-3.3.1-7]
    retained.insert(body.message().topic_name, message);
    if expires != Millis::NEVER {
        broker.retained_expiry.fetch_min(expires.0, Ordering::Relaxed);
    }
}

/// Stores a message that was retained before the broker was restored. `false`: there is one of that Topic Name.
pub(crate) fn restore(
    broker: &Shared,
    body: MessageBody,
    expires: Millis,
    source: Option<Arc<Identity>>,
) -> bool {
    let mut retained = broker.retained.write();
    let name = body.message().topic_name;
    if retained.tree.get(name).is_some() {
        return false;
    }
    let sequence = broker.retained_sequence.fetch_add(1, Ordering::Relaxed) + 1;
    let message = RetainedMessage {
        body: body.clone(),
        sequence,
        expires,
        source,
    };
    retained.insert(name, message);
    broker.retained_expiry.fetch_min(expires.0, Ordering::Relaxed);
    true
}

impl Effects {
    /// Whether the message with that number is still the one of its Topic Name.
    pub(crate) fn is_retained(&self, name: TopicName<'_>, sequence: u64) -> bool {
        self.broker.retained.read().is_current(name, sequence)
    }
}

/// The retained message of a Topic Name is gone.
pub(crate) fn cleared(name: TopicName<'_>) -> Change {
    Change::RetainedCleared {
        topic_name: name.as_str().into(),
    }
}

impl Worker {
    /// Sends retained messages to Sessions that have walks, a slice each, until the turn's share is used up.
    pub(crate) fn walk_retained(&mut self) {
        for _ in 0..SLICES_A_TURN {
            let Some(session) = self.fx.walking.pop_front() else {
                return;
            };
            if self.walk_slice(&session) {
                self.fx.walking.push_back(session);
            }
        }
    }

    /// Forgets retained messages that have expired, some of them a turn.
    pub(crate) fn expire_retained(&mut self) {
        if self.broker.retained_expiry.load(Ordering::Relaxed) > self.fx.now.0 {
            return;
        }
        let mut retained = self.broker.retained.write();
        retained.expire(&mut self.fx, EXPIRED_A_TURN);
        let next = retained.next_expiry();
        self.broker.retained_expiry.store(next.0, Ordering::Relaxed);
    }

    /// Sends one slice to one Session. Says whether there is more that can be sent now.
    fn walk_slice(&mut self, session: &Arc<Session>) -> bool {
        let mut state = session.lock();
        state.walks().is_listed = false;
        if state.ended || state.outbox.is_none() {
            return false;
        }
        let looked = Looked {
            retained: self.broker.retained_sequence.load(Ordering::Relaxed),
            access: self.access.epoch,
            identity: session.identity_epoch(),
        };
        let Some(walk) = state.walks().first_mut() else {
            return state.list_walks();
        };
        if walk.found.is_empty() || !walk.looked.same_rules(looked) {
            // No lock is held while the tree is read and READ access is asked. The walk stays in its place: who cancels it
            // meanwhile does not have to know of us.
            let Some((number, mut slice)) = state.walks().lend() else {
                // Another worker is at it.
                return false;
            };
            let user = Arc::clone(&state.identity);
            drop(state);
            if slice.found.is_empty() {
                self.find_more(session, &mut slice);
                slice.looked = looked;
            } else {
                let has_new_user = slice.user.as_ref().is_none_or(|old| !old.is_same_user(&user));
                self.ask_again(session, &mut slice, has_new_user);
                // They are still those that were found then.
                slice.looked = Looked {
                    retained: slice.looked.retained,
                    ..looked
                };
            }
            state = session.lock();
            let present = Looked {
                identity: session.identity_epoch(),
                ..looked
            };
            // Another user may have the Session by now. What was found for the one before is asked about again.
            slice.user = (present == looked).then_some(user);
            state.walks().give_back(number, slice);
            if let Some(walk) = state.walks().first_mut()
                && !walk.looked.same_rules(present)
            {
                return state.list_walks();
            }
        }
        if !self.send_found(&mut state) {
            // Room or quota will call for the rest.
            return false;
        }
        state.list_walks()
    }

    /// Sends what the first walk has found. `false`: no quota or no room for more.
    fn send_found(&mut self, state: &mut SessionState) -> bool {
        let Some(mut slice) = state.walks().first_mut().map(core::mem::take) else {
            return true;
        };
        let newest = self.broker.retained_sequence.load(Ordering::Relaxed);
        let mut has_room = true;
        while let Some(next) = slice.found.front() {
            // What was replaced or cleared while it waited is left out: the client has got the newer message live, unless
            // it was dropped for want of room, and must not get the older one behind it. Asked with the Session locked, so that
            // none comes in between.
            let name = next.queued.body.message().topic_name;
            let is_current = slice.looked.retained == newest
                || self.broker.retained.read().is_current(name, next.sequence);
            if is_current && !state.send_retained(&mut self.fx, &self.config, &next.queued, next.sequence) {
                has_room = false;
                break;
            }
            slice.found.pop_front();
        }
        state.walks().put_first(slice);
        has_room
    }

    /// Leaves out what may not be received any more, and what a deliver hook does not let the new user have.
    fn ask_again(&self, session: &Session, slice: &mut Slice, has_new_user: bool) {
        let (access, hooks) = (&self.access.access, &self.broker.hooks);
        slice.found.retain(|found| {
            let message = found.queued.body.message();
            let delivers = || hooks.delivers(session, message, found.queued.qos, found.queued.retain);
            may_receive(access, session, message.topic_name) && (!has_new_user || delivers())
        });
    }

    fn find_more(&self, session: &Session, slice: &mut Slice) {
        let after: Option<Cursor> = match core::mem::replace(&mut slice.progress, Progress::End) {
            Progress::Start => None,
            Progress::After(cursor) => Some(cursor),
            Progress::End => return,
        };
        // v3 [MQTT-3.3.1-6]
        let filter = TopicFilter::from_checked(&slice.wanted.filter);
        let mut found = Vec::new();
        let next =
            self.broker
                .retained
                .read()
                .tree
                .walk(filter, after.as_ref(), NAMES_A_SLICE, |_, retained| {
                    if retained.sequence <= slice.wanted.newest && retained.expires > self.fx.now {
                        found.push((retained.sequence, retained.body.clone(), retained.source.clone()));
                    }
                });
        slice.progress = next.map_or(Progress::End, Progress::After);
        let access = &self.access.access;
        for (sequence, body, source) in found {
            let message = body.message();
            if !may_receive(access, session, message.topic_name)
                || !self.source_may_write(access, source.as_deref(), message.topic_name)
            {
                continue;
            }
            let maximum_qos = slice.wanted.maximum_qos;
            let qos: QoS = if self.config.upgrade_outgoing_qos {
                maximum_qos
            } else {
                message.qos.min(maximum_qos)
            };
            if !self.broker.hooks.delivers(session, message, qos, true) {
                continue;
            }
            // v3 [MQTT-3.3.1-8]
            let queued = Queued {
                qos,
                retain: true,
                identifiers: slice.wanted.identifiers.clone(),
                group: None,
                body: body.clone(),
                stored: None,
            };
            slice.found.push_back(Found { sequence, queued });
        }
    }

    /// Whether the message may still be there: its publisher may write there at this moment. Where nobody can say, what
    /// was granted when it was published holds.
    fn source_may_write(&self, access: &Access, source: Option<&Identity>, name: TopicName<'_>) -> bool {
        let Some(source) = source.filter(|_| self.config.check_retain_source) else {
            return true;
        };
        access.authorize.is_none()
            || matches!(
                access.decide(&source.subject(), Action::Publish(name)),
                Ok(Decision::Allow | Decision::AllowOnce | Decision::Later)
            )
    }
}

/// Memory of a message beside what is counted by length: its record, its places in the tree, its own and its name's
/// allocation. Measured on 64-bit Linux with glibc, 2026-11-26: what is counted is 0.8 to 1.3 of what is taken, for
/// payloads of a byte under short and long names.
const MESSAGE: usize = 112;
/// Of one that expires: its place among the expiries, and that name's allocation.
const EXPIRY: usize = 80;
/// Half of what its publisher takes, which many messages share or none.
const SOURCE: usize = 48;

/// Names visited a slice.
const NAMES_A_SLICE: usize = 64;
/// Slices sent a turn, over all Sessions: a turn stays below a millisecond.
const SLICES_A_TURN: usize = 16;
/// Expired messages forgotten a turn.
const EXPIRED_A_TURN: usize = 1024;
