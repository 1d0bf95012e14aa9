//! A bridge: `connection NAME` and the options that follow it.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Position, TlsVersion};

/// A connection to a remote broker, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bridge {
    /// The line that defined it; `None` when made by hand.
    pub position: Option<Position>,
    /// `connection NAME`
    pub name: String,
    /// `address` (`addresses`): brokers to try, in this order. At least one.
    pub addresses: Vec<BridgeAddress>,
    /// `topic`: what is bridged. At least one.
    pub topics: Vec<BridgeTopic>,
    /// `remote_clientid` (`clientid`). Default: `None`, `HOSTNAME.NAME`.
    pub remote_clientid: Option<String>,
    /// `remote_username` (`username`). Default: none.
    pub remote_username: Option<String>,
    /// `remote_password` (`password`). Default: none.
    pub remote_password: Option<String>,
    /// `local_clientid`. Default: `None`, `local.` and the remote one.
    pub local_clientid: Option<String>,
    /// `local_username`. Default: none.
    pub local_username: Option<String>,
    /// `local_password`. Default: none.
    pub local_password: Option<String>,
    /// `cleansession`: the remote session ends with the connection. Default: `false`.
    pub clean_session: bool,
    /// `local_cleansession`. Default: `None`, as `clean_session`.
    pub local_clean_session: Option<bool>,
    /// `notifications`: publish whether the bridge is up. Default: `true`.
    pub notifications: bool,
    /// `notifications_local_only`: not on the remote broker. Default: `false`.
    pub notifications_local_only: bool,
    /// `notification_topic`. Default: `None`, `$SYS/broker/connection/REMOTE_CLIENTID/state`.
    pub notification_topic: Option<String>,
    /// `start_type`. Default: automatic.
    pub start: BridgeStart,
    /// `restart_timeout`. Default: 5 s to 30 s, at random.
    pub restart: RestartDelay,
    /// `idle_timeout`: a lazy bridge is closed after this. Default: 60 s.
    pub idle_timeout: Duration,
    /// `threshold`: a lazy bridge is opened when so many messages wait. Default: 10.
    pub threshold: u32,
    /// `round_robin`: try the addresses in turn, instead of going back to the first. Default: `false`.
    pub round_robin: bool,
    /// `keepalive_interval`, at least 5 s. Default: 60 s.
    pub keep_alive: Duration,
    /// `try_private`: tell the remote broker that this is a bridge (3.1, 3.1.1). Default: `true`.
    pub try_private: bool,
    /// `bridge_protocol_version`. Default: 3.1.1.
    pub protocol_version: BridgeProtocol,
    /// `bridge_attempt_unsubscribe`: give up old subscriptions at the remote broker. Default: `true`.
    pub attempt_unsubscribe: bool,
    /// `bridge_outgoing_retain`: keep the retain flag. Default: `true`.
    pub outgoing_retain: bool,
    /// `bridge_bind_address`: local address to connect from. Default: none.
    pub bind_address: Option<String>,
    /// `bridge_max_packet_size`, bytes: larger messages are not sent. Default: `None`, no bound.
    pub max_packet_size: Option<u32>,
    /// `bridge_max_topic_alias`. Default: 10.
    pub max_topic_alias: u16,
    /// `bridge_receive_maximum`. Default: `None`, 65535.
    pub receive_maximum: Option<NonZeroU16>,
    /// `bridge_session_expiry_interval`. Default: zero, the session ends with the connection.
    pub session_expiry_interval: Duration,
    /// `bridge_reload_type`: a changed bridge restarts at once at a reload. Default: `false`, at its next connect.
    pub reload_immediately: bool,
    /// `bridge_tcp_keepalive`. Default: `None`, as the system does.
    pub tcp_keep_alive: Option<TcpKeepAlive>,
    /// `bridge_tcp_user_timeout` (milliseconds in the file). Default: `None`, as the system does.
    pub tcp_user_timeout: Option<Duration>,
    /// The `bridge_...` options of TLS.
    pub tls: BridgeTls,
}

/// A remote broker. Port 1883 unless written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, clippy::exhaustive_structs)]
pub struct BridgeAddress {
    pub host: String,
    pub port: u16,
}

