//! Listeners and their TLS.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;

use super::{MAXIMUM, MINIMUM, TLS_VERSIONS, bound, security, tls_version, to_u16, to_u32};
use crate::arguments::Apply::{self, Anything, Boolean, Integer, Keyword as Word, Path, Special, Text};
use crate::arguments::{Arguments, Problem};
use crate::certificate;
use crate::directive::BeforeListener::{self, Default, Error};
use crate::directive::Support::{NoEffect, NotYet, Refused};
use crate::directive::{Action, Directive, Group, Keyword, Scope, Structure};
use crate::draft::ListenerDraft;
use crate::structure;
use crate::{ErrorKind, Protocol, ProtocolVersions, ProxyVersion, RateAction, SocketDomain, WarningKind};

const NO_HTTP: &str = "the HTTP API is not available yet";
const NO_HTTP_LISTENER: &str = "the HTTP API is not available yet, the listener is left out";
const NO_PSK: &str = "TLS-PSK is not available";
const NO_ENGINES: &str = "there are no OpenSSL engines";

pub(super) fn rows() -> Vec<Directive> {
    vec![
        structure(
            "listener",
            "PORT [ADDRESS], or 0 PATH for a Unix socket",
            "accept connections here; the options of listeners that follow belong to it",
            structure::listener,
        )
        .accumulates(),
        structure(
            "port",
            "PORT",
            "accept connections on this port, the default listener",
            structure::port,
        )
        .until_3(Some("'listener'")),
        structure(
            "bind_address",
            "ADDRESS",
            "address of the default listener",
            structure::bind_address,
        )
        .once()
        .until_3(Some("'listener'")),
        row(
            Default,
            "bind_interface",
            "",
            "bind to the addresses of this network interface",
            Text(|draft, value| draft.listener.bind_interface = Some(value)),
        )
        .once(),
        row(
            Default,
            "socket_domain",
            "",
            "only this address family",
            Word(SOCKET_DOMAINS, |draft, word| {
                draft.listener.socket_domain = Some(if word == "ipv6" {
                    SocketDomain::Ipv6
                } else {
                    SocketDomain::Ipv4
                });
            }),
        ),
        row(
            Default,
            "protocol",
            "mqtt",
            "what is spoken",
            Word(PROTOCOLS, |draft, word| {
                draft.listener.protocol = match word {
                    "websockets" => Protocol::WebSockets,
                    "http_api" => Protocol::HttpApi,
                    _ => Protocol::Mqtt,
                };
            }),
        ),
        row(
            Error,
            "accept_protocol_versions",
            "3,4,5",
            "3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0",
            Special(
                "list of 3, 4, 5, separated by commas or spaces",
                protocol_versions,
            ),
        ),
        row(
            Default,
            "max_connections",
            "-1",
            "connections at a time; 0 and less for no bound",
            Integer(MINIMUM, MAXIMUM, |draft, value| {
                draft.listener.max_connections = bound(value)
            }),
        )
        .new_connections(),
        row(
            Error,
            "max_connection_rate",
            "0",
            "connections a second, more are closed at once; 0 for no bound (Komar's own)",
            Integer(0, MAXIMUM, |draft, value| {
                draft.listener.rates.connections = rate(value)
            }),
        ),
        row(
            Error,
            "max_connection_rate_address",
            "0",
            "max_connection_rate of one address (of IPv6 its first 64 bits; the one a proxy names)",
            Integer(0, MAXIMUM, |draft, value| {
                draft.listener.rates.connections_by_address = rate(value)
            }),
        ),
        row(
            Error,
            "connection_rate_answer",
            "false",
            "connections that are too many are told so (0x9F) after CONNECT; costs their handshakes",
            Boolean(|draft, value| draft.listener.rates.answer_connections = value),
        ),
        row(
            Error,
            "max_message_rate",
            "0",
            "messages a second that one client publishes; 0 for no bound (Komar's own)",
            Integer(0, MAXIMUM, |draft, value| {
                draft.listener.rates.messages_by_client = rate(value)
            }),
        ),
        row(
            Error,
            "max_message_rate_address",
            "0",
            "max_message_rate of all clients at one address together",
            Integer(0, MAXIMUM, |draft, value| {
                draft.listener.rates.messages_by_address = rate(value)
            }),
        ),
        row(
            Error,
            "max_message_rate_listener",
            "0",
            "max_message_rate of all clients of the listener together",
            Integer(0, MAXIMUM, |draft, value| {
                draft.listener.rates.messages = rate(value)
            }),
        ),
        row(
            Error,
            "message_rate_action",
            "pause",
            "too many messages: pause (PINGREQ is not read either), refuse (0x97), disconnect (0x96)",
            Word(RATE_ACTIONS, |draft, word| {
                draft.listener.rates.action = match word {
                    "refuse" => RateAction::Refuse,
                    "disconnect" => RateAction::Disconnect,
                    _ => RateAction::Pause,
                };
            }),
        ),
        row(
            Default,
            "max_qos",
            "2",
            "highest QoS",
            Integer(0, 2, |draft, value| {
                draft.listener.max_qos = u8::try_from(value).unwrap_or(2);
            }),
        )
        .new_connections()
        .also(&["maximum_qos"]),
        row(
            Error,
            "max_topic_alias",
            "10",
            "topic aliases that a client may set",
            Integer(0, 65535, |draft, value| {
                draft.listener.max_topic_alias = to_u16(value)
            }),
        )
        .new_connections(),
        row(
            Error,
            "max_topic_alias_broker",
            "10",
            "topic aliases that are set towards a client",
            Integer(0, 65535, |draft, value| {
                draft.listener.max_topic_alias_broker = to_u16(value)
            }),
        )
        .new_connections(),
        row(
            Error,
            "mount_point",
            "",
            "stands before every topic of this listener's clients",
            Special("TEXT without + and #", mount_point),
        )
        .support(NotYet("mount points are not available yet")),
        row(
            Default,
            "use_username_as_clientid",
            "false",
            "the user name replaces the client identifier",
            Boolean(|draft, value| draft.listener.use_username_as_clientid = value),
        ),
        row(
            Error,
            "listener_allow_anonymous",
            "as allow_anonymous",
            "allow_anonymous of this listener",
            Boolean(|draft, value| draft.security.allow_anonymous = Some(value)),
        ),
        row(
            Error,
            "listener_auto_id_prefix",
            "as auto_id_prefix",
            "auto_id_prefix of this listener",
            Special("TEXT, up to 50 bytes", |draft, arguments| {
                security::id_prefix(&mut draft.security, arguments)
            }),
        )
        .once(),
        row(
            Error,
            "enable_proxy_protocol",
            "",
            "every connection begins with a PROXY header of this version",
            Integer(1, 2, |draft, value| {
                draft.proxy_version = Some(if value == 1 {
                    ProxyVersion::V1
                } else {
                    ProxyVersion::V2
                });
            }),
        ),
        row(
            Error,
            "proxy_protocol_v2_require_tls",
            "false",
            "close what did not come to the proxy over TLS",
            Boolean(|draft, value| draft.proxy_require_tls = value),
        ),
        row(
            Error,
            "proxy_trusted",
            "",
            "accept PROXY headers only from this address or network (Komar's own)",
            Special("ADDRESS or ADDRESS/PREFIX", proxy_trusted),
        )
        .accumulates(),
        row(
            Error,
            "http_dir",
            "",
            "files served over HTTP",
            Path(|draft, value| {
                draft.listener.http_dir = Some(value);
            }),
        )
        .once()
        .support(NoEffect(NO_HTTP)),
        row(
            Error,
            "websockets_origin",
            "",
            "allowed value of the header Origin; all if not given",
            Text(|draft, value| draft.listener.websockets_origins.push(value)),
        )
        .new_connections()
        .accumulates(),
    ]
}

