//! How a walk over sorted names by a filter goes on from a name.

use core::cmp::Ordering;

use super::order::compare;
use crate::TopicFilter;
use crate::matching::matches;

/// What a walk does with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'n> {
    /// It matches.
    Hit,
    /// It matches, and so does everything behind it that is below this.
    HitBelow(&'n str),
    /// It matches, and so does everything behind it that is before this.
    HitUpTo(&'n str),
    /// It matches, and so does everything behind it.
    HitAll,
    /// It does not, the next one might.
    Next,
    /// Nothing matches before `prefix` followed by `level`.
    To { prefix: &'n str, level: &'n str },
    /// Nothing matches that is this or below it.
    Past(&'n str),
    /// Nothing matches that comes behind.
    End,
}

/// Above all that begins with `$`, and nothing comes between.
const BEHIND_DOLLAR: &str = "%";

/// Looks at one name. The walk has passed all that come before it.
pub(super) fn step<'n>(filter: &'n str, name: &'n str) -> Step<'n> {
    if matches(filter, name) {
        return hit(filter, name);
    }
    // v5 [MQTT-4.7.2-1]
    if name.starts_with('$') && TopicFilter::from_checked(filter).starts_with_wildcard() {
        return Step::To {
            prefix: "",
            level: BEHIND_DOLLAR,
        };
    }
    // Up to the last level that `+` took: the next name to look at differs there at the latest.
    let mut last_plus = None;
    let mut start = 0_usize;
    for level in filter.split('/') {
        let Some(rest) = name.get(start..) else {
            return Step::Next;
        };
        let end = rest
            .find('/')
            .map_or(name.len(), |slash| start.saturating_add(slash));
        match level {
            "#" => return Step::Next,
            "+" => last_plus = name.get(..end),
            literal => match name.get(start..end).unwrap_or_default().cmp(literal) {
                Ordering::Equal => {}
                Ordering::Less => {
                    return Step::To {
                        prefix: name.get(..start).unwrap_or_default(),
                        level: literal,
                    };
                }
                Ordering::Greater => return last_plus.map_or(Step::End, Step::Past),
            },
        }
        // Beyond the end of the name if this was its last level.
        start = end.saturating_add(1);
    }
    // The name goes deeper than the filter.
    name.get(..start.saturating_sub(1)).map_or(Step::Next, Step::Past)
}

fn hit<'n>(filter: &str, name: &'n str) -> Step<'n> {
    let Some(fixed) = filter.strip_suffix("/#") else {
        return match filter {
            // v5 [MQTT-4.7.2-1]
            "#" if compare(name, "$").is_lt() => Step::HitUpTo("$"),
            "#" => Step::HitAll,
            _ => Step::Hit,
        };
    };
    let slashes = fixed.bytes().filter(|byte| *byte == b'/').count();
    match name.match_indices('/').nth(slashes) {
        Some((end, _)) => name.get(..end).map_or(Step::Hit, Step::HitBelow),
        None => Step::HitBelow(name),
    }
}

/// What every match begins with: the levels before the first wildcard.
pub(super) fn literal_prefix(filter: &str) -> &str {
    let end = filter
        .find(['+', '#'])
        .map_or(filter.len(), |wildcard| wildcard.saturating_sub(1));
    filter.get(..end).unwrap_or_default()
}
