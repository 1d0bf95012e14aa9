//! What a client has sent and the broker has not handled, as the first of it waits for an answer: nothing overtakes anything.

use std::collections::VecDeque;

use super::Time;

pub(crate) struct Line<P> {
    /// With the moment that each came.
    packets: VecDeque<(P, Time)>,
    question: Option<Question>,
}

/// What the first one waits for.
struct Question {
    /// Whether it is to be written, and the Topic Name or Topic Filter.
    about: (bool, String),
    since: Time,
    /// When the packet was looked at first.
    first: Time,
    /// The rules that were in force.
    rules: u64,
}

impl<P> Default for Line<P> {
    fn default() -> Line<P> {
        Line {
            packets: VecDeque::new(),
            question: None,
        }
    }
}

impl<P> Line<P> {
    pub(crate) fn came(&mut self, packet: P, now: Time) {
        self.packets.push_back((packet, now));
    }

    /// The next packet that is handled, and when it came. `None`: there is no other, or it waits for an answer.
    pub(crate) fn next(
        &mut self,
        now: Time,
        rules: u64,
        ask: impl Fn(&P) -> Option<(bool, String)>,
    ) -> Option<(P, Time)> {
        let (packet, _) = self.packets.front()?;
        let about = match &self.question {
            Some(question) if question.rules != ASK_AGAIN => return None,
            _ => ask(packet),
        };
        let Some(about) = about else {
            self.question = None;
            return self.packets.pop_front();
        };
        let first = self.question.as_ref().map_or(now, |question| question.first);
        self.question = Some(Question {
            about,
            since: now,
            first,
            rules,
        });
        None
    }

    /// The question is answered: the packet, and how long it had been there when it was looked at first. `None`: other
    /// rules are in force, and it is asked again.
    pub(crate) fn answered(&mut self, rules: u64) -> Option<(P, Time)> {
        let question = self.question.as_mut()?;
        if question.rules != rules {
            question.rules = ASK_AGAIN;
            return None;
        }
        let first = question.first;
        self.question = None;
        let (packet, came) = self.packets.pop_front()?;
        Some((packet, first - came))
    }

    pub(crate) fn asks(&self) -> Option<&(bool, String)> {
        self.question.as_ref().map(|question| &question.about)
    }

    /// Since when it has waited for this answer.
    pub(crate) fn since(&self) -> Option<Time> {
        self.question.as_ref().map(|question| question.since)
    }

    pub(crate) fn packets(&self) -> impl Iterator<Item = &P> {
        self.packets.iter().map(|(packet, _)| packet)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The Connection has ended: what was not handled never is.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.question = None;
    }
}

/// No rules: the next look at the packet asks.
const ASK_AGAIN: u64 = u64::MAX;
