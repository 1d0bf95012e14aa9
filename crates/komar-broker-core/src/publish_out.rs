//! Encodes a PUBLISH for one receiver.

use komar_codec::{OutgoingPublish, PacketIdentifier, QoS};

use crate::message::{Message, MessageBody};
use crate::outbox::State;
use crate::session::inflight::Queued;
use crate::worker::Effects;

/// Payloads from this size on are shared between receivers instead of copied. A copy of 32 KiB costs about what
/// the second buffer of a `writev` costs.
pub(crate) const SHARE_FROM: usize = 32 << 10;

/// What differs between the receivers of one message.
pub(crate) struct Copy<'a> {
    pub(crate) dup: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifier: Option<PacketIdentifier>,
    pub(crate) subscription_identifiers: &'a [u32],
}

impl<'a> Copy<'a> {
    pub(crate) fn of(queued: &'a Queued, identifier: Option<PacketIdentifier>, dup: bool) -> Copy<'a> {
        Copy {
            dup,
            qos: queued.qos,
            retain: queued.retain,
            identifier,
            subscription_identifiers: queued.identifiers.as_slice(),
        }
    }
}

/// Appends a PUBLISH. `false`: not sent, because the message has expired (v5 [MQTT-3.3.2-5]) or is larger than the
/// receiver takes (v5 [MQTT-3.1.2-24], v5 [MQTT-3.1.2-25]).
#[inline]
pub(crate) fn append_publish(
    out: &mut State,
    fx: &mut Effects,
    message: Message<'_>,
    body: Option<&MessageBody>,
    copy: Copy<'_>,
) -> bool {
    if message.is_expired(fx.now) {
        return false;
    }
    let packet = OutgoingPublish {
        dup: copy.dup,
        qos: copy.qos,
        retain: copy.retain,
        topic_name: message.topic_name.as_str(),
        packet_identifier: copy.identifier,
        topic_alias: None,
        message_expiry_interval: message.remaining_expiry(fx.now),
        subscription_identifiers: copy.subscription_identifiers,
        forwarded: message.properties,
        payload_len: message.payload.len(),
    };
    let version = out.version;
    let Ok(length) = packet.encoded_len(version) else { return false };
    if length > out.maximum_packet_size as usize {
        return false;
    }
    let output = out.output(&mut fx.pool);
    let shared = body.filter(|_| message.payload.len() >= SHARE_FROM);
    output.buffer().reserve(if shared.is_some() { length - message.payload.len() } else { length });
    if packet.encode_header(version, output.buffer()).is_err() {
        return false;
    }
    match shared {
        Some(body) => {
            let (bytes, start) = body.payload_bytes();
            output.splice(bytes, start);
        }
        None => output.buffer().extend_from_slice(message.payload),
    }
    true
}
