//! What is written is read as it was; what is read is written with the same meaning; drips make no difference.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::BytesMut;
use common::{decode, encode, generate, receivers, whole};
use komar_codec::{
    Connect, DecodeError, DecodeOptions, EncodeError, ErrorClass, Framer, Framing, OutgoingPublish,
    OwnedPacket, OwnedPublish, Packet, PacketIdentifier, PropertyId, ProtocolVersion, Publish, QoS,
    ReasonCode, Role, Will, frame, patch,
};
use proptest::prelude::*;

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V3_1,
    ProtocolVersion::V3_1_1,
    ProtocolVersion::V5,
];

/// A version and a packet of it.
fn packets() -> impl Strategy<Value = (ProtocolVersion, Packet<'static>)> {
    prop::sample::select(VERSIONS.to_vec())
        .prop_flat_map(|version| generate::packet(version).prop_map(move |packet| (version, packet)))
}

/// The rule by which a packet is not for that receiver: what only the receiver's own side sends.
fn refusal(packet: &Packet<'_>, role: Role) -> Option<&'static str> {
    let may_carry = |code: ReasonCode| code.may_be_sent_to(role, packet.packet_type());
    match packet {
        Packet::Publish(publish) => (role == Role::Server
            && !publish.properties.subscription_identifiers.is_empty())
        .then_some("v5 [MQTT-3.3.4-6]"),
        Packet::Disconnect(packet) if !may_carry(packet.reason_code) => Some("v5 [MQTT-3.14.2-1]"),
        Packet::Disconnect(packet) => (role == Role::Client
            && packet.properties.session_expiry_interval.is_some())
        .then_some("v5 [MQTT-3.14.2-2]"),
        // An empty one has no Reason Code.
        Packet::Auth(packet) if packet.properties.authentication_method.is_some() => {
            (!may_carry(packet.reason_code)).then_some("v5 [MQTT-3.15.2-1]")
        }
        _ => None,
    }
}

/// What a client may receive.
fn for_client(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    generate::packet(version).prop_filter("for a client", move |packet| {
        packet.packet_type().may_be_sent_to(Role::Client, version) && refusal(packet, Role::Client).is_none()
    })
}

/// Packets with a few bytes replaced, and bytes that look like a fixed header with something behind.
fn damaged() -> impl Strategy<Value = (ProtocolVersion, Vec<u8>)> {
    let odd = || prop::sample::select(vec![0_u8, 1, 4, 6, 9, 0x7F, 0x80, 0x81, 0xFF]);
    let replaced = (
        packets(),
        prop::collection::vec((0_usize..12, prop_oneof![odd(), any::<u8>()]), 1..4),
    )
        .prop_map(|((version, packet), places)| {
            let mut bytes = encode(&packet, version);
            bytes.truncate(300);
            for (place, byte) in places {
                if let Some(old) = bytes.get_mut(place) {
                    *old = byte;
                }
            }
            (version, bytes)
        });
    let starts = prop::sample::select(vec![
        &b"\x00\x06MQIsdp\x03\x02\x00\x00"[..],
        b"\x00\x04MQTT\x05",
        b"",
    ]);
    let headers =
        (any::<u8>(), prop::collection::vec(odd(), 0..6), starts).prop_map(|(first, length, start)| {
            let first = if first < 0x80 { first } else { 0x10 | first & 0x0F };
            [&[first][..], &length, start].concat()
        });
    prop_oneof![replaced, (prop::sample::select(VERSIONS.to_vec()), headers)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read((version, packet) in packets()) {
        let bytes = encode(&packet, version);
        for role in receivers(&packet, version) {
            let options = DecodeOptions::new(version, role);
            let result = decode(&bytes, &options);
            if let Some(statement) = refusal(&packet, role) {
                prop_assert_eq!(result.unwrap_err().statement(), Some(statement));
            } else {
                prop_assert_eq!(result.as_ref(), Ok(&packet));
                prop_assert_eq!(encode(&result.unwrap(), version), bytes.as_slice());
            }
        }
    }

    /// Every prefix is incomplete, says honestly how much is missing, and never reports an error early.
    #[test]
    fn a_drip_is_as_good_as_the_whole((version, packet) in packets()) {
        let bytes = encode(&packet, version);
        for role in receivers(&packet, version) {
            let options = DecodeOptions::new(version, role);
            // Long packets: the beginning, the end, and a few in between.
            let step = (bytes.len() / 300).max(1);
            for have in (0..bytes.len()).filter(|n| *n < 40 || n % step == 0 || bytes.len() - n < 40) {
                let Ok(Framing::Incomplete { needed }) = frame(&bytes[..have], &options) else {
                    return Err(TestCaseError::fail(format!("{have} of {} bytes", bytes.len())));
                };
                prop_assert!(needed >= 1 && have + needed <= bytes.len());
                if have >= 5 {
                    prop_assert_eq!(have + needed, bytes.len());
                }
            }
        }
    }

    /// Pieces of any size, packets one behind the other: the same packets come out, and a framer that was told to wait
    /// is right.
    #[test]
    fn a_stream_in_pieces_is_the_same_packets(
        (version, packets, piece) in prop::sample::select(VERSIONS.to_vec()).prop_flat_map(|version| {
            (Just(version), prop::collection::vec(for_client(version), 1..6), 1_usize..200)
        })
    ) {
        let options = DecodeOptions::new(version, Role::Client);
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encode(packet, version)).collect();
        let (mut framer, mut buffer, mut found) = (Framer::new(), Vec::new(), 0);
        for piece in stream.chunks(piece) {
            buffer.extend_from_slice(piece);
            let mut begin = 0;
            while let Framing::Complete(frame) = framer.frame(&buffer[begin..], &options).unwrap() {
                prop_assert_eq!(&Packet::decode(frame, &options).unwrap(), &packets[found]);
                begin += frame.len();
                found += 1;
            }
            buffer.drain(..begin);
        }
        prop_assert_eq!((found, buffer.len()), (packets.len(), 0));
    }

    /// Wrong bytes are told the same in whatever pieces they come.
    #[test]
    fn a_drip_of_damaged_bytes_is_as_bad_as_the_whole(
        (version, bytes) in damaged(),
        limit in prop::sample::select(vec![8_u32, 64, 268_435_455]),
    ) {
        for role in [Role::Server, Role::Client] {
            let options = DecodeOptions { maximum_packet_size: limit, ..DecodeOptions::new(version, role) };
            let mut framer = Framer::new();
            let dripped = (1..=bytes.len())
                .map(|have| framer.frame(&bytes[..have], &options))
                .find(|framing| !matches!(framing, Ok(Framing::Incomplete { .. })));
            match frame(&bytes, &options) {
                Ok(Framing::Incomplete { .. }) => prop_assert_eq!(dripped, None),
                whole => prop_assert_eq!(dripped, Some(whole)),
            }
        }
    }

    /// An owned packet is the borrowed one, and is still that when the buffer is gone: the buffer is filled with other
    /// bytes where it can be, and dropped.
    #[test]
    fn an_owned_packet_outlives_the_buffer(
        (version, packets, piece) in prop::sample::select(VERSIONS.to_vec()).prop_flat_map(|version| {
            (Just(version), prop::collection::vec(for_client(version), 1..6), 1_usize..200)
        })
    ) {
        let options = DecodeOptions::new(version, Role::Client);
        let encoded: Vec<Vec<u8>> = packets.iter().map(|packet| encode(packet, version)).collect();
        let stream = encoded.concat();
        let mut whole = BytesMut::from(&stream[..]);
        let (mut framer, mut pieces) = (Framer::new(), BytesMut::new());
        let (mut split, mut framed) = (Vec::new(), Vec::new());
        while let Some(packet) = OwnedPacket::split_from(&mut whole, &options).unwrap() {
            split.push(packet);
        }
        for piece in stream.chunks(piece) {
            pieces.extend_from_slice(piece);
            while let Some(packet) = framer.next_packet(&mut pieces, &options).unwrap() {
                framed.push(packet);
                pieces.reserve(1);
            }
        }
        prop_assert_eq!((whole.len(), pieces.len()), (0, 0));
        whole.resize(whole.capacity(), 0xFF);
        pieces.resize(pieces.capacity(), 0xFF);
        drop((whole, pieces, stream));
        prop_assert_eq!(&split, &framed);
        prop_assert_eq!(split.len(), packets.len());
        for ((owned, packet), bytes) in split.into_iter().zip(&packets).zip(&encoded) {
            prop_assert_eq!(owned.packet_type(), packet.packet_type());
            prop_assert_eq!(owned.as_bytes(), bytes.as_slice());
            prop_assert_eq!(&owned.get(), packet);
            prop_assert_eq!(&owned.clone(), &owned);
            prop_assert_eq!(format!("{owned:?}"), format!("{:?}", owned.get()));
            prop_assert_eq!(owned.as_publish().is_some(), matches!(packet, Packet::Publish(_)));
            if let (Some(owned), Packet::Publish(publish)) = (owned.as_publish(), packet) {
                is_the_publish(owned, publish, version)?;
                let mut buffer = BytesMut::from(&bytes[..]);
                let alone = OwnedPublish::split_from(&mut buffer, &options).unwrap();
                prop_assert_eq!(alone.as_ref(), Some(owned));
            }
            prop_assert_eq!(owned.into_bytes(), bytes.as_slice());
        }
    }

    /// A fault is the same whether the packet is borrowed or owned, and the buffer stays as it is.
    #[test]
    fn an_owned_packet_has_the_same_faults(
        (version, packet) in packets(),
        (place, byte) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut bytes = encode(&packet, version);
        bytes.truncate(600);
        *place.get_mut(&mut bytes) = byte;
        for role in [Role::Server, Role::Client] {
            let options = DecodeOptions::new(version, role);
            let mut buffer = BytesMut::from(&bytes[..]);
            let borrowed = match frame(&bytes, &options) {
                Ok(Framing::Complete(frame)) => Packet::decode(frame, &options).map(Some),
                Ok(Framing::Incomplete { .. }) => Ok(None),
                Err(error) => Err(error),
            };
            let owned = Framer::new().next_packet(&mut buffer, &options);
            if !matches!(owned, Ok(Some(_))) {
                prop_assert_eq!(&buffer[..], &bytes[..]);
            }
            let owned = owned.as_ref().map(|owned| owned.as_ref().map(OwnedPacket::get));
            prop_assert_eq!(owned.map_err(|error| *error), borrowed);
        }
    }

    /// A byte changed, cut off or put in: an error or another packet, never a panic, and what is read can be written
    /// and read again.
    #[test]
    fn damage_is_found_or_harmless(
        (version, packet) in packets(),
        damage in (any::<prop::sample::Index>(), any::<u8>(), 0..3),
    ) {
        let (place, byte, how) = damage;
        let mut bytes = encode(&packet, version);
        bytes.truncate(600);
        match how {
            0 => *place.get_mut(&mut bytes) = byte,
            1 => bytes.insert(place.index(bytes.len()), byte),
            _ => {
                bytes.remove(place.index(bytes.len()));
            }
        }
        // The length is made right again, or most damage would end there.
        if bytes.len() < 120 && how != 0 && bytes.len() > 2 {
            bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        }
        for role in [Role::Server, Role::Client] {
            survives(&bytes, &DecodeOptions::new(version, role))?;
        }
    }

    #[test]
    fn noise_is_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..60), version in prop::sample::select(VERSIONS.to_vec())) {
        for role in [Role::Server, Role::Client] {
            survives(&bytes, &DecodeOptions::new(version, role))?;
        }
    }

    /// The header for a subscriber and the payload are a PUBLISH, whose properties passed through without decoding.
    // v5 [MQTT-3.3.2-4], v5 [MQTT-3.3.2-6], v5 [MQTT-3.3.2-15], v5 [MQTT-3.3.2-16], v5 [MQTT-3.3.2-17], v5 [MQTT-3.3.2-18],
    // v5 [MQTT-3.3.2-20], v5 [MQTT-3.3.4-3]
    #[test]
    fn a_forwarded_publish_is_what_was_published(
        publish in generate::publish(ProtocolVersion::V5),
        version in prop::sample::select(VERSIONS.to_vec()),
        expiry in prop::option::of(any::<u32>()),
        identifiers in prop::collection::vec(1_u32..=268_435_455, 0..3),
    ) {
        prop_assume!(!publish.topic_name.is_empty());
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Client);
        let bytes = encode(&Packet::Publish(publish), ProtocolVersion::V5);
        let received = Publish::decode(whole(&bytes, &options).unwrap(), &options).unwrap();
        let forwarded: Vec<u8> = received.properties.received.forwarded().flatten().copied().collect();
        prop_assert_eq!(received.properties.received.forwarded().total_len(), forwarded.len());
        let outgoing = OutgoingPublish {
            dup: received.dup,
            qos: received.qos,
            retain: received.retain,
            topic_name: received.topic_name,
            packet_identifier: received.packet_identifier,
            topic_alias: received.properties.topic_alias,
            message_expiry_interval: expiry,
            subscription_identifiers: &identifiers,
            forwarded: &forwarded,
            payload_len: received.payload.len(),
        };
        let mut sent = Vec::new();
        outgoing.encode_header(version, &mut sent).unwrap();
        sent.extend_from_slice(received.payload);
        prop_assert_eq!(outgoing.encoded_len(version), Ok(sent.len()));

        let mut expected = received.clone();
        if version == ProtocolVersion::V5 {
            expected.properties.message_expiry_interval = expiry;
            expected.properties.subscription_identifiers =
                komar_codec::SubscriptionIdentifiers::from_slice(&identifiers);
        } else {
            expected.properties = Default::default();
        }
        let options = DecodeOptions::new(version, Role::Client);
        prop_assert_eq!(&Publish::decode(whole(&sent, &options).unwrap(), &options).unwrap(), &expected);
        // Both encoders agree where the order of properties is the same.
        let mut again = Vec::new();
        expected.encode(version, &mut again).unwrap();
        prop_assert_eq!(again, sent);
    }

    // v5 [MQTT-3.3.1-1], v3 [MQTT-3.3.1-1]
    #[test]
    fn a_patched_publish_is_as_if_encoded_so(
        publish in generate::publish(ProtocolVersion::V5),
        (dup, retain, identifier) in (any::<bool>(), any::<bool>(), 1_u16..),
    ) {
        let identifier = PacketIdentifier::new(identifier).unwrap();
        let mut bytes = encode(&Packet::Publish(publish.clone()), ProtocolVersion::V5);
        let mut expected = Publish { retain, ..publish };
        patch::set_retain(&mut bytes, retain).unwrap();
        if expected.qos == QoS::AtMostOnce {
            prop_assert_eq!(patch::set_dup(&mut bytes, dup), Err(EncodeError::NotPatchable));
            let result = patch::set_packet_identifier(&mut bytes, identifier);
            prop_assert_eq!(result, Err(EncodeError::NotPatchable));
        } else {
            patch::set_dup(&mut bytes, dup).unwrap();
            patch::set_packet_identifier(&mut bytes, identifier).unwrap();
            expected.dup = dup;
            expected.packet_identifier = Some(identifier);
        }
        prop_assert_eq!(bytes, encode(&Packet::Publish(expected), ProtocolVersion::V5));
    }

    /// The size limit is exact, and is noticed with the header, whatever is behind it.
    #[test]
    fn the_size_limit_is_exact((version, packet) in packets()) {
        let bytes = encode(&packet, version);
        let length = u32::try_from(bytes.len()).unwrap();
        for role in receivers(&packet, version) {
            let mut options = DecodeOptions::new(version, role);
            options.maximum_packet_size = length;
            prop_assert!(frame(&bytes, &options).is_ok());
            options.maximum_packet_size = length - 1;
            let header = &bytes[..bytes.len().min(5)];
            prop_assert_eq!(frame(header, &options).unwrap_err().class(), ErrorClass::TooLarge);
        }
    }
}

