//! CONNECT: from the first packet to CONNACK. MQTT 5.0 §3.1, §3.2.

use core::num::NonZeroU16;
use core::time::Duration;
use std::sync::Arc;

use komar_codec::{
    ConnAck, ConnAckProperties, Connect, ConnectField, DecodeError, DecodeErrorKind, Disconnect, Frame,
    PacketType, ProtocolVersion, ReasonCode, Will,
};
use komar_topic::TopicName;

use super::authenticate::{Accepted, Outcome, Question, require_identity, require_no_certificate};
use super::topic_alias::TopicAliases;
use super::{Established, Link, Phase};
use crate::access::{Credential, Identity, is_user_name};
use crate::config::ReasonCodes;
use crate::error::{self, CloseCause, ProtocolError};
use crate::event::Event;
use crate::hooks::Connecting;
use crate::link::phase::{ConnectTime, Enhanced, PendingConnect, Proof, WriteVerdicts};
use crate::link::publish::check_depth;
use crate::message::{Message, MessageBody};
use crate::note::{NotedClient, NotedPacket, NotedPublish};
use crate::now::Millis;
use crate::outbox::Outbox;
use crate::session::will::WillMessage;
use crate::session::{Binding, Remains, Session, SessionState};
use crate::store::Change;
use crate::timer::Timer;
use crate::worker::{Effects, Worker};

/// Why a client is not let in: the code for it, and words for the operator.
pub(super) struct Refusal {
    reason_code: ReasonCode,
    detail: String,
    /// The embedder refused, or did not answer.
    by_embedder: bool,
}

impl Refusal {
    /// The embedder's: a 3.x client is told also where Mosquitto, which closes the Connection for reasons of its own, says
    /// nothing.
    pub(super) fn by_embedder(self) -> Refusal {
        Refusal {
            by_embedder: true,
            ..self
        }
    }
}

pub(super) fn refuse(reason_code: ReasonCode, detail: impl Into<String>) -> Refusal {
    Refusal {
        reason_code,
        detail: detail.into(),
        by_embedder: false,
    }
}

/// What a Connection leaves behind that another one with its Client Identifier takes the place of.
#[derive(Default)]
struct Superseded {
    outbox: Option<Arc<Outbox>>,
    remains: Remains,
    will: Option<(Arc<Identity>, WillMessage)>,
}

impl Worker {
    pub(super) fn connect(&mut self, link: &mut Link, whole: Frame<'_>, raw: &[u8]) {
        let connect = match Connect::decode(whole, &self.decode_options(link)) {
            Ok(connect) => connect,
            Err(error) => return self.refuse_undecodable(link, whole, error),
        };
        self.fx.counts.connects_received += 1;
        let mut out = link.outbox.lock();
        out.version = connect.version;
        out.maximum_packet_size = longest_packet(&connect);
        drop(out);
        let result = match self.check_connect(link, &connect) {
            Ok(()) => self.who_is_it(link, &connect),
            Err(refusal) => Err(refusal),
        };
        self.connect_goes_on(link, &connect, raw, result);
    }

    /// CONNECT of a client that the embedder vouches for.
    #[cfg(feature = "in-process")]
    pub(crate) fn connect_trusted(
        &mut self,
        link: &mut Link,
        connect: &Connect<'_>,
        username: Option<Arc<str>>,
    ) {
        self.fx.counts.connects_received += 1;
        link.outbox.lock().version = connect.version;
        let accepted = Accepted {
            username,
            proof: Proof::Login(None),
            exchanged: None,
            send_maximum: Some(TRUSTED_SEND_MAXIMUM),
        };
        match self.check_connect(link, connect) {
            Ok(()) => self.accept(link, connect, accepted),
            Err(refusal) => self.refuse(link, connect, refusal),
        }
    }

