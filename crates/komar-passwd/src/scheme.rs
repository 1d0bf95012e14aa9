//! Stored hashes: their kinds, their text in a password file, the limits they must keep.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::GeneralPurpose;

use crate::error::{Field, HashError};

/// How a password is hashed, with its costs.
///
/// The default is argon2id with 46 MiB, one pass and one lane, as Mosquitto 2.1 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `$argon2id$`: costs memory as well as time.
    Argon2id {
        /// Memory in KiB. Default: 47104.
        memory_kib: u32,
        /// Passes over the memory. Default: 1.
        passes: u32,
        /// Lanes. Default: 1. They are computed one after the other.
        lanes: u32,
    },
    /// `$7$`: PBKDF2 with HMAC-SHA-512. Mosquitto 2.0 and 2.1 read and write it.
    Sha512Pbkdf2 {
        /// Rounds, at least 1. Recommended: [`Scheme::PBKDF2_ITERATIONS`].
        iterations: u32,
    },
    /// `$6$`: one SHA-512. A stolen file gives such passwords away; only for readers that know nothing else.
    Sha512,
}

impl Scheme {
    /// Rounds of PBKDF2-HMAC-SHA-512 below which a hash counts as weak.
    pub const PBKDF2_ITERATIONS: u32 = 210_000;
    /// Memory in KiB of the default argon2id.
    pub const ARGON2ID_MEMORY_KIB: u32 = 47_104;

    /// PBKDF2 with the recommended number of rounds.
    #[must_use]
    pub const fn sha512_pbkdf2() -> Self {
        Self::Sha512Pbkdf2 {
            iterations: Self::PBKDF2_ITERATIONS,
        }
    }

    /// Bytes that computing one such hash takes at its peak, beside the stack.
    #[must_use]
    pub fn memory_cost(self) -> usize {
        match self {
            Self::Argon2id { memory_kib, .. } => usize::try_from(memory_kib)
                .unwrap_or(usize::MAX)
                .saturating_mul(1024),
            Self::Sha512Pbkdf2 { .. } | Self::Sha512 => 0,
        }
    }
}

impl Default for Scheme {
    fn default() -> Self {
        Self::Argon2id {
            memory_kib: Self::ARGON2ID_MEMORY_KIB,
            passes: 1,
            lanes: 1,
        }
    }
}

/// The largest costs that a stored hash may ask for; checked before any work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of argon2id in KiB. Default: 1 GiB.
    pub memory_kib: u32,
    /// Memory of argon2id in KiB times its passes. Default: 4 GiB, 6 s of work (2-core machine, 2026-11-24).
    pub work_kib: u64,
    /// Lanes of argon2id. Default: 64.
    pub lanes: u32,
    /// Rounds of PBKDF2. Default: 10 million, 5 s of work (2-core machine, 2026-11-24).
    pub iterations: u32,
    /// Bytes of an argon2id salt or digest. Default: 512.
    pub field_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_kib: 1024 * 1024,
            work_kib: 4 * 1024 * 1024,
            lanes: 64,
            iterations: 10_000_000,
            field_bytes: 512,
        }
    }
}

/// What a password file keeps instead of a password.
///
/// ```
/// use komar_passwd::StoredHash;
/// // Made with one PBKDF2 round, so that the example is quick.
/// let scheme = komar_passwd::Scheme::Sha512Pbkdf2 { iterations: 1 };
/// let stored = StoredHash::derive(scheme, b"secret", &[7; 12])?;
/// let again: StoredHash = StoredHash::parse(&stored.to_string())?;
/// assert!(again.verify(b"secret") && !again.verify(b"Secret"));
/// # Ok::<(), komar_passwd::HashError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    pub(crate) scheme: Scheme,
    /// 12 or 64 bytes, of any length from 8 with argon2id.
    pub(crate) salt: Bytes,
    /// 64 bytes, of any length from 4 with argon2id.
    pub(crate) digest: Bytes,
    pub(crate) version: Argon2Version,
}

type Bytes = Box<[u8]>;

/// Argon2 before and since its last change; without meaning for the other schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Argon2Version {
    V16,
    V19,
}

