//! Version 1: one line of text.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, ProxyError, Source};

/// `None` while the line has no end. Otherwise its length, and what it says.
pub(super) fn parse(head: &[u8]) -> Result<Option<(usize, Header)>, ProxyError> {
    let visible = head.get(..MAXIMUM_LINE).unwrap_or(head);
    let Some(end) = visible.windows(2).position(|pair| pair == b"\r\n") else {
        let begun = visible.get(..PREFIX.len()).unwrap_or(visible);
        return if !PREFIX.starts_with(begun) {
            Err(ProxyError::Corrupt("it does not begin with PROXY"))
        } else if visible.len() == MAXIMUM_LINE {
            Err(ProxyError::Corrupt("longer than 107 bytes"))
        } else {
            Ok(None)
        };
    };
    let line = visible.get(..end).unwrap_or_default();
    let text = core::str::from_utf8(line).map_err(|_| ProxyError::Corrupt("not text"))?;
    let header = Header {
        source: source(text)?,
        tls: None,
    };
    Ok(Some((end.saturating_add(2), header)))
}

fn source(line: &str) -> Result<Source, ProxyError> {
    let words: Vec<&str> = line.split(' ').collect();
    match *words.as_slice() {
        // Whatever follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(Source::Unknown),
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            port,
            destination_port,
        ] => {
            let address = match family {
                "TCP4" => both::<Ipv4Addr>(source, destination)?.into(),
                _ => both::<Ipv6Addr>(source, destination)?.into(),
            };
            number(destination_port)?;
            Ok(Source::Network(SocketAddr::new(address, number(port)?)))
        }
        ["PROXY", "TCP4" | "TCP6", ..] => Err(ProxyError::Corrupt("not two addresses and two ports")),
        ["PROXY", ..] => Err(ProxyError::Corrupt("neither TCP4 nor TCP6 nor UNKNOWN")),
        _ => Err(ProxyError::Corrupt("it does not begin with PROXY")),
    }
}

/// The first of two addresses, if both are addresses.
fn both<T: core::str::FromStr>(first: &str, second: &str) -> Result<T, ProxyError> {
    match (first.parse(), second.parse::<T>()) {
        (Ok(first), Ok(_)) => Ok(first),
        _ => Err(ProxyError::Corrupt("not an address of its family")),
    }
}

fn number(port: &str) -> Result<u16, ProxyError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|number| digits && *number > 0);
    number.ok_or(ProxyError::Corrupt("not a port"))
}

const PREFIX: &[u8] = b"PROXY ";
/// With its end.
const MAXIMUM_LINE: usize = 107;
