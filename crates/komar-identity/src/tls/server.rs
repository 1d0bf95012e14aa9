//! From the files of a listener to its rustls configuration.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, GetRandomFailed};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::ticketer::TicketRotator;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::authority::MAXIMUM_DEPTH;
use super::signature::{Algorithms, Signed};
use super::verifier::VerifierSettings;
use super::{
    ClientVerifier, TlsError, TlsWarning, certificates_from_pem, private_key_from_pem, select_cipher_suites,
};
use crate::Certificate;

/// How long ticket keys are used, in seconds; a session can be resumed for at most twice that time.
///
/// A resumed session is not verified again, so that a certificate that expires meanwhile goes on for so long.
const TICKET_KEY_LIFETIME: u32 = 60 * 60;

/// Whether clients show certificates.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// Clients are not asked for certificates. The default.
    #[default]
    Off,
    /// Clients without a valid certificate are refused: `require_certificate true`.
    Required {
        /// The certificates of the CA file, see [`certificates_from_pem`].
        cas: Vec<CertificateDer<'static>>,
        /// Revocation lists; empty: nothing is revoked.
        crls: Vec<CertificateRevocationListDer<'static>>,
        /// Accept certificates before and after their time: `disable_client_cert_date_checks`.
        ignore_dates: bool,
    },
    /// Clients may come without a certificate; one that is shown must be valid.
    Optional {
        /// As in `Required`.
        cas: Vec<CertificateDer<'static>>,
        /// As in `Required`.
        crls: Vec<CertificateRevocationListDer<'static>>,
        /// As in `Required`.
        ignore_dates: bool,
    },
}

/// The oldest version of TLS that a listener speaks. There is nothing older than 1.2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinimumVersion {
    /// TLS 1.2 and 1.3. The default.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Mosquitto's names: `tlsv1.2` and `tlsv1.3`.
impl FromStr for MinimumVersion {
    type Err = TlsError;

    /// # Errors
    /// [`TlsError::OldVersion`] for `tlsv1.1` and what came before, [`TlsError::UnknownVersion`].
    fn from_str(name: &str) -> Result<Self, TlsError> {
        match name {
            "tlsv1.2" => Ok(Self::Tls12),
            "tlsv1.3" => Ok(Self::Tls13),
            "tlsv1.1" | "tlsv1" | "tlsv1.0" | "sslv3" => Err(TlsError::OldVersion {
                name: name.to_owned(),
            }),
            _ => Err(TlsError::UnknownVersion {
                name: name.to_owned(),
            }),
        }
    }
}

/// The cryptography of a listener that chooses none: ring, or aws-lc-rs with the feature of that name.
///
/// ```
/// let provider = komar_identity::tls::default_provider();
/// assert!(!provider.cipher_suites.is_empty());
/// assert!(rustls::crypto::CryptoProvider::get_default().is_none()); // the process has none because of us
/// ```
#[must_use]
pub fn default_provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    return rustls::crypto::ring::default_provider();
}

/// The TLS side of one listener, ready for connections.
///
/// Sessions can be resumed by tickets. Each `ServerTls` has ticket keys of its own and no other memory of sessions, so
/// that no session outlives a reload: after a new revocation list every client is verified anew.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    client_verifier: Option<Arc<ClientVerifier>>,
    warnings: Vec<TlsWarning>,
}

impl ServerTls {
    /// Starts with the contents of two PEM files: the certificate chain (the server's own first) and its private key.
    ///
    /// The certificate may be of X.509 version 1; that key and certificate belong together is checked.
    #[must_use]
    pub fn builder<'a>(certificates: &'a [u8], key: &'a [u8]) -> ServerTlsBuilder<'a> {
        ServerTlsBuilder::new(certificates, key)
    }

    /// The configuration for connections.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What verifies clients' certificates, to look at those of connected clients again after a reload; `None` if
    /// clients are not asked for any.
    #[must_use]
    pub fn client_verifier(&self) -> Option<Arc<ClientVerifier>> {
        self.client_verifier.clone()
    }

