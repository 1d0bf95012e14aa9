//! Strategies for every packet, every property and every Reason Code. The strings of a packet are leaked: a test run is
//! short, and a packet that borrows from nothing can be kept anywhere.

use std::num::{NonZeroU16, NonZeroU32};

use komar_codec::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any packet that can be sent in that version.
pub fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet<'static>> {
    let is_v5 = version == ProtocolVersion::V5;
    let mut packets = vec![
        connect(version).prop_map(Packet::Connect).boxed(),
        connack(version).prop_map(Packet::ConnAck).boxed(),
        publish(version).prop_map(Packet::Publish).boxed(),
        acknowledgement(is_v5, PacketType::PubAck)
            .prop_map(|(packet_identifier, reason_code, properties)| {
                Packet::PubAck(PubAck {
                    packet_identifier,
                    reason_code,
                    properties,
                })
            })
            .boxed(),
        acknowledgement(is_v5, PacketType::PubRec)
            .prop_map(|(packet_identifier, reason_code, properties)| {
                Packet::PubRec(PubRec {
                    packet_identifier,
                    reason_code,
                    properties,
                })
            })
            .boxed(),
        acknowledgement(is_v5, PacketType::PubRel)
            .prop_map(|(packet_identifier, reason_code, properties)| {
                Packet::PubRel(PubRel {
                    packet_identifier,
                    reason_code,
                    properties,
                })
            })
            .boxed(),
        acknowledgement(is_v5, PacketType::PubComp)
            .prop_map(|(packet_identifier, reason_code, properties)| {
                Packet::PubComp(PubComp {
                    packet_identifier,
                    reason_code,
                    properties,
                })
            })
            .boxed(),
        subscribe(is_v5).prop_map(Packet::Subscribe).boxed(),
        suback(version).prop_map(Packet::SubAck).boxed(),
        unsubscribe(is_v5).prop_map(Packet::Unsubscribe).boxed(),
        unsuback(is_v5).prop_map(Packet::UnsubAck).boxed(),
        Just(Packet::PingReq).boxed(),
        Just(Packet::PingResp).boxed(),
        disconnect(is_v5).prop_map(Packet::Disconnect).boxed(),
    ];
    if is_v5 {
        packets.push(auth().prop_map(Packet::Auth).boxed());
    }
    proptest::strategy::Union::new(packets).boxed()
}

/// Connect Flags to password; properties in 5.0 only.
pub fn connect(version: ProtocolVersion) -> impl Strategy<Value = Connect<'static>> {
    let is_v5 = version == ProtocolVersion::V5;
    (
        (any::<bool>(), any::<bool>(), any::<u16>(), string()),
        (
            option::of(string()),
            option::of(binary()),
            option::of(will(is_v5)),
        ),
        only_if(is_v5, connect_properties()),
    )
        .prop_map(move |(first, (username, password, will), properties)| {
            let (bridge, clean_start, keep_alive, client_id) = first;
            Connect {
                version,
                bridge: bridge && !is_v5,
                clean_start,
                keep_alive,
                client_id,
                username,
                password: password.filter(|_| is_v5 || username.is_some()),
                will,
                properties,
            }
        })
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties<'static>> {
    (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        (option::of(any::<bool>()), option::of(any::<bool>())),
        user_properties(),
        option::of((string(), option::of(binary()))),
    )
        .prop_map(
            |(expiry, receive, size, alias, (response, problem), user_properties, method)| {
                ConnectProperties {
                    session_expiry_interval: expiry,
                    receive_maximum: receive,
                    maximum_packet_size: size,
                    topic_alias_maximum: alias,
                    request_response_information: response,
                    request_problem_information: problem,
                    user_properties,
                    authentication_method: method.map(|(method, _)| method),
                    authentication_data: method.and_then(|(_, data)| data),
                }
            },
        )
}

fn will(is_v5: bool) -> impl Strategy<Value = Will<'static>> {
    (
        topic_name(),
        binary(),
        qos(),
        any::<bool>(),
        only_if(is_v5, will_properties()),
    )
        .prop_map(|(topic_name, payload, qos, retain, properties)| Will {
            topic_name,
            payload,
            qos,
            retain,
            properties,
        })
}

