//! Finds frames in a stream of bytes. MQTT 5.0 §2.1.

use core::fmt;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Context, Fault, Reader, variable_byte_integer};
use crate::text;
use crate::{DecodeOptions, ProtocolVersion, QoS, Role};

/// What a packet is for. MQTT 5.0 §2.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Client to server: connection request.
    Connect = 1,
    /// Server to client: answer to CONNECT.
    ConnAck,
    /// Both ways: an Application Message.
    Publish,
    /// Both ways: answer to a PUBLISH of QoS 1.
    PubAck,
    /// Both ways: first answer to a PUBLISH of QoS 2.
    PubRec,
    /// Both ways: answer to PUBREC.
    PubRel,
    /// Both ways: answer to PUBREL.
    PubComp,
    /// Client to server: subscription request.
    Subscribe,
    /// Server to client: answer to SUBSCRIBE.
    SubAck,
    /// Client to server: unsubscribe request.
    Unsubscribe,
    /// Server to client: answer to UNSUBSCRIBE.
    UnsubAck,
    /// Client to server: sign of life.
    PingReq,
    /// Server to client: answer to PINGREQ.
    PingResp,
    /// Client to server, in 5.0 both ways: end of the connection.
    Disconnect,
    /// Both ways, 5.0 only: authentication exchange.
    Auth,
}

impl PacketType {
    /// The type of that number; `None` for 0, which is reserved, and above 15.
    #[inline]
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// 1 to 15.
    #[inline]
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a repr(u8) enum is its u8"
    )]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether the other side may send this packet to the receiver in a version. MQTT 5.0 §2.1.2, MQTT 3.1.1 §2.2.1.
    #[must_use]
    pub const fn may_be_sent_to(self, receiver: Role, version: ProtocolVersion) -> bool {
        match self {
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp => true,
            PacketType::Auth => matches!(version, ProtocolVersion::V5),
            PacketType::Connect | PacketType::Subscribe | PacketType::Unsubscribe | PacketType::PingReq => {
                matches!(receiver, Role::Server)
            }
            PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
                matches!(receiver, Role::Client)
            }
            PacketType::Disconnect => {
                matches!(receiver, Role::Server) || matches!(version, ProtocolVersion::V5)
            }
        }
    }

    /// The low four bits of the first byte; those of PUBLISH vary. MQTT 5.0 §2.1.3.
    pub(crate) const fn fixed_flags(self) -> u8 {
        match self {
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}

/// One whole packet whose fixed header has been checked, and whose body has not.
///
/// Decode it with the options that it was found with: what the fixed header was checked for (size, direction, flags) is not
/// looked at again.
///
/// `Debug` does not show the bytes: there may be a password among them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    packet_type: PacketType,
    /// Bytes of the fixed header, 2 to 5: `bytes` has as many.
    header: u8,
    first: u8,
    /// Whether a packet was decoded from these bytes before, with the same options.
    is_known: bool,
}

impl<'a> Frame<'a> {
    /// The packet's type.
    #[inline]
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        self.packet_type
    }

    /// The low four bits of the first byte.
    #[inline]
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.first & 0x0F
    }

    #[inline]
    pub(crate) const fn first_byte(&self) -> u8 {
        self.first
    }

    /// What follows the fixed header: variable header and payload.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(usize::from(self.header)..).unwrap_or_default()
    }

    /// All bytes, fixed header included.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of all bytes, fixed header included; at least 2.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The frame of a packet that was decoded from these bytes before, with the same options: strings need not be
    /// looked at again.
    #[inline]
    pub(crate) const fn known(self) -> Self {
        Frame {
            is_known: true,
            ..self
        }
    }

    /// A reader of the body.
    #[inline]
    pub(crate) fn reader<F: Fault>(&self, options: &DecodeOptions) -> Reader<'a, F> {
        Reader::new(
            self.body(),
            self.bytes.len(),
            Context {
                version: options.version,
                packet_type: self.packet_type,
                receiver: options.receiver,
                flags: self.flags(),
                text: if self.is_known {
                    text::Check::Known
                } else {
                    text::Check::All(options.utf8)
                },
            },
        )
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("packet_type", &self.packet_type)
            .field("flags", &self.flags())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// What the front of a stream of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A whole packet.
    Complete(Frame<'a>),
    /// The beginning of a packet.
    Incomplete {
        /// So many bytes more are needed, at the least, before it is worth looking again; at least 1. With them the packet
        /// is whole, once the fixed header is (but for a CONNECT with flags, whose version is looked at before).
        needed: usize,
    },
}

