//! What is not written, and what older versions make of a 5.0 packet.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::BytesMut;
use common::{encode, unhex};
use komar_codec::*;

fn identifier() -> PacketIdentifier {
    PacketIdentifier::new(10).unwrap()
}

fn publish() -> Publish<'static> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic_name: "a",
        packet_identifier: None,
        properties: PublishProperties::default(),
        payload: b"hi",
    }
}

fn outgoing() -> OutgoingPublish<'static> {
    OutgoingPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic_name: "a",
        packet_identifier: None,
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: &[],
        payload_len: 2,
    }
}

fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_id: "c",
        username: None,
        password: None,
        will: None,
        properties: ConnectProperties::default(),
    }
}

fn error(packet: Packet<'_>, version: ProtocolVersion) -> EncodeError {
    let mut out = Vec::new();
    let error = packet.encode(version, &mut out).unwrap_err();
    assert!(out.is_empty(), "nothing is written");
    assert_eq!(packet.encoded_len(version), Err(error));
    error
}

#[test]
fn what_a_peer_would_refuse_is_not_written() {
    use ProtocolVersion::{V3_1, V3_1_1, V5};
    let at_least_once = Publish {
        qos: QoS::AtLeastOnce,
        ..publish()
    };
    assert_eq!(
        error(Packet::Publish(at_least_once), V5),
        EncodeError::MissingPacketIdentifier
    );
    let with_identifier = Publish {
        packet_identifier: Some(identifier()),
        ..publish()
    };
    assert_eq!(
        error(Packet::Publish(with_identifier), V3_1_1),
        EncodeError::PacketIdentifierAtQoS0
    );
    assert_eq!(
        error(
            Packet::Publish(Publish {
                dup: true,
                ..publish()
            }),
            V5
        ),
        EncodeError::DupAtQoS0
    );
    let nameless = Publish {
        topic_name: "",
        ..publish()
    };
    assert_eq!(
        error(Packet::Publish(nameless.clone()), V5),
        EncodeError::MissingTopicName
    );
    let alias = core::num::NonZeroU16::new(1);
    let properties = PublishProperties {
        topic_alias: alias,
        ..PublishProperties::default()
    };
    let by_alias = Publish {
        properties,
        ..nameless
    };
    assert_eq!(
        error(Packet::Publish(by_alias), V3_1_1),
        EncodeError::MissingTopicName
    );
    let long = "x".repeat(65_536);
    let too_long = EncodeError::StringTooLong { length: 65_536 };
    assert_eq!(
        error(
            Packet::Publish(Publish {
                topic_name: &long,
                ..publish()
            }),
            V5
        ),
        too_long
    );
    for wrong in [0, 268_435_456] {
        let identifiers = [1, wrong];
        let subscription_identifiers = SubscriptionIdentifiers::from_slice(&identifiers);
        let properties = PublishProperties {
            subscription_identifiers,
            ..PublishProperties::default()
        };
        let packet = Packet::Publish(Publish {
            properties,
            ..publish()
        });
        assert_eq!(error(packet, V5), EncodeError::SubscriptionIdentifier(wrong));
        let packet = OutgoingPublish {
            subscription_identifiers: &identifiers,
            ..outgoing()
        };
        assert_eq!(
            packet.encoded_len(V5),
            Err(EncodeError::SubscriptionIdentifier(wrong))
        );
    }

    let with_password = |version| {
        Packet::Connect(Connect {
            password: Some(b"p"),
            ..connect(version)
        })
    };
    assert_eq!(
        error(with_password(V3_1), V3_1),
        EncodeError::PasswordWithoutUserName
    );
    assert_eq!(
        error(with_password(V3_1_1), V3_1_1),
        EncodeError::PasswordWithoutUserName
    );
    assert_eq!(
        encode(&with_password(V5), V5),
        unhex("101100044d5154540542003c0000016300 0170")
    );
    let properties = ConnectProperties {
        authentication_data: Some(b"d"),
        ..ConnectProperties::default()
    };
    let without_method = Packet::Connect(Connect {
        properties,
        ..connect(V5)
    });
    assert_eq!(
        error(without_method, V5),
        EncodeError::MissingAuthenticationMethod
    );
    let will = Will {
        topic_name: "",
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    let with_will = Connect {
        will: Some(will),
        ..connect(V5)
    };
    assert_eq!(
        error(Packet::Connect(with_will), V5),
        EncodeError::MissingTopicName
    );

    let reason_code = ReasonCode::Banned;
    let wrong = |packet_type| EncodeError::ReasonCode {
        reason_code,
        packet_type,
    };
    let puback = Packet::PubAck(PubAck::new(identifier(), reason_code));
    assert_eq!(error(puback.clone(), V5), wrong(PacketType::PubAck));
    assert_eq!(encode(&puback, V3_1_1), unhex("4002000a"));
    let disconnect = Packet::Disconnect(Disconnect::new(reason_code));
    assert_eq!(error(disconnect, V5), wrong(PacketType::Disconnect));
    let codes = [reason_code];
    let suback = Packet::SubAck(SubAck {
        packet_identifier: identifier(),
        reason_codes: ReasonCodes::from_codes(&codes),
        properties: AckProperties::default(),
    });
    assert_eq!(error(suback.clone(), V5), wrong(PacketType::SubAck));
    assert_eq!(encode(&suback, V3_1), unhex("9003000a80"));
    let unsuback = UnsubAck {
        packet_identifier: identifier(),
        reason_codes: ReasonCodes::default(),
        properties: AckProperties::default(),
    };
    assert_eq!(error(Packet::UnsubAck(unsuback), V5), EncodeError::NoReasonCodes);
    let refusal = ConnAck {
        session_present: true,
        reason_code,
        properties: ConnAckProperties::default(),
    };
    assert_eq!(
        error(Packet::ConnAck(refusal), V5),
        EncodeError::SessionPresentInRefusal
    );

    let subscribe = Packet::Subscribe(Subscribe {
        packet_identifier: identifier(),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_slice(&[]),
    });
    assert_eq!(error(subscribe, V5), EncodeError::NoTopicFilters);
    let unsubscribe = Packet::Unsubscribe(Unsubscribe {
        packet_identifier: identifier(),
        user_properties: UserProperties::default(),
        filters: UnsubscribeFilters::from_slice(&[]),
    });
    assert_eq!(error(unsubscribe, V3_1_1), EncodeError::NoTopicFilters);

    let auth = |reason_code| {
        Packet::Auth(Auth {
            reason_code,
            properties: AuthProperties::default(),
        })
    };
    let not_in_version = EncodeError::NotInVersion {
        packet_type: PacketType::Auth,
        version: V3_1_1,
    };
    assert_eq!(error(auth(ReasonCode::Success), V3_1_1), not_in_version);
    let no_method = EncodeError::MissingAuthenticationMethod;
    assert_eq!(error(auth(ReasonCode::ContinueAuthentication), V5), no_method);
}

/// Every CONNACK that refuses has a code in 3.x; the session of an acceptance shows from 3.1.1 on.
#[test]
fn connack_is_translated() {
    for &reason_code in ReasonCode::ALL
        .iter()
        .filter(|code| code.allowed_in(PacketType::ConnAck))
    {
        let expected = match reason_code.as_u8() {
            0x00 => 0,
            0x84 => 1,
            0x85 => 2,
            0x88 | 0x89 | 0x97 | 0x9C | 0x9D | 0x9F => 3,
            0x86 => 4,
            _ => 5,
        };
        let session_present = reason_code == ReasonCode::Success;
        let packet = ConnAck {
            session_present,
            reason_code,
            properties: ConnAckProperties::default(),
        };
        let packet = Packet::ConnAck(packet);
        let flags = u8::from(session_present);
        assert_eq!(encode(&packet, ProtocolVersion::V3_1), [0x20, 2, 0, expected]);
        assert_eq!(
            encode(&packet, ProtocolVersion::V3_1_1),
            [0x20, 2, flags, expected]
        );
        assert_eq!(
            encode(&packet, ProtocolVersion::V5),
            [0x20, 3, flags, reason_code.as_u8(), 0]
        );
    }
}

/// QoS 2 is what absence means; no server may say it. MQTT 5.0 §3.2.2.3.4.
#[test]
fn maximum_qos_2_is_left_out() {
    let maximum_qos = |maximum_qos| {
        let properties = ConnAckProperties {
            maximum_qos,
            ..ConnAckProperties::default()
        };
        let packet = ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties,
        };
        encode(&Packet::ConnAck(packet), ProtocolVersion::V5)
    };
    assert_eq!(maximum_qos(Some(QoS::ExactlyOnce)), maximum_qos(None));
    assert_eq!(maximum_qos(Some(QoS::AtLeastOnce)), unhex("20050000022401"));
}

