//! One network connection as its reactor holds it.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::sync::{Arc, OnceLock};

use komar_broker_core::{Link, Outbox, Output, Sent};

use crate::open_listener::{ListenerSettings, OpenListener};
use crate::transport::layers::Layers;
use crate::transport::socket::{Peer, Socket, Stopped};

/// What an Outbox knows of its Connection: how any thread reaches it.
pub(crate) struct Address {
    /// Changed when the Connection moves.
    reactor: AtomicUsize,
    /// Its place there; of use to that reactor only.
    key: AtomicUsize,
    /// Written to by any thread; `None` where only the Connection's own reactor can (TLS, WebSocket).
    pub(crate) socket: Option<Arc<Socket>>,
    /// The other end of the socket.
    neighbour: Peer,
    /// Whom a proxy has named.
    client: OnceLock<Box<Peer>>,
}

impl Address {
    pub(crate) fn new(reactor: usize, key: usize, neighbour: Peer, socket: Option<Arc<Socket>>) -> Address {
        Address {
            reactor: AtomicUsize::new(reactor),
            key: AtomicUsize::new(key),
            socket,
            neighbour,
            client: OnceLock::new(),
        }
    }

    /// The Address of an Outbox that this server has opened.
    pub(crate) fn of(outbox: &Outbox) -> Option<&Address> {
        outbox.handle().downcast_ref()
    }

    pub(crate) fn reactor(&self) -> usize {
        self.reactor.load(Ordering::Acquire)
    }

    pub(crate) fn key(&self) -> usize {
        self.key.load(Ordering::Relaxed)
    }

    /// It is on its way to that reactor.
    pub(crate) fn set_reactor(&self, reactor: usize) {
        self.reactor.store(reactor, Ordering::Release);
    }

    /// It has come to that reactor.
    pub(crate) fn set_place(&self, reactor: usize, key: usize) {
        self.key.store(key, Ordering::Relaxed);
        self.reactor.store(reactor, Ordering::Release);
    }

    /// Where the client is: as far as the socket knows, or as the proxy said.
    pub(crate) fn peer(&self) -> &Peer {
        self.client.get().map_or(&self.neighbour, |client| client)
    }

    /// Notes whom the proxy has named. Once; the first one counts.
    pub(crate) fn set_client(&self, client: Peer) {
        self.client.get_or_init(|| Box::new(client));
    }
}

/// A network connection.
pub(crate) struct Connection {
    pub(crate) socket: Arc<Socket>,
    pub(crate) link: Link,
    /// What stands between socket and Link; `None` for plain MQTT.
    pub(crate) layers: Option<Box<Layers>>,
    pub(crate) listener: Arc<OpenListener>,
    /// What held for the listener when this was looked at last.
    pub(crate) settings: Arc<ListenerSettings>,
    /// The other side has sent its last byte: an edge that announced data may have announced the end as well.
    pub(crate) read_closed: bool,
    /// A layer has said that nothing more comes; what came before is still to be done.
    pub(crate) ended: bool,
    /// It waits in the reactor's list of Connections to be read.
    pub(crate) reading: bool,
    /// It is to be closed as soon as its bytes are written.
    pub(crate) closing: bool,
    /// Bytes that were read in this window of its reactor.
    pub(crate) bytes_read: usize,
    /// It does not move to another reactor before, in milliseconds since the start.
    pub(crate) stays_until: u64,
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
            match self.socket.read(buffer) {
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
pub(crate) fn write_output(socket: &Socket, output: &mut Output) -> Sent {
    while !output.is_empty() {
        match socket.write(output.chunk()) {
            Ok(count) => output.advance(count),
            Err(Stopped::Blocked) => return Sent::Blocked,
            Err(Stopped::Failed) => return Sent::Failed,
        }
    }
    Sent::All
}

const DISCARDED_READS: usize = 4;
