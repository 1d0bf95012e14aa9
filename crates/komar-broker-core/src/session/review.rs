//! What waits for a Session is looked at again when a Connection takes it up: the user may be another one, and the rules
//! may be others.

use std::collections::BTreeSet;
use std::sync::Arc;

use komar_codec::QoS;

use super::inflight::Queued;
use super::{Session, SessionState};
use crate::access::Action;
use crate::message::MessageBody;
use crate::worker::{Effects, Worker};

/// What the user of a Session is not to have of what waits for it.
#[derive(Default)]
struct LeftOut {
    /// Topic Names without READ access.
    names: BTreeSet<String>,
    /// Messages that the deliver hook refuses, as they would be sent.
    messages: BTreeSet<(usize, QoS, bool)>,
}

impl LeftOut {
    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.messages.is_empty()
    }

    fn keeps(&self, queued: &Queued) -> bool {
        !self.names.contains(queued.body.message().topic_name.as_str())
            && !self
                .messages
                .contains(&(queued.body.address(), queued.qos, queued.retain))
    }
}

impl Worker {
    /// Takes out what the user of the Connection of `epoch` may not receive. Nothing is sent before.
    pub(crate) fn review(&mut self, session: &Arc<Session>, epoch: u64) {
        let access = &self.access.access;
        let hooks = &self.broker.hooks;
        let mut left_out = LeftOut::default();
        // Held until they are taken out: their addresses tell them apart.
        let mut waiting = Vec::new();
        let ask_rules = access.authorize.is_some();
        if ask_rules || hooks.has_deliver() {
            let (identity, ask_hook) = {
                let state = session.lock();
                let ask_hook = hooks.has_deliver() && state.has_new_user();
                if ask_rules || ask_hook {
                    waiting = state.waiting_copies();
                }
                (Arc::clone(&state.identity), ask_hook)
            };
            // No lock is held while the rules and the hook are asked.
            for (body, qos, retain) in &waiting {
                let message = body.message();
                let name = message.topic_name;
                if left_out.names.contains(name.as_str()) {
                    continue;
                }
                if ask_rules && !access.allows(&identity.subject(), Action::Receive(name)) {
                    left_out.names.insert(name.as_str().to_owned());
                } else if ask_hook && !hooks.delivers(session, message, *qos, *retain) {
                    left_out.messages.insert((body.address(), *qos, *retain));
                }
            }
        }
        session.lock().reviewed(&mut self.fx, epoch, &left_out);
        drop(waiting);
    }
}

impl SessionState {
    fn waiting_copies(&self) -> Vec<(MessageBody, QoS, bool)> {
        let Some(exchange) = &self.exchange else {
            return Vec::new();
        };
        let deliveries = exchange.inflight.deliveries().chain(exchange.queue.iter());
        deliveries
            .map(|queued| (queued.body.clone(), queued.qos, queued.retain))
            .collect()
    }

    fn has_new_user(&self) -> bool {
        self.exchange
            .as_ref()
            .is_some_and(|exchange| exchange.has_new_user)
    }

    /// About a message that has come since, the rules and the hook were asked on delivery.
    fn reviewed(&mut self, fx: &mut Effects, epoch: u64, left_out: &LeftOut) {
        if self.epoch != epoch {
            return;
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.unreviewed = false;
        exchange.has_new_user = false;
        if !left_out.is_empty() {
            exchange.inflight.retain(
                |queued| left_out.keeps(queued),
                |stored| fx.record(|| stored.withheld()),
            );
            exchange.queue.retain(|queued| left_out.keeps(queued));
        }
    }
}