/// The order on the wire: Subscription Identifiers, Topic Alias, what is forwarded, Message Expiry Interval.
#[test]
fn outgoing_publish_has_its_properties_in_order() {
    let packet = OutgoingPublish {
        dup: true,
        qos: QoS::ExactlyOnce,
        retain: true,
        packet_identifier: Some(identifier()),
        topic_alias: core::num::NonZeroU16::new(7),
        message_expiry_interval: Some(60),
        subscription_identifiers: &[1, 128],
        forwarded: &[0x01, 0x01],
        ..outgoing()
    };
    let mut out = Vec::new();
    packet.encode_header(ProtocolVersion::V5, &mut out).unwrap();
    assert_eq!(
        out,
        unhex("3d17 000161 000a 0f 0b01 0b8001 230007 0101 020000003c")
    );
    assert_eq!(packet.encoded_len(ProtocolVersion::V5), Ok(out.len() + 2));
    out.clear();
    packet.encode_header(ProtocolVersion::V3_1_1, &mut out).unwrap();
    assert_eq!(out, unhex("3d07 000161 000a"));
}

/// The limits of the Remaining Length, without payloads of that size.
#[test]
fn outgoing_publish_knows_how_long_it_is() {
    for (payload_len, header) in [
        (0, 2),
        (124, 2),
        (125, 3),
        (16_380, 3),
        (16_381, 4),
        (2_097_148, 4),
        (2_097_149, 5),
        (268_435_452, 5),
    ] {
        let packet = OutgoingPublish {
            payload_len,
            ..outgoing()
        };
        let mut out = Vec::new();
        packet.encode_header(ProtocolVersion::V3_1_1, &mut out).unwrap();
        assert_eq!(out.len(), header + 3);
        let total = header + 3 + payload_len;
        assert_eq!(packet.encoded_len(ProtocolVersion::V3_1_1), Ok(total));
        let options = DecodeOptions::new(ProtocolVersion::V3_1_1, Role::Client);
        let whole = frame(&out, &options).unwrap();
        match payload_len {
            0 => assert!(matches!(whole, Framing::Complete(_))),
            needed => assert_eq!(whole, Framing::Incomplete { needed }),
        }
    }
    for payload_len in [268_435_453, usize::MAX] {
        let packet = OutgoingPublish {
            payload_len,
            ..outgoing()
        };
        assert_eq!(
            packet.encoded_len(ProtocolVersion::V3_1_1),
            Err(EncodeError::PacketTooLarge)
        );
        let result = packet.encode_header(ProtocolVersion::V3_1_1, &mut Vec::new());
        assert_eq!(result, Err(EncodeError::PacketTooLarge));
    }
}