pub(super) fn tls_rows() -> Vec<Directive> {
    vec![
        tls(
            Default,
            "certfile",
            "",
            "the broker's certificate chain, leaf first, PEM",
            Path(|draft, value| draft.tls.certfile = Some(value)),
        )
        .new_connections(),
        tls(
            Default,
            "keyfile",
            "",
            "the private key, PEM",
            Path(|draft, value| {
                draft.tls.keyfile = Some(value);
            }),
        )
        .new_connections(),
        tls(
            Error,
            "cafile",
            "",
            "authorities of clients' certificates, PEM",
            Path(|draft, value| {
                draft.tls.rest.cafile = Some(value);
            }),
        ),
        tls(
            Default,
            "capath",
            "",
            "folder of authorities: its hashed names if it has any, else *.pem, *.crt and *.cer",
            Path(|draft, value| {
                draft.tls.rest.capath = Some(value);
            }),
        ),
        tls(
            Default,
            "require_certificate",
            "false",
            "clients need a certificate; otherwise none is asked for",
            Boolean(|draft, value| draft.tls.rest.require_certificate = value),
        ),
        tls(
            Default,
            "use_identity_as_username",
            "false",
            "the CN of the client's certificate is the user name",
            Boolean(|draft, value| draft.listener.use_identity_as_username = value),
        ),
        tls(
            Default,
            "use_subject_as_username",
            "false",
            "the subject of the client's certificate is the user name",
            Boolean(|draft, value| draft.listener.use_subject_as_username = value),
        ),
        tls(
            Default,
            "require_identity_as_username",
            "false",
            "the user name must be the certificate's CN, with its password (Komar's own)",
            Boolean(|draft, value| draft.listener.require_identity_as_username = value),
        ),
        tls(
            Error,
            "certificate_identity",
            "cn",
            "what of the certificate use_ and require_identity_as_username take (Komar's own)",
            Special(certificate::IDENTITY_FORM, certificate::identity),
        ),
        tls(
            Error,
            "certificate_allow_name",
            "",
            "refuse certificates of other identities, unless they are listed otherwise (Komar's own)",
            Text(|draft, value| draft.listener.allowed_certificates.names.push(value)),
        )
        .accumulates(),
        tls(
            Error,
            "certificate_allow_fingerprint",
            "",
            "refuse certificates of another SHA-256, unless listed otherwise (Komar's own)",
            Special(certificate::FINGERPRINT_FORM, certificate::allow_fingerprint),
        )
        .accumulates(),
        tls(
            Error,
            "certificate_allow_folder",
            "",
            "refuse certificates that are not in this folder, unless listed otherwise (Komar's own)",
            Path(|draft, value| draft.listener.allowed_certificates.folders.push(value)),
        )
        .accumulates(),
        tls(
            Default,
            "crlfile",
            "",
            "revoked certificates, PEM",
            Path(|draft, value| {
                draft.tls.rest.crlfile = Some(value);
            }),
        ),
        tls(
            Error,
            "disable_client_cert_date_checks",
            "false",
            "accept client certificates that are expired or not yet valid",
            Boolean(|draft, value| draft.tls.rest.disable_client_cert_date_checks = value),
        ),
        tls(
            Error,
            "tls_version",
            "tlsv1.2",
            "lowest version of TLS",
            Word(TLS_VERSIONS, |draft, word| {
                draft.tls.rest.minimum_version = tls_version(word)
            }),
        )
        .new_connections()
        .once(),
        tls(
            Default,
            "ciphers",
            "",
            "suites of TLS 1.2, as OpenSSL lists them; only those with ECDHE and AEAD are served",
            Text(|draft, value| {
                draft.tls.rest.ciphers = Some(value);
            }),
        )
        .new_connections(),
        tls(
            Default,
            "ciphers_tls1.3",
            "",
            "suites of TLS 1.3, separated by colons",
            Text(|draft, value| {
                draft.tls.rest.ciphers_tls13 = Some(value);
            }),
        )
        .new_connections(),
        Directive::row(
            Group::Tls,
            "dhparamfile",
            "",
            "nothing; key exchange needs no parameters",
            // Not a matter of a listener: it is accepted before the first one and creates none.
            Action::Global(Anything),
        )
        .support(NoEffect("key exchange needs no parameters")),
        // What is not encrypted must not start as if it were.
        tls(
            Default,
            "psk_hint",
            "",
            "use TLS-PSK",
            Text(|draft, value| draft.tls.psk_hint = Some(value)),
        )
        .once()
        .support(Refused(NO_PSK)),
        tls(Default, "tls_engine", "", "OpenSSL engine", Text(|_, _| {}))
            .once()
            .support(Refused(NO_ENGINES)),
        tls(
            Default,
            "tls_engine_kpass_sha1",
            "",
            "password of the engine's key",
            Text(|_, _| {}),
        )
        .support(Refused(NO_ENGINES)),
        tls(
            Default,
            "tls_keyform",
            "pem",
            "where the key is",
            Word(KEY_FORMS, |_, _| {}),
        ),
    ]
}

