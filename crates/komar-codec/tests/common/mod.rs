//! What several tests share: generators of packets, table files.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod generate;

use bytes::BytesMut;
use komar_codec::{
    DecodeError, DecodeOptions, Frame, Framer, Framing, OwnedPacket, OwnedPublish, Packet, PacketType,
    ProtocolVersion, Role, Utf8Policy, frame,
};

/// The frame that the bytes are.
pub fn whole<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Frame<'a>, DecodeError> {
    match frame(bytes, options)? {
        Framing::Complete(whole) => Ok(whole),
        Framing::Incomplete { needed } => panic!("incomplete, {needed} bytes more needed"),
    }
}

pub fn decode<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Packet<'a>, DecodeError> {
    let whole = whole(bytes, options)?;
    assert_eq!(whole.len(), bytes.len(), "there is more than one packet");
    Packet::decode(whole, options)
}

/// Every way to an owned packet gives what [`decode`] gives by either policy, packet or error; an error leaves the buffer as
/// it is.
pub fn check_owned(bytes: &[u8], options: &DecodeOptions) {
    for utf8 in [Utf8Policy::Permissive, Utf8Policy::Strict] {
        check_owned_by(bytes, &DecodeOptions { utf8, ..*options });
    }
}

fn check_owned_by(bytes: &[u8], options: &DecodeOptions) {
    let expected = decode(bytes, options);
    let check = |found: Result<Packet<'_>, DecodeError>, rest: &[u8]| {
        assert_eq!(found, expected, "{options:?}");
        assert_eq!(rest, if expected.is_ok() { &[][..] } else { bytes });
    };
    let mut buffer = BytesMut::from(bytes);
    let owned = OwnedPacket::split_from(&mut buffer, options).map(Option::unwrap);
    check(
        owned.as_ref().map(OwnedPacket::get).map_err(|error| *error),
        &buffer,
    );
    let mut buffer = BytesMut::from(bytes);
    let owned = Framer::new()
        .next_packet(&mut buffer, options)
        .map(Option::unwrap);
    check(
        owned.as_ref().map(OwnedPacket::get).map_err(|error| *error),
        &buffer,
    );
    if PacketType::from_u8(bytes[0] >> 4) == Some(PacketType::Publish) {
        let mut buffer = BytesMut::from(bytes);
        let owned = OwnedPublish::split_from(&mut buffer, options).map(Option::unwrap);
        let packet = owned.as_ref().map(|owned| Packet::from(owned.get()));
        check(packet.map_err(|error| *error), &buffer);
    }
}

pub fn encode(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet
        .encode(version, &mut bytes)
        .unwrap_or_else(|error| panic!("{error} in {packet:?}"));
    assert_eq!(packet.encoded_len(version), Ok(bytes.len()));
    bytes
}

/// Who may receive a packet of that type.
pub fn receivers(packet: &Packet<'_>, version: ProtocolVersion) -> impl Iterator<Item = Role> {
    let packet_type = packet.packet_type();
    [Role::Server, Role::Client]
        .into_iter()
        .filter(move |role| packet_type.may_be_sent_to(*role, version))
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits in {text}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}

/// Lines of a table with `columns` columns, with their numbers; `#` begins a comment.
pub fn rows(table: &'static str, columns: usize) -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    let is_row = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    table
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(is_row)
        .map(move |(number, line)| {
            let row: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(row.len(), columns, "line {number}: {line}");
            (number, row)
        })
}

pub fn version(text: &str) -> ProtocolVersion {
    match text {
        "3.1" => ProtocolVersion::V3_1,
        "3.1.1" => ProtocolVersion::V3_1_1,
        "5" => ProtocolVersion::V5,
        other => panic!("version {other}"),
    }
}

pub fn roles(text: &str) -> &'static [Role] {
    match text {
        "c2s" => &[Role::Server],
        "s2c" => &[Role::Client],
        "both" => &[Role::Server, Role::Client],
        other => panic!("direction {other}"),
    }
}