fn will_properties() -> impl Strategy<Value = WillProperties<'static>> {
    (
        option::of(any::<u32>()),
        option::of(format()),
        option::of(any::<u32>()),
        option::of(string()),
        option::of(topic_name()),
        option::of(binary()),
        user_properties(),
    )
        .prop_map(
            |(delay, format, expiry, content_type, response_topic, correlation_data, user_properties)| {
                WillProperties {
                    will_delay_interval: delay,
                    payload_format_indicator: format,
                    message_expiry_interval: expiry,
                    content_type,
                    response_topic,
                    correlation_data,
                    user_properties,
                    received: ReceivedProperties::default(),
                }
            },
        )
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = ConnAck<'static>> {
    let is_v5 = version == ProtocolVersion::V5;
    let codes = codes_of(PacketType::ConnAck, move |code| {
        is_v5 || ReasonCode::from_v3_connect_return_code(code.to_v3_connect_return_code()) == Some(code)
    });
    (any::<bool>(), select(codes), only_if(is_v5, connack_properties())).prop_map(
        move |(session_present, reason_code, properties)| ConnAck {
            session_present: session_present
                && reason_code == ReasonCode::Success
                && version != ProtocolVersion::V3_1,
            reason_code,
            properties,
        },
    )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties<'static>> {
    let flag = || option::of(any::<bool>());
    let text = || option::of(string());
    (
        (
            option::of(any::<u32>()),
            option::of(any::<NonZeroU16>()),
            option::of(any::<NonZeroU32>()),
        ),
        (option::of(any::<u16>()), option::of(any::<u16>())),
        (
            option::of(select(vec![QoS::AtMostOnce, QoS::AtLeastOnce])),
            flag(),
            flag(),
            flag(),
            flag(),
        ),
        (text(), text(), text(), text(), text()),
        option::of(binary()),
        user_properties(),
    )
        .prop_map(
            |(numbers, (topic_alias_maximum, server_keep_alive), flags, texts, data, user_properties)| {
                ConnAckProperties {
                    session_expiry_interval: numbers.0,
                    receive_maximum: numbers.1,
                    maximum_packet_size: numbers.2,
                    topic_alias_maximum,
                    server_keep_alive,
                    maximum_qos: flags.0,
                    retain_available: flags.1,
                    wildcard_subscription_available: flags.2,
                    subscription_identifiers_available: flags.3,
                    shared_subscription_available: flags.4,
                    assigned_client_identifier: texts.0,
                    reason_string: texts.1,
                    response_information: texts.2,
                    server_reference: texts.3,
                    authentication_method: texts.4,
                    authentication_data: data,
                    user_properties,
                }
            },
        )
}

/// As a server sends it in 5.0: with Subscription Identifiers.
pub fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish<'static>> {
    let is_v5 = version == ProtocolVersion::V5;
    (
        (any::<bool>(), qos(), any::<bool>()),
        (topic_name(), any::<bool>(), identifier()),
        only_if(is_v5, publish_properties()),
        payload(),
    )
        .prop_map(
            move |((dup, qos, retain), (topic_name, by_alias, identifier), properties, payload)| {
                let mut publish = Publish {
                    dup: dup && qos != QoS::AtMostOnce,
                    qos,
                    retain,
                    topic_name: if by_alias && properties.topic_alias.is_some() {
                        ""
                    } else {
                        topic_name
                    },
                    packet_identifier: Some(identifier).filter(|_| qos != QoS::AtMostOnce),
                    properties,
                    payload: b"",
                };
                publish.payload = match payload {
                    Payload::Bytes(bytes) => bytes,
                    Payload::UpTo(remaining_length) => fill(&publish, version, remaining_length),
                };
                publish
            },
        )
}

fn publish_properties() -> impl Strategy<Value = PublishProperties<'static>> {
    (
        option::of(format()),
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(topic_name()),
        option::of(binary()),
        option::of(string()),
        vec(subscription_identifier(), 0..4),
        user_properties(),
    )
        .prop_map(
            |(format, expiry, alias, response, correlation, content, identifiers, user_properties)| {
                PublishProperties {
                    payload_format_indicator: format,
                    message_expiry_interval: expiry,
                    topic_alias: alias,
                    response_topic: response,
                    correlation_data: correlation,
                    content_type: content,
                    subscription_identifiers: SubscriptionIdentifiers::from_slice(identifiers.leak()),
                    user_properties,
                    received: ReceivedProperties::default(),
                }
            },
        )
}

