//! The seam to the store: with a store that takes its time, gets batches out of order, fails, and loses power.

use std::collections::{BTreeMap, BTreeSet};

use komar_broker_core::store::{Change, PersistBatch, Sequence};
use komar_broker_core::{Access, BrokerConfig};
use komar_codec::{ProtocolVersion, QoS};
use komar_testkit::{DelayedStore, Site, words};

use crate::desk::{hears, hears_nothing, join, open, say};

/// A broker whose store commits when the test says so.
fn site(workers: usize) -> (Site, DelayedStore) {
    let mut config = BrokerConfig::default();
    config.durable = true;
    let store = DelayedStore::default();
    let mut site = Site::new(config, Access::allow_all(), workers);
    site.set_store(Box::new(store.clone()));
    (site, store)
}

/// Everything that was submitted becomes durable.
fn commit(site: &mut Site, store: &DelayedStore) {
    site.settle();
    store.commit(usize::MAX);
    site.settle();
}

#[test]
fn acknowledgements_wait_for_their_change_and_leave_in_order_of_arrival() {
    let (mut site, store) = site(2);
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    // CONNACK promises the Session.
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, s, "connack success ...");
    say(&mut site, s, "subscribe id=1 t qos=1");
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, s, "suback id=1 granted_qos1");

    // Nothing is promised to a Session that ends with its Connection.
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, r#"publish nobody "x" qos=1 id=1"#);
    hears(&mut site, a, "puback id=1 no_matching_subscribers");

    say(
        &mut site,
        a,
        r#"publish t "1" qos=1 id=2 + publish nobody "x" qos=1 id=3 + publish nobody "x" qos=2 id=4 + pingreq"#,
    );
    // Those that rest on nothing wait behind the one that does; what is no acknowledgement does not.
    hears(&mut site, a, "pingresp");
    hears_nothing(&mut site, a);
    // At QoS 1 the receiver does not wait.
    hears(&mut site, s, r#"publish t "1" qos=1 id=1"#);
    say(&mut site, a, r#"publish t "2" qos=1 id=5"#);
    store.commit(1);
    hears(&mut site, a, "puback id=2");
    hears(&mut site, a, "puback id=3 no_matching_subscribers");
    hears(&mut site, a, "pubrec id=4");
    hears_nothing(&mut site, a);
    commit(&mut site, &store);
    hears(&mut site, a, "puback id=5");
    hears(&mut site, s, r#"publish t "2" qos=1 id=2"#);

    say(&mut site, s, "unsubscribe id=9 t");
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, s, "unsuback id=9 success");
    // Another one changes nothing, and goes at once.
    say(&mut site, s, "unsubscribe id=9 t");
    hears(&mut site, s, "unsuback id=9 no_subscription_existed");
}

#[test]
fn a_qos_2_message_is_delivered_once_it_is_durable_and_released_once_that_is() {
    let (mut site, store) = site(2);
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 t qos=2");
    commit(&mut site, &store);
    hears(&mut site, s, "connack success ...");
    hears(&mut site, s, "suback id=1 granted_qos2");
    let a = open(&mut site, 0, "connect v5 id=a expiry=1000");
    commit(&mut site, &store);
    hears(&mut site, a, "connack success ...");

    say(&mut site, a, r#"publish t "1" qos=2 id=1"#);
    hears_nothing(&mut site, a);
    commit(&mut site, &store);
    hears(&mut site, a, "pubrec id=1");
    say(&mut site, a, "pubrel id=1");
    // A QoS 1 message behind it does not overtake it.
    site.publish("t", b"2", QoS::AtLeastOnce, false).unwrap();
    hears_nothing(&mut site, a);
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, a, "pubcomp id=1");
    hears(&mut site, s, r#"publish t "1" qos=2 id=?"#);
    hears(&mut site, s, r#"publish t "2" qos=1 id=?"#);

    say(&mut site, s, "pubrec id=1");
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, s, "pubrel id=1");
    say(&mut site, s, "pubcomp id=1 + puback id=2");
    commit(&mut site, &store);
    let state = Recovered::from(store.durable_changes());
    assert!(state.sessions["s"].messages.is_empty());
}

#[test]
fn a_qos_2_message_for_an_absent_client_is_sent_once_it_is_durable_and_the_client_is_there() {
    let (mut site, store) = site(2);
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 t qos=2");
    commit(&mut site, &store);
    site.hang_up(s);
    commit(&mut site, &store);
    site.publish("t", b"1", QoS::ExactlyOnce, false).unwrap();
    site.publish("t", b"2", QoS::ExactlyOnce, false).unwrap();
    site.settle();
    let s = open(&mut site, 0, "connect v5 id=s expiry=1000");
    hears_nothing(&mut site, s);
    // The batch with the messages, then the one with the Connection.
    store.commit(1);
    hears_nothing(&mut site, s);
    commit(&mut site, &store);
    hears(&mut site, s, "connack success session_present=1 ...");
    hears(&mut site, s, r#"publish t "1" qos=2 id=?"#);
    hears(&mut site, s, r#"publish t "2" qos=2 id=?"#);
}

#[test]
fn a_store_that_fails_acknowledges_nothing_more() {
    let (mut site, store) = site(1);
    let s = open(&mut site, 0, "connect v5 id=s expiry=1000");
    commit(&mut site, &store);
    hears(&mut site, s, "connack success ...");
    store.fail("no space left on device");
    say(&mut site, s, "subscribe id=1 t qos=1");
    commit(&mut site, &store);
    hears_nothing(&mut site, s);
    assert_eq!(site.store_failure().as_deref(), Some("no space left on device"));
    // What is no promise is still answered.
    say(&mut site, s, "pingreq");
    hears(&mut site, s, "pingresp");
    // A client that is not let in is not told that it was.
    let late = open(&mut site, 0, "connect v5 id=late expiry=1000");
    commit(&mut site, &store);
    hears_nothing(&mut site, late);
    site.hang_up(late);
    site.settle();
    assert_eq!(site.unread(late), 0);
}

#[test]
fn a_session_that_survives_leaves_nothing_behind_when_it_ends() {
    let (mut site, store) = site(1);
    let s = open(&mut site, 0, "connect v5 id=s expiry=10");
    say(&mut site, s, "subscribe id=1 t qos=1");
    commit(&mut site, &store);
    site.take_bytes(s);
    site.hang_up(s);
    commit(&mut site, &store);
    for _ in 0..5 {
        site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    }
    site.publish("r", b"kept", QoS::AtLeastOnce, true).unwrap();
    commit(&mut site, &store);
    let state = Recovered::from(store.durable_changes());
    assert_eq!(state.sessions["s"].messages.len(), 5);
    assert_eq!(
        state.sessions["s"].subscriptions,
        BTreeSet::from(["t".to_owned()])
    );
    assert_eq!(state.retained.get("r").map(Vec::as_slice), Some(&b"kept"[..]));
    site.advance(std::time::Duration::from_secs(12));
    site.publish("r", b"", QoS::AtLeastOnce, true).unwrap();
    commit(&mut site, &store);
    let state = Recovered::from(store.durable_changes());
    assert!(state.sessions.is_empty() && state.retained.is_empty());
    // Without expiry nothing is noted.
    let before = store.submitted();
    let c = join(&mut site, 0, "connect v5 id=c clean");
    say(&mut site, c, "subscribe id=1 t qos=1");
    hears(&mut site, c, "suback id=1 granted_qos1");
    site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    commit(&mut site, &store);
    assert_eq!(store.submitted(), before);
}

/// Power is lost at every step of a conversation, in every order of batches and with every pause of the store: what was
/// acknowledged is there, and what was delivered at QoS 2 is not delivered again.
#[test]
fn what_was_acknowledged_survives_the_loss_of_power_at_any_step() {
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut site, store) = site(2);
        store.shuffle(seed);
        let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
        let a = open(&mut site, 0, "connect v5 id=a expiry=1000");
        say(&mut site, s, "subscribe id=1 t qos=2");
        commit(&mut site, &store);
        site.take_bytes(s);
        site.take_bytes(a);
        let (mut published, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
        let (mut received, mut released) = (BTreeSet::new(), BTreeSet::new());
        let mut order = Vec::new();
        for step in 1..=40u16 {
            match random.next(4) {
                0 => {
                    site.send(a, &packet(&format!("publish t \"{step}\" qos=1 id={step}")));
                    published.insert(step);
                    order.push(step);
                }
                1 => site.send(a, &packet(&format!("publish t \"{step}\" qos=2 id={step}"))),
                2 => {
                    site.send(
                        a,
                        &packet(&format!("publish r/{step} \"{step}\" qos=1 id={step} retain")),
                    );
                    order.push(step);
                }
                _ => store.commit(random.next(4)),
            }
            if random.next(3) > 0 {
                site.settle();
            }
            while let Some(said) = site.next_packet(a, ProtocolVersion::V5).unwrap() {
                let text = said.to_string();
                let id: u16 = named(&text, "id");
                match said.name() {
                    "puback" => {
                        acknowledged.insert(id);
                        // In the order of arrival.
                        assert_eq!(order.remove(0), id, "seed {seed}");
                    }
                    "pubrec" => site.send(a, &packet(&format!("pubrel id={id}"))),
                    "pubcomp" => {
                        released.insert(id);
                    }
                    other => panic!("seed {seed}: {other}"),
                }
            }
            let mut delivered = BTreeSet::new();
            while let Some(said) = site.next_packet(s, ProtocolVersion::V5).unwrap() {
                let text = said.to_string();
                if said.name() == "publish" && text.contains("qos=2") {
                    let payload = text.split('"').nth(1).unwrap().parse::<u16>().unwrap();
                    assert!(
                        received.insert(payload),
                        "seed {seed}: {payload} was delivered twice"
                    );
                    delivered.insert(payload);
                }
            }
            // The power goes here.
            let state = Recovered::from(store.durable_changes());
            let session = &state.sessions["s"];
            for id in &acknowledged {
                let text = id.to_string().into_bytes();
                let is_there = session.messages.values().any(|(payload, _)| *payload == text)
                    || state.retained.contains_key(&format!("r/{id}"));
                assert!(
                    is_there,
                    "seed {seed}, step {step}: {id} was acknowledged and is lost"
                );
            }
            for id in &released {
                let text = id.to_string().into_bytes();
                assert!(session.messages.values().any(|(payload, _)| *payload == text));
                assert!(!state.sessions["a"].unreleased.contains(id));
            }
            // What was delivered at QoS 2 is known to have been released: the client's PUBREL will not bring it again.
            for id in &received {
                assert!(!state.sessions["a"].unreleased.contains(id), "seed {seed}: {id}");
            }
            // One or the other, never both and never neither, once the store knows of it.
            for id in &state.sessions["a"].unreleased {
                let text = id.to_string().into_bytes();
                assert!(
                    !session.messages.values().any(|(payload, _)| *payload == text),
                    "seed {seed}: {id}"
                );
            }
        }
        assert!(!published.is_empty());
    }
}

/// What a store makes of the changes that it has: too simple to be wrong.
#[derive(Default)]
struct Recovered {
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct Session {
    subscriptions: BTreeSet<String>,
    /// By the number of the change that brought them: payload, and whether PUBREC has come.
    messages: BTreeMap<Sequence, (Vec<u8>, bool)>,
    unreleased: BTreeSet<u16>,
}

impl Recovered {
    fn from(changes: Vec<(Sequence, Change)>) -> Recovered {
        let mut state = Recovered::default();
        for (expected, (number, change)) in (1..).zip(changes) {
            assert_eq!(number.0, expected, "no gap");
            state.apply(number, change);
        }
        state
    }

    fn apply(&mut self, number: Sequence, change: Change) {
        match change {
            Change::SessionBound { client_id, .. } => {
                self.sessions.entry(client_id.to_string()).or_default();
            }
            Change::SessionEnded { client_id } => {
                self.sessions.remove(&*client_id);
            }
            Change::Subscribed {
                client_id, filter, ..
            } => {
                self.session(&client_id).subscriptions.insert(filter.to_string());
            }
            Change::Unsubscribed { client_id, filter } => {
                assert!(self.session(&client_id).subscriptions.remove(&*filter));
            }
            Change::Enqueued {
                client_id, message, ..
            } => {
                let payload = message.payload().to_vec();
                self.session(&client_id).messages.insert(number, (payload, false));
            }
            Change::Sent {
                client_id, message, ..
            } => {
                assert!(self.session(&client_id).messages.contains_key(&message));
            }
            Change::Received { client_id, message } => {
                let known = self.session(&client_id).messages.get_mut(&message);
                known.expect("it was enqueued before").1 = true;
            }
            Change::Dequeued { client_id, message } => {
                if let Some(session) = self.sessions.get_mut(&*client_id) {
                    assert!(
                        session.messages.remove(&message).is_some(),
                        "it was enqueued before"
                    );
                }
            }
            Change::Unreleased {
                client_id,
                packet_identifier,
                ..
            } => {
                self.session(&client_id)
                    .unreleased
                    .insert(packet_identifier.get());
            }
            Change::Released {
                client_id,
                packet_identifier,
            } => {
                assert!(
                    self.session(&client_id)
                        .unreleased
                        .remove(&packet_identifier.get())
                );
            }
            Change::Retained { message } => {
                self.retained
                    .insert(message.topic_name().to_owned(), message.payload().to_vec());
            }
            Change::RetainedCleared { topic_name } => {
                assert!(self.retained.remove(&*topic_name).is_some());
            }
            _ => {}
        }
    }

    fn session(&mut self, client_id: &str) -> &mut Session {
        self.sessions.get_mut(client_id).expect("it was bound before")
    }
}

#[test]
fn batches_say_where_they_begin() {
    let mut batch = PersistBatch::default();
    assert!(batch.is_empty());
    batch.last = Sequence(7);
    batch.changes = (0..3)
        .map(|number| Change::RetainedCleared {
            topic_name: number.to_string().into(),
        })
        .collect();
    assert_eq!((batch.first(), batch.is_empty()), (Sequence(5), false));
}

fn packet(text: &str) -> Vec<u8> {
    words::encode(ProtocolVersion::V5, text).unwrap()
}

fn named(text: &str, name: &str) -> u16 {
    text.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .and_then(|value| value.parse().ok())
        .unwrap()
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below
    }
}
