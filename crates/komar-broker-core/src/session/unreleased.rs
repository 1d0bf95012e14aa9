//! Inbound QoS 2 messages between PUBLISH and PUBREL.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::FixedState;
use komar_codec::PacketIdentifier;

use super::counted::Counted;
use crate::access::Identity;
use crate::config::Limits;
use crate::message::MessageBody;
use crate::sync::{AtomicUsize, Ordering};

/// Messages that the client has sent and not released. They are routed when it releases them, so a message that
/// is sent twice is routed once. v5 [MQTT-4.3.3-10], v5 [MQTT-4.3.3-12]
#[derive(Debug, Default)]
pub(crate) struct Unreleased {
    /// At most 65,535 small numbers: a hasher that resists flooding is not needed.
    messages: HashMap<PacketIdentifier, Option<MessageBody>, FixedState>,
    /// Who sent those that did not come by the Session's present user and listener.
    others: HashMap<PacketIdentifier, Arc<Identity>, FixedState>,
    bytes: Counted,
}

/// Why a message was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More messages than the Receive Maximum.
    TooMany,
    /// More bytes than the limit.
    TooLarge,
}

/// What a PUBREL releases.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// `None`: nothing that is to be routed.
    pub(crate) body: Option<MessageBody>,
    /// Who sent it, if it did not come by the Session's present user and listener.
    pub(crate) sender: Option<Arc<Identity>>,
}

impl Unreleased {
    /// Keeps a message until it is released. `None` stands for one that is acknowledged and not routed (denied,
    /// or too large for the limit on payloads). A known identifier gets the newer message.
    pub(crate) fn insert(
        &mut self,
        identifier: PacketIdentifier,
        body: Option<MessageBody>,
        maximum: usize,
        limits: &Limits,
        total: &Arc<AtomicUsize>,
    ) -> Result<(), Refused> {
        let messages = self.messages.len();
        let entry = self.messages.entry(identifier);
        let old = match &entry {
            Entry::Vacant(_) if messages >= maximum => return Err(Refused::TooMany),
            Entry::Vacant(_) => 0,
            Entry::Occupied(replaced) => memory(replaced.get().as_ref()),
        };
        let new = memory(body.as_ref());
        let with_it = |bytes: usize| bytes.saturating_sub(old).saturating_add(new);
        if with_it(self.bytes.bytes()) > limits.maximum_unreleased_bytes
            || with_it(total.load(Ordering::Relaxed)) > limits.maximum_total_queued_bytes
        {
            return Err(Refused::TooLarge);
        }
        self.bytes.subtract(old);
        self.bytes.add(new, total);
        entry.insert_entry(body);
        if !self.others.is_empty() {
            self.others.remove(&identifier);
        }
        Ok(())
    }

    /// Keeps a message that was kept before a restart, whatever the bounds.
    pub(crate) fn restore(
        &mut self,
        identifier: PacketIdentifier,
        body: Option<MessageBody>,
        total: &Arc<AtomicUsize>,
    ) {
        self.bytes.add(memory(body.as_ref()), total);
        self.messages.insert(identifier, body);
    }

    /// Another user takes the Session over, or another listener's: what is there was sent by `sender`, who might publish it.
    pub(crate) fn change_hands(&mut self, sender: &Arc<Identity>) {
        for identifier in self.messages.keys() {
            let sender = || Arc::clone(sender);
            self.others.entry(*identifier).or_insert_with(sender);
        }
    }

    /// Whether there is one of that user's, the Session's present one, that will be routed.
    pub(crate) fn holds(&self, identifier: PacketIdentifier, user: &Identity) -> bool {
        self.messages.get(&identifier).is_some_and(Option::is_some)
            && self
                .others
                .get(&identifier)
                .is_none_or(|sender| sender.is_same_user(user))
    }

    /// PUBREL: gives the message out. `None` if the identifier is not known.
    pub(crate) fn release(&mut self, identifier: PacketIdentifier) -> Option<Released> {
        let body = self.messages.remove(&identifier)?;
        self.bytes.subtract(memory(body.as_ref()));
        let sender = match self.others.is_empty() {
            true => None,
            false => self.others.remove(&identifier),
        };
        Some(Released { body, sender })
    }

    pub(crate) fn bodies(&self) -> impl Iterator<Item = &MessageBody> {
        self.messages.values().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// About what a message takes that is not released, or an identifier with none.
fn memory(body: Option<&MessageBody>) -> usize {
    ENTRY + body.map_or(0, |body| ALLOCATION + body.len())
}

/// An entry of the table, which grows by doubling.
const ENTRY: usize = 48;
/// What an allocation takes beside its bytes.
const ALLOCATION: usize = 32;
