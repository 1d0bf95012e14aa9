//! Packets that outlive the buffer they came in: one [`Bytes`] for the whole frame, checked once.

use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::DecodeError;
use crate::packet::Start;
use crate::text;
use crate::{
    DecodeOptions, Frame, Framing, Packet, PacketIdentifier, PacketType, ProtocolVersion, Publish,
    PublishProperties, QoS, frame,
};

/// A packet of any type with the bytes it was received in.
///
/// Cloning and moving cost as much as for [`Bytes`]. [`OwnedPacket::get`] reads the bytes again, without checking them
/// again; of a PUBLISH it is remembered where the parts are ([`OwnedPacket::as_publish`]).
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedPacket(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Publish(OwnedPublish),
    Other {
        /// One frame that [`Packet::decode`] has accepted with `options`.
        bytes: Bytes,
        packet_type: PacketType,
        options: DecodeOptions,
    },
}

impl OwnedPacket {
    /// Takes the packet at the front of `buffer` out of it; `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Packet::decode`] say; `buffer` stays as it is.
    #[inline]
    pub fn split_from(buffer: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Self>, DecodeError> {
        let Framing::Complete(whole) = frame(buffer, options)? else {
            return Ok(None);
        };
        let length = whole.len();
        let packet_type = whole.packet_type();
        if packet_type == PacketType::Publish {
            let parts = Parts::of(whole, options)?;
            return Ok(Some(OwnedPacket(Kind::Publish(OwnedPublish {
                bytes: buffer.split_to(length).freeze(),
                parts,
                options: *options,
            }))));
        }
        Packet::decode(whole, options)?;
        Ok(Some(OwnedPacket(Kind::Other {
            bytes: buffer.split_to(length).freeze(),
            packet_type,
            options: *options,
        })))
    }

    /// The packet, borrowed.
    #[must_use]
    pub fn get(&self) -> Packet<'_> {
        match &self.0 {
            Kind::Publish(publish) => Packet::Publish(publish.get()),
            Kind::Other { bytes, options, .. } => {
                known(bytes, options, Packet::decode).expect("split_from has decoded these bytes so")
            }
        }
    }

    /// The packet's type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match &self.0 {
            Kind::Publish(_) => PacketType::Publish,
            Kind::Other { packet_type, .. } => *packet_type,
        }
    }

    /// The PUBLISH, if it is one.
    #[inline]
    #[must_use]
    pub const fn as_publish(&self) -> Option<&OwnedPublish> {
        match &self.0 {
            Kind::Publish(publish) => Some(publish),
            Kind::Other { .. } => None,
        }
    }

    /// The whole frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        match &self.0 {
            Kind::Publish(publish) => &publish.bytes,
            Kind::Other { bytes, .. } => bytes,
        }
    }

    /// The whole frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Publish(publish) => publish.bytes,
            Kind::Other { bytes, .. } => bytes,
        }
    }
}

/// Decodes what was decoded before with the same options.
#[inline]
fn known<'a, T>(
    bytes: &'a Bytes,
    options: &DecodeOptions,
    decode: impl FnOnce(Frame<'a>, &DecodeOptions) -> Result<T, DecodeError>,
) -> Option<T> {
    match frame(bytes, options) {
        Ok(Framing::Complete(whole)) => decode(whole.known(), options).ok(),
        _ => None,
    }
}

impl fmt::Debug for OwnedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A PUBLISH with the bytes it was received in, and where its parts are: reading a part costs no second decoding.
///
/// ```
/// use bytes::BytesMut;
/// use komar_codec::{DecodeOptions, OwnedPublish, ProtocolVersion, Role};
///
/// # fn main() -> Result<(), komar_codec::DecodeError> {
/// let options = DecodeOptions::new(ProtocolVersion::V3_1_1, Role::Server);
/// let mut buffer = BytesMut::from(&b"\x30\x06\x00\x01ahi!\x30"[..]);
/// let publish = OwnedPublish::split_from(&mut buffer, &options)?.expect("it is whole");
/// assert_eq!(OwnedPublish::split_from(&mut buffer, &options)?, None);
/// drop(buffer);
/// assert_eq!((publish.topic_name(), publish.payload()), ("a", &b"hi!"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedPublish {
    /// One frame that [`Publish::decode`] has accepted with `options`; the offsets below lie in it.
    bytes: Bytes,
    parts: Parts,
    options: DecodeOptions,
}

