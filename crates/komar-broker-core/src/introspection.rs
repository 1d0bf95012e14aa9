//! What an operator asks a broker: figures, Sessions, Subscriptions, retained messages; and what an operator does to them.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use komar_codec::{PacketType, ProtocolVersion, QoS, ReasonCode};
use komar_topic::{Cursor, TopicFilter, TopicName};

use crate::broker::Broker;
use crate::config::ListenerId;
use crate::error::refusal;
use crate::inbox::Letter;
use crate::message::MessageBody;
use crate::outbox::Outbox;
use crate::router::retained::cleared;
use crate::session::Session;
use crate::sync::Ordering;

/// Figures about a broker at about one moment. Those that only grow begin at 0 with the broker; what a worker counts is
/// shown when its turn ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Most Sessions that there were at once.
    pub maximum_sessions: usize,
    /// Sessions with a Connection.
    pub connected: usize,
    /// Sessions whose Session Expiry Interval has ended.
    pub expired_sessions: u64,
    /// Subscriptions, shared ones included.
    pub subscriptions: usize,
    /// Members of Shared Subscriptions.
    pub shared_subscriptions: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Payload bytes of retained messages.
    pub retained_bytes: usize,
    /// Messages that were dropped because a limit was met.
    pub dropped_messages: u64,
    /// Connections that are open, those included that have not sent CONNECT.
    pub connections: u64,
    /// Connections that were opened.
    pub connections_opened: u64,
    /// CONNECT packets that were read.
    pub connects_received: u64,
    /// Bytes that were read, as the core gets them: without TLS and WebSocket framing.
    pub bytes_received: u64,
    /// Bytes that were written.
    pub bytes_sent: u64,
    /// Packets of any kind that were read.
    pub packets_received: u64,
    /// Packets of any kind that were encoded.
    pub packets_sent: u64,
    /// PUBLISH packets that were read, refused ones included.
    pub publish_received: u64,
    /// Their payload bytes.
    pub publish_bytes_received: u64,
    /// PUBLISH packets that were encoded.
    pub publish_sent: u64,
    /// Their payload bytes.
    pub publish_bytes_sent: u64,
    /// QoS 2 messages that were kept although they were more than the Receive Maximum allows
    /// ([`BrokerConfig::tolerate_receive_maximum`](crate::BrokerConfig::tolerate_receive_maximum)).
    pub receive_maximum_exceeded: u64,
    /// How often a client has met a bound on its messages a second ([`Link::limit_messages`](crate::Link::limit_messages)):
    /// it was paused, or its message refused, or it was disconnected.
    pub rate_exceeded: u64,
    /// About the bytes of memory of messages that wait for Sessions, or for their publishers to release them: what
    /// [`Limits::maximum_total_queued_bytes`](crate::Limits::maximum_total_queued_bytes) bounds.
    pub queued_bytes: usize,
    /// Encoded bytes that wait for Connections whose transport takes no more, or for the store
    /// ([`Limits::maximum_total_outbox_bytes`](crate::Limits::maximum_total_outbox_bytes)).
    pub waiting_bytes: usize,
    /// How often a publisher was not read for a moment, as too much waited
    /// ([`Limits::maximum_waiting_bytes`](crate::Limits::maximum_waiting_bytes)).
    pub publishers_slowed: u64,
}

/// Messages that a broker holds, each counted once however many Sessions it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredMessages {
    /// How many.
    pub messages: usize,
    /// Their payload bytes.
    pub bytes: usize,
}

/// A Session as an administration page shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its Client Identifier.
    pub client_id: Arc<str>,
    /// The user that has or had it last; `None` for anonymous clients.
    pub username: Option<Arc<str>>,
    /// The listener that its Connection came in by.
    pub listener: ListenerId,
    /// Its Connection, to find the driver's own value by; `None`: it is not connected.
    pub outbox: Option<Arc<Outbox>>,
    /// What its Connection speaks.
    pub version: Option<ProtocolVersion>,
    /// How long it outlives its Connection; `None`: for ever.
    pub session_expiry_interval: Option<Duration>,
    /// How many Subscriptions it has.
    pub subscriptions: usize,
    /// Messages that were sent and not acknowledged.
    pub inflight_messages: usize,
    /// Messages that wait to be sent.
    pub queued_messages: usize,
    /// About their bytes of memory, with Topic Names and properties.
    pub queued_bytes: usize,
    /// QoS 2 messages that the client has sent and not released.
    pub unreleased_messages: usize,
    /// Encoded bytes that wait for its Connection.
    pub waiting_bytes: usize,
    /// Whether it has a Will Message.
    pub has_will: bool,
}

/// A Subscription as an administration page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// The filter as the client wrote it, `$share/` included.
    pub filter: String,
    /// Highest QoS that it is sent.
    pub maximum_qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether RETAIN is passed on.
    pub retain_as_published: bool,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
}

