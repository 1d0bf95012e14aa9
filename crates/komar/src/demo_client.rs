//! A small blocking MQTT 5.0 client over TLS: what `komar demo` shows things with.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use komar_codec::{
    AckProperties, ConnAck, Connect, ConnectProperties, DecodeOptions, Framing, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, RetainHandling, Role, Subscribe,
    SubscribeFilters, SubscriptionOptions, Utf8Policy, frame,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Why the client could not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the broker sent something that is no packet: {0}")]
    Decode(#[from] komar_codec::DecodeError),
    #[error("cannot encode: {0}")]
    Encode(#[from] komar_codec::EncodeError),
    #[error("the broker refused the connection with {0:?}")]
    Refused(ReasonCode),
    #[error("expected {expected}, the broker sent {got}")]
    Unexpected { expected: &'static str, got: String },
}

/// A client that is connected.
pub(crate) struct DemoClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    /// Messages that came while something else was waited for: topic and payload.
    messages: Vec<(String, Vec<u8>)>,
}

/// What a client says of itself in CONNECT.
#[derive(Clone, Copy)]
pub(crate) struct Introduction<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) username: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
}

impl DemoClient {
    /// Connects, with TLS, and waits for CONNACK.
    pub(crate) fn connect(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        who: Introduction<'_>,
    ) -> Result<DemoClient, ClientError> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        let stream = StreamOwned::new(connection, stream);
        let mut client = DemoClient {
            stream,
            received: Vec::new(),
            messages: Vec::new(),
        };
        client.send(&Packet::Connect(Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start: true,
            keep_alive: 60,
            client_id: who.client_id,
            username: who.username,
            password: who.password,
            will: None,
            properties: ConnectProperties::default(),
        }))?;
        client.wait_for("CONNACK", |packet| match packet {
            Packet::ConnAck(ConnAck {
                reason_code: ReasonCode::Success,
                ..
            }) => Some(Ok(())),
            Packet::ConnAck(refusal) => Some(Err(ClientError::Refused(refusal.reason_code))),
            _ => None,
        })??;
        Ok(client)
    }

    /// Subscribes at QoS 1 and returns what SUBACK says.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<ReasonCode, ClientError> {
        let options = SubscriptionOptions {
            maximum_qos: QoS::AtLeastOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        let filters = [(filter, options)];
        self.send(&Packet::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::MIN,
            subscription_identifier: None,
            user_properties: Default::default(),
            filters: SubscribeFilters::from_slice(&filters),
        }))?;
        self.wait_for("SUBACK", |packet| match packet {
            Packet::SubAck(answer) => Some(
                answer
                    .reason_codes
                    .iter()
                    .next()
                    .unwrap_or(ReasonCode::UnspecifiedError),
            ),
            _ => None,
        })
    }

    /// Publishes at QoS 1 and returns what PUBACK says.
    pub(crate) fn publish(&mut self, topic_name: &str, payload: &[u8]) -> Result<ReasonCode, ClientError> {
        self.send(&Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic_name,
            packet_identifier: Some(PacketIdentifier::MIN),
            properties: PublishProperties::default(),
            payload,
        }))?;
        self.wait_for("PUBACK", |packet| match packet {
            Packet::PubAck(answer) => Some(answer.reason_code),
            _ => None,
        })
    }

    /// The next message, which must come soon.
    pub(crate) fn message(&mut self) -> Result<(String, Vec<u8>), ClientError> {
        while self.messages.is_empty() {
            self.wait_for("PUBLISH", |packet| {
                matches!(packet, Packet::Publish(_)).then_some(())
            })?;
        }
        Ok(self.messages.remove(0))
    }

    /// All messages that the broker has sent up to now: whatever it sent before, it sent before this PINGRESP.
    pub(crate) fn messages_so_far(&mut self) -> Result<usize, ClientError> {
        self.send(&Packet::PingReq)?;
        self.wait_for("PINGRESP", |packet| {
            matches!(packet, Packet::PingResp).then_some(())
        })?;
        Ok(self.messages.len())
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        packet.encode(ProtocolVersion::V5, &mut bytes)?;
        self.stream.write_all(&bytes)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Reads until `wanted` recognises a packet; messages on the way are kept and acknowledged.
    fn wait_for<T>(
        &mut self,
        expected: &'static str,
        mut wanted: impl FnMut(&Packet<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        loop {
            let bytes = self.next_packet()?;
            let Framing::Complete(whole) = frame(&bytes, &OPTIONS)? else {
                continue;
            };
            let packet = Packet::decode(whole, &OPTIONS)?;
            if let Packet::Publish(message) = &packet {
                self.messages
                    .push((message.topic_name.to_owned(), message.payload.to_vec()));
                if let Some(packet_identifier) = message.packet_identifier {
                    self.send(&Packet::PubAck(komar_codec::PubAck {
                        packet_identifier,
                        reason_code: ReasonCode::Success,
                        properties: AckProperties::default(),
                    }))?;
                }
            }
            match wanted(&packet) {
                Some(result) => return Ok(result),
                None if matches!(packet, Packet::Publish(_)) => {}
                None => {
                    return Err(ClientError::Unexpected {
                        expected,
                        got: format!("{packet:?}"),
                    });
                }
            }
        }
    }

    fn next_packet(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Framing::Complete(whole) = frame(&self.received, &OPTIONS)? {
                let length = whole.len();
                return Ok(self.received.drain(..length).collect());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

const OPTIONS: DecodeOptions = DecodeOptions {
    version: ProtocolVersion::V5,
    receiver: Role::Client,
    maximum_packet_size: 1 << 20,
    utf8: Utf8Policy::Strict,
};
/// How long the demonstration waits for an answer on one machine.
const PATIENCE: Duration = Duration::from_secs(10);