    /// Lets the client in, refuses it, or keeps CONNECT until there is an answer.
    pub(super) fn connect_goes_on(
        &mut self,
        link: &mut Link,
        connect: &Connect<'_>,
        packet: &[u8],
        result: Result<Outcome, Refusal>,
    ) {
        match result {
            Ok(Outcome::Accept(accepted)) => self.accept(link, connect, accepted),
            Ok(Outcome::Wait(question)) => {
                let deadline = question.deadline;
                match self.pending(link, packet, question) {
                    Ok(pending) => link.phase = Phase::Authenticating(pending),
                    Err(error) => return self.fail(link, error),
                }
                self.watch(link, deadline);
            }
            Ok(Outcome::Exchange(question)) => match self.pending(link, packet, question) {
                Ok(pending) => link.phase = Phase::Exchanging(pending),
                Err(error) => self.fail(link, error),
            },
            Err(refusal) => self.refuse(link, connect, refusal),
        }
    }

    fn pending(
        &self,
        link: &Link,
        packet: &[u8],
        question: Question,
    ) -> Result<Box<PendingConnect>, ProtocolError> {
        Ok(Box::new(PendingConnect {
            packet: self.keep_packet(packet)?,
            epoch: self.access.epoch,
            credential: question.credential,
            exchange: question.exchange,
            deadline: question.deadline,
            connect_time: ConnectTime::stopped(link.outbox.last_seen(), self.fx.now),
        }))
    }

    /// What can be said before anybody is asked who it is.
    fn check_connect(&self, link: &Link, connect: &Connect<'_>) -> Result<(), Refusal> {
        let (config, policy) = (&self.config, &link.policy);
        let v5 = connect.version == ProtocolVersion::V5;
        if let Some(reason_code) = link.turned_away {
            return Err(refuse(reason_code, "too many connections a second"));
        }
        if !policy.protocol_versions.contains(&connect.version) {
            // v5 [MQTT-3.1.2-2], v3 [MQTT-3.1.2-2]
            return Err(refuse(
                ReasonCode::UnsupportedProtocolVersion,
                "this protocol version is switched off on the listener",
            ));
        }
        if connect.client_id.is_empty() && !policy.use_username_as_client_id {
            // v3 [MQTT-3.1.3-8], v3 [MQTT-3.1.3-9]
            let allowed = policy.allow_zero_length_client_id
                && match connect.version {
                    ProtocolVersion::V3_1 => false,
                    ProtocolVersion::V3_1_1 => connect.clean_start,
                    ProtocolVersion::V5 => true,
                };
            if !allowed {
                let reason_code = match config.reason_codes {
                    ReasonCodes::Mosquitto if v5 => ReasonCode::UnspecifiedError,
                    _ => ReasonCode::ClientIdentifierNotValid,
                };
                return Err(refuse(reason_code, "an empty client identifier is not allowed"));
            }
        }
        if let Some(maximum) = config.maximum_keep_alive
            && !v5
            && (connect.keep_alive == 0 || connect.keep_alive > maximum)
        {
            return Err(refuse(
                ReasonCode::ClientIdentifierNotValid,
                "keep alive above max_keepalive",
            ));
        }
        connect
            .will
            .as_ref()
            .map_or(Ok(()), |will| self.check_will(link, will))
    }

    /// What an exchange has come to. It may have begun under older rules and another policy.
    fn check_exchanged(
        &self,
        link: &Link,
        connect: &Connect<'_>,
        identity: &Identity,
        credential: Option<&Credential>,
    ) -> Result<(), Refusal> {
        self.check_connect(link, connect)?;
        require_no_certificate(link)?;
        self.may_stay(&link.policy, identity, credential)
            .map_err(|reason_code| refuse(reason_code, "it could not log in under the rules in force"))
    }

    fn check_will(&self, link: &Link, will: &Will<'_>) -> Result<(), Refusal> {
        let config = &self.config;
        if will.qos > link.policy.maximum_qos {
            // v5 [MQTT-3.2.2-12]
            return Err(refuse(
                ReasonCode::QoSNotSupported,
                "QoS of the will message above max_qos",
            ));
        }
        if will.retain && !config.retain_available {
            // v5 [MQTT-3.2.2-13]
            return Err(refuse(
                ReasonCode::RetainNotSupported,
                "retained will message where retain is not available",
            ));
        }
        if config
            .limits
            .maximum_payload_size
            .is_some_and(|limit| will.payload.len() > limit as usize)
        {
            return Err(refuse(
                ReasonCode::PacketTooLarge,
                "will message above message_size_limit",
            ));
        }
        if config.check_payload_format && !will.has_valid_payload() {
            return Err(refuse(
                ReasonCode::PayloadFormatInvalid,
                "will message that is announced as UTF-8 and is not",
            ));
        }
        let too_deep = check_depth(will.topic_name, config.limits.maximum_topic_levels).is_err();
        if too_deep || will.topic_name.starts_with("$CONTROL/") {
            return Err(refuse(ReasonCode::TopicNameInvalid, "will topic is not allowed"));
        }
        Ok(())
    }

