//! Addresses of all listeners, to find two that want the same one before the system does, and those that are not there.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;

use komar_conf::{Listener as Given, Position};
use socket2::{Domain, Socket, Type};

use super::SetupError;
use crate::listener::{ListenAddress, Listener};
use crate::server::ServerBuilder;

/// What is listened on so far.
#[derive(Default)]
pub(super) struct Addresses(Vec<(ListenAddress, Option<Position>)>);

impl Addresses {
    /// Adds those of one `listener`; an error if one of them is taken.
    pub(super) fn claim(&mut self, given: &Given, opened: &[Listener], errors: &mut Vec<SetupError>) {
        let position = given.position.as_ref();
        let conflict = opened.iter().find_map(|listener| {
            let taken = self.0.iter().find(|(taken, _)| taken.excludes(&listener.address));
            taken.map(|taken| (taken, &listener.address))
        });
        if let Some(((first, first_position), second)) = conflict {
            errors.push(SetupError::AddressTwice {
                first: first.clone(),
                first_position: first_position.clone(),
                second: second.clone(),
                second_position: position.cloned(),
            });
        }
        let addresses = opened.iter().map(|listener| listener.address.clone());
        self.0
            .extend(addresses.map(|address| (address, position.cloned())));
    }
}

/// An address to listen on that this machine does not have. Displays as a sentence without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingAddress(SocketAddr);

impl MissingAddress {
    pub(super) fn among(addresses: &[SocketAddr]) -> Vec<MissingAddress> {
        let missing = addresses.iter().filter(|address| is_missing(**address));
        missing.copied().map(MissingAddress).collect()
    }

    /// The address, with the port that was to be listened on.
    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for MissingAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot listen on {}: this machine does not have the address",
            self.0
        )?;
        match self.0 {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() && address.scope_id() == 0 => {
                f.write_str(", unless %INTERFACE belongs to it")
            }
            _ => Ok(()),
        }
    }
}

/// The TCP addresses without which a server does not start.
pub(super) fn wanted(builder: &ServerBuilder) -> Vec<SocketAddr> {
    let listeners = builder.listeners().iter().filter(|listener| !listener.optional);
    listeners.filter_map(|listener| listener.address.tcp()).collect()
}

/// Whether the system has another reason than the port for not giving a socket this address. It does not listen.
fn is_missing(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let Ok(socket) = Socket::new(Domain::for_address(address), Type::STREAM, None) else {
        return false;
    };
    // A link-local address without its interface is an invalid argument.
    socket.bind(&address.into()).is_err_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::InvalidInput
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listening_socket::ListeningSocket;

    #[test]
    fn missing_addresses_are_those_that_no_socket_can_have() {
        // The second is for documentation (RFC 5737).
        let given = [
            "127.0.0.1:1883",
            "192.0.2.1:1883",
            "192.0.2.1:1884",
            "0.0.0.0:1885",
        ];
        let addresses = given.map(|address| address.parse().unwrap());
        let missing: Vec<String> = MissingAddress::among(&addresses)
            .iter()
            .map(MissingAddress::to_string)
            .collect();
        assert_eq!(
            missing,
            [
                "cannot listen on 192.0.2.1:1883: this machine does not have the address",
                "cannot listen on 192.0.2.1:1884: this machine does not have the address",
            ]
        );
        let without_interface = MissingAddress("[fe80::dead]:1883".parse().unwrap());
        let words = "does not have the address, unless %INTERFACE belongs to it";
        assert!(without_interface.to_string().ends_with(words));
    }

    #[test]
    fn addresses_exclude_each_other_as_the_system_says() {
        for (one, other, expected) in [
            ("127.0.0.1:0", "127.0.0.1:PORT", true),
            ("127.0.0.1:0", "0.0.0.0:PORT", true),
            ("0.0.0.0:0", "127.0.0.1:PORT", true),
            ("127.0.0.1:0", "127.0.0.2:PORT", false),
            ("127.0.0.1:0", "[::1]:PORT", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let held = ListeningSocket::bind(&ListenAddress::Tcp(one.parse().unwrap())).unwrap();
            let one = held.address().unwrap();
            let port = one.tcp().unwrap().port().to_string();
            let other = ListenAddress::Tcp(other.replace("PORT", &port).parse().unwrap());
            assert_eq!(one.excludes(&other), expected, "{one} {other}");
            match ListeningSocket::bind(&other) {
                Ok(_) => assert!(!expected, "{one} {other}"),
                // A free address may be taken by others, or not be there at all.
                Err(error) if expected => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
                Err(_) => {}
            }
        }
    }
}
