//! Cases as data: lines of cells between bars.

/// The rows of a table: blank lines and lines that begin with `#` are left out, cells are trimmed.
pub(crate) fn rows<const N: usize>(text: &str) -> Vec<[&str; N]> {
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(cells).collect()
}

fn cells<const N: usize>(line: &str) -> [&str; N] {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let found = cells.len();
    cells
        .try_into()
        .unwrap_or_else(|_| panic!("{found} cells instead of {N}: {line}"))
}
