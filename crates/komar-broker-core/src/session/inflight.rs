//! QoS 1 and 2 messages that were sent, or are to be sent again, and are not acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::{PacketIdentifier, QoS};
use komar_topic::GroupId;

use crate::journal::Stored;
use crate::message::{MessageBody, SubscriptionIdentifiers};
use crate::store::Sequence;
use crate::worker::Effects;

/// What a Session has under way to its client, in the order in which it was first sent. v5 [MQTT-4.6.0-6]
#[derive(Debug, Default)]
pub(crate) struct Inflight {
    entries: VecDeque<Entry>,
    /// Entries from this one on were not sent on the present Connection yet. v5 [MQTT-4.4.0-1]
    unsent_from: usize,
    /// Entries before `unsent_from` that wait for an acknowledgement; what the send quota counts.
    outstanding: usize,
    /// Entries that are finished and wait for an older one to be taken out with; never many more than the others.
    done: usize,
    /// Bytes of the messages among those that `outstanding` counts.
    outstanding_bytes: usize,
    /// Where the next acknowledgement is looked for first: behind the one that the last was for.
    expected: usize,
}

/// One message under way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) identifier: PacketIdentifier,
    pub(crate) stage: Stage,
    pub(crate) delivery: Option<Queued>,
    /// The message in the store, until the exchange is over.
    stored: Option<Arc<Stored>>,
    /// It was never sent, and is not before this change is durable; 0: it was.
    since: Sequence,
    /// The number of the retained message that it is sent for, while it was never sent; 0: for none.
    retained: u64,
}

impl Entry {
    /// Its receiver may have it from an earlier Connection. v5 [MQTT-3.3.1-1]
    pub(crate) fn was_sent(&self) -> bool {
        self.since == Sequence(0)
    }

    /// A retained message that is another one by now: its receiver has got that one live, and must not get this one behind
    /// it.
    pub(crate) fn is_outdated(&self, fx: &Effects) -> bool {
        match &self.delivery {
            Some(queued) if self.retained != 0 && !self.was_sent() => {
                !fx.is_retained(queued.body.message().topic_name, self.retained)
            }
            _ => false,
        }
    }
}

/// Which acknowledgement is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    PubAck,
    PubRec,
    PubComp,
    /// A QoS 2 message that the present user may not have. Its receiver may know the identifier, and would take
    /// another message that has it for this one; so it stays in use, and nothing is sent.
    Withheld,
    Done,
}

impl Stage {
    fn is_sent(self) -> bool {
        !matches!(self, Stage::Withheld | Stage::Done)
    }
}

/// A message for one Session, with what belongs to this copy only.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) body: MessageBody,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: SubscriptionIdentifiers,
    /// The Shared Subscription that it is for: another member gets it if this one ends before it has it.
    pub(crate) group: Option<GroupId>,
    /// The message in the store, if the Session survives.
    pub(crate) stored: Option<Arc<Stored>>,
}

impl Queued {
    /// What the limit on messages under way counts: the payload.
    fn counted(&self) -> usize {
        self.body.payload_len()
    }
}

impl Inflight {
    /// Notes a message that is being sent for the first time.
    pub(crate) fn push(&mut self, identifier: PacketIdentifier, delivery: Queued) {
        self.outstanding_bytes = self.outstanding_bytes.saturating_add(delivery.counted());
        self.push_unsent(identifier, delivery, Sequence(0), 0);
        self.unsent_from = self.entries.len();
        self.outstanding += 1;
    }

    /// Notes a message that is to be sent for the first time once the change `since` is durable; with 0, that is to be sent
    /// again. `retained`: the number of the retained message that it is sent for, or 0.
    pub(crate) fn push_unsent(
        &mut self,
        identifier: PacketIdentifier,
        mut delivery: Queued,
        since: Sequence,
        retained: u64,
    ) {
        let stage = if delivery.qos == QoS::ExactlyOnce {
            Stage::PubRec
        } else {
            Stage::PubAck
        };
        self.entries.push_back(Entry {
            identifier,
            stage,
            stored: delivery.stored.take(),
            delivery: Some(delivery),
            since,
            retained,
        });
    }

