//! `mosquitto.conf` becomes a typed, validated configuration.
//!
//! The grammar, the defaults and what excludes what are those of Mosquitto 2.1. Every option is a row of one
//! [table](directives) that the parser, `--help` and the manual share. All errors are reported at once, each with
//! file, line, column and the nearest known name.
//!
//! ```
//! use komar_conf::parse_str;
//!
//! let loaded = parse_str(
//!     "listener 8883\n\
//!      certfile broker.crt\n\
//!      keyfile broker.key\n\
//!      cafile ca.crt\n\
//!      require_certificate true\n\
//!      use_identity_as_username true\n\
//!      acl_file myacl.conf\n",
//!     "mosquitto.conf",
//! )?;
//! let listener = &loaded.config.listeners[0];
//! assert_eq!(listener.port, 8883);
//! assert!(listener.tls.as_ref().is_some_and(|tls| tls.require_certificate));
//! assert!(!listener.security.allow_anonymous);
//!
//! let errors = parse_str("listner 8883\nallow_anonymous yes\n", "mosquitto.conf").unwrap_err();
//! assert_eq!(errors.errors.len(), 2);
//! assert_eq!(
//!     errors.errors[0].to_string(),
//!     "Error: Unknown configuration variable 'listner'; the nearest known one is 'listener' (column 1).\n\
//!      Error found at mosquitto.conf:1."
//! );
//! # Ok::<(), komar_conf::ConfigErrors>(())
//! ```
//!
//! # What it does not do
//!
//! - Open what the configuration names: certificates, ACL files, password files, sockets, host names.
//! - Read the command line or the environment.
//! - Decide what an option does. [`Support`] says what becomes of it, the broker does it.
//! - Write configuration files.
//!
//! # Where it differs from Mosquitto
//!
//! - All errors are reported, not only the first.
//! - Refused, because Mosquitto would let in whom nobody meant to: options of TLS before any listener,
//!   `require_certificate` without `certfile`, a byte 0 (which hides the rest of the file), a plugin that is not built
//!   in, two ACL or password files for one listener.
//! - Refused instead of replaced: an unknown `tls_version` (already by `--test-config`) or `tls_keyform`, and a
//!   `memory_limit` that is not a number.
//! - `set_tcp_nodelay` and `check_retain_source` are on unless switched off.
//! - Trailing blanks are not part of a path (`log_dest file`, plugins and their options).
//! - A bridge's `topic` may be quoted without holding a blank, an IPv6 address may stand in brackets.

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

mod arguments;
mod bridge;
mod certificate;
mod config;
mod directive;
mod draft;
mod error;
mod lexer;
mod listener;
mod load;
mod parser;
mod pem;
mod plugin;
mod resolve;
mod source;
mod structure;
mod suggest;
mod table;
mod warning;

pub use bridge::{
    Bridge, BridgeAddress, BridgeProtocol, BridgeStart, BridgeTls, BridgeTopic, Direction, RestartDelay,
    TcpKeepAlive,
};
pub use certificate::AllowedCertificates;
pub use config::{
    AclOptions, Autosave, Config, Limits, LogDestination, LogTypes, Logging, Messages, Persistence, Security,
};
pub use directive::{
    Deprecation, Directive, Group, Keyword, Reload, Repeat, Scope, Support, ValueType, directive, directives,
};
pub use error::{ConfigError, ConfigErrors, ErrorKind, Needs, Position};
pub use listener::{
    Listener, Protocol, ProtocolVersions, Proxy, ProxyVersion, RateAction, RateLimits, SocketDomain, Tls,
    TlsVersion,
};
pub use load::{Loaded, default_config, load, parse, parse_str};
pub use pem::pem_line;
pub use plugin::{KnownPlugin, Plugin, PluginKind, known_plugins};
pub use source::{Disk, FileSource, Memory};
pub use warning::{Warning, WarningKind};