#[test]
fn a_buffer_without_room_stays_as_it_is() {
    let mut room = [0xEE_u8; 8];
    for size in 0..8 {
        let mut out = &mut room[..size];
        let expected = if size < 7 {
            Err(EncodeError::BufferFull { needed: 7 })
        } else {
            Ok(())
        };
        assert_eq!(publish().encode(ProtocolVersion::V3_1_1, &mut out), expected);
        assert!(size == 7 || room == [0xEE; 8]);
    }
    let mut room = [0xEE_u8; 4];
    let mut out = &mut room[..];
    let result = outgoing().encode_header(ProtocolVersion::V3_1_1, &mut out);
    assert_eq!(
        (result, room),
        (Err(EncodeError::BufferFull { needed: 5 }), [0xEE; 4])
    );
}

#[test]
fn nothing_but_a_publish_is_patched() {
    let not_patchable = Err(EncodeError::NotPatchable);
    let mut puback = unhex("4002000a");
    assert_eq!(patch::set_retain(&mut puback, true), not_patchable);
    assert_eq!(patch::set_dup(&mut puback, true), not_patchable);
    assert_eq!(
        patch::set_packet_identifier(&mut puback, identifier()),
        not_patchable
    );
    assert_eq!(patch::set_retain(&mut [], true), not_patchable);
    let whole = unhex("3208 0003612f62 0001 68");
    for cut in 0..9 {
        let mut bytes = whole[..cut].to_vec();
        assert_eq!(
            patch::set_packet_identifier(&mut bytes, identifier()),
            not_patchable
        );
        assert_eq!(bytes, whole[..cut]);
    }
    // QoS 3 is no PUBLISH.
    let mut bytes = unhex("3600");
    assert_eq!(patch::set_retain(&mut bytes, true), not_patchable);
    assert_eq!(bytes, unhex("3600"));
}

