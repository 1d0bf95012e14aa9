//! Events of the core as log lines, in the shapes that Mosquitto's log scrapers know.

use komar_broker_core::{CloseCause, Event, Outbox, OverRate};
use komar_codec::{ProtocolVersion, ReasonCode};

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
            let code = reason_code.as_u8();
            tracing::info!(
                target: NOTICE,
                event = "refused",
                address,
                client_id,
                user = username.as_deref().map(printable),
                reason = detail,
                code = u64::from(code),
                "Client {client_id} from {address}{user} refused: {detail} ({code:#04x}).",
            );
            // As Mosquitto's log scrapers know it.
            if let ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword = reason_code {
                tracing::info!(
                    target: CONNECTION,
                    event = "disconnected",
                    address,
                    client_id,
                    "Client {client_id} [{address}] disconnected: not authorised."
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
        Event::PublishDenied {
            client_id,
            topic_name,
        } => {
            tracing::debug!(
                target: DEBUG,
                "Denied PUBLISH from {} to '{}'.",
                printable(client_id),
                printable(topic_name)
            );
        }
        _ => {}
    }
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
