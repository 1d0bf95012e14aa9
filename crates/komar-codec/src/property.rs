//! The properties of MQTT 5.0: what each holds and which packets may carry it. MQTT 5.0 §2.2.2.2.

use crate::PacketType;
use crate::error::DecodeErrorKind;
use crate::primitive::{Fault, Reader};

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $value:ident;)*) => {
        /// The identifier of a property. MQTT 5.0 §2.2.2.2.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $($(#[$doc])* $name = $id,)*
        }

        impl PropertyId {
            /// Every property, in ascending order of identifier.
            pub const ALL: &'static [PropertyId] = &[$(PropertyId::$name,)*];

            /// The property of that identifier; `None` if the specification has none.
            #[inline]
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($id => Some(PropertyId::$name),)*
                    _ => None,
                }
            }

            /// What follows the identifier.
            const fn value(self) -> Value {
                match self {
                    $(PropertyId::$name => Value::$value,)*
                }
            }
        }
    };
}

properties! {
    /// 0 or 1: PUBLISH, Will.
    PayloadFormatIndicator = 0x01, Byte;
    /// Seconds: PUBLISH, Will.
    MessageExpiryInterval = 0x02, FourBytes;
    /// A string: PUBLISH, Will.
    ContentType = 0x03, String;
    /// A Topic Name: PUBLISH, Will.
    ResponseTopic = 0x08, String;
    /// Bytes: PUBLISH, Will.
    CorrelationData = 0x09, String;
    /// 1 to 268,435,455: PUBLISH (from a server only, and repeatable there), SUBSCRIBE.
    SubscriptionIdentifier = 0x0B, Variable;
    /// Seconds: CONNECT, CONNACK, DISCONNECT (from a client only).
    SessionExpiryInterval = 0x11, FourBytes;
    /// A string: CONNACK.
    AssignedClientIdentifier = 0x12, String;
    /// Seconds: CONNACK.
    ServerKeepAlive = 0x13, TwoBytes;
    /// A string: CONNECT, CONNACK, AUTH.
    AuthenticationMethod = 0x15, String;
    /// Bytes: CONNECT, CONNACK, AUTH.
    AuthenticationData = 0x16, String;
    /// 0 or 1: CONNECT.
    RequestProblemInformation = 0x17, Byte;
    /// Seconds: Will.
    WillDelayInterval = 0x18, FourBytes;
    /// 0 or 1: CONNECT.
    RequestResponseInformation = 0x19, Byte;
    /// A string: CONNACK.
    ResponseInformation = 0x1A, String;
    /// A string: CONNACK, DISCONNECT.
    ServerReference = 0x1C, String;
    /// A string: CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH.
    ReasonString = 0x1F, String;
    /// 1 to 65,535: CONNECT, CONNACK.
    ReceiveMaximum = 0x21, TwoBytes;
    /// 0 to 65,535: CONNECT, CONNACK.
    TopicAliasMaximum = 0x22, TwoBytes;
    /// 1 to 65,535: PUBLISH.
    TopicAlias = 0x23, TwoBytes;
    /// 0 or 1: CONNACK.
    MaximumQoS = 0x24, Byte;
    /// 0 or 1: CONNACK.
    RetainAvailable = 0x25, Byte;
    /// Two strings: every packet with properties, repeatable.
    UserProperty = 0x26, Pair;
    /// 1 to 4,294,967,295: CONNECT, CONNACK.
    MaximumPacketSize = 0x27, FourBytes;
    /// 0 or 1: CONNACK.
    WildcardSubscriptionAvailable = 0x28, Byte;
    /// 0 or 1: CONNACK.
    SubscriptionIdentifiersAvailable = 0x29, Byte;
    /// 0 or 1: CONNACK.
    SharedSubscriptionAvailable = 0x2A, Byte;
}

impl PropertyId {
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

