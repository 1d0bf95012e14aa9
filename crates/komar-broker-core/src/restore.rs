//! A broker that begins from what a store has kept.

use core::time::Duration;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use komar_codec::{
    DecodeOptions, Framing, OutgoingPublish, PacketIdentifier, ProtocolVersion, Publish, QoS, Role, frame,
};
use komar_topic::{GroupId, SubscriptionFilter, TopicError};

use crate::access::{Access, Identity};
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::hooks::Hooks;
use crate::journal::{NotedWill, Stored};
use crate::message::{MessageBody, SubscriptionIdentifiers};
use crate::now::{Millis, Now};
use crate::router::Subscription;
use crate::session::Session;
use crate::session::inflight::Queued;
use crate::session::will::WillMessage;
use crate::store::{
    Change, Contents, Sequence, StoredDelivery, StoredMessage, StoredRetained, StoredSession,
    StoredSubscription, StoredWill,
};
use crate::timer::Timer;

/// What a store has kept does not fit together, and where. The broker is not made: what cannot be trusted in one place
/// cannot be trusted in others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// In a Session.
    #[error("session '{client_id}': {problem}")]
    Session {
        /// Its Client Identifier.
        client_id: String,
        /// What is wrong.
        problem: RestoreProblem,
    },
    /// In a Will Message.
    #[error("will message {} of '{client_id}': {problem}", number.0)]
    Will {
        /// Who left it.
        client_id: String,
        /// Its number.
        number: Sequence,
        /// What is wrong.
        problem: RestoreProblem,
    },
    /// In a retained message.
    #[error("retained message of '{topic_name}': {problem}")]
    Retained {
        /// Its Topic Name.
        topic_name: String,
        /// What is wrong.
        problem: RestoreProblem,
    },
}

/// What does not fit together in what a store has kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreProblem {
    /// There is another one with that name.
    #[error("it is there twice")]
    Twice,
    /// A Session that was never bound.
    #[error("its lease is 0")]
    NoLease,
    /// A number that was not given out yet.
    #[error("number {} is behind the last one, {}", number.0, last.0)]
    Number {
        /// The number.
        number: Sequence,
        /// The number of the last change.
        last: Sequence,
    },
    /// The filter of a Subscription.
    #[error("filter '{filter}': {error}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// A Subscription Identifier that is 0 or too large.
    #[error("subscription identifier {0}")]
    SubscriptionIdentifier(u32),
    /// A message with properties that no PUBLISH may have.
    #[error("message {}: its properties cannot be sent", .0.0)]
    Properties(Sequence),
    /// A message at QoS 0.
    #[error("message {}: QoS 0", .0.0)]
    Qos(Sequence),
    /// A message that is gone although it has not arrived at QoS 2.
    #[error("message {}: it is gone, and was not sent at QoS 2", .0.0)]
    NoMessage(Sequence),
    /// Two messages with one Packet Identifier.
    #[error("message {}: packet identifier {} is in use", number.0, identifier.get())]
    IdentifierInUse {
        /// The message.
        number: Sequence,
        /// Its identifier.
        identifier: PacketIdentifier,
    },
    /// A retained message with an empty payload, which would have cleared it.
    #[error("its payload is empty")]
    Empty,
}

/// What is to be done once there is a worker.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) timers: Vec<(Millis, Timer)>,
    /// Will Messages that are due.
    pub(crate) wills: Vec<(Arc<Identity>, WillMessage)>,
}

