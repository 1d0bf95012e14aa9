//! One thread: waits for its Connections, reads, lets the worker work, writes.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use komar_broker_core::{
    CloseCause, LinkState, ListenerPolicy, Next, Now, Outbox, PasswordRequest, Sent, Take, Worker,
};
use komar_passwd::PasswordVerdict;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::authenticate::PasswordPool;
use crate::connection::{Address, Connection, Received, TlsSide, write_output};
use crate::event_log;
use crate::mailbox::{Mail, Mailbox};
use crate::server::Placement;
use crate::transport::tls::{Tls, TlsState, looks_like_tls};

/// What all reactors of a server share.
pub(crate) struct Common {
    pub(crate) listeners: Vec<OpenListener>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// Connections of each reactor, for placing new ones.
    pub(crate) loads: Vec<AtomicUsize>,
    pub(crate) placement: Placement,
    pub(crate) placed: AtomicUsize,
    /// Of all listeners together.
    pub(crate) maximum_connections: usize,
    pub(crate) passwords: PasswordPool,
    pub(crate) started: Instant,
}

/// A listener as it runs.
pub(crate) struct OpenListener {
    pub(crate) policy: Arc<ListenerPolicy>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) local: SocketAddr,
    pub(crate) maximum_connections: Option<usize>,
    pub(crate) connections: AtomicUsize,
    pub(crate) no_delay: bool,
}

pub(crate) struct Reactor {
    number: usize,
    common: Arc<Common>,
    mailbox: Arc<Mailbox>,
    poll: Poll,
    worker: Worker,
    connections: Slab<Connection>,
    /// Listening sockets; on the first reactor only.
    sockets: Vec<TcpListener>,
    /// Listeners that may have more to accept.
    accepting: Vec<usize>,
    /// Do not accept before: descriptors have run out.
    accept_after: Option<Instant>,
    /// Connections that may have more to read.
    reading: Vec<usize>,
    /// Connections that are over; taken out at the end of the turn, so that no event of the turn meets a successor.
    over: Vec<(usize, CloseCause)>,
    buffer: Box<[u8]>,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    letters: Vec<Mail>,
    stopping: bool,
}

impl Reactor {
    pub(crate) fn new(
        number: usize,
        common: Arc<Common>,
        poll: Poll,
        worker: Worker,
        sockets: Vec<TcpListener>,
    ) -> io::Result<Reactor> {
        let mut reactor = Reactor {
            number,
            mailbox: Arc::clone(&common.mailboxes[number]),
            common,
            poll,
            worker,
            connections: Slab::new(),
            sockets,
            accepting: Vec::new(),
            accept_after: None,
            reading: Vec::new(),
            over: Vec::new(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            plaintext: Vec::new(),
            ciphertext: Vec::new(),
            letters: Vec::new(),
            stopping: false,
        };
        for (index, socket) in reactor.sockets.iter_mut().enumerate() {
            reactor
                .poll
                .registry()
                .register(socket, Token(LISTENERS + index), Interest::READABLE)?;
        }
        Ok(reactor)
    }

    /// Runs until the server stops.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut wait = None;
        loop {
            let timeout = if self.has_work() || !self.mailbox.fall_asleep() {
                Some(Duration::ZERO)
            } else {
                wait
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for connections failed, the reactor stops");
                self.stopping = true;
            }
            self.mailbox.awake();
            self.worker.turn_begin(now(self.common.started));
            for event in &events {
                self.event(event);
            }
            self.read_mail();
            if self.stopping {
                return self.stop();
            }
            self.accept();
            self.read_connections();
            wait = self.finish_turn();
        }
    }

    fn has_work(&self) -> bool {
        !self.reading.is_empty() || (!self.accepting.is_empty() && self.accept_after.is_none())
    }

