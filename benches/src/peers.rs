//! Other people's codecs behind [`Decoder`].

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Decoder, sum};

/// For decoders that read from the usual [`BytesMut`].
macro_rules! on_bytes_mut {
    () => {
        type Buffer = BytesMut;

        fn buffer(bytes: &[u8]) -> BytesMut {
            BytesMut::from(bytes)
        }

        fn extend(buffer: &mut BytesMut, bytes: &[u8]) {
            buffer.extend_from_slice(bytes);
        }
    };
}

/// rumqttc and mqttbytes have the same origin, and nearly the same names.
macro_rules! of_mqttbytes_v4 {
    ($decoder:ident, $module:path, |$buffer:ident| $read:expr) => {
        #[doc = concat!("`", stringify!($module), "`")]
        #[derive(Default)]
        pub struct $decoder;

        impl Decoder for $decoder {
            on_bytes_mut!();

            #[inline]
            fn next(&mut self, $buffer: &mut BytesMut) -> Option<u64> {
                use $module as v4;
                Some(match $read.ok()? {
                    v4::Packet::Publish(packet) => sum::publish(
                        packet.qos as u8,
                        packet.pkid,
                        packet.topic.as_bytes(),
                        &packet.payload,
                    ),
                    v4::Packet::PubAck(packet) => sum::with_identifier(4, packet.pkid),
                    v4::Packet::PubRec(packet) => sum::with_identifier(5, packet.pkid),
                    v4::Packet::PubRel(packet) => sum::with_identifier(6, packet.pkid),
                    v4::Packet::PubComp(packet) => sum::with_identifier(7, packet.pkid),
                    v4::Packet::Subscribe(packet) => sum::subscribe(
                        packet.pkid,
                        packet
                            .filters
                            .iter()
                            .map(|filter| (filter.path.as_bytes(), filter.qos as u8)),
                    ),
                    v4::Packet::Unsubscribe(packet) => {
                        sum::unsubscribe(packet.pkid, packet.topics.iter().map(String::as_bytes))
                    }
                    v4::Packet::PingReq => 12,
                    _ => sum::OTHER,
                })
            }
        }
    };
}

of_mqttbytes_v4!(RumqttcV4, rumqttc::mqttbytes::v4, |buffer| v4::Packet::read(
    buffer,
    usize::MAX
));
of_mqttbytes_v4!(MqttbytesV4, mqttbytes::v4, |buffer| v4::read(buffer, usize::MAX));

macro_rules! of_mqttbytes_v5 {
    ($decoder:ident, $module:path, |$buffer:ident| $read:expr, $ping:pat, $connect:pat => $connected:expr) => {
        #[doc = concat!("`", stringify!($module), "`")]
        #[derive(Default)]
        pub struct $decoder<const PROPERTIES: bool>;

        impl<const PROPERTIES: bool> Decoder for $decoder<PROPERTIES> {
            on_bytes_mut!();

            #[inline]
            fn next(&mut self, $buffer: &mut BytesMut) -> Option<u64> {
                use $module as v5;
                Some(match $read.ok()? {
                    v5::Packet::Publish(packet) => {
                        let first = sum::publish(
                            packet.qos as u8,
                            packet.pkid,
                            AsRef::<[u8]>::as_ref(&packet.topic),
                            &packet.payload,
                        );
                        let Some(properties) = packet.properties.as_ref().filter(|_| PROPERTIES) else {
                            return Some(first);
                        };
                        sum::properties(
                            first,
                            properties.message_expiry_interval.unwrap_or_default(),
                            properties.topic_alias.unwrap_or_default(),
                            properties
                                .response_topic
                                .as_deref()
                                .unwrap_or_default()
                                .as_bytes(),
                            properties.correlation_data.as_deref().unwrap_or_default(),
                            properties
                                .content_type
                                .as_deref()
                                .unwrap_or_default()
                                .as_bytes(),
                            properties
                                .user_properties
                                .iter()
                                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
                        )
                    }
                    v5::Packet::PubAck(packet) => sum::with_identifier(4, packet.pkid),
                    v5::Packet::PubRec(packet) => sum::with_identifier(5, packet.pkid),
                    v5::Packet::PubRel(packet) => sum::with_identifier(6, packet.pkid),
                    v5::Packet::PubComp(packet) => sum::with_identifier(7, packet.pkid),
                    v5::Packet::Subscribe(packet) => sum::subscribe(
                        packet.pkid,
                        packet
                            .filters
                            .iter()
                            .map(|filter| (filter.path.as_bytes(), filter.qos as u8)),
                    ),
                    v5::Packet::Unsubscribe(packet) => {
                        sum::unsubscribe(packet.pkid, packet.filters.iter().map(String::as_bytes))
                    }
                    $ping => 12,
                    $connect => $connected,
                    _ => sum::OTHER,
                })
            }
        }
    };
}

