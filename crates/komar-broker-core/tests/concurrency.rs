//! Workers on several threads, in many orders of events: a scheduler decides at each lock and each atomic which thread goes
//! on. A failure prints the schedule that replays it.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p komar-broker-core --features in-process --test concurrency`; `KOMAR_SCHEDULES` says
//! how many orders a test tries (default 1,000; 200,000 by hand).

#![cfg(shuttle)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

use komar_broker_core::store::{Change, PersistBatch};
use komar_broker_core::{
    Access, Action, Authorize, Broker, BrokerConfig, CloseCause, Decision, Link, ListenerPolicy, Next, Now,
    Outbox, Pending, Sent, Subject, Take, Worker,
};
use komar_codec::{DecodeOptions, Framing, ProtocolVersion, Role, frame};
use komar_testkit::words::{self, Said};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, Runner, thread};

/// Two publishers write to one Connection whose socket is small, while its owner hears that it is writable again. Each edge
/// comes once: whoever loses one leaves the Connection with bytes that nobody sends.
#[test]
fn no_edge_is_lost_and_no_link_stalls() {
    explore(|| {
        let broker = broker();
        let mut owner = worker(&broker);
        let mut receiver = Client::join(&mut owner, "connect v3 id=r clean", ANY);
        receiver.says(&mut owner, "subscribe id=1 t");
        receiver.wire.take();
        receiver.wire.set_room(8);
        let publishers = [1, 2].map(|number| {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, &format!("connect v3 id=p{number} clean"), ANY);
                publisher.says(&mut worker, &format!(r#"publish t "{number}1""#));
                publisher.says(
                    &mut worker,
                    &format!(r#"publish t "{number}2" + publish t "{number}3""#),
                );
            })
        });
        let mut received = Vec::new();
        for _ in 0..4 {
            receiver.reads(&mut owner, &mut received);
            thread::yield_now();
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        // All publishers have gone: what is not on its way now never will be.
        while receiver.reads(&mut owner, &mut received) {}
        assert_all_in_order(&received);
    });
}

/// Drivers ask for the output of one Connection whenever they like, and not when it is on their list: while one has it, whose
/// socket takes its time, the others get nothing, or what came later would be written first.
#[test]
fn whoever_asks_one_thread_at_a_time_has_the_output() {
    explore(|| {
        let broker = broker();
        let mut owner = worker(&broker);
        let mut receiver = Client::join(&mut owner, "connect v3 id=r clean", ANY);
        receiver.says(&mut owner, "subscribe id=1 t");
        receiver.wire.take();
        let outbox = Arc::clone(receiver.link.outbox());
        let publishers = [1, 2].map(|number| {
            let (outbox, done) = (Arc::clone(&outbox), flag());
            let mut worker = worker(&broker);
            let mut publisher = Client::join(&mut worker, &format!("connect v3 id=p{number} clean"), ANY);
            let is_done = done.clone();
            let thread = thread::spawn(move || {
                for turn in 1..=3 {
                    publisher.says(&mut worker, &format!(r#"publish t "{number}{turn}""#));
                    send(&mut worker, &outbox);
                }
                store(&done);
            });
            (thread, is_done)
        });
        let mut taken = None;
        while taken.is_none() && !publishers.iter().all(|(_, is_done)| load(is_done)) {
            match owner.take_output(&outbox) {
                Take::Output(output) => taken = Some(output),
                _ => thread::yield_now(),
            }
        }
        for (publisher, _) in publishers {
            publisher.join().unwrap();
        }
        if let Some(output) = taken
            && write(&mut owner, &outbox, &receiver.wire, output) == Next::Again
        {
            send(&mut owner, &outbox);
        }
        assert_all_in_order(&receiver.wire.take());
    });
}

/// Three messages of each of two publishers, in the order of each.
fn assert_all_in_order(received: &[u8]) {
    let received = said(received, ProtocolVersion::V3_1_1);
    for number in [1, 2] {
        let expected: Vec<String> = (1..=3)
            .map(|turn| format!(r#"publish t "{number}{turn}""#))
            .collect();
        let mine = format!("\"{number}");
        let of_one: Vec<&String> = received.iter().filter(|said| said.contains(&mine)).collect();
        assert_eq!(of_one, expected.iter().collect::<Vec<_>>());
    }
}

/// A Connection is asked to be closed while others write to it: its driver is told to.
#[test]
fn a_close_is_not_lost_among_writers() {
    explore(|| {
        let broker = broker();
        let mut owner = worker(&broker);
        let mut receiver = Client::join(&mut owner, "connect v3 id=r clean", ANY);
        receiver.says(&mut owner, "subscribe id=1 t");
        receiver.wire.take();
        receiver.wire.set_room(5);
        let publisher = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, "connect v3 id=p clean", ANY);
                publisher.says(&mut worker, r#"publish t "1""#);
                publisher.says(&mut worker, r#"publish t "2""#);
            })
        };
        let closer = {
            let (broker, outbox) = (broker.clone(), Arc::clone(receiver.link.outbox()));
            thread::spawn(move || {
                let mut worker = worker(&broker);
                worker.request_close(&outbox, CloseCause::AdministrativeAction);
                flush(&mut worker);
            })
        };
        let mut received = Vec::new();
        receiver.reads(&mut owner, &mut received);
        publisher.join().unwrap();
        closer.join().unwrap();
        while receiver.reads(&mut owner, &mut received) {}
        assert!(receiver.wire.is_over());
        owner.close(&mut receiver.link, CloseCause::ConnectionClosed);
    });
}

/// A Connection's owner closes it while another worker writes to it, whose socket takes no more: nothing of it is counted as
/// waiting afterwards.
#[test]
fn what_waits_for_a_closed_connection_is_not_counted() {
    explore(|| {
        let broker = broker();
        let mut owner = worker(&broker);
        let mut receiver = Client::join(&mut owner, "connect v3 id=r clean", ANY);
        receiver.says(&mut owner, "subscribe id=1 t");
        receiver.wire.set_room(5);
        let publisher = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, "connect v3 id=p clean", ANY);
                publisher.says(&mut worker, r#"publish t "1""#);
                publisher.says(&mut worker, r#"publish t "2""#);
            })
        };
        thread::yield_now();
        owner.close(&mut receiver.link, CloseCause::ConnectionClosed);
        settle(&mut owner);
        publisher.join().unwrap();
        assert_eq!(broker.statistics().waiting_bytes, 0);
    });
}

/// A worker remembers where messages go. Whoever has its SUBACK gets what is published afterwards, and whoever has its
/// UNSUBACK gets nothing more.
#[test]
fn a_cached_route_is_never_older_than_the_index() {
    explore(|| {
        let broker = broker();
        let (subscribed, leaving, gone) = (flag(), flag(), flag());
        let mut worker_of_s = worker(&broker);
        let mut subscriber = Client::join(&mut worker_of_s, "connect v3 id=s clean", ANY);
        let publisher = {
            let broker = broker.clone();
            let (subscribed, leaving, gone) = (subscribed.clone(), leaving.clone(), gone.clone());
            let mut worker = worker(&broker);
            let mut publisher = Client::join(&mut worker, "connect v3 id=p clean", ANY);
            // A name is in the worker's cache from its second miss on: `t` is, `u` is about to be.
            publisher.says(
                &mut worker,
                r#"publish t "warm" + publish t "warm" + publish t "warm" + publish u "warm""#,
            );
            thread::spawn(move || {
                let mut must = Vec::new();
                let mut must_not = Vec::new();
                for number in 0..4 {
                    let (subscribed, gone) = (load(&subscribed), load(&gone));
                    publisher.says(
                        &mut worker,
                        &format!(r#"publish t "{number}" + publish u "{number}""#),
                    );
                    if subscribed && !load(&leaving) {
                        must.push(number);
                    }
                    if gone {
                        must_not.push(number);
                    }
                }
                (must, must_not)
            })
        };
        subscriber.says(&mut worker_of_s, "subscribe id=1 t u");
        store(&subscribed);
        thread::yield_now();
        store(&leaving);
        subscriber.says(&mut worker_of_s, "unsubscribe id=2 t u");
        store(&gone);
        let (must, must_not) = publisher.join().unwrap();
        let received = said(&subscriber.wire.take(), ProtocolVersion::V3_1_1);
        for name in ["t", "u"] {
            let count = |number: &i32| {
                let text = format!(r#"publish {name} "{number}""#);
                received.iter().filter(|said| **said == text).count()
            };
            assert!(
                must.iter().all(|number| count(number) == 1),
                "{name} {must:?} {received:?}"
            );
            assert!(
                must_not.iter().all(|number| count(number) == 0),
                "{name} {must_not:?} {received:?}"
            );
        }
    });
}

/// A retained message that is published while somebody subscribes comes once, and the newest comes last.
#[test]
fn a_retained_message_is_sent_once_and_the_newest_last() {
    explore(|| {
        let broker = broker();
        let mut worker_of_s = worker(&broker);
        let mut subscriber = Client::join(&mut worker_of_s, "connect v5 id=s clean", ANY);
        let publisher = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, "connect v5 id=p clean", ANY);
                publisher.says(&mut worker, r#"publish t "1" retain"#);
                publisher.says(&mut worker, r#"publish t "2" retain"#);
            })
        };
        subscriber.says(&mut worker_of_s, "subscribe id=1 t");
        publisher.join().unwrap();
        settle(&mut worker_of_s);
        let received = said(&subscriber.wire.take(), ProtocolVersion::V5);
        let numbers: Vec<&str> = received
            .iter()
            .filter_map(|said| said.strip_prefix("publish t \"")?.split('"').next())
            .collect();
        assert!(numbers == ["1", "2"] || numbers == ["2"], "{received:?}");
    });
}

/// A client comes back on another worker while messages are sent to it. Whatever the order: the old Connection gets nothing
/// behind its DISCONNECT, the new one begins with CONNACK, and each message that was not acknowledged comes on it once, in
/// order.
#[test]
fn a_takeover_loses_and_doubles_nothing() {
    explore(|| {
        let broker = broker();
        let mut owner = worker(&broker);
        let mut first = Client::join(&mut owner, "connect v5 id=c expiry=100", ANY);
        first.says(&mut owner, "subscribe id=1 t qos=2");
        let publisher = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, "connect v5 id=p clean", ANY);
                for number in 1..=3 {
                    publisher.says(&mut worker, &format!(r#"publish t "{number}" qos=1 id={number}"#));
                }
            })
        };
        let second = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let client = Client::join(&mut worker, "connect v5 id=c expiry=100", ANY);
                (worker, client)
            })
        };
        publisher.join().unwrap();
        let (mut worker, client) = second.join().unwrap();
        settle(&mut worker);
        settle(&mut owner);
        let old = said(&first.wire.take(), ProtocolVersion::V5);
        assert_eq!(
            old.last().map(String::as_str),
            Some("disconnect session_taken_over")
        );
        assert_eq!(
            old.iter().filter(|said| said.starts_with("disconnect")).count(),
            1
        );
        assert!(first.wire.is_over());
        owner.close(&mut first.link, CloseCause::ConnectionClosed);
        // The end of the old one is nothing to the new one.
        let mut late = Client::join(&mut worker, "connect v5 id=q clean", ANY);
        late.says(&mut worker, r#"publish t "4" qos=1 id=1"#);
        let new = said(&client.wire.take(), ProtocolVersion::V5);
        let Some((connack, messages)) = new.split_first() else {
            panic!("the new connection got nothing");
        };
        // v5 [MQTT-3.2.0-1], v3 [MQTT-3.2.0-1]
        assert!(
            connack.starts_with("connack success session_present=1"),
            "{new:?}"
        );
        assert_eq!(messages.len(), 4, "{new:?}");
        for (message, number) in messages.iter().zip(1..) {
            assert!(
                message.starts_with(&format!(r#"publish t "{number}" qos=1"#)),
                "{new:?}"
            );
        }
    });
}

