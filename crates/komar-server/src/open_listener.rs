//! A listener as it runs: where it listens never changes, what is asked of its clients changes with a reload.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use komar_broker_core::{ListenerId, ListenerPolicy};
use komar_identity::tls::ClientVerifier;
use parking_lot::RwLock;

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
    pub(crate) connections: AtomicUsize,
    closed: AtomicBool,
    settings: RwLock<Arc<ListenerSettings>>,
}

/// What is asked of clients.
pub(crate) struct ListenerSettings {
    pub(crate) policy: Arc<ListenerPolicy>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) client_verifier: Option<Arc<ClientVerifier>>,
    pub(crate) websocket: Option<Arc<websocket::Settings>>,
    pub(crate) proxy: Option<ProxyProtocol>,
    pub(crate) maximum_connections: Option<usize>,
    pub(crate) rates: Option<Arc<Rates>>,
    pub(crate) no_delay: bool,
}

impl OpenListener {
    pub(crate) fn new(id: ListenerId, local: ListenAddress, wanted: Listener) -> OpenListener {
        OpenListener {
            id,
            asked: wanted.address.clone(),
            local,
            connections: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            settings: RwLock::new(Arc::new(ListenerSettings::new(id, wanted))),
        }
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
    pub(crate) fn new(id: ListenerId, wanted: Listener) -> ListenerSettings {
        let mut policy = wanted.policy;
        policy.id = id;
        ListenerSettings {
            policy: Arc::new(policy),
            tls: wanted.tls,
            client_verifier: wanted.client_verifier,
            websocket: wanted.websocket,
            proxy: wanted.proxy,
            maximum_connections: wanted.maximum_connections,
            rates: wanted.rates,
            no_delay: wanted.no_delay,
        }
    }

    /// Whether Connections that came in under `self` could come in the same way under `new`: what they speak before MQTT
    /// is the same, and no proxy has to say more.
    pub(crate) fn is_like(&self, new: &ListenerSettings) -> bool {
        self.tls.is_some() == new.tls.is_some()
            && self.websocket.is_some() == new.websocket.is_some()
            && self.proxy == new.proxy
    }
}
