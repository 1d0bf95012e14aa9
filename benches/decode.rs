//! Packets to bytes and back, beside other codecs (feature `peers`).
//!
//! Every participant reads the same bytes and makes the same checksum of what it has read (of a string its length and its
//! ends), or writes the same bytes, all of which are in the checksum. Owned packets are taken out of
//! a buffer that was filled before; to free it at the end is in everybody's figures.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use komar_benches::codec::{Decoder, Komar, KomarBorrowed, KomarProperties, drain, of_publish, pieces};
#[cfg(feature = "peers")]
use komar_benches::peers::*;
use komar_benches::{CpuTime, Row, criterion, mix, mix_all};
use komar_codec::{
    Connect, ConnectProperties, DecodeOptions, Framing, OutgoingPublish, Packet, PacketIdentifier,
    PayloadFormat, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, QoS,
    ReasonCode, RetainHandling, Role, Subscribe, SubscribeFilters, SubscriptionOptions, Unsubscribe,
    UnsubscribeFilters, UserProperties, Will, WillProperties, frame,
};

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5;
const TOPIC: &str = "factory/line-7/press/temperature";
/// Packets of one kind in a buffer.
const COUNT: usize = 64;

fn suite(name: &str, elements: usize) -> Row<'_> {
    Row::new("decode", name, elements as u64)
}

fn identifier(number: usize) -> PacketIdentifier {
    u16::try_from(number % 65_535 + 1)
        .ok()
        .and_then(PacketIdentifier::new)
        .expect("it is between 1 and 65,535")
}

fn publish(payload: &[u8]) -> Publish<'_> {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic_name: TOPIC,
        packet_identifier: Some(identifier(6)),
        properties: PublishProperties::default(),
        payload,
    }
}

/// `count` times the packet.
fn stream(packet: &Packet<'_>, version: ProtocolVersion, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        packet
            .encode(version, &mut bytes)
            .expect("the packet can be written");
    }
    bytes
}

macro_rules! with_peers {
    ($row:ident, $input:expr, whole: $($peer:ty),* $(,)?) => {
        #[cfg(feature = "peers")]
        let $row = $row$(.with_input(
            name::<$peer>(),
            batch($input),
            || <$peer>::buffer(black_box($input)),
            drain::<$peer>,
        ))*;
    };
    ($row:ident, $input:expr, pieces: $($peer:ty),* $(,)?) => {
        #[cfg(feature = "peers")]
        let $row = $row$(.with(name::<$peer>(), || pieces::<$peer>(black_box($input), 7)))*;
    };
}

/// Buffers to be filled at a time: few enough to stay in the cache.
fn batch(input: &[u8]) -> u64 {
    (200_000 / input.len() as u64).clamp(1, 32)
}

/// One of ours.
fn ours<'w, D: Decoder + 'w>(row: Row<'w>, who: &'static str, input: &'w [u8]) -> Row<'w>
where
    D::Buffer: 'w,
{
    row.with_input(who, batch(input), || D::buffer(black_box(input)), drain::<D>)
}

/// The crate that a decoder stands for.
#[cfg(feature = "peers")]
fn name<T>() -> &'static str {
    let full = std::any::type_name::<T>();
    let last = full.split('<').next().and_then(|path| path.rsplit("::").next());
    match last.unwrap_or(full) {
        "RumqttcV4" | "RumqttcV5" => "rumqttc",
        "MqttbytesV4" | "MqttbytesV5" => "mqttbytes",
        "NtexV3" | "NtexV5" => "ntex-mqtt",
        "RmqttV3" | "RmqttV5" => "rmqtt-codec",
        "MqttProtocolCore" => "mqtt-protocol-core",
        "Mqtt5Protocol" => "mqtt5-protocol",
        "MqttCodecKit" => "mqtt-codec-kit",
        "Mqttrs" => "mqttrs (borrowed)",
        other => panic!("{other} has no name"),
    }
}

