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
    let given = given_for(parser, Object::Listener(index));
    let excused = parser
        .broken
        .iter()
        .any(|object| matches!(object, Object::Listener(_)));
    for (name, position) in given {
        let group = directive(name).map(|row| row.group);
        if group == Some(Group::Tls) {
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
    let proxy_v2 = draft.proxy_version == Some(ProxyVersion::V2);
    let require_certificate = draft.tls.rest.require_certificate;
    let names = [
        (
            "use_identity_as_username",
            draft.listener.use_identity_as_username,
        ),
        ("use_subject_as_username", draft.listener.use_subject_as_username),
        (
            "require_identity_as_username",
            draft.listener.require_identity_as_username,
        ),
    ];
    let has = |name| given.contains_key(name);
    let lists = [
        "certificate_allow_name",
        "certificate_allow_fingerprint",
        "certificate_allow_folder",
    ];
    let (certfile, cafile) = (has("certfile"), has("cafile") || has("capath"));

    let mut errors: Vec<(&'static str, ErrorKind)> = Vec::new();
    let mut needs = |first: &'static str, missing: &'static str| {
        if has(first) && !has(missing) {
            errors.push((
                first,
                ErrorKind::MissingPartner {
                    given: first,
                    missing,
                },
            ));
        }
    };
    needs("certfile", "keyfile");
    needs("keyfile", "certfile");
    needs("cafile", "certfile");
    needs("capath", "certfile");
    // Without a certificate of its own the listener would not use TLS, and let everybody in.
    if require_certificate && !proxy_v2 {
        needs("require_certificate", "certfile");
    }
    let mut excludes = |first: &'static str, second: &'static str| {
        if has(first) && has(second) {
            errors.push((second, ErrorKind::Conflict { first, second }));
        }
    };
    for name in ["cafile", "certfile"] {
        excludes("psk_hint", name);
    }
    if draft.listener.use_subject_as_username {
        excludes("use_subject_as_username", "certificate_identity");
    }
    if draft.listener.require_identity_as_username {
        // These take the certificate instead of a password, that one with it.
        for (name, on) in names.into_iter().take(2) {
            if on {
                excludes("require_identity_as_username", name);
            }
        }
    }
    if !names.iter().any(|(_, on)| *on) {
        let useless = lists.into_iter().filter(|name| has(name));
        errors.extend(useless.map(|given| (given, ErrorKind::NeedsIdentity { given })));
    }
    if proxy_v2 {
        if let Some(name) = ["certfile", "keyfile"].into_iter().find(|name| has(name)) {
            let (what, because) = (
                "certfile and keyfile",
                "It is the proxy that speaks TLS with clients",
            );
            errors.push((name, ErrorKind::NotBehindProxy { what, because }));
        }
        let because = "Its header says no more than the common name";
        for (what, on) in [
            ("use_subject_as_username", draft.listener.use_subject_as_username),
            (
                "certificate_identity",
                draft.listener.certificate_identity != "cn",
            ),
            (
                "certificate_allow_fingerprint",
                has("certificate_allow_fingerprint"),
            ),
            ("certificate_allow_folder", has("certificate_allow_folder")),
        ] {
            if on {
                errors.push((what, ErrorKind::NotBehindProxy { what, because }));
            }
        }
    }

    let mut warnings: Vec<(&'static str, WarningKind)> = Vec::new();
    let mut unused = |names: &[&'static str], because| {
        let given = names.iter().filter(|name| given.contains_key(*name));
        warnings.extend(given.map(|&name| (name, WarningKind::Unused { name, because })));
    };
    if !names.iter().any(|(_, on)| *on) {
        unused(
            &["certificate_identity"],
            "neither use_identity_as_username nor require_identity_as_username is on",
        );
    }
    let for_clients = &["crlfile", "disable_client_cert_date_checks"];
    if !certfile {
        unused(
            &["tls_version", "ciphers", "ciphers_tls1.3"],
            "the listener has no TLS",
        );
        unused(for_clients, "the listener has no TLS");
    } else if !require_certificate {
        unused(for_clients, "clients are not asked for a certificate");
    }
    if !proxy_v2 {
        unused(
            &["proxy_protocol_v2_require_tls"],
            "the PROXY protocol is not of version 2",
        );
    }
    if certfile && require_certificate && !cafile {
        warnings.push(("require_certificate", WarningKind::NobodyIsTrusted));
    }
    for (name, on) in names {
        // Behind a proxy the identity may come from the header.
        if on && !require_certificate && !has("psk_hint") && !has("enable_proxy_protocol") {
            warnings.push((name, WarningKind::NoCertificateAsked { name }));
        }
    }

    for (name, kind) in errors {
        parser.error_at(given.get(name).cloned(), name.to_owned(), kind);
    }
    for (name, kind) in warnings {
        if let Some(position) = given.get(name) {
            parser.warn(position.clone(), kind);
        }
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
