//! MQTT.js, as a browser or node uses it, over WebSocket. `mqtt_js/exchange.cjs` is the scenario, its exit status the verdict.

use std::process::Command;

use crate::program::Program;
use crate::setting::{Setting, Transport};
use crate::tools::Tool;

#[test]
fn messages_over_websocket() {
    if !Tool::MqttJs.is_installed() {
        return;
    }
    Setting::each(&[Transport::WebSocket, Transport::MutualWebSocket], |setting| {
        for version in ["3", "4", "5"] {
            let mut command = Command::new("node");
            command.arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/interop/mqtt_js/exchange.cjs"
            ));
            command.args([&setting.broker.port.to_string(), version]);
            if setting.transport.is_encrypted() {
                command.arg(setting.folder.path());
            }
            Program::run(&mut command).expect_status(0, format!("version {version} over {setting}"));
        }
    });
}
