//! How many connections and messages a second a listener takes: in all, from one address, from one client.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use komar_broker_core::{Link, OverRate, Rate};
use parking_lot::Mutex;

/// Bounds on what comes in a second. A second's worth is saved up, so that a burst of so many is taken at once. Default:
/// none.
///
/// An address is an IPv4 address or the first 64 bits of an IPv6 address; behind a proxy, those that the proxy names. Unix
/// sockets have none. Of 65,536 addresses is kept what they have used; if more than that are in use at a time, the others
/// share one bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimits {
    /// Connections that are accepted on the listener; more are closed at once.
    pub connections: Option<NonZeroU32>,
    /// Connections that are accepted from one address.
    pub connections_by_address: Option<NonZeroU32>,
    /// Whether Connections that are too many are kept until their CONNECT can be answered with 0x9F Connection rate
    /// exceeded, TLS handshake included. 3.x clients are told nothing. Default: `false`.
    pub answer_connections: bool,
    /// Messages that all clients of the listener publish together.
    pub messages: Option<NonZeroU32>,
    /// Messages that the clients at one address publish.
    pub messages_by_address: Option<NonZeroU32>,
    /// Messages that one client publishes.
    pub messages_by_client: Option<NonZeroU32>,
    /// What happens to more messages.
    pub over: OverRate,
}

/// The bounds of a listener and how far they are used up.
#[derive(Debug)]
pub(crate) struct Rates {
    limits: RateLimits,
    connections: Option<Rate>,
    messages: Option<Arc<Rate>>,
    addresses: Mutex<Addresses>,
    /// Of lines in the log about Connections that are too many: they come in storms.
    lines: Rate,
}

#[derive(Debug, Default)]
struct Addresses {
    known: HashMap<IpAddr, Arc<AddressRates>>,
    /// For those that have no place of their own.
    others: Option<Arc<AddressRates>>,
    /// When it was looked last which of them are needed.
    swept: Duration,
}

/// How far the bounds of one address are used up.
#[derive(Debug)]
struct AddressRates {
    connections: Option<Rate>,
    messages: Option<Arc<Rate>>,
}

impl Rates {
    /// `None`: nothing is bounded.
    pub(crate) fn of(limits: &RateLimits) -> Option<Arc<Rates>> {
        let is_bounded = [
            limits.connections,
            limits.connections_by_address,
            limits.messages,
            limits.messages_by_address,
            limits.messages_by_client,
        ]
        .iter()
        .any(Option::is_some);
        is_bounded.then(|| {
            Arc::new(Rates {
                connections: limits.connections.map(Rate::new),
                messages: limits.messages.map(Rate::new).map(Arc::new),
                addresses: Mutex::default(),
                lines: Rate::new(NonZeroU32::MIN),
                limits: limits.clone(),
            })
        })
    }

    pub(crate) fn answers_connections(&self) -> bool {
        self.limits.answer_connections
    }

    /// Counts a Connection, of the listener and of its address. `false`: it is one too many. What is one too many of its
    /// address takes nothing from the others.
    pub(crate) fn admits(&self, address: Option<IpAddr>, now: Duration) -> bool {
        self.admits_from(address, now) && self.connections.as_ref().is_none_or(|rate| rate.take(now))
    }

    fn admits_from(&self, address: Option<IpAddr>, now: Duration) -> bool {
        if self.limits.connections_by_address.is_none() {
            return true;
        }
        let rates = self.of_address(address, now);
        let rate = rates.as_ref().and_then(|rates| rates.connections.as_ref());
        rate.is_none_or(|rate| rate.take(now))
    }

    /// Whether another line about Connections that are too many is due.
    pub(crate) fn may_log(&self, now: Duration) -> bool {
        self.lines.take(now)
    }

    /// Lets the messages of a Link count.
    pub(crate) fn apply(&self, link: &mut Link, address: Option<IpAddr>, now: Duration) {
        let own = self.limits.messages_by_client.map(Rate::new).map(Arc::new);
        let by_address = self
            .limits
            .messages_by_address
            .and_then(|_| self.of_address(address, now)?.messages.clone());
        let all = [own, by_address, self.messages.clone()];
        link.limit_messages(all.into_iter().flatten().collect(), self.limits.over);
    }

