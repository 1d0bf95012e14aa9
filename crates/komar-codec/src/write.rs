//! Writes the data types of MQTT 5.0 §1.5. Every packet describes its body once, to a [`Sink`]: one sink measures,
//! the other writes, so that the length cannot disagree with the bytes.

use bytes::BufMut;

use crate::primitive::VARIABLE_BYTE_INTEGER_MAXIMUM;
use crate::{EncodeError, PacketType, PropertyId, ProtocolVersion};

/// A packet that can be written.
pub(crate) trait Body {
    /// Type and flags: the first byte.
    fn first_byte(&self) -> u8;

    /// Everything that lengths do not show.
    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError>;

    /// Describes variable header and payload.
    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink);
}

/// The properties of a packet.
pub(crate) trait Properties {
    fn write(&self, sink: &mut impl Sink);
}

/// Where a body goes.
pub(crate) trait Sink {
    fn slice(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.slice(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.slice(&value.to_be_bytes());
    }

    fn variable_byte_integer(&mut self, value: u32) {
        with_variable_byte_integer(value, |bytes| self.slice(bytes));
    }

    /// Two bytes of length, then the bytes.
    fn binary(&mut self, bytes: &[u8]) {
        // Measuring comes first and refuses what is longer.
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.slice(bytes);
    }

    fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    /// Property Length, then the properties.
    fn properties(&mut self, properties: &impl Properties)
    where
        Self: Sized,
    {
        let length = measure(properties);
        self.variable_byte_integer(length);
        if length > 0 {
            properties.write(self);
        }
    }

    fn u8_property(&mut self, id: PropertyId, value: Option<u8>) {
        if let Some(value) = value {
            self.slice(&[id.as_u8(), value]);
        }
    }

    fn bool_property(&mut self, id: PropertyId, value: Option<bool>) {
        self.u8_property(id, value.map(u8::from));
    }

    fn u16_property(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(id.as_u8());
            self.u16(value);
        }
    }

    fn u32_property(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(id.as_u8());
            self.u32(value);
        }
    }

    fn binary_property(&mut self, id: PropertyId, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.u8(id.as_u8());
            self.binary(value);
        }
    }

    fn string_property(&mut self, id: PropertyId, value: Option<&str>) {
        self.binary_property(id, value.map(str::as_bytes));
    }
}

/// Bytes of the whole packet.
pub(crate) fn encoded_len(body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
    total_length(body_length(body, version)?)
}

/// Writes the whole packet, or nothing.
pub(crate) fn encode(
    body: &impl Body,
    version: ProtocolVersion,
    out: &mut impl BufMut,
) -> Result<(), EncodeError> {
    let length = body_length(body, version)?;
    let needed = total_length(length)?;
    if out.remaining_mut() < needed {
        return Err(EncodeError::BufferFull { needed });
    }
    let mut writer = Writer { out };
    writer.u8(body.first_byte());
    writer.variable_byte_integer(remaining_length(length)?);
    body.write(version, &mut writer);
    Ok(())
}

/// The Remaining Length of a body of `length` bytes. MQTT 5.0 §2.1.4.
#[inline]
pub(crate) fn remaining_length(length: usize) -> Result<u32, EncodeError> {
    match u32::try_from(length) {
        Ok(length) if length <= VARIABLE_BYTE_INTEGER_MAXIMUM => Ok(length),
        _ => Err(EncodeError::PacketTooLarge),
    }
}

/// Fixed header and a body of `length` bytes.
#[inline]
pub(crate) fn total_length(length: usize) -> Result<usize, EncodeError> {
    let header = variable_byte_integer_length(remaining_length(length)?).saturating_add(1);
    Ok(length.saturating_add(header))
}

