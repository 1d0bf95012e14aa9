//! A client in the same process: no socket, the same rules. Feature `in-process`.
//!
//! It is a Connection like any other, with a Link that a worker owns and an Outbox; only its transport is two bounded
//! buffers, and the worker itself drives it. So what holds for sockets holds for it: access, hooks, limits, flow control,
//! order.

use std::sync::Arc;

use komar_codec::{
    AckProperties, Connect, ConnectProperties, DecodeOptions, Disconnect, Framing, OutgoingPublish, Packet,
    PacketIdentifier, PacketType, ProtocolVersion, PubAck, QoS, ReasonCode, RetainHandling, Role, Subscribe,
    SubscribeFilters, SubscriptionOptions, Unsubscribe, UnsubscribeFilters, Utf8Policy, frame,
};
use komar_topic::{SubscriptionFilter, TopicError, TopicName};

use crate::access::{Verdict, is_user_name};
use crate::broker::{Broker, Shared};
use crate::config::{ListenerId, ListenerPolicy};
use crate::error::CloseCause;
use crate::inbox::{Inbox, Letter};
use crate::link::{Link, LinkState, check_depth};
use crate::outbox::{Next, Outbox, Sent, Take};
use crate::sync::{AtomicU16, Condvar, Mutex, Ordering};
use crate::worker::Worker;

/// How a client in the same process is let in. The embedder vouches for it: nobody asks for a password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    /// Its Client Identifier; empty: one is made for it.
    pub client_id: String,
    /// The user that it counts as; `None`: an anonymous one. Not empty.
    pub username: Option<String>,
    /// The listener that it counts as having come in by. Default: 65,535, which no listener has.
    pub listener: ListenerId,
    /// Bytes that may wait in either direction. Default: 1 MiB. Where the broker's output is full, QoS 0 messages are
    /// dropped and others wait in the Session: 4,096 that are under way, and as many again and
    /// [`Limits::maximum_queued_messages`](crate::Limits::maximum_queued_messages), above which they are dropped, too.
    /// Where its input is, [`LocalError::Full`] is the answer. A packet that begins below the bound is taken whole, so 0 is as
    /// good as 1.
    pub maximum_bytes: usize,
}

impl LocalOptions {
    /// Defaults with a Client Identifier.
    pub fn new(client_id: impl Into<String>) -> LocalOptions {
        LocalOptions {
            client_id: client_id.into(),
            username: None,
            listener: ListenerId(u16::MAX),
            maximum_bytes: 1 << 20,
        }
    }
}

/// A client in the same process, made by [`Broker::connect_local`]; for any thread. Dropping it ends its Connection and,
/// with that, its Session.
///
/// It publishes and subscribes at QoS 0 and 1. Nothing it does blocks but [`receive`](Self::receive), and nothing it does
/// makes a worker wait: what it sends without a pause is taken in a few thousand bytes a turn, and [`LocalError::Full`] slows it
/// down. 4,096 QoS 1 messages may be under way to it, not
/// [`Limits::maximum_inflight_messages`](crate::Limits::maximum_inflight_messages): one that receives what comes misses nothing
/// of what others publish in this way. Clients behind sockets have that limit; what comes faster than they acknowledge it is
/// dropped as from any publisher.
///
/// Answers wait to be [received](Self::try_receive) like messages, and are never dropped: a client that publishes at QoS 1 and
/// never receives is [closed](CloseCause::QuotaExceeded) when `maximum_bytes` and
/// [`Limits::maximum_reply_bytes`](crate::Limits::maximum_reply_bytes) of them wait. One that only publishes does so at QoS 0,
/// or receives what comes and drops it.
pub struct LocalClient {
    shared: Arc<LocalShared>,
    /// Not in what is shared: the broker has that in its Sessions.
    broker: Arc<Shared>,
    identifiers: AtomicU16,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is no worker that could take it in.
    #[error("there is no worker")]
    NoWorker,
    /// A Client Identifier or user name that no CONNECT could carry, or an empty user name.
    #[error("a client identifier or user name that is none")]
    Name,
    /// Too much waits for the broker. Try again later.
    #[error("too much waits for the broker")]
    Full,
    /// The Connection has ended: [`LocalClient::close_cause`] says why.
    #[error("the connection has ended")]
    Closed,
    /// A Topic Name or Topic Filter is not valid.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Larger than a packet may be: than `Limits::maximum_packet_size`.
    #[error("larger than a packet may be")]
    TooLarge,
    /// A Topic Name or Topic Filter of more levels than `Limits::maximum_topic_levels`.
    #[error("more topic levels than are allowed")]
    TooDeep,
    /// A message to be retained, where there are none: `BrokerConfig::retain_available`.
    #[error("retained messages are not available")]
    RetainNotAvailable,
}