/// Finds the packet at the front of `input`, which may be any beginning of a stream of packets.
///
/// Looks at the fixed header only, allocates nothing, and keeps nothing: the answer for an incomplete packet says when
/// to ask again ([`Framer`] remembers that).
///
/// # Errors
///
/// The same for all pieces in which the bytes may come: a Remaining Length that is too long or longer than necessary, before
/// anything else; then a reserved packet type, wrong flags, QoS 3 or DUP at QoS 0 in a PUBLISH, a packet type that is sent in
/// the other direction only; then a packet of more than [`DecodeOptions::maximum_packet_size`]. Wrong flags of a CONNECT,
/// which 3.1 allows, are told with its version, nine bytes behind the fixed header; one to a client is refused at once. A
/// PINGREQ or PINGRESP with a body has surplus bytes, whoever sends it. MQTT 5.0 §2.1, MQTT 3.1.1 §2.2.
#[inline(always)]
pub fn frame<'a>(input: &'a [u8], options: &DecodeOptions) -> Result<Framing<'a>, DecodeError> {
    let (header, total) = match short_header(input, options) {
        Some(found) => found,
        None => match any_header(input, options)? {
            Header::Whole { header, total } => (header, total),
            Header::Incomplete { needed } => return Ok(Framing::Incomplete { needed }),
        },
    };
    let first = input.first().copied().unwrap_or_default();
    match (input.split_at_checked(total), PacketType::from_u8(first >> 4)) {
        (Some((bytes, _)), Some(packet_type)) => Ok(Framing::Complete(Frame {
            bytes,
            packet_type,
            header,
            first,
            is_known: false,
        })),
        _ => Ok(Framing::Incomplete {
            needed: total.saturating_sub(input.len()).max(1),
        }),
    }
}

/// Bytes of the fixed header and of the packet, if the Remaining Length has one or two bytes and nothing is wrong.
#[inline(always)]
fn short_header(input: &[u8], options: &DecodeOptions) -> Option<(u8, usize)> {
    let (first, header, length) = match input {
        [first, length @ 0..0x80, ..] => (*first, 2, u16::from(*length)),
        // Two bytes whose second is 0 are not the shortest form.
        [first, low, high @ 1..0x80, ..] => (*first, 3, u16::from(*low & 0x7F) | (u16::from(*high) << 7)),
        _ => return None,
    };
    let total = usize::from(length).saturating_add(usize::from(header));
    let maximum = usize::try_from(options.maximum_packet_size).unwrap_or(usize::MAX);
    (is_right_first_byte(first, options) && total <= maximum).then_some((header, total))
}

/// What a fixed header says.
enum Header {
    /// Bytes of the fixed header, and of the packet.
    Whole { header: u8, total: usize },
    /// As in [`Framing`].
    Incomplete { needed: usize },
}

#[inline(never)]
fn any_header(input: &[u8], options: &DecodeOptions) -> Result<Header, DecodeError> {
    let [first, rest @ ..] = input else {
        return Ok(Header::Incomplete { needed: 2 });
    };
    let packet_type = PacketType::from_u8(*first >> 4);
    let error = |offset, kind| DecodeError::new(kind, offset, options.version, options.receiver, packet_type);
    let is_right = check_first_byte(*first, options);
    let (length, behind) = match variable_byte_integer(rest) {
        Ok(Some(found)) => found,
        // Nothing is said before the fixed header is whole, so that the pieces in which it comes make no difference.
        Ok(None) => return Ok(Header::Incomplete { needed: 1 }),
        // Then nothing is known to be a packet, and that comes first.
        Err(kind) => return Err(error(1, kind)),
    };
    let header = input.len().saturating_sub(behind.len());
    let total = header.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    let is_connect = packet_type == Some(PacketType::Connect);
    match is_right {
        Err(DecodeErrorKind::FixedHeaderFlags) if is_connect => {}
        Err(DecodeErrorKind::WrongDirection)
            if length > 0 && matches!(packet_type, Some(PacketType::PingReq | PacketType::PingResp)) =>
        {
            return Err(error(header, DecodeErrorKind::TrailingBytes));
        }
        Err(kind) => return Err(error(0, kind)),
        Ok(()) => {}
    }
    // v5 §3.1.2.11.4: the whole packet counts.
    if total > usize::try_from(options.maximum_packet_size).unwrap_or(usize::MAX) {
        return Err(error(1, DecodeErrorKind::PacketTooLarge));
    }
    if is_right.is_err() {
        // What 3.1 calls unused is ignored; whether it is 3.1 is said behind the fixed header.
        let missing = V3_1_START.len().saturating_sub(behind.len());
        if total.saturating_sub(header) < V3_1_START.len() || missing == 0 && !behind.starts_with(V3_1_START)
        {
            return Err(error(0, DecodeErrorKind::FixedHeaderFlags));
        }
        if missing > 0 {
            return Ok(Header::Incomplete { needed: missing });
        }
    }
    Ok(Header::Whole {
        // Five at the most.
        header: u8::try_from(header).unwrap_or(u8::MAX),
        total,
    })
}