    /// Notes a QoS 2 exchange that goes on without its message after a restart: PUBREL is due, or nothing.
    pub(crate) fn push_exchange(
        &mut self,
        identifier: PacketIdentifier,
        withheld: bool,
        stored: Option<Arc<Stored>>,
    ) {
        self.entries.push_back(Entry {
            identifier,
            stage: if withheld { Stage::Withheld } else { Stage::PubComp },
            delivery: None,
            stored,
            since: Sequence(0),
            retained: 0,
        });
    }

    /// A new Connection: everything is to be sent again, in order.
    pub(crate) fn restart(&mut self) {
        self.compact();
        // v3 [MQTT-4.4.0-1]
        self.unsent_from = 0;
        self.outstanding = 0;
        self.outstanding_bytes = 0;
    }

    /// Takes messages out that `keep` refuses; right after [`restart`](Self::restart), when none of them is sent. `note` is
    /// called for those that are stored and whose identifiers stay in use.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Queued) -> bool, mut note: impl FnMut(&Stored)) {
        self.entries.retain_mut(|entry| {
            if entry.delivery.as_ref().is_none_or(&keep) {
                return true;
            }
            entry.delivery = None;
            let is_known = entry.stage == Stage::PubRec && entry.was_sent();
            entry.stage = Stage::Withheld;
            if let Some(stored) = entry.stored.as_ref().filter(|_| is_known) {
                note(stored);
            }
            is_known
        });
    }

    pub(crate) fn deliveries(&self) -> impl Iterator<Item = &Queued> {
        self.entries.iter().filter_map(|entry| entry.delivery.as_ref())
    }

    /// The next entry that was not sent on this Connection.
    pub(crate) fn next_unsent(&self) -> Option<&Entry> {
        self.entries
            .iter()
            .skip(self.unsent_from)
            .find(|entry| entry.stage.is_sent())
    }

    /// The change that [`next_unsent`](Self::next_unsent) waits for; 0: none.
    pub(crate) fn next_since(&self) -> Sequence {
        self.next_unsent().map_or(Sequence(0), |entry| entry.since)
    }

    /// Notes that [`next_unsent`](Self::next_unsent) is sent.
    pub(crate) fn mark_sent(&mut self) {
        while let Some(entry) = self.entries.get_mut(self.unsent_from) {
            self.unsent_from += 1;
            if entry.stage.is_sent() {
                entry.since = Sequence(0);
                self.outstanding += 1;
                let bytes = entry.delivery.as_ref().map_or(0, Queued::counted);
                self.outstanding_bytes = self.outstanding_bytes.saturating_add(bytes);
                return;
            }
        }
    }

    /// Lets PUBREL packets that were not sent on this Connection go before PUBLISH packets that wait for quota. Says
    /// whether there is one.
    pub(crate) fn releases_first(&mut self) -> bool {
        let unsent = self.entries.range(self.unsent_from..);
        if !unsent.clone().any(|entry| entry.stage == Stage::PubComp) {
            return false;
        }
        if self.next_unsent().is_none_or(|next| next.stage != Stage::PubComp) {
            let mut unsent: Vec<Entry> = self.entries.drain(self.unsent_from..).collect();
            unsent.sort_by_key(|entry| entry.stage != Stage::PubComp);
            self.entries.extend(unsent);
        }
        true
    }

    /// The Session is over: what another member of a Shared Subscription is to get. Not what was sent at QoS 2
    /// (v5 [MQTT-4.8.2-5]).
    pub(crate) fn into_orphans(self) -> Vec<Queued> {
        self.entries
            .into_iter()
            // v5 [MQTT-4.8.2-4]
            .filter(|entry| entry.stage == Stage::PubAck || !entry.was_sent())
            .filter_map(|entry| {
                let mut queued = entry.delivery?;
                queued.stored = entry.stored;
                Some(queued)
            })
            .filter(|queued| queued.group.is_some())
            .collect()
    }

    /// PUBACK, a PUBREC that refuses, or PUBCOMP: the exchange is over. Says whether it was under way.
    pub(crate) fn complete(&mut self, identifier: PacketIdentifier, stage: Stage) -> bool {
        let Some(position) = self.position(identifier) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(position) else {
            return false;
        };
        if entry.stage != stage {
            return false;
        }
        // v5 [MQTT-4.4.0-2], v5 [MQTT-4.8.2-6]
        entry.stage = Stage::Done;
        self.done += 1;
        let delivery = entry.delivery.take();
        entry.stored = None;
        if position < self.unsent_from {
            self.outstanding = self.outstanding.saturating_sub(1);
            let bytes = delivery.as_ref().map_or(0, Queued::counted);
            self.outstanding_bytes = self.outstanding_bytes.saturating_sub(bytes);
        }
        while self
            .entries
            .front()
            .is_some_and(|front| front.stage == Stage::Done)
        {
            self.entries.pop_front();
            self.done = self.done.saturating_sub(1);
            self.unsent_from = self.unsent_from.saturating_sub(1);
            self.expected = self.expected.saturating_sub(1);
        }
        // A client that leaves its oldest message open must not make the finished ones behind it pile up.
        if self.done > self.entries.len() / 2 + FINISHED {
            self.compact();
        }
        true
    }

    /// PUBREC: the receiver has the message, so its body is given back and PUBREL is due. Says whether the
    /// identifier is under way at QoS 2. `note` is called the first time, if the message is stored.
    pub(crate) fn received(&mut self, identifier: PacketIdentifier, note: impl FnOnce(&Stored)) -> bool {
        let Some(position) = self.position(identifier) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(position) else {
            return false;
        };
        match entry.stage {
            Stage::PubRec => {
                // The identifier stays in use until PUBCOMP.
                // v5 [MQTT-4.3.3-5]
                entry.stage = Stage::PubComp;
                if let Some(stored) = &entry.stored {
                    note(stored);
                }
                let bytes = entry.delivery.take().as_ref().map_or(0, Queued::counted);
                if position < self.unsent_from {
                    self.outstanding_bytes = self.outstanding_bytes.saturating_sub(bytes);
                }
                true
            }
            Stage::PubComp => true,
            Stage::Withheld => {
                entry.stage = Stage::PubComp;
                if let Some(stored) = &entry.stored {
                    note(stored);
                }
                if position < self.unsent_from {
                    self.outstanding += 1;
                }
                true
            }
            Stage::PubAck | Stage::Done => false,
        }
    }

    /// Messages that were sent on this Connection and are not acknowledged.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Messages that have an identifier, sent on this Connection or to be sent; a few more after exchanges that ended out
    /// of order.
    pub(crate) fn open(&self) -> usize {
        let unsent = self.entries.len().saturating_sub(self.unsent_from);
        self.outstanding.saturating_add(unsent)
    }

    /// Bytes of their payloads.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent_from < self.entries.len()
    }

    pub(crate) fn len(&self) -> usize {
        let entries = self.entries.iter();
        entries.filter(|entry| entry.stage.is_sent()).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn identifiers(&self) -> impl Iterator<Item = PacketIdentifier> + '_ {
        self.entries
            .iter()
            .filter(|entry| entry.stage != Stage::Done)
            .map(|entry| entry.identifier)
    }

    fn compact(&mut self) {
        let sent = self.entries.iter().take(self.unsent_from);
        self.unsent_from = sent.filter(|entry| entry.stage != Stage::Done).count();
        self.entries.retain(|entry| entry.stage != Stage::Done);
        self.done = 0;
    }

    fn position(&mut self, identifier: PacketIdentifier) -> Option<usize> {
        let is_it = |entry: &Entry| entry.identifier == identifier && entry.stage != Stage::Done;
        // Acknowledgements come in order almost always. v5 [MQTT-4.6.0-2], v5 [MQTT-4.6.0-3]
        let position = match self.entries.get(self.expected) {
            Some(entry) if is_it(entry) => self.expected,
            _ => self.entries.iter().position(is_it)?,
        };
        self.expected = position + 1;
        Some(position)
    }
}

