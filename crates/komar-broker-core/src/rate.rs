//! How often something may happen in a second.

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use crate::now::Millis;
use crate::outbox::Outbox;
use crate::sync::{AtomicU64, Ordering};

/// A bound on how often something happens: so many times a second on average, and at most so many times at once. Whatever
/// counts together shares one: the messages of a client, of everybody on a listener, of everybody at an address.
///
/// What is not used is saved up for one second. A virtual clock, kept in one word: it is ahead of the time by what has been
/// taken and is not paid for yet.
#[derive(Debug)]
pub struct Rate {
    /// Nanoseconds that one costs.
    cost: u64,
    /// When everything that was taken is paid for, in nanoseconds of the driver's clock.
    paid: AtomicU64,
}

/// What happens to a message that comes when its rate is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverRate {
    /// It is taken, and the Connection is not read until it is paid for: the client is slowed down, and nothing is lost.
    #[default]
    Pause,
    /// It is not routed. At QoS 1 and 2 a 5.0 client is told 0x97 Quota exceeded; a 3.x client cannot be told, and at QoS 0
    /// nobody is.
    Refuse,
    /// The Connection ends; a 5.0 client is told 0x96 Message rate too high.
    Disconnect,
}

/// Links that are paused until they may send again.
#[derive(Default)]
pub(crate) struct Slowed(BinaryHeap<Until>);

/// Ordered by time, the next one first.
struct Until(Millis, Weak<Outbox>);

impl Rate {
    /// So many a second. Nothing is taken yet.
    pub fn new(a_second: NonZeroU32) -> Rate {
        Rate {
            cost: (SECOND / u64::from(a_second.get())).max(1),
            paid: AtomicU64::new(0),
        }
    }

    /// Takes one, if one is there. `now` is the driver's monotonic clock.
    pub fn take(&self, now: Duration) -> bool {
        let now = nanoseconds(now);
        let is_there = self.missing(now) == 0;
        if is_there {
            self.owe(now);
        }
        is_there
    }

    /// Whether nothing is owed: then this is as good as new.
    pub fn is_paid(&self, now: Duration) -> bool {
        self.paid.load(Ordering::Relaxed) <= nanoseconds(now)
    }

    /// Takes one, whether it is there or not.
    pub(crate) fn owe(&self, now: u64) {
        let later = |paid: u64| Some(paid.max(now).saturating_add(self.cost));
        // It always is `Some`.
        let _ = self
            .paid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// How long until one is there.
    pub(crate) fn missing(&self, now: u64) -> u64 {
        let paid = self.paid.load(Ordering::Relaxed);
        paid.saturating_add(self.cost)
            .saturating_sub(now.saturating_add(SECOND))
    }

    /// How long until it is worth going on: more than one message, where so many come that each would cost a turn.
    pub(crate) fn pause(&self, now: u64) -> u64 {
        match self.missing(now) {
            0 => 0,
            missing => missing.saturating_add(WORTH_A_TURN.min(SECOND.saturating_sub(self.cost))),
        }
    }
}

impl Slowed {
    pub(crate) fn add(&mut self, until: Millis, outbox: &Arc<Outbox>) {
        self.0.push(Until(until, Arc::downgrade(outbox)));
    }

    /// One whose time has come, if it is still there.
    pub(crate) fn take(&mut self, now: Millis) -> Option<Arc<Outbox>> {
        while self.next()? <= now {
            if let Some(outbox) = self.0.pop().and_then(|Until(_, outbox)| outbox.upgrade()) {
                return Some(outbox);
            }
        }
        None
    }

    /// When the next one goes on.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.peek().map(|Until(until, _)| *until)
    }
}

impl Ord for Until {
    fn cmp(&self, other: &Until) -> core::cmp::Ordering {
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Until {
    fn partial_cmp(&self, other: &Until) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Until {
    fn eq(&self, other: &Until) -> bool {
        self.0 == other.0
    }
}

impl Eq for Until {}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;
pub(crate) const NANOSECONDS_A_MILLISECOND: u64 = 1_000_000;
/// Pauses are so much longer that a Link that sends all the time goes on twenty times a second, not for every message.
const WORTH_A_TURN: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_saved_up_and_then_one_comes_at_a_time() {
        let rate = Rate::new(NonZeroU32::new(10).unwrap());
        let at = |milliseconds| Duration::from_millis(milliseconds);
        assert_eq!((0..100).filter(|_| rate.take(at(5000))).count(), 10);
        assert!(!rate.take(at(5099)));
        assert!(rate.take(at(5100)));
        assert!(!rate.take(at(5100)));
        assert!(!rate.is_paid(at(6099)) && rate.is_paid(at(6100)));
        // However long it was not used.
        assert_eq!((0..100).filter(|_| rate.take(at(60_000))).count(), 10);
    }

    #[test]
    fn what_is_owed_is_paid_in_time() {
        let rate = Rate::new(NonZeroU32::MIN);
        let now = 7 * SECOND;
        for _ in 0..3 {
            rate.owe(now);
        }
        assert_eq!(rate.missing(now), 3 * SECOND);
        assert_eq!(rate.missing(now + 3 * SECOND), 0);
    }
}
