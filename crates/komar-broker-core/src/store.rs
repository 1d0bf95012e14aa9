//! The seam to durable storage: what leaves a turn to be persisted, what comes back, and how a broker begins from what was
//! kept.
//!
//! With [`BrokerConfig::durable`](crate::BrokerConfig::durable) the broker notes every change that has to survive it:
//! Sessions with a Session Expiry Interval, their Subscriptions, the QoS 1 and 2 messages that wait for them or are under
//! way, the QoS 2 messages that they have not released, Will Messages, and retained messages. Changes are numbered in one
//! order for all workers. The end of each turn hands out what has come together since
//! ([`TurnEnd::persist`](crate::TurnEnd::persist)); the driver gives it to a [`Store`] and tells each worker how far the store
//! has come ([`Worker::durable`](crate::Worker::durable)). Until then are held back:
//!
//! - PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK that rest on a change, and those that follow them on the same
//!   Connection: acknowledgements leave in the order of arrival;
//! - a CONNACK that promises a Session or takes a Will Message, and all that comes behind it;
//! - QoS 2 messages for Sessions that survive: they are sent once the store has them with the Packet Identifier that they
//!   are sent with, so that a restart sends them again under that one and not as another message.
//!
//! What a broker was before it stopped, or the power was lost, is a [`Contents`]: a store makes one of the changes that are
//! durable, which [`Replay`] does, and [`Broker::restore`](crate::Broker::restore) makes a broker of it. Not kept are QoS 0
//! messages, messages for Sessions that end with their Connection, and which retained messages a Subscription was still to be
//! sent.
//!
//! A store that falls behind is waited for: above [`Limits::maximum_undurable_bytes`](crate::Limits::maximum_undurable_bytes)
//! no Link is read until it has caught up.
//!
//! A broker that is not durable notes nothing and holds nothing back.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use komar_codec::{PacketIdentifier, QoS, SubscriptionOptions};
use komar_topic::{TopicError, TopicName};

use crate::access::Identity;
use crate::message::{Message, MessageBody};
use crate::now::Millis;

pub use crate::replay::{Replay, ReplayError};
pub use crate::restore::{RestoreError, RestoreProblem};

/// Position in the order in which changes are made durable. The first change has number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

/// A store says that changes are durable which its broker has not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has change {}, the broker has made {}: it was not restored from what is in the store", durable.0, last.0)]
#[non_exhaustive]
pub struct StoreAhead {
    /// What the store says.
    pub durable: Sequence,
    /// The last change that the broker has made.
    pub last: Sequence,
}

/// Changes in their order, without a gap. Batches are cut so that what belongs together is in one: a store makes a batch
/// durable whole or not at all, and no batch before those with smaller numbers.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PersistBatch {
    /// The number of the last change in it; of an empty batch, of the last change there was.
    pub last: Sequence,
    /// The changes; the last of them has the number [`last`](Self::last).
    pub changes: Vec<Change>,
}

impl PersistBatch {
    /// The number of the first change in it.
    pub fn first(&self) -> Sequence {
        let count = u64::try_from(self.changes.len()).unwrap_or(u64::MAX);
        Sequence((self.last.0 + 1).saturating_sub(count))
    }

