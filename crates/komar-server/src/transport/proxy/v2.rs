//! Version 2: binary, with TLVs.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, ProxiedTls, ProxyError, Source};

/// `None` while bytes are missing. Otherwise the length of the header, and what it says.
pub(super) fn parse(head: &[u8]) -> Result<Option<(usize, Header)>, ProxyError> {
    let begun = head.get(..SIGNATURE.len()).unwrap_or(head);
    if !SIGNATURE.starts_with(begun) {
        return Err(ProxyError::Corrupt("not the signature of version 2"));
    }
    let Some([version_command, family, high, low, rest @ ..]) = head.get(SIGNATURE.len()..) else {
        return Ok(None);
    };
    if version_command & 0xf0 != 0x20 {
        return Err(ProxyError::Corrupt("not version 2"));
    }
    let family = match (version_command & 0x0f, family) {
        (0, _) => Family::Local,
        (1, 0x11) => Family::Ipv4,
        (1, 0x21) => Family::Ipv6,
        (1, 0x31) => Family::Unix,
        (1, _) => return Err(ProxyError::Corrupt("no stream socket of a known family")),
        _ => return Err(ProxyError::Corrupt("unknown command")),
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAXIMUM_LENGTH {
        return Err(ProxyError::Corrupt("too long"));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let header = match family {
        Family::Local => return Err(ProxyError::HealthCheck),
        Family::Ipv4 => ipv4(body)?,
        Family::Ipv6 => ipv6(body)?,
        Family::Unix => unix(body)?,
    };
    Ok(Some((PREFIX.saturating_add(length), header)))
}

enum Family {
    Local,
    Ipv4,
    Ipv6,
    Unix,
}

fn ipv4(body: &[u8]) -> Result<Header, ProxyError> {
    let (source, body) = array::<4>(body)?;
    let (_destination, body) = array::<4>(body)?;
    network(Ipv4Addr::from(source).into(), body)
}

fn ipv6(body: &[u8]) -> Result<Header, ProxyError> {
    let (source, body) = array::<16>(body)?;
    let (_destination, body) = array::<16>(body)?;
    network(Ipv6Addr::from(source).into(), body)
}

/// Ports and TLVs behind the addresses.
fn network(address: core::net::IpAddr, body: &[u8]) -> Result<Header, ProxyError> {
    let (port, body) = array::<2>(body)?;
    let (_destination, tlvs) = array::<2>(body)?;
    Ok(Header {
        source: Source::Network(SocketAddr::new(address, u16::from_be_bytes(port))),
        tls: tls(tlvs)?,
    })
}

/// Two paths of 108 bytes each. Some senders, as Mosquitto's tests, send one and nothing else.
fn unix(body: &[u8]) -> Result<Header, ProxyError> {
    let path = body.get(..UNIX_PATH).unwrap_or(body);
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    if body.is_empty() {
        return Err(ProxyError::Corrupt("addresses are missing"));
    }
    Ok(Header {
        source: Source::Local(String::from_utf8_lossy(path).into_owned()),
        tls: tls(body.get(2 * UNIX_PATH..).unwrap_or_default())?,
    })
}

fn tls(tlvs: &[u8]) -> Result<Option<ProxiedTls>, ProxyError> {
    let mut found = None;
    for tlv in Tlvs(tlvs) {
        if let (TYPE_SSL, value) = tlv? {
            found = ssl(value)?;
        }
    }
    Ok(found)
}

/// `None` if the client does not use TLS, which some proxies say in so many words.
fn ssl(value: &[u8]) -> Result<Option<ProxiedTls>, ProxyError> {
    let ([client, verify @ ..], tlvs) = array::<5>(value)?;
    let verified = client & CLIENT_SSL != 0 && client & CLIENT_CERT_SESS != 0 && verify == [0; 4];
    let mut tls = ProxiedTls {
        verified_certificate: verified,
        ..ProxiedTls::default()
    };
    let text = |value| Some(String::from_utf8_lossy(value).into_owned());
    for tlv in Tlvs(tlvs) {
        match tlv? {
            (SUBTYPE_SSL_VERSION, value) => tls.version = text(value),
            (SUBTYPE_SSL_CN, value) => tls.common_name = Some(value.to_vec()),
            (SUBTYPE_SSL_CIPHER, value) => tls.cipher = text(value),
            _ => {}
        }
    }
    Ok((client & CLIENT_SSL != 0).then_some(tls))
}

/// Type and value, one after the other.
struct Tlvs<'a>(&'a [u8]);

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<(u8, &'a [u8]), ProxyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let whole = match core::mem::take(&mut self.0) {
            [] => return None,
            [kind, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.split_at_checked(length)
                    .map(|(value, rest)| (*kind, value, rest))
            }
            _ => None,
        };
        let Some((kind, value, rest)) = whole else {
            return Some(Err(ProxyError::Corrupt("a TLV is cut off")));
        };
        self.0 = rest;
        Some(Ok((kind, value)))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), ProxyError> {
    let (first, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or(ProxyError::Corrupt("shorter than what it holds"))?;
    Ok((*first, rest))
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
pub(super) const PREFIX: usize = 16;
/// Of what follows the prefix; as Mosquitto.
pub(super) const MAXIMUM_LENGTH: usize = 500;
const UNIX_PATH: usize = 108;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_VERSION: u8 = 0x21;
const SUBTYPE_SSL_CN: u8 = 0x22;
const SUBTYPE_SSL_CIPHER: u8 = 0x23;
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_SESS: u8 = 0x04;