/// What has come for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalEvent {
    /// A message.
    Message(LocalMessage),
    /// The answer to [`LocalClient::publish`] at QoS 1.
    Published {
        /// What `publish` returned.
        identifier: u16,
        /// Whether it was taken.
        reason_code: ReasonCode,
    },
    /// The answer to [`LocalClient::subscribe`] and [`LocalClient::unsubscribe`].
    Subscribed {
        /// What they returned.
        identifier: u16,
        /// Whether it was done.
        reason_code: ReasonCode,
    },
}

/// A message that a client has received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalMessage {
    /// Its Topic Name.
    pub topic_name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The QoS that it came with.
    pub qos: QoS,
    /// Whether it was retained.
    pub retain: bool,
}

/// A worker's end of a client.
pub(crate) struct Local {
    link: Link,
    shared: WorkersEnd,
}

/// A client that a worker is to take in.
pub(crate) struct Opening {
    options: LocalOptions,
    shared: WorkersEnd,
}

/// The two buffers as the worker has them: when it is gone, the Connection has ended.
struct WorkersEnd(Arc<LocalShared>);

impl core::ops::Deref for WorkersEnd {
    type Target = Arc<LocalShared>;

    fn deref(&self) -> &Arc<LocalShared> {
        &self.0
    }
}

impl Drop for WorkersEnd {
    fn drop(&mut self) {
        // Unless there is a better reason already.
        self.0.close(Some(CloseCause::ServerShuttingDown));
    }
}

/// The two buffers. Neither lock is held while the other, or one of the broker's, is taken.
pub(crate) struct LocalShared {
    id: u64,
    inbox: Arc<Inbox>,
    maximum: usize,
    /// The largest packet that the broker takes.
    maximum_packet: usize,
    to_broker: Mutex<ToBroker>,
    from_broker: Mutex<FromBroker>,
    arrived: Condvar,
}

#[derive(Default)]
struct ToBroker {
    bytes: Vec<u8>,
    /// Bytes that the worker has taken.
    taken: usize,
    /// The worker knows that there is something.
    told: bool,
}

#[derive(Default)]
struct FromBroker {
    bytes: Vec<u8>,
    /// Bytes that the client has taken.
    taken: usize,
    /// The broker waits for room.
    blocked: bool,
    closed: bool,
    cause: Option<CloseCause>,
    /// With what it was refused or disconnected, once it has taken the packet that says so.
    reason_code: Option<ReasonCode>,
}

/// What the Outbox of a client has as its handle.
struct LocalHandle(Arc<LocalShared>);

impl Broker {
    /// Takes a client in that lives in the same process. It may publish and subscribe at once; a worker does it in its next
    /// turn. Workers take them in by turns.
    ///
    /// # Errors
    ///
    /// [`LocalError::NoWorker`], [`LocalError::Name`]. Whether it is refused for another reason is known later:
    /// [`LocalClient::reason_code`].
    pub fn connect_local(&self, options: LocalOptions) -> Result<LocalClient, LocalError> {
        options.check()?;
        let id = self.shared.next_local.fetch_add(1, Ordering::Relaxed);
        let inbox = self.shared.inbox_in_turn(id).ok_or(LocalError::NoWorker)?;
        let shared = Arc::new(LocalShared {
            id,
            inbox: Arc::clone(&inbox),
            maximum: options.maximum_bytes.max(1),
            maximum_packet: self.shared.rules().config.limits.maximum_packet_size as usize,
            to_broker: Mutex::default(),
            from_broker: Mutex::default(),
            arrived: Condvar::default(),
        });
        inbox.send(Letter::LocalOpened(Box::new(Opening {
            options,
            shared: WorkersEnd(Arc::clone(&shared)),
        })));
        Ok(LocalClient {
            shared,
            broker: Arc::clone(&self.shared),
            identifiers: AtomicU16::new(0),
        })
    }
}

