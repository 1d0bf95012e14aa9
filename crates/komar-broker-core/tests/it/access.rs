//! komar-acl's vectors from CONNECT to delivery: what Mosquitto 2.1 decides is what clients see, whatever they speak.

use std::sync::Arc;

use komar_acl::{Acl, AclFile, Options, Substitution};
use komar_broker_core::{
    Access, Authenticate, Authentication, BrokerConfig, FileAccess, ListenerFiles, ListenerPolicy, Login,
};
use komar_codec::{
    Connect, ConnectProperties, OutgoingPublish, PacketIdentifier, ProtocolVersion, QoS, ReasonCode,
    RetainHandling, Subscribe, SubscribeFilters, SubscriptionOptions,
};
use komar_testkit::{PeerId, Site, words::Said};
use komar_topic::TopicName;
use serde_json::Value;

use crate::desk::{hears, open};

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V3_1,
    ProtocolVersion::V3_1_1,
    ProtocolVersion::V5,
];

#[test]
fn decisions_of_an_acl_file_are_seen_by_clients() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../komar-acl/tests/data/acl.json")).unwrap();
    let (mut written, mut read) = (0, 0);
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let Ok(file) = AclFile::parse(case["acl"].as_str().unwrap().as_bytes()) else {
            continue;
        };
        let options = Options::default().substitution(Substitution::WholeLevel);
        let acl = Arc::new(Acl::compile(&file, options));
        let queries = case["queries"].as_array().unwrap().iter();
        for (query, expected) in queries.zip(case["measured"]["2.1.2"]["decisions"].as_array().unwrap()) {
            let (Some(expected), Some(topic)) = (expected.as_bool(), query[3].as_str()) else {
                continue;
            };
            let client_id = query[1].as_str().unwrap();
            if client_id.is_empty() || TopicName::new(topic).is_err() {
                continue;
            }
            for version in VERSIONS {
                let mut scene = Scene::new(&acl, version, client_id, query[0].as_str());
                let what = format!("{name}: {query} {version:?}");
                match query[2].as_str().unwrap() {
                    "write" => {
                        scene.write(topic, expected, &what);
                        written += 1;
                    }
                    "read" => {
                        scene.read(topic, expected, &what);
                        read += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(written > 100 && read > 100, "{written}, {read}");
}

/// An embedder that has no name for a client does not make an anonymous one of it by that, and no store trips over what it has.
#[test]
fn a_user_name_that_is_none_lets_nobody_in() {
    struct Names;
    impl Authenticate for Names {
        fn authenticate(&self, login: &Login<'_>) -> Authentication {
            Authentication::AcceptAs(match login.client_id {
                "empty" => "".into(),
                "null" => "n\0ul".into(),
                "long" => "a".repeat(65_536).into(),
                _ => "name".into(),
            })
        }
    }
    let access = Access {
        authenticate: Arc::new(Names),
        authorize: None,
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    for client_id in ["empty", "null", "long"] {
        let peer = open(&mut site, 0, &format!("connect v5 id={client_id} clean"));
        hears(
            &mut site,
            peer,
            "connack bad_user_name_or_password session_present=0",
        );
        assert!(site.is_closed(peer));
    }
    let peer = open(&mut site, 0, "connect v5 id=other clean");
    hears(&mut site, peer, "connack success ...");
    assert_eq!(site.broker().statistics().sessions, 1);
}

#[test]
fn only_a_refusal_for_want_of_rights_speaks_of_the_password() {
    struct Refuses;
    impl Authenticate for Refuses {
        fn authenticate(&self, login: &Login<'_>) -> Authentication {
            Authentication::Refuse(match login.client_id {
                "banned" => ReasonCode::Banned,
                _ => ReasonCode::NotAuthorized,
            })
        }
    }
    let access = Access {
        authenticate: Arc::new(Refuses),
        authorize: None,
    };
    let mut site = Site::new(BrokerConfig::default(), access, 1);
    for (connect, detail) in [
        ("id=banned clean user=u", "refused banned: it may not log in"),
        (
            "id=a clean user=u",
            "refused a: unknown user name or wrong password",
        ),
        ("id=a clean", "refused a: credentials are required"),
    ] {
        site.take_notices();
        open(&mut site, 0, &format!("connect v5 {connect}"));
        site.settle();
        let notices = site.take_notices();
        assert!(notices.iter().any(|notice| notice.0 == detail), "{notices:?}");
    }
}

/// One client, let in under its name, with the rules of a file.
struct Scene {
    site: Site,
    peer: PeerId,
    version: ProtocolVersion,
}

impl Scene {
    fn new(acl: &Arc<Acl>, version: ProtocolVersion, client_id: &str, username: Option<&str>) -> Scene {
        let files = ListenerFiles {
            acl: Some(Arc::clone(acl)),
            ..ListenerFiles::default()
        };
        let access = Access {
            authorize: FileAccess::new(files).into_access().authorize,
            ..Access::allow_all()
        };
        let mut site = Site::new(BrokerConfig::default(), access, 1);
        let peer = site.open(0, &Arc::new(ListenerPolicy::default()));
        let connect = Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id,
            username,
            password: None,
            will: None,
            properties: ConnectProperties::default(),
        };
        let mut bytes = Vec::new();
        connect.encode(version, &mut bytes).unwrap();
        site.send(peer, &bytes);
        let mut scene = Scene { site, peer, version };
        assert_eq!(scene.hears().unwrap().name(), "connack");
        scene
    }

    /// A PUBLISH at each QoS, retained: acknowledged in 3.x as if nothing was, and kept or not.
    fn write(&mut self, topic: &str, allowed: bool, what: &str) {
        for (qos, answer) in [(0, ""), (1, "puback"), (2, "pubrec")] {
            let packet = OutgoingPublish {
                dup: false,
                qos: QoS::from_u8(qos).unwrap(),
                retain: true,
                topic_name: topic,
                packet_identifier: PacketIdentifier::new(u16::from(qos)).filter(|_| qos > 0),
                topic_alias: None,
                message_expiry_interval: None,
                subscription_identifiers: &[],
                forwarded: &[],
                payload_len: 1,
            };
            let mut bytes = Vec::new();
            packet.encode_header(self.version, &mut bytes).unwrap();
            bytes.push(b'x');
            self.site.send(self.peer, &bytes);
            let came = self.hears();
            if qos == 0 {
                assert!(came.is_none(), "{what}");
                assert_eq!(
                    self.site.broker().statistics().retained_messages,
                    usize::from(allowed),
                    "{what}"
                );
                continue;
            }
            let came = came.unwrap();
            let denied = came.to_string().contains("not_authorized");
            assert_eq!(came.name(), answer, "{what}");
            assert_eq!(
                denied,
                !allowed && self.version == ProtocolVersion::V5,
                "{what}: {came}"
            );
        }
        assert!(!self.site.is_closed(self.peer), "{what}");
    }

    /// A Subscription is granted in any case; retained and live messages come or do not.
    fn read(&mut self, topic: &str, allowed: bool, what: &str) {
        self.site.publish(topic, b"old", QoS::AtMostOnce, true).unwrap();
        let options = SubscriptionOptions {
            maximum_qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        let filters = [(topic, options)];
        let packet = Subscribe {
            packet_identifier: PacketIdentifier::new(1).unwrap(),
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_slice(&filters),
        };
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.site.send(self.peer, &bytes);
        let answer = self.hears().unwrap();
        // What no client may subscribe to is refused before a rule is asked.
        if answer.name() != "suback" || !answer.to_string().contains("granted") {
            assert!(!allowed, "{what}: {answer}");
            return;
        }
        assert_eq!(self.hears().is_some(), allowed, "{what}: retained");
        // Three times: looked up, remembered, found in the cache.
        for _ in 0..3 {
            self.site.publish(topic, b"new", QoS::AtLeastOnce, false).unwrap();
            assert_eq!(self.hears().is_some(), allowed, "{what}: live");
        }
    }

    fn hears(&mut self) -> Option<Said> {
        self.site.settle();
        self.site.next_packet(self.peer, self.version).unwrap()
    }
}
