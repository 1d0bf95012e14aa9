//! What an embedder decides before the broker starts: plain data with documented defaults.

use core::num::NonZeroU32;
use core::time::Duration;

use komar_codec::{ProtocolVersion, QoS};
use komar_identity::IdentityPolicy;

/// Settings that hold for the whole broker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Bounds on everything that input can make grow.
    pub limits: Limits,
    /// Whether a Session whose Subscriptions overlap gets one copy for each of them (`true`, the default, as
    /// Mosquitto 2.1's `allow_duplicate_messages`) or one copy at the highest QoS. MQTT 5.0 §3.3.4.
    pub allow_duplicate_messages: bool,
    /// Whether QoS 0 messages are kept for Sessions that are not connected. Default: `false`.
    pub queue_qos0_messages: bool,
    /// Whether messages may be retained. Default: `true`. When `false`, CONNACK says so (MQTT 5.0 §3.2.2.3.5).
    pub retain_available: bool,
    /// Deliver at the Subscription's QoS even what was published with a lower one. Default: `false`.
    pub upgrade_outgoing_qos: bool,
    /// What Client Identifiers have to begin with; others are refused. Default: none (`clientid_prefixes`).
    pub client_id_prefix: Option<String>,
    /// Whether a retained message is sent only while the client that published it may still publish there. Default:
    /// `true`, as Mosquitto documents `check_retain_source`. Nobody can wait then: where the answer is
    /// [`Decision::Later`](crate::Decision::Later), what was granted at its publication stays granted, under whatever rules that
    /// was: an [`Authorize`](crate::Authorize) that takes rights away answers [`Decision::Deny`](crate::Decision::Deny) at once.
    pub check_retain_source: bool,
    /// Longest time that a message is retained; a shorter Message Expiry Interval of its own stays, and receivers are
    /// told of that one only. Default: none (`retain_expiry_interval`).
    pub retained_expiry_maximum: Option<Duration>,
    /// Longest keep alive that a client may ask for; a 5.0 client is told this one instead (MQTT 5.0
    /// §3.2.2.3.14), a 3.x client is refused. Default: none.
    pub maximum_keep_alive: Option<u16>,
    /// Longest time that a Session is kept after its Connection closes; longer wishes are cut to it
    /// (`persistent_client_expiration`). Default: none (as long as the client asked for).
    pub session_expiry_maximum: Option<Duration>,
    /// Whether changes are handed out to be stored, and acknowledgements wait for the store: see
    /// [`store`](crate::store). Looked at once, when the broker is made. Default: `false`.
    pub durable: bool,
    /// Whether more unacknowledged QoS 2 messages than our Receive Maximum are kept and counted
    /// ([`Statistics::receive_maximum_exceeded`](crate::Statistics::receive_maximum_exceeded)) instead of ending a
    /// 5.0 Connection with Reason Code 0x93. Default: `false`. Mosquitto 2.1 only warns. 3.x clients know no Receive
    /// Maximum; theirs are always kept. QoS 1 messages are not counted: they are acknowledged at once, or when the store has
    /// them, before which [`Limits::maximum_undurable_bytes`] is their bound. MQTT 5.0 §4.9.
    pub tolerate_receive_maximum: bool,
    /// Whether a payload that is announced as UTF-8 has to be. Default: `false`. If so, PUBACK and PUBREC refuse the
    /// message with 0x99, QoS 0 messages are dropped, and a CONNECT with such a Will Message is refused. MQTT 5.0
    /// §3.3.2.3.2.
    pub check_payload_format: bool,
    /// What a 5.0 client that breaks the protocol is told before its Connection is closed. Default: what the specification
    /// says.
    pub reason_codes: ReasonCodes,
    /// What a 5.0 client that asks for Response Information is told, with its Client Identifier in place of `%c`; nothing, if
    /// that makes more than 65,535 bytes. Default: none. MQTT 5.0 §3.2.2.3.15.
    pub response_information: Option<String>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            limits: Limits::default(),
            allow_duplicate_messages: true,
            queue_qos0_messages: false,
            retain_available: true,
            upgrade_outgoing_qos: false,
            client_id_prefix: None,
            check_retain_source: true,
            retained_expiry_maximum: None,
            maximum_keep_alive: None,
            session_expiry_maximum: None,
            durable: false,
            tolerate_receive_maximum: false,
            check_payload_format: false,
            reason_codes: ReasonCodes::Specification,
            response_information: None,
        }
    }
}

