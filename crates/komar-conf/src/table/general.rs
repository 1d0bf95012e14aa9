//! General settings, limits, delivery, persistence.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::{MAXIMUM, MINIMUM, bound, seconds, to_u16, to_u32};
use crate::arguments::Apply::{self, Anything, Boolean, Integer, Path, Special, Text};
use crate::arguments::{Arguments, Problem, parse_integer};
use crate::directive::Support::NoEffect;
use crate::directive::{Action, Directive, Group, Scope};
use crate::draft::Draft;
use crate::structure;
use crate::{ErrorKind, WarningKind};

const NO_STORE: &str = "there is no store yet, nothing survives a restart";

pub(super) fn rows() -> Vec<Directive> {
    vec![
        row(
            "allow_duplicate_messages",
            "true",
            "a client gets one copy for each of its subscriptions that match",
            Boolean(|draft, value| draft.config.messages.allow_duplicate_messages = value),
        )
        .until_3(None),
        row(
            "check_retain_source",
            "true",
            "a retained message is delivered only while its publisher may still write there",
            Boolean(|draft, value| draft.config.messages.check_retain_source = value),
        ),
        row(
            "clientid_prefixes",
            "",
            "only client identifiers that begin with this may connect",
            Text(|draft, value| draft.config.clientid_prefixes = Some(value)),
        )
        .until_3(None),
        row(
            "enable_control_api",
            "false",
            "serve $CONTROL/broker/v1",
            Boolean(|draft, value| draft.config.enable_control_api = value),
        )
        .support(NoEffect("the control API is not available yet")),
        row(
            "enforce_receive_maximum",
            "false",
            "end 5.0 connections that exceed the receive maximum, instead of a warning (Komar's own)",
            Boolean(|draft, value| draft.config.messages.enforce_receive_maximum = value),
        ),
        row(
            "global_max_clients",
            "-1",
            "sessions, connected or not; 0 and less for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.config.limits.global_max_clients = bound(value)
            }),
        ),
        row(
            "global_max_connections",
            "-1",
            "connections over all listeners; 0 and less for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.config.limits.global_max_connections = bound(value)
            }),
        ),
        structure(
            "include_dir",
            "DIRECTORY",
            "read every *.conf in this folder here",
            structure::include_dir,
        )
        .accumulates(),
        row(
            "max_inflight_bytes",
            "0",
            "payload bytes in flight for one client and direction; 0 for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.config.limits.max_inflight_bytes = bound(value)
            }),
        ),
        row(
            "max_inflight_messages",
            "20",
            "QoS 1 and 2 messages in flight for one client and direction; 0 and 65535 for no bound",
            Integer(MINIMUM, 65535, |draft, value| {
                draft.config.limits.max_inflight_messages =
                    Some(to_u16(value)).filter(|&value| value > 0 && value < u16::MAX);
            }),
        )
        .new_connections(),
        row(
            "max_keepalive",
            "0",
            "longest keep alive accepted, in seconds; 0 for no bound",
            Integer(0, 65535, |draft, value| {
                draft.config.limits.max_keepalive = (value > 0).then(|| seconds(value));
            }),
        )
        .new_connections(),
        row(
            "max_packet_size",
            "2000000",
            "largest packet accepted, in bytes",
            Integer(20, MAXIMUM, |draft, value| {
                draft.config.limits.max_packet_size = to_u32(value)
            }),
        )
        .new_connections(),
        row(
            "max_queued_bytes",
            "0",
            "payload bytes that wait for one client; 0 for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.config.limits.max_queued_bytes = bound(value)
            }),
        ),
        row(
            "max_queued_messages",
            "1000",
            "messages that wait for one client; 0 for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.config.limits.max_queued_messages = bound(value)
            }),
        ),
        row(
            "memory_limit",
            "0",
            "bytes that the process may use; 0 for no bound",
            Integer(0, i64::MAX, |draft, value| {
                draft.config.limits.memory_limit = Some(value.unsigned_abs()).filter(|&value| value > 0);
            }),
        )
        .support(NoEffect("memory is bounded by the other limits")),
        row(
            "message_size_limit",
            "0",
            "largest payload accepted, in bytes; 0 for no bound",
            Integer(0, 268_435_455, |draft, value| {
                draft.config.limits.message_size_limit = bound(value)
            }),
        )
        .better("'max_packet_size'"),
        row(
            "packet_buffer_size",
            "4096",
            "longest head of an HTTP upgrade, in bytes; 0 for 4096",
            Integer(0, 65535, |draft, value| {
                draft.config.limits.packet_buffer_size = to_u16(if value == 0 { 4096 } else { value })
            }),
        )
        .also(&["websockets_headers_size"]),
        row(
            "password_threads",
            "0",
            "passwords checked at a time; 0 for half of the processors (Komar's own)",
            Integer(0, 1024, |draft, value| {
                draft.config.password_threads = NonZeroU16::new(to_u16(value))
            }),
        )
        .restart(),
        structure(
            "per_listener_settings",
            "true | false",
            "every listener has security of its own; must stand before every option of security",
            structure::per_listener_settings,
        )
        .until_3(Some("'listener_allow_anonymous' and 'plugin_use'")),
        row(
            "persistent_client_expiration",
            "",
            "how long the session of an absent client is kept",
            Special("NUMBER followed by s, h, d, w, m or y", expiration),
        )
        .new_connections(),
        row(
            "pid_file",
            "",
            "where the process writes its id",
            Path(|draft, value| draft.config.pid_file = Some(value)),
        )
        .once()
        .restart(),
        row(
            "queue_qos0_messages",
            "false",
            "QoS 0 messages wait for absent clients too",
            Boolean(|draft, value| draft.config.messages.queue_qos0_messages = value),
        ),
        row(
            "retain_available",
            "true",
            "messages may be retained",
            Boolean(|draft, value| draft.config.messages.retain_available = value),
        ),
        row(
            "retain_expiry_interval",
            "",
            "minutes after which a retained message goes",
            Special("MINUTES, 1 to 10000000", retain_expiry),
        ),
        row(
            "retry_interval",
            "",
            "nothing; older releases sent again after this time",
            Anything,
        )
        .support(NoEffect("messages are sent again only after a new connect")),
        row(
            "set_tcp_nodelay",
            "true",
            "send small packets at once",
            Boolean(|draft, value| draft.config.set_tcp_nodelay = value),
        )
        .new_connections(),
        row(
            "sys_interval",
            "10",
            "seconds between two publications of $SYS; 0 for never",
            Integer(0, 65535, |draft, value| {
                draft.config.sys_interval = (value > 0).then(|| seconds(value));
            }),
        ),
        row(
            "mosquitto_reason_codes",
            "true",
            "answer protocol errors with Mosquitto's codes where MQTT 5.0 has others",
            Boolean(|draft, value| draft.config.messages.mosquitto_reason_codes = value),
        ),
        row(
            "sys_version",
            "",
            "what $SYS/broker/version says; if not given, 'komar version' and its number (Komar's own)",
            Text(|draft, value| draft.config.sys_version = Some(value)),
        )
        .restart(),
        row(
            "upgrade_outgoing_qos",
            "false",
            "deliver with the QoS of the subscription even if it is above the publisher's",
            Boolean(|draft, value| draft.config.messages.upgrade_outgoing_qos = value),
        ),
        row(
            "user",
            "mosquitto",
            "whom to become when started as root",
            Text(|draft, value| draft.config.user = value),
        )
        .restart(),
        // Persistence
        persistence(
            "persistence",
            "false",
            "sessions and retained messages survive a restart",
            Boolean(|draft, value| draft.config.persistence.enabled = value),
        )
        .also(&["retained_persistence"]),
        persistence(
            "persistence_location",
            "",
            "folder of the database; the working directory if not given",
            Path(|draft, value| draft.config.persistence.location = Some(value)),
        )
        .once(),
        persistence(
            "persistence_file",
            "mosquitto.db",
            "name of the database",
            Text(|draft, value| draft.config.persistence.file = PathBuf::from(value)),
        )
        .once(),
        persistence(
            "autosave_interval",
            "1800",
            "seconds, or changes, between two snapshots; 0 for none",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.autosave_interval = to_u32(value)
            }),
        ),
        persistence(
            "autosave_on_changes",
            "false",
            "autosave_interval counts changes",
            Boolean(|draft, value| draft.autosave_on_changes = value),
        ),
    ]
}

