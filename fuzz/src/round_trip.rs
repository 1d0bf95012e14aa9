//! What is read can be written, means the same then, and is the same to the byte when it is written again.

use bytes::BytesMut;
use komar_codec::{
    DecodeOptions, Framing, OutgoingPublish, OwnedPacket, OwnedPublish, Packet, PacketIdentifier,
    ProtocolVersion, Publish, QoS, frame, patch,
};

use crate::packets;

pub fn run(data: &[u8]) {
    let Some((options, _, mut rest)) = packets::split(data) else {
        return;
    };
    while let Ok(Framing::Complete(whole)) = frame(rest, &options) {
        if let Ok(packet) = Packet::decode(whole, &options) {
            let mut options = options;
            options.maximum_packet_size = u32::MAX;
            let written = write(&packet, &options);
            let again = read(&written, &options);
            assert_eq!(again, packet);
            assert_eq!(write(&again, &options), written);
            owned(&written, &packet, &options);
            if let Packet::Publish(publish) = &packet {
                forwarded(publish, &options);
                patched(&written, publish, &options);
            }
        }
        rest = &rest[whole.len()..];
    }
}

fn write(packet: &Packet<'_>, options: &DecodeOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet
        .encode(options.version, &mut bytes)
        .unwrap_or_else(|error| panic!("{error}: {packet:?}"));
    assert_eq!(packet.encoded_len(options.version), Ok(bytes.len()));
    bytes
}

fn read<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Packet<'a> {
    let Framing::Complete(whole) = frame(bytes, options).expect("a frame was written") else {
        panic!("a whole frame was written");
    };
    assert_eq!(whole.len(), bytes.len());
    Packet::decode(whole, options).expect("a packet was written")
}

fn owned(bytes: &[u8], packet: &Packet<'_>, options: &DecodeOptions) {
    let mut buffer = BytesMut::from(bytes);
    let owned = OwnedPacket::split_from(&mut buffer, options).unwrap().unwrap();
    assert!(buffer.is_empty());
    drop(buffer);
    assert_eq!(owned.get(), *packet);
    if let Packet::Publish(publish) = packet {
        let mut buffer = BytesMut::from(bytes);
        let owned = OwnedPublish::split_from(&mut buffer, options).unwrap().unwrap();
        drop(buffer);
        assert_eq!(owned.get(), *publish);
        assert_eq!(owned.topic_name(), publish.topic_name);
        assert_eq!(owned.payload(), publish.payload);
        assert_eq!(owned.payload_bytes(), publish.payload);
    }
}

/// As a server passes it on.
fn forwarded(publish: &Publish<'_>, options: &DecodeOptions) {
    let properties = &publish.properties;
    let forwarded: Vec<u8> = properties.received.forwarded().flatten().copied().collect();
    assert_eq!(properties.received.forwarded().total_len(), forwarded.len());
    let identifiers: Vec<u32> = properties.subscription_identifiers.iter().collect();
    let outgoing = OutgoingPublish {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic_name: publish.topic_name,
        packet_identifier: publish.packet_identifier,
        topic_alias: properties.topic_alias,
        message_expiry_interval: properties.message_expiry_interval,
        subscription_identifiers: &identifiers,
        forwarded: &forwarded,
        payload_len: publish.payload.len(),
    };
    let mut bytes = Vec::new();
    outgoing.encode_header(options.version, &mut bytes).unwrap();
    bytes.extend_from_slice(publish.payload);
    assert_eq!(outgoing.encoded_len(options.version), Ok(bytes.len()));
    assert_eq!(read(&bytes, options), Packet::Publish(publish.clone()));
    if options.version == ProtocolVersion::V5 && !publish.topic_name.is_empty() {
        outgoing.encode_header(ProtocolVersion::V3_1_1, &mut Vec::new()).unwrap();
    }
}

fn patched(bytes: &[u8], publish: &Publish<'_>, options: &DecodeOptions) {
    let mut bytes = bytes.to_vec();
    let mut expected = publish.clone();
    expected.retain = !publish.retain;
    patch::set_retain(&mut bytes, expected.retain).unwrap();
    if publish.qos != QoS::AtMostOnce {
        expected.dup = !publish.dup;
        expected.packet_identifier = PacketIdentifier::new(0xABCD);
        patch::set_dup(&mut bytes, expected.dup).unwrap();
        patch::set_packet_identifier(&mut bytes, PacketIdentifier::new(0xABCD).unwrap()).unwrap();
    }
    assert_eq!(read(&bytes, options), Packet::Publish(expected));
}