impl StoredHash {
    /// Reads a hash as it stands in a password file, within the default [`Limits`].
    ///
    /// `$6$SALT$DIGEST` and `$7$ITERATIONS$SALT$DIGEST` take base64 with padding, salts of 12 or 64 bytes and digests
    /// of 64. What follows the digest after another `$` is ignored there, and so are one to three characters behind the
    /// padding, as Mosquitto does; `$argon2id$` must be
    /// exactly `$argon2id$v=19$m=..,t=..,p=..$SALT$DIGEST` with base64 without padding; `v=16`, or no version at all,
    /// which means the same, is the older form of argon2id.
    ///
    /// # Errors
    /// [`HashError`] says which part cannot be read, or which cost is above the limits.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        Self::parse_within(text, &Limits::default())
    }

    /// Like [`parse`](Self::parse), with the caller's limits.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_within(text: &str, limits: &Limits) -> Result<Self, HashError> {
        let stored = if let Some(rest) = text.strip_prefix(ARGON2ID) {
            parse_argon2id(rest)?
        } else if let Some(rest) = text.strip_prefix("$7$") {
            parse_pbkdf2(rest)?
        } else if let Some(rest) = text.strip_prefix("$6$") {
            parse_sha512(rest)?
        } else {
            return Err(HashError::UnknownScheme);
        };
        stored.within(limits)?;
        Ok(stored)
    }

    /// As [`parse_within`](Self::parse_within). What is not ASCII is in no alphabet and no number, so one byte of it is as
    /// good as another, but it may stand where nobody looks.
    pub(crate) fn parse_bytes(text: &[u8], limits: &Limits) -> Result<Self, HashError> {
        if let Ok(text) = core::str::from_utf8(text) {
            return Self::parse_within(text, limits);
        }
        let same_length = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '!' };
        let text: String = text.iter().map(same_length).collect();
        Self::parse_within(&text, limits)
    }

    /// How it was made.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether it is weaker than what this crate writes: `$6$`, `$7$` with fewer than
    /// [`Scheme::PBKDF2_ITERATIONS`], argon2id with less memory times passes than the default, version 16, or a salt
    /// or digest of fewer than 16 bytes.
    ///
    /// Mosquitto 2.0's 12-byte salts in `$7$` do not count as weak.
    #[must_use]
    pub fn needs_rehash(&self) -> bool {
        match self.scheme {
            Scheme::Sha512 => true,
            Scheme::Sha512Pbkdf2 { iterations } => iterations < Scheme::PBKDF2_ITERATIONS,
            Scheme::Argon2id {
                memory_kib, passes, ..
            } => {
                u64::from(memory_kib).saturating_mul(u64::from(passes))
                    < u64::from(Scheme::ARGON2ID_MEMORY_KIB)
                    || self.version == Argon2Version::V16
                    || self.salt.len() < 16
                    || self.digest.len() < 16
            }
        }
    }

    pub(crate) fn within(&self, limits: &Limits) -> Result<(), HashError> {
        match self.scheme {
            Scheme::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let work = u64::from(memory_kib).saturating_mul(u64::from(passes));
                let longest = self.salt.len().max(self.digest.len());
                at_most(Field::Memory, memory_kib.into(), limits.memory_kib.into())?;
                at_most(Field::Work, work, limits.work_kib)?;
                at_most(Field::Lanes, lanes.into(), limits.lanes.into())?;
                if longest > limits.field_bytes {
                    let field = if self.salt.len() == longest {
                        Field::Salt
                    } else {
                        Field::Digest
                    };
                    return Err(HashError::Length {
                        field,
                        found: longest,
                    });
                }
                Ok(())
            }
            Scheme::Sha512Pbkdf2 { iterations } => {
                at_most(Field::Iterations, iterations.into(), limits.iterations.into())
            }
            Scheme::Sha512 => Ok(()),
        }
    }
}

