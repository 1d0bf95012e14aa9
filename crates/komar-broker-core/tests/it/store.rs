//! The seam to the store: with a store that takes its time, gets batches out of order, fails, and loses power.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use komar_broker_core::store::{
    Change, Contents, PersistBatch, Replay, ReplayError, Sequence, StoredSession,
};
use komar_broker_core::{Access, Broker, BrokerConfig, Hooks, LinkState, Now, Take, Worker};
use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_testkit::{DelayedStore, Site, words};
use komar_topic::TopicFilter;

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

/// A Session as it is durable.
fn stored(store: &DelayedStore, client_id: &str) -> Option<StoredSession> {
    let sessions = store.durable_state().contents().sessions;
    sessions
        .into_iter()
        .find(|session| &*session.identity.client_id == client_id)
}

/// Packet Identifiers of the QoS 2 messages that a Session has not released.
fn unreleased(state: &Contents, client_id: &str) -> BTreeSet<u16> {
    let sessions = state.sessions.iter();
    let session = sessions.filter(|session| &*session.identity.client_id == client_id);
    let all = session.flat_map(|session| session.unreleased.keys());
    all.map(|identifier| identifier.get()).collect()
}

/// Payloads of the messages that wait for a Session.
fn payloads(state: &Contents, client_id: &str) -> Vec<Vec<u8>> {
    let sessions = state.sessions.iter();
    let session = sessions.filter(|session| &*session.identity.client_id == client_id);
    let all = session.flat_map(|session| session.messages.values());
    all.filter_map(|delivery| Some(delivery.message.as_ref()?.payload().to_vec()))
        .collect()
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
    assert!(stored(&store, "s").unwrap().messages.is_empty());
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
fn a_retained_qos_2_message_is_sent_once_it_is_durable_with_its_identifier() {
    let (mut site, store) = site(2);
    for number in 1..=3 {
        let name = format!("r/{number}");
        site.publish(&name, b"x", QoS::ExactlyOnce, true).unwrap();
    }
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    commit(&mut site, &store);
    hears(&mut site, s, "connack success ...");
    say(&mut site, s, "subscribe id=1 r/+ qos=2");
    commit(&mut site, &store);
    hears(&mut site, s, "suback id=1 granted_qos2");
    // They are noted for the store after SUBACK, and not sent before it has them.
    hears_nothing(&mut site, s);
    // One that is another one by then is left out: the newer one came live.
    site.publish("r/2", b"new", QoS::AtMostOnce, true).unwrap();
    site.settle();
    hears(&mut site, s, r#"publish r/2 "new""#);
    commit(&mut site, &store);
    hears(&mut site, s, r#"publish r/1 "x" qos=2 id=1 retain"#);
    hears(&mut site, s, r#"publish r/3 "x" qos=2 id=3 retain"#);
    hears_nothing(&mut site, s);
    let messages = stored(&store, "s").unwrap().messages;
    let sent = messages.values().filter_map(|message| message.sent);
    assert_eq!(sent.map(|(_, id)| id.get()).collect::<Vec<_>>(), [1, 2, 3]);
    commit(&mut site, &store);
    assert_eq!(stored(&store, "s").unwrap().messages.len(), 2);
}

#[test]
fn as_many_qos_2_messages_as_may_be_under_way_share_one_commit() {
    let (mut site, store) = site(1);
    let s = open(&mut site, 0, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 t qos=2");
    commit(&mut site, &store);
    site.take_bytes(s);
    site.hang_up(s);
    for number in 0..30 {
        let payload = format!("{number}");
        site.publish("t", payload.as_bytes(), QoS::ExactlyOnce, false)
            .unwrap();
    }
    let s = open(&mut site, 0, "connect v5 id=s expiry=1000");
    commit(&mut site, &store);
    hears(&mut site, s, "connack success session_present=1 ...");
    commit(&mut site, &store);
    for number in 0..20 {
        hears(&mut site, s, &format!("publish t \"{number}\" qos=2 id=?"));
    }
    hears_nothing(&mut site, s);
}

/// Everything is taken and nothing is dropped, and never much more than the limit waits for the store.
#[test]
fn a_store_that_falls_behind_is_waited_for() {
    let mut config = BrokerConfig::default();
    config.durable = true;
    config.limits.maximum_undurable_bytes = 4000;
    let store = DelayedStore::default();
    let mut site = Site::new(config, Access::allow_all(), 2);
    site.set_store(Box::new(store.clone()));
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 t qos=1");
    commit(&mut site, &store);
    site.take_bytes(s);
    site.hang_up(s);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    let b = join(&mut site, 1, "connect v5 id=b clean");
    commit(&mut site, &store);
    let mut acknowledged = 0;
    for number in 1..=100u16 {
        site.send(a, &packet(&format!("publish t \"{number}\" qos=1 id={number}")));
    }
    site.settle();
    while acknowledged < 100 {
        assert_eq!(site.unread(a), 4 * acknowledged);
        let waiting = site.broker().waiting_messages("s").unwrap();
        // A change takes more than 100 bytes here.
        assert!(
            (acknowledged + 1..acknowledged + 40).contains(&waiting),
            "{waiting}"
        );
        if waiting < 100 {
            assert_eq!(site.link_state(a), LinkState::Paused);
            // Nobody else is read either, and everybody gets something through at the next commit.
            site.send(b, &packet("pingreq"));
            site.settle();
            assert_eq!((site.link_state(b), site.unread(b)), (LinkState::Paused, 0));
        }
        commit(&mut site, &store);
        if waiting < 100 {
            assert_eq!(site.take_bytes(b).len(), 2);
        }
        acknowledged = waiting;
    }
    assert_eq!(site.broker().waiting_messages("s"), Some(100));
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
    let session = stored(&store, "s").unwrap();
    assert_eq!(session.messages.len(), 5);
    assert_eq!(
        session
            .subscriptions
            .keys()
            .map(|filter| &**filter)
            .collect::<Vec<_>>(),
        ["t"]
    );
    let retained = store.durable_state().contents().retained;
    assert_eq!(retained[0].message.topic_name(), "r");
    assert_eq!(retained[0].message.payload(), b"kept");
    site.advance(std::time::Duration::from_secs(12));
    site.publish("r", b"", QoS::AtLeastOnce, true).unwrap();
    commit(&mut site, &store);
    let state = store.durable_state().contents();
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
            let state = store.durable_state().contents();
            let (waiting, unreleased) = (payloads(&state, "s"), unreleased(&state, "a"));
            let retained = state.retained;
            for id in &acknowledged {
                let (text, name) = (id.to_string().into_bytes(), format!("r/{id}"));
                let is_there = waiting.contains(&text)
                    || retained
                        .iter()
                        .any(|retained| retained.message.topic_name() == name);
                assert!(
                    is_there,
                    "seed {seed}, step {step}: {id} was acknowledged and is lost"
                );
            }
            for id in &released {
                let text = id.to_string().into_bytes();
                assert!(waiting.contains(&text));
                assert!(!unreleased.contains(id));
            }
            // What was delivered at QoS 2 is known to have been released: the client's PUBREL will not bring it again.
            for id in &received {
                assert!(!unreleased.contains(id), "seed {seed}: {id}");
            }
            // One or the other, never both and never neither, once the store knows of it.
            for id in &unreleased {
                let text = id.to_string().into_bytes();
                assert!(!waiting.contains(&text), "seed {seed}: {id}");
            }
        }
        assert!(!published.is_empty());
    }
}

#[test]
fn changes_that_do_not_fit_together_are_an_error() {
    let ended = Change::SessionEnded {
        client_id: "s".into(),
    };
    let mut replay = Replay::default();
    let number = Sequence(1);
    assert_eq!(replay.apply(ended), Err(ReplayError::Change { number }));

    let mut replay = Replay::of(Contents {
        last: Sequence(7),
        ..Contents::default()
    });
    let mut batch = PersistBatch::default();
    batch.last = Sequence(9);
    batch.changes.push(Change::WillOver { will: Sequence(1) });
    let (last, first) = (Sequence(7), Sequence(9));
    assert_eq!(replay.add(batch), Err(ReplayError::Order { last, first }));
    assert_eq!(replay.add(PersistBatch::default()), Ok(()));
    assert_eq!(replay.contents().last, Sequence(7));
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

/// A site whose hooks publish, at QoS 1 and to a Session that survives, what they see.
fn site_with_hooks() -> (Site, DelayedStore) {
    let hooks = Hooks::default()
        .on_connect(|connecting, actions| {
            let text = connecting.identity().client_id.as_bytes();
            let _ = actions.publish("log/connect", text, QoS::AtLeastOnce, false);
            Ok(())
        })
        .on_publish(|publish, actions| {
            let payload = publish.payload().to_vec();
            let _ = actions.publish("log/publish", &payload, QoS::AtLeastOnce, false);
            match publish.topic_name() {
                "no" => Err(ReasonCode::QuotaExceeded),
                _ => Ok(()),
            }
        })
        .on_subscribe(|subscribing, actions| {
            let filter = subscribing.filter().as_bytes().to_vec();
            let _ = actions.publish("log/subscribe", &filter, QoS::AtLeastOnce, false);
            Ok(())
        });
    let mut config = BrokerConfig::default();
    config.durable = true;
    let store = DelayedStore::default();
    let broker = Broker::with_hooks(config, Access::allow_all(), hooks, 7);
    let mut site = Site::with_broker(broker, 2);
    site.set_store(Box::new(store.clone()));
    (site, store)
}

#[test]
fn what_a_hook_publishes_is_durable_before_its_cause_is_acknowledged() {
    let (mut site, store) = site_with_hooks();
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 log/# qos=1");
    commit(&mut site, &store);
    site.take_bytes(s);
    site.hang_up(s);
    commit(&mut site, &store);
    let mut expected = stored(&store, "s").unwrap().messages.len();

    // Neither the client's Session nor its Subscription nor its messages are stored: only what the hooks publish is.
    let a = open(&mut site, 0, "connect v5 id=a clean");
    for (packet, answer) in [
        ("", "connack success ..."),
        ("subscribe id=1 x", "suback id=1 granted_qos0"),
        (
            r#"publish y "1" qos=1 id=1"#,
            "puback id=1 no_matching_subscribers",
        ),
        (r#"publish no "2" qos=1 id=2"#, "puback id=2 quota_exceeded"),
        (r#"publish y "3" qos=2 id=3"#, "pubrec id=3"),
    ] {
        if !packet.is_empty() {
            say(&mut site, a, packet);
        }
        hears_nothing(&mut site, a);
        assert_eq!(stored(&store, "s").unwrap().messages.len(), expected);
        commit(&mut site, &store);
        expected += 1;
        hears(&mut site, a, answer);
        assert_eq!(stored(&store, "s").unwrap().messages.len(), expected);
    }
}

/// A message and what a hook publishes because of it are in one batch, so that a client that sends it again after a loss of
/// power does not bring the one twice without the other; the same with a Will Message.
#[test]
fn what_a_hook_publishes_is_stored_in_one_batch_with_its_cause() {
    let (mut site, store) = site_with_hooks();
    let s = open(&mut site, 1, "connect v5 id=s expiry=1000");
    say(&mut site, s, "subscribe id=1 # qos=1");
    let a = open(
        &mut site,
        0,
        "connect v5 id=a clean will=w will_payload=w will_qos=1",
    );
    commit(&mut site, &store);
    site.hang_up(s);
    commit(&mut site, &store);
    let before = stored(&store, "s").unwrap().messages.len();
    say(&mut site, a, r#"publish t "1" qos=1 id=1"#);
    store.commit(1);
    assert_eq!(stored(&store, "s").unwrap().messages.len(), before + 2);
    commit(&mut site, &store);
    site.hang_up(a);
    site.settle();
    store.commit(1);
    assert_eq!(stored(&store, "s").unwrap().messages.len(), before + 4);
    assert!(store.durable_state().contents().wills.is_empty());
}

#[test]
fn what_an_operator_deletes_is_handed_out_by_a_broker_that_is_idle() {
    let mut config = BrokerConfig::default();
    config.durable = true;
    let broker = Broker::new(config, Access::allow_all(), 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    worker.set_wake(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    worker.turn_begin(Now::default());
    worker.publish("r", b"x", QoS::AtLeastOnce, true).unwrap();
    assert_eq!(worker.turn_end().persist.last, Sequence(1));
    let filter = TopicFilter::new("#").unwrap();
    assert_eq!(broker.delete_retained(filter, true), ["r"]);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    assert_eq!(broker.delete_retained(filter, false), ["r"]);
    assert_eq!((woken.load(Ordering::Relaxed), worker.has_letters()), (1, true));
    worker.turn_begin(Now::default());
    let end = worker.turn_end();
    assert!(
        matches!(end.persist.changes.as_slice(), [Change::RetainedCleared { topic_name }] if &**topic_name == "r")
    );
    assert!(broker.delete_retained(filter, false).is_empty());
    assert_eq!(woken.load(Ordering::Relaxed), 1);
}

/// What waits for the store counts with the names in it, and a message once, whatever the number of its receivers.
#[test]
fn the_limit_on_what_waits_for_the_store_counts_names_and_shared_messages_once() {
    let mut config = BrokerConfig::default();
    config.durable = true;
    config.limits.maximum_undurable_bytes = 200_000;
    let store = DelayedStore::default();
    let mut site = Site::new(config, Access::allow_all(), 2);
    site.set_store(Box::new(store.clone()));
    for number in 0..50 {
        let s = open(&mut site, 1, &format!("connect v5 id=s{number} expiry=1000"));
        say(&mut site, s, "subscribe id=1 t qos=1");
        commit(&mut site, &store);
        site.hang_up(s);
    }
    commit(&mut site, &store);
    let a = open(&mut site, 0, "connect v5 id=a expiry=1000");
    commit(&mut site, &store);
    let large = "x".repeat(50_000);
    say(&mut site, a, &format!("publish t \"{large}\" qos=1 id=1"));
    // Two and a half million bytes, were each receiver's counted; the next one makes it too much.
    assert_eq!(site.link_state(a), LinkState::Open);
    for id in 2..=4 {
        assert_eq!(site.link_state(a), LinkState::Open, "{id}");
        say(&mut site, a, &format!("publish t \"{large}\" qos=1 id={id}"));
    }
    assert_eq!(site.link_state(a), LinkState::Paused);
    commit(&mut site, &store);
    assert_eq!(site.link_state(a), LinkState::Open);
    // Names of 5,000 bytes.
    let name = "n".repeat(5_000);
    for number in 0..50 {
        say(&mut site, a, &format!("subscribe id=1 {name}{number}"));
    }
    assert_eq!(site.link_state(a), LinkState::Paused);
}

/// A broker that is made beside a store with contents, instead of from them, would acknowledge what is never stored.
#[test]
fn a_store_that_is_further_than_its_broker_is_refused() {
    let mut config = BrokerConfig::default();
    config.durable = true;
    let broker = Broker::new(config, Access::allow_all(), 7);
    let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    worker.turn_begin(Now::default());
    let error = worker.durable(Sequence(1000)).unwrap_err();
    assert_eq!((error.durable, error.last), (Sequence(1000), Sequence(0)));
    let mut link = worker.open(
        Box::new(()),
        &Arc::new(komar_broker_core::ListenerPolicy::default()),
    );
    worker.input(&mut link, &packet("connect v5 id=a expiry=1000"));
    assert!(matches!(worker.take_output(link.outbox()), Take::Nothing));
    let last = worker.turn_end().persist.last;
    assert_ne!(last, Sequence(0));
    assert!(worker.durable(last).is_ok());
    assert!(matches!(worker.take_output(link.outbox()), Take::Output(_)));
    assert!(worker.durable(Sequence(last.0 + 1)).is_err());
}
