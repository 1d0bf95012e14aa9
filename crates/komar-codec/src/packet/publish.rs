//! PUBLISH. MQTT 5.0 §3.3.

use core::num::NonZeroU16;

use bytes::BufMut;

use super::{Decode, OutgoingPublish};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::fixed_header::publish_qos;
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::repeated::ReceivedProperties;
use crate::write::{self, Body, Properties, Sink};
use crate::{
    DecodeOptions, EncodeError, Frame, PacketIdentifier, PacketType, PropertyId, ProtocolVersion, QoS, Role,
    SubscriptionIdentifiers, UserProperties,
};

/// PUBLISH: an Application Message on its way. MQTT 5.0 §3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether this may be a repetition. Never set at QoS 0.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Whether the message is, or was, to be retained.
    pub retain: bool,
    /// Without wildcards; empty only beside a Topic Alias.
    pub topic_name: &'a str,
    /// Present above QoS 0.
    pub packet_identifier: Option<PacketIdentifier>,
    /// Empty in 3.x.
    pub properties: PublishProperties<'a>,
    /// May be empty.
    pub payload: &'a [u8],
}

/// The properties of PUBLISH. MQTT 5.0 §3.3.2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties<'a> {
    /// What the payload is; absent means bytes. §3.3.2.3.2.
    pub payload_format_indicator: Option<PayloadFormat>,
    /// Lifetime of the message in seconds; absent means for ever. §3.3.2.3.3.
    pub message_expiry_interval: Option<u32>,
    /// Number that stands for the Topic Name on this connection. §3.3.2.3.4.
    pub topic_alias: Option<NonZeroU16>,
    /// Topic Name for an answer. §3.3.2.3.5.
    pub response_topic: Option<&'a str>,
    /// What the requester knows the answer by. §3.3.2.3.6.
    pub correlation_data: Option<&'a [u8]>,
    /// What the payload is, between the applications. §3.3.2.3.9.
    pub content_type: Option<&'a str>,
    /// From a server: the Subscriptions that the message matches. §3.3.2.3.8.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    /// §3.3.2.3.7.
    pub user_properties: UserProperties<'a>,
    /// The bytes all this was read from, to be passed on ([`ReceivedProperties::forwarded`]), whatever the other fields are
    /// changed to; default for a message that was not received.
    pub received: ReceivedProperties<'a>,
}

/// What the payload of a message is. MQTT 5.0 §3.3.2.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadFormat {
    /// 0: bytes, the same as without the property.
    Unspecified,
    /// 1: UTF-8.
    Utf8,
}

impl<'a> Publish<'a> {
    /// Reads the packet.
    ///
    /// A payload that is announced as UTF-8 is not looked at: see [`Publish::has_valid_payload`].
    ///
    /// # Errors
    ///
    /// A Topic Name that is not UTF-8, has a wildcard, or is empty without a Topic Alias; Packet Identifier 0; Topic
    /// Alias 0; properties that are unknown, repeated, out of range, or only for the other direction; missing bytes.
    // A call would write the packet into memory in small parts, and the caller would copy it in large ones, for which the
    // processor has to wait: 15 to 20 ns.
    #[inline(always)]
    pub fn decode(frame: Frame<'a>, options: &DecodeOptions) -> Result<Self, DecodeError> {
        super::decode(frame, options)
    }

    /// Whether the payload is what the Payload Format Indicator says. A receiver may refuse the message where it is not,
    /// with Reason Code 0x99. MQTT 5.0 §3.3.2.3.2.
    #[must_use]
    pub fn has_valid_payload(&self) -> bool {
        self.properties.payload_format_indicator != Some(PayloadFormat::Utf8)
            || core::str::from_utf8(self.payload).is_ok()
    }
}

impl<'a> Decode<'a> for Publish<'a> {
    const PACKET_TYPE: PacketType = PacketType::Publish;

    #[inline(always)]
    fn read<F: Fault>(mut reader: Reader<'a, F>) -> Result<Self, F> {
        let start = Start::read(&mut reader, Reader::topic_name)?;
        let properties = if reader.context().version == ProtocolVersion::V5 && !reader.skip_zero() {
            // A reader whose address nobody takes stays in registers.
            let mut behind = reader;
            let properties = PublishProperties::read(&mut behind)?;
            reader = behind;
            properties
        } else {
            PublishProperties::default()
        };
        if start.topic_name.is_empty() {
            properties.check_alias(start.offset, &reader)?;
        }
        Ok(Publish {
            dup: reader.context().flags & 0b1000 != 0,
            qos: start.qos,
            retain: reader.context().flags & 0b0001 != 0,
            topic_name: start.topic_name,
            packet_identifier: start.packet_identifier,
            properties,
            payload: reader.take_rest(),
        })
    }
}

