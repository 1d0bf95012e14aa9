//! The behaviour of komar-passwd, as tables and properties.
#![allow(missing_docs)]

mod edit;
mod files;
mod hashes;
#[cfg(all(feature = "std", unix))]
mod update;
mod vectors;
