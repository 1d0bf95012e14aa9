//! Events of the core as log lines, in the shapes that Mosquitto's log scrapers know.

use core::fmt;

use komar_broker_core::{CloseCause, Event, NotedClient, NotedPacket, NotedPublish, Outbox, OverRate};
use komar_codec::{PacketType, ProtocolVersion, ReasonCode};

use crate::connection::Address;

/// Target of lines that Mosquitto logs at its level `notice`, which lies between warning and information.
pub const NOTICE: &str = "komar::notice";
/// Target of lines about the coming and going of clients, which `connection_messages` switches; of the same level.
pub const CONNECTION: &str = "komar::connection";
/// Target of lines about subscriptions.
pub const SUBSCRIBE: &str = "komar::subscribe";
/// Target of lines about subscriptions that end.
pub const UNSUBSCRIBE: &str = "komar::unsubscribe";
/// Target of lines that Mosquitto logs at its level `debug`.
pub const DEBUG: &str = "komar::debug";
/// Target of lines about single packets; of the same level. Packets are handled one by one while these are wanted.
pub const PACKET: &str = "komar::packet";

/// Writes the line for an event.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Connected {
            outbox,
            client_id,
            username,
            version,
            clean_start,
            keep_alive,
            bridge,
        } => {
            let level = match version {
                ProtocolVersion::V3_1 => 3,
                ProtocolVersion::V3_1_1 => 4,
                ProtocolVersion::V5 => 5,
            };
            let (clean, kind) = (u8::from(*clean_start), if *bridge { "bridge" } else { "client" });
            let user = username
                .as_ref()
                .map(|name| format!(", u'{}'", printable(name)))
                .unwrap_or_default();
            let (client_id, address) = (printable(client_id), peer(outbox));
            tracing::info!(
                target: CONNECTION,
                event = "connected",
                address,
                client_id,
                user = username.as_deref().map(printable),
                "New {kind} connected from {address} as {client_id} (p{level}, c{clean}, k{keep_alive}{user}).",
            );
        }
        Event::Refused {
            outbox,
            client_id,
            username,
            reason_code,
            detail,
        } => {
            let user = username
                .as_ref()
                .map(|name| format!(", user '{}'", printable(name)))
                .unwrap_or_default();
            let (client_id, address) = (printable(client_id), peer(outbox));
            // A client may leave it to the broker to name it.
            let name = if client_id.is_empty() {
                "<unknown>"
            } else {
                &client_id
            };
            let code = reason_code.as_u8();
            tracing::info!(
                target: NOTICE,
                event = "refused",
                address,
                client_id,
                user = username.as_deref().map(printable),
                reason = detail,
                code = u64::from(code),
                "Client {name} from {address}{user} refused: {detail} ({code:#04x}).",
            );
            // As Mosquitto's log scrapers know it.
            if let ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword = reason_code {
                tracing::info!(
                    target: CONNECTION,
                    event = "disconnected",
                    address,
                    client_id,
                    "Client {name} [{address}] disconnected: not authorised."
                );
            }
        }
        Event::Disconnected {
            outbox,
            client_id,
            cause,
        } => {
            let client_id = printable(client_id);
            let address = peer(outbox);
            let reason = match cause {
                CloseCause::Disconnected | CloseCause::DisconnectedWithWill => String::new(),
                cause => format!(": {cause}"),
            };
            tracing::info!(
                target: CONNECTION,
                event = "disconnected",
                address,
                client_id,
                reason = %cause,
                "Client {client_id} [{address}] disconnected{reason}."
            );
        }
        // A balancer looks every few seconds.
        Event::Abandoned {
            cause: CloseCause::HealthCheck,
            ..
        } => {}
        Event::Abandoned { outbox, cause } => {
            let address = peer(outbox);
            tracing::info!(
                target: CONNECTION,
                event = "abandoned",
                address,
                reason = %cause,
                "Client <unknown> [{address}] disconnected: {cause}."
            );
        }
        Event::QueueFull { client_id } => {
            tracing::info!(
                target: NOTICE,
                "Outgoing messages are being dropped for client {}.",
                printable(client_id)
            );
        }
        Event::RetainedFull { topic_name } => {
            let topic_name = printable(topic_name);
            tracing::warn!(
                event = "retained_full",
                topic_name,
                "Retained messages have reached their limit; {topic_name} and others are not retained."
            );
        }
        Event::RateExceeded { client_id, over } => {
            let client_id = printable(client_id);
            let then = match over {
                OverRate::Pause => "it is read more slowly",
                OverRate::Refuse => "messages are refused",
                _ => "it is disconnected",
            };
            tracing::info!(
                target: NOTICE,
                event = "rate_exceeded",
                client_id,
                "Client {client_id} publishes too many messages a second; {then}."
            );
        }
        Event::ReceiveMaximumExceeded { client_id } => {
            let client_id = printable(client_id);
            tracing::warn!(
                event = "receive_maximum_exceeded",
                client_id,
                "Client {client_id} has exceeded its receive-maximum quota; its messages are taken."
            );
        }
        Event::Subscribed {
            client_id,
            filter,
            maximum_qos,
        } => {
            let (client_id, filter) = (printable(client_id), printable(filter));
            let qos = maximum_qos.as_u8();
            tracing::info!(target: SUBSCRIBE, event = "subscribed", client_id, "{client_id} {qos} {filter}");
        }
        Event::Unsubscribed { client_id, filter } => {
            let (client_id, filter) = (printable(client_id), printable(filter));
            tracing::info!(target: UNSUBSCRIBE, event = "unsubscribed", client_id, "{client_id} {filter}");
        }
        Event::PublishDenied { client_id, publish } => {
            let client_id = printable(client_id);
            tracing::debug!(
                target: DEBUG,
                event = "denied",
                client_id,
                topic = printable(&publish.topic_name),
                "Denied PUBLISH from {client_id} {}",
                Brief(publish)
            );
        }
        Event::PublishTooLarge { client_id, publish } => {
            let client_id = printable(client_id);
            tracing::debug!(
                target: PACKET,
                event = "too_large",
                client_id,
                topic = printable(&publish.topic_name),
                "Dropped too large PUBLISH from {client_id} {}",
                Brief(publish)
            );
        }
        Event::PacketReceived { client, packet } => log_received(client, packet),
        Event::PacketSent { client, packet } => log_sent(client, packet),
        Event::PacketsNotNoted { packets } => {
            tracing::debug!(target: PACKET, "{packets} more packets, too many at once for the log.");
        }
        _ => {}
    }
}

