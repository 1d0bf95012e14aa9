//! What can be wrong with bytes, and with packets.

use thiserror::Error;

use crate::statement;
use crate::{PacketType, PropertyId, ProtocolVersion, ReasonCode, Role};

/// Why bytes are no packet: small, `Copy`, made without allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind}, at byte {offset} of the packet")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    version: ProtocolVersion,
    receiver: Role,
    packet_type: Option<PacketType>,
    offset: u32,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The packet ends before a field does.
    #[error("packet ends inside a field")]
    Truncated,
    /// The packet goes on after its last field.
    #[error("bytes after the last field")]
    TrailingBytes,
    /// Packet type 0, or AUTH before 5.0. MQTT 5.0 §2.1.2.
    #[error("reserved packet type")]
    ReservedPacketType,
    /// A packet that only this side sends.
    #[error("packet type goes in the other direction only")]
    WrongDirection,
    /// The frame holds a packet of another type than the one that was asked for.
    #[error("packet is of another type than expected")]
    UnexpectedPacketType,
    /// Reserved bits of the fixed header have other values than MQTT 5.0 §2.1.3 says.
    #[error("invalid fixed header flags")]
    FixedHeaderFlags,
    /// The frame is longer than [`maximum_packet_size`](crate::DecodeOptions::maximum_packet_size).
    #[error("packet too large")]
    PacketTooLarge,
    /// A Remaining Length or another Variable Byte Integer of more than four bytes.
    #[error("variable byte integer longer than four bytes")]
    VariableByteIntegerTooLong,
    /// A Remaining Length or another Variable Byte Integer that fits fewer bytes.
    #[error("variable byte integer not in its shortest form")]
    VariableByteIntegerNotMinimal,
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// U+0000 in a string.
    #[error("U+0000 in a string")]
    NullCharacter,
    /// A control character or non-character in a string, and the options refuse these.
    #[error("control character or non-character in a string")]
    ControlCharacter,
    /// `+` or `#` in a Topic Name or a Will Topic.
    #[error("wildcard in a topic name")]
    WildcardInTopicName,
    /// `+` or `#` in a Response Topic.
    #[error("wildcard in a response topic")]
    WildcardInResponseTopic,
    /// A Topic Name, a Will Topic or a Response Topic without a character.
    #[error("empty topic name")]
    EmptyTopicName,
    /// A PUBLISH with neither a Topic Name nor a Topic Alias.
    #[error("neither topic name nor topic alias")]
    MissingTopicName,
    /// Packet Identifier 0.
    #[error("packet identifier is zero")]
    PacketIdentifierZero,
    /// QoS 3 in a PUBLISH.
    #[error("invalid QoS")]
    QoS,
    /// DUP in a PUBLISH of QoS 0.
    #[error("DUP at QoS 0")]
    DupAtQoS0,
    /// The Protocol Name is neither `MQTT` nor `MQIsdp`.
    #[error("unknown protocol name")]
    ProtocolName,
    /// The Protocol Name is known, the level behind it is not.
    #[error("unsupported protocol level {level}")]
    UnsupportedProtocolLevel {
        /// The level that the client asked for.
        level: u8,
        /// Whether the Protocol Name was that of 3.1, `MQIsdp`.
        is_v3_1_name: bool,
    },
    /// Bit 0 of the Connect Flags is set.
    #[error("reserved connect flag is set")]
    ConnectFlags,
    /// Will QoS 3.
    #[error("invalid will QoS")]
    WillQoS,
    /// Will QoS is not 0 where there is no Will.
    #[error("will QoS without a will")]
    WillQoSWithoutWill,
    /// Will Retain is set where there is no Will.
    #[error("will retain without a will")]
    WillRetainWithoutWill,
    /// A password without a user name, which 5.0 allows and 3.x does not.
    #[error("password without a user name")]
    PasswordWithoutUserName,
    /// Reserved bits of the Connect Acknowledge Flags are set.
    #[error("reserved connect acknowledge flag is set")]
    ConnAckFlags,
    /// Session Present in a CONNACK that refuses.
    #[error("session present in a refusal")]
    SessionPresentInRefusal,
    /// A Reason Code (return code in 3.x) that a packet of this type cannot have, or not from this sender.
    #[error("reason code {0:#04x} is not one of this packet")]
    ReasonCode(u8),
    /// A property identifier that the specification does not have.
    #[error("unknown property")]
    UnknownProperty,
    /// A property that this packet, or this sender, cannot have.
    #[error("property {0:?} is not allowed in this packet")]
    PropertyNotAllowed(PropertyId),
    /// A property that is there twice.
    #[error("property {0:?} is given twice")]
    DuplicateProperty(PropertyId),
    /// A property with a value out of its range.
    #[error("value of property {0:?} is out of range")]
    PropertyValue(PropertyId),
    /// Topic Alias 0.
    #[error("topic alias is zero")]
    TopicAliasZero,
    /// Authentication Data without an Authentication Method in CONNECT, or AUTH without a method.
    #[error("authentication method is missing")]
    MissingAuthenticationMethod,
    /// Reserved bits of the Subscription Options (of the Requested QoS in 3.x) are set.
    #[error("reserved subscription options are set")]
    SubscriptionOptions,
    /// QoS 3 in the Subscription Options (in the Requested QoS in 3.x).
    #[error("invalid QoS in subscription options")]
    SubscriptionQoS,
    /// Retain Handling 3.
    #[error("invalid retain handling")]
    RetainHandling,
    /// A SUBSCRIBE or UNSUBSCRIBE without a Topic Filter.
    #[error("no topic filter")]
    NoTopicFilters,
    /// A SUBACK or UNSUBACK without a Reason Code.
    #[error("no reason code")]
    NoReasonCodes,
}