    /// Binds the Connection to its Session and answers CONNACK.
    fn accept(&mut self, link: &mut Link, connect: &Connect<'_>, accepted: Accepted) {
        let Accepted {
            username,
            proof,
            exchanged,
            send_maximum,
        } = accepted;
        if username.as_deref().is_some_and(|name| !is_user_name(name)) {
            let refusal = refuse(
                ReasonCode::BadUserNameOrPassword,
                "it was given a user name that is none",
            );
            return self.refuse(link, connect, refusal.by_embedder());
        }
        // Whoever authenticated it may have found another name than the one in CONNECT.
        if let Err(refusal) = require_identity(link, username.as_deref()) {
            return self.refuse(link, connect, refusal);
        }
        let (client_id, assigned) = match self.client_id(link, connect, username.as_ref()) {
            Ok(client_id) => client_id,
            Err(refusal) => return self.refuse(link, connect, refusal),
        };
        let identity = Arc::new(Identity {
            client_id,
            username,
            listener: link.policy.id,
        });
        if exchanged.is_some()
            && let Proof::Login(credential) = &proof
            && let Err(refusal) = self.check_exchanged(link, connect, &identity, credential.as_ref())
        {
            return self.refuse(link, connect, refusal);
        }
        if !self.has_room_for(&identity.client_id) {
            return self.refuse(link, connect, no_room(connect.version));
        }
        let (expiry, capped) = self.session_expiry(connect);
        let keep_alive = self.keep_alive(connect);
        let config = Arc::clone(&self.config);
        // v5 [MQTT-3.1.2-28]
        let response_information = config
            .response_information
            .as_ref()
            .filter(|_| connect.properties.request_response_information == Some(true))
            .map(|template| template.replace("%c", &identity.client_id))
            // It may be longer by the Client Identifier than there is room for.
            .filter(|information| information.len() <= LONGEST_FIELD);
        // Request Problem Information is not remembered: no packet but PUBLISH has a Reason String or a User Property,
        // whatever a client asks for. v5 [MQTT-3.1.2-29]
        let properties = ConnAckProperties {
            response_information: response_information.as_deref(),
            session_expiry_interval: capped.then_some(expiry),
            // v5 [MQTT-3.2.2-16]
            assigned_client_identifier: assigned.then_some(&*identity.client_id),
            // v5 [MQTT-3.2.2-21]
            server_keep_alive: (keep_alive != connect.keep_alive).then_some(keep_alive),
            // v5 [MQTT-4.12.0-5]
            authentication_method: exchanged.as_ref().and(connect.properties.authentication_method),
            authentication_data: exchanged.as_ref().and_then(Option::as_deref),
            ..self.offers(link)
        };
        let answer = ConnAck {
            // As long as with a Session that is there.
            session_present: false,
            // v5 [MQTT-3.1.4-5], v3 [MQTT-3.1.4-4]
            reason_code: ReasonCode::Success,
            properties,
        };
        // Before anything becomes of it: who is refused takes no Session over and leaves no Will Message.
        if let Err(refusal) = check_answer(connect, &answer) {
            return self.refuse(link, connect, refusal);
        }
        let connecting = Connecting {
            identity: &identity,
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            outbox: &link.outbox,
        };
        match self.connect_hook(&connecting) {
            Ok(Ok(())) => {}
            Ok(Err(reason_code)) => {
                let refusal = refuse(reason_code, "a connect hook refused it");
                return self.refuse(link, connect, refusal.by_embedder());
            }
            Err(panicked) => return self.refuse(link, connect, panicked.into()),
        }
        // Before the Connection is bound, so that CONNACK waits for it, too.
        self.route_posts();
        let will = connect
            .will
            .as_ref()
            .map(|will| Box::new(self.will_message(will)));
        let client_maximum = connect
            .properties
            .receive_maximum
            .map_or(u16::MAX, NonZeroU16::get);
        let binding = Binding {
            identity: Arc::clone(&identity),
            outbox: Arc::clone(&link.outbox),
            expiry,
            will,
            send_maximum: client_maximum.min(send_maximum.unwrap_or(config.limits.receive_maximum())),
            durable: expiry > 0 && self.fx.journal.is_some(),
        };
        let Some((session, epoch, session_present)) = self.bind(link, connect, binding, answer) else {
            // Somebody else has taken the last place since. The hook has heard that it is in.
            self.disconnect_hook(&identity, CloseCause::Refused);
            return self.refuse(link, connect, no_room(connect.version));
        };
        self.start_keep_alive(link, keep_alive);
        link.asked_for_expiry = connect.properties.session_expiry_interval.unwrap_or(0) > 0;
        let accepted = Established {
            version: connect.version,
            session: Arc::clone(&session),
            epoch,
            identity,
            bridge: connect.bridge,
            receive_maximum: config.limits.receive_maximum(),
            maximum_packet_size: config.limits.maximum_packet_size,
            // v5 [MQTT-3.3.2-7]
            topic_aliases: TopicAliases::default(),
            write_verdicts: WriteVerdicts::default(),
            proof,
            waiting: None,
            enhanced: Enhanced::of(connect),
        };
        self.establish(link, accepted, connect.clean_start, keep_alive);
        if self.fx.notes_packets {
            let will = connect.will.as_ref().map(NotedPublish::of_will);
            self.fx.note_received(link.noted(), NotedPacket::Connect { will });
            self.fx.note_connack(
                link.noted(),
                connect.version,
                session_present,
                ReasonCode::Success,
            );
        }
        self.review(&session, epoch);
        self.pump(&session);
    }

