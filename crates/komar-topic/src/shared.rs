//! What a SUBSCRIBE carries: a plain Topic Filter, or `$share/{ShareName}/{filter}`.

use alloc::boxed::Box;
use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;

use crate::filter::is_wildcard;
use crate::{TopicError, TopicFilter, TopicFilterBuf, TopicLimits};

/// The name that the members of a shared subscription agree on. MQTT 5.0 §4.8.2.
///
/// At least one character; no `/`, `+`, `#` or U+0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName<'a>(&'a str);

impl<'a> ShareName<'a> {
    /// Checks a text against the rules.
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new(text: &'a str) -> Result<ShareName<'a>, TopicError> {
        if text.is_empty() {
            return Err(TopicError::ShareNameEmpty { position: 0 }); // v5 [MQTT-4.8.2-1]
        }
        for (position, byte) in text.bytes().enumerate() {
            if byte == 0 {
                return Err(TopicError::Null { position }); // v5 [MQTT-4.7.3-2]
            }
            if byte == b'/' || is_wildcard(byte) {
                return Err(TopicError::ShareNameCharacter { position }); // v5 [MQTT-4.8.2-2]
            }
        }
        Ok(ShareName(text))
    }

    /// Takes a text that was checked before and does not look at it again.
    pub const fn from_checked(text: &'a str) -> ShareName<'a> {
        ShareName(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> ShareNameBuf {
        ShareNameBuf(self.0.into())
    }
}

impl fmt::Display for ShareName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A Share Name that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareNameBuf(Box<str>);

impl ShareNameBuf {
    /// Takes a text that was checked before, as [`ShareName::from_checked`] does.
    pub fn from_checked(text: impl Into<Box<str>>) -> ShareNameBuf {
        ShareNameBuf(text.into())
    }

    /// The Share Name, borrowed.
    pub fn as_share_name(&self) -> ShareName<'_> {
        ShareName(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ShareName<'_>> for ShareNameBuf {
    fn from(share_name: ShareName<'_>) -> ShareNameBuf {
        share_name.to_owned()
    }
}

impl TryFrom<String> for ShareNameBuf {
    type Error = TopicError;

    fn try_from(text: String) -> Result<ShareNameBuf, TopicError> {
        ShareName::new(&text)?;
        Ok(ShareNameBuf(text.into()))
    }
}

impl From<ShareNameBuf> for String {
    fn from(share_name: ShareNameBuf) -> String {
        share_name.0.into()
    }
}

impl AsRef<str> for ShareNameBuf {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// So that a map with owned keys is searched with a text.
impl Borrow<str> for ShareNameBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareNameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The filter of a shared subscription, Share Name included. MQTT 5.0 §4.8.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter<'a> {
    text: &'a str,
    share_name: &'a str,
    filter: &'a str,
}

impl<'a> SharedFilter<'a> {
    /// Reads `$share/{ShareName}/{filter}` and nothing else, within the default [`TopicLimits`].
    ///
    /// # Errors
    /// The first rule that it breaks, and where.
    pub fn new(text: &'a str) -> Result<SharedFilter<'a>, TopicError> {
        SharedFilter::new_within(text, &TopicLimits::default())
    }

    /// As [`new`](SharedFilter::new), within these limits.
    ///
    /// # Errors
    /// As [`new`](SharedFilter::new).
    pub fn new_within(text: &'a str, limits: &TopicLimits) -> Result<SharedFilter<'a>, TopicError> {
        limits.check_length(text)?;
        match text.strip_prefix(SHARE) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => parse_shared(text, limits),
            _ => Err(TopicError::NotShared), // v5 [MQTT-4.8.2-1]
        }
    }

    /// Which group of subscribers.
    pub const fn share_name(self) -> ShareName<'a> {
        ShareName(self.share_name)
    }

    /// What it selects.
    pub const fn filter(self) -> TopicFilter<'a> {
        TopicFilter::from_checked(self.filter)
    }

    /// The whole text, `$share/` included.
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> SharedFilterBuf {
        SharedFilterBuf {
            text: self.text.into(),
        }
    }

    /// Finds the parts of a text that was checked before. `None` if it has not got the form.
    fn from_checked(text: &'a str) -> Option<SharedFilter<'a>> {
        let rest = text.strip_prefix(SHARE)?.strip_prefix('/')?;
        let (share_name, filter) = rest.split_once('/')?;
        Some(SharedFilter {
            text,
            share_name,
            filter,
        })
    }
}

impl fmt::Display for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The filter of a shared subscription that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilterBuf {
    /// Has the form of a [`SharedFilter`]: every way here is from one.
    text: Box<str>,
}

impl SharedFilterBuf {
    /// The filter, borrowed. Finds the Share Name again; nothing is checked.
    pub fn as_shared(&self) -> SharedFilter<'_> {
        SharedFilter::from_checked(&self.text).expect("it was made from one")
    }

    /// The whole text, `$share/` included.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<SharedFilter<'_>> for SharedFilterBuf {
    fn from(shared: SharedFilter<'_>) -> SharedFilterBuf {
        shared.to_owned()
    }
}

impl TryFrom<String> for SharedFilterBuf {
    type Error = TopicError;

    fn try_from(text: String) -> Result<SharedFilterBuf, TopicError> {
        SharedFilter::new(&text)?;
        Ok(SharedFilterBuf { text: text.into() })
    }
}

impl From<SharedFilterBuf> for String {
    fn from(shared: SharedFilterBuf) -> String {
        shared.text.into()
    }
}

impl AsRef<str> for SharedFilterBuf {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// So that a map with owned keys is searched with a text.
impl Borrow<str> for SharedFilterBuf {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SharedFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE carries where the specification says "Topic Filter".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionFilter<'a> {
    /// An ordinary Topic Filter.
    Plain(TopicFilter<'a>),
    /// `$share/{ShareName}/{filter}`.
    Shared(SharedFilter<'a>),
}

impl<'a> SubscriptionFilter<'a> {
    /// Reads what a SUBSCRIBE carries, within the default [`TopicLimits`].
    ///
    /// `$share` as a first level always means the shared form.
    ///
    /// # Errors
    /// The first rule that it breaks, and where. [`TopicError::is_shared`] tells whether it was one of the shared
    /// form.
    pub fn parse(text: &'a str) -> Result<SubscriptionFilter<'a>, TopicError> {
        SubscriptionFilter::parse_within(text, &TopicLimits::default())
    }

    /// As [`parse`](SubscriptionFilter::parse), within these limits.
    ///
    /// # Errors
    /// As [`parse`](SubscriptionFilter::parse).
    pub fn parse_within(text: &'a str, limits: &TopicLimits) -> Result<SubscriptionFilter<'a>, TopicError> {
        limits.check_length(text)?;
        match text.strip_prefix(SHARE) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                parse_shared(text, limits).map(SubscriptionFilter::Shared)
            }
            _ => TopicFilter::new_within(text, limits).map(SubscriptionFilter::Plain),
        }
    }

    /// Takes a text that was checked before, for instance one that a store kept, and only looks whether it is shared.
    ///
    /// A text that breaks the rules makes later answers wrong, but nothing panics.
    pub fn from_checked(text: &'a str) -> SubscriptionFilter<'a> {
        SharedFilter::from_checked(text).map_or(
            SubscriptionFilter::Plain(TopicFilter::from_checked(text)),
            SubscriptionFilter::Shared,
        )
    }

    /// What it selects, without the Share Name.
    pub const fn filter(self) -> TopicFilter<'a> {
        match self {
            SubscriptionFilter::Plain(filter) => filter,
            SubscriptionFilter::Shared(shared) => shared.filter(),
        }
    }

    /// The group it belongs to, if it is shared.
    pub const fn share_name(self) -> Option<ShareName<'a>> {
        match self {
            SubscriptionFilter::Plain(_) => None,
            SubscriptionFilter::Shared(shared) => Some(shared.share_name()),
        }
    }

    /// The whole text, `$share/` included.
    pub const fn as_str(self) -> &'a str {
        match self {
            SubscriptionFilter::Plain(filter) => filter.as_str(),
            SubscriptionFilter::Shared(shared) => shared.as_str(),
        }
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_owned(self) -> SubscriptionFilterBuf {
        match self {
            SubscriptionFilter::Plain(filter) => SubscriptionFilterBuf::Plain(filter.to_owned()),
            SubscriptionFilter::Shared(shared) => SubscriptionFilterBuf::Shared(shared.to_owned()),
        }
    }
}

impl fmt::Display for SubscriptionFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a SUBSCRIBE carries, with its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionFilterBuf {
    /// An ordinary Topic Filter.
    Plain(TopicFilterBuf),
    /// `$share/{ShareName}/{filter}`.
    Shared(SharedFilterBuf),
}

impl SubscriptionFilterBuf {
    /// Takes a text that was checked before, as [`SubscriptionFilter::from_checked`] does.
    pub fn from_checked(text: impl Into<Box<str>>) -> SubscriptionFilterBuf {
        let text = text.into();
        if SharedFilter::from_checked(&text).is_some() {
            SubscriptionFilterBuf::Shared(SharedFilterBuf { text })
        } else {
            SubscriptionFilterBuf::Plain(TopicFilterBuf::from_checked(text))
        }
    }

    /// The filter, borrowed; nothing is checked.
    pub fn as_filter(&self) -> SubscriptionFilter<'_> {
        match self {
            SubscriptionFilterBuf::Plain(filter) => SubscriptionFilter::Plain(filter.as_filter()),
            SubscriptionFilterBuf::Shared(shared) => SubscriptionFilter::Shared(shared.as_shared()),
        }
    }

    /// The whole text, `$share/` included.
    pub fn as_str(&self) -> &str {
        match self {
            SubscriptionFilterBuf::Plain(filter) => filter.as_str(),
            SubscriptionFilterBuf::Shared(shared) => shared.as_str(),
        }
    }
}

impl From<SubscriptionFilter<'_>> for SubscriptionFilterBuf {
    fn from(filter: SubscriptionFilter<'_>) -> SubscriptionFilterBuf {
        filter.to_owned()
    }
}

/// As [`SubscriptionFilter::parse`].
impl TryFrom<String> for SubscriptionFilterBuf {
    type Error = TopicError;

    fn try_from(text: String) -> Result<SubscriptionFilterBuf, TopicError> {
        SubscriptionFilter::parse(&text)?;
        Ok(SubscriptionFilterBuf::from_checked(text))
    }
}

impl From<SubscriptionFilterBuf> for String {
    fn from(filter: SubscriptionFilterBuf) -> String {
        match filter {
            SubscriptionFilterBuf::Plain(filter) => filter.into(),
            SubscriptionFilterBuf::Shared(shared) => shared.into(),
        }
    }
}

impl AsRef<str> for SubscriptionFilterBuf {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SubscriptionFilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'a> From<TopicFilter<'a>> for SubscriptionFilter<'a> {
    fn from(filter: TopicFilter<'a>) -> SubscriptionFilter<'a> {
        SubscriptionFilter::Plain(filter)
    }
}

impl<'a> From<SharedFilter<'a>> for SubscriptionFilter<'a> {
    fn from(filter: SharedFilter<'a>) -> SubscriptionFilter<'a> {
        SubscriptionFilter::Shared(filter)
    }
}

/// First level of a shared subscription's filter.
pub(crate) const SHARE: &str = "$share";

/// Reads a text that is `$share`, or begins with `$share/`.
fn parse_shared<'a>(text: &'a str, limits: &TopicLimits) -> Result<SharedFilter<'a>, TopicError> {
    let name_at = text.len().min(SHARE.len().saturating_add(1));
    let rest = text.get(name_at..).unwrap_or_default();
    let (share_name, filter) = match rest.split_once('/') {
        Some((share_name, filter)) => (share_name, Some(filter)),
        None => (rest, None),
    };
    ShareName::new(share_name).map_err(|error| error.moved(name_at))?;
    let filter_at = text.len().saturating_sub(filter.map_or(0, str::len));
    // v5 [MQTT-4.8.2-2]
    let filter = filter
        .filter(|filter| !filter.is_empty())
        .ok_or(TopicError::SharedFilterMissing { position: filter_at })?;
    TopicFilter::new_within(filter, limits).map_err(|error| error.moved(filter_at))?;
    Ok(SharedFilter {
        text,
        share_name,
        filter,
    })
}
