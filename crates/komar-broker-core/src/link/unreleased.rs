//! QoS 2 from a client: PUBLISH is kept until PUBREL releases it. MQTT 5.0 §4.3.3.
//!
//! Both come in runs, and a run is handled with the Session locked once. What a run of PUBREL packets releases for one
//! receiver is sent to it with its locks taken once, too.

use std::sync::Arc;

use komar_codec::{
    AckProperties, DecodeOptions, PacketIdentifier, PacketType, ProtocolVersion, PubComp, PubRec, PubRel,
    QoS, ReasonCode,
};
use komar_topic::Stripes;

use super::ack::for_each_in_run;
use super::plain::{RUN, Reading};
use super::{Established, Link, Phase};
use crate::broker::Shared;
use crate::config::BrokerConfig;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::journal::Together;
use crate::message::{Message, MessageBody};
use crate::outbox::Outbox;
use crate::router::{OneReceiver, Origin};
use crate::session::SessionState;
use crate::session::unreleased::{Refused, Released};
use crate::store::Change;
use crate::sync::Ordering;
use crate::worker::{Effects, Worker};

/// What a client that sends QoS 2 is bound by.
#[derive(Clone, Copy)]
struct Bound<'b> {
    broker: &'b Shared,
    config: &'b BrokerConfig,
    v5: bool,
    /// Messages that are not released.
    messages: u16,
    /// So many of them are what the client was told.
    told: u16,
}

impl<'b> Bound<'b> {
    fn of(established: &Established, broker: &'b Shared, config: &'b BrokerConfig) -> Bound<'b> {
        let v5 = established.version == ProtocolVersion::V5;
        // 3.x knows no Receive Maximum, so such a client is bounded by bytes only.
        let messages = if v5 && !config.tolerate_receive_maximum {
            established.receive_maximum
        } else {
            u16::MAX
        };
        Bound {
            broker,
            config,
            v5,
            messages,
            told: established.receive_maximum,
        }
    }

    /// Keeps a message with its Session, and says whether it is one more than the client may have there. `None` stands for
    /// one that is not routed.
    fn keep(
        self,
        fx: &mut Effects,
        state: &mut SessionState,
        identifier: PacketIdentifier,
        body: Option<MessageBody>,
    ) -> Result<bool, ProtocolError> {
        let limits = &self.config.limits;
        let stored = state
            .durable()
            .cloned()
            .map(|client_id| (client_id, body.clone()));
        let (maximum, total) = (usize::from(self.messages), &self.broker.queued_bytes);
        match state
            .unreleased()
            .insert(identifier, body, maximum, limits, total)
        {
            Ok(()) => {}
            // v5 [MQTT-3.3.4-7]
            Err(Refused::TooMany) => {
                let limit = self.messages;
                return Err(ProtocolError::ReceiveMaximumExceeded { limit });
            }
            Err(Refused::TooLarge) => return Err(ProtocolError::QuotaExceeded),
        }
        if let Some((client_id, body)) = stored {
            let message = body.map(|body| fx.stored_message(&body));
            fx.record(|| Change::Unreleased {
                client_id,
                packet_identifier: identifier,
                message,
            });
        }
        let exceeds = self.v5 && state.unreleased().len() > usize::from(self.told);
        if exceeds {
            let count = &self.broker.counters.receive_maximum_exceeded;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(exceeds)
    }
}

/// A message came that exceeds our Receive Maximum.
fn exceeds(told: &mut bool, client_id: &Arc<str>, fx: &mut Effects) {
    if !core::mem::replace(told, true) {
        fx.events.push_back(Event::ReceiveMaximumExceeded {
            client_id: Arc::clone(client_id),
        });
    }
}

impl Established {
    /// Whether a message of this user's that will be routed waits under that identifier to be released.
    pub(super) fn keeps(&self, identifier: PacketIdentifier) -> bool {
        let mut state = self.session.lock();
        state.epoch == self.epoch && state.unreleased().holds(identifier, &self.identity)
    }
}

