//! What the lines look like.

use std::sync::{Arc, Mutex};

use komar_broker_core::{Access, Broker, BrokerConfig, ListenerPolicy, Now, Worker};
use komar_codec::QoS;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;
use crate::transport::socket::Peer;

/// The lines, each with its level and target.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        let line = format!("{level} {target}: {}", message.0);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn lines_of(log: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), log);
    lines.0.lock().unwrap().drain(..).collect()
}

fn worker(broker: &Broker) -> Worker {
    Worker::new(broker, Now::default(), Box::new(|bytes| bytes.fill(7)))
}

fn open(worker: &mut Worker) -> komar_broker_core::Link {
    let peer = Peer::network("192.0.2.1:1000".parse().unwrap());
    let address = Address::new(0, 0, peer, None);
    worker.open(Box::new(address), &Arc::new(ListenerPolicy::default()))
}

// Those about packets, which hold more than a driver can make up, have their lines in the program's conversations.
#[test]
fn every_event_has_its_line() {
    let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 1);
    let outbox = || Arc::clone(open(&mut worker(&broker)).outbox());
    let client_id: Arc<str> = "plc\n7".into();
    let connected = |version, username: Option<&str>, bridge| Event::Connected {
        outbox: outbox(),
        client_id: Arc::clone(&client_id),
        username: username.map(Into::into),
        version,
        clean_start: true,
        keep_alive: 60,
        bridge,
    };
    let refused = |client_id: &str, reason_code| Event::Refused {
        outbox: outbox(),
        client_id: client_id.into(),
        username: Some("bob".into()),
        reason_code,
        detail: "why".to_owned(),
    };
    let disconnected = |cause| Event::Disconnected {
        outbox: outbox(),
        client_id: Arc::clone(&client_id),
        cause,
    };
    let abandoned = |cause| Event::Abandoned {
        outbox: outbox(),
        cause,
    };
    let over = |over| Event::RateExceeded {
        client_id: Arc::clone(&client_id),
        over,
    };
    let cases: Vec<(Event, &[&str])> = vec![
        (
            connected(ProtocolVersion::V5, Some("bob"), false),
            &[
                "INFO komar::connection: New client connected from 192.0.2.1:1000 as plc\u{fffd}7 (p5, c1, k60, u'bob').",
            ],
        ),
        (
            connected(ProtocolVersion::V3_1, None, true),
            &[
                "INFO komar::connection: New bridge connected from 192.0.2.1:1000 as plc\u{fffd}7 (p3, c1, k60).",
            ],
        ),
        (
            refused("", ReasonCode::ServerBusy),
            &["INFO komar::notice: Client <unknown> from 192.0.2.1:1000, user 'bob' refused: why (0x89)."],
        ),
        (
            refused("a", ReasonCode::NotAuthorized),
            &[
                "INFO komar::notice: Client a from 192.0.2.1:1000, user 'bob' refused: why (0x87).",
                "INFO komar::connection: Client a [192.0.2.1:1000] disconnected: not authorised.",
            ],
        ),
        (
            disconnected(CloseCause::Disconnected),
            &["INFO komar::connection: Client plc\u{fffd}7 [192.0.2.1:1000] disconnected."],
        ),
        (
            disconnected(CloseCause::KeepAliveTimeout),
            &["INFO komar::connection: Client plc\u{fffd}7 [192.0.2.1:1000] disconnected: exceeded timeout."],
        ),
        (abandoned(CloseCause::HealthCheck), &[]),
        (
            abandoned(CloseCause::ConnectionClosed),
            &[
                "INFO komar::connection: Client <unknown> [192.0.2.1:1000] disconnected: connection closed by client.",
            ],
        ),
        (
            Event::QueueFull {
                client_id: Arc::clone(&client_id),
            },
            &["INFO komar::notice: Outgoing messages are being dropped for client plc\u{fffd}7."],
        ),
        (
            over(OverRate::Pause),
            &[
                "INFO komar::notice: Client plc\u{fffd}7 publishes too many messages a second; it is read more slowly.",
            ],
        ),
        (
            over(OverRate::Refuse),
            &[
                "INFO komar::notice: Client plc\u{fffd}7 publishes too many messages a second; messages are refused.",
            ],
        ),
        (
            over(OverRate::Disconnect),
            &[
                "INFO komar::notice: Client plc\u{fffd}7 publishes too many messages a second; it is disconnected.",
            ],
        ),
        (
            Event::ReceiveMaximumExceeded {
                client_id: Arc::clone(&client_id),
            },
            &[
                "WARN komar_server::event_log: Client plc\u{fffd}7 has exceeded its receive-maximum quota; its messages are taken.",
            ],
        ),
        (
            Event::Subscribed {
                client_id: Arc::clone(&client_id),
                filter: "a/#".into(),
                maximum_qos: QoS::AtLeastOnce,
            },
            &["INFO komar::subscribe: plc\u{fffd}7 1 a/#"],
        ),
        (
            Event::Unsubscribed {
                client_id: Arc::clone(&client_id),
                filter: "a/#".into(),
            },
            &["INFO komar::unsubscribe: plc\u{fffd}7 a/#"],
        ),
        (
            Event::PacketsNotNoted { packets: 3 },
            &["DEBUG komar::packet: 3 more packets, too many at once for the log."],
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(lines_of(|| log(&event)), expected);
    }
}

#[test]
fn a_limit_on_retained_messages_that_is_met_is_a_warning() {
    let mut config = BrokerConfig::default();
    config.limits.maximum_retained_messages = Some(1);
    let broker = Broker::new(config, Access::allow_all(), 1);
    let mut worker = worker(&broker);
    let mut link = open(&mut worker);
    worker.input(&mut link, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
    // Retained under a, b and c.
    worker.input(
        &mut link,
        b"\x31\x04\x00\x01a1\x31\x04\x00\x01b2\x31\x04\x00\x01c3",
    );
    let lines = lines_of(|| {
        while let Some(event) = worker.next_event() {
            log(&event);
        }
    });
    let warnings = lines.iter().filter(|line| line.starts_with("WARN "));
    assert_eq!(
        warnings.collect::<Vec<_>>(),
        [
            "WARN komar_server::event_log: Retained messages have reached their limit; b and others are not retained."
        ]
    );
}
