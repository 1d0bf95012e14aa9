//! Which clients may connect, of all those whose certificate is valid.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;

use crate::{Certificate, IdentityError, certificate, text};

/// Names and certificates that may connect. An empty list allows nobody.
///
/// A listed certificate is allowed by its fingerprint: a renewed one with the same name is not. Common uses are a list
/// of names, or the folder to which the clients' certificates were copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    names: HashSet<String>,
    fingerprints: HashSet<[u8; 32]>,
}

impl AllowList {
    /// Allows an identity, whatever certificate proves it.
    pub fn add_name(&mut self, identity: impl Into<String>) {
        self.names.insert(identity.into());
    }

    /// Allows one certificate by its SHA-256.
    pub fn add_fingerprint(&mut self, sha256: [u8; 32]) {
        self.fingerprints.insert(sha256);
    }

    /// Allows one certificate in DER.
    ///
    /// # Errors
    /// What [`Certificate::parse`] refuses, so that a file of another kind is noticed when the list is made.
    pub fn add_certificate(&mut self, der: &[u8]) -> Result<(), IdentityError> {
        Certificate::parse(der)?;
        self.add_fingerprint(certificate::fingerprint_sha256(der));
        Ok(())
    }

    /// Allows every certificate in the files of a folder, PEM or DER: the copies of clients' certificates that an
    /// operator has put there. Returns how many there were.
    ///
    /// Files that end in `.crt`, `.pem`, `.cer` and `.der`, in capitals or not, are read, not those of folders below; one
    /// in PEM may hold several certificates, or only others' sections such as a key.
    ///
    /// # Errors
    /// [`FolderError`] if a file cannot be read or holds something else, or if there is no certificate at all: such
    /// a list would refuse everybody. The list may hold some of the certificates then.
    pub fn add_folder(&mut self, folder: &Path) -> Result<usize, FolderError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Io { path, source }
        };
        let mut added = 0_usize;
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let path = entry.map_err(failed(folder))?.path();
            let ending = path.extension().unwrap_or_default();
            if !ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
                continue;
            }
            // A link that points nowhere is an error: the one it stood for could not connect, and nobody would know why.
            let metadata = fs::metadata(&path).map_err(failed(&path))?;
            if metadata.is_dir() {
                continue;
            }
            let bytes = read(&path, &metadata).map_err(failed(&path))?;
            for der in certificates(&bytes, &path)? {
                self.add_certificate(&der)
                    .map_err(|source| FolderError::Certificate {
                        path: path.clone(),
                        source,
                    })?;
                added = added.saturating_add(1);
            }
        }
        if added == 0 {
            return Err(FolderError::Empty {
                path: folder.to_owned(),
            });
        }
        Ok(added)
    }

    /// Number of names and certificates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len().saturating_add(self.fingerprints.len())
    }

    /// Whether nobody is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the identity is listed, for those of whom nothing else is known.
    #[must_use]
    pub fn contains_name(&self, identity: &str) -> bool {
        self.names.contains(identity)
    }

    /// Whether the identity or the certificate is listed.
    #[must_use]
    pub fn contains(&self, identity: &str, certificate: &Certificate<'_>) -> bool {
        self.contains_name(identity) || self.fingerprints.contains(&certificate.fingerprint_sha256())
    }
}

/// Why a folder gives no [`AllowList`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something that is no certificate.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// A section of a file in PEM is cut off or damaged.
    #[error("{}: a section of PEM is damaged or cut off; copy the file anew", path.display())]
    DamagedPem {
        /// Which one.
        path: PathBuf,
    },
    /// A certificate with OpenSSL's own settings of trust, which is no certificate in the sense of X.509.
    #[error("{}: it holds a TRUSTED CERTIFICATE of OpenSSL; convert it with openssl x509 -in FILE -out FILE", path.display())]
    TrustedCertificate {
        /// Which one.
        path: PathBuf,
    },
    /// There is no certificate in the folder.
    #[error("{}: no certificate in the files of this folder (.crt, .pem, .cer, .der); nobody could connect", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// Neither a pipe, which might never say anything, nor a device, which might never end.
fn read(path: &Path, metadata: &fs::Metadata) -> io::Result<Vec<u8>> {
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let length = fs::File::open(path)?
        .take(MAXIMUM_SIZE.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAXIMUM_SIZE) {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!("it has more than {MAXIMUM_SIZE} bytes")))
    }
}

/// The certificates of a file in DER; a file without the dashes of PEM is taken for one in DER.
fn certificates(bytes: &[u8], path: &Path) -> Result<Vec<Vec<u8>>, FolderError> {
    if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(vec![bytes.to_vec()]);
    }
    let mut certificates = Vec::new();
    for section in Pem::iter_from_buffer(&sections(bytes)) {
        let path = || path.to_owned();
        let section = section.map_err(|_| FolderError::DamagedPem { path: path() })?;
        match section.label.as_str() {
            // The second is what old programs call it.
            "CERTIFICATE" | "X509 CERTIFICATE" => certificates.push(section.contents),
            "TRUSTED CERTIFICATE" => return Err(FolderError::TrustedCertificate { path: path() }),
            _ => {}
        }
    }
    Ok(certificates)
}

/// The lines of the sections without those between them, which may be of any encoding.
fn sections(bytes: &[u8]) -> Vec<u8> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text::without_mark(bytes).split_inclusive(|byte| *byte == b'\n') {
        let ends = line.starts_with(END);
        inside |= line.starts_with(BEGIN);
        if inside || ends {
            lines.extend_from_slice(line);
        }
        inside &= !ends;
    }
    lines
}

const END: &[u8] = b"-----END ";
/// Of a file; far above any that holds certificates.
const MAXIMUM_SIZE: u64 = 256 << 20;
const BEGIN: &[u8] = b"-----BEGIN ";
const ENDINGS: [&str; 4] = ["crt", "pem", "cer", "der"];
