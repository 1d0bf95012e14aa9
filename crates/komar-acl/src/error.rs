//! What makes an ACL file invalid.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use komar_topic::TopicError;

/// One error of an ACL file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AclError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub cause: AclErrorCause,
}

/// What can be wrong with a line. Words are cut to a length that fits in a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AclErrorCause {
    /// A NUL byte. Other readers take it for the end of the file and lose every rule after it.
    #[error("the line contains a NUL byte")]
    Nul,
    /// The file begins with a byte order mark.
    #[error("the file begins with a byte order mark")]
    ByteOrderMark,
    /// `#` after blanks does not begin a comment.
    #[error("a comment must begin in the first column")]
    IndentedComment,
    /// A tab where a space belongs.
    #[error("a tab does not separate words")]
    Tab,
    /// The line begins with none of the keywords.
    #[error("unknown keyword {word:?}")]
    UnknownKeyword {
        /// What stands there.
        word: String,
        /// A keyword that looks like it.
        suggestion: Option<&'static str>,
    },
    /// `group`, `member`, `readdeny` or `writedeny` without [`extensions`](crate::ParseOptions::extensions).
    #[error("{word:?} is an extension that is not switched on")]
    Extension {
        /// The word.
        word: &'static str,
    },
    /// `user`, `group` or `member` without a name.
    #[error("{keyword:?} needs a name")]
    MissingName {
        /// The keyword.
        keyword: &'static str,
    },
    /// `member` that does not follow a `group`.
    #[error("\"member\" belongs below \"group\"")]
    MemberOutsideGroup,
    /// `topic` or `pattern` without a filter.
    #[error("{keyword:?} needs a topic filter")]
    MissingFilter {
        /// The keyword.
        keyword: &'static str,
    },
    /// The word between keyword and filter is not an access.
    #[error("unknown access {word:?}")]
    UnknownAccess {
        /// What stands there.
        word: String,
        /// An access that looks like it.
        suggestion: Option<&'static str>,
        /// All that stands after the keyword: without an access word it would be a filter with blanks.
        filter: String,
    },
    /// What should be a filter is not one.
    #[error("{filter:?} is not a topic filter: {cause}")]
    InvalidFilter {
        /// What stands there.
        filter: String,
        /// Why it is none.
        cause: TopicError,
    },
}

impl AclErrorCause {
    /// A short name that stays the same, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nul => "nul",
            Self::ByteOrderMark => "byte-order-mark",
            Self::IndentedComment => "indented-comment",
            Self::Tab => "tab",
            Self::UnknownKeyword { .. } => "unknown-keyword",
            Self::Extension { .. } => "extension",
            Self::MissingName { .. } => "missing-name",
            Self::MemberOutsideGroup => "member-outside-group",
            Self::MissingFilter { .. } => "missing-filter",
            Self::UnknownAccess { .. } => "unknown-access",
            Self::InvalidFilter { .. } => "invalid-filter",
        }
    }
}

impl AclError {
    /// What to do about it; `None` if the message says it all.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.cause {
            AclErrorCause::Nul => "delete it: Mosquitto ignores everything from there on".into(),
            AclErrorCause::ByteOrderMark => "save the file as UTF-8 without it".into(),
            AclErrorCause::IndentedComment => "move the # to the beginning of the line".into(),
            AclErrorCause::Tab => "use spaces".into(),
            AclErrorCause::UnknownKeyword {
                suggestion: Some(word),
                ..
            } => format!("did you mean {word:?}?"),
            AclErrorCause::UnknownKeyword { suggestion: None, .. } => {
                "a line begins with user, topic, pattern or #".into()
            }
            AclErrorCause::UnknownAccess {
                suggestion: Some(word),
                ..
            } => format!("did you mean {word:?}?"),
            AclErrorCause::UnknownAccess {
                suggestion: None,
                filter,
                ..
            } if filter.contains(" #") => "a comment needs a line of its own".into(),
            AclErrorCause::UnknownAccess {
                suggestion: None,
                filter,
                ..
            } => {
                let meant = format!("readwrite {filter}");
                format!("if this is a topic with blanks, write {meant:?}")
            }
            AclErrorCause::InvalidFilter { filter, .. } => return filter_hint(filter),
            AclErrorCause::Extension { .. } => {
                "acl_extensions true in the configuration switches it on, and --extensions for komar acl"
                    .into()
            }
            AclErrorCause::MissingName { .. }
            | AclErrorCause::MemberOutsideGroup
            | AclErrorCause::MissingFilter { .. } => return None,
        };
        Some(hint)
    }
}

impl fmt::Display for AclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.cause)?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for AclError {}

/// The errors of an ACL file, in the order of its lines; never empty.
///
/// At most [`MAXIMUM`](Self::MAXIMUM) of them: a file of another kind has one on every line, and a broker must survive to
/// be told to read such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclErrors {
    pub(crate) errors: Vec<AclError>,
    pub(crate) omitted: usize,
}

impl AclErrors {
    /// So many errors are kept, and so many [warnings](crate::AclFile::warnings).
    pub const MAXIMUM: usize = 1000;

    /// The errors in the order of their lines.
    pub fn iter(&self) -> core::slice::Iter<'_, AclError> {
        self.errors.iter()
    }

    /// How many more lines have an error.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl<'a> IntoIterator for &'a AclErrors {
    type Item = &'a AclError;
    type IntoIter = core::slice::Iter<'a, AclError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for AclErrors {
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

impl core::error::Error for AclErrors {}

fn filter_hint(filter: &str) -> Option<String> {
    let hint = if filter.contains(" #") {
        "a comment needs a line of its own"
    } else if filter.split('/').rev().skip(1).any(|level| level == "#") {
        "# stands for all levels below and must be the last"
    } else if filter
        .split('/')
        .any(|level| level.len() > 1 && level.contains(['+', '#']))
    {
        "+ and # stand for whole levels, alone between slashes"
    } else {
        return None;
    };
    Some(hint.into())
}
