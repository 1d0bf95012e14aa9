//! What waits for a Session is looked at again when a Connection takes it up: the user may be another one, and the rules
//! may be others.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Session, SessionState};
use crate::access::Action;
use crate::message::MessageBody;
use crate::worker::{Effects, Worker};

impl Worker {
    /// Takes out what the user of the Connection of `epoch` may not receive. Nothing is sent before.
    pub(crate) fn review(&mut self, session: &Arc<Session>, epoch: u64) {
        let access = &self.access.access;
        let mut denied = BTreeSet::new();
        if access.authorize.is_some() {
            let (identity, bodies) = {
                let state = session.lock();
                (Arc::clone(&state.identity), state.waiting_bodies())
            };
            // No lock is held while the rules are asked.
            for body in &bodies {
                let name = body.message().topic_name;
                if !denied.contains(name.as_str())
                    && !access.allows(&identity.subject(), Action::Receive(name))
                {
                    denied.insert(name.as_str().to_owned());
                }
            }
        }
        session.lock().reviewed(&mut self.fx, epoch, &denied);
    }
}

impl SessionState {
    fn waiting_bodies(&self) -> Vec<MessageBody> {
        let Some(exchange) = &self.exchange else {
            return Vec::new();
        };
        let deliveries = exchange.inflight.deliveries().chain(exchange.queue.iter());
        deliveries.map(|queued| queued.body.clone()).collect()
    }

    /// A message that has come since the question was asked on delivery.
    fn reviewed(&mut self, fx: &mut Effects, epoch: u64, denied: &BTreeSet<String>) {
        if self.epoch != epoch {
            return;
        }
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.unreviewed = false;
        if !denied.is_empty() {
            let keep = |name: &str| !denied.contains(name);
            exchange.inflight.retain(
                |queued| keep(queued.body.message().topic_name.as_str()),
                |stored| fx.record(|| stored.withheld()),
            );
            exchange
                .queue
                .retain(|queued| keep(queued.body.message().topic_name.as_str()));
        }
    }
}
