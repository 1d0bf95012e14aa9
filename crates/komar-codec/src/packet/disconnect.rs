//! DISCONNECT. MQTT 5.0 §3.14.

use super::Decode;
use super::ack::read_reason_code;
use crate::error::DecodeError;
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketType, PropertyId, ProtocolVersion, ReasonCode, Role,
    UserProperties,
};

/// DISCONNECT: the last packet of a connection. MQTT 5.0 §3.14.
///
/// In 3.x only clients send it, and it says nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why; [`ReasonCode::NORMAL_DISCONNECTION`] in 3.x.
    pub reason_code: ReasonCode,
    /// Empty in 3.x.
    pub properties: DisconnectProperties<'a>,
}

/// The properties of DISCONNECT. MQTT 5.0 §3.14.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties<'a> {
    /// Seconds, from a client only; absent means that of CONNECT. v5 [MQTT-3.14.2-2]
    pub session_expiry_interval: Option<u32>,
    /// For people; not to be parsed.
    pub reason_string: Option<&'a str>,
    /// Which server to use.
    pub server_reference: Option<&'a str>,
    /// For programs.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    #[must_use]
    pub fn new(reason_code: ReasonCode) -> Self {
        Disconnect {
            reason_code,
            properties: DisconnectProperties::default(),
        }
    }

    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// A Reason Code that DISCONNECT does not have, or not from this sender, properties that are unknown, misplaced or
    /// repeated, a Session Expiry Interval from a server, missing or surplus bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for Disconnect<'a> {
    const PACKET_TYPE: PacketType = PacketType::Disconnect;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        if reader.context().version != ProtocolVersion::V5 || reader.is_empty() {
            // Without a Reason Code it is 0x00. MQTT 5.0 §3.14.2.1.
            reader.finish()?;
            return Ok(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
        }
        let reason_code = read_reason_code(&mut reader)?;
        // Without a Property Length there are no properties. MQTT 5.0 §3.14.2.2.1.
        let properties = if reader.is_empty() {
            DisconnectProperties::default()
        } else {
            DisconnectProperties::read(&mut reader)?
        };
        reader.finish()?;
        Ok(Disconnect {
            reason_code,
            properties,
        })
    }
}

impl<'a> DisconnectProperties<'a> {
    fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        // v5 [MQTT-3.14.2-2]
        let allowed = match reader.context().receiver {
            Role::Server => PropertySet::DISCONNECT,
            Role::Client => PropertySet::DISCONNECT_FROM_SERVER,
        };
        let mut this = DisconnectProperties::default();
        let mut properties = PropertyReader::new(reader, allowed)?;
        let mut user = Span::default();
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            match property {
                PropertyId::SessionExpiryInterval => this.session_expiry_interval = Some(value.u32()?),
                PropertyId::ReasonString => this.reason_string = Some(value.string()?),
                PropertyId::ServerReference => this.server_reference = Some(value.string()?),
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        Ok(this)
    }

    fn is_empty(&self) -> bool {
        self == &DisconnectProperties::default()
    }
}

impl Body for Disconnect<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::Disconnect)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if version != ProtocolVersion::V5 {
            return Ok(());
        }
        super::check_reason_code(self.reason_code, PacketType::Disconnect)?;
        let may_be_clients = self
            .reason_code
            .may_be_sent_to(Role::Server, PacketType::Disconnect);
        if self.properties.session_expiry_interval.is_some() && !may_be_clients {
            return Err(EncodeError::SessionExpiryIntervalFromServer);
        }
        Ok(())
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version != ProtocolVersion::V5 {
            return;
        }
        if !self.properties.is_empty() {
            sink.u8(self.reason_code.as_u8());
            sink.properties(&self.properties);
        } else if self.reason_code != ReasonCode::NORMAL_DISCONNECTION {
            sink.u8(self.reason_code.as_u8());
        }
    }
}

impl Properties for DisconnectProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.string_property(PropertyId::ReasonString, self.reason_string);
        sink.string_property(PropertyId::ServerReference, self.server_reference);
        self.user_properties.write(sink);
    }
}

encoders!(Disconnect<'_>);
