//! Reads the data types of MQTT 5.0 §1.5 out of one frame; bounds are checked here and nowhere else.

use core::marker::PhantomData;

use crate::error::{DecodeError, DecodeErrorKind};
use crate::text;
use crate::{PacketIdentifier, PacketType, PropertyId, ProtocolVersion, Role, Utf8Policy};

/// Largest value of a Variable Byte Integer. MQTT 5.0 §1.5.5.
pub(crate) const VARIABLE_BYTE_INTEGER_MAXIMUM: u32 = 268_435_455;

/// What an error needs to know about the packet it was found in, and what a string may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) version: ProtocolVersion,
    pub(crate) packet_type: PacketType,
    pub(crate) receiver: Role,
    /// The low four bits of the first byte.
    pub(crate) flags: u8,
    pub(crate) text: text::Check,
}

/// What is told of a fault in the bytes.
///
/// A packet is read with [`Unnamed`] first: a result that is a value or nothing goes through registers, and whatever only
/// an error would have needed is not worked out. Where that fails it is read once more with [`DecodeError`], by the same
/// code.
pub(crate) trait Fault: Copy {
    /// `offset` is counted from the first byte of the frame.
    fn new(kind: DecodeErrorKind, offset: usize, context: Context) -> Self;

    /// The fault of a string that begins at `offset`, or of a Topic Name.
    fn of_text<const TOPIC: bool>(bytes: &[u8], offset: usize, context: Context) -> Self;

    /// The same fault by another name, where the reader of a part does not know the whole.
    fn rename(self, from: DecodeErrorKind, to: DecodeErrorKind) -> Self;
}

/// That there is a fault, and not which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unnamed;

impl Fault for Unnamed {
    #[inline]
    fn new(_: DecodeErrorKind, _: usize, _: Context) -> Self {
        Unnamed
    }

    #[inline]
    fn of_text<const TOPIC: bool>(_: &[u8], _: usize, _: Context) -> Self {
        Unnamed
    }

    #[inline]
    fn rename(self, _: DecodeErrorKind, _: DecodeErrorKind) -> Self {
        self
    }
}

impl Fault for DecodeError {
    fn new(kind: DecodeErrorKind, offset: usize, context: Context) -> Self {
        let packet_type = Some(context.packet_type);
        DecodeError::new(kind, offset, context.version, context.receiver, packet_type)
    }

    fn of_text<const TOPIC: bool>(bytes: &[u8], offset: usize, context: Context) -> Self {
        let policy = match context.text {
            text::Check::All(policy) => policy,
            text::Check::Known => Utf8Policy::Permissive,
        };
        let fault = text::fault::<TOPIC>(bytes, policy).unwrap_or(text::Fault {
            position: 0,
            kind: DecodeErrorKind::Utf8,
        });
        <Self as Fault>::new(fault.kind, offset.saturating_add(fault.position), context)
    }

    fn rename(self, from: DecodeErrorKind, to: DecodeErrorKind) -> Self {
        if self.kind() == from {
            self.with_kind(to)
        } else {
            self
        }
    }
}

/// The rest of a frame, or of a part of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a, F> {
    rest: &'a [u8],
    /// Offset of the end of `rest` from the first byte of the frame.
    end: usize,
    context: Context,
    fault: PhantomData<F>,
}

