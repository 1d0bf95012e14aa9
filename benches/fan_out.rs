//! Messages through the core, in memory: from the bytes that a publisher has sent to the bytes that its receivers get,
//! acknowledgements included. What sockets cost comes on top.

use std::sync::Arc;

use criterion::{criterion_group, criterion_main};
use komar_benches::{CpuTime, Row, criterion, mix};
use komar_broker_core::{
    Access, Broker, BrokerConfig, Link, ListenerPolicy, Now, Output, Sent, Take, Worker,
};

type Criterion = criterion::Criterion<CpuTime>;

/// A worker and its Connections; the first one publishes.
struct Stage {
    worker: Worker,
    policy: Arc<ListenerPolicy>,
    links: Vec<Link>,
}

impl Stage {
    fn new() -> Stage {
        let mut config = BrokerConfig::default();
        config.limits.maximum_inflight_messages = u16::MAX;
        let broker = Broker::new(config, Access::allow_all(), 42);
        let mut policy = ListenerPolicy::default();
        policy.allow_anonymous = true;
        let mut stage = Stage {
            worker: Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(42))),
            policy: Arc::new(policy),
            links: Vec::new(),
        };
        stage.connect(4);
        stage
    }

    /// Connects one more client; protocol level 4 or 5.
    fn connect(&mut self, level: u8) {
        let number = self.links.len();
        let client_id = format!("client-{number:06}");
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let body = [
            b"\0\x04MQTT".as_slice(),
            &[level, 2, 0, 0],
            properties,
            &string(&client_id),
        ]
        .concat();
        self.links.push(self.worker.open(Box::new(number), &self.policy));
        assert!(self.exchange(number, &packet(0x10, &body)).total > 0, "CONNACK");
    }

    fn receiver(&mut self, level: u8, filter: &str, qos: u8) -> usize {
        self.connect(level);
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let body = [b"\0\x01".as_slice(), properties, &string(filter), &[qos]].concat();
        let link = self.links.len() - 1;
        assert!(self.exchange(link, &packet(0x82, &body)).total > 0, "SUBACK");
        link
    }

    /// One turn with one input.
    fn exchange(&mut self, link: usize, bytes: &[u8]) -> Written {
        self.worker.turn_begin(Now::default());
        self.worker.input(&mut self.links[link], bytes);
        self.worker.work();
        let mut written = Written::default();
        while let Some(outbox) = self.worker.next_dirty() {
            while let Take::Output(mut output) = self.worker.take_output(&outbox) {
                let number = outbox.handle().downcast_ref::<usize>().copied();
                written.write(number.unwrap_or_default(), &mut output);
                self.worker.output_done(&outbox, output, Sent::All);
            }
        }
        while self.worker.next_event().is_some() {}
        self.worker.turn_end();
        written
    }
}

/// What a turn has written: how much in all, and the bytes for the first receiver.
#[derive(Default)]
struct Written {
    total: u64,
    to_receiver: Vec<u8>,
}

