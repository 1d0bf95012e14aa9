//! Encoded bytes on their way to one Connection.

use crate::message::MessageBody;

/// Encoded bytes that a driver writes to one Connection, in order: [`chunk`](Output::chunk), write,
/// [`advance`](Output::advance), until [`is_empty`](Output::is_empty).
///
/// Small payloads are copied into one buffer; large ones are shared with the other receivers and spliced in.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` is written.
    start: usize,
    /// Shared bytes to be sent when `start` reaches their place; in the order of their places.
    splices: Vec<Splice>,
    /// How many of `splices` are written.
    spliced: usize,
}

#[derive(Debug)]
struct Splice {
    at: usize,
    /// Its payload is what is written.
    shared: MessageBody,
    start: usize,
}

impl Output {
    /// The next bytes to write; empty only when nothing is left.
    #[inline]
    pub fn chunk(&self) -> &[u8] {
        let Some(splice) = self.splices.get(self.spliced) else {
            return self.bytes.get(self.start..).unwrap_or_default();
        };
        if splice.at > self.start {
            self.bytes.get(self.start..splice.at).unwrap_or_default()
        } else {
            splice.shared.payload().get(splice.start..).unwrap_or_default()
        }
    }

    /// Notes that the first `count` bytes of [`chunk`](Output::chunk) are written.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        match self.splices.get_mut(self.spliced) {
            Some(splice) if splice.at <= self.start => {
                splice.start = splice.start.saturating_add(count);
                if splice.start >= splice.shared.payload_len() {
                    self.spliced += 1;
                }
            }
            _ => self.start = self.start.saturating_add(count).min(self.bytes.len()),
        }
    }

    /// Whether everything is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start >= self.bytes.len() && self.spliced >= self.splices.len()
    }

    /// Bytes that are left to write.
    #[inline]
    pub fn len(&self) -> usize {
        let shared: usize = self
            .splices
            .iter()
            .skip(self.spliced)
            .map(|splice| splice.shared.payload_len().saturating_sub(splice.start))
            .sum();
        self.bytes.len().saturating_sub(self.start).saturating_add(shared)
    }

    /// The buffer that packets are encoded into.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sends the payload of a message after what is encoded so far, without copying it.
    pub(crate) fn splice(&mut self, shared: MessageBody) {
        if shared.payload_len() > 0 {
            self.splices.push(Splice {
                at: self.bytes.len(),
                shared,
                start: 0,
            });
        }
    }

    /// Gets a buffer from the pool if it has none.
    #[inline]
    pub(crate) fn ensure_buffer(&mut self, pool: &mut Pool) {
        if self.bytes.capacity() == 0
            && let Some(buffer) = pool.take()
        {
            self.bytes = buffer;
        }
    }
}

/// Empty buffers for Connections that have something to send.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    #[inline]
    fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }

    /// Keeps the buffer of an output that is written, as far as there is room.
    pub(crate) fn put(&mut self, mut output: Output) {
        output.bytes.clear();
        let capacity = output.bytes.capacity();
        if capacity > 0 && self.bytes.saturating_add(capacity) <= POOLED_BYTES {
            self.bytes += capacity;
            self.buffers.push(output.bytes);
        }
    }
}

/// Bytes of empty buffers that a worker keeps.
const POOLED_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use komar_codec::QoS;
    use komar_topic::TopicName;

    use super::*;
    use crate::message::Message;
    use crate::now::Millis;

    fn body(payload: &[u8]) -> MessageBody {
        let message = Message {
            topic_name: TopicName::from_checked("t"),
            properties: &[],
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            expires: Millis::NEVER,
            kept: None,
        };
        message.to_body(&mut Vec::new())
    }

    fn drain(mut output: Output, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !output.is_empty() {
            let chunk = output.chunk();
            let count = chunk.len().min(step);
            assert!(count > 0, "an output that is not empty has a chunk");
            let before = output.len();
            written.extend_from_slice(&output.chunk()[..count]);
            output.advance(count);
            assert_eq!(output.len(), before - count);
        }
        written
    }

    #[test]
    fn splices_come_out_in_their_place_whatever_the_step() {
        for step in [1, 2, 3, 7, 100] {
            let mut output = Output::default();
            output.splice(body(b"first"));
            output.buffer().extend_from_slice(b"head");
            output.splice(body(b"payload"));
            output.splice(body(b""));
            output.splice(body(b"again"));
            output.buffer().extend_from_slice(b"tail");
            assert_eq!(drain(output, step), b"firstheadpayloadagaintail");
        }
    }
}