    /// Whether there is room for a Session of that Client Identifier, or it is there.
    fn has_room_for(&self, client_id: &str) -> bool {
        let registry = &self.broker.registry;
        let limit = self.config.limits.maximum_sessions;
        limit.is_none_or(|limit| registry.len() < limit) || registry.find(client_id).is_some()
    }

    /// What CONNACK tells every client of this listener.
    fn offers(&self, link: &Link) -> ConnAckProperties<'static> {
        let (policy, limits) = (&link.policy, &self.config.limits);
        ConnAckProperties {
            topic_alias_maximum: Some(policy.topic_alias_maximum).filter(|maximum| *maximum > 0),
            maximum_packet_size: Some(limits.maximum_packet_size()),
            receive_maximum: NonZeroU16::new(limits.receive_maximum()),
            retain_available: (!self.config.retain_available).then_some(false),
            // v5 [MQTT-3.2.2-9]
            maximum_qos: Some(policy.maximum_qos).filter(|qos| qos.as_u8() < 2),
            ..ConnAckProperties::default()
        }
    }

    /// The client is in.
    fn establish(&mut self, link: &mut Link, accepted: Established, clean_start: bool, keep_alive: u16) {
        self.broker
            .counters
            .connected
            .fetch_add(1, crate::sync::Ordering::Relaxed);
        self.fx.events.push_back(Event::Connected {
            outbox: Arc::clone(&link.outbox),
            client_id: Arc::clone(&accepted.identity.client_id),
            username: accepted.identity.username.clone(),
            version: accepted.version,
            clean_start,
            keep_alive,
            bridge: accepted.bridge,
        });
        link.certificate = None;
        link.phase = Phase::Established(Box::new(accepted));
    }

    /// The Session for the Connection: the one that exists, or a new one. CONNACK is encoded before the Session
    /// knows the Connection, so that nothing can come before it. With them comes whether it existed. `None`: there are too
    /// many Sessions.
    fn bind(
        &mut self,
        link: &Link,
        connect: &Connect<'_>,
        binding: Binding,
        answer: ConnAck<'_>,
    ) -> Option<(Arc<Session>, u64, bool)> {
        let broker = Arc::clone(&self.broker);
        let client_id = Arc::clone(&binding.identity.client_id);
        let config = Arc::clone(&self.config);
        // v5 [MQTT-3.1.2-26], v5 [MQTT-3.1.2-27]
        let topic_alias_maximum = connect
            .properties
            .topic_alias_maximum
            .unwrap_or(0)
            .min(link.policy.outgoing_topic_alias_maximum);
        let fx = &mut self.fx;
        // That a Will Message is over is stored with the Connection that stops it.
        let together = fx.together();
        // v5 [MQTT-3.1.3-2], v3 [MQTT-3.1.3-2]
        let (bound, superseded) = broker.registry.update(&client_id, |existing| {
            let mut superseded = Superseded::default();
            // The lock is kept until the new Connection is bound, so that the Session cannot expire in between.
            let resumed = existing.and_then(|old| {
                let mut state = old.lock();
                take_over(fx, &mut state, connect.clean_start, &mut superseded).then_some((old, state))
            });
            let full = config
                .limits
                .maximum_sessions
                .is_some_and(|limit| broker.registry.len() >= limit);
            if existing.is_none() && full {
                return (None, (None, superseded));
            }
            // v5 [MQTT-3.1.2-5], v5 [MQTT-3.1.2-6], v5 [MQTT-3.1.4-4], v3 [MQTT-3.1.4-3]
            let is_new = resumed.is_none();
            let fresh = is_new.then(|| Arc::new(Session::new(Arc::clone(&binding.identity))));
            let (session, mut state) = match (resumed, &fresh) {
                (Some(resumed), _) => resumed,
                (None, Some(fresh)) => (fresh, fresh.lock()),
                (None, None) => return (None, (None, superseded)),
            };
            let mut out = link.outbox.lock();
            out.set_topic_alias_maximum(topic_alias_maximum);
            fx.reply_locked(&link.outbox, &mut out, |version, buffer| {
                let answer = ConnAck {
                    // v5 [MQTT-3.2.2-2], v5 [MQTT-3.2.2-3], v3 [MQTT-3.2.2-1]
                    // v3 [MQTT-3.2.2-2], v3 [MQTT-3.2.2-3]
                    session_present: !is_new,
                    ..answer
                };
                answer.encode(version, buffer)
            });
            drop(out);
            let was_durable = state.is_durable;
            // v5 [MQTT-3.2.0-1], v3 [MQTT-3.2.0-1]
            let epoch = session.bind(&mut state, binding);
            fx.note_bound(session, &mut state, was_durable);
            fx.hold_connection(&link.outbox);
            drop(state);
            let session = Arc::clone(session);
            (fresh, (Some((session, epoch, !is_new)), superseded))
        })?;
        drop(together);
        self.dismiss(superseded);
        bound
    }

    /// Ends what the new Connection has taken the place of. v5 [MQTT-3.1.4-3], v3 [MQTT-3.1.4-2]
    fn dismiss(&mut self, superseded: Superseded) {
        if let Some(outbox) = superseded.outbox {
            self.say_goodbye(
                &outbox,
                ReasonCode::SessionTakenOver,
                CloseCause::SessionTakenOver,
            );
        }
        self.forget(superseded.remains);
        if let Some((identity, will)) = superseded.will {
            self.wills.push_back((identity, will));
        }
    }

    /// DISCONNECT with a code for 5.0, nothing for others, and the end of the Connection.
    pub(crate) fn say_goodbye(&mut self, outbox: &Arc<Outbox>, reason_code: ReasonCode, cause: CloseCause) {
        let mut out = outbox.lock();
        if out.version == ProtocolVersion::V5 {
            self.fx.reply_locked(outbox, &mut out, |version, buffer| {
                Disconnect {
                    reason_code,
                    properties: Default::default(),
                }
                .encode(version, buffer)
            });
        }
        // v5 [MQTT-3.14.4-1], v5 [MQTT-3.14.4-2], v5 [MQTT-4.13.2-1]
        drop(out);
        self.fx.close(outbox, cause);
    }

    /// The Client Identifier that the client gets, and whether it is to be told so.
    fn client_id(
        &mut self,
        link: &Link,
        connect: &Connect<'_>,
        username: Option<&Arc<str>>,
    ) -> Result<(Arc<str>, bool), Refusal> {
        let (client_id, assigned) = self.choose_client_id(link, connect, username)?;
        if !self.config.may_be_called(&client_id) {
            return Err(refuse(
                ReasonCode::NotAuthorized,
                "the client identifier does not begin with clientid_prefixes",
            ));
        }
        Ok((client_id, assigned))
    }

    fn choose_client_id(
        &mut self,
        link: &Link,
        connect: &Connect<'_>,
        username: Option<&Arc<str>>,
    ) -> Result<(Arc<str>, bool), Refusal> {
        if link.policy.use_username_as_client_id {
            let username = username.filter(|name| !name.is_empty()).ok_or_else(|| {
                refuse(
                    ReasonCode::NotAuthorized,
                    "no user name to be used as client identifier",
                )
            })?;
            return Ok((Arc::clone(username), connect.client_id.is_empty()));
        }
        // v5 [MQTT-3.1.3-5], v3 [MQTT-3.1.3-5]
        if !connect.client_id.is_empty() {
            return Ok((connect.client_id.into(), false));
        }
        // v5 [MQTT-3.1.3-6], v5 [MQTT-3.1.3-7], v3 [MQTT-3.1.3-6]
        let mut random = [0u8; 16];
        (self.entropy)(&mut random);
        let number = u128::from_be_bytes(random);
        let digits = format!("{number:032X}");
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
        Ok((
            format!("{}{}", link.policy.assigned_client_id_prefix, groups.join("-")).into(),
            true,
        ))
    }

    /// Session Expiry Interval in seconds, and whether it is less than the client asked for.
    fn session_expiry(&self, connect: &Connect<'_>) -> (u32, bool) {
        let asked = match connect.version {
            ProtocolVersion::V5 => connect.properties.session_expiry_interval.unwrap_or(0),
            // CleanSession is translated here, once. v3 [MQTT-3.1.2-4], v3 [MQTT-3.1.2-6]
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        let maximum = self.config.session_expiry_maximum.map_or(u32::MAX, |maximum| {
            u32::try_from(maximum.as_secs()).unwrap_or(u32::MAX)
        });
        (asked.min(maximum), asked > maximum)
    }

    fn keep_alive(&self, connect: &Connect<'_>) -> u16 {
        match self.config.maximum_keep_alive {
            Some(maximum) if connect.keep_alive == 0 || connect.keep_alive > maximum => maximum,
            // v5 [MQTT-3.2.2-22]
            _ => connect.keep_alive,
        }
    }

    /// From now on the Connection may be silent for one and a half times the keep alive. v5 [MQTT-3.1.2-22]
    fn start_keep_alive(&mut self, link: &Link, keep_alive: u16) {
        let before = link.outbox.deadline();
        link.outbox.seen(self.fx.now);
        link.outbox.set_patience(u32::from(keep_alive) * 1500);
        if link.outbox.deadline() < before {
            self.timers
                .add(link.outbox.deadline(), Timer::silence(&link.outbox));
        }
        // Otherwise the timer that waited for CONNECT looks again when it is due and finds the new deadline.
    }

    fn will_message(&mut self, will: &Will<'_>) -> WillMessage {
        let mut properties = Vec::new();
        for part in will.properties.received.forwarded() {
            properties.extend_from_slice(part);
        }
        let message = Message {
            topic_name: TopicName::from_checked(will.topic_name),
            properties: &properties,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
            moved: false,
            expires: Millis::NEVER,
            kept: None,
        };
        let body: MessageBody = message.to_body(&mut self.fx.scratch);
        WillMessage {
            body,
            expiry: will
                .properties
                .message_expiry_interval
                .map(|seconds| Duration::from_secs(seconds.into())),
            delay: Duration::from_secs(will.properties.will_delay_interval.unwrap_or(0).into()),
            stored: None,
        }
    }

    /// A CONNECT that is not one. v5 [MQTT-3.1.4-1], v3 [MQTT-3.1.4-1]
    fn refuse_undecodable(&mut self, link: &mut Link, whole: Frame<'_>, error: DecodeError) {
        let answer = match (error.kind(), error.version()) {
            (DecodeErrorKind::UnsupportedProtocolLevel { level, is_v3_1_name }, _) => {
                Some(version_for_unsupported(level, is_v3_1_name))
                    .map(|version| (version, ReasonCode::UnsupportedProtocolVersion))
            }
            (_, ProtocolVersion::V5) => {
                let field = Connect::faulty_field(whole, &self.decode_options(link));
                answer_to_undecodable(&error, field, self.config.reason_codes)
                    .map(|reason_code| (ProtocolVersion::V5, reason_code))
            }
            _ => None,
        };
        if let Some((version, reason_code)) = answer {
            link.outbox.lock().version = version;
            if self.fx.notes_packets {
                self.fx.note_connack(link.noted(), version, false, reason_code);
            }
            self.fx.reply(&link.outbox, |version, buffer| {
                refusal_packet(reason_code).encode(version, buffer)
            });
        }
        self.fail(link, ProtocolError::Decode(error));
    }

    fn refuse(&mut self, link: &mut Link, connect: &Connect<'_>, refusal: Refusal) {
        let reason_code = error::refusal(refusal.reason_code, PacketType::ConnAck);
        let is_v5 = connect.version == ProtocolVersion::V5;
        let is_unavailable = matches!(
            reason_code,
            ReasonCode::ServerBusy | ReasonCode::ServerUnavailable
        );
        let told = if !is_v5 && is_unavailable && refusal.by_embedder {
            // The nearest return code.
            Some(ReasonCode::ServerUnavailable)
        } else {
            (is_v5 || has_return_code(reason_code)).then_some(reason_code)
        };
        if let Some(told) = told {
            if self.fx.notes_packets {
                let client = match connect.client_id {
                    "" => link.noted(),
                    client_id => NotedClient::Named(client_id.into()),
                };
                self.fx.note_connack(client, connect.version, false, told);
            }
            self.fx.reply(&link.outbox, |version, buffer| {
                refusal_packet(told).encode(version, buffer)
            });
        }
        self.fx.events.push_back(Event::Refused {
            outbox: Arc::clone(&link.outbox),
            client_id: connect.client_id.into(),
            username: connect.username.map(Arc::from),
            reason_code,
            detail: refusal.detail,
        });
        // v5 [MQTT-3.1.4-6], v3 [MQTT-3.1.4-5]
        link.phase = Phase::Closed;
        let cause = match reason_code {
            ReasonCode::NotAuthorized => CloseCause::NotAuthorized,
            ReasonCode::BadUserNameOrPassword => CloseCause::BadUserNameOrPassword,
            _ => CloseCause::Refused,
        };
        // v5 [MQTT-3.2.2-7], v3 [MQTT-3.2.2-5]
        // v5 [MQTT-3.1.3-8], v5 [MQTT-3.1.4-2], v5 [MQTT-4.13.2-1]
        self.fx.close(&link.outbox, cause);
    }
}

