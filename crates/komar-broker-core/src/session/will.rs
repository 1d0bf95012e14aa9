//! Will Messages: kept with the Session, published when the Connection ends without saying so.

use core::time::Duration;
use std::sync::Arc;

use crate::journal::NotedWill;
use crate::message::MessageBody;

/// A Will Message. MQTT 5.0 §3.1.2.5.
#[derive(Clone, Debug)]
pub(crate) struct WillMessage {
    /// Its expiry interval begins when it is published, so the body carries none. MQTT 5.0 §3.1.3.2.4.
    pub(crate) body: MessageBody,
    pub(crate) expiry: Option<Duration>,
    /// How long after the end of the Connection it is published. MQTT 5.0 §3.1.3.2.2.
    pub(crate) delay: Duration,
    /// The Will Message in the store.
    pub(crate) stored: Option<Arc<NotedWill>>,
}
