//! TLS of a listener: certificates, key, authorities and revocation lists from the files that the options name.

use std::ffi::OsStr;
use std::path::Path;

use komar_conf::{Tls, TlsVersion};
use komar_identity::IdentityPolicy;
use komar_identity::tls::{
    ClientAuthentication, MinimumVersion, ServerTls, TlsError, certificates_from_pem, private_key_from_pem,
    revocation_lists_from_pem,
};

use rustls::pki_types::CertificateDer;

use super::SetupError;
use super::files::read;

/// TLS of a listener; `None` if it cannot be had, and then `errors` says why.
pub(super) fn config(
    port: u16,
    tls: &Tls,
    errors: &mut Vec<SetupError>,
    warnings: &mut Vec<String>,
) -> Option<ServerTls> {
    let certificates = looked_into("certfile", &tls.certfile, port, certificates_from_pem, errors);
    let key = looked_into("keyfile", &tls.keyfile, port, private_key_from_pem, errors);
    let cas = ca_certificates(port, tls, errors, warnings);
    let clients = client_authentication(port, tls, cas.as_deref(), errors);
    let (certificates, key) = (certificates?, key?);
    let is_complete = cas.is_some() && clients.is_some();
    let minimum = match tls.minimum_version {
        TlsVersion::Tls13 => MinimumVersion::Tls13,
        _ => MinimumVersion::Tls12,
    };
    let label =
        |path: Option<&std::path::PathBuf>| path.map(|path| path.display().to_string()).unwrap_or_default();
    let mut builder = ServerTls::builder(&certificates, &key)
        .certificate_label(label(Some(&tls.certfile)))
        .key_label(label(Some(&tls.keyfile)))
        .cas_label(label(tls.cafile.as_ref().or(tls.capath.as_ref())))
        .crls_label(label(tls.crlfile.as_ref()))
        // What is wrong with the other files is said at the same time.
        .client_authentication(clients.unwrap_or_default())
        .chain_candidates(cas.unwrap_or_default())
        .minimum_version(minimum);
    if let Some(list) = &tls.ciphers {
        builder = builder.ciphers(list);
    }
    if let Some(list) = &tls.ciphers_tls13 {
        builder = builder.ciphers_tls13(list);
    }
    match builder.build() {
        Ok(built) => {
            warnings.extend(built.warnings().iter().map(ToString::to_string));
            is_complete.then_some(built)
        }
        Err(error) => {
            errors.push(SetupError::Tls { port, error });
            None
        }
    }
}

/// The bytes of a file that has what it should have, so that each file's error is told and not only the first.
fn looked_into<T>(
    option: &'static str,
    path: &Path,
    port: u16,
    parse: impl Fn(&[u8], &str) -> Result<T, TlsError>,
    errors: &mut Vec<SetupError>,
) -> Option<Vec<u8>> {
    let result = read(option, path).and_then(|bytes| match parse(&bytes, &path.display().to_string()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(SetupError::Tls { port, error }),
    });
    result.map_err(|error| errors.push(error)).ok()
}

/// What a client has to speak, for those that have spoken something older with Mosquitto.
pub(super) fn spoken(tls: &Tls) -> &'static str {
    match tls.minimum_version {
        TlsVersion::Tls13 => "clients need TLS 1.3",
        _ => "clients need TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305",
    }
}

/// Who signs the certificates of clients, for people: the names in the files, or the file where there are many.
pub(super) fn authorities(tls: &Tls) -> Vec<String> {
    let mut authorities = Vec::new();
    if let Some(path) = &tls.cafile {
        let certificates = pem("cafile", path, 0, certificates_from_pem).unwrap_or_default();
        let names: Vec<String> = certificates
            .iter()
            .filter_map(|der| IdentityPolicy::Subject.identity(der).ok())
            .collect();
        authorities.push(if (1..=NAMED_AUTHORITIES).contains(&names.len()) {
            format!("{} ({})", names.join(" or "), path.display())
        } else {
            format!("an authority in {}", path.display())
        });
    }
    if let Some(folder) = &tls.capath {
        authorities.push(format!("an authority in {}", folder.display()));
    }
    authorities
}

