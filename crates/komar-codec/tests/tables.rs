//! `data/*.txt`: which bytes are packets, which are not and why, which packet may carry which property and Reason Code.

#![allow(clippy::unwrap_used)]

mod common;

use common::{check_owned, decode, encode, roles, rows, unhex, version};
use komar_codec::{
    DecodeError, DecodeErrorKind, DecodeOptions, ErrorClass, PacketType, PropertyId, ProtocolVersion,
    ReasonCode, Role, Utf8Policy,
};

#[test]
fn valid_packets_are_read_and_written() {
    for (line, row) in rows(include_str!("data/valid.txt"), 5) {
        let [hex, version_text, direction, again, _statement] = row[..] else {
            unreachable!()
        };
        let bytes = unhex(hex);
        let again = if again == "=" { bytes.clone() } else { unhex(again) };
        for role in roles(direction) {
            let options = DecodeOptions::new(version(version_text), *role);
            let packet = decode(&bytes, &options).unwrap_or_else(|error| panic!("line {line}: {error}"));
            assert_eq!(encode(&packet, options.version), again, "line {line}: {packet:?}");
            check_owned(&bytes, &options);
        }
    }
}

#[test]
fn malformed_packets_are_refused_for_the_right_reason() {
    for (line, row) in rows(include_str!("data/malformed.txt"), 5) {
        let [hex, version_text, direction, result, statement] = row[..] else {
            unreachable!()
        };
        let bytes = unhex(hex);
        for role in roles(direction) {
            let options = DecodeOptions::new(version(version_text), *role);
            let error = match decode(&bytes, &options) {
                Err(error) => error,
                Ok(packet) => panic!("line {line}: {packet:?}"),
            };
            let found = format!("{} {:?} {}", class(&error), error.kind(), error.offset());
            assert_eq!(found, result, "line {line}");
            let expected = Some(statement).filter(|text| text.starts_with('v'));
            assert_eq!(error.statement(), expected, "line {line}");
            check_reason_code(&error);
            check_owned(&bytes, &options);
        }
    }
}

