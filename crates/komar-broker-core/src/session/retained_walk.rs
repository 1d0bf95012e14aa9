//! Retained messages that a new Subscription is to receive, sent as fast as the client takes them.

use std::collections::VecDeque;

use komar_codec::QoS;
use komar_topic::Cursor;

use super::inflight::Queued;
use crate::message::SubscriptionIdentifiers;

/// Where the delivery of a Subscription's retained messages stands. MQTT 5.0 §3.3.1.3.
pub(crate) struct RetainedWalk {
    pub(crate) filter: Box<str>,
    pub(crate) maximum_qos: QoS,
    pub(crate) identifiers: SubscriptionIdentifiers,
    /// Retained messages stored after the Subscription was made came live and are left out here.
    pub(crate) newest: u64,
    pub(crate) progress: Progress,
    /// Found and not sent yet; a slice at the most.
    pub(crate) found: VecDeque<Found>,
    /// How the world was when they were found.
    pub(crate) looked: Looked,
}

/// A retained message on its way, and which one it was.
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) queued: Queued,
}

/// What found messages depend on: once it is another, they are looked at again before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) retained: u64,
    pub(crate) access: u64,
    pub(crate) identity: u32,
}

pub(crate) enum Progress {
    Start,
    After(Cursor),
    End,
}