    /// What works, but not as the operator may think.
    #[must_use]
    pub fn warnings(&self) -> &[TlsWarning] {
        &self.warnings
    }
}

/// Settings of a [`ServerTls`].
#[derive(Debug, Clone)]
pub struct ServerTlsBuilder<'a> {
    certificates: &'a [u8],
    key: &'a [u8],
    certificate_label: String,
    key_label: String,
    cas_label: String,
    crls_label: String,
    client_authentication: ClientAuthentication,
    chain_candidates: Vec<CertificateDer<'static>>,
    minimum_version: MinimumVersion,
    ciphers: Option<String>,
    ciphers_tls13: Option<String>,
    provider: Option<Arc<CryptoProvider>>,
    time_provider: Option<Arc<dyn TimeProvider>>,
}

impl<'a> ServerTlsBuilder<'a> {
    fn new(certificates: &'a [u8], key: &'a [u8]) -> Self {
        Self {
            certificates,
            key,
            certificate_label: "certfile".to_owned(),
            key_label: "keyfile".to_owned(),
            cas_label: "cafile".to_owned(),
            crls_label: "crlfile".to_owned(),
            client_authentication: ClientAuthentication::Off,
            chain_candidates: Vec::new(),
            minimum_version: MinimumVersion::default(),
            ciphers: None,
            ciphers_tls13: None,
            provider: None,
            time_provider: None,
        }
    }

    /// What messages call the certificate file. Default: `certfile`.
    #[must_use]
    pub fn certificate_label(mut self, file: impl Into<String>) -> Self {
        self.certificate_label = file.into();
        self
    }

    /// What messages call the key file. Default: `keyfile`.
    #[must_use]
    pub fn key_label(mut self, file: impl Into<String>) -> Self {
        self.key_label = file.into();
        self
    }

    /// What messages call the file or folder of authorities. Default: `cafile`.
    #[must_use]
    pub fn cas_label(mut self, file: impl Into<String>) -> Self {
        self.cas_label = file.into();
        self
    }

    /// What messages call the file of revocation lists. Default: `crlfile`.
    #[must_use]
    pub fn crls_label(mut self, file: impl Into<String>) -> Self {
        self.crls_label = file.into();
        self
    }

    /// Whether clients show certificates. Default: [`ClientAuthentication::Off`].
    #[must_use]
    pub fn client_authentication(mut self, client_authentication: ClientAuthentication) -> Self {
        self.client_authentication = client_authentication;
        self
    }

    /// Certificates of which those are sent behind the server's own that lead to its root, if the certificate file holds
    /// only that one. Default: none.
    ///
    /// OpenSSL does so with the certificates of the CA file, so sites have intermediates only there.
    #[must_use]
    pub fn chain_candidates(mut self, certificates: Vec<CertificateDer<'static>>) -> Self {
        self.chain_candidates = certificates;
        self
    }

    /// The oldest version of TLS. Default: 1.2.
    #[must_use]
    pub fn minimum_version(mut self, version: MinimumVersion) -> Self {
        self.minimum_version = version;
        self
    }

    /// OpenSSL's cipher list for TLS 1.2, see [`select_cipher_suites`]. Default: all that there are.
    #[must_use]
    pub fn ciphers(mut self, list: impl Into<String>) -> Self {
        self.ciphers = Some(list.into());
        self
    }

    /// OpenSSL's cipher list for TLS 1.3. Default: all that there are.
    #[must_use]
    pub fn ciphers_tls13(mut self, list: impl Into<String>) -> Self {
        self.ciphers_tls13 = Some(list.into());
        self
    }

    /// The cryptography. Default: [`default_provider`]. Nothing is installed as the default of the process.
    #[must_use]
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The clock of handshakes. Default: the system's.
    #[must_use]
    pub fn time_provider(mut self, clock: Arc<dyn TimeProvider>) -> Self {
        self.time_provider = Some(clock);
        self
    }

