//! CONNACK. MQTT 5.0 §3.2.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use super::Decode;
use super::ack::read_reason_code;
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketType, PropertyId, ProtocolVersion, QoS, ReasonCode,
    UserProperties,
};

/// CONNACK: the answer to CONNECT. MQTT 5.0 §3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server continues a session. Only in an acceptance, and not in 3.1, which has no such flag.
    pub session_present: bool,
    /// The result. The return codes of 3.x are translated: [`ReasonCode::from_v3_connect_return_code`], and to the nearest
    /// by [`ReasonCode::to_v3_connect_return_code`], since 3.x has five refusals only.
    pub reason_code: ReasonCode,
    /// Empty in 3.x.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of CONNACK: what the server grants. MQTT 5.0 §3.2.2.3.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnAckProperties<'a> {
    /// Seconds; absent means what CONNECT asked for. §3.2.2.3.2.
    pub session_expiry_interval: Option<u32>,
    /// Absent means 65,535. §3.2.2.3.3.
    pub receive_maximum: Option<NonZeroU16>,
    /// Absent means QoS 2, and QoS 2 is not written. §3.2.2.3.4.
    pub maximum_qos: Option<QoS>,
    /// Absent means yes. §3.2.2.3.5.
    pub retain_available: Option<bool>,
    /// Bytes; absent means no limit. §3.2.2.3.6.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The Client Identifier of a client that sent none. §3.2.2.3.7.
    pub assigned_client_identifier: Option<&'a str>,
    /// Absent means 0. §3.2.2.3.8.
    pub topic_alias_maximum: Option<u16>,
    /// §3.2.2.3.9.
    pub reason_string: Option<&'a str>,
    /// §3.2.2.3.10.
    pub user_properties: UserProperties<'a>,
    /// Absent means yes. §3.2.2.3.11.
    pub wildcard_subscription_available: Option<bool>,
    /// Absent means yes. §3.2.2.3.12.
    pub subscription_identifiers_available: Option<bool>,
    /// Absent means yes. §3.2.2.3.13.
    pub shared_subscription_available: Option<bool>,
    /// Seconds; absent means that of CONNECT. §3.2.2.3.14.
    pub server_keep_alive: Option<u16>,
    /// §3.2.2.3.15.
    pub response_information: Option<&'a str>,
    /// §3.2.2.3.16.
    pub server_reference: Option<&'a str>,
    /// §3.2.2.3.17.
    pub authentication_method: Option<&'a str>,
    /// §3.2.2.3.18.
    pub authentication_data: Option<&'a [u8]>,
}

/// Without the Authentication Data, which may be a secret.
impl fmt::Debug for ConnAckProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnAckProperties")
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_qos", &self.maximum_qos)
            .field("retain_available", &self.retain_available)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("assigned_client_identifier", &self.assigned_client_identifier)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .field(
                "wildcard_subscription_available",
                &self.wildcard_subscription_available,
            )
            .field(
                "subscription_identifiers_available",
                &self.subscription_identifiers_available,
            )
            .field(
                "shared_subscription_available",
                &self.shared_subscription_available,
            )
            .field("server_keep_alive", &self.server_keep_alive)
            .field("response_information", &self.response_information)
            .field("server_reference", &self.server_reference)
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &self.authentication_data.map(|_| "not shown"),
            )
            .finish()
    }
}

impl<'a> ConnAck<'a> {
    /// Reads the packet.
    ///
    /// # Errors
    ///
    /// Reserved flags, Session Present in a refusal, a code that CONNACK does not have, properties that are unknown,
    /// misplaced, repeated or out of range, missing or surplus bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }
}

impl<'a> Decode<'a> for ConnAck<'a> {
    const PACKET_TYPE: PacketType = PacketType::ConnAck;

    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let flags_offset = reader.offset();
        let flags = reader.u8()?;
        let session_present = match (reader.context().version, flags) {
            // A reserved byte that nobody looks at. MQTT 3.1, section 3.2.
            (ProtocolVersion::V3_1, _) | (_, 0) => false,
            (_, 1) => true,
            // v5 [MQTT-3.2.2-1]
            _ => return Err(reader.error_at(flags_offset, DecodeErrorKind::ConnAckFlags)),
        };
        let (reason_code, properties) = match reader.context().version {
            ProtocolVersion::V5 => (
                read_reason_code(&mut reader)?,
                ConnAckProperties::read(&mut reader)?,
            ),
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => {
                (read_return_code(&mut reader)?, ConnAckProperties::default())
            }
        };
        reader.finish()?;
        // v5 [MQTT-3.2.2-6], v3 [MQTT-3.2.2-4]
        if session_present && reason_code != ReasonCode::Success {
            return Err(reader.error_at(flags_offset, DecodeErrorKind::SessionPresentInRefusal));
        }
        Ok(ConnAck {
            session_present,
            reason_code,
            properties,
        })
    }
}

