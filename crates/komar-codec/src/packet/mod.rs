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
pub use connect::{Connect, ConnectProperties};
pub use disconnect::{Disconnect, DisconnectProperties};
pub use outgoing::OutgoingPublish;
pub(crate) use publish::Start;
pub use publish::{PayloadFormat, Publish, PublishProperties};
pub use suback::{ReasonCodes, ReasonCodesIter, SubAck};
pub use subscribe::{RetainHandling, Subscribe, SubscribeFilters, SubscribeFiltersIter, SubscriptionOptions};
pub use unsuback::UnsubAck;
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters, UnsubscribeFiltersIter};
pub use will::{Will, WillProperties};

use crate::error::DecodeError;
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
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        Ok(match frame.packet_type() {
            PacketType::Publish => Packet::Publish(Publish::decode(frame, options)?),
            PacketType::PubAck => Packet::PubAck(PubAck::decode(frame, options)?),
            PacketType::PubRec => Packet::PubRec(PubRec::decode(frame, options)?),
            PacketType::PubRel => Packet::PubRel(PubRel::decode(frame, options)?),
            PacketType::PubComp => Packet::PubComp(PubComp::decode(frame, options)?),
            PacketType::PingReq => {
                frame.reader(PacketType::PingReq, options)?.finish()?;
                Packet::PingReq
            }
            PacketType::PingResp => {
                frame.reader(PacketType::PingResp, options)?.finish()?;
                Packet::PingResp
            }
            PacketType::Connect => Packet::Connect(Connect::decode(frame, options)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(frame, options)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(frame, options)?),
            PacketType::SubAck => Packet::SubAck(SubAck::decode(frame, options)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(frame, options)?),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(frame, options)?),
            PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(frame, options)?),
            PacketType::Auth => Packet::Auth(Auth::decode(frame, options)?),
        })
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

    /// Writes the packet for a peer of that version, or nothing.
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