    /// Whether a packet of that type may carry it, whoever sends it. Will Properties are not those of CONNECT: see
    /// [`PropertyId::allowed_in_will`].
    #[must_use]
    pub const fn allowed_in(self, packet_type: PacketType) -> bool {
        match packet_type {
            PacketType::Connect => PropertySet::CONNECT.contains(self),
            PacketType::ConnAck => PropertySet::CONNACK.contains(self),
            PacketType::Publish => PropertySet::PUBLISH.contains(self),
            PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::SubAck
            | PacketType::UnsubAck => PropertySet::ACKNOWLEDGEMENT.contains(self),
            PacketType::Subscribe => PropertySet::SUBSCRIBE.contains(self),
            PacketType::Unsubscribe => PropertySet::UNSUBSCRIBE.contains(self),
            PacketType::Disconnect => PropertySet::DISCONNECT.contains(self),
            PacketType::Auth => PropertySet::AUTH.contains(self),
            PacketType::PingReq | PacketType::PingResp => false,
        }
    }

    /// Whether it may be one of the Will Properties of CONNECT. MQTT 5.0 §3.1.3.2.
    #[must_use]
    pub const fn allowed_in_will(self) -> bool {
        PropertySet::WILL.contains(self)
    }

    /// Whether a packet of that type may carry it more than once: User Properties wherever they are allowed (also among
    /// the Will Properties), Subscription Identifiers in a PUBLISH. MQTT 5.0 §3.3.2.3.7, §3.3.2.3.8.
    #[must_use]
    pub const fn may_repeat_in(self, packet_type: PacketType) -> bool {
        match self {
            PropertyId::UserProperty => self.allowed_in(packet_type),
            PropertyId::SubscriptionIdentifier => matches!(packet_type, PacketType::Publish),
            _ => false,
        }
    }

    /// Whether a server passes it on to the subscribers byte by byte.
    // v5 [MQTT-3.3.2-4], v5 [MQTT-3.3.2-15], v5 [MQTT-3.3.2-16], v5 [MQTT-3.3.2-17], v5 [MQTT-3.3.2-20]
    pub(crate) const fn is_forwarded(self) -> bool {
        PropertySet::FORWARDED.contains(self)
    }
}

enum Value {
    Byte,
    TwoBytes,
    FourBytes,
    Variable,
    /// Two bytes of length and as many bytes: strings and binary data.
    String,
    Pair,
}

/// A set of properties: bit n is the property of identifier n.
#[derive(Clone, Copy)]
pub(crate) struct PropertySet(u64);

impl PropertySet {
    pub(crate) const CONNECT: Self = Self::of(&[
        PropertyId::SessionExpiryInterval,
        PropertyId::AuthenticationMethod,
        PropertyId::AuthenticationData,
        PropertyId::RequestProblemInformation,
        PropertyId::RequestResponseInformation,
        PropertyId::ReceiveMaximum,
        PropertyId::TopicAliasMaximum,
        PropertyId::UserProperty,
        PropertyId::MaximumPacketSize,
    ]);
    pub(crate) const WILL: Self = Self::FORWARDED
        .with(PropertyId::MessageExpiryInterval)
        .with(PropertyId::WillDelayInterval);
    pub(crate) const CONNACK: Self = Self::of(&[
        PropertyId::SessionExpiryInterval,
        PropertyId::AssignedClientIdentifier,
        PropertyId::ServerKeepAlive,
        PropertyId::AuthenticationMethod,
        PropertyId::AuthenticationData,
        PropertyId::ResponseInformation,
        PropertyId::ServerReference,
        PropertyId::ReasonString,
        PropertyId::ReceiveMaximum,
        PropertyId::TopicAliasMaximum,
        PropertyId::MaximumQoS,
        PropertyId::RetainAvailable,
        PropertyId::UserProperty,
        PropertyId::MaximumPacketSize,
        PropertyId::WildcardSubscriptionAvailable,
        PropertyId::SubscriptionIdentifiersAvailable,
        PropertyId::SharedSubscriptionAvailable,
    ]);
    /// What a client may send; a server may add Subscription Identifiers.
    pub(crate) const PUBLISH_FROM_CLIENT: Self = Self::FORWARDED
        .with(PropertyId::MessageExpiryInterval)
        .with(PropertyId::TopicAlias);
    pub(crate) const PUBLISH: Self = Self::PUBLISH_FROM_CLIENT.with(PropertyId::SubscriptionIdentifier);
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
    pub(crate) const ACKNOWLEDGEMENT: Self = Self::of(&[PropertyId::ReasonString, PropertyId::UserProperty]);
    pub(crate) const SUBSCRIBE: Self = Self::UNSUBSCRIBE.with(PropertyId::SubscriptionIdentifier);
    pub(crate) const UNSUBSCRIBE: Self = Self::of(&[PropertyId::UserProperty]);
    /// What a server may send; a client may add a Session Expiry Interval.
    pub(crate) const DISCONNECT_FROM_SERVER: Self = Self::ACKNOWLEDGEMENT.with(PropertyId::ServerReference);
    pub(crate) const DISCONNECT: Self = Self::DISCONNECT_FROM_SERVER.with(PropertyId::SessionExpiryInterval);
    pub(crate) const AUTH: Self = Self::ACKNOWLEDGEMENT
        .with(PropertyId::AuthenticationMethod)
        .with(PropertyId::AuthenticationData);

