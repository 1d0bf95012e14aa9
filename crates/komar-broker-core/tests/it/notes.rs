//! Packets that are noted: each of them once, also those that come in batches, wait for the store or are refused.

use komar_broker_core::{Access, BrokerConfig};
use komar_testkit::{DelayedStore, Site};

use crate::desk::{join, open, say};

/// What is said by one client to another, and to itself.
fn converse(site: &mut Site, store: Option<&DelayedStore>) {
    let commit = |site: &mut Site| {
        // What is let go may bring about the next change.
        for _ in 0..3 {
            if let Some(store) = store {
                store.commit_until(store.submitted());
            }
            site.settle();
        }
    };
    let receiver = open(site, 0, "connect v5 id=s expiry=100");
    commit(site);
    say(site, receiver, "subscribe id=1 a/# qos=2 + pingreq");
    commit(site);
    let sender = open(site, 0, "connect v5 id=p clean");
    let several = |packet: &str, numbers: std::ops::RangeInclusive<u16>| {
        let packets = numbers.map(|number| format!("{packet} id={number}"));
        packets.collect::<Vec<String>>().join(" + ")
    };
    say(
        site,
        sender,
        r#"publish a/1 "x" + publish a/1 "y" + publish a/1 "z""#,
    );
    say(site, sender, &several(r#"publish a/1 "x" qos=1"#, 1..=3));
    say(site, sender, &several(r#"publish a/1 "x" qos=2"#, 4..=6));
    commit(site);
    say(site, sender, &several("pubrel", 4..=6));
    commit(site);
    say(site, receiver, &several("puback", 1..=3));
    say(site, receiver, &several("pubrec", 4..=6));
    commit(site);
    say(site, receiver, &several("pubcomp", 4..=6));
    say(site, receiver, "unsubscribe id=2 a/#");
    commit(site);
    say(site, receiver, "disconnect");
    say(site, sender, "subscribe id=9 #/a");
    commit(site);
}

fn site(durable: bool, maximum: usize) -> (Site, Option<DelayedStore>) {
    let mut config = BrokerConfig::default();
    config.durable = durable;
    config.limits.maximum_noted_packets = maximum;
    let mut site = Site::new(config, Access::allow_all(), 1);
    let store = durable.then(DelayedStore::default);
    if let Some(store) = &store {
        site.set_store(Box::new(store.clone()));
    }
    (site, store)
}

fn count(notices: &[String], begins: &str) -> u64 {
    notices.iter().filter(|notice| notice.starts_with(begins)).count() as u64
}

#[test]
fn each_packet_is_noted_once() {
    for durable in [false, true] {
        let (mut site, store) = site(durable, 1000);
        site.note_packets(true);
        converse(&mut site, store.as_ref());
        let notices: Vec<String> = site.take_notices().into_iter().map(|notice| notice.0).collect();
        let statistics = site.broker().statistics();
        // But the SUBSCRIBE that ends its Connection.
        assert_eq!(
            count(&notices, "received from ") + 1,
            statistics.packets_received,
            "{notices:#?}"
        );
        assert_eq!(
            count(&notices, "sent to "),
            statistics.packets_sent,
            "{notices:#?}"
        );
        assert_eq!(
            count(&notices, "received from p: Publish"),
            statistics.publish_received
        );
        assert_eq!(count(&notices, "sent to s: Publish"), statistics.publish_sent);
        assert_eq!(count(&notices, "sent to nobody"), 0);
        let place = |begins| notices.iter().position(|notice| notice.starts_with(begins));
        assert!(place("connected p") < place("sent to p: ConnAck"), "{notices:#?}");
        assert!(
            place("sent to p: Disconnect") < place("disconnected p"),
            "{notices:#?}"
        );
        assert!(place("sent to p: Disconnect").is_some());
    }
}

#[test]
fn what_a_client_gets_is_the_same() {
    let heard = |noted: bool| {
        let (mut site, _) = site(false, 1000);
        site.note_packets(noted);
        let receiver = join(&mut site, 0, "connect v5 id=s clean");
        say(&mut site, receiver, "subscribe id=1 a/# qos=2");
        let sender = join(&mut site, 0, "connect v5 id=p clean");
        say(
            &mut site,
            sender,
            r#"publish a/1 "x" qos=1 id=1 + publish a/1 "y" + publish a/1 "z" qos=1 id=2"#,
        );
        (site.take_bytes(receiver), site.take_bytes(sender))
    };
    assert_eq!(heard(true), heard(false));
}

#[test]
fn too_many_at_once_are_counted() {
    let (mut site, _) = site(false, 2);
    site.note_packets(true);
    let client = join(&mut site, 0, "connect v5 id=a clean");
    site.take_notices();
    say(&mut site, client, "pingreq + pingreq + pingreq");
    let notices: Vec<String> = site.take_notices().into_iter().map(|notice| notice.0).collect();
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert_eq!(notices.last().map(String::as_str), Some("not noted: 4"));
}

#[test]
fn nothing_is_noted_unasked() {
    let (mut site, _) = site(false, 1000);
    converse(&mut site, None);
    let notices: Vec<String> = site.take_notices().into_iter().map(|notice| notice.0).collect();
    assert_eq!(
        count(&notices, "received") + count(&notices, "sent"),
        0,
        "{notices:?}"
    );
}
