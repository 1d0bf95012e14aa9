//! What a SUBSCRIBE carries: a plain Topic Filter, or `$share/{ShareName}/{filter}`.

use core::fmt;

use crate::filter::is_wildcard;
use crate::{TopicError, TopicFilter, TopicLimits};

/// The name that the members of a shared subscription agree on. MQTT 5.0 §4.8.2.
///
/// At least one character; no `/`, `+`, `#` or U+0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName<'a>(&'a str);

impl<'a> ShareName<'a> {
    /// Takes a text that was checked before.
    pub(crate) const fn from_checked(text: &'a str) -> ShareName<'a> {
        ShareName(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for ShareName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
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
}

impl fmt::Display for SharedFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
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
            Some("") => Err(TopicError::ShareNameEmpty {
                position: SHARE.len(),
            }), // v5 [MQTT-4.8.2-1]
            Some(rest) if rest.starts_with('/') => parse_shared(text, limits).map(SubscriptionFilter::Shared),
            _ => TopicFilter::new_within(text, limits).map(SubscriptionFilter::Plain),
        }
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
}

impl fmt::Display for SubscriptionFilter<'_> {
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

/// Reads a text that begins with `$share/`.
fn parse_shared<'a>(text: &'a str, limits: &TopicLimits) -> Result<SharedFilter<'a>, TopicError> {
    let name_at = SHARE.len().saturating_add(1);
    let rest = text.get(name_at..).unwrap_or_default();
    let (share_name, filter) = match rest.split_once('/') {
        Some((share_name, filter)) => (share_name, Some(filter)),
        None => (rest, None),
    };
    if share_name.is_empty() {
        return Err(TopicError::ShareNameEmpty { position: name_at }); // v5 [MQTT-4.8.2-1]
    }
    for (offset, byte) in share_name.bytes().enumerate() {
        let position = name_at.saturating_add(offset);
        if byte == 0 {
            return Err(TopicError::Null { position }); // v5 [MQTT-4.7.3-2]
        }
        if is_wildcard(byte) {
            return Err(TopicError::ShareNameWildcard { position }); // v5 [MQTT-4.8.2-2]
        }
    }
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
