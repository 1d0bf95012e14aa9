//! The classic tutorial: certificates by OpenSSL's commands, the CN as user name, rights per user.

use std::process::Command;

use crate::broker::{Broker, Folder, Reactors};
use crate::program::Program;
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

const ACL: &str = "\
#user without username: anonymous is forbidden, but just to make sure: deny everything
topic deny

user myPLC
topic write PLC1/out
topic read PLC1/cmd

user myD2000
topic read PLC1/out
topic write PLC1/cmd
";

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
    for name in ["broker", "myPLC", "myD2000"] {
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

fn client(program: &str, broker: &Broker, folder: &Folder, user: &str) -> Command {
    // With its lines written when they happen, also into a pipe.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    let port = broker.port.to_string();
    let (certificate, key) = (format!("{user}.crt"), format!("{user}.key"));
    command.args([
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        "caMQTT.crt",
        "--cert",
        &certificate,
        "--key",
        &key,
    ]);
    command.current_dir(folder.path());
    command
}

#[test]
fn version_1_certificates_carry_a_message_and_the_acl_holds() {
    if !Tool::Openssl.is_installed() || !Tool::MosquittoClients.is_installed() {
        return;
    }
    let folder = Folder::new();
    make_certificates(&folder);
    folder.write("myacl.conf", ACL);
    for reactors in Reactors::variants() {
        let broker = Broker::start(&folder, CONFIGURATION, *reactors);
        // The client's exit status says what PUBACK said: 0x87 makes it complain.
        let publish = |user: &str, topic: &str| {
            let mut command = client("mosquitto_pub", &broker, &folder, user);
            Program::run(command.args(["-V", "mqttv5", "-q", "1", "-t", topic, "-m", "hello"]))
        };
        let mut subscriber = Program::start(
            client("mosquitto_sub", &broker, &folder, "myD2000")
                .args(["-t", "PLC1/#", "-v", "-C", "1", "-W", "20", "-d"]),
        );
        subscriber.wait_for("SUBACK").unwrap();
        publish("myPLC", "PLC1/cmd").expect_text("Not authorized", "a topic that it may not write");
        publish("myPLC", "PLC1/out").expect_status(0, "a topic that it may write");
        subscriber
            .end()
            .expect_text("PLC1/out hello", "what the other client receives");
    }
}
