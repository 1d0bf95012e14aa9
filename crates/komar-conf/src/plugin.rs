//! Plugins: the names of Mosquitto's own ones stand for what is built in, others are refused.

use std::path::PathBuf;

use crate::directive::Support;
use crate::suggest::nearest;
use crate::{ErrorKind, Position};

/// A plugin that the file names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plugin {
    /// The line that named it; `None` when made by hand.
    pub position: Option<Position>,
    /// What it stands for.
    pub kind: PluginKind,
    /// The name given by `plugin_load`, for `plugin_use`.
    pub name: Option<String>,
    /// The path as written; nothing is loaded from there.
    pub path: PathBuf,
    /// `plugin_opt_KEY VALUE` (`auth_opt_KEY`), in the order of the file.
    pub options: Vec<(String, String)>,
}

/// The plugins that Mosquitto brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PluginKind {
    /// `acl-file`, the same as `acl_file`
    AclFile,
    /// `password-file`, the same as `password_file`
    PasswordFile,
    /// `dynamic-security`
    DynamicSecurity,
    /// `persist-sqlite`
    PersistSqlite,
    /// `sparkplug-aware`
    SparkplugAware,
}

/// One row of the table of known plugins.
#[derive(Debug)]
#[non_exhaustive]
pub struct KnownPlugin {
    /// File name without `mosquitto_` and without suffix; `-` and `_` are the same.
    pub name: &'static str,
    /// What it stands for.
    pub kind: PluginKind,
    /// What becomes of it.
    pub support: Support,
}

/// The known plugins.
pub fn known_plugins() -> &'static [KnownPlugin] {
    KNOWN
}

impl Plugin {
    /// A plugin of this kind, without options yet.
    pub fn new(kind: PluginKind, path: impl Into<PathBuf>) -> Plugin {
        Plugin {
            position: None,
            kind,
            name: None,
            path: path.into(),
            options: Vec::new(),
        }
    }

    /// The value of the last `plugin_opt_KEY`.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// Finds the plugin that a path names.
pub(crate) fn known(path: &str) -> Result<&'static KnownPlugin, ErrorKind> {
    // Both separators on every system: files move between them.
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let stem = file.split('.').next().unwrap_or(file).replace('-', "_");
    let stem = stem.strip_prefix("mosquitto_").unwrap_or(&stem);
    KNOWN
        .iter()
        .find(|row| row.name == stem)
        .ok_or_else(|| ErrorKind::UnknownPlugin {
            path: path.to_owned(),
            nearest: nearest(stem, KNOWN.iter().map(|row| row.name)),
        })
}

// To be silent about a plugin that decides who may connect would let everybody in: those are refused.
const KNOWN: &[KnownPlugin] = &[
    KnownPlugin {
        name: "acl_file",
        kind: PluginKind::AclFile,
        support: Support::Full,
    },
    KnownPlugin {
        name: "password_file",
        kind: PluginKind::PasswordFile,
        support: Support::Full,
    },
    KnownPlugin {
        name: "dynamic_security",
        kind: PluginKind::DynamicSecurity,
        support: Support::Refused(
            "dynamic security is not available yet, and without it nothing is protected",
        ),
    },
    KnownPlugin {
        name: "persist_sqlite",
        kind: PluginKind::PersistSqlite,
        support: Support::NoEffect("there is no store yet, nothing survives a restart"),
    },
    KnownPlugin {
        name: "sparkplug_aware",
        kind: PluginKind::SparkplugAware,
        support: Support::NotYet("Sparkplug certificates are not kept yet"),
    },
];
