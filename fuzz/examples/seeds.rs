//! Writes the seeds of the codec's targets: every packet with everything it can have, and with nothing it can do
//! without, in each version and to each side; and all packets of a version in one stream.

use std::fs;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;

use komar_codec::*;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ["decode", "round_trip", "drip"] {
        fs::create_dir_all(corpus.join(target)).unwrap();
    }
    let versions = [
        (0_u8, "5", ProtocolVersion::V5),
        (1, "3.1.1", ProtocolVersion::V3_1_1),
        (2, "3.1", ProtocolVersion::V3_1),
    ];
    for (number, version_name, version) in versions {
        for (side, side_name, receiver) in [(0, "c2s", Role::Server), (0b100, "s2c", Role::Client)] {
            let mut stream = Vec::new();
            for (name, packet) in packets(version, receiver) {
                let mut bytes = Vec::new();
                packet.encode(version, &mut bytes).unwrap();
                stream.extend_from_slice(&bytes);
                save(
                    &corpus,
                    &format!("{version_name}-{side_name}-{name}"),
                    number | side,
                    &bytes,
                );
            }
            save(
                &corpus,
                &format!("{version_name}-{side_name}-stream"),
                number | side,
                &stream,
            );
        }
    }
}

fn save(corpus: &Path, name: &str, choice: u8, bytes: &[u8]) {
    for target in ["decode", "round_trip", "drip"] {
        // Pieces of 7 bytes, for those who ask.
        let data = [&[choice, 6], bytes].concat();
        fs::write(corpus.join(target).join(name), data).unwrap();
    }
}

const SUCCESS: ReasonCode = ReasonCode::Success;
const USER: UserProperties<'_> = UserProperties::from_pairs(&[("k", "v"), ("k", "")]);

fn packets(version: ProtocolVersion, receiver: Role) -> Vec<(&'static str, Packet<'static>)> {
    let all = [
        connect(version),
        connack(version),
        publish(version, receiver),
        acknowledgements(version),
        subscribe(version),
        rest(version, receiver),
    ];
    all.into_iter()
        .flatten()
        .filter(|(_, packet)| packet.packet_type().may_be_sent_to(receiver, version))
        .collect()
}

/// `value` in 5.0, and what nobody says in 3.x.
fn in_v5<T: Default>(version: ProtocolVersion, value: T) -> T {
    if version == ProtocolVersion::V5 {
        value
    } else {
        T::default()
    }
}

fn connect(version: ProtocolVersion) -> Vec<(&'static str, Packet<'static>)> {
    let least = Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_id: "",
        username: None,
        password: None,
        will: None,
        properties: ConnectProperties::default(),
    };
    let will = Will {
        topic_name: "will/topic",
        payload: b"gone",
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: in_v5(
            version,
            WillProperties {
                will_delay_interval: Some(5),
                payload_format_indicator: Some(PayloadFormat::Utf8),
                message_expiry_interval: Some(60),
                content_type: Some("text/plain"),
                response_topic: Some("answer"),
                correlation_data: Some(b"\x00\xFF"),
                user_properties: USER,
                ..WillProperties::default()
            },
        ),
    };
    let most = Connect {
        bridge: version != ProtocolVersion::V5,
        clean_start: false,
        client_id: "client",
        username: Some("user"),
        password: Some(b"password"),
        will: Some(will),
        properties: in_v5(
            version,
            ConnectProperties {
                session_expiry_interval: Some(u32::MAX),
                receive_maximum: NonZeroU16::new(20),
                maximum_packet_size: NonZeroU32::new(1 << 20),
                topic_alias_maximum: Some(10),
                request_response_information: Some(true),
                request_problem_information: Some(false),
                user_properties: USER,
                authentication_method: Some("M"),
                authentication_data: Some(b"data"),
            },
        ),
        ..least.clone()
    };
    vec![
        ("connect", Packet::Connect(least)),
        ("connect-most", Packet::Connect(most)),
    ]
}