/// Finished entries that are left in their place before it pays to take them out.
const FINISHED: usize = 16;

#[cfg(test)]
mod tests {
    use komar_topic::TopicName;

    use super::*;
    use crate::message::Message;
    use crate::now::Millis;

    fn id(number: u16) -> PacketIdentifier {
        PacketIdentifier::new(number).unwrap()
    }

    fn queued(qos: QoS) -> Queued {
        let message = Message {
            topic_name: TopicName::from_checked("t"),
            properties: &[],
            payload: b"p",
            qos,
            retain: false,
            moved: false,
            expires: Millis::NEVER,
            kept: None,
        };
        Queued {
            body: message.to_body(&mut Vec::new()),
            qos,
            retain: false,
            identifiers: SubscriptionIdentifiers::None,
            group: None,
            stored: None,
        }
    }

    #[test]
    fn finished_ones_do_not_pile_up_behind_one_that_is_open() {
        let mut inflight = Inflight::default();
        inflight.push(id(1), queued(QoS::AtLeastOnce));
        for number in 2..1000 {
            inflight.push(id(number), queued(QoS::ExactlyOnce));
            inflight.push(id(number + 2000), queued(QoS::AtLeastOnce));
            assert!(inflight.received(id(number), |_| ()));
            assert!(inflight.complete(id(number), Stage::PubComp));
            assert!(inflight.complete(id(number + 2000), Stage::PubAck));
            assert_eq!((inflight.len(), inflight.outstanding()), (1, 1));
            assert!(inflight.entries.len() < 40);
        }
        inflight.push(id(5000), queued(QoS::AtLeastOnce));
        inflight.restart();
        let sent = inflight.next_unsent().map(|entry| entry.identifier);
        assert_eq!((sent, inflight.len()), (Some(id(1)), 2));
    }

