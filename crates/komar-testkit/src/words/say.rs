//! From a decoded packet to words.

use komar_codec::{
    AckProperties, ConnAckProperties, Packet, PacketIdentifier, PayloadFormat, Publish, QoS, ReasonCode,
    RetainHandling, SubscriptionOptions, UserProperties,
};

use super::token::{bare, quote};

/// Collects words.
struct Words(Vec<String>);

impl Words {
    fn alone(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.alone(name);
        }
    }

    fn named(&mut self, name: &str, value: impl core::fmt::Display) {
        self.0.push(format!("{name}={value}"));
    }

    fn maybe(&mut self, name: &str, value: Option<impl core::fmt::Display>) {
        if let Some(value) = value {
            self.named(name, value);
        }
    }

    fn qos(&mut self, qos: QoS) {
        if qos != QoS::AtMostOnce {
            self.named("qos", qos.as_u8());
        }
    }

    fn pairs(&mut self, name: &str, pairs: &UserProperties<'_>) {
        for (key, value) in pairs.iter() {
            self.named(name, bare(format!("{key}:{value}").as_bytes()));
        }
    }

    fn acknowledgement(
        &mut self,
        identifier: PacketIdentifier,
        reason_code: ReasonCode,
        properties: &AckProperties<'_>,
    ) {
        self.named("id", identifier.get());
        if reason_code != ReasonCode::Success {
            self.alone(code(reason_code));
        }
        self.maybe(
            "reason",
            properties.reason_string.map(|text| bare(text.as_bytes())),
        );
        self.pairs("prop", &properties.user_properties);
    }
}

/// The words of a packet, its name first.
pub(super) fn words(packet: &Packet<'_>) -> Vec<String> {
    let mut words = Words(vec![format!("{:?}", packet.packet_type()).to_lowercase()]);
    match packet {
        Packet::ConnAck(packet) => {
            words.alone(code(packet.reason_code));
            words.named("session_present", u8::from(packet.session_present));
            connack_properties(&mut words, &packet.properties);
        }
        Packet::Publish(packet) => publish(&mut words, packet),
        Packet::PubAck(packet) => {
            words.acknowledgement(packet.packet_identifier, packet.reason_code, &packet.properties);
        }
        Packet::PubRec(packet) => {
            words.acknowledgement(packet.packet_identifier, packet.reason_code, &packet.properties);
        }
        Packet::PubRel(packet) => {
            words.acknowledgement(packet.packet_identifier, packet.reason_code, &packet.properties);
        }
        Packet::PubComp(packet) => {
            words.acknowledgement(packet.packet_identifier, packet.reason_code, &packet.properties);
        }
        Packet::Subscribe(packet) => {
            words.named("id", packet.packet_identifier.get());
            words.maybe("sid", packet.subscription_identifier);
            for (filter, options) in packet.filters.iter() {
                words.alone(bare(filter.as_bytes()));
                subscription_options(&mut words, options);
            }
        }
        Packet::SubAck(packet) => {
            words.acknowledgement(packet.packet_identifier, ReasonCode::Success, &packet.properties);
            for reason_code in packet.reason_codes.iter() {
                words.alone(match reason_code {
                    ReasonCode::Success => "granted_qos0".to_owned(),
                    other => code(other),
                });
            }
        }
        Packet::Unsubscribe(packet) => {
            words.named("id", packet.packet_identifier.get());
            packet
                .filters
                .iter()
                .for_each(|filter| words.alone(bare(filter.as_bytes())));
        }
        Packet::UnsubAck(packet) => {
            words.acknowledgement(packet.packet_identifier, ReasonCode::Success, &packet.properties);
            packet
                .reason_codes
                .iter()
                .for_each(|reason_code| words.alone(code(reason_code)));
        }
        Packet::Disconnect(packet) => {
            words.alone(code(packet.reason_code));
            words.maybe("expiry", packet.properties.session_expiry_interval);
            words.maybe(
                "reason",
                packet.properties.reason_string.map(|text| bare(text.as_bytes())),
            );
            words.pairs("prop", &packet.properties.user_properties);
        }
        Packet::Auth(packet) => {
            words.alone(code(packet.reason_code));
            words.maybe(
                "method",
                packet
                    .properties
                    .authentication_method
                    .map(|text| bare(text.as_bytes())),
            );
            words.maybe("data", packet.properties.authentication_data.map(bare));
        }
        Packet::Connect(packet) => words.named("id", bare(packet.client_id.as_bytes())),
        Packet::PingReq | Packet::PingResp => {}
    }
    words.0
}

