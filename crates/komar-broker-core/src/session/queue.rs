//! Messages that wait for a Session: it is not connected, its send quota is used up, or its reader is slow.

use std::collections::VecDeque;

use super::inflight::Queued;

/// Messages that wait, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    bytes: usize,
    /// A message was refused and nothing was taken out since: one report an episode.
    full: bool,
}

impl Queue {
    /// Adds a message unless a bound is met; the newest is the one that is dropped. `Err(true)` is the first of
    /// an episode.
    pub(crate) fn push(&mut self, message: Queued, bounds: Bounds) -> Result<(), bool> {
        let bytes = self.bytes.saturating_add(message.body.len());
        let too_many = bounds.messages.is_some_and(|limit| self.messages.len() >= limit);
        let too_large = bounds.bytes.is_some_and(|limit| bytes > limit);
        if too_many || too_large {
            let first = !self.full;
            self.full = true;
            return Err(first);
        }
        self.bytes = bytes;
        self.messages.push_back(message);
        Ok(())
    }

    /// Takes out what `keep` refuses.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Queued) -> bool) {
        let bytes = &mut self.bytes;
        self.messages.retain(|message| {
            let kept = keep(message);
            if !kept {
                *bytes = bytes.saturating_sub(message.body.len());
            }
            kept
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.messages.iter()
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let message = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.body.len());
        self.full = false;
        Some(message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: Option<usize>,
    pub(crate) bytes: Option<usize>,
}
