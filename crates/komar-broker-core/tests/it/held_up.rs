//! What the store holds up counts, and is bounded as what slow clients do not read is.

use std::sync::Arc;

use komar_broker_core::{
    Access, Broker, BrokerConfig, CloseCause, Limits, ListenerPolicy, Now, Sent, Take, Worker,
};
use komar_codec::{ProtocolVersion, QoS};
use komar_testkit::{DelayedStore, Site, words};

use crate::desk::{hears, hears_nothing, join, open, say};

/// A broker whose store commits when the test says so.
fn site(limits: impl FnOnce(&mut Limits)) -> (Site, DelayedStore) {
    let mut config = BrokerConfig::default();
    config.durable = true;
    limits(&mut config.limits);
    let store = DelayedStore::default();
    let mut site = Site::new(config, Access::allow_all(), 2);
    site.set_store(Box::new(store.clone()));
    (site, store)
}

/// Everything that was submitted becomes durable.
fn commit(site: &mut Site, store: &DelayedStore) {
    site.settle();
    store.commit(usize::MAX);
    site.settle();
}

fn waiting(site: &Site) -> usize {
    site.broker().statistics().waiting_bytes
}

fn packets(text: &str, count: usize) -> Vec<u8> {
    words::encode(ProtocolVersion::V5, text).unwrap().repeat(count)
}

#[test]
fn what_waits_behind_connack_counts_and_leaves_no_publisher_too_much_room() {
    const MARK: usize = 1 << 20;
    let (mut site, store) = site(|limits| limits.maximum_waiting_bytes = MARK);
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let client = open(&mut site, number, &format!("connect v5 id=c{number} expiry=100"));
            say(&mut site, client, "subscribe id=1 #");
            client
        })
        .collect();
    commit(&mut site, &store);
    for client in clients {
        site.hang_up(client);
    }
    commit(&mut site, &store);

    let clients: Vec<_> = (0..20)
        .map(|number| open(&mut site, number, &format!("connect v5 id=c{number} expiry=100")))
        .collect();
    for _ in 0..200 {
        site.publish("t", &[b'x'; 1000], QoS::AtMostOnce, false).unwrap();
    }
    site.settle();
    // Four megabytes came.
    assert!((MARK / 8..=MARK).contains(&waiting(&site)), "{}", waiting(&site));
    let sent = 20 * 200 - site.broker().statistics().dropped_messages;
    assert!((1..=1000).contains(&sent), "{sent} messages wait");

    commit(&mut site, &store);
    assert_eq!(waiting(&site), 0);
    for client in &clients {
        hears(&mut site, *client, "connack success session_present=1 ...");
        site.take_bytes(*client);
    }
    site.publish("t", b"live", QoS::AtMostOnce, false).unwrap();
    for client in clients {
        hears(&mut site, client, r#"publish t "live""#);
    }
}

#[test]
fn qos_1_messages_wait_in_the_session_where_too_much_waits_behind_connack() {
    let (mut site, store) = site(|limits| limits.maximum_total_outbox_bytes = 100);
    let s = open(&mut site, 0, "connect v5 id=s expiry=100");
    say(&mut site, s, "subscribe id=1 t qos=1");
    for _ in 0..5 {
        site.publish("t", &[b'x'; 100], QoS::AtLeastOnce, false).unwrap();
    }
    site.settle();
    assert!((100..300).contains(&waiting(&site)), "{}", waiting(&site));
    assert!(site.broker().waiting_messages("s").unwrap() > 3);
    commit(&mut site, &store);
    hears(&mut site, s, "connack success ...");
    let mut came = 0;
    while let Some(packet) = site.next_packet(s, ProtocolVersion::V5).unwrap() {
        came += usize::from(packet.matches("publish t ...").unwrap());
        commit(&mut site, &store);
    }
    assert_eq!((came, waiting(&site)), (5, 0));
}