impl Broker {
    /// Makes a broker of what was durable when another one stopped, or lost its power: all Sessions are there, and not
    /// connected. Connections that there were have ended at this moment: Will Messages are published by the first worker, or
    /// after their delay, and Session Expiry Intervals begin. What was sent and not acknowledged is sent again under the same
    /// Packet Identifiers when its client comes back.
    ///
    /// What is there is kept even where it is more than `config` allows; the [limits](crate::Limits) hold for what comes.
    /// `now` has to be of the clocks that the workers are told the time by.
    ///
    /// What the time before the restart counts for is told by [`Now::unix`], and not corrected where that clock is set later.
    /// If it has gone back, as one does that has no battery and is not set yet, a Session's time begins now at the latest, and
    /// messages that expire live for longer by as much. If it was behind when a Session was left and is right now, Sessions
    /// and messages that expire may be over at once: a broker that is to keep them starts when its clock is set.
    ///
    /// # Errors
    ///
    /// What was kept does not fit together.
    pub fn restore(
        config: BrokerConfig,
        access: Access,
        hooks: Hooks,
        seed: u64,
        now: Now,
        contents: Contents,
    ) -> Result<Broker, RestoreError> {
        let broker = Broker::with_journal(config, access, hooks, seed, contents.last);
        let mut restoring = Restoring {
            broker: &broker,
            now: Millis::from(now),
            unix: now.unix,
            last: contents.last,
            shares: HashMap::new(),
            wills: BTreeMap::new(),
            older_wills: Vec::new(),
            timers: Vec::new(),
        };
        for (number, will) in contents.wills {
            let client_id = Arc::clone(&will.identity.client_id);
            restoring
                .will(number, will)
                .map_err(|problem| RestoreError::Will {
                    client_id: client_id.to_string(),
                    number,
                    problem,
                })?;
        }
        let mut sessions = Vec::with_capacity(contents.sessions.len());
        for stored in contents.sessions {
            let client_id = Arc::clone(&stored.identity.client_id);
            let session = restoring
                .session(&stored)
                .map_err(|problem| RestoreError::Session {
                    client_id: client_id.to_string(),
                    problem,
                })?;
            sessions.push((session, stored));
        }
        // Once all members of Shared Subscriptions are known.
        for (session, stored) in sessions {
            restoring
                .messages(&session, stored)
                .map_err(|problem| RestoreError::Session {
                    client_id: session.client_id.to_string(),
                    problem,
                })?;
        }
        for stored in contents.retained {
            let topic_name = stored.message.topic_name().to_owned();
            restoring
                .retained(stored)
                .map_err(|problem| RestoreError::Retained { topic_name, problem })?;
        }
        let Restoring {
            wills,
            older_wills,
            timers,
            ..
        } = restoring;
        // Their Connections have ended with the broker, or they were on their way to be published: in order.
        let mut wills: Vec<_> = wills.into_values().chain(older_wills).collect();
        wills.sort_by_key(|will| will.number);
        let wills = wills
            .into_iter()
            .map(|will| (will.identity, will.message))
            .collect();
        *broker.shared.restored.lock() = Some(Restored { timers, wills });
        Ok(broker)
    }
}

struct Restoring<'a> {
    broker: &'a Broker,
    now: Millis,
    unix: Duration,
    last: Sequence,
    /// The groups by the filters of their members.
    shares: HashMap<Box<str>, GroupId>,
    /// By the Client Identifier and the lease: those of Sessions that go on are taken out.
    wills: BTreeMap<(Arc<str>, u64), Will>,
    /// Of Sessions that ended just before the broker did, where a new one with the same name had begun.
    older_wills: Vec<Will>,
    timers: Vec<(Millis, Timer)>,
}

struct Will {
    number: Sequence,
    identity: Arc<Identity>,
    message: WillMessage,
}

