//! Retained messages that a new Subscription is to receive, sent as fast as the client takes them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use komar_codec::QoS;
use komar_topic::Cursor;

use super::inflight::Queued;
use crate::access::Identity;
use crate::message::SubscriptionIdentifiers;

/// The walks of one Session. There may be as many as it has Subscriptions, so nothing looks through all of them.
#[derive(Default)]
pub(crate) struct RetainedWalks {
    /// By their numbers, so the oldest first. The number names the walk while a worker has its slice.
    walks: BTreeMap<u32, RetainedWalk>,
    /// The number of the walk with each filter.
    numbers: BTreeMap<Arc<str>, u32>,
    /// Some worker has the Session on its list, so no other has to.
    pub(crate) is_listed: bool,
}

/// Where the delivery of a Subscription's retained messages stands. MQTT 5.0 §3.3.1.3.
struct RetainedWalk {
    filter: Arc<str>,
    /// `None` while a worker looks for messages with it.
    slice: Option<Slice>,
}

/// What a worker needs to go on with a walk.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) wanted: Wanted,
    pub(crate) progress: Progress,
    /// Found and not sent yet.
    pub(crate) found: VecDeque<Found>,
    /// How the world was when they were found.
    pub(crate) looked: Looked,
    /// Whom a deliver hook has let have what is found, if it is known.
    pub(crate) user: Option<Arc<Identity>>,
}

/// Which messages, and how they are sent.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) filter: Arc<str>,
    pub(crate) maximum_qos: QoS,
    pub(crate) identifiers: SubscriptionIdentifiers,
    /// Retained messages stored after the Subscription was made came live and are left out here.
    pub(crate) newest: u64,
}

/// A retained message on its way, and which one it was.
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) queued: Queued,
}

/// What found messages depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) retained: u64,
    pub(crate) access: u64,
    pub(crate) identity: u32,
}

#[derive(Default)]
pub(crate) enum Progress {
    #[default]
    Start,
    After(Cursor),
    End,
}

impl Looked {
    /// Whether READ access is what it was.
    pub(crate) fn same_rules(self, other: Looked) -> bool {
        self.access == other.access && self.identity == other.identity
    }
}

impl RetainedWalks {
    /// Begins walks. An older one with the same filter ends, so there are no more of them than Subscriptions.
    pub(crate) fn add(&mut self, wanted: Vec<Wanted>, last_number: &mut u32) {
        for wanted in wanted {
            *last_number = last_number.wrapping_add(1);
            let filter = Arc::clone(&wanted.filter);
            if let Some(older) = self.numbers.insert(Arc::clone(&filter), *last_number) {
                self.walks.remove(&older);
            }
            let slice = Some(Slice {
                wanted,
                ..Slice::default()
            });
            self.walks.insert(*last_number, RetainedWalk { filter, slice });
        }
    }

    /// The Subscription is gone.
    pub(crate) fn stop(&mut self, filter: &str) {
        if let Some(number) = self.numbers.remove(filter) {
            self.walks.remove(&number);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.walks.is_empty()
    }

    /// Whether the caller has to put the Session on its list: there is a walk, and it is on no list.
    pub(crate) fn list(&mut self) -> bool {
        let listed = !self.walks.is_empty() && !self.is_listed;
        self.is_listed |= listed;
        listed
    }

    /// The slice of the oldest walk, unless a worker has it.
    pub(crate) fn first_mut(&mut self) -> Option<&mut Slice> {
        self.walks.values_mut().next()?.slice.as_mut()
    }

    /// Lends the slice of the oldest walk, with the walk's number.
    pub(crate) fn lend(&mut self) -> Option<(u32, Slice)> {
        let (number, walk) = self.walks.iter_mut().next()?;
        walk.slice.take().map(|slice| (*number, slice))
    }

    /// Takes a slice back; it is forgotten if its walk was stopped meanwhile.
    pub(crate) fn give_back(&mut self, number: u32, slice: Slice) {
        if let Some(walk) = self.walks.get_mut(&number) {
            walk.slice = Some(slice);
        }
    }

    /// Puts the slice of the oldest walk back, or ends the walk if there is nothing left of it.
    pub(crate) fn put_first(&mut self, slice: Slice) {
        let is_over = slice.found.is_empty() && matches!(slice.progress, Progress::End);
        let Some(mut first) = self.walks.first_entry() else {
            return;
        };
        if is_over {
            self.numbers.remove(&first.remove().filter);
        } else {
            first.get_mut().slice = Some(slice);
        }
    }
}
