//! Frames: headers, masks, fragments, control frames. RFC 6455 §5.

use core::ops::Range;

/// What a client did that ends the WebSocket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame without a mask")]
    NotMasked,
    #[error("reserved bits of a frame are set")]
    ReservedBits,
    #[error("frame with the reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    #[error("a text frame")]
    Text,
    #[error("a control frame that is fragmented")]
    ControlFragmented,
    #[error("a control frame of more than 125 bytes")]
    ControlTooLong,
    #[error("a continuation of nothing")]
    NothingToContinue,
    #[error("a new message inside another one")]
    MessageInMessage,
    #[error("the length of a frame is not encoded in its shortest form")]
    LengthNotMinimal,
    #[error("a frame of 2^63 bytes or more")]
    LengthTooLarge,
    #[error("a close frame that is malformed")]
    CloseMalformed,
}

impl FrameError {
    /// The status of the close frame that answers it. RFC 6455 §7.4.1.
    pub(crate) fn status(self) -> u16 {
        match self {
            // v5 [MQTT-6.0.0-1], v3 [MQTT-6.0.0-1]
            FrameError::Text => UNSUPPORTED_DATA,
            _ => PROTOCOL_ERROR,
        }
    }
}

/// Takes what a client sends apart. Holds a few bytes, and the payload of a control frame that has come in part.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The header of the next one, as far as it has come.
    header: [u8; MAXIMUM_HEADER],
    header_length: usize,
    /// A message goes on with the next data frame.
    fragmented: bool,
    /// Payload of the control frame that is being read.
    control: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    /// Bytes of the payload that are still to come.
    remaining: u64,
    /// Turned so that its first byte belongs to the next byte of the payload.
    mask: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Data,
    Close,
    Ping,
    Pong,
}

/// What [`Framer::feed`] meets.
pub(crate) enum Control<'a> {
    Ping(&'a [u8]),
    /// The status that the client gave, if any.
    Close(Option<u16>),
}

impl Framer {
    /// Takes frames apart in place: the payloads of data frames, one behind the other, are in the range of `bytes` that
    /// is returned. Message and frame boundaries mean nothing to MQTT. v5 [MQTT-6.0.0-2], v3 [MQTT-6.0.0-2]
    ///
    /// Ends early, without an error, when `control` says that nothing more is wanted.
    pub(crate) fn feed(
        &mut self,
        bytes: &mut [u8],
        mut control: impl FnMut(Control<'_>) -> bool,
    ) -> (Range<usize>, Result<(), FrameError>) {
        let mut payload = 0..0;
        let mut at = 0;
        while at < bytes.len() {
            let (taken, step) = match self.frame {
                None => self.header(bytes.get(at..).unwrap_or_default()),
                Some(frame) => (self.payload(frame, bytes, at, &mut payload), Ok(())),
            };
            at = at.saturating_add(taken);
            let open = step.and_then(|()| match self.frame {
                Some(Frame {
                    remaining: 0, opcode, ..
                }) => {
                    self.frame = None;
                    self.end_of_frame(opcode, &mut control)
                }
                _ => Ok(true),
            });
            match open {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return (payload, Err(error)),
            }
        }
        (payload, Ok(()))
    }

    /// Reads the header, as far as it has come. Returns how many bytes that took.
    fn header(&mut self, bytes: &[u8]) -> (usize, Result<(), FrameError>) {
        let mut taken = 0;
        for byte in bytes {
            let Some(place) = self.header.get_mut(self.header_length) else {
                break;
            };
            *place = *byte;
            self.header_length = self.header_length.saturating_add(1);
            taken += 1;
            match self.parse_header() {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    self.frame = Some(frame);
                    self.header_length = 0;
                    break;
                }
                Err(error) => return (taken, Err(error)),
            }
        }
        (taken, Ok(()))
    }