/// One `topic` line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct BridgeTopic {
    /// What is matched behind the prefix; empty to rename one topic.
    pub pattern: String,
    /// Default: out.
    pub direction: Direction,
    /// 0 to 2, an upper bound. Default: 0.
    pub qos: u8,
    /// Stands before the pattern on this broker. Default: empty.
    pub local_prefix: String,
    /// Stands before the pattern on the remote broker. Default: empty.
    pub remote_prefix: String,
}

/// Which way messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Direction {
    Out,
    In,
    Both,
}

/// When a bridge connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeStart {
    /// Always, and again after it was lost.
    #[default]
    Automatic,
    /// When messages wait.
    Lazy,
    /// At the start only.
    Once,
}

/// How long a lost bridge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartDelay {
    /// Always this long.
    Constant(Duration),
    /// At random between the two, growing; it starts over once a connection was stable for `stable`.
    Jitter {
        /// Shortest wait.
        base: Duration,
        /// Longest wait.
        cap: Duration,
        /// Zero: a connection is stable at once.
        stable: Duration,
    },
}

/// The protocol of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeProtocol {
    /// `mqttv31`
    Mqtt31,
    /// `mqttv311`
    #[default]
    Mqtt311,
    /// `mqttv50`
    Mqtt50,
}

/// Probes of an idle TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct TcpKeepAlive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without answer before the connection is given up.
    pub count: u32,
}

/// The client side of TLS. All options are off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeTls {
    /// `bridge_cafile`
    pub cafile: Option<PathBuf>,
    /// `bridge_capath`
    pub capath: Option<PathBuf>,
    /// `bridge_certfile`
    pub certfile: Option<PathBuf>,
    /// `bridge_keyfile`
    pub keyfile: Option<PathBuf>,
    /// `bridge_tls_use_os_certs`: trust what the system trusts.
    pub use_os_certs: bool,
    /// `bridge_tls_version`: the lowest version. Default: TLS 1.2.
    pub minimum_version: TlsVersion,
    /// `bridge_ciphers`
    pub ciphers: Option<String>,
    /// `bridge_ciphers_tls1.3`
    pub ciphers_tls13: Option<String>,
    /// `bridge_alpn`
    pub alpn: Option<String>,
    /// `bridge_insecure`: the host name is not compared with the certificate.
    pub insecure: bool,
    /// `bridge_require_ocsp`
    pub require_ocsp: bool,
    /// `bridge_identity`, with `bridge_psk`
    pub identity: Option<String>,
    /// `bridge_psk`, hexadecimal
    pub psk: Option<String>,
}

impl Bridge {
    /// A bridge of this name, without addresses and topics yet.
    pub fn new(name: impl Into<String>) -> Bridge {
        Bridge {
            position: None,
            name: name.into(),
            addresses: Vec::new(),
            topics: Vec::new(),
            remote_clientid: None,
            remote_username: None,
            remote_password: None,
            local_clientid: None,
            local_username: None,
            local_password: None,
            clean_session: false,
            local_clean_session: None,
            notifications: true,
            notifications_local_only: false,
            notification_topic: None,
            start: BridgeStart::Automatic,
            restart: RestartDelay::default(),
            idle_timeout: Duration::from_secs(60),
            threshold: 10,
            round_robin: false,
            keep_alive: Duration::from_secs(60),
            try_private: true,
            protocol_version: BridgeProtocol::Mqtt311,
            attempt_unsubscribe: true,
            outgoing_retain: true,
            bind_address: None,
            max_packet_size: None,
            max_topic_alias: 10,
            receive_maximum: None,
            session_expiry_interval: Duration::ZERO,
            reload_immediately: false,
            tcp_keep_alive: None,
            tcp_user_timeout: None,
            tls: BridgeTls::default(),
        }
    }
}

impl BridgeTls {
    /// Whether the bridge uses TLS: authorities, a certificate, or a shared key are given.
    pub fn is_enabled(&self) -> bool {
        self.use_os_certs
            || [&self.cafile, &self.capath, &self.certfile]
                .iter()
                .any(|path| path.is_some())
            || self.psk.is_some()
    }
}

impl Default for RestartDelay {
    fn default() -> RestartDelay {
        RestartDelay::Jitter {
            base: Duration::from_secs(5),
            cap: Duration::from_secs(30),
            stable: Duration::ZERO,
        }
    }
}
