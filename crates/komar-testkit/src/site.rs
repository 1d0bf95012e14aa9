//! A broker, its workers, their driver and the other ends of its Connections, in memory and under one clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::store::{Contents, RestoreError, Store};
use komar_broker_core::{
    Access, Broker, BrokerConfig, CloseCause, Event, Hooks, Link, LinkState, ListenerPolicy, Next,
    NotedClient, Now, Outbox, OverRate, PasswordRequest, Rate, ReasonCode, Sent, Take, Worker,
};
use komar_codec::{DecodeOptions, Framing, ProtocolVersion, QoS, Role, frame};

use crate::random::Random;
use crate::words::Said;

/// Names one Connection of a [`Site`]; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(usize);

/// In what pieces the broker gets what a peer has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All that is there at once, up to 64 KiB.
    Whole,
    /// Each byte alone.
    ByteByByte,
}

/// Something that happened, in words, such as `disconnected a: exceeded timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(pub String);

/// A broker with its surroundings. Deterministic: the same calls give the same bytes.
pub struct Site {
    broker: Broker,
    workers: Vec<Worker>,
    peers: Vec<Peer>,
    now: Duration,
    reading: Reading,
    /// Password checks that were asked for and not run.
    checks: VecDeque<PasswordRequest>,
    hold_checks: bool,
    notices: Vec<Notice>,
    /// Which worker and which Connection come first, if that changes from turn to turn.
    order: Option<Random>,
    /// Until when the workers want to wait, by the ends of their last turns.
    deadlines: Vec<Option<Duration>>,
    store: Option<Box<dyn Store>>,
}

/// One Connection: the broker's Link and the bytes in both directions.
struct Peer {
    link: Link,
    worker: usize,
    certificate: Option<Vec<u8>>,
    /// Sent by the peer, not read by the broker.
    inbound: VecDeque<u8>,
    /// Written by the broker, not looked at by the test.
    received: VecDeque<u8>,
    /// How many more bytes the socket takes; `None`: all.
    room: Option<usize>,
    /// The peer has gone without a word; the broker has not noticed yet.
    hung_up: bool,
    /// The broker has to close the Connection at the end of this turn.
    over: bool,
    /// The Connection is closed.
    closed: bool,
}

impl Site {
    /// A broker with `workers` workers; the clock stands at 1000 s.
    pub fn new(config: BrokerConfig, access: Access, workers: usize) -> Site {
        Site::with_broker(Broker::new(config, access, 7), workers)
    }

    /// A broker that was made elsewhere, with hooks for example.
    pub fn with_broker(broker: Broker, workers: usize) -> Site {
        let now = Duration::from_secs(1000);
        let workers: Vec<Worker> = (0..workers.max(1))
            .map(|number| Worker::new(&broker, at(now), entropy(number)))
            .collect();
        Site {
            broker,
            deadlines: vec![None; workers.len()],
            workers,
            peers: Vec::new(),
            now,
            reading: Reading::Whole,
            checks: VecDeque::new(),
            hold_checks: false,
            notices: Vec::new(),
            store: None,
            order: None,
        }
    }

    /// The broker is gone, as after a loss of power, and another one made of what its store had kept takes its place, with
    /// as many workers. All Connections are broken; the clock stands where it stood.
    ///
    /// # Errors
    ///
    /// What was kept does not fit together.
    pub fn restart(
        &mut self,
        config: BrokerConfig,
        access: Access,
        hooks: Hooks,
        contents: Contents,
    ) -> Result<(), RestoreError> {
        let now = at(self.now);
        self.broker = Broker::restore(config, access, hooks, 7, now, contents)?;
        let count = self.workers.len();
        self.workers = (0..count)
            .map(|number| Worker::new(&self.broker, now, entropy(number)))
            .collect();
        self.deadlines = vec![None; count];
        self.checks.clear();
        for peer in &mut self.peers {
            peer.closed = true;
            peer.inbound.clear();
        }
        Ok(())
    }

