//! The protocol state of one network connection, and the dispatch of what it reads.

mod ack;
mod authenticate;
mod connect;
mod disconnect;
mod phase;
mod plain;
pub(crate) mod pressure;
mod publish;
mod publish_run;
mod rates;
mod recheck;
mod subscribe;
pub(crate) mod topic_alias;
mod unreleased;
mod waiting;

use std::sync::Arc;

use komar_codec::{
    DecodeOptions, Frame, Framing, Packet, PacketType, ProtocolVersion, ReasonCode, Role, Utf8Policy, frame,
};

use crate::access::CertificateIdentity;
use crate::config::ListenerPolicy;
use crate::error::{CloseCause, ProtocolError};
use crate::note::NotedClient;
use crate::outbox::{Outbox, State};
use crate::store::Sequence;
use crate::sync::Ordering;
use crate::worker::{Effects, Worker};

pub(crate) use phase::{Established, Phase};
#[cfg(feature = "in-process")]
pub(crate) use publish::check_depth;
use rates::MessageRates;

/// The protocol state of one network connection. Made by [`Worker::open`], fed by [`Worker::input`], ended by
/// [`Worker::close`].
pub struct Link {
    outbox: Arc<Outbox>,
    policy: Arc<ListenerPolicy>,
    /// A packet that has arrived in part; while a verdict is waited for, what came behind the packet that it is about. None of
    /// it has been looked at: it is as if it were still in the socket, and its time begins when it is read. Only the packet
    /// that is asked about grows old meanwhile (`Waiting::came`).
    rest: Vec<u8>,
    phase: Phase,
    certificate: Option<Box<CertificateIdentity>>,
    /// Number of the question that was asked last; an answer to an older one is ignored.
    asked: u32,
    /// A timer will ask for the deadline of a verdict.
    watched: bool,
    /// It is not read until the store has caught up.
    behind: bool,
    /// It has waited for that, and gets one packet through before it waits again: Links that are faster to fill the store
    /// must not keep it out.
    has_waited: bool,
    /// `None`: it may publish as fast as it likes.
    rates: Option<Box<MessageRates>>,
    /// It is not read until what it has published is paid for.
    slowed: bool,
    /// CONNECT will be answered with this, whoever it is.
    turned_away: Option<ReasonCode>,
    /// CONNECT asked for a Session that outlives the Connection: DISCONNECT may change for how long. Here, where there is room
    /// for it, and not with what exists once a client is accepted: that would grow by a word.
    asked_for_expiry: bool,
    /// More than our Receive Maximum came, and the embedder was told. Here for the same reason.
    exceeded: bool,
    /// It is one of the largest publishers while too much waits in the broker, and is not read for a moment.
    pressed: bool,
    /// Bytes that it has brought since its last pause, while too much waits.
    brought: u32,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were taken over; all of them, unless the Link is closing.
    pub consumed: usize,
    /// What the driver does next.
    pub state: LinkState,
}

/// Whether a Link reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// Go on reading.
    Open,
    /// Do not read until a verdict has come, the store has caught up, or less waits in the broker (each of them is a
    /// [`Worker::next_verdict`]): what a client sends meanwhile stays in its socket.
    Paused,
    /// The Connection is to be closed when its Outbox says so; nothing more is read.
    Closing,
}

impl Link {
    pub(crate) fn new(outbox: Arc<Outbox>, policy: Arc<ListenerPolicy>) -> Link {
        Link {
            outbox,
            policy,
            rest: Vec::new(),
            phase: Phase::AwaitingConnect,
            certificate: None,
            asked: 0,
            watched: false,
            behind: false,
            has_waited: false,
            rates: None,
            slowed: false,
            turned_away: None,
            asked_for_expiry: false,
            exceeded: false,
            pressed: false,
            brought: 0,
        }
    }

    /// Whether the Link waits for the answer to its CONNECT, and nothing came after that. If its transport ends now,
    /// nobody needs the answer, and no packet is lost.
    pub fn only_awaits_login(&self) -> bool {
        self.rest.is_empty() && matches!(self.phase, Phase::Authenticating(_))
    }

    /// The Connection's output.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Notes the client certificate (DER) that the transport has verified. Before the first input.
    pub fn present_certificate(&mut self, der: &[u8]) {
        if let Some(policy) = &self.policy.identity {
            self.certificate = Some(Box::new(CertificateIdentity::of(der, policy)));
        }
    }

    /// Notes the common name of a client certificate that a trusted proxy has verified. Before the first input. Of no
    /// effect unless the listener's policy takes common names.
    pub fn present_common_name(&mut self, name: &[u8]) {
        let policy = self.policy.identity.as_ref();
        let identity = policy.and_then(|policy| CertificateIdentity::of_common_name(name, policy));
        if let Some(identity) = identity {
            self.certificate = Some(Box::new(identity));
        }
    }