/// A client that is away with a Will Message comes back while another worker hands out what is to be stored: that the Will is
/// over is not in a batch before that with the client's coming back.
#[test]
fn a_will_is_over_in_one_batch_with_the_connection_that_stops_it() {
    explore(|| {
        let mut config = BrokerConfig::default();
        config.durable = true;
        let broker = Broker::new(config, Access::allow_all(), 7);
        let mut owner = worker(&broker);
        let connect = r#"connect v5 id=c expiry=100 will=w will_payload="gone" will_delay=50"#;
        let mut first = Client::open(&mut owner, connect, ANY);
        owner.close(&mut first.link, CloseCause::ConnectionClosed);
        owner.turn_end();
        let other = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                [worker.turn_end().persist, worker.turn_end().persist]
            })
        };
        let _second = Client::open(&mut owner, "connect v5 id=c expiry=100", ANY);
        let mut batches = Vec::from(other.join().unwrap());
        batches.push(owner.turn_end().persist);
        let over = |batch: &PersistBatch| {
            batch
                .changes
                .iter()
                .any(|change| matches!(change, Change::WillOver { .. }))
        };
        let bound = |batch: &PersistBatch| {
            batch
                .changes
                .iter()
                .any(|change| matches!(change, Change::SessionBound { .. }))
        };
        let stops: Vec<_> = batches.iter().filter(|batch| over(batch)).map(bound).collect();
        assert_eq!(stops, [true]);
    });
}

