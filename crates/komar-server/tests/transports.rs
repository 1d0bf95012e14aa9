//! One conversation over every transport, with real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::{Access, FileAccess, ListenerFiles};
use komar_passwd::{Editor, PasswordFile, Scheme, StoredHash};
use komar_server::{
    BrokerConfig, Listener, ListenerPolicy, Placement, ProxyProtocol, ProxyVersion, Server, WebSocketOptions,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A client that speaks through a byte stream; it fails instead of waiting for ever.
struct Client<S>(S);

impl<S: Read + Write> Client<S> {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    #[track_caller]
    fn expect(&mut self, expected: &[u8]) {
        let mut received = vec![0; expected.len()];
        self.0.read_exact(&mut received).unwrap();
        assert_eq!(received, expected);
    }

    /// The end of the connection, without another byte.
    #[track_caller]
    fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end as well: what we sent last was not read.
        let _ = self.0.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:02x?} instead of the end");
    }

    fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.0.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }
}

/// What a byte stream carries: the bytes themselves, or frames.
trait Wire {
    fn send(&mut self, packets: &[u8]);
    fn expect(&mut self, packets: &[u8]);
}

struct Plain<S>(Client<S>);

impl<S: Read + Write> Wire for Plain<S> {
    fn send(&mut self, packets: &[u8]) {
        self.0.send(packets);
    }

    fn expect(&mut self, packets: &[u8]) {
        self.0.expect(packets);
    }
}

struct Framed<S> {
    client: Client<S>,
    received: Vec<u8>,
}

impl<S: Read + Write> Framed<S> {
    fn upgrade(stream: S) -> Framed<S> {
        let mut client = Client(stream);
        client.send(request("").as_bytes());
        client.expect(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        );
        Framed {
            client,
            received: Vec::new(),
        }
    }
}

impl<S: Read + Write> Wire for Framed<S> {
    fn send(&mut self, packets: &[u8]) {
        self.client.send(&masked(0x82, packets));
    }

    fn expect(&mut self, packets: &[u8]) {
        while self.received.len() < packets.len() {
            let mut header = [0; 2];
            self.client.0.read_exact(&mut header).unwrap();
            assert_eq!(header[0], 0x82, "a binary frame, and the whole message");
            let length = match header[1] {
                126 => {
                    let mut length = [0; 2];
                    self.client.0.read_exact(&mut length).unwrap();
                    u16::from_be_bytes(length).into()
                }
                127 => {
                    let mut length = [0; 8];
                    self.client.0.read_exact(&mut length).unwrap();
                    u64::from_be_bytes(length) as usize
                }
                length => length.into(),
            };
            let start = self.received.len();
            self.received.resize(start + length, 0);
            self.client.0.read_exact(&mut self.received[start..]).unwrap();
        }
        let rest = self.received.split_off(packets.len());
        assert!(
            self.received == packets,
            "{:02x?}",
            &self.received[..packets.len().min(50)]
        );
        self.received = rest;
    }
}

