//! Connections that move between reactors all the time lose nothing, double nothing, and keep their order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use komar_server::{Listener, ListenerPolicy, Placement, Server};

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

struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr, name: &str) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Client(stream);
        let connect = packet(0x10, &[b"\0\x04MQTT\x04\x02\0\0", &field(name.as_bytes())]);
        client.send(&connect);
        assert_eq!(client.packet(), [0x20, 2, 0, 0]);
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next packet; all of them are short.
    fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.0.read_exact(&mut packet).unwrap();
        let length = usize::from(packet[1]);
        packet.resize(2 + length, 0);
        self.0.read_exact(&mut packet[2..]).unwrap();
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
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    let server = Server::builder()
        .listener(Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy))
        .reactors(3)
        .placement(Placement::Restless)
        .start()
        .unwrap();
    let address = server.local_addresses()[0];
    let mut threads = Vec::new();
    for pair in 0..PAIRS {
        let topic = format!("pair/{pair}");
        let mut receiver = Client::connect(address, &format!("receiver-{pair}"));
        receiver.send(&packet(0x82, &[&[0, 1], &field(topic.as_bytes()), &[1]]));
        assert_eq!(receiver.packet(), [0x90, 3, 0, 1, 1], "SUBACK");
        let sender = Client::connect(address, &format!("sender-{pair}"));
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
            .map(|number| Client::connect(address, &format!("client-{number}")))
            .collect();
        for client in &mut clients {
            client.send(&[0xC0, 0].repeat(20));
        }
        server.stop();
        for mut client in clients {
            let mut rest = Vec::new();
            // A reset is an end as well.
            let _ = client.0.read_to_end(&mut rest);
            assert!(rest.chunks(2).all(|packet| packet == [0xD0, 0]), "{rest:?}");
        }
    }
}
