//! What stands behind a directive's name, read as typed values.

use std::path::PathBuf;

use crate::directive::{Keyword, Support, ValueType};
use crate::lexer::{Word, Words, forbidden_character, is_space};
use crate::suggest::nearest;
use crate::{ErrorKind, WarningKind};

/// An error with its place in the line.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ErrorKind,
    pub(crate) column: u32,
    pub(crate) word: String,
}

/// How a row takes its value.
pub(crate) enum Apply<T: 'static> {
    Boolean(fn(&mut T, bool)),
    /// The bounds are part of the range.
    Integer(i64, i64, fn(&mut T, i64)),
    Text(fn(&mut T, String)),
    Path(fn(&mut T, PathBuf)),
    Keyword(&'static [Keyword], fn(&mut T, &'static str)),
    Special(
        &'static str,
        fn(&mut T, &mut Arguments<'_>) -> Result<(), Problem>,
    ),
    /// Accepted whatever it is.
    Anything,
}

/// The words behind a name.
pub(crate) struct Arguments<'a> {
    /// The name as the file spells it.
    pub(crate) name: &'a str,
    pub(crate) name_column: u32,
    pub(crate) words: Words<'a>,
    pub(crate) warnings: Vec<WarningKind>,
    /// The value, if the row's type is simple: tells a default from a change.
    pub(crate) value: Option<String>,
}

pub(crate) const C_INT: (i64, i64) = (-0x8000_0000, 0x7FFF_FFFF);

impl<T> Apply<T> {
    pub(crate) fn value_type(&self) -> ValueType {
        match *self {
            Apply::Boolean(_) => ValueType::Boolean,
            Apply::Integer(minimum, maximum, _) => ValueType::Integer { minimum, maximum },
            Apply::Text(_) => ValueType::Text,
            Apply::Path(_) => ValueType::Path,
            Apply::Keyword(words, _) => ValueType::Words(words),
            Apply::Special(form, _) => ValueType::Form(form),
            Apply::Anything => ValueType::Form("anything"),
        }
    }

    /// Reads the value and sets it.
    pub(crate) fn run(&self, target: &mut T, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
        match self {
            Apply::Boolean(set) => {
                let value = arguments.boolean()?;
                arguments.value = Some(value.to_string());
                set(target, value);
            }
            Apply::Integer(minimum, maximum, set) => {
                let value = arguments.integer(*minimum, *maximum)?;
                arguments.value = Some(value.to_string());
                set(target, value);
            }
            Apply::Text(set) => set(target, arguments.text()?),
            Apply::Path(set) => set(target, PathBuf::from(arguments.text()?)),
            Apply::Keyword(keywords, set) => set(target, arguments.keyword(keywords)?),
            Apply::Special(_, set) => set(target, arguments)?,
            Apply::Anything => {}
        }
        Ok(())
    }
}

