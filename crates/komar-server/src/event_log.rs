//! Events of the core as log lines, in the shapes that Mosquitto's log scrapers know.

use komar_broker_core::{CloseCause, Event, Outbox};
use komar_codec::ProtocolVersion;

use crate::connection::Address;

/// Target of lines that Mosquitto logs at its level `notice`, which lies between warning and information.
pub const NOTICE: &str = "komar::notice";
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
        } => {
            let level = match version {
                ProtocolVersion::V3_1 => 3,
                ProtocolVersion::V3_1_1 => 4,
                ProtocolVersion::V5 => 5,
            };
            let clean = u8::from(*clean_start);
            let user = username
                .as_ref()
                .map(|name| format!(", u'{}'", printable(name)))
                .unwrap_or_default();
            tracing::info!(
                target: NOTICE,
                "New client connected from {} as {} (p{level}, c{clean}, k{keep_alive}{user}).",
                peer(outbox),
                printable(client_id)
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
            tracing::info!(
                target: NOTICE,
                "Client {} from {}{user} refused: {detail} ({:#04x}).",
                printable(client_id),
                peer(outbox),
                reason_code.as_u8()
            );
        }
        Event::Disconnected {
            outbox,
            client_id,
            cause,
        } => {
            let client_id = printable(client_id);
            match cause {
                CloseCause::Disconnected | CloseCause::DisconnectedWithWill => {
                    tracing::info!(target: NOTICE, "Client {client_id} [{}] disconnected.", peer(outbox));
                }
                cause => {
                    tracing::info!(target: NOTICE, "Client {client_id} [{}] disconnected: {cause}.", peer(outbox));
                }
            }
        }
        Event::Abandoned { outbox, cause } => {
            tracing::info!(target: NOTICE, "Client <unknown> [{}] disconnected: {cause}.", peer(outbox));
        }
        Event::QueueFull { client_id } => {
            tracing::info!(
                target: NOTICE,
                "Outgoing messages are being dropped for client {}.",
                printable(client_id)
            );
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
