//! What both sides of a connection have agreed on: version, direction, limits.

use core::num::NonZeroU16;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V3_1,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V3_1_1,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

impl ProtocolVersion {
    /// The Protocol Name in CONNECT. MQTT 5.0 §3.1.2.1.
    #[must_use]
    pub const fn protocol_name(self) -> &'static str {
        match self {
            ProtocolVersion::V3_1 => "MQIsdp",
            ProtocolVersion::V3_1_1 | ProtocolVersion::V5 => "MQTT",
        }
    }

    /// The Protocol Version (Protocol Level in 3.1.1) in CONNECT. MQTT 5.0 §3.1.2.2.
    #[must_use]
    pub const fn protocol_level(self) -> u8 {
        match self {
            ProtocolVersion::V3_1 => 3,
            ProtocolVersion::V3_1_1 => 4,
            ProtocolVersion::V5 => 5,
        }
    }
}

/// How certain the delivery of an Application Message is. MQTT 5.0 §4.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level that `value` stands for; `None` above 2.
    #[inline]
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    #[inline]
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        match self {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 1,
            QoS::ExactlyOnce => 2,
        }
    }
}

/// The number of an exchange that has an answer, never 0. MQTT 5.0 §2.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentifier(NonZeroU16);

impl PacketIdentifier {
    /// The smallest identifier, 1.
    pub const MIN: Self = PacketIdentifier(NonZeroU16::MIN);

    /// `None` for 0.
    #[inline]
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(PacketIdentifier(value)),
            None => None,
        }
    }

    /// 1 to 65,535.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl From<NonZeroU16> for PacketIdentifier {
    fn from(value: NonZeroU16) -> Self {
        PacketIdentifier(value)
    }
}

/// Who receives what is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A server, which decodes what clients send.
    Server,
    /// A client, which decodes what a server sends.
    Client,
}

/// What is done about characters that a string should not have, but that a receiver may accept.
///
/// U+0000, surrogates and ill-formed UTF-8 are always refused. MQTT 5.0 §1.5.4, MQTT 3.1.1 §1.5.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Utf8Policy {
    /// Control characters and non-characters are accepted.
    #[default]
    Permissive,
    /// U+0001..U+001F, U+007F..U+009F, U+FDD0..U+FDEF and U+xxFFFE, U+xxFFFF are malformed.
    Strict,
}

/// How bytes are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// The version that the CONNECT of this connection had. Before CONNECT it may be any: CONNECT itself names its
    /// version.
    pub version: ProtocolVersion,
    /// Who receives.
    pub receiver: Role,
    /// Longest frame that is accepted, in bytes, fixed header included. MQTT 5.0 §3.1.2.11.4.
    pub maximum_packet_size: u32,
    /// Whether control characters and non-characters are refused.
    pub utf8: Utf8Policy,
}

impl DecodeOptions {
    /// Options without a size limit of their own, that accept every string the protocol does.
    #[must_use]
    pub const fn new(version: ProtocolVersion, receiver: Role) -> Self {
        DecodeOptions {
            version,
            receiver,
            maximum_packet_size: u32::MAX,
            utf8: Utf8Policy::Permissive,
        }
    }
}
