//! Certificates of a small site: an authority, and what it signs.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("{0}")]
    Rcgen(#[from] rcgen::Error),
    #[error("'{0}' is no name that a certificate can carry")]
    Name(String),
}

/// A certificate authority with its key.
pub(crate) struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority that is valid from now on. Its key is ECDSA P-256.
    pub(crate) fn create(name: &str, days: u32) -> Result<Authority, CertificateError> {
        let mut params = params(name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Authority {
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// An authority whose certificate and key are in PEM files.
    pub(crate) fn from_pem(certificate: &str, key: &str) -> Result<Authority, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Authority {
            certificate_pem: certificate.to_owned(),
            issuer,
        })
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a broker that is reached by any of `names` (DNS names or addresses), and its key, both PEM.
    pub(crate) fn issue_server(
        &self,
        names: &[String],
        days: u32,
    ) -> Result<(String, String), CertificateError> {
        let first = names.first().map_or("localhost", String::as_str);
        let mut params = params(first, days)?;
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) => {
                    let dns = name
                        .as_str()
                        .try_into()
                        .map_err(|_| CertificateError::Name(name.clone()))?;
                    rcgen::SanType::DnsName(dns)
                }
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A certificate for a client whose MQTT user name is `common_name`, and its key, both PEM.
    pub(crate) fn issue_client(
        &self,
        common_name: &str,
        days: u32,
    ) -> Result<(String, String), CertificateError> {
        let mut params = params(common_name, days)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<(String, String), CertificateError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn params(common_name: &str, days: u32) -> Result<CertificateParams, CertificateError> {
    // A user name that nobody could be given is refused here and not by the broker later.
    if common_name.is_empty() || common_name.chars().any(char::is_control) {
        return Err(CertificateError::Name(common_name.to_owned()));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    // A clock that is a little behind should not refuse a new certificate.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(days.into());
    Ok(params)
}
