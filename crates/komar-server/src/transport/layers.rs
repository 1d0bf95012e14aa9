//! The layers of one connection that is not plain TCP: PROXY header, TLS, WebSocket, each of them if it is there.

use core::ops::Range;

use komar_broker_core::{Output, Sent};

use crate::open_listener::ListenerSettings;
use crate::transport::proxy::{self, ProxyError};
use crate::transport::socket::{Socket, Stopped};
use crate::transport::tls::{Tls, TlsError, TlsState};
use crate::transport::websocket::{self, FrameError, UpgradeError, WebSocket};

/// What stands between a socket and its Link.
pub(crate) struct Layers {
    /// Until the header has been read.
    proxy: Option<proxy::Reader>,
    tls: Option<Tls>,
    websocket: Option<Box<WebSocket>>,
    /// Bytes that the socket has not taken yet; holds no memory while there are none.
    pending: Vec<u8>,
}

/// Buffers of a reactor that all its connections share.
#[derive(Default)]
pub(crate) struct Scratch {
    plaintext: Vec<u8>,
    /// Frames to be encrypted.
    frames: Vec<u8>,
    /// Bytes for the socket.
    wire: Vec<u8>,
}

/// What a read brought to the Link.
pub(crate) struct Arrived {
    place: Place,
    payload: Range<usize>,
    /// The TLS handshake ended with this read.
    pub(crate) handshake_done: bool,
    /// How the connection ended, if it did; the payload came before.
    pub(crate) end: Option<End>,
}

#[derive(Clone, Copy)]
enum Place {
    /// In the bytes that were read.
    Read,
    Plaintext,
}

/// How a layer ended its connection.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it, or takes nothing any more.
    Closed,
    Tls(TlsError),
    Upgrade(UpgradeError),
    Frame(FrameError),
}

impl Layers {
    /// The layers that a listener asks for; `None` if there are none.
    pub(crate) fn of(listener: &ListenerSettings) -> Result<Option<Box<Layers>>, TlsError> {
        let layers = Layers {
            proxy: listener
                .proxy
                .as_ref()
                .map(|proxy| proxy::Reader::new(proxy.version)),
            tls: listener.tls.as_ref().map(Tls::accept).transpose()?,
            websocket: listener
                .websocket
                .as_ref()
                .map(|settings| Box::new(WebSocket::accept(settings))),
            pending: Vec::new(),
        };
        Ok((layers.proxy.is_some() || layers.wraps_output()).then(|| Box::new(layers)))
    }

    /// Whether output passes a layer. If not, it is written by whichever thread has some.
    pub(crate) fn wraps_output(&self) -> bool {
        self.tls.is_some() || self.websocket.is_some()
    }