fn connack(version: ProtocolVersion) -> Vec<(&'static str, Packet<'static>)> {
    let least = ConnAck {
        session_present: false,
        reason_code: ReasonCode::NotAuthorized,
        properties: ConnAckProperties::default(),
    };
    let most = ConnAck {
        session_present: version != ProtocolVersion::V3_1,
        reason_code: ReasonCode::Success,
        properties: in_v5(
            version,
            ConnAckProperties {
                session_expiry_interval: Some(60),
                receive_maximum: NonZeroU16::new(20),
                maximum_qos: Some(QoS::AtLeastOnce),
                retain_available: Some(false),
                maximum_packet_size: NonZeroU32::new(1 << 20),
                assigned_client_identifier: Some("auto-1"),
                topic_alias_maximum: Some(10),
                reason_string: Some("why"),
                user_properties: USER,
                wildcard_subscription_available: Some(false),
                subscription_identifiers_available: Some(false),
                shared_subscription_available: Some(false),
                server_keep_alive: Some(30),
                response_information: Some("answers"),
                server_reference: Some("other"),
                authentication_method: Some("M"),
                authentication_data: Some(b"data"),
            },
        ),
    };
    vec![
        ("connack", Packet::ConnAck(least)),
        ("connack-most", Packet::ConnAck(most)),
    ]
}

fn publish(version: ProtocolVersion, receiver: Role) -> Vec<(&'static str, Packet<'static>)> {
    let least = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic_name: "a/b",
        packet_identifier: None,
        properties: PublishProperties::default(),
        payload: b"",
    };
    let subscription_identifiers: &[u32] = match receiver {
        Role::Server => &[],
        Role::Client => &[1, 128, 268_435_455],
    };
    let most = Publish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        topic_name: "b\u{fc}ro/\u{20ac}",
        packet_identifier: PacketIdentifier::new(0xFFFF),
        properties: in_v5(
            version,
            PublishProperties {
                payload_format_indicator: Some(PayloadFormat::Utf8),
                message_expiry_interval: Some(60),
                topic_alias: NonZeroU16::new(1),
                response_topic: Some("answer"),
                correlation_data: Some(b"\x00\xFF"),
                content_type: Some("text/plain"),
                subscription_identifiers: SubscriptionIdentifiers::from_slice(subscription_identifiers),
                user_properties: USER,
                ..PublishProperties::default()
            },
        ),
        payload: b"a payload that is UTF-8",
    };
    let long = Publish {
        qos: QoS::AtLeastOnce,
        packet_identifier: PacketIdentifier::new(1),
        payload: &[0xA5; 128],
        ..least.clone()
    };
    let mut packets = vec![
        ("publish", Packet::Publish(least.clone())),
        ("publish-most", Packet::Publish(most)),
        ("publish-long", Packet::Publish(long)),
    ];
    if version == ProtocolVersion::V5 {
        let mut by_alias = Publish {
            topic_name: "",
            ..least
        };
        by_alias.properties.topic_alias = NonZeroU16::new(1);
        packets.push(("publish-alias", Packet::Publish(by_alias)));
    }
    packets
}