fn acknowledgement(
    is_v5: bool,
    packet_type: PacketType,
) -> impl Strategy<Value = (PacketIdentifier, ReasonCode, AckProperties<'static>)> {
    let codes = codes_of(packet_type, move |code| is_v5 || code == ReasonCode::Success);
    (identifier(), select(codes), only_if(is_v5, ack_properties()))
}

fn ack_properties() -> impl Strategy<Value = AckProperties<'static>> {
    (option::of(string()), user_properties()).prop_map(|(reason_string, user_properties)| AckProperties {
        reason_string,
        user_properties,
    })
}

fn subscribe(is_v5: bool) -> impl Strategy<Value = Subscribe<'static>> {
    let filter = (string(), subscription_options(is_v5));
    (
        identifier(),
        only_if(is_v5, option::of(subscription_identifier())),
        only_if(is_v5, user_properties()),
        vec(filter, 1..5),
    )
        .prop_map(
            |(packet_identifier, subscription_identifier, user_properties, filters)| Subscribe {
                packet_identifier,
                subscription_identifier,
                user_properties,
                filters: SubscribeFilters::from_slice(filters.leak()),
            },
        )
}

fn subscription_options(is_v5: bool) -> impl Strategy<Value = SubscriptionOptions> {
    let handling = select(vec![
        RetainHandling::SendAtSubscribe,
        RetainHandling::SendIfNew,
        RetainHandling::DoNotSend,
    ]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(maximum_qos, no_local, retain_as_published, retain_handling)| {
            if is_v5 {
                SubscriptionOptions {
                    maximum_qos,
                    no_local,
                    retain_as_published,
                    retain_handling,
                }
            } else {
                SubscriptionOptions::from_qos(maximum_qos)
            }
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = SubAck<'static>> {
    let is_v5 = version == ProtocolVersion::V5;
    let codes = codes_of(PacketType::SubAck, move |code| {
        is_v5 || code.as_u8() == code.to_v3_subscribe_return_code()
    });
    (
        identifier(),
        vec(select(codes), 1..5),
        only_if(is_v5, ack_properties()),
    )
        .prop_map(|(packet_identifier, codes, properties)| SubAck {
            packet_identifier,
            reason_codes: ReasonCodes::from_codes(codes.leak()),
            properties,
        })
}

fn unsubscribe(is_v5: bool) -> impl Strategy<Value = Unsubscribe<'static>> {
    (
        identifier(),
        only_if(is_v5, user_properties()),
        vec(string(), 1..5),
    )
        .prop_map(|(packet_identifier, user_properties, filters)| Unsubscribe {
            packet_identifier,
            user_properties,
            filters: UnsubscribeFilters::from_slice(filters.leak()),
        })
}

fn unsuback(is_v5: bool) -> impl Strategy<Value = UnsubAck<'static>> {
    let codes = codes_of(PacketType::UnsubAck, |_| true);
    (
        identifier(),
        vec(select(codes), 1..5),
        only_if(is_v5, ack_properties()),
    )
        .prop_map(move |(packet_identifier, codes, properties)| UnsubAck {
            packet_identifier,
            reason_codes: ReasonCodes::from_codes(if is_v5 { codes.leak() } else { &[] }),
            properties,
        })
}

/// As either side sends it: a Session Expiry Interval beside the codes that a client may use.
fn disconnect(is_v5: bool) -> impl Strategy<Value = Disconnect<'static>> {
    let codes = codes_of(PacketType::Disconnect, move |code| {
        is_v5 || code == ReasonCode::NORMAL_DISCONNECTION
    });
    let properties = (
        option::of(any::<u32>()),
        option::of(string()),
        option::of(string()),
        user_properties(),
    )
        .prop_map(
            |(session_expiry_interval, reason_string, server_reference, user_properties)| {
                DisconnectProperties {
                    session_expiry_interval,
                    reason_string,
                    server_reference,
                    user_properties,
                }
            },
        );
    (select(codes), only_if(is_v5, properties)).prop_map(|(reason_code, mut properties)| {
        if !reason_code.may_be_sent_to(Role::Server, PacketType::Disconnect) {
            properties.session_expiry_interval = None;
        }
        Disconnect {
            reason_code,
            properties,
        }
    })
}