/// What stands in front of the properties.
pub(crate) struct Start<N> {
    pub(crate) qos: QoS,
    pub(crate) topic_name: N,
    pub(crate) packet_identifier: Option<PacketIdentifier>,
    /// From the first byte of the frame to the variable header.
    pub(crate) offset: usize,
}

impl<N> Start<N> {
    /// Reads it; `topic_name` reads the name.
    #[inline(always)]
    pub(crate) fn read<'a, F: Fault>(
        reader: &mut Reader<'a, F>,
        topic_name: impl FnOnce(&mut Reader<'a, F>) -> Result<N, F>,
    ) -> Result<Self, F> {
        let offset = reader.offset();
        let Some(qos) = publish_qos(reader.context().flags) else {
            return Err(reader.error_at(0, DecodeErrorKind::QoS));
        };
        // v5 [MQTT-3.3.2-1], v3 [MQTT-3.3.2-1]
        let topic_name = topic_name(reader)?;
        // v5 [MQTT-2.2.1-2], v3 [MQTT-2.3.1-5]
        let packet_identifier = match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(reader.packet_identifier()?),
        };
        Ok(Start {
            qos,
            topic_name,
            packet_identifier,
            offset,
        })
    }
}

impl<'a> PublishProperties<'a> {
    /// What an empty Topic Name needs; `offset` is where it stands.
    pub(crate) fn check_alias<F: Fault>(&self, offset: usize, reader: &Reader<'_, F>) -> Result<(), F> {
        if self.topic_alias.is_some() {
            return Ok(());
        }
        // v5 §3.3.2.1 names it a protocol error, v3 [MQTT-4.7.3-1] an invalid name.
        let kind = match reader.context().version {
            ProtocolVersion::V5 => DecodeErrorKind::MissingTopicName,
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => DecodeErrorKind::EmptyTopicName,
        };
        Err(reader.error_at(offset, kind))
    }

    /// Property Length and properties.
    #[inline(never)]
    pub(crate) fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = PublishProperties::default();
        // v5 [MQTT-3.3.4-6]
        let allowed = match reader.context().receiver {
            Role::Server => PropertySet::PUBLISH_FROM_CLIENT,
            Role::Client => PropertySet::PUBLISH,
        };
        let mut properties = PropertyReader::new(reader, allowed)?;
        let (mut user, mut identifiers, mut has_gaps) = (Span::default(), Span::default(), false);
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            match property {
                PropertyId::PayloadFormatIndicator => {
                    this.payload_format_indicator = Some(PayloadFormat::read(value)?);
                }
                // v5 [MQTT-3.3.2-19]
                PropertyId::ContentType => this.content_type = Some(value.string()?),
                PropertyId::ResponseTopic => this.response_topic = Some(read_response_topic(value)?),
                PropertyId::CorrelationData => this.correlation_data = Some(value.binary()?),
                PropertyId::UserProperty => properties.user_property(&mut user)?,
                PropertyId::MessageExpiryInterval => {
                    has_gaps = true;
                    this.message_expiry_interval = Some(value.u32()?);
                }
                PropertyId::TopicAlias => {
                    has_gaps = true;
                    // v5 [MQTT-3.3.2-8]
                    let zero = DecodeErrorKind::TopicAliasZero;
                    this.topic_alias = Some(value.non_zero(Reader::u16, NonZeroU16::new, zero)?);
                }
                // No other is allowed.
                _ => {
                    has_gaps = true;
                    value.subscription_identifier()?;
                    properties.extend(&mut identifiers);
                }
            }
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        this.subscription_identifiers = SubscriptionIdentifiers::received(properties.slice(&identifiers));
        this.received = ReceivedProperties::new(properties.section(), has_gaps);
        Ok(this)
    }
}

impl PayloadFormat {
    pub(super) fn read<F: Fault>(value: &mut Reader<'_, F>) -> Result<Self, F> {
        Ok(match value.boolean(PropertyId::PayloadFormatIndicator)? {
            false => PayloadFormat::Unspecified,
            true => PayloadFormat::Utf8,
        })
    }

    pub(super) fn as_bool(self) -> bool {
        self == PayloadFormat::Utf8
    }
}

/// A Topic Name for answers. v5 [MQTT-3.3.2-13], v5 [MQTT-3.3.2-14]
pub(super) fn read_response_topic<'a, F: Fault>(value: &mut Reader<'a, F>) -> Result<&'a str, F> {
    value.non_empty_topic_name().map_err(|fault| {
        fault.rename(
            DecodeErrorKind::WildcardInTopicName,
            DecodeErrorKind::WildcardInResponseTopic,
        )
    })
}