    /// The frame that the header begins; `None` while bytes of it are missing.
    fn parse_header(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some([first, second, rest @ ..]) = self.header.get(..self.header_length) else {
            return Ok(None);
        };
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        let kind = match opcode {
            0x0..=0x2 => Opcode::Data,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            other => return Err(FrameError::ReservedOpcode(other)),
        };
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBits);
        }
        // RFC 6455 §5.1: a server closes the connection.
        if second & 0x80 == 0 {
            return Err(FrameError::NotMasked);
        }
        let short = second & 0x7f;
        if kind == Opcode::Data {
            self.check_data(opcode)?;
        } else if !is_final {
            return Err(FrameError::ControlFragmented);
        } else if short > MAXIMUM_CONTROL {
            return Err(FrameError::ControlTooLong);
        }
        let (remaining, mask) = match (short, rest) {
            (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
            }
            (126 | 127, _) => return Ok(None),
            (short, mask) => (u64::from(short), mask),
        };
        let smallest = match short {
            126 => 126,
            127 => 0x1_0000,
            _ => 0,
        };
        if remaining < smallest {
            return Err(FrameError::LengthNotMinimal);
        }
        if remaining > i64::MAX.unsigned_abs() {
            return Err(FrameError::LengthTooLarge);
        }
        let Ok(mask) = <[u8; 4]>::try_from(mask) else {
            return Ok(None);
        };
        if kind == Opcode::Data {
            self.fragmented = !is_final;
        }
        Ok(Some(Frame {
            opcode: kind,
            remaining,
            mask,
        }))
    }

    fn check_data(&self, opcode: u8) -> Result<(), FrameError> {
        match (opcode, self.fragmented) {
            (0, false) => Err(FrameError::NothingToContinue),
            (0, true) | (2, false) => Ok(()),
            (1, _) => Err(FrameError::Text),
            _ => Err(FrameError::MessageInMessage),
        }
    }

    /// Reads payload from `bytes[at..]`. Returns how much.
    fn payload(&mut self, frame: Frame, bytes: &mut [u8], at: usize, payload: &mut Range<usize>) -> usize {
        let here = bytes.len().saturating_sub(at);
        let taken = usize::try_from(frame.remaining).map_or(here, |remaining| remaining.min(here));
        let end = at.saturating_add(taken);
        if let Some(part) = bytes.get_mut(at..end) {
            unmask(part, frame.mask);
            if frame.opcode == Opcode::Data {
                if payload.start == payload.end {
                    *payload = at..end;
                } else {
                    bytes.copy_within(at..end, payload.end);
                    payload.end = payload.end.saturating_add(taken);
                }
            } else {
                self.control.extend_from_slice(part);
            }
        }
        let mut mask = frame.mask;
        mask.rotate_left(taken % 4);
        self.frame = Some(Frame {
            remaining: frame.remaining.saturating_sub(taken as u64),
            mask,
            ..frame
        });
        taken
    }

    /// Says whether to go on.
    fn end_of_frame(
        &mut self,
        opcode: Opcode,
        control: &mut impl FnMut(Control<'_>) -> bool,
    ) -> Result<bool, FrameError> {
        if opcode == Opcode::Data {
            return Ok(true);
        }
        let payload = core::mem::take(&mut self.control);
        match opcode {
            Opcode::Data | Opcode::Pong => Ok(true),
            Opcode::Ping => Ok(control(Control::Ping(&payload))),
            Opcode::Close => Ok(control(Control::Close(close_status(&payload)?))),
        }
    }
}

/// Appends the header of an unmasked binary frame.
pub(crate) fn binary_header(length: usize, outgoing: &mut Vec<u8>) {
    outgoing.push(0x82);
    match length {
        0..=125 => outgoing.push(length as u8),
        126..=0xffff => {
            outgoing.push(126);
            outgoing.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            outgoing.push(127);
            outgoing.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a pong with the payload of its ping, which is at most 125 bytes.
pub(crate) fn pong(payload: &[u8], outgoing: &mut Vec<u8>) {
    outgoing.extend_from_slice(&[0x8a, payload.len().min(MAXIMUM_CONTROL.into()) as u8]);
    outgoing.extend_from_slice(payload);
}

/// Appends a close frame.
pub(crate) fn close(status: Option<u16>, outgoing: &mut Vec<u8>) {
    match status {
        None => outgoing.extend_from_slice(&[0x88, 0]),
        Some(status) => {
            outgoing.extend_from_slice(&[0x88, 2]);
            outgoing.extend_from_slice(&status.to_be_bytes());
        }
    }
}

/// The status of a close frame. RFC 6455 §5.5.1, §7.4.
fn close_status(payload: &[u8]) -> Result<Option<u16>, FrameError> {
    match payload {
        [] => Ok(None),
        [a, b, reason @ ..] => {
            let status = u16::from_be_bytes([*a, *b]);
            let may_be_sent = matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if may_be_sent && core::str::from_utf8(reason).is_ok() {
                Ok(Some(status))
            } else {
                Err(FrameError::CloseMalformed)
            }
        }
        [_] => Err(FrameError::CloseMalformed),
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

pub(crate) const NORMAL_CLOSURE: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const MAXIMUM_CONTROL: u8 = 125;
/// Two bytes, a length of eight, a mask of four.
const MAXIMUM_HEADER: usize = 14;
