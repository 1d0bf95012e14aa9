//! Packets that outlive the buffer they came in: one [`Bytes`] for the whole frame, checked once.

use core::fmt;
use core::num::NonZeroU64;
use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{DecodeError, DecodeErrorKind};
use crate::packet::Start;
use crate::primitive::{Fault, Reader, Unnamed};
use crate::text;
use crate::{
    DecodeOptions, Frame, Framer, Framing, Packet, PacketIdentifier, PacketType, ProtocolVersion, Publish,
    PublishProperties, QoS, Role, frame,
};

/// A packet of any type with the bytes it was received in.
///
/// Cloning and moving cost as much as for [`Bytes`], and as with `Bytes` the buffer's whole allocation lives as long as one
/// packet out of it: copy what is kept for long. [`OwnedPacket::get`] reads the bytes again, without checking them again; of
/// a PUBLISH it is remembered where the parts are ([`OwnedPacket::as_publish`]).
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedPacket {
    /// Of other packets than PUBLISH nobody gets to see this.
    frame: OwnedPublish,
}

impl OwnedPacket {
    /// Takes the packet at the front of `buffer` out of it; `None` if it is not whole yet, and [`frame()`] says how many bytes
    /// it lacks. Where packets come in many small pieces, [`Framer::next_packet`] looks less often, and remembers that.
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Packet::decode`] say; `buffer` stays as it is.
    #[inline(always)]
    pub fn split_from(buffer: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Self>, DecodeError> {
        match frame(buffer, options)? {
            Framing::Complete(whole) => {
                let (length, parts) = (whole.len(), Parts::of_any(whole, options)?);
                Ok(Some(Self::take(length, parts, buffer)))
            }
            Framing::Incomplete { .. } => Ok(None),
        }
    }

    /// The packet, borrowed.
    #[must_use]
    pub fn get(&self) -> Packet<'_> {
        self.frame
            .known(Packet::decode)
            .expect("the constructors have decoded these bytes so")
    }

    /// The packet's type.
    #[inline]
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.frame.parts.packet_type
    }

    /// The PUBLISH, if it is one.
    #[inline]
    #[must_use]
    pub const fn as_publish(&self) -> Option<&OwnedPublish> {
        match self.packet_type() {
            PacketType::Publish => Some(&self.frame),
            _ => None,
        }
    }

    /// The whole frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.frame.bytes
    }

    /// The whole frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.frame.bytes
    }

    /// Takes a packet that has been checked out of the front of the buffer.
    // In line: called, it would write its result into memory in small parts, and the caller would copy it in large ones,
    // for which the processor has to wait.
    #[inline(always)]
    fn take(length: usize, parts: Parts, buffer: &mut BytesMut) -> Self {
        OwnedPacket {
            frame: OwnedPublish {
                bytes: buffer.split_to(length).freeze(),
                parts,
            },
        }
    }
}

/// Everything but PUBLISH.
#[inline(never)]
fn check(whole: Frame<'_>, options: &DecodeOptions) -> Result<(), DecodeError> {
    Packet::decode(whole, options).map(|_| ())
}

impl Framer {
    /// Takes the packet at the front of `buffer` out of it; `None` if it is not whole yet, and [`needed`](Framer::needed) says
    /// how many bytes it lacks. For a buffer that begins with the same packet as at the last call if that gave none.
    ///
    /// ```
    /// use bytes::BytesMut;
    /// use komar_codec::{DecodeOptions, Framer, PacketType, ProtocolVersion, Role};
    ///
    /// # fn main() -> Result<(), komar_codec::DecodeError> {
    /// let options = DecodeOptions::new(ProtocolVersion::V3_1_1, Role::Server);
    /// let (mut framer, mut buffer) = (Framer::new(), BytesMut::new());
    /// buffer.extend_from_slice(b"\x30\x06\x00\x01a");
    /// assert_eq!(framer.next_packet(&mut buffer, &options)?, None);
    /// assert_eq!(framer.needed(buffer.len()), 3);
    /// buffer.extend_from_slice(b"hi!\xc0\x00");
    /// let packet = framer.next_packet(&mut buffer, &options)?.expect("it is whole");
    /// assert_eq!(packet.as_publish().map(|publish| publish.payload()), Some(&b"hi!"[..]));
    /// let packet = framer.next_packet(&mut buffer, &options)?.expect("it is whole");
    /// assert_eq!(packet.packet_type(), PacketType::PingReq);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Packet::decode`] say; `buffer` stays as it is.
    #[inline(always)]
    pub fn next_packet(
        &mut self,
        buffer: &mut BytesMut,
        options: &DecodeOptions,
    ) -> Result<Option<OwnedPacket>, DecodeError> {
        match self.frame(buffer, options)? {
            Framing::Complete(whole) => {
                let (length, parts) = (whole.len(), Parts::of_any(whole, options)?);
                Ok(Some(OwnedPacket::take(length, parts, buffer)))
            }
            Framing::Incomplete { .. } => Ok(None),
        }
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
    /// One frame that [`Publish::decode`] has accepted; the offsets in `parts` lie in it.
    bytes: Bytes,
    parts: Parts,
}

/// What is known of a PUBLISH without looking at its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    /// From the highest: Packet Identifier or 0 (two bytes), length of the Topic Name (two), offset of the payload (four),
    /// which is not 0.
    place: NonZeroU64,
    /// Offset of the Topic Name.
    topic_begin: u8,
    first: u8,
    packet_type: PacketType,
    /// What the packet was decoded for.
    version: ProtocolVersion,
    receiver: Role,
}