/// What a line about a packet is about, as its fields say it.
struct PacketLine {
    event: &'static str,
    client_id: Option<String>,
    /// As long as it has no Client Identifier.
    address: Option<String>,
    /// The packet's type.
    packet: String,
}

impl PacketLine {
    fn new(event: &'static str, client: &NotedClient, packet: &NotedPacket) -> PacketLine {
        let (client_id, address) = match client {
            NotedClient::Named(client_id) => (Some(printable(client_id)), None),
            NotedClient::Unnamed(outbox) => (None, Some(peer(outbox))),
            _ => (None, None),
        };
        PacketLine {
            event,
            client_id,
            address,
            packet: name_of_packet(packet),
        }
    }

    /// Its Client Identifier, or its address as long as it has none.
    fn client(&self) -> &str {
        self.client_id
            .as_ref()
            .or(self.address.as_ref())
            .map_or("", String::as_str)
    }
}

macro_rules! packet_line {
    ($line:expr, $($text:tt)*) => {
        tracing::debug!(
            target: PACKET,
            event = $line.event,
            client_id = $line.client_id.as_deref(),
            address = $line.address.as_deref(),
            packet = $line.packet,
            $($text)*
        )
    };
}

fn log_received(client: &NotedClient, packet: &NotedPacket) {
    let line = PacketLine::new("received", client, packet);
    let (client, name) = (line.client(), &line.packet);
    match packet {
        NotedPacket::Connect { will: None } => packet_line!(line, "No will message specified."),
        NotedPacket::Connect { will: Some(will) } => {
            let (bytes, retain, qos) = (will.payload_len, u8::from(will.retain), will.qos.as_u8());
            packet_line!(
                line,
                "Will message specified ({bytes} bytes) (r{retain}, q{qos})."
            );
            packet_line!(line, "\t{}", printable(&will.topic_name));
        }
        NotedPacket::Publish(publish) => {
            let (topic, identifier) = (printable(&publish.topic_name), identifier_of(publish));
            packet_line!(
                line,
                topic,
                packet_identifier = identifier,
                "Received PUBLISH from {client} {}",
                Brief(publish)
            );
        }
        NotedPacket::Acknowledgement {
            packet_type,
            packet_identifier,
            reason_code,
        } => {
            let identifier = packet_identifier.get();
            let code = match packet_type {
                PacketType::PubAck | PacketType::PubComp => format!(", RC:{}", reason_code.as_u8()),
                _ => String::new(),
            };
            packet_line!(
                line,
                packet_identifier = u64::from(identifier),
                "Received {name} from {client} (Mid: {identifier}{code})"
            );
        }
        NotedPacket::Subscribe { filters } => {
            packet_line!(line, "Received SUBSCRIBE from {client}");
            for (filter, code) in filters {
                let filter = printable(filter);
                if code.is_error() {
                    packet_line!(line, filter, "\t{filter} (denied)");
                } else {
                    packet_line!(line, filter, "\t{filter} (QoS {})", code.as_u8());
                }
            }
        }
        NotedPacket::Unsubscribe { filters } => {
            packet_line!(line, "Received UNSUBSCRIBE from {client}");
            for filter in filters {
                let filter = printable(filter);
                packet_line!(line, filter, "\t{filter}");
            }
        }
        NotedPacket::Auth { reason_code, method } => {
            let (code, method) = (
                reason_code.as_u8(),
                method.as_deref().map(printable).unwrap_or_default(),
            );
            packet_line!(line, "Received AUTH from {client} (rc{code}, {method})");
        }
        NotedPacket::Disconnect { .. } | NotedPacket::Other(_) => {
            packet_line!(line, "Received {name} from {client}")
        }
        _ => {}
    }
}

