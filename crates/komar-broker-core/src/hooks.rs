//! What an embedder may watch, refuse and change on the way of a client's packets. A hook that is not set costs one branch.

use std::collections::VecDeque;
use std::sync::Arc;

use komar_codec::{ProtocolVersion, QoS, ReasonCode};
use komar_topic::{TopicError, TopicName};

use crate::access::Identity;
use crate::error::CloseCause;
use crate::guard::{Panicked, guarded};
use crate::message::{Message, MessageBody};
use crate::outbox::Outbox;
use crate::session::Session;
use crate::worker::Worker;

/// Code of the embedder that runs within a turn, on the worker's thread. It must not block, and no lock of the broker is
/// held while it runs.
///
/// A hook that panics costs the Connection that it was called for, and nobody else:
///
/// | hook | what a panic does |
/// | --- | --- |
/// | connect | the client is refused: CONNACK 0x83 Implementation specific error |
/// | publish, subscribe | nothing is published or subscribed; DISCONNECT 0x83, and the Connection ends |
/// | publish, of a Will Message | it is not published; the Connection has ended already |
/// | deliver | the message is left out for that receiver, whose Connection goes on |
/// | disconnect | nothing: the Connection has ended already |
///
/// What the hook had [published](Actions::publish) before it panicked is published all the same. The panic is logged, and its
/// message goes where the process's own panic hook sends it; with `panic = "abort"` the process ends.
///
/// ```
/// use komar_broker_core::{Access, Broker, BrokerConfig, Hooks, ReasonCode};
///
/// let hooks = Hooks::default().on_publish(|publish, actions| {
///     if publish.payload().is_empty() && !publish.retain() {
///         return Err(ReasonCode::PayloadFormatInvalid);
///     }
///     if publish.topic_name().starts_with("alarm/") {
///         // A hook may publish; its own messages do not come by it again.
///         let copy = publish.payload().to_vec();
///         let _ = actions.publish("log/alarms", &copy, publish.qos(), false);
///     }
///     Ok(())
/// });
/// let broker = Broker::with_hooks(BrokerConfig::default(), Access::allow_all(), hooks, 42);
/// # let _ = broker;
/// ```
#[derive(Clone, Default)]
pub struct Hooks {
    connect: Option<Arc<ConnectHook>>,
    disconnect: Option<Arc<DisconnectHook>>,
    publish: Option<Arc<PublishHook>>,
    subscribe: Option<Arc<SubscribeHook>>,
    deliver: Option<Arc<DeliverHook>>,
}

