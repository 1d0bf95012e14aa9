//! Checks and generators of the project: `cargo xtask`.

mod broken;
mod compliance;
mod manual;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The workspace's root, wherever the command is given.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let result = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["compliance"] => compliance::write(root),
        ["compliance", "--check"] => compliance::check(root),
        ["draw", seed] => broken::draw(root, seed),
        ["broken", "--check"] => broken::check(root),
        ["broken"] => broken::run(root, ""),
        ["broken", id] => broken::run(root, id),
        ["manual"] => manual::write(root),
        ["manual", "--check"] => manual::check(root),
        _ => Err(
            "usage: cargo xtask compliance | manual [--check], draw SEED, broken [--check | ID]".to_owned(),
        ),
    };
    match result {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