/// What is remembered of its parts.
fn is_the_publish(
    owned: &OwnedPublish,
    publish: &Publish<'_>,
    version: ProtocolVersion,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(&owned.get(), publish);
    prop_assert_eq!(format!("{owned:?}"), format!("{:?}", owned.get()));
    prop_assert_eq!(
        (owned.dup(), owned.qos(), owned.retain()),
        (publish.dup, publish.qos, publish.retain)
    );
    prop_assert_eq!(
        (owned.packet_identifier(), owned.version()),
        (publish.packet_identifier, version)
    );
    prop_assert_eq!(
        (owned.topic_name(), owned.payload()),
        (publish.topic_name, publish.payload)
    );
    prop_assert_eq!(owned.topic_name_bytes(), publish.topic_name.as_bytes());
    prop_assert_eq!(owned.payload_bytes(), publish.payload);
    Ok(())
}

fn survives(bytes: &[u8], options: &DecodeOptions) -> Result<(), TestCaseError> {
    let is_decided =
        |framing: &Result<Framing<'_>, DecodeError>| !matches!(framing, Ok(Framing::Incomplete { .. }));
    let mut framer = Framer::new();
    let in_drips = (0..=bytes.len())
        .map(|length| framer.frame(&bytes[..length], options))
        .find(is_decided);
    prop_assert_eq!(in_drips, Some(frame(bytes, options)).filter(is_decided));
    let result = match frame(bytes, options) {
        Ok(Framing::Complete(frame)) => Packet::decode(frame, options),
        Ok(Framing::Incomplete { .. }) => return Ok(()),
        Err(error) => Err(error),
    };
    match result {
        Err(error) => prop_assert!(error.offset() as usize <= bytes.len()),
        Ok(packet) => {
            let again = encode(&packet, options.version);
            prop_assert_eq!(decode(&again, options), Ok(packet));
        }
    }
    Ok(())
}