impl LocalOptions {
    /// The CONNECT that it comes in by.
    fn connect(&self) -> Connect<'_> {
        Connect {
            version: VERSION,
            bridge: false,
            clean_start: true,
            keep_alive: 0,
            client_id: &self.client_id,
            username: self.username.as_deref(),
            password: None,
            will: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Whether a client behind a socket could have these names.
    fn check(&self) -> Result<(), LocalError> {
        let mut bytes = Vec::new();
        let options = DecodeOptions {
            utf8: Utf8Policy::Strict,
            ..DecodeOptions::new(VERSION, Role::Server)
        };
        let is_carried = self.connect().encode(VERSION, &mut bytes).is_ok()
            && matches!(frame(&bytes, &options), Ok(Framing::Complete(whole)) if Connect::decode(whole, &options).is_ok());
        if is_carried && self.username.as_deref().is_none_or(is_user_name) {
            Ok(())
        } else {
            Err(LocalError::Name)
        }
    }
}

impl LocalClient {
    /// Publishes a message. At QoS 1 it returns the identifier that [`LocalEvent::Published`] will carry. After 65,535 requests an
    /// identifier comes again, whether its answer has been received or not.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid or has too many levels, the packet is larger than the broker takes, messages are not
    /// retained, too much waits already, or the Connection has ended. A message that is refused costs nothing else.
    pub fn publish(
        &self,
        topic_name: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<Option<u16>, LocalError> {
        TopicName::new(topic_name)?;
        self.check(topic_name, retain)?;
        let qos = qos.min(QoS::AtLeastOnce);
        let packet_identifier = (qos == QoS::AtLeastOnce).then(|| self.next_identifier());
        let packet = OutgoingPublish {
            dup: false,
            qos,
            retain,
            topic_name,
            packet_identifier,
            topic_alias: None,
            message_expiry_interval: None,
            subscription_identifiers: &[],
            forwarded: &[],
            payload_len: payload.len(),
        };
        self.shared.send(Bound::Keep, |bytes| {
            packet.encode_header(VERSION, bytes).is_ok() && {
                bytes.extend_from_slice(payload);
                true
            }
        })?;
        Ok(packet_identifier.map(PacketIdentifier::get))
    }

    /// Subscribes at QoS 0 or 1. Returns the identifier that [`LocalEvent::Subscribed`] will carry.
    ///
    /// # Errors
    ///
    /// The Topic Filter is not valid or has too many levels, the packet is larger than the broker takes, too much waits
    /// already, or the Connection has ended.
    pub fn subscribe(&self, filter: &str, maximum_qos: QoS) -> Result<u16, LocalError> {
        SubscriptionFilter::parse(filter)?;
        self.check(filter, false)?;
        let options = SubscriptionOptions {
            maximum_qos: maximum_qos.min(QoS::AtLeastOnce),
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        let filters = [(filter, options)];
        let packet = Subscribe {
            packet_identifier: self.next_identifier(),
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_slice(&filters),
        };
        self.shared
            .send(Bound::Keep, |bytes| packet.encode(VERSION, bytes).is_ok())?;
        Ok(packet.packet_identifier.get())
    }

    /// Takes a Subscription back. Returns the identifier that [`LocalEvent::Subscribed`] will carry.
    ///
    /// # Errors
    ///
    /// The Topic Filter is not valid or has too many levels, the packet is larger than the broker takes, too much waits
    /// already, or the Connection has ended.
    pub fn unsubscribe(&self, filter: &str) -> Result<u16, LocalError> {
        SubscriptionFilter::parse(filter)?;
        self.check(filter, false)?;
        let filters = [filter];
        let packet = Unsubscribe {
            packet_identifier: self.next_identifier(),
            user_properties: Default::default(),
            filters: UnsubscribeFilters::from_slice(&filters),
        };
        self.shared
            .send(Bound::Keep, |bytes| packet.encode(VERSION, bytes).is_ok())?;
        Ok(packet.packet_identifier.get())
    }

    /// What has come next, if anything has. A QoS 1 message is acknowledged by being taken.
    ///
    /// # Errors
    ///
    /// The Connection has ended, and everything that had come before is taken.
    pub fn try_receive(&self) -> Result<Option<LocalEvent>, LocalError> {
        let mut from_broker = self.shared.from_broker.lock();
        let (mut event, mut acknowledge) = (None, None);
        while event.is_none() && from_broker.next(&mut event, &mut acknowledge) {}
        let has_room = from_broker.bytes.len() - from_broker.taken <= self.shared.maximum / 2;
        let unblocked = has_room && core::mem::take(&mut from_broker.blocked);
        let closed = from_broker.closed;
        drop(from_broker);
        if unblocked {
            self.shared.inbox.send(Letter::Local(self.shared.id));
        }
        if let Some(packet_identifier) = acknowledge {
            let packet = PubAck {
                packet_identifier,
                reason_code: ReasonCode::Success,
                properties: AckProperties::default(),
            };
            // There are no more of these than messages under way. That the Connection has ended is said below.
            let _ = self
                .shared
                .send(Bound::Exceed, |bytes| packet.encode(VERSION, bytes).is_ok());
        }
        match event {
            None if closed => Err(LocalError::Closed),
            event => Ok(event),
        }
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    ///
    /// The Connection has ended.
    pub fn receive(&self) -> Result<LocalEvent, LocalError> {
        loop {
            if let Some(event) = self.try_receive()? {
                return Ok(event);
            }
            let from_broker = self.shared.from_broker.lock();
            if from_broker.bytes.len() == from_broker.taken && !from_broker.closed {
                drop(self.shared.arrived.wait(from_broker));
            }
        }
    }

    /// Why the Connection has ended. `None`: it has not, or nobody knows.
    pub fn close_cause(&self) -> Option<CloseCause> {
        self.shared.from_broker.lock().cause
    }

    /// With what it was refused, or disconnected. `None`: it was not, or was not told.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        let from_broker = self.shared.from_broker.lock();
        from_broker
            .reason_code
            .or_else(|| from_broker.unread_reason_code())
    }

    /// Refuses what would end the Connection.
    fn check(&self, topic: &str, retain: bool) -> Result<(), LocalError> {
        let (levels, may_retain) = self.broker.local_limits();
        if retain && !may_retain {
            return Err(LocalError::RetainNotAvailable);
        }
        check_depth(topic, levels).map_err(|_| LocalError::TooDeep)
    }

    fn next_identifier(&self) -> PacketIdentifier {
        loop {
            // 0 is no identifier.
            if let Some(identifier) = PacketIdentifier::new(self.identifiers.fetch_add(1, Ordering::Relaxed))
            {
                return identifier;
            }
        }
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        let packet = Disconnect {
            reason_code: ReasonCode::Success,
            properties: Default::default(),
        };
        // It may have ended already.
        let _ = self
            .shared
            .send(Bound::Exceed, |bytes| packet.encode(VERSION, bytes).is_ok());
    }
}

/// Whether the bound on waiting bytes holds for a packet.
#[derive(PartialEq, Eq)]
enum Bound {
    Keep,
    Exceed,
}

impl LocalShared {
    fn send(&self, bound: Bound, encode: impl FnOnce(&mut Vec<u8>) -> bool) -> Result<(), LocalError> {
        if self.from_broker.lock().closed {
            return Err(LocalError::Closed);
        }
        let mut to_broker = self.to_broker.lock();
        let before = to_broker.bytes.len();
        if bound == Bound::Keep && before - to_broker.taken >= self.maximum {
            return Err(LocalError::Full);
        }
        if !encode(&mut to_broker.bytes) || to_broker.bytes.len() - before > self.maximum_packet {
            to_broker.bytes.truncate(before);
            return Err(LocalError::TooLarge);
        }
        let tell = !core::mem::replace(&mut to_broker.told, true);
        drop(to_broker);
        if tell {
            self.inbox.send(Letter::Local(self.id));
        }
        Ok(())
    }

    /// Takes output over, whole, unless too much waits already.
    fn take_over(&self, output: &mut crate::output::Output) -> Sent {
        let mut from_broker = self.from_broker.lock();
        if from_broker.taken > from_broker.bytes.len() / 2 {
            let taken = core::mem::take(&mut from_broker.taken);
            from_broker.bytes.drain(..taken);
        }
        if from_broker.bytes.len() - from_broker.taken >= self.maximum {
            from_broker.blocked = true;
            return Sent::Blocked;
        }
        while !output.is_empty() {
            let chunk = output.chunk();
            let count = chunk.len();
            from_broker.bytes.extend_from_slice(chunk);
            output.advance(count);
        }
        drop(from_broker);
        self.arrived.notify_all();
        Sent::All
    }

    fn close(&self, cause: Option<CloseCause>) {
        let mut from_broker = self.from_broker.lock();
        from_broker.closed = true;
        from_broker.cause = from_broker.cause.or(cause);
        drop(from_broker);
        self.arrived.notify_all();
    }
}

impl ToBroker {
    /// What is taken in at once: whole packets, at least one if there is any.
    fn take_some(&mut self) -> Vec<u8> {
        let options = DecodeOptions::new(VERSION, Role::Server);
        let unread = self.bytes.get(self.taken..).unwrap_or_default();
        let mut count = 0;
        while count < AT_ONCE {
            match frame(unread.get(count..).unwrap_or_default(), &options) {
                Ok(Framing::Complete(whole)) => count += whole.len(),
                // The end; there is nothing that is no packet.
                _ => count = unread.len().max(AT_ONCE),
            }
        }
        if count >= unread.len() {
            let mut bytes = core::mem::take(&mut self.bytes);
            bytes.drain(..core::mem::take(&mut self.taken));
            return bytes;
        }
        let bytes = unread.get(..count).unwrap_or_default().to_vec();
        self.taken += count;
        if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..core::mem::take(&mut self.taken));
        }
        bytes
    }
}

impl FromBroker {
    /// Looks at the next packet. `false`: there is no whole one.
    fn next(&mut self, event: &mut Option<LocalEvent>, acknowledge: &mut Option<PacketIdentifier>) -> bool {
        let options = DecodeOptions::new(VERSION, Role::Client);
        let unread = self.bytes.get(self.taken..).unwrap_or_default();
        let Ok(Framing::Complete(whole)) = frame(unread, &options) else {
            return false;
        };
        self.taken += whole.len();
        match Packet::decode(whole, &options) {
            Ok(Packet::Publish(publish)) => {
                *acknowledge = publish.packet_identifier;
                *event = Some(LocalEvent::Message(LocalMessage {
                    topic_name: publish.topic_name.to_owned(),
                    payload: publish.payload.to_vec(),
                    qos: publish.qos,
                    retain: publish.retain,
                }));
            }
            Ok(Packet::PubAck(packet)) => {
                *event = Some(LocalEvent::Published {
                    identifier: packet.packet_identifier.get(),
                    reason_code: packet.reason_code,
                });
            }
            Ok(Packet::SubAck(packet)) => {
                *event = packet
                    .reason_codes
                    .iter()
                    .next()
                    .map(|reason_code| LocalEvent::Subscribed {
                        identifier: packet.packet_identifier.get(),
                        reason_code,
                    });
            }
            Ok(Packet::UnsubAck(packet)) => {
                *event = packet
                    .reason_codes
                    .iter()
                    .next()
                    .map(|reason_code| LocalEvent::Subscribed {
                        identifier: packet.packet_identifier.get(),
                        reason_code,
                    });
            }
            // Whether the Connection has ended is seen elsewhere.
            Ok(packet) => self.reason_code = self.reason_code.or(ends_with(&packet)),
            Err(_) => {}
        }
        true
    }

