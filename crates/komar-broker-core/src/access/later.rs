//! Answers that come later, from any thread, in any order, or never.

use core::marker::PhantomData;
use std::sync::{Arc, Weak};

use super::{Authentication, Decision, Step};
use crate::inbox::{Inbox, Letter};
use crate::outbox::Outbox;

/// The way back for an answer that comes later. Got from [`Login::later`](super::Login::later),
/// [`Subject::later`](super::Subject::later) or [`ExchangeContext::later`](super::ExchangeContext::later).
///
/// Answer from any thread, at once or after any time. The client's packets that come behind the question wait, in order;
/// the Connection is not read meanwhile. Dropping it is an answer, too: a refusal. So is
/// [`Limits::verdict_timeout`](crate::Limits::verdict_timeout). Of several answers to one question the first counts, and
/// none counts after the Connection has ended.
#[must_use = "dropping it refuses what was asked for"]
pub struct Pending<A> {
    ticket: Ticket,
    answer: PhantomData<fn(A)>,
}

impl Pending<Authentication> {
    /// Answers a login. [`Authentication::Later`] is no answer and refuses it.
    pub fn answer(self, answer: Authentication) {
        self.ticket.send(Answer::Login(answer));
    }
}

impl Pending<Decision> {
    /// Answers whether something may be done. [`Decision::Later`] is no answer and denies it.
    pub fn answer(self, answer: Decision) {
        self.ticket.send(Answer::Decision(answer));
    }
}

impl Pending<Step> {
    /// Answers a step of an exchange. [`Step::Later`] is no answer and refuses it.
    pub fn answer(self, answer: Step) {
        self.ticket.send(Answer::Step(answer));
    }
}

impl<A> core::fmt::Debug for Pending<A> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// An answer on its way to the Link that waits for it: taken with
/// [`Worker::next_verdict`](crate::Worker::next_verdict), given to [`Worker::verdict`](crate::Worker::verdict).
pub struct Verdict {
    /// The Connection that it is for.
    pub outbox: Arc<Outbox>,
    pub(crate) ticket: u32,
    /// Which of the questions that one packet raised.
    pub(crate) place: usize,
    pub(crate) answer: Answer,
}

/// What a verdict says.
pub(crate) enum Answer {
    Login(Authentication),
    Decision(Decision),
    Step(Step),
    /// Whoever was to answer has gone.
    Nobody,
    /// It is time to look whether the Link still waits.
    Deadline,
    /// The store has caught up.
    Durable,
    /// What was published too fast is paid for.
    Paid,
    /// A pause for the sake of what waits in the broker is over.
    Relieved,
}

/// Who asks: what a [`Pending`] is made of.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) inbox: &'a Arc<Inbox>,
    pub(crate) outbox: &'a Arc<Outbox>,
    pub(crate) ticket: u32,
    pub(crate) place: usize,
}

impl Asking<'_> {
    pub(crate) fn pending<A>(&self) -> Pending<A> {
        Pending {
            ticket: Ticket {
                inbox: Arc::clone(self.inbox),
                outbox: Arc::downgrade(self.outbox),
                ticket: self.ticket,
                place: self.place,
            },
            answer: PhantomData,
        }
    }
}

/// Sends one answer, and a refusal if it is dropped without.
struct Ticket {
    inbox: Arc<Inbox>,
    /// An answer that never comes keeps no Connection in memory.
    outbox: Weak<Outbox>,
    ticket: u32,
    place: usize,
}

impl Ticket {
    fn send(mut self, answer: Answer) {
        self.deliver(answer);
        self.outbox = Weak::new();
    }

    fn deliver(&self, answer: Answer) {
        if let Some(outbox) = self.outbox.upgrade() {
            self.inbox.send(Letter::Verdict(Verdict {
                outbox,
                ticket: self.ticket,
                place: self.place,
                answer,
            }));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.deliver(Answer::Nobody);
    }
}