    pub(crate) fn awaits_proxy_header(&self) -> bool {
        self.proxy.is_some()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::is_handshaking)
    }

    /// Memory that an unfinished message of a TLS handshake takes.
    pub(crate) fn handshake_bytes(&self) -> usize {
        self.tls.as_ref().map_or(0, Tls::handshake_bytes)
    }

    /// Whether nothing is left to be agreed on before MQTT begins.
    pub(crate) fn is_settled(&self) -> bool {
        !self.awaits_proxy_header() && !self.is_handshaking()
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Reads the PROXY header. With it comes how many of the bytes belong to it.
    pub(crate) fn receive_proxy_header(
        &mut self,
        bytes: &[u8],
    ) -> Result<Option<(usize, proxy::Header)>, ProxyError> {
        let Some(reader) = &mut self.proxy else {
            return Ok(None);
        };
        let read = reader.feed(bytes)?;
        if read.is_some() {
            self.proxy = None;
        }
        Ok(read)
    }

    /// Takes what was read, sends what the layers answer by themselves, and says what is for the Link.
    pub(crate) fn receive(&mut self, socket: &Socket, bytes: &mut [u8], scratch: &mut Scratch) -> Arrived {
        scratch.wire.clear();
        let mut arrived = match &mut self.tls {
            None => Arrived {
                place: Place::Read,
                payload: 0..bytes.len(),
                handshake_done: false,
                end: None,
            },
            Some(tls) => decrypt(tls, bytes, scratch),
        };
        if self.websocket.is_some() {
            self.unframe(bytes, scratch, &mut arrived);
        }
        let sent = self.send(socket, &scratch.wire);
        if sent == Sent::Failed {
            arrived.end.get_or_insert(End::Closed);
        }
        arrived
    }

    /// Wraps output and writes as much as the socket takes. Output that is not wrapped yet stays in `output`.
    pub(crate) fn write_output(
        &mut self,
        socket: &Socket,
        output: &mut Output,
        scratch: &mut Scratch,
    ) -> Sent {
        loop {
            match self.flush(socket, scratch) {
                Sent::All => {}
                other => return other,
            }
            if output.is_empty() {
                return Sent::All;
            }
            scratch.wire.clear();
            if self.wrap(output, scratch).is_none() {
                // What rustls wants to say about it is sent as far as that goes.
                self.send(socket, &scratch.wire);
                return Sent::Failed;
            }
            match self.send(socket, &scratch.wire) {
                Sent::All => {}
                other => return other,
            }
        }
    }

    /// Says good-bye in every layer.
    pub(crate) fn close(&mut self, socket: &Socket, scratch: &mut Scratch) {
        scratch.wire.clear();
        scratch.frames.clear();
        if let Some(websocket) = &mut self.websocket {
            websocket.close(&mut scratch.frames);
            if self.put_frames(scratch).is_none() {
                tracing::debug!("a close frame cannot be encrypted");
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.close(&mut scratch.wire);
        }
        self.send(socket, &scratch.wire);
    }

    /// Writes what waits, and the answer to a ping that came while something waited.
    pub(crate) fn flush(&mut self, socket: &Socket, scratch: &mut Scratch) -> Sent {
        if !self.pending.is_empty() {
            let pending = core::mem::take(&mut self.pending);
            match self.send(socket, &pending) {
                Sent::All => {}
                other => return other,
            }
        }
        if self
            .websocket
            .as_ref()
            .is_some_and(|websocket| websocket.owes_pong())
        {
            scratch.wire.clear();
            self.answer_ping(scratch);
            return self.send(socket, &scratch.wire);
        }
        Sent::All
    }

    /// Takes frames apart, and puts what is to be answered into `scratch.wire`.
    fn unframe(&mut self, bytes: &mut [u8], scratch: &mut Scratch, arrived: &mut Arrived) {
        let Some(websocket) = &mut self.websocket else {
            return;
        };
        let whole = match arrived.place {
            Place::Read => bytes,
            Place::Plaintext => &mut scratch.plaintext[..],
        };
        let start = arrived.payload.start;
        let framed = whole.get_mut(arrived.payload.clone()).unwrap_or_default();
        scratch.frames.clear();
        let fed = websocket.feed(framed, &mut scratch.frames);
        arrived.payload = start.saturating_add(fed.payload.start)..start.saturating_add(fed.payload.end);
        if let Some(end) = fed.end {
            let end = match end {
                websocket::End::Closed => End::Closed,
                websocket::End::Refused(error) => End::Upgrade(error),
                websocket::End::Failed(error) => End::Frame(error),
            };
            arrived.end.get_or_insert(end);
        }
        // To a peer that does not read, pongs would pile up: it gets one when it reads again.
        if self.pending.is_empty() {
            websocket.answer_ping(&mut scratch.frames);
        }
        if self.put_frames(scratch).is_none() {
            arrived.end.get_or_insert(End::Closed);
        }
    }

    fn answer_ping(&mut self, scratch: &mut Scratch) {
        if let Some(websocket) = &mut self.websocket {
            scratch.frames.clear();
            websocket.answer_ping(&mut scratch.frames);
            if self.put_frames(scratch).is_none() {
                tracing::debug!("a pong cannot be encrypted");
            }
        }
    }

    /// Moves `scratch.frames` to `scratch.wire`, through TLS if there is any. `None`: that failed.
    fn put_frames(&mut self, scratch: &mut Scratch) -> Option<()> {
        let Scratch { frames, wire, .. } = scratch;
        match &mut self.tls {
            None => wire.extend_from_slice(frames),
            Some(tls) if !frames.is_empty() => encrypt(tls, frames, wire)?,
            Some(_) => {}
        }
        Some(())
    }

    /// Puts the next part of the output into `scratch.wire`; a part at a time bounds what is held. Several packets share
    /// a frame and a record. `None`: that failed.
    fn wrap(&mut self, output: &mut Output, scratch: &mut Scratch) -> Option<()> {
        let Scratch { frames, wire, .. } = scratch;
        match (&mut self.websocket, &mut self.tls) {
            (Some(websocket), tls) => {
                if !websocket.is_open() {
                    return None;
                }
                let length = output.len().min(WRAPPED_AT_ONCE);
                let target = if tls.is_some() { &mut *frames } else { &mut *wire };
                target.clear();
                // One frame for all that is written at once. v5 [MQTT-6.0.0-2], v3 [MQTT-6.0.0-2]
                websocket.begin_frame(length, target);
                take(output, length, |part| {
                    target.extend_from_slice(part);
                    Some(())
                })?;
                match tls {
                    Some(tls) => encrypt(tls, frames, wire),
                    None => Some(()),
                }
            }
            (None, Some(tls)) => take(output, WRAPPED_AT_ONCE, |part| encrypt(tls, part, wire)),
            (None, None) => None,
        }
    }

    /// Writes bytes behind what waits already, and keeps what the socket does not take.
    fn send(&mut self, socket: &Socket, bytes: &[u8]) -> Sent {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            let pending = core::mem::take(&mut self.pending);
            return self.send(socket, &pending);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match socket.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Stopped::Failed) => return Sent::Failed,
                Err(Stopped::Blocked) => {
                    self.pending = rest.to_vec();
                    return Sent::Blocked;
                }
            }
        }
        Sent::All
    }
}

