//! Reading through what lies between a socket and MQTT: PROXY header, TLS, WebSocket.

use std::sync::Arc;

use komar_broker_core::{CloseCause, Link, LinkState};
use komar_codec::ReasonCode;

use super::{Reactor, accept, peer_of};
use crate::connection::Address;
use crate::event_log;
use crate::transport::layers::End;
use crate::transport::proxy::{self, ProxyError, Source};
use crate::transport::socket::Peer;

impl Reactor {
    /// Reads on through the PROXY header. `false`: the Connection is over.
    pub(super) fn read_proxy_header(&mut self, key: usize, count: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let (Some(layers), Some(bytes)) = (&mut connection.layers, self.buffer.get(..count)) else {
            return false;
        };
        let refusal = match layers.receive_proxy_header(bytes) {
            Ok(None) => return true,
            Ok(Some((taken, header))) => match self.proxied(key, &header) {
                Ok(()) => return self.read_layers(key, taken, count),
                Err(refusal) => refusal,
            },
            Err(ProxyError::HealthCheck) => {
                self.end(key, CloseCause::HealthCheck);
                return false;
            }
            Err(ProxyError::Corrupt(detail)) => {
                let peer = peer_of(connection);
                format!("Connection rejected, corrupt PROXY header. It came from {peer}: {detail}.")
            }
        };
        // One that is too many has been logged, or is one of many.
        if !refusal.is_empty() {
            tracing::info!(target: event_log::NOTICE, "{refusal}");
        }
        self.refuse(key);
        false
    }

    /// Takes over what a proxy says about its client. `Err`: the line for the log, empty if there is none.
    fn proxied(&mut self, key: usize, header: &proxy::Header) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(());
        };
        let client = match &header.source {
            Source::Unknown => None,
            Source::Network(address) => Some(Peer::network(*address)),
            Source::Local(path) => Some(Peer::Local(path.as_str().into())),
        };
        if let (Some(client), Some(address)) = (client, Address::of(connection.link.outbox())) {
            address.set_client(client);
        }
        let peer = peer_of(connection);
        if let Some(proxy) = &connection.settings.proxy {
            header
                .check(proxy)
                .map_err(|demand| format!("Connection from {peer} rejected, {demand}."))?;
        }
        self.count_proxied(key)?;
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(());
        };
        accept::log_arrival(&peer, &connection.listener);
        if let Some(tls) = &header.tls {
            if let (Some(version), Some(cipher)) = (&tls.version, &tls.cipher) {
                let line = format!("Connection from {peer} negotiated {version} cipher {cipher}");
                tracing::info!(target: event_log::NOTICE, "{}", event_log::printable(&line));
            }
            // Anybody can write a name into a certificate that nobody has verified.
            if let Some(name) = tls.common_name.as_ref().filter(|_| tls.verified_certificate) {
                connection.link.present_common_name(name);
            }
        }
        if connection
            .layers
            .as_ref()
            .is_some_and(|layers| !layers.wraps_output())
        {
            connection.layers = None;
        }
        Ok(())
    }

    /// Lets the bounds on addresses count for the one that a proxy has named.
    fn count_proxied(&mut self, key: usize) -> Result<(), String> {
        let Some(connection) = self.connections.get(key) else {
            return Ok(());
        };
        let settings = Arc::clone(&connection.settings);
        let address = Address::of(connection.link.outbox());
        let (Some(rates), Some(peer)) = (&settings.rates, address.map(|address| address.peer().clone()))
        else {
            return Ok(());
        };
        let source = peer.address();
        let turned_away = self.is_turned_away(&settings, &peer, |rates, now| rates.admits(source, now));
        if let Some(connection) = self.connections.get_mut(key) {
            match turned_away {
                Some(true) => connection.link.turn_away(ReasonCode::ConnectionRateExceeded),
                Some(false) => {}
                None => return Err(String::new()),
            }
            rates.apply(&mut connection.link, source, self.common.started.elapsed());
        }
        Ok(())
    }

    /// Reads on through TLS and WebSocket, from `start` on in what was read. `false`: the Connection is over.
    pub(super) fn read_layers(&mut self, key: usize, start: usize, count: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let bytes = self.buffer.get_mut(start..count).unwrap_or_default();
        let Some(layers) = &mut connection.layers else {
            self.worker.input(&mut connection.link, bytes);
            return true;
        };
        let arrived = layers.receive(&connection.socket, bytes, &mut self.scratch);
        self.handshakes.note(key, layers.handshake_bytes());
        if arrived.handshake_done
            && let Some(tls) = layers.tls()
        {
            if let Some(der) = tls.peer_certificate() {
                connection.link.present_certificate(der);
            }
            tracing::debug!(version = tls.version(), cipher = tls.cipher(), "TLS");
        }
        let payload = arrived.payload(bytes, &self.scratch);
        if !payload.is_empty() {
            self.worker.input(&mut connection.link, payload);
        }
        self.scratch.shrink();
        let (what, error): (_, &dyn core::fmt::Display) = match &arrived.end {
            None => return self.has_place_for_handshake(key),
            // What came before the end is done first, as where the end is a read of its own.
            Some(End::Closed) if is_waited_for(&connection.link) => {
                connection.ended = true;
                return false;
            }
            Some(End::Closed) => {
                self.over.push((key, CloseCause::ConnectionClosed));
                return false;
            }
            Some(End::Tls(error)) => ("TLS", error),
            Some(End::Upgrade(error)) => ("WebSocket", error),
            Some(End::Frame(error)) => ("WebSocket", error),
        };
        let peer = peer_of(connection);
        tracing::info!(target: event_log::NOTICE, "{what} with {peer} failed: {error}.");
        self.refuse(key);
        false
    }

    /// Closes whoever waits longest if unfinished handshakes hold too much. `false`: it is this one.
    fn has_place_for_handshake(&mut self, key: usize) -> bool {
        let mut has_place = true;
        while let Some(surplus) = self.handshakes.surplus(self.common.maximum_handshake_bytes) {
            self.handshakes.forget(surplus);
            if let Some(connection) = self.connections.get(surplus) {
                let peer = peer_of(connection);
                tracing::info!(
                    target: event_log::NOTICE,
                    "TLS with {peer} failed: too many unfinished handshakes."
                );
            }
            self.refuse(surplus);
            has_place &= surplus != key;
        }
        has_place
    }
}

/// Whether something that came from the client is still to be done, for which it waits.
fn is_waited_for(link: &Link) -> bool {
    link.state() == LinkState::Paused && !link.only_awaits_login()
}
