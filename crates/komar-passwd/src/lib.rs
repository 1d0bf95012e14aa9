//! Mosquitto's password files: parse, verify, hash, edit.
//!
//! The kinds of hash that Mosquitto writes are all read: `$6$` (salted SHA-512), `$7$` (PBKDF2-HMAC-SHA-512) and
//! `$argon2id$`. New hashes are argon2id unless another kind is asked for.
//!
//! ```
//! use komar_passwd::{Change, Editor, PasswordFile, PasswordVerdict, Scheme, StoredHash};
//!
//! // Writing: in a real program the salt is 64 random bytes and the scheme is `Scheme::default()`.
//! let mut editor = Editor::new(b"# who may come in\n");
//! let hash = StoredHash::derive(Scheme::Sha512Pbkdf2 { iterations: 1000 }, b"secret", &[42; 64])?;
//! assert_eq!(editor.set("alice", &hash)?, Change::Added);
//!
//! // Reading and checking. A check is a value: run it on a thread that may be slow.
//! let file = PasswordFile::parse(&editor.text())?;
//! let check = file.check("alice", b"secret");
//! let verdict = std::thread::spawn(move || check.run()).join().expect("the check does not panic");
//! assert_eq!(verdict, PasswordVerdict::Accepted { needs_rehash: true });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//! - It starts no threads and does not limit how many checks run: whoever runs them sums up
//!   [`PasswordCheck::memory_cost`].
//! - It makes no random bytes: salts are arguments.
//! - It does not slow down or lock out who guesses.
//! - `$6$` here is not the `$6$` of `crypt(3)`.
//! - Without the feature `std` there is no [`update`]: nothing touches a file.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

extern crate alloc;

mod edit;
mod error;
mod file;
mod line;
mod scheme;
#[cfg(feature = "std")]
mod update;
mod verify;

pub use edit::{Change, Editor, HashedLines, PlainLineError, check_user_name};
pub use error::{
    Field, HashError, PasswordFileError, PasswordFileErrorCause, PasswordFileErrors, UserNameError, Warning,
    WarningCause,
};
pub use file::PasswordFile;
pub use scheme::{Limits, Scheme, StoredHash};
#[cfg(feature = "std")]
pub use update::{Create, UpdateError, UpdateOptions, rewrite, update};
pub use verify::{PasswordCheck, PasswordVerdict};
