//! Stream sockets of either kind, and who is at their other end.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

/// A connected socket: bytes in order and without loss, both ways. v3 [MQTT-7.1.1-1], v5 [MQTT-4.2.0-1]
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Who is at the other end. Displays as it is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Network(SocketAddr),
    /// A process of this machine, or of the proxy's; all that is known is the path of the socket.
    Local(Arc<str>),
}

/// How writing a slice ended, if it did not write all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Blocked,
    Failed,
}

impl Socket {
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&*stream).read(buffer),
            #[cfg(unix)]
            Socket::Unix(stream) => (&*stream).read(buffer),
        }
    }

    /// Writes once; how much that was. An interruption is no end.
    #[inline]
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Stopped> {
        loop {
            let written = match self {
                Socket::Tcp(stream) => (&*stream).write(bytes),
                #[cfg(unix)]
                Socket::Unix(stream) => (&*stream).write(bytes),
            };
            match written {
                Ok(0) => return Err(Stopped::Failed),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Stopped::Blocked),
                Err(_) => return Err(Stopped::Failed),
            }
        }
    }

    /// Ends the Connection in both directions, whoever else holds the socket.
    pub(crate) fn shutdown(&self) {
        let result = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
        if let Err(error) = result {
            // It is gone already.
            tracing::trace!(%error, "shutdown");
        }
    }

    /// Takes the socket off a poll that it was registered with.
    #[cfg(unix)]
    pub(crate) fn leave(&self, registry: &Registry) -> io::Result<()> {
        SourceFd(&self.as_raw_fd()).deregister(registry)
    }

    /// Registers the socket, which is shared by now, with another poll.
    #[cfg(unix)]
    pub(crate) fn join(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        SourceFd(&self.as_raw_fd()).register(registry, token, interest)
    }

    #[cfg(unix)]
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(stream) => stream.as_raw_fd(),
            Socket::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Connections stay where they are on other systems.
    #[cfg(not(unix))]
    pub(crate) fn leave(&self, _: &Registry) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(unix))]
    pub(crate) fn join(&self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// TCP_NODELAY; nothing to do for other sockets.
    pub(crate) fn send_small_packets_at_once(&self) {
        if let Socket::Tcp(stream) = self
            && let Err(error) = stream.set_nodelay(true)
        {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interests),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.reregister(registry, token, interests),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.deregister(registry),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.deregister(registry),
        }
    }
}

impl Peer {
    /// An IPv4 address that came in IPv6's clothes, as on a socket for both, is an IPv4 address from here on.
    pub(crate) fn network(address: SocketAddr) -> Peer {
        Peer::Network(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The address that bounds hold for.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Peer::Network(address) => Some(address.ip()),
            Peer::Local(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Mosquitto's shape, which log scrapers know: no brackets around IPv6 addresses, and always a port.
            Peer::Network(address) => write!(f, "{}:{}", address.ip(), address.port()),
            Peer::Local(path) => write!(f, "{path}:0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a socket for both families gives; only a service manager opens one.
    #[test]
    fn addresses_are_logged_as_what_they_are() {
        for (address, logged) in [
            ("[::ffff:192.168.1.5]:51116", "192.168.1.5:51116"),
            ("192.168.1.5:51116", "192.168.1.5:51116"),
            ("[2001:db8::1]:7", "2001:db8::1:7"),
        ] {
            assert_eq!(Peer::network(address.parse().unwrap()).to_string(), logged);
        }
    }
}
