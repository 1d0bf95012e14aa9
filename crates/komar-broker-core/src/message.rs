//! An Application Message while it is routed, and as it is kept.

use std::sync::Arc;

use komar_codec::QoS;
use komar_topic::TopicName;

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
            expires: Millis::NEVER,
            kept: None,
        }
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
        scratch.reserve(HEADER + topic.len() + self.properties.len() + self.payload.len());
        scratch.extend_from_slice(&self.expires.0.to_be_bytes());
        scratch.extend_from_slice(&length(topic).to_be_bytes());
        scratch.extend_from_slice(&length(self.properties).to_be_bytes());
        scratch.push(self.qos.as_u8());
        scratch.push(u8::from(self.retain));
        scratch.extend_from_slice(topic);
        scratch.extend_from_slice(self.properties);
        scratch.extend_from_slice(self.payload);
        MessageBody(Arc::from(scratch.as_slice()))
    }
}

/// A kept Application Message: one allocation, whatever the number of its receivers.
///
/// Layout: expiry (8 bytes), length of the Topic Name (4), length of the properties (4), QoS (1), RETAIN (1), Topic
/// Name, properties, payload.
#[derive(Clone, Debug)]
pub(crate) struct MessageBody(Arc<[u8]>);

impl MessageBody {
    /// The message as it was copied in. The accessors below agree on the layout with [`Message::to_body`], which
    /// is the only constructor; a body that it did not make reads as an empty message.
    pub(crate) fn message(&self) -> Message<'_> {
        let nothing = || Message::plain(TopicName::from_checked(""), &[], QoS::AtMostOnce, false);
        self.read().unwrap_or_else(nothing)
    }

    /// Bytes that the limits on queues count.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What tells this message from others as long as it is held.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// Bytes of the payload, without reading the rest.
    pub(crate) fn payload_len(&self) -> usize {
        self.lengths().map_or(0, |(topic, properties)| {
            self.0.len().saturating_sub(HEADER + topic + properties)
        })
    }

    /// The bytes behind the message, and where its payload begins in them.
    pub(crate) fn payload_bytes(&self) -> (Arc<[u8]>, usize) {
        let payload = self.payload_len();
        (Arc::clone(&self.0), self.0.len().saturating_sub(payload))
    }

    /// Of the Topic Name and of the properties.
    fn lengths(&self) -> Option<(usize, usize)> {
        let (topic, rest) = self.0.get(8..)?.split_first_chunk::<4>()?;
        let properties = rest.first_chunk::<4>()?;
        Some((
            u32::from_be_bytes(*topic) as usize,
            u32::from_be_bytes(*properties) as usize,
        ))
    }

    fn read(&self) -> Option<Message<'_>> {
        let (expires, rest) = self.0.split_first_chunk::<8>()?;
        let (topic_length, rest) = rest.split_first_chunk::<4>()?;
        let (properties_length, rest) = rest.split_first_chunk::<4>()?;
        let ([qos, retain], rest) = rest.split_first_chunk::<2>()?;
        let (topic, rest) = rest.split_at_checked(u32::from_be_bytes(*topic_length) as usize)?;
        let (properties, payload) = rest.split_at_checked(u32::from_be_bytes(*properties_length) as usize)?;
        Some(Message {
            topic_name: TopicName::from_checked(core::str::from_utf8(topic).ok()?),
            properties,
            payload,
            qos: QoS::from_u8(*qos)?,
            retain: *retain != 0,
            expires: Millis(u64::from_be_bytes(*expires)),
            kept: Some(self),
        })
    }
}

const HEADER: usize = 18;

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
    Several(Arc<[u32]>),
}

impl SubscriptionIdentifiers {
    pub(crate) fn new(identifier: Option<u32>) -> Self {
        identifier.map_or(SubscriptionIdentifiers::None, SubscriptionIdentifiers::One)
    }

    pub(crate) fn of(identifiers: &[u32]) -> Self {
        match identifiers {
            [] => SubscriptionIdentifiers::None,
            [one] => SubscriptionIdentifiers::One(*one),
            several => SubscriptionIdentifiers::Several(several.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            SubscriptionIdentifiers::None => &[],
            SubscriptionIdentifiers::One(one) => core::slice::from_ref(one),
            SubscriptionIdentifiers::Several(several) => several,
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
