//! What clients may expect of a broker that has lost its power: it is what it was at an earlier moment, and nothing that
//! somebody was told lies behind that moment.

use std::collections::BTreeSet;

use super::{ClientNumber, Expected, Model, Received, Session};

/// What clients have been told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Messages that their publishers were told have arrived: PUBACK, PUBCOMP.
    pub(crate) arrived: BTreeSet<u64>,
    /// Subscriptions that were granted by SUBACK and not given up, and those that were given up by UNSUBACK.
    pub(crate) subscribed: BTreeSet<(ClientNumber, String)>,
    pub(crate) unsubscribed: BTreeSet<(ClientNumber, String)>,
    /// QoS 2 messages that their publishers were told are kept: PUBREC.
    pub(crate) recorded: BTreeSet<(ClientNumber, u16)>,
}

impl Told {
    /// SUBACK or UNSUBACK.
    pub(crate) fn answered(&mut self, client: ClientNumber, is_subscribed: bool, filter: String) {
        let (now, before) = if is_subscribed {
            (&mut self.subscribed, &mut self.unsubscribed)
        } else {
            (&mut self.unsubscribed, &mut self.subscribed)
        };
        before.remove(&(client, filter.clone()));
        now.insert((client, filter));
    }
}

impl Session {
    /// It outlives its Connection, and so the broker.
    fn survives(&self) -> bool {
        self.expiry != Some(0)
    }

    fn expects(&self, number: u64) -> bool {
        self.expected
            .iter()
            .any(|expected| expected.message.number == number)
    }
}

impl Expected {
    fn was_promised(&self, told: &Told) -> bool {
        // What came for a Shared Subscription is looked at as such.
        let is_its_own = self.walk.is_none() && self.for_group.is_none();
        self.must && self.qos > 0 && is_its_own && told.arrived.contains(&self.message.number)
    }
}

impl Model {
    /// Whether all that clients have been told is in `kept`, an earlier moment of this model.
    pub(crate) fn check_kept(&self, kept: &Model, told: &Told) -> Result<(), String> {
        for (client, session) in self.sessions.iter().filter(|(_, session)| session.survives()) {
            let Some(then) = kept.sessions.get(client) else {
                return Err(format!("the session of c{client} is lost"));
            };
            let lost = session
                .expected
                .iter()
                .find(|expected| expected.was_promised(told) && !then.expects(expected.message.number));
            if let Some(lost) = lost {
                return Err(format!(
                    "acknowledged, and lost for c{client}: {:?}",
                    lost.message
                ));
            }
            let unreleased = session.unreleased.keys().find(|identifier| {
                told.recorded.contains(&(*client, **identifier)) && !then.unreleased.contains_key(identifier)
            });
            if let Some(identifier) = unreleased {
                return Err(format!(
                    "c{client} was sent PUBREC for {identifier}, which is lost"
                ));
            }
            let subscribed = session.subscriptions.keys().find(|filter| {
                told.subscribed.contains(&(*client, (*filter).clone()))
                    && !then.subscriptions.contains_key(*filter)
            });
            if let Some(filter) = subscribed {
                return Err(format!("the subscription of c{client} to {filter} is lost"));
            }
            let unsubscribed = then.subscriptions.keys().find(|filter| {
                told.unsubscribed.contains(&(*client, (*filter).clone()))
                    && !session.subscriptions.contains_key(*filter)
            });
            if let Some(filter) = unsubscribed {
                return Err(format!("the subscription of c{client} to {filter} is back"));
            }
        }
        for (topic, retained) in &self.retained {
            let number = retained.message.number;
            let is_there = kept
                .retained
                .get(topic)
                .is_some_and(|then| then.message.number == number);
            if retained.message.qos > 0 && told.arrived.contains(&number) && !is_there {
                return Err(format!("acknowledged, and not retained: {:?}", retained.message));
            }
        }
        for message in self.for_groups.iter().filter(|message| message.must) {
            let number = message.message.number;
            let is_there = kept
                .for_groups
                .iter()
                .any(|then| then.message.number == number && then.share == message.share);
            let share = &message.share;
            let may_be_lost = self.was_perhaps_held_by_a_mortal(share)
                || kept.was_perhaps_held_by_a_mortal(share)
                || kept.ended_members.get(share) != self.ended_members.get(share);
            if told.arrived.contains(&number) && !is_there && !may_be_lost {
                return Err(format!(
                    "acknowledged, and lost for {}: {message:?}",
                    message.share
                ));
            }
        }
        Ok(())
    }

    /// A PUBLISH that came after this moment, perhaps on another Connection, and perhaps after what is under way here was
    /// acknowledged: how many are under way at once is not said.
    pub(crate) fn received_since(&mut self, client: ClientNumber, came: &Received) -> Result<(), String> {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.held.values_mut().for_each(|held| held.here = false);
        }
        self.received(client, came)
    }

    /// Whether there is a Session, and it survives the broker.
    pub(crate) fn survives(&self, client: ClientNumber) -> bool {
        self.sessions.get(&client).is_some_and(Session::survives)
    }

    /// Whether a message of a Shared Subscription may be with a member that does not survive.
    fn was_perhaps_held_by_a_mortal(&self, share: &str) -> bool {
        self.sessions
            .values()
            .any(|session| !session.survives() && session.was_member.contains(share))
    }

    /// The broker begins again from this moment; `present` is what it was when the power went. All Connections are broken.
    pub(crate) fn restart(&mut self, present: &Model) {
        self.order = present.order;
        self.shares.extend(present.shares.clone());
        let mortal: BTreeSet<String> = self
            .for_groups
            .iter()
            .map(|message| message.share.clone())
            .filter(|share| self.was_perhaps_held_by_a_mortal(share))
            .collect();
        for message in &mut self.for_groups {
            let holder = message.holder.and_then(|holder| self.sessions.get(&holder));
            if holder.is_some_and(|holder| !holder.survives()) {
                message.holder = None;
            }
            message.must &= message.message.qos > 0 && !mortal.contains(&message.share);
        }
        for session in self.sessions.values_mut() {
            // Who sent what is not released is not stored: it is taken for the user's that had the Session last.
            for message in session.unreleased.values_mut().flatten() {
                message.user = session.user;
            }
            // QoS 0 is not kept, nor is what was still to be sent of retained messages.
            session.expected.retain(|expected| expected.qos > 0);
            for expected in session
                .expected
                .iter_mut()
                .filter(|expected| expected.walk.is_some())
            {
                expected.must = false;
            }
        }
        let mut connected: Vec<ClientNumber> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.connected)
            .map(|(client, _)| *client)
            .collect();
        connected.sort_by_key(|client| self.sessions[client].connected_at);
        // Nobody is there when they are published.
        let mut wills = Vec::new();
        for client in connected {
            if let Some(will) = self.lose(client) {
                wills.push((client, will));
            }
        }
        for (client, will) in wills {
            self.publish_will(client, will);
        }
    }
}
