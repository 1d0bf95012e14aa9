//! Bytes from a peer: whatever they are, each packet is one or an error, and every part of both can be looked at.

use std::fmt::Write;

use komar_codec::{DecodeError, Framing, Packet, frame};

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
                match Packet::decode(whole, &options) {
                    // Walks over all that can be iterated over.
                    Ok(packet) => write!(shown, "{packet:?}").unwrap(),
                    Err(error) => check(&error, whole.len(), &mut shown),
                }
                rest = &rest[whole.len()..];
            }
        }
    }
}

fn check(error: &DecodeError, length: usize, shown: &mut String) {
    assert!(usize::try_from(error.offset()).unwrap() <= length);
    assert!(error.reason_code().is_error());
    write!(shown, "{error} {:?} {:?}", error.class(), error.statement()).unwrap();
}