/// What a receiver has to do about bytes that are no packet. MQTT 5.0 §4.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The bytes cannot be parsed: Reason Code 0x81.
    Malformed,
    /// The bytes can be parsed, and say what they may not: Reason Code 0x82 or a more specific one.
    ProtocolError,
    /// The packet is larger than the receiver accepts: Reason Code 0x95.
    TooLarge,
    /// CONNECT asks for a version that is not spoken here: Reason Code 0x84, return code 1.
    UnsupportedVersion,
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(
        kind: DecodeErrorKind,
        offset: usize,
        version: ProtocolVersion,
        receiver: Role,
        packet_type: Option<PacketType>,
    ) -> Self {
        DecodeError {
            kind,
            version,
            receiver,
            packet_type,
            // Frames are shorter than 2^29 bytes.
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        }
    }

    pub(crate) fn with_kind(self, kind: DecodeErrorKind) -> Self {
        DecodeError { kind, ..self }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    /// Where, in bytes from the first byte of the frame.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// The packet's type; `None` where the bytes name none.
    #[must_use]
    pub const fn packet_type(&self) -> Option<PacketType> {
        self.packet_type
    }

    /// The version whose rules were broken; of a CONNECT its own, as far as it was read.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What kind of fault it is. 3.1 and 3.1.1 do not tell a protocol error from a malformed packet: there it is malformed,
    /// and every class means closing the connection.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match (self.version, self.class_of_v5()) {
            (ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1, ErrorClass::ProtocolError) => {
                ErrorClass::Malformed
            }
            (_, class) => class,
        }
    }

    const fn class_of_v5(&self) -> ErrorClass {
        use DecodeErrorKind as Kind;
        match self.kind {
            Kind::PacketTooLarge => ErrorClass::TooLarge,
            Kind::UnsupportedProtocolLevel { .. } => ErrorClass::UnsupportedVersion,
            // MQTT 5.0 names no class for identifier 0; these are the classes of Mosquitto's answers. What else the text
            // leaves open is this crate's choice: a Response Topic with a wildcard or without a character is malformed, as
            // a Topic Name with a wildcard is, and so is a SUBACK or UNSUBACK without a code.
            Kind::PacketIdentifierZero => match self.packet_type {
                Some(PacketType::Subscribe | PacketType::Unsubscribe) => ErrorClass::Malformed,
                _ => ErrorClass::ProtocolError,
            },
            // A property of another packet is malformed (§2.2.2.2), one of another sender is not.
            Kind::PropertyNotAllowed(property) => match self.packet_type {
                Some(packet_type @ (PacketType::Publish | PacketType::Disconnect))
                    if property.allowed_in(packet_type) =>
                {
                    ErrorClass::ProtocolError
                }
                _ => ErrorClass::Malformed,
            },
            Kind::WrongDirection
            | Kind::UnexpectedPacketType
            | Kind::MissingTopicName
            | Kind::SessionPresentInRefusal
            | Kind::ReasonCode(_)
            | Kind::DuplicateProperty(_)
            | Kind::PropertyValue(_)
            | Kind::TopicAliasZero
            | Kind::MissingAuthenticationMethod
            | Kind::SubscriptionQoS
            | Kind::RetainHandling
            | Kind::NoTopicFilters => ErrorClass::ProtocolError,
            Kind::Truncated
            | Kind::TrailingBytes
            | Kind::ReservedPacketType
            | Kind::FixedHeaderFlags
            | Kind::VariableByteIntegerTooLong
            | Kind::VariableByteIntegerNotMinimal
            | Kind::Utf8
            | Kind::NullCharacter
            | Kind::ControlCharacter
            | Kind::WildcardInTopicName
            | Kind::WildcardInResponseTopic
            | Kind::EmptyTopicName
            | Kind::QoS
            | Kind::DupAtQoS0
            | Kind::ProtocolName
            | Kind::ConnectFlags
            | Kind::WillQoS
            | Kind::WillQoSWithoutWill
            | Kind::WillRetainWithoutWill
            | Kind::PasswordWithoutUserName
            | Kind::ConnAckFlags
            | Kind::UnknownProperty
            | Kind::SubscriptionOptions
            | Kind::NoReasonCodes => ErrorClass::Malformed,
        }
    }

    /// What a 5.0 peer is told in CONNACK or DISCONNECT. MQTT 5.0 §4.13. In 3.1 and 3.1.1 nobody is told: there it is the code
    /// that 5.0 has for the same fault, and says more than [`class`](Self::class).
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match (self.class_of_v5(), self.kind) {
            // MQTT 5.0 §3.3.4
            (_, DecodeErrorKind::TopicAliasZero) => ReasonCode::TopicAliasInvalid,
            // v5 [MQTT-3.1.2-1]
            (_, DecodeErrorKind::ProtocolName) => ReasonCode::UnsupportedProtocolVersion,
            (ErrorClass::Malformed, _) => ReasonCode::MalformedPacket,
            (ErrorClass::ProtocolError, _) => ReasonCode::ProtocolError,
            (ErrorClass::TooLarge, _) => ReasonCode::PacketTooLarge,
            (ErrorClass::UnsupportedVersion, _) => ReasonCode::UnsupportedProtocolVersion,
        }
    }

    /// The conformance statement that the bytes violate, with its document, such as `v5 [MQTT-3.3.1-2]`.
    ///
    /// `None` where the rule has no number, and for 3.1, whose rules have none.
    #[must_use]
    pub const fn statement(&self) -> Option<&'static str> {
        match self.version {
            ProtocolVersion::V3_1 => None,
            ProtocolVersion::V3_1_1 => statement::v3(self.kind, self.packet_type),
            ProtocolVersion::V5 => statement::v5(self.kind, self.packet_type, self.receiver),
        }
    }
}

