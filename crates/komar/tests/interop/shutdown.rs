//! SIGTERM and SIGINT: an orderly end, whoever is connected.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use rustix::process::Signal;

use crate::broker::{Broker, Folder, Reactors};
use crate::program::PATIENCE;

/// CONNECT of MQTT 3.1.1 with a client id of one letter, and its answer. v3 [MQTT-3.2.0-1]
const CONNECT: [u8; 14] = *b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

fn connected(port: u16, client_id: u8) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&CONNECT[..], &[client_id]].concat()).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, CONNACK);
    stream
}

#[test]
fn a_broker_that_is_told_to_end_ends_with_status_0() {
    for reactors in Reactors::variants() {
        for (signal, clients) in [
            (Signal::TERM, &b""[..]),
            (Signal::INT, b""),
            (Signal::TERM, b"abc"),
            (Signal::INT, b"abc"),
        ] {
            let folder = Folder::new();
            let configuration = "listener {port} 127.0.0.1\nallow_anonymous true\n";
            let mut broker = Broker::start(&folder, configuration, *reactors);
            let context = format!(
                "{signal:?} with {} clients, reactors: {reactors:?}",
                clients.len()
            );
            let mut clients: Vec<TcpStream> = clients
                .iter()
                .map(|client_id| connected(broker.port, *client_id))
                .collect();
            // One that has said nothing yet, and one in the midst of its CONNECT.
            let silent = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port)).unwrap();
            let mut slow = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port)).unwrap();
            slow.write_all(&CONNECT[..5]).unwrap();
            broker.program.signal(signal);
            broker
                .program
                .end()
                .expect_status(0, &context)
                .expect_text("terminating", &context);
            for client in &mut clients {
                assert_eq!(
                    client.read(&mut [0; 8]).unwrap(),
                    0,
                    "{context}: an end of the connection"
                );
            }
            drop(silent);
        }
    }
}
