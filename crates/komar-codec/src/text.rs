//! What a UTF-8 Encoded String and a Topic Name may hold. MQTT 5.0 §1.5.4, §4.7.

use ascii::AsciiStr;

use crate::Utf8Policy;
use crate::error::DecodeErrorKind;

/// What strings are checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Everything, by this policy.
    All(Utf8Policy),
    /// UTF-8 only, since nothing less makes a `str`: these bytes have passed all checks before.
    Known,
}

/// Why bytes are no string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// From the first byte of the string.
    pub(crate) position: usize,
    pub(crate) kind: DecodeErrorKind,
}

#[inline]
pub(crate) fn string(bytes: &[u8], check: Check) -> Result<&str, Fault> {
    look::<false>(bytes, check)
}

#[inline]
pub(crate) fn topic_name(bytes: &[u8], check: Check) -> Result<&str, Fault> {
    look::<true>(bytes, check)
}

/// A string that was checked when it was decoded, without its length.
#[inline]
pub(crate) fn known(bytes: &[u8]) -> Option<&str> {
    utf8(bytes).ok()
}

/// UTF-8, or how many bytes of it there are.
///
/// Nearly all names are ASCII, which takes 2 to 3 ns to find out for 32 bytes; the standard library's validation of UTF-8
/// takes 16, since it looks at bytes one by one until it comes to an aligned word (measured 2026-11-25).
#[inline]
fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    match AsciiStr::from_ascii(bytes) {
        Ok(text) => Ok(text.as_str()),
        Err(_) => core::str::from_utf8(bytes).map_err(|error| error.valid_up_to()),
    }
}

/// Two passes: one for UTF-8, and one that looks for bytes that need a closer look, eight at a time. Surrogates, overlong
/// forms and what is above U+10FFFF are found by the first.
// v5 [MQTT-1.5.4-1], v3 [MQTT-1.5.3-1]. U+FEFF stays what it is: v5 [MQTT-1.5.4-3], v3 [MQTT-1.5.3-3]
#[inline]
fn look<const TOPIC: bool>(bytes: &[u8], check: Check) -> Result<&str, Fault> {
    let text = match utf8(bytes) {
        Ok(text) => text,
        Err(position) => {
            return Err(Fault {
                position,
                kind: DecodeErrorKind::Utf8,
            });
        }
    };
    let policy = match check {
        Check::All(policy) => policy,
        Check::Known => return Ok(text),
    };
    let suspicious = match policy {
        Utf8Policy::Permissive => is_suspicious::<TOPIC, false>(bytes),
        Utf8Policy::Strict => is_suspicious::<TOPIC, true>(bytes),
    };
    if suspicious {
        look_closer::<TOPIC>(text, policy)
    } else {
        Ok(text)
    }
}

/// Whether a byte may be wrong; `false` is certain. With `CONTROL` every byte above 0x7E is suspect.
#[inline]
fn is_suspicious<const TOPIC: bool, const CONTROL: bool>(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes
            .iter()
            .any(|byte| is_suspicious_byte::<TOPIC, CONTROL>(*byte));
    };
    let mut found = is_suspicious_word::<TOPIC, CONTROL>(*last);
    for word in words {
        found |= is_suspicious_word::<TOPIC, CONTROL>(*word);
    }
    found != 0
}

#[inline]
fn is_suspicious_byte<const TOPIC: bool, const CONTROL: bool>(byte: u8) -> bool {
    (byte == 0) | (TOPIC & (byte | 8 == b'+')) | (CONTROL & !matches!(byte, 0x20..0x7F))
}

/// Not 0 if one of the eight bytes is suspicious: the top bits of `(word - ONES * n) & !word` show bytes below n.
#[inline]
fn is_suspicious_word<const TOPIC: bool, const CONTROL: bool>(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const SPACES: u64 = 0x2020_2020_2020_2020;
    const EIGHTS: u64 = 0x0808_0808_0808_0808;
    const PLUSES: u64 = 0x2B2B_2B2B_2B2B_2B2B;
    const DELETES: u64 = 0x7F7F_7F7F_7F7F_7F7F;

    let word = u64::from_le_bytes(word);
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut found = if CONTROL {
        (word.wrapping_sub(SPACES) & !word) | has_zero(word ^ DELETES) | word
    } else {
        has_zero(word)
    };
    if TOPIC {
        // '#' differs from '+' in the bit 8 only.
        found |= has_zero((word | EIGHTS) ^ PLUSES);
    }
    found & TOPS
}

#[cold]
#[inline(never)]
fn look_closer<const TOPIC: bool>(text: &str, policy: Utf8Policy) -> Result<&str, Fault> {
    for (position, character) in text.char_indices() {
        let kind = match character {
            // v5 [MQTT-1.5.4-2], v3 [MQTT-1.5.3-2]
            '\0' => DecodeErrorKind::NullCharacter,
            // v5 [MQTT-3.3.2-2], v3 [MQTT-3.3.2-2]
            '+' | '#' if TOPIC => DecodeErrorKind::WildcardInTopicName,
            _ if policy == Utf8Policy::Strict && is_discouraged(character) => {
                DecodeErrorKind::ControlCharacter
            }
            _ => continue,
        };
        return Err(Fault { position, kind });
    }
    Ok(text)
}

/// The characters that a string should not have. MQTT 5.0 §1.5.4.
fn is_discouraged(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    /// MQTT 5.0 §1.5.4, written out: not what the code under test says of itself. U+0000 is refused with them.
    const DISCOURAGED: [core::ops::RangeInclusive<u32>; 6] = [
        0x00..=0x1F,
        0x7F..=0x9F,
        0xFDD0..=0xFDEF,
        0xFFFE..=0xFFFF,
        0x1_FFFE..=0x1_FFFF,
        0x10_FFFE..=0x10_FFFF,
    ];

    /// Every character in every position of strings of up to 20 bytes, against the definition.
    #[test]
    fn every_suspicious_character_is_found_wherever_it_stands() {
        let characters: Vec<char> = (0..=0x2FF)
            .chain([
                0x7FF, 0x800, 0xFDCF, 0xFDD0, 0xFDEF, 0xFDF0, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF,
            ])
            .chain([
                0x1_FFFD, 0x1_FFFE, 0x1_FFFF, 0x2_0000, 0x10_FFFD, 0x10_FFFE, 0x10_FFFF,
            ])
            .filter_map(char::from_u32)
            .collect();
        for length in 0..20 {
            for position in 0..=length {
                for &character in &characters {
                    let mut text: String = "a".repeat(length);
                    text.insert(position, character);
                    let discouraged = DISCOURAGED
                        .iter()
                        .any(|range| range.contains(&u32::from(character)));
                    let wildcard = matches!(character, '+' | '#');
                    let bytes = text.as_bytes();
                    let allow = Check::All(Utf8Policy::Permissive);
                    let refuse = Check::All(Utf8Policy::Strict);
                    assert_eq!(string(bytes, allow).is_err(), character == '\0');
                    assert_eq!(string(bytes, refuse).is_err(), discouraged);
                    assert_eq!(topic_name(bytes, allow).is_err(), character == '\0' || wildcard);
                    let result = topic_name(bytes, refuse);
                    assert_eq!(result.is_err(), discouraged || wildcard, "{text:?}");
                    assert!(result.is_ok() || result.is_err_and(|fault| fault.position == position));
                }
            }
        }
    }
}