    /// Reads everything and makes the configuration.
    ///
    /// # Errors
    /// [`TlsError`]: which file is wrong, and what to do.
    pub fn build(self) -> Result<ServerTls, TlsError> {
        let clock = self
            .time_provider
            .clone()
            .unwrap_or_else(|| Arc::new(DefaultTimeProvider));
        let now = clock
            .current_time()
            .ok_or(TlsError::Settings(rustls::Error::FailedToGetCurrentTime))?;
        let provider = self
            .provider
            .clone()
            .unwrap_or_else(|| Arc::new(default_provider()));
        let selection =
            select_cipher_suites(&provider, self.ciphers.as_deref(), self.ciphers_tls13.as_deref())?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: selection.suites,
            ..(*provider).clone()
        });
        let mut warnings = selection.warnings;

        let key_pair = self.key_pair(&provider)?;
        let unix = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        warnings.extend(self.server_warnings(&key_pair.cert, unix)?);

        let versions: &[&SupportedProtocolVersion] = match self.minimum_version {
            MinimumVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinimumVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), clock)
            .with_protocol_versions(versions)
            .map_err(TlsError::Settings)?;
        let (cas, crls, ignore_dates, mandatory) = match self.client_authentication {
            ClientAuthentication::Off => {
                let builder = builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth());
                let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key_pair)));
                return Ok(ServerTls {
                    config: finish(config)?,
                    client_verifier: None,
                    warnings,
                });
            }
            ClientAuthentication::Required {
                cas,
                crls,
                ignore_dates,
            } => (cas, crls, ignore_dates, true),
            ClientAuthentication::Optional {
                cas,
                crls,
                ignore_dates,
            } => (cas, crls, ignore_dates, false),
        };
        let settings = VerifierSettings {
            cas,
            crls,
            ignore_dates,
            mandatory,
            cas_file: &self.cas_label,
            crls_file: &self.crls_label,
            now,
        };
        let verifier = Arc::new(ClientVerifier::with_settings(settings, &provider, &mut warnings)?);
        let for_handshakes: Arc<dyn ClientCertVerifier> = verifier.clone();
        let builder = builder.with_client_cert_verifier(for_handshakes);
        let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key_pair)));
        Ok(ServerTls {
            config: finish(config)?,
            client_verifier: Some(verifier),
            warnings,
        })
    }

    /// Certificate chain and key, and that they belong together. rustls' own check refuses version 1.
    fn key_pair(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain = certificates_from_pem(self.certificates, &self.certificate_label)?;
        let key = private_key_from_pem(self.key, &self.key_label)?;
        let key: Arc<dyn SigningKey> =
            provider
                .key_provider
                .load_private_key(key)
                .map_err(|error| TlsError::UnusableKey {
                    file: self.key_label.clone(),
                    reason: error.to_string(),
                })?;
        let public_key = key.public_key();
        let belongs = |(index, der): (usize, &CertificateDer<'_>)| {
            let number = index.saturating_add(1);
            let certificate = Certificate::parse(der).map_err(|source| TlsError::MalformedCertificate {
                file: self.certificate_label.clone(),
                number,
                source,
            })?;
            Ok((
                number,
                public_key.as_deref() == Some(certificate.public_key_der()),
            ))
        };
        let matching: Vec<(usize, bool)> = chain.iter().enumerate().map(belongs).collect::<Result<_, _>>()?;
        match matching.iter().find(|(_, belongs)| *belongs) {
            Some((1, _)) => Ok(CertifiedKey::new(
                complete(
                    chain,
                    &self.chain_candidates,
                    provider.signature_verification_algorithms.all,
                ),
                key,
            )),
            Some((number, _)) => Err(TlsError::LeafNotFirst {
                file: self.certificate_label.clone(),
                number: *number,
            }),
            None => Err(TlsError::KeyMismatch {
                certificate_file: self.certificate_label.clone(),
                key_file: self.key_label.clone(),
            }),
        }
    }

    fn server_warnings(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<Vec<TlsWarning>, TlsError> {
        let file = || self.certificate_label.clone();
        let mut warnings = Vec::new();
        for (index, der) in chain.iter().enumerate() {
            let number = index.saturating_add(1);
            let certificate = Certificate::parse(der).map_err(|source| TlsError::MalformedCertificate {
                file: file(),
                number,
                source,
            })?;
            if index == 0 && certificate.version() == 1 {
                warnings.push(TlsWarning::VersionOneServer { file: file() });
            } else if index == 0
                && certificate
                    .alternative_names()
                    .is_ok_and(|names| names.is_empty())
            {
                warnings.push(TlsWarning::NoServerNames { file: file() });
            }
            if !certificate.is_valid_at(now) {
                let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
                warnings.push(TlsWarning::OutsideDates {
                    file: file(),
                    number,
                    not_before,
                    not_after,
                });
            }
        }
        Ok(warnings)
    }
}

