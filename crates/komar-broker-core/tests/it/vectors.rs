//! The vectors of komar-passwd and komar-identity from CONNECT to delivery: whom Mosquitto 2.1 lets in is let in, whatever it
//! speaks, and has the rights of its name.

use std::sync::Arc;

use base64::Engine as _;
use komar_acl::{Acl, AclFile, Options};
use komar_broker_core::{BrokerConfig, FileAccess, ListenerFiles, ListenerPolicy};
use komar_codec::{
    Connect, ConnectProperties, Packet, PacketType, ProtocolVersion, Publish, QoS, RetainHandling, Subscribe,
    SubscribeFilters, SubscriptionOptions,
};
use komar_codec::{DecodeOptions, Framing, PacketIdentifier, Role, frame};
use komar_identity::IdentityPolicy;
use komar_passwd::PasswordFile;
use komar_testkit::{PeerId, Site};
use serde_json::Value;

const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V3_1,
    ProtocolVersion::V3_1_1,
    ProtocolVersion::V5,
];

#[test]
fn lines_of_a_password_file_let_in_who_mosquitto_lets_in() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../komar-passwd/tests/data/passwords.json")).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    let mut check = |file: &Arc<PasswordFile>, user: &str, password: Option<&str>, expected: bool| {
        // Hashing takes its time: those who are refused try with one version each, in turn.
        let versions = VERSIONS.iter().enumerate();
        for (_, version) in versions.filter(|(place, _)| expected || refused % VERSIONS.len() == *place) {
            let (version, scene) = (*version, Scene::with_passwords(file, user));
            let what = format!("{user:?} {password:?} {version:?}");
            scene.play(version, Some(user), password, expected.then_some(user), &what);
        }
        let count = if expected { &mut accepted } else { &mut refused };
        *count += 1;
    };
    for entry in vectors["entries"].as_array().unwrap() {
        let user = entry["user"].as_str().unwrap();
        let line = entry["line"].as_str().unwrap();
        let Ok(file) = PasswordFile::parse(line.as_bytes()).map(Arc::new) else {
            continue;
        };
        for pair in entry["measured"]["2.1.2"]["checks"].as_array().unwrap() {
            let password = pair[0].as_str().unwrap();
            // Mosquitto ignores what follows U+0000.
            let expected = pair[1].as_bool().unwrap() && !password.contains('\0');
            check(&file, user, Some(password), expected);
        }
        check(&file, user, None, false);
        check(&file, "somebody else", entry["password"].as_str(), false);
    }
    for case in vectors["files"].as_array().unwrap() {
        let (user, password) = (case["user"].as_str().unwrap(), case["password"].as_str());
        let measured = &case["measured"]["2.1.2"];
        if let Ok(file) = PasswordFile::parse(case["file"].as_str().unwrap().as_bytes()).map(Arc::new) {
            check(&file, user, password, measured["login"].as_bool().unwrap());
            check(&file, user, Some("completely-wrong"), false);
        }
    }
    assert!(accepted > 30 && refused > 100, "{accepted}, {refused}");
}

#[test]
fn certificates_give_the_names_that_mosquitto_gives() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../komar-identity/tests/data/certs.json")).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for case in vectors["certs"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let der = certificate(name);
        for (mode, policy) in [
            ("cn", IdentityPolicy::CommonName),
            ("subject", IdentityPolicy::Subject),
        ] {
            let measured = &case["mosquitto"]["2.1.2"][mode];
            // An empty name is refused although Mosquitto accepts it.
            let username = measured["username"].as_str().filter(|name| !name.is_empty());
            for version in VERSIONS {
                let scene = Scene::with_certificate(&der, policy.clone(), username);
                let what = format!("{name} {mode} {version:?}");
                // What the client says of itself is of no account.
                scene.play(version, Some("somebody else"), Some("x"), username, &what);
            }
            let count = if username.is_some() {
                &mut accepted
            } else {
                &mut refused
            };
            *count += 1;
        }
    }
    assert!(accepted > 30 && refused > 10, "{accepted}, {refused}");
}

/// A broker with one listener, and a Connection that has said nothing yet.
struct Scene {
    site: Site,
    peer: PeerId,
    /// The rules know the name.
    has_rules: bool,
}

impl Scene {
    fn with_passwords(file: &Arc<PasswordFile>, user: &str) -> Scene {
        Scene::new(
            ListenerPolicy::default(),
            Some(Arc::clone(file)),
            Some(user),
            None,
        )
    }