fn request(header: &str) -> String {
    format!(
        "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n{header}\r\n"
    )
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const SUBSCRIBE: &[u8] = b"\x82\x06\x00\x01\x00\x01t\x00";
const SUBACK: &[u8] = b"\x90\x03\x00\x01\x00";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

fn connect(client_id: char) -> Vec<u8> {
    [CONNECT, client_id.to_string().as_bytes()].concat()
}

/// A QoS 0 PUBLISH of this length of payload, longer than 128 bytes.
fn publish(length: usize) -> Vec<u8> {
    let remaining = length + 3;
    let mut packet = vec![0x30];
    let mut rest = remaining;
    while rest >= 0x80 {
        packet.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    packet.push(rest as u8);
    packet.extend_from_slice(b"\x00\x01t");
    packet.extend((0..length).map(|number| (number % 251) as u8));
    packet
}

/// Two clients, a subscription, messages of several sizes.
fn converse(mut reader: impl Wire, mut writer: impl Wire) {
    reader.send(&[&connect('r')[..], SUBSCRIBE].concat());
    reader.expect(CONNACK);
    reader.expect(SUBACK);
    writer.send(&connect('w'));
    writer.expect(CONNACK);
    for length in [200, 65_536, 300_000] {
        let packet = publish(length);
        writer.send(&packet);
        reader.expect(&packet);
    }
    writer.send(&[PINGREQ, PINGREQ].concat());
    writer.expect(&[PINGRESP, PINGRESP].concat());
}

fn anonymous() -> ListenerPolicy {
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    policy
}

fn tcp() -> Listener {
    Listener::tcp("127.0.0.1:0".parse().unwrap()).policy(anonymous())
}

fn start(listener: Listener) -> (Server, SocketAddr) {
    // Connections alternate, so that what one sends another thread has for the other; and they move all the time.
    let server = Server::builder()
        .listener(listener)
        .reactors(3)
        .placement(Placement::Restless)
        .start()
        .unwrap();
    let address = server.local_addresses().first().copied();
    (server, address.unwrap_or(([0, 0, 0, 0], 0).into()))
}

/// Whoever does not get as far as CONNECT in time is gone, in whatever layer it stays.
#[test]
fn slow_beginners_are_closed() {
    let mut config = BrokerConfig::default();
    config.limits.connect_timeout = Duration::from_millis(50);
    let (certificate, key) = certificate();
    let server = Server::builder()
        .config(config)
        .listener(tcp())
        .listener(tcp().websocket(WebSocketOptions::default()))
        .listener(tcp().proxy_protocol(ProxyProtocol::new(ProxyVersion::V2)))
        .listener(tcp().tls(server_tls(certificate, key)))
        .start()
        .unwrap();
    let beginnings = [
        CONNECT,
        &b"GET / HTTP/1.1\r\nHost"[..],
        &b"\r\n\r\n\0\r\nQ"[..],
        &b"\x16\x03\x01\x02\x00\x01"[..],
    ];
    let addresses = server.local_addresses();
    let mut clients: Vec<_> = addresses
        .into_iter()
        .map(|address| Client(dial(address)))
        .collect();
    for (client, beginning) in clients.iter_mut().zip(beginnings) {
        client.send(beginning);
    }
    for client in &mut clients {
        client.expect_end();
    }
}

#[test]
fn copies_of_a_listener_share_their_maximum() {
    let listener = tcp().maximum_connections(2);
    let server = Server::builder()
        .listener(listener.clone())
        .listener(listener)
        .start()
        .unwrap();
    let addresses = server.local_addresses();
    let mut clients = Vec::new();
    for (address, client_id) in addresses.iter().zip(['a', 'b']) {
        let mut client = Client(dial(*address));
        client.send(&connect(client_id));
        client.expect(CONNACK);
        clients.push(client);
    }
    for address in addresses {
        Client(dial(address)).expect_end();
    }
}

/// Settings that a program keeps and gives again count every Connection once.
#[test]
fn a_listener_that_is_given_again_keeps_its_maximum() {
    let (listener, other) = (tcp().maximum_connections(3), tcp());
    let builder = |other: &Listener| {
        Server::builder()
            .listener(listener.clone())
            .listener(other.clone())
    };
    let server = builder(&other).start().unwrap();
    let address = server.local_addresses()[0];
    let mut clients = Vec::new();
    for (reload, client_id) in ['a', 'b', 'c'].into_iter().enumerate() {
        // One that fails counts for nothing either.
        let busy = Listener::tcp(server.local_addresses()[1]);
        assert!(server.reload(builder(&busy)).is_err(), "{reload}");
        server.reload(builder(&other)).unwrap();
        let mut client = Client(dial(address));
        client.send(&connect(client_id));
        client.expect(CONNACK);
        clients.push(client);
    }
    Client(dial(address)).expect_end();
}

/// The first 12,005 bytes of a ClientHello of 15,000.
fn begin_handshake(address: SocketAddr) -> Client<TcpStream> {
    let mut client = Client(dial(address));
    client.send(&[&b"\x16\x03\x01\x2e\xe0\x01\x00\x3a\x98"[..], &[0; 11_996]].concat());
    client
}

/// What is not whole of a ClientHello is kept only as long as all of them together are not too much; who is in the middle
/// of one may go on.
#[test]
fn unfinished_handshakes_are_bounded() {
    let (certificate, key) = certificate();
    // One reactor: the bound is that of each.
    let server = Server::builder()
        .reactors(1)
        .maximum_handshake_bytes(16 << 10)
        .listener(tcp().tls(server_tls(certificate.clone(), key)))
        .start()
        .unwrap();
    let address = server.local_addresses()[0];
    let mut first = begin_handshake(address);
    let mut second = begin_handshake(address);
    first.expect_end();
    let mut usual = Client(tls_client(address, certificate));
    usual.send(&connect('u'));
    usual.expect(CONNACK);
    // An alert within a message is one of the many ways in which it can go wrong.
    second.send(b"\x15\x03\x03\x00\x02\x01\x5a");
    second.expect(b"\x15\x03\x03\x00\x02\x02\x0a");
    second.expect_end();
    // There is room again.
    let mut third = begin_handshake(address);
    third.send(b"\x15\x03\x03\x00\x02\x01\x5a");
    third.expect(b"\x15\x03\x03\x00\x02\x02\x0a");
}

/// Those who hold what others need give way to a client whose certificate comes in two parts.
#[test]
fn whoever_finishes_its_handshake_gets_in_at_the_bound() {
    let (certificate, key) = certificate();
    // So many names that it is too much together with what is there already.
    let names: Vec<String> = (0..400).map(|number| format!("client-{number}.test")).collect();
    let client_key = rcgen::KeyPair::generate().unwrap();
    let client_certificate = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&client_key)
        .unwrap();
    let client_key = PrivatePkcs8KeyDer::from(client_key.serialize_der());
    let mut authorities = rustls::RootCertStore::empty();
    authorities.add(client_certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(authorities),
        Arc::clone(&provider),
    );
    let server_tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let server = Server::builder()
        .maximum_handshake_bytes(16 << 10)
        .listener(tcp().tls(Arc::new(server_tls)))
        .start()
        .unwrap();
    let address = server.local_addresses()[0];
    let mut waiting = begin_handshake(address);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![client_certificate.der().clone()], client_key.into())
        .unwrap();
    let name = "localhost".try_into().unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(client_tls), name).unwrap();
    let mut stream = dial(address);
    session.write_tls(&mut stream).unwrap();
    while session.is_handshaking() {
        assert!(session.read_tls(&mut stream).unwrap() > 0);
        session.process_new_packets().unwrap();
    }
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    let (part, rest) = flight.split_at(6000);
    stream.write_all(part).unwrap();
    waiting.expect_end();
    stream.write_all(rest).unwrap();
    let mut client = Client(rustls::StreamOwned::new(session, stream));
    client.send(&connect('c'));
    client.expect(CONNACK);
}

