//! What happened that an operator wants to know of. Drivers make log lines of it.

use std::sync::Arc;

use komar_codec::{ProtocolVersion, QoS, ReasonCode};

use crate::error::CloseCause;
use crate::note::{NotedClient, NotedPacket, NotedPublish};
use crate::outbox::Outbox;
use crate::rate::OverRate;

/// Something that happened in a turn; taken with [`Worker::next_event`](crate::Worker::next_event).
#[derive(Clone)]
#[non_exhaustive]
pub enum Event {
    /// A client was accepted.
    Connected {
        /// Its Connection.
        outbox: Arc<Outbox>,
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Its user name, or that of its certificate.
        username: Option<Arc<str>>,
        /// What it speaks.
        version: ProtocolVersion,
        /// Whether it asked for a fresh Session.
        clean_start: bool,
        /// Its keep alive in seconds, as agreed; 0 for none.
        keep_alive: u16,
        /// Whether it says that it is the bridge of another broker: Mosquitto's bit of the protocol level, 3.x only.
        bridge: bool,
    },
    /// A client was refused.
    Refused {
        /// Its Connection.
        outbox: Arc<Outbox>,
        /// Its Client Identifier, if it got so far.
        client_id: Arc<str>,
        /// The user name that it claimed.
        username: Option<Arc<str>>,
        /// What it was told, if anything.
        reason_code: ReasonCode,
        /// Why, in words for an operator.
        detail: String,
    },
    /// A Connection that had been accepted has ended.
    Disconnected {
        /// The Connection.
        outbox: Arc<Outbox>,
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// Why.
        cause: CloseCause,
    },
    /// A Connection ended before it was accepted or refused.
    Abandoned {
        /// The Connection.
        outbox: Arc<Outbox>,
        /// Why.
        cause: CloseCause,
    },
    /// A message is lost because a Session has no room for it; once an episode. Of a Shared Subscription whose members all
    /// have none, the one whose turn it was.
    QueueFull {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
    },
    /// A message was routed and not retained, because a limit on retained messages was met: nothing is retained under its
    /// Topic Name now. Once until a retained message is cleared or expires.
    RetainedFull {
        /// The Topic Name.
        topic_name: Box<str>,
    },
    /// A client has published faster than it may ([`Link::limit_messages`](crate::Link::limit_messages)); once a Connection.
    RateExceeded {
        /// Its Client Identifier.
        client_id: Arc<str>,
        /// What happens to messages that are too many.
        over: OverRate,
    },
    /// A client has more QoS 2 messages unreleased than our Receive Maximum, which is tolerated
    /// ([`BrokerConfig::tolerate_receive_maximum`](crate::BrokerConfig::tolerate_receive_maximum)); once a Connection.
    ReceiveMaximumExceeded {
        /// Its Client Identifier.
        client_id: Arc<str>,
    },
    /// A Subscription was made, or granted again. Only where [`Worker::note_subscriptions`](crate::Worker::note_subscriptions)
    /// asks for it.
    Subscribed {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// The filter as the client wrote it, `$share/` included.
        filter: Box<str>,
        /// The QoS that was granted.
        maximum_qos: QoS,
    },
    /// A client has unsubscribed from a filter, whether it had the Subscription or not; as above.
    Unsubscribed {
        /// The Session's Client Identifier.
        client_id: Arc<str>,
        /// The filter.
        filter: Box<str>,
    },
    /// A message was not routed because its publisher may not write there.
    PublishDenied {
        /// The publisher's Client Identifier.
        client_id: Arc<str>,
        /// What it wanted to publish, or its Will Message.
        publish: NotedPublish,
    },
    /// A packet has come and is not refused for what it is. Only where
    /// [`Worker::note_packets`](crate::Worker::note_packets) asks for it, as those that follow.
    PacketReceived {
        /// Whose it is.
        client: NotedClient,
        /// What it is.
        packet: NotedPacket,
    },
    /// A packet goes out, at once or when the store has what it rests on.
    PacketSent {
        /// Whom it goes to.
        client: NotedClient,
        /// What it is.
        packet: NotedPacket,
    },
    /// A message was not routed because it is larger than
    /// [`Limits::maximum_payload_size`](crate::Limits::maximum_payload_size).
    PublishTooLarge {
        /// The publisher's Client Identifier.
        client_id: Arc<str>,
        /// What it wanted to publish.
        publish: NotedPublish,
    },
    /// There were more packets than [`Limits::maximum_noted_packets`](crate::Limits::maximum_noted_packets) since events were
    /// taken last.
    PacketsNotNoted {
        /// How many more.
        packets: u64,
    },
}
