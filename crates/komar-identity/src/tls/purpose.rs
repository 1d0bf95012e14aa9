//! What a certificate's own extensions say it is for: OpenSSL's purpose "TLS client".

use rustls::CertificateError;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_CERT_TYPE;

use crate::Certificate;

/// Refuses a client's certificate that is for something else: an extended key usage without TLS clients, a key usage
/// with neither digital signature nor key agreement, or a Netscape certificate type without clients (RFC 5280 §4.2.1.3,
/// §4.2.1.12). What is not there does not restrict.
///
/// A server's certificate of the same authority must not log in as the user of its name.
pub(crate) fn check_client(certificate: &Certificate<'_>) -> Result<(), CertificateError> {
    let inner = &certificate.inner;
    let malformed = |_| CertificateError::BadEncoding;
    let purposes = inner.extended_key_usage().map_err(malformed)?;
    let for_others = purposes.is_some_and(|found| !found.value.any && !found.value.client_auth);
    let usage = inner.key_usage().map_err(malformed)?;
    let signs_nothing =
        usage.is_some_and(|found| !found.value.digital_signature() && !found.value.key_agreement());
    let netscape = inner
        .get_extension_unique(&OID_X509_EXT_CERT_TYPE)
        .map_err(malformed)?;
    let type_of_others = match netscape.map(|extension| extension.parsed_extension()) {
        None => false,
        Some(ParsedExtension::NSCertType(kind)) => !kind.ssl_client(),
        Some(_) => return Err(CertificateError::BadEncoding),
    };
    if for_others || signs_nothing || type_of_others {
        return Err(CertificateError::InvalidPurpose);
    }
    Ok(())
}
