//! Packets that outlive the buffer they came in: one [`Bytes`] for the whole frame, checked once.

use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::DecodeError;
use crate::{
    DecodeOptions, Framing, Packet, PacketIdentifier, PacketType, ProtocolVersion, Publish, QoS, frame,
};

/// A packet of any type with the bytes it was received in.
///
/// Cloning and moving cost as much as for [`Bytes`]. [`OwnedPacket::get`] reads the bytes again; where that is too often,
/// [`OwnedPublish`] remembers where the parts are.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedPacket {
    /// One frame that [`Packet::decode`] has accepted with `options`.
    bytes: Bytes,
    packet_type: PacketType,
    options: DecodeOptions,
}

impl OwnedPacket {
    /// Takes the packet at the front of `buffer` out of it; `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Packet::decode`] say; `buffer` stays as it is.
    pub fn split_from(buffer: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Self>, DecodeError> {
        let Framing::Complete(whole) = frame(buffer, options)? else {
            return Ok(None);
        };
        Packet::decode(whole, options)?;
        let (packet_type, length) = (whole.packet_type(), whole.len());
        Ok(Some(OwnedPacket {
            bytes: buffer.split_to(length).freeze(),
            packet_type,
            options: *options,
        }))
    }

    /// The packet, borrowed.
    #[must_use]
    pub fn get(&self) -> Packet<'_> {
        match frame(&self.bytes, &self.options) {
            Ok(Framing::Complete(whole)) => Packet::decode(whole, &self.options).ok(),
            _ => None,
        }
        .expect("split_from has decoded these bytes with these options")
    }

    /// The packet's type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.packet_type
    }

    /// The whole frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl fmt::Debug for OwnedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A PUBLISH with the bytes it was received in, and where its parts are: reading a part costs no second decoding.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedPublish {
    /// One frame that [`Publish::decode`] has accepted with `options`; the offsets below lie in it.
    bytes: Bytes,
    dup: bool,
    qos: QoS,
    retain: bool,
    packet_identifier: Option<PacketIdentifier>,
    topic_begin: u8,
    topic_length: u16,
    payload_begin: u32,
    options: DecodeOptions,
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
        let publish = Publish::decode(whole, options)?;
        let length = whole.len();
        let header = length.saturating_sub(whole.body().len());
        let owned = OwnedPublish {
            bytes: Bytes::new(),
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_identifier: publish.packet_identifier,
            // The header has 2 to 5 bytes, the length of the name 2; a frame is shorter than 2^29 bytes.
            topic_begin: u8::try_from(header.saturating_add(2)).unwrap_or(u8::MAX),
            topic_length: u16::try_from(publish.topic_name.len()).unwrap_or(u16::MAX),
            payload_begin: u32::try_from(length.saturating_sub(publish.payload.len())).unwrap_or(u32::MAX),
            options: *options,
        };
        let bytes = buffer.split_to(length).freeze();
        Ok(Some(OwnedPublish { bytes, ..owned }))
    }

    /// Everything, borrowed; decodes the bytes again.
    #[must_use]
    pub fn get(&self) -> Publish<'_> {
        match frame(&self.bytes, &self.options) {
            Ok(Framing::Complete(whole)) => Publish::decode(whole, &self.options).ok(),
            _ => None,
        }
        .expect("split_from has decoded these bytes with these options")
    }

    /// Whether this may be a repetition.
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.dup
    }

    /// Quality of service.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether the message is to be retained.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Present above QoS 0.
    #[must_use]
    pub const fn packet_identifier(&self) -> Option<PacketIdentifier> {
        self.packet_identifier
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
        let begin = usize::from(self.topic_begin);
        let end = begin.saturating_add(usize::from(self.topic_length));
        self.bytes.get(begin..end).unwrap_or_default()
    }

    /// The Topic Name, looked at once more for UTF-8.
    #[inline]
    #[must_use]
    pub fn topic_name(&self) -> &str {
        core::str::from_utf8(self.topic_name_bytes()).unwrap_or_default()
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
        usize::try_from(self.payload_begin).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for OwnedPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
