//! MQTT 3.1, 3.1.1 and 5.0 packets to bytes and back: strict, without allocation, without I/O.
//!
//! [`frame()`] finds a packet in a stream of bytes. [`Packet::decode`] (or the packet's own `decode`, such as
//! [`Publish::decode`]) checks it and borrows what it needs; [`OwnedPacket`] and [`OwnedPublish`] keep the bytes.
//! `encoded_len` and `encode` write it. One packet type serves all three versions: what an older version does not have is
//! empty or has its default.
//!
//! ```
//! use komar_codec::{DecodeOptions, Framing, Packet, ProtocolVersion, PubAck, ReasonCode, Role, frame};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What a server has read from a connection: a whole PUBLISH and the beginning of the next.
//! let input = b"\x32\x0b\x00\x03a/b\x00\x07\x00hi\x21\x32\x0b\x00";
//! let options = DecodeOptions::new(ProtocolVersion::V5, Role::Server);
//! let mut answer = Vec::new();
//!
//! let Framing::Complete(whole) = frame(input, &options)? else { panic!("there is a whole packet") };
//! let rest = &input[whole.len()..];
//! let Packet::Publish(publish) = Packet::decode(whole, &options)? else { panic!("it is a PUBLISH") };
//! assert_eq!((publish.topic_name, publish.payload), ("a/b", &b"hi!"[..]));
//! if let Some(identifier) = publish.packet_identifier {
//!     PubAck::new(identifier, ReasonCode::Success).encode(options.version, &mut answer)?;
//! }
//! assert_eq!(answer, b"\x40\x02\x00\x07");
//! assert_eq!(frame(rest, &options)?, Framing::Incomplete { needed: 10 });
//!
//! // An error says what to answer, and which rule was broken where.
//! let error = frame(b"\x36\x00", &options).unwrap_err();
//! assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
//! assert_eq!(error.statement(), Some("v5 [MQTT-3.3.1-4]"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does not do
//!
//! - It keeps no session and no phase: whether a packet is legal at this moment, whether an identifier is in use, whether
//!   a limit of CONNECT or CONNACK is kept, is the caller's to know.
//! - It does not parse Topic Filters: they are checked as strings. Topic Names are checked for wildcards.
//! - It does not look at payloads, unless it is asked to ([`Publish::has_valid_payload`]).
//! - It reads and writes no sockets, starts nothing, knows no time.
//! - Encoders do not check what strings hold, nor Topic Filters at all, which may even be empty; they refuse what has no bytes,
//!   and what every receiver would refuse by its form. They do not know who sends: a Session Expiry Interval in a server's
//!   DISCONNECT, Subscription Identifiers in a client's PUBLISH, and a Reason Code of DISCONNECT or AUTH that only the
//!   other side may send ([`ReasonCode::may_be_sent_to`]) are the caller's to leave out. The decoder refuses all of them.
//! - Encoders leave out what the version has no place for (properties, Reason Codes of acknowledgements, options of
//!   Subscriptions in 3.x).
//!
//! # Features
//!
//! - `std` (default) passes `std` on to the dependencies. Without it the crate is `no_std` with `alloc`.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![warn(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

#[cfg(test)]
extern crate alloc;

mod error;
mod fixed_header;
mod options;
mod owned;
mod packet;
pub mod patch;
mod primitive;
mod property;
mod reason_code;
mod repeated;
mod statement;
mod text;
mod write;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, ErrorClass};
pub use fixed_header::{Frame, Framer, Framing, PacketType, frame};
pub use options::{DecodeOptions, PacketIdentifier, ProtocolVersion, QoS, Role, Utf8Policy};
pub use owned::{OwnedPacket, OwnedPublish};
pub use packet::{
    AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectField,
    ConnectProperties, Disconnect, DisconnectProperties, OutgoingPublish, Packet, PayloadFormat, PubAck,
    PubComp, PubRec, PubRel, Publish, PublishProperties, ReasonCodes, ReasonCodesIter, RetainHandling,
    SubAck, Subscribe, SubscribeFilters, SubscribeFiltersIter, SubscriptionOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, UnsubscribeFiltersIter, Will, WillProperties,
};
pub use property::PropertyId;
pub use reason_code::ReasonCode;
pub use repeated::{
    Forwarded, ReceivedProperties, SubscriptionIdentifiers, SubscriptionIdentifiersIter, UserProperties,
    UserPropertiesIter,
};
