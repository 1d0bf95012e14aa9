//! What can be wrong with the files of a listener.

use x509_parser::time::ASN1Time;

use crate::IdentityError;

/// Why a TLS configuration cannot be made: which file, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate in a file.
    #[error("{file}: no certificate (BEGIN CERTIFICATE) in it; it may be the wrong file")]
    NoCertificate {
        /// The caller's label.
        file: String,
    },
    /// The file is DER, not PEM.
    #[error(
        "{file}: this is DER, but PEM is expected; convert it with openssl x509 -inform DER (or crl, pkey)"
    )]
    NotPem {
        /// The caller's label.
        file: String,
    },
    /// The file is UTF-16, as some Windows programs write text.
    #[error("{file}: this text is UTF-16, which no TLS program reads; save it as UTF-8 or ASCII")]
    Utf16 {
        /// The caller's label.
        file: String,
    },
    /// The file is PEM, but damaged.
    #[error("{file}: damaged PEM: {reason}; copy the file anew")]
    DamagedPem {
        /// The caller's label.
        file: String,
        /// What the decoder found.
        reason: String,
    },
    /// A certificate cannot be parsed.
    #[error("{file}: certificate {number}: {source}")]
    MalformedCertificate {
        /// The caller's label.
        file: String,
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        source: IdentityError,
    },
    /// No private key in a file.
    #[error(
        "{file}: no private key in it (BEGIN PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY); it may be the wrong file"
    )]
    NoKey {
        /// The caller's label.
        file: String,
    },
    /// The private key needs a passphrase.
    #[error(
        "{file}: the private key is encrypted, which a service cannot open; remove the passphrase with \
         openssl pkey -in {file} -out plain.key, and protect the file by its mode"
    )]
    EncryptedKey {
        /// The caller's label.
        file: String,
    },
    /// The private key is of a kind that cannot be used.
    #[error(
        "{file}: unusable private key ({reason}); use RSA of 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519"
    )]
    UnusableKey {
        /// The caller's label.
        file: String,
        /// What the provider says.
        reason: String,
    },
    /// Key and certificate are not a pair.
    #[error(
        "{key_file}: this key does not belong to the certificate in {certificate_file}; use the pair made together"
    )]
    KeyMismatch {
        /// The caller's label of the certificate.
        certificate_file: String,
        /// The caller's label of the key.
        key_file: String,
    },
    /// The key belongs to a later certificate of the chain.
    #[error(
        "{file}: the server's own certificate is number {number} in the file; put it first, its issuers after it"
    )]
    LeafNotFirst {
        /// The caller's label.
        file: String,
        /// Counted from 1.
        number: usize,
    },
    /// Clients need certificates, but no certificate authority is usable.
    #[error("{file}: no usable certificate authority in it{}; clients could never connect", list(.problems))]
    NoAuthority {
        /// The caller's label.
        file: String,
        /// Why each certificate of the file is none.
        problems: Vec<TlsWarning>,
    },
    /// All certificate authorities have expired.
    #[error("{file}: the certificate authority {subject:?} expired at {}; make a new one, or ignore dates", date(*.not_after))]
    AuthorityExpired {
        /// The caller's label.
        file: String,
        /// Subject by RFC 4514 of the one that expired last.
        subject: String,
        /// Seconds since 1970.
        not_after: i64,
    },
    /// No revocation list in a file.
    #[error("{file}: no revocation list (BEGIN X509 CRL) in it; it may be the wrong file")]
    NoRevocationList {
        /// The caller's label.
        file: String,
    },
    /// A revocation list cannot be used.
    #[error(
        "{file}: revocation list {number}: {reason}; make a complete list with openssl ca -gencrl or komar cert crl"
    )]
    UnusableRevocationList {
        /// The caller's label.
        file: String,
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// None of the configured cipher suites exists here.
    #[error("ciphers {names:?}: none of these is available; known are {known}")]
    NoCipherSuite {
        /// What was configured.
        names: String,
        /// OpenSSL's names of what there is.
        known: String,
    },
    /// A version of TLS that rustls does not speak.
    #[error(
        "tls_version {name}: TLS 1.2 is the oldest that is spoken here; write tlsv1.2, and renew clients that cannot"
    )]
    OldVersion {
        /// As it was written.
        name: String,
    },
    /// No version of TLS.
    #[error("tls_version {name:?} is none that is known; write tlsv1.2 or tlsv1.3")]
    UnknownVersion {
        /// As it was written.
        name: String,
    },
    /// rustls refuses the combination.
    #[error("the TLS settings do not fit together: {0}")]
    Settings(rustls::Error),
}

