//! Bytes from a peer: whatever they are, each packet is one or an error, borrowed and owned, every part of both can be looked
//! at, and nobody gets a packet that only he himself may send.

use std::fmt::Write;

use bytes::BytesMut;
use komar_codec::{
    DecodeError, DecodeErrorKind, DecodeOptions, Framing, OwnedPacket, OwnedPublish, Packet, PacketType, frame,
};

use crate::packets;

pub fn run(data: &[u8]) {
    let Some((options, _, mut rest)) = packets::split(data) else {
        return;
    };
    let mut shown = String::new();
    loop {
        match frame(rest, &options) {
            Err(error) => return check(&error, rest.len(), &mut shown),
            Ok(Framing::Incomplete { needed }) => return assert!(needed > 0),
            Ok(Framing::Complete(whole)) => {
                assert!(whole.len() >= 2 && whole.len() <= rest.len());
                assert!(whole.len() <= usize::try_from(options.maximum_packet_size).unwrap());
                assert!(whole.packet_type().may_be_sent_to(options.receiver, options.version));
                let decoded = Packet::decode(whole, &options);
                match &decoded {
                    // Walks over all that can be iterated over.
                    Ok(packet) => write!(shown, "{packet:?}").unwrap(),
                    Err(error) => check(error, whole.len(), &mut shown),
                }
                owned(whole.bytes(), &decoded, &options);
                rest = &rest[whole.len()..];
            }
        }
    }
}

/// The owned packet is the borrowed one, or has its error.
fn owned(bytes: &[u8], decoded: &Result<Packet<'_>, DecodeError>, options: &DecodeOptions) {
    let packet = OwnedPacket::split_from(&mut BytesMut::from(bytes), options).map(Option::unwrap);
    let borrowed = packet.as_ref().map(OwnedPacket::get).map_err(|error| *error);
    assert_eq!(borrowed, *decoded);
    let publish = OwnedPublish::split_from(&mut BytesMut::from(bytes), options).map(Option::unwrap);
    match (publish, decoded) {
        (Ok(publish), Ok(Packet::Publish(expected))) => {
            assert_eq!(publish.get(), *expected);
            assert_eq!(publish.topic_name(), expected.topic_name);
            assert_eq!(publish.packet_identifier(), expected.packet_identifier);
            assert_eq!((publish.dup(), publish.qos(), publish.retain()), (expected.dup, expected.qos, expected.retain));
            assert_eq!(publish.payload(), expected.payload);
            assert_eq!(publish.payload_bytes(), expected.payload);
        }
        (Err(error), Ok(_)) => assert_eq!(error.kind(), DecodeErrorKind::UnexpectedPacketType),
        (Err(error), Err(expected)) if expected.packet_type() == Some(PacketType::Publish) => {
            assert_eq!(error, *expected);
        }
        (Err(_), Err(_)) => {}
        (Ok(publish), decoded) => panic!("{publish:?}, but {decoded:?}"),
    }
}

fn check(error: &DecodeError, length: usize, shown: &mut String) {
    assert!(usize::try_from(error.offset()).unwrap() <= length);
    assert!(error.reason_code().is_error());
    write!(shown, "{error} {:?} {:?}", error.class(), error.statement()).unwrap();
}