impl Body for Publish<'_> {
    fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        check(self.qos, self.dup, self.packet_identifier)?;
        if self.topic_name.is_empty()
            && (version != ProtocolVersion::V5 || self.properties.topic_alias.is_none())
        {
            return Err(EncodeError::MissingTopicName);
        }
        if version == ProtocolVersion::V5 && self.properties.response_topic == Some("") {
            return Err(EncodeError::EmptyResponseTopic);
        }
        self.properties
            .subscription_identifiers
            .iter()
            .try_for_each(check_subscription_identifier)
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.string(self.topic_name);
        if let Some(identifier) = self.packet_identifier {
            sink.u16(identifier.get());
        }
        if version == ProtocolVersion::V5 {
            sink.properties(&self.properties);
        }
        sink.slice(self.payload);
    }
}

impl Properties for PublishProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        self.subscription_identifiers.write(sink);
        sink.u16_property(PropertyId::TopicAlias, self.topic_alias.map(NonZeroU16::get));
        let format = self.payload_format_indicator.map(PayloadFormat::as_bool);
        sink.bool_property(PropertyId::PayloadFormatIndicator, format);
        sink.string_property(PropertyId::ContentType, self.content_type);
        sink.string_property(PropertyId::ResponseTopic, self.response_topic);
        sink.binary_property(PropertyId::CorrelationData, self.correlation_data);
        self.user_properties.write(sink);
        sink.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_interval);
    }
}

impl PublishProperties<'_> {
    /// Whether there is nothing to be written.
    #[inline]
    fn is_empty(&self) -> bool {
        self.payload_format_indicator.is_none()
            && self.message_expiry_interval.is_none()
            && self.topic_alias.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.content_type.is_none()
            && self.subscription_identifiers.is_empty()
            && self.user_properties.is_empty()
    }
}

impl Publish<'_> {
    /// Bytes that [`encode`](Self::encode) will write, fixed header included.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), without [`EncodeError::BufferFull`].
    #[inline]
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        match self.plain(version) {
            Some(plain) => plain.encoded_len(version),
            None => write::encoded_len(self, version),
        }
    }

    /// Writes the packet for a peer of that version, or nothing. Strings are not checked for what they hold.
    ///
    /// # Errors
    ///
    /// See the variants of [`EncodeError`]: what the version has no bytes for, or what a peer would refuse.
    #[inline]
    pub fn encode(&self, version: ProtocolVersion, out: &mut impl BufMut) -> Result<(), EncodeError> {
        match self.plain(version) {
            Some(plain) => plain.encode(version, self.payload, out),
            None => write::encode(self, version, out),
        }
    }

    /// The same packet for the quicker encoder, if there are no properties to write.
    #[inline]
    fn plain(&self, version: ProtocolVersion) -> Option<OutgoingPublish<'_>> {
        let is_plain = version != ProtocolVersion::V5 || self.properties.is_empty();
        is_plain.then_some(OutgoingPublish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic_name: self.topic_name,
            packet_identifier: self.packet_identifier,
            topic_alias: None,
            message_expiry_interval: None,
            subscription_identifiers: &[],
            forwarded: &[],
            payload_len: self.payload.len(),
        })
    }
}

/// The first byte of a PUBLISH. MQTT 5.0 §3.3.1.
#[inline]
pub(super) fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    0x30 | (u8::from(dup) << 3) | (qos.as_u8() << 1) | u8::from(retain)
}

#[inline]
pub(super) fn check(
    qos: QoS,
    dup: bool,
    packet_identifier: Option<PacketIdentifier>,
) -> Result<(), EncodeError> {
    match (qos, packet_identifier) {
        (QoS::AtMostOnce, _) if dup => Err(EncodeError::DupAtQoS0),
        (QoS::AtMostOnce, Some(_)) => Err(EncodeError::PacketIdentifierAtQoS0),
        (QoS::AtLeastOnce | QoS::ExactlyOnce, None) => Err(EncodeError::MissingPacketIdentifier),
        _ => Ok(()),
    }
}

#[inline]
pub(super) fn check_subscription_identifier(identifier: u32) -> Result<(), EncodeError> {
    match identifier {
        1..=crate::primitive::VARIABLE_BYTE_INTEGER_MAXIMUM => Ok(()),
        _ => Err(EncodeError::SubscriptionIdentifier(identifier)),
    }
}