/// Something that works, but not as the operator may think.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsWarning {
    /// The server's certificate is X.509 version 1.
    #[error(
        "{file}: X.509 version 1 certificate without extensions: many clients refuse it; \
         make one with names and key usage (komar cert server, or openssl x509 -req with -extfile)"
    )]
    VersionOneServer {
        /// The caller's label.
        file: String,
    },
    /// The server's certificate has no alternative names.
    #[error(
        "{file}: no subject alternative names: clients that check the host name refuse it; make one with names"
    )]
    NoServerNames {
        /// The caller's label.
        file: String,
    },
    /// The server's certificate is outside its dates.
    #[error("{file}: certificate {number} is valid from {} to {} only: clients refuse it; renew it", date(*.not_before), date(*.not_after))]
    OutsideDates {
        /// The caller's label.
        file: String,
        /// Counted from 1.
        number: usize,
        /// Seconds since 1970.
        not_before: i64,
        /// Seconds since 1970.
        not_after: i64,
    },
    /// A configured authority is outside its dates: its clients are refused.
    #[error("{file}: the authority {subject:?} is valid from {} to {} only: its clients are refused; renew it", date(*.not_before), date(*.not_after))]
    AuthorityOutsideDates {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        subject: String,
        /// Seconds since 1970.
        not_before: i64,
        /// Seconds since 1970.
        not_after: i64,
    },
    /// A certificate among the authorities cannot be one.
    #[error("{file}: {subject:?} signs no client certificates: {reason}")]
    NotAnAuthority {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        subject: String,
        /// Why.
        reason: &'static str,
    },
    /// A revocation list has expired: all clients of its authority are refused.
    #[error("{file}: the revocation list of {issuer:?} expired at {}: its clients are refused; make a new one", date(*.next_update))]
    RevocationListExpired {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        issuer: String,
        /// Seconds since 1970.
        next_update: i64,
    },
    /// A revocation list has not begun, and there is no other: all clients of its authority are refused until then.
    #[error("{file}: the revocation list of {issuer:?} begins at {} only: its clients are refused until then; look at the clock", date(*.this_update))]
    RevocationListEarly {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        issuer: String,
        /// Seconds since 1970.
        this_update: i64,
    },
    /// A revocation list was signed by no configured authority.
    #[error(
        "{file}: the revocation list of {issuer:?} was signed by no configured authority and has no effect on their clients"
    )]
    RevocationListForeign {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        issuer: String,
    },
    /// Revocation lists are configured, but none for this authority: all its clients are refused.
    #[error("{file}: no revocation list of {subject:?}: its clients are refused; add its list")]
    RevocationListMissing {
        /// The caller's label.
        file: String,
        /// By RFC 4514.
        subject: String,
    },
    /// A name in a cipher list has no meaning here.
    #[error("ciphers: {name:?} is not available and has no effect")]
    UnknownCipher {
        /// As it stands in the list.
        name: String,
    },
}

/// A date for people.
pub(super) fn date(unix: i64) -> String {
    ASN1Time::from_timestamp(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

fn list(problems: &[TlsWarning]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if problems.is_empty() {
        String::new()
    } else {
        format!(" ({})", problems.join("; "))
    }
}
