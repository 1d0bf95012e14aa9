//! Clients in the same process: the rules of all others, bounded in both directions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use komar_broker_core::{
    Access, Broker, BrokerConfig, CloseCause, Decision, Hooks, LocalClient, LocalError, LocalEvent,
    LocalOptions, Now, Worker,
};
use komar_codec::{QoS, ReasonCode};
use komar_testkit::Site;

use crate::desk::{Desk, hears, hears_nothing, join, say};

fn connect(site: &mut Site, name: &str, maximum_bytes: usize) -> LocalClient {
    let mut options = LocalOptions::new(name);
    options.username = Some(name.to_owned());
    options.maximum_bytes = maximum_bytes;
    let client = site.broker().connect_local(options).unwrap();
    site.settle();
    client
}

fn message(client: &LocalClient) -> Option<(String, String)> {
    match client.try_receive().unwrap()? {
        LocalEvent::Message(message) => {
            let payload = String::from_utf8(message.payload).unwrap();
            Some((message.topic_name, payload))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_talks_with_clients_behind_sockets_and_ends_with_its_last_reference() {
    for workers in [1, 3] {
        let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), workers);
        let client = connect(&mut site, "inner", 1 << 20);
        let asked = client.subscribe("t/#", QoS::ExactlyOnce).unwrap();
        site.settle();
        let granted = LocalEvent::Subscribed {
            identifier: asked,
            reason_code: ReasonCode::GrantedQoS1,
        };
        assert_eq!(client.try_receive(), Ok(Some(granted)));
        let outer = join(&mut site, 2, "connect v5 id=outer clean");
        say(&mut site, outer, "subscribe id=1 u");
        hears(&mut site, outer, "suback id=1 granted_qos0");
        say(
            &mut site,
            outer,
            r#"publish t/1 "in" + publish t/2 "in" qos=1 id=1"#,
        );
        hears(&mut site, outer, "puback id=1");
        assert_eq!(message(&client), Some(("t/1".into(), "in".into())));
        assert_eq!(message(&client), Some(("t/2".into(), "in".into())));
        assert_eq!(message(&client), None);
        let asked = client.publish("u", b"out", QoS::AtLeastOnce, false).unwrap();
        hears(&mut site, outer, r#"publish u "out""#);
        let published = LocalEvent::Published {
            identifier: asked.unwrap(),
            reason_code: ReasonCode::Success,
        };
        assert_eq!(client.try_receive(), Ok(Some(published)));
        // It is a Session like any other.
        let info = site.broker().session("inner").unwrap();
        assert_eq!(
            (info.username.as_deref(), info.inflight_messages),
            (Some("inner"), 0)
        );
        let asked = client.unsubscribe("t/#").unwrap();
        site.settle();
        assert!(matches!(
            client.try_receive(),
            Ok(Some(LocalEvent::Subscribed { identifier, reason_code: ReasonCode::Success })) if identifier == asked
        ));
        assert!(client.publish("+", b"", QoS::AtMostOnce, false).is_err());
        assert!(client.subscribe("a#", QoS::AtMostOnce).is_err());
        drop(client);
        site.settle();
        assert_eq!(site.broker().statistics().connected, 1);
        assert_eq!(site.broker().statistics().connections, 1);
    }
}

#[test]
fn the_same_rules_and_hooks_hold_for_it_and_answers_may_come_later() {
    let desk = Arc::new(Desk::default());
    let hooks = Hooks::default().on_publish(|publish, _| {
        if publish.topic_name() == "no" {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(())
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), desk.access(), hooks, 7);
    let mut site = Site::with_broker(broker, 2);
    // Nobody asks whether it may log in.
    let client = connect(&mut site, "inner", 1 << 20);
    let expected = |answer: (u16, ReasonCode)| {
        Ok(Some(LocalEvent::Published {
            identifier: answer.0,
            reason_code: answer.1,
        }))
    };
    let answers = [
        ("t", Decision::Deny, ReasonCode::NotAuthorized),
        ("no", Decision::Allow, ReasonCode::QuotaExceeded),
        ("u", Decision::Allow, ReasonCode::NoMatchingSubscribers),
    ];
    let asked: Vec<u16> = answers
        .iter()
        .map(|(topic, ..)| {
            client
                .publish(topic, b"x", QoS::AtLeastOnce, false)
                .unwrap()
                .unwrap()
        })
        .collect();
    site.settle();
    for ((topic, decision, reason_code), identifier) in answers.into_iter().zip(asked) {
        assert_eq!(client.try_receive(), Ok(None));
        desk.answer(&format!("inner writes {topic}"), decision);
        site.settle();
        assert_eq!(client.try_receive(), expected((identifier, reason_code)));
    }
}

#[test]
fn a_full_mailbox_says_so_and_a_slow_one_loses_qos_0_only() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_outbox_bytes = 1000;
    let mut site = Site::new(config, Access::allow_all(), 1);
    let client = connect(&mut site, "inner", 500);
    client.subscribe("t", QoS::AtLeastOnce).unwrap();
    site.settle();
    client.try_receive().unwrap();
    // The worker does not come to it.
    let mut taken = 0;
    let full = loop {
        match client.publish("u", &[b'x'; 50], QoS::AtMostOnce, false) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, LocalError::Full);
    assert!((5..20).contains(&taken), "{taken}");
    site.settle();
    assert!(client.publish("u", b"x", QoS::AtMostOnce, false).is_ok());

    // The client does not come to what it gets.
    for number in 0..200 {
        let payload = format!("{number:0>50}");
        site.publish("t", payload.as_bytes(), QoS::AtMostOnce, false)
            .unwrap();
        site.publish("t", payload.as_bytes(), QoS::AtLeastOnce, false)
            .unwrap();
        site.settle();
    }
    let (mut qos0, mut qos1) = (0, Vec::new());
    loop {
        site.settle();
        match client.try_receive().unwrap() {
            Some(LocalEvent::Message(message)) if message.qos == QoS::AtMostOnce => qos0 += 1,
            Some(LocalEvent::Message(message)) => qos1.push(message.payload),
            Some(other) => panic!("{other:?}"),
            None => break,
        }
    }
    assert!(qos0 < 100, "{qos0}");
    let all: Vec<Vec<u8>> = (0..200)
        .map(|number| format!("{number:0>50}").into_bytes())
        .collect();
    assert_eq!(qos1, all);
}

#[test]
fn one_that_does_not_receive_holds_a_bounded_number_of_messages() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let client = connect(&mut site, "inner", 1 << 20);
    client.subscribe("t", QoS::AtLeastOnce).unwrap();
    site.settle();
    for _ in 0..10_000 {
        site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    }
    site.settle();
    let info = site.broker().session("inner").unwrap();
    assert_eq!(
        (info.inflight_messages, info.queued_messages),
        (4096, 4096 + 1000)
    );
    let received = std::iter::from_fn(|| {
        site.settle();
        client.try_receive().unwrap()
    });
    // The first is the answer to SUBSCRIBE.
    assert_eq!(received.count(), 1 + 4096 + 4096 + 1000);
}

#[test]
fn it_is_kicked_and_taken_over_like_any_other() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 2);
    let client = connect(&mut site, "inner", 1 << 20);
    assert!(site.broker().kick("inner", ReasonCode::AdministrativeAction));
    site.settle();
    assert_eq!(client.try_receive(), Err(LocalError::Closed));
    assert_eq!(client.receive(), Err(LocalError::Closed));
    assert_eq!(
        client.publish("t", b"", QoS::AtMostOnce, false),
        Err(LocalError::Closed)
    );

    let client = connect(&mut site, "inner", 1 << 20);
    let other = join(&mut site, 1, "connect v5 id=inner clean");
    site.settle();
    assert_eq!(client.try_receive(), Err(LocalError::Closed));
    drop(client);
    hears_nothing(&mut site, other);
    assert_eq!(site.broker().statistics().connections, 1);
}