/// What the generators promise: every packet, every property with every packet that may carry it, every Reason Code, and
/// the lengths at which something changes.
#[test]
fn generators_reach_everything() {
    use std::collections::BTreeSet;

    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut properties, mut codes) = (BTreeSet::new(), BTreeSet::new());
    let (mut lengths, mut types) = (BTreeSet::new(), BTreeSet::new());
    let mut will_properties = BTreeSet::new();
    let strategy = generate::packet(ProtocolVersion::V5);
    for _ in 0..9_000 {
        let packet = strategy.new_tree(&mut runner).unwrap().current();
        if let Packet::Connect(Connect { will: Some(will), .. }) = &packet {
            will_properties.extend(properties_of(will));
        }
        let packet_type = packet.packet_type();
        types.insert(packet_type);
        codes.extend(reason_codes(&packet).into_iter().map(|code| (packet_type, code)));
        let bytes = encode(&packet, ProtocolVersion::V5);
        let options = DecodeOptions::new(
            ProtocolVersion::V5,
            *receivers(&packet, ProtocolVersion::V5)
                .collect::<Vec<_>>()
                .last()
                .unwrap(),
        );
        let body = whole(&bytes, &options).unwrap().body();
        lengths.insert(body.len());
        properties.extend(
            property_identifiers(packet_type, bytes[0], body)
                .into_iter()
                .map(|id| (packet_type, id)),
        );
    }
    assert_eq!(types.len(), 15);
    for property in PropertyId::ALL {
        let is_found = will_properties.contains(&property.as_u8());
        assert_eq!(is_found, property.allowed_in_will(), "{property:?} in a Will");
    }
    for length in generate::REMAINING_LENGTHS {
        assert!(lengths.contains(&length), "{length}");
    }
    for packet_type in types {
        for code in ReasonCode::ALL.iter().filter(|code| code.allowed_in(packet_type)) {
            assert!(
                codes.contains(&(packet_type, *code)),
                "{code:?} in {packet_type:?}"
            );
        }
        for property in PropertyId::ALL {
            assert_eq!(
                properties.contains(&(packet_type, property.as_u8())),
                property.allowed_in(packet_type),
                "{property:?} in {packet_type:?}"
            );
        }
    }
}

