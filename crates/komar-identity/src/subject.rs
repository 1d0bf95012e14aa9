//! The subject as text, in the four spellings that people compare with.

use std::fmt::Write;

use x509_parser::asn1_rs::Any;

use crate::certificate::hex;
use crate::{Certificate, IdentityError, attribute, text};

const WHAT: &str = "the subject";

impl Certificate<'_> {
    /// The subject as OpenSSL prints it with `-nameopt RFC2253`; what `use_subject_as_username` makes the user name.
    ///
    /// Last attribute first, `CN=a,O=b`, bytes of 0x80 and above as `\C3\BC`: the result is ASCII.
    ///
    /// # Errors
    /// [`IdentityError::Empty`] for a subject without attributes, [`IdentityError::TooLong`].
    pub fn subject_rfc2253(&self) -> Result<String, IdentityError> {
        self.subject_text(&RFC2253)
    }

    /// The subject by RFC 4514: as [`Certificate::subject_rfc2253`], but with characters beyond ASCII as they are.
    ///
    /// # Errors
    /// As [`Certificate::subject_rfc2253`].
    pub fn subject_rfc4514(&self) -> Result<String, IdentityError> {
        self.subject_text(&RFC4514)
    }

    /// The subject as OpenSSL prints it with `-nameopt oneline`: `O = b, CN = a`.
    ///
    /// # Errors
    /// As [`Certificate::subject_rfc2253`].
    pub fn subject_oneline(&self) -> Result<String, IdentityError> {
        self.subject_text(&ONELINE)
    }

    /// The subject as older tools print it (`-nameopt compat`): `/O=b/CN=a`.
    ///
    /// # Errors
    /// As [`Certificate::subject_rfc2253`].
    pub fn subject_slash(&self) -> Result<String, IdentityError> {
        let mut out = String::new();
        for set in self.inner.subject.iter() {
            for (index, part) in set.iter().enumerate() {
                out.push(if index == 0 { '/' } else { '+' });
                out.push_str(&attribute::display_name(part.attr_type()));
                out.push('=');
                push_slash_value(&mut out, part.attr_value());
            }
        }
        checked(out)
    }

    /// The issuer by RFC 4514, for messages.
    #[must_use]
    pub fn issuer_rfc4514(&self) -> String {
        name_text(&self.inner.issuer, &RFC4514)
    }

    fn subject_text(&self, style: &Style) -> Result<String, IdentityError> {
        checked(name_text(&self.inner.subject, style))
    }
}

/// A name in DER by RFC 4514, for messages; empty if it is not readable.
#[cfg(feature = "verifier")]
pub(crate) fn name_for_messages(der: &[u8]) -> String {
    use x509_parser::prelude::FromDer;
    x509_parser::x509::X509Name::from_der(der)
        .map(|(_, name)| name_text(&name, &RFC4514))
        .unwrap_or_default()
}

struct Style {
    last_first: bool,
    between_sets: &'static str,
    within_set: &'static str,
    equals: &'static str,
    /// Bytes of 0x80 and above as hexadecimal digits.
    escape_high: bool,
    /// Quotation marks around the value instead of backslashes, where possible.
    quote: bool,
    /// Values of attributes without a name as hexadecimal digits even if they are text. RFC 4514 §2.4
    dump_unknown: bool,
}

const RFC2253: Style = Style {
    last_first: true,
    between_sets: ",",
    within_set: "+",
    equals: "=",
    escape_high: true,
    quote: false,
    dump_unknown: true,
};
const RFC4514: Style = Style {
    escape_high: false,
    ..RFC2253
};
const ONELINE: Style = Style {
    last_first: false,
    between_sets: ", ",
    within_set: " + ",
    equals: " = ",
    escape_high: true,
    quote: true,
    dump_unknown: false,
};