/// Logins whose clients have gone are not in the way of others, whatever they came by.
#[cfg(unix)]
#[test]
fn a_login_that_nobody_waits_for_is_over_at_once() {
    // A check takes long enough for all of these to come and go during the first.
    let access = bob_with_iterations(200_000);
    let (server, [plain, tls, websocket, both], folder, certificate) = every_transport(access);
    let mut first = Client(dial(plain));
    first.send(LOGIN);
    for _ in 0..5 {
        let mut client = tls_client(tls, certificate.clone());
        client.write_all(LOGIN).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        Client(client).expect_end();

        let mut client = Framed::upgrade(dial(websocket));
        client.send(LOGIN);
        client.client.0.shutdown(Shutdown::Write).unwrap();
        client.client.expect_end();

        let mut client = Framed::upgrade(tls_client(both, certificate.clone()));
        client.send(LOGIN);
        client.client.send(&masked(0x88, b"\x03\xe8"));
        client.client.0.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.client.read_to_end(), b"\x88\x02\x03\xe8");

        let mut client =
            Client(std::os::unix::net::UnixStream::connect(folder.path().join("socket")).unwrap());
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send(LOGIN);
        client.0.shutdown(Shutdown::Write).unwrap();
        client.expect_end();
    }
    first.expect(CONNACK);
    server.stop();
}

