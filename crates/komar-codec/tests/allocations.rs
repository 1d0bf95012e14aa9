//! Nothing is allocated: not to find a frame, to decode, to look at every part, to measure, to write, or to fail.
//! Of the owned packets of one buffer the first allocates once.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::System;
use std::hint::black_box;

use bytes::BytesMut;
use common::{rows, unhex, version};
use komar_codec::{
    DecodeOptions, Framer, Framing, OutgoingPublish, OwnedPacket, OwnedPublish, Packet, PacketIdentifier,
    ProtocolVersion, QoS, Role, Utf8Policy, frame,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Without the test harness (see `Cargo.toml`): this is the only thread of the process.
fn main() {
    let valid = rows(include_str!("data/valid.txt"), 5);
    let malformed = rows(include_str!("data/malformed.txt"), 5);
    let inputs: Vec<(Vec<u8>, ProtocolVersion)> = valid
        .chain(malformed)
        .map(|(_, row)| (unhex(row[0]), version(row[1])))
        .collect();
    let mut out = Vec::with_capacity(64 * 1024);
    let (mut read, mut refused) = (0, 0);

    let region = Region::new(ALLOCATOR);
    for (bytes, version) in &inputs {
        for receiver in [Role::Server, Role::Client] {
            for utf8 in [Utf8Policy::Permissive, Utf8Policy::Strict] {
                let options = DecodeOptions {
                    version: *version,
                    receiver,
                    maximum_packet_size: 1 << 20,
                    utf8,
                };
                match frame(bytes, &options).and_then(|framing| match framing {
                    Framing::Complete(whole) => Packet::decode(whole, &options).map(Some),
                    Framing::Incomplete { .. } => Ok(None),
                }) {
                    Ok(Some(packet)) => {
                        look(&packet);
                        out.clear();
                        packet.encode(*version, &mut out).unwrap();
                        read += 1;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        black_box((
                            error.class(),
                            error.reason_code(),
                            error.statement(),
                            error.offset(),
                        ));
                        refused += 1;
                    }
                }
            }
        }
    }
    out.clear();
    forward(&mut out);
    let change = region.change();

    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    owned_packets_share_one_allocation();
    assert!(read > 400 && refused > 800, "{read} read, {refused} refused");
}

/// The first packet that is taken out of a `BytesMut` makes its memory shared, which takes one small allocation; those
/// behind it take none, whichever way they are taken.
fn owned_packets_share_one_allocation() {
    let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
    let mut buffer = BytesMut::from(&b"\x30\x05\0\x01a\0!".repeat(30)[..]);
    let mut framer = Framer::new();
    let mut allocations = [0; 30];
    for (index, count) in allocations.iter_mut().enumerate() {
        let region = Region::new(ALLOCATOR);
        if index % 3 == 0 {
            let publish = OwnedPublish::split_from(&mut buffer, &options).unwrap().unwrap();
            black_box((publish.get(), publish.payload()));
        } else if index % 3 == 1 {
            black_box(
                OwnedPacket::split_from(&mut buffer, &options)
                    .unwrap()
                    .unwrap()
                    .get(),
            );
        } else {
            black_box(framer.next_packet(&mut buffer, &options).unwrap().unwrap().get());
        }
        let change = region.change();
        *count = change.allocations + change.reallocations;
    }
    assert!(buffer.is_empty());
    assert_eq!(allocations[0], 1);
    assert_eq!(allocations[1..], [0; 29]);
}

/// Every part that is iterated over.
fn look(packet: &Packet<'_>) {
    match packet {
        Packet::Connect(packet) => {
            walk(packet.properties.user_properties.iter());
            if let Some(will) = &packet.will {
                walk(will.properties.user_properties.iter());
                walk(will.properties.received.forwarded());
            }
        }
        Packet::Publish(packet) => {
            walk(packet.properties.user_properties.iter());
            walk(packet.properties.subscription_identifiers.iter());
            walk(packet.properties.received.forwarded());
        }
        Packet::Subscribe(packet) => walk(packet.filters.iter()),
        Packet::Unsubscribe(packet) => walk(packet.filters.iter()),
        Packet::SubAck(packet) => walk(packet.reason_codes.iter()),
        _ => {}
    }
}

fn walk(parts: impl Iterator) {
    for part in parts {
        black_box(part);
    }
}

fn forward(out: &mut Vec<u8>) {
    let outgoing = OutgoingPublish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic_name: "a/b",
        packet_identifier: Some(PacketIdentifier::MIN),
        topic_alias: None,
        message_expiry_interval: Some(9),
        subscription_identifiers: &[1, 300],
        forwarded: b"\x01\x01",
        payload_len: 2,
    };
    for version in [
        ProtocolVersion::V3_1,
        ProtocolVersion::V3_1_1,
        ProtocolVersion::V5,
    ] {
        outgoing.encode_header(version, out).unwrap();
        out.extend_from_slice(b"hi");
    }
}
