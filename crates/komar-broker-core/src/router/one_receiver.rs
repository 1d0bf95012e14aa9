//! Messages in a row for one Session, whose locks are taken once for all of them.

use std::sync::Arc;

use super::{Target, TopicCache};
use crate::broker::Shared;
use crate::config::BrokerConfig;
use crate::message::Message;
use crate::session::{Delivered, Delivery, Sending, Session, SessionState};
use crate::worker::Effects;

/// The only receiver of several messages, locked.
pub(crate) struct OneReceiver<'s> {
    session: &'s Arc<Session>,
    identity_epoch: u32,
    sending: Sending<'s>,
}

impl<'s> OneReceiver<'s> {
    /// `None`, if nothing can be sent to it at present.
    pub(crate) fn new(
        session: &'s Arc<Session>,
        state: &'s mut SessionState,
        config: &BrokerConfig,
    ) -> Option<OneReceiver<'s>> {
        Some(OneReceiver {
            session,
            identity_epoch: state.present_identity()?,
            sending: state.sending(config)?,
        })
    }

    /// Whether it is this Session that a message goes to, for the user that READ access was granted to.
    pub(crate) fn is(&self, target: &Target) -> bool {
        Arc::ptr_eq(&target.session, self.session) && target.identity_epoch == self.identity_epoch
    }

    /// Sends a message. `false`: it has to wait, which is not done here.
    pub(crate) fn send(
        &mut self,
        fx: &mut Effects,
        broker: &Shared,
        config: &BrokerConfig,
        target: &Target,
        message: Message<'_>,
    ) -> bool {
        let (qos, retain) = target.copy_of(message, config);
        let mut delivery = Delivery {
            message,
            body: &mut None,
            is_last: true,
            qos,
            retain,
            identifiers: &target.identifiers,
            group: None,
            share: None,
            identity_epoch: self.identity_epoch,
        };
        match self.sending.send(fx, &mut delivery) {
            Some(Delivered::Full | Delivered::TooSlow) => broker.counters.dropped(),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// Lets what was sent be written.
    pub(crate) fn finish(self, fx: &mut Effects) {
        self.sending.finish(fx);
    }
}

impl TopicCache {
    /// The one Session that an entry leads to, if it is to have what this client publishes there.
    pub(crate) fn one_receiver(&self, place: usize, publisher: &str) -> Option<&Target> {
        let is_left_out =
            |target: &Target| target.own_only || (target.no_local && *target.session.client_id == *publisher);
        self.single(place)
            .filter(|target| target.readable && !target.once && !is_left_out(target))
    }
}
