//! Where Connections come in.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use komar_broker_core::ListenerPolicy;
use komar_identity::tls::ClientVerifier;

use crate::open_listener::Siblings;
use crate::rates::{RateLimits, Rates};
use crate::transport::websocket;

/// A place where clients connect, and what is asked of them there.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) address: ListenAddress,
    pub(crate) policy: ListenerPolicy,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) client_verifier: Option<Arc<ClientVerifier>>,
    pub(crate) websocket: Option<Arc<websocket::Settings>>,
    pub(crate) proxy: Option<ProxyProtocol>,
    pub(crate) maximum_connections: Option<usize>,
    /// Shared with the listeners that the maximum holds for together.
    pub(crate) siblings: Siblings,
    pub(crate) rates: Option<Arc<Rates>>,
    pub(crate) no_delay: bool,
    /// That it cannot be opened is a warning.
    pub(crate) optional: bool,
}

/// What a listener listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket of this path.
    Unix(PathBuf),
}

/// What a WebSocket listener asks of an upgrade request. RFC 6455 §4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketOptions {
    /// Values of the header Origin that are allowed, byte for byte. Default: empty, which allows all.
    ///
    /// Browsers send this header and other programs usually do not: a request without it is never refused, so the list
    /// keeps foreign web pages out, and nobody else.
    pub origins: Vec<String>,
    /// Longest head of a request in bytes; cookies are in it. Default: 4096.
    pub maximum_head: usize,
}

/// That Connections come through proxies (load balancers) which say in a header whom they stand for.
///
/// Whoever reaches such a listener can claim any address and any certificate name: say who the
/// [trusted sources](Self::trusted) are, or let nobody else reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyProtocol {
    /// The version of the header; a header of the other one is refused.
    pub version: ProxyVersion,
    /// Networks that the proxies are in; Connections from elsewhere are closed. Default: empty, which trusts everybody.
    /// Of no effect on Unix sockets.
    pub trusted: Vec<ipnet::IpNet>,
    /// Close Connections of clients that do not use TLS with the proxy (version 2). Default: `false`.
    pub require_tls: bool,
    /// Close Connections of clients whose certificate the proxy has not verified (version 2). Default: `false`.
    pub require_certificate: bool,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary; it can also tell of TLS between client and proxy. A verified certificate's common name is the user name
    /// if the listener's policy says so.
    V2,
}

impl Listener {
    /// A listener on a TCP address; port 0 takes a free one. Without [`tls`](Self::tls) it speaks plain MQTT.
    pub fn tcp(address: SocketAddr) -> Listener {
        Listener::on(ListenAddress::Tcp(address))
    }

    /// A listener on a Unix socket.
    ///
    /// A socket that is left at this path is replaced; one that somebody listens on, and anything else, is an error. The
    /// socket is open to the user and the group of this process (umask 0007), and removed when the server stops.
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Listener {
        Listener::on(ListenAddress::Unix(path.into()))
    }

    fn on(address: ListenAddress) -> Listener {
        Listener {
            address,
            policy: ListenerPolicy::default(),
            tls: None,
            client_verifier: None,
            websocket: None,
            proxy: None,
            maximum_connections: None,
            siblings: Siblings::default(),
            rates: None,
            no_delay: true,
            optional: false,
        }
    }

    /// What holds for the clients of this listener. Default: [`ListenerPolicy::default`].
    #[must_use]
    pub fn policy(mut self, policy: ListenerPolicy) -> Listener {
        self.policy = policy;
        self
    }

    /// Speaks TLS. `komar-identity`'s `ServerTls` builds such a configuration from certificate files.
    #[must_use]
    pub fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Listener {
        self.tls = Some(config);
        self
    }

    /// Looks at the certificates of connected clients again at a reload, with the verifier that the TLS configuration
    /// has too. Default: none; they stay until they leave.
    #[must_use]
    pub fn client_verifier(mut self, verifier: Arc<ClientVerifier>) -> Listener {
        self.client_verifier = Some(verifier);
        self
    }

    /// Speaks MQTT over WebSocket, inside TLS if there is TLS. MQTT 5.0 §6.
    #[must_use]
    pub fn websocket(mut self, options: WebSocketOptions) -> Listener {
        self.websocket = Some(Arc::new(websocket::Settings {
            origins: options.origins,
            maximum_head: options.maximum_head,
        }));
        self
    }

    /// Demands a PROXY header at the beginning of every Connection, before TLS.
    #[must_use]
    pub fn proxy_protocol(mut self, options: ProxyProtocol) -> Listener {
        self.proxy = Some(options);
        self
    }

    /// Connections at a time; more are closed at once. Copies of this listener share the bound, as do the addresses of one
    /// `listener` of a configuration file. Default: no limit (`max_connections`).
    #[must_use]
    pub fn maximum_connections(mut self, maximum: usize) -> Listener {
        self.maximum_connections = Some(maximum);
        self
    }

    /// Connections and messages a second. Copies of this listener share the bounds. Default: none.
    #[must_use]
    pub fn rates(mut self, limits: &RateLimits) -> Listener {
        self.rates = Rates::of(limits);
        self
    }

    /// Whether small packets are sent at once (TCP_NODELAY). Default: `true`, unlike Mosquitto.
    #[must_use]
    pub fn no_delay(mut self, no_delay: bool) -> Listener {
        self.no_delay = no_delay;
        self
    }
}

impl ListenAddress {
    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether the system lets only one of them be listened on. Sockets for IPv6 take no IPv4 here.
    pub(crate) fn excludes(&self, other: &ListenAddress) -> bool {
        match (self, other) {
            (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
                let (one_ip, other_ip) = (one.ip(), other.ip());
                let any = one_ip.is_unspecified() || other_ip.is_unspecified();
                one.port() == other.port()
                    && one.port() != 0
                    && one.is_ipv4() == other.is_ipv4()
                    && (one_ip == other_ip || any)
            }
            (ListenAddress::Unix(one), ListenAddress::Unix(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Default for WebSocketOptions {
    fn default() -> WebSocketOptions {
        WebSocketOptions {
            origins: Vec::new(),
            maximum_head: 4096,
        }
    }
}

impl ProxyProtocol {
    /// Headers of this version, from everybody, and nothing demanded of them.
    pub fn new(version: ProxyVersion) -> ProxyProtocol {
        ProxyProtocol {
            version,
            trusted: Vec::new(),
            require_tls: false,
            require_certificate: false,
        }
    }
}
