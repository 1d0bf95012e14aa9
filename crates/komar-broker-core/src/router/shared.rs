//! Shared Subscriptions: which member receives a message. MQTT 5.0 §4.8.2.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use komar_topic::GroupId;

use crate::router::Target;
use crate::sync::{AtomicUsize, Ordering};

/// The members of one Shared Subscription, and whose turn it is.
pub(crate) struct Group {
    id: GroupId,
    members: Vec<Target>,
    /// The same for all Topic Names and workers, so that members take turns even if no two messages share a name.
    turn: Arc<AtomicUsize>,
    /// The filter as the members write it, if messages are stored: groups are numbered anew after a restart.
    pub(crate) share: Option<Arc<str>>,
}

/// Whose turn it is in each group.
#[derive(Default)]
pub(crate) struct Turns {
    /// Counted up by the index, not chosen by clients: a hasher that resists flooding is not needed.
    by_group: HashMap<GroupId, Arc<AtomicUsize>, FixedState>,
    /// Groups that are over are looked for when there are so many.
    prune_at: usize,
}

impl Turns {
    pub(crate) fn of(&mut self, group: GroupId) -> Arc<AtomicUsize> {
        if self.by_group.len() >= self.prune_at {
            // One that no lookup remembers begins anew, which costs nothing but the order of one round.
            self.by_group.retain(|_, turn| Arc::strong_count(turn) > 1);
            self.prune_at = (self.by_group.len() * 2).max(PRUNE_FROM);
        }
        Arc::clone(self.by_group.entry(group).or_default())
    }
}

const PRUNE_FROM: usize = 1024;

impl Group {
    pub(crate) fn new(id: GroupId, members: Vec<Target>, turn: Arc<AtomicUsize>) -> Group {
        Group {
            id,
            members,
            turn,
            share: None,
        }
    }

    pub(crate) fn id(&self) -> GroupId {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn members_mut(&mut self) -> impl Iterator<Item = &mut Target> {
        self.members.iter_mut()
    }

    /// Offers a message to one member after the other until one takes it: in turn, those that are connected first.
    pub(crate) fn offer(&mut self, mut take: impl FnMut(&mut Target) -> bool) -> bool {
        let count = self.members.len();
        let turn = self.turn.load(Ordering::Relaxed);
        for connected in [true, false] {
            for step in 0..count {
                let place = turn.wrapping_add(step) % count;
                let Some(member) = self.members.get_mut(place) else {
                    continue;
                };
                if connected {
                    // Asked once: who comes online while others are asked is offered it with those that are away.
                    member.is_first_choice = member.session.is_online();
                }
                if member.is_first_choice == connected && take(member) {
                    self.turn.store((place + 1) % count, Ordering::Relaxed);
                    return true;
                }
            }
        }
        false
    }
}