of_mqttbytes_v5!(
    RumqttcV5,
    rumqttc::v5::mqttbytes::v5,
    |buffer| v5::Packet::read(buffer, None),
    v5::Packet::PingReq(_),
    v5::Packet::Connect(packet, will, login) => sum::connect(
        packet.client_id.as_bytes(),
        packet.keep_alive,
        login.as_ref().map_or(b"", |login| login.username.as_bytes()),
        will.as_ref().map_or((b"", b""), |will| (&will.topic, &will.message)),
        packet.properties.as_ref().and_then(|it| it.session_expiry_interval).unwrap_or_default(),
    )
);
of_mqttbytes_v5!(
    MqttbytesV5,
    mqttbytes::v5,
    |buffer| v5::read(buffer, usize::MAX),
    v5::Packet::PingReq,
    v5::Packet::Connect(packet) => sum::connect(
        packet.client_id.as_bytes(),
        packet.keep_alive,
        packet.login.as_ref().map_or(b"", |login| login.username.as_bytes()),
        packet.last_will.as_ref().map_or((b"", b""), |will| (will.topic.as_bytes(), &will.message)),
        packet.properties.as_ref().and_then(|it| it.session_expiry_interval).unwrap_or_default(),
    )
);

/// `ntex_mqtt::v3`
#[derive(Default)]
pub struct NtexV3(ntex_mqtt::v3::codec::Codec);

impl Decoder for NtexV3 {
    type Buffer = ntex_bytes::BytesMut;

    fn buffer(bytes: &[u8]) -> Self::Buffer {
        ntex_bytes::BytesMut::copy_from_slice(bytes)
    }

    fn extend(buffer: &mut Self::Buffer, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn next(&mut self, buffer: &mut Self::Buffer) -> Option<u64> {
        use ntex_mqtt::v3::codec::{Decoded, Packet};
        Some(match ntex_codec::Decoder::decode(&self.0, buffer).ok()?? {
            Decoded::Publish(packet, payload, _) => sum::publish(
                packet.qos as u8,
                packet.packet_id.map_or(0, |identifier| identifier.get()),
                packet.topic.as_bytes(),
                &payload,
            ),
            Decoded::Packet(packet, _) => match packet {
                Packet::PublishAck { packet_id } => sum::with_identifier(4, packet_id.get()),
                Packet::PublishReceived { packet_id } => sum::with_identifier(5, packet_id.get()),
                Packet::PublishRelease { packet_id } => sum::with_identifier(6, packet_id.get()),
                Packet::PublishComplete { packet_id } => sum::with_identifier(7, packet_id.get()),
                Packet::Subscribe {
                    packet_id,
                    topic_filters,
                } => sum::subscribe(
                    packet_id.get(),
                    topic_filters
                        .iter()
                        .map(|(filter, qos)| (filter.as_bytes().as_ref(), *qos as u8)),
                ),
                Packet::Unsubscribe {
                    packet_id,
                    topic_filters,
                } => sum::unsubscribe(
                    packet_id.get(),
                    topic_filters.iter().map(|filter| filter.as_bytes().as_ref()),
                ),
                Packet::PingRequest => 12,
                _ => sum::OTHER,
            },
            Decoded::PayloadChunk(..) => return None,
        })
    }
}

/// `ntex_mqtt::v5`
#[derive(Default)]
pub struct NtexV5<const PROPERTIES: bool>(ntex_mqtt::v5::codec::Codec);

impl<const PROPERTIES: bool> Decoder for NtexV5<PROPERTIES> {
    type Buffer = ntex_bytes::BytesMut;

    fn buffer(bytes: &[u8]) -> Self::Buffer {
        ntex_bytes::BytesMut::copy_from_slice(bytes)
    }

