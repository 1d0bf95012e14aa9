//! PUBLISH packets that raise no question: whole, right, and known to be allowed.
//!
//! Those that stand one behind the other in one input are handled together. Any other is handled by itself
//! ([`Worker::publish_packet`](crate::worker::Worker::publish_packet)), where it may be refused, asked about or rewritten.

use komar_codec::{DecodeOptions, Frame, Framing, PacketIdentifier, PacketType, Publish, frame};
use komar_topic::TopicName;

use super::Established;
use super::publish::{check_depth, message_of};
use crate::config::{BrokerConfig, ListenerPolicy};
use crate::message::Message;
use crate::now::Millis;
use crate::publish_out::SHARE_FROM;
use crate::worker::CurrentAccess;

/// What a PUBLISH is looked at with.
pub(super) struct Reading<'w, 'p> {
    pub(super) config: &'w BrokerConfig,
    pub(super) access: &'w CurrentAccess,
    pub(super) policy: &'w ListenerPolicy,
    pub(super) established: &'w mut Established,
    pub(super) options: &'w DecodeOptions,
    pub(super) now: Millis,
    /// Topic Name of the last one. What holds for one of an input's messages holds for the next: they have been sent before
    /// anything that happens meanwhile was known to anybody.
    pub(super) last: &'p str,
}

/// A PUBLISH that may be sent on at once.
pub(super) struct Found<'p> {
    pub(super) message: Message<'p>,
    /// Present at QoS 1 and 2.
    pub(super) packet_identifier: Option<PacketIdentifier>,
    /// Bytes of the packet.
    pub(super) length: usize,
    /// It has the Topic Name of the one before.
    pub(super) same_name: bool,
}

/// Whether it is worth to look at a PUBLISH this way: it has no DUP and no RETAIN, and one of the same kind stands behind it.
#[inline]
pub(super) fn begins_run(whole: Frame<'_>, behind: &[u8]) -> bool {
    whole.flags() & 0b1001 == 0
        && behind
            .first()
            .is_some_and(|first| Some(first) == whole.bytes().first())
}

/// Whether a PUBLISH has QoS 2.
#[inline]
pub(super) fn is_qos2(whole: Frame<'_>) -> bool {
    whole.flags() & 0b0110 == 0b0100
}

impl<'p> Reading<'_, 'p> {
    /// Who publishes.
    pub(super) fn client_id(&self) -> &str {
        &self.established.identity.client_id
    }

    /// The packet at the front of `unread`, if it raises no question.
    pub(super) fn next(&mut self, unread: &'p [u8]) -> Option<Found<'p>> {
        let Ok(Framing::Complete(whole)) = frame(unread, self.options) else {
            return None;
        };
        if whole.packet_type() != PacketType::Publish {
            return None;
        }
        let publish = Publish::decode(whole, self.options).ok()?;
        let name = publish.topic_name;
        let same_name = name == self.last && !name.is_empty();
        if !same_name && !self.may_write(name) || !self.is_plain(&publish) {
            return None;
        }
        let mut forwarded = publish.properties.received.forwarded();
        let properties = forwarded.next().unwrap_or_default();
        if forwarded.next().is_some() {
            return None;
        }
        self.last = name;
        Some(Found {
            message: message_of(&publish, TopicName::from_checked(name), properties, self.now),
            packet_identifier: publish.packet_identifier,
            length: whole.len(),
            same_name,
        })
    }

    /// Whether the client is known to be allowed to publish there.
    fn may_write(&mut self, name: &str) -> bool {
        if name.is_empty() || check_depth(name, self.config.limits.maximum_topic_levels).is_err() {
            return false;
        }
        self.access.access.authorize.is_none() && !name.starts_with('$')
            || self.established.write_verdicts.find(self.access.epoch, name) == Some(true)
    }

    fn is_plain(&self, publish: &Publish<'_>) -> bool {
        let limit = self.config.limits.maximum_payload_size;
        publish.qos <= self.policy.maximum_qos
            && !publish.retain
            && publish.properties.topic_alias.is_none()
            && publish.payload.len() < SHARE_FROM
            && limit.is_none_or(|limit| publish.payload.len() <= limit as usize)
            && !(self.config.check_payload_format && publish.properties.payload_format_indicator.is_some())
    }
}

/// So many packets are handled with a Session's locks held, while others wait for it: some ten microseconds' worth.
pub(super) const RUN: usize = 256;