#[test]
fn it_ends_with_its_worker() {
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 7);
    let worker = || Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let mut first = worker();
    let taken_in = broker.connect_local(LocalOptions::new("a")).unwrap();
    first.turn_begin(Now::default());
    first.work();
    while first.next_dirty().is_some() {}
    first.turn_end();
    let waits = broker.connect_local(LocalOptions::new("b")).unwrap();
    drop(first);
    for client in [taken_in, waits] {
        assert_eq!(
            client.publish("t", b"x", QoS::AtLeastOnce, false),
            Err(LocalError::Closed)
        );
        assert_eq!(client.receive(), Err(LocalError::Closed));
    }
    let refused = broker.connect_local(LocalOptions::new("c")).map(drop);
    assert_eq!(refused, Err(LocalError::NoWorker));
    let _second = worker();
    assert!(broker.connect_local(LocalOptions::new("c")).is_ok());
}

#[test]
fn workers_take_in_clients_in_turn() {
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 7);
    let workers =
        [1, 2, 3].map(|byte| Worker::new(&broker, Now::default(), Box::new(move |bytes| bytes.fill(byte))));
    let mut clients = Vec::new();
    for count in 1..=3 {
        clients.push(broker.connect_local(LocalOptions::new("c")).unwrap());
        assert_eq!(
            workers.iter().filter(|worker| worker.has_letters()).count(),
            count
        );
    }
}