    const FORWARDED: Self = Self::of(&[
        PropertyId::PayloadFormatIndicator,
        PropertyId::ContentType,
        PropertyId::ResponseTopic,
        PropertyId::CorrelationData,
        PropertyId::UserProperty,
    ]);
    const NONE: Self = PropertySet(0);

    const fn of(mut list: &[PropertyId]) -> Self {
        let mut set = Self::NONE;
        while let [first, rest @ ..] = list {
            set = set.with(*first);
            list = rest;
        }
        set
    }

    const fn with(self, property: PropertyId) -> Self {
        PropertySet(self.0 | Self::bit(property))
    }

    #[inline]
    const fn contains(self, property: PropertyId) -> bool {
        self.0 & Self::bit(property) != 0
    }

    #[inline]
    const fn bit(property: PropertyId) -> u64 {
        // Identifiers are below 64.
        1_u64.wrapping_shl(u32::from_le_bytes([property.as_u8(), 0, 0, 0]))
    }
}

/// Walks over the properties of one packet that is not trusted yet: finds out which one is next, and that it may be
/// there; whoever asks reads the value with [`PropertyReader::value`].
pub(crate) struct PropertyReader<'a, F> {
    /// The values.
    pub(crate) value: Reader<'a, F>,
    section: &'a [u8],
    allowed: PropertySet,
    seen: PropertySet,
    /// Where the property that is being read begins in the section.
    begin: usize,
}

impl<'a, F: Fault> PropertyReader<'a, F> {
    /// Reads the Property Length, and takes as many bytes from the packet.
    #[inline]
    pub(crate) fn new(packet: &mut Reader<'a, F>, allowed: PropertySet) -> Result<Self, F> {
        // v5 [MQTT-2.2.2-1]: the length is there even where there are no properties.
        let length = packet.variable_byte_integer()?;
        let value = packet.split(length)?;
        Ok(PropertyReader {
            section: value.rest(),
            value,
            allowed,
            seen: PropertySet::NONE,
            begin: 0,
        })
    }

    /// The bytes of all properties, without the Property Length.
    #[inline]
    pub(crate) fn section(&self) -> &'a [u8] {
        self.section
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<PropertyId>, F> {
        if self.value.is_empty() {
            return Ok(None);
        }
        self.begin = self.position();
        let offset = self.value.offset();
        // An identifier is a variable byte integer, but all there are fit one byte.
        let property = PropertyId::from_u8(self.value.u8()?)
            .ok_or_else(|| self.value.error_at(offset, DecodeErrorKind::UnknownProperty))?;
        if !self.allowed.contains(property) {
            return Err(self.misplaced(property, offset));
        }
        // Who may send it at all was looked at above. The Will Properties are part of a CONNECT.
        if self.seen.contains(property) && !property.may_repeat_in(self.value.context().packet_type) {
            return Err(self
                .value
                .error_at(offset, DecodeErrorKind::DuplicateProperty(property)));
        }
        self.seen = self.seen.with(property);
        Ok(Some(property))
    }

