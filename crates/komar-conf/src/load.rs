//! From files to a configuration.

use std::path::Path;

use crate::parser::Parser;
use crate::resolve::resolve;
use crate::source::{FileSource, Memory};
use crate::{Config, ConfigErrors, Warning};

/// A configuration that is accepted, and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// To be shown at the start, in the order of the lines and then of the checks between them. At most 1000.
    pub warnings: Vec<Warning>,
}

/// Reads a configuration file and those that it includes. [`Disk`](crate::Disk) is the usual source.
///
/// Paths stay as written: what is relative belongs to the process's working directory.
///
/// # Errors
/// All that is wrong with the files, or with what they say together.
pub fn load(path: &Path, source: &dyn FileSource) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(source);
    parser.main_file(path);
    resolve(parser)
}

/// Reads a configuration that is already in memory; `path` is its name in messages, `source` serves `include_dir`.
///
/// # Errors
/// As [`load`].
pub fn parse(content: &[u8], path: &Path, source: &dyn FileSource) -> Result<Loaded, ConfigErrors> {
    let mut parser = Parser::new(source);
    parser.content(path, content);
    resolve(parser)
}

/// Reads a configuration from text; `name` is its name in messages. Nothing can be included.
///
/// # Errors
/// As [`load`].
pub fn parse_str(text: &str, name: &str) -> Result<Loaded, ConfigErrors> {
    parse(text.as_bytes(), Path::new(name), &Memory::default())
}

/// What holds when nothing is given: local-only mode, 127.0.0.1 and ::1 on port 1883, anonymous clients allowed.
pub fn default_config() -> Config {
    Config::default()
}
