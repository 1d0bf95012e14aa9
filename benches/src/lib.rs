//! Benchmarks of the Komar crates.
