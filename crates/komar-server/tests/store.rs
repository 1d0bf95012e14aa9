//! A server with a store: what was acknowledged is there after a restart, whenever the power goes; what has come while the
//! store was busy is committed together; a store that fails stops the server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use komar_broker_core::store::{Commit, Contents, PersistBatch, Sequence, Store};
use komar_broker_core::{Hooks, QoS};
use komar_codec::{DecodeOptions, Framing, ProtocolVersion, Role, frame};
use komar_server::{CommitThread, Listener, ListenerPolicy, Placement, Server, ServerBuilder};
use komar_testkit::FileStore;
use komar_testkit::words::{self, Said};

#[test]
fn what_was_acknowledged_survives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    let server = open(&file, 2);
    let mut s = Peer::join(
        &server,
        "connect v5 id=s expiry=1000 will=w will_payload=\"gone\" will_qos=1",
    );
    s.says("subscribe id=1 t qos=2 w qos=1");
    s.hears("suback id=1 granted_qos2 granted_qos1");
    s.says("disconnect");
    s.ends();
    let mut p = Peer::join(&server, "connect v5 id=p clean");
    p.says(r#"publish t "1" qos=1 id=1 + publish t "2" qos=2 id=2 + publish r "kept" qos=1 id=3 retain"#);
    p.hears("puback id=1");
    p.hears("pubrec id=2");
    p.hears("puback id=3 no_matching_subscribers");
    p.says("pubrel id=2");
    p.hears("pubcomp id=2");
    server.stop();

    let server = open(&file, 1);
    let figures = server.broker().statistics();
    assert_eq!((figures.sessions, figures.retained_messages), (1, 1));
    let mut s = Peer::connect(&server, "connect v5 id=s expiry=1000");
    s.hears("connack success session_present=1 ...");
    s.hears(r#"publish t "1" qos=1 id=1"#);
    s.hears(r#"publish t "2" qos=2 id=2"#);
    s.says("puback id=1 + pubrec id=2");
    s.hears("pubrel id=2");
    s.says("pubcomp id=2 + subscribe id=2 r");
    s.hears("suback id=2 granted_qos0");
    s.hears(r#"publish r "kept" retain"#);
    server.stop();

    let server = open(&file, 2);
    assert_eq!(server.broker().waiting_messages("s"), Some(0));
    assert_eq!(server.broker().subscriptions("s").unwrap().len(), 3);
    server.stop();
}

#[test]
fn what_the_end_of_connections_leaves_at_a_stop_is_stored() {
    for reactors in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        let hooks = Hooks::default().on_disconnect(|gone, actions| {
            let name = format!("status/{}", gone.identity().client_id);
            actions
                .publish(&name, b"offline", QoS::AtLeastOnce, true)
                .unwrap();
        });
        let (store, contents) = FileStore::open(&file).unwrap();
        let server = builder(store, contents, reactors).hooks(hooks).start().unwrap();
        let mut away = Peer::join(&server, "connect v5 id=away expiry=1000");
        away.says("subscribe id=1 $share/g/t qos=1");
        away.hears("suback id=1 granted_qos1");
        away.says("disconnect");
        away.ends();
        let mut member = Peer::join(&server, "connect v5 id=member clean");
        member.says("subscribe id=1 $share/g/t qos=1");
        member.hears("suback id=1 granted_qos1");
        member.says(r#"publish t "1" qos=1 id=1"#);
        // Which is not acknowledged, so somebody else is to have it.
        member.hears_one_of(&["puback id=1", r#"publish t "1" qos=1 id=1"#]);
        member.hears_one_of(&["puback id=1", r#"publish t "1" qos=1 id=1"#]);
        server.stop();

        let server = open(&file, 1);
        assert_eq!(server.broker().waiting_messages("away"), Some(1));
        // Of the one that has left itself, and of the one that was there at the end.
        assert_eq!(server.broker().statistics().retained_messages, 2);
        server.stop();
    }
}

/// The file as it is at that moment, cut off anywhere behind what was acknowledged.
#[test]
fn what_was_acknowledged_survives_the_loss_of_power() {
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let server = open(&file, 2);
    let mut s = Peer::join(&server, "connect v5 id=s expiry=1000");
    s.says("subscribe id=1 t qos=1");
    s.hears("suback id=1 granted_qos1");
    s.says("disconnect");
    s.ends();
    let mut p = Peer::join(&server, "connect v5 id=p clean");
    let (mut image, mut acknowledged) = (std::fs::read(&file).unwrap(), 0);
    for number in 1..=20usize {
        p.says(&format!("publish t \"{number}\" qos=1 id={number}"));
        p.hears(&format!("puback id={number}"));
        let now = std::fs::read(&file).unwrap();
        // A batch of which a part was written is none.
        for cut in [
            image.len(),
            image.len() + 1,
            (image.len() + now.len()) / 2,
            now.len() - 1,
        ] {
            std::fs::write(&copy, &now[..cut]).unwrap();
            assert_eq!(
                waiting(&copy),
                acknowledged,
                "{number}: {cut} of {} bytes",
                now.len()
            );
        }
        let mut torn = now.clone();
        *torn.last_mut().unwrap() ^= 1;
        std::fs::write(&copy, &torn).unwrap();
        assert_eq!(
            waiting(&copy),
            acknowledged,
            "{number}: the last byte is another one"
        );
        (image, acknowledged) = (now, number);
    }
    std::fs::write(&copy, &image).unwrap();
    server.stop();
    let server = open(&copy, 1);
    let mut s = Peer::connect(&server, "connect v5 id=s expiry=1000");
    s.hears("connack success session_present=1 ...");
    for number in 1..=20 {
        s.hears(&format!("publish t \"{number}\" qos=1 id={number}"));
    }
    server.stop();
}

#[test]
fn what_comes_while_the_store_is_busy_is_committed_together() {
    let (gate, batches) = (channel(), channel());
    let store = Gated {
        gate: gate.1,
        batches: batches.0,
    };
    let server = start(store, Contents::default(), 2);
    let mut p = Peer::connect(&server, "connect v5 id=p expiry=100");
    assert_eq!(batches.1.recv().unwrap(), 1, "CONNACK waits for the Session");
    gate.0.send(Ok(())).unwrap();
    p.hears("connack success ...");
    // The first message is under way to the disk while the others come; each is read before the next is sent.
    for number in 1..=50 {
        p.says(&format!("publish t/{number} \"x\" qos=1 id={number} retain"));
        while server.broker().statistics().retained_messages < number {
            std::thread::yield_now();
        }
    }
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 50 {
        sizes.push(batches.1.recv().unwrap());
        gate.0.send(Ok(())).unwrap();
    }
    // The last turn may hand out what it has noted a moment after it is seen.
    assert!(sizes.len() <= 3, "{sizes:?}");
    for number in 1..=50 {
        p.hears(&format!("puback id={number} no_matching_subscribers"));
    }
    drop(gate.0);
    server.stop();
}

#[test]
fn a_store_that_fails_stops_the_server_and_acknowledges_nothing_more() {
    let (gate, batches) = (channel(), channel());
    let store = Gated {
        gate: gate.1,
        batches: batches.0,
    };
    let failures = channel();
    let server = builder(store, Contents::default(), 2)
        .on_failure(move || failures.0.send(()).unwrap())
        .start()
        .unwrap();
    let mut p = Peer::connect(&server, "connect v5 id=p expiry=100");
    gate.0.send(Ok(())).unwrap();
    p.hears("connack success ...");
    let mut other = Peer::join(&server, "connect v5 id=o clean");
    p.says("publish t \"x\" qos=1 id=1 retain");
    gate.0
        .send(Err(io::Error::other("no space left on device")))
        .unwrap();
    p.ends();
    other.ends();
    assert_eq!(server.store_failure().as_deref(), Some("no space left on device"));
    // Both reactors say so, before anybody stops the server.
    for _ in 0..2 {
        failures.1.recv_timeout(PATIENCE).unwrap();
    }
    server.stop();
}

#[test]
fn a_store_that_panics_has_failed() {
    struct Panics;
    impl Commit for Panics {
        type Error = io::Error;
        fn commit(&mut self, _: &PersistBatch) -> io::Result<()> {
            panic!("as a test wants it");
        }
    }
    let server = start(Panics, Contents::default(), 1);
    let mut p = Peer::connect(&server, "connect v5 id=p expiry=100");
    p.ends();
    assert_eq!(server.store_failure().as_deref(), Some("it has panicked"));
    server.stop();
}

#[test]
fn a_reactor_that_panics_is_told_of() {
    struct Panics;
    impl Store for Panics {
        fn submit(&self, _: PersistBatch) {
            panic!("as a test wants it");
        }
        fn durable(&self) -> Sequence {
            Sequence::default()
        }
    }
    let failures = channel();
    let server = Server::builder()
        .store(Arc::new(Panics), Contents::default())
        .listener(listener())
        .on_failure(move || failures.0.send(()).unwrap())
        .start()
        .unwrap();
    let mut p = Peer::connect(&server, "connect v5 id=p expiry=100");
    p.ends();
    failures.1.recv_timeout(PATIENCE).unwrap();
    server.stop();
}

/// Tells of each batch how many changes it has, and lets it through when it is told to.
struct Gated {
    gate: Receiver<io::Result<()>>,
    batches: Sender<usize>,
}

impl Commit for Gated {
    type Error = io::Error;

    fn commit(&mut self, batch: &PersistBatch) -> io::Result<()> {
        // Nobody may look any more.
        let _ = self.batches.send(batch.changes.len());
        self.gate.recv().unwrap_or(Ok(()))
    }
}

fn open(file: &Path, reactors: usize) -> Server {
    let (store, contents) = FileStore::open(file).unwrap();
    start(store, contents, reactors)
}

fn start(commit: impl Commit + 'static, contents: Contents, reactors: usize) -> Server {
    builder(commit, contents, reactors).start().unwrap()
}

fn builder(commit: impl Commit + 'static, contents: Contents, reactors: usize) -> ServerBuilder {
    let store: Arc<dyn Store> = Arc::new(CommitThread::start(commit, contents.last).unwrap());
    Server::builder()
        .store(store, contents)
        .listener(listener())
        .reactors(reactors)
        .placement(Placement::Alternate)
}

fn listener() -> Listener {
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy)
}

/// How many messages wait for the Session in that file.
fn waiting(file: &Path) -> usize {
    let (_, contents) = FileStore::open(file).unwrap();
    contents.sessions[0].messages.len()
}

/// A client in words.
struct Peer {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Peer {
    fn connect(server: &Server, packet: &str) -> Peer {
        let stream = TcpStream::connect(server.local_addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Peer {
            stream,
            bytes: Vec::new(),
        };
        peer.says(packet);
        peer
    }

    fn join(server: &Server, packet: &str) -> Peer {
        let mut peer = Peer::connect(server, packet);
        peer.hears("connack success ...");
        peer
    }

    fn says(&mut self, text: &str) {
        let bytes = words::encode(ProtocolVersion::V5, text).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn hears(&mut self, expected: &str) {
        self.hears_one_of(&[expected]);
    }

    fn hears_one_of(&mut self, expected: &[&str]) {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Client);
        let mut buffer = [0; 4096];
        loop {
            if let Framing::Complete(whole) = frame(&self.bytes, &options).unwrap() {
                let (said, length) = (Said::of(whole, &options).unwrap(), whole.len());
                self.bytes.drain(..length);
                assert!(
                    expected.iter().any(|expected| said.matches(expected).unwrap()),
                    "expected: {expected:?}\ncame: {said}"
                );
                return;
            }
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "expected: {expected:?}\ncame: the end");
            self.bytes.extend_from_slice(&buffer[..count]);
        }
    }

    /// The connection ends, and nothing was said before.
    fn ends(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => assert_eq!((rest.as_slice(), self.bytes.as_slice()), (&[][..], &[][..])),
        }
    }
}

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);
