//! What a store has kept and what does not fit together is not taken, and the error says what it is and where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use komar_broker_core::store::{
    Contents, Sequence, StoredDelivery, StoredMessage, StoredRetained, StoredSession, StoredSubscription,
    StoredWill,
};
use komar_broker_core::{Access, Broker, BrokerConfig, Hooks, Identity, ListenerId, Now, Worker};
use komar_codec::{PacketIdentifier, QoS, SubscriptionOptions};

#[test]
fn what_fits_is_taken() {
    let broker = restore(contents()).unwrap();
    let figures = broker.statistics();
    assert_eq!(
        (figures.sessions, figures.subscriptions, figures.retained_messages),
        (1, 1, 1)
    );
    let session = broker.session("s").unwrap();
    let counts = (
        session.inflight_messages,
        session.queued_messages,
        session.unreleased_messages,
    );
    assert_eq!(counts, (1, 1, 1));
    assert!(session.has_will && session.outbox.is_none());
    assert_eq!(session.username.as_deref(), Some("user"));
    assert_eq!(session.session_expiry_interval, Some(Duration::from_secs(60)));
}

/// A client that has come back just before the power went: the will of its Session before has not been published yet, and
/// leases of a new Session begin anew.
#[test]
fn two_wills_of_one_name_and_lease_are_of_two_sessions() {
    let mut contents = contents();
    let mut older = contents.wills[&Sequence(5)].clone();
    older.message = message("older", &[], b"gone");
    contents.wills.insert(Sequence(4), older);
    let broker = restore(contents).unwrap();
    // The younger one is that of the Session that goes on.
    assert!(broker.session("s").unwrap().has_will);
}

/// The clock has gone back since, as it does where there is no battery for it: a Session was left now at the latest.
#[test]
fn a_session_that_was_left_in_the_future_lives_as_long_as_one_that_was_left_now() {
    for left in [1_000_000, 1_000_001, 40_000_000, u64::MAX] {
        let mut contents = contents();
        contents.sessions[0].unbound_at = Some(Duration::from_secs(left));
        let broker = restore(contents).unwrap();
        let mut worker = Worker::new(&broker, at(0), Box::new(|bytes| bytes.fill(1)));
        let mut turn = |seconds| {
            worker.turn_begin(at(seconds));
            worker.work();
            worker.turn_end();
            broker.session("s").map(|session| session.has_will)
        };
        assert_eq!(turn(29), Some(true), "{left}");
        // The Will Delay Interval, then the Session Expiry Interval.
        assert_eq!(turn(31), Some(false), "{left}");
        assert_eq!(turn(59), Some(false), "{left}");
        assert_eq!(turn(61), None, "{left}");
    }
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    type Change = fn(&mut Contents);
    let cases: [(Change, &str); 15] = [
        (
            |contents| contents.sessions.push(contents.sessions[0].clone()),
            "session 's': it is there twice",
        ),
        (
            |contents| contents.sessions[0].lease = 0,
            "session 's': its lease is 0",
        ),
        (
            |contents| subscribe(contents, "a/#/b", None),
            "session 's': filter 'a/#/b': `#` before the last level at byte 2",
        ),
        (
            |contents| subscribe(contents, "$share//t", None),
            "session 's': filter '$share//t': shared subscription without a share name at byte 7",
        ),
        (
            |contents| subscribe(contents, "x", Some(0)),
            "session 's': subscription identifier 0",
        ),
        (
            |contents| delivery(contents, 2).subscription_identifiers = vec![1, 268_435_456],
            "session 's': subscription identifier 268435456",
        ),
        (
            |contents| {
                contents.last = Sequence(1);
                contents.wills.clear();
            },
            "session 's': number 2 is behind the last one, 1",
        ),
        (
            |contents| delivery(contents, 3).sent = Some((Sequence(100), id(1))),
            "session 's': number 100 is behind the last one, 9",
        ),
        (
            |contents| delivery(contents, 2).sent = Some((Sequence(4), id(1))),
            "session 's': message 3: packet identifier 1 is in use",
        ),
        (
            |contents| delivery(contents, 2).message = None,
            "session 's': message 2: it is gone, and was not sent at QoS 2",
        ),
        (
            |contents| delivery(contents, 2).qos = QoS::AtMostOnce,
            "session 's': message 2: QoS 0",
        ),
        (
            // A Topic Alias is of one Connection only.
            |contents| delivery(contents, 2).message = Some(message("t", &[0x23, 0, 1], b"x")),
            "session 's': message 2: its properties cannot be sent",
        ),
        (
            |contents| delivery(contents, 2).message = Some(message("t", &[0x03, 0, 9], b"x")),
            "session 's': message 2: its properties cannot be sent",
        ),
        (
            |contents| contents.retained.push(contents.retained[0].clone()),
            "retained message of 'r': it is there twice",
        ),
        (
            |contents| contents.retained[0].message = message("r", &[], b""),
            "retained message of 'r': its payload is empty",
        ),
    ];
    for (change, expected) in cases {
        let mut contents = contents();
        change(&mut contents);
        let error = restore(contents).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    }
}

