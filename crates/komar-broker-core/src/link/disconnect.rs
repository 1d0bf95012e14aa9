//! The ends of a Connection: DISCONNECT, an error, a transport that is gone; and what becomes of its Session.

use core::time::Duration;
use std::sync::Arc;

use komar_codec::{DecodeErrorKind, Disconnect, PacketType, ProtocolVersion, ReasonCode};

use super::{Established, Link, Phase};
use crate::access::{Action, Identity};
use crate::config::ReasonCodes;
use crate::error::{CloseCause, ProtocolError};
use crate::event::Event;
use crate::note::NotedPublish;
use crate::router::Origin;
use crate::session::will::WillMessage;
use crate::session::{Remains, Session};
use crate::store::Change;
use crate::sync::Ordering;
use crate::timer::Timer;
use crate::worker::{Orphan, Worker};

impl Worker {
    /// The transport of a Connection is gone. `cause` counts unless the Connection was being closed for another.
    pub fn close(&mut self, link: &mut Link, cause: CloseCause) {
        let cause = link.outbox.close_cause().unwrap_or(cause);
        self.leave(link, cause);
        self.take_rest(link);
        self.fx.counts.connections_closed += 1;
        link.outbox.closed(&self.broker.slow_bytes);
    }

    /// DISCONNECT from the client. MQTT 5.0 §3.14.
    pub(super) fn disconnect_packet(
        &mut self,
        link: &mut Link,
        packet: &Disconnect<'_>,
    ) -> Result<(), ProtocolError> {
        let Phase::Established(established) = &link.phase else {
            return Ok(());
        };
        if let Some(expiry) = packet.properties.session_expiry_interval {
            // What counts is what it asked for, and not what it was given.
            if !link.asked_for_expiry && expiry > 0 {
                return Err(ProtocolError::SessionExpiryRaised);
            }
            let maximum = self.config.session_expiry_maximum.map_or(u32::MAX, |maximum| {
                u32::try_from(maximum.as_secs()).unwrap_or(u32::MAX)
            });
            let mut state = established.session.lock();
            // Where CONNACK said 0 nothing is stored of the Session: it stays so.
            if state.epoch == established.epoch && state.expiry > 0 {
                state.expiry = expiry.min(maximum);
            }
        }
        // v5 [MQTT-3.14.4-3], v3 [MQTT-3.14.4-3]
        let cause = match packet.reason_code {
            ReasonCode::Success => CloseCause::Disconnected,
            _ => CloseCause::DisconnectedWithWill,
        };
        self.leave(link, cause);
        self.fx.close(&link.outbox, cause);
        Ok(())
    }

    /// Ends a Connection for what its peer did. v5 [MQTT-4.13.1-1], v3 [MQTT-4.8.0-1]
    pub(super) fn fail(&mut self, link: &mut Link, error: ProtocolError) {
        let error = self.unexpected_first(link, error);
        let cause = error.close_cause();
        self.fx.send_replies(&link.outbox);
        tracing::debug!(%error, "connection ended for what its peer did");
        // v5 [MQTT-3.14.0-1]
        if let Phase::Established(established) = &link.phase
            && established.version == ProtocolVersion::V5
            && let Some(reason_code) = error.answer(self.config.reason_codes)
        {
            self.say_goodbye(&link.outbox, reason_code, cause);
        } else {
            self.fx.close(&link.outbox, cause);
        }
        self.leave(link, cause);
    }

    /// With Mosquitto's Reason Codes, a CONNACK or AUTH that may not come at all is that, whatever its flags.
    fn unexpected_first(&self, link: &Link, error: ProtocolError) -> ProtocolError {
        let (ProtocolError::Decode(fault), Phase::Established(established)) = (&error, &link.phase) else {
            return error;
        };
        if self.config.reason_codes != ReasonCodes::Mosquitto
            || fault.kind() != DecodeErrorKind::FixedHeaderFlags
        {
            return error;
        }
        match fault.packet_type() {
            Some(PacketType::ConnAck) => ProtocolError::UnexpectedPacket(PacketType::ConnAck),
            Some(PacketType::Auth) if established.enhanced.is_none() => ProtocolError::UnexpectedAuth,
            _ => error,
        }
    }

    /// Separates the Link from its Session, once.
    pub(super) fn leave(&mut self, link: &mut Link, cause: CloseCause) {
        match core::mem::replace(&mut link.phase, Phase::Closed) {
            Phase::Established(established) => {
                self.broker.counters.connected.fetch_sub(1, Ordering::Relaxed);
                self.fx.events.push_back(Event::Disconnected {
                    outbox: Arc::clone(&link.outbox),
                    client_id: Arc::clone(&established.session.client_id),
                    cause,
                });
                self.detach(&established, cause);
                self.disconnect_hook(&established.identity, cause);
            }
            Phase::AwaitingConnect | Phase::Authenticating(_) | Phase::Exchanging(_) => {
                let outbox = Arc::clone(&link.outbox);
                self.fx.events.push_back(Event::Abandoned { outbox, cause });
            }
            Phase::Closed => {}
        }
    }