    /// Whether each packet is a notice, too.
    pub fn note_packets(&mut self, wanted: bool) {
        for worker in &mut self.workers {
            worker.note_packets(wanted);
        }
    }

    /// Where persist batches go from now on; without one they are forgotten.
    pub fn set_store(&mut self, store: Box<dyn Store>) {
        self.store = Some(store);
    }

    /// Why the store makes nothing durable any more.
    pub fn store_failure(&self) -> Option<String> {
        self.store.as_ref().and_then(|store| store.failure())
    }

    /// The broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// From now on the broker gets bytes in such pieces.
    pub fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// From now on another worker and another Connection come first in each turn, as a seed decides.
    pub fn set_order(&mut self, seed: u64) {
        self.order = Some(Random::new(seed));
    }

    /// Gives a Connection to another worker, between two turns.
    pub fn change_worker(&mut self, peer: PeerId, worker: usize) {
        self.peers[peer.0].worker = worker % self.workers.len();
    }

    /// Opens a Connection that one worker owns.
    pub fn open(&mut self, worker: usize, policy: &Arc<ListenerPolicy>) -> PeerId {
        let id = PeerId(self.peers.len());
        let worker = worker % self.workers.len();
        // A Connection is accepted within a turn, so that its timers start at the right time.
        self.workers[worker].turn_begin(at(self.now));
        let link = self.workers[worker].open(Box::new(id), policy);
        self.peers.push(Peer {
            link,
            worker,
            certificate: None,
            inbound: VecDeque::new(),
            received: VecDeque::new(),
            room: None,
            hung_up: false,
            over: false,
            closed: false,
        });
        id
    }

    /// Gives the Connection a client certificate, as a transport does that has verified it.
    pub fn present_certificate(&mut self, peer: PeerId, der: &[u8]) {
        self.peers[peer.0].link.present_certificate(der);
        self.peers[peer.0].certificate = Some(der.to_vec());
    }

    /// Bounds how many messages the peer may publish.
    pub fn limit_messages(&mut self, peer: PeerId, rates: Vec<Arc<Rate>>, over: OverRate) {
        self.peers[peer.0].link.limit_messages(rates, over);
    }

    /// Has its CONNECT refused.
    pub fn turn_away(&mut self, peer: PeerId, reason_code: ReasonCode) {
        self.peers[peer.0].link.turn_away(reason_code);
    }

    /// Looks at a Connection again after a reload, as a driver does for each of its Links.
    pub fn recheck(&mut self, peer: PeerId, policy: &Arc<ListenerPolicy>) {
        let Peer {
            link,
            worker,
            closed,
            certificate,
            ..
        } = &mut self.peers[peer.0];
        if !*closed {
            let worker = &mut self.workers[*worker];
            worker.turn_begin(at(self.now));
            worker.recheck(link, policy, certificate.as_deref());
        }
    }

    /// Puts bytes into the peer's socket. The broker reads them in the next turn.
    pub fn send(&mut self, peer: PeerId, bytes: &[u8]) {
        self.peers[peer.0].inbound.extend(bytes);
    }

    /// The peer goes away without a word. What it had sent before is read first.
    pub fn hang_up(&mut self, peer: PeerId) {
        self.peers[peer.0].hung_up = true;
    }

    /// How many more bytes the socket to the peer takes before it is full; `None`: any number.
    pub fn set_room(&mut self, peer: PeerId, room: Option<usize>) {
        let Peer { link, worker, .. } = &self.peers[peer.0];
        let (outbox, worker) = (Arc::clone(link.outbox()), *worker);
        self.peers[peer.0].room = room;
        if room != Some(0) {
            self.workers[worker].turn_begin(at(self.now));
            self.workers[worker].writable(&outbox);
        }
    }

    /// Whether the Connection is closed.
    pub fn is_closed(&self, peer: PeerId) -> bool {
        self.peers[peer.0].closed
    }

