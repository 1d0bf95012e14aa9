//! SUBACK. MQTT 5.0 §3.9.

use core::fmt;

use super::ack::read_reason_code;
use super::{AckProperties, Decode};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::write::{self, Body, Sink, encoders};
use crate::{DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, ProtocolVersion, ReasonCode};

/// SUBACK: the answer to SUBSCRIBE. MQTT 5.0 §3.9.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE. v5 [MQTT-3.8.4-2], v3 [MQTT-3.8.4-2]
    pub packet_identifier: PacketIdentifier,
    /// One for each filter, in their order. In 3.x every failure is written as 0x80.
    pub reason_codes: ReasonCodes<'a>,
    /// Empty in 3.x.
    pub properties: AckProperties<'a>,
}

impl<'a> SubAck<'a> {
    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// Packet Identifier 0, a code that SUBACK does not have, no code (3.1 allows that), properties other than Reason
    /// String and User Property, missing bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for SubAck<'a> {
    const PACKET_TYPE: PacketType = PacketType::SubAck;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let packet_identifier = reader.packet_identifier()?;
        let properties = match reader.context().version {
            ProtocolVersion::V5 => AckProperties::read(&mut reader)?,
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => AckProperties::default(),
        };
        Ok(SubAck {
            packet_identifier,
            reason_codes: ReasonCodes::read(reader)?,
            properties,
        })
    }
}

/// The Reason Codes of a SUBACK or UNSUBACK, in their order.
///
/// Equal when the codes are, whether they were received or are to be sent.
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(Codes<'a>);

#[derive(Clone, Copy)]
enum Codes<'a> {
    /// The payload, checked.
    Received(&'a [u8]),
    Given(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    /// Codes to be sent.
    #[must_use]
    pub const fn from_codes(codes: &'a [ReasonCode]) -> Self {
        ReasonCodes(Codes::Given(codes))
    }

    /// The rest of the packet: codes that its type has. Those of 3.x are among the codes of 5.0 but for one value.
    pub(super) fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let payload = reader.rest();
        let version = reader.context().version;
        if payload.is_empty() && version != ProtocolVersion::V3_1 {
            return Err(reader.error(DecodeErrorKind::NoReasonCodes));
        }
        while !reader.is_empty() && !reader.is_known() {
            let offset = reader.offset();
            let code = read_reason_code(&mut reader)?;
            // v3 [MQTT-3.9.3-2]
            let is_failure_of_v5 = code > ReasonCode::UnspecifiedError;
            if version != ProtocolVersion::V5 && is_failure_of_v5 {
                return Err(reader.error_at(offset, DecodeErrorKind::ReasonCode(code.as_u8())));
            }
        }
        Ok(ReasonCodes(Codes::Received(payload)))
    }

    /// Each code.
    #[must_use]
    pub fn iter(&self) -> ReasonCodesIter<'a> {
        ReasonCodesIter(self.0)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Codes::Received(payload) => payload.len(),
            Codes::Given(codes) => codes.len(),
        }
    }

    /// Whether there is none, as in an UNSUBACK of 3.x.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every code has to be one of the packet's.
    pub(super) fn check(&self, packet_type: PacketType) -> Result<(), EncodeError> {
        if self.is_empty() {
            return Err(EncodeError::NoReasonCodes);
        }
        self.iter()
            .try_for_each(|code| super::check_reason_code(code, packet_type))
    }
}

impl Default for ReasonCodes<'_> {
    fn default() -> Self {
        ReasonCodes::from_codes(&[])
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReasonCodes<'_> {}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for ReasonCodes<'a> {
    type Item = ReasonCode;
    type IntoIter = ReasonCodesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`ReasonCodes`].
#[derive(Clone)]
pub struct ReasonCodesIter<'a>(Codes<'a>);

impl Iterator for ReasonCodesIter<'_> {
    type Item = ReasonCode;

    fn next(&mut self) -> Option<ReasonCode> {
        match &mut self.0 {
            Codes::Received(payload) => {
                let (&first, rest) = payload.split_first()?;
                *payload = rest;
                ReasonCode::from_u8(first)
            }
            Codes::Given(codes) => {
                let (&first, rest) = codes.split_first()?;
                *codes = rest;
                Some(first)
            }
        }
    }
}

impl fmt::Debug for ReasonCodesIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Body for SubAck<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::SubAck)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match version {
            ProtocolVersion::V5 => self.reason_codes.check(PacketType::SubAck),
            ProtocolVersion::V3_1_1 if self.reason_codes.is_empty() => Err(EncodeError::NoReasonCodes),
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => Ok(()),
        }
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5 {
            sink.properties(&self.properties);
        }
        for code in self.reason_codes.iter() {
            sink.u8(match version {
                ProtocolVersion::V5 => code.as_u8(),
                // v3 [MQTT-3.9.3-2]
                ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => code.to_v3_subscribe_return_code(),
            });
        }
    }
}

encoders!(SubAck<'_>);
