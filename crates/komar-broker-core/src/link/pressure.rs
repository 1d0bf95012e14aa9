//! Publishers that are slowed down: while more waits in the broker than [`Limits::maximum_waiting_bytes`] says, those that
//! bring most are not read.
//!
//! [`Limits::maximum_waiting_bytes`]: crate::Limits::maximum_waiting_bytes

use std::sync::{Arc, Weak};

use super::{Link, Phase};
use crate::access::{Answer, Verdict};
use crate::now::Millis;
use crate::outbox::Outbox;
use crate::sync::Ordering;
use crate::worker::{Effects, Worker};

/// A Link that is not read until then, or until less waits.
pub(crate) struct Pressed {
    outbox: Weak<Outbox>,
    until: Millis,
}

impl Worker {
    /// Counts what a Link brings while too much waits, and pauses it when that is a share that only large publishers reach.
    /// The pause is short: the client may be one of those whose acknowledgements make room, or nobody may ever make any.
    #[inline]
    pub(super) fn press(&mut self, link: &mut Link, bytes: usize) {
        if !self.fx.is_under_pressure() {
            link.brought = 0;
            return;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        link.brought = link.brought.saturating_add(bytes);
        if link.brought > SHARE && matches!(link.phase, Phase::Established(_)) {
            link.brought = 0;
            link.pressed = true;
            let until = self.fx.now.after(PAUSE);
            // It is not silent meanwhile: it is not listened to.
            link.outbox.unheard_until(until);
            self.pressed.push_back(Pressed {
                outbox: Arc::downgrade(&link.outbox),
                until,
            });
            self.broker.counters.slowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the Links read again whose pause is over.
    pub(crate) fn relieve(&mut self) {
        let relieved = !self.fx.is_under_pressure();
        while let Some(pressed) = self.pressed.front() {
            if !relieved && pressed.until > self.fx.now {
                return;
            }
            let outbox = pressed.outbox.upgrade();
            self.pressed.pop_front();
            if let Some(outbox) = outbox {
                self.verdicts.push_back(Verdict {
                    outbox,
                    ticket: 0,
                    place: 0,
                    answer: Answer::Relieved,
                });
            }
        }
    }

    /// When the next of them is to be read again.
    pub(crate) fn relief(&self) -> Option<Millis> {
        self.pressed.front().map(|slowed| slowed.until)
    }
}

impl Effects {
    #[inline]
    fn is_under_pressure(&self) -> bool {
        let queued = self.broker.queued_bytes.load(Ordering::Relaxed);
        let slow = self.broker.slow_bytes.load(Ordering::Relaxed);
        queued.saturating_add(slow) > self.maximum_waiting_bytes
    }
}

/// What a Link may bring between two pauses, in bytes.
const SHARE: u32 = 64 << 10;
/// So one that is slowed down brings its share a second, and the rest of the read that went beyond it.
const PAUSE: core::time::Duration = core::time::Duration::from_secs(1);