#[test]
fn a_stored_message_has_a_topic_name() {
    assert!(StoredMessage::new("a/+", &[], b"x", QoS::AtLeastOnce, false, None).is_err());
    let message = message("a", &[], b"x");
    assert_eq!(
        (message.topic_name(), message.payload(), message.qos()),
        ("a", &b"x"[..], QoS::AtLeastOnce)
    );
}

fn restore(contents: Contents) -> Result<Broker, komar_broker_core::store::RestoreError> {
    let mut config = BrokerConfig::default();
    config.durable = true;
    Broker::restore(config, Access::allow_all(), Hooks::default(), 7, at(0), contents)
}

/// So many seconds after the start.
fn at(seconds: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(1 + seconds),
        unix: Duration::from_secs(1_000_000 + seconds),
    }
}

fn contents() -> Contents {
    let identity = Arc::new(Identity::new("s".into(), Some("user".into()), ListenerId(0)));
    let delivery = |sent| StoredDelivery {
        message: Some(message("t", &[0x03, 0, 1, b'x'], b"x")),
        withheld: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_identifiers: vec![1, 2],
        share: None,
        sent,
    };
    let session = StoredSession {
        identity: Arc::clone(&identity),
        lease: 3,
        session_expiry_interval: 60,
        unbound_at: Some(Duration::from_secs(999_990)),
        subscriptions: BTreeMap::new(),
        messages: BTreeMap::from([
            (Sequence(2), delivery(None)),
            (Sequence(3), delivery(Some((Sequence(4), id(1))))),
        ]),
        unreleased: BTreeMap::from([(id(7), None)]),
    };
    let mut contents = Contents {
        last: Sequence(9),
        sessions: vec![session],
        wills: BTreeMap::from([(
            Sequence(5),
            StoredWill {
                identity: Arc::clone(&identity),
                lease: 3,
                message: message("w", &[], b"gone"),
                expiry: None,
                delay: Duration::from_secs(30),
            },
        )]),
        retained: vec![StoredRetained {
            message: message("r", &[], b"x"),
            source: Some(identity),
            forgotten: None,
        }],
    };
    subscribe(&mut contents, "t", Some(1));
    contents
}

fn subscribe(contents: &mut Contents, filter: &str, identifier: Option<u32>) {
    let options = SubscriptionOptions::default();
    let subscription = StoredSubscription { options, identifier };
    contents.sessions[0]
        .subscriptions
        .insert(filter.into(), subscription);
}

fn delivery(contents: &mut Contents, number: u64) -> &mut StoredDelivery {
    contents.sessions[0].messages.get_mut(&Sequence(number)).unwrap()
}

fn message(topic_name: &str, properties: &[u8], payload: &[u8]) -> StoredMessage {
    StoredMessage::new(topic_name, properties, payload, QoS::AtLeastOnce, false, None).unwrap()
}

fn id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).unwrap()
}