#[inline]
pub(crate) fn variable_byte_integer_length(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Hands the shortest form of `value` to `write`. v5 [MQTT-1.5.5-1]
#[inline]
pub(crate) fn with_variable_byte_integer<R>(value: u32, write: impl FnOnce(&[u8]) -> R) -> R {
    // Seven bits a byte, the lowest first.
    let seven = |shift: u32| {
        let [byte, ..] = value.wrapping_shr(shift).to_le_bytes();
        byte & 0x7F
    };
    match variable_byte_integer_length(value) {
        1 => write(&[seven(0)]),
        2 => write(&[seven(0) | 0x80, seven(7)]),
        3 => write(&[seven(0) | 0x80, seven(7) | 0x80, seven(14)]),
        _ => write(&[seven(0) | 0x80, seven(7) | 0x80, seven(14) | 0x80, seven(21)]),
    }
}

/// First byte of a packet whose flags are fixed.
pub(crate) const fn first_byte(packet_type: PacketType) -> u8 {
    // v3 [MQTT-2.2.2-1]
    (packet_type.as_u8() << 4) | packet_type.fixed_flags()
}

/// A string or binary value of at most 65,535 bytes.
#[inline]
pub(crate) fn check_length(bytes: &[u8]) -> Result<(), EncodeError> {
    if u16::try_from(bytes.len()).is_ok() {
        Ok(())
    } else {
        Err(EncodeError::StringTooLong { length: bytes.len() })
    }
}

fn body_length(body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
    body.check(version)?;
    let mut measure = Measure::default();
    body.write(version, &mut measure);
    match measure.too_long {
        Some(length) => Err(EncodeError::StringTooLong { length }),
        None => Ok(measure.length),
    }
}

/// Bytes of the properties. What is too long for a packet stays so.
fn measure(properties: &impl Properties) -> u32 {
    let mut measure = Measure::default();
    properties.write(&mut measure);
    u32::try_from(measure.length).unwrap_or(u32::MAX)
}

/// Counts.
#[derive(Default)]
struct Measure {
    length: usize,
    /// Length of a string that is too long.
    too_long: Option<usize>,
}

impl Sink for Measure {
    #[inline]
    fn slice(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        if check_length(bytes).is_err() {
            self.too_long = Some(bytes.len());
        }
        self.length = self.length.saturating_add(bytes.len()).saturating_add(2);
    }

    /// One walk counts both the Property Length and the properties.
    #[inline]
    fn properties(&mut self, properties: &impl Properties) {
        let before = self.length;
        properties.write(self);
        let length = u32::try_from(self.length.saturating_sub(before)).unwrap_or(u32::MAX);
        self.length = self.length.saturating_add(variable_byte_integer_length(length));
    }
}

/// Writes. There is room: `encode` has looked.
struct Writer<'o, O: BufMut> {
    out: &'o mut O,
}

impl<O: BufMut> Sink for Writer<'_, O> {
    #[inline]
    fn slice(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }
}

/// The two methods that every packet has.
macro_rules! encoders {
    ($(#[$note:meta])* $packet:ident $(<$lifetime:lifetime>)?) => {
        impl $packet $(<$lifetime>)? {
            /// Bytes that [`encode`](Self::encode) will write, fixed header included.
            ///
            $(#[$note])*
            ///
            /// # Errors
            ///
            /// As [`encode`](Self::encode), without [`BufferFull`](crate::EncodeError::BufferFull).
            pub fn encoded_len(
                &self,
                version: crate::ProtocolVersion,
            ) -> Result<usize, crate::EncodeError> {
                crate::write::encoded_len(self, version)
            }

            /// Writes the packet for a peer of that version, or nothing. Strings are not checked for what they hold.
            ///
            $(#[$note])*
            ///
            /// # Errors
            ///
            /// See the variants of [`EncodeError`](crate::EncodeError): what the version has no bytes for, or what
            /// a peer would refuse.
            pub fn encode(
                &self,
                version: crate::ProtocolVersion,
                out: &mut impl bytes::BufMut,
            ) -> Result<(), crate::EncodeError> {
                crate::write::encode(self, version, out)
            }
        }
    };
}
pub(crate) use encoders;
