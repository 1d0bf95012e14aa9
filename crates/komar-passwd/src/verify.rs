//! Computing hashes, and comparing them without telling how much was right.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::{Field, HashError};
use crate::scheme::{Argon2Version, DIGEST_BYTES, Limits, Scheme, StoredHash, check_salt};

impl StoredHash {
    /// Hashes a password for a file.
    ///
    /// `salt` is fresh random bytes: 64 as Mosquitto 2.1 writes them, 12 if Mosquitto 2.0 must read the file. The
    /// whole password counts, what follows a U+0000 too.
    ///
    /// # Errors
    /// [`HashError`] if the salt's length or a cost is not allowed, the costs are above the default [`Limits`], or the
    /// password ends with U+0000 and the scheme is PBKDF2, which cannot tell it from the password without.
    pub fn derive(scheme: Scheme, password: &[u8], salt: &[u8]) -> Result<Self, HashError> {
        check_salt(scheme, salt.len())?;
        if let Scheme::Sha512Pbkdf2 { iterations: 0 } = scheme {
            return Err(HashError::Parameter {
                field: Field::Iterations,
            });
        }
        if is_ambiguous(scheme, password) {
            return Err(HashError::TrailingNul);
        }
        let mut stored = Self {
            scheme,
            salt: salt.into(),
            digest: vec![0; DIGEST_BYTES].into(),
            version: Argon2Version::V19,
        };
        stored.within(&Limits::default())?;
        stored.digest = stored
            .compute(password)
            .ok_or(HashError::Parameter { field: Field::Memory })?;
        Ok(stored)
    }

    /// Whether `password` is the one that was hashed; compares all bytes in constant time.
    ///
    /// This is slow by intent: up to seconds, with the memory of [`Scheme::memory_cost`]. `false` also if that memory
    /// cannot be had.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let digest = self.compute(password);
        let equal = digest.is_some_and(|digest| digest.ct_eq(&self.digest).into());
        equal & !is_ambiguous(self.scheme, password)
    }

    /// `None` if argon2 refuses the parameters or there is no memory.
    fn compute(&self, password: &[u8]) -> Option<Box<[u8]>> {
        let mut digest = vec![0; self.digest.len()];
        match self.scheme {
            Scheme::Argon2id {
                memory_kib,
                passes,
                lanes,
            } => {
                let params = Params::new(memory_kib, passes, lanes, Some(digest.len())).ok()?;
                let version = match self.version {
                    Argon2Version::V16 => Version::V0x10,
                    Argon2Version::V19 => Version::V0x13,
                };
                Argon2::new(Algorithm::Argon2id, version, params)
                    .hash_password_into(password, &self.salt, &mut digest)
                    .ok()?;
            }
            Scheme::Sha512Pbkdf2 { iterations } => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, &self.salt, iterations, &mut digest);
            }
            Scheme::Sha512 => {
                let computed = Sha512::new()
                    .chain_update(password)
                    .chain_update(&self.salt)
                    .finalize();
                digest.copy_from_slice(&computed);
            }
        }
        Some(digest.into())
    }
}

/// HMAC fills a key shorter than its block with zeros, so PBKDF2 cannot tell `secret` from `secret\0`. No stored hash is
/// of the second (Mosquitto's passwords end at U+0000, and [`StoredHash::derive`] refuses it), so it never matches.
fn is_ambiguous(scheme: Scheme, password: &[u8]) -> bool {
    matches!(scheme, Scheme::Sha512Pbkdf2 { .. }) && password.ends_with(b"\0")
}

/// A password to be checked, with all that the check needs: it can be sent to another thread and run there.
///
/// Running one takes as long for a user that does not exist as for one that does. The password is wiped from memory
/// when this is dropped.
#[must_use = "nobody is let in or refused before `run`"]
pub struct PasswordCheck {
    stored: Arc<StoredHash>,
    password: Zeroizing<Box<[u8]>>,
    /// Whether the user exists and can log in at all; never looked at before the work is done.
    known: bool,
}

impl PasswordCheck {
    pub(crate) fn new(stored: Arc<StoredHash>, password: &[u8], known: bool) -> Self {
        Self {
            stored,
            password: Zeroizing::new(password.into()),
            known,
        }
    }

    /// Bytes that [`run`](Self::run) takes at its peak beside the stack: 46 MiB for the default argon2id, 0 for the
    /// kinds that need no memory, and never more than [`Limits::memory_kib`] of the file that it is from. Bound the sum of
    /// those under way, by the number of threads that run them or by adding this up: nothing here does.
    #[must_use]
    pub fn memory_cost(&self) -> usize {
        if self.password.is_empty() {
            0
        } else {
            self.stored.scheme.memory_cost()
        }
    }

    /// Does the work: about 1 µs (`$6$`), 98 ms (`$7$` with 210,000 iterations), 57 ms (default argon2id), up to 6 s
    /// within the [`Limits`] (2-core machine, 2026-11-24). Do not call it on a thread that serves messages.
    ///
    /// An empty password is always refused, at once, whoever the user is.
    #[must_use]
    pub fn run(self) -> PasswordVerdict {
        if self.password.is_empty() {
            return PasswordVerdict::Refused;
        }
        let matches = self.stored.verify(&self.password);
        if matches & self.known {
            PasswordVerdict::Accepted {
                needs_rehash: self.stored.needs_rehash(),
            }
        } else {
            PasswordVerdict::Refused
        }
    }
}

/// Tells nothing about the password or the user.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck")
            .field("memory_cost", &self.memory_cost())
            .finish_non_exhaustive()
    }
}

/// What a [`PasswordCheck`] found. No kind of refusal will be told apart from another, since that would tell who exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordVerdict {
    /// The user exists and the password is right.
    Accepted {
        /// Whether the stored hash is weaker than what this crate writes
        /// ([`StoredHash::needs_rehash`]): a chance to hash the password anew.
        needs_rehash: bool,
    },
    /// No such user, or not that password.
    Refused,
}
