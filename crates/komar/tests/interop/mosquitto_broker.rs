//! What the broker `mosquitto` decides, and what the libraries decide: ACL files and password files.
//!
//! The client here is a few bytes by hand, since no program asks a broker for one decision after the other.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use komar_acl::{Access, Acl, AclFile, Options, Subject, Substitution};
use komar_passwd::{PasswordFile, PasswordVerdict, Scheme, StoredHash};

use crate::broker::{Broker, Folder, free_port, is_komar};
use crate::program::{PATIENCE, Program};
use crate::tools::Tool;

/// How many random ACL files are compared.
const FILES: u64 = 25;

#[test]
fn decisions_are_those_of_the_installed_mosquitto() {
    if !is_komar() || !Tool::MosquittoBroker.is_installed() {
        return;
    }
    let mut compared = [0, 0];
    for seed in 0..FILES {
        let mut random = Random(seed);
        let rules = acl(&mut random);
        let file = AclFile::parse(rules.as_bytes()).unwrap();
        let options = Options::default().substitution(substitution());
        let acl = Acl::compile_owned(file, options);
        let broker = mosquitto("allow_anonymous true\nacl_file acl\n", &[("acl", &rules)]);
        for _ in 0..4 {
            let user = *random.one_of(&USERS);
            let client_id = random.one_of(&CLIENT_IDS);
            let subject = Subject {
                username: user,
                client_id,
            };
            let topics: BTreeSet<String> = (0..16).map(|_| random.topic()).collect();
            let told = |access| {
                let allowed = topics
                    .iter()
                    .filter(|topic| acl.decide(subject, access, topic).is_allow());
                allowed.cloned().collect::<BTreeSet<String>>()
            };
            let written = written(&broker, client_id, user, &topics);
            assert_eq!(
                written,
                told(Access::Write),
                "written, seed {seed}, {subject:?}:\n{rules}"
            );
            let read = read(&broker, client_id, user, &topics);
            let expected = told(Access::Read);
            let expected = expected
                .iter()
                .filter(|topic| is_publishable(topic))
                .cloned()
                .collect();
            assert_eq!(read, expected, "read, seed {seed}, {subject:?}:\n{rules}");
            compared = [compared[0] + written.len(), compared[1] + read.len()];
        }
    }
    // Random files that allow nothing would compare nothing.
    assert!(compared.iter().all(|allowed| *allowed > 100), "{compared:?}");
}

#[test]
fn mosquitto_lets_in_whom_the_password_file_lets_in() {
    if !is_komar() || !Tool::MosquittoBroker.is_installed() {
        return;
    }
    let passwords = [
        "secret",
        " blanks ",
        "p\u{e4}$$:w\u{f6}rd",
        "#",
        &"long".repeat(50),
    ];
    let users = ["alice", "user with blanks", "\u{fc}n\u{ef}code", "a+b/#", "$x"];
    let schemes = [
        Scheme::Sha512,
        Scheme::Sha512Pbkdf2 { iterations: 1 },
        Scheme::Sha512Pbkdf2 { iterations: 5000 },
    ];
    let mut text = String::from("# a comment\n\nno colon\n");
    for (number, (user, password)) in users.iter().zip(passwords).enumerate() {
        let salt = [number as u8 * 50; 12];
        let hash = StoredHash::derive(schemes[number % schemes.len()], password.as_bytes(), &salt).unwrap();
        text += &format!("{user}:{hash}\r\n");
    }
    let file = PasswordFile::parse(text.as_bytes()).unwrap();
    let broker = mosquitto("password_file pw\n", &[("pw", &text)]);
    let mut let_in = 0;
    for user in users.iter().chain(&["ALICE", "nobody"]) {
        for password in passwords.iter().chain(&["Secret", "blanks"]) {
            let check = file.check(user, password.as_bytes());
            let expected = check.run() != PasswordVerdict::Refused;
            let accepted = Client::connect(&broker, "c", Some(user), Some(password)).is_some();
            assert_eq!(accepted, expected, "{user:?} with {password:?}");
            let_in += usize::from(accepted);
        }
    }
    assert_eq!(let_in, users.len());
}

/// The topics that this client may publish to, of some.
fn written(
    broker: &Broker,
    client_id: &str,
    user: Option<&str>,
    topics: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut client = Client::connect(broker, client_id, user, None).expect("everybody may connect");
    topics
        .iter()
        .filter(|topic| client.publish(topic, b""))
        .cloned()
        .collect()
}

/// The topics that this client receives messages of, of those that can be published to.
fn read(broker: &Broker, client_id: &str, user: Option<&str>, topics: &BTreeSet<String>) -> BTreeSet<String> {
    let mut reader = Client::connect(broker, client_id, user, None).expect("everybody may connect");
    for filter in ["#", "$x/#", "$SYS/broker/connection/#"] {
        reader.subscribe(filter);
    }
    let mut writer = Client::connect(broker, "the writer", Some(WRITER), None).expect("it may connect");
    for topic in topics.iter().filter(|topic| is_publishable(topic)) {
        assert!(writer.publish(topic, b""), "the writer may write to {topic}");
    }
    reader.received()
}

fn is_publishable(topic: &str) -> bool {
    !topic.starts_with("$share") && (!topic.starts_with("$SYS") || topic.ends_with("/state"))
}

/// What the installed mosquitto replaces in patterns.
fn substitution() -> Substitution {
    let output = Command::new("mosquitto").arg("-h").output().unwrap();
    if String::from_utf8_lossy(&output.stdout).contains("version 2.0.") {
        Substitution::Anywhere
    } else {
        Substitution::WholeLevel
    }
}