/// Two Connections with one Client Identifier at once: one of them stays.
#[test]
fn of_two_connections_with_one_name_one_stays() {
    explore(|| {
        let broker = broker();
        let rivals = [1, 2].map(|_| {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let client = Client::join(&mut worker, "connect v5 id=c clean", ANY);
                (worker, client)
            })
        });
        let mut closed = 0;
        for (mut worker, client) in rivals.map(|rival| rival.join().unwrap()) {
            settle(&mut worker);
            let said = said(&client.wire.take(), ProtocolVersion::V5);
            assert!(
                said.first()
                    .is_some_and(|first| first.starts_with("connack success")),
                "{said:?}"
            );
            let is_out = said.iter().any(|said| said == "disconnect session_taken_over");
            assert_eq!(client.wire.is_over(), is_out);
            closed += usize::from(is_out);
        }
        assert_eq!(closed, 1);
        assert_eq!(broker.statistics().sessions, 1);
    });
}

/// A member of a Shared Subscription goes for good while messages come for it: the other member has all of them in the end.
#[test]
fn a_member_that_leaves_takes_no_message_along() {
    explore(|| {
        let broker = broker();
        let mut worker_of_a = worker(&broker);
        let mut a = Client::join(&mut worker_of_a, "connect v5 id=a clean", ANY);
        a.says(&mut worker_of_a, "subscribe id=1 $share/g/t qos=1");
        let mut worker_of_b = worker(&broker);
        let mut b = Client::join(&mut worker_of_b, "connect v5 id=b clean", ANY);
        b.says(&mut worker_of_b, "subscribe id=1 $share/g/t qos=1");
        let publisher = {
            let broker = broker.clone();
            thread::spawn(move || {
                let mut worker = worker(&broker);
                let mut publisher = Client::join(&mut worker, "connect v5 id=p clean", ANY);
                for number in 1..=4 {
                    publisher.says(&mut worker, &format!(r#"publish t "{number}" qos=1 id={number}"#));
                }
            })
        };
        worker_of_a.close(&mut a.link, CloseCause::ConnectionClosed);
        settle(&mut worker_of_a);
        publisher.join().unwrap();
        settle(&mut worker_of_b);
        let received = said(&b.wire.take(), ProtocolVersion::V5);
        for number in 1..=4 {
            let text = format!(r#"publish t "{number}" "#);
            assert_eq!(
                received.iter().filter(|said| said.starts_with(&text)).count(),
                1,
                "{received:?}"
            );
        }
    });
}

/// The members of a Shared Subscription come and go, each with its Session, while messages come for it: whoever has them, they
/// are all there.
#[test]
fn a_member_that_comes_back_misses_nothing() {
    explore(|| {
        let broker = broker();
        let members = ["a", "b"].map(|name| {
            let mut worker = worker(&broker);
            let connect = format!("connect v5 id={name} expiry=100");
            let mut member = Client::join(&mut worker, &connect, ANY);
            member.says(&mut worker, "subscribe id=1 $share/g/t qos=1");
            if name == "b" {
                worker.close(&mut member.link, CloseCause::ConnectionClosed);
                settle(&mut worker);
            }
            (worker, member)
        });
        let [(mut worker_of_a, mut a), (mut worker_of_b, _)] = members;
        let coming = thread::spawn(move || {
            Client::join(&mut worker_of_b, "connect v5 id=b expiry=100", ANY);
        });
        let going = thread::spawn(move || {
            worker_of_a.close(&mut a.link, CloseCause::ConnectionClosed);
            settle(&mut worker_of_a);
        });
        let mut worker = worker(&broker);
        let mut publisher = Client::join(&mut worker, "connect v5 id=p clean", ANY);
        for number in 1..=2 {
            publisher.says(&mut worker, &format!(r#"publish t "{number}" qos=1 id={number}"#));
        }
        coming.join().unwrap();
        going.join().unwrap();
        let waiting = ["a", "b"].map(|name| broker.waiting_messages(name).unwrap());
        assert_eq!(waiting.iter().sum::<usize>(), 2, "{waiting:?}");
    });
}

/// A client in the same process publishes and waits for answers, and another one for messages, while their worker goes to sleep
/// when it has nothing to do: each is woken, and a wake that is lost is a deadlock.
#[cfg(feature = "in-process")]
#[test]
fn nobody_sleeps_while_a_client_of_the_same_process_waits() {
    use komar_broker_core::{LocalClient, LocalEvent, LocalOptions};
    fn message(client: &LocalClient) -> Vec<u8> {
        match client.receive() {
            Ok(LocalEvent::Message(message)) => message.payload,
            other => panic!("{other:?}"),
        }
    }
    explore(|| {
        let broker = broker();
        let mut worker = worker(&broker);
        let bell = Bell::of(&worker);
        let [publisher, subscriber] = ["p", "s"].map(|name| {
            let mut options = LocalOptions::new(name);
            // One packet at a time, in either direction.
            options.maximum_bytes = 1;
            broker.connect_local(options).unwrap()
        });
        let done = flag();
        let driver = {
            let (bell, done) = (Arc::clone(&bell), Arc::clone(&done));
            thread::spawn(move || {
                while !load(&done) {
                    worker.turn_begin(Now::default());
                    while worker.next_verdict().is_some() {}
                    settle(&mut worker);
                    if !worker.has_letters() {
                        bell.wait();
                    }
                }
            })
        };
        subscriber
            .subscribe("t", komar_broker_core::QoS::AtLeastOnce)
            .unwrap();
        assert!(matches!(subscriber.receive(), Ok(LocalEvent::Subscribed { .. })));
        let publishing = thread::spawn(move || {
            for number in [b"1", b"2"] {
                let asked = publisher.publish("t", number, komar_broker_core::QoS::AtLeastOnce, false);
                let published = publisher.receive();
                assert!(
                    matches!(published, Ok(LocalEvent::Published { identifier, .. }) if asked == Ok(Some(identifier))),
                    "{asked:?}, {published:?}"
                );
            }
        });
        assert_eq!(message(&subscriber), b"1");
        assert_eq!(message(&subscriber), b"2");
        publishing.join().unwrap();
        store(&done);
        bell.ring();
        driver.join().unwrap();
    });
}

/// What wakes a driver that sleeps.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn of(worker: &Worker) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        let ringer = Arc::clone(&bell);
        worker.set_wake(Box::new(move || ringer.ring()));
        bell
    }

    fn ring(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.0.lock().unwrap();
        while !*rung {
            rung = self.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// An answer comes from another thread while the driver goes to sleep, or while the client goes. The driver is woken, the
/// message is sent once, and nothing happens for a client that has gone.
#[test]
fn a_verdict_wakes_its_worker_and_is_void_after_a_close() {
    explore(|| {
        let desk = Arc::new(Desk::default());
        let access = Access {
            authorize: Some(Arc::clone(&desk) as Arc<dyn Authorize>),
            ..Access::allow_all()
        };
        let broker = Broker::new(BrokerConfig::default(), access, 7);
        let mut watcher = worker(&broker);
        let mut subscriber = Client::join(&mut watcher, "connect v3 id=s clean", ANY);
        subscriber.says(&mut watcher, "subscribe id=1 t");
        let mut worker = worker(&broker);
        let bell = Bell::of(&worker);
        let mut asks = Client::join(&mut worker, "connect v3 id=a clean", ANY);
        let mut leaves = Client::join(&mut worker, "connect v3 id=b clean", ANY);
        asks.says(&mut worker, r#"publish t "a""#);
        leaves.says(&mut worker, r#"publish t "b""#);
        let answering = thread::spawn(move || {
            // The one that is waited for last: no letter behind it wakes the driver as well.
            let questions = std::mem::take(&mut *desk.questions.lock().unwrap());
            for pending in questions.into_iter().rev() {
                pending.answer(Decision::AllowOnce);
            }
        });
        worker.close(&mut leaves.link, CloseCause::ConnectionClosed);
        // The driver sleeps until it is woken; a wake that is lost is a deadlock, which the scheduler finds.
        let mut answered = false;
        while !answered {
            if !worker.has_letters() {
                bell.wait();
            }
            worker.turn_begin(Now::default());
            while let Some(verdict) = worker.next_verdict() {
                if Arc::ptr_eq(&verdict.outbox, asks.link.outbox()) {
                    worker.verdict(&mut asks.link, verdict);
                    answered = true;
                } else if Arc::ptr_eq(&verdict.outbox, leaves.link.outbox()) {
                    worker.verdict(&mut leaves.link, verdict);
                }
            }
            settle(&mut worker);
        }
        answering.join().unwrap();
        let received = said(&subscriber.wire.take(), ProtocolVersion::V3_1_1);
        assert_eq!(received.last().map(String::as_str), Some(r#"publish t "a""#));
        assert!(
            !received.iter().any(|said| said == r#"publish t "b""#),
            "{received:?}"
        );
    });
}

/// Questions about PUBLISH, kept until somebody answers.
#[derive(Default)]
struct Desk {
    questions: Mutex<Vec<Pending<Decision>>>,
}

impl Authorize for Desk {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        match (action, subject.later()) {
            (Action::Publish(_), Some(pending)) => {
                self.questions.lock().unwrap().push(pending);
                Decision::Later
            }
            _ => Decision::Allow,
        }
    }
}

/// One Connection, driven by the worker that its calls name.
struct Client {
    link: Link,
    wire: Arc<Wire>,
    version: ProtocolVersion,
}

impl Client {
    /// Connects with a socket that takes `room` bytes.
    fn join(worker: &mut Worker, connect: &str, room: usize) -> Client {
        let client = Client::open(worker, connect, room);
        settle(worker);
        client
    }

    /// As `join`, with what CONNECT brings left to be done.
    fn open(worker: &mut Worker, connect: &str, room: usize) -> Client {
        let wire = Arc::new(Wire::default());
        wire.set_room(room);
        worker.turn_begin(Now::default());
        let link = worker.open(Box::new(Arc::clone(&wire)), &Arc::new(ListenerPolicy::default()));
        let version = match connect.contains("v5") {
            true => ProtocolVersion::V5,
            false => ProtocolVersion::V3_1_1,
        };
        let mut client = Client { link, wire, version };
        let bytes = words::encode(client.version, connect).unwrap();
        worker.input(&mut client.link, &bytes);
        client
    }

    /// Sends packets; the worker does a turn.
    fn says(&mut self, worker: &mut Worker, text: &str) {
        let bytes = words::encode(self.version, text).unwrap();
        worker.turn_begin(Now::default());
        worker.input(&mut self.link, &bytes);
        settle(worker);
    }

    /// Takes what has come, which makes room again, and passes an edge on. Says whether there was anything.
    fn reads(&mut self, worker: &mut Worker, into: &mut Vec<u8>) -> bool {
        let mut end = self.wire.0.lock().unwrap();
        let bytes = core::mem::take(&mut end.received);
        end.room += bytes.len();
        let edge = core::mem::take(&mut end.full) && end.room > 0;
        drop(end);
        into.extend_from_slice(&bytes);
        if edge {
            worker.turn_begin(Now::default());
            worker.writable(self.link.outbox());
            settle(worker);
        }
        !bytes.is_empty() || edge
    }
}

/// The socket of a Connection.
#[derive(Default)]
struct Wire(Mutex<End>);

#[derive(Default)]
struct End {
    received: Vec<u8>,
    /// How many more bytes it takes.
    room: usize,
    /// A writer was told that it takes no more: an edge is due when it does.
    full: bool,
    /// The driver was told to close it.
    over: bool,
}

impl Wire {
    fn take(&self) -> Vec<u8> {
        core::mem::take(&mut self.0.lock().unwrap().received)
    }

    fn set_room(&self, room: usize) {
        self.0.lock().unwrap().room = room;
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap().over
    }
}

/// The end of a driver's turn, as often as there is something to do.
fn settle(worker: &mut Worker) {
    loop {
        worker.work();
        flush(worker);
        while worker.next_event().is_some() {}
        if worker.turn_end().wait != Some(core::time::Duration::ZERO) || worker.has_letters() {
            return;
        }
    }
}

fn flush(worker: &mut Worker) {
    while let Some(outbox) = worker.next_dirty() {
        send(worker, &outbox);
    }
}

/// Writes what there is for a Connection.
fn send(worker: &mut Worker, outbox: &Arc<Outbox>) {
    let wire = outbox.handle().downcast_ref::<Arc<Wire>>().unwrap();
    loop {
        let next = match worker.take_output(outbox) {
            Take::Output(output) => write(worker, outbox, wire, output),
            Take::Close => Next::Close,
            _ => Next::Idle,
        };
        match next {
            Next::Again => {}
            Next::Close => {
                wire.0.lock().unwrap().over = true;
                return;
            }
            _ => return,
        }
    }
}

fn write(
    worker: &mut Worker,
    outbox: &Arc<Outbox>,
    wire: &Wire,
    mut output: komar_broker_core::Output,
) -> Next {
    let mut sent = Sent::All;
    let mut end = wire.0.lock().unwrap();
    while !output.is_empty() {
        let count = output.chunk().len().min(end.room);
        if count == 0 {
            end.full = true;
            sent = Sent::Blocked;
            break;
        }
        end.received.extend_from_slice(&output.chunk()[..count]);
        end.room -= count;
        output.advance(count);
    }
    drop(end);
    worker.output_done(outbox, output, sent)
}

fn said(mut bytes: &[u8], version: ProtocolVersion) -> Vec<String> {
    let options = DecodeOptions::new(version, Role::Client);
    let mut all = Vec::new();
    while let Framing::Complete(whole) = frame(bytes, &options).unwrap() {
        all.push(Said::of(whole, &options).unwrap().to_string());
        bytes = &bytes[whole.len()..];
    }
    assert!(bytes.is_empty(), "half a packet: {bytes:?}");
    all
}

fn broker() -> Broker {
    Broker::new(BrokerConfig::default(), Access::allow_all(), 7)
}

fn worker(broker: &Broker) -> Worker {
    Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(7)))
}

fn flag() -> Arc<AtomicBool> {
    Arc::default()
}

fn load(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

fn store(flag: &AtomicBool) {
    flag.store(true, Ordering::SeqCst);
}

/// Half of the schedules switch threads at random; the others find what takes few, well-placed switches.
fn explore(test: fn()) {
    let wanted = std::env::var("KOMAR_SCHEDULES")
        .ok()
        .and_then(|count| count.parse().ok());
    let schedules: usize = wanted.unwrap_or(1_000);
    let mut config = Config::new();
    // A worker has more on its stack than the default.
    config.stack_size = 1 << 20;
    let seed = 6;
    Runner::new(
        RandomScheduler::new_from_seed(seed, schedules / 2),
        config.clone(),
    )
    .run(test);
    Runner::new(PctScheduler::new_from_seed(seed, 3, schedules / 2), config).run(test);
}

const ANY: usize = usize::MAX / 2;
