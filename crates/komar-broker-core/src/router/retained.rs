//! Retained messages: kept one a Topic Name, given to new Subscriptions. MQTT 5.0 §3.3.1.3.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use komar_codec::QoS;
use komar_topic::TopicFilter;

use crate::access::{Access, Action, Identity};
use crate::broker::Shared;
use crate::config::BrokerConfig;
use crate::message::{Message, MessageBody};
use crate::router::{Origin, may_receive};
use crate::session::Session;
use crate::session::inflight::Queued;
use crate::session::retained_walk::{Found, Looked, Progress, RetainedWalk};
use crate::worker::{Effects, Worker};

/// A retained message and when it was stored, in the order of all retained messages.
#[derive(Clone)]
pub(crate) struct RetainedMessage {
    pub(crate) body: MessageBody,
    sequence: u64,
    /// Who published it, for [`check_retain_source`](crate::BrokerConfig::check_retain_source); `None` for the broker
    /// itself.
    source: Option<Arc<Identity>>,
}

impl RetainedMessage {
    /// Whether its publisher may still publish it.
    fn is_rightful(&self, access: &Access) -> bool {
        let name = self.body.message().topic_name;
        let source = self.source.as_deref();
        source.is_none_or(|source| access.allows(&source.subject(), Action::Publish(name)))
    }
}

/// Stores the message, or removes the one that is stored if the payload is empty. v5 [MQTT-3.3.1-6]
pub(super) fn keep(
    fx: &mut Effects,
    broker: &Shared,
    config: &BrokerConfig,
    origin: Origin<'_>,
    mut message: Message<'_>,
) {
    let mut tree = broker.retained.write();
    if message.payload.is_empty() {
        // v5 [MQTT-3.3.1-7]
        let old = tree.remove(message.topic_name).map(|(old, _)| old);
        broker
            .retained_bytes
            .fetch_sub(payload_len(old), Ordering::Relaxed);
        broker.retained_sequence.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let limit = config.limits.maximum_retained_messages;
    if limit.is_some_and(|limit| tree.len() >= limit) && tree.get(message.topic_name).is_none() {
        broker.counters.dropped();
        return;
    }
    let sequence = broker.retained_sequence.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(maximum) = config.retained_expiry_maximum {
        message.expires = message.expires.min(fx.now.after(maximum));
    }
    let retained = RetainedMessage {
        body: message.to_body(&mut fx.scratch),
        sequence,
        source: origin.publisher.map(Arc::clone),
    };
    let (old, _) = tree.insert(message.topic_name, retained);
    broker
        .retained_bytes
        .fetch_add(message.payload.len(), Ordering::Relaxed);
    broker
        .retained_bytes
        .fetch_sub(payload_len(old), Ordering::Relaxed);
}

fn payload_len(old: Option<RetainedMessage>) -> usize {
    old.map_or(0, |old| old.body.message().payload.len())
}

impl Worker {
    /// Sends retained messages to Sessions that have walks, a slice each, until the turn's share is used up.
    pub(crate) fn walk_retained(&mut self) {
        for _ in 0..SLICES_A_TURN {
            let Some(session) = self.fx.walking.pop_front() else {
                return;
            };
            if self.walk_slice(&session) {
                self.fx.walking.push_back(session);
            }
        }
    }

    /// Sends one slice to one Session. Says whether there is more that can be sent now.
    fn walk_slice(&mut self, session: &Arc<Session>) -> bool {
        let mut state = session.lock();
        if state.ended || state.outbox.is_none() {
            return false;
        }
        let Some(mut walk) = state.walks().pop_front() else {
            return false;
        };
        let looked = Looked {
            retained: self.broker.retained_sequence.load(Ordering::Relaxed),
            access: self.access.epoch,
            identity: session.identity_epoch(),
        };
        if walk.found.is_empty() || walk.looked != looked {
            // No lock is held while the tree is read and READ access is asked.
            drop(state);
            if walk.found.is_empty() {
                self.find_more(session, &mut walk);
            } else {
                self.look_again(session, &mut walk);
            }
            walk.looked = looked;
            state = session.lock();
        }
        while let Some(next) = walk.found.front() {
            if !state.send_retained(&mut self.fx, &self.config, &next.queued) {
                // Room or quota will call for the rest.
                state.walks().push_front(walk);
                return false;
            }
            walk.found.pop_front();
        }
        if !matches!(walk.progress, Progress::End) {
            state.walks().push_front(walk);
        }
        state.has_walks()
    }

    /// Leaves out what was replaced or cleared while it waited, or may not be read any more: the client has got the newer
    /// message live, and must not get the older one behind it.
    fn look_again(&self, session: &Session, walk: &mut RetainedWalk) {
        let access = &self.access.access;
        walk.found.retain(|found| {
            let name = found.queued.body.message().topic_name;
            let current = self.broker.retained.read().get(name).cloned();
            current.is_some_and(|current| current.sequence == found.sequence && self.may_be_sent(&current))
                && may_receive(access, session, name)
        });
    }

    fn find_more(&self, session: &Session, walk: &mut RetainedWalk) {
        let after = match core::mem::replace(&mut walk.progress, Progress::End) {
            Progress::Start => None,
            Progress::After(cursor) => Some(cursor),
            Progress::End => return,
        };
        let filter = TopicFilter::from_checked(&walk.filter);
        let (newest, maximum_qos) = (walk.newest, walk.maximum_qos);
        let mut retained = Vec::new();
        let next = self
            .broker
            .retained
            .read()
            .walk(filter, after.as_ref(), SLICE, |_, message| {
                if message.sequence <= newest {
                    retained.push(message.clone());
                }
            });
        walk.progress = next.map_or(Progress::End, Progress::After);
        for retained in retained {
            let message = retained.body.message();
            if message.is_expired(self.fx.now)
                || !self.may_be_sent(&retained)
                || !may_receive(&self.access.access, session, message.topic_name)
            {
                continue;
            }
            let upgrade = self.config.upgrade_outgoing_qos;
            let qos: QoS = if upgrade {
                maximum_qos
            } else {
                message.qos.min(maximum_qos)
            };
            // v3 [MQTT-3.3.1-8]
            let queued = Queued {
                qos,
                retain: true,
                identifiers: walk.identifiers.clone(),
                body: retained.body.clone(),
            };
            let sequence = retained.sequence;
            walk.found.push_back(Found { sequence, queued });
        }
    }

    /// Whether its publisher, if that is asked for, may still publish it.
    fn may_be_sent(&self, retained: &RetainedMessage) -> bool {
        !self.config.check_retain_source || retained.is_rightful(&self.access.access)
    }
}

/// Names visited a slice.
const SLICE: usize = 64;
/// Slices sent a turn, over all Sessions: a turn stays below a millisecond.
const SLICES_A_TURN: usize = 16;
