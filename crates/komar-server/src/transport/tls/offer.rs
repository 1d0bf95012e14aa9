//! What a ClientHello offers, for the log when nothing of it fits.

use std::fmt::{Display, Formatter, Result};

use rustls::{CipherSuite, NamedGroup, SignatureScheme};

use super::{CLIENT_HELLO, HANDSHAKE_RECORD, cipher_name};

/// What the client lists, as it does. Displays as TLS versions and cipher suites; a line's worth of it is shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    versions: Vec<u16>,
    suites: Vec<u16>,
    groups: Vec<u16>,
    schemes: Vec<u16>,
}

impl Offer {
    /// Reads the record at the front of what a client sent (RFC 8446 §4.1.2). `None` if it does not hold a whole
    /// ClientHello, which nobody divides without need.
    pub(super) fn read(bytes: &[u8]) -> Option<Offer> {
        let mut hello = Fields(bytes).record()?;
        let legacy_version = hello.number()?;
        hello.take(RANDOM)?;
        hello.short_vector()?;
        let suites = hello.vector()?.numbers();
        hello.short_vector()?;
        let extensions = hello.vector();
        let extension = |kind| extensions.and_then(|extensions| extensions.extension(kind));
        let numbers = |kind| {
            let numbers = extension(kind).and_then(|mut content| content.vector());
            numbers.map(Fields::numbers).unwrap_or_default()
        };
        let versions = extension(SUPPORTED_VERSIONS).and_then(|mut content| content.short_vector());
        Some(Offer {
            versions: versions.map_or_else(|| vec![legacy_version], Fields::numbers),
            suites,
            groups: numbers(SUPPORTED_GROUPS),
            schemes: numbers(SIGNATURE_ALGORITHMS),
        })
    }

    /// Groups for the key exchange.
    pub(super) fn groups(&self) -> impl Display {
        Listed(&self.groups, |group| NamedGroup::from(group).as_str())
    }

    /// Signature schemes.
    pub(super) fn schemes(&self) -> impl Display {
        Listed(&self.schemes, |scheme| SignatureScheme::from(scheme).as_str())
    }
}

impl Display for Offer {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let versions = self.versions.iter().filter_map(|version| version_name(*version));
        list(f, versions)?;
        f.write_str(" with ")?;
        Listed(&self.suites, |suite| {
            match cipher_name(CipherSuite::from(suite)) {
                "unknown" => None,
                name => Some(name),
            }
        })
        .fmt(f)
    }
}

type Name = fn(u16) -> Option<&'static str>;

/// Numbers with the names that they have.
struct Listed<'a>(&'a [u16], Name);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let numbers = self.0.iter().filter(|number| !is_signal(**number));
        list(f, numbers.map(|number| Named(*number, self.1)))
    }
}

/// The first ones, and how many there are besides.
fn list<T: Display>(f: &mut Formatter<'_>, mut items: impl Iterator<Item = T>) -> Result {
    let Some(first) = items.next() else {
        return f.write_str("nothing that is known");
    };
    first.fmt(f)?;
    for item in items.by_ref().take(SHOWN - 1) {
        write!(f, ", {item}")?;
    }
    match items.count() {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

struct Named(u16, Name);

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match (self.1)(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}

/// The name of OpenSSL; `None` for what is there to keep servers tolerant (RFC 8701).
pub(super) fn version_name(version: u16) -> Option<&'static str> {
    Some(match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLSv1.1",
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => return None,
    })
}

/// Whether it only looks like a cipher suite, a group or a scheme: signals of RFC 5746 and RFC 7507, values of RFC 8701.
fn is_signal(suite: u16) -> bool {
    let [high, low] = suite.to_be_bytes();
    matches!(suite, 0x00ff | 0x5600) || (high == low && low & 0xf == 0xa)
}

