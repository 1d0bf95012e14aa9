//! Shared Subscriptions: which member receives a message. MQTT 5.0 §4.8.2.

use crate::router::Target;

/// The members of one Shared Subscription, and whose turn it is on this worker.
pub(crate) struct Group {
    members: Vec<Target>,
    turn: usize,
}

impl Group {
    pub(crate) fn new(members: Vec<Target>) -> Group {
        Group { members, turn: 0 }
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
        for online in [true, false] {
            for step in 0..count {
                let place = (self.turn + step) % count;
                let Some(member) = self.members.get_mut(place) else {
                    continue;
                };
                if member.session.is_online() == online && take(member) {
                    self.turn = (place + 1) % count;
                    return true;
                }
            }
        }
        false
    }
}