impl Scratch {
    /// Gives memory back after a turn that needed unusually much.
    pub(crate) fn shrink(&mut self) {
        for buffer in [&mut self.plaintext, &mut self.frames, &mut self.wire] {
            if buffer.capacity() > KEPT_SCRATCH {
                *buffer = Vec::new();
            }
        }
    }
}

impl Arrived {
    /// The bytes for the Link.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8], scratch: &'a Scratch) -> &'a [u8] {
        let whole = match self.place {
            Place::Read => bytes,
            Place::Plaintext => &scratch.plaintext,
        };
        whole.get(self.payload.clone()).unwrap_or_default()
    }
}

fn decrypt(tls: &mut Tls, bytes: &mut [u8], scratch: &mut Scratch) -> Arrived {
    let was_handshaking = tls.is_handshaking();
    scratch.plaintext.clear();
    // Records of the handshake, and the alert if it failed, go to `wire`.
    let state = tls.feed(bytes, &mut scratch.plaintext, &mut scratch.wire);
    Arrived {
        place: Place::Plaintext,
        // What was decrypted before an error is authentic.
        payload: 0..scratch.plaintext.len(),
        handshake_done: was_handshaking && !tls.is_handshaking(),
        end: match state {
            Ok(TlsState::PeerClosed) => Some(End::Closed),
            Ok(_) => None,
            Err(error) => Some(End::Tls(error)),
        },
    }
}

fn encrypt(tls: &mut Tls, plaintext: &[u8], wire: &mut Vec<u8>) -> Option<()> {
    tls.encrypt(plaintext, wire)
        .inspect_err(|error| tracing::debug!(%error, "cannot encrypt"))
        .ok()
}

