//! CONNECT. MQTT 5.0 §3.1.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

use super::{Decode, Will};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::primitive::{Fault, Reader, Unnamed};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::write::{self, Body, Properties, Sink, encoders};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketType, PropertyId, ProtocolVersion, QoS, UserProperties,
};

/// CONNECT: the first packet of a client. MQTT 5.0 §3.1.
///
/// `Debug` shows neither the password nor the Authentication Data.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that this packet asks for, and is written in.
    pub version: ProtocolVersion,
    /// Whether the sender is a bridge: bit 7 of the Protocol Level. A habit of brokers in 3.x, of no meaning in 5.0, where
    /// it is not written.
    pub bridge: bool,
    /// Clean Start; Clean Session in 3.x.
    pub clean_start: bool,
    /// Seconds; 0 means for ever. §3.1.2.10.
    pub keep_alive: u16,
    /// May be empty: the server is to assign one.
    pub client_id: &'a str,
    /// §3.1.3.5.
    pub username: Option<&'a str>,
    /// In 3.x only beside a user name. §3.1.3.6.
    pub password: Option<&'a [u8]>,
    /// §3.1.2.5.
    pub will: Option<Will<'a>>,
    /// Empty in 3.x.
    pub properties: ConnectProperties<'a>,
}

/// The properties of CONNECT. MQTT 5.0 §3.1.2.11.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Seconds; absent means 0, `u32::MAX` for ever. §3.1.2.11.2.
    pub session_expiry_interval: Option<u32>,
    /// Absent means 65,535. §3.1.2.11.3.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes; absent means no limit. §3.1.2.11.4.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// Absent means 0. §3.1.2.11.5.
    pub topic_alias_maximum: Option<u16>,
    /// Absent means no. §3.1.2.11.6.
    pub request_response_information: Option<bool>,
    /// Absent means yes. §3.1.2.11.7.
    pub request_problem_information: Option<bool>,
    /// §3.1.2.11.8.
    pub user_properties: UserProperties<'a>,
    /// §3.1.2.11.9.
    pub authentication_method: Option<&'a str>,
    /// Only beside a method. §3.1.2.11.10.
    pub authentication_data: Option<&'a [u8]>,
}

/// Without the Authentication Data, which may be a secret.
impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("user_properties", &self.user_properties)
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &self.authentication_data.map(|_| "not shown"),
            )
            .finish()
    }
}

impl<'a> Connect<'a> {
    /// Reads the packet, by the rules of the version that it names itself.
    ///
    /// 3.1 is read as its text is written: what it calls unused is ignored (the reserved flag, Will QoS and Will Retain
    /// without a Will), and a user name or password that is announced but lies beyond the Remaining Length is absent.
    ///
    /// # Errors
    ///
    /// An unknown protocol, reserved or contradictory flags, strings that are none, wildcards in the Will Topic,
    /// properties that are unknown, misplaced, repeated or out of range, missing or surplus bytes.
    #[inline]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }

    /// Which field it is that [`decode`](Self::decode) refuses the packet for; `None` if it does not.
    #[must_use]
    pub fn faulty_field(frame: Frame<'a>, options: &DecodeOptions) -> Option<ConnectField> {
        let mut field = ConnectField::Header;
        let packet = Connect::read_fields(frame.reader::<Unnamed>(options), &mut field);
        packet.is_err().then_some(field)
    }
}

/// A part of a CONNECT. MQTT 5.0 §3.1.2, §3.1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectField {
    /// Protocol Name and level, Connect Flags and Keep Alive.
    Header,
    /// The properties of the packet.
    Properties,
    /// Client Identifier.
    ClientId,
    /// Will Properties, Will Topic and Will Payload.
    Will,
    /// User Name.
    Username,
    /// Password.
    Password,
    /// What is behind the last field.
    Behind,
}

impl<'a> Decode<'a> for Connect<'a> {
    const PACKET_TYPE: PacketType = PacketType::Connect;

    fn read<F: Fault>(reader: Reader<'a, F>) -> Result<Self, F> {
        Connect::read_fields(reader, &mut ConnectField::Header)
    }
}

