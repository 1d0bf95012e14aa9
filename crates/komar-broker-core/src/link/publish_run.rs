//! PUBLISH packets that come in one input and go to one Session, one behind the other.
//!
//! What a message of 64 bytes costs is for the most part the locks of its receiver, so a run of messages takes them once.
//! A run is made of messages that raise no question. Whatever does ends it and is handled by itself
//! ([`Worker::publish_packet`]), where it may be refused, asked about or kept.

use std::sync::Arc;

use komar_codec::{
    DecodeOptions, Frame, Framing, PacketIdentifier, PacketType, Publish, QoS, ReasonCode, frame,
};
use komar_topic::{Stripes, TopicName};

use super::publish::{check_depth, message_of};
use super::{Established, Link, Phase};
use crate::broker::Shared;
use crate::config::{BrokerConfig, ListenerPolicy};
use crate::message::Message;
use crate::now::Millis;
use crate::publish_out::SHARE_FROM;
use crate::router::{Target, TopicCache};
use crate::session::{Delivered, Delivery};
use crate::worker::{CurrentAccess, Worker};

impl Worker {
    /// Whether a run is worth beginning: the last message had one receiver, and a PUBLISH of the same kind stands behind this
    /// one.
    #[inline]
    pub(super) fn expects_run(&self, whole: Frame<'_>, behind: &[u8]) -> bool {
        whole.flags() & 0b0101 == 0
            && behind
                .first()
                .is_some_and(|first| Some(first) == whole.bytes().first())
            && self.cache.was_single()
            && self.fx.journal.is_none()
            && !self.broker.hooks.watch_messages()
    }

    /// Takes PUBLISH packets off the front of `unread` as long as each is plainly for the same Session as the one before.
    /// None, if the first is not plain.
    pub(super) fn publish_run(&mut self, link: &mut Link, unread: &mut &[u8], options: &DecodeOptions) {
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let mut reading = Reading {
            broker: &self.broker,
            config: &self.config,
            access: &self.access,
            cache: &mut self.cache,
            policy: &link.policy,
            established,
            options,
            now: self.fx.now,
            last: None,
        };
        let Some(mut found) = reading.next(unread) else {
            return;
        };
        let fx = &mut self.fx;
        let session = match reading.target(&found) {
            Some(target) => Arc::clone(&target.session),
            None => return,
        };
        let mut state = session.lock();
        let Some(identity_epoch) = state.present_identity() else {
            return;
        };
        let Some(mut sending) = state.sending(&self.config) else {
            return;
        };
        for _ in 0..RUN {
            let Some(target) = reading.target(&found) else {
                break;
            };
            if !Arc::ptr_eq(&target.session, &session) || target.identity_epoch != identity_epoch {
                break;
            }
            let message = found.message;
            let (qos, retain) = target.copy_of(message, &self.config);
            let mut delivery = Delivery {
                message,
                body: &mut None,
                is_last: true,
                qos,
                retain,
                identifiers: &target.identifiers,
                group: None,
                share: None,
                identity_epoch,
            };
            match sending.send(fx, &mut delivery) {
                Some(Delivered::Dropped(_)) => self.broker.counters.dropped(),
                Some(_) => {}
                // It has to wait: the longer way knows how.
                None => break,
            }
            fx.counts.packets_received += 1;
            fx.counts.publish_received += 1;
            fx.counts.publish_bytes_received += message.payload.len() as u64;
            if let Some(identifier) = found.packet_identifier {
                fx.puback(&link.outbox, identifier, ReasonCode::Success);
            }
            *unread = unread.get(found.length..).unwrap_or_default();
            match reading.next(unread) {
                Some(next) => found = next,
                None => break,
            }
        }
        sending.finish(fx);
        link.outbox.seen(fx.now);
    }
}

/// What a PUBLISH is looked at with.
struct Reading<'w, 'p> {
    broker: &'w Shared,
    config: &'w BrokerConfig,
    access: &'w CurrentAccess,
    cache: &'w mut TopicCache,
    policy: &'w ListenerPolicy,
    established: &'w mut Established,
    options: &'w DecodeOptions,
    now: Millis,
    /// Topic Name of the last one, and the entry of the cache that holds its route. What holds for one of an input's
    /// messages holds for the next: they have been sent before anything that happens meanwhile was known to anybody.
    last: Option<(&'p str, usize)>,
}

/// A PUBLISH that may be sent on at once.
struct Found<'p> {
    message: Message<'p>,
    /// Present at QoS 1.
    packet_identifier: Option<PacketIdentifier>,
    /// Bytes of the packet.
    length: usize,
    /// The entry of the cache that holds its route.
    place: usize,
}

impl<'p> Reading<'_, 'p> {
    /// The packet at the front of `unread`, if it is a PUBLISH that is whole, right, allowed, and for one Session.
    fn next(&mut self, unread: &'p [u8]) -> Option<Found<'p>> {
        let Ok(Framing::Complete(whole)) = frame(unread, self.options) else {
            return None;
        };
        if whole.packet_type() != PacketType::Publish {
            return None;
        }
        let publish = Publish::decode(whole, self.options).ok()?;
        let name = publish.topic_name;
        let place = match self.last {
            Some((last, place)) if last == name => place,
            _ => self.route(name)?,
        };
        if !self.is_plain(&publish) {
            return None;
        }
        let mut forwarded = publish.properties.forwarded();
        let properties = forwarded.next().unwrap_or_default();
        if forwarded.next().is_some() {
            return None;
        }
        self.last = Some((name, place));
        Some(Found {
            message: message_of(&publish, TopicName::from_checked(name), properties, self.now),
            packet_identifier: publish.packet_identifier,
            length: whole.len(),
            place,
        })
    }

    /// The entry with the route of a Topic Name, if there is one and the client is known to be allowed to publish there.
    fn route(&mut self, name: &str) -> Option<usize> {
        if name.is_empty() || check_depth(name, self.config.limits.maximum_topic_levels).is_err() {
            return None;
        }
        let may_write = if self.access.access.authorize.is_none() && !name.starts_with('$') {
            true
        } else {
            self.established.write_verdicts.find(self.access.epoch, name)?
        };
        let stamp_of = |stripes: &Stripes| self.broker.stamp(stripes, self.access.epoch);
        may_write.then(|| self.cache.find(name, stamp_of))?
    }

    fn is_plain(&self, publish: &Publish<'_>) -> bool {
        let limit = self.config.limits.maximum_payload_size;
        publish.qos != QoS::ExactlyOnce
            && publish.qos <= self.policy.maximum_qos
            && !publish.retain
            && publish.properties.topic_alias.is_none()
            && publish.payload.len() < SHARE_FROM
            && limit.is_none_or(|limit| publish.payload.len() <= limit as usize)
            && !(self.config.check_payload_format && publish.properties.payload_format_indicator.is_some())
    }

    /// The one receiver, if it is to have the message.
    fn target(&mut self, found: &Found<'_>) -> Option<&Target> {
        let client_id = &self.established.identity.client_id;
        self.cache.single(found.place).filter(|target| {
            target.readable && !target.once && !(target.no_local && target.session.client_id == *client_id)
        })
    }
}

/// So many messages are handled while others wait for their receiver: some ten microseconds' worth.
const RUN: usize = 256;
