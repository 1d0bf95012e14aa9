//! The classic tutorial: certificates by OpenSSL's commands, the CN as user name, rights per user; and its variant
//! with passwords.

use std::path::{Path, PathBuf};
use std::process::Command;

use komar_identity::Certificate;
use komar_identity::tls::certificates_from_pem;
use rustix::process::Signal;

use crate::broker::{Broker, Folder, Reactors, add_user, command, is_komar};
use crate::program::{Ended, Program};
use crate::table;
use crate::tools::Tool;

const CONFIGURATION: &str = "\
listener {port} 127.0.0.1\r
certfile broker.crt\r
keyfile broker.key\r
require_certificate true\r
cafile caMQTT.crt\r
use_identity_as_username true\r
acl_file myacl.conf\r
#password_file pwfile\r
";

/// The tutorial's own, with its comments.
const ACL: &str = include_str!("data/tutorial/myacl.conf");
/// That of a Sparkplug site; two of its lines end with a blank.
const SPARKPLUG_ACL: &str = include_str!("data/tutorial/sparkplug.conf");

const CERTIFICATES: [&str; 3] = ["broker", "myPLC", "myD2000"];

fn openssl(folder: &Folder, line: &str) {
    let arguments = line.split(' ');
    Program::run(Command::new("openssl").args(arguments).current_dir(folder.path())).expect_status(0, line);
}

/// With OpenSSL 3.0 the last command makes X.509 version 1 certificates.
fn make_certificates(folder: &Folder) {
    openssl(
        folder,
        "req -new -x509 -days 1000 -extensions v3_ca -nodes -subj /CN=caMQTT -keyout caMQTT.key -out caMQTT.crt",
    );
    for name in CERTIFICATES {
        let subject = if name == "broker" { "localhost" } else { name };
        openssl(folder, &format!("genrsa -out {name}.key 2048"));
        openssl(
            folder,
            &format!("req -out {name}.csr -key {name}.key -new -subj /CN={subject}"),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA caMQTT.crt -CAkey caMQTT.key -CAcreateserial -out {name}.crt -days 1000"
            ),
        );
    }
}

/// Those that OpenSSL 3.0 made once: they stay version 1, whatever newer ones make.
fn copy_certificates(folder: &Folder) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../komar-identity/tests/data/v1");
    let copy = |from: String, to: String| folder.write(&to, std::fs::read(source.join(from)).unwrap());
    copy("ca.crt".to_owned(), "caMQTT.crt".to_owned());
    for name in CERTIFICATES {
        for ending in ["crt", "key"] {
            copy(format!("{name}.{ending}"), format!("{name}.{ending}"));
        }
    }
}

/// As X.509 counts.
fn version(folder: &Folder, name: &str) -> u32 {
    let file: PathBuf = folder.path().join(format!("{name}.crt"));
    let certificates = certificates_from_pem(&std::fs::read(file).unwrap(), name).unwrap();
    Certificate::parse(&certificates[0]).unwrap().version()
}

fn client(program: &str, broker: &Broker, folder: &Folder, user: &str) -> Command {
    let mut command = client_without_certificate(program, broker, folder);
    command.args(["--cert", &format!("{user}.crt"), "--key", &format!("{user}.key")]);
    command
}

fn client_without_certificate(program: &str, broker: &Broker, folder: &Folder) -> Command {
    // With its lines written when they happen, also into a pipe.
    let mut command = Command::new("stdbuf");
    let port = broker.port.to_string();
    command.args(["-oL", program, "-h", "localhost", "-p", &port]);
    command.args(["--cafile", "caMQTT.crt"]);
    command.current_dir(folder.path());
    command
}

/// The tutorial's two clients do what they should, and nothing else.
fn a_message_arrives_and_the_acl_holds(folder: &Folder) {
    folder.write("myacl.conf", ACL);
    for reactors in Reactors::variants() {
        let mut broker = Broker::start(folder, CONFIGURATION, *reactors);
        // The client's exit status says what PUBACK said: 0x87 makes it complain.
        let publish = |user: &str, topic: &str| {
            let mut command = client("mosquitto_pub", &broker, folder, user);
            Program::run(command.args(["-V", "mqttv5", "-q", "1", "-t", topic, "-m", "hello"]))
        };
        let mut subscriber = Program::start(
            client("mosquitto_sub", &broker, folder, "myD2000")
                .args(["-t", "PLC1/#", "-v", "-C", "1", "-W", "20", "-d"]),
        );
        subscriber.wait_for("SUBACK").unwrap();
        publish("myPLC", "PLC1/cmd").expect_text("Not authorized", "a topic that it may not write");
        publish("myPLC", "PLC1/out").expect_status(0, "a topic that it may write");
        subscriber
            .end()
            .expect_text("PLC1/out hello", "what the other client receives");
        broker.program.signal(Signal::INT);
        let ended = broker.program.end();
        ended.expect_status(0, "Ctrl-C");
        if is_komar() {
            ended.expect_text("myacl.conf:2: ", "what `topic deny` means");
        }
    }
}

#[test]
fn the_tutorials_commands_make_a_site_that_works() {
    if !Tool::Openssl.is_installed() || !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    make_certificates(&folder);
    match version(&folder, "broker") {
        1 => {}
        other => {
            println!("this openssl makes version {other}: only the committed certificates test version 1")
        }
    }
    a_message_arrives_and_the_acl_holds(&folder);
}

#[test]
fn version_1_certificates_carry_a_message_and_the_acl_holds() {
    if !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    copy_certificates(&folder);
    for name in CERTIFICATES {
        assert_eq!(version(&folder, name), 1, "{name}");
    }
    a_message_arrives_and_the_acl_holds(&folder);
}

