//! `mosquitto_pub` and `mosquitto_sub`, as MQTT 3.1, 3.1.1 and 5.

use std::fs::File;
use std::process::Command;

use rustix::process::Signal;

use crate::broker::Reactors;
use crate::certificates::{READER, WRITER};
use crate::program::{Ended, Program};
use crate::setting::{Setting, Transport};
use crate::table;
use crate::tools::Tool;

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// A `mosquitto_sub` whose subscriptions are acknowledged.
pub(crate) struct Subscriber(Program);

impl Subscriber {
    /// Connects and subscribes. `connection` is how it reaches the broker, `arguments` are its other arguments.
    pub(crate) fn start(connection: &[String], arguments: &[&str]) -> Subscriber {
        let subscriber = Subscriber::connect(connection, arguments);
        if let Err(text) = subscriber.0.wait_for("Subscribed (mid: ") {
            panic!("mosquitto_sub did not get its subscription:\n{text}");
        }
        subscriber
    }

    /// The same without waiting for the acknowledgement.
    pub(crate) fn connect(connection: &[String], arguments: &[&str]) -> Subscriber {
        // Into a pipe it would write when its buffer is full.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "mosquitto_sub", "-d", "-W", "10", "-F"])
            .arg(format!("{MARK}%t|%q|%r|%p"));
        Subscriber(Program::start(command.args(connection).args(arguments)))
    }

    /// Waits until it has received such a message.
    pub(crate) fn wait_for(&self, message: &str) {
        if let Err(text) = self.0.wait_for(&format!("{MARK}{message}")) {
            panic!("mosquitto_sub ended without '{message}':\n{text}");
        }
    }

    /// What it received until its end (its argument `-C` says how many), as `topic|QoS|retain|payload`.
    pub(crate) fn messages(mut self) -> Vec<String> {
        let ended = self.0.end();
        assert!(
            ended.status.success(),
            "mosquitto_sub ended with {}:\n{}",
            ended.status,
            ended.text
        );
        ended
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(MARK))
            .map(str::to_owned)
            .collect()
    }

    /// Ends it without DISCONNECT.
    pub(crate) fn kill(mut self) {
        self.0.kill();
    }

    /// Ends it with DISCONNECT.
    pub(crate) fn stop(mut self) {
        self.0.signal(Signal::TERM);
        self.0.end();
    }
}

/// Runs `mosquitto_pub` to its end.
pub(crate) fn run_publisher(connection: &[String], arguments: &[&str]) -> Ended {
    Program::run(Command::new("mosquitto_pub").args(connection).args(arguments))
}

/// Publishes, and fails unless the client is content.
#[track_caller]
pub(crate) fn publish(connection: &[String], arguments: &[&str]) {
    run_publisher(connection, arguments).expect_status(0, format!("mosquitto_pub {arguments:?}"));
}

const MARK: &str = "message ";

#[test]
fn messages_arrive() {
    each(&Transport::ALL, |setting| {
        for row @ [publisher, subscriber, published, subscribed, received] in
            table::rows(include_str!("data/exchange.txt"))
        {
            let waiting = Subscriber::start(
                &setting.arguments(READER),
                &[
                    "-V",
                    subscriber,
                    "-t",
                    "exchange/+/temperature",
                    "-q",
                    subscribed,
                    "-C",
                    "1",
                ],
            );
            let message = [
                "-V",
                publisher,
                "-t",
                "exchange/oven 1/temperature",
                "-q",
                published,
                "-m",
                "21.5 °C",
            ];
            publish(&setting.arguments(WRITER), &message);
            let expected = format!("exchange/oven 1/temperature|{received}|0|21.5 °C");
            assert_eq!(waiting.messages(), [expected], "{row:?} over {setting}");
        }
    });
}

#[test]
fn the_order_of_many_messages_is_kept() {
    each(&[Transport::Plain, Transport::MutualTls], |setting| {
        let payloads: Vec<String> = (0..1000)
            .map(|number| format!("message number {number}"))
            .collect();
        setting.folder.write("lines.txt", payloads.join("\n") + "\n");
        for (version, qos) in [
            ("mqttv31", "1"),
            ("mqttv311", "2"),
            ("mqttv5", "1"),
            ("mqttv5", "0"),
        ] {
            let waiting = Subscriber::start(
                &setting.arguments(READER),
                &["-V", version, "-t", "many", "-q", qos, "-C", "1000"],
            );
            let lines = File::open(setting.folder.path().join("lines.txt")).unwrap();
            let mut command = Command::new("mosquitto_pub");
            command
                .args(setting.arguments(WRITER))
                .args(["-V", version, "-t", "many", "-q", qos, "-l"])
                .stdin(lines);
            let mut writing = Program::start(&mut command);
            let expected: Vec<String> = payloads
                .iter()
                .map(|payload| format!("many|{qos}|0|{payload}"))
                .collect();
            assert!(
                waiting.messages() == expected,
                "order or number is wrong: {version}, QoS {qos}, {setting}"
            );
            // At QoS 0, for which it waits for nobody, mosquitto_pub was once seen not to end after its last line.
            if qos != "0" {
                writing.end().expect_status(0, "mosquitto_pub -l");
            }
        }
    });
}

