//! Messages that wait for a Session: it is not connected, its send quota is used up, or its reader is slow.

use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::QoS;

use super::counted::Counted;
use super::inflight::Queued;
use crate::now::Millis;
use crate::sync::{AtomicUsize, Ordering};

/// Messages that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    bytes: Counted,
    /// Bytes of their payloads.
    payload: usize,
    /// How many of them are QoS 0.
    qos0: usize,
    /// None expires before this moment.
    earliest_expiry: Millis,
    /// It was told that a message is lost for want of room, and nothing was taken out since: one report an episode.
    told: bool,
}

impl Queue {
    /// Adds a message unless a bound is met; the newest is the one that is dropped. Says whether it was added.
    pub(crate) fn push(
        &mut self,
        message: Queued,
        bounds: Bounds,
        now: Millis,
        total: &Arc<AtomicUsize>,
    ) -> bool {
        if !self.has_room(&message, bounds, total) {
            self.drop_expired(now);
            if !self.has_room(&message, bounds, total) {
                return false;
            }
        }
        self.restore(message, total);
        true
    }

    /// A message for which there is no room is lost. Says whether it is the first of an episode.
    pub(crate) fn lose(&mut self) -> bool {
        !core::mem::replace(&mut self.told, true)
    }

    /// Adds a message whatever the bounds: it was there before.
    pub(crate) fn restore(&mut self, message: Queued, total: &Arc<AtomicUsize>) {
        self.bytes.add(memory(&message), total);
        self.payload = self.payload.saturating_add(message.body.payload_len());
        self.qos0 += usize::from(message.qos == QoS::AtMostOnce);
        let expires = message.body.message().expires;
        if self.messages.is_empty() || expires < self.earliest_expiry {
            self.earliest_expiry = expires;
        }
        self.messages.push_back(message);
    }

    /// Takes out what `keep` refuses.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Queued) -> bool) {
        let Queue {
            messages,
            bytes,
            payload,
            qos0,
            ..
        } = self;
        messages.retain(|message| {
            let kept = keep(message);
            if !kept {
                bytes.subtract(memory(message));
                *payload = payload.saturating_sub(message.body.payload_len());
                *qos0 -= usize::from(message.qos == QoS::AtMostOnce);
            }
            kept
        });
    }

    fn has_room(&self, message: &Queued, bounds: Bounds, total: &AtomicUsize) -> bool {
        let with_it = |bytes: usize| bytes.saturating_add(memory(message));
        bounds.messages.is_none_or(|limit| self.messages.len() < limit)
            && bounds.payload.is_none_or(|limit| self.payload < limit)
            && with_it(total.load(Ordering::Relaxed)) <= bounds.total
    }

    /// Messages that nobody will get any more must not take the place of those that somebody will. v5 [MQTT-3.3.2-5]
    fn drop_expired(&mut self, now: Millis) {
        if self.messages.is_empty() || self.earliest_expiry > now {
            return;
        }
        let mut earliest = Millis::NEVER;
        self.retain(|message| {
            let message = message.body.message();
            let kept = !message.is_expired(now);
            if kept {
                earliest = earliest.min(message.expires);
            }
            kept
        });
        self.earliest_expiry = earliest;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.messages.iter()
    }

    pub(crate) fn newest(&mut self) -> Option<&mut Queued> {
        self.messages.back_mut()
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let message = self.messages.pop_front()?;
        self.bytes.subtract(memory(&message));
        self.payload = self.payload.saturating_sub(message.body.payload_len());
        self.qos0 -= usize::from(message.qos == QoS::AtMostOnce);
        self.told = false;
        Some(message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn has_qos0(&self) -> bool {
        self.qos0 > 0
    }

    /// The Session is over: what another member of a Shared Subscription is to get.
    pub(crate) fn add_orphans(self, orphans: &mut Vec<Queued>) {
        orphans.extend(
            self.messages
                .into_iter()
                .filter(|message| message.group.is_some()),
        );
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: Option<usize>,
    /// As Mosquitto counts: bytes of payloads, and the message that reaches the limit is still taken.
    pub(crate) payload: Option<usize>,
    /// Of all Sessions, about what messages take of memory.
    pub(crate) total: usize,
}

/// About what a message takes that waits.
fn memory(message: &Queued) -> usize {
    PLACE + message.body.len()
}

/// Its place in the queue, which grows by doubling, and what allocations take beside their bytes. Measured (2026-11-26): 86
/// bytes a message.
const PLACE: usize = 100;