impl BrokerConfig {
    /// Whether a Client Identifier begins as it has to.
    pub(crate) fn may_be_called(&self, client_id: &str) -> bool {
        let prefix = self.client_id_prefix.as_deref();
        prefix.is_none_or(|prefix| client_id.starts_with(prefix))
    }
}

/// Which Reason Codes end a Connection whose client breaks the protocol. Whatever a numbered statement of the specification
/// says is the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReasonCodes {
    /// Those of MQTT 5.0.
    #[default]
    Specification,
    /// Those of Mosquitto 2.1, which gives 0x82 for a property that the packet cannot have, 0x81 for anything that is wrong
    /// with a SUBSCRIBE or UNSUBSCRIBE and for a PUBLISH without a topic, 0x80 for an empty Client Identifier that is not
    /// allowed, and says nothing about a DISCONNECT with a Reason Code that is none.
    Mosquitto,
}

/// Bounds on everything that input can make grow. `None` means unbounded.
///
/// There is a total for messages, packets and output, whoever causes them. For some things there is a bound for each Session
/// or Connection only, so that their total is bounded where the number of those is
/// ([`maximum_sessions`](Self::maximum_sessions), and the driver's number of Connections), which it is not by default: Sessions
/// themselves, with a Will Message of at most [`maximum_connect_size`](Self::maximum_connect_size) each; Subscriptions
/// ([`maximum_subscriptions`](Self::maximum_subscriptions), [`maximum_subscription_bytes`](Self::maximum_subscription_bytes));
/// Topic Names behind Topic Aliases, of 64 KiB at most and as many in each direction as
/// [`ListenerPolicy`] allows; QoS 1 and 2 messages under way
/// ([`maximum_inflight_messages`](Self::maximum_inflight_messages), [`maximum_inflight_bytes`](Self::maximum_inflight_bytes)).
/// Whoever lets clients in that he does not know sets them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest packet that is read, in bytes with its header. Default: 2,000,000 (`max_packet_size`).
    pub maximum_packet_size: u32,
    /// Largest CONNECT that is read, in bytes. Default: 100,000.
    pub maximum_connect_size: u32,
    /// Largest payload that is routed, in bytes. Default: none (`message_size_limit`).
    pub maximum_payload_size: Option<u32>,
    /// QoS 1 and 2 messages under way at once, a Session and direction; our Receive Maximum. Default: 20
    /// (`max_inflight_messages`); `u16::MAX` is as good as no limit. To clients of the same process it is 4,096.
    pub maximum_inflight_messages: u16,
    /// Payload bytes of QoS 1 and 2 messages under way to one client at once; the message that reaches it is still
    /// sent. Default: none (`max_inflight_bytes`). The other direction is bounded by
    /// [`maximum_unreleased_bytes`](Limits::maximum_unreleased_bytes).
    pub maximum_inflight_bytes: Option<usize>,
    /// Messages that wait for a Session beyond those under way. Default: 1000 (`max_queued_messages`). Retained messages that a
    /// new Subscription is sent wait for room here and come after what is live; one that is replaced meanwhile is left out,
    /// also where the new one was dropped for this limit.
    pub maximum_queued_messages: Option<usize>,
    /// Bytes of payloads that wait for a Session beyond those under way; the message that reaches the limit is still kept.
    /// Default: none (`max_queued_bytes`).
    pub maximum_queued_bytes: Option<usize>,
    /// About the bytes of memory of messages that wait for all Sessions together, inbound QoS 2 messages that are not released
    /// included: Topic Name, properties, payload, and some hundred bytes for each. A message that waits for several Sessions
    /// counts for each. At the mark the newest are dropped, and a Connection that publishes more at QoS 2 ends. Default: 1 GiB.
    pub maximum_total_queued_bytes: usize,
    /// Bytes of inbound QoS 2 messages that a Session has not released yet, counted as in
    /// [`maximum_total_queued_bytes`](Self::maximum_total_queued_bytes). Default: 16 MiB.
    pub maximum_unreleased_bytes: usize,
    /// Encoded bytes that may wait for one Connection before QoS 0 messages are dropped and others wait
    /// unencoded. Default: 8 MiB. With many slow Connections QoS 0 messages are dropped earlier: one of them may hold a 64th
    /// of what is left below [`maximum_waiting_bytes`](Self::maximum_waiting_bytes).
    pub maximum_outbox_bytes: usize,
    /// Encoded bytes at which a Connection is closed that lets answers pile up: these are never dropped. Default: 64 MiB.
    pub maximum_reply_bytes: usize,
    /// Encoded bytes that may wait for all slow Connections together, and in those that the store holds up: behind a CONNACK
    /// that waits for it, and acknowledgements, of which a Connection has the first 16 KiB free. Default: 1 GiB.
    pub maximum_total_outbox_bytes: usize,
    /// Bytes that wait for all Sessions and all slow Connections together, before the largest publishers are slowed down: a
    /// Link that brings more than 64 KiB while more than this waits is not read ([`LinkState::Paused`](crate::LinkState))
    /// until less does, for a second at the most, and so on. Well below
    /// [`maximum_total_queued_bytes`](Self::maximum_total_queued_bytes) and
    /// [`maximum_total_outbox_bytes`](Self::maximum_total_outbox_bytes), at which messages are dropped. Default: 512 MiB.
    pub maximum_waiting_bytes: usize,
    /// Bytes of packets that have arrived in part or wait for a verdict, over all Connections. Default: 256 MiB.
    pub maximum_reassembly_bytes: usize,
    /// Sessions, connected or not. Default: none (`global_max_clients`).
    pub maximum_sessions: Option<usize>,
    /// Subscriptions of one Session. Of a SUBSCRIBE with more filters than that, those behind are refused without being asked
    /// about. Default: 100,000.
    pub maximum_subscriptions: usize,
    /// Bytes of the filters of one Session's Subscriptions; what is above is refused. Default: 16 MiB.
    pub maximum_subscription_bytes: usize,
    /// Retained messages; above it as above [`maximum_retained_bytes`](Self::maximum_retained_bytes). Default: none.
    pub maximum_retained_messages: Option<usize>,
    /// About the bytes of memory that retained messages take. A message that would exceed it is routed and not retained, and
    /// what was retained under its Topic Name goes ([`Event::RetainedFull`](crate::Event::RetainedFull)); those of before a
    /// restart are kept. A message counts for its Topic Name twice, properties, payload, Client Identifier and user name of its
    /// publisher, and some hundred and fifty bytes, for more if it expires. Default: 2 GiB.
    pub maximum_retained_bytes: usize,
    /// Levels of a Topic Name or Topic Filter. Default: 201, which is Mosquitto's 200 separators.
    pub maximum_topic_levels: usize,
    /// Targets that one worker's topic cache may hold: receivers of the names in it, of Shared Subscriptions all members. A
    /// name counts for one or, if it is long, for more. Members count for each name anew: behind a `$share/g/#` of 100 members
    /// some 2,600 names fit. When it is full the whole cache is emptied, so where more names than fit are published in turn it
    /// does not help, and a higher limit does. Default: 262,144.
    pub maximum_cached_targets: usize,
    /// Bytes of changes that the store has not reported durable, messages included
    /// ([`BrokerConfig::durable`](BrokerConfig::durable)). Above it no Link is read
    /// ([`LinkState::Paused`](crate::LinkState)) until the store has caught up: publishers are slowed down to what the disk
    /// takes, and nothing is dropped. A Connection that has to wait for longer than
    /// [`verdict_timeout`](Self::verdict_timeout) and its keep alive ends. What the embedder itself publishes counts and does
    /// not wait. Default: 64 MiB.
    pub maximum_undurable_bytes: usize,
    /// Events that wait to be taken ([`Worker::next_event`](crate::Worker::next_event)) before packets are counted instead of
    /// noted ([`Worker::note_packets`](crate::Worker::note_packets)). Default: 65,536.
    pub maximum_noted_packets: usize,
    /// Time from the opening of a Connection to its CONNECT. Default: 30 s.
    pub connect_timeout: Duration,
    /// How long an answer of the embedder ([`Pending`](crate::Pending)) is waited for before it counts as a refusal; looked at
    /// once a second, so that it may take up to a second longer. Default: 30 s.
    pub verdict_timeout: Duration,
    /// Bytes that are kept of what a client sends while its Link waits for an answer. A driver that stops reading when it
    /// is told [`LinkState::Paused`](crate::LinkState) hands in no more than the rest of one read. They count as not read,
    /// like those in the socket: the Message Expiry Interval of a message among them begins after the answer. Default:
    /// 256 KiB.
    pub maximum_paused_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            maximum_packet_size: 2_000_000,
            maximum_connect_size: 100_000,
            maximum_payload_size: None,
            maximum_inflight_messages: 20,
            maximum_inflight_bytes: None,
            maximum_queued_messages: Some(1000),
            maximum_queued_bytes: None,
            maximum_total_queued_bytes: 1 << 30,
            maximum_unreleased_bytes: 16 << 20,
            maximum_outbox_bytes: 8 << 20,
            maximum_reply_bytes: 64 << 20,
            maximum_total_outbox_bytes: 1 << 30,
            maximum_waiting_bytes: 512 << 20,
            maximum_reassembly_bytes: 256 << 20,
            maximum_sessions: None,
            maximum_subscriptions: 100_000,
            maximum_subscription_bytes: 16 << 20,
            maximum_retained_messages: None,
            maximum_retained_bytes: 2 << 30,
            maximum_topic_levels: 201,
            maximum_cached_targets: 1 << 18,
            maximum_undurable_bytes: 64 << 20,
            maximum_noted_packets: 1 << 16,
            connect_timeout: Duration::from_secs(30),
            verdict_timeout: Duration::from_secs(30),
            maximum_paused_bytes: 256 << 10,
        }
    }
}

