//! Messages of the embedder's own, from any thread.

use std::sync::Arc;

use komar_codec::QoS;

use crate::mailbox::{Mail, Mailbox};

/// Publishes into the broker without being a client of it. Cheap to clone; works from any thread and never blocks.
#[derive(Clone)]
pub struct Publisher {
    pub(crate) mailbox: Arc<Mailbox>,
}

/// Too many messages wait to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many messages wait to be published")]
pub struct Full;

/// A message on its way to a reactor.
pub(crate) struct OwnMessage {
    pub(crate) topic_name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Publisher {
    /// Publishes a message; one whose Topic Name is not valid is dropped with a line in the log.
    ///
    /// # Errors
    ///
    /// [`Full`]: the reactor has not taken those before it yet.
    pub fn publish(&self, topic_name: &str, payload: &[u8], qos: QoS, retain: bool) -> Result<(), Full> {
        let message = OwnMessage {
            topic_name: topic_name.to_owned(),
            payload: payload.to_vec(),
            qos,
            retain,
        };
        if self
            .mailbox
            .send_within(Mail::Publish(vec![message]), MAXIMUM_LETTERS)
        {
            Ok(())
        } else {
            Err(Full)
        }
    }

    /// Publishes a line of a log, at QoS 2; lines that come faster than they are published are dropped.
    pub fn publish_line(&self, topic_name: &str, line: &str) {
        // There is no place to say that a line of the log was lost.
        let _ = self.publish(topic_name, line.as_bytes(), QoS::ExactlyOnce, false);
    }
}

/// Letters of all kinds that may wait before a message of our own is refused.
const MAXIMUM_LETTERS: usize = 10_000;
