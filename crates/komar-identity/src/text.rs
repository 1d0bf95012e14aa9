//! What the ASN.1 string types mean, and which text may become a user name.

use std::borrow::Cow;

use x509_parser::asn1_rs::{Any, Class};

use crate::IdentityError;

/// Longest user name of MQTT in bytes. MQTT 5.0 §1.5.4
pub(crate) const MAXIMUM_LENGTH: usize = 65_535;

pub(crate) const BIT_STRING: u32 = 3;
const UTF8: u32 = 12;
pub(crate) const SEQUENCE: u32 = 16;
const NUMERIC: u32 = 18;
const PRINTABLE: u32 = 19;
const TELETEX: u32 = 20;
const IA5: u32 = 22;
const UNIVERSAL: u32 = 28;
const BMP: u32 = 30;

/// A text file without the byte order mark of UTF-8 that some editors begin it with.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(bytes)
}

/// A value of a name as text. `None` if its type is readable but no string.
///
/// One-byte types are taken as Latin-1, as OpenSSL does. `Err` is what OpenSSL does not load: the whole certificate
/// is useless then.
pub(crate) fn decode<'a>(value: &Any<'a>) -> Result<Option<Cow<'a, str>>, ()> {
    if value.class() != Class::Universal {
        return Err(());
    }
    let tag = value.tag().0;
    let constructed = value.header.is_constructed();
    if constructed != (tag == SEQUENCE) {
        return Err(());
    }
    match tag {
        UTF8 => std::str::from_utf8(value.data)
            .map(|text| Some(Cow::Borrowed(text)))
            .map_err(|_| ()),
        NUMERIC | PRINTABLE | TELETEX | IA5 => Ok(Some(latin1(value.data))),
        BMP => wide(value.data, |bytes: &[u8; 2]| {
            u32::from(u16::from_be_bytes(*bytes))
        })
        .map(Some),
        UNIVERSAL => wide(value.data, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes)).map(Some),
        BIT_STRING if !is_bit_string(value.data) => Err(()),
        BIT_STRING | SEQUENCE | 7..=9 | 11 | 13..=15 | 29 => Ok(None),
        _ => Err(()),
    }
}

/// Whether [`decode`] gives no error, without the text.
pub(crate) fn is_readable(value: &Any<'_>) -> bool {
    let is_text = value.class() == Class::Universal && !value.header.is_constructed();
    match value.tag().0 {
        UTF8 if is_text => std::str::from_utf8(value.data).is_ok(),
        NUMERIC | PRINTABLE | TELETEX | IA5 if is_text => true,
        _ => decode(value).is_ok(),
    }
}

/// The bytes of a value as they are, if they are UTF-8 that may be a user name; never converts.
pub(crate) fn verbatim<'a>(value: &Any<'a>, what: &'static str) -> Result<&'a str, IdentityError> {
    match value.tag().0 {
        UTF8 | NUMERIC | PRINTABLE | TELETEX | IA5 => {
            let text = std::str::from_utf8(value.data).map_err(|_| IdentityError::NotUtf8 { what })?;
            user_name(text, what)
        }
        // Mosquitto would take the raw bytes, so that U+6162 could pass for "ab".
        tag => Err(IdentityError::UnsupportedStringType { what, tag }),
    }
}

/// Refuses what must not be a user name: nothing, too much, control characters and noncharacters.
pub(crate) fn user_name<'a>(text: &'a str, what: &'static str) -> Result<&'a str, IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty { what });
    }
    if text.len() > MAXIMUM_LENGTH {
        return Err(IdentityError::TooLong {
            what,
            length: text.len(),
        });
    }
    // Most names; no character has to be put together.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(text);
    }
    match text.chars().find(|character| is_forbidden(*character)) {
        Some(character) => Err(IdentityError::ForbiddenCharacter {
            what,
            code: u32::from(character),
        }),
        None => Ok(text),
    }
}

/// Control characters (U+0000 to U+001F, U+007F to U+009F) and the 66 noncharacters. MQTT 5.0 §1.5.4
fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || matches!(code, 0xFDD0..=0xFDEF) || matches!(code & 0xFFFF, 0xFFFE | 0xFFFF)
}

/// The first byte tells how many bits at the end are padding, which DER wants to be zero.
fn is_bit_string(data: &[u8]) -> bool {
    match data {
        [0] => true,
        [padding @ 0..=7, .., last] => last.trailing_zeros() >= u32::from(*padding),
        _ => false,
    }
}

fn latin1(data: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(data) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(data.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Fixed-width characters; refuses half a character and surrogates.
fn wide<const WIDTH: usize>(data: &[u8], code: impl Fn(&[u8; WIDTH]) -> u32) -> Result<Cow<'_, str>, ()> {
    let (characters, []) = data.as_chunks::<WIDTH>() else {
        return Err(());
    };
    let text: Option<String> = characters
        .iter()
        .map(|bytes| char::from_u32(code(bytes)))
        .collect();
    text.map(Cow::Owned).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use x509_parser::prelude::FromDer as _;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_readable_can_be_decoded(
            identifier in any::<u8>(),
            data in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                "[a-zé€]{0,6}".prop_map(String::into_bytes),
            ],
        ) {
            let der = [&[identifier, u8::try_from(data.len()).unwrap()], data.as_slice()].concat();
            if let Ok((_, value)) = Any::from_der(&der) {
                prop_assert_eq!(is_readable(&value), decode(&value).is_ok(), "{:?}", value);
            }
        }
    }
}