/// Which listener a Connection came in by: an index that the embedder chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ListenerId(pub u16);

/// What holds for all Connections of one listener.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ListenerPolicy {
    /// Which listener this is, for [`Authenticate`](crate::Authenticate) and
    /// [`Authorize`](crate::Authorize) to tell them apart.
    pub id: ListenerId,
    /// Whether clients without a user name are let in. Default: `false`. For [`Authenticate`](crate::Authenticate) to look at:
    /// [`FileAccess`](crate::FileAccess) does, [`Access::allow_all`](crate::Access::allow_all) does not, and one of the
    /// embedder's own has to; the broker itself lets in whom that accepts.
    pub allow_anonymous: bool,
    /// How a client certificate becomes the user name. `None`, the default: it does not. With a policy the
    /// certificate replaces user name and password, and a client without one is refused.
    pub identity: Option<IdentityPolicy>,
    /// Whether user name and password are asked for in spite of [`identity`](Self::identity), and the user name must be
    /// what that policy derives from the certificate. Default: `false`.
    ///
    /// A password that was stolen is of no use then to somebody who holds another valid certificate. A client with
    /// another user name, or none, is refused like one without a certificate.
    pub username_must_be_identity: bool,
    /// Whether a client may leave its Client Identifier empty and be given one. Default: `true`.
    pub allow_zero_length_client_id: bool,
    /// Whether the Client Identifier is replaced by the user name. Default: `false`.
    pub use_username_as_client_id: bool,
    /// Protocol versions that are served. Default: all.
    pub protocol_versions: Vec<ProtocolVersion>,
    /// Highest QoS that is served. Default: 2. MQTT 5.0 §3.2.2.3.4.
    pub maximum_qos: QoS,
    /// Topic Aliases that a client may use towards us. Default: 10. MQTT 5.0 §3.2.2.3.8.
    pub topic_alias_maximum: u16,
    /// Topic Aliases that we use towards a client, at most as many as it allows: the first names that it is sent get one
    /// (`max_topic_alias_broker`). Default: 10. MQTT 5.0 §3.1.2.11.5.
    pub outgoing_topic_alias_maximum: u16,
    /// What generated Client Identifiers begin with. Default: `auto-`.
    pub assigned_client_id_prefix: String,
}

