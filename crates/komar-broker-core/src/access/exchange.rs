//! Enhanced authentication: an exchange of AUTH packets that an embedder conducts. MQTT 5.0 §4.12.

use std::sync::Arc;

use komar_codec::ReasonCode;

use super::later::Asking;
use super::{Credential, Pending};
use crate::worker::Entropy;

/// One exchange, from CONNECT (or a client's wish to authenticate again) to its outcome. Made by
/// [`Authenticate::begin`](super::Authenticate::begin), called on a worker's thread; must not block. Dropping it must not panic:
/// that would end the worker.
pub trait Exchange: Send {
    /// Takes the Authentication Data that the client has sent, in CONNECT first and then in each AUTH, and says how it
    /// goes on.
    fn step(&mut self, data: Option<&[u8]>, context: &mut ExchangeContext<'_>) -> Step;

    /// What the outcome rests on, for [`Authenticate::recheck`](super::Authenticate::recheck) to compare; asked when it has
    /// ended with [`Step::Accept`]. Default: nothing.
    fn credential(&self) -> Option<Credential> {
        None
    }
}

/// How an exchange goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// The client is sent AUTH 0x18 with this Authentication Data, and is to answer it. With more than 65,535 bytes, for which
    /// AUTH has no room, its Connection ends.
    Continue(Vec<u8>),
    /// The client is who it says.
    Accept {
        /// The user name that the exchange has proved, as in [`Authentication::AcceptAs`](super::Authentication::AcceptAs);
        /// `None` for an anonymous client. When a client authenticates again,
        /// it has to be the one that it has.
        username: Option<Arc<str>>,
        /// Authentication Data for CONNACK, or for the AUTH that ends an exchange that is not the first. A client for which
        /// it has more than 65,535 bytes is not let in.
        data: Option<Vec<u8>>,
    },
    /// The client is refused, or disconnected, with this code.
    Refuse(ReasonCode),
    /// The answer comes through [`ExchangeContext::later`].
    Later,
}

/// What an exchange may use in a step.
pub struct ExchangeContext<'a> {
    pub(crate) entropy: &'a mut Entropy,
    pub(crate) asking: Asking<'a>,
}

impl ExchangeContext<'_> {
    /// Fills `bytes` from the broker's source of randomness: for nonces.
    pub fn random(&mut self, bytes: &mut [u8]) {
        (self.entropy)(bytes);
    }

    /// The way back for an answer that is not known yet; return [`Step::Later`] then.
    pub fn later(&self) -> Pending<Step> {
        self.asking.pending()
    }
}
