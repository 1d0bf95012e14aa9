//! Every option of mosquitto.conf does something that is seen from outside, or says at the start that it does not.

use std::collections::BTreeMap;

use komar_conf::{Group, Support, directives};

use crate::broker::is_komar;
use crate::play::{conversations_of, play_all};

#[test]
fn what_options_do_is_seen_from_outside() {
    if is_komar() {
        play_all("effects.txt", EFFECTS);
    }
}

#[test]
fn a_reload_takes_effect_at_once() {
    if is_komar() {
        play_all("reload.txt", include_str!("data/reload.txt"));
    }
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    if is_komar() {
        play_all("reload_failures.txt", include_str!("data/reload_failures.txt"));
    }
}

#[test]
fn signals_exit_codes_log_and_figures() {
    if is_komar() {
        play_all("operation.txt", include_str!("data/operation.txt"));
    }
}

#[test]
fn no_option_is_read_and_forgotten() {
    let mut shown: BTreeMap<&str, String> = BTreeMap::new();
    for conversation in conversations_of(EFFECTS) {
        let names = conversation.title.split(':').next().unwrap_or_default();
        for name in names.split(',').map(str::trim) {
            let lines = conversation.lines.iter().map(|(_, line)| *line);
            shown
                .entry(name)
                .or_default()
                .extend(lines.flat_map(|line| [line, "\n"]));
        }
    }
    for row in directives() {
        // A configuration with a bridge does not start at all: that of `connection` is the conversation for it.
        if row.group == Group::Bridge && row.name != "connection" || UNSEEN.contains(&row.name) {
            continue;
        }
        let lines = shown
            .get(row.name)
            .unwrap_or_else(|| panic!("no conversation shows what '{}' does", row.name));
        match row.support {
            Support::NoEffect(_) => {
                let warning = format!("{}' has no effect", row.name.trim_end_matches('_'));
                assert!(lines.contains(&warning), "{}: no warning is looked at", row.name);
            }
            Support::NotYet(_) => {
                let warning = format!("'{}' keeps the broker from starting", row.name);
                assert!(lines.contains(&warning), "{}: no warning is looked at", row.name);
                assert!(lines.contains("fails 3"), "{}: it must not start", row.name);
            }
            Support::Refused(_) => assert!(lines.contains("fails 3"), "{}: it must be refused", row.name),
            _ => assert!(
                !lines.contains(&format!("says '{}' has no effect", row.name)),
                "{}: its row says that it has an effect",
                row.name
            ),
        }
    }
}

/// What cannot be seen from outside within a test. Others look at the socket's option, at what the daemon behind
/// `/dev/log` gets, and at what happens after a minute of the core's clock.
const UNSEEN: [&str; 3] = ["set_tcp_nodelay", "log_facility", "retain_expiry_interval"];

const EFFECTS: &str = include_str!("data/effects.txt");
