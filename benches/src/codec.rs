//! Decoders under one interface, and what is remembered of a packet.
//!
//! That is what all of them can be asked for in a benchmark (module [`sum`]). DUP, RETAIN, the options of a SUBSCRIBE besides
//! QoS, the password, most properties of other packets than PUBLISH, and Reason Codes are not in it: a decoder that leaves
//! them unread until they are asked for is not made to read them. `tests/differential.rs` compares those too.

use bytes::{Buf, BytesMut};
use komar_codec::{
    DecodeOptions, Framer, Framing, OwnedPublish, Packet, ProtocolVersion, Publish, Role, frame,
};

use crate::{mix, mix_bytes};

/// Takes packets out of a buffer.
pub trait Decoder: Default {
    /// What it reads from.
    type Buffer;

    /// A buffer that holds a copy of the bytes.
    fn buffer(bytes: &[u8]) -> Self::Buffer;

    /// Adds bytes that have arrived.
    fn extend(buffer: &mut Self::Buffer, bytes: &[u8]);

    /// Takes the next packet out and drops it; `None` if it is not whole. The checksum is made of the owned packet.
    fn next(&mut self, buffer: &mut Self::Buffer) -> Option<u64>;
}

/// Decodes everything that is in the buffer.
#[must_use]
pub fn drain<D: Decoder>(mut buffer: D::Buffer) -> u64 {
    let (mut decoder, mut sum) = (D::default(), 0);
    while let Some(packet) = decoder.next(&mut buffer) {
        sum = mix(sum, packet);
    }
    sum
}

/// Decodes everything as it comes in pieces of `size` bytes.
#[must_use]
pub fn pieces<D: Decoder>(input: &[u8], size: usize) -> u64 {
    let (mut decoder, mut buffer, mut sum) = (D::default(), D::buffer(&[]), 0);
    for piece in input.chunks(size) {
        D::extend(&mut buffer, piece);
        while let Some(packet) = decoder.next(&mut buffer) {
            sum = mix(sum, packet);
        }
    }
    sum
}

/// What is remembered of each packet.
pub mod sum {
    use super::{mix, mix_bytes};

    /// Of a packet whose contents are not compared.
    pub const OTHER: u64 = 0;

    /// PUBLISH without properties.
    #[inline]
    #[must_use]
    pub fn publish(qos: u8, identifier: u16, topic: &[u8], payload: &[u8]) -> u64 {
        let first = mix(3, (u64::from(qos) << 16) | u64::from(identifier));
        mix_bytes(mix_bytes(first, topic), payload)
    }

    /// A packet that has an identifier and nothing else of interest.
    #[inline]
    #[must_use]
    pub fn with_identifier(packet_type: u8, identifier: u16) -> u64 {
        mix(u64::from(packet_type), u64::from(identifier))
    }

    /// SUBSCRIBE: filters with their QoS.
    #[inline]
    #[must_use]
    pub fn subscribe<'a>(identifier: u16, filters: impl Iterator<Item = (&'a [u8], u8)>) -> u64 {
        filters.fold(with_identifier(8, identifier), |sum, (filter, qos)| {
            mix(mix_bytes(sum, filter), u64::from(qos))
        })
    }

    /// UNSUBSCRIBE.
    #[inline]
    #[must_use]
    pub fn unsubscribe<'a>(identifier: u16, filters: impl Iterator<Item = &'a [u8]>) -> u64 {
        filters.fold(with_identifier(10, identifier), mix_bytes)
    }

    /// CONNECT: Client Identifier, user name, Will and some properties.
    #[inline]
    #[must_use]
    pub fn connect(
        client_id: &[u8],
        keep_alive: u16,
        username: &[u8],
        will: (&[u8], &[u8]),
        session_expiry: u32,
    ) -> u64 {
        let first = mix(mix_bytes(1, client_id), u64::from(keep_alive));
        let last = mix_bytes(mix_bytes(mix_bytes(first, username), will.0), will.1);
        mix(last, u64::from(session_expiry))
    }

    /// The properties of a PUBLISH.
    #[inline]
    #[must_use]
    pub fn properties<'a>(
        publish: u64,
        expiry: u32,
        alias: u16,
        response_topic: &[u8],
        correlation_data: &[u8],
        content_type: &[u8],
        user: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> u64 {
        let first = mix(publish, (u64::from(expiry) << 16) | u64::from(alias));
        let first = mix_bytes(
            mix_bytes(mix_bytes(first, response_topic), correlation_data),
            content_type,
        );
        user.fold(first, |sum, (name, value)| mix_bytes(mix_bytes(sum, name), value))
    }
}