/// Takes up to `length` bytes from the output, chunk by chunk.
fn take(output: &mut Output, length: usize, mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let mut left = length;
    while left > 0 && !output.is_empty() {
        let chunk = output.chunk();
        let part = chunk.get(..left).unwrap_or(chunk);
        let count = part.len();
        put(part)?;
        output.advance(count);
        left -= count;
    }
    Some(())
}

const WRAPPED_AT_ONCE: usize = 64 << 10;
const KEPT_SCRATCH: usize = 256 << 10;

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use mio::net::UnixStream;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

    fn ping(number: u32) -> Vec<u8> {
        let mut frame = vec![0x89, 0x84, 0, 0, 0, 0];
        frame.extend_from_slice(&number.to_be_bytes());
        frame
    }

    fn read_all(stream: &mut UnixStream) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    /// Who sends pings and reads nothing makes nothing grow, and hears of the last one when it reads again.
    #[test]
    fn pongs_do_not_pile_up() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (socket, mut scratch) = (Socket::Unix(ours), Scratch::default());
        let mut layers = Layers {
            proxy: None,
            tls: None,
            websocket: Some(Box::new(WebSocket::accept(&Arc::new(websocket::Settings {
                origins: Vec::new(),
                maximum_head: 4096,
            })))),
            pending: Vec::new(),
        };
        assert!(
            layers
                .receive(&socket, &mut REQUEST.to_vec(), &mut scratch)
                .end
                .is_none()
        );
        let mut number = 0;
        while layers.pending.is_empty() {
            number += 1;
            layers.receive(&socket, &mut ping(number), &mut scratch);
        }
        let pending = layers.pending.len();
        for _ in 0..10_000 {
            number += 1;
            assert!(
                layers
                    .receive(&socket, &mut ping(number), &mut scratch)
                    .end
                    .is_none()
            );
        }
        assert_eq!(layers.pending.len(), pending);
        let mut heard = read_all(&mut theirs);
        assert_eq!(layers.flush(&socket, &mut scratch), Sent::All);
        heard.extend(read_all(&mut theirs));
        let last = [&[0x8a, 4][..], &number.to_be_bytes()].concat();
        assert!(heard.ends_with(&last), "{:02x?}", &heard[heard.len() - 12..]);
        // Every frame is whole, though the socket took them in pieces.
        let head = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(
            heard[head..]
                .chunks(6)
                .all(|frame| frame.len() == 6 && frame[..2] == [0x8a, 4])
        );
    }

    #[test]
    fn a_proxy_header_is_gone_when_it_is_read() {
        let mut layers = Layers {
            proxy: Some(proxy::Reader::new(crate::ProxyVersion::V1)),
            tls: None,
            websocket: None,
            pending: Vec::new(),
        };
        assert!(layers.awaits_proxy_header() && !layers.wraps_output());
        assert_eq!(layers.receive_proxy_header(b"PROXY UNKNO"), Ok(None));
        let read = layers.receive_proxy_header(b"WN\r\nCONNECT").unwrap().unwrap();
        assert_eq!(read, (4, proxy::Header::default()));
        assert!(!layers.awaits_proxy_header());
    }

    #[test]
    fn nothing_is_wrapped_after_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (socket, mut scratch) = (Socket::Unix(ours), Scratch::default());
        let mut layers = Layers {
            proxy: None,
            tls: None,
            websocket: Some(Box::new(WebSocket::accept(&Arc::new(websocket::Settings {
                origins: Vec::new(),
                maximum_head: 4096,
            })))),
            pending: Vec::new(),
        };
        layers.receive(&socket, &mut REQUEST.to_vec(), &mut scratch);
        read_all(&mut theirs);
        theirs.write_all(b"unread").unwrap();
        layers.close(&socket, &mut scratch);
        layers.close(&socket, &mut scratch);
        assert_eq!(read_all(&mut theirs), [0x88, 2, 0x03, 0xe8]);
        assert!(layers.wrap(&mut Output::default(), &mut scratch).is_none());
    }
}