/// What comes before the end is done, although the end is there when the login is: by every transport, together with the
/// login or behind it.
#[cfg(unix)]
#[test]
fn what_comes_before_the_end_is_done() {
    let (server, [plain, tls, websocket, both], folder, certificate) =
        every_transport(bob_with_iterations(20_000));
    let mut reader = Client(dial(plain));
    reader.send(&[&connect('r')[..], SUBSCRIBE].concat());
    reader.expect(CONNACK);
    reader.expect(SUBACK);
    let closing = masked(0x88, b"\x03\xe8");
    for is_one in [true, false] {
        // Packets of one write, or of two.
        let writes = |frame: &dyn Fn(&[u8]) -> Vec<u8>, close: &[u8]| {
            let (login, publish) = (
                frame(LOGIN),
                [frame(b"\x30\x04\x00\x01tx"), close.to_vec()].concat(),
            );
            if is_one {
                vec![[login, publish].concat()]
            } else {
                vec![login, publish]
            }
        };
        let as_they_are = |packets: &[u8]| packets.to_vec();
        let in_frames = |packets: &[u8]| masked(0x82, packets);

        let mut client = dial(plain);
        for bytes in writes(&as_they_are, b"") {
            client.write_all(&bytes).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        reader.expect(b"\x30\x04\x00\x01tx");

        let mut client = std::os::unix::net::UnixStream::connect(folder.path().join("socket")).unwrap();
        for bytes in writes(&as_they_are, b"") {
            client.write_all(&bytes).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        reader.expect(b"\x30\x04\x00\x01tx");

        let mut client = Framed::upgrade(dial(websocket)).client;
        for bytes in writes(&in_frames, &closing) {
            client.send(&bytes);
        }
        reader.expect(b"\x30\x04\x00\x01tx");

        for (mut client, writes) in [
            (tls_client(tls, certificate.clone()), writes(&as_they_are, b"")),
            (
                Framed::upgrade(tls_client(both, certificate.clone())).client.0,
                writes(&in_frames, &closing),
            ),
        ] {
            while client.conn.is_handshaking() {
                client.conn.complete_io(&mut client.sock).unwrap();
            }
            let last = writes.len() - 1;
            for (number, bytes) in writes.iter().enumerate() {
                client.conn.writer().write_all(bytes).unwrap();
                if number == last {
                    client.conn.send_close_notify();
                }
                let mut records = Vec::new();
                while client.conn.wants_write() {
                    client.conn.write_tls(&mut records).unwrap();
                }
                client.sock.write_all(&records).unwrap();
            }
            client.sock.shutdown(Shutdown::Write).unwrap();
            reader.expect(b"\x30\x04\x00\x01tx");
        }
    }
    server.stop();
}

/// A server that is spoken to in plain, by TLS, by WebSocket and by both, and by a Unix socket in a folder of its own.
#[cfg(unix)]
fn every_transport(
    access: Access,
) -> (
    Server,
    [SocketAddr; 4],
    tempfile::TempDir,
    CertificateDer<'static>,
) {
    let (certificate, key) = certificate();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let with_tls = || tcp().tls(server_tls(certificate.clone(), key.clone_key()));
    let server = Server::builder()
        .access(access)
        .listener(tcp())
        .listener(with_tls())
        .listener(tcp().websocket(WebSocketOptions::default()))
        .listener(with_tls().websocket(WebSocketOptions::default()))
        .listener(Listener::unix(&path).policy(anonymous()))
        .start()
        .unwrap();
    let addresses = server.local_addresses().try_into().unwrap();
    (server, addresses, folder, certificate)
}

const LOGIN: &[u8] = b"\x10\x1a\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x03bob\x00\x06secret";

/// The password of `bob`, as in [`LOGIN`], takes its time.
fn bob_with_iterations(iterations: u32) -> Access {
    let hash = StoredHash::derive(Scheme::Sha512Pbkdf2 { iterations }, b"secret", &[7; 12]).unwrap();
    let mut passwords = Editor::new(b"");
    passwords.set("bob", &hash).unwrap();
    let files = ListenerFiles {
        passwords: Some(Arc::new(PasswordFile::parse(&passwords.text()).unwrap())),
        acl: None,
    };
    FileAccess::new(files).into_access()
}

/// Many handshakes at once all come to their end, and a plain pair is served meanwhile by the same reactor.
#[test]
fn a_storm_of_handshakes_is_served_to_its_end() {
    let (certificate, key) = certificate();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client_tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client_tls = Arc::new(client_tls);
    let server = Server::builder()
        .listener(tcp())
        .listener(
            tcp()
                .tls(server_tls(certificate, key))
                .websocket(WebSocketOptions::default()),
        )
        .start()
        .unwrap();
    let [plain, tls] = server.local_addresses()[..] else {
        panic!("two listeners")
    };
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let name = "localhost".try_into().unwrap();
                let session = rustls::ClientConnection::new(Arc::clone(&client_tls), name).unwrap();
                let mut client = Framed::upgrade(rustls::StreamOwned::new(session, dial(tls)));
                // Without an identifier, so that none takes over from another.
                client.send(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00");
                client.expect(CONNACK);
            });
        }
        let mut client = Plain(Client(dial(plain)));
        client.send(&connect('p'));
        client.expect(CONNACK);
        for _ in 0..200 {
            client.send(PINGREQ);
            client.expect(PINGRESP);
        }
    });
}

