//! Changing a password file without losing a line.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{HashError, UserNameError};
use crate::file::MAXIMUM_NAME;
use crate::line::{Entry, Line, are_colons_at_the_end, column};
use crate::scheme::{Limits, StoredHash};

/// The text of a password file, changed line by line.
///
/// Comments, blank lines and lines that mean nothing stay byte for byte, line ends (LF or CRLF) too.
///
/// ```
/// use komar_passwd::{Change, Editor, Scheme, StoredHash};
/// let mut editor = Editor::new(b"# staff\n\nnot an entry\n");
/// let hash = StoredHash::derive(Scheme::Sha512, b"secret", &[1; 12])?;
/// assert_eq!(editor.set("alice", &hash)?, Change::Added);
/// assert!(editor.text().starts_with(b"# staff\n\nnot an entry\nalice:$6$"));
/// assert!(editor.remove("alice"));
/// assert_eq!(&*editor.text(), b"# staff\n\nnot an entry\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Editor {
    /// With their line ends; wiped on drop, since plain text may be among them.
    lines: Vec<Zeroizing<Vec<u8>>>,
}

/// What [`Editor::set`] did; there is nothing else to do with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The user was not there and stands at the end now.
    Added,
    /// The user's hash was replaced where it stood.
    Updated,
}

/// What [`Editor::hash_plain_lines`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HashedLines {
    /// Lines whose password was plain text and is a hash now.
    pub hashed: usize,
    /// Lines left alone because they held a hash.
    pub already_hashed: usize,
}

/// Why [`Editor::hash_plain_lines`] changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainLineError<E> {
    /// A line has no user name or no password.
    #[error("line {line}, column {column}: a user name and a password are needed around the colon")]
    Incomplete {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// The user name is not UTF-8, so that no client has it.
    #[error("line {line}, column 1: the user name is not UTF-8, so that no client has it; delete this user")]
    NameNotUtf8 {
        /// Line, from 1.
        line: usize,
    },
    /// A second colon: nobody can tell whether it belongs to the password.
    #[error("line {line}, column {column}: a second colon: set this user's password by itself")]
    SecondColon {
        /// Line, from 1.
        line: usize,
        /// Column of that colon in characters, from 1.
        column: usize,
    },
    /// Begins like a hash, but cannot be read as one: a damaged hash, hashed once more, would be lost for good.
    #[error(
        "line {line}, column {column}: it begins like a hash, but {cause}; set this user's password by itself"
    )]
    DamagedHash {
        /// Line, from 1.
        line: usize,
        /// Column of the hash in characters, from 1.
        column: usize,
        /// What is wrong with it.
        cause: HashError,
    },
    /// The user stands on an earlier line too: nobody can tell which password counts.
    #[error("line {line}, column 1: this user stands on line {first_line} already")]
    Duplicate {
        /// Line, from 1.
        line: usize,
        /// The first line of this user.
        first_line: usize,
    },
    /// The file begins with U+FEFF, which would be a part of the first user's name.
    #[error("line 1, column 1: the file begins with a byte order mark (U+FEFF): delete it")]
    ByteOrderMark,
    /// The caller's hash function failed.
    #[error(transparent)]
    Hash(E),
}

struct PlainLine<'a> {
    index: usize,
    name: &'a str,
    password: &'a [u8],
}

