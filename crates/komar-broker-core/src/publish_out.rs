//! Encodes a PUBLISH for one receiver.

use komar_codec::{OutgoingPublish, PacketIdentifier, ProtocolVersion, QoS};

use crate::link::topic_alias::Naming;
use crate::message::{Message, MessageBody};
use crate::now::Millis;
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
    // What was sent before has begun to be delivered, and does not expire any more.
    if message.is_expired(fx.now) && !copy.dup {
        return false;
    }
    let plain = !copy.dup
        && copy.subscription_identifiers.is_empty()
        && message.payload.len() < SHARE_FROM
        && out.topic_aliases.is_none();
    let sent = if plain && fx.encoded.active {
        append_copy(out, fx, message, &copy)
    } else {
        append_encoded(out, fx, message, body, &copy)
    };
    if sent {
        fx.counts.packets_sent += 1;
        fx.counts.publish_sent += 1;
        fx.counts.publish_bytes_sent += message.payload.len() as u64;
        if fx.notes_packets
            && let Some(session) = out.session()
        {
            fx.note_delivery(&session, message, &copy);
        }
    }
    sent
}

fn append_encoded(
    out: &mut State,
    fx: &mut Effects,
    message: Message<'_>,
    body: Option<&MessageBody>,
    copy: &Copy<'_>,
) -> bool {
    let mut packet = outgoing(fx.now, message, copy);
    let naming = match &out.topic_aliases {
        Some(aliases) => aliases.naming(packet.topic_name),
        None => Naming::Name,
    };
    match naming {
        Naming::Name => {}
        Naming::NameAndAlias(alias) => packet.topic_alias = Some(alias),
        Naming::Alias(alias) => (packet.topic_alias, packet.topic_name) = (Some(alias), ""),
    }
    let version = out.version;
    let Ok(length) = packet.encoded_len(version) else {
        return false;
    };
    if length > out.maximum_packet_size as usize {
        return false;
    }
    let output = out.output(&mut fx.pool);
    let shared = body.filter(|_| message.payload.len() >= SHARE_FROM);
    output.buffer().reserve(if shared.is_some() {
        length - message.payload.len()
    } else {
        length
    });
    if packet.encode_header(version, output.buffer()).is_err() {
        return false;
    }
    match shared {
        Some(body) => output.splice(body.clone()),
        None => output.buffer().extend_from_slice(message.payload),
    }
    if let (Naming::NameAndAlias(_), Some(aliases)) = (naming, &mut out.topic_aliases) {
        aliases.add(message.topic_name.as_str());
    }
    true
}

/// Appends the packet that was encoded for an earlier receiver of the same message, with what differs put in.
fn append_copy(out: &mut State, fx: &mut Effects, message: Message<'_>, copy: &Copy<'_>) -> bool {
    let place = usize::from(out.version == ProtocolVersion::V5) | usize::from(copy.identifier.is_some()) << 1;
    let Some(known) = fx.encoded.packets.get_mut(place) else {
        return false;
    };
    if known.bytes.is_empty() && !known.encode(fx.now, message, copy, out.version) {
        return false;
    }
    if known.bytes.len() > out.maximum_packet_size as usize {
        return false;
    }
    let buffer = out.output(&mut fx.pool).buffer();
    let start = buffer.len();
    buffer.extend_from_slice(&known.bytes);
    if let Some(first) = buffer.get_mut(start) {
        *first = 0x30 | copy.qos.as_u8() << 1 | u8::from(copy.retain);
    }
    if let Some(identifier) = copy.identifier {
        let place = start + known.identifier_at;
        if let Some(bytes) = buffer.get_mut(place..place + 2) {
            bytes.copy_from_slice(&identifier.get().to_be_bytes());
        }
    }
    true
}

/// The packet of the message that is being fanned out, encoded once for all receivers whose copies differ in QoS, RETAIN
/// and Packet Identifier only: for 3.x and for 5.0, without and with an identifier.
#[derive(Default)]
pub(crate) struct Encoded {
    pub(crate) active: bool,
    packets: [EncodedPacket; 4],
}

#[derive(Default)]
struct EncodedPacket {
    /// Empty until the first receiver of its kind.
    bytes: Vec<u8>,
    identifier_at: usize,
}

impl Encoded {
    /// Begins the fan-out of a message.
    pub(crate) fn begin(&mut self) {
        self.active = true;
        self.packets.iter_mut().for_each(|packet| packet.bytes.clear());
    }

    pub(crate) fn end(&mut self) {
        self.active = false;
    }
}

impl EncodedPacket {
    fn encode(
        &mut self,
        now: Millis,
        message: Message<'_>,
        copy: &Copy<'_>,
        version: ProtocolVersion,
    ) -> bool {
        let packet = outgoing(now, message, copy);
        let length = packet.encoded_len(version);
        if packet.encode_header(version, &mut self.bytes).is_err() {
            self.bytes.clear();
            return false;
        }
        // The identifier stands behind the Topic Name: two bytes of length, the name, the identifier.
        let header = length.unwrap_or(0).saturating_sub(message.payload.len());
        debug_assert_eq!(header, self.bytes.len());
        let remaining_length = self
            .bytes
            .iter()
            .skip(1)
            .take_while(|byte| **byte & 0x80 != 0)
            .count()
            + 1;
        self.identifier_at = 1 + remaining_length + 2 + message.topic_name.as_str().len();
        self.bytes.extend_from_slice(message.payload);
        true
    }
}

fn outgoing<'a>(now: Millis, message: Message<'a>, copy: &Copy<'a>) -> OutgoingPublish<'a> {
    OutgoingPublish {
        // v5 [MQTT-3.3.1-3], v3 [MQTT-3.3.1-3]
        dup: copy.dup,
        qos: copy.qos,
        retain: copy.retain,
        topic_name: message.topic_name.as_str(),
        packet_identifier: copy.identifier,
        topic_alias: None,
        message_expiry_interval: message.remaining_expiry(now),
        subscription_identifiers: copy.subscription_identifiers,
        forwarded: message.properties,
        payload_len: message.payload.len(),
    }
}