impl<'a> Arguments<'a> {
    /// The next word; there has to be one.
    pub(crate) fn word(&mut self) -> Result<Word<'a>, Problem> {
        let column = self.words.column();
        self.words.next_word().ok_or_else(|| self.missing(column))
    }

    /// The next word without its errors in UTF-8.
    pub(crate) fn word_text(&mut self) -> Result<(Word<'a>, &'a str), Problem> {
        let word = self.word()?;
        Ok((word, self.checked(word)?))
    }

    /// `true`, `false`, `1` or `0`; the rest of the line is not looked at.
    pub(crate) fn boolean(&mut self) -> Result<bool, Problem> {
        let word = self.word()?;
        match word.bytes {
            b"true" | b"1" => Ok(true),
            b"false" | b"0" => Ok(false),
            _ => Err(self.at(word, |name, value| ErrorKind::NotBoolean { name, value })),
        }
    }

    /// A number within bounds; the rest of the line is not looked at.
    pub(crate) fn integer(&mut self, minimum: i64, maximum: i64) -> Result<i64, Problem> {
        let word = self.word()?;
        self.number(word, minimum, maximum)
    }

    /// A word as a number within bounds.
    pub(crate) fn number(&self, word: Word<'_>, minimum: i64, maximum: i64) -> Result<i64, Problem> {
        match parse_integer(word.bytes) {
            Some(value) if (minimum..=maximum).contains(&value) => Ok(value),
            Some(_) => Err(self.at(word, |name, value| ErrorKind::OutOfRange {
                name,
                value,
                minimum,
                maximum,
            })),
            None => Err(self.at(word, |name, value| ErrorKind::NotNumber { name, value })),
        }
    }

    /// The rest of the line.
    pub(crate) fn text(&mut self) -> Result<String, Problem> {
        self.text_word().map(|(_, text)| text.to_owned())
    }

    /// The rest of the line, with its place for messages.
    pub(crate) fn text_word(&mut self) -> Result<(Word<'a>, &'a str), Problem> {
        let column = self.words.column();
        let word = self.words.rest().ok_or_else(|| self.missing(column))?;
        let text = self.checked(word)?;
        if text.contains(" #") {
            self.warnings.push(WarningKind::RemarkInValue {
                name: self.name.to_owned(),
            });
        }
        Ok((word, text))
    }

    /// One of these words; the rest of the line is not looked at.
    pub(crate) fn keyword(&mut self, keywords: &'static [Keyword]) -> Result<&'static str, Problem> {
        let word = self.word()?;
        self.keyword_of(word, keywords)
    }

    /// This word as one of those, with what is said of its support.
    pub(crate) fn keyword_of(
        &mut self,
        word: Word<'_>,
        keywords: &'static [Keyword],
    ) -> Result<&'static str, Problem> {
        let Some(known) = keywords
            .iter()
            .find(|keyword| keyword.word.as_bytes() == word.bytes)
        else {
            let nearest = nearest(&word.shown(), keywords.iter().map(|keyword| keyword.word));
            return Err(self.at(word, |name, value| ErrorKind::UnknownWord {
                name,
                value,
                nearest,
            }));
        };
        let name = format!("{} {}", self.name, known.word);
        match known.support {
            Support::Full => {}
            Support::NoEffect(reason) => self.warnings.push(WarningKind::NoEffect { name, reason }),
            Support::NotYet(reason) => self.warnings.push(WarningKind::NotYet { name, reason }),
            Support::Refused(reason) => return Err(self.at(word, |_, _| ErrorKind::Refused { name, reason })),
        }
        Ok(known.word)
    }

    /// An error about a word.
    pub(crate) fn at(&self, word: Word<'_>, kind: impl FnOnce(String, String) -> ErrorKind) -> Problem {
        let shown = word.shown();
        Problem {
            kind: kind(self.name.to_owned(), shown.clone()),
            column: word.column(),
            word: shown,
        }
    }

    /// A word that is not what is expected.
    pub(crate) fn unexpected(&self, word: Word<'_>, expected: &'static str) -> Problem {
        self.at(word, |name, value| ErrorKind::InvalidValue {
            name,
            value,
            expected,
        })
    }

    /// An error about the directive itself.
    pub(crate) fn at_name(&self, kind: ErrorKind) -> Problem {
        Problem {
            kind,
            column: self.name_column,
            word: self.name.to_owned(),
        }
    }

    /// An error about what is not there.
    pub(crate) fn missing(&self, column: u32) -> Problem {
        let key = ["plugin_opt_", "auth_opt_"]
            .iter()
            .find_map(|prefix| self.name.strip_prefix(prefix));
        let name = match (self.name, key) {
            ("listener", _) => "listener port",
            (_, Some(key)) => key,
            (name, None) => name,
        };
        Problem {
            kind: ErrorKind::MissingValue {
                name: name.to_owned(),
            },
            column,
            word: self.name.to_owned(),
        }
    }

    /// UTF-8 without control characters and noncharacters, at most 65535 bytes.
    pub(crate) fn checked(&self, word: Word<'a>) -> Result<&'a str, Problem> {
        const MAXIMUM: usize = 65535;
        let length = word.bytes.len();
        // The value stays out of these messages: it may be a password.
        let problem = |kind, offset| Problem {
            kind,
            column: word.tail(offset).column(),
            word: self.name.to_owned(),
        };
        if length > MAXIMUM {
            let kind = ErrorKind::TextTooLong {
                name: self.name.to_owned(),
                length,
                maximum: MAXIMUM,
            };
            return Err(problem(kind, 0));
        }
        let invalid = || ErrorKind::InvalidText {
            name: self.name.to_owned(),
        };
        let text =
            std::str::from_utf8(word.bytes).map_err(|error| problem(invalid(), error.valid_up_to()))?;
        match forbidden_character(text) {
            Some(offset) => Err(problem(invalid(), offset)),
            None => Ok(text),
        }
    }

    /// The rest of the line, at most this long.
    pub(crate) fn text_up_to(&mut self, maximum: usize) -> Result<String, Problem> {
        let (word, text) = self.text_word()?;
        let length = text.len();
        if length > maximum {
            return Err(self.at(word, |name, _| ErrorKind::TextTooLong {
                name,
                length,
                maximum,
            }));
        }
        Ok(text.to_owned())
    }
}

/// A whole number as `strtol` reads it with base 0. Out of its range: the nearest bound.
pub(crate) fn parse_integer(bytes: &[u8]) -> Option<i64> {
    let start = bytes.iter().position(|&byte| !is_space(byte))?;
    let bytes = bytes.get(start..)?;
    let (negative, bytes) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, bytes),
    };
    let (radix, digits) = match bytes {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        _ => (10, bytes),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, &digit| {
        let digit = i64::from(char::from(digit).to_digit(radix)?);
        let value = value.saturating_mul(i64::from(radix));
        Some(if negative {
            value.saturating_sub(digit)
        } else {
            value.saturating_add(digit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::parse_integer;

    #[test]
    fn integers_are_those_of_c() {
        for (text, expected) in [
            ("10", Some(10)),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("00", Some(0)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("-0x8", Some(-8)),
            ("\t5", Some(5)),
            ("9223372036854775808", Some(i64::MAX)),
            ("-99999999999999999999", Some(i64::MIN)),
            ("08", None),
            ("0x", None),
            ("", None),
            ("-", None),
            ("+-1", None),
            ("1k", None),
            ("5\t", None),
            ("1.0", None),
            ("٣", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), expected, "{text:?}");
        }
    }
}
