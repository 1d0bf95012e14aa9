//! Certificates of today: version 3, with the names that clients look for. The tutorial has others.

use std::ops::Range;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};

use crate::broker::Folder;

/// Writes `ca.crt`, and certificates with keys for `broker`, the clients in [`CLIENTS`] and a `stranger`: a client
/// of another authority with the same name, who calls himself `writer`. `expired-ca.crt` is what it says, and so is
/// the client `expired`; `early` is not yet valid, `foreign` is of an authority with another name, `self-signed` of
/// none, `revoked` is nothing special. `device` has names of every kind, `twice` has two common names.
pub(crate) fn write(folder: &Folder) {
    let authority = Authority::new("interop CA", 2020, 2120);
    folder.write("ca.crt", &authority.certificate);
    folder.write("ca.key", authority.issuer.key().serialize_pem());
    authority.issue(
        folder,
        "broker",
        "broker.example",
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    for client in CLIENTS {
        authority.issue(folder, client, client, ExtendedKeyUsagePurpose::ClientAuth);
    }
    authority.issue(folder, "revoked", "revoked", ExtendedKeyUsagePurpose::ClientAuth);
    for (name, years) in [("expired", 2020..2021), ("early", 2110..2120)] {
        authority.issue_for(folder, name, name, ExtendedKeyUsagePurpose::ClientAuth, years);
    }
    let mut device = params("device", 2020, 2120);
    device.distinguished_name.push(DnType::OrganizationName, "acme");
    device.subject_alt_names = vec![
        SanType::DnsName("device.example".try_into().unwrap()),
        SanType::URI("urn:device:1".try_into().unwrap()),
        SanType::Rfc822Name("device@acme.example".try_into().unwrap()),
    ];
    device.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    device.serial_number = Some(SerialNumber::from_slice(&[0x12, 0x34]));
    authority.write(folder, "device", &device);
    let mut twice = params("twice", 2020, 2120);
    // rcgen takes another name of one type for a change of the first.
    let common_name = DnType::CustomDnType(vec![2, 5, 4, 3]);
    twice.distinguished_name.push(common_name, "and again");
    twice.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    authority.write(folder, "twice", &twice);
    let other = Authority::new("interop CA", 2020, 2120);
    other.issue(folder, "stranger", WRITER, ExtendedKeyUsagePurpose::ClientAuth);
    let foreign = Authority::new("foreign CA", 2020, 2120);
    foreign.issue(folder, "foreign", "foreign", ExtendedKeyUsagePurpose::ClientAuth);
    let mut alone = params("self-signed", 2020, 2120);
    alone.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    folder.write("self-signed.crt", alone.self_signed(&key).unwrap().pem());
    folder.write("self-signed.key", key.serialize_pem());
    folder.write(
        "expired-ca.crt",
        &Authority::new("expired CA", 2001, 2002).certificate,
    );
}

/// Writes a revocation list with the certificate of `client` in it, made by the authority of `ca.crt`.
pub(crate) fn revoke(folder: &Folder, client: &str, file: &str) {
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2120, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: serial_number(client),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    folder.write(file, list.signed_by(&issuer).unwrap().pem().unwrap());
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
        self.issue_for(folder, file, common_name, usage, 2020..2120);
    }

    fn issue_for(
        &self,
        folder: &Folder,
        file: &str,
        common_name: &str,
        usage: ExtendedKeyUsagePurpose,
        years: Range<i32>,
    ) {
        let mut params = params(common_name, years.start, years.end);
        params.serial_number = Some(serial_number(file));
        if usage == ExtendedKeyUsagePurpose::ServerAuth {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        }
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        self.write(folder, file, &params);
    }

    fn write(&self, folder: &Folder, file: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        folder.write(&format!("{file}.crt"), certificate);
        folder.write(&format!("{file}.key"), key.serialize_pem());
    }
}

/// Known from the name, so that it can be revoked.
fn serial_number(file: &str) -> SerialNumber {
    SerialNumber::from_slice(file.as_bytes())
}

fn params(common_name: &str, first_year: i32, last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(first_year, 1, 1);
    params.not_after = date_time_ymd(last_year, 1, 1);
    params
}
