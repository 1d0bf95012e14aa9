//! Scenarios with paho-mqtt, each a script in `paho/` whose exit status is its verdict.

use std::process::Command;

use crate::program::Program;
use crate::setting::{Setting, Transport};
use crate::table;
use crate::tools::Tool;

#[test]
fn scenarios_over_plain_tcp() {
    scenarios(Transport::Plain, "plain");
}

#[test]
fn scenarios_with_passwords() {
    scenarios(Transport::Password, "password");
}

#[test]
fn scenarios_over_tls() {
    scenarios(Transport::Tls, "tls");
}

#[test]
fn scenarios_with_client_certificates() {
    scenarios(Transport::MutualTls, "mutual-tls");
}

#[test]
fn scenarios_over_websocket() {
    scenarios(Transport::WebSocket, "websocket");
}

#[test]
fn scenarios_over_websocket_with_client_certificates() {
    scenarios(Transport::MutualWebSocket, "mutual-websocket");
}

fn scenarios(transport: Transport, word: &str) {
    if !Tool::Paho.is_installed() {
        return;
    }
    let rows = table::rows(include_str!("data/paho.txt"));
    let chosen = rows
        .iter()
        .filter(|[_, _, transports]| transports.split(' ').any(|name| name == word));
    Setting::each(&[transport], |setting| {
        for [script, versions, _] in chosen.clone() {
            run(setting, script, versions);
        }
    });
}

fn run(setting: &Setting, script: &str, versions: &str) {
    let mut command = Command::new("python3");
    command.arg("-B").arg(format!(
        "{}/tests/interop/paho/{script}",
        env!("CARGO_MANIFEST_DIR")
    ));
    command.args(["--port", &setting.broker.port.to_string(), "--versions", versions]);
    if setting.transport == Transport::Password {
        command.arg("--passwords");
    }
    if setting.transport.is_encrypted() {
        command.arg("--tls").arg("--files").arg(setting.folder.path());
    }
    if setting.transport.is_websocket() {
        command.arg("--websocket");
    }
    if setting.transport.is_mutual() {
        command.arg("--certificates");
    }
    Program::run(&mut command).expect_status(0, format!("{script} over {setting}"));
}
