//! What a packet may have many of: User Properties, Subscription Identifiers, forwarded properties. Nothing is collected:
//! what was received is walked over where it lies.

use core::fmt;

use crate::PropertyId;
use crate::primitive::variable_byte_integer;
use crate::property::Checked;
use crate::text;
use crate::write::Sink;

/// The User Properties of a packet, in their order. MQTT 5.0 §3.1.2.11.8.
///
/// Equal when the pairs are, whether they were received or are to be sent.
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(Pairs<'a>);

#[derive(Clone, Copy)]
enum Pairs<'a> {
    /// The properties of a packet from the first User Property to the last, with what stands between them.
    Received(&'a [u8]),
    Given(&'a [(&'a str, &'a str)]),
}

impl<'a> UserProperties<'a> {
    /// Names and values to be sent.
    #[must_use]
    pub const fn from_pairs(pairs: &'a [(&'a str, &'a str)]) -> Self {
        UserProperties(Pairs::Given(pairs))
    }

    pub(crate) const fn received(span: &'a [u8]) -> Self {
        UserProperties(Pairs::Received(span))
    }

    /// Names and values; names may repeat.
    #[must_use]
    pub fn iter(&self) -> UserPropertiesIter<'a> {
        UserPropertiesIter(match self.0 {
            Pairs::Received(span) => PairsIter::Received(Checked(span)),
            Pairs::Given(pairs) => PairsIter::Given(pairs.iter()),
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Pairs::Received(span) => span.is_empty(),
            Pairs::Given(pairs) => pairs.is_empty(),
        }
    }

    pub(crate) fn write(&self, sink: &mut impl Sink) {
        for (name, value) in self.iter() {
            sink.u8(PropertyId::UserProperty.as_u8());
            sink.string(name);
            sink.string(value);
        }
    }
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        UserProperties::from_pairs(&[])
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`UserProperties`].
#[derive(Clone, Debug)]
pub struct UserPropertiesIter<'a>(PairsIter<'a>);

#[derive(Clone, Debug)]
enum PairsIter<'a> {
    Received(Checked<'a>),
    Given(core::slice::Iter<'a, (&'a str, &'a str)>),
}

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            PairsIter::Received(properties) => loop {
                if let (PropertyId::UserProperty, pair) = properties.next_value()? {
                    let (name, value) = split_string(pair)?;
                    return Some((name, split_string(value)?.0));
                }
            },
            PairsIter::Given(pairs) => pairs.next().copied(),
        }
    }
}

/// A string that was checked when it was decoded, and what follows it.
#[inline]
pub(crate) fn split_string(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((text::known(bytes)?, rest))
}

/// The Subscription Identifiers of a PUBLISH from a server. MQTT 5.0 §3.3.2.3.8.
#[derive(Clone, Copy)]
pub struct SubscriptionIdentifiers<'a>(Identifiers<'a>);

#[derive(Clone, Copy)]
enum Identifiers<'a> {
    /// The properties of a packet from the first identifier to the last, with what stands between them.
    Received(&'a [u8]),
    Given(&'a [u32]),
}

impl<'a> SubscriptionIdentifiers<'a> {
    /// Identifiers to be sent, each from 1 to 268,435,455.
    #[must_use]
    pub const fn from_slice(identifiers: &'a [u32]) -> Self {
        SubscriptionIdentifiers(Identifiers::Given(identifiers))
    }

    pub(crate) const fn received(span: &'a [u8]) -> Self {
        SubscriptionIdentifiers(Identifiers::Received(span))
    }

    /// The identifiers in their order.
    #[must_use]
    pub fn iter(&self) -> SubscriptionIdentifiersIter<'a> {
        SubscriptionIdentifiersIter(match self.0 {
            Identifiers::Received(span) => IdentifiersIter::Received(Checked(span)),
            Identifiers::Given(identifiers) => IdentifiersIter::Given(identifiers.iter()),
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self.0 {
            Identifiers::Received(span) => span.is_empty(),
            Identifiers::Given(identifiers) => identifiers.is_empty(),
        }
    }

    pub(crate) fn write(&self, sink: &mut impl Sink) {
        for identifier in self.iter() {
            sink.u8(PropertyId::SubscriptionIdentifier.as_u8());
            sink.variable_byte_integer(identifier);
        }
    }
}

impl Default for SubscriptionIdentifiers<'_> {
    fn default() -> Self {
        SubscriptionIdentifiers::from_slice(&[])
    }
}

impl PartialEq for SubscriptionIdentifiers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIdentifiers<'_> {}

impl fmt::Debug for SubscriptionIdentifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for SubscriptionIdentifiers<'a> {
    type Item = u32;
    type IntoIter = SubscriptionIdentifiersIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over [`SubscriptionIdentifiers`].
#[derive(Clone, Debug)]
pub struct SubscriptionIdentifiersIter<'a>(IdentifiersIter<'a>);