    /// Whether there is nothing to be stored.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Something that has to survive. A message for a Session is named by the number of the change that brought it. What each does to
/// the [`Contents`] is in [`Replay`]. A store that meets one of a kind that it does not know must fail: it would lose it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A Session begins, or goes on with another Connection.
    SessionBound {
        /// Whose it is; a Session is named by its Client Identifier.
        identity: Arc<Identity>,
        /// How often it was bound; 1: it begins. What an older one said is void.
        lease: u64,
        /// Its Session Expiry Interval in seconds; `u32::MAX` for ever.
        session_expiry_interval: u32,
    },
    /// The Connection of a Session has ended: its expiry begins.
    SessionUnbound {
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Its Session Expiry Interval in seconds, which DISCONNECT may have changed.
        session_expiry_interval: u32,
        /// When, since 1970-01-01T00:00:00Z.
        at: Duration,
    },
    /// A Session is over, with all that it had. What changes follow about its messages ([`Dequeued`](Self::Dequeued) and
    /// others) are about nothing any more and to be passed over; so are those about a message that is gone. A Session that
    /// begins anew under the same Client Identifier has messages with other numbers.
    SessionEnded {
        /// Its Client Identifier.
        client_id: Arc<str>,
    },
    /// A Subscription is made, or takes the place of one with the same filter.
    Subscribed {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// The filter as the client wrote it.
        filter: Box<str>,
        /// Its options, the granted QoS among them.
        options: SubscriptionOptions,
        /// Its Subscription Identifier.
        identifier: Option<u32>,
    },
    /// A Subscription is gone.
    Unsubscribed {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// The filter as the client wrote it.
        filter: Box<str>,
    },
    /// A message waits for a Session. The number of this change is its name.
    Enqueued {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// The message.
        message: StoredMessage,
        /// The QoS that the Session gets it with.
        qos: QoS,
        /// Whether it gets it with RETAIN.
        retain: bool,
        /// Its Subscription Identifiers.
        subscription_identifiers: Vec<u32>,
        /// The Shared Subscription that it came for, as its members write the filter: another of them gets the message if
        /// this Session ends before it has it.
        share: Option<Arc<str>>,
        /// Under which identifier it is being sent, if it is.
        packet_identifier: Option<PacketIdentifier>,
    },
    /// A message that waited is being sent.
    Sent {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Which message.
        message: Sequence,
        /// Under which identifier.
        packet_identifier: PacketIdentifier,
    },
    /// A QoS 2 message has arrived: PUBREL is due, the message is not needed any more.
    Received {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Which message.
        message: Sequence,
    },
    /// A QoS 2 message that was sent is not for the Session's present user: it is not needed any more, and nothing is sent
    /// for it, but its identifier stays in use, which its receiver may know.
    Withheld {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Which message.
        message: Sequence,
    },
    /// A message has been acknowledged, has expired, or is not for this Session any more.
    Dequeued {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Which message.
        message: Sequence,
    },
    /// A client has sent a QoS 2 message and not released it. Who sent it is not kept: after a restart it counts as sent by the
    /// user that had the Session last. What that one may write is not asked again; it is the source of the message where it is
    /// retained, unless [`StoredMessage::is_moved`].
    Unreleased {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Under which identifier.
        packet_identifier: PacketIdentifier,
        /// The message; `None`: it was refused, and only its exchange goes on.
        message: Option<StoredMessage>,
    },
    /// A client has released a QoS 2 message, in one batch with what that brings to other Sessions; or was refused it when
    /// it sent it again.
    Released {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Under which identifier.
        packet_identifier: PacketIdentifier,
    },
    /// A client has left a Will Message. The number of this change is its name.
    Will {
        /// The message.
        will: StoredWill,
    },
    /// A Will Message is not to be published any more. In one batch with what its publication brings, if it was published.
    WillOver {
        /// Which one.
        will: Sequence,
    },
    /// A retained message is stored under its Topic Name, in the place of another one.
    Retained {
        /// The message, and what belongs to it.
        retained: StoredRetained,
    },
    /// The retained message of a Topic Name is gone.
    RetainedCleared {
        /// The Topic Name.
        topic_name: Box<str>,
    },
}

impl Change {
    /// About how much memory it takes beside the message that it [carries](Self::message) and the names that it shares with
    /// the Session.
    pub(crate) fn weight(&self) -> usize {
        let own = match self {
            Change::Enqueued {
                subscription_identifiers,
                ..
            } => size_of_val(subscription_identifiers.as_slice()),
            Change::Subscribed { filter, .. } | Change::Unsubscribed { filter, .. } => filter.len(),
            Change::RetainedCleared { topic_name } => topic_name.len(),
            _ => 0,
        };
        own.saturating_add(size_of::<Change>())
    }

    /// The message that comes with it, which others may come with, too.
    pub(crate) fn message(&self) -> Option<&MessageBody> {
        match self {
            Change::Enqueued { message, .. }
            | Change::Unreleased {
                message: Some(message),
                ..
            }
            | Change::Will {
                will: StoredWill { message, .. },
            }
            | Change::Retained {
                retained: StoredRetained { message, .. },
            } => Some(&message.body),
            _ => None,
        }
    }
}

/// An Application Message as a store gets it; shared, not copied, with those that it is for.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    body: MessageBody,
    expires: Option<Duration>,
}

