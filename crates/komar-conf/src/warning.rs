//! What is worth saying about a configuration that is accepted.

use std::fmt;

use crate::Position;

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// Where.
    pub position: Position,
    /// What.
    pub kind: WarningKind,
}

/// What a remark is about. Fields are the names of options and values as written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum WarningKind {
    /// The option still works; Mosquitto intends to drop it.
    Deprecated {
        name: &'static str,
        removal: Option<&'static str>,
        successor: Option<&'static str>,
    },
    /// The option, or this value of it, is accepted and does nothing.
    NoEffect { name: String, reason: &'static str },
    /// The option, or this value of it, is read, and the broker does not start with it.
    NotYet { name: String, reason: &'static str },
    /// Something else in the file takes the effect from the option.
    Unused {
        name: &'static str,
        because: &'static str,
    },
    /// A number or word outside of what is possible was replaced.
    Adjusted {
        name: String,
        given: String,
        used: String,
    },
    /// A word in a list that means nothing.
    IgnoredWord { name: String, word: String },
    /// ` #` within a value: the remark belongs to the value.
    RemarkInValue { name: String },
    /// A line that begins with a carriage return is not read.
    SkippedLine,
    /// The option stands below one of several listeners and holds for all of them.
    HoldsForAllListeners { name: &'static str },
    /// The option stands before any listener, so one on port 1883 exists beside those that were defined.
    DefaultListener { name: &'static str },
    /// Certificates are required, and no authority is given: every client is refused.
    NobodyIsTrusted,
    /// The user name comes from a certificate that is never asked for: every client is refused.
    NoCertificateAsked { name: &'static str },
}

impl fmt::Display for Warning {
    /// `Warning: TEXT (FILE:LINE).`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Warning: {} ({}:{}).",
            self.kind,
            self.position.file.display(),
            self.position.line
        )
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WarningKind::Deprecated {
                name,
                removal,
                successor,
            } => {
                write!(f, "'{name}' is deprecated")?;
                if let Some(release) = removal {
                    write!(f, ", mosquitto {release} drops it")?;
                }
                successor
                    .iter()
                    .try_for_each(|successor| write!(f, "; use {successor}"))
            }
            WarningKind::NoEffect { name, reason } => write!(f, "'{name}' has no effect: {reason}"),
            WarningKind::NotYet { name, reason } => {
                write!(f, "'{name}' keeps the broker from starting: {reason}")
            }
            WarningKind::Unused { name, because } => write!(f, "'{name}' has no effect here: {because}"),
            WarningKind::Adjusted { name, given, used } => {
                write!(f, "'{name}' cannot be {given}, {used} is used")
            }
            WarningKind::IgnoredWord { name, word } => write!(f, "'{word}' means nothing to '{name}'"),
            WarningKind::RemarkInValue { name } => {
                write!(
                    f,
                    "the value of '{name}' reaches to the end of the line, '#' included"
                )
            }
            WarningKind::SkippedLine => f.write_str("the line begins with a carriage return and is skipped"),
            WarningKind::HoldsForAllListeners { name } => {
                write!(
                    f,
                    "'{name}' holds for all listeners, not only for the one above it"
                )
            }
            WarningKind::DefaultListener { name } => {
                write!(
                    f,
                    "'{name}' before any listener opens the default listener on port 1883 too"
                )
            }
            WarningKind::NobodyIsTrusted => {
                f.write_str("'require_certificate' without 'cafile' or 'capath' refuses every client")
            }
            WarningKind::NoCertificateAsked { name } => {
                write!(f, "'{name}' without 'require_certificate' refuses every client")
            }
        }
    }
}
