//! The Will of a CONNECT. MQTT 5.0 §3.1.2.5, §3.1.3.2 to §3.1.3.4.

use super::publish::{PayloadFormat, read_response_topic};
use crate::primitive::{Fault, Reader};
use crate::property::{PropertyReader, PropertySet, Span};
use crate::repeated::ReceivedProperties;
use crate::write::{Properties, Sink};
use crate::{PropertyId, ProtocolVersion, QoS, UserProperties};

/// The message that the server publishes when the client goes without a word. MQTT 5.0 §3.1.2.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Without wildcards, not empty.
    pub topic_name: &'a str,
    /// May be empty.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: QoS,
    /// Whether the message is to be retained.
    pub retain: bool,
    /// Empty in 3.x.
    pub properties: WillProperties<'a>,
}

/// The Will Properties. MQTT 5.0 §3.1.3.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WillProperties<'a> {
    /// Seconds from the end of the connection to publication; absent means 0. §3.1.3.2.2.
    pub will_delay_interval: Option<u32>,
    /// What the payload is; absent means bytes. §3.1.3.2.3.
    pub payload_format_indicator: Option<PayloadFormat>,
    /// Lifetime of the message in seconds, from its publication; absent means for ever. §3.1.3.2.4.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is, between the applications. §3.1.3.2.5.
    pub content_type: Option<&'a str>,
    /// Topic Name for an answer. §3.1.3.2.6.
    pub response_topic: Option<&'a str>,
    /// What the requester knows the answer by. §3.1.3.2.7.
    pub correlation_data: Option<&'a [u8]>,
    /// §3.1.3.2.8.
    pub user_properties: UserProperties<'a>,
    /// The bytes all this was read from, to be passed on ([`ReceivedProperties::forwarded`]), whatever the other fields are
    /// changed to; default for a Will that was not received.
    pub received: ReceivedProperties<'a>,
}

impl<'a> Will<'a> {
    /// Whether the payload is what the Payload Format Indicator says. MQTT 5.0 §3.1.3.2.3.
    #[must_use]
    pub fn has_valid_payload(&self) -> bool {
        self.properties.payload_format_indicator != Some(PayloadFormat::Utf8)
            || core::str::from_utf8(self.payload).is_ok()
    }

    /// Will Properties, Will Topic and Will Payload. v5 [MQTT-3.1.3-1], v3 [MQTT-3.1.3-1]
    pub(super) fn read<F: Fault>(
        reader: &mut Reader<'a, F>,
        version: ProtocolVersion,
        qos: QoS,
        retain: bool,
    ) -> Result<Self, F> {
        let properties = match version {
            ProtocolVersion::V5 => WillProperties::read(reader)?,
            ProtocolVersion::V3_1 | ProtocolVersion::V3_1_1 => WillProperties::default(),
        };
        Ok(Will {
            properties,
            // v5 [MQTT-3.1.3-11], v3 [MQTT-3.1.3-10]; what is published is a Topic Name: v5 [MQTT-4.7.0-1]
            topic_name: reader.non_empty_topic_name()?,
            payload: reader.binary()?,
            qos,
            retain,
        })
    }

    pub(super) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version == ProtocolVersion::V5 {
            sink.properties(&self.properties);
        }
        sink.string(self.topic_name);
        sink.binary(self.payload);
    }
}

impl<'a> WillProperties<'a> {
    fn read<F: Fault>(reader: &mut Reader<'a, F>) -> Result<Self, F> {
        let mut this = WillProperties::default();
        let mut properties = PropertyReader::new(reader, PropertySet::WILL)?;
        let (mut user, mut has_gaps) = (Span::default(), false);
        while let Some(property) = properties.next()? {
            let value = &mut properties.value;
            match property {
                PropertyId::WillDelayInterval => {
                    has_gaps = true;
                    this.will_delay_interval = Some(value.u32()?);
                }
                PropertyId::MessageExpiryInterval => {
                    has_gaps = true;
                    this.message_expiry_interval = Some(value.u32()?);
                }
                PropertyId::PayloadFormatIndicator => {
                    this.payload_format_indicator = Some(PayloadFormat::read(value)?);
                }
                PropertyId::ContentType => this.content_type = Some(value.string()?),
                PropertyId::ResponseTopic => this.response_topic = Some(read_response_topic(value)?),
                PropertyId::CorrelationData => this.correlation_data = Some(value.binary()?),
                // No other is allowed.
                _ => properties.user_property(&mut user)?,
            }
        }
        this.user_properties = UserProperties::received(properties.slice(&user));
        this.received = ReceivedProperties::new(properties.section(), has_gaps);
        Ok(this)
    }
}

impl Properties for WillProperties<'_> {
    fn write(&self, sink: &mut impl Sink) {
        sink.u32_property(PropertyId::WillDelayInterval, self.will_delay_interval);
        let format = self.payload_format_indicator.map(PayloadFormat::as_bool);
        sink.bool_property(PropertyId::PayloadFormatIndicator, format);
        sink.u32_property(PropertyId::MessageExpiryInterval, self.message_expiry_interval);
        sink.string_property(PropertyId::ContentType, self.content_type);
        sink.string_property(PropertyId::ResponseTopic, self.response_topic);
        sink.binary_property(PropertyId::CorrelationData, self.correlation_data);
        self.user_properties.write(sink);
    }
}