impl Parts {
    /// Of a packet of any type; only PUBLISH has these parts.
    #[inline(always)]
    fn of_any(whole: Frame<'_>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        if whole.packet_type() == PacketType::Publish {
            return Self::of(whole, options);
        }
        check(whole, options)?;
        Ok(Parts {
            place: NonZeroU64::MIN,
            topic_begin: 0,
            first: whole.first_byte(),
            packet_type: whole.packet_type(),
            version: options.version,
            receiver: options.receiver,
        })
    }

    #[inline(always)]
    fn of(whole: Frame<'_>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        if whole.packet_type() == PacketType::Publish
            && let Ok(parts) = Self::read(whole.first_byte(), whole.reader::<Unnamed>(options))
        {
            return Ok(parts);
        }
        Self::read_again(whole, options)
    }

    #[cold]
    #[inline(never)]
    fn read_again(whole: Frame<'_>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        let reader = whole.reader::<DecodeError>(options);
        if whole.packet_type() != PacketType::Publish {
            return Err(reader.error_at(0, DecodeErrorKind::UnexpectedPacketType));
        }
        Self::read(whole.first_byte(), reader)
    }

    #[inline(always)]
    fn read<F: Fault>(first: u8, mut reader: Reader<'_, F>) -> Result<Self, F> {
        let start = Start::read(&mut reader, Reader::topic_name_bytes)?;
        let has_properties = reader.context().version == ProtocolVersion::V5 && !reader.skip_zero();
        let payload_begin = if has_properties || start.topic_name.is_empty() {
            let empty_name = start.topic_name.is_empty().then_some(start.offset);
            Self::check_properties(reader, has_properties, empty_name)?
        } else {
            reader.offset()
        };
        // The header has 2 to 5 bytes, the length of the name 2; a frame is shorter than 2^29 bytes.
        let topic_begin = u8::try_from(start.offset.saturating_add(2)).unwrap_or(u8::MAX);
        let topic_length = u16::try_from(start.topic_name.len()).unwrap_or(u16::MAX);
        let payload_begin = u32::try_from(payload_begin).unwrap_or(u32::MAX);
        let identifier = start.packet_identifier.map_or(0, PacketIdentifier::get);
        let place =
            (u64::from(identifier) << 48) | (u64::from(topic_length) << 32) | u64::from(payload_begin);
        match NonZeroU64::new(place) {
            Some(place) => Ok(Parts {
                place,
                topic_begin,
                first,
                packet_type: PacketType::Publish,
                version: reader.context().version,
                receiver: reader.context().receiver,
            }),
            // Never: the payload comes behind a header.
            None => Err(reader.error(DecodeErrorKind::Truncated)),
        }
    }

    #[inline]
    const fn flags(self) -> u8 {
        self.first & 0x0F
    }

    #[inline]
    fn topic_name(self) -> Range<usize> {
        let [_, _, _, _, low, high, _, _] = self.place.get().to_le_bytes();
        let begin = usize::from(self.topic_begin);
        begin..begin.saturating_add(usize::from(u16::from_le_bytes([low, high])))
    }

    #[inline]
    fn payload_begin(self) -> usize {
        let [a, b, c, d, ..] = self.place.get().to_le_bytes();
        usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX)
    }

    #[inline]
    const fn packet_identifier(self) -> Option<PacketIdentifier> {
        let [_, _, _, _, _, _, low, high] = self.place.get().to_le_bytes();
        PacketIdentifier::new(u16::from_le_bytes([low, high]))
    }

    /// Gives the offset of the payload; `empty_name` is that of a Topic Name that is empty.
    #[inline(never)]
    fn check_properties<F: Fault>(
        mut reader: Reader<'_, F>,
        has_properties: bool,
        empty_name: Option<usize>,
    ) -> Result<usize, F> {
        let properties = if has_properties {
            PublishProperties::read(&mut reader)?
        } else {
            PublishProperties::default()
        };
        if let Some(offset) = empty_name {
            properties.check_alias(offset, &reader)?;
        }
        Ok(reader.offset())
    }
}

