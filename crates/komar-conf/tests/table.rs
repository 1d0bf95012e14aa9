//! The table of directives against the list of all options.

use std::collections::BTreeSet;
use std::path::Path;

use komar_conf::{
    Config, ErrorKind, Group, Memory, Scope, Support, ValueType, directive, directives, known_plugins, load,
    parse_str,
};

/// What lines of a scope need before them, if `name` is among them.
fn before(scope: Scope, name: &str) -> String {
    let lines: &[&str] = match scope {
        Scope::Global | Scope::Security => &[],
        Scope::Listener if name == "bind_address" || name == "port" || name == "listener" => &[],
        Scope::Listener if name == "plugin_use" => {
            &["plugin_load loaded sparkplug_aware.so", "listener 1883"]
        }
        Scope::Listener => &["listener 1883"],
        Scope::Bridge if name.starts_with("address") => &["connection one", "topic a"],
        Scope::Bridge => &["connection one", "address a", "topic a"],
        Scope::Plugin if name.ends_with("acl_file") => &["plugin mosquitto_acl_file.so"],
        Scope::Plugin => &["plugin sparkplug_aware.so"],
        _ => panic!("a new scope"),
    };
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn scope_name(scope: Scope) -> String {
    format!("{scope:?}").to_lowercase()
}

/// `None` if it is refused.
fn config(text: &str) -> Option<Config> {
    let source = Memory::default()
        .with("m.conf", text)
        .with("conf.d/a.conf", "sys_interval 3\n");
    match load(Path::new("m.conf"), &source) {
        Ok(loaded) => Some(loaded.config),
        Err(errors)
            if errors
                .errors
                .iter()
                .all(|error| matches!(error.kind, ErrorKind::Refused { .. })) =>
        {
            None
        }
        Err(errors) => panic!("{text}\n{errors}"),
    }
}

#[test]
fn every_option_is_a_row_and_its_value_is_seen() {
    let mut listed = BTreeSet::new();
    for line in include_str!("data/options.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [name, scope, value] = line
            .split(" | ")
            .collect::<Vec<_>>()
            .try_into()
            .expect("three columns");
        let row = directive(name).unwrap_or_else(|| panic!("no row for {name}"));
        assert_eq!(scope_name(row.scope()), scope, "{name}");
        assert!(
            listed.insert(if row.name.ends_with('_') { row.name } else { name }) || row.name == "plugin_opt_"
        );

        let before = before(row.scope(), name);
        let with = config(&format!("{before}{name} {}\n", value.replace("; ", "\n")));
        let refused = matches!(row.support, Support::Refused(_));
        assert_eq!(with.is_none(), refused, "{name}");
        // What has no effect may be absent from the configuration; these are the ones that are.
        let unseen = [
            "retry_interval",
            "websockets_log_level",
            "dhparamfile",
            "auth_plugin_deny_special_chars",
            "tls_keyform",
        ];
        if !refused && !unseen.contains(&name) && row.scope() != Scope::Plugin {
            let others = value
                .split_once("; ")
                .map_or("", |(_, others)| others)
                .replace("; ", "\n");
            let others =
                if others.contains("certfile a\nkeyfile b") || others.contains("use_identity_as_username") {
                    others
                } else {
                    String::new()
                };
            // A connection without an address is nothing to compare with.
            let before = if row.name == "address" { "" } else { &before };
            let without = config(&format!("{before}{others}\n"));
            assert_ne!(with, without, "{name} {value} changes nothing");
        }
    }
    for row in directives() {
        for name in std::iter::once(&row.name).chain(row.aliases) {
            assert!(
                listed.contains(name) || *name == "auth_opt_",
                "{name} is not in the list of options"
            );
            assert_eq!(
                directive(name).map(|found| found.name),
                Some(row.name),
                "{name} is in two rows"
            );
        }
        assert!(!row.summary.is_empty() && row.summary.len() < 90, "{}", row.name);
        assert!(
            !row.summary.ends_with('.') && !row.summary.starts_with(char::is_uppercase)
                || row.summary.starts_with("QoS")
                || row.summary.starts_with("OpenSSL"),
            "{}",
            row.name
        );
    }
}

#[test]
fn the_defaults_that_the_table_shows_are_those_that_hold() {
    let mut checked = 0;
    for row in directives() {
        let is_value = match row.value_type() {
            ValueType::Boolean => matches!(row.default, "true" | "false"),
            ValueType::Integer { .. } => row.default.parse::<i64>().is_ok(),
            ValueType::Words(words) => words.iter().any(|keyword| keyword.word == row.default),
            _ => matches!(
                row.name,
                "user"
                    | "persistence_file"
                    | "restart_timeout"
                    | "auto_id_prefix"
                    | "accept_protocol_versions"
                    | "log_dest"
                    | "threshold"
                    | "idle_timeout"
                    | "keepalive_interval"
                    | "certificate_identity"
            ),
        };
        if !is_value {
            // Only these say their default in words, or have none.
            let in_words = row.default.is_empty()
                || matches!(
                    row.name,
                    "allow_anonymous"
                        | "listener_allow_anonymous"
                        | "listener_auto_id_prefix"
                        | "local_cleansession"
                        | "log_type"
                );
            assert!(in_words, "{}: {}", row.name, row.default);
            continue;
        }
        let before = before(row.scope(), row.name);
        let with = config(&format!("{before}{} {}\n", row.name, row.default));
        match row.name {
            // Given, it is a value; not given, it is left to the protocol.
            "bridge_receive_maximum" => {}
            _ if row.scope() == Scope::Plugin => {}
            _ => assert_eq!(with, config(&before), "{} {}", row.name, row.default),
        }
        checked += 1;
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn a_default_needs_no_warning() {
    for row in directives().iter().filter(|row| row.deprecated.is_none()) {
        let simple = matches!(row.value_type(), ValueType::Boolean | ValueType::Integer { .. });
        if simple && row.scope() == Scope::Global && !row.default.is_empty() {
            let loaded = parse_str(&format!("{} {}\n", row.name, row.default), "m.conf").expect("a default");
            assert_eq!(loaded.warnings, [], "{}", row.name);
        }
    }
}

#[test]
fn chapters_are_together() {
    let mut groups: Vec<Group> = directives().iter().map(|row| row.group).collect();
    groups.dedup();
    let distinct: BTreeSet<Group> = groups.iter().copied().collect();
    assert_eq!(groups.len(), distinct.len(), "{groups:?}");
}

#[test]
fn plugins_by_their_usual_names() {
    for row in known_plugins() {
        for file in [
            format!("/usr/lib/mosquitto_{}.so", row.name),
            format!("C:\\Program Files\\mosquitto\\mosquitto_{}.dll", row.name),
            format!("./{}.so.1", row.name.replace('_', "-")),
            row.name.to_owned(),
        ] {
            let options = "plugin_opt_acl_file a\nplugin_opt_password_file b\n";
            let loaded = parse_str(&format!("plugin {file}\n{options}"), "m.conf");
            match (row.support, loaded) {
                (Support::Refused(_), Err(errors)) => {
                    assert!(
                        matches!(errors.errors[0].kind, ErrorKind::Refused { .. }),
                        "{file}"
                    );
                }
                (_, Ok(loaded)) => assert_eq!(loaded.config.plugins[0].kind, row.kind, "{file}"),
                (_, Err(errors)) => panic!("{file}: {errors}"),
            }
        }
    }
}