impl Restoring<'_> {
    /// Makes a Session with its Subscriptions, and starts the clock of its expiry.
    fn session(&mut self, stored: &StoredSession) -> Result<Arc<Session>, RestoreProblem> {
        let shared = &self.broker.shared;
        if stored.lease == 0 {
            return Err(RestoreProblem::NoLease);
        }
        let identity = Arc::clone(&stored.identity);
        let session = Arc::new(Session::restored(
            identity,
            stored.lease,
            stored.session_expiry_interval,
            shared.journal.is_some(),
        ));
        let is_new = shared.registry.update(&session.client_id, |existing| {
            let new = existing.is_none().then(|| Arc::clone(&session));
            let is_new = new.is_some();
            (new, is_new)
        });
        if is_new != Some(true) {
            return Err(RestoreProblem::Twice);
        }
        for (filter, subscription) in &stored.subscriptions {
            self.subscription(&session, filter, *subscription)?;
        }
        // Where the clock has gone back, what is in the future now was a moment ago.
        let ended_at = stored
            .unbound_at
            .map_or(self.unix, |unbound_at| unbound_at.min(self.unix));
        if let (None, Some(journal)) = (stored.unbound_at, &shared.journal) {
            // Or its time would begin again with each restart.
            journal.record(Change::SessionUnbound {
                client_id: Arc::clone(&session.client_id),
                session_expiry_interval: stored.session_expiry_interval,
                at: self.unix,
            });
        }
        let expiry = Duration::from_secs(stored.session_expiry_interval.into());
        if stored.session_expiry_interval != u32::MAX {
            let timer = Timer::SessionExpiry(Arc::downgrade(&session), stored.lease);
            self.timers
                .push((self.at(ended_at.saturating_add(expiry)), timer));
        }
        let name = (Arc::clone(&session.client_id), stored.lease);
        if let Entry::Occupied(entry) = self.wills.entry(name)
            && !entry.get().message.delay.is_zero()
        {
            let will = entry.remove().message;
            // It waits as long as its Session does. MQTT 5.0 §3.1.3.2.2.
            let due = self.at(ended_at.saturating_add(will.delay.min(expiry)));
            let timer = Timer::WillDelay(Arc::downgrade(&session), stored.lease);
            self.timers.push((due, timer));
            session.lock().will = Some(Box::new(will));
        }
        Ok(session)
    }

    fn subscription(
        &mut self,
        session: &Arc<Session>,
        text: &str,
        stored: StoredSubscription,
    ) -> Result<(), RestoreProblem> {
        let filter = SubscriptionFilter::parse(text).map_err(|error| RestoreProblem::Filter {
            filter: text.to_owned(),
            error,
        })?;
        check_identifiers(stored.identifier.as_slice())?;
        let mut index = self.broker.shared.index.write();
        let (handle, stripe) = index.insert(
            filter,
            Subscription {
                session: Arc::clone(session),
                maximum_qos: stored.options.maximum_qos,
                no_local: stored.options.no_local,
                retain_as_published: stored.options.retain_as_published,
                identifier: stored.identifier,
            },
        );
        self.broker.shared.changed(stripe);
        if let Some(group) = index.group_of(handle) {
            self.shares.insert(text.into(), group);
        }
        let hasher = &self.broker.shared.hasher;
        session.lock().subscriptions.insert(text, handle, hasher);
        Ok(())
    }

    /// Gives a Session its messages: under way, waiting, and not released.
    fn messages(&self, session: &Arc<Session>, stored: StoredSession) -> Result<(), RestoreProblem> {
        let mut state = session.lock();
        let mut sent = Vec::new();
        for (number, delivery) in stored.messages {
            self.check_number(number)?;
            match delivery.sent {
                Some((since, identifier)) => {
                    self.check_number(since)?;
                    sent.push((since, identifier, number, delivery));
                }
                None => {
                    let queued = self.queued(session, number, delivery)?;
                    let queued = queued.ok_or(RestoreProblem::NoMessage(number))?;
                    state.restore_queued(queued, &self.broker.shared.queued_bytes);
                }
            }
        }
        // In the order in which they were sent first. v5 [MQTT-4.4.0-1]
        sent.sort_by_key(|(since, ..)| *since);
        let mut in_use = BTreeSet::new();
        for (_, identifier, number, delivery) in sent {
            if !in_use.insert(identifier) {
                return Err(RestoreProblem::IdentifierInUse { number, identifier });
            }
            let (qos, withheld) = (delivery.qos, delivery.withheld);
            match self.queued(session, number, delivery)? {
                Some(queued) => state.restore_sent(identifier, queued),
                None if qos == QoS::ExactlyOnce => {
                    state.restore_exchange(identifier, withheld, self.stored(session, number));
                }
                None => return Err(RestoreProblem::NoMessage(number)),
            }
        }
        for (identifier, message) in stored.unreleased {
            let body = message
                .map(|message| self.body(self.last, &message))
                .transpose()?;
            state.restore_unreleased(identifier, body, &self.broker.shared.queued_bytes);
        }
        Ok(())
    }

    fn queued(
        &self,
        session: &Session,
        number: Sequence,
        delivery: StoredDelivery,
    ) -> Result<Option<Queued>, RestoreProblem> {
        if delivery.qos == QoS::AtMostOnce {
            return Err(RestoreProblem::Qos(number));
        }
        check_identifiers(&delivery.subscription_identifiers)?;
        let Some(message) = delivery.message else {
            return Ok(None);
        };
        Ok(Some(Queued {
            body: self.body(number, &message)?,
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: SubscriptionIdentifiers::of(&delivery.subscription_identifiers),
            // A group without a member is none any more.
            group: delivery.share.and_then(|share| self.shares.get(&*share).copied()),
            stored: self.stored(session, number),
        }))
    }

    fn will(&mut self, number: Sequence, stored: StoredWill) -> Result<(), RestoreProblem> {
        self.check_number(number)?;
        let message = WillMessage {
            body: self.body(number, &stored.message)?,
            expiry: stored.expiry,
            delay: stored.delay,
            stored: self
                .broker
                .shared
                .journal
                .as_ref()
                .map(|journal| NotedWill::new(journal, number)),
        };
        let name = (Arc::clone(&stored.identity.client_id), stored.lease);
        let will = Will {
            number,
            identity: stored.identity,
            message,
        };
        // The leases of a new Session begin anew, so that an older one of the name may have had the same.
        match self.wills.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(will);
            }
            Entry::Occupied(mut entry) if entry.get().number < will.number => {
                self.older_wills.push(entry.insert(will));
            }
            Entry::Occupied(_) => self.older_wills.push(will),
        }
        Ok(())
    }

    fn retained(&self, stored: StoredRetained) -> Result<(), RestoreProblem> {
        if stored.message.payload().is_empty() {
            return Err(RestoreProblem::Empty);
        }
        let body = self.body(self.last, &stored.message)?;
        let forgotten = stored
            .forgotten
            .map_or(Millis::NEVER, |forgotten| self.at(forgotten));
        if crate::router::retained::restore(&self.broker.shared, body, forgotten, stored.source) {
            Ok(())
        } else {
            Err(RestoreProblem::Twice)
        }
    }

    /// The message as this broker keeps it. `number` names it in the error.
    fn body(&self, number: Sequence, message: &StoredMessage) -> Result<MessageBody, RestoreProblem> {
        if !message.properties().is_empty() && !are_forwarded(message) {
            return Err(RestoreProblem::Properties(number));
        }
        Ok(message.body(self.now, self.unix))
    }

    fn stored(&self, session: &Session, number: Sequence) -> Option<Arc<Stored>> {
        let journal = self.broker.shared.journal.as_ref()?;
        Some(Stored::new(journal, &session.client_id, number))
    }

    fn check_number(&self, number: Sequence) -> Result<(), RestoreProblem> {
        let last = self.last;
        if number > last {
            return Err(RestoreProblem::Number { number, last });
        }
        Ok(())
    }

    /// A time of day on the clock of this broker; now, if it is past.
    fn at(&self, unix: Duration) -> Millis {
        self.now.after(unix.saturating_sub(self.unix))
    }
}

/// Whether the properties are those of a PUBLISH that are passed on, and nothing else.
fn are_forwarded(message: &StoredMessage) -> bool {
    let packet = OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic_name: message.topic_name(),
        packet_identifier: None,
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: message.properties(),
        payload_len: 0,
    };
    let mut bytes = Vec::new();
    if packet.encode_header(ProtocolVersion::V5, &mut bytes).is_err() {
        return false;
    }
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Client);
    let Ok(Framing::Complete(whole)) = frame(&bytes, &options) else {
        return false;
    };
    Publish::decode(whole, &options).is_ok_and(|publish| {
        let forwarded = publish.properties.received.forwarded().flatten();
        publish.payload.is_empty() && forwarded.eq(message.properties())
    })
}

fn check_identifiers(identifiers: &[u32]) -> Result<(), RestoreProblem> {
    let wrong = identifiers
        .iter()
        .find(|identifier| !(1..=MAXIMUM_IDENTIFIER).contains(*identifier));
    match wrong {
        Some(wrong) => Err(RestoreProblem::SubscriptionIdentifier(*wrong)),
        None => Ok(()),
    }
}

/// MQTT 5.0 §3.8.2.1.2.
const MAXIMUM_IDENTIFIER: u32 = 268_435_455;