    /// Why the broker closed it, or is about to.
    pub fn close_cause(&self, peer: PeerId) -> Option<CloseCause> {
        self.peers[peer.0].link.outbox().close_cause()
    }

    /// Where the Link stands.
    pub fn link_state(&self, peer: PeerId) -> LinkState {
        self.peers[peer.0].link.state()
    }

    /// Whether password checks are run at the end of the turn or wait for [`run_checks`](Self::run_checks).
    pub fn hold_checks(&mut self, hold: bool) {
        self.hold_checks = hold;
    }

    /// Runs the password checks that were held back. Returns how many.
    pub fn run_checks(&mut self) -> usize {
        let count = self.checks.len();
        while let Some(request) = self.checks.pop_front() {
            let PeerId(place) = peer_of(&request.outbox);
            let verdict = request.run();
            let Peer {
                link, worker, closed, ..
            } = &mut self.peers[place];
            // A driver does not know a Connection any more that it has closed.
            if !*closed {
                let worker = &mut self.workers[*worker];
                worker.turn_begin(at(self.now));
                worker.verdict(link, verdict);
            }
        }
        count
    }

    /// Publishes a message of the embedder's own on the first worker. Returns how many Subscriptions match.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid.
    pub fn publish(
        &mut self,
        topic_name: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<usize, komar_topic::TopicError> {
        self.workers[0].turn_begin(at(self.now));
        self.workers[0].publish(topic_name, payload, qos, retain)
    }

    /// Lets the broker stop: delayed Will Messages are published, then all Connections are closed.
    pub fn stop(&mut self) {
        self.workers[0].turn_begin(at(self.now));
        self.workers[0].publish_delayed_wills();
        self.settle();
        for peer in self.peers.iter_mut().filter(|peer| !peer.closed) {
            self.workers[peer.worker].close(&mut peer.link, CloseCause::ServerShuttingDown);
            peer.closed = true;
        }
        self.settle();
    }

    /// Runs turns until there is nothing left to do at this moment.
    ///
    /// # Panics
    ///
    /// The broker finds work for ever.
    pub fn settle(&mut self) {
        for _ in 0..TURNS {
            let mut busy = false;
            let count = self.workers.len();
            let first = self.order.as_mut().map_or(0, |order| order.below(count));
            for worker in 0..count {
                busy |= self.turn((first + worker) % count);
            }
            if !self.hold_checks {
                busy |= self.run_checks() > 0;
            }
            if !busy {
                return;
            }
        }
        panic!("the broker does not come to rest within {TURNS} turns");
    }

    /// Lets time pass, with a turn whenever a worker asked for one.
    ///
    /// # Panics
    ///
    /// The broker finds work for ever.
    pub fn advance(&mut self, duration: Duration) {
        self.settle();
        let end = self.now + duration;
        while self.now < end {
            let next = self.deadlines.iter().flatten().copied().min();
            self.now = next.map_or(end, |next| next.clamp(self.now + TICK, end));
            self.settle();
        }
    }

    /// Bytes that the peer has sent and the broker has not read.
    pub fn pending(&self, peer: PeerId) -> usize {
        self.peers[peer.0].inbound.len()
    }

    /// What the peer has received and nobody has taken.
    pub fn unread(&self, peer: PeerId) -> usize {
        self.peers[peer.0].received.len()
    }

    /// Takes all bytes that the peer has received.
    pub fn take_bytes(&mut self, peer: PeerId) -> Vec<u8> {
        self.peers[peer.0].received.drain(..).collect()
    }

    /// Puts bytes back that were taken: they are the next that the peer has received.
    pub fn put_back(&mut self, peer: PeerId, bytes: &[u8]) {
        let received = &mut self.peers[peer.0].received;
        bytes.iter().rev().for_each(|byte| received.push_front(*byte));
    }

    /// Takes the next packet that the peer has received. `None`: there is no whole one.
    ///
    /// # Errors
    ///
    /// The bytes are no packet that a server may send; they stay.
    pub fn next_packet(&mut self, peer: PeerId, version: ProtocolVersion) -> Result<Option<Said>, String> {
        let received = &mut self.peers[peer.0].received;
        let bytes = received.make_contiguous();
        let options = DecodeOptions::new(version, Role::Client);
        match frame(bytes, &options).map_err(|error| format!("{error} in {}", hex(bytes)))? {
            Framing::Incomplete { .. } => Ok(None),
            Framing::Complete(whole) => {
                let said = Said::of(whole, &options).map_err(|error| format!("{error} in {}", hex(bytes)))?;
                let length = whole.len();
                received.drain(..length);
                Ok(Some(said))
            }
        }
    }

    /// Takes what has happened since the last call, oldest first.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        core::mem::take(&mut self.notices)
    }