    /// The same of what is not taken yet.
    fn unread_reason_code(&self) -> Option<ReasonCode> {
        let options = DecodeOptions::new(VERSION, Role::Client);
        let mut unread = self.bytes.get(self.taken..).unwrap_or_default();
        while let Ok(Framing::Complete(whole)) = frame(unread, &options) {
            let reason_code = match whole.packet_type() {
                PacketType::ConnAck | PacketType::Disconnect => Packet::decode(whole, &options).ok(),
                _ => None,
            };
            if let Some(reason_code) = reason_code.as_ref().and_then(ends_with) {
                return Some(reason_code);
            }
            unread = unread.get(whole.len()..).unwrap_or_default();
        }
        None
    }
}

/// What a packet says that ends a Connection.
fn ends_with(packet: &Packet<'_>) -> Option<ReasonCode> {
    match packet {
        Packet::ConnAck(packet) => Some(packet.reason_code).filter(|reason_code| reason_code.is_error()),
        Packet::Disconnect(packet) => Some(packet.reason_code),
        _ => None,
    }
}

impl Worker {
    /// Takes a client in.
    pub(crate) fn open_local(&mut self, opening: Opening) {
        let Opening { options, shared } = opening;
        let policy = ListenerPolicy {
            id: options.listener,
            topic_alias_maximum: 0,
            ..ListenerPolicy::default()
        };
        let handle = LocalHandle(Arc::clone(&shared));
        let mut link = self.open(Box::new(handle), &Arc::new(policy));
        let username = options.username.as_deref().map(Arc::from);
        self.connect_trusted(&mut link, &options.connect(), username);
        self.obey_hook(&mut link);
        let id = shared.id;
        self.locals.insert(id, Local { link, shared });
        self.look_at_local(id);
    }

