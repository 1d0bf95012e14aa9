//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client. MQTT 5.0 §4.3.

use std::sync::Arc;

use komar_codec::{AckProperties, PacketIdentifier, PubAck, PubComp, PubRec, PubRel, ReasonCode};

use super::{Link, Phase};
use crate::router::Origin;
use crate::session::inflight::Stage;
use crate::store::Change;
use crate::worker::Worker;

impl Worker {
    /// The receiver has a QoS 1 message.
    pub(super) fn puback(&mut self, link: &Link, packet: &PubAck<'_>) {
        self.finished(link, packet.packet_identifier, Stage::PubAck);
    }

    /// The receiver has a QoS 2 message, or will not have it. v5 [MQTT-4.3.3-4], v3 [MQTT-4.3.3-1]
    pub(super) fn pubrec(&mut self, link: &Link, packet: &PubRec<'_>) {
        let Phase::Established(established) = &link.phase else {
            return;
        };
        let identifier = packet.packet_identifier;
        if packet.reason_code.is_error() {
            self.finished(link, identifier, Stage::PubRec);
            return;
        }
        let known = {
            let mut state = established.session.lock();
            state.epoch == established.epoch && state.received(&mut self.fx, identifier)
        };
        // An unknown identifier is answered as well, so that both sides forget it. MQTT 5.0 §3.6.2.1.
        let reason_code = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.fx.acknowledge(&link.outbox, |version, buffer| {
            let properties = AckProperties::default();
            PubRel {
                packet_identifier: identifier,
                reason_code,
                properties,
            }
            .encode(version, buffer)
        });
    }

    /// The exchange of a QoS 2 message is over.
    pub(super) fn pubcomp(&mut self, link: &Link, packet: &PubComp<'_>) {
        // Released on PUBCOMP, not PUBREC: until then the identifier must not be reused. v5 [MQTT-2.2.1-4]
        self.finished(link, packet.packet_identifier, Stage::PubComp);
    }

    /// The client releases a QoS 2 message: now it is routed. v5 [MQTT-4.3.3-11]
    pub(super) fn pubrel(&mut self, link: &Link, packet: &PubRel<'_>) {
        let Phase::Established(established) = &link.phase else {
            return;
        };
        let identifier = packet.packet_identifier;
        let mut grouped = false;
        let released = {
            let mut state = established.session.lock();
            if state.epoch != established.epoch {
                return;
            }
            let released = state.unreleased().release(identifier);
            if let (Some(_), Some(client_id)) = (&released, state.durable.clone()) {
                // With what it brings to others in one batch: either is stored with the other.
                if let Some(journal) = &self.fx.journal {
                    journal.open();
                }
                self.fx.record(|| Change::Released {
                    client_id,
                    packet_identifier: identifier,
                });
                grouped = true;
            }
            released
        };
        // v5 [MQTT-4.3.3-13]
        if let Some(Some(body)) = released {
            self.route(Origin::client(&established.identity), body.message());
        }
        if let (true, Some(journal)) = (grouped, &self.fx.journal) {
            journal.close();
        }
        self.fx.acknowledge(&link.outbox, |version, buffer| {
            // Mosquitto answers Success for unknown identifiers too, and so do we.
            let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
            PubComp {
                packet_identifier: identifier,
                reason_code,
                properties,
            }
            .encode(version, buffer)
        });
    }

    /// An exchange ended: there is room for the next message.
    fn finished(&mut self, link: &Link, identifier: PacketIdentifier, stage: Stage) {
        let Phase::Established(established) = &link.phase else {
            return;
        };
        let mut state = established.session.lock();
        if state.epoch != established.epoch || !state.acknowledged(identifier, stage) {
            return;
        }
        state.pump(&mut self.fx, &self.config);
        if state.list_walks() {
            drop(state);
            self.fx.walking.push_back(Arc::clone(&established.session));
        }
    }
}