    /// Has CONNECT answered with this code, whoever it is: too many have come, say. Where 3.x has no return
    /// code for it, such clients are told nothing.
    pub fn turn_away(&mut self, reason_code: ReasonCode) {
        self.turned_away = Some(reason_code);
    }

    /// Whether the Link reads.
    pub fn state(&self) -> LinkState {
        match &self.phase {
            Phase::Closed => LinkState::Closing,
            _ if self.behind || self.slowed || self.pressed => LinkState::Paused,
            Phase::Established(established) if established.waiting.is_none() => LinkState::Open,
            Phase::Established(_) | Phase::Authenticating(_) => LinkState::Paused,
            Phase::AwaitingConnect | Phase::Exchanging(_) => LinkState::Open,
        }
    }

    /// Whether the client was let in by an exchange of AUTH packets.
    fn may_authenticate_again(&self) -> bool {
        matches!(&self.phase, Phase::Established(established) if established.enhanced.is_some())
    }

    /// Whose packets come by it.
    pub(crate) fn noted(&self) -> NotedClient {
        match &self.phase {
            Phase::Established(established) => NotedClient::Named(Arc::clone(&established.session.client_id)),
            _ => NotedClient::Unnamed(Arc::clone(&self.outbox)),
        }
    }

    fn options(&self, maximum_packet_size: u32) -> DecodeOptions {
        let version = match &self.phase {
            Phase::Established(established) => established.version,
            _ => ProtocolVersion::V5,
        };
        DecodeOptions {
            version,
            receiver: Role::Server,
            maximum_packet_size,
            utf8: Utf8Policy::Strict,
        }
    }

    fn progress(&self, consumed: usize) -> Progress {
        Progress {
            consumed,
            state: self.state(),
        }
    }
}

impl Worker {
    /// Takes what was read from a Connection. Whole packets are handled in place; of a packet that has arrived in
    /// part, the beginning is copied and kept with the Link.
    pub fn input(&mut self, link: &mut Link, bytes: &[u8]) -> Progress {
        match link.state() {
            LinkState::Open => {}
            // The driver does not read a paused Link; what it had read already is kept.
            LinkState::Paused => {
                self.fx.counts.bytes_received += bytes.len() as u64;
                self.keep_rest(link, bytes);
                if link.rest.len() > self.config.limits.maximum_paused_bytes {
                    self.fail(link, ProtocolError::QuotaExceeded);
                }
                return link.progress(bytes.len());
            }
            LinkState::Closing => return link.progress(0),
        }
        self.fx.counts.bytes_received += bytes.len() as u64;
        self.handle(link, bytes)
    }

    fn handle(&mut self, link: &mut Link, bytes: &[u8]) -> Progress {
        self.fx.forget_replies();
        if link.outbox.is_closing() {
            // A Connection that is being closed, or was taken over, does nothing any more.
            self.take_rest(link);
            return link.progress(bytes.len());
        }
        if !core::mem::take(&mut link.has_waited) {
            self.wait_for_store(link);
        }
        if link.behind {
            self.keep_rest(link, bytes);
            return link.progress(bytes.len());
        }
        let taken = self.finish_rest(link, bytes);
        let mut unread = bytes.get(taken..).unwrap_or_default();
        while !unread.is_empty() && link.state() == LinkState::Open {
            let options = self.decode_options(link);
            match frame(unread, &options) {
                Ok(Framing::Complete(whole)) => {
                    self.packet(link, whole, &mut unread, &options);
                    self.wait_for_store(link);
                }
                Ok(Framing::Incomplete { .. }) => {
                    self.keep_rest(link, unread);
                    unread = &[];
                }
                Err(error) => self.fail(link, error.into()),
            }
        }
        if link.state() == LinkState::Paused {
            self.keep_rest(link, unread);
            unread = &[];
        }
        self.press(link, bytes.len());
        self.fx.send_replies(&link.outbox);
        link.progress(bytes.len() - unread.len())
    }

    /// Goes on with what was kept while the Link was paused.
    fn resume(&mut self, link: &mut Link) -> Progress {
        if link.state() == LinkState::Open && !link.rest.is_empty() {
            let rest = self.take_rest(link);
            return self.handle(link, &rest);
        }
        link.progress(0)
    }

