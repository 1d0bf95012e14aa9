//! Addresses of all listeners, to find two that want the same one before the system does.

use komar_conf::{Listener as Given, Position};

use super::SetupError;
use crate::listener::{ListenAddress, Listener};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listening_socket::ListeningSocket;

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
