//! Which of the clients are installed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Something that is not part of this project and that a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    MosquittoBroker,
    MosquittoClients,
    MosquittoPasswd,
    Openssl,
    Paho,
    /// On node's path (NODE_PATH).
    MqttJs,
}

impl Tool {
    /// Whether it is there. Says so if not, or fails where clients are required.
    pub(crate) fn is_installed(self) -> bool {
        let missing = self.missing();
        if let Some(name) = missing {
            let required = std::env::var_os("KOMAR_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(
                !required,
                "{name} is not installed, and KOMAR_REQUIRE_CLIENTS=1 demands it"
            );
            println!("skipped: {name} is not installed");
        }
        missing.is_none()
    }

    fn missing(self) -> Option<&'static str> {
        match self {
            // stdbuf, of GNU coreutils, makes mosquitto_sub write each line when it happens.
            Tool::MosquittoClients => ["mosquitto_pub", "mosquitto_sub", "stdbuf"]
                .into_iter()
                .find(|name| find(name).is_none()),
            Tool::MosquittoBroker => find("mosquitto").is_none().then_some("the broker mosquitto"),
            Tool::MosquittoPasswd => find("mosquitto_passwd").is_none().then_some("mosquitto_passwd"),
            Tool::Openssl => find("openssl").is_none().then_some("openssl"),
            Tool::Paho => (!has_paho()).then_some("paho-mqtt 2 for python3"),
            Tool::MqttJs => (!has_mqtt_js()).then_some("the package mqtt for node (NODE_PATH)"),
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

fn has_mqtt_js() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let status = Command::new("node")
            .args(["-e", "require('mqtt')"])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}

fn has_paho() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        // The module came with version 2.
        let arguments = [OsStr::new("-c"), OsStr::new("import paho.mqtt.enums")];
        let status = Command::new("python3")
            .args(arguments)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}
