//! What lines say together: defaults that depend on each other, and options that exclude or need each other.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::directive::{Group, directive};
use crate::draft::{ListenerDraft, SecurityDraft};
use crate::parser::{Object, Parser};
use crate::{
    Autosave, ConfigErrors, ErrorKind, Listener, Loaded, Needs, Plugin, PluginKind, Position, ProxyVersion,
    Security, Tls, WarningKind,
};

/// Checks and puts together what was read.
pub(crate) fn resolve(mut parser: Parser<'_>) -> Result<Loaded, ConfigErrors> {
    let local_only = !parser.listeners.iter().any(|draft| draft.opened);
    check_default_listener(&mut parser, local_only);
    for index in 0..parser.listeners.len() {
        check_listener(&mut parser, index);
    }
    check_bridges(&mut parser);
    warn_of_global_security(&mut parser);
    let plugins: Vec<Plugin> = parser
        .plugins
        .iter()
        .filter_map(|draft| draft.plugin.clone())
        .collect();
    check_persistence(&mut parser, &plugins);

    let defaults = Security {
        allow_anonymous: local_only,
        ..Security::default()
    };
    let global = std::mem::take(&mut parser.security);
    let global = security(&mut parser, Object::Global, &global, &defaults);
    let drafts = std::mem::take(&mut parser.listeners);
    let mut listeners = Vec::new();
    for (index, draft) in drafts.into_iter().enumerate().filter(|_| !local_only) {
        if draft.is_only_default() {
            continue;
        }
        // With `per_listener_settings` nothing is global but the plugins of `global_plugin`, which hold everywhere.
        let security = security(&mut parser, Object::Listener(index), &draft.security, &global);
        listeners.push(listener(draft, security));
    }

    if !parser.errors.is_empty() {
        return Err(ConfigErrors {
            errors: parser.errors,
            warnings: parser.warnings,
        });
    }
    let mut config = parser.draft.config;
    config.listeners = if local_only {
        Listener::local(&[1883], &global)
    } else {
        listeners
    };
    config.local_only = local_only;
    config.security = global;
    config.bridges = parser.bridges;
    config.plugins = plugins;
    config.persistence.autosave = match (parser.draft.autosave_interval, parser.draft.autosave_on_changes) {
        (0, _) => Autosave::Never,
        (changes, true) => Autosave::Changes(changes),
        (seconds, false) => Autosave::Every(Duration::from_secs(seconds.into())),
    };
    Ok(Loaded {
        config,
        warnings: parser.warnings,
    })
}

fn listener(draft: ListenerDraft, security: Security) -> Listener {
    let proxy = draft.proxy();
    let tls = match (draft.tls.certfile, draft.tls.keyfile) {
        (Some(certfile), Some(keyfile)) => Some(Tls {
            certfile,
            keyfile,
            ..draft.tls.rest
        }),
        _ => None,
    };
    Listener {
        tls,
        proxy,
        security,
        ..draft.listener
    }
}

/// Fills in what was not given, and turns the plugins that stand for files into these.
fn security(parser: &mut Parser<'_>, object: Object, draft: &SecurityDraft, base: &Security) -> Security {
    let mut security = draft.over(base);
    // Only one file decides; the other would be ignored without a word.
    for (own, inherited, first, second) in [
        (&draft.acl_file, &base.acl_file, "plugin_opt_acl_file", "acl_file"),
        (
            &draft.password_file,
            &base.password_file,
            "plugin_opt_password_file",
            "password_file",
        ),
    ] {
        if own.is_some() && inherited.is_some() {
            let position = parser.place(object, second).cloned();
            parser.error_at(position, second.to_owned(), ErrorKind::Conflict { first, second });
        }
    }
    for &index in &draft.plugins {
        let Some(plugin) = parser.plugins.get(index).and_then(|draft| draft.plugin.clone()) else {
            continue;
        };
        let (file, name, option) = match plugin.kind {
            PluginKind::AclFile => (&mut security.acl_file, "acl_file", "plugin_opt_acl_file"),
            PluginKind::PasswordFile => (
                &mut security.password_file,
                "password_file",
                "plugin_opt_password_file",
            ),
            _ => {
                security.plugins.push(plugin);
                continue;
            }
        };
        let kind = match (plugin.option(name), &file) {
            (Some(path), None) => {
                *file = Some(path.into());
                continue;
            }
            (Some(_), Some(_)) => ErrorKind::Conflict {
                first: name,
                second: option,
            },
            (None, _) => ErrorKind::MissingPartner {
                given: "plugin",
                missing: option,
            },
        };
        parser.error_at(plugin.position, plugin.path.display().to_string(), kind);
    }
    security
}

