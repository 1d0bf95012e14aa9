//! An authority, its certificates, and configurations of both sides.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) struct Pki {
    pub(super) authority: Authority,
    pub(super) server: Identity,
    pub(super) client: Identity,
}

pub(super) static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let authority = authority("authority");
    let (server, client) = (
        Identity::issued_by(&authority, "localhost"),
        Identity::issued_by(&authority, "client"),
    );
    Pki {
        authority,
        server,
        client,
    }
});

pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: KeyPair,
}

impl Identity {
    pub(super) fn issued_by(authority: &Authority, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, authority).unwrap().der().clone();
        Identity { certificate, key }
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

pub(super) fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    Arc::new(roots)
}

pub(super) fn server_config(
    version: &'static SupportedProtocolVersion,
    client_certificate: bool,
) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = if client_certificate {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&PKI.authority), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(PKI.server.chain(), PKI.server.key())
        .unwrap()
}

pub(super) fn client_config(
    version: &'static SupportedProtocolVersion,
    client_certificate: bool,
    fragment: Option<usize>,
) -> ClientConfig {
    client_config_with(version, client_certificate.then_some(&PKI.client), fragment)
}

pub(super) fn client_config_with(
    version: &'static SupportedProtocolVersion,
    identity: Option<&Identity>,
    fragment: Option<usize>,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(&PKI.authority));
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain(), identity.key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.max_fragment_size = fragment;
    config
}
