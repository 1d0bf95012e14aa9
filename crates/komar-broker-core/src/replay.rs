//! What a store makes of the changes that it has kept: each does one thing to the contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access::Identity;
use crate::store::{
    Change, Contents, PersistBatch, Sequence, StoredDelivery, StoredRetained, StoredSession,
    StoredSubscription, StoredWill,
};

/// The sum of changes, made of them one after the other: for a store that keeps the changes themselves and reads them at the
/// start, or keeps their sum beside them. It is strict: a change that speaks of something which no change before it has brought
/// is an error.
///
/// ```
/// use komar_broker_core::store::{Contents, PersistBatch, Replay, ReplayError};
///
/// /// What is to be given to `Broker::restore`: an older sum, and all that was committed behind it.
/// fn recover(older: Contents, batches: Vec<PersistBatch>) -> Result<Contents, ReplayError> {
///     let mut replay = Replay::of(older);
///     for batch in batches {
///         replay.add(batch)?;
///     }
///     Ok(replay.contents())
/// }
/// # assert!(recover(Contents::default(), Vec::new()).is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Replay {
    last: Sequence,
    /// With the number of the change that they began with.
    sessions: BTreeMap<Arc<str>, (Sequence, StoredSession)>,
    wills: BTreeMap<Sequence, StoredWill>,
    retained: BTreeMap<String, StoredRetained>,
}

/// What does not fit together in the changes that a store has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A batch is missing, or comes again.
    #[error("change {} follows change {}", first.0, last.0)]
    Order {
        /// The last change that there is.
        last: Sequence,
        /// The first one of the batch.
        first: Sequence,
    },
    /// A change that speaks of what is not there.
    #[error("change {} does not fit to those before it", number.0)]
    Change {
        /// Its number.
        number: Sequence,
    },
}

impl Replay {
    /// Goes on from what was there at the beginning.
    pub fn of(contents: Contents) -> Replay {
        let sessions = contents.sessions.into_iter();
        let retained = contents.retained.into_iter();
        Replay {
            last: contents.last,
            sessions: sessions
                .map(|session| (Arc::clone(&session.identity.client_id), (Sequence(0), session)))
                .collect(),
            wills: contents.wills,
            retained: retained
                .map(|retained| (retained.message.topic_name().to_owned(), retained))
                .collect(),
        }
    }

    /// The contents, for [`Broker::restore`](crate::Broker::restore).
    pub fn contents(&self) -> Contents {
        Contents {
            last: self.last,
            sessions: self
                .sessions
                .values()
                .map(|(_, session)| session.clone())
                .collect(),
            wills: self.wills.clone(),
            retained: self.retained.values().cloned().collect(),
        }
    }

