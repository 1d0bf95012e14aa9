//! A Link that waits for a verdict: nothing behind the question is read before, and what has been read is bounded.

use komar_codec::{Framing, Packet, PacketType, ReasonCode, frame};

use super::{Link, LinkState, Phase, Progress};
use crate::access::{Answer, Decision, Verdict};
use crate::error::ProtocolError;
use crate::link::phase::{KeptPacket, Waiting};
use crate::link::publish::Asked;
use crate::now::Millis;
use crate::sync::Ordering;
use crate::timer::Timer;
use crate::worker::Worker;

impl Worker {
    /// Comes back with an answer that [`next_verdict`](Self::next_verdict) gave out, or with that of a
    /// [`PasswordRequest`](crate::PasswordRequest). Ignored if the Link does not wait for
    /// it any more: it has an answer already, or its client has gone.
    pub fn verdict(&mut self, link: &mut Link, verdict: Verdict) -> Progress {
        if !std::sync::Arc::ptr_eq(&link.outbox, &verdict.outbox) {
            return link.progress(0);
        }
        let was_paused = link.state() == LinkState::Paused;
        match verdict.answer {
            Answer::Durable => link.has_waited |= core::mem::take(&mut link.behind),
            Answer::Paid => link.slowed = false,
            Answer::Relieved => link.pressed = false,
            Answer::Deadline => self.look_at_deadline(link),
            answer if verdict.ticket == link.asked => self.answered(link, verdict.place, answer),
            _ => {}
        }
        if was_paused && link.state() == LinkState::Open && matches!(link.phase, Phase::Established(_)) {
            // It is listened to from now on. As long as it waits for something else, it is not.
            link.outbox.seen(self.fx.now);
        }
        self.obey_hook(link);
        self.resume(link)
    }

    fn answered(&mut self, link: &mut Link, place: usize, answer: Answer) {
        if link.state() != LinkState::Paused {
            return;
        }
        // A Connection that is being closed does nothing any more: its CONNECT takes no Session over.
        if link.outbox.is_closing() {
            link.asked = link.asked.wrapping_add(1);
            return;
        }
        // The question is answered: what else comes for it is ignored.
        match core::mem::replace(&mut link.phase, Phase::AwaitingConnect) {
            Phase::Authenticating(pending) => {
                link.asked = link.asked.wrapping_add(1);
                if pending.deadline != Millis::NEVER {
                    link.outbox.seen(pending.connect_time.resumed(self.fx.now));
                }
                self.connect_answered(link, *pending, answer);
            }
            phase => {
                link.phase = phase;
                self.established_answered(link, place, answer);
            }
        }
    }

    fn established_answered(&mut self, link: &mut Link, place: usize, answer: Answer) {
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let Some(waiting) = &mut established.waiting else {
            return;
        };
        if let Some(slot) = waiting.answers.get_mut(place)
            && slot.is_none()
        {
            waiting.missing = waiting.missing.saturating_sub(1);
            *slot = Some(match &answer {
                Answer::Decision(Decision::Later) => UNANSWERED,
                Answer::Decision(decision) => *decision,
                _ => UNANSWERED,
            });
        }
        if waiting.missing > 0 {
            return;
        }
        let Some(waiting) = established.waiting.take() else {
            return;
        };
        link.asked = link.asked.wrapping_add(1);
        // A Connection that is being closed, or was taken over, does nothing any more.
        if !link.outbox.lock().is_open() {
            return;
        }
        let Some(packet) = &waiting.packet else {
            return self.auth_answered(link, answer);
        };
        if let Err(error) = self.packet_answered(link, &waiting, packet) {
            self.fail(link, error);
        }
    }

    /// Handles the packet whose questions are answered; under other rules they are asked again.
    fn packet_answered(
        &mut self,
        link: &mut Link,
        waiting: &Waiting,
        packet: &[u8],
    ) -> Result<(), ProtocolError> {
        let options = self.decode_options(link);
        let Framing::Complete(whole) = frame(packet, &options)? else {
            return Ok(());
        };
        let answers: &[Option<Decision>] = if waiting.epoch == self.access.epoch {
            &waiting.answers
        } else {
            &[None]
        };
        if whole.packet_type() == PacketType::Publish {
            let asked = Asked {
                answers,
                came: waiting.came,
            };
            return self.publish_packet(link, whole, packet, &options, asked);
        }
        match Packet::decode(whole, &options)? {
            Packet::Subscribe(subscribe) => self.subscribe(link, &subscribe, packet, answers),
            _ => Ok(()),
        }
    }

