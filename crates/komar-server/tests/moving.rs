//! Connections that move between reactors all the time lose nothing, double nothing, and keep their order.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use komar_server::{Listener, ListenerPolicy, Placement, Server, WebSocketOptions};

const PAIRS: u16 = 8;
const MESSAGES: u16 = 400;
/// Messages in one write.
const BATCH: u16 = 5;

fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    field.extend_from_slice(bytes);
    field
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

struct Client {
    stream: TcpStream,
    is_websocket: bool,
    /// What came in WebSocket frames and is not read yet.
    unread: VecDeque<u8>,
}

impl Client {
    fn connect(address: SocketAddr, name: &str, is_websocket: bool) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client {
            stream,
            is_websocket,
            unread: VecDeque::new(),
        };
        if is_websocket {
            client.upgrade();
        }
        let connect = packet(0x10, &[b"\0\x04MQTT\x04\x02\0\0", &field(name.as_bytes())]);
        client.send(&connect);
        assert_eq!(client.packet(), [0x20, 2, 0, 0]);
        client
    }

    fn upgrade(&mut self) {
        let request = b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        self.stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.is_websocket {
            // A binary frame, masked with nothing.
            let length = u8::try_from(bytes.len()).unwrap();
            assert!(length < 126);
            let head = [0x82, 0x80 | length, 0, 0, 0, 0];
            self.stream.write_all(&[&head, bytes].concat()).unwrap();
        } else {
            self.stream.write_all(bytes).unwrap();
        }
    }

    fn read(&mut self, bytes: &mut [u8]) {
        if !self.is_websocket {
            return self.stream.read_exact(bytes).unwrap();
        }
        while self.unread.len() < bytes.len() {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).unwrap();
            assert_eq!(head[0], 0x82, "a binary frame");
            let mut length = usize::from(head[1]);
            if length == 126 {
                self.stream.read_exact(&mut head).unwrap();
                length = usize::from(u16::from_be_bytes(head));
            }
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).unwrap();
            self.unread.extend(payload);
        }
        let length = bytes.len();
        for (byte, unread) in bytes.iter_mut().zip(self.unread.drain(..length)) {
            *byte = unread;
        }
    }

    /// The next packet; all of them are short.
    fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.read(&mut packet);
        let length = usize::from(packet[1]);
        packet.resize(2 + length, 0);
        self.read(&mut packet[2..]);
        packet
    }
}

/// Publishes numbers at QoS 1, some at a time, each batch when the one before is acknowledged.
fn publish(mut client: Client, topic: &str) {
    for first in (1..=MESSAGES).step_by(usize::from(BATCH)) {
        let mut batch = Vec::new();
        for number in (first..).take(usize::from(BATCH)) {
            let number = number.to_be_bytes();
            batch.extend(packet(0x32, &[&field(topic.as_bytes()), &number, &number]));
        }
        client.send(&batch);
        for number in (first..).take(usize::from(BATCH)) {
            let [high, low] = number.to_be_bytes();
            assert_eq!(client.packet(), [0x40, 2, high, low], "PUBACK");
        }
    }
}

/// Receives all of them, in order.
fn receive(mut client: Client, topic: &str) {
    for number in 1..=MESSAGES {
        let message = client.packet();
        let (head, payload) = message.split_at(message.len() - 2);
        assert_eq!(payload, number.to_be_bytes(), "of {topic}");
        let identifier = &head[head.len() - 2..];
        let ack = packet(0x40, &[identifier]);
        client.send(&ack);
    }
}

#[test]
fn restless_connections_lose_nothing() {
    restless(false);
}

/// What other threads have for them only their own may write.
#[test]
fn restless_connections_by_websocket_lose_nothing() {
    restless(true);
}

fn restless(is_websocket: bool) {
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    let mut listener = Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy);
    if is_websocket {
        listener = listener.websocket(WebSocketOptions::default());
    }
    let server = Server::builder()
        .listener(listener)
        .reactors(3)
        .placement(Placement::Restless)
        .start()
        .unwrap();
    let address = server.local_addresses()[0];
    let mut threads = Vec::new();
    for pair in 0..PAIRS {
        let topic = format!("pair/{pair}");
        let mut receiver = Client::connect(address, &format!("receiver-{pair}"), is_websocket);
        receiver.send(&packet(0x82, &[&[0, 1], &field(topic.as_bytes()), &[1]]));
        assert_eq!(receiver.packet(), [0x90, 3, 0, 1, 1], "SUBACK");
        let sender = Client::connect(address, &format!("sender-{pair}"), is_websocket);
        let same = topic.clone();
        threads.push(thread::spawn(move || receive(receiver, &same)));
        threads.push(thread::spawn(move || publish(sender, &topic)));
    }
    for thread in threads {
        thread.join().unwrap();
    }
    server.stop();
}

/// A server that stops while Connections are on their way between its reactors closes all of them.
#[test]
fn a_stop_finds_connections_on_their_way() {
    for _ in 0..20 {
        let mut policy = ListenerPolicy::default();
        policy.allow_anonymous = true;
        let server = Server::builder()
            .listener(Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy))
            .reactors(2)
            .placement(Placement::Restless)
            .start()
            .unwrap();
        let address = server.local_addresses()[0];
        let mut clients: Vec<Client> = (0..6)
            .map(|number| Client::connect(address, &format!("client-{number}"), false))
            .collect();
        for client in &mut clients {
            client.send(&[0xC0, 0].repeat(20));
        }
        server.stop();
        for mut client in clients {
            let mut rest = Vec::new();
            // A reset is an end as well.
            let _ = client.stream.read_to_end(&mut rest);
            assert!(rest.chunks(2).all(|packet| packet == [0xD0, 0]), "{rest:?}");
        }
    }
}