impl<'a> Connect<'a> {
    /// Reads the packet, and notes in `field` how far it came.
    #[inline]
    fn read_fields<F: Fault>(mut reader: Reader<'a, F>, field: &mut ConnectField) -> Result<Self, F> {
        let (version, bridge) = read_protocol(&mut reader)?;
        reader.set_version(version);
        let flags = Flags::read(&mut reader, version)?;
        let keep_alive = reader.u16()?;
        *field = ConnectField::Properties;
        let properties = match version {
            ProtocolVersion::V5 => ConnectProperties::read(&mut reader)?,
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => ConnectProperties::default(),
        };
        // v5 [MQTT-3.1.3-1], v5 [MQTT-3.1.3-3], v5 [MQTT-3.1.3-4], v3 [MQTT-3.1.3-1], v3 [MQTT-3.1.3-3], v3 [MQTT-3.1.3-4]
        *field = ConnectField::ClientId;
        let client_id = reader.string()?;
        *field = ConnectField::Will;
        // v5 [MQTT-3.1.2-9], v3 [MQTT-3.1.2-9]
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::read(&mut reader, version, qos, retain)?),
            None => None,
        };
        // The Remaining Length wins over the flags. MQTT 3.1, section 3.1.
        let has_more = |reader: &Reader<'_, F>| version != ProtocolVersion::V3_1 || !reader.is_empty();
        // v5 [MQTT-3.1.2-16], v5 [MQTT-3.1.2-17], v5 [MQTT-3.1.3-12], v3 [MQTT-3.1.2-18], v3 [MQTT-3.1.2-19],
        // v3 [MQTT-3.1.3-11]
        *field = ConnectField::Username;
        let username = if flags.username && has_more(&reader) {
            Some(reader.string()?)
        } else {
            None
        };
        // v5 [MQTT-3.1.2-18], v5 [MQTT-3.1.2-19], v3 [MQTT-3.1.2-20], v3 [MQTT-3.1.2-21]
        *field = ConnectField::Password;
        let password = if flags.password && has_more(&reader) {
            Some(reader.binary()?)
        } else {
            None
        };
        *field = ConnectField::Behind;
        reader.finish()?;
        Ok(Connect {
            version,
            bridge,
            clean_start: flags.clean_start,
            keep_alive,
            client_id,
            username,
            password,
            will,
            properties,
        })
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "not shown"))
            .field("will", &self.will)
            .field("properties", &self.properties)
            .finish()
    }
}

/// Protocol Name and level, with the bridge bit. MQTT 5.0 §3.1.2.1, §3.1.2.2.
fn read_protocol<F: Fault>(reader: &mut Reader<'_, F>) -> Result<(ProtocolVersion, bool), F> {
    let name_offset = reader.offset();
    let is_v3_1_name = match reader.binary()? {
        b"MQTT" => false,
        b"MQIsdp" => true,
        // v5 [MQTT-3.1.2-1], v3 [MQTT-3.1.2-1]
        _ => return Err(reader.error_at(name_offset, DecodeErrorKind::ProtocolName)),
    };
    let offset = reader.offset();
    let level = reader.u8()?;
    Ok(match (is_v3_1_name, level) {
        (true, 3) => (ProtocolVersion::V3_1, false),
        (true, 0x83) => (ProtocolVersion::V3_1, true),
        (false, 4) => (ProtocolVersion::V3_1_1, false),
        (false, 0x84) => (ProtocolVersion::V3_1_1, true),
        (false, 5) => (ProtocolVersion::V5, false),
        _ => {
            // v5 [MQTT-3.1.2-2], v3 [MQTT-3.1.2-2]
            let kind = DecodeErrorKind::UnsupportedProtocolLevel { level, is_v3_1_name };
            return Err(reader.error_at(offset, kind));
        }
    })
}

