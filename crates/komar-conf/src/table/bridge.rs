//! Bridges.

use std::num::NonZeroU16;
use std::time::Duration;

use super::{MAXIMUM, MINIMUM, TLS_VERSIONS, bound, seconds, tls_version, to_u16, to_u32};
use crate::arguments::Apply::{self, Boolean, Integer, Keyword as Word, Path, Special, Text};
use crate::arguments::{Arguments, C_INT, Problem};
use crate::directive::Support::{NoEffect, NotYet, Refused};
use crate::directive::{Action, Directive, Group, Keyword, Scope};
use crate::structure;
use crate::{
    Bridge, BridgeAddress, BridgeProtocol, BridgeStart, BridgeTopic, Direction, ErrorKind, RestartDelay,
    TcpKeepAlive, WarningKind,
};

const NO_BRIDGES: &str = "bridges are not available yet";

pub(super) fn rows() -> Vec<Directive> {
    let mut rows = vec![
        Directive::row(
            Group::Bridge,
            "connection",
            "",
            "connect to another broker; the options of bridges that follow belong to it",
            Action::Structure(Scope::Bridge, "NAME", structure::connection),
        )
        .support(NotYet(NO_BRIDGES))
        .accumulates(),
        row(
            "address",
            "",
            "brokers to try; port 1883 unless written",
            Special("HOST[:PORT] ...", addresses),
        )
        .also(&["addresses"])
        .once(),
        row(
            "topic",
            "",
            "what is bridged",
            Special(
                "PATTERN [out | in | both [QOS [LOCAL-PREFIX [REMOTE-PREFIX]]]]",
                topic,
            ),
        )
        .accumulates(),
        text(
            "remote_clientid",
            "client identifier at the other broker",
            |bridge, value| {
                bridge.remote_clientid = Some(value);
            },
        )
        .also(&["clientid"]),
        text(
            "remote_username",
            "user name at the other broker",
            |bridge, value| {
                bridge.remote_username = Some(value);
            },
        )
        .also(&["username"]),
        text(
            "remote_password",
            "password at the other broker",
            |bridge, value| {
                bridge.remote_password = Some(value);
            },
        )
        .also(&["password"]),
        text(
            "local_clientid",
            "client identifier at this broker",
            |bridge, value| {
                bridge.local_clientid = Some(value);
            },
        ),
        text("local_username", "user name at this broker", |bridge, value| {
            bridge.local_username = Some(value)
        }),
        text("local_password", "password at this broker", |bridge, value| {
            bridge.local_password = Some(value)
        }),
        boolean(
            "cleansession",
            "false",
            "the remote session ends with the connection",
            |bridge, value| {
                bridge.clean_session = value;
            },
        ),
        boolean(
            "local_cleansession",
            "as cleansession",
            "the same at this broker",
            |bridge, value| {
                bridge.local_clean_session = Some(value);
            },
        ),
        boolean(
            "notifications",
            "true",
            "publish whether the bridge is up",
            |bridge, value| {
                bridge.notifications = value;
            },
        ),
        boolean(
            "notifications_local_only",
            "false",
            "not at the other broker",
            |bridge, value| {
                bridge.notifications_local_only = value;
            },
        ),
        text("notification_topic", "topic of that", |bridge, value| {
            bridge.notification_topic = Some(value)
        }),
        row(
            "start_type",
            "automatic",
            "when it connects",
            Word(START_TYPES, |bridge, word| {
                bridge.start = match word {
                    "lazy" => BridgeStart::Lazy,
                    "once" => BridgeStart::Once,
                    _ => BridgeStart::Automatic,
                };
            }),
        ),
        row(
            "restart_timeout",
            "5 30",
            "seconds before it connects again",
            Special("SECONDS, or BASE CAP [STABLE]", restart_timeout),
        ),
        row(
            "idle_timeout",
            "60",
            "seconds after which a lazy bridge is closed",
            Special("SECONDS", |bridge, arguments| {
                bridge.idle_timeout = seconds(at_least(arguments, 1, MAXIMUM)?);
                Ok(())
            }),
        ),
        row(
            "threshold",
            "10",
            "waiting messages that open a lazy bridge",
            Special("MESSAGES", |bridge, arguments| {
                bridge.threshold = to_u32(at_least(arguments, 1, MAXIMUM)?);
                Ok(())
            }),
        ),
        boolean(
            "round_robin",
            "false",
            "try the addresses in turn",
            |bridge, value| bridge.round_robin = value,
        ),
        row(
            "keepalive_interval",
            "60",
            "keep alive in seconds",
            Special("SECONDS, 5 to 65535", |bridge, arguments| {
                bridge.keep_alive = seconds(at_least(arguments, 5, 65535)?);
                Ok(())
            }),
        ),
        boolean(
            "try_private",
            "true",
            "tell the other broker that this is a bridge",
            |bridge, value| {
                bridge.try_private = value;
            },
        ),
        row(
            "bridge_protocol_version",
            "mqttv311",
            "version of MQTT",
            Word(PROTOCOLS, |bridge, word| {
                bridge.protocol_version = match word {
                    "mqttv31" => BridgeProtocol::Mqtt31,
                    "mqttv50" => BridgeProtocol::Mqtt50,
                    _ => BridgeProtocol::Mqtt311,
                };
            }),
        ),
        boolean(
            "bridge_attempt_unsubscribe",
            "true",
            "give up old subscriptions",
            |bridge, value| {
                bridge.attempt_unsubscribe = value;
            },
        ),
        boolean(
            "bridge_outgoing_retain",
            "true",
            "keep the retain flag",
            |bridge, value| {
                bridge.outgoing_retain = value;
            },
        ),
        text(
            "bridge_bind_address",
            "local address to connect from",
            |bridge, value| {
                bridge.bind_address = Some(value);
            },
        ),
        row(
            "bridge_max_packet_size",
            "0",
            "larger messages are not sent; 0 for no bound",
            Integer(MINIMUM, MAXIMUM, |bridge, value| {
                bridge.max_packet_size = bound(value)
            }),
        ),
        row(
            "bridge_max_topic_alias",
            "10",
            "topic aliases",
            Integer(0, 65535, |bridge, value| {
                bridge.max_topic_alias = to_u16(value);
            }),
        ),
        row(
            "bridge_receive_maximum",
            "65535",
            "messages in flight towards this broker",
            Integer(1, 65535, |bridge, value| {
                bridge.receive_maximum = NonZeroU16::new(to_u16(value));
            }),
        ),
        row(
            "bridge_session_expiry_interval",
            "0",
            "seconds that the remote session stays",
            Integer(0, MAXIMUM, |bridge, value| {
                bridge.session_expiry_interval = seconds(value);
            }),
        ),
        row(
            "bridge_reload_type",
            "lazy",
            "when a changed bridge restarts",
            Word(RELOAD_TYPES, |bridge, word| {
                bridge.reload_immediately = word == "immediate";
            }),
        ),
        row(
            "bridge_tcp_keepalive",
            "",
            "probes of TCP",
            Special("IDLE INTERVAL COUNT", tcp_keep_alive),
        ),
        row(
            "bridge_tcp_user_timeout",
            "",
            "milliseconds that sent data may stay unacknowledged",
            Integer(0, MAXIMUM, |bridge, value| {
                bridge.tcp_user_timeout = Some(Duration::from_millis(value.max(0).unsigned_abs()));
            }),
        ),
    ];
    rows.extend(tls_rows());
    rows
}

