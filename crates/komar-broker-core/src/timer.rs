//! Timers of one worker: a wheel of seconds. Nothing is done to them a packet; an entry looks when it is due.

use std::sync::{Arc, Weak};

use crate::now::Millis;
use crate::outbox::Outbox;
use crate::session::Session;

/// What is looked at when a timer is due.
pub(crate) enum Timer {
    /// A Connection that may have been silent for too long.
    Silence(Weak<Outbox>),
    /// A Session without a Connection since `epoch`, whose Session Expiry Interval ends. MQTT 5.0 §3.1.2.11.2.
    SessionExpiry(Weak<Session>, u64),
    /// A Session without a Connection since `epoch`, whose Will Delay Interval ends. MQTT 5.0 §3.1.3.2.2.
    WillDelay(Weak<Session>, u64),
    /// A Link that may have waited for a verdict for too long.
    Verdict(Weak<Outbox>),
}

/// A wheel of [`SLOTS`] seconds. A timer that is due later goes around and is put in again, so what belongs to
/// something long gone is forgotten after one round.
pub(crate) struct Timers {
    slots: Vec<Slot>,
    /// The second that was looked at last.
    second: u64,
    len: usize,
}

#[derive(Default)]
struct Slot {
    timers: Vec<(Millis, Timer)>,
    /// [`Timer::Silence`], of which every Connection has one: when it is due stands in the Outbox, so here it does not.
    silences: Vec<Weak<Outbox>>,
}

impl Timers {
    pub(crate) fn new(now: Millis) -> Timers {
        Timers {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            second: now.0 / 1000,
            len: 0,
        }
    }

    pub(crate) fn add(&mut self, due: Millis, timer: Timer) {
        let earliest = self.second + 1;
        let latest = self.second + SLOTS - 1;
        let second = due.0.div_ceil(1000).clamp(earliest, latest);
        if let Some(slot) = self.slots.get_mut((second % SLOTS) as usize) {
            match timer {
                Timer::Silence(outbox) => slot.silences.push(outbox),
                timer => slot.timers.push((due, timer)),
            }
            self.len += 1;
        }
    }

    /// Moves what is due by `now` into `due`; what only went around is put in again if it is still alive. A
    /// [`Timer::Silence`] that goes around is handed out once a round: whoever looks at the Outbox puts it in again.
    pub(crate) fn expire(&mut self, now: Millis, due: &mut Vec<Timer>) {
        let target = now.0 / 1000;
        // After a long stop one round sees every slot.
        self.second = self.second.max(target.saturating_sub(SLOTS));
        while self.second < target {
            self.second += 1;
            let index = (self.second % SLOTS) as usize;
            let Some(slot) = self.slots.get_mut(index) else {
                return;
            };
            let Slot { timers, silences } = core::mem::take(slot);
            self.len -= timers.len() + silences.len();
            due.extend(silences.into_iter().map(Timer::Silence));
            for (at, timer) in timers {
                if at <= now {
                    due.push(timer);
                } else if timer.is_alive() {
                    self.add(at, timer);
                }
            }
        }
    }

    /// When to look again: the next full second, if there is anything to look at.
    pub(crate) fn next(&self) -> Option<Millis> {
        (self.len > 0).then(|| Millis((self.second + 1) * 1000))
    }
}

impl Timer {
    pub(crate) fn silence(outbox: &Arc<Outbox>) -> Timer {
        Timer::Silence(Arc::downgrade(outbox))
    }

    pub(crate) fn verdict(outbox: &Arc<Outbox>) -> Timer {
        Timer::Verdict(Arc::downgrade(outbox))
    }

    fn is_alive(&self) -> bool {
        match self {
            Timer::Silence(outbox) | Timer::Verdict(outbox) => outbox.strong_count() > 0,
            // A client that comes and goes leaves one behind each time: not for longer than a round.
            Timer::SessionExpiry(session, epoch) | Timer::WillDelay(session, epoch) => session
                .upgrade()
                .is_some_and(|session| session.lock().is_away_since(*epoch)),
        }
    }
}

const SLOTS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_at_their_second_and_dead_ones_are_forgotten() {
        let start = Millis(1_234_567);
        let mut timers = Timers::new(start);
        let outbox = Arc::new(Outbox::new(Box::new(()), start, 0));
        let wanted = [1, 5, 255, 256, 300, 1000];
        for seconds in wanted {
            timers.add(start.after_seconds(seconds), Timer::verdict(&outbox));
        }
        let mut fired = Vec::new();
        let mut due = Vec::new();
        for second in 0..=1100u32 {
            timers.expire(start.after_seconds(second), &mut due);
            fired.extend(due.drain(..).map(|_| second));
        }
        assert_eq!(fired.len(), wanted.len());
        for (fired, wanted) in fired.iter().zip(wanted) {
            assert!(
                (wanted..=wanted + 1).contains(fired),
                "{wanted} s fired after {fired} s"
            );
        }
        assert_eq!(timers.next(), None);

        timers.add(start.after_seconds(5000), Timer::verdict(&outbox));
        drop(outbox);
        timers.expire(start.after_seconds(1400), &mut due);
        assert!(due.is_empty() && timers.len == 0, "forgotten within one round");
    }

    #[test]
    fn silence_is_looked_at_when_it_is_due_or_once_a_round() {
        let start = Millis(1_234_567);
        let mut timers = Timers::new(start);
        let outbox = Arc::new(Outbox::new(Box::new(()), start, 0));
        let mut due = Vec::new();
        for (seconds, looked_at) in [(5, 5), (255, 255), (1000, SLOTS as u32)] {
            let mut timers = Timers::new(start);
            timers.add(start.after_seconds(seconds), Timer::silence(&outbox));
            timers.expire(start.after_seconds(looked_at - 2), &mut due);
            assert!(due.is_empty(), "{seconds} s are not over");
            timers.expire(start.after_seconds(looked_at + 1), &mut due);
            assert!(matches!(due.pop(), Some(Timer::Silence(_))), "{seconds} s");
            assert_eq!(timers.next(), None);
        }
        timers.add(start.after_seconds(5), Timer::silence(&outbox));
        assert!(timers.next().is_some());
    }
}
