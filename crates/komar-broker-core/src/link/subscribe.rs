//! SUBSCRIBE and UNSUBSCRIBE. MQTT 5.0 §3.8, §3.10.

use std::sync::Arc;

use komar_codec::{
    AckProperties, PacketType, ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe,
    SubscriptionOptions, UnsubAck, Unsubscribe,
};
use komar_topic::{SubscriptionFilter, TopicFilter};

use super::publish::check_depth;
use super::{Established, Link, Phase};
use crate::access::{Action, Asking, Decision, Identity};
use crate::error::{ProtocolError, refusal};
use crate::event::Event;
use crate::hooks::Subscribing;
use crate::link::phase::Waiting;
use crate::message::SubscriptionIdentifiers;
use crate::note::{NotedClient, NotedPacket};
use crate::router::Subscription;
use crate::session::{Subscriptions, retained_walk};
use crate::store::Change;
use crate::sync::Ordering;
use crate::worker::Worker;

/// One filter of a SUBSCRIBE, parsed once.
struct Wanted<'a> {
    text: &'a str,
    filter: SubscriptionFilter<'a>,
    options: SubscriptionOptions,
    code: ReasonCode,
}

impl Worker {
    /// `answers`: to the questions for each filter, if they were asked before; otherwise empty.
    pub(super) fn subscribe(
        &mut self,
        link: &mut Link,
        packet: &Subscribe<'_>,
        raw: &[u8],
        answers: &[Option<Decision>],
    ) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &link.phase else {
            return Ok(());
        };
        link.asked = link.asked.wrapping_add(1);
        let (mut wanted, mut decisions) = (Vec::new(), Vec::new());
        for (place, (text, options)) in packet.filters.iter().enumerate() {
            let filter = parse(text, self.config.limits.maximum_topic_levels)?;
            let shared = matches!(filter, SubscriptionFilter::Shared(_));
            if shared && options.no_local {
                return Err(ProtocolError::SharedNoLocal);
            }
            let mut options = options;
            // v5 [MQTT-3.8.4-7]
            // v5 [MQTT-3.2.2-10]
            options.maximum_qos = options.maximum_qos.min(link.policy.maximum_qos);
            options.no_local |= established.bridge && !shared;
            options.retain_as_published |= established.bridge;
            let decision = match answers.get(place).copied().flatten() {
                Some(answer) => answer,
                // So there is a bound to what is asked because of one packet.
                None if place >= self.config.limits.maximum_subscriptions => {
                    Decision::Refuse(ReasonCode::QuotaExceeded)
                }
                None => {
                    let asking = Asking {
                        inbox: &self.inbox,
                        outbox: &link.outbox,
                        ticket: link.asked,
                        place,
                    };
                    let subject = established.identity.asking(asking);
                    self.access
                        .access
                        .decide(&subject, Action::Subscribe(plain(filter)))?
                }
            };
            decisions.push((decision != Decision::Later).then_some(decision));
            let code = match decision {
                Decision::Allow | Decision::AllowOnce => ReasonCode::granted(options.maximum_qos),
                denied => denied.reason_code(PacketType::SubAck),
            };
            wanted.push(Wanted {
                text,
                filter,
                options,
                code,
            });
        }
        if decisions.iter().any(Option::is_none) {
            let packet = self.keep_packet(raw)?;
            self.wait(link, Waiting::for_packet(packet, decisions));
            return Ok(());
        }
        if self.broker.hooks.has_subscribe() {
            self.ask_hook(&Arc::clone(&established.identity), &mut wanted)?;
        }
        let Phase::Established(established) = &link.phase else {
            return Ok(());
        };
        let walks = self.insert(established, packet.subscription_identifier, &mut wanted);
        if self.fx.notes_packets {
            let filters = wanted.iter().map(|wanted| (wanted.text.into(), wanted.code));
            let filters = filters.collect();
            let client = NotedClient::Named(Arc::clone(&established.session.client_id));
            self.fx.note_received(client, NotedPacket::Subscribe { filters });
        }
        if self.notes_subscriptions {
            let granted = wanted.iter().filter(|wanted| !wanted.code.is_error());
            self.fx.events.extend(granted.map(|granted| Event::Subscribed {
                client_id: Arc::clone(&established.session.client_id),
                filter: granted.text.into(),
                maximum_qos: granted.options.maximum_qos,
            }));
        }
        let codes: Vec<ReasonCode> = wanted.iter().map(|wanted| wanted.code).collect();
        self.route_posts();
        let noted = self.fx.recorded;
        self.fx.acknowledge(&link.outbox, |version, buffer| {
            // One code a filter, in their order. v5 [MQTT-3.8.4-6], v5 [MQTT-3.9.3-1]
            // v5 [MQTT-3.8.4-1], v3 [MQTT-3.8.4-1], v5 [MQTT-3.8.4-5], v3 [MQTT-3.8.4-4], v3 [MQTT-3.9.3-1]
            let answer = SubAck {
                packet_identifier: packet.packet_identifier,
                reason_codes: ReasonCodes::from_codes(&codes),
                properties: AckProperties::default(),
            };
            answer.encode(version, buffer)
        });
        if !walks.is_empty() {
            let mut state = established.session.lock();
            state.add_walks(walks);
            if noted > self.fx.durable() {
                // Behind SUBACK.
                drop(state);
                self.fx.wake_session(&established.session, noted);
            } else if state.list_walks() {
                drop(state);
                self.fx.walking.push_back(Arc::clone(&established.session));
            }
        }
        Ok(())
    }

    fn ask_hook(&mut self, identity: &Identity, wanted: &mut [Wanted<'_>]) -> Result<(), ProtocolError> {
        for wanted in wanted.iter_mut().filter(|wanted| !wanted.code.is_error()) {
            let mut subscribing = Subscribing {
                identity,
                filter: wanted.text,
                maximum_qos: wanted.options.maximum_qos,
            };
            match self.subscribe_hook(&mut subscribing)? {
                Ok(()) => {
                    wanted.options.maximum_qos = subscribing.maximum_qos;
                    wanted.code = ReasonCode::granted(subscribing.maximum_qos);
                }
                Err(reason_code) => wanted.code = refusal(reason_code, PacketType::SubAck),
            }
        }
        Ok(())
    }

    /// Puts what was granted into the index and the Session, all under one write lock. Returns the retained messages
    /// to be sent.
    fn insert(
        &mut self,
        established: &Established,
        identifier: Option<u32>,
        wanted: &mut [Wanted<'_>],
    ) -> Vec<retained_walk::Wanted> {
        let mut walks = Vec::new();
        let mut index = self.broker.index.write();
        let mut state = established.session.lock();
        if state.ended || state.epoch != established.epoch {
            return walks;
        }
        // Whatever is retained from now on finds the Subscription in the index.
        let newest = self.broker.retained_sequence.load(Ordering::Relaxed);
        for wanted in wanted.iter_mut().filter(|wanted| !wanted.code.is_error()) {
            let options = wanted.options;
            let subscription = Subscription {
                session: Arc::clone(&established.session),
                maximum_qos: options.maximum_qos,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                identifier,
            };
            let known = state.subscriptions.get(wanted.text);
            let stripe = match known {
                // The same filter again takes the place of the old Subscription. v5 [MQTT-3.8.4-3]
                // v5 [MQTT-3.8.4-4], v3 [MQTT-3.8.4-3]
                Some(handle) => index.replace(handle, subscription).map(|(_, stripe)| stripe),
                None if !self.has_room_for_filter(&state.subscriptions, wanted.text) => {
                    wanted.code = ReasonCode::QuotaExceeded;
                    continue;
                }
                None => {
                    let (handle, stripe) = index.insert(wanted.filter, subscription);
                    state
                        .subscriptions
                        .insert(wanted.text, handle, &self.broker.hasher);
                    Some(stripe)
                }
            };
            if let Some(stripe) = stripe {
                self.broker.changed(stripe);
            }
            if let Some(client_id) = state.durable().cloned() {
                self.fx.record(|| Change::Subscribed {
                    client_id,
                    filter: wanted.text.into(),
                    options,
                    identifier,
                });
            }
            let send_retained = match options.retain_handling {
                // v5 [MQTT-3.3.1-9], v5 [MQTT-3.8.4-4]
                RetainHandling::SendAtSubscribe => true,
                // v5 [MQTT-3.3.1-10]
                RetainHandling::SendIfNew => known.is_none(),
                // v5 [MQTT-3.3.1-11]
                RetainHandling::DoNotSend => false,
            };
            // A Shared Subscription is sent no retained messages. MQTT 5.0 §4.8.2.
            if let (true, SubscriptionFilter::Plain(filter)) = (send_retained, wanted.filter) {
                walks.push(retained_walk::Wanted {
                    filter: filter.as_str().into(),
                    maximum_qos: options.maximum_qos,
                    identifiers: SubscriptionIdentifiers::new(identifier),
                    newest,
                });
            }
        }
        walks
    }

    /// Whether a Session may have another Subscription.
    fn has_room_for_filter(&self, subscriptions: &Subscriptions, filter: &str) -> bool {
        let limits = &self.config.limits;
        subscriptions.len() < limits.maximum_subscriptions
            && subscriptions.bytes().saturating_add(filter.len()) <= limits.maximum_subscription_bytes
    }

    pub(super) fn unsubscribe(&mut self, link: &Link, packet: &Unsubscribe<'_>) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &link.phase else {
            return Ok(());
        };
        // One for each filter: why it is refused, if it is.
        let mut refusals = Vec::new();
        for (place, text) in packet.filters.iter().enumerate() {
            let filter = parse(text, self.config.limits.maximum_topic_levels)?;
            if self.access.access.authorize.is_none() {
                continue;
            }
            // So there is a bound to what is asked because of one packet; nobody has more Subscriptions to give up.
            if place >= self.config.limits.maximum_subscriptions {
                refusals.push(Some(ReasonCode::ImplementationSpecificError));
            } else {
                let subject = established.identity.subject();
                let action = Action::Unsubscribe(plain(filter));
                refusals.push(match self.access.access.decide(&subject, action)? {
                    Decision::Allow | Decision::AllowOnce => None,
                    denied => Some(denied.reason_code(PacketType::UnsubAck)),
                });
            }
        }
        let mut codes = Vec::new();
        {
            let mut index = self.broker.index.write();
            let mut state = established.session.lock();
            if state.epoch != established.epoch {
                return Ok(());
            }
            for (place, text) in packet.filters.iter().enumerate() {
                if let Some(refusal) = refusals.get(place).copied().flatten() {
                    codes.push(refusal);
                    continue;
                }
                // Compared character by character. v5 [MQTT-3.10.4-1]
                // v3 [MQTT-3.10.4-1], v5 [MQTT-3.10.4-3], v3 [MQTT-3.10.4-3]
                state.stop_walk(text);
                let removed = state
                    .subscriptions
                    .remove(text)
                    .and_then(|handle| index.remove(handle));
                if let (Some(_), Some(client_id)) = (&removed, state.durable().cloned()) {
                    let filter = text.into();
                    self.fx.record(|| Change::Unsubscribed { client_id, filter });
                }
                codes.push(match removed {
                    Some((_, stripe)) => {
                        self.broker.changed(stripe);
                        ReasonCode::Success
                    }
                    None => ReasonCode::NoSubscriptionExisted,
                });
            }
        }
        if self.notes_subscriptions {
            let granted = packet.filters.iter().zip(&codes);
            let granted = granted.filter(|(_, code)| !code.is_error());
            self.fx
                .events
                .extend(granted.map(|(filter, _)| Event::Unsubscribed {
                    client_id: Arc::clone(&established.session.client_id),
                    filter: filter.into(),
                }));
        }
        self.fx.acknowledge(&link.outbox, |version, buffer| {
            // v5 [MQTT-3.10.4-4], v5 [MQTT-3.11.3-1]
            // v3 [MQTT-3.10.4-5], v5 [MQTT-3.10.4-6], v3 [MQTT-3.10.4-6]
            let answer = UnsubAck {
                packet_identifier: packet.packet_identifier,
                reason_codes: ReasonCodes::from_codes(&codes),
                properties: AckProperties::default(),
            };
            answer.encode(version, buffer)
        });
        Ok(())
    }
}

/// The filter that messages are matched with.
fn plain(filter: SubscriptionFilter<'_>) -> TopicFilter<'_> {
    match filter {
        SubscriptionFilter::Plain(plain) => plain,
        SubscriptionFilter::Shared(shared) => shared.filter(),
    }
}

fn parse(text: &str, maximum_levels: usize) -> Result<SubscriptionFilter<'_>, ProtocolError> {
    check_depth(text, maximum_levels)?;
    SubscriptionFilter::parse(text).map_err(|error| {
        if error.is_shared() {
            ProtocolError::SharedFilter(error)
        } else {
            ProtocolError::Filter(error)
        }
    })
}