/// The Packet Identifier would lie, in whole or in part, beyond the Remaining Length.
#[test]
fn what_stands_behind_a_publish_is_not_patched() {
    for publish in [
        "32 03 000161 c000",
        "32 04 000161 00 c000",
        "32 02 0001 61000a",
        "32 00 0001 61000a",
    ] {
        let whole = unhex(publish);
        let mut bytes = whole.clone();
        let identifier = PacketIdentifier::new(0x8200).unwrap();
        let result = patch::set_packet_identifier(&mut bytes, identifier);
        assert_eq!(
            (result, bytes),
            (Err(EncodeError::NotPatchable), whole),
            "{publish}"
        );
    }
    let mut bytes = unhex("32 05 000161 0001 c000");
    assert_eq!(patch::set_packet_identifier(&mut bytes, identifier()), Ok(()));
    assert_eq!(bytes, unhex("32 05 000161 000a c000"));
}

/// 3.1 has no rule that there is one.
#[test]
fn a_suback_without_codes_is_written_for_3_1_only() {
    let suback = SubAck {
        packet_identifier: identifier(),
        reason_codes: ReasonCodes::default(),
        properties: AckProperties::default(),
    };
    for (version, expected) in [
        (ProtocolVersion::V3_1, Ok(4)),
        (ProtocolVersion::V3_1_1, Err(EncodeError::NoReasonCodes)),
        (ProtocolVersion::V5, Err(EncodeError::NoReasonCodes)),
    ] {
        assert_eq!(suback.encoded_len(version), expected, "{version:?}");
    }
}

/// No receiver would take it: a client not for the interval, a server not for the code.
#[test]
fn a_disconnect_of_neither_side_is_not_written() {
    for code in ReasonCode::ALL {
        let may_be_sent_to = |role| code.may_be_sent_to(role, PacketType::Disconnect);
        let mut packet = Disconnect::new(*code);
        packet.properties.session_expiry_interval = Some(5);
        let expected = match (may_be_sent_to(Role::Server), may_be_sent_to(Role::Client)) {
            (true, _) => Ok(8 + 1),
            (false, true) => Err(EncodeError::SessionExpiryIntervalFromServer),
            (false, false) => Err(EncodeError::ReasonCode {
                reason_code: *code,
                packet_type: PacketType::Disconnect,
            }),
        };
        assert_eq!(packet.encoded_len(ProtocolVersion::V5), expected, "{code:?}");
        // 3.x has neither.
        assert_eq!(packet.encoded_len(ProtocolVersion::V3_1_1), Ok(2));
    }
}