#[test]
fn who_speaks_before_its_connack_is_let_in_while_others_read_slowly() {
    let (mut site, store) = site(|limits| limits.maximum_total_outbox_bytes = 1000);
    let slow = join(&mut site, 0, "connect v5 id=slow clean");
    say(&mut site, slow, "subscribe id=1 t");
    commit(&mut site, &store);
    site.take_bytes(slow);
    site.set_room(slow, Some(3));
    site.publish("t", &[b'x'; 2000], QoS::AtMostOnce, false).unwrap();
    site.settle();
    assert!(waiting(&site) > 1000);
    for packet in ["subscribe id=1 u", "pingreq"] {
        let quick = open(&mut site, 1, "connect v5 id=quick expiry=100");
        site.send(quick, &packets(packet, 1));
        site.settle();
        assert_eq!(site.close_cause(quick), None, "{packet}");
        commit(&mut site, &store);
        hears(&mut site, quick, "connack success ...");
        site.hang_up(quick);
    }
}

#[test]
fn answers_that_pile_up_behind_connack_end_the_connection_when_too_much_waits() {
    let (mut site, _store) = site(|limits| limits.maximum_total_outbox_bytes = 1000);
    let s = open(&mut site, 0, "connect v5 id=s expiry=100");
    site.send(s, &packets("pingreq", 10_000));
    site.settle();
    assert_eq!(site.close_cause(s), Some(CloseCause::QuotaExceeded));
    // Nothing was promised, and nothing of it is left.
    assert_eq!((site.unread(s), waiting(&site)), (0, 0));
}

#[test]
fn acknowledgements_that_the_store_holds_up_count() {
    let (mut site, store) = site(|limits| limits.maximum_total_outbox_bytes = 100_000);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    let b = join(&mut site, 1, "connect v5 id=b clean");
    // What nobody gets needs no store, and is acknowledged behind what does.
    let to_nobody = packets(r#"publish n "x" qos=1 id=1"#, 2000);
    for client in [a, b] {
        say(&mut site, client, r#"publish r "x" qos=1 id=1 retain"#);
        site.send(client, &to_nobody);
        hears_nothing(&mut site, client);
    }
    // A few are not worth counting.
    assert_eq!(waiting(&site), 0);
    for client in [a, b] {
        site.send(client, &to_nobody.repeat(4));
        hears_nothing(&mut site, client);
    }
    assert!((60_000..100_000).contains(&waiting(&site)), "{}", waiting(&site));
    // Now it is too much.
    site.send(b, &to_nobody.repeat(4));
    site.settle();
    assert_eq!(site.close_cause(b), Some(CloseCause::QuotaExceeded));
    commit(&mut site, &store);
    assert_eq!(waiting(&site), 0);
    hears(&mut site, a, "puback id=1 no_matching_subscribers");
    assert_eq!(site.take_bytes(a).len(), 10_000 * 5);
}

#[test]
fn what_a_worker_writes_while_the_owner_closes_counts_no_longer() {
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 7);
    let worker = || Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(1)));
    let (mut owner, mut other) = (worker(), worker());
    let mut link = owner.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
    owner.input(&mut link, &packets("connect v5 id=a clean", 1));
    owner.input(&mut link, &packets("subscribe id=1 t", 1));
    other
        .publish("t", &[b'x'; 10_000], QoS::AtMostOnce, false)
        .unwrap();
    let outbox = Arc::clone(link.outbox());
    let Take::Output(output) = other.take_output(&outbox) else {
        panic!("there is something to write");
    };
    owner.close(&mut link, CloseCause::ConnectionClosed);
    other.output_done(&outbox, output, Sent::Blocked);
    assert_eq!(broker.statistics().waiting_bytes, 0);
}

#[test]
fn acknowledgements_that_the_store_holds_up_are_packets_that_wait_each() {
    let (mut site, store) = site(|_| {});
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "subscribe id=1 t");
    commit(&mut site, &store);
    site.take_bytes(a);
    site.set_room(a, Some(3));
    site.publish("t", b"0123456789", QoS::AtMostOnce, false).unwrap();
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 1);
    say(&mut site, a, r#"publish r "x" qos=1 id=1 retain"#);
    site.send(a, &packets(r#"publish n "x" qos=1 id=1"#, 10));
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 1 + 1 + 10);
    commit(&mut site, &store);
    assert_eq!(site.broker().waiting_packets(), 1 + 1 + 10);
    site.set_room(a, None);
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 0);
}
