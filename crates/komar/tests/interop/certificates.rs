//! Certificates of today: version 3, with the names that clients look for. The tutorial has others.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::broker::Folder;

/// Writes `ca.crt`, and certificates with keys for `broker`, the clients in [`CLIENTS`] and a `stranger`: a client
/// of another authority with the same name, who calls himself `writer`. `expired-ca.crt` is what it says.
pub(crate) fn write(folder: &Folder) {
    let authority = Authority::new("interop CA", 2020, 2120);
    folder.write("ca.crt", &authority.certificate);
    authority.issue(
        folder,
        "broker",
        "broker.example",
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    for client in CLIENTS {
        authority.issue(folder, client, client, ExtendedKeyUsagePurpose::ClientAuth);
    }
    let other = Authority::new("interop CA", 2020, 2120);
    other.issue(folder, "stranger", WRITER, ExtendedKeyUsagePurpose::ClientAuth);
    folder.write(
        "expired-ca.crt",
        &Authority::new("expired CA", 2001, 2002).certificate,
    );
}

/// The user that may read everything, and the user that may read and write everything.
pub(crate) const CLIENTS: [&str; 2] = [READER, WRITER];
pub(crate) const READER: &str = "reader";
pub(crate) const WRITER: &str = "writer";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(name: &str, first_year: i32, last_year: i32) -> Authority {
        let mut params = params(name, first_year, last_year);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    fn issue(&self, folder: &Folder, file: &str, common_name: &str, usage: ExtendedKeyUsagePurpose) {
        let mut params = params(common_name, 2020, 2120);
        if usage == ExtendedKeyUsagePurpose::ServerAuth {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        }
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        folder.write(&format!("{file}.crt"), certificate);
        folder.write(&format!("{file}.key"), key.serialize_pem());
    }
}

fn params(common_name: &str, first_year: i32, last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(first_year, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    params
}