/// MQTT 3.1.1 §3.2.2.3.
fn read_return_code<F: Fault>(reader: &mut Reader<'_, F>) -> Result<ReasonCode, F> {
    let offset = reader.offset();
    let value = reader.u8()?;
    ReasonCode::from_v3_connect_return_code(value)
        .ok_or_else(|| reader.error_at(offset, DecodeErrorKind::ReasonCode(value)))
}

impl<'a> ConnAckProperties<'a> {
    fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = ConnAckProperties::default();
        let mut properties = PropertyReader::new(reader, PropertySet::CONNACK)?;
        let mut user = Span::default();
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            let out_of_range = DecodeErrorKind::PropertyValue(property);
            match property {
                PropertyId::SessionExpiryInterval => this.session_expiry_interval = Some(value.u32()?),
                PropertyId::ReceiveMaximum => {
                    let maximum = value.non_zero(Reader::u16, NonZeroU16::new, out_of_range)?;
                    this.receive_maximum = Some(maximum);
                }
                PropertyId::MaximumQoS => {
                    let at_least_once = value.boolean(property)?;
                    this.maximum_qos = Some(if at_least_once {
                        QoS::AtLeastOnce
                    } else {
                        QoS::AtMostOnce
                    });
                }
                PropertyId::RetainAvailable => this.retain_available = Some(value.boolean(property)?),
                PropertyId::MaximumPacketSize => {
                    let maximum = value.non_zero(Reader::u32, NonZeroU32::new, out_of_range)?;
                    this.maximum_packet_size = Some(maximum);
                }
                PropertyId::AssignedClientIdentifier => {
                    this.assigned_client_identifier = Some(value.string()?);
                }
                PropertyId::TopicAliasMaximum => this.topic_alias_maximum = Some(value.u16()?),
                PropertyId::ReasonString => this.reason_string = Some(value.string()?),
                PropertyId::WildcardSubscriptionAvailable => {
                    this.wildcard_subscription_available = Some(value.boolean(property)?);
                }
                PropertyId::SubscriptionIdentifiersAvailable => {
                    this.subscription_identifiers_available = Some(value.boolean(property)?);
                }
                PropertyId::SharedSubscriptionAvailable => {
                    this.shared_subscription_available = Some(value.boolean(property)?);
                }
                PropertyId::ServerKeepAlive => this.server_keep_alive = Some(value.u16()?),
                PropertyId::ResponseInformation => this.response_information = Some(value.string()?),
                PropertyId::ServerReference => this.server_reference = Some(value.string()?),
                PropertyId::AuthenticationMethod => this.authentication_method = Some(value.string()?),
                PropertyId::AuthenticationData => this.authentication_data = Some(value.binary()?),
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        Ok(this)
    }
}

impl Body for ConnAck<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::ConnAck)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if self.session_present && self.reason_code != ReasonCode::Success {
            return Err(EncodeError::SessionPresentInRefusal);
        }
        match version {
            ProtocolVersion::V5 => super::check_reason_code(self.reason_code, PacketType::ConnAck),
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => Ok(()),
        }
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        let code = match version {
            ProtocolVersion::V5 => self.reason_code.as_u8(),
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => self.reason_code.to_v3_connect_return_code(),
        };
        let flags = u8::from(self.session_present && version != ProtocolVersion::V3_1);
        sink.slice(&[flags, code]);
        if version == ProtocolVersion::V5 {
            sink.properties(&self.properties);
        }
    }
}

/// In the order of Mosquitto's, which its tests compare byte by byte.
impl Properties for ConnAckProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.string_property(
            PropertyId::AssignedClientIdentifier,
            self.assigned_client_identifier,
        );
        sink.u16_property(PropertyId::ServerKeepAlive, self.server_keep_alive);
        sink.string_property(PropertyId::AuthenticationMethod, self.authentication_method);
        sink.binary_property(PropertyId::AuthenticationData, self.authentication_data);
        sink.bool_property(PropertyId::RetainAvailable, self.retain_available);
        sink.u32_property(
            PropertyId::MaximumPacketSize,
            self.maximum_packet_size.map(NonZeroU32::get),
        );
        sink.u16_property(
            PropertyId::ReceiveMaximum,
            self.receive_maximum.map(NonZeroU16::get),
        );
        // MQTT 5.0 §3.2.2.3.4: QoS 2 is what absence means, and no value that may be sent.
        let maximum_qos = self.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce);
        sink.u8_property(PropertyId::MaximumQoS, maximum_qos.map(QoS::as_u8));
        sink.bool_property(
            PropertyId::WildcardSubscriptionAvailable,
            self.wildcard_subscription_available,
        );
        sink.bool_property(
            PropertyId::SubscriptionIdentifiersAvailable,
            self.subscription_identifiers_available,
        );
        sink.bool_property(
            PropertyId::SharedSubscriptionAvailable,
            self.shared_subscription_available,
        );
        sink.string_property(PropertyId::ReasonString, self.reason_string);
        sink.string_property(PropertyId::ResponseInformation, self.response_information);
        sink.string_property(PropertyId::ServerReference, self.server_reference);
        self.user_properties.write(sink);
    }
}

encoders!(ConnAck<'_>);