/// What a CONNECT of 3.1 begins with, behind its fixed header.
const V3_1_START: &[u8] = b"\x00\x06MQIsdp\x03";

/// Type and flags. MQTT 5.0 §2.1.2, §2.1.3.
fn check_first_byte(first: u8, options: &DecodeOptions) -> Result<(), DecodeErrorKind> {
    let flags = first & 0x0F;
    let version = options.version;
    match PacketType::from_u8(first >> 4) {
        None => Err(DecodeErrorKind::ReservedPacketType),
        Some(PacketType::Publish) => match flags {
            // v5 [MQTT-3.3.1-4], v3 [MQTT-3.3.1-4]
            _ if flags & 0b0110 == 0b0110 => Err(DecodeErrorKind::QoS),
            // v5 [MQTT-3.3.1-2], v3 [MQTT-3.3.1-2]
            _ if flags & 0b1110 == 0b1000 => Err(DecodeErrorKind::DupAtQoS0),
            _ => Ok(()),
        },
        Some(PacketType::Auth) if version != ProtocolVersion::V5 => Err(DecodeErrorKind::ReservedPacketType),
        Some(packet_type) => {
            let is_wrong_way = !packet_type.may_be_sent_to(options.receiver, version);
            // The flags of a CONNECT may be waived later, its direction may not.
            if is_wrong_way && packet_type == PacketType::Connect {
                return Err(DecodeErrorKind::WrongDirection);
            }
            // v5 [MQTT-2.1.3-1], v3 [MQTT-2.2.2-2]
            if flags != packet_type.fixed_flags() && !is_lenient(packet_type, version) {
                return Err(DecodeErrorKind::FixedHeaderFlags);
            }
            if is_wrong_way {
                return Err(DecodeErrorKind::WrongDirection);
            }
            Ok(())
        }
    }
}

/// Whether [`check_first_byte`] accepts the byte, found out without a branch for each type; `false` says nothing.
#[inline]
fn is_right_first_byte(first: u8, options: &DecodeOptions) -> bool {
    let (number, flags) = (first >> 4, first & 0x0F);
    if number == PacketType::Publish.as_u8() {
        return flags & 0b0110 != 0b0110 && flags & 0b1110 != 0b1000;
    }
    let expected = if PacketSet::FLAGGED.contains(number) {
        0b0010
    } else {
        0
    };
    PacketSet::received(options).contains(number) && flags == expected
}

/// Packet types: bit n is the type of number n.
#[derive(Clone, Copy)]
struct PacketSet(u16);

impl PacketSet {
    /// Those whose flags are 0010.
    const FLAGGED: Self = PacketSet(0)
        .with(PacketType::PubRel)
        .with(PacketType::Subscribe)
        .with(PacketType::Unsubscribe);

    /// Those that a receiver may get.
    #[inline]
    fn received(options: &DecodeOptions) -> Self {
        const SERVER_V3: PacketSet = PacketSet::sent_to(Role::Server, ProtocolVersion::V3_1_1);
        const SERVER_V5: PacketSet = PacketSet::sent_to(Role::Server, ProtocolVersion::V5);
        const CLIENT_V3: PacketSet = PacketSet::sent_to(Role::Client, ProtocolVersion::V3_1_1);
        const CLIENT_V5: PacketSet = PacketSet::sent_to(Role::Client, ProtocolVersion::V5);
        match (options.receiver, options.version) {
            (Role::Server, ProtocolVersion::V5) => SERVER_V5,
            (Role::Server, _) => SERVER_V3,
            (Role::Client, ProtocolVersion::V5) => CLIENT_V5,
            (Role::Client, _) => CLIENT_V3,
        }
    }

    const fn sent_to(receiver: Role, version: ProtocolVersion) -> Self {
        let mut set = PacketSet(0);
        let mut number = 1_u8;
        while let Some(packet_type) = PacketType::from_u8(number) {
            if packet_type.may_be_sent_to(receiver, version) {
                set = set.with(packet_type);
            }
            number = number.saturating_add(1);
        }
        set
    }

