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

/// A string, or `None` if there is a [`fault`] in it.
#[inline]
pub(crate) fn string(bytes: &[u8], check: Check) -> Option<&str> {
    look::<false>(bytes, check)
}

/// A string without wildcards, or `None` if there is a [`fault`] in it.
#[inline]
pub(crate) fn topic_name(bytes: &[u8], check: Check) -> Option<&str> {
    look::<true>(bytes, check)
}

/// Whether [`topic_name`] finds a name, for those who need no `str`.
#[inline(never)]
pub(crate) fn is_topic_name(bytes: &[u8], policy: Utf8Policy) -> bool {
    (policy == Utf8Policy::Permissive && is_plain::<true>(bytes))
        || look_closer::<true>(bytes, policy).is_some()
}

/// A string that was checked when it was decoded, without its length.
#[inline(never)]
pub(crate) fn known(bytes: &[u8]) -> Option<&str> {
    utf8(bytes)
}

/// Nearly all names are ASCII, which takes 2 to 3 ns to find out for 32 bytes; the standard library's validation of UTF-8
/// takes 16, since it looks at bytes one by one until it comes to an aligned word (measured 2026-11-25).
#[inline]
fn utf8(bytes: &[u8]) -> Option<&str> {
    match AsciiStr::from_ascii(bytes) {
        Ok(text) => Some(text.as_str()),
        Err(_) => long_utf8(bytes),
    }
}

#[inline(never)]
fn long_utf8(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

// A call with everything in registers; in line it makes its callers spill theirs.
#[inline(never)]
fn look<const TOPIC: bool>(bytes: &[u8], check: Check) -> Option<&str> {
    match check {
        Check::All(Utf8Policy::Permissive) if !is_plain::<TOPIC>(bytes) => {
            look_closer::<TOPIC>(bytes, Utf8Policy::Permissive)
        }
        Check::All(Utf8Policy::Strict) => look_closer::<TOPIC>(bytes, Utf8Policy::Strict),
        _ => utf8(bytes),
    }
}

/// Whether all bytes are ASCII and none is U+0000, or a wildcard in a Topic Name: eight at a time.
#[inline]
fn is_plain<const TOPIC: bool>(bytes: &[u8]) -> bool {
    let is_plain = |word: [u8; 8]| suspects::<TOPIC, false, true>(word) == 0;
    if let Some(last) = bytes.last_chunk::<8>() {
        // The last word overlaps the one before it, so that no bytes are left over.
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().all(|word| is_plain(*word)) && (rest.is_empty() || is_plain(*last))
    } else if let (Some([a, b, c, d]), Some([e, f, g, h])) =
        (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
    {
        is_plain([*a, *b, *c, *d, *e, *f, *g, *h])
    } else {
        bytes.iter().all(|byte| is_plain([*byte; 8]))
    }
}

/// Which of eight bytes have to be looked at: not 0 if there is one.
///
/// U+0000, with `TOPIC` a wildcard, with `CONTROL` what is not printable or not ASCII; with `ASCII` what is not ASCII.
#[inline]
fn suspects<const TOPIC: bool, const CONTROL: bool, const ASCII: bool>(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const SPACES: u64 = 0x2020_2020_2020_2020;
    const EIGHTS: u64 = 0x0808_0808_0808_0808;
    const PLUSES: u64 = 0x2B2B_2B2B_2B2B_2B2B;
    const DELETES: u64 = 0x7F7F_7F7F_7F7F_7F7F;

    let word = u64::from_le_bytes(word);
    // The top bit of `byte - n` is that of a byte below n, if the byte's own top bit is not set.
    let below = |word: u64, n: u64| {
        let difference = word.wrapping_sub(n);
        if ASCII { difference } else { difference & !word }
    };
    let mut found = if CONTROL {
        below(word, SPACES) | below(word ^ DELETES, ONES)
    } else {
        below(word, ONES)
    };
    if TOPIC {
        // '#' differs from '+' in the bit 8 only.
        found |= below((word | EIGHTS) ^ PLUSES, ONES);
    }
    if CONTROL || ASCII {
        found |= word;
    }
    found & TOPS
}

/// What is not plain. Surrogates, overlong forms and what is above U+10FFFF are found by the standard library.
// v5 [MQTT-1.5.4-1], v3 [MQTT-1.5.3-1]. U+FEFF stays what it is: v5 [MQTT-1.5.4-3], v3 [MQTT-1.5.3-3]
#[inline(never)]
fn look_closer<const TOPIC: bool>(bytes: &[u8], policy: Utf8Policy) -> Option<&str> {
    let text = utf8(bytes)?;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = *b"........";
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let suspects = match policy {
        Utf8Policy::Permissive => suspects::<TOPIC, false, false>,
        Utf8Policy::Strict => suspects::<TOPIC, true, false>,
    };
    let is_plain = suspects(last) == 0 && words.iter().all(|word| suspects(*word) == 0);
    (is_plain || fault::<TOPIC>(bytes, policy).is_none()).then_some(text)
}

/// What is wrong with a string, if anything is.
pub(crate) fn fault<const TOPIC: bool>(bytes: &[u8], policy: Utf8Policy) -> Option<Fault> {
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            return Some(Fault {
                position: error.valid_up_to(),
                kind: DecodeErrorKind::Utf8,
            });
        }
    };
    text.char_indices().find_map(|(position, character)| {
        let kind = match character {
            // v5 [MQTT-1.5.4-2], v3 [MQTT-1.5.3-2]
            '\0' => DecodeErrorKind::NullCharacter,
            // v5 [MQTT-3.3.2-2], v3 [MQTT-3.3.2-2]
            '+' | '#' if TOPIC => DecodeErrorKind::WildcardInTopicName,
            _ if policy == Utf8Policy::Strict && is_discouraged(character) => {
                DecodeErrorKind::ControlCharacter
            }
            _ => return None,
        };
        Some(Fault { position, kind })
    })
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
                    assert_eq!(string(bytes, allow).is_none(), character == '\0');
                    assert_eq!(string(bytes, refuse).is_none(), discouraged);
                    assert_eq!(topic_name(bytes, allow).is_none(), character == '\0' || wildcard);
                    let result = topic_name(bytes, refuse);
                    assert_eq!(result.is_none(), discouraged || wildcard, "{text:?}");
                    let fault = fault::<true>(bytes, Utf8Policy::Strict);
                    assert_eq!(fault.is_some(), result.is_none());
                    assert!(fault.is_none_or(|fault| fault.position == position));
                }
            }
        }
    }
}