#[test]
fn large_messages_arrive_whole() {
    each(&[Transport::Plain, Transport::MutualTls], |setting| {
        let letters: Vec<u8> = (b'a'..=b'z').cycle().take(1_900_001).collect();
        let payload = String::from_utf8(letters).unwrap();
        setting.folder.write("large.txt", &payload);
        for (version, qos) in [("mqttv31", "1"), ("mqttv311", "2"), ("mqttv5", "0")] {
            let arguments = ["-V", version, "-t", "large/#", "-q", qos, "-C", "1"];
            let waiting = Subscriber::start(&setting.arguments(READER), &arguments);
            let file = setting.folder.file("large.txt");
            publish(
                &setting.arguments(WRITER),
                &["-V", version, "-t", "large/one", "-q", qos, "-f", &file],
            );
            let expected = format!("large/one|{qos}|0|{payload}");
            assert!(
                waiting.messages() == [expected],
                "it was altered: {version}, QoS {qos}, {setting}"
            );
        }
    });
}

#[test]
fn retained_messages_wait_for_their_subscriber() {
    each(&Transport::ALL, |setting| {
        for version in VERSIONS {
            let (reader, writer) = (setting.arguments(READER), setting.arguments(WRITER));
            let context = format!("{version} over {setting}");
            publish(
                &writer,
                &[
                    "-V",
                    version,
                    "-t",
                    "retained/state",
                    "-q",
                    "1",
                    "-r",
                    "-m",
                    "first",
                ],
            );
            publish(
                &writer,
                &[
                    "-V",
                    version,
                    "-t",
                    "retained/state",
                    "-q",
                    "1",
                    "-r",
                    "-m",
                    "second",
                ],
            );
            let late = Subscriber::start(
                &reader,
                &["-V", version, "-t", "retained/#", "-q", "1", "-C", "2"],
            );
            late.wait_for("retained/state|1|1|second");
            publish(
                &writer,
                &[
                    "-V",
                    version,
                    "-t",
                    "retained/state",
                    "-q",
                    "1",
                    "-r",
                    "-m",
                    "third",
                ],
            );
            // To an established subscription it is a message like any other. v3 [MQTT-3.3.1-9]
            let expected = ["retained/state|1|1|second", "retained/state|1|0|third"];
            assert_eq!(late.messages(), expected, "{context}");

            publish(
                &writer,
                &["-V", version, "-t", "retained/state", "-q", "1", "-r", "-n"],
            );
            let later = Subscriber::start(
                &reader,
                &["-V", version, "-t", "retained/#", "-q", "1", "-C", "1"],
            );
            publish(
                &writer,
                &["-V", version, "-t", "retained/live", "-q", "1", "-m", "live"],
            );
            assert_eq!(
                later.messages(),
                ["retained/live|1|0|live"],
                "{context}: it was not cleared"
            );
        }
    });
}

#[test]
fn a_will_is_published_for_a_lost_client_only() {
    each(&Transport::ALL, |setting| {
        for version in VERSIONS {
            let arguments = ["-V", version, "-t", "will/#", "-q", "1"];
            let watching = Subscriber::start(
                &setting.arguments(READER),
                &[&arguments[..], &["-C", "3"]].concat(),
            );
            let with_will = |topic, more: &[&str]| {
                let will = ["--will-topic", topic, "--will-payload", "gone", "--will-qos", "1"];
                let arguments = [&["-V", version, "-t", "elsewhere"][..], &will, more].concat();
                Subscriber::start(&setting.arguments(WRITER), &arguments)
            };
            // -E: it disconnects as soon as it has its subscription.
            with_will("will/polite", &["-E"]).messages();
            with_will("will/lost", &[]).kill();
            watching.wait_for("will/lost");
            // Told to end, it asks a broker of MQTT 5 for its will: DISCONNECT 0x04. Others are lost here too.
            let asked = with_will("will/asked", &[]);
            if version == "mqttv5" {
                asked.stop()
            } else {
                asked.kill()
            }
            watching.wait_for("will/asked");
            publish(
                &setting.arguments(WRITER),
                &["-V", version, "-t", "will/end", "-m", "end"],
            );
            let expected = ["will/lost|1|0|gone", "will/asked|1|0|gone", "will/end|0|0|end"];
            assert_eq!(watching.messages(), expected, "{version} over {setting}");
        }
    });
}