impl StoredMessage {
    /// A message that a store has kept. `properties` are encoded as [`properties`](Self::properties) gave them; `expires` is
    /// since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid. Properties are looked at when the broker is [restored](crate::Broker::restore).
    pub fn new(
        topic_name: &str,
        properties: &[u8],
        payload: &[u8],
        qos: QoS,
        retain: bool,
        expires: Option<Duration>,
    ) -> Result<StoredMessage, TopicError> {
        let message = Message {
            properties,
            ..Message::plain(TopicName::new(topic_name)?, payload, qos, retain)
        };
        let body = message.to_body(&mut Vec::new());
        Ok(StoredMessage { body, expires })
    }

    /// The same with [`is_moved`](Self::is_moved). Default: `false`.
    #[must_use]
    pub fn moved(self, is_moved: bool) -> StoredMessage {
        let message = Message {
            moved: is_moved,
            kept: None,
            ..self.body.message()
        };
        StoredMessage {
            body: message.to_body(&mut Vec::new()),
            expires: self.expires,
        }
    }

    /// `now` and `unix` are the same moment on two clocks.
    pub(crate) fn of(body: &MessageBody, now: Millis, unix: Duration) -> StoredMessage {
        let expires = body.message().expires;
        StoredMessage {
            body: body.clone(),
            expires: (expires != Millis::NEVER).then(|| unix + expires.since(now)),
        }
    }

    /// The message as a broker keeps it whose clock says `now` at the time of `unix`.
    pub(crate) fn body(&self, now: Millis, unix: Duration) -> MessageBody {
        match self.expires {
            None => self.body.clone(),
            Some(expires) => {
                let message = self.body.message();
                let expires = now.after(expires.saturating_sub(unix));
                message.expiring_at(expires).to_body(&mut Vec::new())
            }
        }
    }

    /// Its Topic Name.
    pub fn topic_name(&self) -> &str {
        self.body.message().topic_name.as_str()
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.body.message().payload
    }

    /// Its 5.0 properties that are passed on, encoded.
    pub fn properties(&self) -> &[u8] {
        self.body.message().properties
    }

    /// The QoS that it was published with.
    pub fn qos(&self) -> QoS {
        self.body.message().qos
    }

    /// Whether it was published with RETAIN.
    pub fn retain(&self) -> bool {
        self.body.message().retain
    }

    /// Whether a hook has set its Topic Name, so that it has no source whose right to write there is looked at.
    pub fn is_moved(&self) -> bool {
        self.body.message().moved
    }

    /// When it expires, since 1970-01-01T00:00:00Z; `None`: never.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }
}

/// What is durable of a broker: the sum of all changes up to one of them.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The number of the last change that it holds. The next one has the number behind it.
    pub last: Sequence,
    /// Sessions, in any order.
    pub sessions: Vec<StoredSession>,
    /// Will Messages that are not published yet, by the numbers of their changes.
    pub wills: BTreeMap<Sequence, StoredWill>,
    /// Retained messages, in any order.
    pub retained: Vec<StoredRetained>,
}

/// A Session that survives.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// How often it was bound.
    pub lease: u64,
    /// Its Session Expiry Interval in seconds; `u32::MAX` for ever.
    pub session_expiry_interval: u32,
    /// When its Connection ended, since 1970-01-01T00:00:00Z; `None`: with the broker.
    pub unbound_at: Option<Duration>,
    /// Its Subscriptions, by the filter as the client wrote it.
    pub subscriptions: BTreeMap<Box<str>, StoredSubscription>,
    /// Messages that wait for it or are under way to it, by the numbers of the changes that brought them.
    pub messages: BTreeMap<Sequence, StoredDelivery>,
    /// QoS 2 messages that it has sent and not released; `None`: it was refused, and only its exchange goes on.
    pub unreleased: BTreeMap<PacketIdentifier, Option<StoredMessage>>,
}

/// A Subscription of a [`StoredSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Its options, the granted QoS among them.
    pub options: SubscriptionOptions,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
}

