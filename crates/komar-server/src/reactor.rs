//! One thread: waits for its Connections, reads, lets the worker work, writes.

mod accept;
mod handshakes;
mod layers;
mod recheck;
mod spread;
mod surplus;
mod write;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use komar_broker_core::store::{Sequence, Store};
use komar_broker_core::{
    CloseCause, Event, LinkState, ListenerId, Now, Outbox, PasswordRequest, Verdict, Worker,
};
use mio::{Events, Poll, Registry, Token};
use parking_lot::Mutex;
use slab::Slab;

use crate::authenticate::PasswordPool;
use crate::connection::{Address, Connection, Received};
use crate::event_log;
use crate::listener::ListenAddress;
use crate::listening_socket::ListeningSocket;
use crate::mailbox::{Mail, Mailbox};
use crate::open_listener::OpenListener;
use crate::publisher::OwnMessage;
use crate::reload::Pause;
use crate::server::Placement;
use crate::transport::layers::Scratch;
use crate::transport::tls::looks_like_tls;

/// What all reactors of a server share.
pub(crate) struct Common {
    pub(crate) listeners: Mutex<Listeners>,
    /// Of the first reactor, for listening sockets.
    pub(crate) registry: Registry,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// Connections of each reactor, for placing new ones.
    pub(crate) loads: Vec<AtomicUsize>,
    pub(crate) placement: Placement,
    pub(crate) placed: AtomicUsize,
    /// How busy each reactor is.
    pub(crate) busy: Vec<Load>,
    /// Reloads so far.
    pub(crate) reloads: AtomicU64,
    /// Connections that were too many of a second.
    pub(crate) turned_away: Arc<AtomicU64>,
    /// Of all listeners together.
    pub(crate) maximum_connections: AtomicUsize,
    /// Of each reactor.
    pub(crate) maximum_handshake_bytes: usize,
    pub(crate) passwords: PasswordPool,
    /// `None`: nothing survives.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) started: Instant,
}

impl Common {
    /// Since the start.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX >> 16)
    }
}

/// All that is listened on, changed by one reload at a time.
pub(crate) struct Listeners {
    pub(crate) open: Vec<Arc<OpenListener>>,
    /// Addresses that a socket of the service manager serves along with another one.
    pub(crate) served: Vec<ListenAddress>,
    pub(crate) next_id: u16,
}

/// What a reload changes in what the first reactor accepts from.
pub(crate) struct Listening {
    /// Registered already.
    pub(crate) added: Vec<(ListeningSocket, Arc<OpenListener>)>,
    pub(crate) removed: Vec<ListenerId>,
}

/// How a reactor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server was stopped.
    Stopped,
    /// It could not go on.
    Failed,
}

use handshakes::Handshakes;
use spread::Window;
pub(crate) use spread::{Load, Moving};
use surplus::Surplus;

pub(crate) struct Reactor {
    number: usize,
    common: Arc<Common>,
    mailbox: Arc<Mailbox>,
    poll: Poll,
    worker: Worker,
    connections: Slab<Connection>,
    /// Listening sockets; on the first reactor only.
    sockets: HashMap<ListenerId, (ListeningSocket, Arc<OpenListener>)>,
    /// Listeners that may have more to accept.
    accepting: Vec<ListenerId>,
    /// Do not accept before: descriptors have run out.
    accept_after: Option<Instant>,
    /// Connections above a limit, in the order in which they came.
    surplus: VecDeque<Surplus>,
    /// That they have run out is in the log.
    accept_failed: bool,
    /// Connections that may have more to read.
    reading: Vec<usize>,
    /// Connections that are over; taken out at the end of the turn, so that no event of the turn meets a successor.
    over: Vec<(usize, CloseCause)>,
    handshakes: Handshakes,
    buffer: Box<[u8]>,
    scratch: Scratch,
    letters: Vec<Mail>,
    /// How far the store had come at the beginning of the turn.
    durable: Sequence,
    window: Window,
    /// Connections that were read from in this window.
    active: Vec<usize>,
    /// Each packet is logged.
    notes_packets: bool,
    stopping: bool,
}

