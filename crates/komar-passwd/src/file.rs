//! A password file as a broker reads it: users and their hashes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha512};

use crate::error::{
    HashError, PasswordFileError, PasswordFileErrorCause, PasswordFileErrors, Warning, WarningCause,
};
use crate::line::{Entry, Line, are_colons_at_the_end, column, lines};
use crate::scheme::{ARGON2ID, Limits, Scheme, StoredHash};
use crate::verify::PasswordCheck;

/// The users of a password file.
///
/// ```
/// use komar_passwd::{PasswordFile, PasswordVerdict};
/// let text = b"# two users\nalice:$6$c2FsdHNhbHRzYWx0$3aiBbchfIZo+1WYrkPzJjQxZ79F/NmwLQ+wF073kTd+6ANhaic8G/jWF/X4sqSFUKpLNdm1FZjBck6HQ8knM3A==\n";
/// let file = PasswordFile::parse(text)?;
/// let check = file.check("alice", b"secret"); // a value: send it to a thread that may be slow
/// assert_eq!(check.run(), PasswordVerdict::Accepted { needs_rehash: true });
/// assert_eq!(file.check("mallory", b"secret").run(), PasswordVerdict::Refused);
/// # Ok::<(), komar_passwd::PasswordFileErrors>(())
/// ```
#[derive(Clone)]
pub struct PasswordFile {
    /// `None` for a user that can never log in.
    users: BTreeMap<Box<str>, Option<Arc<StoredHash>>>,
    /// What is checked for somebody who does not exist; never empty.
    decoys: Vec<Arc<StoredHash>>,
    /// Secret, because the digests are: nobody outside can compute who gets which decoy.
    decoy_key: [u8; 64],
    warnings: Vec<Warning>,
    warnings_omitted: usize,
}

impl PasswordFile {
    /// Reads a whole file, with the default [`Limits`].
    ///
    /// One `NAME:HASH` a line, both trimmed; what follows a second colon is ignored, lines that begin with `#` and
    /// lines without a colon are skipped. An argon2id hash that cannot be used, and any cost above the limits, is a
    /// [warning](Self::warnings): the file loads and that user cannot log in.
    ///
    /// # Errors
    /// All lines at once (as far as [`PasswordFileErrors::MAXIMUM`]) that hold an empty or repeated name, no hash, a NUL
    /// byte, or a hash that cannot be read.
    pub fn parse(text: &[u8]) -> Result<Self, PasswordFileErrors> {
        Self::parse_within(text, &Limits::default())
    }

    /// Like [`parse`](Self::parse), with the caller's limits.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_within(text: &[u8], limits: &Limits) -> Result<Self, PasswordFileErrors> {
        let mut reader = Reader::new(limits);
        let mut lines = lines(text).peekable();
        while let Some((number, line)) = lines.next() {
            let is_end = lines.peek().is_none() && !text.ends_with(b"\n");
            if !(is_end && are_colons_at_the_end(line)) {
                reader.line(number, line);
            }
        }
        reader.finish()
    }

    /// A check of this user's password, to be run where it may be slow.
    ///
    /// For a user that does not exist the check does the work of some user who does, always the same one, so that
    /// time does not tell which names exist.
    pub fn check(&self, username: &str, password: &[u8]) -> PasswordCheck {
        let decoy = self.decoy(username);
        match self.users.get(username) {
            Some(Some(stored)) => PasswordCheck::new(Arc::clone(stored), password, true),
            Some(None) | None => PasswordCheck::new(decoy, password, false),
        }
    }

    /// Whether the file names this user, also one that can never log in.
    #[must_use]
    pub fn contains(&self, username: &str) -> bool {
        self.users.contains_key(username)
    }

    /// This user's hash; `None` for one that does not exist or can never log in.
    ///
    /// Two files can be compared with it after a reload, to find whose password changed.
    #[must_use]
    pub fn stored(&self, username: &str) -> Option<&StoredHash> {
        self.users.get(username)?.as_deref()
    }

    /// As [`stored`](Self::stored), to be kept beyond the life of the file: what a login rested on, to be compared after a
    /// reload.
    #[must_use]
    pub fn stored_shared(&self, username: &str) -> Option<&Arc<StoredHash>> {
        self.users.get(username)?.as_ref()
    }

    /// The names in the file, sorted by their bytes.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &str> {
        self.users.keys().map(AsRef::as_ref)
    }

    /// How many users the file names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether the file names nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What is odd in the file but does not make it invalid, in the order of its lines. At most
    /// [`PasswordFileErrors::MAXIMUM`] are kept.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// How many more there are.
    #[must_use]
    pub fn warnings_omitted(&self) -> usize {
        self.warnings_omitted
    }

    fn decoy(&self, username: &str) -> Arc<StoredHash> {
        let hash = Sha512::new()
            .chain_update(self.decoy_key)
            .chain_update(username)
            .finalize();
        let number = hash
            .iter()
            .take(8)
            .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        let count = u64::try_from(self.decoys.len()).unwrap_or(u64::MAX);
        let chosen = number
            .checked_rem(count)
            .and_then(|index| usize::try_from(index).ok())
            .unwrap_or_default();
        self.decoys.get(chosen).map_or_else(nobody, Arc::clone)
    }
}

