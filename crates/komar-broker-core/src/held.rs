//! What is held back until the store has what it rests on.

use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::{PacketIdentifier, ProtocolVersion};

use crate::access::{Answer, Identity, Verdict};
use crate::journal::{NotedWill, Stored, Together};
use crate::message::MessageBody;
use crate::outbox::Outbox;
use crate::output::count_packets;
use crate::session::Session;
use crate::session::inflight::Queued;
use crate::session::will::WillMessage;
use crate::store::{Change, Sequence, StoreAhead, StoredMessage, StoredWill};
use crate::sync::Ordering;
use crate::worker::{Effects, Worker};

/// Who goes on when a change is durable.
pub(crate) enum Waiter {
    /// A Connection with acknowledgements, or with a CONNACK.
    Outbox(Arc<Outbox>),
    /// A Session with a QoS 2 message.
    Session(Arc<Session>),
    /// A Link that is not read because the store has fallen behind.
    Link(Arc<Outbox>),
}

/// Encoded acknowledgements of one Connection.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// Up to which byte an acknowledgement goes, and which change it rests on. In the order of arrival, and so in that of
    /// the changes.
    marks: VecDeque<(Sequence, usize)>,
    /// Bytes that have been given out.
    released: usize,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.released
    }

    /// Found by their lengths when somebody asks, as those of an [`Output`](crate::Output).
    pub(crate) fn packets(&self) -> usize {
        count_packets(self.bytes.get(self.released..).unwrap_or_default())
    }

    /// Adds what `encode` writes behind the others.
    fn add(&mut self, sequence: Sequence, encode: impl FnOnce(&mut Vec<u8>) -> bool) {
        if self.released > self.bytes.len() / 2 {
            self.bytes.drain(..self.released);
            for (_, end) in &mut self.marks {
                *end -= self.released;
            }
            self.released = 0;
        }
        let before = self.bytes.len();
        if !encode(&mut self.bytes) {
            self.bytes.truncate(before);
            return;
        }
        match self.marks.back_mut() {
            // It waits for what those before it wait for.
            Some((mark, end)) if *mark >= sequence => *end = self.bytes.len(),
            _ => self.marks.push_back((sequence, self.bytes.len())),
        }
    }

    /// The last bytes that were added.
    fn last(&self, count: usize) -> &[u8] {
        let start = self.bytes.len().saturating_sub(count);
        self.bytes.get(start..).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// What is free now that everything up to `durable` is stored.
    pub(crate) fn release(&mut self, durable: Sequence) -> &[u8] {
        let start = self.released;
        while let Some((mark, end)) = self.marks.front().copied()
            && mark <= durable
        {
            self.marks.pop_front();
            self.released = end;
        }
        self.bytes.get(start..self.released).unwrap_or_default()
    }
}

impl Worker {
    /// Tells how far the store has come: `sequence` and all changes before it are durable. What was held back for them goes
    /// out with this turn's output. A driver calls this at the beginning of each turn, and begins one when the store has
    /// come further.
    ///
    /// # Errors
    ///
    /// The store is further than the broker. Nothing is let go: a driver stops, as where a store has failed.
    pub fn durable(&mut self, sequence: Sequence) -> Result<(), StoreAhead> {
        if let Some(journal) = &self.fx.journal
            && sequence > self.fx.durable()
        {
            let last = journal.last();
            if sequence > last {
                return Err(StoreAhead {
                    durable: sequence,
                    last,
                });
            }
        }
        // Before anybody is told: who looks without being told sees it, too.
        let before = self.broker.durable.fetch_max(sequence.0, Ordering::AcqRel);
        if let Some(journal) = self.fx.journal.as_ref().filter(|_| before < sequence.0) {
            journal.settled(sequence);
        }
        while let Some((waits_for, _)) = self.fx.waiters.front()
            && *waits_for <= sequence
        {
            match self.fx.waiters.pop_front() {
                Some((_, Waiter::Outbox(outbox))) => self.fx.release(&outbox, sequence),
                Some((_, Waiter::Session(session))) => self.pump(&session),
                Some((_, Waiter::Link(outbox))) => self.verdicts.push_back(Verdict {
                    outbox,
                    ticket: 0,
                    place: 0,
                    answer: Answer::Durable,
                }),
                None => break,
            }
        }
        Ok(())
    }
}

impl Effects {
    /// Notes a change; what is acknowledged next rests on it. Called with what it changes locked.
    pub(crate) fn record(&mut self, change: impl FnOnce() -> Change) {
        if let Some(journal) = &self.journal {
            self.recorded = journal.record(change());
        }
    }

    /// Notes a message for a Session that survives. `share`: the filter of the Shared Subscription that it came for.
    pub(crate) fn enqueue(
        &mut self,
        client_id: &Arc<str>,
        queued: &Queued,
        share: Option<&Arc<str>>,
        packet_identifier: Option<PacketIdentifier>,
    ) -> Option<Arc<Stored>> {
        let journal = Arc::clone(self.journal.as_ref()?);
        let message = self.stored_message(&queued.body);
        self.record(|| Change::Enqueued {
            client_id: Arc::clone(client_id),
            message,
            qos: queued.qos,
            retain: queued.retain,
            subscription_identifiers: queued.identifiers.as_slice().to_vec(),
            share: share.cloned(),
            packet_identifier,
        });
        Some(Stored::new(&journal, client_id, self.recorded))
    }