impl Default for ListenerPolicy {
    fn default() -> Self {
        ListenerPolicy {
            id: ListenerId(0),
            allow_anonymous: false,
            identity: None,
            username_must_be_identity: false,
            allow_zero_length_client_id: true,
            use_username_as_client_id: false,
            protocol_versions: vec![
                ProtocolVersion::V3_1,
                ProtocolVersion::V3_1_1,
                ProtocolVersion::V5,
            ],
            maximum_qos: QoS::ExactlyOnce,
            topic_alias_maximum: 10,
            outgoing_topic_alias_maximum: 10,
            assigned_client_id_prefix: "auto-".into(),
        }
    }
}

impl ListenerPolicy {
    /// Whether the client certificate alone says who it is.
    pub(crate) fn wants_certificate(&self) -> bool {
        self.identity.is_some() && !self.username_must_be_identity
    }
}

impl Limits {
    /// Our Receive Maximum; never 0, which the specification forbids.
    pub(crate) fn receive_maximum(&self) -> u16 {
        if self.maximum_inflight_messages == 0 {
            u16::MAX
        } else {
            self.maximum_inflight_messages
        }
    }

    pub(crate) fn maximum_packet_size(&self) -> NonZeroU32 {
        NonZeroU32::new(self.maximum_packet_size).unwrap_or(NonZeroU32::MAX)
    }
}