fn mosquitto(configuration: &str, files: &[(&str, &str)]) -> Broker {
    let folder = Folder::new();
    for (name, text) in files {
        folder.write(name, text);
    }
    folder.share();
    for _ in 0..5 {
        let port = free_port();
        // No statistics, which the reader would receive too.
        let text = format!("listener {port} 127.0.0.1\nsys_interval 0\n{configuration}");
        folder.write("mosquitto.conf", text);
        let mut command = Command::new("mosquitto");
        command.args(["-c", "mosquitto.conf"]).current_dir(folder.path());
        let program = Program::start(&mut command);
        if program.wait_for(" running").is_ok() {
            return Broker { program, port };
        }
    }
    panic!("mosquitto does not start");
}

/// An MQTT 5.0 client of a few packets.
struct Client(TcpStream);

impl Client {
    /// `None` if it is refused.
    fn connect(
        broker: &Broker,
        client_id: &str,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Option<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(stream);
        let flags = 0x02 | user.map_or(0, |_| 0x80) | password.map_or(0, |_| 0x40);
        let mut body = [&string("MQTT")[..], &[5, flags, 0, 60, 0], &string(client_id)].concat();
        [user, password]
            .into_iter()
            .flatten()
            .for_each(|text| body.extend(string(text)));
        client.send(0x10, &body);
        let (kind, connack) = client.packet();
        assert_eq!(kind, 0x20);
        (connack[1] == 0).then_some(client)
    }

    /// Publishes with QoS 1; whether it was allowed.
    fn publish(&mut self, topic: &str, payload: &[u8]) -> bool {
        self.send(0x32, &[&string(topic)[..], &[0, 1, 0], payload].concat());
        let (kind, puback) = self.packet();
        assert_eq!(kind, 0x40);
        match puback.get(2) {
            None | Some(0 | 0x10) => true,
            Some(0x87) => false,
            Some(other) => panic!("PUBACK {other:#x} for {topic}"),
        }
    }

    fn subscribe(&mut self, filter: &str) {
        self.send(0x82, &[&[0, 1, 0][..], &string(filter), &[0]].concat());
        let (kind, suback) = self.packet();
        assert_eq!((kind, suback.last()), (0x90, Some(&0)), "{filter}");
    }

    /// The topics of the messages that are on their way to this client.
    fn received(&mut self) -> BTreeSet<String> {
        // The answer comes after them.
        self.send(0xC0, &[]);
        let mut topics = BTreeSet::new();
        loop {
            match self.packet() {
                (0xD0, _) => return topics,
                (0x30, publish) => {
                    let length = usize::from(u16::from_be_bytes([publish[0], publish[1]]));
                    topics.insert(String::from_utf8(publish[2..2 + length].to_vec()).unwrap());
                }
                (kind, _) => panic!("packet {kind:#x}"),
            }
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut length = body.len();
        while length >= 0x80 {
            packet.push(0x80 | (length % 0x80) as u8);
            length /= 0x80;
        }
        packet.push(length as u8);
        packet.extend(body);
        self.0.write_all(&packet).unwrap();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let [kind] = self.bytes();
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let [byte] = self.bytes();
            length |= usize::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (kind, body)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A random ACL file, and at its end the rights of a user that writes what others read.
fn acl(random: &mut Random) -> String {
    let mut sections = [String::new(), String::new()];
    for _ in 0..random.below(24) {
        let access = random.one_of(&["", "read ", "write ", "readwrite ", "deny "]);
        match random.below(5) {
            0 => sections[0] += &format!("topic {access}{}\n", random.filter(false)),
            1 | 2 => {
                let user = *random.one_of(&USERS[1..]);
                sections[1] += &format!(
                    "user {}\ntopic {access}{}\n",
                    user.unwrap_or_default(),
                    random.filter(false)
                );
            }
            _ => sections[1] += &format!("pattern {access}{}\n", random.filter(true)),
        }
    }
    let [anonymous, others] = sections;
    format!(
        "{anonymous}{others}user {WRITER}\ntopic write #\ntopic write $x/#\ntopic write $SYS/broker/connection/+/state\n"
    )
}

/// Few words, so that rules and questions meet.
const LEVELS: [&str; 10] = ["a", "a", "b", "b", "", "$x", "u", "%u", "%c", "u-c"];
const USERS: [Option<&str>; 7] = [
    None,
    Some("u"),
    Some("a"),
    Some("a/b"),
    Some("+"),
    Some("$x"),
    Some("%c"),
];
const CLIENT_IDS: [&str; 6] = ["c", "a", "u", "a/b", "#", "%u"];
const WRITER: &str = "whoever writes";

/// Numbers that look random and are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    fn topic(&mut self) -> String {
        match self.below(20) {
            0 => "$SYS/a".to_owned(),
            1 => "$SYS/broker/connection/b/state".to_owned(),
            2 => "$share/g/a".to_owned(),
            _ => loop {
                let levels = 1 + self.below(4);
                let topic = (0..levels)
                    .map(|_| *self.one_of(&LEVELS))
                    .collect::<Vec<_>>()
                    .join("/");
                if !topic.is_empty() {
                    return topic;
                }
            },
        }
    }

    fn filter(&mut self, pattern: bool) -> String {
        if self.below(12) == 0 {
            return (*self.one_of(&["$SYS/#", "$share/#", "#", "+/#"])).to_owned();
        }
        loop {
            let mut levels = Vec::new();
            for _ in 0..1 + self.below(3) {
                let placeholders = ["%u", "%c", "%u-%c", "x%u"];
                levels.push(match self.below(10) {
                    0..=2 => "+",
                    3..=6 if pattern => self.one_of(&placeholders),
                    _ => self.one_of(&LEVELS),
                });
            }
            if self.below(3) == 0 {
                levels.push("#");
            }
            let filter = levels.join("/");
            if !filter.is_empty() {
                return filter;
            }
        }
    }
}