/// What is known of a PUBLISH without looking at its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    packet_identifier: Option<PacketIdentifier>,
    qos: QoS,
    dup: bool,
    retain: bool,
    topic_begin: u8,
    topic_length: u16,
    payload_begin: u32,
}

impl Parts {
    #[inline]
    fn of(whole: Frame<'_>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        let (mut reader, start) = Start::read(whole, options)?;
        let has_properties = options.version == ProtocolVersion::V5 && !reader.skip_zero();
        if has_properties || start.topic_name.is_empty() {
            let properties = if has_properties {
                PublishProperties::read(&mut reader)?
            } else {
                PublishProperties::default()
            };
            start.check_topic_name(&properties, &reader, whole)?;
        }
        let length = whole.len();
        let header = length.saturating_sub(whole.body().len());
        let flags = whole.flags();
        Ok(Parts {
            packet_identifier: start.packet_identifier,
            qos: start.qos,
            dup: flags & 0b1000 != 0,
            retain: flags & 0b0001 != 0,
            // The header has 2 to 5 bytes, the length of the name 2; a frame is shorter than 2^29 bytes.
            topic_begin: u8::try_from(header.saturating_add(2)).unwrap_or(u8::MAX),
            topic_length: u16::try_from(start.topic_name.len()).unwrap_or(u16::MAX),
            payload_begin: u32::try_from(reader.offset()).unwrap_or(u32::MAX),
        })
    }
}

impl OwnedPublish {
    /// Takes the PUBLISH at the front of `buffer` out of it; `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Publish::decode`] say (another packet is
    /// [`UnexpectedPacketType`](crate::DecodeErrorKind::UnexpectedPacketType)); `buffer` stays as it is.
    #[inline]
    pub fn split_from(buffer: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Self>, DecodeError> {
        let Framing::Complete(whole) = frame(buffer, options)? else {
            return Ok(None);
        };
        let parts = Parts::of(whole, options)?;
        let length = whole.len();
        Ok(Some(OwnedPublish {
            bytes: buffer.split_to(length).freeze(),
            parts,
            options: *options,
        }))
    }

    /// Everything, borrowed; reads the bytes again, without checking them again.
    #[must_use]
    pub fn get(&self) -> Publish<'_> {
        known(&self.bytes, &self.options, Publish::decode).expect("split_from has decoded these bytes so")
    }

    /// Whether this may be a repetition.
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.parts.dup
    }

    /// Quality of service.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.parts.qos
    }

    /// Whether the message is to be retained.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.parts.retain
    }

    /// Present above QoS 0.
    #[must_use]
    pub const fn packet_identifier(&self) -> Option<PacketIdentifier> {
        self.parts.packet_identifier
    }

    /// The version it was received in.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.options.version
    }

    /// The Topic Name's bytes: UTF-8 without wildcards, empty only beside a Topic Alias.
    #[inline]
    #[must_use]
    pub fn topic_name_bytes(&self) -> &[u8] {
        let begin = usize::from(self.parts.topic_begin);
        let end = begin.saturating_add(usize::from(self.parts.topic_length));
        self.bytes.get(begin..end).unwrap_or_default()
    }

    /// The Topic Name, looked at once more for UTF-8.
    #[inline]
    #[must_use]
    pub fn topic_name(&self) -> &str {
        text::known(self.topic_name_bytes()).unwrap_or_default()
    }

    /// The payload.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_offset()..).unwrap_or_default()
    }

    /// The payload, sharing the frame's memory.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        let mut payload = self.bytes.clone();
        payload.advance(self.payload_offset().min(payload.len()));
        payload
    }

    /// The whole frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn payload_offset(&self) -> usize {
        usize::try_from(self.parts.payload_begin).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for OwnedPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
