//! PUBLISH from a client. MQTT 5.0 §3.3.

use std::sync::Arc;

use komar_codec::{
    AckProperties, DecodeOptions, Frame, PacketIdentifier, PacketType, PubAck, Publish, QoS, ReasonCode,
};
use komar_topic::TopicName;

use super::{Established, Link, Phase};
use crate::access::{Action, Asking, Decision};
use crate::error::{ProtocolError, refusal as refused};
use crate::event::Event;
use crate::link::phase::Waiting;
use crate::message::Message;
use crate::note::{NotedClient, NotedPacket, NotedPublish};
use crate::now::Millis;
use crate::outbox::Outbox;
use crate::router::Origin;
use crate::worker::{Effects, Worker};

/// What is known of a PUBLISH that is read.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// To the question whether it may be published, if that was asked before; otherwise empty.
    pub(super) answers: &'a [Option<Decision>],
    /// When it was read first: the time that it waits for an answer counts. v5 [MQTT-3.3.2-6]
    pub(super) came: Millis,
}

impl Asked<'_> {
    /// It has just come.
    pub(super) fn not_yet(now: Millis) -> Self {
        Asked {
            answers: &[],
            came: now,
        }
    }
}

impl Worker {
    pub(super) fn publish_packet(
        &mut self,
        link: &mut Link,
        frame: Frame<'_>,
        raw: &[u8],
        options: &DecodeOptions,
        asked: Asked<'_>,
    ) -> Result<(), ProtocolError> {
        let publish = Publish::decode(frame, options)?;
        // A packet that waited for an answer was counted when it came.
        let mut within_rate = true;
        if asked.answers.is_empty() {
            self.fx.counts.publish_received += 1;
            self.fx.counts.publish_bytes_received += publish.payload.len() as u64;
            within_rate = self.count_message(link)?;
        }
        let Phase::Established(established) = &mut link.phase else {
            return Ok(());
        };
        if publish.qos > link.policy.maximum_qos {
            return Err(ProtocolError::QosNotSupported);
        }
        if publish.retain && !self.config.retain_available {
            return Err(ProtocolError::RetainNotSupported);
        }
        let maximum = link.policy.topic_alias_maximum;
        // Taken out for the time of this packet, so that a name behind an alias can be borrowed.
        let mut aliases = core::mem::take(&mut established.topic_aliases);
        let name = match publish.properties.topic_alias {
            None => Ok(publish.topic_name),
            Some(alias) if publish.topic_name.is_empty() => aliases.get(alias, maximum),
            Some(alias) => aliases
                .set(alias, publish.topic_name, maximum)
                .map(|()| publish.topic_name),
        };
        let result = name.and_then(|name| {
            let over_rate = (!within_rate).then_some(ReasonCode::QuotaExceeded);
            self.publish_to(link, &publish, raw, name, asked, over_rate)
        });
        if let Phase::Established(established) = &mut link.phase {
            established.topic_aliases = aliases;
        }
        result
    }

