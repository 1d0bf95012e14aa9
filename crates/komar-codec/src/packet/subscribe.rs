//! SUBSCRIBE. MQTT 5.0 §3.8.

use core::fmt;

use super::Decode;
use super::publish::check_subscription_identifier;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::repeated::split_string;
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, PropertyId, ProtocolVersion, QoS,
    UserProperties,
};

/// SUBSCRIBE: a request for messages. MQTT 5.0 §3.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// What SUBACK will carry.
    pub packet_identifier: PacketIdentifier,
    /// 1 to 268,435,455, for all filters of the packet; absent in 3.x. §3.8.2.1.2.
    pub subscription_identifier: Option<u32>,
    /// Empty in 3.x. §3.8.2.1.3.
    pub user_properties: UserProperties<'a>,
    /// At least one, except in 3.1.
    pub filters: SubscribeFilters<'a>,
}

/// What a Subscription is to do. MQTT 5.0 §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS to deliver at; the Requested QoS of 3.x.
    pub maximum_qos: QoS,
    /// Whether the client is spared what it publishes itself. False in 3.x.
    pub no_local: bool,
    /// Whether forwarded messages keep their RETAIN flag. False in 3.x.
    pub retain_as_published: bool,
    /// When retained messages are sent. In 3.x at every SUBSCRIBE.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent. MQTT 5.0 §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetainHandling {
    /// 0: at every SUBSCRIBE.
    #[default]
    SendAtSubscribe,
    /// 1: if the Subscription is new.
    SendIfNew,
    /// 2: never.
    DoNotSend,
}

impl SubscriptionOptions {
    /// What a SUBSCRIBE of 3.x asks for.
    #[must_use]
    pub const fn from_qos(maximum_qos: QoS) -> Self {
        SubscriptionOptions {
            maximum_qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    /// The options byte of 5.0, or the Requested QoS of 3.x.
    #[inline]
    fn from_byte(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeErrorKind> {
        let reserved = if version == ProtocolVersion::V5 {
            0b1100_0000
        } else {
            0b1111_1100
        };
        // v5 [MQTT-3.8.3-5], v3 [MQTT-3.8.3-4]
        if byte & reserved != 0 {
            return Err(DecodeErrorKind::SubscriptionOptions);
        }
        Ok(SubscriptionOptions {
            maximum_qos: QoS::from_u8(byte & 0b11).ok_or(DecodeErrorKind::SubscriptionQoS)?,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::SendAtSubscribe,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeErrorKind::RetainHandling),
            },
        })
    }

    fn as_byte(self, version: ProtocolVersion) -> u8 {
        if version != ProtocolVersion::V5 {
            return self.maximum_qos.as_u8();
        }
        let retain_handling = match self.retain_handling {
            RetainHandling::SendAtSubscribe => 0x00,
            RetainHandling::SendIfNew => 0x10,
            RetainHandling::DoNotSend => 0x20,
        };
        self.maximum_qos.as_u8()
            | (u8::from(self.no_local) << 2)
            | (u8::from(self.retain_as_published) << 3)
            | retain_handling
    }
}

impl<'a> Subscribe<'a> {
    /// Reads the packet. Topic Filters are checked as strings only: what they mean is not this crate's.
    ///
    /// # Errors
    ///
    /// Packet Identifier 0, no Topic Filter (3.1 allows that), strings that are none, QoS 3, reserved options,
    /// Subscription Identifier 0, properties that are unknown, misplaced or repeated, missing bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for Subscribe<'a> {
    const PACKET_TYPE: PacketType = PacketType::Subscribe;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let packet_identifier = reader.packet_identifier()?;
        let (mut subscription_identifier, mut user_properties) = (None, UserProperties::default());
        if reader.context().version == ProtocolVersion::V5 {
            let mut properties = PropertyReader::new(&mut reader, PropertySet::SUBSCRIBE)?;
            let mut user = Span::default();
            while let Some(property) = properties.next()? {
                match property {
                    PropertyId::SubscriptionIdentifier => {
                        subscription_identifier = Some(properties.value.subscription_identifier()?);
                    }
                    // No other is allowed.
                    _ => properties.user_property(&mut user)?,
                }
            }
            user_properties = UserProperties::received(properties.slice(&user));
        }
        Ok(Subscribe {
            packet_identifier,
            subscription_identifier,
            user_properties,
            filters: SubscribeFilters::read(reader)?,
        })
    }
}

