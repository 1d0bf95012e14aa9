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
    /// Payloads that are shared; most Connections get none.
    splices: Option<Box<Splices>>,
}

#[derive(Debug, Default)]
struct Splices {
    /// Shared bytes to be sent when `start` of the output reaches their place; in the order of their places.
    list: Vec<Splice>,
    /// How many of them are written.
    written: usize,
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
        let Some(splice) = self.splices.as_ref().and_then(|splices| splices.next()) else {
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
        if let Some(splices) = &mut self.splices
            && splices.advance(self.start, count)
        {
            return;
        }
        self.start = self.start.saturating_add(count).min(self.bytes.len());
    }

    /// Whether everything is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start >= self.bytes.len()
            && self
                .splices
                .as_ref()
                .is_none_or(|splices| splices.next().is_none())
    }

    /// Bytes that are left to write.
    #[inline]
    pub fn len(&self) -> usize {
        let shared = self.splices.as_ref().map_or(0, |splices| splices.len());
        self.bytes.len().saturating_sub(self.start).saturating_add(shared)
    }

    /// Packets that are not written to their ends. Found by their lengths when somebody asks, so that appending and writing
    /// need not count.
    pub(crate) fn packets(&self) -> usize {
        let mut splices = self
            .splices
            .iter()
            .flat_map(|splices| splices.list.iter().enumerate());
        let mut next = splices.next();
        let (mut place, mut packets) = (0, 0);
        while let Some(length) = packet_length(self.bytes.get(place..).unwrap_or_default()) {
            let mut end = place.saturating_add(length).min(self.bytes.len());
            let mut is_written = end <= self.start;
            // A payload that is shared is the rest of the packet before its place.
            if let Some((number, splice)) = next
                && splice.at <= end
            {
                end = splice.at;
                let written = self.splices.as_ref().map_or(0, |splices| splices.written);
                is_written = number < written;
                next = splices.next();
            }
            if !is_written {
                packets += 1;
            }
            // Every packet has a fixed header in the buffer.
            place = end.max(place + 1);
        }
        packets
    }

    /// The buffer that packets are encoded into.
    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Sends the payload of a message after what is encoded so far, without copying it.
    pub(crate) fn splice(&mut self, shared: MessageBody) {
        if shared.payload_len() > 0 {
            self.splices.get_or_insert_default().list.push(Splice {
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

/// Whole packets in a row.
pub(crate) fn count_packets(mut bytes: &[u8]) -> usize {
    let mut packets = 0;
    while let Some(length) = packet_length(bytes) {
        packets += 1;
        bytes = bytes.get(length..).unwrap_or_default();
    }
    packets
}

/// Length of the packet that begins here, with its fixed header (MQTT 5.0 §2.1.4); `None` if there is none.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let (mut remaining, mut header) = (0_usize, 1_usize);
    for (shift, byte) in [0, 7, 14, 21].into_iter().zip(bytes.get(1..)?) {
        header += 1;
        remaining |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (header > 1).then_some(header.saturating_add(remaining))
}

impl Splices {
    /// The one to be sent next.
    fn next(&self) -> Option<&Splice> {
        self.list.get(self.written)
    }

    /// Notes that bytes are written, if they were of the one whose turn it is where the output stands.
    fn advance(&mut self, start: usize, count: usize) -> bool {
        let Some(splice) = self
            .list
            .get_mut(self.written)
            .filter(|splice| splice.at <= start)
        else {
            return false;
        };
        splice.start = splice.start.saturating_add(count);
        if splice.start >= splice.shared.payload_len() {
            self.written += 1;
        }
        true
    }

    /// Bytes that are left.
    fn len(&self) -> usize {
        let left = self.list.iter().skip(self.written);
        left.map(|splice| splice.shared.payload_len().saturating_sub(splice.start))
            .sum()
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
            moved: false,
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

    #[test]
    fn packets_are_counted_until_their_last_byte_is_written() {
        // PINGRESP, PUBLISH "t" with a payload of 200 in the buffer, one with 300 shared bytes, PUBACK.
        let mut lengths = vec![2, 206, 306, 4];
        let mut output = Output::default();
        output.buffer().extend_from_slice(&[0xd0, 0]);
        output.buffer().extend_from_slice(&[0x30, 0xcb, 1, 0, 1, b't']);
        output.buffer().extend_from_slice(&[0x30; 200]);
        output.buffer().extend_from_slice(&[0x30, 0xaf, 2, 0, 1, b't']);
        output.splice(body(&[0; 300]));
        output.buffer().extend_from_slice(&[0x40, 2, 0, 1]);
        assert_eq!(output.len(), lengths.iter().sum::<usize>());
        while !output.is_empty() {
            assert_eq!(output.packets(), lengths.len());
            output.advance(1);
            lengths[0] -= 1;
            if lengths[0] == 0 {
                lengths.remove(0);
            }
        }
        assert_eq!(output.packets(), 0);
    }
}
