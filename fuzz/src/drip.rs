//! Bytes in pieces are the same packets and the same error as in one buffer.

use bytes::BytesMut;
use komar_codec::{DecodeError, DecodeOptions, Framer, Framing, OwnedPacket, Packet, frame};

use crate::packets;

pub fn run(data: &[u8]) {
    let Some((options, piece, stream)) = packets::split(data) else {
        return;
    };
    let (whole, error) = from_whole(stream, &options);
    assert_eq!(from_pieces(stream, piece, &options), (whole, error));
}

/// Debug output of the packets (an error in a packet's body ends nothing), and the error that ends the stream.
type Outcome = (Vec<String>, Option<DecodeError>);

fn shown(result: Result<Packet<'_>, DecodeError>) -> String {
    format!("{result:?}")
}

fn from_whole(mut rest: &[u8], options: &DecodeOptions) -> Outcome {
    let mut packets = Vec::new();
    loop {
        match frame(rest, options) {
            Ok(Framing::Complete(whole)) => {
                packets.push(shown(Packet::decode(whole, options)));
                rest = &rest[whole.len()..];
            }
            Ok(Framing::Incomplete { .. }) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn from_pieces(stream: &[u8], piece: usize, options: &DecodeOptions) -> Outcome {
    let (mut packets, mut framer, mut buffer) = (Vec::new(), Framer::new(), BytesMut::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.frame(&buffer, options) {
                Ok(Framing::Complete(whole)) => {
                    let (result, length) = (Packet::decode(whole, options), whole.len());
                    // An error leaves the copy as it is.
                    let mut copy = BytesMut::from(&buffer[..]);
                    let owned = OwnedPacket::split_from(&mut copy, options).map(Option::unwrap);
                    let owned = owned.as_ref().map(OwnedPacket::get).map_err(|error| *error);
                    assert_eq!(owned, result);
                    let taken = if result.is_ok() { length } else { 0 };
                    assert_eq!(copy, buffer[taken..]);
                    packets.push(shown(result));
                    drop(buffer.split_to(length));
                }
                // The piece that was asked for, at the least, is still to come.
                Ok(Framing::Incomplete { needed }) => {
                    assert!(needed > 0);
                    break;
                }
                Err(error) => return (packets, Some(error)),
            }
        }
    }
    (packets, None)
}
