//! The levels of a Topic Name or Topic Filter.

use core::str::Split;

/// Iterator over the levels between the slashes, from the front or the back. MQTT 5.0 §4.7.1.1.
#[derive(Clone, Debug)]
pub struct Levels<'a>(Split<'a, char>);

impl<'a> Levels<'a> {
    pub(crate) fn new(text: &'a str) -> Levels<'a> {
        Levels(text.split('/'))
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}

impl DoubleEndedIterator for Levels<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

impl core::iter::FusedIterator for Levels<'_> {}

/// The first level of a text, and what comes behind its slash; `None` if it is the only one.
#[inline]
pub(crate) fn first_level(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.split_at_checked(level_end(text)) {
        Some((level, rest)) => (level, rest.split_first().map(|(_, rest)| rest)),
        None => (text, None),
    }
}

/// How long the level is that a text begins with.
#[inline]
pub(crate) fn level_end(text: &[u8]) -> usize {
    // Eight bytes a step.
    let (chunks, tail) = text.as_chunks::<8>();
    let mut end = 0_usize;
    for chunk in chunks {
        let different = u64::from_le_bytes(*chunk) ^ SLASHES;
        // The lowest bit that is set belongs to the first byte that is zero.
        let zero = different.wrapping_sub(LOW_BITS) & !different & HIGH_BITS;
        if zero != 0 {
            let bytes = usize::try_from(zero.trailing_zeros() >> 3).unwrap_or(0);
            return end.saturating_add(bytes);
        }
        end = end.saturating_add(8);
    }
    let rest = tail.iter().position(|byte| *byte == b'/').unwrap_or(tail.len());
    end.saturating_add(rest)
}

const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);
const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_end_at_their_slash() {
        for length in 0..40 {
            let level = "x0.".repeat(length) + "\u{ae}\u{2f2f}";
            for rest in ["", "/", "//", "/a/b", "/0123456789/abcdef/"] {
                let text = alloc::format!("{level}{rest}");
                assert_eq!(level_end(text.as_bytes()), level.len(), "{text}");
                let behind = text.split_once('/').map(|(_, rest)| rest.as_bytes());
                assert_eq!(first_level(text.as_bytes()), (level.as_bytes(), behind));
            }
        }
        assert_eq!(first_level(b""), (&b""[..], None));
        assert_eq!(first_level(b"/"), (&b""[..], Some(&b""[..])));
        assert_eq!(level_end(b"\x2e\x2e\x30\x30\xaf\x2e\x30\x2f"), 7);
        assert_eq!(level_end(b"\x2f\x30\x2f\x30\xaf\x2e\x30\x2f"), 0);
    }
}
