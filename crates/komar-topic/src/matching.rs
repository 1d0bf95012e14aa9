//! The only code that knows how one filter matches one name, and how two filters relate.

use crate::TopicFilter;
use crate::filter::is_wildcard;
use crate::levels::level_end;

/// Whether the filter matches the name. Both were checked.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let (mut filter, mut name) = (filter.as_bytes(), name.as_bytes());
    // v3 [MQTT-4.7.2-1], v5 [MQTT-4.7.2-1]
    if name.first() == Some(&b'$') && filter.first().copied().is_some_and(is_wildcard) {
        return false;
    }
    loop {
        // What is equal is skipped in one go; since wildcards fill their level, a wildcard that comes next stands at
        // the beginning of a level in both texts.
        let equal = common_prefix(filter, name);
        let (Some(filter_rest), Some(name_rest)) = (filter.get(equal..), name.get(equal..)) else {
            return false;
        };
        match filter_rest.split_first() {
            None => return name_rest.is_empty(),
            Some((b'#', _)) => return true,
            Some((b'+', rest)) => {
                filter = rest;
                name = after_level(name_rest);
            }
            // `a/#` matches `a`. MQTT 5.0 §4.7.1.2.
            Some((b'/', rest)) => return name_rest.is_empty() && rest == b"#",
            Some(_) => return false,
        }
    }
}

/// Whether `wide` matches every name that `narrow` matches.
pub(crate) fn covers(wide: TopicFilter<'_>, narrow: TopicFilter<'_>) -> bool {
    if dollar_divides(wide, narrow) {
        return false;
    }
    let (mut wide, mut narrow) = (levels(wide), levels(narrow));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None | Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(wide), Some(narrow)) => {
                if wide != narrow {
                    return false;
                }
            }
        }
    }
}

/// Whether there is a name that both filters match.
pub(crate) fn overlaps(one: TopicFilter<'_>, other: TopicFilter<'_>) -> bool {
    if dollar_divides(one, other) || dollar_divides(other, one) {
        return false;
    }
    let (mut one, mut other) = (levels(one), levels(other));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(one), Some(other)) => {
                if one != other {
                    return false;
                }
            }
        }
    }
}

/// How many bytes the two have in common from the start.
pub(crate) fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    // Eight bytes a step.
    let (chunks, _) = one.as_chunks::<8>();
    let (other_chunks, _) = other.as_chunks::<8>();
    let mut equal = 0_usize;
    for (a, b) in chunks.iter().zip(other_chunks) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            let bytes = usize::try_from(different.trailing_zeros() >> 3).unwrap_or(0);
            return equal.saturating_add(bytes);
        }
        equal = equal.saturating_add(8);
    }
    let rest = one
        .get(equal..)
        .unwrap_or_default()
        .iter()
        .zip(other.get(equal..).unwrap_or_default());
    equal.saturating_add(rest.take_while(|(a, b)| a == b).count())
}

/// What follows the level that `text` begins with: empty, or a slash and more.
fn after_level(text: &[u8]) -> &[u8] {
    text.get(level_end(text)..).unwrap_or_default()
}

/// Levels of a filter, with `#` written as `+/#` and `/#` as `/+/#`: no name is empty, so that the two match the same
/// names.
fn levels(filter: TopicFilter<'_>) -> impl Iterator<Item = &str> {
    let text = match filter.as_str() {
        "#" => "+/#",
        "/#" => "/+/#",
        text => text,
    };
    text.split('/')
}

/// Whether `other` matches only names that begin with `$`, which `filter` cannot reach. v5 [MQTT-4.7.2-1]
fn dollar_divides(filter: TopicFilter<'_>, other: TopicFilter<'_>) -> bool {
    filter.starts_with_wildcard() && other.as_str().starts_with('$')
}