/// `use_identity_as_username false` and a password file, with certificates of the clients and without.
#[test]
fn the_variant_with_passwords_asks_for_both() {
    if !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    copy_certificates(&folder);
    for (user, password) in [("myuser1", "mypassword1"), ("myuser2", "mypassword2")] {
        add_user(&folder, "pwfile", user, password).expect_status(0, user);
    }
    folder.write(
        "myacl.conf",
        ACL.replace("myPLC", "myuser1").replace("myD2000", "myuser2"),
    );
    let with_certificates = CONFIGURATION
        .replace("use_identity_as_username true", "use_identity_as_username false")
        .replace("#password_file", "password_file");
    let without = with_certificates
        .replace("require_certificate true", "require_certificate false")
        .replace("cafile", "#cafile");
    for (configuration, asks) in [(&with_certificates, true), (&without, false)] {
        for reactors in Reactors::variants() {
            let broker = Broker::start(&folder, configuration, *reactors);
            let context = format!("certificates: {asks}, reactors: {reactors:?}");
            let client = |program: &str| {
                if asks {
                    client(program, &broker, &folder, "myPLC")
                } else {
                    client_without_certificate(program, &broker, &folder)
                }
            };
            let arguments = ["-t", "PLC1/#", "-v", "-C", "1", "-W", "20", "-d"];
            let mut subscriber = Program::start(
                client("mosquitto_sub")
                    .args(["-u", "myuser2", "-P", "mypassword2"])
                    .args(arguments),
            );
            subscriber.wait_for("SUBACK").unwrap();
            let publish = |mut command: Command, login: &[&str], topic: &str| {
                command.args(["-V", "mqttv5", "-q", "1", "-m", "hello", "-t", topic]);
                Program::run(command.args(login))
            };
            let by = |login: &[&str], topic: &str| publish(client("mosquitto_pub"), login, topic);
            let known = ["-u", "myuser1", "-P", "mypassword1"];
            // mosquitto_pub ends with the Reason Code of CONNACK.
            by(&["-u", "myuser1", "-P", "mypassword2"], "PLC1/out").expect_status(135, &context);
            by(&["-u", "myPLC", "-P", "mypassword1"], "PLC1/out").expect_status(135, &context);
            by(&[], "PLC1/out").expect_status(135, &context);
            by(&known, "PLC1/cmd").expect_text("Not authorized", &context);
            if asks {
                let nobody = client_without_certificate("mosquitto_pub", &broker, &folder);
                let ended = publish(nobody, &known, "PLC1/out");
                assert!(!ended.status.success(), "{context}: {}", ended.text);
            }
            by(&known, "PLC1/out").expect_status(0, &context);
            subscriber.end().expect_text("PLC1/out hello", &context);
        }
    }
}

#[test]
fn the_acl_files_mean_what_the_table_says() {
    if !is_komar() {
        return;
    }
    let folder = Folder::new();
    folder.write("myacl.conf", ACL);
    folder.write("sparkplug.conf", SPARKPLUG_ACL);
    let blanks = SPARKPLUG_ACL.lines().filter(|line| line.ends_with(' ')).count();
    assert_eq!(blanks, 2, "an editor has cut the blanks at the ends of lines");
    let acl = |arguments: &[&str]| -> Ended {
        Program::run(command().arg("acl").args(arguments).current_dir(folder.path()))
    };
    for row @ [file, user, access, topic, expected] in
        table::rows(include_str!("data/tutorial/decisions.txt"))
    {
        let access = format!("--{access}");
        let mut arguments = vec!["explain", file, "--client", "c", &access, topic];
        if user != "-" {
            arguments.extend(["--user", user]);
        }
        let status = if expected == "yes" { 0 } else { 2 };
        acl(&arguments).expect_status(status, format!("{row:?}"));
    }
    acl(&["check", "myacl.conf"])
        .expect_status(0, "myacl.conf")
        .expect_text("myacl.conf:2:7: warning: ", "`topic deny`");
    acl(&["check", "sparkplug.conf"]).expect_status(0, "sparkplug.conf");
}

/// What Mosquitto lacks: each name is bound to its own certificate, and the password is still asked for.
#[test]
fn a_stolen_password_needs_its_owners_certificate() {
    if !is_komar() || !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    copy_certificates(&folder);
    folder.write("myacl.conf", ACL);
    for user in ["myPLC", "myD2000"] {
        add_user(&folder, "pwfile", user, &format!("{user}'s secret")).expect_status(0, user);
    }
    let configuration = CONFIGURATION
        .replace("use_identity_as_username", "require_identity_as_username")
        .replace("#password_file", "password_file");
    let broker = Broker::start(&folder, &configuration, Reactors::One);
    let publish = |certificate: &str, user: &str, password: &str| {
        let mut command = client("mosquitto_pub", &broker, &folder, certificate);
        command.args(["-V", "mqttv311", "-q", "1", "-t", "PLC1/out", "-m", "hello"]);
        Program::run(command.args(["-u", user, "-P", password]))
    };
    publish("myPLC", "myPLC", "myPLC's secret").expect_status(0, "its own certificate and password");
    // mosquitto_pub ends with the return code of CONNACK.
    publish("myD2000", "myPLC", "myPLC's secret").expect_status(4, "somebody else's certificate");
    publish("myPLC", "myPLC", "guessed").expect_status(5, "a wrong password");
    publish("myPLC", "myD2000", "myD2000's secret").expect_status(4, "somebody else's name");
}
