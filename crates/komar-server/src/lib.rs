//! An MQTT broker to embed: komar-broker-core driven by reactor threads over TCP, Unix sockets, TLS and WebSocket.
//!
//! ```
//! use komar_server::{Listener, ListenerPolicy, Server};
//!
//! let mut policy = ListenerPolicy::default();
//! policy.allow_anonymous = true;
//! let server = Server::builder()
//!     .listener(Listener::tcp(([127, 0, 0, 1], 0).into()).policy(policy))
//!     .start()?;
//! println!("listening on {}", server.local_addresses()[0]);
//! server.stop();
//! # Ok::<(), komar_server::StartError>(())
//! ```
//!
//! Nothing survives a restart unless there is a [store](ServerBuilder::store). What this crate does not do yet: bring one.
//! What it never does: parse options of a command line, install a log subscriber or a process-wide cryptography provider.

#![warn(missing_docs)]

mod authenticate;
mod connection;
pub mod event_log;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod inherited;
mod listener;
mod listening_socket;
mod mailbox;
mod open_listener;
mod publisher;
mod rates;
mod reactor;
mod reload;
mod server;
#[cfg(feature = "conf")]
pub mod setup;
mod store;
mod sys;
mod transport;

pub use health::Health;
pub use inherited::InheritedSockets;
pub use ipnet::IpNet;
pub use komar_broker_core::{
    Access, Broker, BrokerConfig, FileAccess, Hooks, ListenerFiles, ListenerPolicy, OverRate,
};
pub use listener::{ListenAddress, Listener, ProxyProtocol, ProxyVersion, WebSocketOptions};
pub use publisher::{Full, Publisher};
pub use rates::RateLimits;
pub use reload::{ReloadError, Reloaded};
pub use server::{Placement, Server, ServerBuilder, StartError};
pub use store::CommitThread;
