//! What TLS handshakes hold that wait for the rest of a message, and whose turn it is when that is too much.

use std::collections::{BTreeMap, HashMap};

/// Unfinished messages of all Connections of a reactor.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Connections that hold something: since when, and how much.
    holders: HashMap<usize, Holder>,
    /// The same in the order in which they began to wait.
    order: BTreeMap<u64, usize>,
    begun: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Holder {
    since: u64,
    bytes: usize,
}

impl Handshakes {
    /// A Connection holds so much now.
    pub(super) fn note(&mut self, key: usize, bytes: usize) {
        if bytes == 0 {
            return self.forget(key);
        }
        let holder = self.holders.entry(key).or_insert_with(|| {
            self.begun += 1;
            self.order.insert(self.begun, key);
            Holder {
                since: self.begun,
                bytes: 0,
            }
        });
        self.bytes = self.bytes - holder.bytes + bytes;
        holder.bytes = bytes;
    }

    /// A Connection is over, or is about to be.
    pub(super) fn forget(&mut self, key: usize) {
        // Mostly there is none, and this is asked with each read.
        if self.holders.is_empty() {
            return;
        }
        if let Some(holder) = self.holders.remove(&key) {
            self.order.remove(&holder.since);
            self.bytes -= holder.bytes;
        }
    }

    /// If all hold more than `maximum`, the one that has waited longest: a client that means it sends the rest at once, and
    /// is not the one for long. Neither the newest nor the largest, or a crowd that sends nothing more would keep others out.
    pub(super) fn surplus(&self, maximum: usize) -> Option<usize> {
        let (_, oldest) = self.order.first_key_value()?;
        (self.bytes > maximum).then_some(*oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_waits_longest_goes() {
        let mut handshakes = Handshakes::default();
        for (key, bytes) in [(7, 10), (3, 10), (7, 20), (5, 10)] {
            handshakes.note(key, bytes);
        }
        assert_eq!(handshakes.surplus(40), None);
        assert_eq!(handshakes.surplus(39), Some(7));
        // Its message is whole; the next one is another beginning.
        handshakes.note(7, 0);
        handshakes.note(7, 1);
        assert_eq!(handshakes.surplus(20), Some(3));
        handshakes.forget(3);
        assert_eq!(handshakes.surplus(10), Some(5));
        handshakes.forget(3);
        handshakes.forget(5);
        handshakes.forget(7);
        assert_eq!(handshakes.surplus(0), None);
        assert_eq!(handshakes.bytes, 0);
    }
}
