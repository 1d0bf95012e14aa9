//! Why a Connection ends, and what the other side is told.

use core::num::NonZeroU16;

use komar_codec::{DecodeError, DecodeErrorKind, PacketType, ReasonCode};
use komar_topic::TopicError;

use crate::config::ReasonCodes;
use crate::guard::Panicked;

/// What a peer did that ends its Connection. One variant a cause; [`reason_code`](ProtocolError::reason_code)
/// says what a 5.0 peer is told.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are no packet, or not one that may be sent.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A packet that is not legal at this moment. v5 [MQTT-3.1.0-1], v5 [MQTT-3.1.0-2]
    #[error("{0:?} is not legal now")]
    UnexpectedPacket(PacketType),
    /// A Topic Filter that is not valid. v5 [MQTT-4.7.1-1]
    #[error("topic filter: {0}")]
    Filter(TopicError),
    /// A `$share` filter that is not valid. v5 [MQTT-4.8.2-1], v5 [MQTT-4.8.2-2]
    #[error("shared subscription: {0}")]
    SharedFilter(TopicError),
    /// No Local on a Shared Subscription. v5 [MQTT-3.8.3-4]
    #[error("no local on a shared subscription")]
    SharedNoLocal,
    /// More levels than [`Limits::maximum_topic_levels`](crate::Limits::maximum_topic_levels).
    #[error("more than {limit} topic levels")]
    TopicTooDeep {
        /// The limit.
        limit: usize,
    },
    /// A Topic Alias that stands for no Topic Name. MQTT 5.0 §3.3.2.3.4.
    #[error("unknown topic alias {0}")]
    UnknownTopicAlias(NonZeroU16),
    /// A Topic Alias above our Topic Alias Maximum. v5 [MQTT-3.3.2-9]
    #[error("topic alias {alias} above the maximum {maximum}")]
    TopicAliasTooLarge {
        /// What was sent.
        alias: NonZeroU16,
        /// What CONNACK allowed.
        maximum: u16,
    },
    /// A QoS above our Maximum QoS. v5 [MQTT-3.2.2-11]
    #[error("QoS above the maximum")]
    QosNotSupported,
    /// RETAIN where retained messages are switched off. v5 [MQTT-3.2.2-14]
    #[error("retained messages are not available")]
    RetainNotSupported,
    /// More unacknowledged PUBLISH packets than our Receive Maximum. v5 [MQTT-3.3.4-7]
    #[error("receive maximum {limit} exceeded")]
    ReceiveMaximumExceeded {
        /// Our Receive Maximum.
        limit: u16,
    },
    /// More bytes of unreleased QoS 2 messages, or of packets in part, than the limits allow.
    #[error("too many bytes under way")]
    QuotaExceeded,
    /// More messages a second than [`Link::limit_messages`](crate::Link::limit_messages) allows.
    #[error("message rate too high")]
    MessageRateTooHigh,
    /// DISCONNECT raised the Session Expiry Interval from 0. MQTT 5.0 §3.14.2.2.2.
    #[error("session expiry interval raised from 0 at DISCONNECT")]
    SessionExpiryRaised,
    /// An AUTH packet without an exchange that asked for it. MQTT 5.0 §4.12.
    #[error("AUTH outside an authentication exchange")]
    UnexpectedAuth,
    /// Not the peer's doing: code of the embedder panicked while it was asked about this Connection.
    #[error("code of the embedder panicked")]
    Panicked,
}

impl From<Panicked> for ProtocolError {
    fn from(_: Panicked) -> Self {
        ProtocolError::Panicked
    }
}

impl ProtocolError {
    /// What a 5.0 peer is told in DISCONNECT before its Connection is closed. As Mosquitto does, it is closed without a word
    /// where not even a packet can be told from the next one, and for a PINGREQ or PINGRESP with a body. MQTT 5.0 §4.13.1
    /// leaves it open.
    pub(crate) fn answer(&self, codes: ReasonCodes) -> Option<ReasonCode> {
        let ProtocolError::Decode(error) = self else {
            return Some(self.reason_code());
        };
        match (error.kind(), error.packet_type()) {
            (DecodeErrorKind::VariableByteIntegerTooLong, _) if error.offset() == 1 => None,
            (DecodeErrorKind::TrailingBytes, Some(PacketType::PingReq | PacketType::PingResp)) => None,
            (DecodeErrorKind::ReasonCode(_), Some(PacketType::Disconnect))
                if codes == ReasonCodes::Mosquitto =>
            {
                None
            }
            _ => Some(reason_code_of(error, codes)),
        }
    }

