//! The seam to durable storage: what leaves a turn to be persisted, and what comes back.
//!
//! With [`BrokerConfig::durable`](crate::BrokerConfig::durable) the broker notes every change that has to survive it:
//! Sessions with a Session Expiry Interval, their Subscriptions, the QoS 1 and 2 messages that wait for them or are under
//! way, the QoS 2 messages that they have not released, and retained messages. Changes are numbered in one order for all
//! workers. The end of each turn hands out what has come together since ([`TurnEnd::persist`](crate::TurnEnd::persist)); the
//! driver gives it to a [`Store`] and tells each worker how far the store has come
//! ([`Worker::durable`](crate::Worker::durable)). Until then are held back:
//!
//! - PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK that rest on a change, and those that follow them on the same
//!   Connection: acknowledgements leave in the order of arrival;
//! - a CONNACK that promises a Session, and all that comes behind it;
//! - QoS 2 messages for Sessions that survive, which a restart must not deliver twice.
//!
//! A broker that is not durable notes nothing and holds nothing back.

use core::time::Duration;
use std::sync::Arc;

use komar_codec::{PacketIdentifier, QoS, SubscriptionOptions};

use crate::message::MessageBody;
use crate::now::Millis;

/// Position in the order in which changes are made durable. The first change has number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

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

/// Something that has to survive. A message for a Session is named by the number of the change that brought it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A Session begins, or goes on with another Connection.
    SessionBound {
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Its user.
        username: Option<Arc<str>>,
        /// How often it was bound. A lease: what carries an older one is void.
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
    /// A Session is over, with all that it had.
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
    /// A message has been acknowledged, has expired, or is not for this Session any more.
    Dequeued {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Which message.
        message: Sequence,
    },
    /// A client has sent a QoS 2 message and not released it.
    Unreleased {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Under which identifier.
        packet_identifier: PacketIdentifier,
        /// The message; `None`: it was refused, and only its exchange goes on.
        message: Option<StoredMessage>,
    },
    /// A client has released a QoS 2 message. In one batch with what that brings to other Sessions.
    Released {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// Under which identifier.
        packet_identifier: PacketIdentifier,
    },
    /// A retained message is stored under its Topic Name, in the place of another one.
    Retained {
        /// The message.
        message: StoredMessage,
    },
    /// The retained message of a Topic Name is gone.
    RetainedCleared {
        /// The Topic Name.
        topic_name: Box<str>,
    },
}

/// An Application Message as a store gets it; shared, not copied, with those that it is for.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    body: MessageBody,
    expires: Option<Duration>,
}

impl StoredMessage {
    /// `now` and `unix` are the same moment on two clocks.
    pub(crate) fn new(body: &MessageBody, now: Millis, unix: Duration) -> StoredMessage {
        let expires = body.message().expires;
        StoredMessage {
            body: body.clone(),
            expires: (expires != Millis::NEVER).then(|| unix + expires.since(now)),
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

    /// When it expires, since 1970-01-01T00:00:00Z; `None`: never.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }
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

    /// Why nothing more will become durable, once that is so: a sync has failed. It is not tried again; the driver says so
    /// and stops, and nothing is acknowledged any more.
    fn failure(&self) -> Option<String> {
        None
    }
}