    fn publish_to(
        &mut self,
        link: &mut Link,
        publish: &Publish<'_>,
        raw: &[u8],
        name: &str,
        asked: Asked<'_>,
        refusal: Option<ReasonCode>,
    ) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &mut link.phase else {
            return Ok(());
        };
        let limits = &self.config.limits;
        check_depth(name, limits.maximum_topic_levels)?;
        // The codec has checked it. v5 [MQTT-3.3.2-1], v5 [MQTT-3.3.2-2]
        let topic_name = TopicName::from_checked(name);
        let mut noted = self.fx.notes_packets;
        let refusal = if refusal.is_some() {
            refusal
        } else if limits
            .maximum_payload_size
            .is_some_and(|limit| publish.payload.len() > limit as usize)
        {
            if core::mem::take(&mut noted) {
                self.fx.note(Event::PublishTooLarge {
                    client_id: Arc::clone(&established.session.client_id),
                    publish: NotedPublish::of(publish, name),
                });
            }
            // 0x95 is not among the codes that PUBACK and PUBREC may carry. v5 [MQTT-3.4.2-1], v5 [MQTT-3.5.2-1]
            Some(ReasonCode::QuotaExceeded)
        } else {
            let answer = asked.answers.first().copied().flatten();
            match self.may_write(established, &link.outbox, &mut link.asked, topic_name, answer)? {
                Decision::Allow | Decision::AllowOnce => {
                    let is_wrong = self.config.check_payload_format && !publish.has_valid_payload();
                    is_wrong.then_some(ReasonCode::PayloadFormatInvalid)
                }
                Decision::Later => {
                    let packet = self.keep_packet(raw)?;
                    let mut waiting = Waiting::for_packet(packet, vec![None]);
                    waiting.came = asked.came;
                    self.wait(link, waiting);
                    return Ok(());
                }
                denied => {
                    self.fx.events.push_back(Event::PublishDenied {
                        client_id: Arc::clone(&established.session.client_id),
                        publish: NotedPublish::of(publish, name),
                    });
                    noted = false;
                    Some(denied.reason_code(PacketType::PubAck))
                }
            }
        };
        if noted {
            let client = NotedClient::Named(Arc::clone(&established.session.client_id));
            let publish = NotedPublish::of(publish, name);
            self.fx.note_received(client, NotedPacket::Publish(publish));
        }
        let forwarded = self.fx.forwarded(publish);
        let message = message_of(publish, topic_name, &forwarded, asked.came);
        let (mut refusal, mut message, rewritten) = (refusal, message, &mut None);
        if refusal.is_none() && self.broker.hooks.has_publish() {
            // What the hook makes of a message, and publishes because of it, it does once. Without DUP it is another message,
            // of a client that has lost its state. v5 [MQTT-3.3.1-1]
            if let (QoS::ExactlyOnce, Some(identifier)) = (publish.qos, publish.packet_identifier)
                && publish.dup
                && established.keeps(identifier)
            {
                self.fx.keep_buffer(forwarded);
                self.fx.pubrec(&link.outbox, identifier, ReasonCode::Success);
                return Ok(());
            }
            let publisher = Arc::clone(&established.identity);
            match self.publish_hook(&publisher, message, false)? {
                Ok(changed) => message = rewritten.insert(changed).apply(message),
                Err(reason_code) => refusal = Some(refused(reason_code, PacketType::PubAck)),
            }
        }
        // What the hook publishes is stored with what it was called for, so that neither comes twice without the other.
        let has_posts = !self.posts.is_empty();
        let together = has_posts.then(|| self.fx.together()).flatten();
        let outcome = match (publish.qos, publish.packet_identifier) {
            (QoS::ExactlyOnce, Some(identifier)) => self.keep_unreleased(link, identifier, message, refusal),
            (qos, identifier) => {
                let matched = match refusal {
                    None => self.route(Origin::client(&established.identity), message),
                    Some(_) => 0,
                };
                self.route_posts();
                if let (QoS::AtLeastOnce, Some(identifier)) = (qos, identifier) {
                    self.acknowledge(link, identifier, refusal, matched);
                }
                Ok(())
            }
        };
        drop(together);
        self.fx.keep_buffer(forwarded);
        outcome
    }

    /// Whether this Link's user may publish there; remembered for the Topic Names it used last. `answer` is what came
    /// later, if the question was asked already.
    fn may_write(
        &self,
        established: &mut Established,
        outbox: &Arc<Outbox>,
        asked: &mut u32,
        name: TopicName<'_>,
        answer: Option<Decision>,
    ) -> Result<Decision, ProtocolError> {
        if self.access.access.authorize.is_none() && !name.as_str().starts_with('$') {
            return Ok(Decision::Allow);
        }
        let epoch = self.access.epoch;
        if let Some(verdict) = established.write_verdicts.find(epoch, name.as_str()) {
            return Ok(if verdict { Decision::Allow } else { Decision::Deny });
        }
        let decision = match answer {
            Some(answer) => answer,
            None => {
                *asked = asked.wrapping_add(1);
                let subject = established.identity.asking(Asking {
                    inbox: &self.inbox,
                    outbox,
                    ticket: *asked,
                    place: 0,
                });
                self.access.access.decide(&subject, Action::Publish(name))?
            }
        };
        if let Decision::Allow | Decision::Deny = decision {
            let verdict = decision == Decision::Allow;
            established.write_verdicts.remember(epoch, name.as_str(), verdict);
        }
        Ok(decision)
    }

    /// PUBACK. A 3.x client is not told that it was refused: it would send the message for ever (v3 [MQTT-3.3.5-2]).
    /// v5 [MQTT-3.3.4-1], v3 [MQTT-3.3.4-1], v5 [MQTT-4.3.2-4], v3 [MQTT-4.3.2-2]
    fn acknowledge(
        &mut self,
        link: &Link,
        packet_identifier: PacketIdentifier,
        refusal: Option<ReasonCode>,
        matched: usize,
    ) {
        let reason_code = match refusal {
            Some(reason_code) => reason_code,
            None if matched == 0 => ReasonCode::NoMatchingSubscribers,
            None => ReasonCode::Success,
        };
        self.fx.puback(&link.outbox, packet_identifier, reason_code);
    }
}

impl Effects {
    /// Copies the properties that are passed on behind each other. Empty, and no copy, for 3.x.
    pub(super) fn forwarded(&mut self, publish: &Publish<'_>) -> Vec<u8> {
        let mut buffer = core::mem::take(&mut self.forwarded_buffer);
        for part in publish.properties.received.forwarded() {
            buffer.extend_from_slice(part);
        }
        buffer
    }

    /// Takes the buffer of [`forwarded`](Self::forwarded) back.
    pub(super) fn keep_buffer(&mut self, mut forwarded: Vec<u8>) {
        forwarded.clear();
        self.forwarded_buffer = forwarded;
    }

    pub(super) fn puback(
        &mut self,
        outbox: &Arc<Outbox>,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        self.acknowledge(outbox, |version, buffer| {
            let properties = AckProperties::default();
            PubAck {
                packet_identifier,
                reason_code,
                properties,
            }
            .encode(version, buffer)
        });
    }
}

/// The message that a PUBLISH carries. `properties` are those that are passed on.
pub(super) fn message_of<'a>(
    publish: &Publish<'a>,
    topic_name: TopicName<'a>,
    properties: &'a [u8],
    now: Millis,
) -> Message<'a> {
    Message {
        topic_name,
        properties,
        payload: publish.payload,
        qos: publish.qos,
        retain: publish.retain,
        moved: false,
        expires: publish
            .properties
            .message_expiry_interval
            .map_or(Millis::NEVER, |seconds| now.after_seconds(seconds)),
        kept: None,
    }
}

/// Refuses topics of more levels than the limit.
pub(crate) fn check_depth(topic: &str, limit: usize) -> Result<(), ProtocolError> {
    // A topic cannot have more levels than it has bytes and one, so short ones need no counting.
    if topic.len() < limit || topic.bytes().filter(|byte| *byte == b'/').count() < limit {
        return Ok(());
    }
    Err(ProtocolError::TopicTooDeep { limit })
}