#[derive(Clone, Debug)]
enum IdentifiersIter<'a> {
    Received(Checked<'a>),
    Given(core::slice::Iter<'a, u32>),
}

impl Iterator for SubscriptionIdentifiersIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            IdentifiersIter::Received(properties) => loop {
                if let (PropertyId::SubscriptionIdentifier, value) = properties.next_value()? {
                    return variable_byte_integer(value)
                        .ok()?
                        .map(|(identifier, _)| identifier);
                }
            },
            IdentifiersIter::Given(identifiers) => identifiers.next().copied(),
        }
    }
}

/// The bytes of all properties of a PUBLISH or a Will as they were received; nothing in one that was not received.
///
/// Two of them are always equal: they say nothing that the other fields do not say.
#[derive(Clone, Copy, Default)]
pub struct ReceivedProperties<'a> {
    section: &'a [u8],
    /// Whether there is something in `section` that is not passed on.
    has_gaps: bool,
}

impl<'a> ReceivedProperties<'a> {
    #[inline]
    pub(crate) const fn new(section: &'a [u8], has_gaps: bool) -> Self {
        ReceivedProperties { section, has_gaps }
    }

    /// The encoded properties that a server passes on to subscribers, as they came: everything but Topic Alias, Message
    /// Expiry Interval, Subscription Identifiers and Will Delay Interval. Nothing of a message that was not received.
    ///
    /// What the fields beside it were changed to since is not in it: whoever changes a property that is passed on writes all
    /// of them anew, with [`Publish::encode`](crate::Publish::encode).
    #[inline]
    #[must_use]
    pub const fn forwarded(&self) -> Forwarded<'a> {
        Forwarded {
            rest: self.section,
            has_gaps: self.has_gaps,
        }
    }
}

impl PartialEq for ReceivedProperties<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ReceivedProperties<'_> {}

impl fmt::Debug for ReceivedProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.section.len())
    }
}

/// The encoded properties that a server passes on unaltered and in their order: Payload Format Indicator, Content Type,
/// Response Topic, Correlation Data and User Properties.
///
/// An iterator over slices of the received packet that follow each other in the message: one slice where nothing has to
/// be left out, none where nothing is passed on.
// v5 [MQTT-3.3.2-4], v5 [MQTT-3.3.2-15], v5 [MQTT-3.3.2-16], v5 [MQTT-3.3.2-17], v5 [MQTT-3.3.2-18], v5 [MQTT-3.3.2-20],
// v5 [MQTT-3.1.3-10]
#[derive(Clone, Debug, Default)]
pub struct Forwarded<'a> {
    rest: &'a [u8],
    has_gaps: bool,
}

impl Forwarded<'_> {
    /// Bytes of all slices that are left.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.clone()
            .fold(0, |total, part| total.saturating_add(part.len()))
    }
}

impl<'a> Iterator for Forwarded<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if !self.has_gaps {
            let whole = core::mem::take(&mut self.rest);
            return (!whole.is_empty()).then_some(whole);
        }
        self.next_between_gaps()
    }
}

impl<'a> Forwarded<'a> {
    fn next_between_gaps(&mut self) -> Option<&'a [u8]> {
        let mut begin = self.rest;
        let mut walk = Checked(self.rest);
        // The run of forwarded properties that begins at `begin`.
        let mut length = 0;
        while let Some((property, _)) = walk.next_value() {
            if property.is_forwarded() {
                length = begin.len().saturating_sub(walk.0.len());
            } else if length > 0 {
                break;
            } else {
                begin = walk.0;
            }
        }
        self.rest = walk.0;
        begin.get(..length).filter(|run| !run.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn forwarded_properties_are_what_is_between_the_gaps() {
        let expiry = [0x02, 0, 0, 0, 9];
        let alias = [0x23, 0, 1];
        let format = [0x01, 1];
        let user = [0x26, 0, 1, b'k', 0, 1, b'v'];
        let parts: [&[u8]; 4] = [&expiry, &alias, &format, &user];
        // Every sequence of up to five of these.
        for number in 0..4_usize.pow(5) {
            for count in 0..=5 {
                let sequence: Vec<&[u8]> = (0..count).map(|n| parts[number / 4_usize.pow(n) % 4]).collect();
                let section: Vec<u8> = sequence.concat();
                let forwarded: Vec<&[u8]> = sequence
                    .iter()
                    .copied()
                    .filter(|part| part[0] != 2 && part[0] != 0x23)
                    .collect();
                let has_gaps = forwarded.len() < sequence.len();
                let received = ReceivedProperties::new(&section, has_gaps);
                let slices: Vec<&[u8]> = received.forwarded().collect();
                assert_eq!(slices.concat(), forwarded.concat());
                assert_eq!(received.forwarded().total_len(), forwarded.concat().len());
                assert!(slices.iter().all(|slice| !slice.is_empty()));
            }
        }
    }
}