fn log_sent(client: &NotedClient, packet: &NotedPacket) {
    let line = PacketLine::new("sent", client, packet);
    let (client, name) = (line.client(), &line.packet);
    match packet {
        NotedPacket::ConnAck {
            session_present,
            code,
        } => {
            let present = u8::from(*session_present);
            packet_line!(line, "Sending CONNACK to {client} ({present}, {code})");
        }
        NotedPacket::Publish(publish) => {
            let (topic, identifier) = (printable(&publish.topic_name), identifier_of(publish));
            packet_line!(
                line,
                topic,
                packet_identifier = identifier,
                "Sending PUBLISH to {client} {}",
                Brief(publish)
            );
        }
        NotedPacket::Acknowledgement {
            packet_type,
            packet_identifier,
            reason_code,
        } => {
            let identifier = packet_identifier.get();
            let code = match packet_type {
                PacketType::PubAck | PacketType::PubRec => format!(", rc{}", reason_code.as_u8()),
                _ => String::new(),
            };
            packet_line!(
                line,
                packet_identifier = u64::from(identifier),
                "Sending {name} to {client} (m{identifier}{code})"
            );
        }
        NotedPacket::Disconnect { reason_code } => {
            let code = reason_code.as_u8();
            packet_line!(line, "Sending DISCONNECT to {client} (rc{code})");
        }
        NotedPacket::Auth { reason_code, method } => {
            let (code, method) = (
                reason_code.as_u8(),
                method.as_deref().map(printable).unwrap_or_default(),
            );
            packet_line!(line, "Sending AUTH to {client} (rc{code}, {method})");
        }
        NotedPacket::Other(_) => packet_line!(line, "Sending {name} to {client}"),
        _ => {}
    }
}

/// What stands behind the client in a line about a PUBLISH.
struct Brief<'a>(&'a NotedPublish);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Brief(publish) = self;
        write!(
            f,
            "(d{}, q{}, r{}, m{}, '{}', ... ({} bytes))",
            u8::from(publish.dup),
            publish.qos.as_u8(),
            u8::from(publish.retain),
            identifier_of(publish),
            printable(&publish.topic_name),
            publish.payload_len
        )
    }
}

/// 0 at QoS 0.
fn identifier_of(publish: &NotedPublish) -> u64 {
    publish
        .packet_identifier
        .map_or(0, |identifier| u64::from(identifier.get()))
}

/// The packet's type as the specification writes it.
fn name_of_packet(packet: &NotedPacket) -> String {
    let packet_type = match packet {
        NotedPacket::Connect { .. } => PacketType::Connect,
        NotedPacket::ConnAck { .. } => PacketType::ConnAck,
        NotedPacket::Publish(_) => PacketType::Publish,
        NotedPacket::Acknowledgement { packet_type, .. } | NotedPacket::Other(packet_type) => *packet_type,
        NotedPacket::Subscribe { .. } => PacketType::Subscribe,
        NotedPacket::Unsubscribe { .. } => PacketType::Unsubscribe,
        NotedPacket::Auth { .. } => PacketType::Auth,
        NotedPacket::Disconnect { .. } => PacketType::Disconnect,
        _ => return String::new(),
    };
    format!("{packet_type:?}").to_ascii_uppercase()
}

/// Whether anybody wants lines about packets.
pub(crate) fn wants_packets() -> bool {
    tracing::enabled!(target: PACKET, tracing::Level::DEBUG)
}

/// Whether anybody wants lines about subscriptions.
pub(crate) fn wants_subscriptions() -> bool {
    tracing::enabled!(target: SUBSCRIBE, tracing::Level::INFO)
        || tracing::enabled!(target: UNSUBSCRIBE, tracing::Level::INFO)
}

/// The line behind that of a client that has connected over TLS.
pub(crate) fn negotiated(client_id: &str, version: Option<&str>, cipher: Option<&str>) {
    let client_id = printable(client_id);
    let (version, cipher) = (version.unwrap_or("TLS"), cipher.unwrap_or("of an unknown name"));
    tracing::info!(
        target: CONNECTION,
        event = "negotiated",
        client_id,
        version,
        cipher,
        "Client {client_id} negotiated {version} cipher {cipher}"
    );
}

fn peer(outbox: &Outbox) -> String {
    Address::of(outbox).map_or_else(
        || "an unknown address".to_owned(),
        |address| printable(&address.peer().to_string()),
    )
}

/// Text of a peer in a log line: nothing that ends the line or moves the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
