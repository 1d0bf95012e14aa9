//! The validated configuration: plain data that an embedder can also build by hand.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Bridge, Listener, Plugin};

/// Everything that a configuration file says, checked and with its defaults filled in.
///
/// `Config::default()` is what holds when nothing is given: [local-only mode](Config::local_only).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// What is listened on, in the order of the file; in local-only mode 127.0.0.1 and ::1 on port 1883.
    pub listeners: Vec<Listener>,
    /// No listener was defined, so only this machine can connect.
    pub local_only: bool,
    /// The security that holds for listeners without rules of their own, which is all of them unless
    /// [`per_listener_settings`](Config::per_listener_settings) is on. Each listener carries its own, resolved copy.
    pub security: Security,
    /// `per_listener_settings`: every listener has its own security. Default: `false`.
    pub per_listener_settings: bool,
    /// How much is accepted and kept.
    pub limits: Limits,
    /// How messages are delivered and retained.
    pub messages: Messages,
    /// What survives a restart.
    pub persistence: Persistence,
    /// Where log lines go, and which.
    pub logging: Logging,
    /// `connection` and the options that follow it.
    pub bridges: Vec<Bridge>,
    /// Every plugin named in the file, in its order; those that hold for a listener are also in its [`Security`].
    pub plugins: Vec<Plugin>,
    /// `user`: whom to become when started as root; `root` stays. Default: `mosquitto`.
    pub user: String,
    /// `pid_file`: where the process writes its id. Default: nowhere.
    pub pid_file: Option<PathBuf>,
    /// `password_threads`: how many passwords are checked at the same time; each takes the memory that its hash asks for,
    /// 46 MiB with argon2id. Komar's own. Default: `None`, half of the processors.
    pub password_threads: Option<NonZeroU16>,
    /// `sys_interval`: how often `$SYS` is published; `None` never. Default: 10 s.
    pub sys_interval: Option<Duration>,
    /// `sys_version`: what `$SYS/broker/version` says. Default: `None`, `komar version` and its number. Komar's own.
    pub sys_version: Option<String>,
    /// `set_tcp_nodelay`: send small packets at once. Default: `true` (Mosquitto: `false`).
    pub set_tcp_nodelay: bool,
    /// `clientid_prefixes`: only client identifiers that begin with this may connect. Default: all may.
    pub clientid_prefixes: Option<String>,
    /// `enable_control_api`: serve `$CONTROL/broker/v1`. Default: `false`.
    pub enable_control_api: bool,
}

/// Who may connect, and what they may do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Security {
    /// `allow_anonymous`, `listener_allow_anonymous`: a connection without user name is accepted.
    /// Default: `false`, but `true` in local-only mode.
    pub allow_anonymous: bool,
    /// `allow_zero_length_clientid`: an empty client identifier is replaced by a generated one. Default: `true`.
    pub allow_zero_length_clientid: bool,
    /// `auto_id_prefix`, `listener_auto_id_prefix`: how generated client identifiers begin. At most 50 bytes.
    /// Default: `auto-`.
    pub auto_id_prefix: String,
    /// `acl_file`, or the option of the bundled plugin `acl-file`. Default: everything is allowed.
    pub acl_file: Option<PathBuf>,
    /// `password_file`, or the option of the bundled plugin `password-file`. Default: none.
    pub password_file: Option<PathBuf>,
    /// `psk_file`. Default: none.
    pub psk_file: Option<PathBuf>,
    /// The plugins that are asked, in this order, besides those that became `acl_file` and `password_file`.
    pub plugins: Vec<Plugin>,
    /// What the ACL file may do beyond Mosquitto 2.1. Default: nothing.
    pub acl_options: AclOptions,
}

/// What an ACL file may do beyond Mosquitto 2.1. Komar's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AclOptions {
    /// `acl_strict_subscribe`: a subscription under which nothing may be read is refused.
    pub strict_subscribe: bool,
    /// `acl_extensions`: the file may contain `group`, `member`, `readdeny` and `writedeny`.
    pub extensions: bool,
    /// `acl_substitute_anywhere`: `%u` and `%c` are replaced anywhere, as Mosquitto 2.0 did.
    pub substitute_anywhere: bool,
}

