//! Packets to bytes and back.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main};
use komar_benches::{CpuTime, Row, criterion, mix, mix_bytes};
use komar_codec::{DecodeOptions, Framing, ProtocolVersion, Publish, Role, frame};

/// 64 bytes of payload, QoS 1, a name of 18 bytes.
fn publish_64() -> Vec<u8> {
    let body = [b"\0\x12factory/line/press\0\x07".as_slice(), &[0x41; 64]].concat();
    [&[0x32, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

fn borrowed(criterion: &mut criterion::Criterion<CpuTime>) {
    let input = publish_64();
    let options = DecodeOptions::new(ProtocolVersion::V3_1_1, Role::Server);
    Row::new("decode", "publish 64 B borrowed 3.1.1", 1)
        .with("komar", || {
            let Ok(Framing::Complete(whole)) = frame(black_box(&input), &options) else {
                return 0;
            };
            match Publish::decode(whole, &options) {
                Ok(publish) => mix_bytes(
                    mix_bytes(mix(0, 1), publish.topic_name.as_bytes()),
                    publish.payload,
                ),
                Err(_) => 0,
            }
        })
        .run(criterion);
}

criterion_group! {
    name = decode;
    config = criterion();
    targets = borrowed
}
criterion_main!(decode);