/// Bytes that are still to be read.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The body of the ClientHello in a record.
    fn record(mut self) -> Option<Fields<'a>> {
        let [HANDSHAKE_RECORD, _, _] = self.take(3)? else {
            return None;
        };
        let mut message = self.vector()?;
        let [CLIENT_HELLO, 0] = message.take(2)? else {
            return None;
        };
        message.vector()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// What has a length of two bytes before it.
    fn vector(&mut self) -> Option<Fields<'a>> {
        let length = self.number()?;
        self.take(length.into()).map(Fields)
    }

    /// What has a length of one byte before it.
    fn short_vector(&mut self) -> Option<Fields<'a>> {
        let (length, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take((*length).into()).map(Fields)
    }

    fn numbers(mut self) -> Vec<u16> {
        core::iter::from_fn(|| self.number()).collect()
    }

    /// The content of the extension of this kind (RFC 8446 §4.2).
    fn extension(mut self, wanted: u16) -> Option<Fields<'a>> {
        loop {
            let (kind, content) = (self.number()?, self.vector()?);
            if kind == wanted {
                return Some(content);
            }
        }
    }
}

/// So many of either are named.
const SHOWN: usize = 12;
const RANDOM: usize = 32;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with a ClientHello of TLS 1.2.
    fn hello(suites: &[u16], extensions: &[u8]) -> Vec<u8> {
        let vector = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let mut body = vec![3, 3];
        body.extend([7; RANDOM]);
        body.extend([2, 8, 8]);
        body.extend(vector(&suites));
        body.extend([1, 0]);
        if !extensions.is_empty() {
            body.extend(vector(extensions));
        }
        let message = [&[CLIENT_HELLO, 0][..], &vector(&body)].concat();
        [&[HANDSHAKE_RECORD, 3, 1][..], &vector(&message)].concat()
    }

    #[test]
    fn names_are_openssls_or_those_of_the_registry() {
        for (suites, extensions, expected) in [
            (
                &[0xc02f, 0x002f, 0x1234, 0x00ff][..],
                &[][..],
                "TLSv1.2 with ECDHE-RSA-AES128-GCM-SHA256, TLS_RSA_WITH_AES_128_CBC_SHA, 0x1234",
            ),
            // server_name, then supported_versions; with RFC 8701's values.
            (
                &[0x0a0a, 0x1301, 0x5600],
                &[0, 0, 0, 1, 9, 0, 43, 0, 7, 6, 0x1a, 0x1a, 3, 4, 3, 1],
                "TLSv1.3, TLSv1 with TLS_AES_128_GCM_SHA256",
            ),
            (
                &[],
                &[0, 43, 0, 1, 0],
                "nothing that is known with nothing that is known",
            ),
        ] {
            let bytes = hello(suites, extensions);
            assert_eq!(Offer::read(&bytes).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn groups_and_schemes_have_the_names_of_the_registry() {
        let groups = [0, 10, 0, 8, 0, 6, 0x1a, 0x1a, 0, 25, 0x12, 0x34];
        let schemes = [0, 13, 0, 4, 0, 2, 4, 1];
        let offer = Offer::read(&hello(&[0x1301], &[&groups[..], &schemes].concat())).unwrap();
        assert_eq!(offer.groups().to_string(), "secp521r1, 0x1234");
        assert_eq!(offer.schemes().to_string(), "RSA_PKCS1_SHA256");
        let offer = Offer::read(&hello(&[0x1301], &[])).unwrap();
        assert_eq!(offer.groups().to_string(), "nothing that is known");
    }

    #[test]
    fn a_line_is_bounded_however_much_is_offered() {
        // Those with the longest names.
        let line = Offer {
            versions: vec![0x0302; 127],
            suites: vec![0xc024; 0x7fff],
            ..Offer::default()
        }
        .to_string();
        assert!(line.len() < 800, "{line}");
        assert!(line.ends_with(" and 32755 more"), "{line}");
    }

    #[test]
    fn what_is_cut_off_is_none_or_the_same_without_extensions() {
        let bytes = hello(&[0x002f], &[0, 43, 0, 3, 2, 3, 4]);
        for length in 0..bytes.len() {
            assert_eq!(Offer::read(&bytes[..length]), None);
        }
        assert!(Offer::read(&[0x10, 14, 0, 4]).is_none());
    }
}
