//! PUBLISH packets of QoS 0 and 1 that come in one input and go to one Session, one behind the other.
//!
//! What a message of 64 bytes costs is for the most part the locks of its receiver, so a run of messages takes them once.

use std::sync::Arc;

use komar_codec::{DecodeOptions, QoS, ReasonCode};
use komar_topic::Stripes;

use super::plain::{RUN, Reading};
use super::{Link, Phase};
use crate::router::OneReceiver;
use crate::worker::Worker;

impl Worker {
    /// Takes PUBLISH packets off the front of `unread` as long as each is plainly for the same Session as the one before.
    /// None, if the first is not plain, and none where each message is stored or shown to a hook.
    pub(super) fn publish_run(&mut self, link: &mut Link, unread: &mut &[u8], options: &DecodeOptions) {
        let Worker {
            broker,
            config,
            access,
            cache,
            fx,
            ..
        } = self;
        // It pays where the last message had one receiver.
        if !cache.was_single() || fx.journal.is_some() || broker.hooks.watch_messages() {
            return;
        }
        let Phase::Established(established) = &mut link.phase else {
            return;
        };
        let mut reading = Reading {
            config,
            access,
            policy: &link.policy,
            established,
            options,
            now: fx.now,
            last: "",
        };
        let stamp_of = |stripes: &Stripes| broker.stamp(stripes, access.epoch);
        let Some(mut found) = reading.next(unread) else {
            return;
        };
        let Some(mut place) = cache.find(found.message.topic_name.as_str(), stamp_of) else {
            return;
        };
        let session = match cache.one_receiver(place, reading.client_id()) {
            Some(target) => Arc::clone(&target.session),
            None => return,
        };
        let mut state = session.lock();
        let Some(mut receiver) = OneReceiver::new(&session, &mut state, config) else {
            return;
        };
        for _ in 0..RUN {
            let message = found.message;
            let Some(target) = cache.one_receiver(place, reading.client_id()) else {
                break;
            };
            if message.qos == QoS::ExactlyOnce
                || !receiver.is(target)
                || !receiver.send(fx, broker, config, target, message)
            {
                break;
            }
            fx.counts.packets_received += 1;
            fx.counts.publish_received += 1;
            fx.counts.publish_bytes_received += message.payload.len() as u64;
            if let Some(identifier) = found.packet_identifier {
                fx.puback(&link.outbox, identifier, ReasonCode::Success);
            }
            *unread = unread.get(found.length..).unwrap_or_default();
            found = match reading.next(unread) {
                Some(next) => next,
                None => break,
            };
            if !found.same_name {
                place = match cache.find(found.message.topic_name.as_str(), stamp_of) {
                    Some(place) => place,
                    None => break,
                };
            }
        }
        receiver.finish(fx);
        link.outbox.seen(fx.now);
    }
}
