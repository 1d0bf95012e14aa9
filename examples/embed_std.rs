//! The broker core on `std::net` alone: a thread for each connection reads, one thread drives the worker and writes. It
//! leaves out `next_password_check`, answers of other threads (`set_wake`) and a store (`TurnEnd::persist`).
//! `cargo run -p komar-examples --example embed_std` lets two clients of its own exchange a message, and ends.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use komar_broker_core::{
    Access, Broker, BrokerConfig, CloseCause, Link, ListenerPolicy, Next, Now, Output, Sent, Take, Worker,
};

/// What the reading threads tell the driver.
enum Input {
    Opened(u64, TcpStream),
    Bytes(u64, Vec<u8>),
    Closed(u64),
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || accept(&listener, &sender));
    std::thread::spawn(move || drive(&receiver));

    // Two clients in raw bytes: CONNECT as "a" and "b", SUBSCRIBE to "t" by "a", PUBLISH by "b".
    let mut a = client(address, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a")?;
    a.write_all(b"\x82\x06\x00\x01\x00\x01t\x00")?;
    assert_eq!(read_exactly::<5>(&mut a)?, *b"\x90\x03\x00\x01\x00", "SUBACK");
    let mut b = client(address, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01b")?;
    b.write_all(b"\x30\x08\x00\x01thello")?;
    assert_eq!(read_exactly::<10>(&mut a)?, *b"\x30\x08\x00\x01thello", "PUBLISH");
    println!("\"hello\" went from b through the broker on {address} to a");
    Ok(())
}

/// The driver: one worker, its links, and the turn.
fn drive(inputs: &Receiver<Input>) {
    let started = Instant::now();
    let now = || Now {
        monotonic: started.elapsed(),
        unix: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
    };
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 42);
    let mut worker = Worker::new(&broker, now(), Box::new(|bytes| bytes.fill(42)));
    let policy = Arc::new(ListenerPolicy::default());
    let mut links: HashMap<u64, Link> = HashMap::new();
    let mut wait = Duration::ZERO;
    loop {
        let input = inputs.recv_timeout(wait);
        worker.turn_begin(now());
        // Nobody here answers late, but a Link is paused while too much waits in the broker.
        while let Some(verdict) = worker.next_verdict() {
            let is_meant = |link: &&mut Link| Arc::ptr_eq(link.outbox(), &verdict.outbox);
            let link = links.values_mut().find(is_meant);
            link.map(|link| worker.verdict(link, verdict));
        }
        match input {
            Ok(Input::Opened(key, stream)) => {
                links.insert(key, worker.open(Box::new(stream), &policy));
            }
            Ok(Input::Bytes(key, bytes)) => {
                if let Some(link) = links.get_mut(&key) {
                    worker.input(link, &bytes);
                }
            }
            Ok(Input::Closed(key)) => {
                if let Some(mut link) = links.remove(&key) {
                    worker.close(&mut link, CloseCause::ConnectionClosed);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        worker.work();
        write_all(&mut worker);
        while worker.next_event().is_some() {}
        wait = worker.turn_end().wait.unwrap_or(Duration::from_secs(60));
    }
}

/// Writes what waits for each connection; blocking, so all of it.
fn write_all(worker: &mut Worker) {
    while let Some(outbox) = worker.next_dirty() {
        let Some(stream) = outbox.handle().downcast_ref::<TcpStream>() else {
            continue;
        };
        let mut next = Next::Again;
        while next == Next::Again {
            next = match worker.take_output(&outbox) {
                Take::Output(mut output) => {
                    let sent = write(stream, &mut output);
                    worker.output_done(&outbox, output, sent)
                }
                Take::Close => Next::Close,
                _ => Next::Idle,
            };
        }
        if next == Next::Close {
            // The reading thread sees the end and reports it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn write(mut stream: &TcpStream, output: &mut Output) -> Sent {
    while !output.is_empty() {
        let Ok(count) = stream.write(output.chunk()) else {
            return Sent::Failed;
        };
        output.advance(count);
    }
    Sent::All
}

fn accept(listener: &TcpListener, sender: &Sender<Input>) {
    for (key, stream) in (0..).zip(listener.incoming().flatten()) {
        let Ok(writer) = stream.try_clone() else { continue };
        let sender = sender.clone();
        std::thread::spawn(move || read(key, stream, writer, &sender));
    }
}

/// Reads one connection until its end. That nobody listens any more means that the program ends.
fn read(key: u64, mut stream: TcpStream, writer: TcpStream, sender: &Sender<Input>) {
    let _ = sender.send(Input::Opened(key, writer));
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let _ = sender.send(Input::Bytes(key, buffer[..count].to_vec()));
    }
    let _ = sender.send(Input::Closed(key));
}

fn client(address: SocketAddr, connect: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(connect)?;
    assert_eq!(read_exactly::<4>(&mut stream)?, [0x20, 2, 0, 0], "CONNACK");
    Ok(stream)
}

fn read_exactly<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map(|()| bytes)
}