#[test]
fn what_no_connect_could_carry_is_the_name_of_no_client() {
    let site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let connect = |client_id: &str, username: Option<&str>| {
        let mut options = LocalOptions::new(client_id);
        options.username = username.map(str::to_owned);
        site.broker().connect_local(options).map(drop)
    };
    let long = "a".repeat(65_536);
    for name in ["n\0ul", "line\nbreak", &long] {
        assert_eq!(connect(name, None), Err(LocalError::Name), "{name:.20}");
        assert_eq!(connect("a", Some(name)), Err(LocalError::Name), "{name:.20}");
    }
    // Nobody has this user name: a client without one is anonymous.
    assert_eq!(connect("a", Some("")), Err(LocalError::Name));
    // A Client Identifier is made for it.
    assert_eq!(connect("", Some("a")), Ok(()));
    assert_eq!(connect(&long[1..], Some(&long[1..])), Ok(()));
}

#[test]
fn a_client_that_is_refused_learns_the_reason_code() {
    let hooks = Hooks::default().on_connect(|connecting, _| match &*connecting.identity().client_id {
        "bad" => Err(ReasonCode::Banned),
        _ => Ok(()),
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut site = Site::with_broker(broker, 1);
    let refused = connect(&mut site, "bad", 1 << 20);
    // Before it is received, and afterwards.
    assert_eq!(refused.reason_code(), Some(ReasonCode::Banned));
    assert_eq!(refused.receive(), Err(LocalError::Closed));
    assert_eq!(refused.reason_code(), Some(ReasonCode::Banned));
    assert_eq!(refused.close_cause(), Some(CloseCause::Refused));

    let kicked = connect(&mut site, "good", 1 << 20);
    kicked.subscribe("t", QoS::AtMostOnce).unwrap();
    site.settle();
    assert_eq!(kicked.reason_code(), None);
    assert!(site.broker().kick("good", ReasonCode::AdministrativeAction));
    site.settle();
    assert_eq!(kicked.reason_code(), Some(ReasonCode::AdministrativeAction));
}

#[test]
fn what_is_larger_than_the_broker_takes_is_refused_and_costs_nothing() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_packet_size = 100;
    let mut site = Site::new(config, Access::allow_all(), 1);
    let client = connect(&mut site, "a", 1 << 20);
    let too_large = client.publish("t", &[b'x'; 100], QoS::AtMostOnce, false);
    assert_eq!(too_large, Err(LocalError::TooLarge));
    client.subscribe("t", QoS::AtMostOnce).unwrap();
    client.publish("t", b"small", QoS::AtMostOnce, false).unwrap();
    site.settle();
    assert!(matches!(
        client.try_receive(),
        Ok(Some(LocalEvent::Subscribed { .. }))
    ));
    assert_eq!(message(&client), Some(("t".into(), "small".into())));
}

#[test]
fn what_would_end_its_connection_is_refused_and_costs_nothing() {
    let mut config = BrokerConfig::default();
    config.retain_available = false;
    config.limits.maximum_topic_levels = 3;
    let mut site = Site::new(config.clone(), Access::allow_all(), 1);
    let client = connect(&mut site, "a", 1 << 20);
    client.subscribe("a/b/c", QoS::AtMostOnce).unwrap();
    let retain = client.publish("t", b"x", QoS::AtLeastOnce, true);
    assert_eq!(retain, Err(LocalError::RetainNotAvailable));
    let publish = client.publish("a/b/c/d", b"x", QoS::AtLeastOnce, false);
    assert_eq!(publish, Err(LocalError::TooDeep));
    assert_eq!(
        client.subscribe("a/b/c/#", QoS::AtMostOnce),
        Err(LocalError::TooDeep)
    );
    assert_eq!(client.unsubscribe("a/+/c/d"), Err(LocalError::TooDeep));
    // The limits are those in force, not those of when it came.
    config.retain_available = true;
    site.broker().set_config_and_access(config, Access::allow_all());
    client.publish("a/b/c", b"x", QoS::AtMostOnce, true).unwrap();
    site.settle();
    assert!(matches!(
        client.try_receive(),
        Ok(Some(LocalEvent::Subscribed { .. }))
    ));
    assert_eq!(message(&client), Some(("a/b/c".into(), "x".into())));
    assert_eq!(client.close_cause(), None);
}

/// One turn takes what had come before it, even from a client that is faster than its worker.
#[test]
fn a_client_that_never_pauses_leaves_its_worker_time_for_others() {
    // It publishes again as soon as a message has been routed, as a thread of its own may.
    let client: Arc<Mutex<Option<LocalClient>>> = Arc::default();
    let published = Arc::new(AtomicUsize::new(0));
    let hooks = Hooks::default().on_publish({
        let (client, published) = (Arc::clone(&client), Arc::clone(&published));
        move |_, _| {
            // Otherwise the test would not end.
            if published.fetch_add(1, Ordering::Relaxed) < 1000 {
                let client = client.lock().unwrap();
                client
                    .as_ref()
                    .unwrap()
                    .publish("t", b"x", QoS::AtMostOnce, false)
                    .unwrap();
            }
            Ok(())
        }
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let mut turn = || {
        worker.turn_begin(Now::default());
        while worker.next_verdict().is_some() {}
        worker.work();
        while worker.next_dirty().is_some() {}
        worker.turn_end().wait
    };
    *client.lock().unwrap() = broker.connect_local(LocalOptions::new("a")).ok();
    turn();
    let first = client
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .publish("t", b"x", QoS::AtMostOnce, false);
    assert_eq!(first, Ok(None));
    for turns in 1..10 {
        // There is more, and the driver is told so.
        assert_eq!(turn(), Some(Duration::ZERO));
        assert!(
            published.load(Ordering::Relaxed) <= 2 * turns,
            "the worker did not come back"
        );
    }
    while turn() == Some(Duration::ZERO) {}
    assert_eq!(published.load(Ordering::Relaxed), 1001);
}

/// What it publishes at once is routed in parts, between which a subscriber can take what has come.
#[test]
fn a_subscriber_that_reads_at_once_gets_all_that_a_client_publishes() {
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let mut turn = || {
        worker.turn_begin(Now::default());
        while worker.next_verdict().is_some() {}
        worker.work();
        while worker.next_dirty().is_some() {}
        worker.turn_end().wait
    };
    let [subscriber, publisher] =
        ["s", "p"].map(|name| broker.connect_local(LocalOptions::new(name)).unwrap());
    subscriber.subscribe("t", QoS::AtLeastOnce).unwrap();
    turn();
    assert!(matches!(
        subscriber.try_receive(),
        Ok(Some(LocalEvent::Subscribed { .. }))
    ));
    for number in 0..10_000 {
        let payload = number.to_string();
        publisher
            .publish("t", payload.as_bytes(), QoS::AtLeastOnce, false)
            .unwrap();
    }
    let mut received = Vec::new();
    loop {
        let wait = turn();
        let before = received.len();
        received.extend(std::iter::from_fn(|| message(&subscriber)));
        assert!(received.len() - before <= 1000, "of one turn");
        while publisher.try_receive().unwrap().is_some() {}
        if wait != Some(Duration::ZERO) {
            break;
        }
    }
    assert_eq!(broker.statistics().dropped_messages, 0);
    let published = (0..10_000).map(|number| ("t".to_owned(), number.to_string()));
    assert!(received.into_iter().eq(published));
}

#[test]
fn a_client_that_takes_no_answers_is_told_why_it_was_closed() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_reply_bytes = 1000;
    let mut site = Site::new(config, Access::allow_all(), 1);
    let client = connect(&mut site, "a", 0);
    let ended = (0..1000).any(|_| {
        site.settle();
        client.publish("t", b"x", QoS::AtLeastOnce, false) == Err(LocalError::Closed)
    });
    assert!(ended);
    assert_eq!(client.close_cause(), Some(CloseCause::QuotaExceeded));
}

/// Real threads: workers that sleep until they are woken, clients that publish as fast as they are let, and clients that wait
/// for what comes. What was published is what each has received, once and in order, through buffers of a few dozen messages.
#[test]
fn accounts_balance_with_threads_that_wait_for_each_other() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_queued_messages = None;
    let broker = Broker::new(config, Access::allow_all(), 7);
    let done = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicBool::new(false));
    // Each takes in some of the clients; one publishes, too, and so writes to the buffers of the other's.
    let drivers = [0, MESSAGES].map(|own| Driver::start(&broker, own, &begun, &done));
    let join = |name: String| {
        let mut options = LocalOptions::new(name);
        options.maximum_bytes = 1000;
        broker.connect_local(options).unwrap()
    };
    let subscribers: Vec<_> = (0..2)
        .map(|number| {
            let client = join(format!("s{number}"));
            client.subscribe("accounts/#", QoS::AtLeastOnce).unwrap();
            let answer = client.receive();
            assert!(matches!(answer, Ok(LocalEvent::Subscribed { .. })), "{answer:?}");
            thread::spawn(move || count(&client))
        })
        .collect();
    begun.store(true, Ordering::SeqCst);
    drivers.iter().for_each(|driver| driver.bell.ring());
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let client = join(format!("p{number}"));
            thread::spawn(move || publish(&client, &format!("accounts/{number}")))
        })
        .collect();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let expected: Vec<u32> = (0..MESSAGES).collect();
    for subscriber in subscribers {
        let received = subscriber.join().unwrap();
        assert_eq!(received.len(), PUBLISHERS + 1);
        for (topic_name, numbers) in received {
            assert_eq!(numbers, expected, "{topic_name}");
        }
    }
    done.store(true, Ordering::SeqCst);
    for driver in drivers {
        driver.bell.ring();
        driver.thread.join().unwrap();
    }
    assert_eq!(broker.statistics().dropped_messages, 0);
}