impl Editor {
    /// Takes a file's text; an empty one is an empty file.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        Self {
            lines: text
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| Zeroizing::new(line.into()))
                .collect(),
        }
    }

    /// Gives `user` this hash, in place or on a new last line.
    ///
    /// If the user stands on several lines (which no broker loads) the first is replaced and the others go. What
    /// follows a second colon stays.
    ///
    /// # Errors
    /// [`UserNameError`] if the file cannot hold that name; nothing is changed then.
    pub fn set(&mut self, user: &str, hash: &StoredHash) -> Result<Change, UserNameError> {
        check_user_name(user)?;
        let mut found = false;
        self.lines.retain_mut(|line| {
            let Some(entry) = entry_of(line, user.as_bytes()) else {
                return true;
            };
            let first = !core::mem::replace(&mut found, true);
            if first {
                let replaced = written(user, hash, entry.rest, line_end(line));
                **line = replaced;
            }
            first
        });
        if found {
            return Ok(Change::Updated);
        }
        let end = self.usual_line_end();
        let added = Zeroizing::new(written(user, hash, b"", end));
        match self.lines.pop() {
            // They would be an error with a line behind them.
            Some(last) if are_colons_at_the_end(&last) => self.lines.extend([added, last]),
            Some(mut last) => {
                if line_end(&last).is_empty() {
                    last.extend_from_slice(end);
                }
                self.lines.extend([last, added]);
            }
            None => self.lines.push(added),
        }
        Ok(Change::Added)
    }

    /// Takes `user` out of the file; `false` if it was not in there. A name that is not UTF-8 goes too.
    pub fn remove(&mut self, user: impl AsRef<[u8]>) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| entry_of(line, user.as_ref()).is_none());
        self.lines.len() < before
    }

    /// Replaces plain text passwords by what `hash` makes of them; lines that hold a hash already stay as they are.
    ///
    /// Passwords are trimmed, as Mosquitto does. Either all lines are hashed or none.
    ///
    /// # Errors
    /// [`PlainLineError`] at the first line that cannot be hashed, also a damaged hash and a repeated user, or what `hash`
    /// returned.
    pub fn hash_plain_lines<E>(
        &mut self,
        mut hash: impl FnMut(&str, &[u8]) -> Result<StoredHash, E>,
    ) -> Result<HashedLines, PlainLineError<E>> {
        let mut counts = HashedLines::default();
        let mut changed = Vec::new();
        // All lines are looked at first: hashing takes its time by intent.
        for PlainLine {
            index,
            name,
            password,
        } in self.plain_lines(&mut counts)?
        {
            let stored = hash(name, password).map_err(PlainLineError::Hash)?;
            let end = self.lines.get(index).map_or(&b""[..], |line| line_end(line));
            changed.push((index, written(name, &stored, b"", end)));
        }
        counts.hashed = changed.len();
        for (index, text) in changed {
            if let Some(line) = self.lines.get_mut(index) {
                line.zeroize();
                **line = text;
            }
        }
        Ok(counts)
    }

    /// The lines with plain text; those with hashes are counted.
    fn plain_lines<E>(&self, counts: &mut HashedLines) -> Result<Vec<PlainLine<'_>>, PlainLineError<E>> {
        let mut plain = Vec::new();
        let mut seen = BTreeMap::new();
        if self
            .lines
            .first()
            .is_some_and(|line| line.starts_with(BYTE_ORDER_MARK.as_bytes()))
        {
            return Err(PlainLineError::ByteOrderMark);
        }
        for (index, line) in self.lines.iter().enumerate() {
            if are_colons_at_the_end(line) {
                continue;
            }
            let number = index.saturating_add(1);
            let Line::Entry(entry) = Line::parse(without_end(line)) else {
                continue;
            };
            if let Some(first_line) = seen.insert(entry.name, number) {
                return Err(PlainLineError::Duplicate {
                    line: number,
                    first_line,
                });
            }
            if begins_like_hash(entry.hash) {
                parse_unlimited(entry.hash).map_err(|cause| PlainLineError::DamagedHash {
                    line: number,
                    column: column(line, entry.hash_at),
                    cause,
                })?;
                counts.already_hashed = counts.already_hashed.saturating_add(1);
                continue;
            }
            let name =
                core::str::from_utf8(entry.name).map_err(|_| PlainLineError::NameNotUtf8 { line: number })?;
            if name.is_empty() || entry.hash.is_empty() {
                return Err(PlainLineError::Incomplete {
                    line: number,
                    column: 1,
                });
            }
            if !entry.rest.is_empty() {
                let colon = without_end(line).len().saturating_sub(entry.rest.len());
                return Err(PlainLineError::SecondColon {
                    line: number,
                    column: column(line, colon),
                });
            }
            plain.push(PlainLine {
                index,
                name,
                password: entry.hash,
            });
        }
        Ok(plain)
    }

    /// Whether the file has a line of this user.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.lines
            .iter()
            .any(|line| entry_of(line, user.as_bytes()).is_some())
    }

    /// The file's text as it is now.
    #[must_use]
    pub fn text(&self) -> Zeroizing<Vec<u8>> {
        let length = self
            .lines
            .iter()
            .fold(0_usize, |sum, line| sum.saturating_add(line.len()));
        let mut text = Vec::with_capacity(length); // once, so that no copy is left behind by growing
        self.lines.iter().for_each(|line| text.extend_from_slice(line));
        Zeroizing::new(text)
    }

    fn usual_line_end(&self) -> &'static [u8] {
        if self.lines.first().is_some_and(|line| line.ends_with(b"\r\n")) {
            b"\r\n"
        } else {
            b"\n"
        }
    }
}

/// Counts the lines only: they hold hashes, perhaps passwords.
impl core::fmt::Debug for Editor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Editor")
            .field("lines", &self.lines.len())
            .finish_non_exhaustive()
    }
}

/// Whether a name can be written to a password file and read back as the same.
///
/// # Errors
/// [`UserNameError`] says why not.
pub fn check_user_name(name: &str) -> Result<(), UserNameError> {
    if name.is_empty() {
        return Err(UserNameError::Empty);
    }
    if name.len() > MAXIMUM_NAME {
        return Err(UserNameError::TooLong { length: name.len() });
    }
    if name.contains(':') {
        return Err(UserNameError::Colon);
    }
    if let Some(character) = name.chars().find(|character| character.is_control()) {
        return Err(UserNameError::Control { character });
    }
    if name.starts_with(' ') || name.ends_with(' ') {
        return Err(UserNameError::Blank);
    }
    if name.starts_with('#') {
        return Err(UserNameError::Comment);
    }
    if name.starts_with(BYTE_ORDER_MARK) {
        return Err(UserNameError::ByteOrderMark);
    }
    Ok(())
}

fn entry_of<'a>(line: &'a [u8], user: &[u8]) -> Option<Entry<'a>> {
    match Line::parse(without_end(line)) {
        Line::Entry(entry) if entry.name == user => Some(entry),
        _ => None,
    }
}

fn written(user: &str, hash: &StoredHash, rest: &[u8], end: &[u8]) -> Vec<u8> {
    let hash = alloc::string::ToString::to_string(hash);
    [user.as_bytes(), b":", hash.as_bytes(), rest, end].concat()
}

/// Texts that nobody chooses as a password: a hash, if it is whole.
fn begins_like_hash(text: &[u8]) -> bool {
    [&b"$6$"[..], b"$7$", b"$argon2"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// A hash whatever its costs.
fn parse_unlimited(text: &[u8]) -> Result<StoredHash, HashError> {
    let unlimited = Limits {
        memory_kib: u32::MAX,
        work_kib: u64::MAX,
        lanes: u32::MAX,
        iterations: u32::MAX,
        field_bytes: usize::MAX,
    };
    StoredHash::parse_bytes(text, &unlimited)
}

fn line_end(line: &[u8]) -> &'static [u8] {
    if line.ends_with(b"\r\n") {
        b"\r\n"
    } else if line.ends_with(b"\n") {
        b"\n"
    } else {
        b""
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(line_end(line)).unwrap_or(line)
}

const BYTE_ORDER_MARK: &str = "\u{feff}";