const SOCKET_DOMAINS: &[Keyword] = &[Keyword::full("ipv4"), Keyword::full("ipv6")];

const KEY_FORMS: &[Keyword] = &[Keyword::full("pem"), Keyword::with("engine", Refused(NO_ENGINES))];

const RATE_ACTIONS: &[Keyword] = &[
    Keyword::full("pause"),
    Keyword::full("refuse"),
    Keyword::full("disconnect"),
];

/// 0 is no bound.
fn rate(value: i64) -> Option<NonZeroU32> {
    NonZeroU32::new(to_u32(value))
}

const PROTOCOLS: &[Keyword] = &[
    Keyword::full("mqtt"),
    Keyword::full("websockets"),
    Keyword::with("http_api", NoEffect(NO_HTTP_LISTENER)),
];

fn row(
    before: BeforeListener,
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    apply: Apply<ListenerDraft>,
) -> Directive {
    Directive::row(
        Group::Listener,
        name,
        default,
        summary,
        Action::Listener(before, apply),
    )
}

fn tls(
    before: BeforeListener,
    name: &'static str,
    default: &'static str,
    summary: &'static str,
    apply: Apply<ListenerDraft>,
) -> Directive {
    Directive::row(
        Group::Tls,
        name,
        default,
        summary,
        Action::Listener(before, apply),
    )
}

