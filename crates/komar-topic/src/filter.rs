//! Topic Filters: what a Subscription selects Topic Names with.

use alloc::boxed::Box;
use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;

use crate::levels::Levels;
use crate::{Stripe, TopicError, TopicLimits, TopicName, matching};

/// A Topic Filter, borrowed. MQTT 5.0 §4.7.
///
/// `+` stands for one level, `#` for the level it follows and everything below. A filter that begins with a wildcard
/// matches no name that begins with `$`. v5 [MQTT-4.7.2-1]
///
/// The text `$share/…` is a valid filter too if it is read here; [`SubscriptionFilter`](crate::SubscriptionFilter)
/// is what tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter<'a>(&'a str);

impl<'a> TopicFilter<'a> {
    /// Checks a text against the rules and the default [`TopicLimits`].
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new(text: &'a str) -> Result<TopicFilter<'a>, TopicError> {
        TopicFilter::new_within(text, &TopicLimits::default())
    }

    /// Checks a text against the rules and these limits.
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new_within(text: &'a str, limits: &TopicLimits) -> Result<TopicFilter<'a>, TopicError> {
        limits.check_length(text)?;
        check_characters(text)?;
        limits.check_levels(text)?;
        Ok(TopicFilter(text))
    }

    /// Takes a text that was checked before and does not look at it again.
    ///
    /// A text that breaks the rules makes later answers wrong, but nothing panics.
    pub const fn from_checked(text: &'a str) -> TopicFilter<'a> {
        TopicFilter(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes, wildcards and empty ones included. There is always one at least.
    pub fn levels(self) -> Levels<'a> {
        Levels::new(self.0)
    }

    /// Whether there is a `+` or a `#`; a filter without one matches the name of the same text only.
    pub fn has_wildcard(self) -> bool {
        self.0.bytes().any(is_wildcard)
    }

    /// Whether the first level is a wildcard, which keeps the filter away from names that begin with `$`.
    pub fn starts_with_wildcard(self) -> bool {
        self.0.bytes().next().is_some_and(is_wildcard)
    }

    /// The one name that it matches, if there is no wildcard.
    pub fn as_name(self) -> Option<TopicName<'a>> {
        (!self.has_wildcard()).then_some(TopicName::from_checked(self.0))
    }

    /// Whether it selects `name`.
    ///
    /// Takes time in the length of the two texts, whatever they hold.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        matching::matches(self.0, name.as_str())
    }

    /// Whether every name that `other` matches is matched by this filter too.
    #[must_use]
    pub fn covers(self, other: TopicFilter<'_>) -> bool {
        matching::covers(self, other)
    }

    /// Whether there is a name that both filters match.
    #[must_use]
    pub fn overlaps(self, other: TopicFilter<'_>) -> bool {
        matching::overlaps(self, other)
    }

    /// What it begins with: names that it matches have this stripe among their own.
    pub fn stripe(self) -> Stripe {
        Stripe::of_filter(self.0)
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> TopicFilterBuf {
        TopicFilterBuf(self.0.into())
    }
}

/// Every Topic Name is a filter that matches itself and nothing else.
impl<'a> From<TopicName<'a>> for TopicFilter<'a> {
    fn from(name: TopicName<'a>) -> TopicFilter<'a> {
        TopicFilter(name.as_str())
    }
}

impl AsRef<str> for TopicFilter<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'a> TryFrom<&'a str> for TopicFilter<'a> {
    type Error = TopicError;

    fn try_from(text: &'a str) -> Result<TopicFilter<'a>, TopicError> {
        TopicFilter::new(text)
    }
}

/// A Topic Filter that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilterBuf(Box<str>);

impl TopicFilterBuf {
    /// Takes a text that was checked before, as [`TopicFilter::from_checked`] does.
    pub fn from_checked(text: impl Into<Box<str>>) -> TopicFilterBuf {
        TopicFilterBuf(text.into())
    }

    /// The filter, borrowed.
    pub fn as_filter(&self) -> TopicFilter<'_> {
        TopicFilter(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<TopicFilter<'_>> for TopicFilterBuf {
    fn from(filter: TopicFilter<'_>) -> TopicFilterBuf {
        filter.to_owned()
    }
}

impl TryFrom<String> for TopicFilterBuf {
    type Error = TopicError;

    fn try_from(text: String) -> Result<TopicFilterBuf, TopicError> {
        TopicFilter::new(&text)?;
        Ok(TopicFilterBuf(text.into()))
    }
}

impl From<TopicFilterBuf> for String {
    fn from(filter: TopicFilterBuf) -> String {
        filter.0.into()
    }
}

impl AsRef<str> for TopicFilterBuf {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// So that a map keyed by owned filters is searched with a text.
impl Borrow<str> for TopicFilterBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'+' | b'#')
}

fn check_characters(text: &str) -> Result<(), TopicError> {
    let bytes = text.as_bytes();
    for (position, byte) in text.bytes().enumerate() {
        if byte == 0 {
            return Err(TopicError::Null { position }); // v5 [MQTT-4.7.3-2]
        }
        if !is_wildcard(byte) {
            continue;
        }
        let before = position.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(position.saturating_add(1));
        if before.is_some_and(|byte| *byte != b'/') || after.is_some_and(|byte| *byte != b'/') {
            return Err(TopicError::WildcardNotAlone { position }); // v5 [MQTT-4.7.1-1], v5 [MQTT-4.7.1-2]
        }
        if byte == b'#' && after.is_some() {
            return Err(TopicError::MultiLevelNotLast { position }); // v5 [MQTT-4.7.1-1]
        }
    }
    Ok(())
}
