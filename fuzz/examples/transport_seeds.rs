//! Writes the seeds of the targets `websocket` and `proxy` from the tables of komar-server's tests.

use std::fs;
use std::path::Path;

fn main() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/komar-server/src/transport");
    for (number, cells) in rows(&tables.join("websocket/tests/frames.txt")).enumerate() {
        save("websocket", &format!("frames-{number:02}"), &[&[7][..], &binary(&cells[0])].concat());
    }
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
        dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\
        Origin: http://good.example\r\n\r\n";
    save("websocket", "request", &[&[8], request.as_bytes()].concat());
    for (number, cells) in rows(&tables.join("proxy/tests/v1.txt")).enumerate() {
        let line = cells[0].replace("\\r", "\r").replace("\\n", "\n");
        save("proxy", &format!("v1-{number:02}"), &[&[6], line.as_bytes(), b"CONNECT"].concat());
    }
    for (number, cells) in rows(&tables.join("proxy/tests/v2.txt")).enumerate() {
        save("proxy", &format!("v2-{number:02}"), &[&[7][..], &binary(&cells[0]), b"CONNECT"].concat());
    }
}

fn rows(path: &Path) -> impl Iterator<Item = Vec<String>> {
    let table = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<String>> = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    rows.into_iter()
}

/// Hexadecimal digits; `S`, `'TEXT'` and `xx*N` as in proxy/tests/v2.txt.
fn binary(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if word == "S" {
            bytes.extend_from_slice(b"\r\n\r\n\0\r\nQUIT\n");
        } else if let Some(text) = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
            bytes.extend_from_slice(text.as_bytes());
        } else if let Some((byte, count)) = word.split_once('*') {
            let byte = u8::from_str_radix(byte, 16).unwrap();
            bytes.extend(std::iter::repeat_n(byte, count.parse().unwrap()));
        } else {
            let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
            bytes.extend((0..word.len()).step_by(2).map(byte));
        }
    }
    bytes
}

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}