    fn event(&mut self, event: &mio::event::Event) {
        let token = event.token().0;
        if token == WAKER {
            return;
        }
        if token >= LISTENERS {
            self.accepting.push(token - LISTENERS);
            return;
        }
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if event.is_writable() {
            let outbox = Arc::clone(connection.link.outbox());
            self.flush_ciphertext(token);
            self.worker.writable(&outbox);
        }
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.read_closed |= event.is_read_closed() || event.is_error();
            if !connection.reading {
                connection.reading = true;
                self.reading.push(token);
            }
        }
    }

    fn read_mail(&mut self) {
        let mut letters = core::mem::take(&mut self.letters);
        self.mailbox.take(&mut letters);
        for letter in letters.drain(..) {
            match letter {
                Mail::Accepted {
                    stream,
                    peer,
                    listener,
                } => self.add(stream, peer, listener),
                Mail::Flush(outbox) => self.flush(&outbox),
                Mail::Verdict(outbox, verdict) => self.verdict(&outbox, verdict),
                Mail::Stop => self.stopping = true,
            }
        }
        self.letters = letters;
    }

    /// Accepts a few Connections, so that a storm of them leaves time for those that are there.
    fn accept(&mut self) {
        if self.accept_after.is_some_and(|after| Instant::now() < after) {
            return;
        }
        self.accept_after = None;
        let mut listeners = core::mem::take(&mut self.accepting);
        listeners.sort_unstable();
        listeners.dedup();
        listeners.retain(|index| self.accept_some(*index));
        self.accepting.append(&mut listeners);
    }

    /// Says whether there may be more.
    fn accept_some(&mut self, index: usize) -> bool {
        for _ in 0..ACCEPTS_A_TURN {
            let Some(socket) = self.sockets.get(index) else {
                return false;
            };
            match socket.accept() {
                Ok((stream, peer)) => self.place(stream, peer, index),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections; trying again in {ACCEPT_PAUSE:?}");
                    self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                    return true;
                }
            }
        }
        true
    }

    /// Chooses the reactor for a new Connection.
    fn place(&mut self, stream: TcpStream, peer: SocketAddr, listener: usize) {
        let Some(open) = self.common.listeners.get(listener) else {
            return;
        };
        let all = self.common.loads.iter().map(|load| load.load(Ordering::Relaxed));
        if all.sum::<usize>() >= self.common.maximum_connections {
            tracing::warn!("Client connection from {peer} denied: global_max_connections is reached.");
            return;
        }
        let count = open.connections.fetch_add(1, Ordering::Relaxed);
        if open.maximum_connections.is_some_and(|maximum| count >= maximum) {
            open.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(
                "Client connection from {peer} denied: max_connections of the listener is reached."
            );
            return;
        }
        if open.no_delay
            && let Err(error) = stream.set_nodelay(true)
        {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        tracing::info!(target: event_log::NOTICE, "New connection from {peer} on port {}.", open.local.port());
        let reactors = self.common.mailboxes.len();
        let target = match self.common.placement {
            Placement::Pack => 0,
            Placement::Alternate => self.common.placed.fetch_add(1, Ordering::Relaxed) % reactors,
        };
        self.common.loads[target].fetch_add(1, Ordering::Relaxed);
        if target == self.number {
            self.add(stream, peer, listener);
        } else {
            self.common.mailboxes[target].send(Mail::Accepted {
                stream,
                peer,
                listener,
            });
        }
    }

    fn add(&mut self, mut stream: TcpStream, peer: SocketAddr, listener: usize) {
        let Some(open) = self.common.listeners.get(listener) else {
            return;
        };
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let tls = open.tls.as_ref().map(Tls::accept).transpose();
        let registered = self.poll.registry().register(&mut stream, Token(key), interest);
        let (Ok(tls), Ok(())) = (tls, registered) else {
            tracing::error!("cannot take the connection from {peer} over; it is closed");
            open.connections.fetch_sub(1, Ordering::Relaxed);
            self.common.loads[self.number].fetch_sub(1, Ordering::Relaxed);
            return;
        };
        let stream = Arc::new(stream);
        let shared = tls.is_none().then(|| Arc::clone(&stream));
        let address = Address {
            reactor: self.number,
            key,
            peer,
            stream: shared,
        };
        let link = self.worker.open(Box::new(address), &open.policy);
        entry.insert(Connection {
            stream,
            link,
            tls: tls.map(|tls| Box::new(TlsSide::new(tls))),
            listener,
            read_closed: false,
            reading: true,
            closing: false,
        });
        // What has come already is read now: the edge may have been before the registration.
        self.reading.push(key);
    }

    /// One read of each Connection that may have something.
    fn read_connections(&mut self) {
        let list = core::mem::take(&mut self.reading);
        for key in list {
            let again = self.read(key);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.reading = again;
                if again {
                    self.reading.push(key);
                }
            }
        }
    }

    /// Reads once. Says whether there may be more.
    fn read(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        match connection.link.state() {
            LinkState::Open => {}
            // The verdict puts it back into the list.
            LinkState::Paused => return false,
            _ => {
                if connection.read_closed {
                    self.over.push((key, CloseCause::ConnectionClosed));
                }
                return false;
            }
        }
        let received = connection.read(&mut self.buffer);
        let (count, more) = match received {
            Received::More(count) => (count, true),
            Received::Short(count) => (count, false),
            Received::Nothing => return false,
            Received::End => {
                self.over.push((key, CloseCause::ConnectionClosed));
                return false;
            }
        };
        let Some(bytes) = self.buffer.get_mut(..count) else {
            return false;
        };
        let open = match &mut connection.tls {
            None => {
                let progress = self.worker.input(&mut connection.link, bytes);
                if progress.state == LinkState::Closing && looks_like_tls(bytes) {
                    tracing::info!(target: event_log::NOTICE, "A TLS client tries to use a listener without TLS.");
                }
                true
            }
            Some(_) => self.read_tls(key, count),
        };
        more && open
    }

    /// Decrypts what was read and hands it on. `false`: the Connection is over.
    fn read_tls(&mut self, key: usize, count: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let (Some(side), Some(bytes)) = (&mut connection.tls, self.buffer.get_mut(..count)) else {
            return false;
        };
        let was_handshaking = side.tls.is_handshaking();
        self.plaintext.clear();
        self.ciphertext.clear();
        let state = side.tls.feed(bytes, &mut self.plaintext, &mut self.ciphertext);
        // Records of the handshake, and the alert if it failed.
        let flushed = side.send(&connection.stream, &self.ciphertext);
        if was_handshaking && !side.tls.is_handshaking() {
            if let Some(der) = side.tls.peer_certificate() {
                connection.link.present_certificate(der);
            }
            tracing::debug!(version = side.tls.version(), cipher = side.tls.cipher(), "TLS");
        }
        // What was decrypted before an error is authentic.
        if !self.plaintext.is_empty() {
            self.worker.input(&mut connection.link, &self.plaintext);
        }
        if self.plaintext.capacity() > READ_BUFFER * 2 {
            self.plaintext = Vec::new();
        }
        let state = match state {
            Ok(state) => state,
            Err(error) => {
                let peer = Address::of(connection.link.outbox()).map(|address| address.peer);
                if let Some(peer) = peer {
                    tracing::info!(target: event_log::NOTICE, "TLS with {peer} failed: {error}.");
                }
                connection.discard_input(&mut self.buffer);
                self.over.push((key, CloseCause::TransportRefused));
                return false;
            }
        };
        if flushed == Sent::Failed {
            self.over.push((key, CloseCause::ConnectionClosed));
            return false;
        }
        if state == TlsState::PeerClosed {
            self.over.push((key, CloseCause::ConnectionClosed));
            return false;
        }
        true
    }

    fn verdict(&mut self, outbox: &Arc<Outbox>, verdict: PasswordVerdict) {
        let Some(key) = self.find(outbox) else { return };
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        self.worker.password_verdict(&mut connection.link, verdict);
        if !connection.reading {
            connection.reading = true;
            self.reading.push(key);
        }
    }

    /// The Connection of an Outbox, if it is still there and ours.
    fn find(&self, outbox: &Arc<Outbox>) -> Option<usize> {
        let address = Address::of(outbox).filter(|address| address.reactor == self.number)?;
        let connection = self.connections.get(address.key)?;
        Arc::ptr_eq(connection.link.outbox(), outbox).then_some(address.key)
    }

    /// Work, output, events, checks, ends of Connections. Says how long to wait for the next turn.
    fn finish_turn(&mut self) -> Option<Duration> {
        self.worker.work();
        self.write_all();
        while !self.over.is_empty() {
            // An end may cause a Will Message, which is output again.
            self.remove_connections();
            self.worker.work();
            self.write_all();
        }
        while let Some(event) = self.worker.next_event() {
            event_log::log(&event);
        }
        while let Some(request) = self.worker.next_password_check() {
            self.submit(request);
        }
        let wait = self.worker.turn_end().wait;
        match self.accept_after {
            Some(after) => {
                let pause = after.saturating_duration_since(Instant::now());
                Some(wait.map_or(pause, |wait| wait.min(pause)))
            }
            None => wait,
        }
    }

    fn submit(&mut self, request: PasswordRequest) {
        if let Err(request) = self.common.passwords.submit(request) {
            tracing::warn!("too many logins wait for their password check; one is refused");
            self.verdict(&request.outbox, PasswordVerdict::Refused);
        }
    }

    fn write_all(&mut self) {
        while let Some(outbox) = self.worker.next_dirty() {
            self.flush(&outbox);
        }
    }

    /// Writes what waits for one Connection: at once if any thread may, otherwise on its own reactor.
    fn flush(&mut self, outbox: &Arc<Outbox>) {
        let Some(address) = Address::of(outbox) else {
            return;
        };
        match &address.stream {
            Some(stream) => self.flush_plain(outbox, address, stream),
            None if address.reactor == self.number => {
                if let Some(key) = self.find(outbox) {
                    self.flush_tls(outbox, key);
                }
            }
            None => self.common.mailboxes[address.reactor].send(Mail::Flush(Arc::clone(outbox))),
        }
    }

    fn flush_plain(&mut self, outbox: &Arc<Outbox>, address: &Address, stream: &TcpStream) {
        loop {
            let next = match self.worker.take_output(outbox) {
                Take::Output(mut output) => {
                    let sent = write_output(stream, &mut output);
                    self.worker.output_done(outbox, output, sent)
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => return self.hang_up(outbox, address, stream),
                _ => return,
            }
        }
    }

    fn flush_tls(&mut self, outbox: &Arc<Outbox>, key: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let Some(side) = &mut connection.tls else { return };
            let next = match self.worker.take_output(outbox) {
                Take::Output(mut output) => {
                    let sent = side.write_output(&connection.stream, &mut output, &mut self.ciphertext);
                    self.worker.output_done(outbox, output, sent)
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => {
                    self.ciphertext.clear();
                    side.tls.close(&mut self.ciphertext);
                    side.send(&connection.stream, &self.ciphertext);
                    connection.closing = true;
                    return self.flush_ciphertext(key);
                }
                _ => return,
            }
        }
    }

    /// Writes ciphertext that waits; a Connection that is being closed ends with it.
    fn flush_ciphertext(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(side) = &mut connection.tls else { return };
        side.flush(&connection.stream);
        // A peer that does not even take our last words gets no more time for them.
        if connection.closing {
            connection.discard_input(&mut self.buffer);
            self.over.push((key, CloseCause::ConnectionClosed));
        }
    }

    /// Ends a plain Connection: here if it is ours, by its socket if it is another reactor's.
    fn hang_up(&mut self, outbox: &Arc<Outbox>, address: &Address, stream: &TcpStream) {
        if address.reactor == self.number {
            if let Some(key) = self.find(outbox) {
                self.connections[key].discard_input(&mut self.buffer);
                self.over.push((key, CloseCause::ConnectionClosed));
            }
        } else if let Err(error) = stream.shutdown(std::net::Shutdown::Both) {
            // It is gone already; its reactor finds out by itself.
            tracing::trace!(%error, "shutdown");
        }
    }

    fn remove_connections(&mut self) {
        for (key, cause) in core::mem::take(&mut self.over) {
            let Some(mut connection) = self.connections.try_remove(key) else {
                continue;
            };
            self.worker.close(&mut connection.link, cause);
            self.common.loads[self.number].fetch_sub(1, Ordering::Relaxed);
            if let Some(open) = self.common.listeners.get(connection.listener) {
                open.connections.fetch_sub(1, Ordering::Relaxed);
            }
            // An Outbox may outlive its Connection in a Session's or another thread's hands, and the socket with it.
            if let Err(error) = connection.stream.shutdown(std::net::Shutdown::Both) {
                tracing::trace!(%error, "shutdown");
            }
        }
    }

    /// Ends all Connections in an orderly way. Will Messages that were still to wait are published before anybody is
    /// closed; whichever reactor is stopped first finds them.
    fn stop(&mut self) {
        self.worker.publish_delayed_wills();
        self.write_all();
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        self.over
            .extend(keys.into_iter().map(|key| (key, CloseCause::ServerShuttingDown)));
        self.remove_connections();
        self.write_all();
        while let Some(event) = self.worker.next_event() {
            event_log::log(&event);
        }
    }
}

/// What time it is, once a turn.
pub(crate) fn now(started: Instant) -> Now {
    Now {
        monotonic: started.elapsed(),
        unix: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    }
}

/// Errors of `accept` that concern the Connection which was to be accepted, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::TimedOut
    )
}

/// Bytes of one read. Long enough for batches; one buffer a thread, not one a Connection.
const READ_BUFFER: usize = 64 << 10;
const ACCEPTS_A_TURN: usize = 32;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Tokens: keys of Connections, then the waker, then the listeners.
pub(crate) const WAKER: usize = usize::MAX >> 1;
const LISTENERS: usize = WAKER + 1;