    pub(crate) fn stored_message(&self, body: &MessageBody) -> StoredMessage {
        StoredMessage::of(body, self.now, self.unix)
    }

    /// Notes the Will Message of a Connection that is bound with `lease`.
    pub(crate) fn store_will(&mut self, identity: &Arc<Identity>, lease: u64, will: &mut WillMessage) {
        let Some(journal) = self.journal.clone() else {
            return;
        };
        let stored = StoredWill {
            identity: Arc::clone(identity),
            lease,
            message: self.stored_message(&will.body),
            expiry: will.expiry,
            delay: will.delay,
        };
        self.record(|| Change::Will { will: stored });
        will.stored = Some(NotedWill::new(&journal, self.recorded));
    }

    /// Changes until what this returns is dropped are stored in one batch. `None`: nothing is stored.
    pub(crate) fn together(&self) -> Option<Together> {
        self.journal.as_ref().map(|journal| journal.together())
    }

    pub(crate) fn durable(&self) -> Sequence {
        Sequence(self.broker.durable.load(Ordering::Acquire))
    }

    /// Whether the store has fallen so far behind that nothing more is taken in for it.
    pub(crate) fn store_is_behind(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|journal| journal.bytes() > self.maximum_undurable_bytes)
    }

    /// Has a Link read again when everything that was noted until now is durable.
    pub(crate) fn wake_link(&mut self, outbox: &Arc<Outbox>) {
        if let Some(journal) = &self.journal {
            let waiter = (journal.last(), Waiter::Link(Arc::clone(outbox)));
            self.waiters.push_back(waiter);
        }
    }

    /// Has a Session pumped when a change is durable.
    pub(crate) fn wake_session(&mut self, session: &Arc<Session>, change: Sequence) {
        self.waiters
            .push_back((change, Waiter::Session(Arc::clone(session))));
    }

    /// Appends an acknowledgement once what it rests on is durable, and never before those that came before it.
    pub(crate) fn acknowledge<E>(
        &mut self,
        outbox: &Arc<Outbox>,
        encode: impl FnOnce(ProtocolVersion, &mut Vec<u8>) -> Result<(), E>,
    ) {
        if self.journal.is_none() {
            return match self.replies.version() {
                Some(version) => self.replies.add(|buffer| encode(version, buffer).is_ok()),
                None => self.reply(outbox, encode),
            };
        }
        let sequence = core::mem::take(&mut self.recorded);
        let mut out = outbox.lock();
        let waits = sequence > self.durable();
        let behind = out.held.as_ref().is_some_and(|held| !held.is_empty());
        if !waits && !behind {
            drop(out);
            return self.reply(outbox, encode);
        }
        if !out.is_open() {
            return;
        }
        let (version, maximum) = (out.version, out.maximum_packet_size as usize);
        let held = out.held.get_or_insert_default();
        let before = held.len();
        held.add(sequence, |buffer| encode(version, buffer).is_ok());
        let added = held.len() - before;
        self.counts.packets_sent += 1;
        if self.notes_packets {
            let encoded = held.last(added).to_vec();
            self.note_encoded(out.noted(outbox), &encoded, version);
        }
        out.recount(&self.broker.slow_bytes);
        if added > maximum {
            outbox.close_locked(&mut out, crate::error::CloseCause::PacketTooLarge);
            self.mark_dirty(outbox, &mut out);
        }
        let too_much = self.has_too_many_replies(&out);
        drop(out);
        if waits {
            self.waiters
                .push_back((sequence, Waiter::Outbox(Arc::clone(outbox))));
        }
        if too_much {
            self.close(outbox, crate::error::CloseCause::QuotaExceeded);
        }
    }

    /// Lets nothing go to a Connection before what was noted last is durable: its CONNACK rests on it.
    pub(crate) fn hold_connection(&mut self, outbox: &Arc<Outbox>) {
        let sequence = core::mem::take(&mut self.recorded);
        if sequence > self.durable() {
            let mut out = outbox.lock();
            out.gate = sequence;
            out.recount(&self.broker.slow_bytes);
            drop(out);
            self.waiters
                .push_back((sequence, Waiter::Outbox(Arc::clone(outbox))));
        }
    }

    fn release(&mut self, outbox: &Arc<Outbox>, durable: Sequence) {
        let mut out = outbox.lock();
        out.release(durable, &mut self.pool);
        out.recount(&self.broker.slow_bytes);
        self.mark_dirty(outbox, &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_that_wait_for_the_same_change_share_a_mark() {
        let mut held = Held::default();
        let add = |held: &mut Held, sequence: u64, byte: u8| {
            held.add(Sequence(sequence), |buffer| {
                buffer.push(byte);
                true
            });
        };
        add(&mut held, 3, b'a');
        for _ in 0..100 {
            add(&mut held, 0, b'b');
        }
        assert_eq!(held.marks.len(), 1);
        add(&mut held, 5, b'c');
        add(&mut held, 4, b'd');
        assert_eq!(held.marks.len(), 2);

        assert_eq!(held.release(Sequence(2)), b"");
        let first = held.release(Sequence(3));
        assert!(first.starts_with(b"ab") && first.len() == 101);
        assert_eq!(held.len(), 2);
        add(&mut held, 0, b'e');
        assert_eq!(held.release(Sequence(4)), b"");
        assert_eq!(held.release(Sequence(5)), b"cde");
        assert!(held.is_empty());
    }
}
