//! UNSUBSCRIBE. MQTT 5.0 §3.10.

use core::fmt;

use super::Decode;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::repeated::split_string;
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, ProtocolVersion, UserProperties,
};

/// UNSUBSCRIBE: a request for no more messages. MQTT 5.0 §3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// What UNSUBACK will carry.
    pub packet_identifier: PacketIdentifier,
    /// Empty in 3.x.
    pub user_properties: UserProperties<'a>,
    /// At least one, except in 3.1.
    pub filters: UnsubscribeFilters<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// Reads the packet. Topic Filters are checked as strings only.
    ///
    /// # Errors
    ///
    /// Packet Identifier 0, no Topic Filter (3.1 allows that), strings that are none, properties other than User
    /// Property, missing bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for Unsubscribe<'a> {
    const PACKET_TYPE: PacketType = PacketType::Unsubscribe;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let packet_identifier = reader.packet_identifier()?;
        let mut user_properties = UserProperties::default();
        if reader.context().version == ProtocolVersion::V5 {
            let mut properties = PropertyReader::new(&mut reader, PropertySet::UNSUBSCRIBE)?;
            let mut user = Span::default();
            while properties.next()?.is_some() {
                properties.user_property(&mut user)?;
            }
            user_properties = UserProperties::received(properties.slice(&user));
        }
        Ok(Unsubscribe {
            packet_identifier,
            user_properties,
            filters: UnsubscribeFilters::read(reader)?,
        })
    }
}

/// The Topic Filters of an UNSUBSCRIBE, in their order; checked as strings only.
///
/// Equal when the filters are, whether they were received or are to be sent.
#[derive(Clone, Copy)]
pub struct UnsubscribeFilters<'a>(Filters<'a>);

#[derive(Clone, Copy)]
enum Filters<'a> {
    /// The payload, checked.
    Received(&'a [u8]),
    Given(&'a [&'a str]),
}

impl<'a> UnsubscribeFilters<'a> {
    /// Filters to be sent.
    #[must_use]
    pub const fn from_slice(filters: &'a [&'a str]) -> Self {
        UnsubscribeFilters(Filters::Given(filters))
    }

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let payload = reader.rest();
        // v5 [MQTT-3.10.3-2], v3 [MQTT-3.10.3-2]; 3.1 has no such rule, and Mosquitto answers.
        if payload.is_empty() && reader.context().version != ProtocolVersion::V3_1 {
            return Err(reader.error(DecodeErrorKind::NoTopicFilters));
        }
        while !reader.is_empty() && !reader.is_known() {
            // v5 [MQTT-3.10.3-1], v3 [MQTT-3.10.3-1]
            reader.string()?;
        }
        Ok(UnsubscribeFilters(Filters::Received(payload)))
    }

    /// Each filter.
    #[must_use]
    pub fn iter(&self) -> UnsubscribeFiltersIter<'a> {
        UnsubscribeFiltersIter(self.0)
    }

    /// Whether there is none, which only an UNSUBSCRIBE of 3.1 may have.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Filters::Received(payload) => payload.is_empty(),
            Filters::Given(filters) => filters.is_empty(),
        }
    }
}

impl PartialEq for UnsubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UnsubscribeFilters<'_> {}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for UnsubscribeFilters<'a> {
    type Item = &'a str;
    type IntoIter = UnsubscribeFiltersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`UnsubscribeFilters`].
#[derive(Clone)]
pub struct UnsubscribeFiltersIter<'a>(Filters<'a>);

impl<'a> Iterator for UnsubscribeFiltersIter<'a> {
    type Item = &'a str;

    #[inline]
    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Filters::Received(payload) => {
                let (filter, rest) = split_string(payload)?;
                *payload = rest;
                Some(filter)
            }
            Filters::Given(filters) => {
                let (&first, rest) = filters.split_first()?;
                *filters = rest;
                Some(first)
            }
        }
    }
}

impl fmt::Debug for UnsubscribeFiltersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Body for Unsubscribe<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::Unsubscribe)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if self.filters.is_empty() && version != ProtocolVersion::V3_1 {
            return Err(EncodeError::NoTopicFilters);
        }
        Ok(())
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5 {
            sink.properties(self);
        }
        for filter in self.filters.iter() {
            sink.string(filter);
        }
    }
}

impl Properties for Unsubscribe<'_> {
    fn write(&self, sink: &mut impl Sink) {
        self.user_properties.write(sink);
    }
}

encoders!(Unsubscribe<'_>);