/// Whatever the flags and the version are: nobody gets what only the other side sends.
#[test]
fn no_packet_is_accepted_from_the_wrong_side() {
    let (mut accepted, mut refused) = (0, 0);
    for (_, row) in rows(include_str!("data/valid.txt"), 5) {
        let mut bytes = unhex(row[0]);
        for flags in 0..16 {
            bytes[0] = (bytes[0] & 0xF0) | flags;
            for version in [
                ProtocolVersion::V3_1,
                ProtocolVersion::V3_1_1,
                ProtocolVersion::V5,
            ] {
                for role in [Role::Server, Role::Client] {
                    let result = decode(&bytes, &DecodeOptions::new(version, role));
                    let packet_type = PacketType::from_u8(bytes[0] >> 4).unwrap();
                    if packet_type.may_be_sent_to(role, version) {
                        accepted += usize::from(result.is_ok());
                    } else {
                        let kind = result.unwrap_err().kind();
                        assert!(
                            matches!(
                                kind,
                                DecodeErrorKind::WrongDirection
                                    | DecodeErrorKind::ReservedPacketType
                                    | DecodeErrorKind::FixedHeaderFlags
                            ),
                            "{kind:?}: {bytes:02x?} to {role:?}"
                        );
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(accepted > 500 && refused > 500, "{accepted}, {refused}");
}

/// What the table of packets that are refused does not say: it knows the permissive policy only.
#[test]
fn the_strict_policy_holds_for_topic_names_of_owned_packets() {
    for (hex, versions) in [
        ("3006 0003 610162 2e", &[ProtocolVersion::V3_1_1][..]),
        ("3007 0003 617f62 00 2e", &[ProtocolVersion::V5]),
        ("3007 0003 efbfbf 00 2e", &[ProtocolVersion::V5]),
    ] {
        for version in versions {
            let mut options = DecodeOptions::new(*version, Role::Server);
            let bytes = unhex(hex);
            assert!(decode(&bytes, &options).is_ok(), "{hex}");
            options.utf8 = Utf8Policy::Strict;
            let error = decode(&bytes, &options).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::ControlCharacter, "{hex}");
            check_owned(&bytes, &options);
        }
    }
}

fn class(error: &DecodeError) -> &'static str {
    match error.class() {
        ErrorClass::Malformed => "malformed",
        ErrorClass::ProtocolError => "protocol-error",
        ErrorClass::TooLarge => "too-large",
        ErrorClass::UnsupportedVersion => "unsupported-version",
        _ => "a class that the tables do not know",
    }
}

/// The Reason Code tells a protocol error from a malformed packet in every version, the class in 5.0 only.
fn check_reason_code(error: &DecodeError) {
    let found = error.reason_code();
    let expected = match (error.kind(), error.class()) {
        (DecodeErrorKind::TopicAliasZero, _) => ReasonCode::TopicAliasInvalid,
        (DecodeErrorKind::ProtocolName, _) => ReasonCode::UnsupportedProtocolVersion,
        (_, ErrorClass::Malformed) if error.version() != ProtocolVersion::V5 => {
            assert!(matches!(
                found,
                ReasonCode::MalformedPacket | ReasonCode::ProtocolError
            ));
            return;
        }
        (_, ErrorClass::Malformed) => ReasonCode::MalformedPacket,
        (_, ErrorClass::ProtocolError) => ReasonCode::ProtocolError,
        (_, ErrorClass::TooLarge) => ReasonCode::PacketTooLarge,
        (_, ErrorClass::UnsupportedVersion) => ReasonCode::UnsupportedProtocolVersion,
        (_, other) => panic!("class {other:?}"),
    };
    assert_eq!(found, expected);
}

/// A packet with a hole for properties, and for a Reason Code where it has one.
fn with(packet: &str, reason_code: u8, properties: &[u8]) -> Vec<u8> {
    let (first, before, after): (u8, &[u8], &[u8]) = match packet {
        "CONNECT" => (0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\0"),
        "Will" => (0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\0", b"\0\x01w\0\0"),
        "CONNACK" => (0x20, &[0, reason_code], b""),
        "PUBLISH" => (0x30, b"\0\x01a", b""),
        "PUBACK" => (0x40, &[0, 1, reason_code], b""),
        "PUBREC" => (0x50, &[0, 1, reason_code], b""),
        "PUBREL" => (0x62, &[0, 1, reason_code], b""),
        "PUBCOMP" => (0x70, &[0, 1, reason_code], b""),
        "SUBSCRIBE" => (0x82, b"\0\x01", b"\0\x01a\0"),
        "SUBACK" => (0x90, b"\0\x01", &[reason_code]),
        "UNSUBSCRIBE" => (0xA2, b"\0\x01", b"\0\x01a"),
        "UNSUBACK" => (0xB0, b"\0\x01", &[reason_code]),
        "DISCONNECT" => (0xE0, &[reason_code], b""),
        "AUTH" => (0xF0, &[reason_code], b""),
        other => panic!("packet {other}"),
    };
    let length = u8::try_from(properties.len()).unwrap();
    let body = [before, &[length], properties, after].concat();
    [&[first, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

const PACKETS: [(&str, Option<PacketType>); 14] = [
    ("CONNECT", Some(PacketType::Connect)),
    ("Will", None),
    ("CONNACK", Some(PacketType::ConnAck)),
    ("PUBLISH", Some(PacketType::Publish)),
    ("PUBACK", Some(PacketType::PubAck)),
    ("PUBREC", Some(PacketType::PubRec)),
    ("PUBREL", Some(PacketType::PubRel)),
    ("PUBCOMP", Some(PacketType::PubComp)),
    ("SUBSCRIBE", Some(PacketType::Subscribe)),
    ("SUBACK", Some(PacketType::SubAck)),
    ("UNSUBSCRIBE", Some(PacketType::Unsubscribe)),
    ("UNSUBACK", Some(PacketType::UnsubAck)),
    ("DISCONNECT", Some(PacketType::Disconnect)),
    ("AUTH", Some(PacketType::Auth)),
];

/// What AUTH cannot be without.
const METHOD: &[u8] = b"\x15\0\x01M";

#[test]
fn every_property_in_every_packet() {
    let table: Vec<_> = rows(include_str!("data/properties.txt"), 5)
        .map(|(_, row)| {
            let id = unhex(row[0])[0];
            assert_eq!(format!("{:?}", PropertyId::from_u8(id).unwrap()), row[1]);
            (id, unhex(row[2]), words(row[3]), words(row[4]))
        })
        .collect();
    for id in 0..=u8::MAX {
        let row = table.iter().find(|row| row.0 == id);
        assert_eq!(PropertyId::from_u8(id).is_some(), row.is_some());
        for (packet, packet_type) in PACKETS {
            for role in [Role::Server, Role::Client] {
                if packet_type.is_some_and(|t| !t.may_be_sent_to(role, ProtocolVersion::V5))
                    || packet == "Will" && role == Role::Client
                {
                    continue;
                }
                let sender = if role == Role::Server { "client" } else { "server" };
                let listed = |list: &Vec<&str>| {
                    list.contains(&packet) || list.contains(&format!("{packet}/{sender}").as_str())
                };
                let options = DecodeOptions::new(ProtocolVersion::V5, role);
                // AUTH needs a method; CONNECT needs one beside data.
                let around: &[u8] = if packet == "AUTH" || id == 0x16 {
                    METHOD
                } else {
                    b""
                };
                let value = row.map_or(&b"\0\0\0\0"[..], |row| &row.1);
                let one: Vec<u8> = [&[id], value].concat();
                let once = if id == 0x15 {
                    one.clone()
                } else {
                    [&one, around].concat()
                };
                // Of AUTH the one that either side sends.
                let reason_code = if packet == "AUTH" { 0x18 } else { 0 };
                let bytes = with(packet, reason_code, &once);
                let result = decode(&bytes, &options);
                let is_allowed = row.is_some_and(|row| listed(&row.2));
                assert_eq!(
                    result.is_ok(),
                    is_allowed,
                    "{id:#x} in {packet} from {sender}: {result:?}"
                );
                if let (Some(row), Some(property)) = (row, PropertyId::from_u8(id)) {
                    let anywhere = row.2.iter().any(|name| name.split('/').next() == Some(packet));
                    let claimed = match packet_type {
                        Some(packet_type) => property.allowed_in(packet_type),
                        None => property.allowed_in_will(),
                    };
                    assert_eq!(claimed, anywhere, "{property:?} in {packet}");
                    let repeats = row.3.iter().any(|name| name.split('/').next() == Some(packet));
                    let claimed = property.may_repeat_in(packet_type.unwrap_or(PacketType::Connect));
                    assert_eq!(claimed, repeats, "{property:?} in {packet}");
                }
                if !is_allowed {
                    continue;
                }
                let bytes = with(packet, reason_code, &[&one, &once[..]].concat());
                let result = decode(&bytes, &options);
                let repeats = row.is_some_and(|row| listed(&row.3));
                let duplicate = PropertyId::from_u8(id).map(DecodeErrorKind::DuplicateProperty);
                assert_eq!(
                    result.err().map(|error| error.kind()),
                    duplicate.filter(|_| !repeats)
                );
            }
        }
    }
}

#[test]
fn every_reason_code_in_every_packet() {
    let mut packets_seen = 0;
    for (line, row) in rows(include_str!("data/reason_codes.txt"), 2) {
        let packet = row[0];
        // The code, and who alone may be sent it.
        let codes: Vec<(u8, Option<Role>)> = words(row[1])
            .into_iter()
            .map(|word| {
                let (code, sender) = word.split_at(2);
                let receiver = match sender {
                    "" => None,
                    "c" => Some(Role::Server),
                    "s" => Some(Role::Client),
                    other => panic!("line {line}: sender {other}"),
                };
                (unhex(code)[0], receiver)
            })
            .collect();
        let packet_type = PACKETS.iter().find(|known| known.0 == packet).unwrap().1.unwrap();
        for value in 0..=u8::MAX {
            let listed = codes.iter().find(|code| code.0 == value);
            let code = ReasonCode::from_u8(value);
            let claimed = code.is_some_and(|code| code.allowed_in(packet_type));
            assert_eq!(claimed, listed.is_some(), "line {line}, {value:#x}");
            for role in [Role::Server, Role::Client] {
                let is_allowed = listed.is_some_and(|code| code.1.is_none_or(|only| only == role));
                let claimed = code.is_some_and(|code| code.may_be_sent_to(role, packet_type));
                assert_eq!(claimed, is_allowed, "line {line}, {value:#x} to {role:?}");
                if !packet_type.may_be_sent_to(role, ProtocolVersion::V5) {
                    continue;
                }
                let options = DecodeOptions::new(ProtocolVersion::V5, role);
                let bytes = with(packet, value, if packet == "AUTH" { METHOD } else { b"" });
                let result = decode(&bytes, &options).map_err(|error| error.kind());
                let refused = Some(DecodeErrorKind::ReasonCode(value)).filter(|_| !is_allowed);
                assert_eq!(result.err(), refused, "line {line}, {value:#x} to {role:?}");
            }
        }
        packets_seen += 1;
    }
    assert_eq!(packets_seen, 9);
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}