    /// From now on the Link is paused. The client is not silent meanwhile: it is not listened to.
    pub(super) fn wait(&mut self, link: &mut Link, mut waiting: Waiting) {
        let deadline = self.verdict_deadline();
        waiting.deadline = deadline;
        waiting.epoch = self.access.epoch;
        if let Phase::Established(established) = &mut link.phase {
            established.waiting = Some(Box::new(waiting));
        }
        self.watch(link, deadline);
    }

    /// Keeps a packet that has to wait, if there is room for it.
    pub(super) fn keep_packet(&self, packet: &[u8]) -> Result<KeptPacket, ProtocolError> {
        let (total, limit) = (
            &self.broker.reassembly_bytes,
            self.config.limits.maximum_reassembly_bytes,
        );
        let kept = KeptPacket::new(packet, total);
        match total.load(Ordering::Relaxed) > limit {
            true => Err(ProtocolError::QuotaExceeded),
            false => Ok(kept),
        }
    }

    /// Pauses the Link if the store has fallen behind, until it has what was noted by now. The client is not silent
    /// meanwhile: it is not listened to.
    #[inline]
    pub(super) fn wait_for_store(&mut self, link: &mut Link) {
        if self.fx.store_is_behind() && !link.behind {
            link.behind = true;
            link.outbox.unheard_until(self.verdict_deadline());
            self.fx.wake_link(&link.outbox);
        }
    }

    /// Sees to it that somebody looks when the time for an answer is over. One timer a Link, whatever it asks.
    pub(super) fn watch(&mut self, link: &mut Link, deadline: Millis) {
        if deadline == Millis::NEVER {
            return;
        }
        link.outbox.unheard_until(deadline);
        if !link.watched {
            link.watched = true;
            self.timers.add(deadline, Timer::verdict(&link.outbox));
        }
    }

    fn look_at_deadline(&mut self, link: &mut Link) {
        link.watched = false;
        let deadline = match &link.phase {
            Phase::Authenticating(pending) => pending.deadline,
            Phase::Established(established) => established
                .waiting
                .as_ref()
                .map_or(Millis::NEVER, |waiting| waiting.deadline),
            _ => Millis::NEVER,
        };
        if deadline > self.fx.now {
            return self.watch(link, deadline);
        }
        let places = match &link.phase {
            Phase::Established(established) => established
                .waiting
                .as_ref()
                .map_or(1, |waiting| waiting.answers.len()),
            _ => 1,
        };
        // The last of them makes the Link go on, and what it then asks has a deadline of its own.
        let asked = link.asked;
        for place in 0..places {
            if link.asked != asked {
                return;
            }
            self.answered(link, place, Answer::Nobody);
        }
    }

    pub(super) fn verdict_deadline(&self) -> Millis {
        self.fx.now.after(self.config.limits.verdict_timeout)
    }
}

impl Waiting {
    /// For the answers to the questions that a packet raised; those that are known already are `Some`.
    pub(super) fn for_packet(packet: KeptPacket, answers: Vec<Option<Decision>>) -> Waiting {
        Waiting::new(Some(packet), answers)
    }

    fn new(packet: Option<KeptPacket>, answers: Vec<Option<Decision>>) -> Waiting {
        Waiting {
            packet,
            missing: answers.iter().filter(|answer| answer.is_none()).count(),
            answers,
            deadline: Millis::NEVER,
            came: Millis::NEVER,
            epoch: 0,
        }
    }

    /// For the answer to a step of an exchange.
    pub(super) fn for_auth() -> Waiting {
        Waiting::new(None, vec![None])
    }
}

/// What a question counts for that nobody answers.
const UNANSWERED: Decision = Decision::Refuse(ReasonCode::ImplementationSpecificError);
