//! What a broker says about itself, and what an operator does to it.

use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::{Access, BrokerConfig, ListenerPolicy};
use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_testkit::{PeerId, Site, words};
use komar_topic::TopicFilter;

use crate::desk::{hears, hears_nothing};

#[test]
fn every_packet_and_byte_is_counted_once_whatever_the_worker() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 2);
    let a = join(&mut site, 0, "connect v5 id=a expiry=100");
    let b = join(&mut site, 1, "connect v5 id=b clean");
    say(&mut site, a, "subscribe id=1 t qos=1 $share/g/s");
    // PUBLISH of 2 + 3 + 2 + 1 + 5 bytes, to two workers' Connections
    say(&mut site, b, r#"publish t "12345" qos=1 id=1"#);
    say(&mut site, a, "puback id=1");
    say(&mut site, b, "pingreq");
    say(&mut site, b, r#"publish r "123" retain"#);

    let figures = site.broker().statistics();
    assert_eq!(
        (figures.sessions, figures.connected, figures.maximum_sessions),
        (2, 2, 2)
    );
    assert_eq!((figures.subscriptions, figures.shared_subscriptions), (2, 1));
    assert_eq!((figures.retained_messages, figures.retained_bytes), (1, 3));
    assert_eq!(
        (
            figures.connections,
            figures.connections_opened,
            figures.connects_received
        ),
        (2, 2, 2)
    );
    // CONNECT x2, SUBSCRIBE, PUBLISH x2, PUBACK, PINGREQ
    assert_eq!(figures.packets_received, 7);
    // CONNACK x2, SUBACK, PUBACK, PUBLISH, PINGRESP
    assert_eq!(figures.packets_sent, 6);
    assert_eq!((figures.publish_received, figures.publish_bytes_received), (2, 8));
    assert_eq!((figures.publish_sent, figures.publish_bytes_sent), (1, 5));
    assert_eq!(figures.bytes_sent as usize, site.unread(a) + site.unread(b));

    site.hang_up(b);
    site.settle();
    let figures = site.broker().statistics();
    assert_eq!(
        (figures.sessions, figures.connected, figures.connections),
        (1, 1, 1)
    );
    assert_eq!((figures.maximum_sessions, figures.connections_opened), (2, 2));
}

#[test]
fn what_is_written_in_pieces_is_counted_once() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "subscribe id=1 t");
    let before = site.broker().statistics().bytes_sent;
    site.take_bytes(a);
    site.set_room(a, Some(3));
    site.publish("t", b"0123456789", QoS::AtMostOnce, false).unwrap();
    site.settle();
    assert_eq!(site.broker().statistics().bytes_sent - before, 3);
    site.set_room(a, None);
    site.settle();
    assert_eq!(
        site.broker().statistics().bytes_sent - before,
        site.unread(a) as u64
    );
}

#[test]
fn packets_that_wait_are_counted_until_their_last_byte_is_written() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let a = join(&mut site, 0, "connect v5 id=a clean");
    say(&mut site, a, "subscribe id=1 t");
    site.set_room(a, Some(3));
    // The first begins to be written; the large one is shared, not copied.
    site.publish("t", b"0123456789", QoS::AtMostOnce, false).unwrap();
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 1);
    for payload in [&[b'x'; 200][..], &[b'y'; 40_000], b""] {
        site.publish("t", payload, QoS::AtMostOnce, false).unwrap();
    }
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 4);
    site.set_room(a, Some(13));
    site.settle();
    assert_eq!(site.broker().waiting_packets(), 3);
    site.set_room(a, None);
    site.settle();
    let broker = site.broker();
    assert_eq!(
        (broker.waiting_packets(), broker.statistics().waiting_bytes),
        (0, 0)
    );
}

