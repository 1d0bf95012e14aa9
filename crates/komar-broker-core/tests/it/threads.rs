//! Real threads, a worker each, whose accounts balance: what publishers have sent is what each subscriber has received, once
//! and in order, at all three QoS, while Connections move from thread to thread and sockets are full now and then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use komar_broker_core::{
    Access, Broker, BrokerConfig, Link, ListenerPolicy, Next, Now, Outbox, Output, Sent, Take, Worker,
};
use komar_codec::{DecodeOptions, Framing, Packet, ProtocolVersion, QoS, Role, frame};
use komar_testkit::words;

#[test]
fn accounts_balance() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_queued_messages = None;
    let broker = Broker::new(config, Access::allow_all(), 7);
    let mut worker = new_worker(&broker);
    let mut clients: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| subscriber(&mut worker, number))
        .collect();
    clients.extend((0..PUBLISHERS).map(|number| publisher(&mut worker, number)));
    drop(worker);
    let office = Arc::new(Office {
        arrivals: (0..THREADS).map(|_| Mutex::default()).collect(),
        done: AtomicUsize::new(0),
        clients: clients.len(),
    });
    for (number, client) in clients.into_iter().enumerate() {
        office.arrivals[number % THREADS].lock().unwrap().push(client);
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (broker, office) = (broker.clone(), Arc::clone(&office));
            thread::spawn(move || run(&broker, &office, number))
        })
        .collect();
    let mut clients: Vec<Client> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    // On their way to a thread that has ended.
    for arrivals in &office.arrivals {
        clients.append(&mut arrivals.lock().unwrap());
    }
    assert_eq!(clients.len(), SUBSCRIBERS + PUBLISHERS);
    let expected: Vec<u32> = (0..MESSAGES).collect();
    for client in &clients {
        let Part::Subscriber(received) = &client.part else {
            continue;
        };
        assert_eq!(received.len(), PUBLISHERS * 3);
        for (topic_name, numbers) in received {
            assert_eq!(*numbers, expected, "{topic_name}");
        }
    }
    assert_eq!(broker.statistics().dropped_messages, 0);
}

/// What the threads share besides the broker.
struct Office {
    /// Clients on their way to a thread.
    arrivals: Vec<Mutex<Vec<Client>>>,
    /// Clients that have all they wait for, of how many.
    done: AtomicUsize,
    clients: usize,
}

/// One thread: turns of its worker, with the clients it has at the moment, until all clients of all threads are done.
fn run(broker: &Broker, office: &Office, number: usize) -> Vec<Client> {
    let mut worker = new_worker(broker);
    let mut mine = Vec::new();
    let (mut turns, mut idle) = (0_usize, 0_usize);
    while office.done.load(Ordering::SeqCst) < office.clients {
        mine.append(&mut office.arrivals[number].lock().unwrap());
        worker.turn_begin(Now::default());
        let mut busy = false;
        for client in &mut mine {
            busy |= client.turn(&mut worker);
            if !client.is_done && client.has_all() {
                client.is_done = true;
                office.done.fetch_add(1, Ordering::SeqCst);
            }
        }
        worker.work();
        flush(&mut worker);
        while worker.next_event().is_some() {}
        worker.turn_end();
        turns += 1;
        if turns % MOVE_EVERY == 0 && !mine.is_empty() {
            let client = mine.remove(0);
            office.arrivals[(number + 1) % THREADS]
                .lock()
                .unwrap()
                .push(client);
        }
        idle = if busy { 0 } else { idle + 1 };
        assert!(
            idle < PATIENCE,
            "nothing happens any more, and messages are missing"
        );
        if !busy {
            thread::yield_now();
        }
    }
    mine
}

/// One Connection with both its ends.
struct Client {
    link: Link,
    wire: Arc<Wire>,
    rest: Vec<u8>,
    part: Part,
    is_done: bool,
}

enum Part {
    /// Numbers received, by topic.
    Subscriber(BTreeMap<String, Vec<u32>>),
    Publisher(Publisher),
}

struct Publisher {
    number: usize,
    /// What it sends next, and how many are not acknowledged, by QoS.
    next: [u32; 3],
    under_way: [u32; 3],
}

fn subscriber(worker: &mut Worker, number: usize) -> Client {
    let mut client = Client::join(worker, &format!("s{number}"), Part::Subscriber(BTreeMap::new()));
    client.says(worker, "subscribe id=1 accounts/# qos=2");
    client
}

fn publisher(worker: &mut Worker, number: usize) -> Client {
    let publisher = Publisher {
        number,
        next: [0; 3],
        under_way: [0; 3],
    };
    Client::join(worker, &format!("p{number}"), Part::Publisher(publisher))
}

impl Client {
    fn join(worker: &mut Worker, client_id: &str, part: Part) -> Client {
        let wire = Arc::new(Wire(Mutex::new(End {
            received: VecDeque::new(),
            full: false,
        })));
        let link = worker.open(Box::new(Arc::clone(&wire)), &Arc::new(ListenerPolicy::default()));
        let mut client = Client {
            link,
            wire,
            rest: Vec::new(),
            part,
            is_done: false,
        };
        client.says(worker, &format!("connect v5 id={client_id} clean"));
        client
    }

    fn says(&mut self, worker: &mut Worker, text: &str) {
        let bytes = words::encode(ProtocolVersion::V5, text).unwrap();
        worker.input(&mut self.link, &bytes);
        flush(worker);
    }