    fn extend(buffer: &mut Self::Buffer, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn next(&mut self, buffer: &mut Self::Buffer) -> Option<u64> {
        use ntex_mqtt::v5::codec::{Decoded, Packet};
        Some(match ntex_codec::Decoder::decode(&self.0, buffer).ok()?? {
            Decoded::Publish(packet, payload, _) => {
                let first = sum::publish(
                    packet.qos as u8,
                    packet.packet_id.map_or(0, |identifier| identifier.get()),
                    packet.topic.as_bytes(),
                    &payload,
                );
                if !PROPERTIES {
                    return Some(first);
                }
                let properties = &packet.properties;
                sum::properties(
                    first,
                    properties
                        .message_expiry_interval
                        .map_or(0, |seconds| seconds.get()),
                    properties.topic_alias.map_or(0, |alias| alias.get()),
                    properties
                        .response_topic
                        .as_deref()
                        .unwrap_or_default()
                        .as_bytes(),
                    properties.correlation_data.as_deref().unwrap_or_default(),
                    properties.content_type.as_deref().unwrap_or_default().as_bytes(),
                    properties
                        .user_properties
                        .iter()
                        .map(|(name, value)| (name.as_bytes().as_ref(), value.as_bytes().as_ref())),
                )
            }
            Decoded::Packet(packet, _) => match packet {
                Packet::PublishAck(packet) => sum::with_identifier(4, packet.packet_id.get()),
                Packet::PublishReceived(packet) => sum::with_identifier(5, packet.packet_id.get()),
                Packet::PublishRelease(packet) => sum::with_identifier(6, packet.packet_id.get()),
                Packet::PublishComplete(packet) => sum::with_identifier(7, packet.packet_id.get()),
                Packet::Subscribe(packet) => sum::subscribe(
                    packet.packet_id.get(),
                    packet
                        .topic_filters
                        .iter()
                        .map(|(filter, options)| (filter.as_bytes().as_ref(), options.qos as u8)),
                ),
                Packet::Unsubscribe(packet) => sum::unsubscribe(
                    packet.packet_id.get(),
                    packet
                        .topic_filters
                        .iter()
                        .map(|filter| filter.as_bytes().as_ref()),
                ),
                Packet::PingRequest => 12,
                Packet::Connect(packet) => sum::connect(
                    packet.client_id.as_bytes(),
                    packet.keep_alive,
                    packet.username.as_deref().unwrap_or_default().as_bytes(),
                    packet
                        .last_will
                        .as_ref()
                        .map_or((b"", b""), |will| (will.topic.as_bytes(), &will.message)),
                    packet.session_expiry_interval_secs,
                ),
                _ => sum::OTHER,
            },
            Decoded::PayloadChunk(..) => return None,
        })
    }
}

/// `rmqtt_codec::v3`
pub struct RmqttV3(rmqtt_codec::v3::Codec);

impl Default for RmqttV3 {
    fn default() -> Self {
        RmqttV3(rmqtt_codec::v3::Codec::new(0))
    }
}

impl Decoder for RmqttV3 {
    on_bytes_mut!();

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        use rmqtt_codec::v3::Packet;
        let (packet, _) = tokio_util::codec::Decoder::decode(&mut self.0, buffer).ok()??;
        Some(match packet {
            Packet::Publish(packet) => sum::publish(
                packet.qos as u8,
                packet.packet_id.map_or(0, |identifier| identifier.get()),
                packet.topic.as_bytes(),
                &packet.payload,
            ),
            Packet::PublishAck { packet_id } => sum::with_identifier(4, packet_id.get()),
            Packet::PublishReceived { packet_id } => sum::with_identifier(5, packet_id.get()),
            Packet::PublishRelease { packet_id } => sum::with_identifier(6, packet_id.get()),
            Packet::PublishComplete { packet_id } => sum::with_identifier(7, packet_id.get()),
            Packet::Subscribe {
                packet_id,
                topic_filters,
            } => sum::subscribe(
                packet_id.get(),
                topic_filters
                    .iter()
                    .map(|(filter, qos)| (filter.as_bytes().as_ref(), *qos as u8)),
            ),
            Packet::Unsubscribe {
                packet_id,
                topic_filters,
            } => sum::unsubscribe(
                packet_id.get(),
                topic_filters.iter().map(|filter| filter.as_bytes().as_ref()),
            ),
            Packet::PingRequest => 12,
            _ => sum::OTHER,
        })
    }
}

/// `rmqtt_codec::v5`
#[derive(Default)]
pub struct RmqttV5<const PROPERTIES: bool>(rmqtt_codec::v5::Codec);

impl<const PROPERTIES: bool> Decoder for RmqttV5<PROPERTIES> {
    on_bytes_mut!();

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        use rmqtt_codec::v5::Packet;
        let (packet, _) = tokio_util::codec::Decoder::decode(&mut self.0, buffer).ok()??;
        Some(match packet {
            Packet::Publish(packet) => {
                let first = sum::publish(
                    packet.qos as u8,
                    packet.packet_id.map_or(0, |identifier| identifier.get()),
                    packet.topic.as_bytes(),
                    &packet.payload,
                );
                let Some(properties) = packet.properties.as_ref().filter(|_| PROPERTIES) else {
                    return Some(first);
                };
                sum::properties(
                    first,
                    properties
                        .message_expiry_interval
                        .map_or(0, |seconds| seconds.get()),
                    properties.topic_alias.map_or(0, |alias| alias.get()),
                    properties
                        .response_topic
                        .as_deref()
                        .unwrap_or_default()
                        .as_bytes(),
                    properties.correlation_data.as_deref().unwrap_or_default(),
                    properties.content_type.as_deref().unwrap_or_default().as_bytes(),
                    properties
                        .user_properties
                        .iter()
                        .map(|(name, value)| (name.as_bytes().as_ref(), value.as_bytes().as_ref())),
                )
            }
            Packet::PublishAck(packet) => sum::with_identifier(4, packet.packet_id.get()),
            Packet::PublishReceived(packet) => sum::with_identifier(5, packet.packet_id.get()),
            Packet::PublishRelease(packet) => sum::with_identifier(6, packet.packet_id.get()),
            Packet::PublishComplete(packet) => sum::with_identifier(7, packet.packet_id.get()),
            Packet::Subscribe(packet) => sum::subscribe(
                packet.packet_id.get(),
                packet
                    .topic_filters
                    .iter()
                    .map(|(filter, options)| (filter.as_bytes().as_ref(), options.qos as u8)),
            ),
            Packet::Unsubscribe(packet) => sum::unsubscribe(
                packet.packet_id.get(),
                packet
                    .topic_filters
                    .iter()
                    .map(|filter| filter.as_bytes().as_ref()),
            ),
            Packet::PingRequest => 12,
            Packet::Connect(packet) => sum::connect(
                packet.client_id.as_bytes(),
                packet.keep_alive,
                packet.username.as_deref().unwrap_or_default().as_bytes(),
                packet
                    .last_will
                    .as_ref()
                    .map_or((b"", b""), |will| (will.topic.as_bytes(), &will.message)),
                packet.session_expiry_interval_secs,
            ),
            _ => sum::OTHER,
        })
    }
}