    /// Completes the packet that has arrived in part. Returns how many of `bytes` that took.
    fn finish_rest(&mut self, link: &mut Link, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while !link.rest.is_empty() {
            let options = self.decode_options(link);
            match frame(&link.rest, &options) {
                Ok(Framing::Complete(_)) => {
                    let rest = self.take_rest(link);
                    if let Ok(Framing::Complete(whole)) = frame(&rest, &options) {
                        self.packet(link, whole, &mut rest.as_slice(), &options);
                    }
                }
                Ok(Framing::Incomplete { needed }) => {
                    let more = bytes.get(taken..).unwrap_or_default();
                    let more = more.get(..needed).unwrap_or(more);
                    if more.is_empty() {
                        break;
                    }
                    taken += more.len();
                    self.keep_rest(link, more);
                }
                Err(error) => {
                    self.fail(link, error.into());
                    break;
                }
            }
            if link.state() != LinkState::Open {
                break;
            }
        }
        taken
    }

    /// Keeps bytes with the Link. The buffer grows with what arrives, never with what a peer announces.
    fn keep_rest(&mut self, link: &mut Link, bytes: &[u8]) {
        let total = self
            .broker
            .reassembly_bytes
            .fetch_add(bytes.len(), Ordering::Relaxed);
        link.rest.extend_from_slice(bytes);
        if total.saturating_add(bytes.len()) > self.config.limits.maximum_reassembly_bytes {
            self.fail(link, ProtocolError::QuotaExceeded);
        }
    }

    fn take_rest(&mut self, link: &mut Link) -> Vec<u8> {
        let rest = core::mem::take(&mut link.rest);
        self.broker
            .reassembly_bytes
            .fetch_sub(rest.len(), Ordering::Relaxed);
        rest
    }

    fn decode_options(&self, link: &Link) -> DecodeOptions {
        let limits = &self.config.limits;
        let maximum = match &link.phase {
            Phase::Established(established) => established.maximum_packet_size,
            _ => limits.maximum_connect_size.min(limits.maximum_packet_size),
        };
        link.options(maximum)
    }

    /// The packet at the front of `unread`, and of those that follow what can be handled with it.
    fn packet(&mut self, link: &mut Link, whole: Frame<'_>, unread: &mut &[u8], options: &DecodeOptions) {
        self.fx.recorded = Sequence(0);
        let (raw, behind) = unread.split_at_checked(whole.len()).unwrap_or((unread, &[]));
        if self.fx.notes_packets {
            // One by one, and each answer when it is given.
            if self.noted_acknowledgement(link, whole, unread, options) {
                return;
            }
        } else if let Phase::Established(established) = &link.phase {
            match whole.packet_type() {
                PacketType::PubAck | PacketType::PubRec | PacketType::PubComp => {
                    self.fx.replies.gather(established.version);
                    return self.acknowledgements(link, unread, options);
                }
                PacketType::PubRel => {
                    self.fx.replies.gather(established.version);
                    return self.releases(link, unread, options);
                }
                PacketType::Publish => {
                    self.fx.replies.gather(established.version);
                    if link.rates.is_none() && plain::begins_run(whole, behind) {
                        if plain::is_qos2(whole) {
                            self.keep_run(link, unread, options);
                        } else {
                            self.publish_run(link, unread, options);
                        }
                        if unread.len() < raw.len() + behind.len() {
                            return;
                        }
                    }
                }
                _ => self.fx.send_replies(&link.outbox),
            }
        }
        *unread = behind;
        self.fx.counts.packets_received += 1;
        if !phase::is_legal(&link.phase, whole.packet_type()) {
            let error = ProtocolError::UnexpectedPacket(whole.packet_type());
            return self.fail(link, error);
        }
        if whole.packet_type() == PacketType::Connect {
            self.connect(link, whole, raw);
            return self.obey_hook(link);
        }
        let result = match link.phase {
            Phase::Established(_) => {
                link.outbox.seen(self.fx.now);
                self.established_packet(link, whole, raw, options)
            }
            // The CONNECT timeout goes on: it is for the whole exchange.
            _ => self.exchange_packet(link, whole, options),
        };
        if let Err(error) = result {
            self.fail(link, error);
        }
        self.obey_hook(link);
    }

    /// Notes and handles PUBACK, PUBREC, PUBREL or PUBCOMP; `false`, if it is something else.
    #[cold]
    fn noted_acknowledgement(
        &mut self,
        link: &mut Link,
        whole: Frame<'_>,
        unread: &mut &[u8],
        options: &DecodeOptions,
    ) -> bool {
        let kind = whole.packet_type();
        if !matches!(link.phase, Phase::Established(_))
            || !matches!(
                kind,
                PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
            )
        {
            return false;
        }
        // What is wrong with it is found below.
        if let Ok(packet) = Packet::decode(whole, options) {
            self.fx.note_arrival(link, &packet);
        }
        match kind {
            PacketType::PubRel => self.releases(link, unread, options),
            _ => self.acknowledgements(link, unread, options),
        }
        true
    }

