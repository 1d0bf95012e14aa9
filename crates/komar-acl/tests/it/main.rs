//! The behaviour of komar-acl, as tables and properties.
#![allow(missing_docs)]

mod decisions;
mod errors;
mod explain;
mod format;
mod lints;
mod oracle;
mod properties;
mod strict;
mod vectors;

/// `\n`, `\t`, `\r`, `\0` and `\xHH` in a table's cell.
fn unescape(cell: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = cell;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        bytes.push(match kind {
            "n" => b'\n',
            "t" => b'\t',
            "r" => b'\r',
            "0" => 0,
            "x" => {
                rest = &after[2..];
                u8::from_str_radix(&after[..2], 16).unwrap()
            }
            other => panic!("\\{other} in {cell}"),
        });
    }
    bytes.extend(rest.bytes());
    bytes
}

/// The rows of a table, cut into cells, without comments.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table
        .lines()
        .filter(|line| !line.starts_with("##") && !line.is_empty())
        .map(|line| {
            let cells = line.split(" | ").map(str::trim).collect::<Vec<_>>();
            cells.try_into().unwrap_or_else(|cells| panic!("{cells:?}"))
        })
}