fn decode_publish(criterion: &mut Criterion<CpuTime>) {
    let payload = [0x41; 64];
    let small = Packet::Publish(publish(&payload));
    let large_payload = vec![0x42; 64 * 1024];
    let large = Packet::Publish(publish(&large_payload));
    for (what, packet, count) in [("64 B", &small, COUNT), ("64 KiB", &large, 32)] {
        let input = stream(packet, V3, count);
        let title = format!("PUBLISH {what}, owned, 3.1.1");
        let row = ours::<Komar<4>>(suite(&title, count), "komar", &input);
        with_peers!(row, &input, whole: RumqttcV4, MqttbytesV4, NtexV3, RmqttV3, MqttProtocolCore<4>,
            Mqtt5Protocol<4>, MqttCodecKit<4>);
        row.run(criterion);

        let input = stream(packet, V5, count);
        let title = format!("PUBLISH {what}, owned, 5.0");
        let row = ours::<Komar<5>>(suite(&title, count), "komar", &input);
        with_peers!(row, &input, whole: RumqttcV5<false>, MqttbytesV5<false>, NtexV5<false>, RmqttV5<false>,
            MqttProtocolCore<5>, Mqtt5Protocol<5>, MqttCodecKit<5>);
        row.run(criterion);
    }
}

/// Frames that are found already: what checking one PUBLISH costs, and nothing else.
///
/// Of the other codecs only mqttrs borrows, and it has no 5.0: beside ours of 5.0 it reads the same packet in 3.1.1, which is
/// shorter by the Property Length, and has the same checksum.
fn decode_borrowed(criterion: &mut Criterion<CpuTime>) {
    let payload = [0x41; 64];
    for (title, version) in [
        ("PUBLISH 64 B, borrowed, 3.1.1", V3),
        ("PUBLISH 64 B, borrowed, 5.0", V5),
    ] {
        let one = stream(&Packet::Publish(publish(&payload)), version, 1);
        let frames = vec![one; COUNT];
        let options = DecodeOptions::new(version, Role::Server);
        let row = suite(title, COUNT).with("komar", || {
            black_box(&frames).iter().fold(0, |sum, bytes| {
                let Ok(Framing::Complete(whole)) = frame(bytes, &options) else {
                    panic!("it is a frame");
                };
                let publish = Publish::decode(whole, &options).expect("it is a PUBLISH");
                mix(sum, of_publish(&publish))
            })
        });
        #[cfg(feature = "peers")]
        let older = vec![stream(&Packet::Publish(publish(&payload)), V3, 1); COUNT];
        #[cfg(feature = "peers")]
        let row = row.with(
            if version == V3 {
                "mqttrs"
            } else {
                "mqttrs (the same in 3.1.1)"
            },
            || {
                black_box(&older).iter().fold(0, |sum, bytes| {
                    let packet = mqttrs::decode_slice(bytes)
                        .expect("it is a packet")
                        .expect("it is whole");
                    mix(sum, of_mqttrs(&packet).expect("it is a PUBLISH"))
                })
            },
        );
        row.run(criterion);
    }
}

const USER: UserProperties<'_> = UserProperties::from_pairs(&[("machine", "press-7"), ("unit", "celsius")]);

fn decode_properties(criterion: &mut Criterion<CpuTime>) {
    let payload = [0x41; 64];
    let mut packet = publish(&payload);
    packet.properties = PublishProperties {
        payload_format_indicator: Some(PayloadFormat::Utf8),
        message_expiry_interval: Some(3600),
        topic_alias: Some(core::num::NonZeroU16::MIN),
        response_topic: Some("factory/line-7/answers"),
        correlation_data: Some(b"0123456789abcdef"),
        content_type: Some("text/plain"),
        user_properties: USER,
        ..PublishProperties::default()
    };
    let input = stream(&Packet::Publish(packet), V5, COUNT);
    let row = ours::<KomarProperties>(
        suite("PUBLISH with 8 properties, owned, 5.0", COUNT),
        "komar",
        &input,
    );
    with_peers!(row, &input, whole: RumqttcV5<true>, MqttbytesV5<true>, NtexV5<true>, RmqttV5<true>);
    row.run(criterion);
}