/// The version whose CONNACK a client understands that asks for one which is not spoken here: as Mosquitto, that of 3.1.1 where
/// only the Protocol Name is wrong for a level of 3.1 to 5.0.
fn version_for_unsupported(level: u8, is_v3_1_name: bool) -> ProtocolVersion {
    match (level, is_v3_1_name) {
        (3, _) | (4 | 5, true) => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5,
    }
}

/// What a 5.0 client is told about a CONNECT that cannot be decoded. Nothing, as Mosquitto does, where it is not clear that
/// this is MQTT at all (what comes before the properties), and about strings that are none, but for the Client Identifier.
/// MQTT 5.0 §4.13.1 leaves it open.
fn answer_to_undecodable(
    error: &DecodeError,
    field: Option<ConnectField>,
    codes: ReasonCodes,
) -> Option<ReasonCode> {
    let is_text = matches!(
        error.kind(),
        DecodeErrorKind::Utf8
            | DecodeErrorKind::NullCharacter
            | DecodeErrorKind::ControlCharacter
            | DecodeErrorKind::WildcardInTopicName
    );
    match field? {
        ConnectField::ClientId if is_text => Some(ReasonCode::ClientIdentifierNotValid),
        ConnectField::Properties | ConnectField::Behind => Some(error::reason_code_of(error, codes)),
        ConnectField::Will if !is_text => Some(error::reason_code_of(error, codes)),
        _ => None,
    }
}

