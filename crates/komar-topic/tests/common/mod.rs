//! Tables of cases, and a model of matching too simple to be wrong.
#![allow(dead_code)]

use std::collections::HashMap;

/// Rows of a table file: cells between bars, blanks around them removed, `\0` for U+0000 and `\a` for a combining accent.
pub(crate) fn rows<const N: usize>(table: &str) -> Vec<[String; N]> {
    let lines = table
        .lines()
        .filter(|line| !line.starts_with("# ") && !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<String> = line
                .split('|')
                .map(|cell| cell.trim().replace("\\0", "\0").replace("\\a", "\u{301}"))
                .collect();
            cells
                .try_into()
                .unwrap_or_else(|_| panic!("{line}: want {N} cells"))
        })
        .collect()
}

pub(crate) fn yes(cell: &str) -> bool {
    match cell {
        "yes" => true,
        "no" => false,
        other => panic!("{other} is neither yes nor no"),
    }
}

/// MQTT 5.0 §4.7, level by level.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    let fixed = if filter.last() == Some(&"#") {
        &filter[..filter.len() - 1]
    } else {
        &filter[..]
    };
    let deep_enough = if fixed.len() < filter.len() {
        name.len() >= fixed.len()
    } else {
        name.len() == fixed.len()
    };
    deep_enough
        && fixed
            .iter()
            .zip(&name)
            .all(|(filter, name)| *filter == "+" || filter == name)
}

/// How often each thing is in a list.
pub(crate) fn counts<K: std::hash::Hash + Eq>(list: impl IntoIterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    list.into_iter()
        .for_each(|item| *counts.entry(item).or_insert(0) += 1);
    counts
}
