//! The text of one level, inside the node where most of them fit.

use alloc::boxed::Box;

use crate::slab::widen;

/// What leads from a node to one below it. 16 bytes.
#[derive(Debug)]
pub(super) enum LevelText {
    /// Any level: `+`.
    Any,
    /// A short level, the first `length` of `bytes`.
    Short { length: u8, bytes: [u8; SHORT] },
    /// A longer one. Boxed twice, which makes all nodes smaller.
    Long(Box<Box<str>>),
}

const SHORT: usize = 14;

impl LevelText {
    pub(super) fn new(text: &str) -> LevelText {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                LevelText::Short { length, bytes }
            }
            _ => LevelText::Long(Box::new(text.into())),
        }
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self, LevelText::Any)
    }

    /// Whether it is this literal level.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        match self {
            LevelText::Any => false,
            LevelText::Short { length, bytes } => bytes.get(..widen(u32::from(*length))) == Some(text),
            LevelText::Long(long) => long.as_bytes() == text,
        }
    }

    /// As it stands in a filter.
    pub(super) fn as_str(&self) -> &str {
        match self {
            LevelText::Any => "+",
            LevelText::Short { length, bytes } => {
                let bytes = bytes.get(..widen(u32::from(*length))).unwrap_or_default();
                core::str::from_utf8(bytes).unwrap_or_default()
            }
            LevelText::Long(long) => long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_texts_of_every_length() {
        assert_eq!(size_of::<LevelText>(), 16);
        for length in 0..40 {
            let text: alloc::string::String = "äbcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH"
                .chars()
                .take(length)
                .collect();
            let level = LevelText::new(&text);
            assert_eq!(level.as_str(), text);
            assert!(level.is(text.as_bytes()) && !level.is(b"+") && !level.is_any());
            assert_eq!(matches!(level, LevelText::Short { .. }), text.len() <= SHORT);
        }
    }
}