fn tls_rows() -> Vec<Directive> {
    vec![
        path("bridge_cafile", "authorities, PEM", |bridge, value| {
            bridge.tls.cafile = Some(value)
        }),
        path("bridge_capath", "folder of authorities", |bridge, value| {
            bridge.tls.capath = Some(value)
        }),
        path(
            "bridge_certfile",
            "this broker's certificate, PEM",
            |bridge, value| bridge.tls.certfile = Some(value),
        ),
        Directive {
            repeat: crate::directive::Repeat::LastWins,
            ..path("bridge_keyfile", "its private key, PEM", |bridge, value| {
                bridge.tls.keyfile = Some(value)
            })
        },
        boolean(
            "bridge_tls_use_os_certs",
            "false",
            "trust what the system trusts",
            |bridge, value| {
                bridge.tls.use_os_certs = value;
            },
        ),
        row(
            "bridge_tls_version",
            "tlsv1.2",
            "lowest version of TLS",
            Word(TLS_VERSIONS, |bridge, word| {
                bridge.tls.minimum_version = tls_version(word);
            }),
        )
        .once(),
        text("bridge_ciphers", "suites of TLS 1.2", |bridge, value| {
            bridge.tls.ciphers = Some(value)
        }),
        text("bridge_ciphers_tls1.3", "suites of TLS 1.3", |bridge, value| {
            bridge.tls.ciphers_tls13 = Some(value)
        }),
        text("bridge_alpn", "application protocol", |bridge, value| {
            bridge.tls.alpn = Some(value)
        }),
        boolean(
            "bridge_insecure",
            "false",
            "do not compare the host name",
            |bridge, value| {
                bridge.tls.insecure = value;
            },
        ),
        boolean(
            "bridge_require_ocsp",
            "false",
            "demand a stapled OCSP answer",
            |bridge, value| {
                bridge.tls.require_ocsp = value;
            },
        ),
        text("bridge_identity", "identity of TLS-PSK", |bridge, value| {
            bridge.tls.identity = Some(value)
        }),
        text("bridge_psk", "key of TLS-PSK, hexadecimal", |bridge, value| {
            bridge.tls.psk = Some(value)
        }),
    ]
}

