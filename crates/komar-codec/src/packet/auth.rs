//! AUTH. MQTT 5.0 §3.15.

use core::fmt;

use super::Decode;
use super::ack::read_reason_code;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketType, PropertyId, ProtocolVersion, ReasonCode, UserProperties,
};

/// AUTH: one step of an authentication exchange, in 5.0 only. MQTT 5.0 §3.15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, Continue authentication or Re-authenticate.
    pub reason_code: ReasonCode,
    /// §3.15.2.2.
    pub properties: AuthProperties<'a>,
}

/// The properties of AUTH. MQTT 5.0 §3.15.2.2.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthProperties<'a> {
    /// Absent only in an AUTH that has nothing at all: Success without properties.
    pub authentication_method: Option<&'a str>,
    /// What the method defines.
    pub authentication_data: Option<&'a [u8]>,
    /// For people; not to be parsed.
    pub reason_string: Option<&'a str>,
    /// For programs.
    pub user_properties: UserProperties<'a>,
}

/// Without the Authentication Data, which may be a secret.
impl fmt::Debug for AuthProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthProperties")
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &self.authentication_data.map(|_| "not shown"),
            )
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}

impl<'a> Auth<'a> {
    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// A Reason Code that AUTH does not have, or not from this sender, no Authentication Method (unless the body is empty),
    /// properties that are unknown, misplaced or repeated, missing or surplus bytes.
    ///
    /// An empty body is read as Success whoever sends it: MQTT 5.0 §3.15.2.1 lets Reason Code and properties be left out, and
    /// does not except clients, though only servers send Success. What a server makes of it depends on its state.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for Auth<'a> {
    const PACKET_TYPE: PacketType = PacketType::Auth;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        // Reason Code and properties may be left out together. MQTT 5.0 §3.15.2.1.
        if reader.is_empty() {
            return Ok(Auth {
                reason_code: ReasonCode::Success,
                properties: AuthProperties::default(),
            });
        }
        let reason_code = read_reason_code(&mut reader)?;
        let properties = AuthProperties::read(&mut reader)?;
        reader.finish()?;
        Ok(Auth {
            reason_code,
            properties,
        })
    }
}

impl<'a> AuthProperties<'a> {
    fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = AuthProperties::default();
        let offset = reader.offset();
        let mut properties = PropertyReader::new(reader, PropertySet::AUTH)?;
        let mut user = Span::default();
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            match property {
                PropertyId::AuthenticationMethod => this.authentication_method = Some(value.string()?),
                PropertyId::AuthenticationData => this.authentication_data = Some(value.binary()?),
                PropertyId::ReasonString => this.reason_string = Some(value.string()?),
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        // MQTT 5.0 §3.15.2.2.2
        if this.authentication_method.is_none() {
            return Err(reader.error_at(offset, DecodeErrorKind::MissingAuthenticationMethod));
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        Ok(this)
    }
}

impl Auth<'_> {
    /// Whether the whole body may be left out.
    fn is_bare(&self) -> bool {
        self.reason_code == ReasonCode::Success && self.properties == AuthProperties::default()
    }
}

impl Body for Auth<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::Auth)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if version != ProtocolVersion::V5 {
            let packet_type = PacketType::Auth;
            return Err(EncodeError::NotInVersion { packet_type, version });
        }
        if self.properties.authentication_method.is_none() && !self.is_bare() {
            return Err(EncodeError::MissingAuthenticationMethod);
        }
        super::check_reason_code(self.reason_code, PacketType::Auth)
    }

    fn write(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        if !self.is_bare() {
            sink.u8(self.reason_code.as_u8());
            sink.properties(&self.properties);
        }
    }
}

impl Properties for AuthProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.string_property(PropertyId::AuthenticationMethod, self.authentication_method);
        sink.binary_property(PropertyId::AuthenticationData, self.authentication_data);
        sink.string_property(PropertyId::ReasonString, self.reason_string);
        self.user_properties.write(sink);
    }
}

encoders!(Auth<'_>);
