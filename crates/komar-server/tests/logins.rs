//! A storm of logins is bounded, and delays nobody's messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::{FileAccess, ListenerFiles};
use komar_passwd::{Editor, PasswordFile, Scheme, StoredHash};
use komar_server::{Listener, ListenerPolicy, Server};

/// A server whose passwords take their time: milliseconds each, on one thread.
fn server(maximum_waiting: usize) -> Server {
    server_with(maximum_waiting, 4_000)
}

fn server_with(maximum_waiting: usize, iterations: u32) -> Server {
    let scheme = Scheme::Sha512Pbkdf2 { iterations };
    let hash = StoredHash::derive(scheme, b"secret", &[7; 12]).unwrap();
    let mut editor = Editor::new(b"");
    editor.set("bob", &hash).unwrap();
    let files = ListenerFiles {
        passwords: Some(Arc::new(PasswordFile::parse(&editor.text()).unwrap())),
        acl: None,
    };
    let mut policy = ListenerPolicy::default();
    policy.allow_anonymous = true;
    Server::builder()
        .access(FileAccess::new(files).into_access())
        .listener(Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy))
        .maximum_waiting_logins(maximum_waiting)
        .start()
        .unwrap()
}

fn connect(address: SocketAddr, packet: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(packet).unwrap();
    stream
}

/// CONNECT of MQTT 3.1.1: user `bob`, a password, no clean session without identifier needed.
fn login(number: usize) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\xc2\x00\x00".to_vec();
    let identifier = format!("c{number}");
    for field in [identifier.as_bytes(), b"bob", b"secret"] {
        body.extend_from_slice(&u16::try_from(field.len()).unwrap().to_be_bytes());
        body.extend_from_slice(field);
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, expected);
}

/// How many have an answer by now; waits for none.
fn answered(storm: &[TcpStream]) -> usize {
    let has_answer = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let result = stream.peek(&mut [0; 4]);
        stream.set_nonblocking(false).unwrap();
        !matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    storm.iter().filter(has_answer).count()
}

#[test]
fn messages_pass_while_logins_wait() {
    const LOGINS: usize = 200;
    let server = server(LOGINS);
    let address = server.local_addresses()[0];
    let mut client = connect(address, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a");
    expect(&mut client, b"\x20\x02\x00\x00");
    client.write_all(b"\x82\x06\x00\x01\x00\x01t\x00").unwrap();
    expect(&mut client, b"\x90\x03\x00\x01\x00");
    let storm: Vec<TcpStream> = (0..LOGINS)
        .map(|number| connect(address, &login(number)))
        .collect();
    // Each message is waited for before the next one is sent.
    for _ in 0..100 {
        client.write_all(b"\x30\x04\x00\x01tx").unwrap();
        expect(&mut client, b"\x30\x04\x00\x01tx");
    }
    let done = answered(&storm);
    assert!(
        done < LOGINS / 2,
        "{done} logins were checked before 100 messages had passed"
    );
    // And each of them gets its answer in the end.
    for mut stream in storm {
        expect(&mut stream, b"\x20\x02\x00\x00");
    }
    server.stop();
}

#[test]
fn logins_above_the_bound_are_refused_at_once() {
    const LOGINS: usize = 60;
    const BOUND: usize = 5;
    let server = server(BOUND);
    let address = server.local_addresses()[0];
    let storm: Vec<TcpStream> = (0..LOGINS)
        .map(|number| connect(address, &login(number)))
        .collect();
    let mut refused = 0;
    for mut stream in storm {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        match answer {
            [0x20, 2, 0, 0] => {}
            [0x20, 2, 0, 5] => refused += 1,
            other => panic!("{other:02x?}"),
        }
    }
    assert!(refused > 0, "more than {BOUND} logins waited");
    server.stop();
}

#[test]
fn a_login_that_nobody_waits_for_is_over_at_once() {
    const GONE: usize = 60;
    // A check takes long enough for all of these to come and go during the first.
    let server = server_with(2 * GONE, 200_000);
    let address = server.local_addresses()[0];
    let mut first = connect(address, &login(GONE));
    for number in 0..GONE {
        let mut stream = connect(address, &login(number));
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0, "closed without an answer");
    }
    expect(&mut first, b"\x20\x02\x00\x00");
    server.stop();
}