impl Worker {
    /// Keeps the message until it is released, and answers PUBREC. v5 [MQTT-4.3.3-8], v3 [MQTT-4.3.3-2]
    pub(super) fn keep_unreleased(
        &mut self,
        link: &mut Link,
        identifier: PacketIdentifier,
        message: Message<'_>,
        refusal: Option<ReasonCode>,
    ) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &link.phase else {
            return Ok(());
        };
        let bound = Bound::of(established, &self.broker, &self.config);
        // A refusal ends the exchange in 5.0 (v5 [MQTT-4.3.3-9]); a 3.x client has to go through all of it.
        if refusal.is_some() && bound.v5 {
            // It may have been kept before, under other rules.
            let mut state = established.session.lock();
            if state.epoch == established.epoch
                && state.unreleased().release(identifier).is_some()
                && let Some(client_id) = state.durable().cloned()
            {
                self.fx.record(|| Change::Released {
                    client_id,
                    packet_identifier: identifier,
                });
            }
        } else {
            let body = refusal.is_none().then(|| message.to_body(&mut self.fx.scratch));
            let mut state = established.session.lock();
            if state.epoch != established.epoch {
                return Ok(());
            }
            if bound.keep(&mut self.fx, &mut state, identifier, body)? {
                exceeds(&mut link.exceeded, &established.session.client_id, &mut self.fx);
            }
        }
        self.route_posts();
        let reason_code = refusal.unwrap_or(ReasonCode::Success);
        self.fx.pubrec(&link.outbox, identifier, reason_code);
        Ok(())
    }

    /// Takes PUBLISH packets of QoS 2 off the front of `unread` that raise no question, and keeps them. None where
    /// each message is stored or shown to a hook.
    pub(super) fn keep_run(&mut self, link: &mut Link, unread: &mut &[u8], options: &DecodeOptions) {
        let Worker {
            broker,
            config,
            access,
            fx,
            ..
        } = self;
        if fx.journal.is_some() || broker.hooks.has_publish() {
            return;
        }
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let bound = Bound::of(established, broker, config);
        let (session, epoch) = (Arc::clone(&established.session), established.epoch);
        let mut reading = Reading {
            config,
            access,
            policy: &link.policy,
            established,
            options,
            now: fx.now,
            last: "",
        };
        link.outbox.seen(fx.now);
        let mut state = session.lock();
        if state.epoch != epoch {
            return;
        }
        let mut result = Ok(false);
        for _ in 0..RUN {
            let Some(found) = reading.next(unread) else {
                break;
            };
            let (message, Some(identifier)) = (found.message, found.packet_identifier) else {
                break;
            };
            if message.qos != QoS::ExactlyOnce {
                break;
            }
            *unread = unread.get(found.length..).unwrap_or_default();
            fx.counts.packets_received += 1;
            fx.counts.publish_received += 1;
            fx.counts.publish_bytes_received += message.payload.len() as u64;
            let body = message.to_body(&mut fx.scratch);
            result = bound.keep(fx, &mut state, identifier, Some(body));
            match result {
                Ok(true) => exceeds(&mut link.exceeded, &session.client_id, fx),
                Ok(false) => {}
                Err(_) => break,
            }
            fx.pubrec(&link.outbox, identifier, ReasonCode::Success);
        }
        drop(state);
        if let Err(error) = result {
            self.fail(link, error);
        }
    }

    /// Takes the PUBREL packets off the front of `unread`: the client releases messages, and now they are routed.
    /// v5 [MQTT-4.3.3-11]
    pub(super) fn releases(&mut self, link: &mut Link, unread: &mut &[u8], options: &DecodeOptions) {
        let Phase::Established(established) = &link.phase else {
            return;
        };
        link.outbox.seen(self.fx.now);
        let mut released = core::mem::take(&mut self.released);
        let mut together = None;
        let result = {
            let mut state = established.session.lock();
            let is_bound = state.epoch == established.epoch;
            for_each_in_run(unread, options, self.longest_run(), |whole| {
                if whole.packet_type() != PacketType::PubRel {
                    return Ok(false);
                }
                let identifier = PubRel::decode(whole, options)?.packet_identifier;
                self.fx.counts.packets_received += 1;
                if is_bound {
                    let message = self.release(&mut state, identifier, &mut together);
                    released.push((identifier, message));
                }
                Ok(true)
            })
        };
        let mut rest = released.as_slice();
        while let Some(((identifier, message), others)) = rest.split_first() {
            let routed = self.release_run(link, established, rest);
            if routed > 0 {
                rest = rest.get(routed..).unwrap_or_default();
                continue;
            }
            // v5 [MQTT-4.3.3-13]
            if let Some(body) = &message.body {
                let sender = message.sender.as_ref().unwrap_or(&established.identity);
                self.route(Origin::client(sender), body.message());
            }
            drop(together.take());
            self.fx.pubcomp(&link.outbox, *identifier);
            rest = others;
        }
        released.clear();
        self.released = released;
        if let Err(error) = result {
            self.refuse_packet(link, error);
        }
    }

    /// Takes a message out that its sender releases. What it brings to others is stored
    /// with the release if that happens before `together` is dropped.
    fn release(
        &mut self,
        state: &mut SessionState,
        identifier: PacketIdentifier,
        together: &mut Option<Together>,
    ) -> Released {
        let Some(message) = state.unreleased().release(identifier) else {
            return Released::default();
        };
        if let Some(client_id) = state.durable().cloned() {
            *together = self.fx.together();
            self.fx.record(|| Change::Released {
                client_id,
                packet_identifier: identifier,
            });
        }
        message
    }

    /// Routes the first of the released messages that go to one Session and nobody else, and says how many that were.
    fn release_run(
        &mut self,
        link: &Link,
        established: &Established,
        released: &[(PacketIdentifier, Released)],
    ) -> usize {
        let Worker {
            broker,
            config,
            access,
            cache,
            fx,
            ..
        } = self;
        if released.len() < 2 || !cache.was_single() || fx.journal.is_some() || broker.hooks.watch_messages()
        {
            return 0;
        }
        let publisher = &*established.identity.client_id;
        let stamp_of = |stripes: &Stripes| broker.stamp(stripes, access.epoch);
        let mut messages = released
            .iter()
            .map_while(|(identifier, released)| Some((*identifier, released.body.as_ref()?.message())))
            .take_while(|(_, message)| !message.retain);
        let Some((mut identifier, mut message)) = messages.next() else {
            return 0;
        };
        let mut name = message.topic_name.as_str();
        let Some(mut place) = cache.find(name, stamp_of) else {
            return 0;
        };
        let session = match cache.one_receiver(place, publisher) {
            Some(target) => Arc::clone(&target.session),
            None => return 0,
        };
        let mut state = session.lock();
        let Some(mut receiver) = OneReceiver::new(&session, &mut state, config) else {
            return 0;
        };
        let mut routed = 0;
        while let Some(target) = cache.one_receiver(place, publisher)
            && receiver.is(target)
            && receiver.send(fx, broker, config, target, message)
        {
            routed += 1;
            fx.pubcomp(&link.outbox, identifier);
            match messages.next() {
                Some(next) => (identifier, message) = next,
                None => break,
            }
            // What holds for one of an input's messages holds for the next.
            if message.topic_name.as_str() != name {
                name = message.topic_name.as_str();
                place = match cache.find(name, stamp_of) {
                    Some(place) => place,
                    None => break,
                };
            }
        }
        receiver.finish(fx);
        routed
    }
}

impl Effects {
    pub(super) fn pubrec(
        &mut self,
        outbox: &Arc<Outbox>,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        self.acknowledge(outbox, |version, buffer| {
            let properties = AckProperties::default();
            PubRec {
                packet_identifier,
                reason_code,
                properties,
            }
            .encode(version, buffer)
        });
    }

    /// Mosquitto answers Success for unknown identifiers too, and so do we.
    fn pubcomp(&mut self, outbox: &Arc<Outbox>, packet_identifier: PacketIdentifier) {
        self.acknowledge(outbox, |version, buffer| {
            let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
            PubComp {
                packet_identifier,
                reason_code,
                properties,
            }
            .encode(version, buffer)
        });
    }
}