impl Written {
    fn write(&mut self, link: usize, output: &mut Output) {
        while !output.is_empty() {
            let count = output.chunk().len();
            self.total += count as u64;
            if link == 1 {
                self.to_receiver.extend_from_slice(output.chunk());
            }
            output.advance(count);
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128, "one byte of Remaining Length");
    [&[first, length], body].concat()
}

fn publish(topic_name: &str, qos: u8, identifier: u16) -> Vec<u8> {
    let identifier = if qos > 0 {
        identifier.to_be_bytes().to_vec()
    } else {
        Vec::new()
    };
    packet(
        0x30 | qos << 1,
        &[string(topic_name), identifier, vec![0x41; 64]].concat(),
    )
}

fn acknowledgements(first: u8, identifiers: impl Iterator<Item = u16>) -> Vec<u8> {
    identifiers
        .flat_map(|identifier| packet(first, &identifier.to_be_bytes()))
        .collect()
}

/// The Packet Identifiers of packets that are all alike, at one place in each.
fn identifiers(bytes: &[u8], length: usize, place: usize) -> Vec<u8> {
    bytes
        .chunks(length)
        .flat_map(|packet| packet[place..place + 2].iter().copied())
        .collect()
}

/// Answers packets by acknowledgements of their identifiers.
fn answer(first: u8, identifiers: &[u8], into: &mut Vec<u8>) {
    into.clear();
    for identifier in identifiers.chunks(2) {
        into.extend_from_slice(&[first, 2]);
        into.extend_from_slice(identifier);
    }
}

/// From one publisher to one receiver.
fn pairs(criterion: &mut Criterion) {
    for qos in 0..=2 {
        for batch in [1, 100] {
            let mut stage = Stage::new();
            stage.receiver(4, TOPIC, qos);
            let input: Vec<u8> = (1..=batch)
                .flat_map(|number| publish(TOPIC, qos, number))
                .collect();
            let released = acknowledgements(0x62, 1..=batch);
            let mut answers = Vec::new();
            let name = format!("QoS {qos}, 1 to 1, {batch} a turn");
            Row::new("fan_out", &name, u64::from(batch))
                .with("komar", || {
                    let mut written = stage.exchange(0, &input);
                    let mut checksum = mix(0, written.total);
                    if qos == 2 {
                        written = stage.exchange(0, &released);
                        checksum = mix(checksum, written.total);
                    }
                    if qos > 0 {
                        let length = publish(TOPIC, qos, 1).len();
                        let known = identifiers(&written.to_receiver, length, 4 + TOPIC.len());
                        answer(if qos == 1 { 0x40 } else { 0x50 }, &known, &mut answers);
                        checksum = mix(checksum, stage.exchange(1, &answers).total);
                        if qos == 2 {
                            answer(0x70, &known, &mut answers);
                            checksum = mix(checksum, stage.exchange(1, &answers).total);
                        }
                    }
                    assert_eq!(
                        written.to_receiver.len(),
                        usize::from(batch) * publish(TOPIC, qos, 1).len()
                    );
                    checksum
                })
                .run(criterion);
        }
    }
}

/// From one publisher to a thousand receivers.
fn fan_out(criterion: &mut Criterion) {
    const RECEIVERS: u64 = 1000;
    for level in [4, 5] {
        let mut stage = Stage::new();
        for _ in 0..RECEIVERS {
            stage.receiver(level, TOPIC, 0);
        }
        let input = publish(TOPIC, 0, 0);
        Row::new(
            "fan_out",
            &format!("QoS 0, 1 to 1000, level {level}, a delivery"),
            RECEIVERS,
        )
        .with("komar", || {
            let written = stage.exchange(0, &input);
            assert!(written.total >= RECEIVERS * input.len() as u64);
            written.total
        })
        .run(criterion);
    }
}

/// Topic Names that nobody remembers, and packets without a message.
fn others(criterion: &mut Criterion) {
    let mut stage = Stage::new();
    stage.receiver(4, "factory/+/temperature", 0);
    let inputs: Vec<u8> = (0..20_000)
        .flat_map(|number| publish(&format!("factory/{number:05}/temperature"), 0, 0))
        .collect();
    Row::new("fan_out", "QoS 0, 1 to 1, 20,000 topics in turn", 20_000)
        .with("komar", || stage.exchange(0, &inputs).total)
        .run(criterion);

    let mut stage = Stage::new();
    let pings = b"\xc0\x00".repeat(100);
    Row::new("fan_out", "PINGREQ, 100 a turn", 100)
        .with("komar", || {
            let written = stage.exchange(0, &pings);
            assert_eq!(written.total, 200);
            written.total
        })
        .run(criterion);
}

const TOPIC: &str = "factory/line/press/temperature";

criterion_group! {
    name = suite;
    config = criterion();
    targets = pairs, fan_out, others
}
criterion_main!(suite);