    /// Does what there is to do for a client of this worker: reads once, writes on, ends.
    pub(crate) fn look_at_local(&mut self, id: u64) {
        let Some(mut local) = self.locals.remove(&id) else {
            return;
        };
        let outbox = Arc::clone(local.link.outbox());
        self.writable(&outbox);
        // While it is paused, the client has no need to say that there is something: what ends the pause looks.
        if local.link.state() == LinkState::Open {
            let bytes = local.shared.to_broker.lock().take_some();
            if !bytes.is_empty() {
                self.input(&mut local.link, &bytes);
            }
            if local.link.state() == LinkState::Open {
                let mut to_broker = local.shared.to_broker.lock();
                to_broker.told = !to_broker.bytes.is_empty();
                let more = to_broker.told;
                drop(to_broker);
                if more {
                    // In the next turn: a client that is faster than we are must not keep the others waiting.
                    self.inbox.send(Letter::Local(id));
                }
            }
        }
        if local.shared.from_broker.lock().closed {
            self.close(&mut local.link, CloseCause::ConnectionClosed);
        } else {
            self.locals.insert(id, local);
        }
    }

    /// Hands output to a client of the same process. `false`: the Connection is another one's, and its driver's to write.
    pub(crate) fn write_locally(&mut self, outbox: &Arc<Outbox>) -> bool {
        let Some(LocalHandle(shared)) = outbox.handle().downcast_ref::<LocalHandle>() else {
            return false;
        };
        loop {
            let next = match self.take_output(outbox) {
                Take::Output(mut output) => {
                    let sent = shared.take_over(&mut output);
                    self.output_done(outbox, output, sent)
                }
                Take::Close => Next::Close,
                Take::Nothing => Next::Idle,
            };
            match next {
                Next::Again => {}
                Next::Close => {
                    shared.close(outbox.close_cause());
                    // Its worker ends the Link.
                    shared.inbox.send(Letter::Local(shared.id));
                    return true;
                }
                Next::Idle => return true,
            }
        }
    }

    /// Gives a verdict to a client of this worker; gives it back if it is for another Connection.
    pub(crate) fn decide_locally(&mut self, verdict: Verdict) -> Option<Verdict> {
        let id = match verdict.outbox.handle().downcast_ref::<LocalHandle>() {
            Some(LocalHandle(shared)) => shared.id,
            None => return Some(verdict),
        };
        if let Some(mut local) = self.locals.remove(&id) {
            self.verdict(&mut local.link, verdict);
            self.locals.insert(id, local);
            self.look_at_local(id);
        }
        None
    }
}

/// Bytes that are taken in of a client at once, which happens twice a turn: of the smallest QoS 1 messages no more than wait for
/// a Session by default, so that one that is idle gets them all.
const AT_ONCE: usize = 4000;

const VERSION: ProtocolVersion = ProtocolVersion::V5;