#[test]
fn an_empty_response_topic_is_not_written() {
    let mut publish = publish();
    publish.properties.response_topic = Some("");
    let mut connect = connect(ProtocolVersion::V5);
    connect.will = Some(Will {
        topic_name: "w",
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties {
            response_topic: Some(""),
            ..WillProperties::default()
        },
    });
    for packet in [Packet::Publish(publish), Packet::Connect(connect)] {
        assert_eq!(
            error(packet, ProtocolVersion::V5),
            EncodeError::EmptyResponseTopic
        );
    }
}

#[test]
fn a_will_that_says_it_is_utf8_has_to_be() {
    let will = |payload_format_indicator, payload| Will {
        topic_name: "w",
        payload,
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties {
            payload_format_indicator,
            ..WillProperties::default()
        },
    };
    for (format, payload, is_valid) in [
        (Some(PayloadFormat::Utf8), &b"\xFF"[..], false),
        (Some(PayloadFormat::Utf8), b"a", true),
        (Some(PayloadFormat::Unspecified), b"\xFF", true),
        (None, b"\xFF", true),
    ] {
        assert_eq!(
            will(format, payload).has_valid_payload(),
            is_valid,
            "{format:?} {payload:?}"
        );
    }
}

/// Neither in the packets nor in what holds their bytes.
#[test]
fn debug_output_shows_no_secret() {
    let secret = &b"secret"[..];
    let mut connect = connect(ProtocolVersion::V5);
    connect.password = Some(secret);
    connect.properties.authentication_method = Some("method");
    connect.properties.authentication_data = Some(secret);
    let connack = ConnAck {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties {
            authentication_method: Some("method"),
            authentication_data: Some(secret),
            ..ConnAckProperties::default()
        },
    };
    let auth = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: Some("method"),
            authentication_data: Some(secret),
            ..AuthProperties::default()
        },
    };
    for packet in [
        Packet::Connect(connect),
        Packet::ConnAck(connack),
        Packet::Auth(auth),
    ] {
        let role = match packet {
            Packet::Connect(_) => Role::Server,
            _ => Role::Client,
        };
        let options = DecodeOptions::new(ProtocolVersion::V5, role);
        let bytes = encode(&packet, options.version);
        let framing = frame(&bytes, &options).unwrap();
        let Framing::Complete(whole) = framing else {
            panic!("incomplete")
        };
        let owned = OwnedPacket::split_from(&mut BytesMut::from(&bytes[..]), &options).unwrap();
        let as_numbers = format!("{secret:?}");
        let as_numbers = as_numbers.trim_matches(['[', ']']);
        for shown in [format!("{packet:?} {owned:?}"), format!("{framing:?} {whole:?}")] {
            assert!(
                !shown.contains(as_numbers) && !shown.contains("secret"),
                "{shown}"
            );
        }
        let shown = format!("{packet:?}");
        assert!(shown.contains("method") && shown.contains("not shown"), "{shown}");
    }
}