    fn of_address(&self, address: Option<IpAddr>, now: Duration) -> Option<Arc<AddressRates>> {
        let address = place_of(address?);
        let mut addresses = self.addresses.lock();
        if let Some(rates) = addresses.known.get(&address) {
            return Some(Arc::clone(rates));
        }
        if addresses.known.len() >= MAXIMUM_ADDRESSES {
            addresses.sweep(now);
        }
        let fresh = || {
            Arc::new(AddressRates {
                connections: self.limits.connections_by_address.map(Rate::new),
                messages: self.limits.messages_by_address.map(Rate::new).map(Arc::new),
            })
        };
        let rates = if addresses.known.len() >= MAXIMUM_ADDRESSES {
            addresses.others.get_or_insert_with(fresh)
        } else {
            addresses.known.entry(address).or_insert_with(fresh)
        };
        Some(Arc::clone(rates))
    }
}

impl Addresses {
    /// Forgets who has no Connection and owes nothing: to start anew is the same for them. At most once a second, since it
    /// takes a look at all.
    fn sweep(&mut self, now: Duration) {
        if now < self.swept + Duration::from_secs(1) {
            return;
        }
        self.swept = now;
        self.known.retain(|_, rates| {
            let connections = rates.connections.as_ref().is_some_and(|rate| !rate.is_paid(now));
            let messages = rates
                .messages
                .as_ref()
                .is_some_and(|rate| Arc::strong_count(rate) > 1 || !rate.is_paid(now));
            connections || messages
        });
    }
}

/// What counts as one address: whoever has an IPv6 address has 2^64 of them.
fn place_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

const MAXIMUM_ADDRESSES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn one_connection_an_address() -> Arc<Rates> {
        Rates::of(&RateLimits {
            connections_by_address: Some(NonZeroU32::MIN),
            ..RateLimits::default()
        })
        .unwrap()
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_bounded() {
        assert!(Rates::of(&RateLimits::default()).is_none());
    }

    #[test]
    fn addresses_count_by_themselves_and_those_of_one_ipv6_network_together() {
        let rates = one_connection_an_address();
        let from = |text: &str, second| rates.admits_from(Some(text.parse().unwrap()), at(second));
        assert!(from("10.0.0.1", 10));
        assert!(!from("10.0.0.1", 10));
        assert!(!from("::ffff:10.0.0.1", 10), "the same in IPv6's clothes");
        assert!(from("10.0.0.2", 10));
        assert!(from("2001:db8::1", 10));
        assert!(!from("2001:db8::2", 10));
        assert!(from("2001:db8:0:1::1", 10));
        assert!(from("10.0.0.1", 11));
        assert!(rates.admits_from(None, at(10)) && rates.admits_from(None, at(10)));
    }

    #[test]
    fn an_address_that_comes_too_often_takes_nothing_from_the_others() {
        let rates = Rates::of(&RateLimits {
            connections: NonZeroU32::new(2),
            connections_by_address: Some(NonZeroU32::MIN),
            ..RateLimits::default()
        })
        .unwrap();
        let from = |text: &str| rates.admits(Some(text.parse().unwrap()), at(10));
        assert!(from("10.0.0.1"));
        assert!((0..40).all(|_| !from("10.0.0.1")));
        assert!(from("10.0.0.2"));
        assert!(!from("10.0.0.3"), "the listener's two are taken");
    }

    #[test]
    fn memory_is_bounded_and_nobody_gets_more_by_it() {
        let rates = one_connection_an_address();
        let from = |number: u32, second| rates.admits_from(Some(IpAddr::V4(number.into())), at(second));
        let maximum = u32::try_from(MAXIMUM_ADDRESSES).unwrap();
        assert!((0..maximum).all(|number| from(number, 10)));
        // These share what one may.
        assert!(from(maximum, 10));
        assert!(!from(maximum + 1, 10));
        assert!(!from(0, 10));
        assert_eq!(rates.addresses.lock().known.len(), MAXIMUM_ADDRESSES);
        // A second later nobody owes anything.
        assert!(from(maximum + 2, 11));
        assert_eq!(rates.addresses.lock().known.len(), 1);
    }
}