#[test]
fn a_session_is_shown_with_what_waits_for_it() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_inflight_messages = 2;
    let mut site = Site::new(config, Access::allow_all(), 2);
    let a = join(
        &mut site,
        1,
        "connect v5 id=a expiry=100 user=alice will=w will_payload=x",
    );
    say(
        &mut site,
        a,
        "subscribe id=1 sid=7 t qos=1 as_published u no_local",
    );
    say(&mut site, a, r#"publish q "x" qos=2 id=9"#);
    for _ in 0..5 {
        site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    }
    let broker = site.broker().clone();
    let info = broker.session("a").unwrap();
    assert_eq!(info.username.as_deref(), Some("alice"));
    assert_eq!(info.version, Some(ProtocolVersion::V5));
    assert_eq!(info.session_expiry_interval, Some(Duration::from_secs(100)));
    assert_eq!(
        (info.subscriptions, info.inflight_messages, info.queued_messages),
        (2, 2, 3)
    );
    assert_eq!((info.unreleased_messages, info.has_will), (1, true));
    assert!(info.queued_bytes > 0 && info.waiting_bytes > 0 && info.outbox.is_some());

    let subscriptions = broker.subscriptions("a").unwrap();
    let shown: Vec<_> = subscriptions
        .iter()
        .map(|found| {
            (
                found.filter.as_str(),
                found.maximum_qos.as_u8(),
                found.no_local,
                found.identifier,
            )
        })
        .collect();
    assert_eq!(shown, [("t", 1, false, Some(7)), ("u", 0, true, Some(7))]);

    // Five for the Session, one not released; one of the five for another Session as well is still one.
    assert_eq!(broker.stored_messages().messages, 6);
    let b = join(&mut site, 0, "connect v5 id=b expiry=100");
    say(&mut site, b, "subscribe id=1 t qos=1");
    site.publish("t", b"12345", QoS::AtLeastOnce, false).unwrap();
    let stored = broker.stored_messages();
    assert_eq!((stored.messages, stored.bytes), (7, 6 + 5));

    let mut names = Vec::new();
    broker.for_each_session(|info| names.push(info.client_id.to_string()));
    names.sort();
    assert_eq!(names, ["a", "b"]);
    site.hang_up(a);
    site.settle();
    assert!(broker.session("a").unwrap().outbox.is_none());
    assert!(broker.session("nobody").is_none() && broker.subscriptions("nobody").is_none());
}

#[test]
fn retained_messages_are_shown_page_by_page_and_deleted_by_filter() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    for number in 0..1500 {
        site.publish(&format!("plant/{number:04}/state"), b"12", QoS::AtMostOnce, true)
            .unwrap();
    }
    site.publish("other", b"1", QoS::AtLeastOnce, true).unwrap();
    let broker = site.broker().clone();

    let filter = TopicFilter::new("plant/+/state").unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = broker.retained(filter, after.as_ref(), 100);
        found.extend(page.messages);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 1500);
    assert_eq!(
        (found[7].topic_name.as_str(), found[7].payload.as_slice()),
        ("plant/0007/state", &b"12"[..])
    );

    let names = broker.delete_retained(filter, true);
    assert_eq!((names.len(), broker.statistics().retained_messages), (1500, 1501));
    assert_eq!(broker.delete_retained(filter, false), names);
    let figures = broker.statistics();
    assert_eq!((figures.retained_messages, figures.retained_bytes), (1, 1));
    assert!(broker.delete_retained(filter, false).is_empty());
}

fn join(site: &mut Site, worker: usize, connect: &str) -> PeerId {
    let peer = site.open(worker, &Arc::new(ListenerPolicy::default()));
    say(site, peer, connect);
    peer
}

fn say(site: &mut Site, peer: PeerId, packet: &str) {
    site.send(peer, &words::encode(ProtocolVersion::V5, packet).unwrap());
    site.settle();
}

#[test]
fn a_kick_is_for_the_connection_of_its_moment() {
    let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
    let first = join(&mut site, 0, "connect v5 id=a expiry=100");
    // From another thread, in the middle of a turn: the client is back before the worker reads of it.
    let second = site.open(0, &Arc::default());
    assert!(site.broker().kick("a", ReasonCode::AdministrativeAction));
    let connect = words::encode(ProtocolVersion::V5, "connect v5 id=a expiry=100").unwrap();
    site.send(second, &connect);
    site.settle();
    assert!(site.is_closed(first));
    hears(&mut site, second, "connack success session_present=1 ...");
    hears_nothing(&mut site, second);
}
