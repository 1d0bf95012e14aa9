//! The state machines of the transports, for fuzz targets. No part of the interface: it changes without notice.

use std::sync::Arc;

use crate::listener::ProxyVersion;
use crate::transport::proxy::Reader;
use crate::transport::websocket::{Settings, WebSocket};

/// What comes of a client's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// What is for the next layer.
    pub payload: Vec<u8>,
    /// What is sent to the client.
    pub sent: Vec<u8>,
    /// How it ended, if it did; for a PROXY header what it says.
    pub end: Option<String>,
}

/// A WebSocket connection that reads these pieces; the last ping is answered at the end.
pub fn websocket<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut socket = WebSocket::accept(&Arc::new(Settings {
        origins: vec!["http://good.example".to_owned()],
        maximum_head: 1000,
    }));
    let mut outcome = Outcome::default();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let fed = socket.feed(&mut piece, &mut outcome.sent);
        outcome
            .payload
            .extend_from_slice(piece.get(fed.payload).unwrap_or_default());
        if let Some(end) = fed.end {
            assert!(outcome.end.is_none(), "a connection ends once");
            outcome.end = Some(format!("{end:?}"));
        }
    }
    socket.answer_ping(&mut outcome.sent);
    outcome
}

/// A connection that begins with a PROXY header and reads these pieces.
pub fn proxy<'a>(version: ProxyVersion, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = Some(Reader::new(version));
    let mut outcome = Outcome::default();
    for piece in pieces {
        let Some(header) = &mut reader else {
            outcome.payload.extend_from_slice(piece);
            continue;
        };
        match header.feed(piece) {
            Ok(None) => {}
            Ok(Some((taken, header))) => {
                outcome.end = Some(format!("{header:?}"));
                outcome
                    .payload
                    .extend_from_slice(piece.get(taken..).unwrap_or_default());
                reader = None;
            }
            // Which fault is seen first depends on where the bytes are cut.
            Err(_) => {
                outcome.end = Some("refused".to_owned());
                break;
            }
        }
    }
    outcome
}
