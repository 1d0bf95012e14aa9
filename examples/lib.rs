//! Programs that show how Komar's crates are used; see the files beside this one. Each is run by `cargo test`.

/// The README's Rust, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