    /// One turn of one worker. Says whether there was anything to do or is more.
    fn turn(&mut self, number: usize) -> bool {
        self.workers[number].turn_begin(at(self.now));
        if let Some(store) = &self.store {
            let taken = self.workers[number].durable(store.durable());
            taken.expect("the broker was made of what is in the store");
        }
        let mut busy = self.hand_out_verdicts(number);
        busy |= self.read(number);
        self.workers[number].work();
        busy |= self.write(number);
        while self.close_over(number) {
            busy = true;
            self.workers[number].work();
            self.write(number);
        }
        while let Some(event) = self.workers[number].next_event() {
            self.notices.push(notice(&event));
        }
        while let Some(request) = self.workers[number].next_password_check() {
            busy = true;
            self.checks.push_back(request);
        }
        let end = self.workers[number].turn_end();
        let wait = end.wait;
        if let Some(store) = &self.store
            && !end.persist.is_empty()
        {
            busy = true;
            store.submit(end.persist);
        }
        self.deadlines[number] = wait.map(|wait| self.now + wait);
        busy || wait == Some(Duration::ZERO)
    }

    /// Answers of the embedder that came later, to the Links that are still there.
    fn hand_out_verdicts(&mut self, number: usize) -> bool {
        let mut busy = false;
        while let Some(verdict) = self.workers[number].next_verdict() {
            busy = true;
            let PeerId(place) = peer_of(&verdict.outbox);
            let Peer { link, closed, .. } = &mut self.peers[place];
            if !*closed {
                self.workers[number].verdict(link, verdict);
            }
        }
        busy
    }

    fn read(&mut self, number: usize) -> bool {
        let mut busy = false;
        let worker = &mut self.workers[number];
        let middle = self
            .order
            .as_mut()
            .map_or(0, |order| order.below(self.peers.len()));
        let (later, first) = self.peers.split_at_mut(middle);
        for peer in first
            .iter_mut()
            .chain(later)
            .filter(|peer| peer.worker == number && !peer.closed)
        {
            let mut piece = match self.reading {
                Reading::Whole => READ_BUFFER,
                Reading::ByteByByte => 1,
            };
            while !peer.inbound.is_empty() && peer.link.state() == LinkState::Open {
                busy = true;
                piece = piece.min(peer.inbound.len());
                let bytes: Vec<u8> = peer.inbound.drain(..piece).collect();
                worker.input(&mut peer.link, &bytes);
                // A driver reads once a turn; a peer's single bytes count as one read.
                if self.reading == Reading::Whole {
                    break;
                }
            }
            let has_read_all = peer.inbound.is_empty() || peer.link.state() != LinkState::Open;
            if peer.hung_up && has_read_all {
                peer.over = true;
            }
        }
        busy
    }

    fn write(&mut self, number: usize) -> bool {
        let mut busy = false;
        while let Some(outbox) = self.workers[number].next_dirty() {
            busy = true;
            self.flush(number, &outbox);
        }
        busy
    }

