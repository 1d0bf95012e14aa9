//! PUBACK, PUBREC, PUBREL and PUBCOMP: the same body, and different Reason Codes. MQTT 5.0 §3.4 to §3.7.

use super::Decode;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, PropertyId, ProtocolVersion, ReasonCode,
    UserProperties,
};

/// What an acknowledgement may say beside its Reason Code, in 5.0. MQTT 5.0 §3.4.2.2.
///
/// The sender leaves it out where it would exceed the receiver's Maximum Packet Size, or where the receiver asked for no
/// problem information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckProperties<'a> {
    /// For people; not to be parsed.
    pub reason_string: Option<&'a str>,
    /// For programs.
    pub user_properties: UserProperties<'a>,
}

impl<'a> AckProperties<'a> {
    pub(crate) fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = AckProperties::default();
        let mut properties = PropertyReader::new(reader, PropertySet::ACKNOWLEDGEMENT)?;
        let mut user = Span::default();
        while let Some(property) = properties.next()? {
            match property {
                PropertyId::ReasonString => this.reason_string = Some(properties.value.string()?),
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        Ok(this)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user_properties.is_empty()
    }
}

impl Properties for AckProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.string_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }
}

macro_rules! acknowledgements {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            /// The identifier of the PUBLISH that this belongs to. v5 [MQTT-2.2.1-5], v3 [MQTT-2.3.1-6]
            pub packet_identifier: PacketIdentifier,
            /// The result; [`Success`](ReasonCode::Success) where the packet does not say, as in 3.x. Is not written in
            /// 3.x, where every acknowledgement means success.
            pub reason_code: ReasonCode,
            /// Empty in 3.x.
            pub properties: AckProperties<'a>,
        }

        impl<'a> $name<'a> {
            /// An acknowledgement without properties.
            #[must_use]
            pub fn new(packet_identifier: PacketIdentifier, reason_code: ReasonCode) -> Self {
                $name { packet_identifier, reason_code, properties: AckProperties::default() }
            }

            /// Reads the packet.
            ///
            /// # Errors
            ///
            /// Packet Identifier 0, a Reason Code that is not in this packet's table, properties other than Reason
            /// String and User Property, missing or surplus bytes.
            #[inline]
            pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
                super::decode(frame, options)
            }
        }

        impl<'a> Decode<'a> for $name<'a> {
            const PACKET_TYPE: PacketType = PacketType::$name;

            #[inline]
            fn read<F: Fault>(reader: Reader<'a, F>) -> Result<Self, F> {
                let (packet_identifier, reason_code, properties) = read(reader)?;
                Ok($name { packet_identifier, reason_code, properties })
            }
        }

        impl Body for $name<'_> {
            fn first_byte(&self) -> u8 {
                write::first_byte(PacketType::$name)
            }

            fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
                match version {
                    ProtocolVersion::V5 => super::check_reason_code(self.reason_code, PacketType::$name),
                    ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => Ok(()),
                }
            }

            fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
                sink.u16(self.packet_identifier.get());
                if version == ProtocolVersion::V5 {
                    write_result(self.reason_code, &self.properties, sink);
                }
            }
        }

        encoders!($name<'_>);
    )*};
}

acknowledgements! {
    /// PUBACK: the answer to a PUBLISH of QoS 1. MQTT 5.0 §3.4.
    PubAck;
    /// PUBREC: the first answer to a PUBLISH of QoS 2. MQTT 5.0 §3.5.
    PubRec;
    /// PUBREL: the answer to PUBREC. MQTT 5.0 §3.6.
    PubRel;
    /// PUBCOMP: the answer to PUBREL, and the end of the exchange. MQTT 5.0 §3.7.
    PubComp;
}

#[inline]
fn read<'a, F: Fault>(
    mut reader: Reader<'a, F>,
) -> Result<(PacketIdentifier, ReasonCode, AckProperties<'a>), F> {
    let packet_identifier = reader.packet_identifier()?;
    if reader.context().version != ProtocolVersion::V5 || reader.is_empty() {
        // Without a Reason Code the result is success. MQTT 5.0 §3.4.2.1.
        reader.finish()?;
        return Ok((packet_identifier, ReasonCode::Success, AckProperties::default()));
    }
    let reason_code = read_reason_code(&mut reader)?;
    // Without a Property Length there are no properties. MQTT 5.0 §3.4.2.2.1.
    let properties = if reader.is_empty() {
        AckProperties::default()
    } else {
        AckProperties::read(&mut reader)?
    };
    reader.finish()?;
    Ok((packet_identifier, reason_code, properties))
}

/// A Reason Code that the packet's table has for this sender.
pub(super) fn read_reason_code<F: Fault>(reader: &mut Reader<'_, F>) -> Result<ReasonCode, F> {
    let offset = reader.offset();
    let value = reader.u8()?;
    let context = reader.context();
    ReasonCode::from_u8(value)
        .filter(|code| code.may_be_sent_to(context.receiver, context.packet_type))
        .ok_or_else(|| reader.error_at(offset, DecodeErrorKind::ReasonCode(value)))
}

/// Reason Code and properties, without what may be left out.
fn write_result(reason_code: ReasonCode, properties: &AckProperties<'_>, sink: &mut impl Sink) {
    if !properties.is_empty() {
        sink.u8(reason_code.as_u8());
        sink.properties(properties);
    } else if reason_code != ReasonCode::Success {
        sink.u8(reason_code.as_u8());
    }
}