/// What the receiver of the packet has to send back.
pub(super) fn answer(packet: &Packet<'_>) -> Option<String> {
    match packet {
        Packet::Publish(publish) => {
            let identifier = publish.packet_identifier?.get();
            let name = if publish.qos == QoS::ExactlyOnce {
                "pubrec"
            } else {
                "puback"
            };
            Some(format!("{name} id={identifier}"))
        }
        Packet::PubRel(release) => Some(format!("pubcomp id={}", release.packet_identifier.get())),
        _ => None,
    }
}

/// A reason code by its name, such as `not_authorized`.
pub(super) fn code(reason_code: ReasonCode) -> String {
    let mut name = String::new();
    for character in format!("{reason_code:?}").replace("QoS", "Qos").chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}

/// A word as [`words`] writes it: `0x87` becomes the code's name.
pub(super) fn plain_code(word: &str) -> String {
    word.strip_prefix("0x")
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .and_then(ReasonCode::from_u8)
        .map_or_else(|| word.to_owned(), code)
}

fn connack_properties(words: &mut Words, properties: &ConnAckProperties<'_>) {
    words.maybe("assigned", properties.assigned_client_identifier);
    words.maybe("expiry", properties.session_expiry_interval);
    words.maybe("keep", properties.server_keep_alive);
    words.maybe("receive_maximum", properties.receive_maximum);
    words.maybe("maximum_qos", properties.maximum_qos.map(QoS::as_u8));
    words.maybe("retain_available", properties.retain_available.map(u8::from));
    words.maybe("maximum_packet_size", properties.maximum_packet_size);
    words.maybe("alias_maximum", properties.topic_alias_maximum);
    words.maybe(
        "wildcards",
        properties.wildcard_subscription_available.map(u8::from),
    );
    words.maybe(
        "subscription_identifiers",
        properties.subscription_identifiers_available.map(u8::from),
    );
    words.maybe("shared", properties.shared_subscription_available.map(u8::from));
    words.maybe("response_information", properties.response_information);
    words.maybe("method", properties.authentication_method);
    words.maybe("data", properties.authentication_data.map(bare));
    words.maybe(
        "reason",
        properties.reason_string.map(|text| bare(text.as_bytes())),
    );
    words.pairs("prop", &properties.user_properties);
}

fn publish(words: &mut Words, packet: &Publish<'_>) {
    words.alone(bare(packet.topic_name.as_bytes()));
    if packet.payload.len() > LONGEST_SHOWN && packet.payload.iter().all(|byte| *byte == b'x') {
        words.named("size", packet.payload.len());
    } else {
        words.alone(quote(packet.payload));
    }
    words.qos(packet.qos);
    words.maybe("id", packet.packet_identifier.map(PacketIdentifier::get));
    words.flag("dup", packet.dup);
    words.flag("retain", packet.retain);
    let properties = &packet.properties;
    words.maybe("alias", properties.topic_alias);
    words.maybe("expiry", properties.message_expiry_interval);
    words.maybe(
        "format",
        properties
            .payload_format_indicator
            .map(|format| u8::from(format == PayloadFormat::Utf8)),
    );
    words.maybe("type", properties.content_type.map(|text| bare(text.as_bytes())));
    words.maybe(
        "response",
        properties.response_topic.map(|text| bare(text.as_bytes())),
    );
    words.maybe("correlation", properties.correlation_data.map(bare));
    properties
        .subscription_identifiers
        .iter()
        .for_each(|identifier| words.named("sid", identifier));
    words.pairs("prop", &properties.user_properties);
}

fn subscription_options(words: &mut Words, options: SubscriptionOptions) {
    words.qos(options.maximum_qos);
    words.flag("no_local", options.no_local);
    words.flag("as_published", options.retain_as_published);
    match options.retain_handling {
        RetainHandling::SendAtSubscribe => {}
        RetainHandling::SendIfNew => words.named("handling", 1),
        RetainHandling::DoNotSend => words.named("handling", 2),
    }
}

/// Payloads of up to so many bytes are shown as they are.
const LONGEST_SHOWN: usize = 64;
