//! One listener and its TLS settings.

use std::num::NonZeroU32;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::{AllowedCertificates, Position, Security};

/// One place where connections are accepted, with all that holds for them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Listener {
    /// The line that defined it; `None` for the listeners of local-only mode and those made by hand.
    pub position: Option<Position>,
    /// TCP port; 0 for a Unix socket.
    pub port: u16,
    /// Host name or address to bind to. Default: `None`, every IPv4 and IPv6 address.
    pub address: Option<String>,
    /// Path of the Unix socket, if it is one (`listener 0 PATH`).
    pub unix_path: Option<PathBuf>,
    /// `bind_interface`: bind to the addresses of this network interface. Default: none.
    pub bind_interface: Option<String>,
    /// `socket_domain`: only this address family. Default: `None`, both.
    pub socket_domain: Option<SocketDomain>,
    /// `protocol`. Default: MQTT.
    pub protocol: Protocol,
    /// Set when `certfile` and `keyfile` are given.
    pub tls: Option<Tls>,
    /// `enable_proxy_protocol` and what belongs to it. Default: `None`.
    pub proxy: Option<Proxy>,
    /// `use_identity_as_username`: the CN of the client's certificate is the user name. Default: `false`.
    pub use_identity_as_username: bool,
    /// `use_subject_as_username`: the whole subject is the user name; the identity wins if both are on.
    /// Default: `false`.
    pub use_subject_as_username: bool,
    /// `require_identity_as_username`: the user name in CONNECT must be the CN of the client's certificate, and its
    /// password is asked for too. Default: `false`. Komar's own.
    pub require_identity_as_username: bool,
    /// `certificate_identity`: what of the certificate these two speak of: `cn`, `single_cn`, `subject`, `dns`, `uri`,
    /// `email`, `upn`, `serial`, `fingerprint`, or a template such as `{cn}@{o}`, which is not checked here. Default:
    /// `cn`. Komar's own.
    pub certificate_identity: String,
    /// `certificate_allow_name`, `certificate_allow_fingerprint`, `certificate_allow_folder`. Default: empty, nobody is
    /// refused. Komar's own.
    pub allowed_certificates: AllowedCertificates,
    /// `use_username_as_clientid`: the user name replaces the client identifier. Default: `false`.
    pub use_username_as_clientid: bool,
    /// `max_connections`. Default: `None`, no bound.
    pub max_connections: Option<u32>,
    /// Bounds on what comes in a second. Default: none. Komar's own.
    pub rates: RateLimits,
    /// `max_qos`, 0 to 2. Default: 2.
    pub max_qos: u8,
    /// `max_topic_alias`: aliases that a client may set; 0 for none. Default: 10.
    pub max_topic_alias: u16,
    /// `max_topic_alias_broker`: aliases that are set towards a client. Default: 10.
    pub max_topic_alias_broker: u16,
    /// `mount_point`: stands before every topic of this listener's clients. Default: none.
    pub mount_point: Option<String>,
    /// `accept_protocol_versions`. Default: all.
    pub accept_protocol_versions: ProtocolVersions,
    /// `http_dir`: files served over HTTP. Default: none.
    pub http_dir: Option<PathBuf>,
    /// `websockets_origin`: allowed values of the header Origin. Default: empty, every one.
    pub websockets_origins: Vec<String>,
    /// What holds for this listener once `per_listener_settings`, `listener_allow_anonymous` and
    /// `listener_auto_id_prefix` are taken into account.
    pub security: Security,
}

/// What a listener takes in a second; `None` for no bound. A second's worth is saved up, so that a burst of so many is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// `max_connection_rate`: connections; more are closed at once.
    pub connections: Option<NonZeroU32>,
    /// `max_connection_rate_address`: connections from one address.
    pub connections_by_address: Option<NonZeroU32>,
    /// `connection_rate_answer`: connections that are too many are told so in CONNACK. Default: `false`.
    pub answer_connections: bool,
    /// `max_message_rate_listener`: messages of all clients together.
    pub messages: Option<NonZeroU32>,
    /// `max_message_rate_address`: messages of the clients at one address.
    pub messages_by_address: Option<NonZeroU32>,
    /// `max_message_rate`: messages of one client.
    pub messages_by_client: Option<NonZeroU32>,
    /// `message_rate_action`: what happens to more.
    pub action: RateAction,
}

/// What happens to messages that are too many of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateAction {
    /// `pause`: the client is read more slowly.
    #[default]
    Pause,
    /// `refuse`: they are not routed, and a 5.0 client is told so.
    Refuse,
    /// `disconnect`: the client is disconnected.
    Disconnect,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `mqtt`
    #[default]
    Mqtt,
    /// `websockets`
    WebSockets,
    /// `http_api`
    HttpApi,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketDomain {
    /// `ipv4`
    Ipv4,
    /// `ipv6`
    Ipv6,
}

