//! Nothing is allocated: not to find a frame, to decode, to look at every part, to measure, to write, or to fail.

#![allow(clippy::unwrap_used)]

mod common;

use std::alloc::System;
use std::hint::black_box;

use common::{rows, unhex, version};
use komar_codec::{
    DecodeOptions, Framing, OutgoingPublish, Packet, PacketIdentifier, ProtocolVersion, QoS, Role,
    Utf8Policy, frame,
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
    assert!(read > 400 && refused > 800, "{read} read, {refused} refused");
}

/// Every part that is iterated over.
fn look(packet: &Packet<'_>) {
    match packet {
        Packet::Connect(packet) => {
            walk(packet.properties.user_properties.iter());
            if let Some(will) = &packet.will {
                walk(will.properties.user_properties.iter());
                walk(will.properties.forwarded());
            }
        }
        Packet::Publish(packet) => {
            walk(packet.properties.user_properties.iter());
            walk(packet.properties.subscription_identifiers.iter());
            walk(packet.properties.forwarded());
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
