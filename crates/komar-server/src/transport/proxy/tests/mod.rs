//! Headers against tables, and cut anywhere.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

struct Case {
    line: &'static str,
    version: ProxyVersion,
    bytes: Vec<u8>,
    expected: &'static str,
}

fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let text = |line: &str| line.replace("\\r", "\r").replace("\\n", "\n").into_bytes();
        let v1 = rows(include_str!("v1.txt")).map(|(line, [header, expected])| Case {
            line,
            version: ProxyVersion::V1,
            bytes: text(&header.replace("LONG", &"x".repeat(100))),
            expected,
        });
        let v2 = rows(include_str!("v2.txt")).map(|(line, [header, expected])| Case {
            line,
            version: ProxyVersion::V2,
            bytes: binary(header),
            expected,
        });
        v1.chain(v2).collect()
    })
}

fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    table.lines().filter_map(|line| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Some((
            line,
            cells.try_into().unwrap_or_else(|_| panic!("two cells: {line}")),
        ))
    })
}

/// Hexadecimal digits; `S` is the signature, `'TEXT'` is text, `xx*N` is a byte N times.
fn binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if word == "S" {
            bytes.extend_from_slice(b"\r\n\r\n\0\r\nQUIT\n");
        } else if let Some(text) = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            bytes.extend_from_slice(text.as_bytes());
        } else if let Some((byte, count)) = word.split_once('*') {
            let count: usize = count.parse().unwrap();
            bytes.extend(std::iter::repeat_n(u8::from_str_radix(byte, 16).unwrap(), count));
        } else {
            let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
            bytes.extend((0..word.len()).step_by(2).map(byte));
        }
    }
    bytes
}

/// What a header says, as the tables write it.
fn described(header: &Header) -> String {
    let mut words = vec![match &header.source {
        Source::Unknown => "unknown".to_owned(),
        Source::Network(address) => address.to_string(),
        Source::Local(path) => path.clone(),
    }];
    if let Some(tls) = &header.tls {
        words.push("tls".to_owned());
        words.extend(tls.version.clone());
        words.extend(tls.cipher.clone());
        if tls.verified_certificate {
            words.push("verified".to_owned());
        }
        words.extend(
            tls.common_name
                .as_ref()
                .map(|name| format!("CN={}", name.escape_ascii())),
        );
    }
    words.join(" ")
}

/// What comes of bytes that arrive in pieces of these lengths: the result, and the bytes behind the header.
fn read(
    version: ProxyVersion,
    bytes: &[u8],
    lengths: &[usize],
) -> (Result<Option<Header>, ProxyError>, Vec<u8>) {
    let mut reader = Reader::new(version);
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
        rest = tail;
        match reader.feed(piece) {
            Ok(None) => {}
            Ok(Some((taken, header))) => return (Ok(Some(header)), [&piece[taken..], rest].concat()),
            Err(error) => return (Err(error), Vec::new()),
        }
    }
    (Ok(None), Vec::new())
}

#[test]
fn headers_say_what_the_tables_say() {
    for case in cases() {
        let bytes = [&case.bytes[..], b"CONNECT"].concat();
        let (result, rest) = read(case.version, &bytes, &[usize::MAX]);
        let described = match &result {
            Ok(Some(header)) => described(header),
            Ok(None) => "incomplete".to_owned(),
            Err(ProxyError::Corrupt(_)) => "corrupt".to_owned(),
            Err(ProxyError::HealthCheck) => "health check".to_owned(),
        };
        assert_eq!(described, case.expected, "{}: {result:?}", case.line);
        if matches!(result, Ok(Some(_))) {
            assert_eq!(rest, b"CONNECT", "{}", case.line);
        }
    }
}

#[test]
fn demands_are_met_by_what_the_proxy_has_seen() {
    let tls = |verified_certificate| {
        Some(ProxiedTls {
            verified_certificate,
            ..ProxiedTls::default()
        })
    };
    for (tls, require_tls, require_certificate, expected) in [
        (None, false, false, Ok(())),
        (None, true, false, Err(Demand::Tls)),
        (None, false, true, Err(Demand::Certificate)),
        (tls(false), true, false, Ok(())),
        (tls(false), true, true, Err(Demand::Certificate)),
        (tls(true), true, true, Ok(())),
    ] {
        let header = Header {
            source: Source::Unknown,
            tls,
        };
        let demands = ProxyProtocol {
            require_tls,
            require_certificate,
            ..ProxyProtocol::new(ProxyVersion::V2)
        };
        assert_eq!(header.check(&demands), expected, "{header:?} {demands:?}");
    }
}

proptest! {
    #[test]
    fn a_header_is_the_same_however_it_is_cut(
        case in 0..cases().len(),
        lengths in prop::collection::vec(1..60usize, 1..6),
    ) {
        let case = &cases()[case];
        let bytes = [&case.bytes[..], b"CONNECT"].concat();
        let whole = read(case.version, &bytes, &[usize::MAX]);
        let cut = read(case.version, &bytes, &lengths);
        // Of a corrupt header another fault may be seen first.
        prop_assert_eq!(whole.0.is_err(), cut.0.is_err(), "{}", case.line);
        if whole.0.is_ok() {
            prop_assert_eq!(whole, cut);
        }
    }

    #[test]
    fn changed_bytes_never_panic(case in 0..cases().len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let case = &cases()[case];
        let mut bytes = case.bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(case.version, &bytes, &[usize::MAX]);
    }
}
