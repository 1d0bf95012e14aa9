//! WebSocket, the server's side of one connection (RFC 6455): bytes of the client in, MQTT bytes and bytes to send out;
//! no socket, no clock. MQTT 5.0 §6, MQTT 3.1.1 §6.
//!
//! What a caller has to know:
//! - whatever a call appends to `outgoing` is sent, also when the connection ends with it;
//! - payload is unmasked where it lies: nothing is copied unless a read holds several frames, and nothing is kept between
//!   reads but a frame header that has come in part, a control frame that has, and the last ping that is not answered;
//! - there are no extensions and no text frames.

mod frame;
mod handshake;

use core::ops::Range;
use std::sync::Arc;

pub(crate) use frame::FrameError;
use frame::{Control, Framer, NORMAL_CLOSURE};
pub(crate) use handshake::{Settings, UpgradeError};

/// Server side of one WebSocket connection.
pub(crate) struct WebSocket {
    phase: Phase,
    framer: Framer,
    /// Payload of the last ping that is not answered: of several only the last needs an answer. RFC 6455 §5.5.3.
    ping: Option<Vec<u8>>,
}

enum Phase {
    /// The head of the HTTP request, as far as it has come.
    Upgrade {
        head: Vec<u8>,
        settings: Arc<Settings>,
    },
    Open,
    /// Either side has sent a close frame, or the upgrade was refused: nothing is read or sent any more.
    Closed,
}

/// What [`WebSocket::feed`] found.
pub(crate) struct Fed {
    /// Where in the input the MQTT bytes are.
    pub(crate) payload: Range<usize>,
    /// Set when the connection is over. The payload came before its end, and counts.
    pub(crate) end: Option<End>,
}

/// How a WebSocket connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client has sent a close frame.
    Closed,
    /// The request for an upgrade was refused.
    Refused(UpgradeError),
    /// The client broke the rules for frames.
    Failed(FrameError),
}

impl WebSocket {
    /// A connection that waits for the request.
    pub(crate) fn accept(settings: &Arc<Settings>) -> WebSocket {
        WebSocket {
            phase: Phase::Upgrade {
                head: Vec::new(),
                settings: Arc::clone(settings),
            },
            framer: Framer::default(),
            ping: None,
        }
    }

    /// Takes what was read, of any length and cut anywhere. The content of `bytes` outside of the payload is void
    /// afterwards. Input after the end is ignored.
    pub(crate) fn feed(&mut self, bytes: &mut [u8], outgoing: &mut Vec<u8>) -> Fed {
        let (frames_at, end) = match self.upgrade(bytes, outgoing) {
            Ok(taken) => (taken, None),
            Err(error) => (bytes.len(), Some(End::Refused(error))),
        };
        if end.is_some() || !matches!(self.phase, Phase::Open) {
            return Fed { payload: 0..0, end };
        }
        let frames = bytes.get_mut(frames_at..).unwrap_or_default();
        let mut fed = self.frames(frames, outgoing);
        fed.payload.start = fed.payload.start.saturating_add(frames_at);
        fed.payload.end = fed.payload.end.saturating_add(frames_at);
        fed
    }

    /// Answers the last ping, if there is one to be answered.
    pub(crate) fn answer_ping(&mut self, outgoing: &mut Vec<u8>) {
        if let Some(payload) = self.ping.take()
            && matches!(self.phase, Phase::Open)
        {
            frame::pong(&payload, outgoing);
        }
    }

    /// Whether a ping waits for its answer.
    pub(crate) fn owes_pong(&self) -> bool {
        self.ping.is_some()
    }

    /// Whether frames can be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Appends the header of a binary frame; its payload of this length comes next. v5 [MQTT-6.0.0-1], v3 [MQTT-6.0.0-1]
    pub(crate) fn begin_frame(&self, length: usize, outgoing: &mut Vec<u8>) {
        frame::binary_header(length, outgoing);
    }

    /// Appends a close frame, once, if the connection is open. Nothing can be sent after it.
    pub(crate) fn close(&mut self, outgoing: &mut Vec<u8>) {
        if matches!(self.phase, Phase::Open) {
            frame::close(Some(NORMAL_CLOSURE), outgoing);
        }
        self.phase = Phase::Closed;
    }

    /// Reads the request. Returns how many bytes of this input belong to it.
    fn upgrade(&mut self, bytes: &[u8], outgoing: &mut Vec<u8>) -> Result<usize, UpgradeError> {
        let Phase::Upgrade { head, settings } = &mut self.phase else {
            return Ok(0);
        };
        let before = head.len();
        // One byte above the limit is enough to know that it is exceeded.
        let room = settings.maximum_head.saturating_add(1).saturating_sub(before);
        head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        match handshake::answer(head, settings, outgoing) {
            Ok(None) => Ok(bytes.len()),
            Ok(Some(length)) => {
                self.phase = Phase::Open;
                Ok(length.saturating_sub(before))
            }
            Err(error) => {
                self.phase = Phase::Closed;
                Err(error)
            }
        }
    }

    fn frames(&mut self, bytes: &mut [u8], outgoing: &mut Vec<u8>) -> Fed {
        let mut closed = None;
        let ping = &mut self.ping;
        let (payload, result) = self.framer.feed(bytes, |control| match control {
            Control::Ping(payload) => {
                *ping = Some(payload.to_vec());
                true
            }
            Control::Close(status) => {
                closed = Some(status);
                false
            }
        });
        let (end, status) = match (result, closed) {
            (Err(error), _) => (End::Failed(error), Some(error.status())),
            (Ok(()), Some(status)) => (End::Closed, status),
            (Ok(()), None) => return Fed { payload, end: None },
        };
        frame::close(status, outgoing);
        self.phase = Phase::Closed;
        Fed {
            payload,
            end: Some(end),
        }
    }
}

#[cfg(test)]
mod tests;