impl Effects {
    /// Notes that a Session has another Connection, and its Will Message. One that ends with this Connection does not
    /// survive the broker, so for the store it is over.
    fn note_bound(&mut self, session: &Session, state: &mut SessionState, was_durable: bool) {
        if state.is_durable {
            self.record(|| Change::SessionBound {
                identity: Arc::clone(&state.identity),
                lease: state.epoch,
                session_expiry_interval: state.expiry,
            });
        } else if was_durable {
            self.record(|| Change::SessionEnded {
                client_id: Arc::clone(&session.client_id),
            });
        }
        let (identity, lease) = (Arc::clone(&state.identity), state.epoch);
        if let Some(will) = &mut state.will {
            self.store_will(&identity, lease, will);
        }
    }
}

/// Takes a Session over from its Connection, if it has one. `true`: it goes on; `false`: it is over.
fn take_over(
    fx: &mut Effects,
    state: &mut SessionState,
    clean_start: bool,
    superseded: &mut Superseded,
) -> bool {
    let was_online = state.outbox.is_some();
    superseded.outbox = state.outbox.take();
    // A Session that ends with its Connection ends now, and one that is over cannot be taken up. v5 [MQTT-3.1.2-4]
    let ends_with_connection = was_online && state.expiry == 0;
    let goes_on = !(clean_start || state.ended || ends_with_connection);
    if let Some(will) = state.will.take() {
        // A Will Message that is still to wait is stopped if the Session goes on. v5 [MQTT-3.1.3-9]
        if !goes_on || (was_online && will.delay.is_zero()) {
            superseded.will = Some((Arc::clone(&state.identity), *will));
        }
    }
    if !goes_on {
        state.epoch += 1;
        superseded.remains = state.end(fx);
    }
    goes_on
}

