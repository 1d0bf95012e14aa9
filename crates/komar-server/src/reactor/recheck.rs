//! After a reload: whether a Connection could come in now as it did then.

use std::sync::Arc;

use komar_broker_core::OverRate;
use komar_codec::ReasonCode;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier as _;

use super::{Reactor, peer_of};
use crate::connection::Address;
use crate::event_log;
use crate::open_listener::ListenerSettings;
use crate::transport::tls::{Tls, TlsError};

impl Reactor {
    /// Whether a Connection could come in now as it did then; ends it if not.
    pub(super) fn look_again(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let new = connection.listener.settings();
        let old = core::mem::replace(&mut connection.settings, Arc::clone(&new));
        if connection.listener.is_closed() || !old.is_like(&new) {
            return self
                .worker
                .expel(&mut connection.link, ReasonCode::AdministrativeAction);
        }
        let tls = connection.layers.as_ref().and_then(|layers| layers.tls());
        if let Some(tls) = tls {
            if tls.is_handshaking() {
                // Its handshake is by the old configuration.
                return self.refuse(key);
            }
            if let Err(error) = check_certificate(tls, &old, &new) {
                let peer = peer_of(connection);
                let error = TlsError::from(error);
                tracing::info!(target: event_log::NOTICE, "TLS with {peer} failed: {error}.");
                return self
                    .worker
                    .expel(&mut connection.link, ReasonCode::AdministrativeAction);
            }
        }
        let certificate = tls.and_then(|tls| tls.peer_certificate());
        let source = Address::of(connection.link.outbox()).and_then(|address| address.peer().address());
        match &new.rates {
            Some(rates) => rates.apply(&mut connection.link, source, self.common.started.elapsed()),
            None => connection.link.limit_messages(Vec::new(), OverRate::default()),
        }
        self.worker
            .recheck(&mut connection.link, &new.policy, certificate);
    }
}

/// Whether a certificate that was good enough still is.
fn check_certificate(tls: &Tls, old: &ListenerSettings, new: &ListenerSettings) -> Result<(), rustls::Error> {
    let Some(verifier) = &new.client_verifier else {
        return Ok(());
    };
    // Signatures cost time, and mostly nothing that they depend on has changed.
    if old
        .client_verifier
        .as_ref()
        .is_some_and(|old| old.judges_like(verifier))
    {
        return Ok(());
    }
    match tls.peer_certificates().split_first() {
        Some((own, others)) => verifier
            .verify_client_cert(own, others, UnixTime::now())
            .map(drop),
        None if verifier.client_auth_mandatory() => Err(rustls::Error::NoCertificatesPresented),
        None => Ok(()),
    }
}