    /// Unbinds the Session; ends it, or starts the clocks of its expiry and its Will Message.
    fn detach(&mut self, established: &Established, cause: CloseCause) {
        let session = &established.session;
        // A Connection that was taken over has nothing to say any more.
        let Some(mut state) = session.unbind(established.epoch) else {
            return;
        };
        if cause == CloseCause::Disconnected {
            // v5 [MQTT-3.1.2-10], v3 [MQTT-3.1.2-10]
            state.will = None;
        }
        // v3 [MQTT-4.1.0-1], v3 [MQTT-4.1.0-2], v5 [MQTT-4.1.0-1]
        let ends = state.expiry == 0;
        let due =
            |will: &WillMessage| ends || will.delay.is_zero() || cause == CloseCause::ServerShuttingDown;
        // v3 [MQTT-3.1.2-12]
        let will = state.will.take_if(|will| due(will));
        let identity = Arc::clone(&state.identity);
        let delay = state.will.as_ref().map(|will| will.delay);
        let (epoch, expiry) = (state.epoch, state.expiry);
        let remains = if ends {
            state.end(&mut self.fx)
        } else {
            if let Some(client_id) = state.durable().cloned() {
                let at = self.fx.unix;
                self.fx.record(|| Change::SessionUnbound {
                    client_id,
                    session_expiry_interval: expiry,
                    at,
                });
            }
            Remains::default()
        };
        state.trim();
        drop(state);
        if let Some(will) = will {
            // v5 [MQTT-3.1.2-8], v3 [MQTT-3.1.2-8]
            self.wills.push_back((identity, *will));
        }
        if ends {
            self.broker.registry.remove(session);
            self.forget(remains);
            return;
        }
        if expiry != u32::MAX {
            let due = self.fx.now.after_seconds(expiry);
            self.timers
                .add(due, Timer::SessionExpiry(Arc::downgrade(session), epoch));
        }
        if let Some(delay) = delay {
            // The end of the Session sends it at the latest. MQTT 5.0 §3.1.3.2.2.
            let delay = delay.min(Duration::from_secs(expiry.into()));
            self.timers.add(
                self.fx.now.after(delay),
                Timer::WillDelay(Arc::downgrade(session), epoch),
            );
        }
    }

    /// The Session Expiry Interval is over. v5 [MQTT-3.1.2-23], v5 [MQTT-4.1.0-2]
    pub(crate) fn expire_session(&mut self, session: &Arc<Session>, epoch: u64) {
        let mut state = session.lock();
        if !state.is_away_since(epoch) {
            return;
        }
        let will = state.will.take();
        let identity = Arc::clone(&state.identity);
        let remains = state.end(&mut self.fx);
        drop(state);
        if let Some(will) = will {
            self.wills.push_back((identity, *will));
        }
        self.broker.counters.expired.fetch_add(1, Ordering::Relaxed);
        self.broker.registry.remove(session);
        self.forget(remains);
    }

    /// Takes the Subscriptions of a Session that is over out of the index, and finds other members for the messages that it
    /// leaves.
    pub(crate) fn forget(&mut self, mut remains: Remains) {
        self.broker.forget(core::mem::take(&mut remains.handles));
        let Remains {
            orphans, together, ..
        } = remains;
        let orphans = orphans.into_iter().map(|queued| Orphan {
            queued,
            together: together.clone(),
        });
        self.orphans.extend(orphans);
    }

    /// The Will Delay Interval is over and the client has not come back. v5 [MQTT-3.1.3-9]
    pub(crate) fn will_delay_over(&mut self, session: &Arc<Session>, epoch: u64) {
        let mut state = session.lock();
        if !state.is_away_since(epoch) {
            return;
        }
        if let Some(will) = state.will.take() {
            self.wills.push_back((Arc::clone(&state.identity), *will));
        }
    }

    /// Publishes all Will Messages, those that wait for their delay and those of clients that are connected: the broker stops.
    /// Afterwards the driver writes, and closes its Links ([`CloseCause::ServerShuttingDown`]). Clients are not told, as
    /// Mosquitto does not tell them; a driver that wants to calls [`expel`](Self::expel) with
    /// [`ReasonCode::ServerShuttingDown`] and writes before. What that leaves to be routed is [`work`](Self::work). Not to be
    /// called while a worker, this or another one, still takes input: whoever sends DISCONNECT in time would have no Will
    /// Message any more.
    pub fn publish_delayed_wills(&mut self) {
        for session in self.broker.registry.all() {
            let mut state = session.lock();
            if let Some(will) = state.will.take() {
                self.wills.push_back((Arc::clone(&state.identity), *will));
            }
        }
        self.work();
    }

    /// Publishes a Will Message if its owner may write there at this moment.
    pub(crate) fn publish_will(&mut self, identity: &Arc<Identity>, will: &WillMessage) {
        let mut message = will.body.message();
        if let Some(expiry) = will.expiry {
            message = message.expiring_at(self.fx.now.after(expiry));
        }
        if !self
            .access
            .access
            .allows(&identity.subject(), Action::Publish(message.topic_name))
        {
            self.fx.events.push_back(Event::PublishDenied {
                client_id: Arc::clone(&identity.client_id),
                publish: NotedPublish::of_message(&message),
            });
            return;
        }
        let answer = self.publish_hook(identity, message, true);
        // Its Connection has ended already, whatever the hook wants with it.
        self.ending = None;
        let Ok(Ok(rewritten)) = answer else { return };
        let message = rewritten.apply(message);
        // v5 [MQTT-3.1.2-14], v5 [MQTT-3.1.2-15], v3 [MQTT-3.1.2-16], v3 [MQTT-3.1.2-17]
        self.route(Origin::client(identity), message);
    }
}