fn row(name: &'static str, default: &'static str, summary: &'static str, apply: Apply<Draft>) -> Directive {
    Directive::row(Group::General, name, default, summary, Action::Global(apply))
}

fn persistence(
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    apply: Apply<Draft>,
) -> Directive {
    Directive::row(Group::Persistence, name, default, summary, Action::Global(apply))
        .support(NoEffect(NO_STORE))
}

fn structure(
    name: &'static str,
    form: &'static str,
    summary: &'static str,
    run: crate::directive::Structure,
) -> Directive {
    Directive::row(
        Group::General,
        name,
        "",
        summary,
        Action::Structure(Scope::Global, form, run),
    )
}

fn expiration(draft: &mut Draft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    const EXPECTED: &str = "a positive number followed by s, h, d, w, m or y";
    let word = arguments.word()?;
    let duration = || {
        let (unit, number) = word.bytes.split_last()?;
        let unit = match unit {
            b's' => 1,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 7 * 86_400,
            b'm' => 30 * 86_400,
            b'y' => 365 * 86_400,
            _ => return None,
        };
        // Decimal, unlike all other numbers of the file.
        let number: u64 = std::str::from_utf8(number)
            .ok()?
            .parse()
            .ok()
            .filter(|&number| number > 0)?;
        number.checked_mul(unit).map(Duration::from_secs)
    };
    let duration = duration().ok_or_else(|| arguments.unexpected(word, EXPECTED))?;
    draft.config.limits.persistent_client_expiration = Some(duration);
    Ok(())
}

fn retain_expiry(draft: &mut Draft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    const LONGEST: i64 = 10_000_000;
    let word = arguments.word()?;
    let given = match parse_integer(word.bytes) {
        Some(given @ 1..=MAXIMUM) => given,
        Some(_) => {
            let out_of_range = |name, value| ErrorKind::OutOfRange {
                name,
                value,
                minimum: 1,
                maximum: LONGEST,
            };
            return Err(arguments.at(word, out_of_range));
        }
        None => return Err(arguments.at(word, |name, value| ErrorKind::NotNumber { name, value })),
    };
    if given > LONGEST {
        arguments.warnings.push(WarningKind::Adjusted {
            name: arguments.name.to_owned(),
            given: given.to_string(),
            used: LONGEST.to_string(),
        });
    }
    let minutes = given.min(LONGEST);
    draft.config.messages.retain_expiry_interval = Some(seconds(minutes.saturating_mul(60)));
    Ok(())
}
