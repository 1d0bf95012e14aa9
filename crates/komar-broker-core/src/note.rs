//! Packets as an operator sees them come and go. Nothing is made of them unless
//! [`Worker::note_packets`](crate::Worker::note_packets) asks for it: until then they cost a branch.

use std::sync::Arc;

use komar_codec::{
    DecodeOptions, Framing, Packet, PacketIdentifier, PacketType, ProtocolVersion, Publish, QoS, ReasonCode,
    Role, Utf8Policy, Will, frame,
};

use crate::event::Event;
use crate::link::Link;
use crate::message::Message;
use crate::outbox::{Outbox, State};
use crate::publish_out::Copy;
use crate::session::Session;
use crate::worker::{Effects, Worker};

/// A packet without what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotedPacket {
    /// CONNECT of a client that is let in.
    Connect {
        /// Its Will Message.
        will: Option<NotedPublish>,
    },
    /// CONNACK.
    ConnAck {
        /// Whether the client is told that its Session goes on.
        session_present: bool,
        /// The Reason Code, or the return code of 3.x, as it is sent.
        code: u8,
    },
    /// PUBLISH.
    Publish(NotedPublish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Acknowledgement {
        /// Which of them.
        packet_type: PacketType,
        /// Of the message that it is about.
        packet_identifier: PacketIdentifier,
        /// What it says of the message.
        reason_code: ReasonCode,
    },
    /// SUBSCRIBE, with the answer to each of its filters.
    Subscribe {
        /// As the client wrote them, `$share/` included.
        filters: Vec<(Box<str>, ReasonCode)>,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// As the client wrote them.
        filters: Vec<Box<str>>,
    },
    /// DISCONNECT.
    Disconnect {
        /// Why.
        reason_code: ReasonCode,
    },
    /// AUTH.
    Auth {
        /// Which step it is.
        reason_code: ReasonCode,
        /// The Authentication Method.
        method: Option<Box<str>>,
    },
    /// SUBACK, UNSUBACK, PINGREQ or PINGRESP.
    Other(PacketType),
}

/// A PUBLISH, or a Will Message, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotedPublish {
    /// It may have been sent before.
    pub dup: bool,
    /// Its QoS.
    pub qos: QoS,
    /// Its RETAIN.
    pub retain: bool,
    /// `None` for QoS 0 and for a Will Message.
    pub packet_identifier: Option<PacketIdentifier>,
    /// Its Topic Name, also where a Topic Alias stands for it.
    pub topic_name: Box<str>,
    /// Bytes of its payload.
    pub payload_len: usize,
}

/// Whose packet it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotedClient {
    /// The client with this Client Identifier.
    Named(Arc<str>),
    /// One that has none yet: its Connection.
    Unnamed(Arc<Outbox>),
}

impl NotedPublish {
    pub(crate) fn of(publish: &Publish<'_>, topic_name: &str) -> NotedPublish {
        NotedPublish {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_identifier: publish.packet_identifier,
            topic_name: topic_name.into(),
            payload_len: publish.payload.len(),
        }
    }

    pub(crate) fn of_will(will: &Will<'_>) -> NotedPublish {
        NotedPublish {
            dup: false,
            qos: will.qos,
            retain: will.retain,
            packet_identifier: None,
            topic_name: will.topic_name.into(),
            payload_len: will.payload.len(),
        }
    }

    pub(crate) fn of_message(message: &Message<'_>) -> NotedPublish {
        NotedPublish {
            dup: false,
            qos: message.qos,
            retain: message.retain,
            packet_identifier: None,
            topic_name: message.topic_name.as_str().into(),
            payload_len: message.payload.len(),
        }
    }
}

impl NotedPacket {
    /// PUBREL of a message whose receiver has it.
    pub(crate) fn release(packet_identifier: PacketIdentifier) -> NotedPacket {
        NotedPacket::Acknowledgement {
            packet_type: PacketType::PubRel,
            packet_identifier,
            reason_code: ReasonCode::Success,
        }
    }

