//! Where Connections come in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use komar_broker_core::ListenerPolicy;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// A place where clients connect, and what is asked of them there.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) policy: ListenerPolicy,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) maximum_connections: Option<usize>,
    pub(crate) no_delay: bool,
    /// That it cannot be opened is a warning.
    pub(crate) optional: bool,
}

impl Listener {
    /// A listener on a TCP address; port 0 takes a free one. Without [`tls`](Self::tls) it speaks plain MQTT.
    pub fn tcp(address: SocketAddr) -> Listener {
        Listener {
            address,
            policy: ListenerPolicy::default(),
            tls: None,
            maximum_connections: None,
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

    /// Connections at a time; more are closed at once. Default: no limit (`max_connections`).
    #[must_use]
    pub fn maximum_connections(mut self, maximum: usize) -> Listener {
        self.maximum_connections = Some(maximum);
        self
    }

    /// Whether small packets are sent at once (TCP_NODELAY). Default: `true`, unlike Mosquitto.
    #[must_use]
    pub fn no_delay(mut self, no_delay: bool) -> Listener {
        self.no_delay = no_delay;
        self
    }

    pub(crate) fn bind(&self) -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(self.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if self.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&self.address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from_std(socket.into()))
    }
}

/// Connections that the system accepts ahead of us: a whole site reconnects at once.
const BACKLOG: i32 = 4096;