/// Why a packet cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The version has no packet of this type.
    #[error("{version:?} has no {packet_type:?}")]
    NotInVersion {
        /// What was to be written.
        packet_type: PacketType,
        /// For a peer of this version.
        version: ProtocolVersion,
    },
    /// A string or binary value of more than 65,535 bytes.
    #[error("string or binary value of {length} bytes")]
    StringTooLong {
        /// Its bytes.
        length: usize,
    },
    /// A Remaining Length of more than 268,435,455 bytes.
    #[error("packet too large")]
    PacketTooLarge,
    /// The buffer has no room; nothing was written.
    #[error("buffer has no room for {needed} bytes")]
    BufferFull {
        /// What [`BufMut::remaining_mut`](bytes::BufMut::remaining_mut) should have been.
        needed: usize,
    },
    /// A PUBLISH above QoS 0 without a Packet Identifier.
    #[error("no packet identifier above QoS 0")]
    MissingPacketIdentifier,
    /// A PUBLISH of QoS 0 with a Packet Identifier. v5 [MQTT-2.2.1-2], v3 [MQTT-2.3.1-5]
    #[error("packet identifier at QoS 0")]
    PacketIdentifierAtQoS0,
    /// A PUBLISH of QoS 0 with DUP. v5 [MQTT-3.3.1-2], v3 [MQTT-3.3.1-2]
    #[error("DUP at QoS 0")]
    DupAtQoS0,
    /// A PUBLISH, or a Will, without a Topic Name (in 5.0 a PUBLISH may have a Topic Alias instead).
    #[error("no topic name")]
    MissingTopicName,
    /// A Response Topic without a character. v5 [MQTT-4.7.3-1]
    #[error("empty response topic")]
    EmptyResponseTopic,
    /// A CONNECT of 3.x with a password and no user name. v3 [MQTT-3.1.2-22]
    #[error("password without a user name")]
    PasswordWithoutUserName,
    /// Authentication Data without a method, or an AUTH with properties but no method.
    #[error("no authentication method")]
    MissingAuthenticationMethod,
    /// A Reason Code that a packet of this type cannot have.
    #[error("{reason_code:?} is not a reason code of {packet_type:?}")]
    ReasonCode {
        /// The code.
        reason_code: ReasonCode,
        /// What was to be written.
        packet_type: PacketType,
    },
    /// Session Present in a CONNACK that refuses. v5 [MQTT-3.2.2-6], v3 [MQTT-3.2.2-4]
    #[error("session present in a refusal")]
    SessionPresentInRefusal,
    /// A DISCONNECT with a Session Expiry Interval and a Reason Code that only servers send. v5 [MQTT-3.14.2-2]
    #[error("session expiry interval with a reason code of servers")]
    SessionExpiryIntervalFromServer,
    /// A Subscription Identifier that is 0 or above 268,435,455.
    #[error("subscription identifier {0} is out of range")]
    SubscriptionIdentifier(u32),
    /// A SUBSCRIBE or UNSUBSCRIBE without a Topic Filter. v5 [MQTT-3.8.3-2], v5 [MQTT-3.10.3-2]
    #[error("no topic filter")]
    NoTopicFilters,
    /// A SUBACK or UNSUBACK without a Reason Code.
    #[error("no reason code")]
    NoReasonCodes,
    /// The bytes to be patched are no PUBLISH, or none that has this field.
    #[error("not a PUBLISH that has this field")]
    NotPatchable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small() {
        assert!(size_of::<DecodeError>() <= 12);
        assert!(size_of::<EncodeError>() <= 16);
    }

    #[test]
    fn versions_3_have_one_class_and_the_codes_of_5() {
        use DecodeErrorKind as Kind;
        for (kind, class, code) in [
            (
                Kind::Truncated,
                ErrorClass::Malformed,
                ReasonCode::MalformedPacket,
            ),
            (
                Kind::WrongDirection,
                ErrorClass::ProtocolError,
                ReasonCode::ProtocolError,
            ),
            (
                Kind::SubscriptionQoS,
                ErrorClass::ProtocolError,
                ReasonCode::ProtocolError,
            ),
            (
                Kind::PacketTooLarge,
                ErrorClass::TooLarge,
                ReasonCode::PacketTooLarge,
            ),
        ] {
            for version in [
                ProtocolVersion::V3_1,
                ProtocolVersion::V3_1_1,
                ProtocolVersion::V5,
            ] {
                let error = DecodeError {
                    kind,
                    version,
                    receiver: Role::Server,
                    packet_type: None,
                    offset: 0,
                };
                let is_one = version != ProtocolVersion::V5 && class == ErrorClass::ProtocolError;
                let class = if is_one { ErrorClass::Malformed } else { class };
                assert_eq!(
                    (error.class(), error.reason_code()),
                    (class, code),
                    "{kind:?} {version:?}"
                );
            }
        }
    }
}
