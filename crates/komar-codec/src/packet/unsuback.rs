//! UNSUBACK. MQTT 5.0 §3.11.

use super::{AckProperties, Decode, ReasonCodes};
use crate::error::DecodeError;
use crate::primitive::{Fault, Reader};
use crate::write::{self, Body, Sink, encoders};
use crate::{DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, ProtocolVersion};

/// UNSUBACK: the answer to UNSUBSCRIBE. MQTT 5.0 §3.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// That of the UNSUBSCRIBE. v5 [MQTT-3.10.4-5], v3 [MQTT-3.10.4-4]
    pub packet_identifier: PacketIdentifier,
    /// One for each filter, in their order. 3.x has none, and leaves them out.
    pub reason_codes: ReasonCodes<'a>,
    /// Empty in 3.x.
    pub properties: AckProperties<'a>,
}

impl<'a> UnsubAck<'a> {
    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// Packet Identifier 0; in 5.0 a code that UNSUBACK does not have, no code, properties other than Reason String and
    /// User Property; missing or surplus bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for UnsubAck<'a> {
    const PACKET_TYPE: PacketType = PacketType::UnsubAck;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let packet_identifier = reader.packet_identifier()?;
        if reader.context().version != ProtocolVersion::V5 {
            reader.finish()?;
            return Ok(UnsubAck {
                packet_identifier,
                reason_codes: ReasonCodes::default(),
                properties: AckProperties::default(),
            });
        }
        let properties = AckProperties::read(&mut reader)?;
        Ok(UnsubAck {
            packet_identifier,
            reason_codes: ReasonCodes::read(reader)?,
            properties,
        })
    }
}

impl Body for UnsubAck<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::UnsubAck)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        match version {
            ProtocolVersion::V5 => self.reason_codes.check(PacketType::UnsubAck),
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => Ok(()),
        }
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5 {
            sink.properties(&self.properties);
            for code in self.reason_codes.iter() {
                sink.u8(code.as_u8());
            }
        }
    }
}

encoders!(UnsubAck<'_>);