fn properties_of(will: &Will<'_>) -> impl Iterator<Item = u8> {
    let properties = &will.properties;
    [
        (
            PropertyId::WillDelayInterval,
            properties.will_delay_interval.is_some(),
        ),
        (
            PropertyId::PayloadFormatIndicator,
            properties.payload_format_indicator.is_some(),
        ),
        (
            PropertyId::MessageExpiryInterval,
            properties.message_expiry_interval.is_some(),
        ),
        (PropertyId::ContentType, properties.content_type.is_some()),
        (PropertyId::ResponseTopic, properties.response_topic.is_some()),
        (PropertyId::CorrelationData, properties.correlation_data.is_some()),
        (PropertyId::UserProperty, !properties.user_properties.is_empty()),
    ]
    .into_iter()
    .filter_map(|(property, is_present)| is_present.then_some(property.as_u8()))
}

fn reason_codes(packet: &Packet<'_>) -> Vec<ReasonCode> {
    match packet {
        Packet::ConnAck(packet) => vec![packet.reason_code],
        Packet::PubAck(packet) => vec![packet.reason_code],
        Packet::PubRec(packet) => vec![packet.reason_code],
        Packet::PubRel(packet) => vec![packet.reason_code],
        Packet::PubComp(packet) => vec![packet.reason_code],
        Packet::SubAck(packet) => packet.reason_codes.iter().collect(),
        Packet::UnsubAck(packet) => packet.reason_codes.iter().collect(),
        Packet::Disconnect(packet) => vec![packet.reason_code],
        Packet::Auth(packet) => vec![packet.reason_code],
        _ => Vec::new(),
    }
}

/// The properties of a packet, found the plain way.
fn property_identifiers(packet_type: komar_codec::PacketType, first: u8, body: &[u8]) -> Vec<u8> {
    use komar_codec::PacketType::*;
    let string = |at: usize| 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let number = |at: usize| 1 + body[at..].iter().take_while(|byte| **byte >= 0x80).count();
    let mut at = match packet_type {
        Connect => 10,
        ConnAck | Subscribe | SubAck | Unsubscribe | UnsubAck => 2,
        Publish => string(0) + if first & 0b0110 == 0 { 0 } else { 2 },
        PubAck | PubRec | PubRel | PubComp => 3,
        Disconnect | Auth => 1,
        PingReq | PingResp => 0,
    };
    if at >= body.len() {
        return Vec::new();
    }
    let length = body[at..at + number(at)]
        .iter()
        .rev()
        .fold(0, |length, byte| (length << 7) | usize::from(byte & 0x7F));
    at += number(at);
    let end = at + length;
    let mut found = Vec::new();
    while at < end {
        let id = body[at];
        found.push(id);
        at += 1;
        at += match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0B => number(at),
            0x26 => string(at) + string(at + string(at)),
            _ => string(at),
        };
    }
    found
}
