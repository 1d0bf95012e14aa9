//! From a `mosquitto.conf` that komar-conf has read to a server: opens every file that it names, all or nothing.

mod addresses;
mod error;
mod files;
mod identity;
mod listeners;
mod tls;

use std::fmt;
use std::time::Duration;

use komar_broker_core::{BrokerConfig, FileAccess, ListenerId, ReasonCodes};
use komar_conf::{Config, Protocol};

use crate::server::{Server, ServerBuilder};

pub use addresses::MissingAddress;
pub use error::{SetupError, SetupErrors};
pub use files::read_regular;
pub use tls::{certificate_files, is_hashed_name};

/// A configuration whose files are open and found good.
pub struct Setup {
    /// Ready to be started.
    pub builder: ServerBuilder,
    /// What each listener requires of a client, for people to read.
    pub listeners: Vec<ListenerSummary>,
    /// What is unusual, and what has no effect.
    pub warnings: Vec<String>,
}

/// What a listener requires of a client. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSummary {
    /// Where it listens.
    pub place: String,
    /// What it requires and does, as the rest of a sentence.
    pub requires: String,
}

impl Setup {
    /// Which addresses to listen on this machine does not have. No port is opened.
    pub fn missing_addresses(&self) -> Vec<MissingAddress> {
        MissingAddress::among(&addresses::wanted(&self.builder))
    }
}

impl fmt::Display for ListenerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener on {}: {}.", self.place, self.requires)
    }
}

/// Opens every file that the configuration names.
///
/// # Errors
///
/// Everything that is wrong, not only the first.
pub fn prepare(config: &Config) -> Result<Setup, SetupErrors> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    if !config.bridges.is_empty() {
        errors.push(SetupError::Unsupported {
            what: "bridges ('connection')".to_owned(),
            position: None,
        });
    }
    let mut files = files::Files::default();
    let mut addresses = addresses::Addresses::default();
    let default = files.of(&config.security, &mut errors, &mut warnings);
    let mut own_files = Vec::new();
    let mut builder = Server::builder()
        .config(broker_config(config))
        .sys_interval(config.sys_interval);
    if let Some(version) = &config.sys_version {
        builder = builder.version(version);
    }
    if let Some(maximum) = config.limits.global_max_connections {
        builder = builder.maximum_connections(usize::try_from(maximum).unwrap_or(usize::MAX));
    }
    let mut summaries = Vec::new();
    let is_http = |listener: &komar_conf::Listener| listener.protocol == Protocol::HttpApi;
    let all_are_http = config.listeners.iter().all(is_http);
    for listener in &config.listeners {
        // Its dashboard lets nobody in to messages, so that it may be missing, but not all that there is.
        if is_http(listener) && !all_are_http {
            summaries.push(listeners::left_out(listener));
            continue;
        }
        let own = files.of(&listener.security, &mut errors, &mut warnings);
        summaries.push(listeners::summary(listener, &own));
        let opened = listeners::open(
            listener,
            config.set_tcp_nodelay,
            &config.limits,
            &mut errors,
            &mut warnings,
        );
        addresses.claim(listener, &opened, &mut errors);
        for open in opened {
            own_files.push(own.clone());
            builder = builder.listener(open);
        }
    }
    match SetupErrors::new(errors, &warnings, &builder) {
        Some(errors) => Err(errors),
        None => Ok(Setup {
            builder: builder.access_by_listener(move |ids: &[ListenerId]| {
                let access = FileAccess::new(default);
                let own = ids.iter().zip(own_files);
                own.fold(access, |access, (id, files)| access.with_listener(*id, files))
                    .into_access()
            }),
            listeners: summaries,
            warnings,
        }),
    }
}

fn broker_config(config: &Config) -> BrokerConfig {
    let (given, messages) = (&config.limits, &config.messages);
    let mut broker = BrokerConfig::default();
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let limits = &mut broker.limits;
    limits.maximum_packet_size = given.max_packet_size;
    limits.maximum_payload_size = given.message_size_limit;
    limits.maximum_inflight_messages = given.max_inflight_messages.unwrap_or(u16::MAX);
    limits.maximum_inflight_bytes = given.max_inflight_bytes.map(size);
    limits.maximum_queued_messages = given.max_queued_messages.map(size);
    limits.maximum_queued_bytes = given.max_queued_bytes.map(size);
    limits.maximum_sessions = given.global_max_clients.map(size);
    broker.tolerate_receive_maximum = !messages.enforce_receive_maximum;
    broker.allow_duplicate_messages = messages.allow_duplicate_messages;
    broker.queue_qos0_messages = messages.queue_qos0_messages;
    broker.retain_available = messages.retain_available;
    broker.upgrade_outgoing_qos = messages.upgrade_outgoing_qos;
    broker.check_retain_source = messages.check_retain_source;
    if messages.mosquitto_reason_codes {
        broker.reason_codes = ReasonCodes::Mosquitto;
    }
    broker.retained_expiry_maximum = messages.retain_expiry_interval;
    broker.client_id_prefix.clone_from(&config.clientid_prefixes);
    broker.maximum_keep_alive = given
        .max_keepalive
        .map(|time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX));
    broker.session_expiry_maximum = given.persistent_client_expiration;
    broker
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not every machine has addresses of both families.
    #[test]
    fn max_connections_holds_for_all_addresses_of_a_listener() {
        let text = "listener 1883\nmax_connections 3\nlistener 1884\n";
        let loaded = komar_conf::parse_str(text, "mosquitto.conf").unwrap();
        let setup = prepare(&loaded.config).unwrap();
        let listeners = setup.builder.listeners();
        let sockets = [1, 2, 4, 8].map(|connections| std::sync::Arc::new(connections.into()));
        for (listener, socket) in listeners.iter().zip(&sockets) {
            listener.siblings.join(socket);
        }
        let counts: Vec<usize> = listeners
            .iter()
            .map(|listener| listener.siblings.connections())
            .collect();
        assert_eq!(counts, [3, 3, 12, 12]);
    }

    /// No client sees this from outside.
    #[test]
    fn small_packets_are_sent_at_once_unless_switched_off() {
        for (line, expected) in [("", true), ("set_tcp_nodelay false\n", false)] {
            let text = format!("listener 1883 127.0.0.1\n{line}");
            let loaded = komar_conf::parse_str(&text, "mosquitto.conf").unwrap();
            let setup = prepare(&loaded.config).unwrap();
            assert!(
                setup
                    .builder
                    .listeners()
                    .iter()
                    .all(|open| open.no_delay == expected)
            );
        }
    }
}