/// Everything that comes, by topic, until there is all of it.
fn count(client: &LocalClient) -> BTreeMap<String, Vec<u32>> {
    let mut received: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for _ in 0..(PUBLISHERS + 1) * MESSAGES as usize {
        match client.receive().unwrap() {
            LocalEvent::Message(message) => {
                let number = String::from_utf8(message.payload).unwrap().parse().unwrap();
                received.entry(message.topic_name).or_default().push(number);
            }
            other => panic!("{other:?}"),
        }
    }
    received
}

/// As fast as there is room.
fn publish(client: &LocalClient, topic_name: &str) {
    let (mut number, mut answers) = (0, 0);
    while answers < MESSAGES {
        if number < MESSAGES {
            let payload = number.to_string();
            match client.publish(topic_name, payload.as_bytes(), QoS::AtLeastOnce, false) {
                Ok(_) => {
                    number += 1;
                    continue;
                }
                Err(error) => assert_eq!(error, LocalError::Full),
            }
        }
        // What waits is not answered yet, so an answer comes.
        let answer = client.receive();
        assert!(matches!(answer, Ok(LocalEvent::Published { .. })), "{answer:?}");
        answers += 1;
    }
}

/// A thread with a worker.
struct Driver {
    bell: Arc<Bell>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Driver {
    /// `own`: how many messages it publishes itself, once there are subscribers.
    fn start(broker: &Broker, own: u32, begun: &Arc<AtomicBool>, done: &Arc<AtomicBool>) -> Driver {
        let bell = Arc::new(Bell::default());
        let mut worker = Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
        let ringer = Arc::clone(&bell);
        worker.set_wake(Box::new(move || ringer.ring()));
        let (sleeper, begun, done) = (Arc::clone(&bell), Arc::clone(begun), Arc::clone(done));
        let thread = thread::spawn(move || {
            let mut published = 0;
            // One that has clients is rung by them.
            while !done.load(Ordering::SeqCst) && sleeper.wait() {
                let own = || if begun.load(Ordering::SeqCst) { own } else { 0 };
                while !turn(&mut worker, &mut published, own()) {}
            }
        });
        Driver { bell, thread }
    }
}

/// Says whether there is nothing left to do.
fn turn(worker: &mut Worker, published: &mut u32, own: u32) -> bool {
    worker.turn_begin(Now::default());
    while worker.next_verdict().is_some() {}
    if *published < own {
        let payload = published.to_string();
        worker
            .publish("accounts/worker", payload.as_bytes(), QoS::AtLeastOnce, false)
            .unwrap();
        *published += 1;
    }
    worker.work();
    assert!(worker.next_dirty().is_none(), "all of them are in this process");
    while worker.next_event().is_some() {}
    worker.turn_end().wait != Some(Duration::ZERO) && *published == own
}

impl Bell {
    fn ring(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    /// `false`: nobody has rung for so long that a wake must have been lost. The worker ends then, and with it all clients.
    fn wait(&self) -> bool {
        let rung = self.0.lock().unwrap();
        let (mut rung, over) = self
            .1
            .wait_timeout_while(rung, Duration::from_secs(60), |rung| !*rung)
            .unwrap();
        *rung = false;
        !over.timed_out()
    }
}

const PUBLISHERS: usize = 3;
/// Of each publisher.
const MESSAGES: u32 = 2000;
