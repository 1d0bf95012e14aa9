//! Virtual clock, scripted peers and oracles for Komar's own tests.
//!
//! A [`Site`] is a broker with its workers, a clock that stands still until it is told to go on, and Connections whose
//! other ends are bytes in memory. [`words`] writes packets as a person would say them, and reads them back.
//!
//! ```
//! use std::sync::Arc;
//! use komar_broker_core::{Access, BrokerConfig, ListenerPolicy};
//! use komar_codec::ProtocolVersion::V5;
//! use komar_testkit::{Site, words};
//!
//! let mut site = Site::new(BrokerConfig::default(), Access::allow_all(), 1);
//! let peer = site.open(0, &Arc::new(ListenerPolicy::default()));
//! site.send(peer, &words::encode(V5, "connect v5 id=a clean").unwrap());
//! site.send(peer, &words::encode(V5, "pingreq").unwrap());
//! site.settle();
//! let packet = site.next_packet(peer, V5).unwrap().unwrap();
//! assert!(packet.matches("connack success session_present=0 ...").unwrap());
//! let packet = site.next_packet(peer, V5).unwrap().unwrap();
//! assert_eq!(packet.to_string(), "pingresp");
//! ```
//!
//! What this crate does not do: open sockets, start threads, sleep, read a clock, or a file but that of a [`FileStore`]. Two
//! runs of the same script are equal byte for byte.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod random;
mod site;
mod store;
pub mod words;

pub use random::Random;
pub use site::{Notice, PeerId, Reading, Site};
pub use store::{DelayedStore, Distortion, FileStore};