    /// What a 5.0 peer is told in DISCONNECT. MQTT 5.0 §3.14.2.1.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            ProtocolError::Decode(error) => error.reason_code(),
            ProtocolError::Filter(_) | ProtocolError::TopicTooDeep { .. } => ReasonCode::MalformedPacket,
            ProtocolError::TopicAliasTooLarge { .. } => ReasonCode::TopicAliasInvalid,
            ProtocolError::QosNotSupported => ReasonCode::QoSNotSupported,
            ProtocolError::RetainNotSupported => ReasonCode::RetainNotSupported,
            ProtocolError::ReceiveMaximumExceeded { .. } => ReasonCode::ReceiveMaximumExceeded,
            ProtocolError::QuotaExceeded => ReasonCode::QuotaExceeded,
            ProtocolError::MessageRateTooHigh => ReasonCode::MessageRateTooHigh,
            ProtocolError::Panicked => ReasonCode::ImplementationSpecificError,
            ProtocolError::UnexpectedPacket(_)
            | ProtocolError::SharedFilter(_)
            | ProtocolError::SharedNoLocal
            | ProtocolError::UnknownTopicAlias(_)
            | ProtocolError::SessionExpiryRaised
            | ProtocolError::UnexpectedAuth => ReasonCode::ProtocolError,
        }
    }

    /// The cause that goes with it.
    pub fn close_cause(&self) -> CloseCause {
        match self {
            // Mosquitto's log tells malformed packets from protocol errors in every version, and so does the Reason Code.
            ProtocolError::Decode(error) => match error.reason_code() {
                ReasonCode::PacketTooLarge => CloseCause::PacketTooLarge,
                ReasonCode::ProtocolError | ReasonCode::TopicAliasInvalid => CloseCause::ProtocolError,
                _ => CloseCause::MalformedPacket,
            },
            ProtocolError::Filter(_) | ProtocolError::TopicTooDeep { .. } => CloseCause::MalformedPacket,
            ProtocolError::TopicAliasTooLarge { .. } => CloseCause::TopicAliasInvalid,
            ProtocolError::ReceiveMaximumExceeded { .. } => CloseCause::ReceiveMaximumExceeded,
            ProtocolError::QuotaExceeded => CloseCause::QuotaExceeded,
            ProtocolError::MessageRateTooHigh => CloseCause::MessageRateTooHigh,
            ProtocolError::Panicked => CloseCause::ImplementationSpecificError,
            _ => CloseCause::ProtocolError,
        }
    }
}

/// What a client is told of a refusal in a packet of that type: what the embedder said, if it is a refusal and the packet
/// can carry it.
pub(crate) fn refusal(reason_code: ReasonCode, packet_type: PacketType) -> ReasonCode {
    if !reason_code.is_error() {
        ReasonCode::UnspecifiedError
    } else if reason_code.allowed_in(packet_type) {
        reason_code
    } else {
        ReasonCode::NotAuthorized
    }
}

/// What a 5.0 client is told about a packet that is not one.
pub(crate) fn reason_code_of(error: &DecodeError, codes: ReasonCodes) -> ReasonCode {
    let specified = error.reason_code();
    if codes == ReasonCodes::Specification {
        return specified;
    }
    let is_subscription = matches!(
        error.packet_type(),
        Some(PacketType::Subscribe | PacketType::Unsubscribe)
    );
    match error.kind() {
        DecodeErrorKind::PropertyNotAllowed(_) if !is_subscription => ReasonCode::ProtocolError,
        DecodeErrorKind::EmptyTopicName if error.packet_type() == Some(PacketType::Connect) => {
            ReasonCode::ProtocolError
        }
        DecodeErrorKind::MissingTopicName => ReasonCode::MalformedPacket,
        DecodeErrorKind::SubscriptionQoS
        | DecodeErrorKind::RetainHandling
        | DecodeErrorKind::NoTopicFilters
            if is_subscription =>
        {
            ReasonCode::MalformedPacket
        }
        _ => specified,
    }
}

/// Why a Connection ended. Displays as the words that Mosquitto writes into its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The client sent DISCONNECT with Reason Code 0x00.
    #[error("disconnected")]
    Disconnected,
    /// The client sent DISCONNECT and asked for its Will Message to be published.
    #[error("disconnected with will message")]
    DisconnectedWithWill,
    /// The transport ended without a DISCONNECT.
    #[error("connection closed by client")]
    ConnectionClosed,
    /// Bytes that are no packet.
    #[error("malformed packet")]
    MalformedPacket,
    /// A packet at the wrong moment, or with contents that are not allowed.
    #[error("protocol error")]
    ProtocolError,
    /// Larger than our Maximum Packet Size.
    #[error("oversize packet")]
    PacketTooLarge,
    /// Silent for one and a half times the keep alive, or no CONNECT in time.
    #[error("exceeded timeout")]
    KeepAliveTimeout,
    /// Another Connection uses the Client Identifier now.
    #[error("session taken over")]
    SessionTakenOver,
    /// Refused for want of rights.
    #[error("not authorised")]
    NotAuthorized,
    /// Refused because the certificate gives no user name.
    #[error("bad username or password")]
    BadUserNameOrPassword,
    /// Refused with another reason code.
    #[error("refused")]
    Refused,
    /// More unacknowledged messages than allowed.
    #[error("receive maximum exceeded")]
    ReceiveMaximumExceeded,
    /// A Topic Alias out of range.
    #[error("topic alias invalid")]
    TopicAliasInvalid,
    /// A limit on bytes or packets.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// More messages a second than allowed.
    #[error("message rate too high")]
    MessageRateTooHigh,
    /// Code of the embedder panicked while it was asked about this Connection.
    #[error("implementation specific error")]
    ImplementationSpecificError,
    /// An operator asked for it.
    #[error("administrative action")]
    AdministrativeAction,
    /// The broker stops.
    #[error("server shutting down")]
    ServerShuttingDown,
    /// The transport layer refused the peer (TLS handshake, WebSocket upgrade), for which Mosquitto has no word of its own.
    #[error("protocol error")]
    TransportRefused,
    /// A proxy looked whether the server is there, and is nobody's Connection.
    #[error("health check")]
    HealthCheck,
}