type ConnectHook = dyn Fn(&Connecting<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync;
type DisconnectHook = dyn Fn(&Disconnecting<'_>, &mut Actions<'_>) + Send + Sync;
type PublishHook = dyn Fn(&mut Publishing<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync;
type SubscribeHook = dyn Fn(&mut Subscribing<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync;
type DeliverHook = dyn Fn(&Delivering<'_>) -> bool + Send + Sync;

impl Hooks {
    /// A client is authenticated and about to be let in. An error refuses it with that code.
    #[must_use]
    pub fn on_connect(
        mut self,
        hook: impl Fn(&Connecting<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync + 'static,
    ) -> Self {
        self.connect = Some(Arc::new(hook));
        self
    }

    /// A Connection that had been accepted has ended. What the hook publishes is routed behind the Will Messages of the turn, or
    /// before them where many Connections end in one: 1 MiB waits, with what the last call adds.
    #[must_use]
    pub fn on_disconnect(
        mut self,
        hook: impl Fn(&Disconnecting<'_>, &mut Actions<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.disconnect = Some(Arc::new(hook));
        self
    }

    /// A client's message, or its Will Message, may be published and is about to be. An error refuses it: a 5.0 client
    /// is told the code in PUBACK or PUBREC. Messages of the broker's own, of hooks for example, do not come by, nor does a
    /// message of QoS 2 that was let through and is sent again (DUP) before it is released: the first one stands. One that was
    /// refused and is sent again is another one to the hook, as at QoS 1: a 3.x client, which is not told of the refusal, may
    /// do so after its Connection has broken.
    #[must_use]
    pub fn on_publish(
        mut self,
        hook: impl Fn(&mut Publishing<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync + 'static,
    ) -> Self {
        self.publish = Some(Arc::new(hook));
        self
    }

    /// A Subscription was granted and is about to be made, one filter of a SUBSCRIBE after the other. An error refuses it
    /// with that code.
    #[must_use]
    pub fn on_subscribe(
        mut self,
        hook: impl Fn(&mut Subscribing<'_>, &mut Actions<'_>) -> Result<(), ReasonCode> + Send + Sync + 'static,
    ) -> Self {
        self.subscribe = Some(Arc::new(hook));
        self
    }

    /// A message is about to be sent or queued for a Session that may read it; `false` leaves it out. Called for each
    /// receiver, so it had better be quick. It is called again for what still waits when another user takes the Session up,
    /// which is another user name, and not the same one by another listener.
    #[must_use]
    pub fn on_deliver(mut self, hook: impl Fn(&Delivering<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.deliver = Some(Arc::new(hook));
        self
    }

    #[inline]
    pub(crate) fn has_publish(&self) -> bool {
        self.publish.is_some()
    }

    /// Whether messages are shown to a hook, when they come or when they go.
    #[inline]
    pub(crate) fn watch_messages(&self) -> bool {
        self.publish.is_some() || self.deliver.is_some()
    }

    #[inline]
    pub(crate) fn has_deliver(&self) -> bool {
        self.deliver.is_some()
    }

    #[inline]
    pub(crate) fn has_subscribe(&self) -> bool {
        self.subscribe.is_some()
    }

    /// Whether a Session is to get a message. A hook that panics leaves it out.
    #[inline]
    pub(crate) fn delivers(&self, session: &Session, message: Message<'_>, qos: QoS, retain: bool) -> bool {
        let Some(hook) = &self.deliver else { return true };
        let identity = Arc::clone(&session.lock().identity);
        let delivering = Delivering {
            identity: &identity,
            message,
            qos,
            retain,
        };
        guarded("a deliver hook", || hook(&delivering)).unwrap_or(false)
    }
}

/// What a hook may do beside its answer.
pub struct Actions<'a> {
    posts: &'a mut VecDeque<MessageBody>,
    /// Messages that the call may publish.
    room: usize,
    disconnect: Option<ReasonCode>,
}

/// Why a hook's message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The Topic Name is not valid.
    #[error("topic name: {0}")]
    TopicName(TopicError),
    /// One call has published too many already.
    #[error("one call has published too many messages")]
    Full,
}

impl Actions<'_> {
    /// Publishes a message of the embedder's own. It is routed behind the client's message or Subscription, of CONNECT before
    /// the client is let in, and in each case before the packet is answered: PUBACK, PUBREC, SUBACK and the CONNACK that
    /// lets it in wait until it is durable, too. One that no packet has room for, about 256 MiB, is dropped and counted.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid, or the hook has published 10,000 messages in this call.
    pub fn publish(
        &mut self,
        topic_name: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<(), PublishError> {
        let topic_name = TopicName::new(topic_name).map_err(PublishError::TopicName)?;
        self.room = self.room.checked_sub(1).ok_or(PublishError::Full)?;
        let message = Message::plain(topic_name, payload, qos, retain);
        self.posts.push_back(message.to_body(&mut Vec::new()));
        Ok(())
    }

    /// Ends the Connection of the client that the hook is called for, once its packet is answered. A 5.0 client is told
    /// the code.
    pub fn disconnect(&mut self, reason_code: ReasonCode) {
        self.disconnect = Some(reason_code);
    }
}

/// A client that is about to be let in.
pub struct Connecting<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) version: ProtocolVersion,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) outbox: &'a Arc<Outbox>,
}

impl Connecting<'_> {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        self.identity
    }

    /// What it speaks.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Whether it asked for a fresh Session.
    pub fn clean_start(&self) -> bool {
        self.clean_start
    }

    /// Its keep alive in seconds, as it asked; 0 for none.
    pub fn keep_alive(&self) -> u16 {
        self.keep_alive
    }

    /// Its Connection, to find the driver's own value by.
    pub fn outbox(&self) -> &Arc<Outbox> {
        self.outbox
    }
}

/// A client whose Connection has ended.
pub struct Disconnecting<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) cause: CloseCause,
}