/// Names and warnings only.
impl core::fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PasswordFile")
            .field("users", &self.users.keys())
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

struct Reader<'a> {
    limits: &'a Limits,
    users: BTreeMap<Box<str>, Option<Arc<StoredHash>>>,
    /// Every name with its line, those that are not UTF-8 too.
    seen: BTreeMap<&'a [u8], usize>,
    errors: Vec<PasswordFileError>,
    /// Errors that are counted only.
    omitted: usize,
    warnings: Vec<Warning>,
    warnings_omitted: usize,
}

impl<'a> Reader<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            users: BTreeMap::new(),
            seen: BTreeMap::new(),
            errors: Vec::new(),
            omitted: 0,
            warnings: Vec::new(),
            warnings_omitted: 0,
        }
    }

    fn line(&mut self, number: usize, line: &'a [u8]) {
        if let Some(position) = line.iter().position(|byte| *byte == 0) {
            return self.error(number, column(line, position), PasswordFileErrorCause::Nul);
        }
        if number == 1 && line.starts_with("\u{feff}".as_bytes()) {
            self.warn(number, 1, WarningCause::ByteOrderMark);
        }
        match Line::parse(line) {
            Line::Blank | Line::Comment => {}
            Line::Other => self.warn(number, 1, WarningCause::Ignored),
            Line::Entry(entry) => self.entry(number, line, entry),
        }
    }

    fn entry(&mut self, number: usize, line: &[u8], entry: Entry<'a>) {
        // What stands behind colons that begin a line is its name to Mosquitto, and then there is no hash.
        let is_hash_only = line.first() == Some(&b':') && entry.hash.is_empty();
        if entry.name.is_empty() || is_hash_only {
            return self.error(number, 1, PasswordFileErrorCause::EmptyName);
        }
        let length = entry.name.len();
        if length > MAXIMUM_NAME {
            return self.error(number, 1, PasswordFileErrorCause::NameTooLong { length });
        }
        if let Some(first_line) = self.seen.get(entry.name) {
            let (name, first_line) = (String::from_utf8_lossy(entry.name).into_owned(), *first_line);
            return self.error(number, 1, PasswordFileErrorCause::Duplicate { name, first_line });
        }
        self.seen.insert(entry.name, number);
        let at = column(line, entry.hash_at);
        let stored = match self.hash(entry.hash) {
            Ok(stored) => Some(Arc::new(stored)),
            Err(cause) if is_tolerated(entry.hash, &cause) => {
                self.warn(number, at, WarningCause::Unusable { cause });
                None
            }
            Err(cause) => return self.error(number, at, PasswordFileErrorCause::Hash { cause }),
        };
        match core::str::from_utf8(entry.name) {
            Ok(name) => drop(self.users.insert(name.into(), stored)),
            Err(_) => self.warn(number, 1, WarningCause::NotUtf8),
        }
    }

    fn hash(&self, text: &[u8]) -> Result<StoredHash, HashError> {
        StoredHash::parse_bytes(text, self.limits)
    }

    fn error(&mut self, line: usize, column: usize, cause: PasswordFileErrorCause) {
        if self.errors.len() < PasswordFileErrors::MAXIMUM {
            self.errors.push(PasswordFileError { line, column, cause });
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    fn warn(&mut self, line: usize, column: usize, cause: WarningCause) {
        if self.warnings.len() < PasswordFileErrors::MAXIMUM {
            self.warnings.push(Warning { line, column, cause });
        } else {
            self.warnings_omitted = self.warnings_omitted.saturating_add(1);
        }
    }

    fn finish(self) -> Result<PasswordFile, PasswordFileErrors> {
        if !self.errors.is_empty() {
            return Err(PasswordFileErrors {
                errors: self.errors,
                omitted: self.omitted,
                warnings: self.warnings,
                warnings_omitted: self.warnings_omitted,
            });
        }
        let mut decoys: Vec<_> = self.users.values().flatten().map(Arc::clone).collect();
        let key = decoys
            .iter()
            .fold(Sha512::new(), |hash, stored| hash.chain_update(&stored.digest));
        if decoys.is_empty() {
            decoys.push(nobody());
        }
        Ok(PasswordFile {
            users: self.users,
            decoys,
            decoy_key: key.finalize().into(),
            warnings: self.warnings,
            warnings_omitted: self.warnings_omitted,
        })
    }
}

/// Mosquitto takes any text after `$argon2id$` and lets nobody in with it; a cost is a matter of our limits only.
fn is_tolerated(text: &[u8], cause: &HashError) -> bool {
    text.starts_with(ARGON2ID.as_bytes()) || matches!(cause, HashError::TooCostly { .. })
}

/// A hash of no password, for a file in which nobody can log in: there is no user to hide, so it is cheap.
fn nobody() -> Arc<StoredHash> {
    Arc::new(StoredHash {
        scheme: Scheme::Sha512,
        salt: Box::new([0; 12]),
        digest: Box::new([0; crate::scheme::DIGEST_BYTES]),
        version: crate::scheme::Argon2Version::V19,
    })
}

/// MQTT's longest string, in bytes. MQTT 5.0 §1.5.4.
pub(crate) const MAXIMUM_NAME: usize = 65_535;
