//! Accepting Connections, and choosing the reactor that serves them.

use core::sync::atomic::Ordering;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use komar_broker_core::ListenerId;
use komar_codec::ReasonCode;
use mio::{Interest, Token};

use super::Reactor;
use crate::connection::{Address, Connection};
use crate::event_log;
use crate::listener::ListenAddress;
use crate::mailbox::Mail;
use crate::open_listener::{ListenerSettings, OpenListener};
use crate::rates::Rates;
use crate::server::Placement;
use crate::transport::layers::Layers;
use crate::transport::socket::{Peer, Socket};

impl Reactor {
    /// Accepts a few Connections, so that a storm of them leaves time for those that are there.
    pub(super) fn accept(&mut self) {
        self.admit_surplus();
        if self.accept_after.is_some_and(|after| Instant::now() < after) {
            return;
        }
        self.accept_after = None;
        let mut listeners = core::mem::take(&mut self.accepting);
        listeners.sort_unstable();
        listeners.dedup();
        listeners.retain(|id| self.accept_some(*id));
        self.accepting.append(&mut listeners);
    }

    /// Says whether there may be more.
    fn accept_some(&mut self, id: ListenerId) -> bool {
        for _ in 0..ACCEPTS_A_TURN {
            let Some((socket, open)) = self.sockets.get(&id) else {
                return false;
            };
            let open = Arc::clone(open);
            match socket.accept() {
                Ok((socket, peer)) => self.admit(socket, peer, &open),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_failed = false;
                    return false;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Once, until nobody waits any more: it is tried ten times a second.
                    if !self.accept_failed {
                        tracing::error!(
                            "cannot accept connections: {error}; they wait until it is possible again"
                        );
                    }
                    self.accept_failed = true;
                    self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                    return true;
                }
            }
        }
        true
    }

    /// Lets a new Connection in, if it may come and there is room.
    fn admit(&mut self, socket: Socket, peer: Peer, open: &Arc<OpenListener>) {
        let settings = open.settings();
        if !is_trusted(&settings, &peer) {
            tracing::info!(
                target: event_log::NOTICE,
                "Connection from {peer} rejected, it is not a trusted proxy."
            );
            return;
        }
        match self.take_place(open) {
            Ok(()) => self.place(socket, peer, open),
            Err(limit) => self.wait_for_place(socket, peer, open, limit),
        }
    }

    /// Chooses the reactor for a Connection that has its place.
    pub(super) fn place(&mut self, socket: Socket, peer: Peer, open: &Arc<OpenListener>) {
        let settings = open.settings();
        // A proxy's client counts when its address is known.
        let turned_away = match settings.proxy {
            Some(_) => Some(false),
            None => self.is_turned_away(&settings, &peer, |rates, now| rates.admits(peer.address(), now)),
        };
        let Some(turned_away) = turned_away else {
            open.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if settings.no_delay {
            socket.send_small_packets_at_once();
        }
        if settings.proxy.is_none() {
            log_arrival(&peer, open);
        }
        let reactors = self.common.mailboxes.len();
        let target = match self.common.placement {
            Placement::Pack => self.first_idle(),
            Placement::Alternate | Placement::Restless => {
                self.common.placed.fetch_add(1, Ordering::Relaxed) % reactors
            }
        };
        self.common.loads[target].fetch_add(1, Ordering::Relaxed);
        if target == self.number {
            self.add(socket, peer, open, turned_away);
        } else {
            self.common.mailboxes[target].send(Mail::Accepted {
                socket,
                peer,
                listener: Arc::clone(open),
                turned_away,
            });
        }
    }

    /// Whether a Connection is one too many of a second, so that its CONNECT is to be refused; `None`: it is closed now.
    pub(super) fn is_turned_away(
        &self,
        settings: &ListenerSettings,
        peer: &Peer,
        admits: impl FnOnce(&Rates, Duration) -> bool,
    ) -> Option<bool> {
        let now = self.common.started.elapsed();
        let Some(rates) = settings.rates.as_ref().filter(|rates| !admits(rates, now)) else {
            return Some(false);
        };
        let count = self.common.turned_away.fetch_add(1, Ordering::Relaxed) + 1;
        if rates.may_log(now) {
            tracing::info!(
                target: event_log::NOTICE,
                "Client connection from {peer} denied: connection rate exceeded ({count} connections until now)."
            );
        }
        rates.answers_connections().then_some(true)
    }

    pub(super) fn add(
        &mut self,
        mut socket: Socket,
        peer: Peer,
        open: &Arc<OpenListener>,
        turned_away: bool,
    ) {
        let settings = open.settings();
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let layers = Layers::of(&settings);
        let registered = self.poll.registry().register(&mut socket, Token(key), interest);
        let (Ok(layers), Ok(()), false) = (layers, registered, open.is_closed()) else {
            tracing::error!("cannot take the connection from {peer} over; it is closed");
            open.connections.fetch_sub(1, Ordering::Relaxed);
            self.common.loads[self.number].fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let socket = Arc::new(socket);
        let wrapped = layers.as_ref().is_some_and(|layers| layers.wraps_output());
        let shared = (!wrapped).then(|| Arc::clone(&socket));
        let source = peer.address();
        let address = Address::new(self.number, key, peer, shared);
        let mut link = self.worker.open(Box::new(address), &settings.policy);
        if turned_away {
            link.turn_away(ReasonCode::ConnectionRateExceeded);
        }
        if let Some(rates) = settings.rates.as_ref().filter(|_| settings.proxy.is_none()) {
            rates.apply(&mut link, source, self.common.started.elapsed());
        }
        entry.insert(Connection {
            socket,
            link,
            layers,
            listener: Arc::clone(open),
            settings,
            read_closed: false,
            ended: false,
            reading: true,
            closing: false,
            bytes_read: 0,
            stays_until: 0,
        });
        // What has come already is read now: the edge may have been before the registration.
        self.reading.push(key);
    }
}

/// Whether whoever connects may say whom it stands for.
fn is_trusted(settings: &ListenerSettings, peer: &Peer) -> bool {
    match (&settings.proxy, peer) {
        (Some(proxy), Peer::Network(address)) if !proxy.trusted.is_empty() => {
            // An IPv4 address may come in IPv6's clothes.
            let address = address.ip().to_canonical();
            proxy.trusted.iter().any(|network| network.contains(&address))
        }
        _ => true,
    }
}

pub(super) fn log_arrival(peer: &dyn core::fmt::Display, open: &OpenListener) {
    match &open.local {
        ListenAddress::Tcp(address) => {
            let port = address.port();
            tracing::info!(
                target: event_log::CONNECTION,
                event = "accepted",
                address = %peer,
                port = u64::from(port),
                "New connection from {peer} on port {port}."
            );
        }
        // Unix sockets have port 0 in Mosquitto's log; the peer's name says the path.
        ListenAddress::Unix(_) => {
            tracing::info!(
                target: event_log::CONNECTION,
                event = "accepted",
                address = %peer,
                port = 0u64,
                "New connection from {peer} on port 0."
            );
        }
    }
}

/// Errors of `accept` that concern the Connection which was to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::TimedOut
    )
}

const ACCEPTS_A_TURN: usize = 32;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