#[test]
fn a_session_keeps_messages_for_an_absent_client() {
    each(&[Transport::Plain, Transport::MutualTls], |setting| {
        for version in VERSIONS {
            let (reader, writer) = (setting.arguments(READER), setting.arguments(WRITER));
            let client_id = format!("absent-{version}");
            let session = [
                "-V",
                version,
                "-i",
                &client_id,
                "-c",
                "-t",
                "session/#",
                "-q",
                "1",
            ];
            Subscriber::connect(&reader, &[&session[..], &["-E"]].concat()).messages();
            for (qos, payload) in [("1", "one"), ("2", "two"), ("1", "three")] {
                publish(
                    &writer,
                    &["-V", version, "-t", "session/kept", "-q", qos, "-m", payload],
                );
            }
            let back = Subscriber::connect(&reader, &[&session[..], &["-C", "3"]].concat());
            let expected = [
                "session/kept|1|0|one",
                "session/kept|1|0|two",
                "session/kept|1|0|three",
            ];
            assert_eq!(back.messages(), expected, "{version} over {setting}");
        }
    });
}

#[test]
fn users_need_their_password() {
    each(&[Transport::Password], |setting| {
        for row @ [version, user, password, status] in table::rows(include_str!("data/logins.txt")) {
            let port = setting.broker.port.to_string();
            let mut arguments = vec![
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-V",
                version,
                "-t",
                "a",
                "-m",
                "b",
                "-q",
                "1",
            ];
            if !user.is_empty() {
                arguments.extend(["-u", user, "-P", password]);
            }
            let ended = run_publisher(&[], &arguments);
            ended.expect_status(status.parse().unwrap(), format!("{row:?} over {setting}"));
        }
    });
}

#[test]
fn a_name_in_connect_does_not_replace_the_one_in_the_certificate() {
    each(&[Transport::MutualTls], |setting| {
        let watching = Subscriber::start(&setting.arguments(READER), &["-t", "named/#", "-C", "1"]);
        let claim = [
            "-u",
            WRITER,
            "-P",
            "x",
            "-t",
            "named/claim",
            "-q",
            "1",
            "-m",
            "I may not",
        ];
        publish(&setting.arguments(READER), &claim);
        publish(
            &setting.arguments(WRITER),
            &["-u", READER, "-t", "named/end", "-m", "end"],
        );
        assert_eq!(watching.messages(), ["named/end|0|0|end"], "{setting}");
    });
}

#[test]
fn only_certificates_of_our_authority_are_accepted() {
    each(&[Transport::MutualTls], |setting| {
        for tls in ["tlsv1.2", "tlsv1.3"] {
            let watching = Subscriber::start(
                &setting.arguments(READER),
                &["--tls-version", tls, "-t", "tls/#", "-C", "1"],
            );
            let port = setting.broker.port.to_string();
            let (ca, certificate, key) = (
                setting.folder.file("ca.crt"),
                setting.folder.file("stranger.crt"),
                setting.folder.file("stranger.key"),
            );
            let nobody = [
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "--cafile",
                &ca,
                "--tls-version",
                tls,
            ];
            let stranger = [&nobody[..], &["--cert", &certificate, "--key", &key]].concat();
            for client in [&nobody[..], &stranger] {
                let ended = run_publisher(
                    &[],
                    &[client, &["-t", "tls/intrusion", "-q", "1", "-m", "x"]].concat(),
                );
                assert!(
                    !ended.status.success(),
                    "{client:?} was let in over {setting}:\n{}",
                    ended.text
                );
            }
            publish(
                &setting.arguments(WRITER),
                &["--tls-version", tls, "-t", "tls/end", "-m", "end"],
            );
            assert_eq!(watching.messages(), ["tls/end|0|0|end"], "{tls} over {setting}");
        }
    });
}

#[test]
fn plain_text_on_a_tls_port_and_tls_on_a_plain_port_are_refused() {
    if !Tool::MosquittoClients.is_installed() {
        return;
    }
    for reactors in Reactors::variants() {
        let plain = Setting::start(Transport::Plain, *reactors);
        let tls = Setting::start(Transport::Tls, *reactors);
        let (plain_port, tls_port) = (plain.broker.port.to_string(), tls.broker.port.to_string());
        let ca = tls.folder.file("ca.crt");
        for arguments in [&["-p", &tls_port][..], &["-p", &plain_port, "--cafile", &ca]] {
            let ended = run_publisher(
                &[],
                &[arguments, &["-h", "127.0.0.1", "-t", "a", "-m", "b", "-q", "1"]].concat(),
            );
            assert!(
                !ended.status.success(),
                "{arguments:?} succeeded:\n{}",
                ended.text
            );
        }
        // And both go on serving those who know better.
        publish(&plain.arguments(WRITER), &["-t", "a", "-m", "b", "-q", "1"]);
        publish(&tls.arguments(WRITER), &["-t", "a", "-m", "b", "-q", "1"]);
    }
}

fn each(transports: &[Transport], test: impl Fn(&Setting)) {
    if Tool::MosquittoClients.is_installed() {
        Setting::each(transports, test);
    }
}
