//! An Application Message while it is routed, and as it is kept.

use komar_codec::QoS;
use komar_topic::TopicName;
use triomphe::ThinArc;

use crate::now::Millis;

/// An Application Message that is borrowed from the packet that carried it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) topic_name: TopicName<'a>,
    /// Encoded 5.0 properties that are passed on as they came. v5 [MQTT-3.3.2-17]
    pub(crate) properties: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// A hook has set its Topic Name: whether its client may write there is not asked.
    pub(crate) moved: bool,
    /// When it expires; [`Millis::NEVER`] without a Message Expiry Interval.
    pub(crate) expires: Millis,
    /// The shared copy that it is read from, if it is.
    pub(crate) kept: Option<&'a MessageBody>,
}

impl<'a> Message<'a> {
    /// A message without properties that does not expire.
    pub(crate) fn plain(topic_name: TopicName<'a>, payload: &'a [u8], qos: QoS, retain: bool) -> Message<'a> {
        Message {
            topic_name,
            properties: &[],
            payload,
            qos,
            retain,
            moved: false,
            expires: Millis::NEVER,
            kept: None,
        }
    }

    /// Whether no PUBLISH has room for it.
    pub(crate) fn is_too_large(&self) -> bool {
        let fields = self.topic_name.as_str().len() + self.properties.len();
        fields.saturating_add(self.payload.len()) > LARGEST
    }

    pub(crate) fn is_expired(&self, now: Millis) -> bool {
        self.expires <= now
    }

    /// What is left of the Message Expiry Interval, in seconds and at least 1. v5 [MQTT-3.3.2-6]
    pub(crate) fn remaining_expiry(&self, now: Millis) -> Option<u32> {
        if self.expires == Millis::NEVER {
            return None;
        }
        let seconds = self.expires.since(now).as_millis().div_ceil(1000);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
    }

    /// The same message with another end.
    pub(crate) fn expiring_at(self, expires: Millis) -> Self {
        Message {
            expires,
            kept: None,
            ..self
        }
    }

    /// Copies the message into one allocation that any number of Sessions share, unless there is one already.
    pub(crate) fn to_body(self, scratch: &mut Vec<u8>) -> MessageBody {
        if let Some(body) = self.kept {
            return body.clone();
        }
        let topic = self.topic_name.as_str().as_bytes();
        scratch.clear();
        scratch.reserve(topic.len() + self.properties.len() + self.payload.len());
        scratch.extend_from_slice(topic);
        scratch.extend_from_slice(self.properties);
        scratch.extend_from_slice(self.payload);
        let header = Header {
            expires: self.expires,
            topic: length(topic),
            properties: length(self.properties),
            qos: self.qos,
            retain: self.retain,
            moved: self.moved,
        };
        MessageBody(ThinArc::from_header_and_slice(header, scratch))
    }
}

/// A kept Application Message: one allocation, whatever the number of its receivers. Topic Name, properties and payload
/// stand behind each other.
///
/// The pointer is thin and there is no count of weak ones: a waiting message is small, and its last receiver gives it
/// back with one atomic operation instead of two.
#[derive(Clone, Debug)]
pub(crate) struct MessageBody(ThinArc<Header, u8>);

#[derive(Clone, Copy, Debug)]
struct Header {
    expires: Millis,
    /// Bytes of the Topic Name, and of the properties.
    topic: u32,
    properties: u32,
    qos: QoS,
    retain: bool,
    moved: bool,
}

impl MessageBody {
    /// The message as it was copied in.
    pub(crate) fn message(&self) -> Message<'_> {
        let header = &self.0.header.header;
        let (topic, rest) = split(&self.0.slice, header.topic);
        let (properties, payload) = split(rest, header.properties);
        Message {
            // It was a name when it was copied in.
            topic_name: TopicName::from_checked(core::str::from_utf8(topic).unwrap_or_default()),
            properties,
            payload,
            qos: header.qos,
            retain: header.retain,
            moved: header.moved,
            expires: header.expires,
            kept: Some(self),
        }
    }

    /// Bytes that the limits on queues count.
    pub(crate) fn len(&self) -> usize {
        size_of::<Header>() + self.0.slice.len()
    }

    /// What tells this message from others as long as it is held.
    pub(crate) fn address(&self) -> usize {
        self.0.slice.as_ptr() as usize
    }

    /// Bytes of the payload, without reading the rest.
    pub(crate) fn payload_len(&self) -> usize {
        self.0.slice.len().saturating_sub(self.payload_start())
    }

    /// The payload, without reading the rest.
    pub(crate) fn payload(&self) -> &[u8] {
        self.0.slice.get(self.payload_start()..).unwrap_or_default()
    }

    fn payload_start(&self) -> usize {
        let header = &self.0.header.header;
        header.topic as usize + header.properties as usize
    }
}

/// The first `length` bytes, and the others.
fn split(bytes: &[u8], length: u32) -> (&[u8], &[u8]) {
    bytes.split_at_checked(length as usize).unwrap_or((bytes, &[]))
}

/// Bytes of Topic Name, properties and payload: what a packet may have, less what else is in a PUBLISH. MQTT 5.0 §2.1.4.
const LARGEST: usize = 268_435_455 - 1024;

fn length(bytes: &[u8]) -> u32 {
    // A packet is smaller than 2^28 bytes, so are its parts.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The Subscription Identifiers that go with one copy of a message. MQTT 5.0 §3.3.2.3.8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SubscriptionIdentifiers {
    #[default]
    None,
    One(u32),
    Several(ThinArc<(), u32>),
}

impl SubscriptionIdentifiers {
    pub(crate) fn new(identifier: Option<u32>) -> Self {
        identifier.map_or(SubscriptionIdentifiers::None, SubscriptionIdentifiers::One)
    }

    pub(crate) fn of(identifiers: &[u32]) -> Self {
        match identifiers {
            [] => SubscriptionIdentifiers::None,
            [one] => SubscriptionIdentifiers::One(*one),
            several => SubscriptionIdentifiers::Several(ThinArc::from_header_and_slice((), several)),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            SubscriptionIdentifiers::None => &[],
            SubscriptionIdentifiers::One(one) => core::slice::from_ref(one),
            SubscriptionIdentifiers::Several(several) => &several.slice,
        }
    }

    /// Adds the identifier of another Subscription that matches the same message.
    pub(crate) fn add(&mut self, other: &SubscriptionIdentifiers) {
        if other.as_slice().is_empty() {
            return;
        }
        let all: Vec<u32> = self.as_slice().iter().chain(other.as_slice()).copied().collect();
        *self = SubscriptionIdentifiers::of(&all);
    }
}