    /// Ends the Connection if a hook said so.
    #[inline]
    pub(crate) fn obey_hook(&mut self, link: &mut Link) {
        if let Some(reason_code) = self.ending.take()
            && let Phase::Established(_) = link.phase
        {
            self.fx.send_replies(&link.outbox);
            self.expel(link, reason_code);
        }
    }

    /// AUTH or DISCONNECT between CONNECT and CONNACK.
    fn exchange_packet(
        &mut self,
        link: &mut Link,
        whole: Frame<'_>,
        options: &DecodeOptions,
    ) -> Result<(), ProtocolError> {
        let packet = Packet::decode(whole, options)?;
        if self.fx.notes_packets {
            self.fx.note_arrival(link, &packet);
        }
        match packet {
            Packet::Auth(packet) => self.connect_auth(link, &packet),
            _ => {
                self.leave(link, CloseCause::Disconnected);
                self.fx.close(&link.outbox, CloseCause::Disconnected);
                Ok(())
            }
        }
    }

    fn established_packet(
        &mut self,
        link: &mut Link,
        whole: Frame<'_>,
        raw: &[u8],
        options: &DecodeOptions,
    ) -> Result<(), ProtocolError> {
        // Read as what it is; a Packet of any type is as large as its largest.
        if whole.packet_type() == PacketType::Publish {
            let asked = publish::Asked::not_yet(self.fx.now);
            return self.publish_packet(link, whole, raw, options, asked);
        }
        // Whatever is in it. v5 [MQTT-4.12.0-7]
        if whole.packet_type() == PacketType::Auth && !link.may_authenticate_again() {
            return Err(ProtocolError::UnexpectedAuth);
        }
        let packet = Packet::decode(whole, options)?;
        if self.fx.notes_packets {
            self.fx.note_arrival(link, &packet);
        }
        match packet {
            Packet::Subscribe(packet) => self.subscribe(link, &packet, raw, &[])?,
            Packet::Unsubscribe(packet) => self.unsubscribe(link, &packet)?,
            Packet::PingReq => self.fx.reply(&link.outbox, |version, buffer| {
                // v5 [MQTT-3.12.4-1]
                // v3 [MQTT-3.12.4-1]
                Packet::PingResp.encode(version, buffer)
            }),
            Packet::Disconnect(packet) => self.disconnect_packet(link, &packet)?,
            Packet::Auth(packet) => self.auth(link, &packet)?,
            other => return Err(ProtocolError::UnexpectedPacket(other.packet_type())),
        }
        Ok(())
    }
}

impl Effects {
    /// Appends a control packet: never dropped, never behind data that waits in a Session. A Connection whose reader
    /// lets more of them pile up than any reader would is given up.
    pub(crate) fn reply<E>(
        &mut self,
        outbox: &Arc<Outbox>,
        encode: impl FnOnce(ProtocolVersion, &mut Vec<u8>) -> Result<(), E>,
    ) {
        let mut out = outbox.lock();
        self.reply_locked(outbox, &mut out, encode);
        let too_much = self.has_too_many_replies(&out);
        drop(out);
        if too_much {
            self.close(outbox, CloseCause::QuotaExceeded);
        }
    }

    /// As [`reply`](Self::reply), with the Outbox locked by the caller.
    pub(crate) fn reply_locked<E>(
        &mut self,
        outbox: &Arc<Outbox>,
        out: &mut State,
        encode: impl FnOnce(ProtocolVersion, &mut Vec<u8>) -> Result<(), E>,
    ) {
        if !out.is_open() {
            return;
        }
        let (version, maximum) = (out.version, out.maximum_packet_size as usize);
        let buffer = out.output(&mut self.pool).buffer();
        let before = buffer.len();
        let is_encoded = encode(version, buffer).is_ok();
        if !is_encoded {
            // Something of the embedder's in it is longer than a packet has room for.
            tracing::error!("a packet to a client cannot be encoded: its connection ends");
        }
        let too_large = !is_encoded || buffer.len() - before > maximum;
        if too_large {
            buffer.truncate(before);
        }
        if self.notes_packets {
            let encoded = buffer.get(before..).unwrap_or_default().to_vec();
            self.note_encoded(out.noted(outbox), &encoded, version);
        }
        if too_large {
            // There is no other way to answer. v5 [MQTT-3.1.2-24]
            outbox.close_locked(out, CloseCause::PacketTooLarge);
        }
        self.counts.packets_sent += 1;
        self.mark_dirty(outbox, out);
    }
}