/// A retained message as an administration page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetainedInfo {
    /// Its Topic Name.
    pub topic_name: String,
    /// The QoS that it was published with.
    pub qos: QoS,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Some retained messages, and where to go on.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RetainedPage {
    /// In the order of Topic Names, level by level.
    pub messages: Vec<RetainedInfo>,
    /// To be given to the next call; `None`: these were the last.
    pub next: Option<Cursor>,
}

impl Broker {
    /// Figures for `$SYS`, metrics and status pages. Takes no lock for long, and costs about a microsecond.
    pub fn statistics(&self) -> Statistics {
        let shared = &self.shared;
        let counts = shared.tallies.sum();
        let (subscriptions, shared_subscriptions) = {
            let index = shared.index.read();
            (index.len(), index.shared_len())
        };
        let (retained_messages, retained_bytes) = {
            let retained = shared.retained.read();
            (retained.len(), retained.bytes())
        };
        Statistics {
            sessions: shared.registry.len(),
            maximum_sessions: shared.registry.maximum(),
            connected: shared.counters.connected.load(Ordering::Relaxed),
            expired_sessions: shared.counters.expired.load(Ordering::Relaxed),
            subscriptions,
            shared_subscriptions,
            retained_messages,
            retained_bytes,
            dropped_messages: shared.counters.dropped.load(Ordering::Relaxed),
            connections: counts
                .connections_opened
                .saturating_sub(counts.connections_closed),
            connections_opened: counts.connections_opened,
            connects_received: counts.connects_received,
            bytes_received: counts.bytes_received,
            bytes_sent: counts.bytes_sent,
            packets_received: counts.packets_received,
            packets_sent: counts.packets_sent,
            publish_received: counts.publish_received,
            publish_bytes_received: counts.publish_bytes_received,
            publish_sent: counts.publish_sent,
            publish_bytes_sent: counts.publish_bytes_sent,
            receive_maximum_exceeded: shared.counters.receive_maximum_exceeded.load(Ordering::Relaxed),
            rate_exceeded: shared.counters.rate_exceeded.load(Ordering::Relaxed),
            queued_bytes: shared.queued_bytes.load(Ordering::Relaxed),
            waiting_bytes: shared.slow_bytes.load(Ordering::Relaxed),
            publishers_slowed: shared.counters.slowed.load(Ordering::Relaxed),
        }
    }

    /// Messages that are retained, wait for Sessions, are under way to them, or wait to be released. Looks at every
    /// Session, one lock after the other, and not at the retained messages, of which there may be a million: for a page or a
    /// `$SYS` topic now and then, not for every turn. About right while messages come and go.
    pub fn stored_messages(&self) -> StoredMessages {
        let shared = &self.shared;
        let mut stored = {
            let retained = shared.retained.read();
            StoredMessages {
                messages: retained.len(),
                bytes: retained.bytes(),
            }
        };
        let mut seen = BTreeSet::new();
        let mut add = |body: &MessageBody| {
            if seen.insert(body.address()) && !shared.retained.read().holds(body) {
                stored.messages += 1;
                stored.bytes += body.payload_len();
            }
        };
        self.each_session(|session| session.lock().for_each_body(&mut add));
        stored
    }

    /// Packets that wait for Connections whose transport takes no more: those of [`Statistics::waiting_bytes`]. Nothing counts
    /// them as they come and go: if any wait, each Session is looked at, and what waits for a slow one is gone through with its
    /// Outbox locked (some milliseconds for 8 MiB of the smallest packets). For a `$SYS` topic now and then.
    pub fn waiting_packets(&self) -> usize {
        if self.shared.slow_bytes.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut packets: usize = 0;
        self.each_session(|session| {
            let outbox = session.lock().outbox.clone();
            packets = packets.saturating_add(outbox.map_or(0, |outbox| outbox.waiting_packets()));
        });
        packets
    }

    /// Shows every Session to `visit`, in no particular order. No lock is held meanwhile; Sessions that come or go
    /// during the walk may be left out.
    pub fn for_each_session(&self, mut visit: impl FnMut(SessionInfo)) {
        self.each_session(|session| visit(info(session)));
    }

    /// One Session; `None` if there is none of that Client Identifier.
    pub fn session(&self, client_id: &str) -> Option<SessionInfo> {
        self.shared.registry.find(client_id).map(|session| info(&session))
    }

    /// The Subscriptions of a Session, ordered by their filters; `None` if there is no such Session.
    pub fn subscriptions(&self, client_id: &str) -> Option<Vec<SubscriptionInfo>> {
        let session = self.shared.registry.find(client_id)?;
        let index = self.shared.index.read();
        let state = session.lock();
        let mut found: Vec<SubscriptionInfo> = state
            .subscriptions
            .iter()
            .filter_map(|(filter, handle)| {
                let subscription = index.get(handle)?;
                Some(SubscriptionInfo {
                    filter: filter.to_string(),
                    maximum_qos: subscription.maximum_qos,
                    no_local: subscription.no_local,
                    retain_as_published: subscription.retain_as_published,
                    identifier: subscription.identifier,
                })
            })
            .collect();
        drop((state, index));
        found.sort_by(|one, other| one.filter.cmp(&other.filter));
        Some(found)
    }

