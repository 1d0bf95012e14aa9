//! A broker with one kind of listener, and how clients reach it.

use crate::broker::{Broker, Folder, Reactors, add_user};
use crate::certificates::{self, CLIENTS};

/// What stands between client and broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP; everybody is let in.
    Plain,
    /// TCP with user and password.
    Password,
    /// TLS with the broker's certificate only.
    Tls,
    /// TLS with certificates of both; the client's CN is its user name.
    MutualTls,
    /// WebSocket over TCP; everybody is let in.
    WebSocket,
    /// WebSocket over TLS with certificates of both.
    MutualWebSocket,
}

pub(crate) struct Setting {
    pub(crate) transport: Transport,
    pub(crate) reactors: Reactors,
    pub(crate) broker: Broker,
    pub(crate) folder: Folder,
}

impl Setting {
    pub(crate) fn start(transport: Transport, reactors: Reactors) -> Setting {
        let folder = Folder::new();
        certificates::write(&folder);
        folder.write("acl.conf", ACL);
        if transport == Transport::Password {
            for user in CLIENTS {
                add_user(&folder, "pwfile", user, &password(user)).expect_status(0, "passwd");
            }
        }
        let broker = Broker::start(&folder, transport.configuration(), reactors);
        Setting {
            transport,
            reactors,
            broker,
            folder,
        }
    }

    /// Runs a test over these transports, each with every number of reactors.
    pub(crate) fn each(transports: &[Transport], test: impl Fn(&Setting)) {
        for transport in transports {
            for reactors in Reactors::variants() {
                test(&Setting::start(*transport, *reactors));
            }
        }
    }

    /// How mosquitto's clients are told to connect as this user.
    pub(crate) fn arguments(&self, user: &str) -> Vec<String> {
        let mut arguments = vec![
            "-h".to_owned(),
            "127.0.0.1".to_owned(),
            "-p".to_owned(),
            self.broker.port.to_string(),
        ];
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        if self.transport == Transport::Password {
            add("-u", user.to_owned());
            add("-P", password(user));
        }
        if self.transport.is_encrypted() {
            add("--cafile", self.folder.file("ca.crt"));
        }
        if self.transport.is_mutual() {
            add("--cert", self.folder.file(&format!("{user}.crt")));
            add("--key", self.folder.file(&format!("{user}.key")));
        }
        arguments
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} with reactors: {:?}", self.transport, self.reactors)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the failing setting is {self}");
        }
    }
}

impl Transport {
    /// Those that every client knows.
    pub(crate) const ALL: [Transport; 4] = [
        Transport::Plain,
        Transport::Password,
        Transport::Tls,
        Transport::MutualTls,
    ];

    pub(crate) fn is_encrypted(self) -> bool {
        matches!(
            self,
            Transport::Tls | Transport::MutualTls | Transport::MutualWebSocket
        )
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Transport::WebSocket | Transport::MutualWebSocket)
    }

    /// Whether clients have certificates.
    pub(crate) fn is_mutual(self) -> bool {
        matches!(self, Transport::MutualTls | Transport::MutualWebSocket)
    }

    fn configuration(self) -> &'static str {
        match self {
            Transport::Plain => "listener {port} 127.0.0.1\nallow_anonymous true\n",
            Transport::Password => "listener {port} 127.0.0.1\npassword_file pwfile\nacl_file acl.conf\n",
            Transport::Tls => {
                "listener {port} 127.0.0.1\ncertfile broker.crt\nkeyfile broker.key\nallow_anonymous true\n"
            }
            Transport::MutualTls => {
                "listener {port} 127.0.0.1\ncertfile broker.crt\nkeyfile broker.key\ncafile ca.crt\n\
                 require_certificate true\nuse_identity_as_username true\nacl_file acl.conf\n"
            }
            Transport::WebSocket => "listener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n",
            Transport::MutualWebSocket => {
                "listener {port} 127.0.0.1\nprotocol websockets\ncertfile broker.crt\nkeyfile broker.key\n\
                 cafile ca.crt\nrequire_certificate true\nuse_identity_as_username true\nacl_file acl.conf\n"
            }
        }
    }
}

pub(crate) fn password(user: &str) -> String {
    format!("password of {user}")
}

/// Where users have names, their names decide what they may do.
const ACL: &str = "user reader\ntopic read #\n\nuser writer\ntopic readwrite #\n";
