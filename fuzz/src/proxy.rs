//! A PROXY header and what follows: however the bytes are cut, the header says the same and nothing behind it is lost.

use komar_server::{ProxyVersion, fuzzing};

/// A byte that says the version (odd is 2) and where the bytes are cut, then the header.
pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let version = if choice & 1 == 1 { ProxyVersion::V2 } else { ProxyVersion::V1 };
    let whole = fuzzing::proxy(version, [bytes]);
    let cut = fuzzing::proxy(version, bytes.chunks(usize::from(choice >> 1) + 1));
    assert_eq!(whole, cut);
    assert!(bytes.ends_with(&whole.payload));
    assert!(whole.end.is_some() || whole.payload.is_empty());
}