/// The versions of MQTT that a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct ProtocolVersions {
    /// `3`: MQTT 3.1
    pub mqtt_3_1: bool,
    /// `4`: MQTT 3.1.1
    pub mqtt_3_1_1: bool,
    /// `5`: MQTT 5.0
    pub mqtt_5_0: bool,
}

/// TLS of a listener. Paths stay as written: relative ones belong to the process's working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// `certfile`: the broker's certificate chain, leaf first, PEM.
    pub certfile: PathBuf,
    /// `keyfile`: its private key, PEM.
    pub keyfile: PathBuf,
    /// `cafile`: authorities that clients' certificates come from, PEM. Default: none.
    pub cafile: Option<PathBuf>,
    /// `capath`: a folder of such authorities. Default: none.
    pub capath: Option<PathBuf>,
    /// `require_certificate`: a client needs a certificate; otherwise none is asked for. Default: `false`.
    pub require_certificate: bool,
    /// `crlfile`: revoked certificates, PEM. Default: none.
    pub crlfile: Option<PathBuf>,
    /// `tls_version`: the lowest version accepted. Default: TLS 1.2.
    pub minimum_version: TlsVersion,
    /// `ciphers`: list of suites for TLS 1.2 as OpenSSL writes it. Default: none, all good ones.
    pub ciphers: Option<String>,
    /// `ciphers_tls1.3`: suites for TLS 1.3, separated by colons. Default: none, all.
    pub ciphers_tls13: Option<String>,
    /// `disable_client_cert_date_checks`: expired and not yet valid client certificates are accepted. Default: `false`.
    pub disable_client_cert_date_checks: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// `tlsv1.2`
    #[default]
    Tls12,
    /// `tlsv1.3`
    Tls13,
}

/// The PROXY protocol: every connection begins with a header that says where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxy {
    /// `enable_proxy_protocol`
    pub version: ProxyVersion,
    /// `proxy_trusted`: the networks that headers are accepted from. Default: empty, all. Komar's own.
    pub trusted: Vec<IpNet>,
    /// `proxy_protocol_v2_require_tls`: connections that did not come over TLS are closed. Default: `false`.
    pub require_tls: bool,
    /// `require_certificate` on a version 2 listener: the header must say that the client's certificate was
    /// verified. Default: `false`.
    pub require_certificate: bool,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// The text header.
    V1,
    /// The binary header.
    V2,
}

impl Listener {
    /// A listener on every address of this TCP port, with default settings.
    pub fn new(port: u16) -> Listener {
        Listener {
            position: None,
            port,
            address: None,
            unix_path: None,
            bind_interface: None,
            socket_domain: None,
            protocol: Protocol::Mqtt,
            tls: None,
            proxy: None,
            use_identity_as_username: false,
            use_subject_as_username: false,
            require_identity_as_username: false,
            certificate_identity: "cn".to_owned(),
            allowed_certificates: AllowedCertificates::default(),
            use_username_as_clientid: false,
            max_connections: None,
            rates: RateLimits::default(),
            max_qos: 2,
            max_topic_alias: 10,
            max_topic_alias_broker: 10,
            mount_point: None,
            accept_protocol_versions: ProtocolVersions::default(),
            http_dir: None,
            websockets_origins: Vec::new(),
            security: Security::default(),
        }
    }

    /// The listeners of local-only mode: each port on 127.0.0.1 and ::1.
    pub(crate) fn local(ports: &[u16], security: &Security) -> Vec<Listener> {
        let on = |port, address: &str| Listener {
            address: Some(address.to_owned()),
            security: security.clone(),
            ..Listener::new(port)
        };
        ports
            .iter()
            .flat_map(|&port| [on(port, "127.0.0.1"), on(port, "::1")])
            .collect()
    }
}

impl ProtocolVersions {
    /// No version at all.
    pub const NONE: ProtocolVersions = ProtocolVersions {
        mqtt_3_1: false,
        mqtt_3_1_1: false,
        mqtt_5_0: false,
    };
}

impl Default for ProtocolVersions {
    fn default() -> ProtocolVersions {
        ProtocolVersions {
            mqtt_3_1: true,
            mqtt_3_1_1: true,
            mqtt_5_0: true,
        }
    }
}

impl Tls {
    /// TLS with this certificate chain and key, and without client certificates.
    pub fn new(certfile: impl Into<PathBuf>, keyfile: impl Into<PathBuf>) -> Tls {
        Tls {
            certfile: certfile.into(),
            keyfile: keyfile.into(),
            ..Tls::default()
        }
    }
}

impl Proxy {
    /// Headers of this version, and nothing demanded of them.
    pub fn new(version: ProxyVersion) -> Proxy {
        Proxy {
            version,
            trusted: Vec::new(),
            require_tls: false,
            require_certificate: false,
        }
    }
}
