//! An MQTT broker as a value: sessions, routing, retained messages, wills, limits and access control for MQTT 3.1,
//! 3.1.1 and 5.0, without a socket, a clock, a thread or a file of its own.
//!
//! A [`Broker`] is shared by all threads; each thread drives it through a [`Worker`]; each network connection is a
//! [`Link`] (its protocol state) and an [`Outbox`] (its output, which any worker may append to).
//!
//! One turn of a driver:
//!
//! 1. [`Worker::turn_begin`] with the time; with a [`store`], [`Worker::durable`] with how far that has come; and
//!    [`Worker::verdict`] for each [`Worker::next_verdict`], and with what [`PasswordRequest::run`] gave for each password.
//! 2. For each Connection that has sent something and is not [paused](LinkState::Paused), one read and [`Worker::input`]. For
//!    each that has ended, [`Worker::close`].
//! 3. [`Worker::work`] for what that has left to do.
//! 4. For each [`Worker::next_dirty`]: [`Worker::take_output`], one write, [`Worker::output_done`]; and what [`Take`] and
//!    [`Next`] say: again, or close the transport, and then the Link with [`Worker::close`].
//! 5. [`Worker::next_event`] and [`Worker::next_password_check`] until there is none.
//! 6. [`Worker::turn_end`] says how long to wait, and hands out what is to be stored
//!    ([`TurnEnd::persist`]). With [`BrokerConfig::durable`] a driver that drops that acknowledges nothing: CONNACK, PUBACK and
//!    the like wait until [`Worker::durable`] says that it is stored.
//!
//! A driver that has several threads sees to it that they are woken ([`Worker::set_wake`]). A Link belongs to one of them at a
//! time: at first to the one whose worker has opened it. It may be moved to another one between two turns, while it is
//! [open](LinkState::Open), when all that was read from it has been handled and its output is not being written by the old
//! thread for it alone. What was left for the Link with the old worker still comes up there: a driver passes each
//! [`Worker::next_verdict`] on to the thread that has the Link by then, and an answer for a Link that is gone is dropped. Timers
//! stay where they are, and look at the Outbox.
//!
//! ```
//! use std::sync::Arc;
//! use komar_broker_core::{Access, Broker, BrokerConfig, ListenerPolicy, Now, Take, Worker};
//!
//! let broker = Broker::new(BrokerConfig::default(), Access::allow_all(), 42);
//! let mut worker = Worker::new(&broker, Now::default(), Box::new(|bytes| bytes.fill(7)));
//! let policy = Arc::new(ListenerPolicy::default());
//!
//! worker.turn_begin(Now::default());
//! let mut link = worker.open(Box::new("my connection"), &policy);
//! // CONNECT, 3.1.1, client identifier "a"; PINGREQ
//! worker.input(&mut link, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\xc0\x00");
//! worker.work();
//! let outbox = worker.next_dirty().expect("there is an answer");
//! let Take::Output(output) = worker.take_output(&outbox) else { panic!("it is to be written") };
//! // CONNACK, PINGRESP
//! assert_eq!(output.chunk(), b"\x20\x02\x00\x00\xd0\x00");
//! ```
//!
//! What this crate does not do: read or write sockets, read a clock, spawn threads, hash passwords (it hands them out
//! as [`PasswordRequest`]s), write to disk (it hands out [`store::PersistBatch`]es), log (it hands out
//! [`Event`]s).

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod access;
mod broker;
mod config;
mod counts;
mod error;
mod event;
mod guard;
mod held;
mod hooks;
mod inbox;
mod introspection;
mod journal;
mod link;
#[cfg(feature = "in-process")]
mod local;
mod message;
mod note;
mod now;
mod outbox;
mod output;
mod publish_out;
mod rate;
mod registry;
mod replay;
mod replies;
mod restore;
mod router;
mod session;
pub mod store;
mod sync;
mod timer;
mod worker;

pub use access::{
    Access, Action, Authenticate, Authentication, Authorize, Credential, Decision, Exchange, ExchangeContext,
    FileAccess, Identity, Known, ListenerFiles, Login, Pending, Step, Subject, Verdict,
};
#[cfg(feature = "scram")]
pub use access::{Scram, ScramCredential, ScramCredentials};
pub use broker::Broker;
pub use config::{BrokerConfig, Limits, ListenerId, ListenerPolicy, ReasonCodes};
pub use error::{CloseCause, ProtocolError};
pub use event::Event;
pub use hooks::{
    Actions, Connecting, Delivering, Disconnecting, Hooks, PublishError, Publishing, Subscribing,
};
pub use introspection::{
    RetainedInfo, RetainedPage, SessionInfo, Statistics, StoredMessages, SubscriptionInfo,
};
pub use komar_codec::{ProtocolVersion, QoS, ReasonCode};
pub use link::{Link, LinkState, Progress};
#[cfg(feature = "in-process")]
pub use local::{LocalClient, LocalError, LocalEvent, LocalMessage, LocalOptions};
pub use note::{NotedClient, NotedPacket, NotedPublish};
pub use now::Now;
pub use outbox::{Next, Outbox, Sent, Take};
pub use output::Output;
pub use rate::{OverRate, Rate};
pub use worker::{Entropy, PasswordRequest, TurnEnd, Worker};
