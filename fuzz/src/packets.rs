//! What the targets of the codec have in common: how their input is laid out.

use komar_codec::{DecodeOptions, ProtocolVersion, Role, Utf8Policy};

/// The first byte chooses the options, the second the size of the pieces for targets that want one; the rest is what
/// a peer has sent.
pub fn split(data: &[u8]) -> Option<(DecodeOptions, usize, &[u8])> {
    let (&[choice, piece], stream) = data.split_first_chunk::<2>()?;
    let version = match choice & 0b11 {
        0 => ProtocolVersion::V5,
        1 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V3_1,
    };
    let receiver = if choice & 0b100 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let mut options = DecodeOptions::new(version, receiver);
    if choice & 0b1000 != 0 {
        options.utf8 = Utf8Policy::Strict;
    }
    if choice & 0b1_0000 != 0 {
        options.maximum_packet_size = 64;
    }
    Some((options, usize::from(piece % 32).saturating_add(1), stream))
}