/// Many connections at once all get their answer, and a pair is served meanwhile by the same reactor.
#[test]
fn a_storm_of_connections_is_served_to_its_end() {
    const STORM: usize = 300;
    let server = Server::builder().listener(tcp()).start().unwrap();
    let address = server.local_addresses()[0];
    let mut pair = Plain(Client(dial(address)));
    pair.send(&[&connect('p')[..], SUBSCRIBE].concat());
    pair.expect(&[CONNACK, SUBACK].concat());
    let mut storm = Vec::new();
    for _ in 0..STORM {
        let mut client = Client(dial(address));
        // Without an identifier, so that none takes over from another.
        client.send(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00");
        storm.push(client);
        pair.send(&publish(200));
        pair.expect(&publish(200));
    }
    for client in &mut storm {
        client.expect(CONNACK);
    }
    assert_eq!(server.broker().statistics().connected, STORM + 1);
    server.stop();
}

/// Who comes when another has just left finds its place; who comes when all are taken is refused.
#[test]
fn a_place_that_is_left_is_free() {
    for limited in [
        Server::builder().listener(tcp().maximum_connections(2)),
        Server::builder().listener(tcp()).maximum_connections(2),
    ] {
        let server = limited.reactors(1).start().unwrap();
        let address = server.local_addresses()[0];
        for _ in 0..50 {
            let mut guests: Vec<_> = (0..2).map(|_| Client(dial(address))).collect();
            for guest in &mut guests {
                guest.send(&connect('g'));
                guest.expect(CONNACK);
            }
        }
        let mut guests: Vec<_> = ['a', 'b'].map(|name| (Client(dial(address)), name)).into();
        for (guest, name) in &mut guests {
            guest.send(&connect(*name));
            guest.expect(CONNACK);
        }
        for _ in 0..100 {
            // The last ones come while as many wait as may wait.
            guests.push((Client(dial(address)), 'x'));
        }
        for (guest, _) in &mut guests[2..] {
            guest.expect_end();
        }
        assert_eq!(server.broker().statistics().connected, 2);
        server.stop();
    }
}

/// What comes in single bytes costs its sender only: between any two of them a pair exchanges a message.
#[test]
fn single_bytes_delay_nobody() {
    const SLOW: usize = 50;
    let server = Server::builder().listener(tcp()).start().unwrap();
    let address = server.local_addresses()[0];
    let mut pair = Plain(Client(dial(address)));
    pair.send(&[&connect('p')[..], SUBSCRIBE].concat());
    pair.expect(&[CONNACK, SUBACK].concat());
    let mut slow: Vec<_> = (0..SLOW).map(|_| Client(dial(address))).collect();
    for byte in b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00" {
        for client in &mut slow {
            client.send(&[*byte]);
        }
        pair.send(&publish(200));
        pair.expect(&publish(200));
    }
    for client in &mut slow {
        client.expect(CONNACK);
    }
    server.stop();
}

/// A client that never reads costs itself only: what waits for it is bounded and dropped, others get everything.
#[test]
fn who_never_reads_delays_nobody() {
    const MESSAGES: usize = 400;
    const LENGTH: usize = 65_536;
    let mut config = BrokerConfig::default();
    config.limits.maximum_outbox_bytes = 4 * LENGTH;
    let server = Server::builder().config(config).listener(tcp()).start().unwrap();
    let address = server.local_addresses()[0];
    let mut deaf: Vec<_> = ['a', 'b', 'c']
        .into_iter()
        .map(|name| {
            let mut client = Plain(Client(dial(address)));
            client.send(&[&connect(name)[..], SUBSCRIBE].concat());
            client.expect(&[CONNACK, SUBACK].concat());
            client
        })
        .collect();
    let mut pair = Plain(Client(dial(address)));
    pair.send(&[&connect('p')[..], SUBSCRIBE].concat());
    pair.expect(&[CONNACK, SUBACK].concat());
    for _ in 0..MESSAGES {
        pair.send(&publish(LENGTH));
        pair.expect(&publish(LENGTH));
        // What may wait, one message above it, and what its Connection is being sent.
        let waiting = server.broker().statistics().waiting_bytes;
        assert!(waiting <= deaf.len() * 6 * LENGTH, "{waiting} bytes wait");
    }
    assert!(server.broker().statistics().dropped_messages > 0);
    // And they are clients as before, who get what was kept.
    for client in &mut deaf {
        client.expect(&publish(LENGTH));
    }
    server.stop();
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    (made.cert.der().clone(), key.into())
}

