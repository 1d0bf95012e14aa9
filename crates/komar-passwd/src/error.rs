//! What can be wrong with a stored hash, a user name or a password file.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a text is not a usable stored hash.
///
/// No variant repeats what was written: it may be a password in plain text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The text does not begin with `$6$`, `$7$` or `$argon2id$`.
    #[error("not a hash of a known kind ($argon2id$, $7$ or $6$)")]
    UnknownScheme,
    /// A part between two `$` is not there.
    #[error("the {field} is missing")]
    Missing {
        /// Which part.
        field: Field,
    },
    /// A part is not base64 of the form that its scheme asks for.
    #[error("the {field} is not base64{}", padding_of(*.padded))]
    Base64 {
        /// Which part.
        field: Field,
        /// Whether the scheme wants `=` at the end.
        padded: bool,
    },
    /// A part has a length that its scheme does not allow.
    #[error("the {field} has {found} bytes, which this kind of hash cannot have")]
    Length {
        /// Which part.
        field: Field,
        /// How many bytes it decodes to.
        found: usize,
    },
    /// A cost parameter is not a number in its range, or is not where it must be.
    #[error("the {field} is not a number that is allowed there")]
    Parameter {
        /// Which parameter.
        field: Field,
    },
    /// A password for `$7$` ends with U+0000: HMAC pads short keys with zeros, so that the hash would be that of the
    /// password without it. Such hashes are neither made nor matched.
    #[error("a $7$ hash cannot keep a password that ends with U+0000")]
    TrailingNul,
    /// A cost is a legal number, but above the limit that protects who runs the check.
    #[error("the {field} is {found}, more than the {limit} that is allowed here")]
    TooCostly {
        /// Which parameter.
        field: Field,
        /// What the text asks for.
        found: u64,
        /// What [`Limits`](crate::Limits) allows.
        limit: u64,
    },
}

/// A part of a stored hash, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// The random bytes hashed with the password.
    Salt,
    /// What the hash function gave.
    Digest,
    /// How often PBKDF2 hashes.
    Iterations,
    /// Argon2's version, `v=19`.
    Version,
    /// Argon2's memory in KiB, `m=`.
    Memory,
    /// Argon2's number of passes, `t=`.
    Passes,
    /// Argon2's number of lanes, `p=`.
    Lanes,
    /// Argon2's memory times passes, in KiB.
    Work,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Salt => "salt",
            Self::Digest => "digest",
            Self::Iterations => "number of iterations",
            Self::Version => "version (v=)",
            Self::Memory => "memory in KiB (m=)",
            Self::Passes => "number of passes (t=)",
            Self::Lanes => "number of lanes (p=)",
            Self::Work => "memory in KiB times passes",
        })
    }
}

/// Why a name cannot stand in a password file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserNameError {
    /// The name has no characters.
    #[error("the user name is empty")]
    Empty,
    /// Longer than MQTT can carry.
    #[error("the user name has {length} bytes, more than 65535")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A colon ends the name in the file.
    #[error("the user name contains a colon, which ends the name in a password file")]
    Colon,
    /// A line break, tab or other control character.
    #[error("the user name contains the control character {character:?}")]
    Control {
        /// Which one.
        character: char,
    },
    /// Blanks at the ends are cut when the file is read.
    #[error("the user name begins or ends with a blank, which is cut when the file is read")]
    Blank,
    /// A line that begins with `#` is a comment.
    #[error("the user name begins with '#', which makes the line a comment")]
    Comment,
    /// U+FEFF at the start of a file counts as a mark of its encoding in many programs.
    #[error("the user name begins with the invisible character U+FEFF, a byte order mark")]
    ByteOrderMark,
}

/// One line of a password file that makes the whole file invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordFileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub cause: PasswordFileErrorCause,
}

/// What can be wrong with a line of a password file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordFileErrorCause {
    /// The line has a colon and no name before it.
    #[error("there is no user name before the colon")]
    EmptyName,
    /// The name is longer than MQTT can carry.
    #[error("the user name has {length} bytes, more than 65535")]
    NameTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The name stands on an earlier line too.
    #[error("user {name:?} already stands on line {first_line}; delete one of the two lines")]
    Duplicate {
        /// The name, with what is not UTF-8 replaced.
        name: String,
        /// Where it stood first, from 1.
        first_line: usize,
    },
    /// What follows the colon is not a hash.
    #[error("{cause}; set this user's password again, or run `passwd -U` if the file holds plain text")]
    Hash {
        /// Why not.
        cause: HashError,
    },
    /// U+0000, which other readers take for the end of the file.
    #[error("the line contains a NUL byte")]
    Nul,
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.cause)
    }
}

impl core::error::Error for PasswordFileError {}

/// The errors of a password file, in the order of its lines; never empty.
///
/// At most [`MAXIMUM`](Self::MAXIMUM) of them: a file of another kind may have one on every line, and a broker must survive
/// to be told to read such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordFileErrors {
    pub(crate) errors: Vec<PasswordFileError>,
    pub(crate) omitted: usize,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) warnings_omitted: usize,
}

impl PasswordFileErrors {
    /// So many errors are kept, and so many warnings.
    pub const MAXIMUM: usize = 1000;

    /// How many more lines have an error.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// How many more lines are odd.
    #[must_use]
    pub fn warnings_omitted(&self) -> usize {
        self.warnings_omitted
    }

    /// The errors in the order of their lines.
    pub fn iter(&self) -> core::slice::Iter<'_, PasswordFileError> {
        self.errors.iter()
    }

    /// What is odd in the other lines, in their order.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl<'a> IntoIterator for &'a PasswordFileErrors {
    type Item = &'a PasswordFileError;
    type IntoIter = core::slice::Iter<'a, PasswordFileError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PasswordFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\nand {omitted} more lines with errors"),
        }
    }
}

impl core::error::Error for PasswordFileErrors {}

/// A line that does no harm but cannot do what its writer may have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is odd.
    pub cause: WarningCause,
}

/// What a [`Warning`] is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WarningCause {
    /// A line without a colon is skipped.
    #[error("the line has no colon and is ignored; begin it with # if it is a comment")]
    Ignored,
    /// The user exists and can never log in: argon2id text that cannot be used, or a cost above the limits.
    #[error("this user can never log in: {cause}")]
    Unusable {
        /// Why.
        cause: HashError,
    },
    /// The file begins with a byte order mark, which becomes part of the first name.
    #[error("the file begins with a byte order mark, which is part of the first user name; save it without")]
    ByteOrderMark,
    /// The name is not UTF-8, so that no MQTT client can present it.
    #[error("the user name is not UTF-8; no client can log in with it")]
    NotUtf8,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.cause)
    }
}

fn padding_of(padded: bool) -> &'static str {
    if padded {
        " with padding"
    } else {
        " without padding"
    }
}