/// A message for a [`StoredSession`].
#[derive(Clone, Debug)]
pub struct StoredDelivery {
    /// The message; `None`: it has arrived at QoS 2, and only its exchange goes on, or it is [withheld](Self::withheld).
    pub message: Option<StoredMessage>,
    /// See [`Change::Withheld`].
    pub withheld: bool,
    /// The QoS that the Session gets it with: 1 or 2.
    pub qos: QoS,
    /// Whether it gets it with RETAIN.
    pub retain: bool,
    /// Its Subscription Identifiers.
    pub subscription_identifiers: Vec<u32>,
    /// The Shared Subscription that it came for, if there is one: see [`Change::Enqueued`].
    pub share: Option<Arc<str>>,
    /// What it was sent as, if it was: the number of the change that said so, and the identifier. Messages are sent again in
    /// the order of these numbers.
    pub sent: Option<(Sequence, PacketIdentifier)>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct StoredWill {
    /// Who has left it.
    pub identity: Arc<Identity>,
    /// The lease of the Session when it did.
    pub lease: u64,
    /// The message; it does not expire before it is published.
    pub message: StoredMessage,
    /// Its Message Expiry Interval, which begins when it is published.
    pub expiry: Option<Duration>,
    /// Its Will Delay Interval.
    pub delay: Duration,
}

/// A retained message.
#[derive(Clone, Debug)]
pub struct StoredRetained {
    /// The message.
    pub message: StoredMessage,
    /// Who published it; `None`: the broker's embedder.
    pub source: Option<Arc<Identity>>,
    /// When it is forgotten, since 1970-01-01T00:00:00Z: not later than it [expires](StoredMessage::expires). `None`: never.
    pub forgotten: Option<Duration>,
}

/// Where persist batches go.
///
/// Batches may be submitted from several threads, and so arrive out of order by a little; their numbers say what comes
/// first. A store waits for the ones that are missing.
pub trait Store: Send + Sync {
    /// Takes a batch over; must not block for long. The store counts its changes as durable when all of them, and all
    /// before them, are on disk.
    fn submit(&self, batch: PersistBatch);

    /// Up to which number everything is durable. Never goes back.
    fn durable(&self) -> Sequence;

    /// What to call, from any thread, whenever [`durable`](Self::durable) has grown or the store has failed: it makes the driver
    /// look. Called once, by a driver that sleeps when there is nothing to do.
    fn set_wake(&self, wake: Box<dyn Fn() + Send + Sync>) {
        drop(wake);
    }

    /// Why nothing more will become durable, once that is so: a sync has failed. It is not tried again; the driver says so
    /// and stops, and nothing is acknowledged any more.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// The simplest kind of store: one that makes a batch durable before it returns. Whoever runs it, on a thread of its own,
/// makes a [`Store`] of it with [`Arrivals`].
pub trait Commit: Send {
    /// Why a batch is not durable.
    type Error: core::fmt::Display;

    /// Makes a batch durable, whole or not at all.
    ///
    /// # Errors
    ///
    /// Nothing is known about what is on disk. It is not called again: a sync that has failed is not tried as if it had not.
    fn commit(&mut self, batch: &PersistBatch) -> Result<(), Self::Error>;
}

/// Puts batches in order and together for a store that commits one after the other: whatever has come while it was at the
/// last one goes in the next. Batch size is what makes a slow disk fast.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The number of the last change that was handed on.
    taken: Sequence,
    /// By their first numbers.
    waiting: BTreeMap<Sequence, PersistBatch>,
}

impl Arrivals {
    /// For a store that has everything up to `last`.
    pub fn after(last: Sequence) -> Arrivals {
        Arrivals {
            taken: last,
            waiting: BTreeMap::new(),
        }
    }

    /// Takes a batch in, in any order.
    pub fn put(&mut self, batch: PersistBatch) {
        if !batch.is_empty() {
            self.waiting.insert(batch.first(), batch);
        }
    }

    /// All that can be committed now, as one batch; `None`: nothing has come, or an earlier batch is missing.
    pub fn take(&mut self) -> Option<PersistBatch> {
        let mut all = self.next()?;
        while let Some(mut batch) = self.next() {
            all.last = batch.last;
            all.changes.append(&mut batch.changes);
        }
        Some(all)
    }

    fn next(&mut self) -> Option<PersistBatch> {
        let batch = self.waiting.remove(&Sequence(self.taken.0 + 1))?;
        self.taken = batch.last;
        Some(batch)
    }
}