fn filters(count: usize) -> Vec<(String, SubscriptionOptions)> {
    let options = SubscriptionOptions {
        maximum_qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    (0..count)
        .map(|n| (format!("factory/line-{n}/+/temperature"), options))
        .collect()
}

fn decode_connect_and_subscribe(criterion: &mut Criterion<CpuTime>) {
    let connect = Packet::Connect(Connect {
        version: V5,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_id: "press-7-line-3-hall-2",
        username: Some("press-7"),
        password: Some(b"not a secret"),
        will: Some(Will {
            topic_name: "factory/line-7/press/state",
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: WillProperties::default(),
        }),
        properties: ConnectProperties {
            session_expiry_interval: Some(3600),
            receive_maximum: core::num::NonZeroU16::new(100),
            ..ConnectProperties::default()
        },
    });
    let input = stream(&connect, V5, COUNT);
    let row = ours::<Komar<5>>(suite("CONNECT, owned, 5.0", COUNT), "komar", &input);
    with_peers!(row, &input, whole: RumqttcV5<false>, MqttbytesV5<false>, NtexV5<false>, RmqttV5<false>);
    row.run(criterion);

    let filters = filters(10);
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, options)| (filter.as_str(), *options))
        .collect();
    let subscribe = Packet::Subscribe(Subscribe {
        packet_identifier: identifier(6),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        filters: SubscribeFilters::from_slice(&filters),
    });
    let input = stream(&subscribe, V5, COUNT);
    let row = ours::<Komar<5>>(suite("SUBSCRIBE × 10, owned, 5.0", COUNT), "komar", &input);
    with_peers!(row, &input, whole: RumqttcV5<false>, MqttbytesV5<false>, NtexV5<false>, RmqttV5<false>);
    row.run(criterion);
}

/// What a broker gets to see: mostly PUBLISH of several sizes, acknowledgements, seldom the rest.
fn mixed(version: ProtocolVersion, count: usize) -> Vec<u8> {
    let payload = [0x43; 256];
    let filter = [(
        "factory/+/press/#",
        SubscriptionOptions::from_qos(QoS::AtLeastOnce),
    )];
    let mut bytes = Vec::new();
    for n in 0..count {
        let packet_identifier = identifier(n);
        let success = ReasonCode::Success;
        let packet = match n % 20 {
            0..=9 => Packet::Publish(Publish {
                qos: QoS::AtMostOnce,
                packet_identifier: None,
                ..publish(&payload[..16 * (n % 10 + 1)])
            }),
            10..=13 => Packet::Publish(Publish {
                packet_identifier: Some(packet_identifier),
                ..publish(&payload[..16 * (n % 10 + 1)])
            }),
            14 | 15 => Packet::PubAck(PubAck::new(packet_identifier, success)),
            16 => Packet::PubRec(PubRec::new(packet_identifier, success)),
            17 => Packet::PubRel(PubRel::new(packet_identifier, success)),
            18 => Packet::PubComp(PubComp::new(packet_identifier, success)),
            _ => match n / 20 % 3 {
                0 => Packet::PingReq,
                1 => Packet::Subscribe(Subscribe {
                    packet_identifier,
                    subscription_identifier: None,
                    user_properties: UserProperties::default(),
                    filters: SubscribeFilters::from_slice(&filter),
                }),
                _ => Packet::Unsubscribe(Unsubscribe {
                    packet_identifier,
                    user_properties: UserProperties::default(),
                    filters: UnsubscribeFilters::from_slice(&["factory/+/press/#"]),
                }),
            },
        };
        packet
            .encode(version, &mut bytes)
            .expect("the packet can be written");
    }
    bytes
}

fn decode_mixed(criterion: &mut Criterion<CpuTime>) {
    const PACKETS: usize = 10_000;
    let input = mixed(V3, PACKETS);
    let row = suite("10,000 mixed packets, owned, 3.1.1", PACKETS);
    let row = ours::<Komar<4>>(row, "komar", &input);
    let row = ours::<KomarBorrowed<4>>(row, "komar (borrowed)", &input);
    with_peers!(row, &input, whole: RumqttcV4, MqttbytesV4, NtexV3, RmqttV3, Mqttrs);
    row.run(criterion);
    let row = suite("the same in pieces of 7 bytes, 3.1.1", PACKETS)
        .with("komar", || pieces::<Komar<4>>(black_box(&input), 7));
    with_peers!(row, &input, pieces: RumqttcV4, MqttbytesV4, RmqttV3);
    row.run(criterion);

    let input = mixed(V5, PACKETS);
    let row = suite("10,000 mixed packets, owned, 5.0", PACKETS);
    let row = ours::<Komar<5>>(row, "komar", &input);
    let row = ours::<KomarBorrowed<5>>(row, "komar (borrowed)", &input);
    with_peers!(row, &input, whole: RumqttcV5<false>, MqttbytesV5<false>, NtexV5<false>, RmqttV5<false>);
    row.run(criterion);
    let row = suite("the same in pieces of 7 bytes, 5.0", PACKETS)
        .with("komar", || pieces::<Komar<5>>(black_box(&input), 7));
    with_peers!(row, &input, pieces: RumqttcV5<false>, MqttbytesV5<false>, RmqttV5<false>);
    row.run(criterion);
}