/// What all listeners have in common.
fn finish(mut config: ServerConfig) -> Result<Arc<ServerConfig>, TlsError> {
    // Tickets under keys that belong to this configuration alone, and nothing stored: that is what ends all sessions
    // at a reload.
    let tickets = TicketRotator::new(TICKET_KEY_LIFETIME, fresh_ticketer).map_err(TlsError::Settings)?;
    config.ticketer = Arc::new(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// rustls makes its own ticketers with a longer rotation only; each one made here starts with new keys.
fn fresh_ticketer() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
    let inner = rustls::crypto::ring::Ticketer::new().map_err(|_| GetRandomFailed)?;
    Ok(Box::new(FreshTicketer(inner)))
}

#[derive(Debug)]
struct FreshTicketer(Arc<dyn ProducesTickets>);

impl ProducesTickets for FreshTicketer {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        TICKET_KEY_LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// Adds the issuers of a server certificate that stands alone, up to the root, which clients have themselves.
fn complete(
    mut chain: Vec<CertificateDer<'static>>,
    candidates: &[CertificateDer<'static>],
    algorithms: Algorithms,
) -> Vec<CertificateDer<'static>> {
    if chain.len() != 1 {
        return chain;
    }
    while chain.len() <= MAXIMUM_DEPTH {
        let Some(issuer) = chain
            .last()
            .and_then(|last| issuer_of(last, candidates, algorithms))
        else {
            break;
        };
        chain.push(issuer.clone());
    }
    chain
}

/// The intermediate among these certificates that has signed `der`.
fn issuer_of<'c>(
    der: &CertificateDer<'_>,
    candidates: &'c [CertificateDer<'static>],
    algorithms: Algorithms,
) -> Option<&'c CertificateDer<'static>> {
    let certificate = Certificate::parse(der).ok()?;
    let signed = Signed::parse(der)?;
    candidates.iter().find(|candidate| {
        Certificate::parse(candidate).is_ok_and(|issuer| {
            !issuer.is_self_issued()
                && issuer.subject_der() == certificate.issuer_der()
                && signed.verify(issuer.public_key_der(), algorithms).is_ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(names: &[&str]) -> Vec<CertificateDer<'static>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v1/");
        names
            .iter()
            .flat_map(|name| {
                let pem = std::fs::read(format!("{folder}{name}.crt")).unwrap();
                certificates_from_pem(&pem, name).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_certificate_alone_gets_its_intermediates_and_not_the_root() {
        for (chain, candidates, expected) in [
            (vec!["of-sub3"], vec!["ca", "sub"], vec!["of-sub3", "sub"]),
            (vec!["of-sub3"], vec!["ca"], vec!["of-sub3"]),
            (vec!["broker3"], vec!["ca", "sub"], vec!["broker3"]),
            (vec!["broker3"], vec!["same-name"], vec!["broker3"]),
            (vec!["of-sub3", "ca"], vec!["sub"], vec!["of-sub3", "ca"]),
            (vec!["self-signed"], vec!["self-signed"], vec!["self-signed"]),
        ] {
            let completed = complete(
                certificates(&chain),
                &certificates(&candidates),
                default_provider().signature_verification_algorithms.all,
            );
            assert!(
                completed == certificates(&expected),
                "{chain:?} from {candidates:?}"
            );
        }
    }
}