/// The Connect Flags. MQTT 5.0 §3.1.2.3.
struct Flags {
    clean_start: bool,
    /// Will QoS and Will Retain.
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl Flags {
    fn read<F: Fault>(reader: &mut Reader<'_, F>, version: ProtocolVersion) -> Result<Self, F> {
        let offset = reader.offset();
        let bits = reader.u8()?;
        let error = |kind| Err(reader.error_at(offset, kind));
        let is_strict = version != ProtocolVersion::V3_1;
        let (has_will, retain) = (bits & 0x04 != 0, bits & 0x20 != 0);
        let qos = QoS::from_u8((bits >> 3) & 0b11);
        let (username, password) = (bits & 0x80 != 0, bits & 0x40 != 0);
        // v5 [MQTT-3.1.2-3], v3 [MQTT-3.1.2-3]
        if bits & 0x01 != 0 && is_strict {
            return error(DecodeErrorKind::ConnectFlags);
        }
        let will = match (has_will, qos) {
            (true, Some(qos)) => Some((qos, retain)),
            // v5 [MQTT-3.1.2-12], v3 [MQTT-3.1.2-14]
            (true, None) => return error(DecodeErrorKind::WillQoS),
            // v5 [MQTT-3.1.2-11], v3 [MQTT-3.1.2-11], v3 [MQTT-3.1.2-13]
            (false, qos) if is_strict && qos != Some(QoS::AtMostOnce) => {
                return error(DecodeErrorKind::WillQoSWithoutWill);
            }
            // v5 [MQTT-3.1.2-13], v3 [MQTT-3.1.2-15]
            (false, _) if is_strict && retain => return error(DecodeErrorKind::WillRetainWithoutWill),
            (false, _) => None,
        };
        // v3 [MQTT-3.1.2-22]; 5.0 allows it (§3.1.2.9).
        if password && !username && version != ProtocolVersion::V5 {
            return error(DecodeErrorKind::PasswordWithoutUserName);
        }
        Ok(Flags {
            clean_start: bits & 0x02 != 0,
            will,
            username,
            password,
        })
    }
}

impl<'a> ConnectProperties<'a> {
    fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = ConnectProperties::default();
        let mut properties = PropertyReader::new(reader, PropertySet::CONNECT)?;
        let mut user = Span::default();
        let mut data_offset = 0;
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            let out_of_range = DecodeErrorKind::PropertyValue(property);
            match property {
                PropertyId::SessionExpiryInterval => this.session_expiry_interval = Some(value.u32()?),
                PropertyId::ReceiveMaximum => {
                    let maximum = value.non_zero(Reader::u16, NonZeroU16::new, out_of_range)?;
                    this.receive_maximum = Some(maximum);
                }
                PropertyId::MaximumPacketSize => {
                    let maximum = value.non_zero(Reader::u32, NonZeroU32::new, out_of_range)?;
                    this.maximum_packet_size = Some(maximum);
                }
                PropertyId::TopicAliasMaximum => this.topic_alias_maximum = Some(value.u16()?),
                PropertyId::RequestResponseInformation => {
                    this.request_response_information = Some(value.boolean(property)?);
                }
                PropertyId::RequestProblemInformation => {
                    this.request_problem_information = Some(value.boolean(property)?);
                }
                PropertyId::AuthenticationMethod => this.authentication_method = Some(value.string()?),
                PropertyId::AuthenticationData => {
                    data_offset = value.offset();
                    this.authentication_data = Some(value.binary()?);
                }
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        // MQTT 5.0 §3.1.2.11.10
        if this.authentication_data.is_some() && this.authentication_method.is_none() {
            return Err(reader.error_at(data_offset, DecodeErrorKind::MissingAuthenticationMethod));
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        Ok(this)
    }
}

/// Is written in its own version: the version that [`encode`](Connect::encode) is given says nothing here.
impl Body for Connect<'_> {
    fn first_byte(&self) -> u8 {
        write::first_byte(PacketType::Connect)
    }