/// Options before any listener that made the default listener without opening it.
fn check_default_listener(parser: &mut Parser<'_>, local_only: bool) {
    let unopened = parser.listeners.iter().position(|draft| !draft.opened);
    let Some(index) = unopened else { return };
    let is_only_default = parser
        .listeners
        .get(index)
        .is_some_and(ListenerDraft::is_only_default);
    let given = given_for(parser, Object::Listener(index));
    let excused = parser
        .broken
        .iter()
        .any(|object| matches!(object, Object::Listener(_)));
    for (name, position) in given {
        let group = directive(name).map(|row| row.group);
        if !local_only && is_only_default {
            let because = "it is the default, and stands before any listener";
            parser.warn(position, WarningKind::Unused { name, because });
        } else if group == Some(Group::Tls) {
            // Mosquitto listens without TLS then.
            if !excused {
                parser.error_at(
                    Some(position),
                    name.to_owned(),
                    ErrorKind::TlsWithoutListener { name },
                );
            }
        } else if local_only && group == Some(Group::Security) {
            // Nor would the listeners of local-only mode have this.
            let kind = ErrorKind::Requires {
                name: name.to_owned(),
                needs: Needs::Listener,
            };
            parser.error_at(Some(position), name.to_owned(), kind);
        } else if local_only {
            let because = "no listener is defined, and those of local-only mode have no options";
            parser.warn(position, WarningKind::Unused { name, because });
        } else {
            parser.warn(position, WarningKind::DefaultListener { name });
        }
    }
    // What it lacks was said with the better reason, or does not matter.
    parser.broken.insert(Object::Listener(index));
}

fn check_listener(parser: &mut Parser<'_>, index: usize) {
    let object = Object::Listener(index);
    if parser.broken.contains(&object) {
        return;
    }
    let given: BTreeMap<&'static str, Position> = given_for(parser, object).into_iter().collect();
    let Some(draft) = parser.listeners.get(index) else {
        return;
    };
    let listener = Given {
        options: &given,
        draft,
        proxy_v2: draft.proxy_version == Some(ProxyVersion::V2),
        require_certificate: draft.tls.rest.require_certificate,
    };
    let mut errors = listener.missing_partners();
    errors.extend(listener.conflicts());
    errors.extend(listener.wrong_behind_proxy());
    let mut warnings = listener.unused();
    warnings.extend(listener.without_certificates());
    for (name, kind) in errors {
        parser.error_at(given.get(name).cloned(), name.to_owned(), kind);
    }
    for (name, kind) in warnings {
        if let Some(position) = given.get(name) {
            parser.warn(position.clone(), kind);
        }
    }
}

/// What is given for one listener.
struct Given<'a> {
    options: &'a BTreeMap<&'static str, Position>,
    draft: &'a ListenerDraft,
    proxy_v2: bool,
    require_certificate: bool,
}

