//! One network connection as its reactor holds it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use komar_broker_core::{Link, Outbox, Output, Sent};
use mio::net::TcpStream;

use crate::transport::tls::Tls;

/// What an Outbox knows of its Connection: how any thread reaches it.
pub(crate) struct Address {
    pub(crate) reactor: usize,
    pub(crate) key: usize,
    pub(crate) peer: SocketAddr,
    /// Written to by any thread; `None` where only the Connection's own reactor can (TLS).
    pub(crate) stream: Option<Arc<TcpStream>>,
}

impl Address {
    /// The Address of an Outbox that this server has opened.
    pub(crate) fn of(outbox: &Outbox) -> Option<&Address> {
        outbox.handle().downcast_ref()
    }
}

/// A network connection.
pub(crate) struct Connection {
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) link: Link,
    pub(crate) tls: Option<Box<TlsSide>>,
    pub(crate) listener: usize,
    /// The other side has sent its last byte: an edge that announced data may have announced the end as well.
    pub(crate) read_closed: bool,
    /// It waits in the reactor's list of Connections to be read.
    pub(crate) reading: bool,
    /// It is to be closed as soon as its ciphertext is written.
    pub(crate) closing: bool,
}

/// What TLS adds to a Connection.
pub(crate) struct TlsSide {
    pub(crate) tls: Tls,
    /// Ciphertext that the socket has not taken yet; holds no memory while there is none.
    pending: Vec<u8>,
}

/// What a read brought.
pub(crate) enum Received {
    /// So many bytes, and there may be more.
    More(usize),
    /// So many bytes, and for now no more.
    Short(usize),
    /// Nothing now.
    Nothing,
    /// The end, or an error that amounts to it.
    End,
}

impl Connection {
    /// One read into the reactor's buffer.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Received {
        loop {
            match (&*self.stream).read(buffer) {
                Ok(0) => return Received::End,
                Ok(count) if count == buffer.len() || self.read_closed => return Received::More(count),
                Ok(count) => return Received::Short(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
                Err(_) => return Received::End,
            }
        }
    }

    /// Throws away what has arrived, so that closing does not reset the Connection before the other side has read
    /// our last words.
    pub(crate) fn discard_input(&self, buffer: &mut [u8]) {
        for _ in 0..DISCARDED_READS {
            if !matches!(self.read(buffer), Received::More(_) | Received::Short(_)) {
                return;
            }
        }
    }
}

/// Writes as much as the socket takes.
pub(crate) fn write_output(stream: &TcpStream, output: &mut Output) -> Sent {
    while !output.is_empty() {
        match write_some(stream, output.chunk()) {
            Ok(count) => output.advance(count),
            Err(sent) => return sent,
        }
    }
    Sent::All
}

fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> Result<usize, Sent> {
    loop {
        match stream.write(bytes) {
            Ok(0) => return Err(Sent::Failed),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Sent::Blocked),
            Err(_) => return Err(Sent::Failed),
        }
    }
}

impl TlsSide {
    pub(crate) fn new(tls: Tls) -> TlsSide {
        TlsSide {
            tls,
            pending: Vec::new(),
        }
    }

    /// Encrypts and writes as much as the socket takes. Output that is not encrypted yet stays in `output`.
    /// `ciphertext` is the reactor's, used again for every Connection.
    pub(crate) fn write_output(
        &mut self,
        stream: &TcpStream,
        output: &mut Output,
        ciphertext: &mut Vec<u8>,
    ) -> Sent {
        loop {
            match self.flush(stream) {
                Sent::All => {}
                other => return other,
            }
            if output.is_empty() {
                return Sent::All;
            }
            ciphertext.clear();
            // Several packets share a record; a slice at a time bounds the ciphertext that is held.
            while !output.is_empty() && ciphertext.len() < CIPHERTEXT_AT_ONCE {
                let chunk = output.chunk();
                let slice = chunk.get(..CIPHERTEXT_AT_ONCE).unwrap_or(chunk);
                let count = slice.len();
                if let Err(error) = self.tls.encrypt(slice, ciphertext) {
                    tracing::debug!(%error, "cannot encrypt");
                    // What rustls wants to say about it is sent as far as that goes.
                    self.send(stream, ciphertext);
                    return Sent::Failed;
                }
                output.advance(count);
            }
            match self.send(stream, ciphertext) {
                Sent::All => {}
                other => return other,
            }
        }
    }

    /// Writes ciphertext behind what waits already, and keeps what the socket does not take.
    pub(crate) fn send(&mut self, stream: &TcpStream, ciphertext: &[u8]) -> Sent {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(ciphertext);
            return self.flush(stream);
        }
        let mut rest = ciphertext;
        while !rest.is_empty() {
            match write_some(stream, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(sent) => {
                    self.pending = rest.to_vec();
                    return sent;
                }
            }
        }
        Sent::All
    }

    /// Writes ciphertext that waits.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> Sent {
        if self.pending.is_empty() {
            return Sent::All;
        }
        let pending = core::mem::take(&mut self.pending);
        self.send(stream, &pending)
    }
}

const DISCARDED_READS: usize = 4;
const CIPHERTEXT_AT_ONCE: usize = 64 << 10;
