//! The PUBLISH of a server to a subscriber: header and payload apart, properties passed on without decoding.

use core::num::NonZeroU16;

use bytes::BufMut;

use super::publish::{check, check_subscription_identifier, first_byte};
use crate::write::{
    check_length, remaining_length, variable_byte_integer_length, with_variable_byte_integer,
};
use crate::{EncodeError, PacketIdentifier, PropertyId, ProtocolVersion, QoS};

/// A PUBLISH whose payload the caller writes behind the header: one header per receiver, and no copy of a large payload.
///
/// Properties are written in the order Subscription Identifiers, Topic Alias, [`forwarded`](Self::forwarded), Message
/// Expiry Interval; 3.x has none of them, and they are left out there.
///
/// ```
/// use komar_codec::{DecodeOptions, Framing, OutgoingPublish, ProtocolVersion, Publish, QoS, Role, frame};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Message Expiry Interval 60, then a User Property.
/// let received = b"\x30\x14\x00\x01a\x0c\x02\x00\x00\x00\x3c\x26\x00\x01k\x00\x01vhi!!";
/// let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
/// let Framing::Complete(whole) = frame(received, &options)? else { panic!("it is whole") };
/// let publish = Publish::decode(whole, &options)?;
///
/// // What goes to every subscriber as it came, once per message; here it is one slice.
/// let forwarded: Vec<u8> = publish.properties.received.forwarded().flatten().copied().collect();
/// // What is left of the interval after five seconds; a message with nothing left is not sent on.
/// let left = |seconds: u32| seconds.checked_sub(5).ok_or("it has expired");
/// // Per subscriber: for the Subscription with identifier 7.
/// let outgoing = OutgoingPublish {
///     dup: false,
///     qos: QoS::AtMostOnce,
///     retain: false,
///     topic_name: publish.topic_name,
///     packet_identifier: None,
///     topic_alias: None,
///     message_expiry_interval: publish.properties.message_expiry_interval.map(left).transpose()?,
///     subscription_identifiers: &[7],
///     forwarded: &forwarded,
///     payload_len: publish.payload.len(),
/// };
/// let mut out = Vec::new();
/// outgoing.encode_header(ProtocolVersion::V5, &mut out)?;
/// assert_eq!(out, b"\x30\x16\x00\x01a\x0e\x0b\x07\x26\x00\x01k\x00\x01v\x02\x00\x00\x00\x37");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingPublish<'a> {
    /// Whether this is a repetition. v5 [MQTT-3.3.1-1]
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// Whether it was retained, or published as such to a Subscription with Retain As Published.
    pub retain: bool,
    /// May be empty beside a Topic Alias that the receiver knows.
    pub topic_name: &'a str,
    /// Present above QoS 0, and only there.
    pub packet_identifier: Option<PacketIdentifier>,
    /// MQTT 5.0 §3.3.2.3.4.
    pub topic_alias: Option<NonZeroU16>,
    /// What is left of it, in seconds. v5 [MQTT-3.3.2-6]
    pub message_expiry_interval: Option<u32>,
    /// Of the Subscriptions that this copy is for, each 1 to 268,435,455. v5 [MQTT-3.3.4-3]
    pub subscription_identifiers: &'a [u32],
    /// Encoded properties that are passed on as they came:
    /// [`ReceivedProperties::forwarded`](crate::ReceivedProperties::forwarded).
    pub forwarded: &'a [u8],
    /// Bytes of payload that the caller will write.
    pub payload_len: usize,
}

/// What has to be known before the first byte can be written.
struct Lengths {
    /// Variable header and payload.
    remaining: u32,
    /// Bytes of all properties.
    properties: u32,
    /// Bytes of the packet without its payload.
    header: usize,
}