/// `mqtt_protocol_core`, PUBLISH only; it takes the body of a packet, so the header is read for it.
#[derive(Default)]
pub struct MqttProtocolCore<const VERSION: u8>;

impl<const VERSION: u8> Decoder for MqttProtocolCore<VERSION> {
    on_bytes_mut!();

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};
        let (first, header, length) = header(buffer)?;
        let whole = buffer.split_to(header + length);
        let body: Arc<[u8]> = Arc::from(&whole[header..]);
        Some(if VERSION == 5 {
            let (packet, _) = v5_0::Publish::parse(first & 0x0F, body).ok()?;
            let identifier = packet.packet_id().unwrap_or_default();
            sum::publish(
                packet.qos() as u8,
                identifier,
                packet.topic_name().as_bytes(),
                packet.payload().as_slice(),
            )
        } else {
            let (packet, _) = v3_1_1::Publish::parse(first & 0x0F, body).ok()?;
            let identifier = packet.packet_id().unwrap_or_default();
            sum::publish(
                packet.qos() as u8,
                identifier,
                packet.topic_name().as_bytes(),
                packet.payload().as_slice(),
            )
        })
    }
}

/// `mqtt5_protocol`
#[derive(Default)]
pub struct Mqtt5Protocol<const VERSION: u8>;

impl<const VERSION: u8> Decoder for Mqtt5Protocol<VERSION> {
    type Buffer = Bytes;

    fn buffer(bytes: &[u8]) -> Bytes {
        Bytes::copy_from_slice(bytes)
    }

    fn extend(_: &mut Bytes, _: &[u8]) {
        unreachable!("this one is not fed in pieces")
    }