    fn with_certificate(der: &[u8], identity: IdentityPolicy, username: Option<&str>) -> Scene {
        let mut policy = ListenerPolicy::default();
        policy.identity = Some(identity);
        Scene::new(policy, None, username, Some(der))
    }

    fn new(
        policy: ListenerPolicy,
        passwords: Option<Arc<PasswordFile>>,
        user: Option<&str>,
        certificate: Option<&[u8]>,
    ) -> Scene {
        let rules = user.and_then(rules_of);
        let has_rules = rules.is_some();
        let files = ListenerFiles {
            passwords,
            acl: rules,
        };
        let mut site = Site::new(BrokerConfig::default(), FileAccess::new(files).into_access(), 1);
        let peer = site.open(0, &Arc::new(policy));
        if let Some(der) = certificate {
            site.present_certificate(peer, der);
        }
        Scene {
            site,
            peer,
            has_rules,
        }
    }

    /// Connects; with a name that is let in, writes and reads where it may, and where it may not.
    fn play(
        mut self,
        version: ProtocolVersion,
        user: Option<&str>,
        password: Option<&str>,
        expected: Option<&str>,
        what: &str,
    ) {
        let connect = Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id: "c",
            username: user,
            password: password.map(str::as_bytes),
            will: None,
            properties: ConnectProperties::default(),
        };
        let mut bytes = Vec::new();
        connect.encode(version, &mut bytes).unwrap();
        self.site.send(self.peer, &bytes);
        let Some(came) = self.hears(version, |packet| match packet {
            Packet::ConnAck(answer) => answer.reason_code.is_error(),
            other => panic!("{what}: {other:?}"),
        }) else {
            assert!(expected.is_none() && self.site.is_closed(self.peer), "{what}");
            return;
        };
        assert_eq!(came, expected.is_none(), "{what}");
        if came {
            assert!(self.site.is_closed(self.peer), "{what}");
            return;
        }
        let session = self.site.broker().session("c").unwrap();
        assert_eq!(session.username.as_deref(), expected, "{what}");
        if !self.has_rules {
            return;
        }
        let options = SubscriptionOptions {
            maximum_qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        let filters = [("own", options), ("other", options)];
        bytes.clear();
        Subscribe {
            packet_identifier: PacketIdentifier::MIN,
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_slice(&filters),
        }
        .encode(version, &mut bytes)
        .unwrap();
        for topic_name in ["other", "own"] {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic_name,
                packet_identifier: None,
                properties: Default::default(),
                payload: b"x",
            };
            publish.encode(version, &mut bytes).unwrap();
        }
        self.site.send(self.peer, &bytes);
        let suback = self.hears(version, |packet| packet.packet_type() == PacketType::SubAck);
        assert_eq!(suback, Some(true), "{what}");
        let delivered = self.hears(version, |packet| match packet {
            Packet::Publish(publish) => publish.topic_name == "own",
            other => panic!("{what}: {other:?}"),
        });
        assert_eq!(
            (delivered, self.site.unread(self.peer)),
            (Some(true), 0),
            "{what}"
        );
    }

    /// Shows the next packet that has come.
    fn hears<R>(&mut self, version: ProtocolVersion, look: impl FnOnce(Packet<'_>) -> R) -> Option<R> {
        self.site.settle();
        let options = DecodeOptions::new(version, Role::Client);
        let bytes = self.site.take_bytes(self.peer);
        let (whole, length) = match frame(&bytes, &options).unwrap() {
            Framing::Complete(whole) => (whole, whole.len()),
            Framing::Incomplete { .. } => return None,
        };
        let result = look(Packet::decode(whole, &options).unwrap());
        self.site.put_back(self.peer, &bytes[length..]);
        Some(result)
    }
}

/// What that user may do; `None`: an ACL file cannot name it.
fn rules_of(user: &str) -> Option<Arc<Acl>> {
    if user.trim() != user || user.contains(char::is_control) {
        return None;
    }
    let file = AclFile::parse(format!("user {user}\ntopic readwrite own\n").as_bytes()).ok()?;
    Some(Arc::new(Acl::compile(&file, Options::default())))
}

fn certificate(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../komar-identity/tests/data/certs");
    let text = std::fs::read_to_string(format!("{folder}/{name}.pem")).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}