/// The text of a password file, without the user's name.
impl fmt::Display for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padded = |bytes: &[u8]| PADDED.encode(bytes);
        match self.scheme {
            Scheme::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let version = if self.version == Argon2Version::V16 {
                    16
                } else {
                    19
                };
                write!(
                    f,
                    "{ARGON2ID}v={version}$m={memory_kib},t={passes},p={lanes}${}${}",
                    UNPADDED.encode(&self.salt),
                    UNPADDED.encode(&self.digest)
                )
            }
            Scheme::Sha512Pbkdf2 { iterations } => {
                write!(
                    f,
                    "$7${iterations}${}${}",
                    padded(&self.salt),
                    padded(&self.digest)
                )
            }
            Scheme::Sha512 => write!(f, "$6${}${}", padded(&self.salt), padded(&self.digest)),
        }
    }
}

/// Shows the scheme only: a digest in a log can be attacked like a stolen file.
impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHash")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl core::str::FromStr for StoredHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::parse(text)
    }
}

/// Checks the lengths that a salt may have; used for reading and for writing.
pub(crate) fn check_salt(scheme: Scheme, length: usize) -> Result<(), HashError> {
    let allowed = match scheme {
        Scheme::Argon2id { .. } => length >= 8,
        Scheme::Sha512Pbkdf2 { .. } | Scheme::Sha512 => length == 12 || length == DIGEST_BYTES,
    };
    if allowed {
        Ok(())
    } else {
        Err(HashError::Length {
            field: Field::Salt,
            found: length,
        })
    }
}

fn at_most(field: Field, found: u64, limit: u64) -> Result<(), HashError> {
    if found > limit {
        Err(HashError::TooCostly { field, found, limit })
    } else {
        Ok(())
    }
}

fn parse_sha512(rest: &str) -> Result<StoredHash, HashError> {
    let mut fields = fields(rest);
    let (salt, digest) = padded_salt_and_digest(&mut fields)?;
    Ok(StoredHash {
        scheme: Scheme::Sha512,
        salt,
        digest,
        version: Argon2Version::V19,
    })
}

fn parse_pbkdf2(rest: &str) -> Result<StoredHash, HashError> {
    let mut fields = fields(rest);
    let iterations = fields.next().ok_or(HashError::Missing {
        field: Field::Iterations,
    })?;
    let iterations = leading_number(iterations).ok_or(HashError::Parameter {
        field: Field::Iterations,
    })?;
    let (salt, digest) = padded_salt_and_digest(&mut fields)?;
    Ok(StoredHash {
        scheme: Scheme::Sha512Pbkdf2 { iterations },
        salt,
        digest,
        version: Argon2Version::V19,
    })
}

/// Parts between `$`; several in a row count as one, as in Mosquitto.
fn fields(rest: &str) -> impl Iterator<Item = &str> {
    rest.split('$').filter(|field| !field.is_empty())
}

fn padded_salt_and_digest<'a>(
    fields: &mut impl Iterator<Item = &'a str>,
) -> Result<(Bytes, Bytes), HashError> {
    let mut decode = |field: Field| {
        let text = fields.next().ok_or(HashError::Missing { field })?;
        padded_base64(text.as_bytes()).ok_or(HashError::Base64 { field, padded: true })
    };
    let (salt, digest) = (decode(Field::Salt)?, decode(Field::Digest)?);
    check_salt(Scheme::Sha512, salt.len())?;
    if digest.len() != DIGEST_BYTES {
        return Err(HashError::Length {
            field: Field::Digest,
            found: digest.len(),
        });
    }
    Ok((salt.into(), digest.into()))
}

/// Base64 as Mosquitto has it read by OpenSSL (before 3.5): up to three characters that are left over behind the groups of
/// four are ignored, whatever they are, a `=` that is not at the end stands for zero bits, as the unused bits of the last
/// character are ignored, and blanks at both ends and dashes at the end are cut if groups of four remain.
///
/// `None` if it is not base64, or nothing.
fn padded_base64(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, _) = text.as_chunks::<4>();
    let text = groups.as_flattened();
    let padding = match text {
        [.., b'=', b'='] => 2,
        [.., b'='] => 1,
        _ => 0,
    };
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    let mut text = text.get(start..)?;
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n' | b'-'] = text
        && text.len() > 3
    {
        text = rest;
    }
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let zeros = |byte: &u8| if *byte == b'=' { b'A' } else { *byte };
    let mut bytes = UNPADDED
        .decode(text.iter().map(zeros).collect::<Vec<u8>>())
        .ok()?;
    bytes.truncate(bytes.len().checked_sub(padding)?);
    (!bytes.is_empty()).then_some(bytes)
}