#[test]
fn owned_packets_outlive_the_buffer() {
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
    let mut buffer = BytesMut::from(&unhex("3d0c 0003612f62 000a 02 0101 6869 c000 33")[..]);
    let publish = OwnedPublish::split_from(&mut buffer, &options).unwrap().unwrap();
    let ping = OwnedPacket::split_from(&mut buffer, &options).unwrap().unwrap();
    assert_eq!(OwnedPacket::split_from(&mut buffer, &options), Ok(None));
    assert_eq!(OwnedPublish::split_from(&mut buffer, &options), Ok(None));
    assert_eq!(&buffer[..], [0x33]);
    drop(buffer);

    assert_eq!((publish.topic_name(), publish.payload()), ("a/b", &b"hi"[..]));
    assert_eq!(publish.payload_bytes(), &b"hi"[..]);
    assert_eq!(
        (publish.dup(), publish.qos(), publish.retain()),
        (true, QoS::ExactlyOnce, true)
    );
    assert_eq!(publish.packet_identifier(), Some(identifier()));
    assert_eq!(
        publish.get().properties.payload_format_indicator,
        Some(PayloadFormat::Utf8)
    );
    assert_eq!(format!("{publish:?}"), format!("{:?}", publish.get()));
    assert_eq!(ping.get(), Packet::PingReq);

    let mut buffer = BytesMut::from(&[0xC0, 0, 0x36, 0][..]);
    let kind = OwnedPublish::split_from(&mut buffer, &options)
        .unwrap_err()
        .kind();
    assert_eq!(kind, DecodeErrorKind::UnexpectedPacketType);
    assert_eq!(buffer.len(), 4);
    assert!(OwnedPacket::split_from(&mut buffer, &options).unwrap().is_some());
    assert!(OwnedPacket::split_from(&mut buffer, &options).is_err());
}

#[test]
fn a_password_is_not_shown() {
    let packet = Connect {
        username: Some("u"),
        password: Some(b"secret"),
        ..connect(ProtocolVersion::V5)
    };
    let text = format!("{packet:?} {:?}", Packet::Connect(packet.clone()));
    assert!(!text.contains("secret") && !text.contains("115, 101"), "{text}");
}

#[test]
fn payloads_are_looked_at_on_demand() {
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
    for (hex, is_valid) in [
        ("3008 000161 02 0101 6869", true),
        ("3007 000161 02 0101 ff", false),
        ("3007 000161 02 0100 ff", true),
        ("3005 000161 00 ff", true),
    ] {
        let bytes = unhex(hex);
        let publish = Publish::decode(common::whole(&bytes, &options).unwrap(), &options).unwrap();
        assert_eq!(publish.has_valid_payload(), is_valid, "{hex}");
    }
}

/// A name that is missing is noticed by the encoder of packets with properties too, which is another one.
#[test]
fn an_empty_name_needs_an_alias_whatever_else_there_is() {
    let properties = PublishProperties {
        message_expiry_interval: Some(1),
        ..PublishProperties::default()
    };
    let nameless = Publish {
        topic_name: "",
        properties: properties.clone(),
        ..publish()
    };
    let refused = error(Packet::Publish(nameless.clone()), ProtocolVersion::V5);
    assert_eq!(refused, EncodeError::MissingTopicName);
    let alias = core::num::NonZeroU16::new(7);
    let properties = PublishProperties {
        topic_alias: alias,
        ..properties
    };
    let by_alias = Packet::Publish(Publish {
        properties,
        ..nameless
    });
    assert_eq!(
        encode(&by_alias, ProtocolVersion::V5),
        unhex("300d0000082300070200000001")
            .into_iter()
            .chain(*b"hi")
            .collect::<Vec<u8>>()
    );
}

/// Both values of the indicator are written: "bytes" is not the same as nothing to a receiver that asks.
#[test]
fn a_payload_format_is_written_as_it_is() {
    for (format, byte) in [(PayloadFormat::Unspecified, 0), (PayloadFormat::Utf8, 1)] {
        let properties = PublishProperties {
            payload_format_indicator: Some(format),
            ..PublishProperties::default()
        };
        let packet = Packet::Publish(Publish {
            properties,
            ..publish()
        });
        let expected = [0x30, 8, 0, 1, b'a', 2, 1, byte, b'h', b'i'];
        assert_eq!(encode(&packet, ProtocolVersion::V5), expected);
    }
}

