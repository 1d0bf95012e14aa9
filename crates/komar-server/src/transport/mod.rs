//! What lies between a socket and the protocol: nothing, or the layers that a listener asks for.
//!
//! A plain Connection has no [`Layers`](layers::Layers) and its bytes go straight to the Link. Otherwise they pass, from
//! the socket inwards, the PROXY header (once), TLS, and WebSocket. Each of the three is a state machine of its own:
//! bytes in, bytes and verdicts out; no socket, no clock.

pub(crate) mod layers;
pub(crate) mod proxy;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod websocket;
