//! The opening handshake: an HTTP request that asks for an upgrade, and its answer. RFC 6455 §4.2.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What a listener wants of an upgrade request.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Allowed values of Origin, byte for byte; empty for all. A request without Origin does not come from a web page
    /// and is never refused for it.
    pub(crate) origins: Vec<String>,
    /// Longest head of a request, in bytes.
    pub(crate) maximum_head: usize,
}

/// Why a request is not upgraded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpgradeError {
    #[error("not an HTTP request: {0}")]
    NotHttp(httparse::Error),
    #[error("the head of the HTTP request is longer than {limit} bytes")]
    HeadTooLarge { limit: usize },
    #[error("HTTP method {0}, not GET")]
    Method(String),
    #[error("HTTP/1.0")]
    HttpVersion,
    #[error("not one header Host")]
    Host,
    #[error("the HTTP request asks for no upgrade to WebSocket")]
    NoUpgrade,
    #[error("WebSocket version {}, not 13", named(.0))]
    Version(String),
    #[error("Sec-WebSocket-Key is not one key of 16 bytes")]
    Key,
    #[error("origin {0} is not allowed")]
    Origin(String),
    #[error("more than one header Origin")]
    Origins,
    #[error("neither mqtt nor mqttv3.1 among the sub-protocols: {}", named(.0))]
    SubProtocol(String),
}

/// Looks at what has come of a request. `Some`: its head ends there, and the answer is appended to `outgoing`.
///
/// # Errors
///
/// The request is refused, with an answer in `outgoing` that says why; the connection ends with it.
pub(crate) fn answer(
    received: &[u8],
    settings: &Settings,
    outgoing: &mut Vec<u8>,
) -> Result<Option<usize>, UpgradeError> {
    let result = examine(received, settings);
    match &result {
        Ok(None) => {}
        Ok(Some((_, accepted))) => outgoing.extend_from_slice(accepted.to_string().as_bytes()),
        Err(error) => outgoing.extend_from_slice(error.response().as_bytes()),
    }
    Ok(result?.map(|(length, _)| length))
}

/// The answer to a good request.
struct Accepted {
    key: String,
    sub_protocol: &'static str,
}

fn examine(received: &[u8], settings: &Settings) -> Result<Option<(usize, Accepted)>, UpgradeError> {
    let limit = settings.maximum_head;
    let head = received.get(..limit).unwrap_or(received);
    let mut headers = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((length, check(&request, settings)?))),
        Ok(httparse::Status::Partial) if received.len() < limit => Ok(None),
        Ok(httparse::Status::Partial) => Err(UpgradeError::HeadTooLarge { limit }),
        Err(error) => Err(UpgradeError::NotHttp(error)),
    }
}

fn named(value: &str) -> &str {
    if value.is_empty() { "none" } else { value }
}

fn check(request: &httparse::Request<'_, '_>, settings: &Settings) -> Result<Accepted, UpgradeError> {
    let headers = Headers(request.headers);
    match request.method {
        Some("GET") => {}
        other => return Err(UpgradeError::Method(other.unwrap_or_default().to_owned())),
    }
    if request.version != Some(1) {
        return Err(UpgradeError::HttpVersion);
    }
    headers.only("Host").ok_or(UpgradeError::Host)?;
    if !headers.lists("Upgrade", "websocket") || !headers.lists("Connection", "upgrade") {
        return Err(UpgradeError::NoUpgrade);
    }
    match headers.only("Sec-WebSocket-Version") {
        Some(b"13") => {}
        // As Mosquitto: there is no other version that it could mean.
        None if headers.all("Sec-WebSocket-Version").next().is_none() => {}
        other => return Err(UpgradeError::Version(shown(other.unwrap_or_default()))),
    }
    let key = headers
        .only("Sec-WebSocket-Key")
        .filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
        .ok_or(UpgradeError::Key)?;
    check_origin(&headers, settings)?;
    Ok(Accepted {
        key: STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()),
        sub_protocol: choose_sub_protocol(&headers)?,
    })
}

fn check_origin(headers: &Headers<'_, '_>, settings: &Settings) -> Result<(), UpgradeError> {
    let mut origins = headers.all("Origin");
    let Some(origin) = origins.next().filter(|_| !settings.origins.is_empty()) else {
        return Ok(());
    };
    let allowed = settings.origins.iter().any(|one| one.as_bytes() == origin);
    match (allowed, origins.next()) {
        (true, None) => Ok(()),
        (true, Some(_)) => Err(UpgradeError::Origins),
        (false, _) => Err(UpgradeError::Origin(shown(origin))),
    }
}

/// `mqtt` if the client knows it, otherwise the name from before it was registered.
fn choose_sub_protocol(headers: &Headers<'_, '_>) -> Result<&'static str, UpgradeError> {
    // v5 [MQTT-6.0.0-3], v5 [MQTT-6.0.0-4], v3 [MQTT-6.0.0-3], v3 [MQTT-6.0.0-4]
    let offers = |name: &str| {
        let mut offered = headers.tokens("Sec-WebSocket-Protocol");
        offered.any(|token| token == name.as_bytes())
    };
    let chosen = SUB_PROTOCOLS.into_iter().find(|name| offers(name));
    chosen.ok_or_else(|| {
        let offered: Vec<String> = headers.all("Sec-WebSocket-Protocol").map(shown).collect();
        UpgradeError::SubProtocol(offered.join(", "))
    })
}

