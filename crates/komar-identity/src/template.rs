//! Identities made of several parts, such as `{cn}@{o}`.

use std::fmt;
use std::str::FromStr;

use crate::{AlternativeNameKind, Certificate, IdentityError, TemplateError, certificate, text};

/// Text with placeholders: `{cn}@{o}`.
///
/// Placeholders are attributes of the subject (`{cn}`, `{o}`, `{ou}`, `{c}`, `{l}`, `{st}`, `{uid}`, `{dc}`,
/// `{serialnumber}`: the first in DER order), alternative names (`{dns}`, `{uri}`, `{email}`, `{upn}`: the first of
/// the kind), and `{serial}`, `{fingerprint}`. A certificate that lacks one is refused. `{{` and `}}` stand for the
/// braces. A value that contains the first character of the separator between it and the next placeholder is refused:
/// otherwise `a@b` of `c` and `a` of `b@c` would be one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    /// Word, contents of the object identifier, what it is in messages.
    Attribute(&'static str, &'static [u8], &'static str),
    AlternativeName(AlternativeNameKind),
    Serial,
    Fingerprint,
}

impl Template {
    /// The identity of a certificate.
    pub(crate) fn fill(&self, certificate: &Certificate<'_>) -> Result<String, IdentityError> {
        let mut name = String::new();
        let mut parts = self.parts.iter();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Placeholder(placeholder) => {
                    let value = placeholder.value(certificate)?;
                    if let [Part::Literal(separator), Part::Placeholder(_), ..] = parts.as_slice() {
                        check_unambiguous(*placeholder, &value, separator)?;
                    }
                    name.push_str(&value);
                }
            }
        }
        Ok(name)
    }
}

/// A value that lacks the first character of the separator behind it ends where that character first stands, so that
/// no other values can fill the template to the same name.
fn check_unambiguous(placeholder: Placeholder, value: &str, separator: &str) -> Result<(), IdentityError> {
    match separator.chars().next().filter(|first| value.contains(*first)) {
        Some(first) => Err(IdentityError::AmbiguousValue {
            placeholder: placeholder.word(),
            separator: first,
        }),
        None => Ok(()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = source.char_indices().peekable();
        while let Some((position, character)) = characters.next() {
            match character {
                '{' | '}' if characters.next_if(|(_, next)| *next == character).is_some() => {
                    literal.push(character)
                }
                '}' => return Err(TemplateError::UnmatchedBrace { position }),
                '{' => {
                    let mut word = String::new();
                    loop {
                        match characters.next() {
                            Some((_, '}')) => break,
                            Some((_, character)) => word.push(character),
                            None => return Err(TemplateError::UnmatchedBrace { position }),
                        }
                    }
                    let placeholder = Placeholder::from_word(&word)?;
                    if literal.is_empty() && !parts.is_empty() {
                        return Err(TemplateError::NoSeparator {
                            placeholder: placeholder.word(),
                        });
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Placeholder(placeholder));
                }
                character => literal.push(character),
            }
        }
        if parts.is_empty() {
            return Err(TemplateError::NoPlaceholder);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }
}

impl Placeholder {
    fn from_word(word: &str) -> Result<Self, TemplateError> {
        let unknown = || TemplateError::UnknownPlaceholder {
            placeholder: word.to_owned(),
            known: KNOWN,
        };
        let lower = word.to_ascii_lowercase();
        let kind = AlternativeNameKind::ALL
            .into_iter()
            .find(|kind| kind.word() == lower);
        match lower.as_str() {
            "serial" => Ok(Self::Serial),
            "fingerprint" => Ok(Self::Fingerprint),
            _ => kind
                .map(Self::AlternativeName)
                .or_else(|| ATTRIBUTES.iter().find(|found| found.word() == lower).copied())
                .ok_or_else(unknown),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Attribute(word, ..) => word,
            Self::AlternativeName(kind) => kind.word(),
            Self::Serial => "serial",
            Self::Fingerprint => "fingerprint",
        }
    }

    fn value(self, certificate: &Certificate<'_>) -> Result<String, IdentityError> {
        let nothing = IdentityError::NothingForPlaceholder {
            placeholder: self.word(),
        };
        match self {
            Self::Attribute(_, oid, what) => {
                let value = certificate.subject_values(oid).next().ok_or(nothing)?;
                text::verbatim(value, what).map(str::to_owned)
            }
            Self::AlternativeName(kind) => match certificate.alternative_name(kind) {
                Err(IdentityError::NoAlternativeName { .. }) => Err(nothing),
                result => result.map(str::to_owned),
            },
            Self::Serial => Ok(certificate.serial_hex()),
            Self::Fingerprint => Ok(certificate::hex(&certificate.fingerprint_sha256()).to_ascii_lowercase()),
        }
    }
}

const KNOWN: &str = "cn o ou c l st uid dc serialnumber dns uri email upn serial fingerprint";

const ATTRIBUTES: [Placeholder; 9] = [
    Placeholder::Attribute("cn", &[0x55, 4, 3], "the common name (CN)"),
    Placeholder::Attribute("o", &[0x55, 4, 10], "the organization (O)"),
    Placeholder::Attribute("ou", &[0x55, 4, 11], "the organizational unit (OU)"),
    Placeholder::Attribute("c", &[0x55, 4, 6], "the country (C)"),
    Placeholder::Attribute("l", &[0x55, 4, 7], "the locality (L)"),
    Placeholder::Attribute("st", &[0x55, 4, 8], "the state (ST)"),
    Placeholder::Attribute(
        "uid",
        &[9, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1],
        "the user id (UID)",
    ),
    Placeholder::Attribute(
        "dc",
        &[9, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 25],
        "the domain component (DC)",
    ),
    Placeholder::Attribute("serialnumber", &[0x55, 4, 5], "the attribute serialNumber"),
];
