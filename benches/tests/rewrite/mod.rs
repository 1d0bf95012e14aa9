//! What other codecs write of what they have read; `None` if they write nothing.

use bytes::BytesMut;

pub(crate) fn rumqttc_v4(bytes: &[u8]) -> Option<Vec<u8>> {
    use rumqttc::mqttbytes::v4::Packet;
    let packet = Packet::read(&mut BytesMut::from(bytes), usize::MAX).ok()?;
    let mut out = BytesMut::new();
    packet.write(&mut out, usize::MAX).ok()?;
    Some(out.to_vec())
}

pub(crate) fn rumqttc_v5(bytes: &[u8]) -> Option<Vec<u8>> {
    use rumqttc::v5::mqttbytes::v5::Packet;
    let packet = Packet::read(&mut BytesMut::from(bytes), None).ok()?;
    let mut out = BytesMut::new();
    packet.write(&mut out, None).ok()?;
    Some(out.to_vec())
}

/// The packets of mqttbytes know how to write themselves, the enum of all does not.
macro_rules! mqttbytes {
    ($name:ident, $module:ident, $packet:ident => $disconnect:expr) => {
        pub(crate) fn $name(bytes: &[u8]) -> Option<Vec<u8>> {
            use mqttbytes::$module::{Packet, PingReq, PingResp, read};
            let mut out = BytesMut::new();
            match read(&mut BytesMut::from(bytes), usize::MAX).ok()? {
                Packet::Connect(packet) => packet.write(&mut out),
                Packet::ConnAck(packet) => packet.write(&mut out),
                Packet::Publish(packet) => packet.write(&mut out),
                Packet::PubAck(packet) => packet.write(&mut out),
                Packet::PubRec(packet) => packet.write(&mut out),
                Packet::PubRel(packet) => packet.write(&mut out),
                Packet::PubComp(packet) => packet.write(&mut out),
                Packet::Subscribe(packet) => packet.write(&mut out),
                Packet::SubAck(packet) => packet.write(&mut out),
                Packet::Unsubscribe(packet) => packet.write(&mut out),
                Packet::UnsubAck(packet) => packet.write(&mut out),
                Packet::PingReq => PingReq.write(&mut out),
                Packet::PingResp => PingResp.write(&mut out),
                $packet => $disconnect.write(&mut out),
            }
            .ok()?;
            Some(out.to_vec())
        }
    };
}

mqttbytes!(mqttbytes_v4, v4, _packet => mqttbytes::v4::Disconnect);
mqttbytes!(mqttbytes_v5, v5, packet => match packet {
    Packet::Disconnect(packet) => packet,
    _ => return None,
});

macro_rules! ntex {
    ($name:ident, $module:ident, $codec:expr) => {
        pub(crate) fn $name(bytes: &[u8]) -> Option<Vec<u8>> {
            use ntex_codec::{Decoder, Encoder};
            use ntex_mqtt::$module::codec::{Decoded, Encoded};
            let mut buffer = ntex_bytes::BytesMut::copy_from_slice(bytes);
            let item = match $codec.decode(&mut buffer).ok()?? {
                Decoded::Publish(packet, payload, _) => Encoded::Publish(packet, Some(payload)),
                Decoded::Packet(packet, _) => Encoded::Packet(packet),
                Decoded::PayloadChunk(..) => return None,
            };
            let mut out = ntex_bytes::BytePages::default();
            $codec.encodev(item, &mut out).ok()?;
            Some(out.freeze().to_vec())
        }
    };
}

ntex!(ntex_v3, v3, ntex_mqtt::v3::codec::Codec::new());
ntex!(ntex_v5, v5, ntex_mqtt::v5::codec::Codec::new());

macro_rules! rmqtt {
    ($name:ident, $codec:expr) => {
        pub(crate) fn $name(bytes: &[u8]) -> Option<Vec<u8>> {
            use tokio_util::codec::{Decoder, Encoder};
            let (packet, _) = $codec.decode(&mut BytesMut::from(bytes)).ok()??;
            let mut out = BytesMut::new();
            $codec.encode(packet, &mut out).ok()?;
            Some(out.to_vec())
        }
    };
}

rmqtt!(rmqtt_v3, rmqtt_codec::v3::Codec::new(0));
rmqtt!(rmqtt_v5, rmqtt_codec::v5::Codec::default());