const START_TYPES: &[Keyword] = &[
    Keyword::full("automatic"),
    Keyword::full("lazy"),
    Keyword::full("once"),
    Keyword::with("manual", Refused("nothing could start such a bridge")),
];

const PROTOCOLS: &[Keyword] = &[
    Keyword::full("mqttv31"),
    Keyword::full("mqttv311"),
    Keyword::full("mqttv50"),
];

const RELOAD_TYPES: &[Keyword] = &[Keyword::full("lazy"), Keyword::full("immediate")];

fn row(name: &'static str, default: &'static str, summary: &'static str, apply: Apply<Bridge>) -> Directive {
    Directive::row(Group::Bridge, name, default, summary, Action::Bridge(apply)).support(NoEffect(NO_BRIDGES))
}

/// Texts of bridges may not be given twice.
fn text(name: &'static str, summary: &'static str, set: fn(&mut Bridge, String)) -> Directive {
    row(name, "", summary, Text(set)).once()
}

fn path(name: &'static str, summary: &'static str, set: fn(&mut Bridge, std::path::PathBuf)) -> Directive {
    row(name, "", summary, Path(set)).once()
}

fn boolean(
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    set: fn(&mut Bridge, bool),
) -> Directive {
    row(name, default, summary, Boolean(set))
}

/// A number that is raised to the smallest allowed.
fn at_least(arguments: &mut Arguments<'_>, minimum: i64, maximum: i64) -> Result<i64, Problem> {
    let given = arguments.integer(C_INT.0, maximum)?;
    Ok(clamped(arguments, given, minimum, maximum))
}

fn clamped(arguments: &mut Arguments<'_>, given: i64, minimum: i64, maximum: i64) -> i64 {
    let used = given.clamp(minimum, maximum);
    if used != given {
        arguments.warnings.push(WarningKind::Adjusted {
            name: arguments.name.to_owned(),
            given: given.to_string(),
            used: used.to_string(),
        });
    }
    used
}

fn addresses(bridge: &mut Bridge, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let start = arguments.words.column();
    while let Some(word) = arguments.words.next_word() {
        let text = arguments.checked(word)?;
        if text.starts_with('#') {
            break;
        }
        // The last colon: an IPv6 address needs a port.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|&port| port > 0)),
            None => (text, Some(1883)),
        };
        let port =
            port.ok_or_else(|| arguments.unexpected(word, "HOST or HOST:PORT with a port from 1 to 65535"))?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        bridge.addresses.push(BridgeAddress {
            host: host.to_owned(),
            port,
        });
    }
    if bridge.addresses.is_empty() {
        Err(arguments.missing(start))
    } else {
        Ok(())
    }
}