impl Disconnecting<'_> {
    /// Who it was.
    pub fn identity(&self) -> &Identity {
        self.identity
    }

    /// Why it ended.
    pub fn cause(&self) -> CloseCause {
        self.cause
    }
}

/// A client's message on its way in.
pub struct Publishing<'a> {
    identity: &'a Identity,
    message: Message<'a>,
    is_will: bool,
    rewritten: Rewritten,
}

/// What a hook has put in place of what the client sent.
#[derive(Default)]
pub(crate) struct Rewritten {
    topic_name: Option<String>,
    payload: Option<Vec<u8>>,
    retain: Option<bool>,
}

impl Publishing<'_> {
    /// Who publishes.
    pub fn identity(&self) -> &Identity {
        self.identity
    }

    /// Its Topic Name; of a Topic Alias, what it stands for.
    pub fn topic_name(&self) -> &str {
        let own = self.message.topic_name.as_str();
        self.rewritten.topic_name.as_deref().unwrap_or(own)
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.rewritten.payload.as_deref().unwrap_or(self.message.payload)
    }

    /// Its QoS.
    pub fn qos(&self) -> QoS {
        self.message.qos
    }

    /// Whether it is to be retained.
    pub fn retain(&self) -> bool {
        self.rewritten.retain.unwrap_or(self.message.retain)
    }

    /// Whether it is a Will Message.
    pub fn is_will(&self) -> bool {
        self.is_will
    }

    /// Sends it to another Topic Name, which may be one below `$SYS`; what begins with `$share` nobody receives. Nobody asks
    /// whether the client may write there, nor later on, if it is retained: it has no source then, as a message of the
    /// embedder's own.
    ///
    /// # Errors
    ///
    /// The Topic Name is not valid; the old one stays.
    pub fn set_topic_name(&mut self, topic_name: &str) -> Result<(), TopicError> {
        TopicName::new(topic_name)?;
        self.rewritten.topic_name = Some(topic_name.to_owned());
        Ok(())
    }

    /// Replaces its payload. A message that no packet has room for, about 256 MiB, is dropped and counted
    /// ([`Statistics::dropped_messages`](crate::Statistics::dropped_messages)).
    pub fn set_payload(&mut self, payload: Vec<u8>) {
        self.rewritten.payload = Some(payload);
    }

    /// Decides whether it is retained.
    pub fn set_retain(&mut self, retain: bool) {
        self.rewritten.retain = Some(retain);
    }
}

impl Rewritten {
    fn is_empty(&self) -> bool {
        self.topic_name.is_none() && self.payload.is_none() && self.retain.is_none()
    }

    /// The message with what the hook has changed.
    pub(crate) fn apply<'m>(&'m self, message: Message<'m>) -> Message<'m> {
        Message {
            topic_name: self
                .topic_name
                .as_deref()
                .map_or(message.topic_name, TopicName::from_checked),
            payload: self.payload.as_deref().unwrap_or(message.payload),
            retain: self.retain.unwrap_or(message.retain),
            moved: message.moved || self.topic_name.is_some(),
            kept: message.kept.filter(|_| self.is_empty()),
            ..message
        }
    }
}

/// A Subscription that is about to be made.
pub struct Subscribing<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) filter: &'a str,
    pub(crate) maximum_qos: QoS,
}