    /// What is wrong with a property that may not be there: what its value is made of comes first, and with it whether the
    /// packet can be read at all.
    #[cold]
    fn misplaced(&mut self, property: PropertyId, offset: usize) -> F {
        let value = &mut self.value;
        let read = match property.value() {
            Value::Byte => value.u8().map(drop),
            Value::TwoBytes => value.u16().map(drop),
            Value::FourBytes => value.u32().map(drop),
            Value::Variable => value.variable_byte_integer().map(drop),
            Value::String => value.binary().map(drop),
            Value::Pair => value.binary().and_then(|_| value.binary()).map(drop),
        };
        match read {
            Ok(()) => value.error_at(offset, DecodeErrorKind::PropertyNotAllowed(property)),
            Err(fault) => fault,
        }
    }

    /// Reads and checks a User Property, and puts it into `span`. v5 [MQTT-1.5.7-1]
    pub(crate) fn user_property(&mut self, span: &mut Span) -> Result<(), F> {
        if self.value.is_known() {
            self.value.binary()?;
            self.value.binary()?;
        } else {
            self.value.string()?;
            self.value.string()?;
        }
        self.extend(span);
        Ok(())
    }

    /// Puts the property that was read last, identifier included, into `span`.
    #[inline]
    pub(crate) fn extend(&self, span: &mut Span) {
        if span.end == 0 {
            span.begin = self.begin;
        }
        span.end = self.position();
    }

    /// The bytes from the first to the last property that was put into `span`.
    pub(crate) fn slice(&self, span: &Span) -> &'a [u8] {
        self.section.get(span.begin..span.end).unwrap_or_default()
    }

    fn position(&self) -> usize {
        self.section.len().saturating_sub(self.value.rest().len())
    }
}

/// A range of a property section, empty at first.
#[derive(Default)]
pub(crate) struct Span {
    begin: usize,
    end: usize,
}

/// Walks over properties that have been read once already, and gives each with its identifier and its whole bytes.
/// What was not checked ends the walk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked<'a>(pub(crate) &'a [u8]);

impl<'a> Checked<'a> {
    /// The next property, and the bytes of its value.
    #[inline]
    pub(crate) fn next_value(&mut self) -> Option<(PropertyId, &'a [u8])> {
        let (&id, rest) = self.0.split_first()?;
        let property = PropertyId::from_u8(id)?;
        let length = match property.value() {
            Value::Byte => 1,
            Value::TwoBytes => 2,
            Value::FourBytes => 4,
            Value::Variable => variable_length(rest)?,
            Value::String => string_length(rest)?,
            Value::Pair => {
                let first = string_length(rest)?;
                first.saturating_add(string_length(rest.get(first..)?)?)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((property, value))
    }
}

/// Bytes of a string or binary value, its two length bytes included.
#[inline]
fn string_length(bytes: &[u8]) -> Option<usize> {
    let length = u16::from_be_bytes(*bytes.first_chunk::<2>()?);
    Some(usize::from(length).saturating_add(2))
}

#[inline]
fn variable_length(bytes: &[u8]) -> Option<usize> {
    Some(
        bytes
            .iter()
            .take(4)
            .position(|byte| *byte < 0x80)?
            .saturating_add(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_fit_the_set() {
        for value in 0..=u8::MAX {
            assert!(
                PropertyId::from_u8(value).is_none_or(|property| property.as_u8() == value && value < 64)
            );
        }
        assert_eq!(PropertyId::ALL.len(), 27);
    }
}