/// What is passed on is what was received, less what is the server's own.
#[test]
fn a_received_publish_knows_what_is_passed_on() {
    let bytes = b"\x30\x14\x00\x01a\x0c\x02\x00\x00\x00\x3c\x26\x00\x01k\x00\x01vhi!!";
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
    let publish = Publish::decode(common::whole(bytes, &options).unwrap(), &options).unwrap();
    let forwarded: Vec<&[u8]> = publish.properties.received.forwarded().collect();
    assert_eq!(forwarded, [b"\x26\x00\x01k\x00\x01v"]);
}

/// The same of a Will: without its own delay and lifetime.
#[test]
fn a_received_will_knows_what_is_passed_on() {
    let mut connect = connect(ProtocolVersion::V5);
    connect.will = Some(Will {
        topic_name: "w",
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties {
            will_delay_interval: Some(5),
            message_expiry_interval: Some(60),
            content_type: Some("t"),
            ..WillProperties::default()
        },
    });
    let bytes = encode(&Packet::Connect(connect), ProtocolVersion::V5);
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
    let connect = Connect::decode(common::whole(&bytes, &options).unwrap(), &options).unwrap();
    let forwarded: Vec<&[u8]> = connect.will.unwrap().properties.received.forwarded().collect();
    assert_eq!(forwarded, [b"\x03\x00\x01t"]);
}

/// The Remaining Length where its form changes, by the encoder of outgoing packets, which has an own way for short ones.
#[test]
fn outgoing_lengths_where_their_form_changes() {
    for remaining in [
        3, 126, 127, 128, 129, 200, 255, 256, 300, 16_383, 16_384, 2_097_151, 2_097_152,
    ] {
        let outgoing = OutgoingPublish {
            payload_len: remaining - 3,
            ..outgoing()
        };
        let mut out = Vec::new();
        outgoing.encode_header(ProtocolVersion::V3_1_1, &mut out).unwrap();
        // MQTT 5.0 §1.5.5, as it is written there.
        let (mut expected, mut rest) = (vec![0x30], remaining);
        loop {
            let byte = u8::try_from(rest % 128).unwrap();
            rest /= 128;
            expected.push(if rest > 0 { byte | 128 } else { byte });
            if rest == 0 {
                break;
            }
        }
        expected.extend([0, 1, b'a']);
        assert_eq!(out, expected, "{remaining}");
        let total = out.len() + remaining - 3;
        assert_eq!(outgoing.encoded_len(ProtocolVersion::V3_1_1), Ok(total));
    }
}

/// Comparison and `Debug` look at the contents, and a password is in neither output.
#[test]
fn packets_show_what_they_hold() {
    let at_most_once = SubscriptionOptions::default();
    let (one, other) = ([("a", at_most_once)], [("b", at_most_once)]);
    let (one, other) = (
        SubscribeFilters::from_slice(&one),
        SubscribeFilters::from_slice(&other),
    );
    assert_ne!(one, other);
    assert!(format!("{one:?}").contains("\"a\""));
    assert!(format!("{:?}", one.iter()).contains("\"a\""));
    let (one, other) = (
        UnsubscribeFilters::from_slice(&["a"]),
        UnsubscribeFilters::from_slice(&["b"]),
    );
    assert_ne!(one, other);
    assert_eq!(format!("{one:?} {:?}", one.iter()), "[\"a\"] [\"a\"]");
    let (one, other) = (
        ReasonCodes::from_codes(&[ReasonCode::GrantedQoS1]),
        ReasonCodes::from_codes(&[ReasonCode::GrantedQoS2]),
    );
    assert_ne!(one, other);
    assert_eq!(format!("{one:?} {:?}", one.iter()), "[GrantedQoS1] [GrantedQoS1]");
    let connect = Connect {
        username: Some("somebody"),
        password: Some(b"12345"),
        ..connect(ProtocolVersion::V5)
    };
    let shown = format!("{connect:?}");
    assert!(shown.contains("somebody") && shown.contains("not shown") && shown.contains("keep_alive: 60"));
    assert!(!shown.contains("49"), "{shown}");
}
