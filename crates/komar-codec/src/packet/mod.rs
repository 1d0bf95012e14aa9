//! One file per packet. MQTT 5.0 §3.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod outgoing;
mod publish;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;
mod will;

use bytes::BufMut;

pub use ack::{AckProperties, PubAck, PubComp, PubRec, PubRel};
pub use auth::{Auth, AuthProperties};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectField, ConnectProperties};
pub use disconnect::{Disconnect, DisconnectProperties};
pub use outgoing::OutgoingPublish;
pub(crate) use publish::Start;
pub use publish::{PayloadFormat, Publish, PublishProperties};
pub use suback::{ReasonCodes, ReasonCodesIter, SubAck};
pub use subscribe::{RetainHandling, Subscribe, SubscribeFilters, SubscribeFiltersIter, SubscriptionOptions};
pub use unsuback::UnsubAck;
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters, UnsubscribeFiltersIter};
pub use will::{Will, WillProperties};

use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader, Unnamed};
use crate::write::{self, Body, Sink};
use crate::{DecodeOptions, EncodeError, Frame, PacketType, ProtocolVersion};

/// Any packet, borrowed from the bytes it was received in.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "packets live on the stack for the length of one call"
)]
pub enum Packet<'a> {
    /// CONNECT.
    Connect(Connect<'a>),
    /// CONNACK.
    ConnAck(ConnAck<'a>),
    /// PUBLISH.
    Publish(Publish<'a>),
    /// PUBACK.
    PubAck(PubAck<'a>),
    /// PUBREC.
    PubRec(PubRec<'a>),
    /// PUBREL.
    PubRel(PubRel<'a>),
    /// PUBCOMP.
    PubComp(PubComp<'a>),
    /// SUBSCRIBE.
    Subscribe(Subscribe<'a>),
    /// SUBACK.
    SubAck(SubAck<'a>),
    /// UNSUBSCRIBE.
    Unsubscribe(Unsubscribe<'a>),
    /// UNSUBACK.
    UnsubAck(UnsubAck<'a>),
    /// PINGREQ.
    PingReq,
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect(Disconnect<'a>),
    /// AUTH.
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Reads a packet of any type.
    ///
    /// # Errors
    ///
    /// What the packet's own `decode` says.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        match frame.packet_type() {
            PacketType::Publish => decode_any::<Publish<'_>>(frame, options),
            PacketType::PubAck => decode_any::<PubAck<'_>>(frame, options),
            PacketType::PubRec => decode_any::<PubRec<'_>>(frame, options),
            PacketType::PubRel => decode_any::<PubRel<'_>>(frame, options),
            PacketType::PubComp => decode_any::<PubComp<'_>>(frame, options),
            PacketType::PingReq | PacketType::PingResp => decode_ping(frame, options),
            PacketType::Connect => decode_any::<Connect<'_>>(frame, options),
            PacketType::ConnAck => decode_any::<ConnAck<'_>>(frame, options),
            PacketType::Subscribe => decode_any::<Subscribe<'_>>(frame, options),
            PacketType::SubAck => decode_any::<SubAck<'_>>(frame, options),
            PacketType::Unsubscribe => decode_any::<Unsubscribe<'_>>(frame, options),
            PacketType::UnsubAck => decode_any::<UnsubAck<'_>>(frame, options),
            PacketType::Disconnect => decode_any::<Disconnect<'_>>(frame, options),
            PacketType::Auth => decode_any::<Auth<'_>>(frame, options),
        }
    }

    /// Bytes that [`encode`](Self::encode) will write, fixed header included.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), without [`EncodeError::BufferFull`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        match self {
            Packet::Connect(packet) => packet.encoded_len(version),
            Packet::ConnAck(packet) => packet.encoded_len(version),
            Packet::Publish(packet) => packet.encoded_len(version),
            Packet::PubAck(packet) => packet.encoded_len(version),
            Packet::PubRec(packet) => packet.encoded_len(version),
            Packet::PubRel(packet) => packet.encoded_len(version),
            Packet::PubComp(packet) => packet.encoded_len(version),
            Packet::Subscribe(packet) => packet.encoded_len(version),
            Packet::SubAck(packet) => packet.encoded_len(version),
            Packet::Unsubscribe(packet) => packet.encoded_len(version),
            Packet::UnsubAck(packet) => packet.encoded_len(version),
            Packet::PingReq | Packet::PingResp => Ok(2),
            Packet::Disconnect(packet) => packet.encoded_len(version),
            Packet::Auth(packet) => packet.encoded_len(version),
        }
    }

    /// Writes the packet for a peer of that version, or nothing; a CONNECT for its own.
    ///
    /// # Errors
    ///
    /// What the packet's own `encode` says.
    pub fn encode(&self, version: ProtocolVersion, out: &mut impl BufMut) -> Result<(), EncodeError> {
        match self {
            Packet::Connect(packet) => packet.encode(version, out),
            Packet::ConnAck(packet) => packet.encode(version, out),
            Packet::Publish(packet) => packet.encode(version, out),
            Packet::PubAck(packet) => packet.encode(version, out),
            Packet::PubRec(packet) => packet.encode(version, out),
            Packet::PubRel(packet) => packet.encode(version, out),
            Packet::PubComp(packet) => packet.encode(version, out),
            Packet::Subscribe(packet) => packet.encode(version, out),
            Packet::SubAck(packet) => packet.encode(version, out),
            Packet::Unsubscribe(packet) => packet.encode(version, out),
            Packet::UnsubAck(packet) => packet.encode(version, out),
            Packet::PingReq => write::encode(&Ping(PacketType::PingReq), version, out),
            Packet::PingResp => write::encode(&Ping(PacketType::PingResp), version, out),
            Packet::Disconnect(packet) => packet.encode(version, out),
            Packet::Auth(packet) => packet.encode(version, out),
        }
    }

    /// The packet's type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

macro_rules! packets {
    ($($packet:ident)*) => {$(
        impl<'a> From<$packet<'a>> for Packet<'a> {
            #[inline]
            fn from(packet: $packet<'a>) -> Self {
                Packet::$packet(packet)
            }
        }
    )*};
}

packets!(Connect ConnAck Publish PubAck PubRec PubRel PubComp Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth);

/// A packet that can be read.
pub(crate) trait Decode<'a>: Sized {
    const PACKET_TYPE: PacketType;

    /// Reads the body; fixed header and type are checked.
    fn read<F: Fault>(reader: Reader<'a, F>) -> Result<Self, F>;
}

/// Reads a packet that is to be of that type: quickly, and a second time if there is a fault that needs a name.
#[inline(always)]
fn decode<'a, T: Decode<'a>>(frame: Frame<'a>, options: &DecodeOptions) -> Result<T, DecodeError> {
    if frame.packet_type() != T::PACKET_TYPE {
        return Err(frame
            .reader::<DecodeError>(options)
            .error_at(0, DecodeErrorKind::UnexpectedPacketType));
    }
    match T::read(frame.reader::<Unnamed>(options)) {
        Ok(packet) => Ok(packet),
        Err(Unnamed) => decode_again(frame, options),
    }
}

/// As [`decode`]. A function for each type: where their results come together in one, that copies them about.
#[inline(never)]
fn decode_any<'a, T>(frame: Frame<'a>, options: &DecodeOptions) -> Result<Packet<'a>, DecodeError>
where
    T: Decode<'a>,
    Packet<'a>: From<T>,
{
    match T::read(frame.reader::<Unnamed>(options)) {
        Ok(packet) => Ok(packet.into()),
        Err(Unnamed) => decode_again::<T>(frame, options).map(Packet::from),
    }
}

#[inline(never)]
fn decode_ping<'a>(frame: Frame<'a>, options: &DecodeOptions) -> Result<Packet<'a>, DecodeError> {
    frame.reader::<DecodeError>(options).finish()?;
    Ok(match frame.packet_type() {
        PacketType::PingReq => Packet::PingReq,
        _ => Packet::PingResp,
    })
}

#[cold]
#[inline(never)]
fn decode_again<'a, T: Decode<'a>>(frame: Frame<'a>, options: &DecodeOptions) -> Result<T, DecodeError> {
    T::read(frame.reader::<DecodeError>(options))
}

/// PINGREQ or PINGRESP: a fixed header and nothing else. MQTT 5.0 §3.12, §3.13.
struct Ping(PacketType);

impl Body for Ping {
    fn first_byte(&self) -> u8 {
        write::first_byte(self.0)
    }

    fn check(&self, _: ProtocolVersion) -> Result<(), EncodeError> {
        Ok(())
    }

    fn write(&self, _: ProtocolVersion, _: &mut impl Sink) {}
}

/// The Reason Code has to be one of the packet's.
fn check_reason_code(reason_code: crate::ReasonCode, packet_type: PacketType) -> Result<(), EncodeError> {
    if reason_code.allowed_in(packet_type) {
        Ok(())
    } else {
        Err(EncodeError::ReasonCode {
            reason_code,
            packet_type,
        })
    }
}