impl Reactor {
    pub(crate) fn new(
        number: usize,
        common: Arc<Common>,
        poll: Poll,
        worker: Worker,
        sockets: Vec<(ListeningSocket, Arc<OpenListener>)>,
    ) -> Reactor {
        let mailbox = Arc::clone(&common.mailboxes[number]);
        let waker = Arc::clone(&mailbox);
        worker.set_wake(Box::new(move || waker.wake()));
        let mut reactor = Reactor {
            number,
            mailbox,
            common,
            poll,
            worker,
            connections: Slab::new(),
            sockets: HashMap::new(),
            accepting: Vec::new(),
            accept_after: None,
            surplus: VecDeque::new(),
            accept_failed: false,
            reading: Vec::new(),
            over: Vec::new(),
            handshakes: Handshakes::default(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            scratch: Scratch::default(),
            letters: Vec::new(),
            durable: Sequence::default(),
            window: Window::default(),
            active: Vec::new(),
            notes_packets: false,
            stopping: false,
        };
        reactor.listen_on(sockets);
        reactor
    }

    /// Accepts from these too. They are registered already, so that an edge may have passed.
    fn listen_on(&mut self, sockets: Vec<(ListeningSocket, Arc<OpenListener>)>) {
        for (socket, open) in sockets {
            self.accepting.push(open.id);
            self.sockets.insert(open.id, (socket, open));
        }
    }

    /// Runs until the server stops, or it cannot go on.
    pub(crate) fn run(mut self) -> Ended {
        let mut events = Events::with_capacity(1024);
        let (mut wait, mut ended) = (None, Ended::Stopped);
        loop {
            let timeout = if self.has_work()
                || !self.mailbox.fall_asleep()
                || self.worker.has_letters()
                || self.store_has_news()
            {
                Some(Duration::ZERO)
            } else {
                wait
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for connections failed, the reactor stops");
                self.stopping = true;
                ended = Ended::Failed;
            }
            self.mailbox.awake();
            self.worker.note_subscriptions(event_log::wants_subscriptions());
            self.notes_packets = event_log::wants_packets();
            self.worker.note_packets(self.notes_packets);
            let time = now(self.common.started);
            self.worker.turn_begin(time);
            if !self.look_at_store() {
                self.fail();
                return Ended::Failed;
            }
            for event in &events {
                self.event(event);
            }
            self.read_mail();
            self.read_verdicts();
            if self.stopping {
                self.stop();
                return ended;
            }
            self.accept();
            self.read_connections();
            wait = self.finish_turn();
            self.spread(time.monotonic);
        }
    }

    /// Whether the store has come further since this turn began. Looked at when whoever tells is heard.
    fn store_has_news(&self) -> bool {
        let store = self.common.store.as_ref();
        store.is_some_and(|store| store.durable() > self.durable || store.failure().is_some())
    }

    /// Lets go what waited for the store. `false`: it has failed.
    fn look_at_store(&mut self) -> bool {
        let Some(store) = &self.common.store else {
            return true;
        };
        if let Some(failure) = store.failure() {
            tracing::error!(
                "the store has failed, nothing is acknowledged any more: {failure}; the reactor stops"
            );
            return false;
        }
        self.durable = store.durable();
        if let Err(error) = self.worker.durable(self.durable) {
            tracing::error!("{error}; nothing is acknowledged any more, the reactor stops");
            return false;
        }
        true
    }

    /// Ends the turn; what is to be stored goes to the store. Says how long to wait for the next turn.
    fn end_turn(&mut self) -> Option<Duration> {
        let end = self.worker.turn_end();
        if let Some(store) = &self.common.store
            && !end.persist.is_empty()
        {
            store.submit(end.persist);
        }
        end.wait
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
            self.accepting
                .extend(u16::try_from(token - LISTENERS).map(ListenerId));
            return;
        }
        let Some(connection) = self.connections.get_mut(token) else {
            return;
        };
        if event.is_writable() {
            let outbox = Arc::clone(connection.link.outbox());
            self.flush_pending(token);
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
                    socket,
                    peer,
                    listener,
                    turned_away,
                } => self.add(socket, peer, &listener, turned_away),
                Mail::Moved(moving) => self.take_over(*moving),
                Mail::Answer(verdict) => self.answer(verdict),
                Mail::Publish(messages) => self.publish(messages),
                Mail::Pause(pause, listening) => self.pause(&pause, listening),
                Mail::Flush(outbox) => self.flush(&outbox),
                Mail::Echo(sender) => {
                    // Nobody may wait for it any more.
                    let _ = sender.send(());
                }
                Mail::Stop => self.stopping = true,
            }
        }
        self.letters = letters;
    }

    /// Publishes messages of our own.
    fn publish(&mut self, messages: Vec<OwnMessage>) {
        for message in messages {
            let name = &message.topic_name;
            if let Err(error) = self
                .worker
                .publish(name, &message.payload, message.qos, message.retain)
            {
                tracing::error!("cannot publish to '{}': {error}", event_log::printable(name));
            }
        }
    }

    /// Stands still, and goes on under the settings, rules and listeners of a reload.
    fn pause(&mut self, pause: &Pause, listening: Option<Listening>) {
        pause.wait();
        // Takes the rules.
        self.worker.turn_begin(now(self.common.started));
        if let Some(listening) = listening {
            for id in listening.removed {
                self.sockets.remove(&id);
            }
            self.listen_on(listening.added);
        }
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.look_again(key);
        }
    }

    /// One read of each Connection that may have something. Of TLS handshakes only a few, so that a storm of them
    /// leaves time for everybody else; the others wait for the next turn, in the order in which they came.
    fn read_connections(&mut self) {
        let list = core::mem::take(&mut self.reading);
        let mut handshakes = 0;
        for key in list {
            if self.is_handshaking(key) {
                handshakes += 1;
                if handshakes > HANDSHAKES_A_TURN {
                    self.reading.push(key);
                    continue;
                }
            }
            let again = self.read(key);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.reading = again;
                if again {
                    self.reading.push(key);
                }
            }
            // Of every packet, and all of one read are enough at once.
            if self.notes_packets {
                self.log_events();
            }
        }
    }

    fn is_handshaking(&self, key: usize) -> bool {
        let layers = self
            .connections
            .get(key)
            .and_then(|connection| connection.layers.as_ref());
        layers.is_some_and(|layers| layers.is_handshaking())
    }

    /// Reads once. Says whether there may be more.
    fn read(&mut self, key: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        match connection.link.state() {
            LinkState::Open if connection.ended => {
                self.over.push((key, CloseCause::ConnectionClosed));
                return false;
            }
            LinkState::Open => {}
            // One that gives up waiting for its login must not be in the way of those that come after it: its end is
            // looked for. A packet that comes before the end is kept by the Link, and no more is read then.
            LinkState::Paused if connection.read_closed && connection.link.only_awaits_login() => {}
            // The verdict puts it back into the list.
            LinkState::Paused => return false,
            _ => {
                if connection.read_closed || connection.ended {
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
        self.note_read(key, count);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let open = match &connection.layers {
            None => {
                let bytes = self.buffer.get(..count).unwrap_or_default();
                let progress = self.worker.input(&mut connection.link, bytes);
                if progress.state == LinkState::Closing && looks_like_tls(bytes) {
                    tracing::info!(target: event_log::NOTICE, "A TLS client tries to use a listener without TLS.");
                }
                true
            }
            Some(layers) if layers.awaits_proxy_header() => self.read_proxy_header(key, count),
            Some(_) => self.read_layers(key, 0, count),
        };
        more && open
    }

    /// Ends a Connection that a layer does not want, after the layer's last words.
    fn refuse(&mut self, key: usize) {
        self.end(key, CloseCause::TransportRefused);
    }

    fn end(&mut self, key: usize, cause: CloseCause) {
        if let Some(connection) = self.connections.get(key) {
            connection.discard_input(&mut self.buffer);
            self.over.push((key, cause));
        }
    }

    /// Answers of the embedder that came later.
    fn read_verdicts(&mut self) {
        while let Some(verdict) = self.worker.next_verdict() {
            self.answer(verdict);
        }
    }

    fn answer(&mut self, verdict: Verdict) {
        let Some(key) = self.find(&verdict.outbox) else {
            let outbox = Arc::clone(&verdict.outbox);
            self.forward(&outbox, Mail::Answer(verdict));
            return;
        };
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        self.worker.verdict(&mut connection.link, verdict);
        if !connection.reading {
            connection.reading = true;
            self.reading.push(key);
        }
    }

    /// The Connection of an Outbox, if it is still there and ours.
    fn find(&self, outbox: &Arc<Outbox>) -> Option<usize> {
        let address = Address::of(outbox).filter(|address| address.reactor() == self.number)?;
        let connection = self.connections.get(address.key())?;
        Arc::ptr_eq(connection.link.outbox(), outbox).then_some(address.key())
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
        self.log_events();
        while let Some(request) = self.worker.next_password_check() {
            self.submit(request);
        }
        let wait = self.end_turn();
        let due = [self.accept_after, self.surplus_until()]
            .into_iter()
            .flatten()
            .min();
        match due {
            Some(due) => {
                let pause = due.saturating_duration_since(Instant::now());
                Some(wait.map_or(pause, |wait| wait.min(pause)))
            }
            None => wait,
        }
    }

    fn submit(&mut self, request: PasswordRequest) {
        if let Err(request) = self.common.passwords.submit(request) {
            tracing::warn!("too many logins wait for their password check; one is refused");
            self.answer(request.refuse());
        }
    }

    fn remove_connections(&mut self) {
        for (key, cause) in core::mem::take(&mut self.over) {
            let Some(mut connection) = self.connections.try_remove(key) else {
                continue;
            };
            self.worker.close(&mut connection.link, cause);
            self.handshakes.forget(key);
            self.common.loads[self.number].fetch_sub(1, Ordering::Relaxed);
            connection.listener.connections.fetch_sub(1, Ordering::Relaxed);
            // An Outbox may outlive its Connection in a Session's or another thread's hands, and the socket with it.
            connection.socket.shutdown();
        }
    }

    /// Ends all Connections in an orderly way. Will Messages that were still to wait are published before anybody is
    /// closed; whichever reactor is stopped first finds them.
    fn stop(&mut self) {
        // Nobody can hand a Connection over any more.
        for mail in self.mailbox.close() {
            if let Mail::Moved(moving) = mail {
                self.take_over(*moving);
            }
        }
        self.worker.publish_delayed_wills();
        self.write_all();
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        self.over
            .extend(keys.into_iter().map(|key| (key, CloseCause::ServerShuttingDown)));
        self.remove_connections();
        // What disconnect hooks publish, and what members of Shared Subscriptions leave to others.
        self.worker.work();
        self.write_all();
        self.log_events();
        self.end_turn();
    }

    /// Ends all Connections at once: nothing that could be said to them would be true after a restart.
    fn fail(&mut self) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        self.over
            .extend(keys.into_iter().map(|key| (key, CloseCause::ServerShuttingDown)));
        self.remove_connections();
        self.log_events();
    }

    fn log_events(&mut self) {
        while let Some(event) = self.worker.next_event() {
            event_log::log(&event);
            if let Event::Connected {
                outbox, client_id, ..
            } = &event
                && let Some(connection) = self.find(outbox).and_then(|key| self.connections.get(key))
                && let Some(tls) = connection.layers.as_ref().and_then(|layers| layers.tls())
            {
                event_log::negotiated(client_id, tls.version(), tls.cipher());
            }
        }
    }
}

/// What is still there is so by a panic. Sessions hold Outboxes, which hold sockets: dropping Connections closes nothing.
impl Drop for Reactor {
    fn drop(&mut self) {
        for (_, connection) in &self.connections {
            connection.socket.shutdown();
        }
    }
}

/// Where the client is, for the log.
fn peer_of(connection: &Connection) -> String {
    Address::of(connection.link.outbox()).map_or_else(String::new, |address| {
        event_log::printable(&address.peer().to_string())
    })
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

/// Bytes of one read. Long enough for batches; one buffer a thread, not one a Connection.
const READ_BUFFER: usize = 64 << 10;
/// Steps of TLS handshakes in a turn: one with an RSA-2048 signature takes about 0.5 ms.
const HANDSHAKES_A_TURN: usize = 2;
/// Tokens: keys of Connections, then the waker, then the listeners.
pub(crate) const WAKER: usize = usize::MAX >> 1;
const LISTENERS: usize = WAKER + 1;

pub(crate) fn listener_token(id: ListenerId) -> Token {
    Token(LISTENERS + usize::from(id.0))
}