fn auth() -> impl Strategy<Value = Auth<'static>> {
    let codes = codes_of(PacketType::Auth, |_| true);
    let properties = (
        string(),
        option::of(binary()),
        option::of(string()),
        user_properties(),
    )
        .prop_map(
            |(method, authentication_data, reason_string, user_properties)| AuthProperties {
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            },
        );
    prop_oneof![
        1 => Just(Auth { reason_code: ReasonCode::Success, properties: AuthProperties::default() }),
        9 => (select(codes), properties)
            .prop_map(|(reason_code, properties)| Auth { reason_code, properties }),
    ]
}

fn codes_of(packet_type: PacketType, keep: impl Fn(ReasonCode) -> bool) -> Vec<ReasonCode> {
    ReasonCode::ALL
        .iter()
        .copied()
        .filter(|code| code.allowed_in(packet_type) && keep(*code))
        .collect()
}

/// The default where the version does not have it.
fn only_if<T: Default + Clone + std::fmt::Debug + 'static>(
    is_there: bool,
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    if is_there {
        strategy.boxed()
    } else {
        Just(()).prop_map(|()| T::default()).boxed()
    }
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn format() -> impl Strategy<Value = PayloadFormat> {
    select(vec![PayloadFormat::Unspecified, PayloadFormat::Utf8])
}

fn identifier() -> impl Strategy<Value = PacketIdentifier> {
    any::<NonZeroU16>().prop_map(PacketIdentifier::from)
}

fn subscription_identifier() -> impl Strategy<Value = u32> {
    prop_oneof![
        1..=268_435_455_u32,
        select(vec![
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            268_435_455
        ]),
    ]
}

/// Strings without U+0000: short ones of all kinds, seldom one of a length that changes something.
fn string() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        12 => "[^\0]{0,12}".prop_map(|text| &*text.leak()),
        4 => "[a-z/$+#]{0,40}".prop_map(|text| &*text.leak()),
        1 => select(vec![110, 126, 127, 128, 129, 16_300, 16_384, 65_535]).prop_map(|n| &*"x".repeat(n).leak()),
    ]
}

fn topic_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => "[^\0+#]{1,12}".prop_map(|text| &*text.leak()),
        4 => "[a-z]{1,8}(/[a-z]{0,8}){0,4}".prop_map(|text| &*text.leak()),
        1 => select(vec![127, 128, 16_384, 65_535]).prop_map(|n| &*"t".repeat(n).leak()),
    ]
}

fn binary() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![
        15 => vec(any::<u8>(), 0..20).prop_map(|bytes| &*bytes.leak()),
        1 => select(vec![127, 128, 16_384, 65_535]).prop_map(|n| &*vec![0xA5; n].leak()),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Payload {
    Bytes(&'static [u8]),
    /// As many bytes as it takes to this Remaining Length.
    UpTo(usize),
}

/// The values of the Remaining Length between which it grows by a byte. MQTT 5.0 §1.5.5.
pub const REMAINING_LENGTHS: [usize; 6] = [127, 128, 16_383, 16_384, 2_097_151, 2_097_152];

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        60 => vec(any::<u8>(), 0..40).prop_map(|bytes| Payload::Bytes(bytes.leak())),
        16 => select(REMAINING_LENGTHS[..4].to_vec()).prop_map(Payload::UpTo),
        1 => select(REMAINING_LENGTHS[4..].to_vec()).prop_map(Payload::UpTo),
    ]
}

/// A payload that brings the packet to this Remaining Length; none if it is longer already.
fn fill(publish: &Publish<'_>, version: ProtocolVersion, remaining_length: usize) -> &'static [u8] {
    static BYTES: [u8; 2_097_152] = [0xA5; 2_097_152];
    let mut bytes = Vec::new();
    publish
        .encode(version, &mut bytes)
        .expect("what is generated can be written");
    let header = 1 + bytes[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    &BYTES[..remaining_length.saturating_sub(bytes.len() - header)]
}

fn user_properties() -> impl Strategy<Value = UserProperties<'static>> {
    vec((string(), string()), 0..4).prop_map(|pairs| UserProperties::from_pairs(pairs.leak()))
}
