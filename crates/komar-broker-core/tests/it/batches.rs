//! Packets that come in one input are handled as if each had come by itself: everybody gets the same, in the same order.

use std::sync::Arc;

use komar_broker_core::{Access, Action, Authorize, BrokerConfig, Decision, ListenerPolicy, Subject};
use komar_codec::ProtocolVersion;
use komar_testkit::{PeerId, Random, Site, words};

use crate::desk::{join, say};

/// Nobody writes to `denied`, which is remembered, or to `once`, which is not; nobody but `s` reads `private`.
struct Rules;

impl Authorize for Rules {
    fn authorize(&self, subject: &Subject<'_>, action: Action<'_>) -> Decision {
        match action {
            Action::Publish(name) if name.as_str() == "denied" => Decision::Deny,
            Action::Publish(name) if name.as_str() == "once" => Decision::AllowOnce,
            Action::Receive(name) if name.as_str() == "private" && subject.client_id != "s" => Decision::Deny,
            _ => Decision::Allow,
        }
    }
}

const TOPICS: [&str; 9] = [
    "one", "one", "one", "two", "own", "denied", "once", "private", "nobody",
];

/// What the publisher says. Identifiers count up, so that each message has one that is free.
struct Script {
    random: Random,
    v5: bool,
    identifier: u16,
    /// QoS of most messages, for a while.
    qos: usize,
    unreleased: Vec<u16>,
}

impl Script {
    fn packet(&mut self) -> String {
        if self.random.below(8) == 0 {
            self.qos = self.random.below(3);
        }
        match self.random.below(16) {
            0 => "pingreq".to_owned(),
            1 if self.v5 => {
                let identifier = self.next_identifier();
                format!(r#"publish "" "m{identifier}" qos=1 id={identifier} alias=1"#)
            }
            // Most in order, some out of it, twice or never.
            2..=6 if !self.unreleased.is_empty() => {
                let place = if self.random.below(8) == 0 {
                    self.random.below(self.unreleased.len())
                } else {
                    0
                };
                let identifier = self.unreleased[place];
                if self.random.below(10) > 0 {
                    self.unreleased.remove(place);
                }
                format!("pubrel id={identifier}")
            }
            _ => self.publish(),
        }
    }

    fn publish(&mut self) -> String {
        let identifier = self.next_identifier();
        let topic = TOPICS[self.random.below(TOPICS.len())];
        let payload = match self.random.below(12) {
            0 => "far too large for the limit of this broker".to_owned(),
            _ => format!("m{identifier}"),
        };
        let retain = if self.random.below(12) == 0 { " retain" } else { "" };
        let flags = match self.random.below(10) {
            0 => String::new(),
            1 => format!(" qos=1 id={identifier}"),
            _ if self.qos == 0 => String::new(),
            _ => format!(" qos={} id={identifier}", self.qos),
        };
        if flags.contains("qos=2") {
            self.unreleased.push(identifier);
        }
        let properties = match self.random.below(6) {
            0 if self.v5 => " prop=a:b",
            1 if self.v5 => " expiry=60 type=text",
            2 if self.v5 => " alias=1",
            _ => "",
        };
        format!(r#"publish {topic} "{payload}"{flags}{retain}{properties}"#)
    }

    fn next_identifier(&mut self) -> u16 {
        self.identifier += 1;
        self.identifier
    }
}

struct Cast {
    site: Site,
    publisher: PeerId,
    subscribers: Vec<PeerId>,
}

impl Cast {
    fn new(v5: bool, workers: usize, access: Access) -> Cast {
        let mut config = BrokerConfig::default();
        config.limits.maximum_payload_size = Some(20);
        config.limits.maximum_queued_messages = Some(5);
        let mut site = Site::new(config, access, workers);
        let mut subscribers = Vec::new();
        for (number, (connect, subscribe)) in [
            (
                "connect v5 id=s clean receive_maximum=3",
                "subscribe id=1 one qos=1 two qos=2 private once",
            ),
            ("connect v5 id=t clean", "subscribe id=1 sid=7 two qos=1"),
            ("connect v5 id=u clean", "subscribe id=1 private qos=1"),
        ]
        .into_iter()
        .enumerate()
        {
            let peer = join(&mut site, number % workers, connect);
            say(&mut site, peer, subscribe);
            subscribers.push(peer);
        }
        let version = if v5 { "v5" } else { "v3" };
        let connect = format!("connect {version} id=p clean");
        let publisher = site.open(0, &Arc::new(policy()));
        site.send(publisher, &words::encode(ProtocolVersion::V5, &connect).unwrap());
        let own = words::encode(version_of(v5), "subscribe id=1 own qos=1").unwrap();
        site.send(publisher, &own);
        site.settle();
        Cast {
            site,
            publisher,
            subscribers,
        }
    }

    /// What everybody has got, and what a late subscriber gets of what is retained; of the publisher first its answers and then what it published to itself, since answers to
    /// one input come together.
    fn heard(mut self, v5: bool) -> Vec<Vec<String>> {
        let late = join(&mut self.site, 0, "connect v5 id=late clean");
        say(&mut self.site, late, "subscribe id=1 # qos=2");
        self.subscribers.push(late);
        self.site.settle();
        let mut all = Vec::new();
        for peer in &self.subscribers {
            all.push(packets(&mut self.site, *peer, ProtocolVersion::V5));
        }
        let (messages, answers): (Vec<_>, Vec<_>) = packets(&mut self.site, self.publisher, version_of(v5))
            .into_iter()
            .partition(|packet| packet.starts_with("publish"));
        all.extend([answers, messages]);
        all.push(vec![format!("{:?}", self.site.close_cause(self.publisher))]);
        all
    }
}

fn policy() -> ListenerPolicy {
    let mut policy = ListenerPolicy::default();
    policy.topic_alias_maximum = 3;
    policy
}

fn version_of(v5: bool) -> ProtocolVersion {
    if v5 {
        ProtocolVersion::V5
    } else {
        ProtocolVersion::V3_1_1
    }
}

fn packets(site: &mut Site, peer: PeerId, version: ProtocolVersion) -> Vec<String> {
    let mut packets = Vec::new();
    while let Some(packet) = site.next_packet(peer, version).unwrap() {
        packets.push(packet.to_string());
    }
    packets
}

#[test]
fn one_input_or_many() {
    let mut messages = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let v5 = random.below(2) == 0;
        let workers = 1 + random.below(2);
        let access = if random.below(2) == 0 {
            Access::allow_all()
        } else {
            Access {
                authorize: Some(Arc::new(Rules)),
                ..Access::allow_all()
            }
        };
        let (mut alone, mut together) = (
            Cast::new(v5, workers, access.clone()),
            Cast::new(v5, workers, access),
        );
        let mut script = Script {
            random,
            v5,
            identifier: 0,
            qos: 1,
            unreleased: Vec::new(),
        };
        for _ in 0..4 {
            let mut batch = Vec::new();
            for _ in 0..1 + script.random.below(24) {
                let packet = script.packet();
                let bytes = words::encode(version_of(v5), &packet).unwrap();
                alone.site.send(alone.publisher, &bytes);
                alone.site.settle();
                batch.extend_from_slice(&bytes);
            }
            together.site.send(together.publisher, &batch);
            together.site.settle();
        }
        let (alone, together) = (alone.heard(v5), together.heard(v5));
        messages += alone
            .iter()
            .flatten()
            .filter(|packet| packet.starts_with("publish"))
            .count();
        assert_eq!(alone, together, "seed {seed}");
    }
    assert!(messages > 5_000, "only {messages} messages came through");
}
