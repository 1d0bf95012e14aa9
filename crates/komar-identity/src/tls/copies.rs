//! Copies of certificates without what webpki would refuse and OpenSSL does not: each signature is verified over what was
//! signed, and everything else is judged as always.
//!
//! For `disable_client_cert_date_checks`: webpki has no switch for dates. It verifies a whole chain at one moment, and a
//! client whose certificate ended before its intermediate was renewed has no such moment. The copies have dates that
//! are as wide as their encoding allows.
//!
//! For clients whose own certificate is marked as an authority (CA:TRUE), which is what `openssl req -x509 -CA` of OpenSSL 3
//! makes of a client's: the copy has no such mark.

use std::time::Duration;

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime,
};

use super::signature::Algorithms;
use crate::der::{self, Element};

/// A moment within the dates of all copies.
pub(crate) const MOMENT: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(946_684_800));

/// A client's certificate and those that may be its issuers, as webpki is to see them.
pub(crate) struct Copies<'a> {
    pub(crate) leaf: CertificateDer<'a>,
    pub(crate) others: Vec<CertificateDer<'a>>,
    algorithms: Vec<OverOriginals<'a>>,
}

impl<'a> Copies<'a> {
    /// The client's certificate without a mark as an authority, and all of them without dates if these do not matter.
    ///
    /// A certificate without dates in the place for them stays as it is; webpki refuses it.
    pub(crate) fn new(
        leaf: &'a CertificateDer<'a>,
        others: &'a [CertificateDer<'a>],
        algorithms: Algorithms,
        ignore_dates: bool,
    ) -> Self {
        let mut signed = Vec::new();
        let mut copy = |original: &'a CertificateDer<'a>, is_leaf: bool| {
            let mut copy = original.to_vec();
            if ignore_dates {
                widen(&mut copy, original);
            }
            if let Some(mark) = authority_mark(original).filter(|_| is_leaf)
                && let Some(mark) = copy.get_mut(mark)
            {
                *mark = FALSE;
            }
            if copy == original.as_ref() {
                return original.clone();
            }
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
        let leaf = copy(leaf, true);
        let others = others.iter().map(|other| copy(other, false)).collect();
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
        // Certificates that differ in nothing but what is not copied have one copy: all of them must have been signed, or a
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

/// Where in a certificate the TRUE of CA:TRUE stands (RFC 5280 §4.2.1.9).
fn authority_mark(certificate: &[u8]) -> Option<usize> {
    let mut fields = der::elements(to_be_signed(certificate)?.contents).flatten();
    let extensions = fields.find(|field| field.identifier == EXTENSIONS)?;
    let (extensions, _) = der::first(extensions.contents)?;
    let constraints = der::elements(extensions.contents)
        .flatten()
        .filter_map(|extension| {
            let mut parts = der::elements(extension.contents).flatten();
            (parts.next()?.whole == BASIC_CONSTRAINTS).then_some(parts.last()?)
        })
        .next()?;
    let (sequence, _) = der::first(constraints.contents)?;
    let (mark, _) = der::first(sequence.contents)?;
    (mark.whole == [BOOLEAN, 1, TRUE]).then(|| position(certificate, mark.contents))
}

/// Puts the widest dates of the same length into the copy of a certificate. One that has none is left as it is.
fn widen(copy: &mut [u8], certificate: &[u8]) -> Option<()> {
    let mut fields = der::elements(to_be_signed(certificate)?.contents)
        .flatten()
        .peekable();
    // version (version 1 has none), serialNumber, signature, issuer
    let has_version = fields.peek()?.identifier == 0xA0;
    let validity = fields.nth(if has_version { 4 } else { 3 })?;
    let dates: Vec<Element<'_>> = der::elements(validity.contents).flatten().take(2).collect();
    let widest = |date: &Element<'_>, (utc, generalized): (&'static [u8], &'static [u8])| {
        let widest = match date.identifier {
            UTC_TIME => utc,
            GENERALIZED_TIME => generalized,
            _ => return None,
        };
        (widest.len() == date.contents.len()).then_some(widest)
    };
    let [first, last] = dates.as_slice() else {
        return None;
    };
    let widest = [widest(first, WIDEST[0])?, widest(last, WIDEST[1])?];
    for (date, widest) in dates.iter().zip(widest) {
        let start = position(certificate, date.contents);
        copy.get_mut(start..start.saturating_add(widest.len()))?
            .copy_from_slice(widest);
    }
    Some(())
}

fn to_be_signed(certificate: &[u8]) -> Option<Element<'_>> {
    let (outer, []) = der::first(certificate)? else {
        return None;
    };
    der::first(outer.contents).map(|(to_be_signed, _)| to_be_signed)
}

/// Where `part`, which is a piece of `whole`, begins in it.
fn position(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

const BOOLEAN: u8 = 1;
const TRUE: u8 = 0xFF;
const FALSE: u8 = 0;
/// The field's tag in the part of a certificate that is signed.
const EXTENSIONS: u8 = 0xA3;
/// id-ce-basicConstraints in DER.
const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1D, 19];
const UTC_TIME: u8 = 23;
const GENERALIZED_TIME: u8 = 24;

/// notBefore and notAfter in both encodings. webpki knows no time before 1970.
const WIDEST: [(&[u8], &[u8]); 2] = [
    (b"700101000000Z", b"19700101000000Z"),
    (b"491231235959Z", b"99991231235959Z"),
];