fn server_tls(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

/// A client that trusts this certificate.
fn tls_client(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(session, dial(address))
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

const PATIENCE: Duration = Duration::from_secs(20);

// v3 [MQTT-7.1.1-1], v5 [MQTT-4.2.0-1]
#[test]
fn tcp_carries_mqtt() {
    let (_server, address) = start(tcp());
    converse(Plain(Client(dial(address))), Plain(Client(dial(address))));
}

#[test]
fn web_socket_carries_mqtt() {
    let (_server, address) = start(tcp().websocket(WebSocketOptions::default()));
    converse(Framed::upgrade(dial(address)), Framed::upgrade(dial(address)));
}

#[test]
fn one_byte_a_frame_and_many_packets_a_frame_are_the_same() {
    let (_server, address) = start(tcp().websocket(WebSocketOptions::default()));
    let mut client = Framed::upgrade(dial(address));
    for byte in connect('c') {
        client.send(&[byte]);
    }
    client.expect(CONNACK);
    client.send(&[SUBSCRIBE, PINGREQ, &publish(200), PINGREQ].concat());
    client.expect(&[SUBACK, PINGRESP, &publish(200), PINGRESP].concat());
}

#[test]
fn pings_are_answered_and_a_close_frame_comes_back() {
    let (_server, address) = start(tcp().websocket(WebSocketOptions::default()));
    let mut client = Framed::upgrade(dial(address));
    client.send(&connect('c'));
    client.expect(CONNACK);
    client.client.send(&masked(0x89, b"are you there"));
    client.client.expect(b"\x8a\x0dare you there");
    client.client.send(&masked(0x88, b"\x03\xe8"));
    client.client.expect(b"\x88\x02\x03\xe8");
    client.client.expect_end();
}

#[test]
fn disconnect_is_answered_by_a_close_frame() {
    let (_server, address) = start(tcp().websocket(WebSocketOptions::default()));
    let mut client = Framed::upgrade(dial(address));
    client.send(&connect('c'));
    client.expect(CONNACK);
    client.send(b"\xe0\x00");
    client.client.expect(b"\x88\x02\x03\xe8");
    client.client.expect_end();
}

#[test]
fn a_text_frame_ends_the_connection() {
    let (_server, address) = start(tcp().websocket(WebSocketOptions::default()));
    let mut client = Framed::upgrade(dial(address));
    client.client.send(&masked(0x81, b"hello"));
    client.client.expect(b"\x88\x02\x03\xeb");
    client.client.expect_end();
}

#[test]
fn a_bad_request_gets_an_answer_of_http() {
    let options = || {
        let mut options = WebSocketOptions::default();
        options.origins = vec!["http://good.example".to_owned()];
        options.maximum_head = 500;
        options
    };
    let (_server, address) = start(tcp().websocket(options()));
    let long = format!("Cookie: {}\r\n", "x".repeat(500));
    for (request, status) in [
        (request("Origin: http://good.example\r\n"), "101"),
        (request("Origin: http://bad.example\r\n"), "403"),
        (request(&long), "431"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "426"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
    ] {
        let mut client = Client(dial(address));
        client.send(request.as_bytes());
        if status == "101" {
            client.expect(b"HTTP/1.1 101 ");
            continue;
        }
        let answer = String::from_utf8(client.read_to_end()).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[test]
fn proxy_header_and_web_socket_go_together() {
    let proxy = ProxyProtocol::new(ProxyVersion::V1);
    let (_server, address) = start(tcp().proxy_protocol(proxy).websocket(WebSocketOptions::default()));
    let dial = || {
        let mut stream = dial(address);
        stream
            .write_all(b"PROXY TCP4 192.0.2.5 192.0.2.1 6275 443\r\n")
            .unwrap();
        Framed::upgrade(stream)
    };
    converse(dial(), dial());
}

#[test]
fn a_proxy_header_may_come_byte_by_byte_or_with_what_follows() {
    let (_server, address) = start(tcp().proxy_protocol(ProxyProtocol::new(ProxyVersion::V2)));
    let header = v2(0x21, &[]);
    let mut slow = dial(address);
    for byte in &header {
        slow.write_all(&[*byte]).unwrap();
    }
    let mut fast = Plain(Client(dial(address)));
    fast.send(&[&header[..], &connect('f')].concat());
    fast.expect(CONNACK);
    converse(Plain(Client(slow)), {
        let mut stream = dial(address);
        stream.write_all(&header).unwrap();
        Plain(Client(stream))
    });
}

#[test]
fn who_may_connect_through_a_proxy() {
    let version_2 = || ProxyProtocol::new(ProxyVersion::V2);
    let trusted = |network: &str| {
        let mut proxy = version_2();
        proxy.trusted = vec![network.parse().unwrap()];
        proxy
    };
    let demanding = |require_tls, require_certificate| {
        let mut proxy = version_2();
        proxy.require_tls = require_tls;
        proxy.require_certificate = require_certificate;
        proxy
    };
    let verified = b"\x20\x00\x05\x07\x00\x00\x00\x00";
    let unverified = b"\x20\x00\x05\x01\x00\x00\x00\x01";
    for (name, proxy, header, accepted) in [
        ("anybody", version_2(), v2(0x21, &[]), true),
        ("no header", version_2(), Vec::new(), false),
        (
            "the other version",
            version_2(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            false,
        ),
        ("a health check", version_2(), v2(0x20, &[]), false),
        ("a trusted proxy", trusted("127.0.0.0/8"), v2(0x21, &[]), true),
        ("another network", trusted("192.0.2.0/24"), v2(0x21, &[]), false),
        ("no TLS", demanding(true, false), v2(0x21, &[]), false),
        ("TLS", demanding(true, false), v2(0x21, unverified), true),
        (
            "no certificate",
            demanding(false, true),
            v2(0x21, unverified),
            false,
        ),
        ("a certificate", demanding(false, true), v2(0x21, verified), true),
    ] {
        let (_server, address) = start(tcp().proxy_protocol(proxy));
        let mut client = Plain(Client(dial(address)));
        // It may be closed while we write.
        let _ = client.0.0.write_all(&[&header[..], &connect('c')].concat());
        println!("{name}");
        if accepted {
            client.expect(CONNACK);
        } else {
            client.0.expect_end();
        }
    }
}

/// A version 2 header for 192.0.2.5:6275 with these TLVs.
fn v2(version_command: u8, tlvs: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[version_command, 0x11, 0, 12 + tlvs.len() as u8]);
    header.extend_from_slice(b"\xc0\x00\x02\x05\x7f\x00\x00\x01\x18\x83\x04\xd2");
    header.extend_from_slice(tlvs);
    header
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn dial(path: &std::path::Path) -> UnixStream {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    #[test]
    fn a_unix_socket_carries_mqtt_and_leaves_with_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        // What a killed broker leaves behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (server, _) = start(Listener::unix(&path).policy(anonymous()));
        let mode = path.symlink_metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o770);
        converse(Plain(Client(dial(&path))), Plain(Client(dial(&path))));
        server.stop();
        assert!(!path.exists());
    }

    #[test]
    fn a_unix_socket_carries_web_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ws.sock");
        let (_server, _) = start(
            Listener::unix(&path)
                .policy(anonymous())
                .websocket(WebSocketOptions::default()),
        );
        converse(Framed::upgrade(dial(&path)), Framed::upgrade(dial(&path)));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        let result = Server::builder().listener(Listener::unix(&path)).start();
        assert!(result.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
    }

    #[test]
    fn a_socket_that_somebody_else_has_put_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        let (first, _) = start(Listener::unix(&path).policy(anonymous()));
        let second = Server::builder().listener(Listener::unix(&path));
        assert!(second.start().is_err(), "somebody listens there");
        std::fs::remove_file(&path).unwrap();
        let (_second, _) = start(Listener::unix(&path).policy(anonymous()));
        first.stop();
        converse(Plain(Client(dial(&path))), Plain(Client(dial(&path))));
    }
}
