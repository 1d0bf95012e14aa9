//! What keeps a configuration from being used, with the exit status that Mosquitto has for it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use komar_acl::AclErrors;
use komar_conf::Position;
use komar_identity::tls::TlsError;
use komar_identity::{FolderError, TemplateError};
use komar_passwd::{PasswordFileErrorCause, PasswordFileErrors};

use super::addresses::{self, MissingAddress};
use crate::listener::ListenAddress;
use crate::server::ServerBuilder;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file cannot be read.
    #[error("cannot read {option} '{}': {error}", path.display())]
    Unreadable {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// An ACL file that has errors.
    #[error("acl_file '{}' cannot be used{}", path.display(), lines(path, errors, errors.omitted()))]
    Acl {
        /// The file.
        path: PathBuf,
        /// All of them.
        errors: AclErrors,
    },
    /// A password file that has errors.
    #[error("{} '{}'{}", Lead(errors), path.display(), lines(path, errors, errors.omitted()))]
    Passwords {
        /// The file.
        path: PathBuf,
        /// All of them.
        errors: PasswordFileErrors,
    },
    /// A file of certificates or keys where another kind belongs. Nothing of it is repeated.
    #[error("{option} '{}' holds certificates or keys (PEM): it is no such file", path.display())]
    Pem {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificates or keys that cannot be used.
    #[error("listener on port {port}: {error}")]
    Tls {
        /// The listener's port.
        port: u16,
        /// What is wrong, and in which file.
        error: TlsError,
    },
    /// A `certificate_identity` that says nothing of a certificate.
    #[error("listener on port {port}: certificate_identity {identity}: {error}")]
    CertificateIdentity {
        /// The listener's port.
        port: u16,
        /// As it was written.
        identity: String,
        /// What is wrong.
        error: TemplateError,
    },
    /// A folder of certificates that cannot be used.
    #[error("listener on port {port}: certificate_allow_folder: {error}")]
    AllowedCertificates {
        /// The listener's port.
        port: u16,
        /// What is wrong, and in which file.
        error: FolderError,
    },
    /// A host name that stands for no address.
    #[error("listener on port {port}: cannot find the address of '{host}': {error}")]
    Unresolvable {
        /// The listener's port.
        port: u16,
        /// The name.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// A host that has no address of the family that is asked for.
    #[error("listener on port {port}: '{host}' has no {family} address (socket_domain)")]
    NoAddress {
        /// The listener's port.
        port: u16,
        /// The address or name.
        host: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// Client certificates are demanded, and nothing says whose.
    #[error(
        "listener on port {port}: require_certificate needs cafile or capath, which say whose certificates are good"
    )]
    NoAuthorities {
        /// The listener's port.
        port: u16,
    },
    /// An interface that cannot be bound to.
    #[error("listener on port {port}: bind_interface {interface}: {problem}")]
    Interface {
        /// The listener's port.
        port: u16,
        /// Its name.
        interface: String,
        /// What is wrong.
        problem: String,
    },
    /// Two listeners want one address.
    #[error(
        "the listener on {second}{} wants an address that the listener on {first}{} has already",
        Place("", second_position.as_ref()), Place("", first_position.as_ref())
    )]
    AddressTwice {
        /// What the first one listens on.
        first: ListenAddress,
        /// Where it stands.
        first_position: Option<Position>,
        /// What the second one listens on.
        second: ListenAddress,
        /// Where it stands.
        second_position: Option<Position>,
    },
    /// Something that Komar cannot do yet and that must not be left out silently.
    #[error("{what} cannot be used yet{}", Place("listener at ", position.as_ref()))]
    Unsupported {
        /// What it is.
        what: String,
        /// Where its listener begins.
        position: Option<Position>,
    },
}

impl SetupError {
    /// Mosquitto's exit status for it.
    pub fn exit_status(&self) -> i32 {
        match self {
            SetupError::Unreadable {
                option: "acl_file" | "password_file",
                ..
            } => 13,
            SetupError::Acl { .. }
            | SetupError::Passwords { .. }
            | SetupError::Pem { .. }
            | SetupError::CertificateIdentity { .. }
            | SetupError::Unsupported { .. } => 3,
            _ => 1,
        }
    }
}

/// Everything that is wrong with a configuration's files; at least one thing.
#[derive(Debug, thiserror::Error)]
pub struct SetupErrors {
    errors: Vec<SetupError>,
    warnings: Vec<String>,
    /// What the listeners want that are right.
    addresses: Vec<SocketAddr>,
}

impl SetupErrors {
    /// `None` if there is no error.
    pub(super) fn new(
        errors: Vec<SetupError>,
        warnings: &[String],
        builder: &ServerBuilder,
    ) -> Option<SetupErrors> {
        (!errors.is_empty()).then(|| SetupErrors {
            errors,
            warnings: warnings.to_vec(),
            addresses: addresses::wanted(builder),
        })
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &SetupError> {
        self.errors.iter()
    }

    /// What is unusual besides.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// As [`Setup::missing_addresses`](super::Setup::missing_addresses), of the listeners with which nothing else is wrong.
    pub fn missing_addresses(&self) -> Vec<MissingAddress> {
        MissingAddress::among(&self.addresses)
    }

    /// Mosquitto's exit status for the first of them.
    pub fn exit_status(&self) -> i32 {
        self.errors.first().map_or(1, SetupError::exit_status)
    }
}

impl fmt::Display for SetupErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.errors.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "Error: {error}.")?;
        }
        Ok(())
    }
}

/// What Mosquitto's log says of the first line that is wrong, for those who look for it.
struct Lead<'a>(&'a PasswordFileErrors);

impl fmt::Display for Lead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.iter().next().map(|error| &error.cause) {
            Some(PasswordFileErrorCause::Hash { .. }) => "Unable to decode line",
            Some(PasswordFileErrorCause::Duplicate { .. }) => "Duplicate user",
            _ => "Invalid line",
        };
        write!(f, "{what} in password file")
    }
}

/// Where something stands, behind these words.
struct Place<'a>(&'static str, Option<&'a Position>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(before, position) = self;
        match position {
            Some(position) => write!(f, " ({before}{}:{})", position.file.display(), position.line),
            None => Ok(()),
        }
    }
}

/// A line for each error, with the file: somebody may look for it in a log.
fn lines<E: fmt::Display>(path: &Path, errors: impl IntoIterator<Item = E>, omitted: usize) -> String {
    let path = path.display();
    let mut lines: String = errors
        .into_iter()
        .map(|error| format!("\n{path}: {error}"))
        .collect();
    if omitted > 0 {
        lines.push_str(&format!("\n{path}: and {omitted} more lines with errors"));
    }
    lines
}
