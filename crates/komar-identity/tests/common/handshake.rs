//! Handshakes in memory.

#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use komar_identity::tls::{self, ClientAuthentication, ServerTls, ServerTlsBuilder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::ServerConnection;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};

use super::common::data;

pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// 2030-01-01
pub(crate) const NOW: u64 = 1_893_456_000;

#[derive(Debug)]
pub(crate) struct Clock(pub(crate) u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn certificates(names: &str) -> Vec<CertificateDer<'static>> {
    words(names)
        .flat_map(|name| tls::certificates_from_pem(&data(&format!("v1/{name}.crt")), name).unwrap())
        .collect()
}

pub(crate) fn lists(names: &str) -> Vec<CertificateRevocationListDer<'static>> {
    words(names)
        .flat_map(|name| tls::revocation_lists_from_pem(&data(&format!("v1/{name}.pem")), name).unwrap())
        .collect()
}

fn words(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// A listener with the tutorial's certificate, at the tests' time.
pub(crate) fn listener<'a>(certificate: &'a [u8], key: &'a [u8]) -> ServerTlsBuilder<'a> {
    ServerTls::builder(certificate, key)
        .provider(provider())
        .time_provider(Arc::new(Clock(NOW)))
}

pub(crate) fn server(client_authentication: ClientAuthentication) -> Arc<ServerConfig> {
    let (certificate, key) = (data("v1/broker.crt"), data("v1/broker.key"));
    listener(&certificate, &key)
        .client_authentication(client_authentication)
        .build()
        .unwrap()
        .config()
}

pub(crate) fn required(cas: &str, crls: &str) -> ClientAuthentication {
    ClientAuthentication::Required {
        cas: certificates(cas),
        crls: lists(crls),
        ignore_dates: false,
    }
}

/// A client that shows this chain and signs with the key of that name. It trusts every server.
pub(crate) fn client(
    version: &'static SupportedProtocolVersion,
    chain: &str,
    key: &str,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Clock(NOW)))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustEverybody));
    let chain = certificates(chain);
    let mut config = if chain.is_empty() {
        builder.with_no_client_auth()
    } else {
        let key = tls::private_key_from_pem(&data(&format!("v1/{key}.key")), key).unwrap();
        let key = provider().key_provider.load_private_key(key);
        // ring cannot sign with some of the keys; the certificate is refused before the signature is looked at.
        let key = key.unwrap_or_else(|_| {
            let other = tls::private_key_from_pem(&data("v1/myD2000.key"), "myD2000").unwrap();
            provider().key_provider.load_private_key(other).unwrap()
        });
        builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
    };
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) client: Result<ClientConnection, rustls::Error>,
    pub(crate) server: Result<ServerConnection, rustls::Error>,
}

/// Shakes hands until nobody has anything more to say, tickets included.
pub(crate) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Outcome {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && server_error.is_none() {
            server.read_tls(&mut rest).unwrap();
            server_error = server.process_new_packets().err();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && client_error.is_none() {
            client.read_tls(&mut rest).unwrap();
            client_error = client.process_new_packets().err();
        }
    }
    Outcome {
        client: client_error.map_or(Ok(client), Err),
        server: server_error.map_or(Ok(server), Err),
    }
}

/// "ok", or the alert that the client got.
pub(crate) fn alert(outcome: &Outcome) -> String {
    match (&outcome.client, &outcome.server) {
        (Ok(client), Ok(server)) if !client.is_handshaking() && !server.is_handshaking() => "ok".to_owned(),
        (Err(rustls::Error::AlertReceived(alert)), Err(_)) => format!("{alert:?}"),
        other => format!("{other:?}"),
    }
}

#[derive(Debug)]
struct TrustEverybody;

impl ServerCertVerifier for TrustEverybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
