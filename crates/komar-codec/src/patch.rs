//! Changes a PUBLISH that is encoded already: one encoding for many receivers, and for repetitions.
//!
//! Each function takes bytes that begin with an encoded PUBLISH; the payload need not be there.

use crate::fixed_header::publish_qos;
use crate::primitive::variable_byte_integer;
use crate::{EncodeError, PacketIdentifier, PacketType, QoS};

/// Sets DUP, for a repetition. v5 [MQTT-3.3.1-1], v3 [MQTT-3.3.1-1]
///
/// # Errors
///
/// [`EncodeError::NotPatchable`] if this is no PUBLISH above QoS 0; nothing is changed then.
pub fn set_dup(publish: &mut [u8], dup: bool) -> Result<(), EncodeError> {
    match publish.split_first_mut() {
        Some((first, _)) if is_publish(*first) && has_identifier(*first) => {
            *first = (*first & !0b1000) | (u8::from(dup) << 3);
            Ok(())
        }
        _ => Err(EncodeError::NotPatchable),
    }
}

/// Sets RETAIN.
///
/// # Errors
///
/// [`EncodeError::NotPatchable`] if this is no PUBLISH; nothing is changed then.
pub fn set_retain(publish: &mut [u8], retain: bool) -> Result<(), EncodeError> {
    match publish.split_first_mut() {
        Some((first, _)) if is_publish(*first) => {
            *first = (*first & !0b0001) | u8::from(retain);
            Ok(())
        }
        _ => Err(EncodeError::NotPatchable),
    }
}

/// Replaces the Packet Identifier.
///
/// # Errors
///
/// [`EncodeError::NotPatchable`] if this is no PUBLISH above QoS 0, or ends before the identifier, by its length or
/// that of the bytes; nothing is changed then.
pub fn set_packet_identifier(publish: &mut [u8], identifier: PacketIdentifier) -> Result<(), EncodeError> {
    let bytes = identifier_bytes(publish).ok_or(EncodeError::NotPatchable)?;
    *bytes = identifier.get().to_be_bytes();
    Ok(())
}

/// Where the Packet Identifier stands: behind the Topic Name. MQTT 5.0 §3.3.2.
fn identifier_bytes(publish: &mut [u8]) -> Option<&mut [u8; 2]> {
    let (first, rest) = publish.split_first_mut()?;
    if !is_publish(*first) || !has_identifier(*first) {
        return None;
    }
    let (length, behind) = variable_byte_integer(rest).ok()??;
    let length_bytes = rest.len().checked_sub(behind.len())?;
    let (_, rest) = rest.split_at_mut_checked(length_bytes)?;
    // What lies beyond the Remaining Length is another packet's.
    let present = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
    let (rest, _) = rest.split_at_mut_checked(present)?;
    let (topic_length, rest) = rest.split_first_chunk_mut::<2>()?;
    let (_, rest) = rest.split_at_mut_checked(usize::from(u16::from_be_bytes(*topic_length)))?;
    rest.first_chunk_mut::<2>()
}

fn is_publish(first: u8) -> bool {
    first >> 4 == PacketType::Publish.as_u8() && publish_qos(first).is_some()
}

fn has_identifier(first: u8) -> bool {
    publish_qos(first).is_some_and(|qos| qos != QoS::AtMostOnce)
}