impl OwnedPublish {
    /// Takes the PUBLISH at the front of `buffer` out of it; `None` if it is not whole yet.
    ///
    /// # Errors
    ///
    /// What [`frame()`] and [`Publish::decode`] say (another packet is
    /// [`UnexpectedPacketType`](crate::DecodeErrorKind::UnexpectedPacketType)); `buffer` stays as it is.
    #[inline(always)]
    pub fn split_from(buffer: &mut BytesMut, options: &DecodeOptions) -> Result<Option<Self>, DecodeError> {
        let Framing::Complete(whole) = frame(buffer, options)? else {
            return Ok(None);
        };
        let parts = Parts::of(whole, options)?;
        let length = whole.len();
        Ok(Some(OwnedPublish {
            bytes: buffer.split_to(length).freeze(),
            parts,
        }))
    }

    /// Everything, borrowed; reads the bytes again, without checking them again.
    #[must_use]
    pub fn get(&self) -> Publish<'_> {
        self.known(Publish::decode)
            .expect("the constructors have decoded these bytes so")
    }

    /// Decodes what was decoded before for the same version and receiver.
    #[inline]
    fn known<'a, T>(
        &'a self,
        decode: impl FnOnce(Frame<'a>, &DecodeOptions) -> Result<T, DecodeError>,
    ) -> Option<T> {
        let options = DecodeOptions::new(self.parts.version, self.parts.receiver);
        match frame(&self.bytes, &options) {
            Ok(Framing::Complete(whole)) => decode(whole.known(), &options).ok(),
            _ => None,
        }
    }

    /// Whether this may be a repetition.
    #[inline]
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.parts.flags() & 0b1000 != 0
    }

    /// Quality of service.
    #[inline]
    #[must_use]
    pub const fn qos(&self) -> QoS {
        match self.parts.flags() & 0b0110 {
            0b0000 => QoS::AtMostOnce,
            0b0010 => QoS::AtLeastOnce,
            // A frame of QoS 3 is refused.
            _ => QoS::ExactlyOnce,
        }
    }

    /// Whether the message is to be retained.
    #[inline]
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.parts.flags() & 0b0001 != 0
    }

    /// Present above QoS 0.
    #[inline]
    #[must_use]
    pub const fn packet_identifier(&self) -> Option<PacketIdentifier> {
        self.parts.packet_identifier()
    }

    /// The version it was received in.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.parts.version
    }

    /// The Topic Name's bytes: UTF-8 without wildcards, empty only beside a Topic Alias.
    #[inline]
    #[must_use]
    pub fn topic_name_bytes(&self) -> &[u8] {
        self.bytes.get(self.parts.topic_name()).unwrap_or_default()
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
        self.bytes.get(self.parts.payload_begin()..).unwrap_or_default()
    }

    /// The payload, sharing the frame's memory.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        let mut payload = self.bytes.clone();
        payload.advance(self.parts.payload_begin().min(payload.len()));
        payload
    }

    /// The whole frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for OwnedPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