fn topic(bridge: &mut Bridge, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let mut topic = BridgeTopic {
        pattern: pattern(arguments)?,
        direction: Direction::Out,
        qos: 0,
        local_prefix: String::new(),
        remote_prefix: String::new(),
    };
    if let Some(word) = arguments.words.next_word() {
        topic.direction = match word.bytes.to_ascii_lowercase().as_slice() {
            b"out" => Direction::Out,
            b"in" => Direction::In,
            b"both" => Direction::Both,
            _ => return Err(arguments.unexpected(word, "PATTERN followed by out, in or both")),
        };
    }
    if let Some(word) = arguments.words.next_word() {
        // A remark counts as QoS 0.
        if word.bytes.starts_with(b"#") {
            arguments.words.rest();
        } else {
            topic.qos = u8::try_from(arguments.number(word, 0, 2)?).unwrap_or_default();
        }
    }
    topic.local_prefix = prefix(arguments)?;
    topic.remote_prefix = prefix(arguments)?;
    if topic.pattern.is_empty() && (topic.local_prefix.is_empty() || topic.remote_prefix.is_empty()) {
        let kind = ErrorKind::InvalidValue {
            name: arguments.name.to_owned(),
            value: "\"\"".to_owned(),
            expected: "a pattern, or \"\" with both prefixes",
        };
        return Err(arguments.at_name(kind));
    }
    bridge.topics.push(topic);
    Ok(())
}

/// The pattern, in double quotes if it holds blanks.
fn pattern(arguments: &mut Arguments<'_>) -> Result<String, Problem> {
    let before = arguments.words;
    let word = arguments.word()?;
    if word.bytes == b"\"\"" {
        return Ok(String::new());
    }
    let quoted = word.bytes.starts_with(b"\"");
    if !quoted {
        return Ok(arguments.checked(word)?.to_owned());
    }
    arguments.words = before;
    let unread = arguments.words.unread();
    let mut quotes = unread
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'"')
        .map(|(index, _)| index);
    let (Some(open), Some(close)) = (quotes.next(), quotes.next()) else {
        let mut words = before;
        words.next_word();
        let behind = words.rest().map(|rest| rest.shown()).unwrap_or_default();
        return Err(arguments.at(word, |name, _| ErrorKind::UnclosedQuote { name, behind }));
    };
    let start = open.saturating_add(1);
    let inside = word.of_line(unread.get(start..close).unwrap_or_default(), 1);
    let text = arguments.checked(inside)?.to_owned();
    arguments.words.skip(close.saturating_add(1));
    Ok(text)
}

/// A prefix; `""`, a remark and nothing are none.
fn prefix(arguments: &mut Arguments<'_>) -> Result<String, Problem> {
    let Some(word) = arguments.words.next_word() else {
        return Ok(String::new());
    };
    if word.bytes == b"\"\"" {
        return Ok(String::new());
    }
    if word.bytes.starts_with(b"#") {
        arguments.words.rest();
        return Ok(String::new());
    }
    let text = arguments.checked(word)?;
    if text.contains(['+', '#']) {
        return Err(arguments.unexpected(word, "given prefixes without + and #"));
    }
    Ok(text.to_owned())
}

fn restart_timeout(bridge: &mut Bridge, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let given = arguments.integer(C_INT.0, C_INT.1)?;
    let base = clamped(arguments, given, 1, 3600);
    let Some(word) = arguments.words.next_word() else {
        bridge.restart = RestartDelay::Constant(seconds(base));
        return Ok(());
    };
    let given = arguments.number(word, base, C_INT.1)?;
    let cap = clamped(arguments, given, base, 7200);
    let stable = match arguments.words.next_word() {
        Some(word) => arguments.number(word, 0, C_INT.1)?,
        None => 0,
    };
    bridge.restart = RestartDelay::Jitter {
        base: seconds(base),
        cap: seconds(cap),
        stable: seconds(stable),
    };
    Ok(())
}

fn tcp_keep_alive(bridge: &mut Bridge, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    bridge.tcp_keep_alive = Some(TcpKeepAlive {
        idle: seconds(arguments.integer(1, MAXIMUM)?),
        interval: seconds(arguments.integer(1, MAXIMUM)?),
        count: to_u32(arguments.integer(1, MAXIMUM)?),
    });
    Ok(())
}