/// C's `atoi`, which Mosquitto reads the iterations with: blanks, a sign, digits, anything, of which the 64 bits of `strtol`
/// are cut to the lowest 32. From 1 to `i32::MAX`.
fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let signs = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = signs.bytes().take_while(u8::is_ascii_digit);
    let is_negative = text.starts_with('-');
    let number = digits.fold(0_i64, |number, digit| {
        let (number, digit) = (number.saturating_mul(10), i64::from(digit.wrapping_sub(b'0')));
        match is_negative {
            true => number.saturating_sub(digit),
            false => number.saturating_add(digit),
        }
    });
    let number = u32::try_from(number & 0xffff_ffff).ok()?;
    i32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .map(|_| number)
}

fn parse_argon2id(rest: &str) -> Result<StoredHash, HashError> {
    let mut fields = rest.split('$');
    let mut first = fields.next().unwrap_or_default();
    let version = match first.strip_prefix("v=") {
        Some("19") => Argon2Version::V19,
        Some("16") => Argon2Version::V16,
        Some(_) => {
            return Err(HashError::Parameter {
                field: Field::Version,
            });
        }
        None => Argon2Version::V16, // before versions were written
    };
    if first.starts_with("v=") {
        first = fields.next().ok_or(HashError::Missing { field: Field::Memory })?;
    }
    let (memory_kib, passes, lanes) = argon2_costs(first)?;
    let mut decode = |field: Field| {
        let text = fields.next().ok_or(HashError::Missing { field })?;
        UNPADDED
            .decode(text)
            .map_err(|_| HashError::Base64 { field, padded: false })
    };
    let (salt, digest) = (decode(Field::Salt)?, decode(Field::Digest)?);
    if fields.next().is_some() {
        return Err(HashError::Base64 {
            field: Field::Digest,
            padded: false,
        });
    }
    let scheme = Scheme::Argon2id {
        memory_kib,
        passes,
        lanes,
    };
    check_salt(scheme, salt.len())?;
    if digest.len() < 4 {
        return Err(HashError::Length {
            field: Field::Digest,
            found: digest.len(),
        });
    }
    Ok(StoredHash {
        scheme,
        salt: salt.into(),
        digest: digest.into(),
        version,
    })
}

/// `m=..,t=..,p=..` in this order, without leading zeros.
fn argon2_costs(text: &str) -> Result<(u32, u32, u32), HashError> {
    let mut parts = text.split(',');
    let mut cost = |field: Field, prefix: &str| {
        let digits = parts.next().and_then(|part| part.strip_prefix(prefix));
        digits
            .and_then(plain_number)
            .ok_or(HashError::Parameter { field })
    };
    let memory_kib = cost(Field::Memory, "m=")?;
    let passes = cost(Field::Passes, "t=")?;
    let lanes = cost(Field::Lanes, "p=")?;
    if parts.next().is_some() || lanes > 0x00ff_ffff {
        return Err(HashError::Parameter { field: Field::Lanes });
    }
    if memory_kib < lanes.saturating_mul(8) {
        return Err(HashError::Parameter { field: Field::Memory });
    }
    Ok((memory_kib, passes, lanes))
}

/// A decimal number from 1 without sign or leading zero.
fn plain_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

pub(crate) const ARGON2ID: &str = "$argon2id$";
/// SHA-512's length, which `$6$` and `$7$` always store whole.
pub(crate) const DIGEST_BYTES: usize = 64;

const PADDED: GeneralPurpose = base64::engine::general_purpose::STANDARD;
const UNPADDED: GeneralPurpose = base64::engine::general_purpose::STANDARD_NO_PAD;
