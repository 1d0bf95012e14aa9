//! Shared Subscriptions: what takes two workers at one moment, and what is counted and remembered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use komar_broker_core::{
    Access, Action, Authorize, Broker, BrokerConfig, CloseCause, Decision, Hooks, Link, ListenerPolicy, Now,
    Subject, Worker,
};
use komar_codec::{ProtocolVersion, QoS};
use komar_testkit::{Site, words};

use crate::desk::{hears, hears_nothing, join, say};

/// Another worker, and the Connection that it takes in when it is told to.
type Elsewhere = Arc<Mutex<Option<(Worker, Option<Link>)>>>;

/// `a` is connected and is not to have the message. While it is asked, `b` comes back on another worker.
#[test]
fn a_member_that_comes_back_while_others_are_asked_is_not_left_out() {
    // Whether it is looked at before or behind the one that is asked.
    for is_first in [true, false] {
        comes_back(is_first);
    }
}

fn comes_back(is_first: bool) {
    let elsewhere: Elsewhere = Arc::default();
    let armed = Arc::new(AtomicBool::new(false));
    let hooks = Hooks::default().on_deliver({
        let (elsewhere, armed) = (Arc::clone(&elsewhere), Arc::clone(&armed));
        move |delivering| {
            if &*delivering.identity().client_id != "a" {
                return true;
            }
            if armed.swap(false, Ordering::Relaxed)
                && let Some((worker, link)) = elsewhere.lock().unwrap().as_mut()
            {
                *link = Some(connect(worker, "connect v5 id=b expiry=1000"));
            }
            false
        }
    });
    let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 7);
    let mut worker = new_worker(&broker);
    *elsewhere.lock().unwrap() = Some((new_worker(&broker), None));
    let mut a = connect(&mut worker, "connect v5 id=a expiry=1000");
    let mut b = connect(&mut worker, "connect v5 id=b expiry=1000");
    let mut links = [&mut a, &mut b];
    if is_first {
        links.reverse();
    }
    for link in links {
        let subscribe = words::encode(ProtocolVersion::V5, "subscribe id=1 $share/g/t qos=1");
        worker.input(link, &subscribe.unwrap());
    }
    worker.close(&mut b, CloseCause::ConnectionClosed);
    armed.store(true, Ordering::Relaxed);
    worker.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
    assert!(elsewhere.lock().unwrap().as_ref().unwrap().1.is_some());
    assert_eq!(broker.waiting_messages("b"), Some(1));
    assert_eq!(broker.statistics().dropped_messages, 0);
}

#[test]
fn a_message_that_some_member_takes_is_not_dropped() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_queued_messages = Some(0);
    config.limits.maximum_inflight_messages = 1;
    let mut site = Site::new(config, Access::allow_all(), 1);
    let [a, b] = ["a", "b"].map(|name| join(&mut site, 0, &format!("connect v5 id={name} clean")));
    for peer in [a, b] {
        say(&mut site, peer, "subscribe id=1 $share/g/t qos=1");
        hears(&mut site, peer, "suback id=1 granted_qos1");
    }
    // One is under way to each, and one waits for each.
    for dropped in [0, 0, 0, 0, 1, 2] {
        site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
        site.settle();
        assert_eq!(site.broker().statistics().dropped_messages, dropped);
    }
    // The turn is a's; b has room.
    hears(&mut site, b, r#"publish t "x" qos=1 id=1"#);
    say(&mut site, b, "puback id=1");
    hears(&mut site, b, r#"publish t "x" qos=1 id=2"#);
    for dropped in [2, 3] {
        site.publish("t", b"y", QoS::AtLeastOnce, false).unwrap();
        site.settle();
        assert_eq!(site.broker().statistics().dropped_messages, dropped);
    }
    hears(&mut site, a, r#"publish t "x" qos=1 id=1"#);
    hears_nothing(&mut site, a);
}

/// Counts how often it is asked whether somebody may read: what is remembered is not asked about again.
#[derive(Default)]
struct Count(AtomicUsize);

impl Authorize for Count {
    fn authorize(&self, _: &Subject<'_>, action: Action<'_>) -> Decision {
        if let Action::Receive(_) = action {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Decision::Allow
    }
}

#[test]
fn members_and_long_names_count_against_what_a_worker_remembers() {
    let long = format!("t/{}", "x".repeat(2000));
    // Members, Topic Name, whether the lookup is remembered when the name comes for the third time.
    for (members, name, remembered) in [(4, "t/x", true), (20, "t/x", false), (1, &*long, false)] {
        let count = Arc::new(Count::default());
        let access = Access {
            authorize: Some(Arc::clone(&count) as Arc<dyn Authorize>),
            ..Access::allow_all()
        };
        let mut config = BrokerConfig::default();
        config.limits.maximum_cached_targets = 10;
        let mut site = Site::new(config, access, 1);
        for member in 0..members {
            let peer = join(&mut site, 0, &format!("connect v5 id=c{member} clean"));
            say(&mut site, peer, "subscribe id=1 $share/g/t/#");
        }
        for _ in 0..3 {
            site.publish(name, b"x", QoS::AtMostOnce, false).unwrap();
        }
        let lookups = if remembered { 2 } else { 3 };
        assert_eq!(
            count.0.load(Ordering::Relaxed),
            lookups * members,
            "{members} members, a name of {} bytes",
            name.len()
        );
    }
}

/// That a member is full is told where the message is lost for it, and only there.
#[test]
fn a_full_member_is_told_of_where_nobody_takes_the_message() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_inflight_messages = 1;
    config.limits.maximum_queued_messages = Some(1);
    let mut site = Site::new(config, Access::allow_all(), 1);
    let peers = ["a", "b"].map(|client_id| {
        let connect = format!("connect v5 id={client_id} expiry=1000 receive_maximum=1");
        let peer = join(&mut site, 0, &connect);
        say(&mut site, peer, "subscribe id=1 $share/g/t qos=1");
        peer
    });
    site.hang_up(peers[0]);
    site.settle();
    let full = |site: &mut Site, messages: usize| {
        for _ in 0..messages {
            site.publish("t", b"x", QoS::AtLeastOnce, false).unwrap();
        }
        site.settle();
        let notices = site.take_notices();
        let dropped = site.broker().statistics().dropped_messages;
        let full = notices.iter().filter(|notice| notice.0.starts_with("queue full"));
        (full.count(), dropped)
    };
    // b has room for three, and a, which is away, for one.
    assert_eq!(full(&mut site, 4), (0, 0));
    assert_eq!(full(&mut site, 2), (1, 2));
    // Where b makes room, another episode begins.
    say(&mut site, peers[1], "puback id=1");
    assert_eq!(full(&mut site, 1), (0, 2));
    assert_eq!(full(&mut site, 2), (1, 4));
}

fn new_worker(broker: &Broker) -> Worker {
    Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(7)))
}

fn connect(worker: &mut Worker, connect: &str) -> Link {
    worker.turn_begin(Now::default());
    let mut link = worker.open(Box::new(()), &Arc::new(ListenerPolicy::default()));
    worker.input(&mut link, &words::encode(ProtocolVersion::V5, connect).unwrap());
    worker.work();
    worker.turn_end();
    link
}
