//! The nearest known word to an unknown one.

/// Longer words are not compared: no option is nearly that long.
const LONGEST: usize = 64;

/// The candidate that differs least, if it differs little enough to be meant.
pub(crate) fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let allowed = word.len().div_euclid(3).clamp(1, 3);
    candidates
        // Each letter more is an insertion.
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string
/// alignment).
fn distance(from: &[u8], to: &[u8]) -> usize {
    // Three lines of the table, which take turns.
    let mut before: Vec<usize> = Vec::with_capacity(to.len().saturating_add(1));
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut current: Vec<usize> = Vec::with_capacity(above.len());
    let mut last = None;
    for (row, &left) in from.iter().enumerate() {
        current.clear();
        current.push(row.saturating_add(1));
        let mut previous = None;
        for (column, &right) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replace = at(&above, column).saturating_add(usize::from(left != right));
            let delete = at(&above, column.saturating_add(1)).saturating_add(1);
            let insert = at(&current, column).saturating_add(1);
            let swap = match column.checked_sub(1) {
                Some(two_back) if last == Some(right) && previous == Some(left) => {
                    at(&before, two_back).saturating_add(1)
                }
                _ => usize::MAX,
            };
            current.push(replace.min(delete).min(insert).min(swap));
            previous = Some(right);
        }
        last = Some(left);
        std::mem::swap(&mut before, &mut above);
        std::mem::swap(&mut above, &mut current);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listner", "listener", 1),
            ("prot", "port", 1),
            ("kitten", "sitting", 3),
            ("acl_flie", "acl_file", 1),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), expected, "{from} {to}");
            assert_eq!(distance(to.as_bytes(), from.as_bytes()), expected, "{to} {from}");
        }
    }

    #[test]
    fn only_near_words() {
        let known = || ["listener", "port", "user"].into_iter();
        assert_eq!(nearest("Listener", known()), Some("listener"));
        assert_eq!(nearest("lisener", known()), Some("listener"));
        assert_eq!(nearest("banana", known()), None);
        assert_eq!(nearest(&"x".repeat(100_000), known()), None);
    }
}
