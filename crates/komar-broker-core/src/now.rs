//! Time as an argument: the core never reads a clock.

use core::time::Duration;

/// What time it is, told by the driver once a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Time since any fixed point; never goes back. Keep alive, expiry and delays are measured with it.
    pub monotonic: Duration,
    /// Time since 1970-01-01T00:00:00Z. Shown and stored, and compared by
    /// [`Broker::restore`](crate::Broker::restore) only, with what was stored.
    pub unix: Duration,
}

/// Milliseconds on the driver's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    pub(crate) const NEVER: Millis = Millis(u64::MAX);

    pub(crate) fn after(self, duration: Duration) -> Millis {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Millis(self.0.saturating_add(milliseconds))
    }

    pub(crate) fn after_seconds(self, seconds: u32) -> Millis {
        self.after(Duration::from_secs(u64::from(seconds)))
    }

    /// How long until `self`, seen from `now`; zero when it has passed.
    pub(crate) fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Now> for Millis {
    fn from(now: Now) -> Millis {
        Millis(u64::try_from(now.monotonic.as_millis()).unwrap_or(u64::MAX))
    }
}