    /// `None` for what is noted where it is handled, with what only that place knows: CONNECT, CONNACK, PUBLISH, SUBSCRIBE.
    fn of(packet: &Packet<'_>) -> Option<NotedPacket> {
        let acknowledgement = |packet_type, packet_identifier, reason_code| NotedPacket::Acknowledgement {
            packet_type,
            packet_identifier,
            reason_code,
        };
        Some(match packet {
            Packet::PubAck(packet) => {
                acknowledgement(PacketType::PubAck, packet.packet_identifier, packet.reason_code)
            }
            Packet::PubRec(packet) => {
                acknowledgement(PacketType::PubRec, packet.packet_identifier, packet.reason_code)
            }
            Packet::PubRel(packet) => {
                acknowledgement(PacketType::PubRel, packet.packet_identifier, packet.reason_code)
            }
            Packet::PubComp(packet) => {
                acknowledgement(PacketType::PubComp, packet.packet_identifier, packet.reason_code)
            }
            Packet::Unsubscribe(packet) => NotedPacket::Unsubscribe {
                filters: packet.filters.iter().map(Box::from).collect(),
            },
            Packet::Disconnect(packet) => NotedPacket::Disconnect {
                reason_code: packet.reason_code,
            },
            Packet::Auth(packet) => NotedPacket::Auth {
                reason_code: packet.reason_code,
                method: packet.properties.authentication_method.map(Box::from),
            },
            Packet::SubAck(_) => NotedPacket::Other(PacketType::SubAck),
            Packet::UnsubAck(_) => NotedPacket::Other(PacketType::UnsubAck),
            Packet::PingReq => NotedPacket::Other(PacketType::PingReq),
            Packet::PingResp => NotedPacket::Other(PacketType::PingResp),
            Packet::Connect(_) | Packet::ConnAck(_) | Packet::Publish(_) | Packet::Subscribe(_) => {
                return None;
            }
        })
    }
}

impl Worker {
    /// Whether [`Event::PacketReceived`] and [`Event::PacketSent`] are wanted. Default: `false`. While they are, packets are
    /// handled one by one.
    pub fn note_packets(&mut self, wanted: bool) {
        self.fx.notes_packets = wanted;
    }
}

impl Effects {
    /// Notes an event that packets bring about, as many as are wanted at the most before they are taken.
    pub(crate) fn note(&mut self, event: Event) {
        if self.events.len() < self.maximum_noted_packets {
            self.events.push_back(event);
        } else {
            self.not_noted += 1;
        }
    }

    /// How many packets there was no room for.
    pub(crate) fn not_noted(&mut self) -> Option<Event> {
        match core::mem::take(&mut self.not_noted) {
            0 => None,
            packets => Some(Event::PacketsNotNoted { packets }),
        }
    }

    /// Notes a packet that has come.
    pub(crate) fn note_received(&mut self, client: NotedClient, packet: NotedPacket) {
        self.note(Event::PacketReceived { client, packet });
    }

    /// Notes a packet that has come, if it is one that is noted as it comes.
    #[cold]
    pub(crate) fn note_arrival(&mut self, link: &Link, packet: &Packet<'_>) {
        if let Some(packet) = NotedPacket::of(packet) {
            self.note_received(link.noted(), packet);
        }
    }

    /// Notes a packet that goes out.
    pub(crate) fn note_sent(&mut self, client: NotedClient, packet: NotedPacket) {
        self.note(Event::PacketSent { client, packet });
    }

    /// Notes a CONNACK: whom it goes to is not known from its Connection.
    #[cold]
    pub(crate) fn note_connack(
        &mut self,
        client: NotedClient,
        version: ProtocolVersion,
        session_present: bool,
        reason_code: ReasonCode,
    ) {
        let packet = NotedPacket::ConnAck {
            session_present: session_present && version != ProtocolVersion::V3_1,
            code: match version {
                ProtocolVersion::V5 => reason_code.as_u8(),
                _ => reason_code.to_v3_connect_return_code(),
            },
        };
        self.note_sent(client, packet);
    }

    /// Notes a packet that has been encoded for a Connection.
    #[cold]
    pub(crate) fn note_encoded(&mut self, client: NotedClient, bytes: &[u8], version: ProtocolVersion) {
        let options = DecodeOptions {
            version,
            receiver: Role::Client,
            maximum_packet_size: u32::MAX,
            utf8: Utf8Policy::Strict,
        };
        if let Ok(Framing::Complete(whole)) = frame(bytes, &options)
            && let Ok(packet) = Packet::decode(whole, &options)
            && let Some(packet) = NotedPacket::of(&packet)
        {
            self.note_sent(client, packet);
        }
    }

    /// Notes a PUBLISH that goes out.
    #[cold]
    pub(crate) fn note_delivery(&mut self, session: &Session, message: Message<'_>, copy: &Copy<'_>) {
        let publish = NotedPublish {
            dup: copy.dup,
            qos: copy.qos,
            retain: copy.retain,
            packet_identifier: copy.identifier,
            ..NotedPublish::of_message(&message)
        };
        let client = NotedClient::Named(Arc::clone(&session.client_id));
        self.note_sent(client, NotedPacket::Publish(publish));
    }
}

impl State {
    /// Whose packets go into it.
    pub(crate) fn noted(&self, outbox: &Arc<Outbox>) -> NotedClient {
        match self.session() {
            Some(session) => NotedClient::Named(Arc::clone(&session.client_id)),
            None => NotedClient::Unnamed(Arc::clone(outbox)),
        }
    }
}