/// Bounds on what one client, and all of them, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `global_max_clients`: sessions, connected or not. Default: `None`, no bound.
    pub global_max_clients: Option<u32>,
    /// `global_max_connections`: connections over all listeners. Default: `None`, no bound.
    pub global_max_connections: Option<u32>,
    /// `max_inflight_bytes`: payload bytes in flight for one client and direction. Default: `None`, no bound.
    pub max_inflight_bytes: Option<u32>,
    /// `max_inflight_messages`: QoS 1 and 2 messages in flight for one client and direction; `None` is no bound.
    /// Default: 20.
    pub max_inflight_messages: Option<u16>,
    /// `max_keepalive`: the longest keep alive accepted. Default: `None`, no bound.
    pub max_keepalive: Option<Duration>,
    /// `max_packet_size`, bytes: the largest packet accepted, at least 20. Default: 2,000,000.
    pub max_packet_size: u32,
    /// `max_queued_bytes`: payload bytes that wait for one client. Default: `None`, no bound.
    pub max_queued_bytes: Option<u32>,
    /// `max_queued_messages`: messages that wait for one client; `None` is no bound. Default: 1000.
    pub max_queued_messages: Option<u32>,
    /// `memory_limit`, bytes of the whole process. Default: `None`, no bound.
    pub memory_limit: Option<u64>,
    /// `message_size_limit`, bytes of payload. Default: `None`, no bound besides `max_packet_size`.
    pub message_size_limit: Option<u32>,
    /// `packet_buffer_size` (`websockets_headers_size`), bytes: the longest head of an HTTP upgrade. Default: 4096.
    pub packet_buffer_size: u16,
    /// `persistent_client_expiration`: how long the session of an absent client is kept; `None` for ever.
    /// Default: `None`.
    pub persistent_client_expiration: Option<Duration>,
}

/// How messages are delivered and retained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Messages {
    /// `allow_duplicate_messages`: a client gets one copy for each of its subscriptions that match; otherwise one
    /// at the highest QoS. Default: `true`.
    pub allow_duplicate_messages: bool,
    /// `check_retain_source`: a retained message is delivered only while its publisher may still write there.
    /// Default: `true` (Mosquitto documents `true` and does `false`).
    pub check_retain_source: bool,
    /// `enforce_receive_maximum`: a 5.0 client that has more than `max_inflight_messages` QoS 2 messages unreleased is
    /// disconnected with Reason Code 0x93, as MQTT 5.0 §3.3.4 says; otherwise its messages are taken, and a warning says so.
    /// Default: `false`. Komar's own.
    pub enforce_receive_maximum: bool,
    /// `mosquitto_reason_codes`: 5.0 clients that break the protocol are told what Mosquitto would tell them, where the
    /// specification has another Reason Code and no numbered statement. Default: `true`.
    pub mosquitto_reason_codes: bool,
    /// `queue_qos0_messages`: QoS 0 messages wait for absent clients too. Default: `false`.
    pub queue_qos0_messages: bool,
    /// `retain_available`: messages may be retained. Default: `true`.
    pub retain_available: bool,
    /// `retain_expiry_interval` (minutes in the file): retained messages go after this time. Default: `None`, never.
    pub retain_expiry_interval: Option<Duration>,
    /// `upgrade_outgoing_qos`: deliver with the QoS of the subscription even if it is above the publisher's.
    /// Default: `false`.
    pub upgrade_outgoing_qos: bool,
}

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Persistence {
    /// `persistence` (`retained_persistence`), or the bundled plugin `persist-sqlite` is named. Default: `false`.
    pub enabled: bool,
    /// `persistence_location`: the folder. Default: the working directory.
    pub location: Option<PathBuf>,
    /// `persistence_file`. Default: `mosquitto.db`.
    pub file: PathBuf,
    /// `autosave_interval` and `autosave_on_changes`. Default: every 1800 s.
    pub autosave: Autosave,
}

/// When a snapshot is written besides the orderly stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Autosave {
    /// Only at the stop, or when asked for.
    Never,
    /// At this interval.
    Every(Duration),
    /// After so many changes.
    Changes(u32),
}

