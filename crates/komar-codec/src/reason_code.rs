//! Reason Codes, and the packets that may carry each.

use crate::{PacketType, QoS, Role};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// The result of an operation. MQTT 5.0 §2.4.
        ///
        /// Return codes of 3.1 and 3.1.1 are translated: a CONNACK or SUBACK of any version has these codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// Every code, in ascending order.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name,)*];

            /// The code of that number; `None` if the specification has none.
            #[inline]
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(ReasonCode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    /// Success; Normal disconnection; Granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// Disconnect with Will Message.
    DisconnectWithWillMessage = 0x04,
    /// No matching subscribers.
    NoMatchingSubscribers = 0x10,
    /// No subscription existed.
    NoSubscriptionExisted = 0x11,
    /// Continue authentication.
    ContinueAuthentication = 0x18,
    /// Re-authenticate.
    ReAuthenticate = 0x19,
    /// Unspecified error; in a SUBACK of 3.1.1 every failure.
    UnspecifiedError = 0x80,
    /// Malformed Packet.
    MalformedPacket = 0x81,
    /// Protocol Error.
    ProtocolError = 0x82,
    /// Implementation specific error.
    ImplementationSpecificError = 0x83,
    /// Unsupported Protocol Version; return code 1 of 3.x.
    UnsupportedProtocolVersion = 0x84,
    /// Client Identifier not valid; return code 2 of 3.x.
    ClientIdentifierNotValid = 0x85,
    /// Bad User Name or Password; return code 4 of 3.x.
    BadUserNameOrPassword = 0x86,
    /// Not authorized; return code 5 of 3.x.
    NotAuthorized = 0x87,
    /// Server unavailable; return code 3 of 3.x.
    ServerUnavailable = 0x88,
    /// Server busy.
    ServerBusy = 0x89,
    /// Banned.
    Banned = 0x8A,
    /// Server shutting down.
    ServerShuttingDown = 0x8B,
    /// Bad authentication method.
    BadAuthenticationMethod = 0x8C,
    /// Keep Alive timeout.
    KeepAliveTimeout = 0x8D,
    /// Session taken over.
    SessionTakenOver = 0x8E,
    /// Topic Filter invalid.
    TopicFilterInvalid = 0x8F,
    /// Topic Name invalid.
    TopicNameInvalid = 0x90,
    /// Packet Identifier in use.
    PacketIdentifierInUse = 0x91,
    /// Packet Identifier not found.
    PacketIdentifierNotFound = 0x92,
    /// Receive Maximum exceeded.
    ReceiveMaximumExceeded = 0x93,
    /// Topic Alias invalid.
    TopicAliasInvalid = 0x94,
    /// Packet too large.
    PacketTooLarge = 0x95,
    /// Message rate too high.
    MessageRateTooHigh = 0x96,
    /// Quota exceeded.
    QuotaExceeded = 0x97,
    /// Administrative action.
    AdministrativeAction = 0x98,
    /// Payload format invalid.
    PayloadFormatInvalid = 0x99,
    /// Retain not supported.
    RetainNotSupported = 0x9A,
    /// QoS not supported.
    QoSNotSupported = 0x9B,
    /// Use another server.
    UseAnotherServer = 0x9C,
    /// Server moved.
    ServerMoved = 0x9D,
    /// Shared Subscriptions not supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connection rate exceeded.
    ConnectionRateExceeded = 0x9F,
    /// Maximum connect time.
    MaximumConnectTime = 0xA0,
    /// Subscription Identifiers not supported.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// Wildcard Subscriptions not supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// 0x00 in DISCONNECT.
    pub const NORMAL_DISCONNECTION: Self = ReasonCode::Success;
    /// 0x00 in SUBACK.
    pub const GRANTED_QOS_0: Self = ReasonCode::Success;

    /// The number on the wire.
    #[inline]
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "the discriminant of a repr(u8) enum is its u8"
    )]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether the operation failed: 0x80 or above. MQTT 5.0 §2.4.
    #[inline]
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// Whether a 5.0 packet of that type may carry this code, whoever sends it: see [`ReasonCode::may_be_sent_to`].
    ///
    /// The tables of MQTT 5.0 §3.2.2.2, §3.4.2.1 to §3.7.2.1, §3.9.3, §3.11.3, §3.14.2.1 and §3.15.2.1. Types without
    /// a Reason Code carry none.
    #[must_use]
    pub const fn allowed_in(self, packet_type: PacketType) -> bool {
        let code = self.as_u8();
        match packet_type {
            // v5 [MQTT-3.2.2-8]
            PacketType::ConnAck => matches!(
                code,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            // v5 [MQTT-3.4.2-1], v5 [MQTT-3.5.2-1]
            PacketType::PubAck | PacketType::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            // v5 [MQTT-3.6.2-1], v5 [MQTT-3.7.2-1]
            PacketType::PubRel | PacketType::PubComp => matches!(code, 0x00 | 0x92),
            // v5 [MQTT-3.9.3-2]
            PacketType::SubAck => matches!(
                code,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            // v5 [MQTT-3.11.3-2]
            PacketType::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            // v5 [MQTT-3.14.2-1]
            PacketType::Disconnect => matches!(
                code,
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2
            ),
            // v5 [MQTT-3.15.2-1]
            PacketType::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => false,
        }
    }

    /// Whether a 5.0 packet of that type may carry this code to that receiver: as [`ReasonCode::allowed_in`], without the
    /// codes of DISCONNECT and AUTH that only the receiver itself may send.
    ///
    /// The columns "Sent by" of MQTT 5.0 §3.14.2.1 and §3.15.2.1. The other tables have no such column; that 0x10 comes from
    /// servers is a remark there, and changes nothing for who gets it.
    #[must_use]
    pub const fn may_be_sent_to(self, receiver: Role, packet_type: PacketType) -> bool {
        let only_receiver_sends = match (packet_type, receiver) {
            (PacketType::Disconnect, Role::Server) => {
                matches!(self.as_u8(), 0x87 | 0x89 | 0x8B | 0x8D..=0x8F | 0x9A..=0xA2)
            }
            (PacketType::Disconnect, Role::Client) => matches!(self.as_u8(), 0x04),
            (PacketType::Auth, Role::Server) => matches!(self.as_u8(), 0x00),
            (PacketType::Auth, Role::Client) => matches!(self.as_u8(), 0x19),
            _ => false,
        };
        self.allowed_in(packet_type) && !only_receiver_sends
    }

    /// The SUBACK code that grants this QoS. MQTT 5.0 §3.9.3.
    #[must_use]
    pub const fn granted(maximum_qos: QoS) -> Self {
        match maximum_qos {
            QoS::AtMostOnce => ReasonCode::GRANTED_QOS_0,
            QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
            QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
        }
    }

    /// The return code of a CONNACK of 3.1 and 3.1.1. MQTT 3.1.1 §3.2.2.3.
    ///
    /// 0x00 and 0x84 to 0x88 have counterparts. What 3.x has no word for becomes the nearest: 3, server unavailable, where the
    /// client may come again or elsewhere (0x89 busy, 0x97 quota exceeded, 0x9C and 0x9D another server, 0x9F rate exceeded),
    /// and 5, not authorized, for every other refusal. A server that would rather say nothing than something inexact closes
    /// the connection instead. v3 [MQTT-3.2.2-6]
    #[must_use]
    pub const fn to_v3_connect_return_code(self) -> u8 {
        match self {
            ReasonCode::Success => 0,
            ReasonCode::UnsupportedProtocolVersion => 1,
            ReasonCode::ClientIdentifierNotValid => 2,
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::QuotaExceeded
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::ConnectionRateExceeded => 3,
            ReasonCode::BadUserNameOrPassword => 4,
            _ => 5,
        }
    }

    /// What a CONNACK return code of 3.1 and 3.1.1 means; `None` above 5.
    #[must_use]
    pub const fn from_v3_connect_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(ReasonCode::Success),
            1 => Some(ReasonCode::UnsupportedProtocolVersion),
            2 => Some(ReasonCode::ClientIdentifierNotValid),
            3 => Some(ReasonCode::ServerUnavailable),
            4 => Some(ReasonCode::BadUserNameOrPassword),
            5 => Some(ReasonCode::NotAuthorized),
            _ => None,
        }
    }

    /// The return code of a SUBACK of 3.1 and 3.1.1: failures are all 0x80. v3 [MQTT-3.9.3-2]
    #[must_use]
    pub const fn to_v3_subscribe_return_code(self) -> u8 {
        match self {
            ReasonCode::Success => 0,
            ReasonCode::GrantedQoS1 => 1,
            ReasonCode::GrantedQoS2 => 2,
            _ => 0x80,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_each_others_inverse() {
        for value in 0..=u8::MAX {
            assert!(ReasonCode::from_u8(value).is_none_or(|code| code.as_u8() == value));
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
        for &code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_u8(code.as_u8()), Some(code));
            assert_eq!(code.is_error(), code >= ReasonCode::UnspecifiedError);
        }
    }

    #[test]
    fn return_codes_survive_the_translation() {
        for value in 0..=5 {
            let code = ReasonCode::from_v3_connect_return_code(value).unwrap();
            assert_eq!(code.to_v3_connect_return_code(), value);
        }
        assert_eq!(ReasonCode::from_v3_connect_return_code(6), None);
        assert_eq!(ReasonCode::Banned.to_v3_connect_return_code(), 5);
        assert_eq!(ReasonCode::QuotaExceeded.to_v3_subscribe_return_code(), 0x80);
    }
}
