//! Stores for tests: one in memory that does what a test says, one in a file that is too simple to be fast.

mod delayed;
mod file;

pub use delayed::{DelayedStore, Distortion};
pub use file::FileStore;
