//! `%u` and `%c`, without building the filter that they would give.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::decide::Subject;
use crate::rule::{Effect, Rule};

/// A pattern as Mosquitto 2.1 reads it: placeholders are whole levels.
///
/// It is matched as the filter with `+` in their places, and then [`fits`](Self::fits) compares those levels.
pub(crate) struct LevelPattern {
    pub(crate) effect: Effect,
    mentions_user: bool,
    /// Number of the level from 0, and what it must be.
    slots: Box<[(usize, Placeholder)]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Placeholder {
    User,
    Client,
}

impl Placeholder {
    fn of(level: &str) -> Option<Self> {
        match level {
            "%u" => Some(Self::User),
            "%c" => Some(Self::Client),
            _ => None,
        }
    }

    /// The value, if there is one; an empty name matches nothing.
    fn value<'a>(self, subject: &Subject<'a>) -> Option<&'a str> {
        let value = match self {
            Self::User => subject.username?,
            Self::Client => subject.client_id,
        };
        Some(value).filter(|value| !value.is_empty())
    }
}

impl LevelPattern {
    pub(crate) fn new(rule: &Rule<'_>) -> Self {
        let placeholders = rule.filter.split('/').map(Placeholder::of).enumerate();
        let slots = placeholders.filter_map(|(number, placeholder)| Some((number, placeholder?)));
        let mentions_user = rule.filter.contains("%u");
        Self {
            effect: rule.permission.effect(),
            mentions_user,
            slots: slots.collect(),
        }
    }

    /// The filter to match it with.
    pub(crate) fn filter_of(rule: &Rule<'_>) -> String {
        let levels = rule.filter.split('/');
        let levels = levels.map(|level| {
            if Placeholder::of(level).is_some() {
                "+"
            } else {
                level
            }
        });
        levels.collect::<Vec<_>>().join("/")
    }

    /// The same for patterns whose placeholders are the same levels.
    pub(crate) fn class(&self) -> u64 {
        FixedState::default().hash_one(&self.slots)
    }

    /// Whether the levels of a name that the filter matches are this client's.
    pub(crate) fn fits(&self, subject: &Subject<'_>, name: &str) -> bool {
        // Also where it stands beside other characters and is not replaced.
        if self.mentions_user && subject.username.is_none() {
            return false;
        }
        let mut levels = name.split('/').enumerate();
        self.slots.iter().all(|(number, placeholder)| {
            let level = levels.find(|(other, _)| other == number).map(|(_, level)| level);
            placeholder
                .value(subject)
                .is_some_and(|value| level == Some(value))
        })
    }
}

/// A pattern as Mosquitto 2.0 reads it: placeholders are replaced anywhere, by any text.
///
/// The text that would come out is compared byte by byte with the name. That is what a filter's match is, and the
/// property tests hold it against the one matcher.
pub(crate) struct TextPattern {
    pub(crate) effect: Effect,
    mentions_user: bool,
    text: Box<str>,
}

impl TextPattern {
    pub(crate) fn new(rule: &Rule<'_>) -> Self {
        let mentions_user = rule.filter.contains("%u");
        Self {
            effect: rule.permission.effect(),
            mentions_user,
            text: rule.filter.into(),
        }
    }

    pub(crate) fn begins_with_wildcard(&self) -> bool {
        self.text.starts_with(['+', '#'])
    }

    pub(crate) fn matches(&self, subject: &Subject<'_>, name: &str) -> bool {
        if self.mentions_user && subject.username.is_none() {
            return false;
        }
        // A wildcard in the first level does not reach the topics that begin with $. A name that begins with it does:
        // 2.0 looks at the text that comes out, where 2.1 looks at the rule.
        if name.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let (mut pattern, mut name) = (self.text.as_bytes(), name.as_bytes());
        loop {
            let (next, rest) = match pattern {
                [] => return name.is_empty(),
                [b'#', ..] => return true,
                [b'/', b'#'] if name.is_empty() => return true,
                [b'+', rest @ ..] => {
                    let end = memchr::memchr(b'/', name).unwrap_or(name.len());
                    (name.get(end..), rest)
                }
                [b'%', b'u', rest @ ..] => (after(name, Placeholder::User, subject), rest),
                [b'%', b'c', rest @ ..] => (after(name, Placeholder::Client, subject), rest),
                [byte, rest @ ..] => (name.strip_prefix(core::slice::from_ref(byte)), rest),
            };
            let Some(next) = next else { return false };
            (pattern, name) = (rest, next);
        }
    }
}

/// What follows the placeholder's value at the beginning of `name`.
fn after<'n>(name: &'n [u8], placeholder: Placeholder, subject: &Subject<'_>) -> Option<&'n [u8]> {
    name.strip_prefix(placeholder.value(subject)?.as_bytes())
}

/// The filter that a pattern gives for a client: for what is asked once per subscription.
///
/// `None` if it is for nobody: a name is missing, empty, or more than a level where a level is wanted.
pub(crate) fn expand(pattern: &str, subject: &Subject<'_>, anywhere: bool) -> Option<String> {
    if pattern.contains("%u") && subject.username.is_none() {
        return None;
    }
    let value_of = |placeholder: Placeholder| {
        placeholder
            .value(subject)
            .filter(|value| anywhere || !value.contains('/'))
    };
    let mut filter = String::with_capacity(pattern.len());
    for (number, level) in pattern.split('/').enumerate() {
        if number > 0 {
            filter.push('/');
        }
        match level {
            "%u" => filter.push_str(value_of(Placeholder::User)?),
            "%c" => filter.push_str(value_of(Placeholder::Client)?),
            _ if !anywhere => filter.push_str(level),
            _ => expand_text(level, &mut filter, &value_of)?,
        }
    }
    // A placeholder of 2.1 does not reach the topics that begin with $, as in matching.
    Some(filter).filter(|filter| anywhere || pattern.starts_with('$') || !filter.starts_with('$'))
}

fn expand_text<'v>(
    mut text: &str,
    filter: &mut String,
    value_of: &impl Fn(Placeholder) -> Option<&'v str>,
) -> Option<()> {
    while let Some((before, after)) = text.split_once('%') {
        filter.push_str(before);
        let placeholder = match after.as_bytes().first() {
            Some(b'u') => Some(Placeholder::User),
            Some(b'c') => Some(Placeholder::Client),
            _ => None,
        };
        match placeholder {
            Some(placeholder) => filter.push_str(value_of(placeholder)?),
            None => filter.push('%'),
        }
        text = if placeholder.is_some() {
            after.get(1..).unwrap_or_default()
        } else {
            after
        };
    }
    filter.push_str(text);
    Some(())
}