fn structure(name: &'static str, form: &'static str, summary: &'static str, run: Structure) -> Directive {
    Directive::row(
        Group::Listener,
        name,
        "",
        summary,
        Action::Structure(Scope::Listener, form, run),
    )
}

fn protocol_versions(draft: &mut ListenerDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let mut versions = ProtocolVersions::NONE;
    let rest = arguments.words.column();
    let list = arguments.words.rest().ok_or_else(|| arguments.missing(rest))?;
    for word in list
        .bytes
        .split(|&byte| matches!(byte, b',' | b' ' | b'\t'))
        .filter(|word| !word.is_empty())
    {
        match word {
            b"3" => versions.mqtt_3_1 = true,
            b"4" => versions.mqtt_3_1_1 = true,
            b"5" => versions.mqtt_5_0 = true,
            _ => arguments.warnings.push(WarningKind::IgnoredWord {
                name: arguments.name.to_owned(),
                word: crate::lexer::shown(word),
            }),
        }
    }
    draft.listener.accept_protocol_versions = versions;
    Ok(())
}

fn proxy_trusted(draft: &mut ListenerDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let (word, text) = arguments.word_text()?;
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        network.map_err(|_| arguments.unexpected(word, "an IP address, or a network such as 10.0.0.0/8"))?;
    draft.proxy_trusted.push(network);
    Ok(())
}

fn mount_point(draft: &mut ListenerDraft, arguments: &mut Arguments<'_>) -> Result<(), Problem> {
    let (word, text) = arguments.text_word()?;
    if text.contains(['+', '#']) {
        return Err(arguments.at(word, |name, value| ErrorKind::Wildcard { name, value }));
    }
    draft.listener.mount_point = Some(text.to_owned());
    Ok(())
}
