//! A listener as it runs: where it listens never changes, what is asked of its clients changes with a reload.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use komar_broker_core::{ListenerId, ListenerPolicy};
use komar_identity::tls::ClientVerifier;
use parking_lot::{Mutex, RwLock};

use crate::listener::{ListenAddress, Listener, ProxyProtocol};
use crate::rates::Rates;
use crate::transport::websocket;

/// One of them. Its Connections hold it.
pub(crate) struct OpenListener {
    /// Given to no other listener as long as the server runs: Sessions remember it.
    pub(crate) id: ListenerId,
    /// The address as it was asked for, by which a reload knows it again.
    pub(crate) asked: ListenAddress,
    /// Where it listens, with the port that was chosen.
    pub(crate) local: ListenAddress,
    pub(crate) connections: Arc<AtomicUsize>,
    closed: AtomicBool,
    settings: RwLock<Arc<ListenerSettings>>,
}

/// How many Connections there are on each socket of one listener of the configuration, which has one for each address.
///
/// Sockets that are closed, or were never used, are none of them any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Siblings(Arc<Mutex<Vec<Weak<AtomicUsize>>>>);

impl Siblings {
    /// Once for each socket, however often its settings are made of the same `Listener`.
    pub(crate) fn join(&self, connections: &Arc<AtomicUsize>) {
        let mut counts = self.0.lock();
        counts.retain(|count| count.strong_count() > 0);
        let own = Arc::downgrade(connections);
        if !counts.iter().any(|count| count.ptr_eq(&own)) {
            counts.push(own);
        }
    }

    /// On all of them.
    pub(crate) fn connections(&self) -> usize {
        let counts = self.0.lock();
        let counts = counts.iter().filter_map(Weak::upgrade);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// What is asked of clients.
pub(crate) struct ListenerSettings {
    pub(crate) policy: Arc<ListenerPolicy>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) client_verifier: Option<Arc<ClientVerifier>>,
    pub(crate) websocket: Option<Arc<websocket::Settings>>,
    pub(crate) proxy: Option<ProxyProtocol>,
    maximum_connections: Option<usize>,
    siblings: Siblings,
    pub(crate) rates: Option<Arc<Rates>>,
    pub(crate) no_delay: bool,
}

impl OpenListener {
    pub(crate) fn new(id: ListenerId, local: ListenAddress, wanted: Listener) -> OpenListener {
        let connections = Arc::default();
        OpenListener {
            id,
            asked: wanted.address.clone(),
            local,
            closed: AtomicBool::new(false),
            settings: RwLock::new(Arc::new(ListenerSettings::new(id, wanted, &connections))),
            connections,
        }
    }

    /// What `wanted` asks of this one's clients.
    pub(crate) fn settings_of(&self, wanted: Listener) -> ListenerSettings {
        ListenerSettings::new(self.id, wanted, &self.connections)
    }

    /// What holds now.
    pub(crate) fn settings(&self) -> Arc<ListenerSettings> {
        Arc::clone(&self.settings.read())
    }

    /// Called while no reactor works.
    pub(crate) fn set(&self, settings: ListenerSettings) {
        *self.settings.write() = Arc::new(settings);
    }

    /// Called while no reactor works: from now on nobody gets in here.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl ListenerSettings {
    fn new(id: ListenerId, wanted: Listener, connections: &Arc<AtomicUsize>) -> ListenerSettings {
        wanted.siblings.join(connections);
        let mut policy = wanted.policy;
        policy.id = id;
        ListenerSettings {
            policy: Arc::new(policy),
            tls: wanted.tls,
            client_verifier: wanted.client_verifier,
            websocket: wanted.websocket,
            proxy: wanted.proxy,
            maximum_connections: wanted.maximum_connections,
            siblings: wanted.siblings,
            rates: wanted.rates,
            no_delay: wanted.no_delay,
        }
    }

    /// Whether there is room for one Connection more.
    pub(crate) fn has_room(&self) -> bool {
        let maximum = self.maximum_connections;
        maximum.is_none_or(|maximum| self.siblings.connections() < maximum)
    }

    /// Whether Connections that came in under `self` could come in the same way under `new`: what they speak before MQTT
    /// is the same, and no proxy has to say more.
    pub(crate) fn is_like(&self, new: &ListenerSettings) -> bool {
        self.tls.is_some() == new.tls.is_some()
            && self.websocket.is_some() == new.websocket.is_some()
            && self.proxy == new.proxy
    }
}
