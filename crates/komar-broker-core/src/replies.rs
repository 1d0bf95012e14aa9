//! Acknowledgements to the Connection whose input is being handled.
//!
//! A publisher that sends a hundred messages in one write gets a hundred acknowledgements; they go into its Outbox
//! together, under one lock, before anything else is said to it.

use std::sync::Arc;

use komar_codec::ProtocolVersion;

use crate::error::CloseCause;
use crate::outbox::Outbox;
use crate::worker::Effects;

/// Encoded acknowledgements that are not in their Outbox yet. Empty between two inputs.
#[derive(Default)]
pub(crate) struct Replies {
    /// The Connection's. `None`: what is to be said goes into the Outbox at once.
    version: Option<ProtocolVersion>,
    bytes: Vec<u8>,
    packets: u64,
    /// Bytes of the longest.
    longest: usize,
}

impl Replies {
    /// From here on acknowledgements are gathered.
    #[inline]
    pub(crate) fn gather(&mut self, version: ProtocolVersion) {
        self.version = Some(version);
    }

    /// The version to encode for, if they are gathered.
    #[inline]
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Adds what `encode` writes.
    #[inline]
    pub(crate) fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> bool) {
        let before = self.bytes.len();
        if !encode(&mut self.bytes) {
            self.bytes.truncate(before);
        }
        self.packets += 1;
        self.longest = self.longest.max(self.bytes.len() - before);
    }

    fn clear(&mut self) {
        self.version = None;
        self.bytes.clear();
        self.packets = 0;
        self.longest = 0;
    }
}

impl Effects {
    /// Puts what was gathered into the Outbox; from here on nothing is gathered.
    #[inline]
    pub(crate) fn send_replies(&mut self, outbox: &Arc<Outbox>) {
        if self.replies.packets > 0 {
            self.send_gathered(outbox);
        }
        self.replies.version = None;
    }

    fn send_gathered(&mut self, outbox: &Arc<Outbox>) {
        let mut out = outbox.lock();
        if out.is_open() {
            if self.replies.longest > out.maximum_packet_size as usize {
                // There is no other way to answer. v5 [MQTT-3.1.2-24]
                outbox.close_locked(&mut out, CloseCause::PacketTooLarge);
            } else {
                out.output(&mut self.pool)
                    .buffer()
                    .extend_from_slice(&self.replies.bytes);
            }
            self.counts.packets_sent += self.replies.packets;
            self.mark_dirty(outbox, &mut out);
        }
        let too_much = self.has_too_many_replies(&out);
        drop(out);
        if too_much {
            self.close(outbox, CloseCause::QuotaExceeded);
        }
        self.replies.clear();
    }

    /// Forgets what an input that ended in a panic has left.
    #[inline]
    pub(crate) fn forget_replies(&mut self) {
        self.replies.clear();
    }
}