impl Subscribing<'_> {
    /// Who subscribes.
    pub fn identity(&self) -> &Identity {
        self.identity
    }

    /// The filter as the client wrote it, `$share/` included.
    pub fn filter(&self) -> &str {
        self.filter
    }

    /// The QoS that would be granted.
    pub fn maximum_qos(&self) -> QoS {
        self.maximum_qos
    }

    /// Grants less. More than the client asked for is not granted.
    pub fn set_maximum_qos(&mut self, qos: QoS) {
        self.maximum_qos = self.maximum_qos.min(qos);
    }
}

/// A message on its way to one Session.
pub struct Delivering<'a> {
    identity: &'a Identity,
    message: Message<'a>,
    qos: QoS,
    retain: bool,
}

impl Delivering<'_> {
    /// Who is to receive it; the user of a Session that is not connected is the one that had it last.
    pub fn identity(&self) -> &Identity {
        self.identity
    }

    /// Its Topic Name.
    pub fn topic_name(&self) -> &str {
        self.message.topic_name.as_str()
    }

    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        self.message.payload
    }

    /// The QoS that it would be sent with.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it would be sent with RETAIN.
    pub fn retain(&self) -> bool {
        self.retain
    }
}

impl Worker {
    pub(crate) fn connect_hook(
        &mut self,
        connecting: &Connecting<'_>,
    ) -> Result<Result<(), ReasonCode>, Panicked> {
        let Some(hook) = self.broker.hooks.connect.clone() else {
            return Ok(Ok(()));
        };
        self.run("a connect hook", |actions| hook(connecting, actions))
    }

    pub(crate) fn disconnect_hook(&mut self, identity: &Identity, cause: CloseCause) {
        let Some(hook) = self.broker.hooks.disconnect.clone() else {
            return;
        };
        let disconnecting = Disconnecting { identity, cause };
        let before = self.posts.len();
        // The Connection has ended already, so a panic costs nothing more.
        let _ = self.run("a disconnect hook", |actions| hook(&disconnecting, actions));
        self.ending = None;
        let posted = self.posts.iter().skip(before).map(MessageBody::len);
        self.posted_bytes = self.posted_bytes.saturating_add(posted.sum());
        if self.posted_bytes >= MAXIMUM_POSTED_BYTES {
            self.route_posts();
        }
    }

    /// What the hook makes of a client's message: a refusal, or something else in its place.
    pub(crate) fn publish_hook(
        &mut self,
        identity: &Identity,
        message: Message<'_>,
        is_will: bool,
    ) -> Result<Result<Rewritten, ReasonCode>, Panicked> {
        let Some(hook) = self.broker.hooks.publish.clone() else {
            return Ok(Ok(Rewritten::default()));
        };
        let mut publishing = Publishing {
            identity,
            message,
            is_will,
            rewritten: Rewritten::default(),
        };
        let answer = self.run("a publish hook", |actions| hook(&mut publishing, actions))?;
        Ok(answer.map(|()| publishing.rewritten))
    }

    pub(crate) fn subscribe_hook(
        &mut self,
        subscribing: &mut Subscribing<'_>,
    ) -> Result<Result<(), ReasonCode>, Panicked> {
        let Some(hook) = self.broker.hooks.subscribe.clone() else {
            return Ok(Ok(()));
        };
        self.run("a subscribe hook", |actions| hook(subscribing, actions))
    }

    fn run<R>(
        &mut self,
        what: &'static str,
        call: impl FnOnce(&mut Actions<'_>) -> R,
    ) -> Result<R, Panicked> {
        let mut actions = Actions {
            posts: &mut self.posts,
            room: MAXIMUM_POSTS,
            disconnect: None,
        };
        let result = guarded(what, || call(&mut actions));
        if let Some(reason_code) = actions.disconnect {
            self.ending = Some(reason_code);
        }
        result
    }
}

/// Messages that one call of a hook may publish. Those of a packet are routed with it.
const MAXIMUM_POSTS: usize = 10_000;

/// Bytes of messages at which those of Connections that end in one turn, of which there may be very many, are routed before
/// its work is done.
const MAXIMUM_POSTED_BYTES: usize = 1 << 20;
