//! Topic Names: what an Application Message is published to.

use alloc::boxed::Box;
use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;

use crate::levels::Levels;
use crate::{Stripes, TopicError, TopicLimits};

/// A Topic Name, borrowed. MQTT 5.0 §4.7.
///
/// At least one character, no wildcard, no U+0000. Nothing is normalized: names are equal when their bytes are.
/// v5 [MQTT-4.7.3-4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a text against the rules and the default [`TopicLimits`].
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new(text: &'a str) -> Result<TopicName<'a>, TopicError> {
        TopicName::new_within(text, &TopicLimits::default())
    }

    /// Checks a text against the rules and these limits.
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new_within(text: &'a str, limits: &TopicLimits) -> Result<TopicName<'a>, TopicError> {
        limits.check_length(text)?;
        if let Some((position, byte)) = text
            .bytes()
            .enumerate()
            .find(|(_, byte)| matches!(byte, b'+' | b'#' | 0))
        {
            return Err(match byte {
                0 => TopicError::Null { position },           // v5 [MQTT-4.7.3-2]
                _ => TopicError::WildcardInName { position }, // v5 [MQTT-4.7.0-1]
            });
        }
        limits.check_levels(text)?;
        Ok(TopicName(text))
    }

    /// Takes a text that was checked before, for instance by a codec, and does not look at it again.
    ///
    /// A text that breaks the rules makes later answers wrong, but nothing panics.
    pub const fn from_checked(text: &'a str) -> TopicName<'a> {
        TopicName(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, empty ones included. There is always one at least.
    pub fn levels(self) -> Levels<'a> {
        Levels::new(self.0)
    }

    /// Whether it is out of reach for filters that begin with a wildcard. v5 [MQTT-4.7.2-1]
    pub fn starts_with_dollar(self) -> bool {
        self.0.as_bytes().first() == Some(&b'$')
    }

    /// The stripes of all filters that can match it: what a remembered lookup of this name depends on.
    pub fn stripes(self) -> Stripes {
        Stripes::of_name(self.0)
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> TopicNameBuf {
        TopicNameBuf(self.0.into())
    }
}

impl AsRef<str> for TopicName<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> TryFrom<&'a str> for TopicName<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<TopicName<'a>, TopicError> {
        TopicName::new(text)
    }
}

/// A Topic Name that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicNameBuf(Box<str>);

impl TopicNameBuf {
    /// Takes a text that was checked before, as [`TopicName::from_checked`] does.
    pub fn from_checked(text: impl Into<Box<str>>) -> TopicNameBuf {
        TopicNameBuf(text.into())
    }

    /// The name, borrowed.
    pub fn as_name(&self) -> TopicName<'_> {
        TopicName(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<TopicName<'_>> for TopicNameBuf {
    fn from(name: TopicName<'_>) -> TopicNameBuf {
        name.to_owned()
    }
}

impl TryFrom<String> for TopicNameBuf {
    type Error = TopicError;

    fn try_from(text: String) -> Result<TopicNameBuf, TopicError> {
        TopicName::new(&text)?;
        Ok(TopicNameBuf(text.into()))
    }
}

impl From<TopicNameBuf> for String {
    fn from(name: TopicNameBuf) -> String {
        name.0.into()
    }
}

impl AsRef<str> for TopicNameBuf {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// So that a map keyed by owned names is searched with a text.
impl Borrow<str> for TopicNameBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicNameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
