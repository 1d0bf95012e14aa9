//! Which conformance statement a fault violates.

use crate::PacketType as Type;
use crate::PropertyId as Property;
use crate::Role;
use crate::error::DecodeErrorKind as Kind;

/// MQTT 3.1.1, OASIS standard, 29 October 2014.
pub(crate) const fn v3(kind: Kind, packet_type: Option<Type>) -> Option<&'static str> {
    Some(match (kind, packet_type) {
        (Kind::FixedHeaderFlags, Some(Type::PubRel)) => "v3 [MQTT-3.6.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Subscribe)) => "v3 [MQTT-3.8.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Unsubscribe)) => "v3 [MQTT-3.10.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Disconnect)) => "v3 [MQTT-3.14.1-1]",
        (Kind::FixedHeaderFlags, _) => "v3 [MQTT-2.2.2-2]",
        (Kind::Utf8, _) => "v3 [MQTT-1.5.3-1]",
        (Kind::NullCharacter, _) => "v3 [MQTT-1.5.3-2]",
        (Kind::PacketIdentifierZero, Some(Type::Publish | Type::Subscribe | Type::Unsubscribe)) => {
            "v3 [MQTT-2.3.1-1]"
        }
        (Kind::PacketIdentifierZero, Some(Type::SubAck | Type::UnsubAck)) => "v3 [MQTT-2.3.1-7]",
        (Kind::PacketIdentifierZero, _) => "v3 [MQTT-2.3.1-6]",
        (Kind::ProtocolName, _) => "v3 [MQTT-3.1.2-1]",
        (Kind::UnsupportedProtocolLevel { .. }, _) => "v3 [MQTT-3.1.2-2]",
        (Kind::ConnectFlags, _) => "v3 [MQTT-3.1.2-3]",
        (Kind::WillQoS, _) => "v3 [MQTT-3.1.2-14]",
        (Kind::WillQoSWithoutWill, _) => "v3 [MQTT-3.1.2-13]",
        (Kind::WillRetainWithoutWill, _) => "v3 [MQTT-3.1.2-15]",
        (Kind::PasswordWithoutUserName, _) => "v3 [MQTT-3.1.2-22]",
        (Kind::SessionPresentInRefusal, _) => "v3 [MQTT-3.2.2-4]",
        (Kind::QoS, _) => "v3 [MQTT-3.3.1-4]",
        (Kind::DupAtQoS0, _) => "v3 [MQTT-3.3.1-2]",
        (Kind::WildcardInTopicName, Some(Type::Publish)) => "v3 [MQTT-3.3.2-2]",
        (Kind::WildcardInTopicName, _) => "v3 [MQTT-4.7.1-1]",
        (Kind::EmptyTopicName | Kind::MissingTopicName, _) => "v3 [MQTT-4.7.3-1]",
        (Kind::NoTopicFilters, Some(Type::Unsubscribe)) => "v3 [MQTT-3.10.3-2]",
        (Kind::NoTopicFilters, _) => "v3 [MQTT-3.8.3-3]",
        (Kind::SubscriptionOptions | Kind::SubscriptionQoS, _) => "v3 [MQTT-3.8.3-4]",
        (Kind::NoReasonCodes, _) => "v3 [MQTT-3.8.4-5]",
        (Kind::ReasonCode(_), Some(Type::ConnAck)) => "v3 [MQTT-3.2.2-6]",
        (Kind::ReasonCode(_), Some(Type::SubAck)) => "v3 [MQTT-3.9.3-2]",
        _ => return None,
    })
}

