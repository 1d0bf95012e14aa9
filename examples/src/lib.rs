//! Examples of the Komar crates.