/// Headers of a request; their names without regard to case.
struct Headers<'h, 'b>(&'h [httparse::Header<'b>]);

impl<'b> Headers<'_, 'b> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        let named = self
            .0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    }

    /// The value of a header that stands there exactly once.
    fn only(&self, name: &str) -> Option<&'b [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// The members of a comma-separated list, which may be spread over several headers.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name)
            .any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accepted { key, sub_protocol } = self;
        // To the byte as Mosquitto's.
        write!(
            f,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {key}\r\nSec-WebSocket-Protocol: {sub_protocol}\r\n\r\n"
        )
    }
}

impl UpgradeError {
    /// Status line and the headers that go with it.
    fn status(&self) -> (&'static str, &'static str) {
        match self {
            UpgradeError::NotHttp(_)
            | UpgradeError::Host
            | UpgradeError::Key
            | UpgradeError::SubProtocol(_) => ("400 Bad Request", ""),
            UpgradeError::Origin(_) | UpgradeError::Origins => ("403 Forbidden", ""),
            UpgradeError::Method(_) => ("405 Method Not Allowed", "Allow: GET\r\n"),
            UpgradeError::NoUpgrade => ("426 Upgrade Required", "Upgrade: websocket\r\n"),
            UpgradeError::Version(_) => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            UpgradeError::HeadTooLarge { .. } => ("431 Request Header Fields Too Large", ""),
            UpgradeError::HttpVersion => ("505 HTTP Version Not Supported", ""),
        }
    }

    /// The whole answer. It repeats nothing that the client sent.
    fn response(&self) -> String {
        let (status, headers) = self.status();
        let body = "This is an MQTT broker: connect by WebSocket with the sub-protocol mqtt.\n";
        format!(
            "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// What a client sent, for the log.
fn shown(value: &[u8]) -> String {
    let value = value.get(..SHOWN).unwrap_or(value);
    value.escape_ascii().to_string()
}

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The one we like best first.
const SUB_PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
const MAXIMUM_HEADERS: usize = 64;
const SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A good request with one header of another value, without one, or with one more.
    fn request(change: &str) -> String {
        let mut lines: Vec<String> = [
            "Host: broker.example",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: mqtt",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut first = "GET /mqtt HTTP/1.1".to_owned();
        for change in change.split(" & ").filter(|change| !change.is_empty()) {
            if let Some(name) = change.strip_prefix("without ") {
                lines.retain(|line| !line.starts_with(&format!("{name}:")));
            } else if let Some(line) = change.strip_prefix("also ") {
                lines.push(line.to_owned());
            } else if let Some(line) = change.strip_prefix("first ") {
                first = line.to_owned();
            } else if let Some((name, _)) = change.split_once(':') {
                let line = lines
                    .iter_mut()
                    .find(|line| line.starts_with(&format!("{name}:")));
                *line.unwrap() = change.to_owned();
            }
        }
        format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n"))
    }

    fn settings(origins: &str) -> Settings {
        Settings {
            origins: origins.split_whitespace().map(str::to_owned).collect(),
            maximum_head: 600,
        }
    }

    #[test]
    fn requests_get_the_status_of_the_table() {
        for line in include_str!("tests/requests.txt").lines() {
            let Some([change, origins, expected]) = cells(line) else {
                continue;
            };
            let request = request(&change.replace("LONG", &"x".repeat(600)));
            let mut outgoing = Vec::new();
            let result = answer(request.as_bytes(), &settings(origins), &mut outgoing);
            let response = String::from_utf8(outgoing).unwrap();
            let (status, sub_protocol) = expected.split_once(' ').unwrap_or((expected, ""));
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{line}: {result:?} with {response}"
            );
            if status == "101" {
                assert_eq!(result, Ok(Some(request.len())), "{line}");
                let chosen = format!("\r\nSec-WebSocket-Protocol: {sub_protocol}\r\n\r\n");
                assert!(response.ends_with(&chosen), "{line}: {response}");
            } else {
                assert!(result.is_err(), "{line}");
                assert!(response.contains("Connection: close\r\n"), "{line}: {response}");
            }
        }
    }

    /// The example of RFC 6455 §1.3.
    #[test]
    fn the_key_is_answered_as_in_the_specification() {
        let mut outgoing = Vec::new();
        answer(request("").as_bytes(), &settings(""), &mut outgoing).unwrap();
        let response = String::from_utf8(outgoing).unwrap();
        assert!(
            response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{response}"
        );
    }

    #[test]
    fn a_request_in_part_is_waited_for() {
        let request = request("");
        for end in 0..request.len() {
            let mut outgoing = Vec::new();
            let result = answer(&request.as_bytes()[..end], &settings(""), &mut outgoing);
            assert_eq!(result, Ok(None), "{end}");
            assert!(outgoing.is_empty(), "{end}");
        }
    }

    #[test]
    fn what_is_no_http_is_refused_at_its_first_bytes() {
        for (name, bytes) in [
            ("MQTT", &b"\x10\x0e\x00\x04MQTT"[..]),
            ("TLS", &b"\x16\x03\x01\x02\x00"[..]),
        ] {
            let mut outgoing = Vec::new();
            let result = answer(bytes, &settings(""), &mut outgoing);
            assert!(
                matches!(result, Err(UpgradeError::NotHttp(_))),
                "{name}: {result:?}"
            );
        }
    }

    fn cells(line: &str) -> Option<[&str; 3]> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        Some(cells.try_into().unwrap_or_else(|_| panic!("three cells: {line}")))
    }
}