    const fn with(self, packet_type: PacketType) -> Self {
        PacketSet(self.0 | Self::bit(packet_type.as_u8()))
    }

    #[inline]
    const fn contains(self, number: u8) -> bool {
        self.0 & Self::bit(number) != 0
    }

    #[inline]
    const fn bit(number: u8) -> u16 {
        1_u16.wrapping_shl(u32::from_le_bytes([number, 0, 0, 0]))
    }
}

/// MQTT 3.1 uses DUP in SUBSCRIBE, UNSUBSCRIBE and PUBREL, and calls the flags of other packets unused (section 2.1).
/// CONNECT comes before the version is known, and is looked at by [`any_header`].
fn is_lenient(packet_type: PacketType, version: ProtocolVersion) -> bool {
    version == ProtocolVersion::V3_1 && packet_type != PacketType::Connect
}

/// QoS of a PUBLISH with these flags.
#[inline]
pub(crate) fn publish_qos(flags: u8) -> Option<QoS> {
    QoS::from_u8((flags >> 1) & 0b11)
}

/// Remembers how long a buffer has to be before it is worth looking for a frame again, for callers that get a packet
/// in many small pieces: one comparison a piece, however long the packet.
///
/// ```
/// use komar_codec::{DecodeOptions, Framer, Framing, ProtocolVersion, Role};
///
/// # fn main() -> Result<(), komar_codec::DecodeError> {
/// let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
/// let packet = b"\x30\x07\x00\x03a/b\x00!";
/// let mut framer = Framer::new();
/// assert_eq!(framer.frame(&packet[..4], &options)?, Framing::Incomplete { needed: 5 });
/// assert_eq!(framer.frame(&packet[..8], &options)?, Framing::Incomplete { needed: 1 });
/// assert!(matches!(framer.frame(packet, &options)?, Framing::Complete(whole) if whole.len() == 9));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framer {
    /// Bytes from the front of the packet; 0 between packets.
    wanted: usize,
}

impl Framer {
    /// A framer between two packets.
    #[must_use]
    pub const fn new() -> Self {
        Framer { wanted: 0 }
    }

    /// As [`frame()`], for a buffer that begins with the same packet as at the last call if that was incomplete.
    ///
    /// # Errors
    ///
    /// As [`frame()`].
    #[inline(always)]
    pub fn frame<'a>(
        &mut self,
        input: &'a [u8],
        options: &DecodeOptions,
    ) -> Result<Framing<'a>, DecodeError> {
        let missing = self.wanted.saturating_sub(input.len());
        if missing > 0 {
            return Ok(Framing::Incomplete { needed: missing });
        }
        // Also after an error: the caller may go on with other bytes.
        self.wanted = 0;
        let framing = frame(input, options)?;
        if let Framing::Incomplete { needed } = framing {
            self.wanted = input.len().saturating_add(needed);
        }
        Ok(framing)
    }

    /// Bytes that are missing behind `have` bytes of a packet before it is worth looking again, as in [`Framing::Incomplete`];
    /// 0 between packets, and when they have come.
    #[inline]
    #[must_use]
    pub const fn needed(&self, have: usize) -> usize {
        self.wanted.saturating_sub(have)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags of a CONNECT are right or wrong once its version is there, however long it says it is.
    #[test]
    fn a_framer_does_not_wait_for_the_rest_of_a_connect_with_wrong_flags() {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
        let mut framer = Framer::new();
        let bytes = b"\x11\xFF\x7F\x00\x06MQIsdp\x04";
        for have in 3..bytes.len() {
            let needed = bytes.len() - have;
            assert_eq!(
                framer.frame(&bytes[..have], &options),
                Ok(Framing::Incomplete { needed })
            );
        }
        let error = framer.frame(bytes, &options).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::FixedHeaderFlags);
    }

    /// What comes behind an error is looked at from its own beginning.
    #[test]
    fn a_framer_forgets_what_it_wanted_for_bytes_that_were_wrong() {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
        let mut framer = Framer::new();
        let wrong = [0x30, 0x80, 0x80, 0x80, 0x80];
        for length in 1..wrong.len() {
            assert_eq!(
                framer.frame(&wrong[..length], &options),
                Ok(Framing::Incomplete { needed: 1 })
            );
        }
        assert!(framer.frame(&wrong, &options).is_err());
        assert_eq!(framer, Framer::new());
        assert_eq!(framer.frame(&[0xC0, 0], &options), frame(&[0xC0, 0], &options));
    }
}
