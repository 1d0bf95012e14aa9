//! What is wrong with a configuration: all of it at once, each with its place.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Warning;

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct Position {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why a configuration was refused. At most [`ConfigErrors::MAXIMUM`] errors are collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub struct ConfigErrors {
    /// In the order in which they were found: first those of the lines, then those between lines. Never empty.
    pub errors: Vec<ConfigError>,
    /// What was noticed besides.
    pub warnings: Vec<Warning>,
}

/// One error.
///
/// Prints as two lines, the second of them `Error found at FILE:LINE.` as log scrapers expect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub struct ConfigError {
    /// Where; `None` only if the main file itself cannot be read.
    pub position: Option<Position>,
    /// The word of the line that is wrong, shortened and with control characters escaped.
    pub word: String,
    /// What is wrong with it.
    #[source]
    pub kind: ErrorKind,
}

/// What an option needs before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// A `listener` line.
    Listener,
    /// A `connection` line.
    Bridge,
    /// A `plugin`, `global_plugin` or `plugin_load` line.
    Plugin,
}

/// What is wrong. Displays as the words that Mosquitto has for it, where it has some, and what helps besides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // fields: the names of options, and values as written
pub enum ErrorKind {
    /// A file or folder cannot be read.
    #[error("cannot read '{}': {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// No option has this name.
    #[error("Unknown configuration variable '{name}'{}", Nearest(*nearest))]
    UnknownOption {
        name: String,
        nearest: Option<&'static str>,
    },
    /// The option's name is known, but a tab belongs to it.
    #[error("there is a tab beside '{name}'; only spaces separate words")]
    TabSeparator { name: &'static str },
    /// A line begins with blanks and `#`.
    #[error("a comment starts with '#' as the first character of the line")]
    IndentedComment,
    /// The file begins with a byte order mark.
    #[error("the file begins with a UTF-8 byte order mark; save it without one")]
    ByteOrderMark,
    /// The file is one of certificates or keys. Nothing of it is quoted.
    #[error("the file holds certificates or keys (PEM): it is no configuration")]
    Pem,
    /// A byte 0 in a line. Mosquitto would skip the rest of the file.
    #[error("the line contains a byte 0")]
    NulByte,
    /// The option needs a value.
    #[error("Empty '{name}' value in configuration.")]
    MissingValue { name: String },
    /// Not `true`, `false`, `1` or `0`.
    #[error("Invalid '{name}' value ({value}). It is true or false")]
    NotBoolean { name: String, value: String },
    /// Not a whole number as C writes it.
    #[error("'{name}' value not a number. It is a whole number, not '{value}'")]
    NotNumber { name: String, value: String },
    /// A number outside of what is allowed.
    #[error("{} It is a number from {minimum} to {maximum}, not {value}", OutOfRange { name, value })]
    OutOfRange {
        name: String,
        value: String,
        minimum: i64,
        maximum: i64,
    },
    /// Not one of the option's words.
    #[error("Invalid '{name}' value ({value}).{}", NearestWord(*nearest))]
    UnknownWord {
        name: String,
        value: String,
        nearest: Option<&'static str>,
    },
    /// Another value that the option does not take.
    #[error("Invalid '{name}' value ({value}). It is {expected}")]
    InvalidValue {
        name: String,
        value: String,
        expected: &'static str,
    },
    /// Text that is not UTF-8, or holds control characters or Unicode noncharacters.
    #[error("the value of '{name}' is not UTF-8 without control characters")]
    InvalidText { name: String },
    /// Text that is too long.
    #[error("'{name}' length must be <= {maximum}. It has {length} bytes")]
    TextTooLong {
        name: String,
        length: usize,
        maximum: usize,
    },
    /// A quoted topic without its second quote.
    #[error("Missing closing quote in {name} value ({behind}).")]
    UnclosedQuote {
        name: String,
        /// What follows the first blank.
        behind: String,
    },
    /// `mount_point` with a wildcard.
    #[error("Invalid '{name}' value ({value}). Does it contain a wildcard character?")]
    Wildcard { name: String, value: String },
    /// `plugin_opt_` without the name of an option behind it.
    #[error("Invalid '{name}' config option. The name of the plugin's option follows it without a blank")]
    PluginOption { name: String },
    /// Given twice, where only once is allowed.
    #[error("Duplicate '{name}' value in configuration. It is given first at {}:{}", first.file.display(), first.line)]
    Duplicate { name: String, first: Position },
    /// Given again, where only once is allowed.
    #[error("'{name}' is given a second time")]
    OnlyOnce { name: &'static str },
    /// The option belongs to something that no line before it defines.
    #[error("The '{name}' option requires {needs} to be defined first.")]
    Requires { name: String, needs: Needs },
    /// `per_listener_settings true` after an option that it concerns.
    #[error("'per_listener_settings' must stand before '{earlier}'")]
    PerListenerSettingsLate { earlier: &'static str },
    /// `include_dir` in an included file.
    #[error("'include_dir' is allowed in the main file only")]
    NestedInclude,
    /// An option of TLS before any `listener`; Mosquitto would listen without TLS.
    #[error("'{name}' needs a 'listener' line before it, or no listener has TLS")]
    TlsWithoutListener { name: &'static str },
    /// `listener 0` without a path.
    #[error("A listener with port 0 must provide a Unix socket path.")]
    UnixPathMissing,
    /// Of two options that need each other, one is missing.
    #[error("'{given}' needs '{missing}' too")]
    MissingPartner {
        given: &'static str,
        missing: &'static str,
    },
    /// Two options that exclude each other.
    #[error("'{first}' and '{second}' exclude each other")]
    Conflict {
        first: &'static str,
        second: &'static str,
    },
    /// An option that a listener behind a proxy of version 2 cannot have.
    #[error("{what} cannot be used with `enable_proxy_protocol 2`. {because}")]
    NotBehindProxy {
        what: &'static str,
        because: &'static str,
    },
    /// A list of clients on a listener that takes no names from certificates: it would refuse nobody.
    #[error(
        "'{given}' needs 'use_identity_as_username', 'use_subject_as_username' or 'require_identity_as_username' too"
    )]
    NeedsIdentity { given: &'static str },
    /// A `connection` that lacks something.
    #[error(
        "Invalid bridge configuration: no {} defined. The connection '{bridge}' has no '{missing}'",
        PartOfBridge(missing)
    )]
    IncompleteBridge { bridge: String, missing: &'static str },
    /// Two bridges with one local client identifier.
    #[error("the connections '{bridge}' and '{other}' have the same 'local_clientid'")]
    SameLocalClientId { bridge: String, other: String },
    /// A plugin that is not built in.
    #[error("the plugin '{path}' is not one of those built in{}", Nearest(*nearest))]
    UnknownPlugin {
        path: String,
        nearest: Option<&'static str>,
    },
    /// `plugin_use` of a name that no `plugin_load` gave.
    #[error("no 'plugin_load' names '{plugin}'")]
    PluginNotLoaded { plugin: String },
    /// Understood, but it cannot be done and must not be ignored.
    #[error("'{name}' cannot be used: {reason}")]
    Refused { name: String, reason: &'static str },
    /// Reading stopped here.
    #[error("too many errors, the rest is not shown")]
    TooMany,
}

impl ConfigErrors {
    /// So many errors end the reading.
    pub const MAXIMUM: usize = 1000;

    /// The exit status that Mosquitto has for the first of them: 3, or 1 for an unknown TLS version.
    pub fn exit_status(&self) -> u8 {
        self.errors
            .iter()
            .map(|error| error.kind.exit_status())
            .max()
            .unwrap_or(3)
    }
}

impl ErrorKind {
    /// The exit status that Mosquitto has for it: 3, or 1 for an unknown TLS version.
    pub fn exit_status(&self) -> u8 {
        match self {
            ErrorKind::UnknownWord { name, .. } if name == "tls_version" => 1,
            _ => 3,
        }
    }
}

impl Position {
    /// A place in a file.
    pub fn new(file: impl AsRef<Path>, line: u32, column: u32) -> Position {
        Position {
            file: Arc::from(file.as_ref()),
            line,
            column,
        }
    }
}

impl fmt::Display for Position {
    /// `FILE:LINE:COLUMN`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.kind.to_string();
        let end = if text.ends_with(['.', '?']) { "" } else { "." };
        match &self.position {
            Some(Position { file, line, column }) => write!(
                f,
                "Error: {text} (column {column}){end}\nError found at {}:{line}.",
                file.display()
            ),
            None => write!(f, "Error: {text}{end}"),
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Needs::Listener => "a listener",
            Needs::Bridge => "a bridge",
            Needs::Plugin => "plugin/global_plugin/plugin_load",
        })
    }
}

/// The end of a sentence about an unknown word.
struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, "; the nearest known one is '{word}'"),
            None => Ok(()),
        }
    }
}

