//! What is known while the file is being read: values as they come, not yet checked against each other.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::{AclOptions, Config, Listener, Logging, Plugin, Position, Proxy, ProxyVersion, Security, Tls};

/// The global part.
pub(crate) struct Draft {
    pub(crate) config: Config,
    /// `autosave_interval`, of what unit depends on the next field.
    pub(crate) autosave_interval: u32,
    pub(crate) autosave_on_changes: bool,
    /// The first `log_dest` and `log_type` replace the default, later ones add.
    pub(crate) log_dest_given: bool,
    pub(crate) log_type_given: bool,
}

/// A listener.
#[derive(PartialEq)]
pub(crate) struct ListenerDraft {
    /// Not yet with TLS and security.
    pub(crate) listener: Listener,
    pub(crate) tls: TlsDraft,
    pub(crate) security: SecurityDraft,
    pub(crate) proxy_version: Option<ProxyVersion>,
    pub(crate) proxy_require_tls: bool,
    pub(crate) proxy_trusted: Vec<IpNet>,
    /// Defined by `listener`, `port` or `bind_address`, not only by an option that stands before them.
    pub(crate) opened: bool,
    /// `port` was given.
    pub(crate) has_port: bool,
}

/// TLS of a listener, of which the certificate may be missing.
#[derive(Default, PartialEq)]
pub(crate) struct TlsDraft {
    pub(crate) certfile: Option<PathBuf>,
    pub(crate) keyfile: Option<PathBuf>,
    pub(crate) psk_hint: Option<String>,
    /// Its `certfile` and `keyfile` stay empty until the end.
    pub(crate) rest: Tls,
}

/// Security, of which the defaults depend on what else is in the file.
#[derive(Default, PartialEq)]
pub(crate) struct SecurityDraft {
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) allow_zero_length_clientid: Option<bool>,
    pub(crate) auto_id_prefix: Option<String>,
    pub(crate) acl_file: Option<PathBuf>,
    pub(crate) acl_options: Option<AclOptions>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) psk_file: Option<PathBuf>,
    /// Indexes into the list of plugins.
    pub(crate) plugins: Vec<usize>,
}

/// A plugin.
pub(crate) struct PluginDraft {
    /// For `plugin_use`.
    pub(crate) name: Option<String>,
    /// `None` if its line was wrong: its options are read all the same.
    pub(crate) plugin: Option<Plugin>,
}

impl Draft {
    pub(crate) fn new() -> Draft {
        Draft {
            config: Config {
                listeners: Vec::new(),
                ..Config::default()
            },
            autosave_interval: 1800,
            autosave_on_changes: false,
            log_dest_given: false,
            log_type_given: false,
        }
    }

    pub(crate) fn logging(&mut self) -> &mut Logging {
        &mut self.config.logging
    }
}

impl ListenerDraft {
    pub(crate) fn new(port: u16, position: Option<Position>) -> ListenerDraft {
        ListenerDraft {
            listener: Listener {
                position,
                ..Listener::new(port)
            },
            tls: TlsDraft::default(),
            security: SecurityDraft::default(),
            proxy_version: None,
            proxy_require_tls: false,
            proxy_trusted: Vec::new(),
            opened: true,
            has_port: false,
        }
    }

    /// Whether it is the default listener, and nothing is said of it but what holds anyway.
    pub(crate) fn is_only_default(&self) -> bool {
        let position = self.listener.position.clone();
        let untouched = ListenerDraft {
            opened: false,
            ..ListenerDraft::new(1883, position)
        };
        *self == untouched
    }

    pub(crate) fn proxy(&self) -> Option<Proxy> {
        self.proxy_version.map(|version| Proxy {
            version,
            trusted: self.proxy_trusted.clone(),
            require_tls: self.proxy_require_tls && version == ProxyVersion::V2,
            require_certificate: self.tls.rest.require_certificate && version == ProxyVersion::V2,
        })
    }
}

impl SecurityDraft {
    /// The whole, where what was not given is taken from `otherwise`.
    pub(crate) fn over(&self, otherwise: &Security) -> Security {
        fn either<T: Clone>(given: &Option<T>, otherwise: &Option<T>) -> Option<T> {
            given.as_ref().or(otherwise.as_ref()).cloned()
        }
        Security {
            allow_anonymous: self.allow_anonymous.unwrap_or(otherwise.allow_anonymous),
            allow_zero_length_clientid: self
                .allow_zero_length_clientid
                .unwrap_or(otherwise.allow_zero_length_clientid),
            auto_id_prefix: self
                .auto_id_prefix
                .clone()
                .unwrap_or_else(|| otherwise.auto_id_prefix.clone()),
            acl_file: either(&self.acl_file, &otherwise.acl_file),
            acl_options: self.acl_options.unwrap_or(otherwise.acl_options),
            password_file: either(&self.password_file, &otherwise.password_file),
            psk_file: either(&self.psk_file, &otherwise.psk_file),
            plugins: otherwise.plugins.clone(),
        }
    }
}