/// The Topic Filters of a SUBSCRIBE with their options, in their order; checked as strings only.
///
/// Equal when the filters and options are, whether they were received or are to be sent.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a>(Filters<'a>);

#[derive(Clone, Copy)]
enum Filters<'a> {
    /// The payload, checked, and the version it is written in.
    Received(&'a [u8], ProtocolVersion),
    Given(&'a [(&'a str, SubscriptionOptions)]),
}

impl<'a> SubscribeFilters<'a> {
    /// Filters to be sent.
    #[must_use]
    pub const fn from_slice(filters: &'a [(&'a str, SubscriptionOptions)]) -> Self {
        SubscribeFilters(Filters::Given(filters))
    }

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let version = reader.context().version;
        let payload = reader.rest();
        // v5 [MQTT-3.8.3-2], v3 [MQTT-3.8.3-3]; 3.1 has no such rule, and Mosquitto answers.
        if payload.is_empty() && version != ProtocolVersion::V3_1 {
            return Err(reader.error(DecodeErrorKind::NoTopicFilters));
        }
        while !reader.is_empty() && !reader.is_known() {
            // v5 [MQTT-3.8.3-1], v3 [MQTT-3.8.3-1]
            reader.string()?;
            let offset = reader.offset();
            let options = SubscriptionOptions::from_byte(reader.u8()?, version);
            options.map_err(|kind| reader.error_at(offset, kind))?;
        }
        Ok(SubscribeFilters(Filters::Received(payload, version)))
    }

    /// Each filter with its options.
    #[must_use]
    pub fn iter(&self) -> SubscribeFiltersIter<'a> {
        SubscribeFiltersIter(self.0)
    }

    /// Whether there is none, which only a SUBSCRIBE of 3.1 may have.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Filters::Received(payload, _) => payload.is_empty(),
            Filters::Given(filters) => filters.is_empty(),
        }
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscribeFilters<'_> {}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for SubscribeFilters<'a> {
    type Item = (&'a str, SubscriptionOptions);
    type IntoIter = SubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`SubscribeFilters`].
#[derive(Clone)]
pub struct SubscribeFiltersIter<'a>(Filters<'a>);

impl<'a> Iterator for SubscribeFiltersIter<'a> {
    type Item = (&'a str, SubscriptionOptions);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Filters::Received(payload, version) => {
                let (filter, rest) = split_string(payload)?;
                let (&options, rest) = rest.split_first()?;
                *payload = rest;
                Some((filter, SubscriptionOptions::from_byte(options, *version).ok()?))
            }
            Filters::Given(filters) => {
                let (&first, rest) = filters.split_first()?;
                *filters = rest;
                Some(first)
            }
        }
    }
}

impl fmt::Debug for SubscribeFiltersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Body for Subscribe<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::Subscribe)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if self.filters.is_empty() && version != ProtocolVersion::V3_1 {
            return Err(EncodeError::NoTopicFilters);
        }
        self.subscription_identifier
            .map_or(Ok(()), check_subscription_identifier)
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5 {
            sink.properties(self);
        }
        for (filter, options) in self.filters.iter() {
            sink.string(filter);
            sink.u8(options.as_byte(version));
        }
    }
}

impl Properties for Subscribe<'_> {
    fn write(&self, sink: &mut impl Sink) {
        if let Some(identifier) = self.subscription_identifier {
            sink.u8(PropertyId::SubscriptionIdentifier.as_u8());
            sink.variable_byte_integer(identifier);
        }
        self.user_properties.write(sink);
    }
}

encoders!(Subscribe<'_>);
