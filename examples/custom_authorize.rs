//! Your own rules in a broker: who is let in, who may do what, and an answer that takes its time.
//!
//! Users live under their own names (`alice` writes below `alice/`). Whether somebody may write below `shared/` is asked
//! elsewhere, here of a thread that stands for a service in the network. The client waits meanwhile; nobody else does.
//!
//! `cargo run -p komar-examples --example custom_authorize` lets two clients of its own try it, and ends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use komar_broker_core::{
    Access, Action, Authenticate, Authentication, Authorize, Decision, Login, Pending, ReasonCode, Subject,
};
use komar_server::{Listener, Server};

/// A question for the service: who, and the way back.
type Question = (String, Pending<Decision>);

struct Rules {
    service: Sender<Question>,
}

impl Authenticate for Rules {
    fn authenticate(&self, login: &Login<'_>) -> Authentication {
        match (login.username, login.password) {
            // Compare hashes instead: `Authentication::Check` has them checked on a thread of their own.
            (Some("alice"), Some(b"wonderland")) | (Some("bob"), Some(b"builder")) => Authentication::Accept,
            _ => Authentication::Refuse(ReasonCode::NotAuthorized),
        }
    }
}

impl Authorize for Rules {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        let user = subject.username.unwrap_or_default();
        match action {
            Action::Publish(name) if name.as_str().starts_with("shared/") => match subject.later() {
                Some(pending) => {
                    // Should the service be gone, the question is dropped, and that is a refusal.
                    let _ = self.service.send((user.to_owned(), pending));
                    Decision::Later
                }
                // A Will Message cannot wait and is not published. Nor can a retained message that is to be sent: its
                // publisher was let publish it then, and this takes nothing back, as Deny would.
                None => Decision::Later,
            },
            Action::Publish(name) if name.as_str().split('/').next() == Some(user) => Decision::Allow,
            Action::Receive(_) | Action::Subscribe(_) | Action::Unsubscribe(_) => Decision::Allow,
            _ => Decision::Deny,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (service, questions) = mpsc::channel::<Question>();
    std::thread::spawn(move || {
        for (user, pending) in questions {
            pending.answer(if user == "alice" {
                Decision::Allow
            } else {
                Decision::Refuse(ReasonCode::QuotaExceeded)
            });
        }
    });
    let rules = Arc::new(Rules { service });
    let server = Server::builder()
        .access(Access {
            authenticate: Arc::clone(&rules) as Arc<dyn Authenticate>,
            authorize: Some(rules),
        })
        .listener(Listener::tcp("127.0.0.1:0".parse()?))
        .start()?;
    let address = server.local_addresses()[0];

    let mut alice = connect(address, b"alice", b"wonderland")?;
    let mut bob = connect(address, b"bob", b"builder")?;
    for topic in ["alice/x", "bob/x", "shared/x"] {
        println!(
            "alice writes {topic}: PUBACK {:#04x}",
            publish(&mut alice, topic)?
        );
    }
    println!(
        "bob writes shared/x: PUBACK {:#04x}",
        publish(&mut bob, "shared/x")?
    );
    assert!(connect(address, b"alice", b"guess").is_err(), "a wrong password");
    server.stop();
    Ok(())
}

/// CONNECT and CONNACK of MQTT 5.0, in raw bytes.
fn connect(address: SocketAddr, user: &[u8], password: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut body = b"\x00\x04MQTT\x05\xc2\x00\x3c\x00".to_vec();
    for field in [user, user, password] {
        body.extend_from_slice(&[0, field.len() as u8]);
        body.extend_from_slice(field);
    }
    send(&mut stream, 0x10, &body)?;
    match receive(&mut stream)?.as_slice() {
        [_, 0, ..] => Ok(stream),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// PUBLISH at QoS 1. Returns the reason code of its PUBACK.
fn publish(stream: &mut TcpStream, topic: &str) -> io::Result<u8> {
    let mut body = vec![0, topic.len() as u8];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(b"\x00\x01\x00hello");
    send(stream, 0x32, &body)?;
    Ok(receive(stream)?.get(2).copied().unwrap_or(0))
}

fn send(stream: &mut TcpStream, first: u8, body: &[u8]) -> io::Result<()> {
    stream.write_all(&[&[first, body.len() as u8], body].concat())
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; usize::from(header[1])];
    stream.read_exact(&mut body)?;
    Ok(body)
}