/// Largest packet that the client takes. v5 [MQTT-3.1.2-24]
fn longest_packet(connect: &Connect<'_>) -> u32 {
    connect
        .properties
        .maximum_packet_size
        .map_or(u32::MAX, |size| size.get())
}

/// Whether the client can be told that it is let in.
fn check_answer(connect: &Connect<'_>, answer: &ConnAck<'_>) -> Result<(), Refusal> {
    match answer.encoded_len(connect.version) {
        Ok(length) if length <= longest_packet(connect) as usize => Ok(()),
        Ok(_) => Err(refuse(
            ReasonCode::PacketTooLarge,
            "CONNACK is larger than the client takes",
        )),
        // Everything else in it is bounded.
        Err(_) => Err(refuse(
            ReasonCode::ImplementationSpecificError,
            "the exchange's last data are longer than CONNACK has room for",
        )
        .by_embedder()),
    }
}

fn no_room(version: ProtocolVersion) -> Refusal {
    let reason_code = match version {
        ProtocolVersion::V5 => ReasonCode::ServerBusy,
        _ => ReasonCode::ServerUnavailable,
    };
    refuse(reason_code, "no room for another session (global_max_clients)")
}

/// Whether 3.x has a return code for a refusal, or Mosquitto answers one all the same; otherwise the Connection is
/// closed without a word. v3 [MQTT-3.2.2-6]
fn has_return_code(reason_code: ReasonCode) -> bool {
    !matches!(
        reason_code,
        ReasonCode::RetainNotSupported
            | ReasonCode::QoSNotSupported
            | ReasonCode::TopicNameInvalid
            | ReasonCode::ServerBusy
            | ReasonCode::ServerUnavailable
            | ReasonCode::ConnectionRateExceeded
    )
}

/// QoS 1 messages under way at once to a client that the embedder vouches for. No network is between, so there may be many; but
/// one that receives nothing holds as many again in its queue.
#[cfg(feature = "in-process")]
const TRUSTED_SEND_MAXIMUM: u16 = 4096;

/// Bytes of a string, or of binary data, in a packet. MQTT 5.0 §1.5.4, §1.5.6.
const LONGEST_FIELD: usize = 65_535;

fn refusal_packet(reason_code: ReasonCode) -> ConnAck<'static> {
    // v5 [MQTT-3.2.2-6], v3 [MQTT-3.2.2-4]
    ConnAck {
        session_present: false,
        reason_code,
        properties: ConnAckProperties::default(),
    }
}