/// The same as a sentence of its own.
struct NearestWord(Option<&'static str>);

impl fmt::Display for NearestWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, " The nearest known one is '{word}'"),
            None => Ok(()),
        }
    }
}

/// Mosquitto's words for a number outside of what is allowed; some options have their own.
struct OutOfRange<'a> {
    name: &'a str,
    value: &'a str,
}

impl fmt::Display for OutOfRange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutOfRange { name, value } = self;
        match *name {
            "max_qos" | "maximum_qos" => f.write_str("'max_qos' must be between 0 and 2 inclusive."),
            "max_inflight_messages" => f.write_str("'max_inflight_messages' must be <= 65535."),
            "max_packet_size" => f.write_str("'max_packet_size' must be >= 20."),
            "max_topic_alias" | "max_topic_alias_broker" => {
                write!(f, "Invalid '{name}' value in configuration.")
            }
            "packet_buffer_size" | "websockets_headers_size" => {
                f.write_str("Packet buffer size must be between 0 and 65535 inclusive.")
            }
            "listener" => write!(f, "Invalid 'port' value ({value})."),
            _ => write!(f, "Invalid '{name}' value ({value})."),
        }
    }
}

/// What an option of a bridge gives it.
struct PartOfBridge<'a>(&'a str);

impl fmt::Display for PartOfBridge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            "address" => "remote addresses",
            "topic" => "topics",
            other => other,
        })
    }
}