    /// Retained messages that match a filter: about `count` Topic Names are looked at, from `after` on.
    pub fn retained(&self, filter: TopicFilter<'_>, after: Option<&Cursor>, count: usize) -> RetainedPage {
        let mut messages = Vec::new();
        let retained = self.shared.retained.read();
        let next = retained
            .tree()
            .walk(filter, after, count.max(1), |name, retained| {
                let message = retained.body.message();
                messages.push(RetainedInfo {
                    topic_name: name.as_str().to_owned(),
                    qos: message.qos,
                    payload: message.payload.to_vec(),
                });
            });
        drop(retained);
        RetainedPage { messages, next }
    }

    /// Deletes retained messages that match a filter; with `dry_run` only says which. Returns their Topic Names, in order.
    /// Nothing is sent to Subscriptions. Works in slices, so that nobody waits for long. That they are gone is durable as soon as
    /// the store has what some worker's next turn hands out, which begins soon.
    pub fn delete_retained(&self, filter: TopicFilter<'_>, dry_run: bool) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), None);
        let mut removed = false;
        loop {
            let first = names.len();
            let retained = self.shared.retained.read();
            after = retained.tree().walk(filter, after.as_ref(), SLICE, |name, _| {
                names.push(name.as_str().to_owned())
            });
            drop(retained);
            if !dry_run {
                removed |= self.remove_retained(names.iter().skip(first));
            }
            if after.is_none() {
                break;
            }
        }
        if removed && self.shared.journal.is_some() {
            // The end of some worker's turn hands it out, and nothing else may be going on.
            self.shared.ask_for_a_turn();
        }
        names
    }

    /// Closes the Connection of a Session: a 5.0 client is sent DISCONNECT with `reason_code`, most often
    /// [`ReasonCode::AdministrativeAction`]. A worker does it in its next turn. `false`: nobody of that Client Identifier
    /// is connected.
    pub fn kick(&self, client_id: &str, reason_code: ReasonCode) -> bool {
        match self.shared.registry.find(client_id) {
            Some(session) => {
                let reason_code = refusal(reason_code, PacketType::Disconnect);
                // Of this moment: one that takes its place is not meant.
                let outbox = session.lock().outbox.clone();
                outbox.is_some_and(|outbox| self.shared.send(Letter::Kick(outbox, reason_code)))
            }
            None => false,
        }
    }

    /// Messages that wait for a Session or are under way to it; `None` if there is no such Session.
    pub fn waiting_messages(&self, client_id: &str) -> Option<usize> {
        let session = self.shared.registry.find(client_id)?;
        let waiting = session.lock().waiting_messages();
        Some(waiting)
    }

    /// Says whether there was one of these names.
    fn remove_retained<'n>(&self, names: impl Iterator<Item = &'n String>) -> bool {
        let shared = &self.shared;
        let mut removed = false;
        let mut retained = shared.retained.write();
        for name in names {
            let name = TopicName::from_checked(name);
            if retained.remove(name) {
                removed = true;
                if let Some(journal) = &shared.journal {
                    journal.record(cleared(name));
                }
                // Whoever is about to send it looks again.
                shared.retained_sequence.fetch_add(1, Ordering::Relaxed);
            }
        }
        removed
    }

    fn each_session(&self, mut visit: impl FnMut(&Arc<Session>)) {
        let mut shard = 0;
        while let Some(sessions) = self.shared.registry.shard_sessions(shard) {
            sessions.iter().for_each(&mut visit);
            shard += 1;
        }
    }
}

fn info(session: &Arc<Session>) -> SessionInfo {
    let mut state = session.lock();
    let (inflight, queued, queued_bytes, unreleased) = state.figures();
    let connection = state.outbox.as_ref().map(|outbox| {
        let out = outbox.lock();
        (out.version, out.waiting())
    });
    SessionInfo {
        client_id: Arc::clone(&session.client_id),
        username: state.identity.username.clone(),
        listener: state.identity.listener,
        outbox: state.outbox.clone(),
        version: connection.map(|(version, _)| version),
        session_expiry_interval: (state.expiry != u32::MAX).then(|| Duration::from_secs(state.expiry.into())),
        subscriptions: state.subscriptions.len(),
        inflight_messages: inflight,
        queued_messages: queued,
        queued_bytes,
        unreleased_messages: unreleased,
        waiting_bytes: connection.map_or(0, |(_, waiting)| waiting),
        has_will: state.will.is_some(),
    }
}

/// Names looked at with the lock held.
const SLICE: usize = 512;