    #[inline]
    fn next(&mut self, buffer: &mut Bytes) -> Option<u64> {
        use mqtt5_protocol::{FixedHeader, Packet};
        let header = FixedHeader::decode(buffer).ok()?;
        let length = usize::try_from(header.remaining_length).ok()?;
        if buffer.len() < length {
            return None;
        }
        let mut body = buffer.split_to(length);
        match Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, VERSION).ok()? {
            Packet::Publish(packet) => Some(sum::publish(
                packet.qos as u8,
                packet.packet_id.unwrap_or_default(),
                packet.topic_name.as_bytes(),
                &packet.payload,
            )),
            _ => None,
        }
    }
}

/// `mqtt_codec_kit`, which reads from anything that can be read from.
#[derive(Default)]
pub struct MqttCodecKit<const VERSION: u8>;

impl<const VERSION: u8> Decoder for MqttCodecKit<VERSION> {
    on_bytes_mut!();

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        use mqtt_codec_kit::common::Decodable;
        use mqtt_codec_kit::{v4, v5};
        let mut rest = &buffer[..];
        if rest.is_empty() {
            return None;
        }
        let sum = if VERSION == 5 {
            let v5::packet::VariablePacket::PublishPacket(packet) =
                v5::packet::VariablePacket::decode(&mut rest).ok()?
            else {
                return None;
            };
            let (qos, identifier) = packet.qos().split();
            let topic: &str = packet.topic_name();
            sum::publish(
                qos as u8,
                identifier.unwrap_or_default(),
                topic.as_bytes(),
                packet.payload(),
            )
        } else {
            let v4::packet::VariablePacket::PublishPacket(packet) =
                v4::packet::VariablePacket::decode(&mut rest).ok()?
            else {
                return None;
            };
            let (qos, identifier) = packet.qos().split();
            let topic: &str = packet.topic_name();
            sum::publish(
                qos as u8,
                identifier.unwrap_or_default(),
                topic.as_bytes(),
                packet.payload(),
            )
        };
        let used = buffer.len() - rest.len();
        buffer.advance(used);
        Some(sum)
    }
}

/// `mqttrs`, borrowed and 3.1.1 only; it does not say how long a packet was, so the header is read for it.
#[derive(Default)]
pub struct Mqttrs;

impl Decoder for Mqttrs {
    on_bytes_mut!();

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        let (_, header, length) = header(buffer)?;
        let sum = of_mqttrs(&mqttrs::decode_slice(buffer).ok()??)?;
        buffer.advance(header + length);
        Some(sum)
    }
}

/// Of a packet of mqttrs.
#[inline]
#[must_use]
pub fn of_mqttrs(packet: &mqttrs::Packet<'_>) -> Option<u64> {
    use mqttrs::{Packet, QosPid};
    Some(match packet {
        Packet::Publish(packet) => {
            let (qos, identifier) = match packet.qospid {
                QosPid::AtMostOnce => (0, 0),
                QosPid::AtLeastOnce(identifier) => (1, identifier.get()),
                QosPid::ExactlyOnce(identifier) => (2, identifier.get()),
            };
            sum::publish(qos, identifier, packet.topic_name.as_bytes(), packet.payload)
        }
        Packet::Puback(identifier) => sum::with_identifier(4, identifier.get()),
        Packet::Pubrec(identifier) => sum::with_identifier(5, identifier.get()),
        Packet::Pubrel(identifier) => sum::with_identifier(6, identifier.get()),
        Packet::Pubcomp(identifier) => sum::with_identifier(7, identifier.get()),
        Packet::Subscribe(packet) => sum::subscribe(
            packet.pid.get(),
            packet
                .topics
                .iter()
                .map(|topic| (topic.topic_path.as_bytes(), topic.qos as u8)),
        ),
        Packet::Unsubscribe(packet) => sum::unsubscribe(
            packet.pid.get(),
            packet.topics.iter().map(|topic| topic.as_bytes()),
        ),
        Packet::Pingreq => 12,
        _ => return None,
    })
}

/// First byte, bytes of the fixed header and Remaining Length of a packet that is whole.
#[inline]
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (mut length, mut count) = (0, 0);
    for byte in rest.iter().take(4) {
        length |= usize::from(byte & 0x7F) << (7 * count);
        count += 1;
        if byte & 0x80 == 0 {
            return (rest.len() >= count + length).then_some((first, 1 + count, length));
        }
    }
    None
}
