//! What a WebSocket client sends: whatever it is and however it is cut, the outcome is the same, and no payload is made up.

use komar_server::fuzzing;

/// A byte that says whether a good request stands before the rest (odd) and where the bytes are cut.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let request = if choice & 1 == 1 { REQUEST } else { &[] };
    let bytes = [request, rest].concat();
    let whole = fuzzing::websocket([&bytes[..]]);
    let cut = fuzzing::websocket(bytes.chunks(usize::from(choice >> 1) + 1));
    assert_eq!(whole, cut);
    assert!(whole.payload.len() <= rest.len());
    // A ping of six bytes or more is answered with as much, and a request or a close frame with one answer each.
    assert!(whole.sent.len() <= bytes.len() + 1000);
    if choice & 1 == 1 {
        assert!(whole.sent.starts_with(b"HTTP/1.1 101 "));
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