fn acknowledgements(version: ProtocolVersion) -> Vec<(&'static str, Packet<'static>)> {
    let packet_identifier = PacketIdentifier::new(10).unwrap();
    let properties = in_v5(
        version,
        AckProperties {
            reason_string: Some("why"),
            user_properties: USER,
        },
    );
    let (not_authorized, not_found) = if version == ProtocolVersion::V5 {
        (ReasonCode::NotAuthorized, ReasonCode::PacketIdentifierNotFound)
    } else {
        (SUCCESS, SUCCESS)
    };
    let mut packets = vec![
        ("puback", Packet::PubAck(PubAck::new(packet_identifier, SUCCESS))),
        ("pubrec", Packet::PubRec(PubRec::new(packet_identifier, SUCCESS))),
        ("pubrel", Packet::PubRel(PubRel::new(packet_identifier, SUCCESS))),
        (
            "pubcomp",
            Packet::PubComp(PubComp::new(packet_identifier, SUCCESS)),
        ),
    ];
    if version == ProtocolVersion::V5 {
        packets.extend([
            (
                "puback-most",
                Packet::PubAck(PubAck {
                    packet_identifier,
                    reason_code: not_authorized,
                    properties,
                }),
            ),
            (
                "pubrec-most",
                Packet::PubRec(PubRec {
                    packet_identifier,
                    reason_code: not_authorized,
                    properties,
                }),
            ),
            (
                "pubrel-most",
                Packet::PubRel(PubRel {
                    packet_identifier,
                    reason_code: not_found,
                    properties,
                }),
            ),
            (
                "pubcomp-most",
                Packet::PubComp(PubComp {
                    packet_identifier,
                    reason_code: not_found,
                    properties,
                }),
            ),
        ]);
    }
    let (suback, unsuback): (&[ReasonCode], &[ReasonCode]) = if version == ProtocolVersion::V5 {
        (
            &[SUCCESS, ReasonCode::GrantedQoS2, ReasonCode::TopicFilterInvalid],
            &[SUCCESS, ReasonCode::NoSubscriptionExisted],
        )
    } else {
        (
            &[SUCCESS, ReasonCode::GrantedQoS2, ReasonCode::UnspecifiedError],
            &[],
        )
    };
    packets.extend([
        (
            "suback",
            Packet::SubAck(SubAck {
                packet_identifier,
                reason_codes: ReasonCodes::from_codes(suback),
                properties,
            }),
        ),
        (
            "unsuback",
            Packet::UnsubAck(UnsubAck {
                packet_identifier,
                reason_codes: ReasonCodes::from_codes(unsuback),
                properties,
            }),
        ),
    ]);
    packets
}

fn subscribe(version: ProtocolVersion) -> Vec<(&'static str, Packet<'static>)> {
    let packet_identifier = PacketIdentifier::new(10).unwrap();
    let everything = SubscriptionOptions {
        maximum_qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let last = in_v5(version, everything);
    let filters = vec![
        ("sport/+/#", SubscriptionOptions::from_qos(QoS::AtLeastOnce)),
        ("$share/g/a", last),
    ];
    vec![
        (
            "subscribe",
            Packet::Subscribe(Subscribe {
                packet_identifier,
                subscription_identifier: in_v5(version, Some(268_435_455)),
                user_properties: in_v5(version, USER),
                filters: SubscribeFilters::from_slice(filters.leak()),
            }),
        ),
        (
            "unsubscribe",
            Packet::Unsubscribe(Unsubscribe {
                packet_identifier,
                user_properties: in_v5(version, USER),
                filters: UnsubscribeFilters::from_slice(&["sport/+/#", "$share/g/a"]),
            }),
        ),
    ]
}

fn rest(version: ProtocolVersion, receiver: Role) -> Vec<(&'static str, Packet<'static>)> {
    let mut packets = vec![
        ("pingreq", Packet::PingReq),
        ("pingresp", Packet::PingResp),
        (
            "disconnect",
            Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)),
        ),
    ];
    if version == ProtocolVersion::V5 {
        let disconnect = Disconnect {
            reason_code: match receiver {
                Role::Server => ReasonCode::DisconnectWithWillMessage,
                Role::Client => ReasonCode::UseAnotherServer,
            },
            properties: DisconnectProperties {
                session_expiry_interval: (receiver == Role::Server).then_some(60),
                reason_string: Some("why"),
                server_reference: Some("other"),
                user_properties: USER,
            },
        };
        let auth = Auth {
            reason_code: ReasonCode::ContinueAuthentication,
            properties: AuthProperties {
                authentication_method: Some("M"),
                authentication_data: Some(b"data"),
                reason_string: Some("why"),
                user_properties: USER,
            },
        };
        packets.extend([
            ("disconnect-most", Packet::Disconnect(disconnect)),
            ("auth", Packet::Auth(auth)),
        ]);
    }
    packets
}