impl<'a, F: Fault> Reader<'a, F> {
    /// `end` is the offset of the end of `bytes` from the first byte of the frame.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], end: usize, context: Context) -> Self {
        Reader {
            rest: bytes,
            end,
            context,
            fault: PhantomData,
        }
    }

    pub(crate) fn set_version(&mut self, version: ProtocolVersion) {
        self.context.version = version;
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, F> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, F> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, F> {
        self.array().map(u32::from_be_bytes)
    }

    /// MQTT 5.0 §1.5.5.
    #[inline]
    pub(crate) fn variable_byte_integer(&mut self) -> Result<u32, F> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u32::from(*byte))
            }
            _ => self.long_variable_byte_integer(),
        }
    }

    #[inline]
    pub(crate) fn packet_identifier(&mut self) -> Result<PacketIdentifier, F> {
        let offset = self.offset();
        PacketIdentifier::new(self.u16()?)
            .ok_or_else(|| self.error_at(offset, DecodeErrorKind::PacketIdentifierZero))
    }

    /// Binary Data. MQTT 5.0 §1.5.6.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], F> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 Encoded String. MQTT 5.0 §1.5.4.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, F> {
        let bytes = self.binary()?;
        text::string(bytes, self.context.text).ok_or_else(|| self.text_error::<false>(bytes))
    }

    /// A Topic Name, which may be empty: a string without wildcards.
    #[inline]
    pub(crate) fn topic_name(&mut self) -> Result<&'a str, F> {
        let bytes = self.binary()?;
        text::topic_name(bytes, self.context.text).ok_or_else(|| self.text_error::<true>(bytes))
    }

    /// The bytes of a Topic Name, which may be empty.
    #[inline]
    pub(crate) fn topic_name_bytes(&mut self) -> Result<&'a [u8], F> {
        let bytes = self.binary()?;
        let is_right = match self.context.text {
            text::Check::All(policy) => text::is_topic_name(bytes, policy),
            text::Check::Known => true,
        };
        if is_right {
            Ok(bytes)
        } else {
            Err(self.text_error::<true>(bytes))
        }
    }

    /// A Topic Name of at least one character. v5 [MQTT-4.7.3-1], v3 [MQTT-4.7.3-1]
    pub(crate) fn non_empty_topic_name(&mut self) -> Result<&'a str, F> {
        let offset = self.offset();
        match self.topic_name()? {
            "" => Err(self.error_at(offset, DecodeErrorKind::EmptyTopicName)),
            name => Ok(name),
        }
    }

    /// 0 or 1. MQTT 5.0 §3.1.2.11.6 and others.
    #[inline]
    pub(crate) fn boolean(&mut self, property: PropertyId) -> Result<bool, F> {
        let offset = self.offset();
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error_at(offset, DecodeErrorKind::PropertyValue(property))),
        }
    }

    /// A value of which 0 is refused: `of` makes the non-zero integer of a number.
    #[inline]
    pub(crate) fn non_zero<N, T>(
        &mut self,
        read: fn(&mut Self) -> Result<N, F>,
        of: fn(N) -> Option<T>,
        error: DecodeErrorKind,
    ) -> Result<T, F> {
        let offset = self.offset();
        of(read(self)?).ok_or_else(|| self.error_at(offset, error))
    }

    /// 1 to 268,435,455. MQTT 5.0 §3.8.2.1.2.
    #[inline]
    pub(crate) fn subscription_identifier(&mut self) -> Result<u32, F> {
        let offset = self.offset();
        match self.variable_byte_integer()? {
            0 => Err(self.error_at(
                offset,
                DecodeErrorKind::PropertyValue(PropertyId::SubscriptionIdentifier),
            )),
            identifier => Ok(identifier),
        }
    }

    /// Takes one byte off if it is 0.
    #[inline]
    pub(crate) fn skip_zero(&mut self) -> bool {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes `length` bytes off, as a reader of its own.
    #[inline]
    pub(crate) fn split(&mut self, length: u32) -> Result<Self, F> {
        let begin = self.offset();
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Reader::new(
            bytes,
            begin.saturating_add(bytes.len()),
            self.context,
        ))
    }

    /// Takes everything that is left.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// The packet has to be over here.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), F> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error(DecodeErrorKind::TrailingBytes))
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the bytes have been decoded before: what is only walked over to be checked can be left out.
    #[inline]
    pub(crate) fn is_known(&self) -> bool {
        self.context.text == text::Check::Known
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn context(&self) -> Context {
        self.context
    }

    /// From the first byte of the frame.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    #[inline]
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> F {
        self.error_at(self.offset(), kind)
    }

    #[inline]
    pub(crate) fn error_at(&self, offset: usize, kind: DecodeErrorKind) -> F {
        F::new(kind, offset, self.context)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], F> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.error(DecodeErrorKind::Truncated)),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], F> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.error(DecodeErrorKind::Truncated)),
        }
    }

    fn long_variable_byte_integer(&mut self) -> Result<u32, F> {
        match variable_byte_integer(self.rest) {
            Ok(Some((value, rest))) => {
                self.rest = rest;
                Ok(value)
            }
            Ok(None) => Err(self.error(DecodeErrorKind::Truncated)),
            Err(kind) => Err(self.error(kind)),
        }
    }

    /// `bytes` were taken last, and are no string.
    #[inline]
    fn text_error<const TOPIC: bool>(&self, bytes: &[u8]) -> F {
        let begin = self.offset().saturating_sub(bytes.len());
        F::of_text::<TOPIC>(bytes, begin, self.context)
    }
}

/// A Variable Byte Integer at the front of `bytes` and what follows it; `None` if more bytes are needed.
///
/// The one place that knows the encoding's limits: four bytes, and as few as possible. v5 [MQTT-1.5.5-1]. That 3.1.1
/// has no number for it does not make it looser: "a single byte for values up to 127" is its wording too (§2.2.3).
#[inline]
pub(crate) fn variable_byte_integer(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, DecodeErrorKind> {
    let mut value = 0;
    let mut shift = 0_u32;
    let mut rest = bytes;
    while let [byte, after @ ..] = rest {
        rest = after;
        value |= u32::from(*byte & 0x7F).wrapping_shl(shift);
        if *byte < 0x80 {
            // A last byte of 0 adds nothing: the encoding is longer than it has to be.
            return if *byte == 0 && shift > 0 {
                Err(DecodeErrorKind::VariableByteIntegerNotMinimal)
            } else {
                Ok(Some((value, rest)))
            };
        }
        shift = shift.saturating_add(7);
        if shift == 28 {
            return Err(DecodeErrorKind::VariableByteIntegerTooLong);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers_at_their_limits() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[127], 127),
            (&[0x80, 1], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0x80, 0x80, 1], 16_384),
            (&[0xFF, 0xFF, 0x7F], 2_097_151),
            (&[0x80, 0x80, 0x80, 1], 2_097_152),
            (&[0xFF, 0xFF, 0xFF, 0x7F], VARIABLE_BYTE_INTEGER_MAXIMUM),
        ] {
            assert_eq!(variable_byte_integer(bytes), Ok(Some((value, &[][..]))));
            for cut in 0..bytes.len() {
                assert_eq!(variable_byte_integer(&bytes[..cut]), Ok(None));
            }
        }
        for bytes in [&[0x80, 0][..], &[0xFF, 0x80, 0], &[0x80, 0x80, 0x80, 0]] {
            let not_minimal = Err(DecodeErrorKind::VariableByteIntegerNotMinimal);
            assert_eq!(variable_byte_integer(bytes), not_minimal);
        }
        let too_long = Err(DecodeErrorKind::VariableByteIntegerTooLong);
        assert_eq!(variable_byte_integer(&[0x80, 0x80, 0x80, 0x80]), too_long);
    }
}