/// Writes 64 packets one behind the other.
fn fill(out: &mut Vec<u8>, mut write: impl FnMut(&mut Vec<u8>)) {
    out.clear();
    for _ in 0..COUNT {
        write(out);
    }
}

/// As much as 64 packets take.
fn room() -> Vec<u8> {
    Vec::with_capacity(1 << 14)
}

fn outgoing(payload: &[u8]) -> OutgoingPublish<'_> {
    OutgoingPublish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic_name: TOPIC,
        packet_identifier: Some(identifier(6)),
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: &[],
        payload_len: payload.len(),
    }
}

fn encode_publish(criterion: &mut Criterion<CpuTime>) {
    let payload = [0x41; 64];
    for (title, version) in [
        ("encode PUBLISH 64 B, 3.1.1", V3),
        ("encode PUBLISH 64 B, 5.0", V5),
    ] {
        let header_and_payload = |out: &mut Vec<u8>| {
            fill(out, |out| {
                black_box(&outgoing(&payload))
                    .encode_header(version, out)
                    .expect("there is room");
                out.extend_from_slice(&payload);
            })
        };
        let whole = |out: &mut Vec<u8>| {
            fill(out, |out| {
                black_box(&publish(&payload))
                    .encode(version, out)
                    .expect("there is room");
            })
        };
        let row = suite(title, COUNT)
            .with_output("komar (header and payload)", room(), header_and_payload, |out| {
                mix_all(0, out)
            })
            .with_output("komar (whole packet)", room(), whole, |out| mix_all(0, out));
        #[cfg(feature = "peers")]
        let row = encode_peers(row, version, &payload);
        row.run(criterion);
    }
}

#[cfg(feature = "peers")]
fn encode_peers<'w>(row: Row<'w>, version: ProtocolVersion, payload: &[u8]) -> Row<'w> {
    use mqtt_codec_kit::common::qos::QoSWithPacketIdentifier;
    use mqtt_codec_kit::common::{Encodable, TopicName};

    let topic = TopicName::new(TOPIC).expect("it is a topic name");
    let bytes_out = bytes::BytesMut::with_capacity(1 << 14);
    let of_bytes = |out: &bytes::BytesMut| mix_all(0, out);
    fn fill_bytes(out: &mut bytes::BytesMut, write: impl Fn(&mut bytes::BytesMut)) {
        out.clear();
        for _ in 0..COUNT {
            write(out);
        }
    }
    if version == V3 {
        let payload = payload.to_vec();
        let mut packet = rumqttc::mqttbytes::v4::Publish::new(
            TOPIC,
            rumqttc::mqttbytes::QoS::AtLeastOnce,
            payload.clone(),
        );
        packet.pkid = 7;
        let kit = move |out: &mut Vec<u8>| {
            fill(out, |out| {
                let qos = QoSWithPacketIdentifier::Level1(7);
                mqtt_codec_kit::v4::packet::PublishPacketRef::new(black_box(&topic), qos, &payload)
                    .encode(out)
                    .expect("there is room");
            })
        };
        let rumqttc = move |out: &mut bytes::BytesMut| {
            fill_bytes(out, |out| {
                black_box(&packet).write(out).expect("there is room");
            })
        };
        row.with_output("mqtt-codec-kit", room(), kit, |out| mix_all(0, out))
            .with_output("rumqttc", bytes_out, rumqttc, of_bytes)
    } else {
        let qos = QoSWithPacketIdentifier::Level1(7);
        let kit = mqtt_codec_kit::v5::packet::PublishPacket::new(topic, qos, payload.to_vec());
        let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
        let mut packet = rumqttc::v5::mqttbytes::v5::Publish::new(TOPIC, qos, payload.to_vec(), None);
        packet.pkid = 7;
        let kit =
            move |out: &mut Vec<u8>| fill(out, |out| black_box(&kit).encode(out).expect("there is room"));
        let rumqttc = move |out: &mut bytes::BytesMut| {
            fill_bytes(out, |out| {
                black_box(&packet).write(out).expect("there is room");
            })
        };
        row.with_output("mqtt-codec-kit", room(), kit, |out| mix_all(0, out))
            .with_output("rumqttc", bytes_out, rumqttc, of_bytes)
    }
}

