//! A Session and its Connection, both locked: what is sent at once, and what has to wait.

use std::sync::Arc;

use komar_codec::QoS;

use super::{Delivered, Delivery, Exchange, ForStore, Quota};
use crate::outbox::{Outbox, State};
use crate::publish_out::{Copy, append_publish};
use crate::sync::MutexGuard;
use crate::worker::Effects;

/// A Session and its Connection, both locked, to be sent one message or several.
pub(crate) struct Sending<'s> {
    pub(super) outbox: &'s Arc<Outbox>,
    pub(super) out: MutexGuard<'s, State>,
    pub(super) exchange: &'s mut Option<Box<Exchange>>,
    pub(super) quota: Quota,
    pub(super) durable: Option<&'s Arc<str>>,
}

impl Sending<'_> {
    /// Sends a message. `None`: it has to wait in the Session.
    #[inline]
    pub(crate) fn send(&mut self, fx: &mut Effects, delivery: &mut Delivery<'_, '_>) -> Option<Delivered> {
        if delivery.qos == QoS::AtMostOnce {
            // What was kept while the client was away comes first.
            let exchange = self.exchange.as_ref();
            return exchange
                .is_none_or(|exchange| !exchange.queue.has_qos0())
                .then(|| send_qos0(fx, &mut self.out, delivery));
        }
        // Once it is durable, so that a restart does not deliver it twice.
        let waits = delivery.qos == QoS::ExactlyOnce && self.durable.is_some();
        let ready = self.out.is_open()
            && fx.has_room(&self.out)
            && self.exchange.as_ref().is_none_or(|exchange| {
                if waits {
                    exchange.may_prepare(self.quota) && exchange.queue.is_empty()
                } else {
                    exchange.may_send(self.quota)
                }
            });
        if !ready {
            self.out.starved = true;
            return None;
        }
        let queued = delivery.queued(&mut fx.scratch);
        let exchange = self.exchange.get_or_insert_default();
        let store = ForStore {
            durable: self.durable,
            share: delivery.share,
            retained: 0,
        };
        Some(if waits {
            exchange.prepare(fx, &self.out, queued, store)
        } else {
            exchange.send(fx, &mut self.out, queued, Some(delivery.message), store)
        })
    }

    /// Lets what was sent be written.
    #[inline]
    pub(crate) fn finish(mut self, fx: &mut Effects) {
        fx.mark_dirty(self.outbox, &mut self.out);
    }
}

/// Sends a QoS 0 message, or drops it where the Connection cannot keep up.
fn send_qos0(fx: &mut Effects, out: &mut State, delivery: &mut Delivery<'_, '_>) -> Delivered {
    if !out.is_open() {
        return Delivered::Skipped;
    }
    if !fx.has_room_for_qos0(out) {
        return Delivered::TooSlow;
    }
    if delivery.message.payload.len() >= crate::publish_out::SHARE_FROM && delivery.body.is_none() {
        *delivery.body = Some(delivery.message.to_body(&mut fx.scratch));
    }
    let copy = Copy {
        // v5 [MQTT-4.3.1-1], v3 [MQTT-4.3.1-1]
        dup: false,
        qos: QoS::AtMostOnce,
        retain: delivery.retain,
        identifier: None,
        subscription_identifiers: delivery.identifiers.as_slice(),
    };
    if !append_publish(out, fx, delivery.message, delivery.body.as_ref(), copy) {
        return Delivered::Skipped;
    }
    Delivered::Sent
}