/// MQTT 5.0, OASIS standard, 7 March 2019.
pub(crate) const fn v5(kind: Kind, packet_type: Option<Type>, receiver: Role) -> Option<&'static str> {
    Some(match (kind, packet_type) {
        (Kind::FixedHeaderFlags, Some(Type::PubRel)) => "v5 [MQTT-3.6.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Subscribe)) => "v5 [MQTT-3.8.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Unsubscribe)) => "v5 [MQTT-3.10.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Disconnect)) => "v5 [MQTT-3.14.1-1]",
        (Kind::FixedHeaderFlags, Some(Type::Auth)) => "v5 [MQTT-3.15.1-1]",
        (Kind::FixedHeaderFlags, _) => "v5 [MQTT-2.1.3-1]",
        (Kind::Utf8, _) => "v5 [MQTT-1.5.4-1]",
        (Kind::NullCharacter, _) => "v5 [MQTT-1.5.4-2]",
        (Kind::VariableByteIntegerNotMinimal, _) => "v5 [MQTT-1.5.5-1]",
        (Kind::PacketIdentifierZero, Some(Type::Subscribe | Type::Unsubscribe)) => "v5 [MQTT-2.2.1-3]",
        (Kind::PacketIdentifierZero, Some(Type::Publish)) => match receiver {
            Role::Server => "v5 [MQTT-2.2.1-3]",
            Role::Client => "v5 [MQTT-2.2.1-4]",
        },
        (Kind::PacketIdentifierZero, Some(Type::SubAck | Type::UnsubAck)) => "v5 [MQTT-2.2.1-6]",
        (Kind::PacketIdentifierZero, _) => "v5 [MQTT-2.2.1-5]",
        (Kind::ProtocolName, _) => "v5 [MQTT-3.1.2-1]",
        (Kind::UnsupportedProtocolLevel { .. }, _) => "v5 [MQTT-3.1.2-2]",
        (Kind::ConnectFlags, _) => "v5 [MQTT-3.1.2-3]",
        (Kind::WillQoS, _) => "v5 [MQTT-3.1.2-12]",
        (Kind::WillQoSWithoutWill, _) => "v5 [MQTT-3.1.2-11]",
        (Kind::WillRetainWithoutWill, _) => "v5 [MQTT-3.1.2-13]",
        (Kind::ConnAckFlags, _) => "v5 [MQTT-3.2.2-1]",
        (Kind::SessionPresentInRefusal, _) => "v5 [MQTT-3.2.2-6]",
        (Kind::QoS, _) => "v5 [MQTT-3.3.1-4]",
        (Kind::DupAtQoS0, _) => "v5 [MQTT-3.3.1-2]",
        (Kind::WildcardInTopicName, Some(Type::Publish)) => "v5 [MQTT-3.3.2-2]",
        (Kind::WildcardInTopicName, _) => "v5 [MQTT-4.7.0-1]",
        (Kind::WildcardInResponseTopic, _) => "v5 [MQTT-3.3.2-14]",
        (Kind::EmptyTopicName | Kind::MissingTopicName, _) => "v5 [MQTT-4.7.3-1]",
        (Kind::TopicAliasZero, _) => "v5 [MQTT-3.3.2-8]",
        (Kind::PropertyNotAllowed(Property::SubscriptionIdentifier), Some(Type::Publish)) => {
            "v5 [MQTT-3.3.4-6]"
        }
        (Kind::PropertyNotAllowed(Property::SessionExpiryInterval), Some(Type::Disconnect)) => {
            "v5 [MQTT-3.14.2-2]"
        }
        (Kind::NoTopicFilters, Some(Type::Unsubscribe)) => "v5 [MQTT-3.10.3-2]",
        (Kind::NoTopicFilters, _) => "v5 [MQTT-3.8.3-2]",
        (Kind::SubscriptionOptions, _) => "v5 [MQTT-3.8.3-5]",
        (Kind::NoReasonCodes, Some(Type::SubAck)) => "v5 [MQTT-3.8.4-6]",
        (Kind::ReasonCode(_), Some(Type::ConnAck)) => "v5 [MQTT-3.2.2-8]",
        (Kind::ReasonCode(_), Some(Type::PubAck)) => "v5 [MQTT-3.4.2-1]",
        (Kind::ReasonCode(_), Some(Type::PubRec)) => "v5 [MQTT-3.5.2-1]",
        (Kind::ReasonCode(_), Some(Type::PubRel)) => "v5 [MQTT-3.6.2-1]",
        (Kind::ReasonCode(_), Some(Type::PubComp)) => "v5 [MQTT-3.7.2-1]",
        (Kind::ReasonCode(_), Some(Type::SubAck)) => "v5 [MQTT-3.9.3-2]",
        (Kind::ReasonCode(_), Some(Type::UnsubAck)) => "v5 [MQTT-3.11.3-2]",
        (Kind::ReasonCode(_), Some(Type::Disconnect)) => "v5 [MQTT-3.14.2-1]",
        (Kind::ReasonCode(_), Some(Type::Auth)) => "v5 [MQTT-3.15.2-1]",
        _ => return None,
    })
}
