//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client. MQTT 5.0 §4.3.
//!
//! They come in runs: a client that reads a hundred messages at once acknowledges them at once. A run is handled with the
//! Session locked once.

use std::sync::Arc;

use komar_codec::{
    AckProperties, DecodeError, DecodeOptions, Frame, Framing, PacketIdentifier, PacketType, PubAck, PubComp,
    PubRec, PubRel, ReasonCode, frame,
};

use super::{Link, Phase};
use crate::error::ProtocolError;
use crate::session::SessionState;
use crate::session::inflight::Stage;
use crate::store::Sequence;
use crate::worker::Worker;

impl Worker {
    /// Takes the PUBACK, PUBREC and PUBCOMP packets off the front of `unread`.
    pub(super) fn acknowledgements(&mut self, link: &mut Link, unread: &mut &[u8], options: &DecodeOptions) {
        let Phase::Established(established) = &link.phase else {
            return;
        };
        link.outbox.seen(self.fx.now);
        let session = Arc::clone(&established.session);
        let mut state = session.lock();
        let is_bound = state.epoch == established.epoch;
        let mut finished = false;
        let result = for_each_in_run(unread, options, self.longest_run(), |whole| {
            let (identifier, stage) = match whole.packet_type() {
                PacketType::PubAck => {
                    // The receiver has a QoS 1 message.
                    (PubAck::decode(whole, options)?.packet_identifier, Stage::PubAck)
                }
                PacketType::PubComp => {
                    // Released on PUBCOMP, not PUBREC: until then the identifier must not be reused. v5 [MQTT-2.2.1-4]
                    (PubComp::decode(whole, options)?.packet_identifier, Stage::PubComp)
                }
                PacketType::PubRec => {
                    let packet = PubRec::decode(whole, options)?;
                    // The receiver has a QoS 2 message, or will not have it. v5 [MQTT-4.3.3-4], v3 [MQTT-4.3.3-1]
                    if !packet.reason_code.is_error() {
                        self.received(link, is_bound.then_some(&mut state), packet.packet_identifier);
                        return Ok(true);
                    }
                    (packet.packet_identifier, Stage::PubRec)
                }
                _ => return Ok(false),
            };
            self.fx.counts.packets_received += 1;
            finished |= is_bound && state.acknowledged(identifier, stage);
            Ok(true)
        });
        // An exchange ended: there is room for the next message.
        if finished {
            state.pump(&mut self.fx, &self.config);
            if state.list_walks() {
                self.fx.walking.push_back(Arc::clone(&session));
            }
        }
        drop(state);
        if let Err(error) = result {
            self.refuse_packet(link, error);
        }
    }

    /// PUBREC that accepts: PUBREL is due. `state` is `None` where another Connection has the Session.
    fn received(&mut self, link: &Link, state: Option<&mut SessionState>, identifier: PacketIdentifier) {
        self.fx.counts.packets_received += 1;
        self.fx.recorded = Sequence(0);
        let known = state.is_some_and(|state| state.received(&mut self.fx, identifier));
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

    /// How many packets are handled under one lock: none but one where each answer rests on what is stored, or
    /// each packet is noted.
    pub(super) fn longest_run(&self) -> usize {
        if self.fx.journal.is_some() || self.fx.notes_packets {
            1
        } else {
            RUN
        }
    }

    pub(super) fn refuse_packet(&mut self, link: &mut Link, error: DecodeError) {
        self.fx.counts.packets_received += 1;
        self.fail(link, ProtocolError::from(error));
    }
}

/// Shows `take` the packets at the front of `unread` and moves on behind them, until it says `false`, a packet is not whole or
/// not one at all, or there were `longest` of them.
pub(super) fn for_each_in_run(
    unread: &mut &[u8],
    options: &DecodeOptions,
    longest: usize,
    mut take: impl FnMut(Frame<'_>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    for _ in 0..longest {
        // Whoever reads on finds the same, and says so.
        let Ok(Framing::Complete(whole)) = frame(unread, options) else {
            break;
        };
        if !take(whole)? {
            break;
        }
        *unread = unread.get(whole.len()..).unwrap_or_default();
    }
    Ok(())
}

/// So many acknowledgements are handled while others wait for the Session: about ten microseconds' worth.
const RUN: usize = 256;
