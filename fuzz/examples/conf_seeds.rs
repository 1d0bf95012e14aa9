//! Writes the seeds of the target `conf` from the tables of komar-conf's tests.

use std::fs;
use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("corpus/conf");
    fs::create_dir_all(&folder).unwrap();
    for table in [
        "bridges",
        "general",
        "grammar",
        "include",
        "listeners",
        "security",
    ] {
        let path = root
            .join("../crates/komar-conf/tests/data")
            .join(table)
            .with_extension("cases");
        let text = fs::read_to_string(path).unwrap();
        for (number, case) in text.split("\n=== ").skip(1).enumerate() {
            fs::write(folder.join(format!("{table}-{number:02}")), seed(case)).unwrap();
        }
    }
}

/// The files of a case. What stands in grammar.cases for other bytes becomes these; what ends a file is left out.
fn seed(case: &str) -> Vec<u8> {
    let (_, rest) = case.split_once('\n').unwrap();
    let input = format!("\n{rest}").split("\n---\n").next().unwrap().to_owned();
    let input = input
        .trim_start_matches('\n')
        .replace("<TAB>", "\t")
        .replace("<CR>", "\r")
        .replace("<NUL>", "\0")
        .replace("<BOM>", "\u{feff}")
        .replace("<FF>", "\u{c}")
        .replace("<END>", "");
    let mut bytes = Vec::new();
    for line in input.lines() {
        match line.strip_prefix("@file ") {
            Some(_) => bytes.push(0xff),
            None => {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
        }
    }
    bytes
}
