//! The little DER that is needed beside x509-parser: elements and their exact bytes.

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Identifier octet; tags above 30 are not supported.
    pub(crate) identifier: u8,
    /// What the length counts.
    pub(crate) contents: &'a [u8],
    /// Identifier, length and contents.
    #[cfg_attr(not(feature = "verifier"), allow(dead_code))]
    pub(crate) whole: &'a [u8],
}

/// The first element and what follows it; `None` for anything but minimal definite lengths.
pub(crate) fn first(input: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (identifier, rest) = input
        .split_first()
        .filter(|(identifier, _)| *identifier & 0x1F != 0x1F)?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match *short {
        0..=0x7F => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7F))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length
                    .checked_mul(256)
                    .and_then(|length| length.checked_add(usize::from(*byte)))
            })?;
            let is_minimal = length >= 0x80 && bytes.first() != Some(&0);
            (is_minimal.then_some(length)?, rest)
        }
        _ => return None,
    };
    let (contents, after) = rest.split_at_checked(length)?;
    let (whole, _) = input.split_at_checked(input.len().checked_sub(after.len())?)?;
    Some((
        Element {
            identifier: *identifier,
            contents,
            whole,
        },
        after,
    ))
}

/// The elements of some contents; ends early with `None` as the last item if they are malformed.
pub(crate) fn elements(mut input: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        match first(input) {
            Some((element, rest)) => {
                input = rest;
                Some(Some(element))
            }
            None => {
                input = &[];
                Some(None)
            }
        }
    })
}