    #[test]
    fn the_identifier_of_what_may_not_be_sent_any_more_stays_in_use_at_qos2() {
        let mut inflight = Inflight::default();
        inflight.push(id(1), queued(QoS::ExactlyOnce));
        inflight.push(id(2), queued(QoS::AtLeastOnce));
        inflight.restart();
        inflight.retain(|_| false, |_| ());
        assert_eq!(inflight.identifiers().collect::<Vec<_>>(), [id(1)]);
        assert!(inflight.next_unsent().is_none());
        assert_eq!(inflight.len(), 0);
        inflight.mark_sent();
        assert!(!inflight.has_unsent() && inflight.outstanding() == 0);
        // The receiver has it after all, from the Connection before.
        assert!(inflight.received(id(1), |_| ()));
        assert_eq!((inflight.len(), inflight.outstanding()), (1, 1));
        assert!(inflight.complete(id(1), Stage::PubComp));
        assert!(inflight.is_empty() && inflight.outstanding() == 0);
    }

    #[test]
    fn a_restart_sends_all_that_is_left_in_order_and_counts_it_again() {
        let mut inflight = Inflight::default();
        inflight.push(id(1), queued(QoS::AtLeastOnce));
        inflight.push(id(2), queued(QoS::ExactlyOnce));
        inflight.push(id(3), queued(QoS::AtLeastOnce));
        assert_eq!(inflight.outstanding(), 3);
        assert!(inflight.complete(id(3), Stage::PubAck), "out of order");
        assert!(!inflight.complete(id(3), Stage::PubAck), "once only");
        assert!(inflight.received(id(2), |_| ()));
        assert!(
            !inflight.complete(id(2), Stage::PubAck),
            "the wrong acknowledgement"
        );

        inflight.restart();
        assert_eq!(inflight.outstanding(), 0);
        let mut sent = Vec::new();
        while let Some(entry) = inflight.next_unsent() {
            sent.push((entry.identifier.get(), entry.stage));
            inflight.mark_sent();
        }
        assert_eq!(sent, [(1, Stage::PubAck), (2, Stage::PubComp)]);
        assert_eq!(inflight.outstanding(), 2);
        assert!(inflight.complete(id(1), Stage::PubAck));
        assert!(inflight.complete(id(2), Stage::PubComp));
        assert!(inflight.is_empty() && inflight.outstanding() == 0 && inflight.outstanding_bytes() == 0);
    }
}