    fn has_all(&self) -> bool {
        match &self.part {
            Part::Subscriber(received) => {
                let count: usize = received.values().map(Vec::len).sum();
                count == PUBLISHERS * 3 * MESSAGES as usize
            }
            Part::Publisher(publisher) => publisher.next == [MESSAGES; 3] && publisher.under_way == [0; 3],
        }
    }

    /// Reads what has come, answers it, and sends what it has to send. Says whether there was anything.
    fn turn(&mut self, worker: &mut Worker) -> bool {
        let (came, edge) = self.wire.read(&mut self.rest);
        if edge {
            worker.writable(self.link.outbox());
        }
        let answers = self.answers();
        let mut bytes = words::encode(ProtocolVersion::V5, &answers.join(" + ")).unwrap_or_default();
        if let Part::Publisher(publisher) = &mut self.part {
            bytes.extend(publisher.messages());
        }
        if !bytes.is_empty() {
            worker.input(&mut self.link, &bytes);
        }
        came || edge || !bytes.is_empty()
    }

    fn answers(&mut self) -> Vec<String> {
        let options = DecodeOptions::new(ProtocolVersion::V5, Role::Client);
        let (mut answers, mut start) = (Vec::new(), 0);
        while let Framing::Complete(whole) = frame(&self.rest[start..], &options).unwrap() {
            start += whole.len();
            match (Packet::decode(whole, &options).unwrap(), &mut self.part) {
                (Packet::Publish(publish), Part::Subscriber(received)) => {
                    let number = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
                    received
                        .entry(publish.topic_name.to_owned())
                        .or_default()
                        .push(number);
                    let identifier = publish.packet_identifier.map_or(0, |identifier| identifier.get());
                    match publish.qos {
                        QoS::AtMostOnce => {}
                        QoS::AtLeastOnce => answers.push(format!("puback id={identifier}")),
                        QoS::ExactlyOnce => answers.push(format!("pubrec id={identifier}")),
                    }
                }
                (Packet::PubRel(release), Part::Subscriber(_)) => {
                    answers.push(format!("pubcomp id={}", release.packet_identifier.get()));
                }
                (Packet::PubAck(_), Part::Publisher(publisher)) => publisher.under_way[1] -= 1,
                (Packet::PubComp(_), Part::Publisher(publisher)) => publisher.under_way[2] -= 1,
                (Packet::PubRec(received), Part::Publisher(_)) => {
                    answers.push(format!("pubrel id={}", received.packet_identifier.get()));
                }
                (Packet::ConnAck(_) | Packet::SubAck(_), _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
        self.rest.drain(..start);
        answers
    }
}

impl Publisher {
    /// One message of each QoS whose window has room.
    fn messages(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for qos in 0..3_u32 {
            let place = qos as usize;
            let number = self.next[place];
            if number == MESSAGES || self.under_way[place] == WINDOW {
                continue;
            }
            self.next[place] += 1;
            let identifier = match qos {
                0 => String::new(),
                _ => {
                    self.under_way[place] += 1;
                    format!("qos={qos} id={}", 1 + number * 2 + qos % 2)
                }
            };
            let text = format!(
                r#"publish accounts/{}/{qos} "{number}" {identifier}"#,
                self.number
            );
            bytes.extend(words::encode(ProtocolVersion::V5, &text).unwrap());
        }
        bytes
    }
}

/// The socket of a Connection: it holds a few bytes.
struct Wire(Mutex<End>);

struct End {
    received: VecDeque<u8>,
    /// A writer was told that it takes no more: an edge is due when it does.
    full: bool,
}

impl Wire {
    /// Says whether there was anything, and whether a writer waits for it.
    fn read(&self, into: &mut Vec<u8>) -> (bool, bool) {
        let mut end = self.0.lock().unwrap();
        let before = into.len();
        into.extend(end.received.drain(..));
        (into.len() > before, core::mem::take(&mut end.full))
    }

    fn write(&self, output: &mut Output) -> Sent {
        let mut end = self.0.lock().unwrap();
        while !output.is_empty() {
            let count = output.chunk().len().min(SOCKET - end.received.len());
            if count == 0 {
                end.full = true;
                return Sent::Blocked;
            }
            end.received.extend(&output.chunk()[..count]);
            output.advance(count);
        }
        Sent::All
    }
}

fn flush(worker: &mut Worker) {
    while let Some(outbox) = worker.next_dirty() {
        while let Take::Output(output) = worker.take_output(&outbox) {
            if write(worker, &outbox, output) != Next::Again {
                break;
            }
        }
    }
}

fn write(worker: &mut Worker, outbox: &Arc<Outbox>, mut output: Output) -> Next {
    let wire = outbox.handle().downcast_ref::<Arc<Wire>>().unwrap();
    let sent = wire.write(&mut output);
    worker.output_done(outbox, output, sent)
}

fn new_worker(broker: &Broker) -> Worker {
    Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(7)))
}

const THREADS: usize = 3;
const SUBSCRIBERS: usize = 4;
const PUBLISHERS: usize = 4;
/// Of each publisher, at each QoS.
const MESSAGES: u32 = 1_500;
/// Below our Receive Maximum, both QoS together.
const WINDOW: u32 = 8;
const MOVE_EVERY: usize = 20;
/// Bytes.
const SOCKET: usize = 200;
/// Turns without anything to do, after which something is taken to be lost.
const PATIENCE: usize = 3_000_000;