impl OutgoingPublish<'_> {
    /// Bytes of the whole packet: header and payload.
    ///
    /// # Errors
    ///
    /// As [`encode_header`](Self::encode_header), without [`EncodeError::BufferFull`].
    #[inline]
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        let lengths = self.lengths(version)?;
        Ok(lengths.header.saturating_add(self.payload_len))
    }

    /// Writes everything but the payload, or nothing.
    ///
    /// # Errors
    ///
    /// A Packet Identifier that is missing or superfluous, DUP at QoS 0, no Topic Name, a Subscription Identifier out of
    /// range, a packet that is too large, or a buffer that is too small for the header.
    #[inline]
    pub fn encode_header(&self, version: ProtocolVersion, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let lengths = self.lengths(version)?;
        self.put_header(version, &lengths, lengths.header, out)
    }

    /// Writes header and payload, or nothing; `payload` has as many bytes as was said.
    // In line: a call needs the fields in memory, where Publish::encode would copy them to.
    #[inline(always)]
    pub(super) fn encode(
        &self,
        version: ProtocolVersion,
        payload: &[u8],
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        let lengths = self.lengths(version)?;
        let total = lengths.header.saturating_add(payload.len());
        self.put_header(version, &lengths, total, out)?;
        out.put_slice(payload);
        Ok(())
    }

    /// Writes the header if there is room for `needed` bytes.
    #[inline(always)]
    fn put_header(
        &self,
        version: ProtocolVersion,
        lengths: &Lengths,
        needed: usize,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        if out.remaining_mut() < needed {
            return Err(EncodeError::BufferFull { needed });
        }
        let topic_name = self.topic_name.as_bytes();
        // `lengths` has refused what is longer.
        let topic_length = u16::try_from(topic_name.len()).unwrap_or(u16::MAX);
        put_start(
            first_byte(self.dup, self.qos, self.retain),
            lengths.remaining,
            topic_length,
            out,
        );
        out.put_slice(topic_name);
        let is_v5 = version == ProtocolVersion::V5;
        let has_properties = is_v5 && lengths.properties > 0;
        match self.packet_identifier {
            // v5 [MQTT-2.2.2-1]: the length is there even where there are no properties.
            Some(identifier) if is_v5 && !has_properties => {
                let [high, low] = identifier.get().to_be_bytes();
                out.put_slice(&[high, low, 0]);
            }
            Some(identifier) => out.put_slice(&identifier.get().to_be_bytes()),
            None if is_v5 && !has_properties => out.put_slice(&[0]),
            None => {}
        }
        if has_properties {
            self.put_properties(lengths.properties, out);
        }
        Ok(())
    }

    #[inline(always)]
    fn lengths(&self, version: ProtocolVersion) -> Result<Lengths, EncodeError> {
        check(self.qos, self.dup, self.packet_identifier)?;
        check_length(self.topic_name.as_bytes())?;
        let is_v5 = version == ProtocolVersion::V5;
        if self.topic_name.is_empty() && !(is_v5 && self.topic_alias.is_some()) {
            return Err(EncodeError::MissingTopicName);
        }
        let identifier: usize = if self.packet_identifier.is_some() { 4 } else { 2 };
        let mut variable = identifier.wrapping_add(self.topic_name.len());
        let mut properties = 0;
        if is_v5 {
            properties = self.properties_length()?;
            variable = variable
                .wrapping_add(usize::try_from(properties).unwrap_or(usize::MAX))
                .wrapping_add(variable_byte_integer_length(properties));
        }
        // Nothing wraps: the name has less than 2^16 bytes, the properties less than 2^28.
        let remaining = remaining_length(variable.saturating_add(self.payload_len))?;
        let fixed = variable_byte_integer_length(remaining).wrapping_add(1);
        Ok(Lengths {
            remaining,
            properties,
            header: variable.wrapping_add(fixed),
        })
    }

    #[inline]
    fn properties_length(&self) -> Result<u32, EncodeError> {
        let mut length = self.forwarded.len();
        for identifier in self.subscription_identifiers {
            check_subscription_identifier(*identifier)?;
            length = length
                .saturating_add(variable_byte_integer_length(*identifier))
                .saturating_add(1);
        }
        if self.topic_alias.is_some() {
            length = length.saturating_add(3);
        }
        if self.message_expiry_interval.is_some() {
            length = length.saturating_add(5);
        }
        remaining_length(length)
    }

    fn put_properties(&self, length: u32, out: &mut impl BufMut) {
        with_variable_byte_integer(length, |bytes| out.put_slice(bytes));
        for identifier in self.subscription_identifiers {
            out.put_slice(&[PropertyId::SubscriptionIdentifier.as_u8()]);
            with_variable_byte_integer(*identifier, |bytes| out.put_slice(bytes));
        }
        if let Some(alias) = self.topic_alias {
            let [high, low] = alias.get().to_be_bytes();
            out.put_slice(&[PropertyId::TopicAlias.as_u8(), high, low]);
        }
        if !self.forwarded.is_empty() {
            out.put_slice(self.forwarded);
        }
        if let Some(expiry) = self.message_expiry_interval {
            let [a, b, c, d] = expiry.to_be_bytes();
            out.put_slice(&[PropertyId::MessageExpiryInterval.as_u8(), a, b, c, d]);
        }
    }
}

/// First byte, Remaining Length and length of the Topic Name: one write for the lengths that are usual.
#[inline(always)]
fn put_start(first: u8, remaining: u32, topic_length: u16, out: &mut impl BufMut) {
    let [high, low] = topic_length.to_be_bytes();
    if let (Ok(length), true) = (u8::try_from(remaining), remaining < 0x80) {
        out.put_slice(&[first, length, high, low]);
        return;
    }
    with_variable_byte_integer(remaining, |bytes| match *bytes {
        [a, b] => out.put_slice(&[first, a, b, high, low]),
        _ => {
            out.put_slice(&[first]);
            out.put_slice(bytes);
            out.put_slice(&[high, low]);
        }
    });
}