    fn flush(&mut self, number: usize, outbox: &Arc<Outbox>) {
        let PeerId(place) = peer_of(outbox);
        let worker = &mut self.workers[number];
        loop {
            let next = match worker.take_output(outbox) {
                Take::Output(mut output) => {
                    let peer = &mut self.peers[place];
                    let mut sent = Sent::All;
                    while !output.is_empty() {
                        let count = output.chunk().len().min(peer.room.unwrap_or(usize::MAX));
                        if count == 0 {
                            sent = Sent::Blocked;
                            break;
                        }
                        peer.received.extend(output.chunk().iter().take(count));
                        output.advance(count);
                        peer.room = peer.room.map(|room| room - count);
                    }
                    worker.output_done(outbox, output, if peer.closed { Sent::Failed } else { sent })
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => {
                    self.peers[place].over = true;
                    return;
                }
                _ => return,
            }
        }
    }

    /// Closes what is over and belongs to the worker. Says whether there was any.
    fn close_over(&mut self, number: usize) -> bool {
        let mut any = false;
        for peer in self
            .peers
            .iter_mut()
            .filter(|peer| peer.worker == number && peer.over && !peer.closed)
        {
            self.workers[number].close(&mut peer.link, CloseCause::ConnectionClosed);
            peer.closed = true;
            any = true;
        }
        any
    }
}

fn at(now: Duration) -> Now {
    // The wall clock stands two days and a half away, so that nobody mistakes one for the other.
    Now {
        monotonic: now,
        unix: now + Duration::from_secs(216_000),
    }
}

fn peer_of(outbox: &Outbox) -> PeerId {
    *outbox
        .handle()
        .downcast_ref::<PeerId>()
        .expect("every Connection is opened with its PeerId")
}

/// The same names for clients in every run.
fn entropy(seed: usize) -> komar_broker_core::Entropy {
    let mut random = Random::new(seed as u64);
    Box::new(move |bytes| {
        for chunk in bytes.chunks_mut(8) {
            let number = random.number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    })
}

fn notice(event: &Event) -> Notice {
    Notice(match event {
        Event::Connected {
            client_id, username, ..
        } => match username {
            Some(username) => format!("connected {client_id} as {username}"),
            None => format!("connected {client_id}"),
        },
        Event::Refused {
            client_id, detail, ..
        } => format!("refused {client_id}: {detail}"),
        Event::Disconnected { client_id, cause, .. } => format!("disconnected {client_id}: {cause}"),
        Event::Abandoned { cause, .. } => format!("abandoned: {cause}"),
        Event::QueueFull { client_id } => format!("queue full {client_id}"),
        Event::RetainedFull { topic_name } => format!("retained full {topic_name}"),
        Event::ReceiveMaximumExceeded { client_id } => format!("receive maximum exceeded {client_id}"),
        Event::RateExceeded { client_id, .. } => format!("rate exceeded {client_id}"),
        Event::PublishDenied { client_id, publish } => format!("denied {client_id} {}", publish.topic_name),
        Event::PublishTooLarge { client_id, publish } => {
            format!("too large {client_id} {}", publish.topic_name)
        }
        Event::PacketReceived { client, packet } => format!("received from {}: {packet:?}", named(client)),
        Event::PacketSent { client, packet } => format!("sent to {}: {packet:?}", named(client)),
        Event::PacketsNotNoted { packets } => format!("not noted: {packets}"),
        _ => "something new".to_owned(),
    })
}

fn named(client: &NotedClient) -> &str {
    match client {
        NotedClient::Named(client_id) => client_id,
        _ => "nobody",
    }
}

/// Bytes as a test table has them; long ones are cut.
fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ") + if bytes.len() > 64 { " ..." } else { "" }
}

/// Turns after which a broker that still finds work is taken for one that always does.
const TURNS: usize = 100_000;
/// The clock goes on by this much at least, whatever a worker asks for.
const TICK: Duration = Duration::from_millis(1);
const READ_BUFFER: usize = 64 << 10;
