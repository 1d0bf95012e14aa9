//! TLS of a listener: certificates, key, authorities and revocation lists from the files that the options name.

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
    let cas = ca_certificates(port, tls, errors);
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
) -> Option<Vec<CertificateDer<'static>>> {
    let before = errors.len();
    let mut cas = Vec::new();
    let mut add = |option, path: &Path, errors: &mut Vec<SetupError>| match pem(
        option,
        path,
        port,
        certificates_from_pem,
    ) {
        Ok(found) => cas.extend(found),
        Err(error) => errors.push(error),
    };
    if let Some(path) = &tls.cafile {
        add("cafile", path, errors);
    }
    if let Some(folder) = &tls.capath {
        match certificate_files(folder) {
            Ok(files) => files.iter().for_each(|path| add("capath", path, errors)),
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

/// The certificate files of a folder (`capath`), in a fixed order: those that end in `.pem`, `.crt` or `.cer`, in capitals
/// or not, or in a number as OpenSSL's hashed names do.
///
/// # Errors
///
/// Those of the system.
pub fn certificate_files(folder: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // OpenSSL looks files up by the hash in their names; whoever reads all of them needs no hashes, but leaves
        // revocation lists (NAME.r0) and other files out.
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        let extension = extension.to_str().unwrap_or_default();
        let hashed = !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_digit());
        if path.is_file() && (hashed || matches!(extension, "pem" | "crt" | "cer")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// So many authorities are listed by their names.
const NAMED_AUTHORITIES: usize = 3;