impl Given<'_> {
    fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The options that take a name from the certificate, and whether they are on.
    fn names(&self) -> [(&'static str, bool); 3] {
        let listener = &self.draft.listener;
        [
            ("use_identity_as_username", listener.use_identity_as_username),
            ("use_subject_as_username", listener.use_subject_as_username),
            (
                "require_identity_as_username",
                listener.require_identity_as_username,
            ),
        ]
    }

    fn takes_name(&self) -> bool {
        self.names().iter().any(|(_, on)| *on)
    }

    /// Options that need another one.
    fn missing_partners(&self) -> Vec<(&'static str, ErrorKind)> {
        let mut pairs = vec![
            ("certfile", "keyfile"),
            ("keyfile", "certfile"),
            ("cafile", "certfile"),
            ("capath", "certfile"),
        ];
        // Without a certificate of its own the listener would not use TLS, and let everybody in.
        if self.require_certificate && !self.proxy_v2 {
            pairs.push(("require_certificate", "certfile"));
        }
        pairs
            .into_iter()
            .filter(|(given, missing)| self.has(given) && !self.has(missing))
            .map(|(given, missing)| (given, ErrorKind::MissingPartner { given, missing }))
            .collect()
    }

    /// Options that exclude each other, and those that refuse nobody.
    fn conflicts(&self) -> Vec<(&'static str, ErrorKind)> {
        let listener = &self.draft.listener;
        let mut pairs = vec![("psk_hint", "cafile"), ("psk_hint", "certfile")];
        if listener.use_subject_as_username {
            pairs.push(("use_subject_as_username", "certificate_identity"));
        }
        if listener.require_identity_as_username {
            // These take the certificate instead of a password, that one with it.
            let on = self.names().into_iter().take(2).filter(|(_, on)| *on);
            pairs.extend(on.map(|(name, _)| ("require_identity_as_username", name)));
        }
        let conflicts = pairs
            .into_iter()
            .filter(|(first, second)| self.has(first) && self.has(second))
            .map(|(first, second)| (second, ErrorKind::Conflict { first, second }));
        let useless = [
            "certificate_allow_name",
            "certificate_allow_fingerprint",
            "certificate_allow_folder",
        ]
        .into_iter()
        .filter(|name| !self.takes_name() && self.has(name))
        .map(|given| (given, ErrorKind::NeedsIdentity { given }));
        conflicts.chain(useless).collect()
    }

    /// What a listener behind a proxy of version 2 cannot have.
    fn wrong_behind_proxy(&self) -> Vec<(&'static str, ErrorKind)> {
        let mut errors = Vec::new();
        if !self.proxy_v2 {
            return errors;
        }
        if let Some(name) = ["certfile", "keyfile"].into_iter().find(|name| self.has(name)) {
            let (what, because) = (
                "certfile and keyfile",
                "It is the proxy that speaks TLS with clients",
            );
            errors.push((name, ErrorKind::NotBehindProxy { what, because }));
        }
        let listener = &self.draft.listener;
        let because = "Its header says no more than the common name";
        let wrong = [
            ("use_subject_as_username", listener.use_subject_as_username),
            ("certificate_identity", listener.certificate_identity != "cn"),
            (
                "certificate_allow_fingerprint",
                self.has("certificate_allow_fingerprint"),
            ),
            ("certificate_allow_folder", self.has("certificate_allow_folder")),
        ];
        let wrong = wrong.into_iter().filter(|(_, on)| *on);
        errors.extend(wrong.map(|(what, _)| (what, ErrorKind::NotBehindProxy { what, because })));
        errors
    }

    /// Options that have no effect here.
    fn unused(&self) -> Vec<(&'static str, WarningKind)> {
        let mut unused: Vec<(&[&'static str], &'static str)> = Vec::new();
        if !self.takes_name() {
            unused.push((
                &["certificate_identity"],
                "neither use_identity_as_username nor require_identity_as_username is on",
            ));
        }
        let for_clients = &["crlfile", "disable_client_cert_date_checks"];
        if !self.has("certfile") {
            unused.push((
                &["tls_version", "ciphers", "ciphers_tls1.3"],
                "the listener has no TLS",
            ));
            unused.push((for_clients, "the listener has no TLS"));
        } else if !self.require_certificate {
            unused.push((for_clients, "clients are not asked for a certificate"));
        }
        if !self.proxy_v2 {
            unused.push((
                &["proxy_protocol_v2_require_tls"],
                "the PROXY protocol is not of version 2",
            ));
        }
        if self.draft.proxy_version.is_none() {
            unused.push((&["proxy_trusted"], "the listener expects no PROXY header"));
        }
        let each = unused
            .into_iter()
            .flat_map(|(names, because)| names.iter().map(move |&name| (name, because)));
        each.filter(|(name, _)| self.has(name))
            .map(|(name, because)| (name, WarningKind::Unused { name, because }))
            .collect()
    }

    /// Where clients' certificates are meant to count, and cannot.
    fn without_certificates(&self) -> Vec<(&'static str, WarningKind)> {
        let mut warnings = Vec::new();
        let has_authorities = self.has("cafile") || self.has("capath");
        if self.has("certfile") && self.require_certificate && !has_authorities {
            warnings.push(("require_certificate", WarningKind::NobodyIsTrusted));
        }
        // Behind a proxy the identity may come from the header.
        if !self.require_certificate && !self.has("psk_hint") && !self.has("enable_proxy_protocol") {
            let on = self.names().into_iter().filter(|(_, on)| *on);
            warnings.extend(on.map(|(name, _)| (name, WarningKind::NoCertificateAsked { name })));
        }
        warnings
    }
}

fn check_bridges(parser: &mut Parser<'_>) {
    let mut errors = Vec::new();
    let mut local_ids: BTreeMap<String, &str> = BTreeMap::new();
    for (index, bridge) in parser.bridges.iter().enumerate() {
        let object = Object::Bridge(index);
        if parser.broken.contains(&object) {
            continue;
        }
        let place = |name: &'static str| parser.place(object, name).cloned();
        for missing in ["address", "topic"] {
            if place(missing).is_none() {
                let kind = ErrorKind::IncompleteBridge {
                    bridge: bridge.name.clone(),
                    missing,
                };
                errors.push((bridge.position.clone(), "connection", kind));
            }
        }
        for (given, missing) in [
            ("bridge_certfile", "bridge_keyfile"),
            ("bridge_keyfile", "bridge_certfile"),
            ("bridge_identity", "bridge_psk"),
            ("bridge_psk", "bridge_identity"),
        ] {
            if let (Some(position), None) = (place(given), place(missing)) {
                errors.push((
                    Some(position),
                    given,
                    ErrorKind::MissingPartner { given, missing },
                ));
            }
        }
        for second in ["bridge_cafile", "bridge_capath", "bridge_certfile"] {
            if let (Some(_), Some(position)) = (place("bridge_psk"), place(second)) {
                let kind = ErrorKind::Conflict {
                    first: "bridge_psk",
                    second,
                };
                errors.push((Some(position), second, kind));
            }
        }
        // Without either, the identifier follows from the name, of which each is unique.
        let remote = || bridge.remote_clientid.as_ref().map(|id| format!("local.{id}"));
        if let Some(id) = bridge.local_clientid.clone().or_else(remote)
            && let Some(other) = local_ids.insert(id, &bridge.name)
        {
            let kind = ErrorKind::SameLocalClientId {
                bridge: bridge.name.clone(),
                other: other.to_owned(),
            };
            let position = place("local_clientid").or_else(|| place("remote_clientid"));
            errors.push((position, "local_clientid", kind));
        }
    }
    for (position, word, kind) in errors {
        parser.error_at(position, word.to_owned(), kind);
    }
}

fn check_persistence(parser: &mut Parser<'_>, plugins: &[Plugin]) {
    let Some(plugin) = plugins
        .iter()
        .find(|plugin| plugin.kind == PluginKind::PersistSqlite)
    else {
        return;
    };
    let persistence = &mut parser.draft.config.persistence;
    if std::mem::replace(&mut persistence.enabled, true) {
        let kind = ErrorKind::Conflict {
            first: "persistence",
            second: "plugin persist_sqlite",
        };
        parser.error_at(plugin.position.clone(), plugin.path.display().to_string(), kind);
    }
}

/// Written between two listeners, such an option was probably meant for the first.
fn warn_of_global_security(parser: &mut Parser<'_>) {
    let last = parser.listeners.len().saturating_sub(1);
    for (index, name, position) in std::mem::take(&mut parser.below_listener) {
        if index < last {
            parser.warn(position, WarningKind::HoldsForAllListeners { name });
        }
    }
}

fn given_for(parser: &Parser<'_>, object: Object) -> Vec<(&'static str, Position)> {
    parser
        .given_for(object)
        .map(|(name, position)| (name, position.clone()))
        .collect()
}