    fn check(&self, _: ProtocolVersion) -> Result<(), EncodeError> {
        if self.will.as_ref().is_some_and(|will| will.topic_name.is_empty()) {
            return Err(EncodeError::MissingTopicName);
        }
        let is_v5 = self.version == ProtocolVersion::V5;
        let response_topic = self.will.as_ref().and_then(|will| will.properties.response_topic);
        if is_v5 && response_topic == Some("") {
            return Err(EncodeError::EmptyResponseTopic);
        }
        let properties = &self.properties;
        if !is_v5 && self.password.is_some() && self.username.is_none() {
            return Err(EncodeError::PasswordWithoutUserName);
        }
        if is_v5 && properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(EncodeError::MissingAuthenticationMethod);
        }
        Ok(())
    }

    fn write(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let version = self.version;
        let is_v5 = version == ProtocolVersion::V5;
        sink.string(version.protocol_name());
        sink.u8(version.protocol_level() | if self.bridge && !is_v5 { 0x80 } else { 0 });
        sink.u8(self.flags());
        sink.u16(self.keep_alive);
        if is_v5 {
            sink.properties(&self.properties);
        }
        sink.string(self.client_id);
        if let Some(will) = &self.will {
            will.write(version, sink);
        }
        if let Some(username) = self.username {
            sink.string(username);
        }
        if let Some(password) = self.password {
            sink.binary(password);
        }
    }
}

impl Connect<'_> {
    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            0x04 | (will.qos.as_u8() << 3) | (u8::from(will.retain) << 5)
        });
        (u8::from(self.clean_start) << 1)
            | will
            | (u8::from(self.password.is_some()) << 6)
            | (u8::from(self.username.is_some()) << 7)
    }
}

impl Properties for ConnectProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
        sink.u16_property(
            PropertyId::ReceiveMaximum,
            self.receive_maximum.map(NonZeroU16::get),
        );
        sink.u32_property(
            PropertyId::MaximumPacketSize,
            self.maximum_packet_size.map(NonZeroU32::get),
        );
        sink.u16_property(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.bool_property(
            PropertyId::RequestResponseInformation,
            self.request_response_information,
        );
        sink.bool_property(
            PropertyId::RequestProblemInformation,
            self.request_problem_information,
        );
        sink.string_property(PropertyId::AuthenticationMethod, self.authentication_method);
        sink.binary_property(PropertyId::AuthenticationData, self.authentication_data);
        self.user_properties.write(sink);
    }
}

encoders!(
    /// A CONNECT is written in its own [`version`](Connect::version); the one that is given says nothing.
    Connect<'_>
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, Role, frame};

    /// What is wrong, and where that is found.
    #[test]
    fn an_error_is_in_a_field() {
        for (bytes, field) in [
            (
                &b"\x10\x0d\x00\x04MQTT\x05\x01\x00\x3c\x00\x00\x00"[..],
                ConnectField::Header,
            ),
            (
                b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x01\x21\x00\x00",
                ConnectField::Properties,
            ),
            (
                b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01\xff",
                ConnectField::ClientId,
            ),
            (
                b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00\x00",
                ConnectField::ClientId,
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x00",
                ConnectField::Will,
            ),
            (
                b"\x10\x12\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00",
                ConnectField::Will,
            ),
            (
                b"\x10\x10\x00\x04MQTT\x04\x86\x00\x3c\x00\x00\x00\x01t\x00",
                ConnectField::Will,
            ),
            (
                b"\x10\x10\x00\x04MQTT\x05\x82\x00\x3c\x00\x00\x00\x00\x01\x00",
                ConnectField::Username,
            ),
            (
                b"\x10\x0d\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x00",
                ConnectField::Password,
            ),
            (
                b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x00",
                ConnectField::Behind,
            ),
        ] {
            let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
            let Ok(Framing::Complete(whole)) = frame(bytes, &options) else {
                panic!("{bytes:x?}");
            };
            assert!(Connect::decode(whole, &options).is_err(), "{bytes:x?}");
            assert_eq!(Connect::faulty_field(whole, &options), Some(field), "{bytes:x?}");
        }
    }
}