/// A version as the parameter of a type: 4 or 5, as in CONNECT.
const fn version(number: u8) -> ProtocolVersion {
    match number {
        5 => ProtocolVersion::V5,
        _ => ProtocolVersion::V3_1_1,
    }
}

/// Komar's owned packets: of a PUBLISH where its parts are, of others the frame.
#[derive(Default)]
pub struct Komar<const VERSION: u8> {
    framer: Framer,
}

impl<const VERSION: u8> Decoder for Komar<VERSION> {
    type Buffer = BytesMut;

    fn buffer(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn extend(buffer: &mut BytesMut, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        let options = DecodeOptions::new(version(VERSION), Role::Server);
        let packet = self.framer.next_packet(buffer, &options).ok()??;
        Some(match packet.as_publish() {
            Some(publish) => sum::publish(
                publish.qos().as_u8(),
                publish
                    .packet_identifier()
                    .map_or(0, |identifier| identifier.get()),
                publish.topic_name_bytes(),
                publish.payload(),
            ),
            None => of_packet(&packet.get()),
        })
    }
}

/// Komar's owned PUBLISH with its properties.
#[derive(Default)]
pub struct KomarProperties;

impl Decoder for KomarProperties {
    type Buffer = BytesMut;

    fn buffer(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn extend(buffer: &mut BytesMut, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
        let publish = OwnedPublish::split_from(buffer, &options).ok()??;
        Some(of_properties(&publish.get()))
    }
}

/// Komar's borrowed packets.
#[derive(Default)]
pub struct KomarBorrowed<const VERSION: u8>;

impl<const VERSION: u8> Decoder for KomarBorrowed<VERSION> {
    type Buffer = BytesMut;

    fn buffer(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn extend(buffer: &mut BytesMut, bytes: &[u8]) {
        buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn next(&mut self, buffer: &mut BytesMut) -> Option<u64> {
        let options = DecodeOptions::new(version(VERSION), Role::Server);
        let Ok(Framing::Complete(whole)) = frame(buffer, &options) else {
            return None;
        };
        let sum = of_packet(&Packet::decode(whole, &options).ok()?);
        let length = whole.len();
        buffer.advance(length);
        Some(sum)
    }
}

/// Of a borrowed packet.
#[inline]
#[must_use]
pub fn of_packet(packet: &Packet<'_>) -> u64 {
    match packet {
        Packet::Publish(publish) => of_publish(publish),
        Packet::PubAck(packet) => sum::with_identifier(4, packet.packet_identifier.get()),
        Packet::PubRec(packet) => sum::with_identifier(5, packet.packet_identifier.get()),
        Packet::PubRel(packet) => sum::with_identifier(6, packet.packet_identifier.get()),
        Packet::PubComp(packet) => sum::with_identifier(7, packet.packet_identifier.get()),
        Packet::Subscribe(packet) => sum::subscribe(
            packet.packet_identifier.get(),
            packet
                .filters
                .iter()
                .map(|(filter, options)| (filter.as_bytes(), options.maximum_qos.as_u8())),
        ),
        Packet::Unsubscribe(packet) => sum::unsubscribe(
            packet.packet_identifier.get(),
            packet.filters.iter().map(str::as_bytes),
        ),
        Packet::Connect(packet) => {
            let will = packet.will.as_ref();
            sum::connect(
                packet.client_id.as_bytes(),
                packet.keep_alive,
                packet.username.unwrap_or_default().as_bytes(),
                will.map_or((b"", b""), |will| (will.topic_name.as_bytes(), will.payload)),
                packet.properties.session_expiry_interval.unwrap_or_default(),
            )
        }
        other => u64::from(other.packet_type().as_u8()),
    }
}

/// Of a borrowed PUBLISH, without its properties.
#[inline]
#[must_use]
pub fn of_publish(publish: &Publish<'_>) -> u64 {
    sum::publish(
        publish.qos.as_u8(),
        publish.packet_identifier.map_or(0, |identifier| identifier.get()),
        publish.topic_name.as_bytes(),
        publish.payload,
    )
}

/// Of a borrowed PUBLISH with its properties.
#[inline]
#[must_use]
pub fn of_properties(publish: &Publish<'_>) -> u64 {
    let properties = &publish.properties;
    sum::properties(
        of_publish(publish),
        properties.message_expiry_interval.unwrap_or_default(),
        properties.topic_alias.map_or(0, |alias| alias.get()),
        properties.response_topic.unwrap_or_default().as_bytes(),
        properties.correlation_data.unwrap_or_default(),
        properties.content_type.unwrap_or_default().as_bytes(),
        properties
            .user_properties
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    )
}