/// Where log lines go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Logging {
    /// `log_dest`, each at most once; empty logs nothing. Default: standard error.
    pub destinations: Vec<LogDestination>,
    /// `log_type`. Default: errors, warnings, notices and information.
    pub types: LogTypes,
    /// `log_timestamp`: lines begin with the time. Default: `true`.
    pub timestamp: bool,
    /// `log_timestamp_format`, as for `strftime`, local time. Default: `None`, seconds since 1970.
    pub timestamp_format: Option<String>,
    /// `log_facility`: the number of the syslog facility LOCAL0 to LOCAL7. Default: `None`, `daemon`.
    pub facility: Option<u8>,
    /// `connection_messages`: a line for each connect and disconnect. Default: `true`.
    pub connection_messages: bool,
}

/// One place that log lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogDestination {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
    /// `syslog`
    Syslog,
    /// `topic`: below `$SYS/broker/log/`
    Topic,
    /// `file PATH`: appended to
    File(PathBuf),
}

/// Which log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the word of `log_type`
pub struct LogTypes {
    pub error: bool,
    pub warning: bool,
    pub notice: bool,
    pub information: bool,
    pub debug: bool,
    pub subscribe: bool,
    pub unsubscribe: bool,
    pub websockets: bool,
    pub internal: bool,
}

impl LogTypes {
    /// `log_type none`
    pub const NONE: LogTypes = LogTypes::new(false, false);
    /// `log_type all`
    pub const ALL: LogTypes = LogTypes::new(true, true);

    const fn new(usual: bool, rest: bool) -> LogTypes {
        LogTypes {
            error: usual,
            warning: usual,
            notice: usual,
            information: usual,
            debug: rest,
            subscribe: rest,
            unsubscribe: rest,
            websockets: rest,
            internal: rest,
        }
    }
}

impl Config {
    /// Opens these ports, each on 127.0.0.1 and ::1, if the file defined no listener (`-p` on the command line).
    ///
    /// Does nothing when a listener is defined or `ports` is empty.
    pub fn set_local_ports(&mut self, ports: &[u16]) {
        if self.local_only && !ports.is_empty() {
            self.listeners = Listener::local(ports, &self.security);
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        let security = Security {
            allow_anonymous: true,
            ..Security::default()
        };
        Config {
            listeners: Listener::local(&[1883], &security),
            local_only: true,
            security,
            per_listener_settings: false,
            limits: Limits::default(),
            messages: Messages::default(),
            persistence: Persistence::default(),
            logging: Logging::default(),
            bridges: Vec::new(),
            plugins: Vec::new(),
            user: "mosquitto".to_owned(),
            pid_file: None,
            password_threads: None,
            sys_interval: Some(Duration::from_secs(10)),
            sys_version: None,
            set_tcp_nodelay: true,
            clientid_prefixes: None,
            enable_control_api: false,
        }
    }
}

impl Default for Security {
    /// What holds once a listener is defined: nobody is anonymous.
    fn default() -> Security {
        Security {
            allow_anonymous: false,
            allow_zero_length_clientid: true,
            auto_id_prefix: "auto-".to_owned(),
            acl_file: None,
            acl_options: AclOptions::default(),
            password_file: None,
            psk_file: None,
            plugins: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            global_max_clients: None,
            global_max_connections: None,
            max_inflight_bytes: None,
            max_inflight_messages: Some(20),
            max_keepalive: None,
            max_packet_size: 2_000_000,
            max_queued_bytes: None,
            max_queued_messages: Some(1000),
            memory_limit: None,
            message_size_limit: None,
            packet_buffer_size: 4096,
            persistent_client_expiration: None,
        }
    }
}

impl Default for Messages {
    fn default() -> Messages {
        Messages {
            allow_duplicate_messages: true,
            check_retain_source: true,
            enforce_receive_maximum: false,
            mosquitto_reason_codes: true,
            queue_qos0_messages: false,
            retain_available: true,
            retain_expiry_interval: None,
            upgrade_outgoing_qos: false,
        }
    }
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence {
            enabled: false,
            location: None,
            file: PathBuf::from("mosquitto.db"),
            autosave: Autosave::Every(Duration::from_secs(1800)),
        }
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging {
            destinations: vec![LogDestination::Stderr],
            types: LogTypes::default(),
            timestamp: true,
            timestamp_format: None,
            facility: None,
            connection_messages: true,
        }
    }
}

impl Default for LogTypes {
    fn default() -> LogTypes {
        LogTypes::new(true, false)
    }
}