/// One more receiver of a large message: its header, and a share of the payload.
fn encode_large(criterion: &mut Criterion<CpuTime>) {
    let payload = Bytes::from(vec![0x42; 64 * 1024]);
    for (title, version) in [
        ("encode PUBLISH 64 KiB for one more receiver, 3.1.1", V3),
        ("encode PUBLISH 64 KiB for one more receiver, 5.0", V5),
    ] {
        let large = &payload;
        let write = move |(headers, shares): &mut (Vec<u8>, Vec<Bytes>)| {
            headers.clear();
            shares.clear();
            for _ in 0..COUNT {
                black_box(&outgoing(large))
                    .encode_header(version, headers)
                    .expect("there is room");
                shares.push(large.clone());
            }
        };
        // All headers are equally long.
        let checksum = |(headers, shares): &(Vec<u8>, Vec<Bytes>)| {
            let headers = headers.chunks(headers.len() / COUNT);
            headers
                .zip(shares)
                .fold(0, |sum, (header, share)| mix_all(mix_all(sum, header), share))
        };
        let out = (room(), Vec::with_capacity(COUNT));
        let row = suite(title, COUNT).with_output("komar", out, write, checksum);
        #[cfg(feature = "peers")]
        let row = ntex_large(row, version, &payload);
        row.run(criterion);
    }
}

#[cfg(feature = "peers")]
fn ntex_large<'w>(row: Row<'w>, version: ProtocolVersion, payload: &[u8]) -> Row<'w> {
    use ntex_bytes::{BytePages, ByteString};
    use ntex_codec::Encoder;
    use ntex_mqtt::QoS;

    let payload = ntex_bytes::Bytes::from(payload.to_vec());
    let size = 64 * 1024;
    let topic = ByteString::from_static(TOPIC);
    let packet_id = core::num::NonZeroU16::new(7);
    let of_pages = |pages: &BytePages| pages.iter().fold(0, mix_all);
    if version == V3 {
        let codec = ntex_mqtt::v3::codec::Codec::new();
        let packet = ntex_mqtt::v3::codec::Publish {
            dup: false,
            retain: false,
            qos: QoS::AtLeastOnce,
            topic,
            packet_id,
            payload_size: size,
        };
        let write = move |pages: &mut BytePages| {
            *pages = BytePages::default();
            for _ in 0..COUNT {
                let item =
                    ntex_mqtt::v3::codec::Encoded::Publish(black_box(&packet).clone(), Some(payload.clone()));
                codec.encodev(item, pages).expect("there is room");
            }
        };
        row.with_output("ntex-mqtt", BytePages::default(), write, of_pages)
    } else {
        let codec = ntex_mqtt::v5::codec::Codec::new();
        let packet = ntex_mqtt::v5::codec::Publish {
            qos: QoS::AtLeastOnce,
            topic,
            packet_id,
            payload_size: size,
            ..ntex_mqtt::v5::codec::Publish::default()
        };
        let write = move |pages: &mut BytePages| {
            *pages = BytePages::default();
            for _ in 0..COUNT {
                let item =
                    ntex_mqtt::v5::codec::Encoded::Publish(black_box(&packet).clone(), Some(payload.clone()));
                codec.encodev(item, pages).expect("there is room");
            }
        };
        row.with_output("ntex-mqtt", BytePages::default(), write, of_pages)
    }
}

criterion_group! {
    name = decode;
    config = criterion();
    targets = decode_publish, decode_borrowed, decode_properties, decode_connect_and_subscribe, decode_mixed,
        encode_publish, encode_large
}
criterion_main!(decode);
