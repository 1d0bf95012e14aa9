//! Listening sockets that a process was started with: systemd's socket activation.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::listener::ListenAddress;
use crate::listening_socket::ListeningSocket;

/// Listening sockets that a service manager has opened for this process (`LISTEN_FDS`).
///
/// A listener takes the one with its address instead of opening its own. So the sockets stay open while the broker is
/// restarted, and ports below 1024 need no rights.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    sockets: Vec<Inherited>,
    /// Addresses of IPv6 that a socket serves which was taken for IPv4.
    served: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Inherited {
    address: ListenAddress,
    /// It also accepts IPv4, where it is a socket of IPv6.
    both_families: bool,
    socket: ListeningSocket,
}

/// What is there for a listener.
pub(crate) enum Found {
    Socket(ListeningSocket),
    /// A socket that was taken before accepts for this address too.
    Served,
    Nothing,
}

impl InheritedSockets {
    /// Takes the sockets that the environment names. None if it names none.
    ///
    /// # Errors
    ///
    /// One of them is no listening stream socket.
    pub fn from_env() -> io::Result<InheritedSockets> {
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..given.len() {
            sockets.push(take(&mut given, index)?);
        }
        Ok(InheritedSockets {
            sockets,
            served: Vec::new(),
        })
    }

    /// The addresses of those that no listener has taken.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.sockets.iter().map(|inherited| &inherited.address)
    }

    pub(crate) fn find(&mut self, wanted: &ListenAddress) -> Found {
        if wanted.tcp().is_some_and(|address| self.served.contains(&address)) {
            return Found::Served;
        }
        let same = |inherited: &Inherited| inherited.address == *wanted;
        if let Some(index) = self.sockets.iter().position(same) {
            return Found::Socket(self.sockets.remove(index).socket);
        }
        // systemd's ListenStream=1883 is one socket of IPv6 that serves IPv4 too.
        let Some(SocketAddr::V4(address)) = wanted.tcp() else {
            return Found::Nothing;
        };
        if *address.ip() != Ipv4Addr::UNSPECIFIED {
            return Found::Nothing;
        }
        let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
        let serves = |inherited: &Inherited| {
            inherited.both_families && inherited.address == ListenAddress::Tcp(everywhere)
        };
        match self.sockets.iter().position(serves) {
            Some(index) => {
                self.served.push(everywhere);
                Found::Socket(self.sockets.remove(index).socket)
            }
            None => Found::Nothing,
        }
    }
}

fn take(given: &mut ListenFd, index: usize) -> io::Result<Inherited> {
    #[cfg(unix)]
    if let Ok(Some(socket)) = given.take_unix_listener(index) {
        if let Some(path) = socket.local_addr()?.as_pathname() {
            must_listen(&SockRef::from(&socket), &path.display())?;
        }
        let socket = ListeningSocket::inherited_unix(socket)?;
        return Ok(Inherited {
            address: socket.address()?,
            both_families: false,
            socket,
        });
    }
    let gone = || io::Error::new(io::ErrorKind::NotFound, "an inherited socket is missing");
    let socket = given.take_tcp_listener(index)?.ok_or_else(gone)?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    must_listen(&SockRef::from(&socket), &address)?;
    Ok(Inherited {
        address: ListenAddress::Tcp(address),
        both_families: address.is_ipv6() && !SockRef::from(&socket).only_v6()?,
        socket: ListeningSocket::Tcp(mio::net::TcpListener::from_std(socket)),
    })
}

/// One that is only bound, or connected, would never have a connection.
fn must_listen(socket: &SockRef<'_>, address: &dyn Display) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if !socket.is_listener()? {
        let problem = format!("the inherited socket of {address} does not listen");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let _ = (socket, address);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_does_not_listen_is_an_error() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&address.into()).unwrap();
        let error = must_listen(&SockRef::from(&socket), &"127.0.0.1:1883").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the inherited socket of 127.0.0.1:1883 does not listen"
        );
        socket.listen(1).unwrap();
        must_listen(&SockRef::from(&socket), &address).unwrap();
    }

    fn socket() -> ListeningSocket {
        ListeningSocket::bind(&ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())).unwrap()
    }

    fn inherited(addresses: &[(&str, bool)]) -> InheritedSockets {
        let sockets = addresses.iter().map(|(address, both_families)| Inherited {
            address: ListenAddress::Tcp(address.parse().unwrap()),
            both_families: *both_families,
            socket: socket(),
        });
        InheritedSockets {
            sockets: sockets.collect(),
            served: Vec::new(),
        }
    }

    #[test]
    fn listeners_take_the_socket_of_their_address() {
        for (there, wanted, expected) in [
            (&[("127.0.0.1:1883", false)][..], &["127.0.0.1:1883"][..], "s"),
            (&[("127.0.0.1:1883", false)], &["127.0.0.1:1884"], "n"),
            (
                &[("127.0.0.1:1883", false)],
                &["127.0.0.1:1883", "127.0.0.1:1883"],
                "sn",
            ),
            // One for both families.
            (&[("[::]:1883", true)], &["0.0.0.0:1883", "[::]:1883"], "sS"),
            (&[("[::]:1883", true)], &["[::]:1883"], "s"),
            (&[("[::]:1883", false)], &["0.0.0.0:1883", "[::]:1883"], "ns"),
            (
                &[("0.0.0.0:1883", false), ("[::]:1883", false)],
                &["0.0.0.0:1883", "[::]:1883"],
                "ss",
            ),
            (&[("[::]:1883", true)], &["127.0.0.1:1883"], "n"),
        ] {
            let mut sockets = inherited(there);
            let found: String = wanted
                .iter()
                .map(
                    |wanted| match sockets.find(&ListenAddress::Tcp(wanted.parse().unwrap())) {
                        Found::Socket(_) => 's',
                        Found::Served => 'S',
                        Found::Nothing => 'n',
                    },
                )
                .collect();
            assert_eq!(found, expected, "{there:?} {wanted:?}");
        }
    }
}