fn name_text(name: &x509_parser::x509::X509Name<'_>, style: &Style) -> String {
    let mut parts: Vec<(bool, &x509_parser::x509::AttributeTypeAndValue<'_>)> = Vec::new();
    for set in name.iter() {
        let last = set.iter().count().saturating_sub(1);
        // What separates a part from the one printed before it: the start of a set, or its end when reversed.
        let opens = |index: usize| {
            if style.last_first {
                index == last
            } else {
                index == 0
            }
        };
        parts.extend(set.iter().enumerate().map(|(index, part)| (opens(index), part)));
    }
    if style.last_first {
        parts.reverse();
    }
    let mut out = String::new();
    for (index, (opens, part)) in parts.into_iter().enumerate() {
        if index > 0 {
            out.push_str(if opens {
                style.between_sets
            } else {
                style.within_set
            });
        }
        out.push_str(&attribute::display_name(part.attr_type()));
        out.push_str(style.equals);
        let dump = style.dump_unknown && attribute::short_name(part.attr_type().as_bytes()).is_none();
        match text::decode(part.attr_value()) {
            Ok(Some(value)) if !dump => push_value(&mut out, &value, style),
            _ => push_dump(&mut out, part.attr_value()),
        }
    }
    out
}

fn push_value(out: &mut String, value: &str, style: &Style) {
    let last = value.len().saturating_sub(1);
    let special = |index: usize, byte: u8| match byte {
        b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => true,
        // A lone character counts as the last one only, so that a lone # stays bare.
        b'#' => index == 0 && last != 0,
        b' ' => index == 0 || index == last,
        _ => false,
    };
    let quotable = |byte: u8| !matches!(byte, b'"' | b'\\');
    let quoted = style.quote
        && value
            .bytes()
            .enumerate()
            .any(|(index, byte)| special(index, byte) && quotable(byte));
    if quoted {
        out.push('"');
    }
    for (index, character) in value.char_indices() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii_control() => hex_escape(out, "\\", byte),
            Ok(byte) if byte.is_ascii() => {
                if special(index, byte) && !(quoted && quotable(byte)) {
                    out.push('\\');
                }
                out.push(character);
            }
            _ if style.escape_high => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    hex_escape(out, "\\", byte);
                }
            }
            _ => out.push(character),
        }
    }
    if quoted {
        out.push('"');
    }
}

/// The bytes as they are encoded.
fn push_slash_value(out: &mut String, value: &Any<'_>) {
    let header = if value.tag().0 == text::SEQUENCE {
        header(value)
    } else {
        Vec::new()
    };
    // What stands before the bits is no part of the value.
    let skipped = if value.tag().0 == text::BIT_STRING { 1 } else { 0 };
    for byte in header.iter().chain(value.data.iter().skip(skipped)) {
        match byte {
            b'/' | b'+' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => hex_escape(out, "\\x", *byte),
        }
    }
}

/// `#` and the DER encoding in hexadecimal digits. RFC 4514 §2.4
fn push_dump(out: &mut String, value: &Any<'_>) {
    out.push('#');
    out.push_str(&hex(&header(value)));
    out.push_str(&hex(value.data));
}

/// Identifier and length in DER. Readable values have a tag below 31 (`text::decode`): the identifier is one byte.
fn header(value: &Any<'_>) -> Vec<u8> {
    let constructed = if value.header.is_constructed() { 0x20 } else { 0 };
    let mut header = vec![u8::try_from(value.tag().0).unwrap_or(0) | constructed];
    let length = value.data.len();
    match u8::try_from(length) {
        Ok(short @ 0..=0x7F) => header.push(short),
        _ => {
            let significant: Vec<u8> = length
                .to_be_bytes()
                .into_iter()
                .skip_while(|byte| *byte == 0)
                .collect();
            header.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            header.extend(significant);
        }
    }
    header
}

fn hex_escape(out: &mut String, prefix: &str, byte: u8) {
    let _ = write!(out, "{prefix}{byte:02X}"); // writing to a String cannot fail
}

fn checked(subject: String) -> Result<String, IdentityError> {
    text::user_name(&subject, WHAT)
        .map(|_| ())
        .or_else(|error| match error {
            // Only the forms for people can contain noncharacters; they are no user names.
            IdentityError::ForbiddenCharacter { .. } => Ok(()),
            error => Err(error),
        })?;
    Ok(subject)
}