/// The certificates of the CA file and folder.
fn ca_certificates(
    port: u16,
    tls: &Tls,
    errors: &mut Vec<SetupError>,
    warnings: &mut Vec<String>,
) -> Option<Vec<CertificateDer<'static>>> {
    let before = errors.len();
    let mut cas = Vec::new();
    if let Some(path) = &tls.cafile {
        match pem("cafile", path, port, certificates_from_pem) {
            Ok(found) => cas.extend(found),
            Err(error) => errors.push(error),
        }
    }
    if let Some(folder) = &tls.capath {
        match certificate_files(folder) {
            Ok(files) => {
                for path in &files {
                    match pem("capath", path, port, certificates_from_pem) {
                        Ok(found) => cas.extend(found),
                        // A key beside its certificate, for example; OpenSSL would not look at it. What cannot be read
                        // or is damaged may be an authority, without which a reload would disconnect its clients.
                        Err(
                            error @ SetupError::Tls {
                                error: TlsError::NoCertificate { .. },
                                ..
                            },
                        ) if !is_hashed_name(path) => {
                            warnings.push(format!("capath: {error}; the file is left out"));
                        }
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(SetupError::Unreadable {
                option: "capath",
                path: folder.clone(),
                error,
            }),
        }
    }
    if tls.require_certificate && tls.cafile.is_none() && tls.capath.is_none() {
        errors.push(SetupError::NoAuthorities { port });
    }
    (errors.len() == before).then_some(cas)
}

fn client_authentication(
    port: u16,
    tls: &Tls,
    cas: Option<&[CertificateDer<'static>]>,
    errors: &mut Vec<SetupError>,
) -> Option<ClientAuthentication> {
    if !tls.require_certificate {
        return Some(ClientAuthentication::Off);
    }
    let crls = match &tls.crlfile {
        None => Some(Vec::new()),
        Some(path) => pem("crlfile", path, port, revocation_lists_from_pem)
            .map_err(|error| errors.push(error))
            .ok(),
    };
    Some(ClientAuthentication::Required {
        cas: cas?.to_vec(),
        crls: crls?,
        ignore_dates: tls.disable_client_cert_date_checks,
    })
}

fn pem<T>(
    option: &'static str,
    path: &Path,
    port: u16,
    parse: impl Fn(&[u8], &str) -> Result<Vec<T>, TlsError>,
) -> Result<Vec<T>, SetupError> {
    let bytes = read(option, path)?;
    parse(&bytes, &path.display().to_string()).map_err(|error| SetupError::Tls { port, error })
}

/// The certificate files of a folder (`capath`), in a fixed order. If it has hashed names, as `openssl rehash` makes them
/// (`9d66eef0.0`), these and no others, as with OpenSSL; otherwise those that end in `.pem`, `.crt` or `.cer`, in capitals
/// or not.
///
/// # Errors
///
/// Those of the system.
pub fn certificate_files(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let is_named = matches!(extension.to_str(), Some("pem" | "crt" | "cer"));
        if (is_named || is_hashed_name(&path)) && path.is_file() {
            files.push(path);
        }
    }
    // Where names are hashed, a certificate is taken out of trust by taking its name away.
    if files.iter().any(|path| is_hashed_name(path)) {
        files.retain(|path| is_hashed_name(path));
    }
    files.sort();
    Ok(files)
}

/// Whether this is the name that OpenSSL looks an authority up by: the hash of its subject, and a number. Revocation lists
/// (`9d66eef0.r0`) are not.
pub fn is_hashed_name(path: &Path) -> bool {
    let text = |part: Option<&OsStr>| part.and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let (hash, number) = (text(path.file_stem()), text(path.extension()));
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// So many authorities are listed by their names.
const NAMED_AUTHORITIES: usize = 3;
