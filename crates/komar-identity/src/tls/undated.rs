//! Chains without dates, for `disable_client_cert_date_checks`.
//!
//! webpki has no switch for dates: it verifies a whole chain at one moment, and a client whose certificate ended before
//! its intermediate was renewed has no such moment. So webpki is shown copies whose dates are as wide as their encoding
//! allows, and each signature is verified over what was signed. Everything else is judged as always.

use std::time::Duration;

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime,
};

use super::signature::Algorithms;
use crate::der::{self, Element};

/// A moment within the dates of all copies.
pub(crate) const MOMENT: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(946_684_800));

/// A client's certificate and those that may be its issuers, copied with other dates.
pub(crate) struct UndatedChain<'a> {
    pub(crate) leaf: CertificateDer<'a>,
    pub(crate) others: Vec<CertificateDer<'a>>,
    algorithms: Vec<OverOriginals<'a>>,
}

impl<'a> UndatedChain<'a> {
    /// A certificate without dates in the place for them stays as it is; webpki refuses it.
    pub(crate) fn new(
        leaf: &'a CertificateDer<'a>,
        others: &'a [CertificateDer<'a>],
        algorithms: Algorithms,
    ) -> Self {
        let mut signed = Vec::new();
        let mut copy = |original: &'a CertificateDer<'a>| {
            let Some(copy) = widened(original) else {
                return original.clone();
            };
            signed.extend(
                to_be_signed(&copy)
                    .zip(to_be_signed(original))
                    .map(|(copied, original)| SignedPart {
                        copied: copied.whole.to_vec(),
                        original: original.whole,
                    }),
            );
            CertificateDer::from(copy)
        };
        let leaf = copy(leaf);
        let others = others.iter().map(copy).collect();
        let signed: std::sync::Arc<[SignedPart<'a>]> = signed.into();
        Self {
            leaf,
            others,
            algorithms: algorithms
                .iter()
                .map(|inner| OverOriginals {
                    inner: *inner,
                    signed: signed.clone(),
                })
                .collect(),
        }
    }

    /// What the copies' signatures are to be verified with.
    pub(crate) fn algorithms(&self) -> Vec<&dyn SignatureVerificationAlgorithm> {
        let mut algorithms: Vec<&dyn SignatureVerificationAlgorithm> = Vec::new();
        for algorithm in &self.algorithms {
            algorithms.push(algorithm);
        }
        algorithms
    }
}

/// What was signed, and what webpki sees of it.
#[derive(Debug)]
struct SignedPart<'a> {
    copied: Vec<u8>,
    original: &'a [u8],
}

/// Verifies signatures over the originals of copies.
#[derive(Debug)]
struct OverOriginals<'a> {
    inner: &'static dyn SignatureVerificationAlgorithm,
    signed: std::sync::Arc<[SignedPart<'a>]>,
}

impl SignatureVerificationAlgorithm for OverOriginals<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let mut originals = self
            .signed
            .iter()
            .filter(|part| part.copied == message)
            .map(|part| part.original)
            .peekable();
        if originals.peek().is_none() {
            return self.inner.verify_signature(public_key, message, signature);
        }
        // Certificates that differ in nothing but their dates have one copy: all of them must have been signed, or a
        // client could hand in a true one beside its forgery.
        originals.try_for_each(|original| self.inner.verify_signature(public_key, original, signature))
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.inner.fips()
    }
}

/// The same certificate with the widest dates of the same length.
fn widened(certificate: &[u8]) -> Option<Vec<u8>> {
    let (outer, []) = der::first(certificate)? else {
        return None;
    };
    let (to_be_signed, _) = der::first(outer.contents)?;
    let mut position = header(outer).saturating_add(header(to_be_signed));
    let mut fields = der::elements(to_be_signed.contents).peekable();
    // version (version 1 has none), serialNumber, signature, issuer
    let has_version = fields.peek()?.is_some_and(|field| field.identifier == 0xA0);
    for _ in 0..if has_version { 4 } else { 3 } {
        position = position.saturating_add(fields.next()??.whole.len());
    }
    let validity = fields.next()??;
    position = position.saturating_add(header(validity));
    let mut copy = certificate.to_vec();
    let mut dates = der::elements(validity.contents);
    for (utc, generalized) in WIDEST {
        let date = dates.next()??;
        let widest = match date.identifier {
            UTC_TIME => utc,
            GENERALIZED_TIME => generalized,
            _ => return None,
        };
        let start = position.saturating_add(header(date));
        position = position.saturating_add(date.whole.len());
        let place = copy.get_mut(start..position)?;
        if place.len() != widest.len() {
            return None;
        }
        place.copy_from_slice(widest);
    }
    Some(copy)
}

fn to_be_signed(certificate: &[u8]) -> Option<Element<'_>> {
    let (outer, _) = der::first(certificate)?;
    der::first(outer.contents).map(|(to_be_signed, _)| to_be_signed)
}

/// Length of identifier and length.
fn header(element: Element<'_>) -> usize {
    element.whole.len().saturating_sub(element.contents.len())
}

const UTC_TIME: u8 = 23;
const GENERALIZED_TIME: u8 = 24;

/// notBefore and notAfter in both encodings. webpki knows no time before 1970.
const WIDEST: [(&[u8], &[u8]); 2] = [
    (b"700101000000Z", b"19700101000000Z"),
    (b"491231235959Z", b"99991231235959Z"),
];
