//! Signatures over certificates and revocation lists, with nothing but a public key.

use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};

use crate::der;

/// Whether the owner of a public key (SubjectPublicKeyInfo in DER) has signed a certificate; `None` if that cannot be
/// known, because the certificate is malformed or the provider does not verify signatures of its kind, such as those with
/// SHA-1.
///
/// Two authorities may have the same name: only this tells which of them issued a certificate.
#[must_use]
pub fn is_signed_by(
    certificate: &CertificateDer<'_>,
    public_key: &[u8],
    provider: &CryptoProvider,
) -> Option<bool> {
    let algorithms = provider.signature_verification_algorithms.all;
    match Signed::parse(certificate)?.verify(public_key, algorithms) {
        Ok(()) => Some(true),
        Err(SignatureError::Bad) => Some(false),
        Err(SignatureError::Unsupported) => None,
    }
}

pub(crate) type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// `SEQUENCE { to be signed, AlgorithmIdentifier, BIT STRING }`: a certificate or a revocation list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    to_be_signed: &'a [u8],
    /// Contents of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureError {
    /// No such algorithm here, or not with this kind of key.
    Unsupported,
    /// Somebody else signed it, or it was altered.
    Bad,
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let (outer, []) = der::first(der)? else {
            return None;
        };
        let (to_be_signed, rest) = der::first(outer.contents)?;
        let (algorithm, rest) = der::first(rest)?;
        let (signature, []) = der::first(rest)? else {
            return None;
        };
        // No unused bits.
        let (0, bits) = signature.contents.split_first()? else {
            return None;
        };
        let shape = [
            outer.identifier,
            to_be_signed.identifier,
            algorithm.identifier,
            signature.identifier,
        ];
        (shape == [0x30, 0x30, 0x30, 3]).then_some(Self {
            to_be_signed: to_be_signed.whole,
            algorithm: algorithm.contents,
            signature: bits,
        })
    }

    /// Verifies with a SubjectPublicKeyInfo. Weak hashes and keys are not among the algorithms.
    pub(crate) fn verify(&self, public_key: &[u8], algorithms: Algorithms) -> Result<(), SignatureError> {
        let mut result = SignatureError::Unsupported;
        for algorithm in algorithms
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == self.algorithm)
        {
            match verify_raw(public_key, *algorithm, self.to_be_signed, self.signature) {
                Ok(()) => return Ok(()),
                Err(SignatureError::Unsupported) => {}
                Err(SignatureError::Bad) => result = SignatureError::Bad,
            }
        }
        Err(result)
    }
}

/// Verifies a signature with a SubjectPublicKeyInfo.
pub(crate) fn verify_raw(
    public_key: &[u8],
    algorithm: &dyn SignatureVerificationAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let public_key = SubjectPublicKeyInfoDer::from(public_key);
    let key = webpki::RawPublicKeyEntity::try_from(&public_key).map_err(|_| SignatureError::Unsupported)?;
    key.verify_signature(algorithm, message, signature)
        .map_err(|error| match error {
            webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => SignatureError::Unsupported,
            _ => SignatureError::Bad,
        })
}