    /// The number of the last change.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// Adds a batch.
    ///
    /// # Errors
    ///
    /// It is not the next one, or does not fit to what is there.
    pub fn add(&mut self, batch: PersistBatch) -> Result<(), ReplayError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (last, first) = (self.last, batch.first());
        if first != Sequence(last.0 + 1) {
            return Err(ReplayError::Order { last, first });
        }
        batch
            .changes
            .into_iter()
            .try_for_each(|change| self.apply(change))
    }

    /// Adds the next change.
    ///
    /// # Errors
    ///
    /// It does not fit to what is there.
    pub fn apply(&mut self, change: Change) -> Result<(), ReplayError> {
        self.last.0 += 1;
        let number = self.last;
        self.try_apply(number, change)
            .ok_or(ReplayError::Change { number })
    }

    fn try_apply(&mut self, number: Sequence, change: Change) -> Option<()> {
        match change {
            Change::SessionBound {
                identity,
                lease,
                session_expiry_interval,
            } => self.bind(number, identity, lease, session_expiry_interval)?,
            Change::SessionUnbound {
                client_id,
                session_expiry_interval,
                at,
            } => {
                let session = self.session(&client_id)?;
                session.session_expiry_interval = session_expiry_interval;
                session.unbound_at = Some(at);
            }
            Change::SessionEnded { client_id } => {
                self.sessions.remove(&client_id)?;
            }
            Change::Subscribed {
                client_id,
                filter,
                options,
                identifier,
            } => {
                let subscription = StoredSubscription { options, identifier };
                let subscriptions = &mut self.session(&client_id)?.subscriptions;
                subscriptions.insert(filter, subscription);
            }
            Change::Unsubscribed { client_id, filter } => {
                self.session(&client_id)?.subscriptions.remove(&filter)?;
            }
            Change::Enqueued {
                client_id,
                message,
                qos,
                retain,
                subscription_identifiers,
                share,
                packet_identifier,
            } => {
                let delivery = StoredDelivery {
                    message: Some(message),
                    withheld: false,
                    qos,
                    retain,
                    subscription_identifiers,
                    share,
                    sent: packet_identifier.map(|identifier| (number, identifier)),
                };
                self.session(&client_id)?.messages.insert(number, delivery);
            }
            Change::Sent {
                client_id,
                message,
                packet_identifier,
            } => {
                let Some(session) = self.holder(&client_id, message) else {
                    return Some(());
                };
                session.messages.get_mut(&message)?.sent = Some((number, packet_identifier));
            }
            Change::Received { client_id, message } => {
                let Some(session) = self.holder(&client_id, message) else {
                    return Some(());
                };
                let delivery = session.messages.get_mut(&message)?;
                (delivery.message, delivery.withheld) = (None, false);
            }
            Change::Withheld { client_id, message } => {
                let Some(session) = self.holder(&client_id, message) else {
                    return Some(());
                };
                let delivery = session.messages.get_mut(&message)?;
                (delivery.message, delivery.withheld) = (None, true);
            }
            Change::Dequeued { client_id, message } => {
                let Some(session) = self.holder(&client_id, message) else {
                    return Some(());
                };
                session.messages.remove(&message)?;
            }
            Change::Unreleased {
                client_id,
                packet_identifier,
                message,
            } => {
                let unreleased = &mut self.session(&client_id)?.unreleased;
                unreleased.insert(packet_identifier, message);
            }
            Change::Released {
                client_id,
                packet_identifier,
            } => {
                self.session(&client_id)?.unreleased.remove(&packet_identifier)?;
            }
            Change::Will { will } => {
                self.wills.insert(number, will);
            }
            Change::WillOver { will } => {
                self.wills.remove(&will)?;
            }
            Change::Retained { retained } => {
                let name = retained.message.topic_name().to_owned();
                self.retained.insert(name, retained);
            }
            Change::RetainedCleared { topic_name } => {
                self.retained.remove(&*topic_name)?;
            }
        }
        Some(())
    }

    fn bind(
        &mut self,
        number: Sequence,
        identity: Arc<Identity>,
        lease: u64,
        session_expiry_interval: u32,
    ) -> Option<()> {
        match self.sessions.get_mut(&identity.client_id) {
            Some((_, session)) if session.lease < lease => {
                session.identity = identity;
                session.lease = lease;
                session.session_expiry_interval = session_expiry_interval;
                session.unbound_at = None;
                Some(())
            }
            None if lease == 1 => {
                let session = StoredSession {
                    identity: Arc::clone(&identity),
                    lease,
                    session_expiry_interval,
                    unbound_at: None,
                    subscriptions: BTreeMap::new(),
                    messages: BTreeMap::new(),
                    unreleased: BTreeMap::new(),
                };
                self.sessions
                    .insert(Arc::clone(&identity.client_id), (number, session));
                Some(())
            }
            _ => None,
        }
    }

    fn session(&mut self, client_id: &str) -> Option<&mut StoredSession> {
        self.sessions.get_mut(client_id).map(|(_, session)| session)
    }

    /// The Session that a message is of. None if that one is over: what it held is let go of behind its end.
    fn holder(&mut self, client_id: &str, message: Sequence) -> Option<&mut StoredSession> {
        let (begin, session) = self.sessions.get_mut(client_id)?;
        (*begin < message).then_some(session)
    }
}
